//! Sampled-Hessian working-set proximal Newton, all problems of a batch in step.
//!
//! Each round: one backward GEMM gives every problem its exact gradient; each problem picks its working set, a Hessian
//! (freshly sampled far from the optimum; kept and corrected by BFGS pairs of exact gradient differences near it) and
//! solves its quadratic programme; one forward GEMM gives the directions' logits; the line search is element-wise.
//! λ is continued inside the solve: from 0.2·λ_max down by 0.4 whenever the current λ's KKT residual is small enough.

use ndarray::Array2;
use rayon::prelude::*;

use super::certificate::{self, Point};
use super::hessian::{self, WorkingSet};
use super::inner::{Quadratic, dot};
use super::objective::{self, Penalty, probabilities};
use super::passes::Passes;
use super::statement::Statement;
use super::{Design, Fit, Params, Progress, WORKING_SET_MAX};
use crate::error::Result;

/// λ continuation: where it starts (share of λ_max), the step, and the KKT residual (in units of λ) that allows a step.
const CONTINUATION: (f64, f64, f64) = (0.2, 0.4, 4.0);
/// Samples of the Hessian an entry: far from the optimum and near it.
const KAPPA: (f64, f64) = (8.0, 16.0);
/// Accuracy of the quadratic programme, as a share of the KKT residual: far and near.
const FORCING: (f64, f64) = (0.3, 0.1);
/// Near means a KKT residual of at most this times λ.
const NEAR: f64 = 1.0;
/// The working set may grow by this share of the non-zeros a round.
const GROWTH: f64 = 0.5;
/// Rounds that a Hessian serves near the optimum, corrected by a BFGS pair each.
const HESSIAN_ROUNDS: usize = 10;
/// Steps of the quadratic programme a round.
const INNER_STEPS: usize = 160;
/// Rounds without a better KKT residual at the final λ before a problem is given up as not converged.
const PATIENCE: usize = 15;
/// The f32 gradient makes a step's change of the objective uncertain by about this share of the loss.
const NOISE: f64 = 1e-10;
/// Rounds between two fresh forward passes: logits are otherwise updated by the directions'.
const REFRESH: usize = 10;

/// The Hessian in use and what it was made for.
struct Metric {
    selected: Array2<bool>,
    set: WorkingSet,
    /// Sampled, then corrected by the first `corrections` of `pairs`.
    hessian: Array2<f32>,
    age: usize,
    /// Exact (step, gradient difference) pairs since it was sampled.
    pairs: Vec<(Array2<f32>, Array2<f64>)>,
    corrections: usize,
}

struct State {
    problem: Statement,
    theta: Array2<f32>,
    z: Array2<f32>,
    residual: Array2<f32>,
    loss: f64,
    gradient: Array2<f64>,
    /// λ now, as a multiple of the final one.
    factor: f64,
    metric: Option<Metric>,
    previous: Option<(Array2<f32>, Array2<f64>)>,
    previous_kkt: f64,
    was_near: bool,
    step: f64,
    best_kkt: f64,
    stalled: usize,
    rounds: usize,
    next_check: usize,
    passes: f64,
    seed: u64,
    /// Whether it has more non-zeros than a working set may hold.
    wide: bool,
    fit: Option<Fit>,
}

/// How a problem leaves the batch.
pub(super) enum Outcome {
    /// With its fit, converged or given up.
    Solved(Box<Fit>),
    /// With more non-zeros than a working set may hold; it starts where Newton left it.
    Wide(Box<Statement>),
}

