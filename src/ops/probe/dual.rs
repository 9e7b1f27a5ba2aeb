//! Dual points and their values: what the objective cannot fall below.

use ndarray::linalg::general_mat_mul;
use ndarray::parallel::prelude::*;
use ndarray::{Array1, Array2, Axis};

use super::statement::Statement;
use super::targets::{Loss, Penalty, Targets};

/// Newton steps for the intercepts; about five are needed from a solver's.
const INTERCEPT_STEPS: usize = 50;
/// Class shares count as exact when they are off by no more.
const SHARE_ERROR: f64 = 1e-15;

/// Samples whose probabilities are looked at together.
const ROWS: usize = 1024;

/// The gap as if a solver's own residual (N × columns, f32) were dual feasible, with its gradient: cheap, no proof.
pub(super) fn forecast(
    problem: &Statement,
    penalty: &Penalty,
    objective: f64,
    residual: &Array2<f32>,
    gradient: &Array2<f64>,
) -> f64 {
    // V is minus the gradient; only its size counts.
    objective - value(residual, gradient, penalty, &problem.targets).0
}

/// The same where no residual is at hand, but the loss at these coefficients. At the solver's own dual point the dual function without
/// the penalty's part is `f(θ) − ⟨θ, ∇f(θ)⟩` (Fenchel's equality); at a times that point, a ≤ 1, it is at least a times as much, as it
/// is concave and not negative where a is 0.
pub(super) fn forecast_of_sums(
    penalty: &Penalty,
    objective: f64,
    (loss, theta): (f64, &Array2<f32>),
    gradient: &Array2<f64>,
) -> f64 {
    let along: f64 = theta
        .iter()
        .zip(gradient)
        .map(|(w, g)| f64::from(*w) * g)
        .sum();
    objective - best(gradient, penalty, |a| a * (loss - along)).0
}

/// The dual value at the point whose residual is Ω(Π − Y) (classes; N × C, or N × 1 for two) or −Ωρ (values), and the
/// factor a that V was shrunk by to get it (1 with μ > 0). −∞ where nothing is proved: no penalty.
pub(super) fn value<T: Copy>(
    residual: &Array2<T>,
    v: &Array2<f64>,
    penalty: &Penalty,
    targets: &Targets,
) -> (f64, f64)
where
    f64: From<T>,
{
    best(v, penalty, |a| concave(residual, targets, a))
}

/// The better of the two forms of the penalty's conjugate, of the dual function without it at a times the point.
fn best(v: &Array2<f64>, penalty: &Penalty, concave: impl Fn(f64) -> f64) -> (f64, f64) {
    let mut best = (f64::NEG_INFINITY, 1.0);
    if penalty.norm.is_none() && penalty.mu > 0.0 {
        let mut excess = 0.0;
        for ((row, _), v) in v.indexed_iter().filter(|((row, _), _)| *row > 0) {
            let over = (v.abs() - penalty.l1_row(row)).max(0.0);
            excess += over * over / (2.0 * penalty.mu_row(row));
        }
        best = (concave(1.0) - excess, 1.0);
    }
    if let Some(shrink) = shrink(v, penalty) {
        let value = concave(shrink);
        if value > best.0 {
            best = (value, shrink);
        }
    }
    best
}

/// The largest a ≤ 1 at which a·V is where a penalty without a square has a finite conjugate.
fn shrink(v: &Array2<f64>, penalty: &Penalty) -> Option<f64> {
    let entries = || v.indexed_iter().filter(|((row, _), _)| *row > 0);
    if let Some(l2) = penalty.norm {
        let fits = |a: f64| {
            let excess: f64 = entries()
                .map(|((row, _), v)| {
                    (a * v.abs() / penalty.rows[row] - penalty.l1)
                        .max(0.0)
                        .powi(2)
                })
                .sum();
            excess <= l2 * l2
        };
        if fits(1.0) {
            return Some(1.0);
        }
        let (mut low, mut high) = (0.0, 1.0);
        for _ in 0..60 {
            let middle = f64::midpoint(low, high);
            if fits(middle) {
                low = middle;
            } else {
                high = middle;
            }
        }
        return Some(low);
    }
    (penalty.l1 > 0.0).then(|| {
        let ratio = entries().map(|((row, _), v)| v.abs() / penalty.l1_row(row));
        1.0 / ratio.fold(1.0, f64::max)
    })
}

