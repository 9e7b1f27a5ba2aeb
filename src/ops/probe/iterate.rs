//! One problem inside the Newton batch: where it stands, its metric, and its step.

use ndarray::Array2;

use super::hessian::{Sample, WorkingSet};
use super::metric::{Metric, Sparse};
use super::passes::Curved;
use super::statement::{Spent, Statement};
use super::stop::Rule;
use super::targets::Penalty;
use super::{WORKING_SET_MAX, dual, kkt, loss};
use crate::error::Result;
use crate::ops::quadratic::{Programme, Solution};

/// λ continuation: where it starts (share of λ_max), the step, and the KKT residual (in units of λ) that allows a step.
const CONTINUATION: (f64, f64, f64) = (0.2, 0.4, 2.0);
/// Samples of the Hessian an entry: far from the optimum and near it.
const KAPPA: (f64, f64) = (7.0, 16.0);
/// A step that has to be shortened, as the one before it had to be, tells of a poor sample. The next is so many times as large,
/// the largest so many times as usual; after a full step the next is smaller again, by the divisor.
const CARE: Care = Care {
    more: 4.0,
    most: 64.0,
    less: 1.1,
};
/// Accuracy of the quadratic programme, as a share of the KKT residual: far and near.
const FORCING: (f64, f64) = (0.3, 0.1);
/// Near means a KKT residual of at most this times λ.
const NEAR: f64 = 1.0;
/// The working set may grow by this share of the non-zeros a round: of a cold start, and of one from a neighbour's optimum,
/// most of whose non-zeros stay.
const GROWTH: (f64, f64) = (0.5, 0.2);
/// Rounds that a Hessian serves near the optimum, corrected by a BFGS pair each.
const HESSIAN_ROUNDS: usize = 10;
/// Steps of the quadratic programme a round, and where samples have been poor, far and near: badly conditioned ones would take
/// most of the time for a direction that the next Hessian corrects.
const INNER_STEPS: usize = 400;
const INNER_STEPS_POOR: (usize, usize) = (100, 200);
/// Rounds without a better KKT residual at the final λ before a problem is given up as not converged.
const PATIENCE: usize = 25;
/// The shortest step that is tried.
const SHORTEST: f32 = 5e-5;
/// The f32 gradient makes a step's change of the objective uncertain by about this share of the loss.
const NOISE: f64 = 1e-10;

/// How the size of a Hessian's sample follows the steps.
struct Care {
    more: f64,
    most: f64,
    less: f64,
}

/// What a quadratic programme needs beside the metric, in the order of the working set.
pub(super) struct Subproblem {
    g: Vec<f64>,
    w: Vec<f32>,
    l1: Vec<f64>,
    mu: Vec<f64>,
    scale: Vec<f64>,
    tolerance: f64,
}

/// Where a problem stands.
pub(super) struct Iterate {
    pub problem: Statement,
    pub theta: Array2<f32>,
    pub residual: Array2<f32>,
    pub spent: Spent,
    /// The problem's penalty; its μ follows the weights where the norm is not squared.
    penalty: Penalty,
    z: Array2<f32>,
    loss: f64,
    gradient: Array2<f64>,
    /// λ now, as a multiple of the final one.
    factor: f64,
    metric: Option<Metric>,
    previous: Option<(Array2<f32>, Array2<f64>)>,
    previous_kkt: f64,
    was_near: bool,
    step: f64,
    /// How many times as large as usual the Hessian's samples are.
    care: f64,
    best_kkt: f64,
    /// Where that was.
    best: Array2<f32>,
    stalled: usize,
    next_check: usize,
    seed: u64,
}

impl Iterate {
    /// At the statement's start, whose predictions are `z`.
    pub(super) fn new(problem: Statement, z: Array2<f32>, seed: u64) -> Self {
        let mut residual = Array2::zeros(z.dim());
        let loss = loss::loss(&z, &problem.targets, &mut residual);
        let factor = if problem.warm || problem.penalty.l1 == 0.0 {
            1.0
        } else {
            (CONTINUATION.0 * problem.lambda_max / problem.penalty.l1).max(1.0)
        };
        let mut spent = problem.spent.clone();
        spent.passes += 0.5;
        Self {
            theta: problem.start.clone(),
            gradient: Array2::zeros(problem.start.dim()),
            residual,
            loss,
            z,
            factor,
            metric: None,
            previous: None,
            previous_kkt: f64::INFINITY,
            was_near: false,
            step: 1.0,
            care: 1.0,
            best_kkt: f64::INFINITY,
            best: problem.start.clone(),
            stalled: 0,
            next_check: 0,
            spent,
            seed,
            penalty: problem.penalty.clone(),
            problem,
        }
    }

