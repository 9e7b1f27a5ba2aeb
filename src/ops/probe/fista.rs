//! Accelerated proximal gradient with a per-class metric, backtracking and adaptive restart (Beck & Teboulle 2009;
//! O'Donoghue & Candès 2015), all problems of a batch in step.
//!
//! The extrapolated point's logits are the same combination as the point itself, so an iteration is one backward and
//! one forward GEMM.

use ndarray::Array2;

use super::certificate;
use super::certificate::Point;
use super::objective;
use super::passes::Passes;
use super::statement::Statement;
use super::{Design, Fit, Params, Progress};
use crate::error::Result;

/// Iterations between two checks of the duality gap.
const CHECK_EVERY: usize = 20;
/// The step is lengthened by this a iteration, so that one bad spot does not slow down the rest.
const LIPSCHITZ_DECAY: f64 = 0.998;
/// Backtracks of one iteration: the step is then 10⁻⁷ of what it was, and more would only chase rounding.
const BACKTRACKS: usize = 40;
/// f32 logits make a step's change of the loss uncertain by about this share of it.
const NOISE: f64 = 1e-10;

struct State {
    problem: Statement,
    theta: Array2<f32>,
    z: Array2<f32>,
    previous_theta: Array2<f32>,
    previous_z: Array2<f32>,
    /// Curvature of each class relative to the Gram of X: p(1 − p) at the empty model.
    metric: Vec<f64>,
    lipschitz: f64,
    momentum: f64,
    passes: f64,
    fit: Option<Fit>,
}

/// Where an iteration starts from: the extrapolated point.
struct Extrapolated {
    theta: Array2<f32>,
    z: Array2<f32>,
    residual: Array2<f32>,
    loss: f64,
}

