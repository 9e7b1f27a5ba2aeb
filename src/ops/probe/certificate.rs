//! Certificates: objective, duality gap, KKT residual and gap-safe counts of given coefficients, in f64 on the CPU, apart
//! from the solvers and whatever device they ran on.
//!
//! Dual variable Π (rows in the simplex, class shares equal to those of the labels), V = Xᵀ(Y − Π)/N, H the entropy:
//! `D(Π) = Σᵢ H(πᵢ)/N − Σ_jc (|V_jc| − λ1_j)₊² / (2 μ_j)`; any feasible Π bounds the optimum from below. With μ = 0 the
//! mixture (1−a)·Y + a·Π, a = min(1, λ1/|V|), is feasible and the second term vanishes. Π is the probe's own
//! probabilities at the intercepts that make the class shares exact, found by Newton's method. Scaling rows and columns
//! in turn (Sinkhorn) does not get there when most rows are nearly one-hot, and a dual point that misses the shares
//! proves nothing.

use ndarray::{Array2, Axis, s};

use super::objective::{self, Penalty, Targets, probabilities};
use super::statement::Statement;
use super::{Certificate, Design, cpu};

/// Newton steps for the intercepts; about five are needed from a solver's.
const INTERCEPT_STEPS: usize = 50;
/// Class shares count as exact when they are off by no more.
const SHARE_ERROR: f64 = 1e-15;
/// f64 sums leave a gap uncertain by about this share of the objective: never certify by less.
const GAP_FLOOR: f64 = 1e-12;

/// Coefficients of a problem, to be certified.
pub(super) struct Point<'a> {
    pub targets: &'a Targets,
    pub penalty: &'a Penalty,
    /// (d + 1) × C, intercept first.
    pub theta: &'a Array2<f32>,
    pub lambda_max: f64,
    pub passes: f64,
}

/// The gap as if P were dual feasible, from a solver's f32 residual and gradient: cheap, no proof.
pub(super) fn forecast(
    problem: &Statement,
    objective: f64,
    residual: &Array2<f32>,
    gradient: &Array2<f64>,
) -> f64 {
    let p = probabilities(residual, &problem.targets.y).mapv(f64::from);
    let v = gradient.mapv(|g| -g);
    objective - dual_value(&p, &v, &problem.penalty, &problem.targets.y).0
}