    /// Whether it has more non-zeros than a working set may hold.
    pub(super) fn is_wide(&self) -> bool {
        self.theta.iter().filter(|w| **w != 0.0).count() > WORKING_SET_MAX
    }

    /// The statement of what is left to do, from the best point so far.
    pub(super) fn rest(mut self) -> Statement {
        self.problem.start = self.best;
        self.problem.spent = self.spent;
        self.problem.penalty = self.penalty;
        self.problem
    }

    /// A certificate said no: ask again two rounds later.
    pub(super) fn postpone_check(&mut self) {
        self.next_check = self.spent.depth + 2;
    }

    /// Takes the exact gradient at the current point and lowers λ as far as it allows.
    pub(super) fn receive(&mut self, gradient: Array2<f64>) {
        self.spent.passes += 0.5;
        self.spent.depth += 1;
        if let (Some((theta, old)), Some(metric)) = (&self.previous, &mut self.metric) {
            let step = Sparse::difference(&self.theta, theta);
            let change = ndarray::Zip::from(&gradient)
                .and(old)
                .map_collect(|new, old| (new - old) as f32);
            metric.pairs.push((step, change));
        }
        self.gradient = gradient;
        self.penalty.touch(&self.theta);
        while self.factor > 1.0 && self.kkt_now() <= CONTINUATION.2 * self.penalty.l1 * self.factor
        {
            self.factor = (self.factor * CONTINUATION.1).max(1.0);
        }
        let kkt = kkt::kkt(&self.gradient, &self.theta, &self.penalty);
        self.spent.note(&self.problem, kkt, self.objective());
        if kkt < self.best_kkt {
            self.best_kkt = kkt;
            self.best.assign(&self.theta);
            self.stalled = 0;
        } else if self.factor <= 1.0 {
            self.stalled += 1;
        }
    }

    /// The objective at the λ asked for.
    fn objective(&self) -> f64 {
        self.loss + self.penalty.value(&self.theta)
    }

    /// KKT residual at the λ in use.
    fn kkt_now(&self) -> f64 {
        kkt::kkt(
            &self.gradient,
            &self.theta,
            &self.penalty.scaled(self.factor),
        )
    }

    /// Whether it has come to rest.
    pub(super) fn is_at_rest(&self) -> bool {
        self.stalled > PATIENCE
    }

    /// What it has to show: where it is, and once it has come to rest the best point.
    pub(super) fn standing(&self) -> &Array2<f32> {
        if self.is_at_rest() {
            &self.best
        } else {
            &self.theta
        }
    }

    /// Whether its own numbers say that it is good enough.
    pub(super) fn looks_done(&self, rule: &Rule) -> bool {
        if self.spent.depth < self.next_check {
            return false;
        }
        if self.objective() <= self.problem.goal {
            return true;
        }
        let (l1, kkt) = (self.penalty.l1, self.kkt_now());
        if self.factor > 1.0 {
            return false;
        }
        let relative = kkt / self.problem.lambda_max.max(l1);
        if rule.holds(f64::INFINITY, kkt, relative, l1) {
            return true;
        }
        if rule.gap == 0.0 || kkt > self.problem.unit() {
            return false;
        }
        let objective = self.objective();
        let gap = dual::forecast(
            &self.problem,
            &self.penalty,
            objective,
            &self.residual,
            &self.gradient,
        );
        gap <= rule.gap * objective
    }

    /// Picks the working set and its Hessian, which a device may have yet to sum.
    pub(super) fn choose(&mut self, curved: &Curved<'_>) -> Result<()> {
        let penalty = self.penalty.scaled(self.factor);
        let kkt = self.kkt_now();
        let near = self.factor <= 1.0 && kkt <= NEAR * self.problem.unit();
        self.prepare_metric(curved, &penalty, kkt, near)?;
        self.was_near = near;
        self.previous_kkt = kkt;
        Ok(())
    }

