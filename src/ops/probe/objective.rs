//! The objective's parts, each exact: loss and residual from logits, penalty, KKT residual, softmax gauge.

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

use crate::labels::Labels;

/// Rows whose losses are summed together; the sums are then added in order, so threads do not change a bit.
const ROWS: usize = 256;

/// The classes that train has, and each sample's place among them.
#[derive(Debug, Clone)]
pub(super) struct Targets {
    /// Class ids that occur, ascending.
    pub classes: Vec<u32>,
    /// Index into `classes` for each sample.
    pub y: Vec<u32>,
    /// Share of each class in `classes`.
    pub share: Vec<f64>,
}

impl Targets {
    pub(super) fn new(labels: &Labels) -> Self {
        let classes = labels.present();
        let counts = labels.counts();
        let mut index = vec![u32::MAX; counts.len()];
        for (place, &class) in (0u32..).zip(&classes) {
            index[class as usize] = place;
        }
        let n = labels.len() as f64;
        Self {
            y: labels.ids().iter().map(|&id| index[id as usize]).collect(),
            share: classes
                .iter()
                .map(|&c| counts[c as usize] as f64 / n)
                .collect(),
            classes,
        }
    }

    /// Coefficients of the empty model: zero weights, centred log shares as intercept.
    pub(super) fn empty_model(&self, rows: usize) -> Array2<f32> {
        let logs: Vec<f64> = self.share.iter().map(|p| p.ln()).collect();
        let mean = logs.iter().sum::<f64>() / logs.len() as f64;
        let mut theta = Array2::zeros((rows, logs.len()));
        for (b, log) in theta.row_mut(0).iter_mut().zip(&logs) {
            *b = (log - mean) as f32;
        }
        theta
    }
}

/// Penalty of a problem: λ1 and μ = 2·λ2, and what each row of the coefficients multiplies them by.
#[derive(Debug, Clone)]
pub(super) struct Penalty {
    pub l1: f64,
    pub mu: f64,
    /// s_j: 0 for the intercept; row j is penalised by λ1·s_j·|w| + μ·s_j²·w²/2.
    pub rows: Vec<f64>,
}

impl Penalty {
    /// The same penalty with λ1 and μ times `factor`.
    pub(super) fn scaled(&self, factor: f64) -> Self {
        Self {
            l1: self.l1 * factor,
            mu: self.mu * factor,
            rows: self.rows.clone(),
        }
    }

    /// λ1 of row j.
    pub(super) fn l1_row(&self, row: usize) -> f64 {
        self.l1 * self.rows[row]
    }

    /// μ of row j.
    pub(super) fn mu_row(&self, row: usize) -> f64 {
        self.mu * self.rows[row] * self.rows[row]
    }

    /// λ1·Σ s|w| + μ/2·Σ s²w².
    pub(super) fn value(&self, theta: ArrayView2<'_, f32>) -> f64 {
        let row = |(j, weights): (usize, ndarray::ArrayView1<'_, f32>)| {
            let (mut one, mut two) = (0.0, 0.0);
            for &w in weights {
                let w = f64::from(w);
                one += w.abs();
                two += w * w;
            }
            self.l1_row(j) * one + 0.5 * self.mu_row(j) * two
        };
        theta.rows().into_iter().enumerate().map(row).sum()
    }
}

/// Mean cross-entropy at the logits Z, and its residual (P − Y)/N.
///
/// The residual of a sample's own class is minus the sum of the others: p − 1 would cancel for a confident probe.
pub(super) fn loss(z: &Array2<f32>, y: &[u32], residual: &mut Array2<f32>) -> f64 {
    let (n, c) = z.dim();
    let inverse_n = 1.0 / n as f64;
    let z = z.as_slice().expect("logits are contiguous");
    let out = residual.as_slice_mut().expect("residuals are contiguous");
    let sums: Vec<f64> = out
        .par_chunks_mut(ROWS * c)
        .enumerate()
        .map(|(block, out)| {
            let mut e = vec![0.0f64; c];
            let mut sum = 0.0;
            for (row, out) in out.chunks_exact_mut(c).enumerate() {
                let i = block * ROWS + row;
                let at = i * c..(i + 1) * c;
                let own = y[i] as usize;
                for (e, z) in e.iter_mut().zip(&z[at]) {
                    *e = f64::from(*z);
                }
                let max = e.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let own_logit = e[own];
                let mut total = 0.0;
                for e in &mut e {
                    *e = (*e - max).exp();
                    total += *e;
                }
                sum += total.ln() + max - own_logit;
                let scale = inverse_n / total;
                let mut others = 0.0;
                for (class, (out, e)) in out.iter_mut().zip(&e).enumerate() {
                    *out = (e * scale) as f32;
                    if class != own {
                        others += e * scale;
                    }
                }
                out[own] = -others as f32;
            }
            sum
        })
        .collect();
    sums.iter().sum::<f64>() * inverse_n
}

