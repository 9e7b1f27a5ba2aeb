//! Sampled-Hessian working-set proximal Newton, all problems of a batch in step.
//!
//! Each round: one backward GEMM gives every problem its exact gradient; each problem picks its working set, a Hessian
//! (freshly sampled far from the optimum; kept and corrected by BFGS pairs of exact gradient differences near it) and
//! solves its quadratic programme; one forward GEMM gives the directions' predictions; the line search is element-wise.
//! λ is continued inside the solve: from 0.2·λ_max down by 0.4 whenever the current λ's KKT residual is small enough.
//!
//! At most `in_flight` problems are in the batch at once; as one leaves, the next enters. What a problem does depends on
//! itself alone, so neither that number nor its neighbours change a bit of it.

use std::collections::VecDeque;

use ndarray::Array2;
use rayon::prelude::*;

use super::certificate::{self, Point};
use super::iterate::{Iterate, Subproblem};
use super::passes::Passes;
use super::slab::Slab;
use super::statement::Statement;
use super::stop::Rule;
use super::{Fit, Params, Progress};
use crate::error::Result;
use crate::ops::Backend;
use crate::ops::quadratic::{self, Programme};

/// Rounds between two fresh forward passes: predictions are otherwise updated by the directions'.
const REFRESH: usize = 10;

/// Relative gap beyond which a problem that has come to rest is not left there: nearer, f32 is what holds it.
const FAR: f64 = 1e-4;

/// How a problem leaves the batch.
pub(super) enum Outcome {
    /// With its fit, converged or given up.
    Solved(Box<Fit>),
    /// With more non-zeros than a working set may hold, or at rest far from the optimum; it starts where it was best.
    Unfinished(Box<Statement>),
}

