//! Limited-memory BFGS (Nocedal 1980) for problems without λ1, all of a batch in step: nothing stays at zero there, so
//! there is no small working set whose Hessian could be formed.
//!
//! The initial matrix of every two-loop recursion is the diagonal of the exact Hessian, taken afresh now and then. The
//! line search is on the predictions along the direction, element by element, so it is nearly exact and an iteration is
//! one backward and one forward GEMM.

use std::collections::VecDeque;

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

/// Pairs that are remembered.
const PAIRS: usize = 12;
/// Iterations between two fresh diagonals.
const RENEW: usize = 25;
/// Iterations between two fresh forward passes.
const REFRESH: usize = 10;
/// A line search ends when the slope has fallen to this share, with a decrease of at least this share of the tangent's.
const WOLFE: (f64, f64) = (0.3, 1e-4);
/// Trials of a line search.
const TRIALS: usize = 12;
/// Iterations without a better KKT residual before a problem is given up as not converged.
const PATIENCE: usize = 60;
/// Iterations between two certificates at least.
const LEAST_WAIT: usize = 5;
/// Entries of a gradient that a thread goes through.
const ENTRIES: usize = 4096;
/// f32 predictions make a step's change of the objective uncertain by about this share of the loss.
const NOISE: f64 = 1e-10;

pub(super) struct Descent {
    problem: Statement,
    theta: Array2<f32>,
    z: Array2<f32>,
    residual: Array2<f32>,
    loss: f64,
    /// Of the loss alone.
    gradient: Array2<f64>,
    /// Diagonal of the loss's Hessian.
    diagonal: Array2<f64>,
    pairs: VecDeque<Pair>,
    previous: Option<(Array2<f32>, Array2<f64>)>,
    /// The problem's penalty; its μ follows the weights where the norm is not squared.
    penalty: Penalty,
    spent: Spent,
    iterations: usize,
    next_check: usize,
    best_kkt: f64,
    stalled: usize,
}

/// A step and the gradient's change along it.
struct Pair {
    step: Array2<f32>,
    change: Array2<f64>,
    product: f64,
}

/// The method.
pub(super) struct Smooth;

impl Method for Smooth {
    type State = Descent;

    fn enter(
        &mut self,
        _frame: &Frame<'_>,
        statement: Statement,
        z: Option<Array2<f32>>,
    ) -> Result<Descent> {
        let z = z.expect("predictions are wanted");
        Ok(Descent::new(statement, z))
    }

    fn measure(&mut self, frame: &Frame<'_>, active: &mut [Active<Descent>]) -> Result<()> {
        let residuals: Vec<_> = active
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

    fn advance(&mut self, frame: &Frame<'_>, active: &mut [Active<Descent>]) -> Result<()> {
        step(frame.passes, active)
    }
}

impl State for Descent {
    fn problem(&self) -> &Statement {
        &self.problem
    }