pub(super) fn solve(
    passes: &mut Passes<'_>,
    design: &Design,
    problems: Vec<(usize, Statement)>,
    params: &Params,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Vec<(usize, Fit)>> {
    if problems.is_empty() {
        return Ok(Vec::new());
    }
    let norm = gram_norm(passes, design)?;
    let (places, statements): (Vec<usize>, Vec<Statement>) = problems.into_iter().unzip();
    let starts: Vec<&Array2<f32>> = statements.iter().map(|s| &s.start).collect();
    let logits = passes.forward(&starts)?;
    let mut states: Vec<State> = statements
        .into_iter()
        .zip(logits)
        .map(|(s, z)| State::new(s, z, norm))
        .collect();
    for iteration in 1.. {
        let mut active: Vec<&mut State> = states.iter_mut().filter(|s| s.fit.is_none()).collect();
        if active.is_empty() {
            break;
        }
        step(passes, &mut active)?;
        if iteration % CHECK_EVERY == 0 || active.iter().any(|s| s.passes >= params.max_passes) {
            check(design, &mut active, params);
        }
        let finished = states.iter().filter(|s| s.fit.is_some()).count();
        let most = states.iter().map(|s| s.passes).fold(0.0, f64::max);
        progress(&Progress {
            finished,
            problems: states.len(),
            passes: most,
        });
    }
    let fits = states
        .into_iter()
        .map(|s| s.fit.expect("the loop ends when every problem has its fit"));
    Ok(places.into_iter().zip(fits).collect())
}

impl State {
    fn new(problem: Statement, z: Array2<f32>, norm: f64) -> Self {
        let metric = problem
            .targets
            .share
            .iter()
            .map(|p| (p * (1.0 - p)).max(1e-6))
            .collect();
        Self {
            theta: problem.start.clone(),
            previous_theta: problem.start.clone(),
            previous_z: z.clone(),
            z,
            metric,
            lipschitz: norm,
            momentum: 1.0,
            passes: problem.passes + 0.5,
            fit: None,
            problem,
        }
    }

    /// The extrapolated point.
    fn extrapolate(&mut self) -> Extrapolated {
        let next = f64::midpoint(1.0, (1.0 + 4.0 * self.momentum * self.momentum).sqrt());
        let beta = ((self.momentum - 1.0) / next) as f32;
        self.momentum = next;
        let theta = &self.theta + &((&self.theta - &self.previous_theta) * beta);
        let z = &self.z + &((&self.z - &self.previous_z) * beta);
        let mut residual = Array2::zeros(z.dim());
        let loss = objective::loss(&z, &self.problem.targets.y, &mut residual);
        Extrapolated {
            theta,
            z,
            residual,
            loss,
        }
    }

    /// The proximal step from an extrapolated point at the current Lipschitz estimate.
    fn proximal(&self, from: &Extrapolated, gradient: &Array2<f64>) -> Array2<f32> {
        let penalty = &self.problem.penalty;
        Array2::from_shape_fn(from.theta.dim(), |(row, class)| {
            let curvature = self.lipschitz * self.metric[class];
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
            model += 0.5 * self.lipschitz * self.metric[class] * d * d;
        }
        let above =
            objective::above_tangent(&from.residual, &(z - &from.z), 1.0, &self.problem.targets.y);
        above <= model + NOISE * from.loss
    }

    /// Takes the step, restarting the momentum when it points uphill.
    fn accept(&mut self, from: &Extrapolated, theta: Array2<f32>, z: Array2<f32>) {
        let mut uphill = 0.0;
        for ((row, class), w) in theta.indexed_iter() {
            let (w, at) = (f64::from(*w), (row, class));
            uphill += self.metric[class]
                * (f64::from(from.theta[at]) - w)
                * (w - f64::from(self.theta[at]));
        }
        self.previous_theta = std::mem::replace(&mut self.theta, theta);
        self.previous_z = std::mem::replace(&mut self.z, z);
        if uphill > 0.0 {
            self.momentum = 1.0;
        }
        self.lipschitz *= LIPSCHITZ_DECAY;
    }
}

/// One iteration of every active problem.
fn step(passes: &mut Passes<'_>, active: &mut [&mut State]) -> Result<()> {
    let from: Vec<Extrapolated> = active.iter_mut().map(|s| s.extrapolate()).collect();
    let gradients = passes.backward(&from.iter().map(|f| &f.residual).collect::<Vec<_>>())?;
    for state in active.iter_mut() {
        state.passes += 0.5;
    }
    let mut open: Vec<usize> = (0..active.len()).collect();
    for attempt in 0.. {
        if open.is_empty() {
            break;
        }
        let trials: Vec<Array2<f32>> = open
            .iter()
            .map(|&p| active[p].proximal(&from[p], &gradients[p]))
            .collect();
        let logits = passes.forward(&trials.iter().collect::<Vec<_>>())?;
        let mut still_open = Vec::new();
        for ((p, theta), z) in open.into_iter().zip(trials).zip(logits) {
            let state = &mut *active[p];
            state.passes += 0.5;
            if attempt == BACKTRACKS || state.majorised(&from[p], &theta, &z) {
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

/// Certifies every active problem and retires those that are done.
fn check(design: &Design, active: &mut [&mut State], params: &Params) {
    let points: Vec<Point<'_>> = active
        .iter()
        .map(|s| s.problem.point(&s.theta, s.passes))
        .collect();
    let certified = certificate::certify(design, &points, params.relative_gap);
    for (state, (objective, certificate)) in active.iter_mut().zip(certified) {
        if certificate.converged || state.passes >= params.max_passes {
            state.fit = Some(
                state
                    .problem
                    .fit(design, &state.theta, objective, certificate),
            );
        }
    }
}

/// Largest eigenvalue of XᵀX/N by power iteration, from a fixed start.
fn gram_norm(passes: &mut Passes<'_>, design: &Design) -> Result<f64> {
    let n = design.samples() as f64;
    let mut v = Array2::from_shape_fn((design.columns().len() + 1, 1), |(row, _)| {
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
        let z = passes.forward(&[&v])?.swap_remove(0);
        let g = passes.backward(&[&z])?.swap_remove(0);
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
