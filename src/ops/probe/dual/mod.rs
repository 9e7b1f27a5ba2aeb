//! Dual points and their values: what the objective cannot fall below.

pub(super) mod intercepts;
pub(super) mod softmax;

use multiversion::multiversion;
use std::cell::LazyCell;

use ndarray::{Array2, ArrayView1, ArrayView2, Axis};
use rayon::prelude::*;

use super::statement::Statement;
use super::targets::{Loss, Penalty, Targets};
use crate::ops::vector;

/// Samples whose sums are made together; they are added in order, so threads do not change a bit.
const ROWS: usize = 256;

/// The gap as if a solver's own residual (N × columns, f32) were dual feasible, with its gradient: cheap, no proof.
pub(super) fn forecast(
    problem: &Statement,
    penalty: &Penalty,
    objective: f64,
    residual: &Array2<f32>,
    gradient: &Array2<f64>,
) -> f64 {
    // V is minus the gradient; only its size counts.
    objective - value(residual, gradient, 0.0, penalty, &problem.targets).0
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
/// factor a that V was shrunk by to get it (1 with μ > 0). −∞ where nothing is proved: no penalty. Where a share of the point is
/// `mixed` with another distribution and V is of the mixture ([`mixture`]), its entropy is at least 1 − `mixed` times the point's, as
/// it is concave and nowhere negative.
pub(super) fn value<T: Copy + Sync>(
    residual: &Array2<T>,
    v: &Array2<f64>,
    mixed: f64,
    penalty: &Penalty,
    targets: &Targets,
) -> (f64, f64)
where
    f64: From<T>,
{
    let points = LazyCell::new(|| Concave::new(residual, targets)); // without a penalty nobody asks
    best(v, penalty, |a| (1.0 - mixed) * points.at(a))
}

/// What |V| is at most where a share of the dual point of classes is mixed with a distribution q that is the same for all samples: that
/// adds `Σᵢ ωᵢ x_ij (q_c − [yᵢ = c])`, at most the row's norm ‖x_j‖_ω, as the weights ω add up to 1.
pub(super) fn mixture(v: &Array2<f64>, mixed: f64, norm: impl Fn(usize) -> f64) -> Array2<f64> {
    let most = |(row, c)| (1.0 - mixed) * f64::abs(v[(row, c)]) + mixed * norm(row);
    Array2::from_shape_fn(v.dim(), most)
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

/// The dual function without the penalty's part, at multiples of a point.
struct Concave<'a, T> {
    residual: ArrayView2<'a, T>,
    targets: &'a Targets,
    /// Σᵢ ωᵢ Σ −π ln π over the classes that are not a sample's own; 0 where there is one column.
    others: f64,
}

impl<'a, T: Copy + Sync> Concave<'a, T>
where
    f64: From<T>,
{
    fn new(residual: &'a Array2<T>, targets: &'a Targets) -> Self {
        let mut concave = Self {
            residual: residual.view(),
            targets,
            others: 0.0,
        };
        if residual.ncols() > 1 {
            concave.others = concave.of_others();
        }
        concave
    }

    fn of_others(&self) -> f64 {
        let (c, targets) = (self.residual.ncols(), self.targets);
        let runs = self.residual.axis_chunks_iter(Axis(0), ROWS);
        let of_run = |(run, rows): (usize, ArrayView2<'_, T>)| {
            let mut p = vec![0.0; rows.len()];
            let labels = targets.y[run * ROWS..].iter();
            let labels = labels.zip(&targets.omega[run * ROWS..]);
            for ((p, row), (own, omega)) in p.chunks_exact_mut(c).zip(rows.rows()).zip(labels) {
                if *omega > 0.0 {
                    let each = p.iter_mut().zip(row);
                    each.for_each(|(p, r)| *p = f64::from(*r) / omega);
                    p[*own as usize] = 0.0;
                }
            }
            weighed_entropies(&mut p, c, &targets.omega[run * ROWS..])
        };
        let sums: Vec<f64> = runs.into_par_iter().enumerate().map(of_run).collect();
        sums.iter().sum()
    }

    /// Σᵢ ωᵢ·of(rᵢ, ωᵢ, i) over the samples that have weight.
    fn sum(&self, of: impl Fn(ArrayView1<'_, T>, f64, usize) -> f64 + Sync) -> f64 {
        let runs = self.residual.axis_chunks_iter(Axis(0), ROWS);
        let of_run = |(run, rows): (usize, ArrayView2<'_, T>)| -> f64 {
            let weighed = |(i, row)| match self.targets.omega[i] {
                0.0 => 0.0,
                omega => omega * of(row, omega, i),
            };
            (run * ROWS..).zip(rows.rows()).map(weighed).sum()
        };
        let sums: Vec<f64> = runs.into_par_iter().enumerate().map(of_run).collect();
        sums.iter().sum()
    }

    /// At a times the point. Of a row's other classes `Σ −aπ ln aπ` is `a Σ −π ln π` and −a ln a times what they have.
    fn at(&self, a: f64) -> f64 {
        let targets = self.targets;
        let rest = self.sum(|row, omega, i| match targets.loss {
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
                let wrong = -f64::from(row[targets.y[i] as usize]) / omega;
                wrong * entropy(a) + entropy(1.0 - a * wrong)
            }
        });
        rest + a * self.others
    }
}

/// Σ ω Σ −p ln p over the rows, in place.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512dq+fma", "x86_64+avx2+fma"))]
fn weighed_entropies(p: &mut [f64], c: usize, omega: &[f64]) -> f64 {
    for p in p.iter_mut() {
        let entropy = -*p * vector::ln_exact(*p);
        *p = if *p >= f64::MIN_POSITIVE {
            entropy
        } else {
            0.0
        };
    }
    let rows = p.chunks_exact(c).zip(omega);
    rows.map(|(p, omega)| omega * vector::sum(p)).sum()
}

fn entropy(p: f64) -> f64 {
    if p > 0.0 { -p * p.ln() } else { 0.0 }
}

/// The residual Ω(Z − Y) of values, centred: the intercept's dual constraint.
pub(super) fn centred(residual: &Array2<f64>, targets: &Targets) -> Array2<f64> {
    let runs = residual.axis_chunks_iter(Axis(0), ROWS).into_par_iter();
    let sums: Vec<f64> = runs.map(|run| run.sum()).collect();
    let mean: f64 = sums.iter().sum();
    let mut centred = residual.clone();
    centred
        .axis_chunks_iter_mut(Axis(0), ROWS)
        .into_par_iter()
        .zip(targets.omega.par_chunks(ROWS))
        .for_each(|(mut run, omega)| {
            let each = run.iter_mut().zip(omega);
            each.for_each(|(r, omega)| *r -= omega * mean);
        });
    centred
}
