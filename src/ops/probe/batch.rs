//! The frame that every solver's batch runs in: problems enter as there is room, go on together, and leave one by one.
//!
//! At most `in_flight` problems are in the batch at once; as one leaves, the next enters. What a problem does depends on
//! itself alone, so neither that number nor its neighbours change a bit of it.

use std::collections::VecDeque;
use std::thread;

use ndarray::Array2;
use rayon::prelude::*;

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
    type State: State + Send;

    /// Whether it is to be told the predictions of statements' starts.
    fn wants_predictions(&self) -> bool {
        true
    }

    /// Whether the others go on while problems that look done are certified: where a device works, the processor is free for it.
    fn certifies_aside(&self, _frame: &Frame<'_>) -> bool {
        false
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

/// Problems, and what was found of them.
type Judged<S> = Vec<(Active<S>, Verdict)>;

/// How far a batch is.
struct Course<S> {
    active: Vec<Active<S>>,
    /// Those that look done, and how many are being certified.
    waiting: Vec<Active<S>>,
    aside: usize,
    outcomes: Vec<(usize, Outcome)>,
    progress: Progress,
}

impl<S: State> Course<S> {
    fn new(problems: usize) -> Self {
        Self {
            active: Vec::new(),
            waiting: Vec::new(),
            aside: 0,
            outcomes: Vec::with_capacity(problems),
            progress: Progress {
                finished: 0,
                problems,
                passes: 0.0,
            },
        }
    }

    fn in_flight(&self) -> usize {
        self.active.len() + self.waiting.len() + self.aside
    }

    /// How far it is, those that go on included.
    fn progress(&mut self) -> Progress {
        let passes = self.active.iter().map(|(_, state)| state.spent().passes);
        self.progress.passes = passes.fold(self.progress.passes, f64::max);
        self.progress
    }

    /// Who is solved leaves, the others go on.
    fn take(&mut self, judged: Judged<S>, rule: &Rule) {
        for ((place, mut state), verdict) in judged {
            self.progress.passes = self.progress.passes.max(state.spent().passes);
            match verdict {
                Verdict::Solved(fit) => {
                    self.progress.finished += 1;
                    self.outcomes.push((place, Outcome::Solved(fit)));
                }
                Verdict::Unfinished => {
                    let rest = Box::new(state.into_statement());
                    self.outcomes.push((place, Outcome::Unfinished(rest)));
                }
                Verdict::Open(checked) => {
                    if let Some(certificate) = checked {
                        state.postpone(&certificate, rule);
                    }
                    self.active.push((place, state));
                }
            }
        }
    }
}

impl Frame<'_> {
    /// Runs a batch to its end; the outcomes come with the problems' places.
    pub(super) fn run<M: Method>(
        &self,
        method: &mut M,
        problems: Vec<(usize, Statement)>,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<Vec<(usize, Outcome)>> {
        let mut course = Course::new(problems.len());
        let mut queue = VecDeque::from(problems);
        let aside = method.certifies_aside(self);
        // In threads of their own: what goes on meanwhile would wait behind a certificate's long products.
        let threads = rayon::current_num_threads();
        let own = rayon::ThreadPoolBuilder::new().num_threads(threads);
        let own = aside.then(|| own.build().ok()).flatten();
        thread::scope(|scope| {
            let mut judging: Option<thread::ScopedJoinHandle<'_, Result<Judged<M::State>>>> = None;
            loop {
                self.admit(method, &mut queue, &mut course)?;
                if course.in_flight() == 0 {
                    return Ok(course.outcomes);
                }
                let idle = course.active.is_empty();
                if let Some(judged) = judging.take_if(|it| idle || it.is_finished()) {
                    course.aside = 0;
                    course.take(joined(judged)?, &self.rule);
                }
                if !course.active.is_empty() {
                    method.measure(self, &mut course.active)?;
                }
                if aside {
                    self.set_aside(&mut course);
                    if judging.is_none() && !course.waiting.is_empty() {
                        let due = std::mem::take(&mut course.waiting);
                        course.aside = due.len();
                        judging = Some(scope.spawn(|| match &own {
                            Some(own) => own.install(|| self.judge(due)),
                            None => self.judge(due),
                        }));
                    }
                } else {
                    let judged = self.judge(std::mem::take(&mut course.active))?;
                    course.take(judged, &self.rule);
                }
                if !course.active.is_empty() {
                    method.advance(self, &mut course.active)?;
                }
                progress(&course.progress());
            }
        })
    }

    /// Those that a certificate is due for wait for it.
    fn set_aside<S: State + Send>(&self, course: &mut Course<S>) {
        let each = course.active.par_iter_mut();
        let due: Vec<bool> = each
            .map(|(_, s)| self.is_gone(s) || self.is_due(s))
            .collect();
        let all = std::mem::take(&mut course.active).into_iter().zip(due);
        for (active, is_due) in all {
            let to = match is_due {
                true => &mut course.waiting,
                false => &mut course.active,
            };
            to.push(active);
        }
    }

    /// Whether it has had all the passes that it may take.
    fn is_spent<S: State>(&self, state: &S) -> bool {
        state.spent().passes >= self.params.max_passes
    }

    /// Whether another solver has to go on with it.
    fn is_gone<S: State>(&self, state: &S) -> bool {
        !self.is_spent(state) && state.is_for_another(None)
    }

    /// Whether it is to be certified now.
    fn is_due<S: State>(&self, state: &S) -> bool {
        self.is_spent(state) || state.is_stalled() || state.is_due(&self.rule)
    }

    /// Fills the batch from the queue.
    fn admit<M: Method>(
        &self,
        method: &mut M,
        queue: &mut VecDeque<(usize, Statement)>,
        course: &mut Course<M::State>,
    ) -> Result<()> {
        let room = self.in_flight.max(1).saturating_sub(course.in_flight());
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
            let state = method.enter(self, statement, predictions.next())?;
            course.active.push((place, state));
        }
        Ok(())
    }

    /// Certifies the problems that look done (or must stop) and gives them their fits.
    fn judge<S: State>(&self, active: Vec<Active<S>>) -> Result<Judged<S>> {
        let gone: Vec<bool> = active.iter().map(|(_, s)| self.is_gone(s)).collect();
        let due: Vec<usize> = (0..active.len())
            .filter(|&p| !gone[p] && self.is_due(&active[p].1))
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
        for (p, certified) in due.into_iter().zip(certified) {
            let state = &active[p].1;
            let certificate = certified.certificate;
            verdicts[p] = if !self.is_spent(state) && state.is_for_another(Some(&certificate)) {
                Verdict::Unfinished
            } else if certificate.converged || self.is_spent(state) || state.is_stalled() {
                let problem = state.problem();
                Verdict::Solved(Box::new(problem.fit(
                    &self.slabs[problem.slab],
                    state.theta(),
                    &certified,
                    state.spent().trace.clone(),
                )))
            } else {
                Verdict::Open(Some(certificate))
            };
        }
        Ok(active.into_iter().zip(verdicts).collect())
    }
}

/// What a thread found.
fn joined<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

enum Verdict {
    Solved(Box<Fit>),
    Unfinished,
    /// It goes on; with the certificate that said no, where there was one.
    Open(Option<Certificate>),
}