    fn theta(&self) -> &Array2<f32> {
        &self.theta
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
    fn new(problem: Statement, z: Array2<f32>) -> Self {
        let mut residual = Array2::zeros(z.dim());
        let loss = loss::loss(&z, &problem.targets, &mut residual);
        let mut spent = problem.spent.clone();
        spent.passes += 0.5;
        Self {
            theta: problem.start.clone(),
            z,
            residual,
            loss,
            gradient: Array2::zeros((0, 0)),
            diagonal: Array2::zeros((0, 0)),
            pairs: VecDeque::new(),
            previous: None,
            penalty: problem.penalty.clone(),
            spent,
            iterations: 0,
            next_check: 0,
            best_kkt: f64::INFINITY,
            stalled: 0,
            problem,
        }
    }

    /// Takes the exact gradient at the current point.
    fn receive(&mut self, gradient: Array2<f64>) {
        self.spent.passes += 0.5;
        self.spent.depth += 1;
        if let Some((theta, old)) = self.previous.take() {
            let step = &self.theta - &theta;
            // The penalty's part of the gradient changes by μ times the step, exactly.
            let mut change = &gradient - &old;
            for ((row, class), change) in change.indexed_iter_mut() {
                *change += self.penalty.mu_row(row) * f64::from(step[(row, class)]);
            }
            let product = dot(&change, &step);
            if product > 0.0 {
                self.pairs.truncate(PAIRS - 1);
                self.pairs.push_front(Pair {
                    step,
                    change,
                    product,
                });
            }
        }
        self.gradient = gradient;
        self.penalty.touch(&self.theta);
        let kkt = kkt::kkt(&self.gradient, &self.theta, &self.penalty);
        let objective = self.loss + self.penalty.value(&self.theta);
        self.spent.note(&self.problem, kkt, objective);
        self.stalled += 1;
        if kkt < self.best_kkt {
            self.best_kkt = kkt;
            self.stalled = 0;
        }
    }

    /// Whether its own numbers say that it is good enough.
    fn looks_done(&self, rule: &Rule) -> bool {
        if self.iterations < self.next_check {
            return false;
        }
        let objective = self.loss + self.penalty.value(&self.theta);
        if objective <= self.problem.goal {
            return true;
        }
        let kkt = kkt::kkt(&self.gradient, &self.theta, &self.penalty);
        let relative = kkt / self.problem.lambda_max;
        if rule.holds(f64::INFINITY, kkt, relative, 0.0) {
            return true;
        }
        if rule.gap == 0.0 {
            return false;
        }
        let (residual, gradient) = (&self.residual, &self.gradient);
        let gap = dual::forecast(&self.problem, &self.penalty, objective, residual, gradient);
        gap <= rule.gap * objective
    }

    /// Takes the Hessian's diagonal at the current point.
    fn renew(&mut self, slab: &Slab<'_>) -> Result<()> {
        let v = loss::curvature(&self.residual, &self.problem.targets);
        self.diagonal = cpu::squares(slab, v.view())?;
        self.spent.flop += 0.5 * self.problem.pass_flop();
        Ok(())
    }

    /// −H⁻¹∇F by the two-loop recursion, and ∇F·direction.
    fn direction(&self) -> (Array2<f32>, f64) {
        let mut full = self.gradient.clone();
        for ((row, class), g) in full.indexed_iter_mut() {
            *g += self.penalty.mu_row(row) * f64::from(self.theta[(row, class)]);
        }
        let mut q = full.clone();
        let mut weights = Vec::with_capacity(self.pairs.len());
        for pair in &self.pairs {
            let weight = dot(&q, &pair.step) / pair.product;
            add_scaled(&mut q, -weight, &pair.change);
            weights.push(weight);
        }
        for ((row, class), q) in q.indexed_iter_mut() {
            let curvature = self.diagonal[(row, class)] + self.penalty.mu_row(row);
            *q /= curvature.max(f64::MIN_POSITIVE);
        }
        for (pair, weight) in self.pairs.iter().zip(&weights).rev() {
            let by = weight - dot(&q, &pair.change) / pair.product;
            add_scaled(&mut q, by, &pair.step);
        }
        let direction = q.mapv(|q| -q as f32);
        let slope = dot(&full, &direction);
        (direction, slope)
    }

    /// Goes along the direction to where the objective's slope has nearly vanished.
    fn line_search(&mut self, direction: &Array2<f32>, slope: f64, dz: &Array2<f32>) {
        self.spent.passes += 0.5;
        let targets = &self.problem.targets;
        let (mut linear, mut square) = (0.0, 0.0);
        for ((row, class), d) in direction.indexed_iter() {
            let d = f64::from(*d);
            linear += self.penalty.mu_row(row) * f64::from(self.theta[(row, class)]) * d;
            square += self.penalty.mu_row(row) * d * d;
        }
        let tangent = slope - linear;
        let (mut low, mut high) = ((0.0, slope), None::<(f64, f64)>);
        // Where the quadratic model along the direction has its minimum: most searches end there.
        let curved = square + loss::curvature_along(&self.residual, dz, targets);
        let mut t = (-slope / curved).clamp(1e-6, 10.0);
        let mut trial = Array2::zeros(self.z.dim());
        for attempt in 1.. {
            let mut z = self.z.clone();
            z.scaled_add(t as f32, dz);
            let value = loss::loss(&z, targets, &mut trial);
            let there =
                (&trial * dz).iter().map(|v| f64::from(*v)).sum::<f64>() + linear + t * square;
            let change = t * (tangent + linear)
                + 0.5 * t * t * square
                + loss::above_tangent(&self.residual, dz, t as f32, targets);
            let falls = change <= WOLFE.1 * t * slope + NOISE * self.loss;
            if (falls && there.abs() <= WOLFE.0 * slope.abs()) || attempt == TRIALS {
                self.previous = Some((self.theta.clone(), self.gradient.clone()));
                self.theta.scaled_add(t as f32, direction);
                self.z = z;
                self.loss = value;
                std::mem::swap(&mut self.residual, &mut trial);
                return;
            }
            if falls && there < 0.0 {
                low = (t, there);
            } else {
                high = Some((t, there));
            }
            t = match high {
                None => 3.0 * t,
                Some(high) => between(low, high),
            };
        }
    }
}

/// Where the slope vanishes between two places if it is linear, kept away from both.
fn between(low: (f64, f64), high: (f64, f64)) -> f64 {
    let width = high.0 - low.0;
    let at = low.0 - low.1 * width / (high.1 - low.1);
    if at.is_finite() {
        at.clamp(low.0 + 0.1 * width, high.0 - 0.1 * width)
    } else {
        low.0 + 0.5 * width
    }
}

/// One step of every active problem.
fn step(passes: &Passes<'_>, active: &mut [Active<Descent>]) -> Result<()> {
    let mut directions = Vec::with_capacity(active.len());
    for (_, state) in active.iter_mut() {
        if state.iterations.is_multiple_of(RENEW) {
            state.renew(passes.slab(state.problem.slab))?;
        }
        state.iterations += 1;
        directions.push(state.direction());
    }
    let columns: Vec<_> = active
        .iter()
        .zip(&directions)
        .map(|((_, s), (d, _))| (s.problem.slab, d))
        .collect();
    let dz = passes.forward(&columns)?;
    for (((_, state), (direction, slope)), dz) in active.iter_mut().zip(&directions).zip(&dz) {
        state.line_search(direction, *slope, dz);
    }
    let mut stale: Vec<&mut Descent> = active
        .iter_mut()
        .map(|(_, s)| s)
        .filter(|s| s.iterations.is_multiple_of(REFRESH))
        .collect();
    if stale.is_empty() {
        return Ok(());
    }
    let columns: Vec<_> = stale.iter().map(|s| (s.problem.slab, &s.theta)).collect();
    let predictions = passes.forward(&columns)?;
    for (state, z) in stale.iter_mut().zip(predictions) {
        state.loss = loss::loss(&z, &state.problem.targets, &mut state.residual);
        state.z = z;
        state.spent.passes += 0.5;
    }
    Ok(())
}

/// Σ a·b over runs of entries, the runs added in order.
fn dot<T: Copy + Send + Sync>(a: &Array2<f64>, b: &Array2<T>) -> f64
where
    f64: From<T>,
{
    let a = a.as_slice().expect("gradients are contiguous");
    let b = b.as_slice().expect("steps are contiguous");
    let run =
        |(a, b): (&[f64], &[T])| -> f64 { a.iter().zip(b).map(|(a, b)| a * f64::from(*b)).sum() };
    let runs = a.par_chunks(ENTRIES).zip(b.par_chunks(ENTRIES));
    runs.map(run).collect::<Vec<f64>>().into_iter().sum()
}

/// y += a·x.
fn add_scaled<T: Copy + Send + Sync>(y: &mut Array2<f64>, a: f64, x: &Array2<T>)
where
    f64: From<T>,
{
    let y = y.as_slice_mut().expect("gradients are contiguous");
    let x = x.as_slice().expect("steps are contiguous");
    y.par_chunks_mut(ENTRIES)
        .zip(x.par_chunks(ENTRIES))
        .for_each(|(y, x)| {
            for (y, x) in y.iter_mut().zip(x) {
                *y += a * f64::from(*x);
            }
        });
}