pub(super) fn solve(
    passes: &mut Passes<'_>,
    design: &Design,
    problems: Vec<(usize, Statement)>,
    params: &Params,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Vec<(usize, Outcome)>> {
    if problems.is_empty() {
        return Ok(Vec::new());
    }
    let (places, statements): (Vec<usize>, Vec<Statement>) = problems.into_iter().unzip();
    let logits = passes.forward(&statements.iter().map(|s| &s.start).collect::<Vec<_>>())?;
    let mut states: Vec<State> = statements
        .into_iter()
        .zip(logits)
        .map(|(s, z)| State::new(s, z, params.seed))
        .collect();
    loop {
        let mut active: Vec<&mut State> = states.iter_mut().filter(|s| s.is_open()).collect();
        if active.is_empty() {
            break;
        }
        let gradients = passes.backward(&active.iter().map(|s| &s.residual).collect::<Vec<_>>())?;
        for (state, gradient) in active.iter_mut().zip(gradients) {
            state.receive(gradient);
        }
        retire(design, &mut active, params);
        active.retain(|s| s.is_open());
        if !active.is_empty() {
            advance(passes, design, &mut active, params)?;
        }
        let finished = states.iter().filter(|s| !s.is_open()).count();
        let most = states.iter().map(|s| s.passes).fold(0.0, f64::max);
        progress(&Progress {
            finished,
            problems: states.len(),
            passes: most,
        });
    }
    Ok(places
        .into_iter()
        .zip(states.into_iter().map(State::outcome))
        .collect())
}

/// Certifies the problems that look done (or must stop) and gives them their fits.
fn retire(design: &Design, active: &mut [&mut State], params: &Params) {
    let due: Vec<usize> = (0..active.len())
        .filter(|&p| !active[p].wide && active[p].is_due(params))
        .collect();
    if due.is_empty() {
        return;
    }
    let points: Vec<Point<'_>> = due
        .iter()
        .map(|&p| active[p].problem.point(&active[p].theta, active[p].passes))
        .collect();
    let certified = certificate::certify(design, &points, params.relative_gap);
    for (p, (objective, certificate)) in due.into_iter().zip(certified) {
        let state = &mut *active[p];
        state.next_check = state.rounds + 2;
        if certificate.converged || state.must_stop(params) {
            state.fit = Some(
                state
                    .problem
                    .fit(design, &state.theta, objective, certificate),
            );
        }
    }
}

/// One Newton step of every active problem.
fn advance(
    passes: &mut Passes<'_>,
    design: &Design,
    active: &mut [&mut State],
    params: &Params,
) -> Result<()> {
    let targets: Vec<Array2<f32>> = active
        .par_iter_mut()
        .map(|s| s.newton_point(design, params))
        .collect();
    let directions: Vec<Array2<f32>> = active
        .iter()
        .zip(&targets)
        .map(|(s, u)| u - &s.theta)
        .collect();
    let dz = passes.forward(&directions.iter().collect::<Vec<_>>())?;
    for ((state, target), (direction, dz)) in active
        .iter_mut()
        .zip(targets)
        .zip(directions.iter().zip(dz))
    {
        state.line_search(target, direction, &dz);
    }
    let refresh: Vec<usize> = (0..active.len())
        .filter(|&p| active[p].rounds.is_multiple_of(REFRESH))
        .collect();
    if !refresh.is_empty() {
        let z = passes.forward(
            &refresh
                .iter()
                .map(|&p| &active[p].theta)
                .collect::<Vec<_>>(),
        )?;
        for (p, z) in refresh.into_iter().zip(z) {
            let state = &mut *active[p];
            state.z = z;
            state.loss = objective::loss(&state.z, &state.problem.targets.y, &mut state.residual);
            state.passes += 0.5;
        }
    }
    Ok(())
}

impl State {
    fn new(problem: Statement, z: Array2<f32>, seed: u64) -> Self {
        let mut residual = Array2::zeros(z.dim());
        let loss = objective::loss(&z, &problem.targets.y, &mut residual);
        let first = if problem.warm {
            1.0
        } else {
            (CONTINUATION.0 * problem.lambda_max / problem.penalty.l1).max(1.0)
        };
        Self {
            theta: problem.start.clone(),
            gradient: Array2::zeros(problem.start.dim()),
            residual,
            loss,
            z,
            factor: first,
            metric: None,
            previous: None,
            previous_kkt: f64::INFINITY,
            was_near: false,
            step: 1.0,
            best_kkt: f64::INFINITY,
            stalled: 0,
            rounds: 0,
            next_check: 0,
            passes: 0.5,
            seed,
            wide: false,
            fit: None,
            problem,
        }
    }

    fn is_open(&self) -> bool {
        self.fit.is_none() && !self.wide
    }

    fn outcome(self) -> Outcome {
        match self.fit {
            Some(fit) => Outcome::Solved(Box::new(fit)),
            None => Outcome::Wide(Box::new(Statement {
                start: self.theta,
                passes: self.passes,
                ..self.problem
            })),
        }
    }

    /// Takes the exact gradient at the current point and lowers λ as far as it allows.
    fn receive(&mut self, gradient: Array2<f64>) {
        self.passes += 0.5;
        self.rounds += 1;
        if let (Some((theta, old)), Some(metric)) = (&self.previous, &mut self.metric) {
            metric.pairs.push((&self.theta - theta, &gradient - old));
        }
        self.gradient = gradient;
        while self.factor > 1.0
            && self.kkt_now() <= CONTINUATION.2 * self.problem.penalty.l1 * self.factor
        {
            self.factor = (self.factor * CONTINUATION.1).max(1.0);
        }
        let nonzeros = self.theta.iter().filter(|w| **w != 0.0).count();
        self.wide = nonzeros > WORKING_SET_MAX;
        let kkt = objective::kkt(&self.gradient, &self.theta, &self.problem.penalty);
        if kkt < self.best_kkt {
            self.best_kkt = kkt;
            self.stalled = 0;
        } else if self.factor <= 1.0 {
            self.stalled += 1;
        }
    }

    /// KKT residual at the λ in use.
    fn kkt_now(&self) -> f64 {
        objective::kkt(
            &self.gradient,
            &self.theta,
            &self.problem.penalty.scaled(self.factor),
        )
    }

    fn must_stop(&self, params: &Params) -> bool {
        self.passes >= params.max_passes || self.stalled > PATIENCE
    }

    /// Whether the gap is worth its cost: it must stop, or the forecast says that it is small enough.
    fn is_due(&self, params: &Params) -> bool {
        if self.must_stop(params) {
            return true;
        }
        if self.factor > 1.0
            || self.rounds < self.next_check
            || self.kkt_now() > self.problem.penalty.l1
        {
            return false;
        }
        let objective = self.loss + self.problem.penalty.value(self.theta.view());
        let forecast =
            certificate::forecast(&self.problem, objective, &self.residual, &self.gradient);
        forecast <= params.relative_gap * objective
    }

    /// Picks the working set and its Hessian and solves the quadratic programme: where to go.
    fn newton_point(&mut self, design: &Design, params: &Params) -> Array2<f32> {
        let penalty = self.problem.penalty.scaled(self.factor);
        let kkt = self.kkt_now();
        let near = self.factor <= 1.0 && kkt <= NEAR * penalty.l1;
        self.prepare_metric(design, &penalty, kkt, near);
        self.was_near = near;
        self.previous_kkt = kkt;
        let metric = self.metric.as_mut().expect("it was just prepared");
        metric.correct();
        let set = &metric.set;
        let rows: Vec<usize> = set.entries().map(|(row, _)| row).collect();
        let quadratic = Quadratic {
            h: &metric.hessian,
            g: &set.gather(&self.gradient),
            l1: &rows
                .iter()
                .map(|&row| penalty.l1_row(row))
                .collect::<Vec<_>>(),
            mu: &rows
                .iter()
                .map(|&row| penalty.mu_row(row))
                .collect::<Vec<_>>(),
            scale: &rows
                .iter()
                .map(|&row| if row == 0 { 1.0 } else { penalty.rows[row] })
                .collect::<Vec<_>>(),
        };
        let forcing = if near { FORCING.1 } else { FORCING.0 };
        let floor = 1e-3 * params.relative_gap.sqrt() * penalty.l1;
        let u = quadratic.solve(
            &set.gather(&self.theta),
            (forcing * kkt).max(floor),
            INNER_STEPS,
        );
        let mut target = self.theta.clone();
        for (at, u) in set.entries().zip(u) {
            target[at] = u;
        }
        objective::recentre(&mut target, &penalty);
        target
    }

    /// Keeps the Hessian near the optimum while it serves well, else samples a new one on a new working set.
    fn prepare_metric(&mut self, design: &Design, penalty: &Penalty, kkt: f64, near: bool) {
        let nonzero =
            Array2::from_shape_fn(self.theta.dim(), |at| at.0 == 0 || self.theta[at] != 0.0);
        let count = nonzero.iter().filter(|n| **n).count();
        let kappa = if near { KAPPA.1 } else { KAPPA.0 };
        let seed = self.seed.wrapping_add(self.rounds as u64);
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
                    metric.set = WorkingSet::new(&metric.selected);
                    let p = probabilities(&self.residual, &self.problem.targets.y);
                    metric.hessian = hessian::sampled(design.z(), &p, &metric.set, kappa, seed);
                    metric.corrections = 0;
                }
                return;
            }
        }
        let selected = self.select(penalty, &nonzero, count, near);
        let set = WorkingSet::new(&selected);
        let p = probabilities(&self.residual, &self.problem.targets.y);
        let hessian = hessian::sampled(design.z(), &p, &set, kappa, seed);
        self.metric = Some(Metric {
            selected,
            set,
            hessian,
            age: 0,
            pairs: Vec::new(),
            corrections: 0,
        });
    }

    /// The non-zeros and the largest violators, at most [`WORKING_SET_MAX`] together (never fewer than the non-zeros).
    fn select(
        &self,
        penalty: &Penalty,
        nonzero: &Array2<bool>,
        count: usize,
        near: bool,
    ) -> Array2<bool> {
        let margin = if near { 1.0 } else { 0.9 };
        let room = ((GROWTH * count as f64) as usize)
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

    /// Backtracks from the Newton point until the objective falls (up to f32 noise), element-wise on the logits.
    fn line_search(&mut self, target: Array2<f32>, direction: &Array2<f32>, dz: &Array2<f32>) {
        self.passes += 0.5;
        let penalty = self.problem.penalty.scaled(self.factor);
        let here = penalty.value(self.theta.view());
        let y = &self.problem.targets.y;
        let tangent: f64 = self
            .gradient
            .iter()
            .zip(direction)
            .map(|(g, d)| g * f64::from(*d))
            .sum();
        let slope = tangent + penalty.value(target.view()) - here;
        let mut t = 1.0f32;
        loop {
            let theta = if t == 1.0 {
                target.clone()
            } else {
                &self.theta + &(direction * t)
            };
            let change = f64::from(t) * tangent
                + objective::above_tangent(&self.residual, dz, t, y)
                + penalty.value(theta.view())
                - here;
            if change <= 1e-4 * f64::from(t) * slope.min(0.0) + NOISE * self.loss || t < 1e-4 {
                self.previous = Some((
                    std::mem::replace(&mut self.theta, theta),
                    self.gradient.clone(),
                ));
                self.z.scaled_add(t, dz);
                self.loss = objective::loss(&self.z, &self.problem.targets.y, &mut self.residual);
                self.step = f64::from(t);
                return;
            }
            t *= 0.5;
        }
    }
}

