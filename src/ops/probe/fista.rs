//! Accelerated proximal gradient with a diagonal metric, backtracking and adaptive restart (Beck & Teboulle 2009;
//! O'Donoghue & Candès 2015), all problems of a batch in step.
//!
//! The metric is the diagonal of the Hessian at the point where it was last taken: at the start and after 20, 60, 140, …
//! iterations, each time with a restart.
//!
//! The extrapolated point's predictions are the same combination as the point itself, so an iteration is one backward
//! and one forward GEMM.

use ndarray::Array2;
use rayon::prelude::*;

use super::batch::{Active, Frame, Method, State};
use super::passes::Passes;
use super::slab::Slab;
use super::statement::{Spent, Statement};
use super::stop::Rule;
use super::targets::Penalty;
use super::{Certificate, cpu, dual, kkt, loss};
use crate::error::Result;

/// Iterations between two looks at the duality gap.
const CHECK_EVERY: usize = 20;
/// Iterations between two certificates that are made whatever f32 numbers say: near their limit they may never say yes.
const CERTIFY_EVERY: usize = 200;
/// The step is lengthened by this a iteration, so that one bad spot does not slow down the rest.
const LIPSCHITZ_DECAY: f64 = 0.998;
/// Backtracks of one iteration: the step is then 10⁻⁷ of what it was, and more would only chase rounding.
const BACKTRACKS: usize = 40;
/// The diagonal metric is at least this share of its column's mean: a sample that is certain has hardly any curvature
/// here, but may have some a step further.
const LEAST_CURVATURE: f64 = 0.02;
/// f32 predictions make a step's change of the loss uncertain by about this share of it.
const NOISE: f64 = 1e-10;

pub(super) struct Momentum {
    problem: Statement,
    theta: Array2<f32>,
    z: Array2<f32>,
    previous_theta: Array2<f32>,
    previous_z: Array2<f32>,
    /// Diagonal of the Hessian where it was last taken; empty before the first time.
    metric: Array2<f64>,
    /// The iteration at which it is taken next.
    renewal: usize,
    /// What the metric is multiplied by to majorise the loss.
    lipschitz: f64,
    momentum: f64,
    iterations: usize,
    spent: Spent,
    /// The problem's penalty; its μ follows the weights where the norm is not squared.
    penalty: Penalty,
    /// Whether the last extrapolated point's own numbers said that it is good enough.
    looks_done: bool,
    next_check: usize,
    next_goal_check: usize,
}

/// Where an iteration starts from: the extrapolated point.
struct Extrapolated {
    theta: Array2<f32>,
    z: Array2<f32>,
    residual: Array2<f32>,
    loss: f64,
}

/// The method, and the norm of each slab's Gram matrix once it is known.
#[derive(Default)]
pub(super) struct Fista {
    norms: Vec<Option<f64>>,
}

impl Method for Fista {
    type State = Momentum;

    fn enter(
        &mut self,
        frame: &Frame<'_>,
        statement: Statement,
        z: Option<Array2<f32>>,
    ) -> Result<Momentum> {
        let z = z.expect("predictions are wanted");
        let slab = statement.slab;
        self.norms.resize(frame.slabs.len(), None);
        let norm = match self.norms[slab] {
            Some(norm) => norm,
            None => *self.norms[slab].insert(gram_norm(frame.passes, slab)?),
        };
        Ok(Momentum::new(statement, z, norm))
    }

    fn advance(&mut self, frame: &Frame<'_>, active: &mut [Active<Momentum>]) -> Result<()> {
        step(frame, active)
    }
}

impl State for Momentum {
    fn problem(&self) -> &Statement {
        &self.problem
    }

    fn theta(&self) -> &Array2<f32> {
        &self.theta
    }

    fn spent(&self) -> &Spent {
        &self.spent
    }

    fn is_due(&self, _rule: &Rule) -> bool {
        self.looks_done
    }

    fn postpone(&mut self, _certificate: &Certificate, _rule: &Rule) {
        self.looks_done = false;
        self.next_check = self.iterations + CHECK_EVERY;
        self.next_goal_check = self.iterations + 3;
    }
}

