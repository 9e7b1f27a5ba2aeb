//! Proximal limited-memory BFGS (Becker, Fadili & Ochs 2019; the metric of Byrd, Nocedal & Schnabel 1994), all problems of a batch in
//! step: for where loss and gradient at a point are cheap, and what has a value for every sample is better left where it is.
//!
//! An iteration minimises the quadratic model of the loss plus the penalty, on the entries that are not zero or may not stay so, and
//! asks for loss and gradient where that leads ([`super::oracle`]): a device that holds the samples and can tell them, else by single
//! products. That is one pass and, where the step was too long, another one. The metric is the diagonal of the Hessian, taken at the
//! start and after 20, 60, 140, … iterations, with what the last ten steps showed.

mod memory;
mod programme;
mod slopes;

use std::sync::{Mutex, MutexGuard, PoisonError};

use ndarray::Array2;
use rayon::prelude::*;

use self::memory::{Lanes, Memory, PAIRS};
use self::programme::Programme;
use super::batch::{Active, Frame, Method, State};
use super::oracle::{ASKING, Answer, Ask, Wanted};
use super::passes::{Passes, at_once};
use super::statement::{Spent, Statement};
use super::stop::Rule;
use super::targets::Penalty;
use super::{Certificate, dual, kkt};
use crate::error::Result;

/// A programme is solved to this share of the KKT residual.
const FORCING: f64 = 0.3;
/// Entries at zero take part where the gradient is at least this share of λ1.
const OPEN: f64 = 0.7;
/// The diagonal is at least this share of its column's mean: a sample that is certain has hardly any curvature here, but may have
/// some a step further.
const LEAST_CURVATURE: f64 = 0.02;
/// And of all columns' mean this share: of a class that is certain everywhere there would be none.
const LEAST_OF_ALL: f64 = 1e-6;
/// A step is long enough where the objective falls by this share of what the slope promises.
const ARMIJO: f64 = 1e-4;
/// The shortest step that is tried.
const SHORTEST: f32 = 1e-3;
/// Two losses of f32 predictions differ by about this share of them where they are the same.
const NOISE: f64 = 1e-9;
/// An objective counts as lower by this share of it.
const FALLEN: f64 = 1e-6;
/// Iterations without a better KKT residual or a lower objective before a problem is given up as not converged.
const PATIENCE: usize = 60;
/// Iterations between two certificates at least.
const LEAST_WAIT: usize = 3;

/// The method.
#[derive(Default)]
pub(super) struct Lbfgs {
    rooms: Rooms,
}

/// What programmes' metrics lay in, for the next ones: what is large and not needed any more goes back to the system, and is slow to come
/// by again.
#[derive(Default)]
struct Rooms(Mutex<Vec<Vec<Lanes>>>);

impl Rooms {
    fn lock(&self) -> MutexGuard<'_, Vec<Vec<Lanes>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a problem stands.
pub(super) struct Descent {
    problem: Statement,
    theta: Array2<f32>,
    /// Of the loss alone; nothing before the first answer.
    known: Option<Known>,
    /// Diagonal of the loss's Hessian where it was last taken, and the iteration at which it is taken next.
    diagonal: Vec<f32>,
    renewal: usize,
    memory: Memory,
    /// What the metric's D is multiplied by in programmes.
    factor: f64,
    /// The problem's penalty; its μ follows the weights where the norm is not squared.
    penalty: Penalty,
    spent: Spent,
    iterations: usize,
    next_check: usize,
    /// The lowest objective that counts, and the best KKT residual.
    lowest: f64,
    best_kkt: f64,
    /// Where that was.
    best: Array2<f32>,
    stalled: usize,
}

/// Loss, its gradient, the penalty, and the KKT residual.
struct Known {
    loss: f64,
    gradient: Array2<f64>,
    penalty: f64,
    kkt: f64,
}

impl Known {
    fn objective(&self) -> f64 {
        self.loss + self.penalty
    }
}

/// Where a step may lead.
struct Step {
    target: Array2<f32>,
    /// The gradient along the whole step, and the penalty at its end.
    tangent: f64,
    promised: f64,
}

impl Method for Lbfgs {
    type State = Descent;

    fn wants_predictions(&self) -> bool {
        false
    }

    /// Where a device is asked the processor has time for it. A thread of the pool that waited for certificates would be missing there.
    fn certifies_aside(&self, frame: &Frame<'_>) -> bool {
        frame.passes.residents.is_some() && rayon::current_thread_index().is_none()
    }

