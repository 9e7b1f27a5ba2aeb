//! The sampled Hessian of the loss on a working set.
//!
//! `H = Σ_{a<b} (e_a − e_b)(e_a − e_b)ᵀ ⊗ Σᵢ ωᵢ p_ia p_ib xᵢ xᵢᵀ`, a graph Laplacian over the classes. Term (i, a, b) of
//! weight v = ωᵢ p_ia p_ib is kept with probability `q = min(1, κ·v·(n_a/S_aa + n_b/S_bb))`, n_a the entries of class a
//! in the working set, S_aa = Σᵢ ωᵢ p_ia (1 − p_ia), and re-weighted v/q: an unbiased sample of about κ terms an entry,
//! however many samples there are. The terms of (i, a) with all b > a are drawn at once where their q add up to at most 1: one of
//! them is kept at most, each with its own q, so that a sample takes a draw for each class and not for each pair. What is kept is
//! a hash of (i, a, seed), or of (i, a, b, seed) where they add up to more: the same on every device.
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
                let diagonal = diagonal(&pairs, set.rows.len());
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
                let each = row.iter().zip(&leverage).enumerate();
                open.extend(each.filter_map(|(class, (&p, &leverage))| {
                    let p = f64::from(p);
                    (omega[i] * p > least).then_some(Open { class, p, leverage })
                }));
                draw_pairs(i as u32, &open, (omega[i], kappa, seed), |a, b, weight| {
                    kept.push((a * classes + b, i as u32, weight));
                });
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

/// A class that terms of a sample may be kept for.
struct Open {
    class: usize,
    p: f64,
    /// n_a/S_aa.
    leverage: f64,
}

/// Draws the terms of a sample: classes a < b, and the weight of each that is kept.
fn draw_pairs(
    sample: u32,
    open: &[Open],
    (omega, kappa, seed): (f64, f64, u64),
    mut keeps: impl FnMut(usize, usize, f32),
) {
    // Σ p_b and Σ p_b·n_b/S_bb of the classes behind a.
    let mut behind = [0.0; 2];
    for (place, a) in open.iter().enumerate().rev() {
        let others = &open[place + 1..];
        let scale = kappa * omega * a.p;
        let q = |b: &Open| scale * b.p * (a.leverage + b.leverage);
        let all = scale * (a.leverage * behind[0] + behind[1]);
        let mut keep = |b: &Open, q: f64| {
            let v = omega * a.p * b.p;
            keeps(a.class, b.class, (v / q.min(1.0)) as f32);
        };
        if all <= 1.0 {
            let drawn = uniform(u64::from(sample), one_of(a.class), seed);
            if drawn < all {
                let mut reached = 0.0;
                let passes = |b: &&Open| {
                    reached += q(b);
                    drawn < reached
                };
                // What rounding leaves behind the last is the last one's that there is a chance of.
                let last = others.iter().rfind(|b| q(b) > 0.0);
                if let Some(b) = others.iter().find(passes).or(last) {
                    keep(b, q(b));
                }
            }
        } else {
            for b in others {
                let pair = pair(a.class, b.class);
                if uniform(u64::from(sample), pair, seed) < q(b) {
                    keep(b, q(b));
                }
            }
        }
        behind[0] += a.p;
        behind[1] += a.p * a.leverage;
    }
}

/// What the draw for one of a class's pairs is named by: no pair's name.
fn one_of(class: usize) -> u64 {
    pair(class, class)
}

/// What the draw for a pair is named by.
fn pair(a: usize, b: usize) -> u64 {
    ((a as u64) << 32) | b as u64
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

#[cfg(test)]
mod tests {
    use super::*;

    /// How often each pair is kept, and what its weights add up to, over many seeds.
    fn drawn(open: &[Open], kappa: f64, seeds: u64) -> Vec<((usize, usize), f64, f64)> {
        let omega = 0.01;
        let mut kept = std::collections::BTreeMap::new();
        for seed in 0..seeds {
            draw_pairs(7, open, (omega, kappa, seed), |a, b, weight| {
                let (times, sum) = kept.entry((a, b)).or_insert((0, 0.0));
                *times += 1;
                *sum += f64::from(weight);
            });
        }
        let share = |value: f64| value / seeds as f64;
        let each = kept.into_iter();
        each.map(|(pair, (times, sum))| (pair, share(f64::from(times)), share(sum)))
            .collect()
    }

    #[test]
    fn every_pair_is_kept_as_often_as_it_should_be_and_its_weights_have_the_right_mean() {
        let of = |(class, p, leverage)| Open { class, p, leverage };
        // Class 3 is not open: no pair has it.
        let open = [
            (0, 0.4, 30.0),
            (1, 0.05, 200.0),
            (2, 0.3, 10.0),
            (4, 0.2, 80.0),
        ]
        .map(of);
        // One draw for all pairs of every class; one for some; a draw for each pair, of which some are sure.
        for kappa in [2.0, 12.0, 1000.0] {
            const SEEDS: u64 = 40_000;
            let found = drawn(&open, kappa, SEEDS);
            let mut expected = Vec::new();
            for (place, a) in open.iter().enumerate() {
                for b in &open[place + 1..] {
                    let v = 0.01 * a.p * b.p;
                    let q = (kappa * v * (a.leverage + b.leverage)).min(1.0);
                    expected.push(((a.class, b.class), q, v));
                }
            }
            assert_eq!(found.len(), expected.len(), "κ {kappa}: {found:?}");
            for ((pair, often, mean), (same, q, v)) in found.into_iter().zip(expected) {
                assert_eq!(pair, same);
                let deviation = (q * (1.0 - q) / SEEDS as f64).sqrt();
                assert!(
                    (often - q).abs() <= 5.0 * deviation,
                    "κ {kappa}, {pair:?}: {often} {q}"
                );
                assert!(
                    (mean / v - often / q).abs() < 1e-6,
                    "κ {kappa}, {pair:?}: {mean} {v}"
                );
            }
        }
    }

    #[test]
    fn one_class_alone_has_no_pairs() {
        let open = [Open {
            class: 1,
            p: 1.0,
            leverage: 5.0,
        }];
        assert!(drawn(&open, 3.0, 10).is_empty() && drawn(&[], 3.0, 10).is_empty());
    }
}