impl Momentum {
    fn new(problem: Statement, z: Array2<f32>, norm: f64) -> Self {
        let mut spent = problem.spent.clone();
        spent.passes += 0.5;
        Self {
            theta: problem.start.clone(),
            previous_theta: problem.start.clone(),
            previous_z: z.clone(),
            z,
            metric: Array2::zeros((0, 0)),
            renewal: 0,
            lipschitz: norm,
            momentum: 1.0,
            iterations: 0,
            looks_done: false,
            next_check: CHECK_EVERY,
            next_goal_check: 0,
            spent,
            penalty: problem.penalty.clone(),
            problem,
        }
    }

    /// Takes the metric afresh at the current point, and restarts.
    fn renew(&mut self, slab: &Slab<'_>) -> Result<()> {
        let targets = &self.problem.targets;
        let mut residual = Array2::zeros(self.z.dim());
        loss::loss(&self.z, targets, &mut residual);
        let v = loss::curvature(&residual, targets);
        self.metric = cpu::squares(slab, v.view())?;
        for mut column in self.metric.columns_mut() {
            let floor = LEAST_CURVATURE * column.sum() / column.len() as f64;
            column.mapv_inplace(|v| v.max(floor).max(f64::MIN_POSITIVE));
        }
        self.previous_theta.assign(&self.theta);
        self.previous_z.assign(&self.z);
        self.momentum = 1.0;
        self.renewal = 2 * self.renewal + 20;
        self.spent.flop += 0.5 * self.problem.pass_flop();
        Ok(())
    }

    /// The extrapolated point.
    fn extrapolate(&mut self) -> Extrapolated {
        let next = f64::midpoint(1.0, (1.0 + 4.0 * self.momentum * self.momentum).sqrt());
        let beta = ((self.momentum - 1.0) / next) as f32;
        self.momentum = next;
        let theta = &self.theta + &((&self.theta - &self.previous_theta) * beta);
        let mut z = self.z.clone();
        z.zip_mut_with(&self.previous_z, |z, before| *z += (*z - before) * beta);
        let mut residual = Array2::zeros(z.dim());
        let loss = loss::loss(&z, &self.problem.targets, &mut residual);
        Extrapolated {
            theta,
            z,
            residual,
            loss,
        }
    }

    /// Notes where an extrapolated point stands, and whether it looks good enough.
    fn note(&mut self, from: &Extrapolated, gradient: &Array2<f64>, rule: &Rule) {
        self.spent.passes += 0.5;
        self.spent.depth += 1;
        self.iterations += 1;
        let kkt = kkt::kkt(gradient, &from.theta, &self.penalty);
        let objective = from.loss + self.penalty.value(&from.theta);
        self.spent.note(&self.problem, kkt, objective);
        let there = objective <= self.problem.goal && self.iterations >= self.next_goal_check;
        if there || self.iterations.is_multiple_of(CERTIFY_EVERY) {
            self.looks_done = true;
        } else if self.iterations >= self.next_check {
            self.next_check = self.iterations + CHECK_EVERY;
            let relative = kkt / self.problem.lambda_max.max(self.penalty.l1);
            let by_kkt = rule.holds(f64::INFINITY, kkt, relative, self.penalty.l1);
            self.looks_done = by_kkt
                || rule.gap > 0.0 && {
                    let residual = &from.residual;
                    let gap =
                        dual::forecast(&self.problem, &self.penalty, objective, residual, gradient);
                    gap <= rule.gap * objective
                };
        }
    }

    /// The proximal step from an extrapolated point at the current Lipschitz estimate.
    fn proximal(&self, from: &Extrapolated, gradient: &Array2<f64>) -> Array2<f32> {
        let penalty = &self.penalty;
        Array2::from_shape_fn(from.theta.dim(), |(row, class)| {
            let curvature = self.lipschitz * self.metric[(row, class)];
            let v = f64::from(from.theta[(row, class)]) - gradient[(row, class)] / curvature;
            let shrunk = v.signum() * (v.abs() - penalty.l1_row(row) / curvature).max(0.0);
            (shrunk / (1.0 + penalty.mu_row(row) / curvature)) as f32
        })
    }

