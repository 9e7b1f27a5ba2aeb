//! The Hessian that a problem uses for its steps, and what keeps it near the truth: growth with the working set, and BFGS
//! corrections.

use ndarray::Array2;
use rayon::prelude::*;

use super::hessian::{Sample, WorkingSet};
use super::passes::Curved;
use crate::error::Result;
use crate::ops::vector::dot;

/// The Hessian in use and what it was made for.
pub(super) struct Metric {
    pub selected: Array2<bool>,
    pub set: WorkingSet,
    pub sample: Sample,
    /// H of the sample, plus the corrections.
    pub hessian: Array2<f32>,
    /// Whether a device has yet to sum it.
    pub owed: bool,
    pub age: usize,
    /// Exact (step, gradient difference) pairs since it was sampled.
    pub pairs: Vec<(Sparse, Array2<f32>)>,
    /// How many of the pairs have been looked at.
    pub seen: usize,
    pub corrections: Vec<Correction>,
}

/// A step: the entries that moved, by their places row by row.
pub(super) struct Sparse(Vec<(u32, f32)>);

impl Sparse {
    pub(super) fn difference(to: &Array2<f32>, from: &Array2<f32>) -> Self {
        let moves = (0u32..).zip(to.iter().zip(from).map(|(to, from)| to - from));
        Self(moves.filter(|(_, d)| *d != 0.0).collect())
    }

    fn dense(&self, shape: (usize, usize)) -> Array2<f32> {
        let mut out = Array2::zeros(shape);
        for &(at, d) in &self.0 {
            out[(at as usize / shape.1, at as usize % shape.1)] = d;
        }
        out
    }
}

/// A BFGS correction y·yᵀ − h·hᵀ: y the gradient's change over √(sᵀy), h = Hs over √(sᵀHs).
pub(super) struct Correction {
    y: Vec<f32>,
    h: Vec<f32>,
}

impl Metric {
    /// Follows `selected`: H on the new entries, from the same sample, without the corrections so far (which will be made
    /// again). Returns its FLOP.
    pub(super) fn grow(&mut self, curved: &Curved<'_>) -> Result<f64> {
        let set = WorkingSet::new(&self.selected);
        let corrections = std::mem::take(&mut self.corrections);
        self.seen = 0;
        if curved.takes(&set.rows, &self.sample.terms(), Some(&self.set.rows)) {
            self.set = set;
            self.owed = true;
            return Ok(0.0);
        }
        let n = self.set.len() as f64;
        let mut flop = 0.0;
        for correction in corrections.iter().rev() {
            correction.add(&mut self.hessian, -1.0);
            flop += 4.0 * n * n;
        }
        let known = Some((&self.set, &self.hessian));
        let (hessian, grown) = self.sample.hessian(curved, &set, known)?;
        self.hessian = hessian;
        self.set = set;
        Ok(flop + grown)
    }

    /// H of the sample, where a device has yet to sum it. Returns its FLOP.
    pub(super) fn settle(&mut self, curved: &Curved<'_>) -> Result<f64> {
        if !std::mem::take(&mut self.owed) {
            return Ok(0.0);
        }
        self.hessian = Array2::zeros((0, 0)); // it makes room
        let (hessian, flop) = self.sample.hessian_on_device(curved, &self.set)?;
        self.hessian = hessian;
        Ok(flop)
    }

    /// Applies the BFGS corrections of the pairs that came since the last time; returns their FLOP.
    pub(super) fn correct(&mut self) -> f64 {
        let n = self.set.len();
        let mut flop = 0.0;
        for (step, change) in &self.pairs[self.seen..] {
            let s = self.set.gather(&step.dense(change.dim()));
            let y: Vec<f64> = self.set.gather(change).into_iter().map(f64::from).collect();
            let flat = self.hessian.as_slice().expect("the Hessian is contiguous");
            let hs: Vec<f64> = flat.par_chunks_exact(n).map(|row| dot(row, &s)).collect();
            flop += 2.0 * (n * n) as f64;
            let sy: f64 = s.iter().zip(&y).map(|(s, y)| f64::from(*s) * y).sum();
            let shs: f64 = s.iter().zip(&hs).map(|(s, h)| f64::from(*s) * h).sum();
            if shs <= 0.0 || sy <= 1e-6 * shs {
                continue;
            }
            let scaled = |v: &[f64], by: f64| v.iter().map(|v| (v / by.sqrt()) as f32).collect();
            let correction = Correction {
                y: scaled(&y, sy),
                h: scaled(&hs, shs),
            };
            correction.add(&mut self.hessian, 1.0);
            self.corrections.push(correction);
            flop += 4.0 * (n * n) as f64;
        }
        self.seen = self.pairs.len();
        flop
    }
}

impl Correction {
    /// Adds `sign` times the correction.
    fn add(&self, hessian: &mut Array2<f32>, sign: f32) {
        let n = self.y.len();
        let flat = hessian.as_slice_mut().expect("the Hessian is contiguous");
        flat.par_chunks_exact_mut(n)
            .enumerate()
            .for_each(|(j, row)| {
                let (yj, hj) = (sign * self.y[j], sign * self.h[j]);
                for ((entry, y), h) in row.iter_mut().zip(&self.y).zip(&self.h) {
                    *entry += yj * y - hj * h;
                }
            });
    }
}
