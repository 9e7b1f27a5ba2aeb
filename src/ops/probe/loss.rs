//! The loss's parts, each exact: value and residual from predictions, what a step costs beyond its tangent, curvature.

use multiversion::multiversion;
use ndarray::Array2;
use rayon::prelude::*;

use super::targets::{Loss, Targets};
use crate::ops::vector;

/// Rows whose losses are summed together; the sums are then added in order, so threads do not change a bit.
const ROWS: usize = 256;

/// Steps of a logit are exponentiated in f32 up to here.
const LARGE: f32 = 80.0;

/// Σᵢ ωᵢ·loss(zᵢ) at the predictions Z (N × columns), and its derivative with respect to Z into `residual`.
pub(super) fn loss(z: &Array2<f32>, targets: &Targets, residual: &mut Array2<f32>) -> f64 {
    let c = targets.columns();
    let z = z.as_slice().expect("predictions are contiguous");
    let out = residual.as_slice_mut().expect("residuals are contiguous");
    let sums: Vec<f64> = out
        .par_chunks_mut(ROWS * c)
        .zip(z.par_chunks(ROWS * c))
        .enumerate()
        .map(|(block, (out, z))| {
            let from = block * ROWS;
            match targets.loss {
                Loss::Softmax => softmax(z, targets, from, out),
                Loss::Sigmoid => sigmoid(z, targets, from, out),
                Loss::Squared => squared(z, targets, from, out),
            }
        })
        .collect();
    sums.iter().sum()
}