    fn enter(
        &mut self,
        _frame: &Frame<'_>,
        statement: Statement,
        _z: Option<Array2<f32>>,
    ) -> Result<Descent> {
        Ok(Descent::new(statement))
    }

    /// Of those that have just entered.
    fn measure(&mut self, frame: &Frame<'_>, active: &mut [Active<Descent>]) -> Result<()> {
        let new = active.iter_mut().map(|(_, state)| state);
        let mut new: Vec<&mut Descent> = new.filter(|state| state.known.is_none()).collect();
        let asks: Vec<Ask<'_>> = new.iter().map(|s| s.problem.ask(&s.theta)).collect();
        let answers = frame.passes.ask(&asks, Wanted::Gradient)?;
        new.par_iter_mut().zip(answers).for_each(|(state, answer)| {
            state.spent.passes += 1.0;
            let penalty = state.penalty.value(&state.theta);
            state.take(answer, penalty);
        });
        Ok(())
    }

    fn advance(&mut self, frame: &Frame<'_>, active: &mut [Active<Descent>]) -> Result<()> {
        step(frame.passes, &self.rooms, active)
    }
}

impl State for Descent {
    fn problem(&self) -> &Statement {
        &self.problem
    }

    /// The best point once it has come to rest.
    fn theta(&self) -> &Array2<f32> {
        if self.is_stalled() {
            &self.best
        } else {
            &self.theta
        }
    }

    fn spent(&self) -> &Spent {
        &self.spent
    }

    fn is_due(&self, rule: &Rule) -> bool {
        self.looks_done(rule)
    }

    fn postpone(&mut self, certificate: &Certificate, rule: &Rule) {
        let wait = rule.wait(certificate, self.problem.goal, self.iterations);
        self.next_check = self.iterations + wait.max(LEAST_WAIT);
    }

    fn is_stalled(&self) -> bool {
        self.stalled > PATIENCE
    }
}

impl Descent {
    fn new(problem: Statement) -> Self {
        Self {
            theta: problem.start.clone(),
            known: None,
            diagonal: Vec::new(),
            renewal: 0,
            memory: Memory::new(),
            factor: 1.0,
            penalty: problem.penalty.clone(),
            spent: problem.spent.clone(),
            iterations: 0,
            next_check: 0,
            lowest: f64::INFINITY,
            best_kkt: f64::INFINITY,
            best: problem.start.clone(),
            stalled: 0,
            problem,
        }
    }

    fn known(&self) -> &Known {
        self.known.as_ref().expect("it was measured")
    }

    /// Takes loss, gradient and penalty at the current point.
    fn take(&mut self, answer: Answer, penalty: f64) {
        self.spent.depth += 1;
        self.penalty.touch(&self.theta);
        let (loss, gradient) = (answer.loss, answer.derivative);
        let kkt = kkt::kkt(&gradient, &self.theta, &self.penalty);
        let objective = loss + penalty;
        self.spent.note(&self.problem, kkt, objective);
        self.stalled += 1;
        if objective < (1.0 - FALLEN) * self.lowest {
            self.lowest = objective;
            self.stalled = 0;
        }
        if kkt < self.best_kkt {
            self.best_kkt = kkt;
            self.best.assign(&self.theta);
            self.stalled = 0;
        }
        self.known = Some(Known {
            loss,
            gradient,
            penalty,
            kkt,
        });
    }

    /// Whether its own numbers say that it is good enough.
    fn looks_done(&self, rule: &Rule) -> bool {
        if self.iterations < self.next_check {
            return false;
        }
        let known = self.known();
        let objective = known.objective();
        if objective <= self.problem.goal {
            return true;
        }
        let l1 = self.penalty.l1;
        let relative = known.kkt / self.problem.lambda_max.max(l1);
        if rule.holds(f64::INFINITY, known.kkt, relative, l1) {
            return true;
        }
        if rule.gap == 0.0 || known.kkt > self.problem.unit() {
            return false;
        }
        let point = (known.loss, &self.theta);
        let gap = dual::forecast_of_sums(&self.penalty, objective, point, &known.gradient);
        gap <= rule.gap * objective
    }

    /// Takes the Hessian's diagonal at the current point.
    fn renew(&mut self, mut diagonal: Array2<f64>) {
        let all = LEAST_OF_ALL * diagonal.mean().unwrap_or(0.0);
        for mut column in diagonal.columns_mut() {
            let floor = (LEAST_CURVATURE * column.sum() / column.len() as f64).max(all);
            column.mapv_inplace(|v| v.max(floor).max(f64::from(f32::MIN_POSITIVE)));
        }
        self.diagonal = diagonal.iter().map(|v| *v as f32).collect();
        self.memory.renew(&self.diagonal);
        self.renewal = 2 * self.renewal + 20;
        self.spent.flop += self.problem.pass_flop();
    }

