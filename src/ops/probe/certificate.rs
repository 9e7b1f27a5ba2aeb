//! Certificates: objective, duality gap, KKT residual and gap-safe counts of given coefficients, in f64 on the CPU, apart
//! from the solvers and whatever device they ran on.
//!
//! Classes: dual variable Π (rows in the simplex, class shares equal to those of the labels), V = XᵀΩ(Y − Π), H the
//! entropy: `D(Π) = Σᵢ ωᵢ H(πᵢ) − P*(V)`. Values: ρ with Σ ωᵢ ρᵢ = 0, V = XᵀΩρ: `D(ρ) = Σᵢ ωᵢ (yᵢ ρᵢ − ρᵢ²/2) − P*(V)`.
//! The penalty's conjugate P* is `Σ_jc (|V_jc| − λ1_j)₊² / (2 μ_j)` with μ > 0, and otherwise 0 where |V_jc| ≤ λ1_j (for
//! NeuroX's norm: where ‖(|V/s| − λ1)₊‖_F ≤ λ2) and infinite elsewhere. Mixing the dual point with its trivial one
//! ((1−a)·Y + a·Π, a·ρ) scales V by a and so reaches that region. Any feasible point bounds the optimum from below.
//!
//! Π is the probe's own probabilities at the intercepts that make the class shares exact, found by Newton's method
//! ([`super::dual::intercepts`]), and ρ its own errors where the intercept centres them. Those intercepts are the best ones for its
//! weights, and nothing is penalised less: it is the probe with them, in f64, that is certified and handed out, and −V is its
//! gradient.
//!
//! Rounding of exponentials costs no more than tightness: every row that sums to 1 will do. Where no intercepts make the shares exact, Π is
//! mixed with a distribution that is the same for all samples, as much of it as makes them so. Scaling rows and columns in turn
//! (Sinkhorn) does not get there when most rows are nearly one-hot, and a dual point that misses the shares proves nothing.

use std::borrow::Cow;

use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis};
use rayon::prelude::*;

use super::dual::{self, intercepts, softmax};
use super::kkt;
use super::slab::Slab;
use super::statement::{Spent, Statement};
use super::stop::Rule;
use super::targets::{Loss, Penalty, Targets};
use super::{Certificate, cpu};
use crate::error::{Error, Result};

/// f64 sums leave a gap uncertain by about this share of the objective: never certify by less.
pub(super) const GAP_FLOOR: f64 = 1e-12;
/// Columns that are certified together, unless one problem has more: enough for a product, and what bounds the f64 copies.
pub(super) const COLUMNS: usize = 32;
/// Samples whose losses are summed together; the sums are then added in order, so threads do not change a bit.
const ROWS: usize = 256;
/// Passes that a certificate costs: a forward GEMM and a backward one.
const PASSES: f64 = 1.0;

/// Coefficients of a problem, to be certified.
pub(super) struct Point<'a> {
    problem: &'a Statement,
    /// As solved: (d + 1) × columns, intercept first.
    theta: &'a Array2<f32>,
    passes: f64,
    /// Pass-equivalents so far.
    work: f64,
    depth: usize,
}

impl<'a> Point<'a> {
    pub(super) fn new(problem: &'a Statement, theta: &'a Array2<f32>, spent: &Spent) -> Self {
        Self {
            problem,
            theta,
            passes: spent.passes,
            work: spent.work(problem),
            depth: spent.depth,
        }
    }
}

/// A point with a column for each class.
struct Unfolded<'a> {
    point: &'a Point<'a>,
    theta: Array2<f32>,
    penalty: Penalty,
}

/// What is found of given weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Certified {
    /// The best intercepts for them on standardised activations: one for each class that occurs, ascending, whose sum is that of the
    /// given ones (0 of two classes, which have one column), or one for values.
    pub intercepts: Vec<f64>,
    /// Loss and penalty with these intercepts.
    pub objective: f64,
    /// How near the optimum that is.
    pub certificate: Certificate,
}

/// What its predictions tell of a point.
struct Evaluated {
    intercepts: Vec<f64>,
    /// How much of the dual point has to be mixed with another one.
    mixed: f64,
    /// With these intercepts.
    loss: f64,
    /// And of the dual point.
    residual: Array2<f64>,
}