    /// Has the device sum the Hessian, where it has yet to do so.
    pub(super) fn settle(&mut self, curved: &Curved<'_>) -> Result<()> {
        let metric = self.metric.as_mut().expect("it was chosen");
        self.spent.flop += metric.settle(curved)?;
        Ok(())
    }

    /// What the quadratic programme needs that says where to go.
    pub(super) fn prepare(&mut self, rule: &Rule) -> Subproblem {
        let penalty = self.penalty.scaled(self.factor);
        let (kkt, near) = (self.previous_kkt, self.was_near);
        let metric = self.metric.as_mut().expect("it was chosen");
        self.spent.flop += metric.correct();
        let set = &metric.set;
        let of_rows =
            |value: &dyn Fn(usize) -> f64| set.entries().map(|(row, _)| value(row)).collect();
        let forcing = if near { FORCING.1 } else { FORCING.0 };
        let floor = rule.floor(self.problem.unit(), self.problem.lambda_max);
        Subproblem {
            g: set.gather(&self.gradient),
            w: set.gather(&self.theta),
            l1: of_rows(&|row| penalty.l1_row(row)),
            mu: of_rows(&|row| penalty.mu_row(row)),
            scale: of_rows(&|row| if row == 0 { 1.0 } else { penalty.rows[row] }),
            tolerance: (forcing * kkt).max(floor),
        }
    }

    /// The quadratic programme of what was prepared.
    pub(super) fn programme<'a>(&'a self, prepared: &'a Subproblem) -> Programme<'a> {
        let metric = self.metric.as_ref().expect("it was prepared");
        Programme {
            h: metric
                .hessian
                .as_slice()
                .expect("the Hessian is contiguous"),
            g: &prepared.g,
            w: &prepared.w,
            l1: &prepared.l1,
            mu: &prepared.mu,
            scale: &prepared.scale,
            blocks: &metric.set.offsets,
            tolerance: prepared.tolerance,
            steps: match (self.care > 1.0, self.was_near) {
                (false, _) => INNER_STEPS,
                (true, false) => INNER_STEPS_POOR.0,
                (true, true) => INNER_STEPS_POOR.1,
            },
        }
    }

    /// Where the solution of its quadratic programme says to go.
    pub(super) fn target(&mut self, solution: Solution) -> Array2<f32> {
        self.spent.flop += solution.flop;
        let metric = self.metric.as_ref().expect("it was prepared");
        let mut target = self.theta.clone();
        for (at, u) in metric.set.entries().zip(solution.u) {
            target[at] = u;
        }
        kkt::recentre(&mut target, &self.penalty.scaled(self.factor));
        target
    }

    /// Keeps the Hessian near the optimum while it serves well, else samples a new one on a new working set.
    fn prepare_metric(
        &mut self,
        curved: &Curved<'_>,
        penalty: &Penalty,
        kkt: f64,
        near: bool,
    ) -> Result<()> {
        let nonzero =
            Array2::from_shape_fn(self.theta.dim(), |at| at.0 == 0 || self.theta[at] != 0.0);
        let count = nonzero.iter().filter(|n| **n).count();
        let kappa = self.care * if near { KAPPA.1 } else { KAPPA.0 };
        let seed = self.seed.wrapping_add(self.spent.depth as u64);
        let targets = &self.problem.targets;
        if let Some(metric) = &mut self.metric {
            let fresh = Array2::from_shape_fn(self.theta.dim(), |(row, class)| {
                !metric.selected[(row, class)]
                    && (nonzero[(row, class)]
                        || self.gradient[(row, class)].abs() > penalty.l1_row(row))
            });
            let entering = fresh.iter().filter(|f| **f).count();
            let serves = kkt <= 0.7 * self.previous_kkt || metric.age < 2;
            if near
                && self.was_near
                && metric.age < HESSIAN_ROUNDS
                && serves
                && self.step >= 1.0
                && 20 * entering <= count
            {
                metric.age += 1;
                if entering > 0 {
                    metric.selected.zip_mut_with(&fresh, |s, f| *s |= f);
                    self.spent.flop += metric.grow(curved)?;
                }
                return Ok(());
            }
        }
        let selected = self.select(penalty, &nonzero, count, near);
        let set = WorkingSet::new(&selected);
        self.metric = None; // its Hessian makes room for the next
        let sample = Sample::draw(&self.residual, targets, &set, kappa, seed);
        let owed = curved.takes(&set.rows, &sample.terms(), None);
        let (hessian, flop) = match owed {
            true => (Array2::zeros((0, 0)), 0.0),
            false => sample.hessian(curved, &set, None)?,
        };
        self.spent.flop += flop;
        self.metric = Some(Metric {
            selected,
            set,
            sample,
            hessian,
            owed,
            age: 0,
            pairs: Vec::new(),
            seen: 0,
            corrections: Vec::new(),
        });
        Ok(())
    }

