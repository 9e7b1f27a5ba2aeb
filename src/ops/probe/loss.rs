//! The loss's parts, each exact: value and residual from predictions, what a step costs beyond its tangent, curvature.

use ndarray::Array2;
use rayon::prelude::*;

use super::targets::{Loss, Targets};

/// Rows whose losses are summed together; the sums are then added in order, so threads do not change a bit.
const ROWS: usize = 256;

/// Steps of a logit are exponentiated up to here.
const LARGE: f64 = 300.0;

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
fn softmax(z: &[f32], targets: &Targets, from: usize, out: &mut [f32]) -> f64 {
    let c = targets.columns();
    let mut e = vec![0.0f64; c];
    let mut sum = 0.0;
    for (row, (out, z)) in out.chunks_exact_mut(c).zip(z.chunks_exact(c)).enumerate() {
        let i = from + row;
        let (own, omega) = (targets.y[i] as usize, targets.omega[i]);
        for (e, z) in e.iter_mut().zip(z) {
            *e = f64::from(*z);
        }
        let max = e.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let own_logit = e[own];
        let mut total = 0.0;
        for e in &mut e {
            *e = (*e - max).exp();
            total += *e;
        }
        sum += omega * (total.ln() + max - own_logit);
        let scale = omega / total;
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
        .map(|(block, (residual, dz))| {
            let rows = residual.chunks_exact(c).zip(dz.chunks_exact(c));
            rows.enumerate()
                .map(|(row, (r, d))| row_above_tangent(r, d, t, targets, block * ROWS + row))
                .sum()
        })
        .collect();
    sums.iter().sum()
}

/// The loss's second derivative along dZ at Z, from the residual at Z.
pub(super) fn curvature_along(residual: &Array2<f32>, dz: &Array2<f32>, targets: &Targets) -> f64 {
    let mut sum = 0.0;
    for ((r, d), (i, omega)) in residual
        .rows()
        .into_iter()
        .zip(dz.rows())
        .zip(targets.omega.iter().enumerate())
    {
        if *omega == 0.0 {
            continue;
        }
        if targets.loss != Loss::Softmax {
            let (p, d) = (f64::from(r[0]).abs() / omega, f64::from(d[0]));
            let curvature = match targets.loss {
                Loss::Squared => 1.0,
                _ => p * (1.0 - p.min(1.0)),
            };
            sum += omega * curvature * d * d;
            continue;
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
        sum += omega * (square - mean * mean).max(0.0);
    }
    sum
}

fn row_above_tangent(r: &[f32], d: &[f32], t: f32, targets: &Targets, i: usize) -> f64 {
    let omega = targets.omega[i];
    if omega == 0.0 {
        return 0.0;
    }
    let (mut curved, mut linear, mut largest) = (0.0, 0.0, 0.0f64);
    let mut add = |residual: f32, step: f64| {
        let p = f64::from(residual).abs() / omega;
        // Beyond e³⁰⁰ only the size of the step counts, and a square of it must not overflow.
        curved += p * step.min(LARGE).exp_m1();
        linear += p * step;
        largest = largest.max(step);
    };
    match targets.loss {
        Loss::Softmax => {
            let own = targets.y[i] as usize;
            // Relative to the own class's step: its probability then drops out of both terms.
            let base = t * d[own];
            for (class, (r, d)) in r.iter().zip(d).enumerate() {
                if class != own {
                    add(*r, f64::from(t * d - base));
                }
            }
        }
        Loss::Sigmoid => {
            let sign = if targets.y[i] == 1 { -1.0 } else { 1.0 };
            add(r[0], sign * f64::from(t * d[0]));
        }
        Loss::Squared => {
            let step = f64::from(t) * f64::from(d[0]);
            return 0.5 * omega * step * step;
        }
    }
    omega * (curved.ln_1p() + (largest - LARGE).max(0.0) - linear)
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
