//! Sampled-Hessian working-set proximal Newton, all problems of a batch in step.
//!
//! Each round: one backward GEMM gives every problem its exact gradient; each problem picks its working set, a Hessian
//! (freshly sampled far from the optimum; kept and corrected by BFGS pairs of exact gradient differences near it) and
//! solves its quadratic programme; one forward GEMM gives the directions' predictions; the line search is element-wise.
//! λ is continued inside the solve: from 0.2·λ_max down by 0.4 whenever the current λ's KKT residual is small enough.

use ndarray::Array2;
use rayon::prelude::*;

use super::batch::{Active, Frame, Method, State};
use super::iterate::{Iterate, Subproblem};
use super::statement::{Spent, Statement};
use super::stop::Rule;
use super::{Certificate, passes};
use crate::error::Result;
use crate::ops::Backend;
use crate::ops::quadratic::{self, Programme};

/// Rounds between two fresh forward passes: predictions are otherwise updated by the directions'.
const REFRESH: usize = 10;

/// Relative gap beyond which a problem that has come to rest is not left there: nearer, f32 is what holds it.
const FAR: f64 = 1e-4;

/// The method, and where its quadratic programmes are solved.
pub(super) struct Newton {
    pub inner: Backend,
}

impl State for Iterate {
    fn problem(&self) -> &Statement {
        &self.problem
    }

    /// The best point once it has come to rest: steps that f32 cannot tell from none may have left it.
    fn theta(&self) -> &Array2<f32> {
        self.standing()
    }

    fn spent(&self) -> &Spent {
        &self.spent
    }

    fn is_due(&self, rule: &Rule) -> bool {
        self.looks_done(rule)
    }

    fn postpone(&mut self, _certificate: &Certificate, _rule: &Rule) {
        self.postpone_check();
    }

    fn is_stalled(&self) -> bool {
        self.is_at_rest()
    }

    /// It has more non-zeros than a working set may hold, or is at rest far from the optimum.
    fn is_for_another(&self, certificate: Option<&Certificate>) -> bool {
        match certificate {
            None => self.is_wide(),
            Some(certificate) => {
                self.is_at_rest() && !certificate.converged && certificate.relative_gap > FAR
            }
        }
    }

    fn into_statement(self) -> Statement {
        self.rest()
    }
}

impl Method for Newton {
    type State = Iterate;

    fn enter(
        &mut self,
        frame: &Frame<'_>,
        statement: Statement,
        z: Option<Array2<f32>>,
    ) -> Result<Iterate> {
        let z = z.expect("predictions are wanted");
        Ok(Iterate::new(statement, z, frame.params.seed))
    }

    fn measure(&mut self, frame: &Frame<'_>, active: &mut [Active<Iterate>]) -> Result<()> {
        let residuals: Vec<passes::Columns<'_>> = active
            .iter()
            .map(|(_, s)| (s.problem.slab, &s.residual))
            .collect();
        let gradients = frame.passes.backward(&residuals)?;
        active
            .par_iter_mut()
            .zip(gradients)
            .for_each(|((_, state), gradient)| state.receive(gradient));
        Ok(())
    }

    fn advance(&mut self, frame: &Frame<'_>, active: &mut [Active<Iterate>]) -> Result<()> {
        step(frame, active, &self.inner)
    }
}

/// The quadratic programme of every active problem.
fn prepared(frame: &Frame<'_>, active: &mut [Active<Iterate>]) -> Result<Vec<Subproblem>> {
    let curvature = frame.params.curvature;
    let curved = |state: &Iterate| frame.passes.curved(state.problem.slab, curvature);
    // No more at once than there are threads: each takes memory of its own (see `plan`).
    for some in active.chunks_mut(rayon::current_num_threads()) {
        let each = some.par_iter_mut();
        each.map(|(_, state)| state.choose(&curved(state)))
            .collect::<Result<Vec<()>>>()?;
    }
    // One after the other: so what a device holds at once is known.
    for (_, state) in active.iter_mut() {
        state.settle(&curved(state))?;
    }
    let each = active.par_iter_mut();
    Ok(each.map(|(_, s)| s.prepare(&frame.rule)).collect())
}

/// One Newton step of every active problem.
fn step(frame: &Frame<'_>, active: &mut [Active<Iterate>], inner: &Backend) -> Result<()> {
    let passes = frame.passes;
    let prepared = prepared(frame, active)?;
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