/// Intercepts, objective and certificate of every point.
///
/// # Errors
/// When an unpenalised problem's classes are separable: it has no optimum.
pub(super) fn certify(
    slabs: &[Slab<'_>],
    points: &[Point<'_>],
    rule: &Rule,
) -> Result<Vec<Certified>> {
    let mut out: Vec<Option<Certified>> = vec![None; points.len()];
    for (place, slab) in slabs.iter().enumerate() {
        let members: Vec<usize> = (0..points.len())
            .filter(|&p| points[p].problem.slab == place)
            .collect();
        let mut from = 0;
        while from < members.len() {
            let (mut to, mut columns) = (from, 0);
            let width = |p: usize| points[p].problem.targets.classes.len();
            while to < members.len() && (to == from || columns + width(members[to]) <= COLUMNS) {
                columns += width(members[to]);
                to += 1;
            }
            let group: Vec<Unfolded<'_>> = members[from..to]
                .iter()
                .map(|&p| unfolded(&points[p]))
                .collect();
            for (&p, done) in members[from..to]
                .iter()
                .zip(certify_group(slab, &group, rule)?)
            {
                out[p] = Some(done);
            }
            from = to;
        }
    }
    Ok(out
        .into_iter()
        .map(|c| c.expect("every point is in a group"))
        .collect())
}

fn unfolded<'a>(point: &'a Point<'a>) -> Unfolded<'a> {
    let theta = point.problem.targets.unfold(point.theta);
    let mut penalty = point.problem.full_penalty.clone();
    penalty.touch(&theta);
    Unfolded {
        point,
        theta,
        penalty,
    }
}

fn certify_group(slab: &Slab<'_>, points: &[Unfolded<'_>], rule: &Rule) -> Result<Vec<Certified>> {
    let thetas: Vec<Array2<f64>> = points.iter().map(|p| p.theta.mapv(f64::from)).collect();
    let predictions = cpu::forward(slab, &views(&thetas))?;
    let each = points.par_iter().zip(predictions);
    let evaluated: Vec<Evaluated> = each
        .map(|(point, z)| evaluate(z, point))
        .collect::<Result<_>>()?;
    let residuals: Vec<_> = evaluated
        .iter()
        .map(|found| found.residual.view())
        .collect();
    let gradients = cpu::backward(slab, &residuals)?;
    let each = points.iter().zip(evaluated).zip(&gradients);
    let certified =
        each.map(|((point, found), gradient)| certificate(point, found, gradient, rule));
    Ok(certified.collect())
}

/// The certificate, by the gradient, which is −V: only its size counts.
fn certificate(
    point: &Unfolded<'_>,
    found: Evaluated,
    gradient: &Array2<f64>,
    rule: &Rule,
) -> Certified {
    let problem = point.point.problem;
    let objective = found.loss + point.penalty.value(&point.theta);
    let residual = &found.residual;
    let v = match found.mixed {
        0.0 => Cow::Borrowed(gradient),
        mixed => {
            let norm = |row| problem.column_norm(row);
            Cow::Owned(dual::mixture(gradient, mixed, norm))
        }
    };
    let (value, shrink) = dual::value(residual, &v, found.mixed, &point.penalty, &problem.targets);
    let gap = match objective - value {
        gap if gap.is_nan() => f64::INFINITY,
        gap => gap.max(GAP_FLOOR * objective),
    };
    let kkt = kkt::kkt(gradient, &point.theta, &point.penalty);
    let (certified_zeros, certified_nonzeros) = gap_safe(point, &v, shrink, gap);
    let mut certificate = Certificate {
        kkt,
        kkt_relative: kkt / problem.lambda_max.max(point.penalty.l1),
        duality_gap: gap,
        relative_gap: gap / objective.max(f64::MIN_POSITIVE),
        passes: point.point.passes,
        work: point.point.work + PASSES,
        depth: point.point.depth,
        converged: false,
        certified_zeros,
        certified_nonzeros,
    };
    // Comparisons with NaN could call anything an optimum.
    certificate.converged = objective.is_finite()
        && (rule.met(&certificate, point.penalty.l1) || objective <= problem.goal);
    Certified {
        intercepts: found.intercepts,
        objective,
        certificate,
    }
}

/// What predictions tell of a point; they are made a residual in place.
fn evaluate(mut z: Array2<f64>, point: &Unfolded<'_>) -> Result<Evaluated> {
    let targets = &point.point.problem.targets;
    let mut intercepts: Vec<f64> = point.theta.row(0).iter().map(|b| f64::from(*b)).collect();
    if targets.loss == Loss::Squared {
        let mean = mean_error(&z, targets);
        intercepts[0] -= mean;
        return Ok(Evaluated {
            intercepts,
            loss: squared(&mut z, mean, targets),
            mixed: 0.0,
            residual: z,
        });
    }
    refuse_separable(&z, targets, &point.penalty)?;
    let loss = softmax::exponentials(&mut z, targets);
    let moved = intercepts::moved(&z, targets);
    let loss = loss + intercepts::change(&z, &moved.factors, targets);
    softmax::normalise(&mut z, Some(&moved.factors));
    softmax::minus_labels(&mut z, targets);
    let moves: Vec<f64> = moved.factors.iter().map(|f| f.ln()).collect();
    let mean = moves.iter().sum::<f64>() / moves.len() as f64; // the softmax does not see it
    let each = intercepts.iter_mut().zip(moves);
    each.for_each(|(b, by)| *b += by - mean);
    Ok(Evaluated {
        mixed: moved.mixed(targets),
        intercepts,
        loss,
        residual: z,
    })
}

/// Without a penalty, classes that the probe tells apart without error have no optimum: any multiple of it is better.
pub(super) fn refuse_separable(
    z: &Array2<f64>,
    targets: &Targets,
    penalty: &Penalty,
) -> Result<()> {
    if penalty.l1 > 0.0 || penalty.mu > 0.0 {
        return Ok(());
    }
    let apart = z.axis_iter(Axis(0)).into_par_iter().enumerate();
    let apart = apart.all(|(i, row)| {
        let own = targets.y[i] as usize;
        let others = row.iter().enumerate().filter(|(class, _)| *class != own);
        targets.omega[i] == 0.0 || others.fold(f64::NEG_INFINITY, |a, (_, z)| a.max(*z)) < row[own]
    });
    if apart {
        return Err(Error::invalid(
            "l1 and l2",
            "both are 0, and the probe tells the classes of train apart without error",
            "Without a penalty such a probe has no optimum: give l1 or l2 a small positive value",
        ));
    }
    Ok(())
}

fn views(matrices: &[Array2<f64>]) -> Vec<ArrayView2<'_, f64>> {
    matrices.iter().map(|m| m.view()).collect()
}