/// The residual of a sample's own class is minus the sum of the others: p − 1 would cancel for a confident probe.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512dq+fma", "x86_64+avx2+fma"))]
fn softmax(z: &[f32], targets: &Targets, from: usize, out: &mut [f32]) -> f64 {
    let c = targets.columns();
    let mut exponentials = vec![0.0f64; z.len()];
    for (e, z) in exponentials.chunks_exact_mut(c).zip(z.chunks_exact(c)) {
        let max = f64::from(z.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        for (e, z) in e.iter_mut().zip(z) {
            *e = f64::from(*z) - max;
        }
    }
    let mut sum = 0.0;
    let labels = targets.y[from..].iter().zip(&targets.omega[from..]);
    for (e, (&own, omega)) in exponentials.chunks_exact(c).zip(labels) {
        sum -= omega * e[own as usize];
    }
    for e in &mut exponentials {
        *e = vector::exp(*e);
    }
    let rows = out
        .chunks_exact_mut(c)
        .zip(exponentials.chunks_exact_mut(c));
    let labels = targets.y[from..].iter().zip(&targets.omega[from..]);
    for ((out, e), (&own, omega)) in rows.zip(labels) {
        let own = own as usize;
        let likely = std::mem::take(&mut e[own]);
        let others: f64 = e.iter().sum();
        // Of a confident row the others' share alone: 1 + ε would lose it.
        sum += omega
            * if likely == 1.0 {
                others.ln_1p()
            } else {
                (others + likely).ln()
            };
        let scale = omega / (others + likely);
        for (out, e) in out.iter_mut().zip(&*e) {
            *out = (e * scale) as f32;
        }
        out[own] = -(others * scale) as f32;
    }
    sum
}

/// z is the logit of the second class against the first.
fn sigmoid(z: &[f32], targets: &Targets, from: usize, out: &mut [f32]) -> f64 {
    let mut sum = 0.0;
    for (row, (out, z)) in out.iter_mut().zip(z).enumerate() {
        let i = from + row;
        let sign = if targets.y[i] == 1 { -1.0 } else { 1.0 };
        let against = sign * f64::from(*z); // the logit of the wrong class
        let e = (-against.abs()).exp();
        sum += targets.omega[i] * (against.max(0.0) + e.ln_1p());
        let wrong = if against > 0.0 {
            1.0 / (1.0 + e)
        } else {
            e / (1.0 + e)
        };
        *out = (sign * targets.omega[i] * wrong) as f32;
    }
    sum
}

fn squared(z: &[f32], targets: &Targets, from: usize, out: &mut [f32]) -> f64 {
    let mut sum = 0.0;
    for (row, (out, z)) in out.iter_mut().zip(z).enumerate() {
        let i = from + row;
        let error = f64::from(*z) - f64::from(targets.values[i]);
        sum += 0.5 * targets.omega[i] * error * error;
        *out = (targets.omega[i] * error) as f32;
    }
    sum
}

/// How much the loss at Z + t·dZ exceeds its tangent at Z, from the residual at Z. For the softmax
/// `Σᵢ ωᵢ [lse(zᵢ + t·dᵢ) − lse(zᵢ) − t·pᵢᵀdᵢ]`. Exact to second order in dZ, where the difference of two losses would
/// be f32 noise.
pub(super) fn above_tangent(
    residual: &Array2<f32>,
    dz: &Array2<f32>,
    t: f32,
    targets: &Targets,
) -> f64 {
    let c = targets.columns();
    let residual = residual.as_slice().expect("residuals are contiguous");
    let dz = dz.as_slice().expect("directions are contiguous");
    let sums: Vec<f64> = residual
        .par_chunks(ROWS * c)
        .zip(dz.par_chunks(ROWS * c))
        .enumerate()
        .map(|(block, (residual, dz))| match targets.loss {
            Loss::Squared => squared_above_tangent(dz, t, &targets.omega[block * ROWS..]),
            _ => rows_above_tangent(residual, dz, t, targets, block * ROWS),
        })
        .collect();
    sums.iter().sum()
}

/// The loss's second derivative along dZ at Z, from the residual at Z.
pub(super) fn curvature_along(residual: &Array2<f32>, dz: &Array2<f32>, targets: &Targets) -> f64 {
    let c = targets.columns();
    let residual = residual.as_slice().expect("residuals are contiguous");
    let dz = dz.as_slice().expect("directions are contiguous");
    let sums: Vec<f64> = residual
        .par_chunks(ROWS * c)
        .zip(dz.par_chunks(ROWS * c))
        .enumerate()
        .map(|(block, (residual, dz))| {
            let rows = residual.chunks_exact(c).zip(dz.chunks_exact(c));
            (block * ROWS..)
                .zip(rows)
                .map(|(i, (r, d))| row_curvature(r, d, targets, i))
                .sum()
        })
        .collect();
    sums.iter().sum()
}

fn row_curvature(r: &[f32], d: &[f32], targets: &Targets, i: usize) -> f64 {
    let omega = targets.omega[i];
    if omega == 0.0 {
        return 0.0;
    }
    if targets.loss != Loss::Softmax {
        let (p, d) = (f64::from(r[0]).abs() / omega, f64::from(d[0]));
        let curvature = match targets.loss {
            Loss::Squared => 1.0,
            _ => p * (1.0 - p.min(1.0)),
        };
        return omega * curvature * d * d;
    }
    let own = targets.y[i] as usize;
    let (mut mean, mut square) = (0.0, 0.0);
    for (class, (r, step)) in r.iter().zip(d).enumerate() {
        if class != own {
            let step = f64::from(*step) - f64::from(d[own]);
            let p = f64::from(*r) / omega;
            mean += p * step;
            square += p * step * step;
        }
    }
    omega * (square - mean * mean).max(0.0)
}

fn squared_above_tangent(dz: &[f32], t: f32, omega: &[f64]) -> f64 {
    let step = |(d, omega): (&f32, &f64)| 0.5 * omega * (f64::from(t) * f64::from(*d)).powi(2);
    dz.iter().zip(omega).map(step).sum()
}

/// With s the steps of the wrong classes' logits relative to the own one's, whose probability then drops out, this is
/// `ln(1 + Σ p (eˢ − 1)) − Σ p s`.
#[multiversion(targets("x86_64+avx2+fma"))]
fn rows_above_tangent(residual: &[f32], dz: &[f32], t: f32, targets: &Targets, from: usize) -> f64 {
    let c = targets.columns();
    let mut steps = vec![0.0f32; dz.len()];
    let labels = targets.y[from..].iter();
    for ((steps, d), &y) in steps
        .chunks_exact_mut(c)
        .zip(dz.chunks_exact(c))
        .zip(labels)
    {
        if c == 1 {
            steps[0] = if y == 1 { -t * d[0] } else { t * d[0] };
            continue;
        }
        let own = t * d[y as usize];
        for (step, d) in steps.iter_mut().zip(d) {
            *step = t * d - own;
        }
    }
    let mut curved = steps.clone();
    for curved in &mut curved {
        *curved = vector::exp_above_tangent(curved.min(LARGE));
    }
    let mut sum = 0.0;
    let labels = targets.y[from..].iter().zip(&targets.omega[from..]);
    let rows = residual.chunks_exact(c).zip(steps.chunks_exact(c));
    for (((r, steps), curved), (&y, &omega)) in rows.zip(curved.chunks_exact(c)).zip(labels) {
        if omega == 0.0 {
            continue;
        }
        let (mut second, mut linear, mut largest) = (0.0, 0.0, 0.0f32);
        for (class, ((r, step), curved)) in r.iter().zip(steps).zip(curved).enumerate() {
            if class != y as usize || c == 1 {
                let p = f64::from(r.abs());
                second += p * f64::from(*curved);
                linear += p * f64::from(*step);
                largest = largest.max(*step);
            }
        }
        let (second, linear) = (second / omega, linear / omega);
        sum += omega
            * if largest > LARGE || second + linear < -0.5 {
                far_above_tangent(r, steps, y as usize, omega)
            } else {
                row_above_tangent(second, linear)
            };
    }
    sum
}

/// `ln(1 + x) − l` of `x = Σ p (eˢ − 1)` and `l = Σ p s`, from `x − l` and l.
fn row_above_tangent(second: f64, linear: f64) -> f64 {
    let x = second + linear;
    if x > 0.5 {
        x.ln_1p() - linear
    } else {
        second - (x - x.ln_1p()) // exact to second order, where the difference of the two would be rounding
    }
}

/// The same of a row that goes far, or whose wrong class was certain and no longer is: in f64, where neither overflows nor
/// cancels.
fn far_above_tangent(r: &[f32], steps: &[f32], own: usize, omega: f64) -> f64 {
    /// Steps are exponentiated up to here; beyond it only their size counts.
    const FARTHEST: f64 = 300.0;
    let (mut curved, mut linear, mut largest) = (0.0f64, 0.0, 0.0f64);
    let one_column = r.len() == 1;
    for (class, (r, step)) in r.iter().zip(steps).enumerate() {
        if class != own || one_column {
            let (p, step) = (f64::from(r.abs()) / omega, f64::from(*step));
            curved += p * step.min(FARTHEST).exp_m1();
            linear += p * step;
            largest = largest.max(step);
        }
    }
    // Probabilities of f32 may sum to a little more than 1.
    curved.max(-1.0 + 1e-12).ln_1p() + (largest - FARTHEST).max(0.0) - linear
}

/// Probabilities P from a softmax's residual Ω(P − Y); a row without weight counts as certain.
pub(super) fn probabilities(residual: &Array2<f32>, targets: &Targets) -> Array2<f32> {
    let mut p = residual.clone();
    for (i, mut row) in p.rows_mut().into_iter().enumerate() {
        if targets.omega[i] > 0.0 {
            let scale = targets.omega[i].recip() as f32;
            row.mapv_inplace(|r| r * scale);
        }
        row[targets.y[i] as usize] += 1.0;
    }
    p
}

/// The loss's second derivatives with respect to each prediction, N × columns: ωp(1 − p), or ω.
pub(super) fn curvature(residual: &Array2<f32>, targets: &Targets) -> Array2<f32> {
    let squared = targets.loss == Loss::Squared;
    Array2::from_shape_fn(residual.dim(), |(i, class)| {
        let omega = targets.omega[i];
        if squared {
            return omega as f32;
        }
        // The residual is ωp, or ω(p − 1) of the own class: either gives p(1 − p).
        let weighted = f64::from(residual[(i, class)]).abs();
        (weighted * (1.0 - (weighted / omega.max(f64::MIN_POSITIVE)).min(1.0))) as f32
    })
}