/// The dual function without the penalty's part, at a times the point.
fn concave<T: Copy>(residual: &Array2<T>, targets: &Targets, a: f64) -> f64
where
    f64: From<T>,
{
    let mut sum = 0.0;
    for (i, row) in residual.rows().into_iter().enumerate() {
        let omega = targets.omega[i];
        if omega == 0.0 {
            continue;
        }
        sum += omega
            * match targets.loss {
                Loss::Squared => {
                    let rho = -a * f64::from(row[0]) / omega;
                    let value: f64 = targets.values[i].into();
                    value * rho - 0.5 * rho * rho
                }
                _ if row.len() == 1 => {
                    let wrong = (a * f64::from(row[0]).abs() / omega).min(1.0);
                    entropy(wrong) + entropy(1.0 - wrong)
                }
                _ => {
                    let own = targets.y[i] as usize;
                    let others = row.iter().enumerate().filter(|(class, _)| *class != own);
                    let shifted = others
                        .map(|(_, r)| entropy(a * f64::from(*r) / omega))
                        .sum::<f64>();
                    shifted + entropy(1.0 + a * f64::from(row[own]) / omega)
                }
            };
    }
    sum
}

fn entropy(p: f64) -> f64 {
    if p > 0.0 { -p * p.ln() } else { 0.0 }
}

/// The residual Ω(Z − Y) of values, centred: the intercept's dual constraint.
pub(super) fn centred(residual: &Array2<f64>, targets: &Targets) -> Array2<f64> {
    let mean = residual.sum();
    Array2::from_shape_fn(residual.dim(), |(i, _)| {
        residual[(i, 0)] - targets.omega[i] * mean
    })
}

/// Probabilities at logits whose intercepts are moved until the class shares are those of the labels, and the sum of
/// what the shares still miss: the intercept's dual constraint.
pub(super) fn feasible(z: &Array2<f64>, targets: &Targets) -> (Array2<f64>, f64) {
    let share = &targets.share;
    let mut shift = vec![0.0; share.len()];
    let mut best = (f64::INFINITY, shift.clone());
    let mut p = Array2::zeros(z.dim());
    for _ in 0..INTERCEPT_STEPS {
        shifted(z, &shift, &mut p);
        let (mean, curvature) = curvature(&p, targets);
        let off: Vec<f64> = mean.iter().zip(share).map(|(m, s)| m - s).collect();
        let missed: f64 = off.iter().map(|o| o.abs()).sum();
        if missed >= best.0 {
            break; // rounding: no step gets nearer
        }
        best = (missed, shift.clone());
        if missed <= SHARE_ERROR {
            break;
        }
        for (shift, step) in shift.iter_mut().zip(newton_step(curvature, &off)) {
            *shift -= step;
        }
    }
    let (missed, best) = best;
    shifted(z, &best, &mut p);
    let exact = missed <= share.len() as f64 * SHARE_ERROR;
    (p, if exact { 0.0 } else { missed })
}

/// Probabilities at logits Z + shift.
fn shifted(z: &Array2<f64>, shift: &[f64], p: &mut Array2<f64>) {
    let rows = p.axis_chunks_iter_mut(Axis(0), ROWS).into_par_iter();
    rows.zip(z.axis_chunks_iter(Axis(0), ROWS))
        .for_each(|(mut p, z)| {
            p.assign(&z);
            p += &ndarray::aview1(shift);
            for mut row in p.rows_mut() {
                let max = row.fold(f64::NEG_INFINITY, |a, b| a.max(*b));
                row.mapv_inplace(|v| (v - max).exp());
                let total = row.sum();
                row /= total;
            }
        });
}

/// Weighted class means of P, and the softmax's curvature `diag(mean) − PᵀΩP`, over runs of rows: no weighted copy of P.
fn curvature(p: &Array2<f64>, targets: &Targets) -> (Array1<f64>, Array2<f64>) {
    let c = p.ncols();
    let (mut mean, mut product) = (Array1::zeros(c), Array2::zeros((c, c)));
    for (p, omega) in p
        .axis_chunks_iter(Axis(0), ROWS)
        .zip(targets.omega.chunks(ROWS))
    {
        let mut weighted = p.to_owned();
        for (mut row, omega) in weighted.rows_mut().into_iter().zip(omega) {
            row *= *omega;
        }
        mean += &weighted.sum_axis(Axis(0));
        general_mat_mul(1.0, &weighted.t(), &p, 1.0, &mut product);
    }
    (mean.clone(), Array2::from_diag(&mean) - product)
}

/// H⁻¹g for the softmax's C × C curvature, which is singular along equal intercepts: that direction is filled in, and
/// g has no part of it. By Gaussian elimination; the filled matrix is positive definite.
fn newton_step(mut h: Array2<f64>, g: &[f64]) -> Vec<f64> {
    let c = g.len();
    let scale = h.diag().sum() / c as f64;
    h += scale / c as f64;
    for entry in h.diag_mut() {
        *entry += 1e-14 * scale;
    }
    let mut x = g.to_vec();
    for k in 0..c {
        for row in k + 1..c {
            let factor = h[(row, k)] / h[(k, k)];
            for column in k..c {
                h[(row, column)] -= factor * h[(k, column)];
            }
            x[row] -= factor * x[k];
        }
    }
    for k in (0..c).rev() {
        let known: f64 = (k + 1..c).map(|column| h[(k, column)] * x[column]).sum();
        x[k] = (x[k] - known) / h[(k, k)];
    }
    x
}
