//! The sampled Hessian of the loss on a working set.
//!
//! `H = Σ_{a<b} (e_a − e_b)(e_a − e_b)ᵀ ⊗ Σᵢ ωᵢ p_ia p_ib xᵢ xᵢᵀ`, a graph Laplacian over the classes. Term (i, a, b) of
//! weight v = ωᵢ p_ia p_ib is kept with probability `q = min(1, κ·v·(n_a/S_aa + n_b/S_bb))`, n_a the entries of class a
//! in the working set, S_aa = Σᵢ ωᵢ p_ia (1 − p_ia), and re-weighted v/q: an unbiased sample of about κ terms an entry,
//! however many samples there are. Whether a term is kept is a hash of (i, pair, seed): the same on every device.
//!
//! A loss of one column has the terms (i) of weight v = ωᵢ·p(1 − p) (two classes) or ωᵢ (squared error), kept with
//! `q = min(1, κ·v·n/Σv)`.

use ndarray::Array2;
use rayon::prelude::*;

use super::loss;
use super::passes::Curved;
use super::targets::{Loss, Targets};
use crate::error::Result;
use crate::ops::curvature::{Terms, diagonal};

/// Samples that a thread draws terms of.
const SAMPLED_ROWS: usize = 1024;

/// A term that is kept with a smaller probability is not asked for: all of them together are less than one term.
const NEVER: f64 = 1e-9;

/// Relative ridge of the diagonal, and the floor below it: keeps H definite where the sample is poor.
const RIDGE: (f32, f32) = (1e-6, 1e-12);

/// The (row, class) entries that a step may change, class by class; row 0 is the intercept.
#[derive(Debug, Clone)]
pub(super) struct WorkingSet {
    /// Rows of each class, ascending.
    pub rows: Vec<Vec<usize>>,
    /// Where each class starts in the flat order, and the total at the end.
    pub offsets: Vec<usize>,
}

impl WorkingSet {
    pub(super) fn new(selected: &Array2<bool>) -> Self {
        let rows: Vec<Vec<usize>> = selected
            .columns()
            .into_iter()
            .map(|column| {
                column
                    .iter()
                    .enumerate()
                    .filter(|(_, s)| **s)
                    .map(|(row, _)| row)
                    .collect()
            })
            .collect();
        let mut offsets = vec![0];
        for rows in &rows {
            offsets.push(offsets[offsets.len() - 1] + rows.len());
        }
        Self { rows, offsets }
    }

    /// Number of entries n.
    pub(super) fn len(&self) -> usize {
        self.offsets[self.offsets.len() - 1]
    }

    /// (row, class) of every entry in the flat order.
    pub(super) fn entries(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.rows
            .iter()
            .enumerate()
            .flat_map(|(class, rows)| rows.iter().map(move |&row| (row, class)))
    }

    /// The entries of an array in the flat order.
    pub(super) fn gather<T: Copy>(&self, from: &Array2<T>) -> Vec<T> {
        self.entries().map(|at| from[at]).collect()
    }
}

/// The terms that a Hessian sums: kept, so that it can grow with its working set.
pub(super) struct Sample {
    pairs: Vec<Terms>,
    diagonal: Vec<Terms>,
}

impl Sample {
    /// Draws the terms for a working set, from the residual at the current point.
    pub(super) fn draw(
        residual: &Array2<f32>,
        targets: &Targets,
        set: &WorkingSet,
        kappa: f64,
        seed: u64,
    ) -> Self {
        match targets.loss {
            Loss::Softmax => {
                let pairs = sample_pairs(residual, targets, set, kappa, seed);
                let diagonal = diagonal(&pairs, targets.samples(), set.rows.len());
                Self { pairs, diagonal }
            }
            Loss::Sigmoid | Loss::Squared => {
                let v = loss::curvature(residual, targets);
                Self {
                    pairs: Vec::new(),
                    diagonal: vec![sample_column(&v, set.len(), kappa, seed)],
                }
            }
        }
    }

    /// The terms, those of classes included.
    pub(super) fn terms(&self) -> Vec<&Terms> {
        self.pairs.iter().chain(&self.diagonal).collect()
    }

    /// H on a working set, n × n, symmetric, and the FLOP that it took. `known` is H on a part of the set: only the rest is
    /// computed.
    pub(super) fn hessian(
        &self,
        curved: &Curved<'_>,
        set: &WorkingSet,
        known: Option<(&WorkingSet, &Array2<f32>)>,
    ) -> Result<(Array2<f32>, f64)> {
        let known = known.map(|(set, h)| (&set.rows[..], h));
        let (mut h, flop) = curved.natively(&set.rows, &self.terms(), known)?;
        with_ridge(&mut h, set, known.map(|(rows, _)| rows));
        Ok((h, flop))
    }