impl Metric {
    /// Applies the BFGS corrections of the pairs that came since the last time.
    fn correct(&mut self) {
        let n = self.set.len();
        for (step, change) in &self.pairs[self.corrections..] {
            let s = self.set.gather(step);
            let y = self.set.gather(change);
            let flat = self
                .hessian
                .as_slice_mut()
                .expect("the Hessian is contiguous");
            let hs: Vec<f64> = flat.par_chunks_exact(n).map(|row| dot(row, &s)).collect();
            let sy: f64 = s.iter().zip(&y).map(|(s, y)| f64::from(*s) * y).sum();
            let shs: f64 = s.iter().zip(&hs).map(|(s, h)| f64::from(*s) * h).sum();
            if shs <= 0.0 || sy <= 1e-6 * shs {
                continue;
            }
            let y: Vec<f32> = y.iter().map(|y| *y as f32).collect();
            let hs: Vec<f32> = hs.iter().map(|h| *h as f32).collect();
            flat.par_chunks_exact_mut(n)
                .enumerate()
                .for_each(|(j, row)| {
                    let (yj, hj) = (y[j] / sy as f32, hs[j] / shs as f32);
                    for ((h, y), hs) in row.iter_mut().zip(&y).zip(&hs) {
                        *h += yj * y - hj * hs;
                    }
                });
        }
        self.corrections = self.pairs.len();
    }
}