    /// The programme of the step, and the entries that it is about: those that are not zero, or may not stay so. Their places are those in
    /// the rows' order.
    fn programme(&self, room: Vec<Lanes>) -> (Vec<usize>, Programme) {
        let (known, penalty) = (self.known(), &self.penalty);
        let mut set = Vec::new();
        let [mut g, mut w, mut l1, mut mu, mut scale] = [const { Vec::new() }; 5];
        let rows = self.theta.rows().into_iter().zip(known.gradient.rows());
        for (row, (weights, gradients)) in rows.enumerate() {
            let least = if row == 0 {
                0.0
            } else {
                OPEN * penalty.l1_row(row)
            };
            let first = row * weights.len();
            for (at, (weight, gradient)) in (first..).zip(weights.iter().zip(gradients)) {
                if *weight != 0.0 || gradient.abs() >= least {
                    set.push(at);
                    g.push(*gradient as f32);
                    w.push(*weight);
                }
            }
            l1.resize(set.len(), penalty.l1_row(row) as f32);
            mu.resize(set.len(), penalty.mu_row(row) as f32);
            scale.resize(
                set.len(),
                if row == 0 {
                    1.0
                } else {
                    penalty.rows[row] as f32
                },
            );
        }
        let programme = Programme {
            metric: self.memory.metric_in(room, &self.diagonal, &set),
            g,
            w,
            l1,
            mu,
            scale,
            tolerance: (FORCING * known.kkt) as f32,
        };
        (set, programme)
    }

    /// Where the quadratic model says to go. Where it has no minimum, what was remembered contradicts itself by roundings, and the
    /// diagonal alone says it.
    fn towards(&mut self, rooms: &Rooms) -> Step {
        let step = self.proposed(rooms);
        if step.tangent.is_finite() && step.promised.is_finite() {
            return step;
        }
        self.memory.forget();
        self.factor = 1.0;
        self.proposed(rooms)
    }

    fn proposed(&mut self, rooms: &Rooms) -> Step {
        let room = rooms.lock().pop().unwrap_or_default();
        let (set, programme) = self.programme(room);
        let (u, products) = programme.solved(&mut self.factor);
        rooms.lock().push(programme.metric.rows);
        let mut target = self.theta.clone();
        let values = target.as_slice_mut().expect("it is contiguous");
        set.iter().zip(u).for_each(|(&at, u)| values[at] = u);
        kkt::recentre(&mut target, &self.penalty);
        self.spent.flop += (products * set.len() * 8 * PAIRS) as f64;
        Step {
            tangent: slopes::along(&self.known().gradient, &target, &self.theta),
            promised: self.penalty.value(&target),
            target,
        }
    }

    /// The point at a share of a step.
    fn at(&self, step: &Step, t: f32) -> Array2<f32> {
        &self.theta + &((&step.target - &self.theta) * t)
    }

    /// Whether the objective has fallen enough at a share of a step, where the penalty is so much. Where losses are too near to be told
    /// apart, the gradients at both ends tell: of a convex loss the change lies between the two slopes, and of a quadratic one in the
    /// middle.
    fn falls(&self, step: &Step, t: f32, penalty: f64, answer: &Answer) -> bool {
        let known = self.known();
        let t = f64::from(t);
        let slope = step.tangent + step.promised - known.penalty;
        let penalty = penalty - known.penalty;
        let enough = ARMIJO * t * slope.min(0.0);
        let by_losses = answer.loss - known.loss + penalty;
        if by_losses <= enough {
            return true;
        }
        let near = (answer.loss - known.loss).abs() <= 1e3 * NOISE * known.loss;
        let there = || slopes::along(&answer.derivative, &step.target, &self.theta);
        near && 0.5 * t * (step.tangent + there()) + penalty <= enough + NOISE * known.loss
    }

    /// Goes to a share of a step where the objective has fallen enough there, and says so.
    fn tried(&mut self, step: &Step, t: f32, theta: &Array2<f32>, answer: Answer) -> bool {
        self.spent.passes += 1.0;
        let penalty = if t == 1.0 {
            step.promised
        } else {
            self.penalty.value(theta)
        };
        let finite = theta.iter().all(|w| w.is_finite());
        let falls = finite && self.falls(step, t, penalty, &answer);
        if falls {
            self.accept(theta, answer, penalty);
        }
        falls
    }

