//! The frame that every solver's batch runs in: problems enter as there is room, go on together, and leave one by one.
//!
//! At most `in_flight` problems are in the batch at once; as one leaves, the next enters. What a problem does depends on
//! itself alone, so neither that number nor its neighbours change a bit of it.

use std::collections::VecDeque;

use ndarray::Array2;

use super::certificate::{self, Point};
use super::passes::Passes;
use super::slab::Slab;
use super::statement::{Spent, Statement};
use super::stop::Rule;
use super::{Certificate, Fit, Params, Progress};
use crate::error::Result;

/// A problem in flight, and its place among all problems.
pub(super) type Active<S> = (usize, S);

/// Where one problem stands.
pub(super) trait State {
    fn problem(&self) -> &Statement;
    fn theta(&self) -> &Array2<f32>;
    fn spent(&self) -> &Spent;

    /// Whether a certificate is worth its cost: the solver's own numbers say that it is good enough.
    fn is_due(&self, rule: &Rule) -> bool;

    /// A certificate said no: do not ask again at once.
    fn postpone(&mut self, certificate: &Certificate, rule: &Rule);

    /// Whether it has come to rest.
    fn is_stalled(&self) -> bool {
        false
    }

    /// Whether another solver has to go on with it: asked before a certificate (`None`) and after it.
    fn is_for_another(&self, _certificate: Option<&Certificate>) -> bool {
        false
    }

    /// The statement of what is left to do, where another solver has to go on with it.
    fn into_statement(self) -> Statement
    where
        Self: Sized,
    {
        unreachable!("only a state that is for another solver is asked")
    }
}

/// What a solver does to all problems of a batch.
pub(super) trait Method {
    type State: State;

    /// Whether it is to be told the predictions of statements' starts.
    fn wants_predictions(&self) -> bool {
        true
    }

    /// At the statement's start, whose predictions are `z`, where they are wanted.
    fn enter(
        &mut self,
        frame: &Frame<'_>,
        statement: Statement,
        z: Option<Array2<f32>>,
    ) -> Result<Self::State>;

    /// Takes what is to be known of the current points before it is decided who leaves.
    fn measure(&mut self, _frame: &Frame<'_>, _active: &mut [Active<Self::State>]) -> Result<()> {
        Ok(())
    }

    /// One step of every problem.
    fn advance(&mut self, frame: &Frame<'_>, active: &mut [Active<Self::State>]) -> Result<()>;
}

/// What all problems of a batch have in common.
pub(super) struct Frame<'a> {
    pub passes: &'a Passes<'a>,
    pub slabs: &'a [Slab<'a>],
    pub params: &'a Params,
    pub rule: Rule,
    pub in_flight: usize,
}

/// How a problem leaves the batch.
pub(super) enum Outcome {
    /// With its fit, converged or given up.
    Solved(Box<Fit>),
    /// For another solver to go on with.
    Unfinished(Box<Statement>),
}

impl Frame<'_> {
    /// Runs a batch to its end; the outcomes come with the problems' places.
    pub(super) fn run<M: Method>(
        &self,
        method: &mut M,
        problems: Vec<(usize, Statement)>,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<Vec<(usize, Outcome)>> {
        let all = problems.len();
        let mut queue = VecDeque::from(problems);
        let mut active: Vec<Active<M::State>> = Vec::new();
        let mut outcomes = Vec::with_capacity(all);
        let (mut most, mut solved) = (0.0f64, 0);
        loop {
            self.admit(method, &mut queue, &mut active)?;
            if active.is_empty() {
                return Ok(outcomes);
            }
            method.measure(self, &mut active)?;
            let verdicts = self.judge(&active)?;
            let mut still = Vec::with_capacity(active.len());
            for ((place, mut state), verdict) in active.into_iter().zip(verdicts) {
                most = most.max(state.spent().passes);
                match verdict {
                    Verdict::Solved(fit) => {
                        solved += 1;
                        outcomes.push((place, Outcome::Solved(fit)));
                    }
                    Verdict::Unfinished => {
                        let rest = Box::new(state.into_statement());
                        outcomes.push((place, Outcome::Unfinished(rest)));
                    }
                    Verdict::Open(checked) => {
                        if let Some(certificate) = checked {
                            state.postpone(&certificate, &self.rule);
                        }
                        still.push((place, state));
                    }
                }
            }
            active = still;
            if !active.is_empty() {
                method.advance(self, &mut active)?;
            }
            progress(&Progress {
                finished: solved,
                problems: all,
                passes: most,
            });
        }
    }

    /// Fills the batch from the queue.
    fn admit<M: Method>(
        &self,
        method: &mut M,
        queue: &mut VecDeque<(usize, Statement)>,
        active: &mut Vec<Active<M::State>>,
    ) -> Result<()> {
        let room = self.in_flight.max(1).saturating_sub(active.len());
        let entering: Vec<(usize, Statement)> = queue.drain(..room.min(queue.len())).collect();
        if entering.is_empty() {
            return Ok(());
        }
        let starts: Vec<_> = match method.wants_predictions() {
            true => entering.iter().map(|(_, s)| (s.slab, &s.start)).collect(),
            false => Vec::new(),
        };
        let mut predictions = self.passes.forward(&starts)?.into_iter();
        for (place, statement) in entering {
            active.push((place, method.enter(self, statement, predictions.next())?));
        }
        Ok(())
    }

    /// Certifies the problems that look done (or must stop) and gives them their fits.
    fn judge<S: State>(&self, active: &[Active<S>]) -> Result<Vec<Verdict>> {
        let spent = |s: &S| s.spent().passes >= self.params.max_passes;
        let gone: Vec<bool> = active
            .iter()
            .map(|(_, s)| !spent(s) && s.is_for_another(None))
            .collect();
        let due: Vec<usize> = (0..active.len())
            .filter(|&p| {
                let state = &active[p].1;
                !gone[p] && (spent(state) || state.is_stalled() || state.is_due(&self.rule))
            })
            .collect();
        let points: Vec<Point<'_>> = due
            .iter()
            .map(|&p| &active[p].1)
            .map(|s| Point::new(s.problem(), s.theta(), s.spent()))
            .collect();
        let certified = certificate::certify(self.slabs, &points, &self.rule)?;
        let mut verdicts: Vec<Verdict> = gone
            .into_iter()
            .map(|gone| match gone {
                true => Verdict::Unfinished,
                false => Verdict::Open(None),
            })
            .collect();
        for (p, (objective, certificate)) in due.into_iter().zip(certified) {
            let state = &active[p].1;
            verdicts[p] = if !spent(state) && state.is_for_another(Some(&certificate)) {
                Verdict::Unfinished
            } else if certificate.converged || spent(state) || state.is_stalled() {
                let problem = state.problem();
                Verdict::Solved(Box::new(problem.fit(
                    &self.slabs[problem.slab],
                    state.theta(),
                    objective,
                    certificate,
                    state.spent().trace.clone(),
                )))
            } else {
                Verdict::Open(Some(certificate))
            };
        }
        Ok(verdicts)
    }
}

enum Verdict {
    Solved(Box<Fit>),
    Unfinished,
    /// It goes on; with the certificate that said no, where there was one.
    Open(Option<Certificate>),
}