/// Objective and certificate of every point: f64 GEMMs for all of them together.
pub(super) fn certify(
    design: &Design,
    points: &[Point<'_>],
    relative_gap: f64,
) -> Vec<(f64, Certificate)> {
    let thetas: Vec<Array2<f64>> = points
        .iter()
        .map(|p| p.theta.slice(s![1.., ..]).mapv(f64::from))
        .collect();
    let logits = cpu::forward_f64(design.z(), joined(&thetas).view());
    let mut losses = Vec::new();
    let mut slack = Vec::new();
    let mut residuals = Vec::new();
    let mut at = 0;
    for point in points {
        let c = point.theta.ncols();
        let z = &logits.slice(s![.., at..at + c]) + &point.theta.row(0).mapv(f64::from);
        at += c;
        let mut p = z.clone();
        losses.push(softmax(&mut p, &point.targets.y));
        let (dual, missed) = feasible(&z, &point.targets.share);
        slack.push(missed * intercept_range(point.theta));
        residuals.push(minus_labels(&p, &point.targets.y));
        residuals.push(minus_labels(&dual, &point.targets.y));
    }
    let gradients = cpu::backward_f64(design.z(), joined(&residuals).view());
    let mut at = 0;
    let mut next = |residual: &Array2<f64>| {
        let c = residual.ncols();
        let mut gradient = Array2::zeros((gradients.nrows() + 1, c));
        gradient
            .slice_mut(s![1.., ..])
            .assign(&gradients.slice(s![.., at..at + c]));
        gradient.row_mut(0).assign(&residual.sum_axis(Axis(0)));
        at += c;
        gradient
    };
    let mut certified = Vec::new();
    for (place, point) in points.iter().enumerate() {
        let pair = &residuals[2 * place..2 * place + 2];
        let gradient = next(&pair[0]);
        let v = next(&pair[1]).mapv(|g| -g);
        let objective = losses[place] + point.penalty.value(point.theta.view());
        let dual = with_labels(&pair[1], &point.targets.y);
        certified.push((
            objective,
            certificate(
                point,
                objective,
                &gradient,
                &dual,
                &v,
                slack[place],
                relative_gap,
            ),
        ));
    }
    certified
}

fn certificate(
    point: &Point<'_>,
    objective: f64,
    gradient: &Array2<f64>,
    dual: &Array2<f64>,
    v: &Array2<f64>,
    slack: f64,
    relative_gap: f64,
) -> Certificate {
    let (value, shrink) = dual_value(dual, v, point.penalty, &point.targets.y);
    let gap = (objective - value + slack).max(GAP_FLOOR * objective);
    let kkt = objective::kkt(gradient, point.theta, point.penalty);
    let (certified_zeros, certified_nonzeros) = gap_safe(point, v, shrink, gap);
    Certificate {
        kkt,
        kkt_relative: kkt / point.lambda_max.max(point.penalty.l1),
        duality_gap: gap,
        relative_gap: gap / objective,
        passes: point.passes,
        converged: gap <= relative_gap * objective,
        certified_zeros,
        certified_nonzeros,
    }
}

fn joined(parts: &[Array2<f64>]) -> Array2<f64> {
    let views: Vec<_> = parts.iter().map(|p| p.view()).collect();
    ndarray::concatenate(Axis(1), &views).expect("all parts have as many rows")
}

/// Logits → probabilities in place; returns the mean cross-entropy.
fn softmax(z: &mut Array2<f64>, y: &[u32]) -> f64 {
    let n = y.len() as f64;
    let mut sum = 0.0;
    for (mut row, &own) in z.rows_mut().into_iter().zip(y) {
        let max = row.fold(f64::NEG_INFINITY, |a, b| a.max(*b));
        let own = row[own as usize];
        row.mapv_inplace(|v| (v - max).exp());
        let total = row.sum();
        row /= total;
        sum += total.ln() + max - own;
    }
    sum / n
}

/// (P − Y)/N; the own class's entry is minus the sum of the others.
fn minus_labels(p: &Array2<f64>, y: &[u32]) -> Array2<f64> {
    let n = y.len() as f64;
    let mut r = p / n;
    for (mut row, &own) in r.rows_mut().into_iter().zip(y) {
        row[own as usize] = 0.0;
        let others = row.sum();
        row[own as usize] = -others;
    }
    r
}

/// The inverse of [`minus_labels`].
fn with_labels(r: &Array2<f64>, y: &[u32]) -> Array2<f64> {
    let mut p = r * y.len() as f64;
    for (mut row, &own) in p.rows_mut().into_iter().zip(y) {
        row[own as usize] += 1.0;
    }
    p
}

/// Probabilities at logits whose intercepts are moved until the class shares are those of the labels, and the sum of
/// what the shares still miss: the intercept's dual constraint.
fn feasible(z: &Array2<f64>, share: &[f64]) -> (Array2<f64>, f64) {
    let n = z.nrows() as f64;
    let mut shift = vec![0.0; share.len()];
    let mut best: Option<(f64, Array2<f64>)> = None;
    for _ in 0..INTERCEPT_STEPS {
        let mut p = z + &ndarray::aview1(&shift);
        for mut row in p.rows_mut() {
            let max = row.fold(f64::NEG_INFINITY, |a, b| a.max(*b));
            row.mapv_inplace(|v| (v - max).exp());
            let total = row.sum();
            row /= total;
        }
        let mean = p.sum_axis(Axis(0)) / n;
        let off: Vec<f64> = mean.iter().zip(share).map(|(m, s)| m - s).collect();
        let missed: f64 = off.iter().map(|o| o.abs()).sum();
        if best.as_ref().is_some_and(|(least, _)| missed >= *least) {
            break; // rounding: no step gets nearer
        }
        let curvature = Array2::from_diag(&mean) - p.t().dot(&p) / n;
        best = Some((missed, p));
        if missed <= SHARE_ERROR {
            break;
        }
        for (shift, step) in shift.iter_mut().zip(newton_step(curvature, &off)) {
            *shift -= step;
        }
    }
    let (missed, p) = best.expect("the first step always counts");
    (
        p,
        if missed <= share.len() as f64 * SHARE_ERROR {
            0.0
        } else {
            missed
        },
    )
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

/// What a missed class share can cost the dual bound: twice the range of the intercepts a unit.
fn intercept_range(theta: &Array2<f32>) -> f64 {
    let row = theta.row(0);
    let least = row.fold(f32::INFINITY, |a, b| a.min(*b));
    let most = row.fold(f32::NEG_INFINITY, |a, b| a.max(*b));
    2.0 * f64::from(most - least)
}

/// The dual value and the factor that V was shrunk by to get it (1 with μ > 0).
fn dual_value(p: &Array2<f64>, v: &Array2<f64>, penalty: &Penalty, y: &[u32]) -> (f64, f64) {
    let mut best = (f64::NEG_INFINITY, 1.0);
    if penalty.mu > 0.0 {
        let mut excess = 0.0;
        for ((row, _), v) in v.indexed_iter().filter(|((row, _), _)| *row > 0) {
            let over = (v.abs() - penalty.l1_row(row)).max(0.0);
            excess += over * over / (2.0 * penalty.mu_row(row));
        }
        best = (entropy(p, y, 1.0) - excess, 1.0);
    }
    if penalty.l1 > 0.0 {
        let ratio = v
            .indexed_iter()
            .filter(|((row, _), _)| *row > 0)
            .map(|((row, _), v)| v.abs() / penalty.l1_row(row));
        let shrink = 1.0 / ratio.fold(1.0, f64::max);
        let value = entropy(p, y, shrink);
        if value > best.0 {
            best = (value, shrink);
        }
    }
    best
}

/// Mean entropy of the rows (1 − a)·Y + a·P.
fn entropy(p: &Array2<f64>, y: &[u32], a: f64) -> f64 {
    let mut sum = 0.0;
    for (row, &own) in p.rows().into_iter().zip(y) {
        for (class, &v) in row.iter().enumerate() {
            let v = a * v + if class == own as usize { 1.0 - a } else { 0.0 };
            if v > 0.0 {
                sum -= v * v.ln();
            }
        }
    }
    sum / p.nrows() as f64
}

/// Weights that every optimum has at zero (a|V_jc| + √(gap/2) < λ1_j, columns of unit variance), and, by strong
/// convexity of the penalty, weights that every optimum has away from zero (|w| > √(2·gap/μ_j)).
fn gap_safe(point: &Point<'_>, v: &Array2<f64>, shrink: f64, gap: f64) -> (usize, usize) {
    let radius = (gap / 2.0).sqrt();
    let (mut zeros, mut nonzeros) = (0, 0);
    for ((row, class), v) in v.indexed_iter().filter(|((row, _), _)| *row > 0) {
        let penalty = point.penalty;
        if shrink * v.abs() + radius < penalty.l1_row(row) {
            zeros += 1;
        }
        let mu = penalty.mu_row(row);
        if mu > 0.0 && f64::from(point.theta[(row, class)]).abs() > (2.0 * gap / mu).sqrt() {
            nonzeros += 1;
        }
    }
    (zeros, nonzeros)
}