pub(super) fn solve(
    passes: &Passes<'_>,
    slabs: &[Slab<'_>],
    problems: Vec<(usize, Statement)>,
    params: &Params,
    in_flight: usize,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Vec<(usize, Outcome)>> {
    let rule = params.stop.rule();
    let inner = passes.inner(params.inner);
    let all = problems.len();
    let mut queue = VecDeque::from(problems);
    let mut active: Vec<(usize, Iterate)> = Vec::new();
    let mut outcomes = Vec::with_capacity(all);
    let mut most: f64 = 0.0;
    loop {
        enter(passes, &mut queue, &mut active, in_flight, params.seed)?;
        if active.is_empty() {
            break;
        }
        let residuals: Vec<_> = active
            .iter()
            .map(|(_, s)| (s.problem.slab, &s.residual))
            .collect();
        let gradients = passes.backward(&residuals)?;
        for ((_, state), gradient) in active.iter_mut().zip(gradients) {
            state.receive(gradient);
        }
        let fits = retire(slabs, &active, params, &rule)?;
        let mut still = Vec::with_capacity(active.len());
        for ((place, mut state), verdict) in active.into_iter().zip(fits) {
            most = most.max(state.spent.passes);
            match verdict {
                Verdict::Solved(fit) => outcomes.push((place, Outcome::Solved(fit))),
                Verdict::Unfinished => {
                    outcomes.push((place, Outcome::Unfinished(Box::new(state.into_statement()))));
                }
                Verdict::Open { checked } => {
                    if checked {
                        state.postpone_check();
                    }
                    still.push((place, state));
                }
            }
        }
        active = still;
        advance(passes, slabs, &mut active, &rule, &inner)?;
        progress(&Progress {
            finished: outcomes.len(),
            problems: all,
            passes: most,
        });
    }
    Ok(outcomes)
}

/// Fills the batch from the queue.
fn enter(
    passes: &Passes<'_>,
    queue: &mut VecDeque<(usize, Statement)>,
    active: &mut Vec<(usize, Iterate)>,
    in_flight: usize,
    seed: u64,
) -> Result<()> {
    let room = in_flight.max(1).saturating_sub(active.len());
    let entering: Vec<(usize, Statement)> = queue.drain(..room.min(queue.len())).collect();
    if entering.is_empty() {
        return Ok(());
    }
    let starts: Vec<_> = entering.iter().map(|(_, s)| (s.slab, &s.start)).collect();
    let predictions = passes.forward(&starts)?;
    for ((place, statement), z) in entering.into_iter().zip(predictions) {
        active.push((place, Iterate::new(statement, z, seed)));
    }
    Ok(())
}

enum Verdict {
    Solved(Box<Fit>),
    Unfinished,
    Open { checked: bool },
}

/// Certifies the problems that look done (or must stop) and gives them their fits.
fn retire(
    slabs: &[Slab<'_>],
    active: &[(usize, Iterate)],
    params: &Params,
    rule: &Rule,
) -> Result<Vec<Verdict>> {
    let due: Vec<usize> = (0..active.len())
        .filter(|&p| !active[p].1.is_wide() && active[p].1.is_due(params, rule))
        .collect();
    let points: Vec<Point<'_>> = due.iter().map(|&p| active[p].1.point()).collect();
    let certified = certificate::certify(slabs, &points, rule)?;
    let mut verdicts: Vec<Verdict> = active
        .iter()
        .map(|(_, state)| match state.is_wide() {
            true => Verdict::Unfinished,
            false => Verdict::Open { checked: false },
        })
        .collect();
    for (p, (objective, certificate)) in due.into_iter().zip(certified) {
        let state = &active[p].1;
        let spent = state.spent.passes >= params.max_passes;
        verdicts[p] = if !spent && state.is_stalled() && certificate.relative_gap > FAR {
            Verdict::Unfinished
        } else if certificate.converged || state.must_stop(params) {
            Verdict::Solved(Box::new(state.problem.fit(
                &slabs[state.problem.slab],
                &state.theta,
                objective,
                certificate,
                state.spent.trace.clone(),
            )))
        } else {
            Verdict::Open { checked: true }
        };
    }
    Ok(verdicts)
}

/// One Newton step of every active problem.
fn advance(
    passes: &Passes<'_>,
    slabs: &[Slab<'_>],
    active: &mut [(usize, Iterate)],
    rule: &Rule,
    inner: &Backend,
) -> Result<()> {
    if active.is_empty() {
        return Ok(());
    }
    let mut prepared: Vec<Subproblem> = Vec::with_capacity(active.len());
    // No more at once than there are threads: each takes memory of its own (see `plan`).
    for some in active.chunks_mut(rayon::current_num_threads()) {
        let parts = some
            .par_iter_mut()
            .map(|(_, s)| s.prepare(&slabs[s.problem.slab], rule));
        prepared.extend(parts.collect::<Result<Vec<_>>>()?);
    }
    let programmes: Vec<Programme<'_>> = active
        .iter()
        .zip(&prepared)
        .map(|((_, s), prepared)| s.programme(prepared))
        .collect();
    let solutions = quadratic::solve(inner, &programmes)?;
    let targets: Vec<Array2<f32>> = active
        .par_iter_mut()
        .zip(solutions)
        .map(|((_, s), solution)| s.target(solution))
        .collect();
    let directions: Vec<Array2<f32>> = active
        .iter()
        .zip(&targets)
        .map(|((_, s), target)| target - &s.theta)
        .collect();
    let columns: Vec<_> = active
        .iter()
        .zip(&directions)
        .map(|((_, s), d)| (s.problem.slab, d))
        .collect();
    let dz = passes.forward(&columns)?;
    active
        .par_iter_mut()
        .zip(targets)
        .zip(directions.par_iter().zip(dz))
        .for_each(|(((_, state), target), (direction, dz))| {
            state.line_search(target, direction, &dz);
        });
    let mut stale: Vec<&mut Iterate> = active
        .iter_mut()
        .map(|(_, s)| s)
        .filter(|s| s.spent.depth.is_multiple_of(REFRESH))
        .collect();
    if stale.is_empty() {
        return Ok(());
    }
    let columns: Vec<_> = stale.iter().map(|s| (s.problem.slab, &s.theta)).collect();
    let predictions = passes.forward(&columns)?;
    for (state, z) in stale.iter_mut().zip(predictions) {
        state.refresh(z);
    }
    Ok(())
}