    /// As [`Sample::hessian`], all of it by the device that holds the samples.
    pub(super) fn hessian_on_device(
        &self,
        curved: &Curved<'_>,
        set: &WorkingSet,
    ) -> Result<(Array2<f32>, f64)> {
        let (mut h, flop) = curved.on_device(&set.rows, &self.terms())?;
        with_ridge(&mut h, set, None);
        Ok((h, flop))
    }
}

/// A little more on the diagonal of entries that were not `known` before.
fn with_ridge(h: &mut Array2<f32>, set: &WorkingSet, known: Option<&[Vec<usize>]>) {
    for (entry, (row, class)) in h.diag_mut().iter_mut().zip(set.entries()) {
        let had = known.is_some_and(|rows| rows[class].binary_search(&row).is_ok());
        if !had {
            *entry = *entry * (1.0 + RIDGE.0) + RIDGE.1;
        }
    }
}

fn sample_column(v: &Array2<f32>, entries: usize, kappa: f64, seed: u64) -> Terms {
    let total: f64 = v.iter().map(|v| f64::from(*v)).sum();
    let scale = kappa * entries as f64 / total.max(1e-300);
    let (samples, weights) = (0u32..)
        .zip(v)
        .filter_map(|(i, &v)| keep(f64::from(v), scale * f64::from(v), i, 0, seed))
        .unzip();
    Terms {
        a: 0,
        b: 0,
        samples,
        weights,
    }
}

/// A term of weight `v` is kept with probability `q`, re-weighted by 1/q.
fn keep(v: f64, q: f64, sample: u32, pair: u64, seed: u64) -> Option<(u32, f32)> {
    (q > 0.0 && uniform(u64::from(sample), pair, seed) < q)
        .then(|| (sample, (v / q.min(1.0)) as f32))
}

fn sample_pairs(
    residual: &Array2<f32>,
    targets: &Targets,
    set: &WorkingSet,
    kappa: f64,
    seed: u64,
) -> Vec<Terms> {
    let p = loss::probabilities(residual, targets);
    let (classes, omega) = (p.ncols(), &targets.omega);
    let leverage: Vec<f64> = (0..classes)
        .map(|class| {
            let spread = |(p, omega): (&f32, &f64)| omega * f64::from(*p) * (1.0 - f64::from(*p));
            let spread: f64 = p.column(class).iter().zip(omega).map(spread).sum();
            set.rows[class].len() as f64 / spread.max(1e-300)
        })
        .collect();
    // A class that hardly any term of a sample can be kept for is passed over: most samples are sure of most classes.
    let most = leverage.iter().copied().fold(0.0, f64::max);
    let least = NEVER / (2.0 * kappa * most);
    let p = p.as_slice().expect("probabilities are contiguous");
    let kept: Vec<Vec<(usize, u32, f32)>> = p
        .par_chunks(SAMPLED_ROWS * classes)
        .enumerate()
        .map(|(chunk, rows)| {
            let mut kept = Vec::new();
            let mut open = Vec::with_capacity(classes);
            let first = chunk * SAMPLED_ROWS;
            for (i, row) in (first..).zip(rows.chunks_exact(classes)) {
                open.clear();
                open.extend((0..classes).filter(|&a| omega[i] * f64::from(row[a]) > least));
                for (place, &a) in open.iter().enumerate() {
                    for &b in &open[place + 1..] {
                        let v = omega[i] * f64::from(row[a]) * f64::from(row[b]);
                        let q = kappa * (leverage[a] + leverage[b]) * v;
                        let pair = a * classes + b;
                        let term = keep(v, q, i as u32, pair as u64, seed);
                        kept.extend(term.map(|(i, weight)| (pair, i, weight)));
                    }
                }
            }
            kept
        })
        .collect();
    let mut pairs: Vec<Terms> = (0..classes * classes)
        .map(|pair| Terms {
            a: pair / classes,
            b: pair % classes,
            samples: Vec::new(),
            weights: Vec::new(),
        })
        .collect();
    for (pair, sample, weight) in kept.into_iter().flatten() {
        pairs[pair].samples.push(sample);
        pairs[pair].weights.push(weight);
    }
    pairs.retain(|pair| !pair.samples.is_empty());
    pairs
}

/// A number in [0, 1) that depends on its arguments alone (the finaliser of MurmurHash3's relatives, 64 bit).
fn uniform(sample: u64, pair: u64, seed: u64) -> f64 {
    let mut x = sample.wrapping_mul(0x9E37_79B9_7F4A_7C15)
        ^ pair.wrapping_mul(0xC2B2_AE3D_27D4_EB4F)
        ^ seed.rotate_left(32);
    for _ in 0..2 {
        x ^= x >> 33;
        x = x.wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    }
    x ^= x >> 33;
    (x >> 11) as f64 / (1u64 << 53) as f64
}