/// How much the loss at Z + t·dZ exceeds its tangent at Z: `Σᵢ [lse(zᵢ + t·dᵢ) − lse(zᵢ) − t·pᵢᵀdᵢ] / N`, from the
/// residual at Z. Exact to second order in dZ, where the difference of two losses would be f32 noise.
pub(super) fn above_tangent(residual: &Array2<f32>, dz: &Array2<f32>, t: f32, y: &[u32]) -> f64 {
    let (n, c) = dz.dim();
    let residual = residual.as_slice().expect("residuals are contiguous");
    let dz = dz.as_slice().expect("directions are contiguous");
    let sums: Vec<f64> = residual
        .par_chunks(ROWS * c)
        .zip(dz.par_chunks(ROWS * c))
        .enumerate()
        .map(|(block, (residual, dz))| {
            let rows = residual.chunks_exact(c).zip(dz.chunks_exact(c));
            let mut sum = 0.0;
            for (row, (r, d)) in rows.enumerate() {
                let own = y[block * ROWS + row] as usize;
                // Relative to the own class's step: its probability then drops out of both terms.
                let base = t * d[own];
                let (mut curved, mut linear) = (0.0, 0.0);
                for (class, (r, d)) in r.iter().zip(d).enumerate() {
                    if class != own {
                        let p = f64::from(*r) * n as f64;
                        let step = f64::from(t * d - base);
                        curved += p * step.exp_m1();
                        linear += p * step;
                    }
                }
                sum += curved.ln_1p() - linear;
            }
            sum
        })
        .collect();
    sums.iter().sum::<f64>() / n as f64
}

/// Probabilities P from the residual (P − Y)/N.
pub(super) fn probabilities(residual: &Array2<f32>, y: &[u32]) -> Array2<f32> {
    let n = residual.nrows() as f32;
    let mut p = residual.mapv(|r| r * n);
    for (mut row, &own) in p.rows_mut().into_iter().zip(y) {
        row[own as usize] += 1.0;
    }
    p
}

/// The minimum-norm subgradient of one coordinate on the scale that its penalty acts on; 0 at the optimum.
pub(super) fn violation(g: f64, w: f32, row: usize, penalty: &Penalty) -> f64 {
    if row == 0 {
        return g.abs();
    }
    let (l1, w) = (penalty.l1_row(row), f64::from(w));
    let q = g + penalty.mu_row(row) * w;
    let v = if w == 0.0 {
        (q.abs() - l1).max(0.0)
    } else {
        (q + l1 * w.signum()).abs()
    };
    v / penalty.rows[row]
}

/// ∞-norm of the minimum-norm subgradient.
pub(super) fn kkt(g: &Array2<f64>, theta: &Array2<f32>, penalty: &Penalty) -> f64 {
    let mut worst = 0.0f64;
    for ((row, class), g) in g.indexed_iter() {
        worst = worst.max(violation(*g, theta[(row, class)], row, penalty));
    }
    worst
}

/// Moves every row of the coefficients along the direction that the softmax does not see (the same amount for all
/// classes) to where its penalty is smallest, and centres the intercepts.
pub(super) fn recentre(theta: &mut Array2<f32>, penalty: &Penalty) {
    let c = theta.ncols();
    let mut sorted = vec![0.0f64; c];
    for (row, mut weights) in theta.rows_mut().into_iter().enumerate() {
        if row > 0 && weights.iter().all(|w| *w == 0.0) {
            continue;
        }
        for (s, w) in sorted.iter_mut().zip(&weights) {
            *s = f64::from(*w);
        }
        let shift = if row == 0 {
            sorted.iter().sum::<f64>() / c as f64
        } else {
            sorted.sort_by(f64::total_cmp);
            cheapest_shift(&sorted, penalty.l1_row(row), penalty.mu_row(row))
        };
        if shift != 0.0 {
            for w in &mut weights {
                *w = (f64::from(*w) - shift) as f32;
            }
        }
    }
}

/// argmin over t of Σ l1·|w − t| + mu/2·(w − t)², w ascending; without mu the median nearest 0.
fn cheapest_shift(w: &[f64], l1: f64, mu: f64) -> f64 {
    let c = w.len();
    if mu == 0.0 {
        let (low, high) = (w[(c - 1) / 2], w[c / 2]);
        return if low <= 0.0 && 0.0 <= high {
            0.0
        } else if low.abs() < high.abs() {
            low
        } else {
            high
        };
    }
    let mean = w.iter().sum::<f64>() / c as f64;
    for k in 0..=c {
        // Between w[k-1] and w[k], k of the w are below t: the derivative is linear there.
        let t = mean - l1 * (2.0 * k as f64 - c as f64) / (mu * c as f64);
        let low = if k == 0 { f64::NEG_INFINITY } else { w[k - 1] };
        let high = if k == c { f64::INFINITY } else { w[k] };
        if t <= low {
            return low;
        }
        if t <= high {
            return t;
        }
    }
    w[c - 1]
}