    /// Whether the quadratic model at `from` lies above the loss at `theta` (up to f32 noise).
    fn majorised(&self, from: &Extrapolated, theta: &Array2<f32>, z: &Array2<f32>) -> bool {
        let mut model = 0.0;
        for ((row, class), w) in theta.indexed_iter() {
            let d = f64::from(*w) - f64::from(from.theta[(row, class)]);
            model += 0.5 * self.lipschitz * self.metric[(row, class)] * d * d;
        }
        let dz = z - &from.z;
        let above = loss::above_tangent(&from.residual, &dz, 1.0, &self.problem.targets);
        above <= model + NOISE * from.loss
    }

    /// Takes the step, restarting the momentum when it points uphill.
    fn accept(&mut self, from: &Extrapolated, theta: Array2<f32>, z: Array2<f32>) {
        let mut uphill = 0.0;
        for ((row, class), w) in theta.indexed_iter() {
            let (w, at) = (f64::from(*w), (row, class));
            uphill +=
                self.metric[at] * (f64::from(from.theta[at]) - w) * (w - f64::from(self.theta[at]));
        }
        self.previous_theta = std::mem::replace(&mut self.theta, theta);
        self.previous_z = std::mem::replace(&mut self.z, z);
        if uphill > 0.0 {
            self.momentum = 1.0;
        }
        self.lipschitz *= LIPSCHITZ_DECAY;
        self.penalty.touch(&self.theta);
    }
}

/// One iteration of every active problem.
fn step(frame: &Frame<'_>, active: &mut [Active<Momentum>]) -> Result<()> {
    for (_, state) in active.iter_mut() {
        if state.iterations == state.renewal {
            state.renew(frame.passes.slab(state.problem.slab))?;
        }
    }
    let from: Vec<Extrapolated> = active
        .par_iter_mut()
        .map(|(_, s)| s.extrapolate())
        .collect();
    let residuals: Vec<_> = active
        .iter()
        .zip(&from)
        .map(|((_, s), f)| (s.problem.slab, &f.residual))
        .collect();
    let gradients = frame.passes.backward(&residuals)?;
    active
        .par_iter_mut()
        .zip(&from)
        .zip(&gradients)
        .for_each(|(((_, state), from), gradient)| state.note(from, gradient, &frame.rule));
    let mut open: Vec<usize> = (0..active.len()).collect();
    for attempt in 0.. {
        if open.is_empty() {
            break;
        }
        let trials: Vec<Array2<f32>> = open
            .par_iter()
            .map(|&p| active[p].1.proximal(&from[p], &gradients[p]))
            .collect();
        let columns: Vec<_> = open
            .iter()
            .zip(&trials)
            .map(|(&p, trial)| (active[p].1.problem.slab, trial))
            .collect();
        let predictions = frame.passes.forward(&columns)?;
        let majorised: Vec<bool> = open
            .par_iter()
            .zip(&trials)
            .zip(&predictions)
            .map(|((&p, theta), z)| {
                attempt == BACKTRACKS || active[p].1.majorised(&from[p], theta, z)
            })
            .collect();
        let mut still_open = Vec::new();
        let tried = open.into_iter().zip(trials).zip(predictions);
        for (((p, theta), z), majorised) in tried.zip(majorised) {
            let state = &mut active[p].1;
            state.spent.passes += 0.5;
            if majorised {
                state.accept(&from[p], theta, z);
            } else {
                state.lipschitz *= 1.5;
                still_open.push(p);
            }
        }
        open = still_open;
    }
    Ok(())
}

/// Largest eigenvalue of XᵀX/N by power iteration, from a fixed start.
fn gram_norm(passes: &Passes<'_>, place: usize) -> Result<f64> {
    let slab = passes.slab(place);
    let n = slab.samples() as f64;
    let mut v = Array2::from_shape_fn((slab.width() + 1, 1), |(row, _)| {
        if row == 0 {
            0.0
        } else {
            1.0 + (row % 7) as f32 / 7.0
        }
    });
    let mut norm = 1.0;
    for _ in 0..12 {
        let length = v.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        v.mapv_inplace(|value| (f64::from(value) / length) as f32);
        let z = passes.forward(&[(place, &v)])?.swap_remove(0);
        let g = passes.backward(&[(place, &z)])?.swap_remove(0);
        norm = g
            .iter()
            .skip(1)
            .map(|g| (g / n).powi(2))
            .sum::<f64>()
            .sqrt();
        v = g.mapv(|g| (g / n) as f32);
        v[(0, 0)] = 0.0;
    }
    Ok(norm.max(1.0))
}
