//! What a batch of problems is: targets, penalties, λ_max and starts, fixed during a solve.

use std::sync::Arc;

use ndarray::{Array2, s};

use super::certificate::Certified;
use super::oracle::Ask;
use super::passes::{AT_ONCE, Passes};
use super::slab::Slab;
use super::targets::{Penalty, Targets};
use super::{Fit, PenaltyScale, Problem, Step};
use crate::error::Result;

/// What one problem is: fixed during a solve.
pub(super) struct Statement {
    /// Which slab it sees.
    pub slab: usize,
    /// Shared by the problems that have the same.
    pub targets: Arc<Targets>,
    /// On the columns that are solved for.
    pub penalty: Penalty,
    /// On a column for each class.
    pub full_penalty: Penalty,
    pub lambda_max: f64,
    pub start: Array2<f32>,
    /// Whether the start is a given fit rather than the empty model.
    pub warm: bool,
    /// How it got to the start.
    pub spent: Spent,
    pub l2: f64,
    /// An objective that is good enough; −∞ for none.
    pub goal: f64,
    /// ‖x_j‖_ω of each row (1 for the intercept); `None` where samples weigh alike: 1. Shared as the targets are.
    norms: Option<Arc<Vec<f64>>>,
}

/// What has been spent on a problem.
#[derive(Debug, Clone, Default)]
pub(super) struct Spent {
    pub passes: f64,
    /// FLOP beside the passes.
    pub flop: f64,
    pub depth: usize,
    pub trace: Vec<Step>,
}

/// The problems' statements; λ_max takes one backward GEMM for the whole batch. `places` are their slabs.
pub(super) fn statements(
    passes: &Passes<'_>,
    problems: &[Problem<'_>],
    places: &[usize],
    scale: PenaltyScale,
) -> Result<Vec<Statement>> {
    let targets = targets(passes, problems, places);
    let alike = Alike::new(&targets, places);
    let maxima = known_maxima(passes, &targets, places, &alike, scale)?;
    let norms = known_norms(passes, problems, &targets, places, &alike)?;
    let each = targets.into_iter().zip(problems).zip(places);
    let mut out = Vec::with_capacity(problems.len());
    for (((targets, problem), &place), &alike) in each.zip(&alike.whose) {
        let slab = passes.slab(place);
        let rows = slab.penalty_rows(scale);
        let start = match problem.start {
            Some(fit) => targets.fold(slab.collapse(fit, &targets.classes)),
            None => targets.empty_model(rows.len()),
        };
        let mut penalty = targets.penalty(problem, rows.clone());
        penalty.touch(&start);
        out.push(Statement {
            slab: place,
            full_penalty: Penalty::new(problem, rows),
            penalty,
            lambda_max: maxima[alike],
            start,
            warm: problem.start.is_some(),
            spent: Spent::default(),
            l2: problem.l2,
            goal: problem.goal.unwrap_or(f64::NEG_INFINITY),
            norms: norms[alike].clone(),
            targets,
        });
    }
    Ok(out)
}

/// The targets of each problem: those that learn the same from the same samples share them.
fn targets(passes: &Passes<'_>, problems: &[Problem<'_>], places: &[usize]) -> Vec<Arc<Targets>> {
    let mut all: Vec<Arc<Targets>> = Vec::with_capacity(problems.len());
    for (place, problem) in problems.iter().enumerate() {
        let same = problems[..place].iter().position(|p| p.learns_as(problem));
        let targets = match same {
            Some(before) => Arc::clone(&all[before]),
            None => {
                let samples = passes.slab(places[place]).samples();
                Arc::new(Targets::new(problem, samples))
            }
        };
        all.push(targets);
    }
    all
}

/// Problems that share their targets and their slab: what follows from these alone is computed once.
struct Alike {
    /// The first problem of each kind.
    first: Vec<usize>,
    /// Of which kind each problem is.
    whose: Vec<usize>,
}

impl Alike {
    fn new(targets: &[Arc<Targets>], places: &[usize]) -> Self {
        let same =
            |a: usize, b: usize| Arc::ptr_eq(&targets[a], &targets[b]) && places[a] == places[b];
        let (mut first, mut whose) = (Vec::<usize>::new(), Vec::with_capacity(targets.len()));
        for at in 0..targets.len() {
            let known = first.iter().position(|&before| same(before, at));
            whose.push(known.unwrap_or(first.len()));
            if known.is_none() {
                first.push(at);
            }
        }
        Self { first, whose }
    }
}

