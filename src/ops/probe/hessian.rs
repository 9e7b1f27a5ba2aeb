//! The sampled Hessian of the loss on a working set.
//!
//! `H = Σ_{a<b} (e_a − e_b)(e_a − e_b)ᵀ ⊗ Σᵢ ωᵢ p_ia p_ib xᵢ xᵢᵀ`, a graph Laplacian over the classes. Term (i, a, b) of
//! weight v = ωᵢ p_ia p_ib is kept with probability `q = min(1, κ·v·(n_a/S_aa + n_b/S_bb))`, n_a the entries of class a
//! in the working set, S_aa = Σᵢ ωᵢ p_ia (1 − p_ia), and re-weighted v/q: an unbiased sample of about κ terms an entry,
//! however many samples there are. Whether a term is kept is a hash of (i, pair, seed): the same on every device.

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

use super::cpu::gemm;

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

/// The kept terms of one class pair.
struct PairSample {
    a: usize,
    b: usize,
    samples: Vec<u32>,
    weights: Vec<f32>,
}

/// H on the working set, n × n, symmetric.
pub(super) fn sampled(
    x: ArrayView2<'_, f32>,
    probabilities: &Array2<f32>,
    set: &WorkingSet,
    kappa: f64,
    seed: u64,
) -> Array2<f32> {
    let pairs = sample_pairs(probabilities, set, kappa, seed);
    let classes = set.rows.len();
    let mut diagonal: Vec<Vec<f32>> = vec![vec![0.0; x.nrows()]; classes];
    for pair in &pairs {
        for (&i, &v) in pair.samples.iter().zip(&pair.weights) {
            diagonal[pair.a][i as usize] += v;
            diagonal[pair.b][i as usize] += v;
        }
    }
    let mut h = Array2::zeros((set.len(), set.len()));
    let off_diagonal: Vec<Array2<f32>> = pairs
        .par_iter()
        .map(|pair| {
            let left = gathered(x, &pair.samples, &set.rows[pair.a]);
            let right = gathered(x, &pair.samples, &set.rows[pair.b]);
            product(&weighted(left, &pair.weights), &right)
        })
        .collect();
    for (pair, block) in pairs.iter().zip(off_diagonal) {
        let (a, b) = (
            set.offsets[pair.a]..set.offsets[pair.a + 1],
            set.offsets[pair.b]..set.offsets[pair.b + 1],
        );
        h.slice_mut(ndarray::s![a.clone(), b.clone()])
            .zip_mut_with(&block, |h, v| *h = -v);
        h.slice_mut(ndarray::s![b, a])
            .zip_mut_with(&block.t(), |h, v| *h = -v);
    }
    let diagonal_blocks: Vec<Array2<f32>> = (0..classes)
        .into_par_iter()
        .map(|class| {
            let samples: Vec<u32> = (0u32..)
                .zip(&diagonal[class])
                .filter(|(_, v)| **v > 0.0)
                .map(|(i, _)| i)
                .collect();
            let weights: Vec<f32> = samples
                .iter()
                .map(|&i| diagonal[class][i as usize])
                .collect();
            let right = gathered(x, &samples, &set.rows[class]);
            product(&weighted(right.clone(), &weights), &right)
        })
        .collect();
    for (class, block) in diagonal_blocks.into_iter().enumerate() {
        let range = set.offsets[class]..set.offsets[class + 1];
        h.slice_mut(ndarray::s![range.clone(), range])
            .assign(&block);
    }
    for entry in h.diag_mut() {
        *entry = *entry * (1.0 + RIDGE.0) + RIDGE.1;
    }
    h
}

fn sample_pairs(p: &Array2<f32>, set: &WorkingSet, kappa: f64, seed: u64) -> Vec<PairSample> {
    let (n, classes) = p.dim();
    let omega = 1.0 / n as f64;
    let leverage: Vec<f64> = (0..classes)
        .map(|class| {
            let spread: f64 = p
                .column(class)
                .iter()
                .map(|p| f64::from(*p) * (1.0 - f64::from(*p)))
                .sum();
            set.rows[class].len() as f64 / (spread * omega).max(1e-300)
        })
        .collect();
    let pairs: Vec<(usize, usize)> = (0..classes)
        .flat_map(|a| (a + 1..classes).map(move |b| (a, b)))
        .collect();
    pairs
        .into_par_iter()
        .map(|(a, b)| {
            let mut pair = PairSample {
                a,
                b,
                samples: Vec::new(),
                weights: Vec::new(),
            };
            let scale = kappa * (leverage[a] + leverage[b]);
            for (i, row) in p.rows().into_iter().enumerate() {
                let v = omega * f64::from(row[a]) * f64::from(row[b]);
                let q = scale * v;
                if q > 0.0 && uniform(i as u64, (a * classes + b) as u64, seed) < q {
                    pair.samples.push(i as u32);
                    pair.weights.push((v / q.min(1.0)) as f32);
                }
            }
            pair
        })
        .filter(|pair| !pair.samples.is_empty())
        .collect()
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

/// Rows of the design (with the intercept's ones as row 0) for some samples: samples × |rows|.
fn gathered(x: ArrayView2<'_, f32>, samples: &[u32], rows: &[usize]) -> Array2<f32> {
    let mut out = Array2::zeros((samples.len(), rows.len()));
    for (mut out, &i) in out.rows_mut().into_iter().zip(samples) {
        let source = x.row(i as usize);
        let source = source.as_slice().expect("the design is contiguous by row");
        for (out, &row) in out.iter_mut().zip(rows) {
            *out = if row == 0 { 1.0 } else { source[row - 1] };
        }
    }
    out
}

/// Each sample's row times its weight.
fn weighted(mut rows: Array2<f32>, weights: &[f32]) -> Array2<f32> {
    for (mut row, &weight) in rows.rows_mut().into_iter().zip(weights) {
        row *= weight;
    }
    rows
}

fn product(left: &Array2<f32>, right: &Array2<f32>) -> Array2<f32> {
    let mut out = Array2::zeros((left.ncols(), right.ncols()));
    if left.nrows() > 0 {
        gemm(left.t(), right.view(), out.view_mut());
    }
    out
}