/// The weighted mean of Z − Y: what the intercept is too large by.
fn mean_error(z: &Array2<f64>, targets: &Targets) -> f64 {
    let of_run = |(run, z): (usize, ArrayView2<'_, f64>)| -> f64 {
        let each = (run * ROWS..).zip(z);
        each.map(|(i, z)| targets.omega[i] * (z - f64::from(targets.values[i])))
            .sum()
    };
    let runs = z.axis_chunks_iter(Axis(0), ROWS).into_par_iter();
    let sums: Vec<f64> = runs.enumerate().map(of_run).collect();
    sums.iter().sum()
}

/// Half the weighted squared error and its derivative Ω(Z − Y) where predictions are less by `mean`, in place.
fn squared(z: &mut Array2<f64>, mean: f64, targets: &Targets) -> f64 {
    let of_run = |(run, mut z): (usize, ArrayViewMut2<'_, f64>)| {
        let mut loss = 0.0;
        for (i, z) in (run * ROWS..).zip(&mut z) {
            let error = *z - f64::from(targets.values[i]) - mean;
            loss += 0.5 * targets.omega[i] * error * error;
            *z = targets.omega[i] * error;
        }
        loss
    };
    let runs = z.axis_chunks_iter_mut(Axis(0), ROWS).into_par_iter();
    let sums: Vec<f64> = runs.enumerate().map(of_run).collect();
    sums.iter().sum()
}

/// Weights that every optimum has at zero (a|V_jc| + ‖x_j‖_ω·r < λ1_j, r = √(gap/2) for classes and √(2·gap) for values),
/// and, by strong convexity of the penalty, weights that every optimum has away from zero (|w| > √(2·gap/μ_j)).
fn gap_safe(point: &Unfolded<'_>, v: &Array2<f64>, shrink: f64, gap: f64) -> (usize, usize) {
    let problem = point.point.problem;
    let radius = match problem.targets.loss {
        Loss::Squared => (2.0 * gap).sqrt(),
        Loss::Softmax | Loss::Sigmoid => (gap / 2.0).sqrt(),
    };
    let penalty = &point.penalty;
    let (mut zeros, mut nonzeros) = (0, 0);
    for ((row, class), v) in v.indexed_iter().filter(|((row, _), _)| *row > 0) {
        if shrink * v.abs() + radius * problem.column_norm(row) < penalty.l1_row(row) {
            zeros += 1;
        }
        let mu = penalty.mu_row(row);
        let strong = penalty.norm.is_none() && mu > 0.0;
        if strong && f64::from(point.theta[(row, class)]).abs() > (2.0 * gap / mu).sqrt() {
            nonzeros += 1;
        }
    }
    (zeros, nonzeros)
}