/// [`lambda_maxima`] of each kind.
fn known_maxima(
    passes: &Passes<'_>,
    targets: &[Arc<Targets>],
    places: &[usize],
    alike: &Alike,
    scale: PenaltyScale,
) -> Result<Vec<f64>> {
    let first = || alike.first.iter();
    let distinct: Vec<Arc<Targets>> = first().map(|&at| Arc::clone(&targets[at])).collect();
    let slabs: Vec<usize> = first().map(|&at| places[at]).collect();
    lambda_maxima(passes, &distinct, &slabs, scale)
}

/// The neurons' norms of each kind, where samples do not weigh alike.
fn known_norms(
    passes: &Passes<'_>,
    problems: &[Problem<'_>],
    targets: &[Arc<Targets>],
    places: &[usize],
    alike: &Alike,
) -> Result<Vec<Option<Arc<Vec<f64>>>>> {
    let of = |&at: &usize| {
        let weighed = problems[at].weights.is_some();
        let norms = || {
            passes
                .slab(places[at])
                .column_norms(&targets[at].omega)
                .map(Arc::new)
        };
        weighed.then(norms).transpose()
    };
    alike.first.iter().map(of).collect()
}

/// Smallest λ1 at which all weights of the optimum are zero, for each problem.
pub(super) fn lambda_maxima(
    passes: &Passes<'_>,
    targets: &[Arc<Targets>],
    places: &[usize],
    scale: PenaltyScale,
) -> Result<Vec<f64>> {
    let largest = |(g, &place): (&Array2<f64>, &usize)| {
        let rows = passes.slab(place).penalty_rows(scale);
        g.indexed_iter()
            .filter(|((row, _), _)| *row > 0)
            .map(|((row, _), g)| g.abs() / rows[row])
            .fold(0.0, f64::max)
    };
    let mut maxima = Vec::with_capacity(targets.len());
    let mut from = 0;
    while from < targets.len() {
        // As many as share one product: their residuals need no more room than it does.
        let (mut to, mut columns) = (from, 0);
        while to < targets.len() && (to == from || columns + targets[to].columns() <= AT_ONCE) {
            columns += targets[to].columns();
            to += 1;
        }
        let (targets, places) = (&targets[from..to], &places[from..to]);
        from = to;
        let residuals: Vec<Array2<f32>> = targets.iter().map(|t| t.empty_residual()).collect();
        let columns: Vec<_> = places.iter().copied().zip(&residuals).collect();
        let gradients = passes.backward(&columns)?;
        maxima.extend(gradients.iter().zip(places).map(largest));
    }
    Ok(maxima)
}

impl Statement {
    /// What a device is asked of these coefficients.
    pub(super) fn ask<'a>(&'a self, theta: &'a Array2<f32>) -> Ask<'a> {
        Ask {
            slab: self.slab,
            theta,
            targets: &self.targets,
        }
    }

    /// FLOP of one pass: a forward and a backward GEMM.
    pub(super) fn pass_flop(&self) -> f64 {
        4.0 * self.targets.samples() as f64 * self.start.len() as f64
    }

    /// What KKT residuals are compared with: λ1, or without one a hundredth of λ_max.
    pub(super) fn unit(&self) -> f64 {
        if self.penalty.l1 > 0.0 {
            self.penalty.l1
        } else {
            0.01 * self.lambda_max
        }
    }

    /// ‖x_j‖_ω of a row of the coefficients.
    pub(super) fn column_norm(&self, row: usize) -> f64 {
        self.norms.as_ref().map_or(1.0, |norms| norms[row])
    }

    /// The fit at these coefficients, with the intercepts that they were certified with.
    pub(super) fn fit(
        &self,
        slab: &Slab<'_>,
        theta: &Array2<f32>,
        certified: &Certified,
        trace: Vec<Step>,
    ) -> Fit {
        let targets = &self.targets;
        let full = targets.unfold(theta);
        let coefficients = (full.slice(s![1.., ..]), &certified.intercepts[..]);
        let (standardised, weights, bias) =
            slab.expand(coefficients, &targets.classes, targets.all_classes);
        Fit {
            l1: self.penalty.l1,
            l2: self.l2,
            standardised,
            weights,
            bias,
            objective: certified.objective,
            certificate: certified.certificate,
            trace,
        }
    }
}

impl Spent {
    /// All FLOP in units of a pass.
    pub(super) fn work(&self, problem: &Statement) -> f64 {
        self.passes + self.flop / problem.pass_flop()
    }

    /// Notes where the solver stands.
    pub(super) fn note(&mut self, problem: &Statement, kkt: f64, objective: f64) {
        let work = self.work(problem);
        self.trace.push(Step {
            work,
            depth: self.depth,
            kkt,
            objective,
        });
    }
}