    /// Goes where a step has led.
    fn accept(&mut self, theta: &Array2<f32>, answer: Answer, penalty: f64) {
        let known = self.known.take().expect("it was measured");
        let step = slopes::apart(theta, &self.theta);
        let change = slopes::apart(&answer.derivative, &known.gradient);
        self.memory.push(step, change, &self.diagonal);
        self.theta.assign(theta);
        self.take(answer, penalty);
    }

    /// No step made the objective fall: what was remembered is of no use here.
    fn stay(&mut self) {
        self.memory.forget();
        self.factor = 1.0;
        self.renewal = self.renewal.min(self.iterations);
        self.stalled += PATIENCE / 4;
    }
}

/// One step of every active problem. Where a device is asked, those whose questions share a product go together, and several such groups
/// at once: while the device works on the questions of one, programmes are solved and answers taken of others.
fn step(passes: &Passes<'_>, rooms: &Rooms, active: &mut [Active<Descent>]) -> Result<()> {
    let asks: Vec<Ask<'_>> = active
        .iter()
        .map(|(_, state)| state.problem.ask(&state.theta))
        .collect();
    let (questions, others) = passes.questions(&asks);
    let mut states: Vec<Option<&mut Descent>> =
        active.iter_mut().map(|(_, state)| Some(state)).collect();
    let mut taken = |members: Vec<usize>| -> Vec<&mut Descent> {
        let taken = |member: usize| states[member].take().expect("it is in one group");
        members.into_iter().map(taken).collect()
    };
    let groups: Vec<Vec<&mut Descent>> = questions.into_iter().map(&mut taken).collect();
    let mut others = taken(others);
    at_once(ASKING, groups, |mut group| {
        step_together(passes, rooms, &mut group)
    })?;
    step_together(passes, rooms, &mut others)
}

/// One step of some problems.
fn step_together(passes: &Passes<'_>, rooms: &Rooms, group: &mut [&mut Descent]) -> Result<()> {
    renew(passes, group)?;
    let each = group.par_iter_mut();
    let steps: Vec<Step> = each
        .map(|state| {
            state.iterations += 1;
            state.towards(rooms)
        })
        .collect();
    let mut open: Vec<usize> = (0..group.len()).collect();
    let mut t = 1.0;
    while !open.is_empty() && t >= SHORTEST {
        let shorter: Vec<Array2<f32>> = match t < 1.0 {
            true => open
                .par_iter()
                .map(|&p| group[p].at(&steps[p], t))
                .collect(),
            false => Vec::new(),
        };
        let whole = open.iter().map(|&p| &steps[p].target);
        let trials: Vec<&Array2<f32>> = match t < 1.0 {
            true => shorter.iter().collect(),
            false => whole.collect(),
        };
        let asks = open.iter().zip(&trials);
        let asks: Vec<Ask<'_>> = asks
            .map(|(&p, theta)| group[p].problem.ask(theta))
            .collect();
        let answers = passes.ask(&asks, Wanted::Gradient)?;
        let mut told: Vec<Option<(&Array2<f32>, Answer)>> = group.iter().map(|_| None).collect();
        for ((&p, theta), answer) in open.iter().zip(trials).zip(answers) {
            told[p] = Some((theta, answer));
        }
        let each = group.par_iter_mut().zip(&steps).zip(told);
        let falls = each.map(|((state, step), told)| {
            told.is_none_or(|(theta, answer)| state.tried(step, t, theta, answer))
        });
        let falls: Vec<bool> = falls.collect();
        open.retain(|&p| !falls[p]);
        t *= 0.5;
    }
    open.into_iter().for_each(|p| group[p].stay());
    Ok(())
}

/// Takes the diagonals that are due.
fn renew(passes: &Passes<'_>, group: &mut [&mut Descent]) -> Result<()> {
    let due = group.iter_mut().filter(|s| s.iterations >= s.renewal);
    let mut due: Vec<&mut Descent> = due.map(|state| &mut **state).collect();
    let asks: Vec<Ask<'_>> = due.iter().map(|s| s.problem.ask(&s.theta)).collect();
    let answers = passes.ask(&asks, Wanted::Diagonal)?;
    let each = due.par_iter_mut().zip(answers);
    each.for_each(|(state, answer)| state.renew(answer.derivative));
    Ok(())
}