    /// The non-zeros and the largest violators, at most [`WORKING_SET_MAX`] together (never fewer than the non-zeros).
    fn select(
        &self,
        penalty: &Penalty,
        nonzero: &Array2<bool>,
        count: usize,
        near: bool,
    ) -> Array2<bool> {
        if penalty.l1 == 0.0 {
            return Array2::from_elem(nonzero.dim(), true); // nothing stays at zero
        }
        // Near the optimum also what is about to violate: it would else have to wait for the next Hessian.
        let margin = if near { 0.9 } else { 1.0 };
        let growth = if self.problem.warm {
            GROWTH.1
        } else {
            GROWTH.0
        };
        let room = ((growth * count as f64) as usize)
            .max(100)
            .min(WORKING_SET_MAX.saturating_sub(count).max(50));
        let mut violators: Vec<(f64, (usize, usize))> = self
            .gradient
            .indexed_iter()
            .filter(|(at, _)| !nonzero[*at])
            .map(|(at, g)| (g.abs() / penalty.rows[at.0] - margin * penalty.l1, at))
            .filter(|(v, _)| *v > 0.0)
            .collect();
        violators.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let mut selected = nonzero.clone();
        for (_, at) in violators.into_iter().take(room) {
            selected[at] = true;
        }
        selected
    }

    /// Backtracks from the Newton point until the objective falls (up to f32 noise), element-wise on the predictions. Where no
    /// step makes it fall it stays, and the next round draws another Hessian.
    pub(super) fn line_search(
        &mut self,
        target: Array2<f32>,
        direction: &Array2<f32>,
        dz: &Array2<f32>,
    ) {
        self.spent.passes += 0.5;
        let penalty = self.penalty.scaled(self.factor);
        let here = penalty.value(&self.theta);
        let targets = &self.problem.targets;
        let tangent: f64 = self
            .gradient
            .iter()
            .zip(direction)
            .map(|(g, d)| g * f64::from(*d))
            .sum();
        let slope = tangent + penalty.value(&target) - here;
        let mut t = 1.0f32;
        loop {
            let theta = if t == 1.0 {
                target.clone()
            } else {
                &self.theta + &(direction * t)
            };
            let change = f64::from(t) * tangent
                + loss::above_tangent(&self.residual, dz, t, targets)
                + penalty.value(&theta)
                - here;
            if change <= 1e-4 * f64::from(t) * slope.min(0.0) + NOISE * self.loss {
                self.previous = Some((
                    std::mem::replace(&mut self.theta, theta),
                    self.gradient.clone(),
                ));
                self.z.scaled_add(t, dz);
                self.loss = loss::loss(&self.z, targets, &mut self.residual);
                self.stepped(f64::from(t));
                return;
            }
            t *= 0.5;
            if t < SHORTEST {
                self.previous = None;
                self.stepped(0.0);
                return;
            }
        }
    }

    /// How long the step was, and so how good the next Hessian must be.
    fn stepped(&mut self, length: f64) {
        if length >= 1.0 {
            self.care = (self.care / CARE.less).max(1.0);
        } else if self.step < 1.0 {
            self.care = (CARE.more * self.care).min(CARE.most);
        }
        self.step = length;
    }

    /// Takes fresh predictions of the current point: the updated ones gather rounding.
    pub(super) fn refresh(&mut self, z: Array2<f32>) {
        self.z = z;
        self.loss = loss::loss(&self.z, &self.problem.targets, &mut self.residual);
        self.spent.passes += 0.5;
    }
}
