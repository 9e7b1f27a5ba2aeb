//! Probe: logistic or linear regression with an elastic net, solved to a certified optimum, many at once.
//!
//! # Formula
//! For samples x_i (rows of X, N × D) with classes y_i (C of them) and weights ωᵢ of sum 1, over W (C × D) and b (C):
//!
//! `F(W, b) = Σᵢ ωᵢ CE(softmax(W xᵢ + b), yᵢ) + λ1·‖W‖₁ + λ2·‖W‖²_F`, b unpenalised
//!
//! (Dalvi et al. 2019, eq. 1, with the squared norm that the paper states). With [`Norm::Frobenius`] the last term is
//! `λ2·‖W‖_F`, what NeuroX's code computes. With [`Response::Values`] the loss is `½ Σᵢ ωᵢ (w·xᵢ + b − yᵢ)²`. λ2 = 0 is
//! the pure lasso, λ1 = 0 pure ridge; both 0 is plain maximum likelihood.
//!
//! X is always standardised inside, so conditioning does not depend on raw scales; [`PenaltyScale`] says which
//! coefficients the penalty acts on. Two classes are solved as one sigmoid column v with W = (−v/2, v/2): the same
//! optimum, softmax (λ1, λ2) ⇔ sigmoid (λ1, λ2/2).
//!
//! # Method
//! [`Solver::Newton`]: sampled-Hessian working-set proximal Newton. Gradient, objective and line search are exact; the
//! Hessian is an unbiased importance sample of its (sample, class pair) terms, formed on the working set only, with BFGS
//! corrections near the end, and only a metric, summed by [`crate::ops::curvature`] where [`Curvature`] says; its steps are
//! programmes of [`crate::ops::quadratic`], solved where [`Inner`] says. Where two steps in a row have to be shortened the sample grows, up to 64 times: badly conditioned problems
//! need it (`benches/results/2026-11-26_ill-conditioned.json`). [`Solver::Fista`]: accelerated proximal gradient (Beck & Teboulle 2009)
//! with a diagonal metric, backtracking and adaptive restart (O'Donoghue & Candès 2015), the plain second route that
//! checks the first. [`Solver::Lbfgs`]: proximal limited-memory BFGS (Becker, Fadili & Ochs 2019), which asks for loss and gradient
//! at a point and nothing else: a device that holds the samples tells both, and neither predictions nor residuals leave it. They
//! share the products of a pass, the frame of a batch and the certificate.
//!
//! [`Solver::Auto`] takes Newton where λ1 > 0: natively it was the faster one at every size that was measured, 1.4 to 30
//! times (48, 384 and 2,688 neurons; 2, 5 and 16 classes; λ1/λ_max from 0.1 to 0.003, alone and in one batch;
//! `benches/results/2026-11-24_probe-auto.json`). Likewise where λ1 = 0 and all (d + 1)·C entries fit a working set. Where
//! they do not, it takes limited-memory BFGS (Nocedal 1980) with the Hessian's diagonal. A problem of more than
//! [`WORKING_SET_MAX`] non-zeros, or one that comes to rest far from the optimum, goes on with FISTA. On a device with memory of its own
//! it takes proximal limited-memory BFGS for three classes or more where a pass has at least [`ASKED_LEAST`] FLOP, and instead of FISTA:
//! more passes than Newton's, each of which takes next to nothing there. What [`Solver::Newton`] hands on goes the same ways.
//!
//! All problems of one call that see the same neurons share one forward GEMM X·W and one backward GEMM Xᵀ·R a pass, each
//! in columns of its own; [`plan`] says how many are in flight at once. A problem that has converged leaves the batch and
//! the next enters. What a problem does depends on itself alone: neither the batch nor the memory changes a bit of it.
//!
//! [`exact`] solves problems whose whole Hessian is small in f64, to rounding, from f64 activations.
//!
//! # Edge cases
//! Constant and nearly constant neurons are left out ([`Design::new`]); their weights are exactly 0. A class without
//! training samples (or without weight) is left out, keeps weights 0 and gets [`ABSENT_CLASS_BIAS`]. λ1 = λ2 = 0 is
//! refused once the probe separates the classes: it then has no optimum. Not converged within `max_passes` is returned
//! as such.
//!
//! # Cost
//! One pass is 4·N·d·C FLOP a problem and reads X twice; Newton takes 10 to 40 passes, plus n² · 4 bytes for a working
//! set of n entries, n ≤ [`WORKING_SET_MAX`].

pub mod adam;
mod batch;
mod beside;
mod certificate;
mod check;
mod cpu;
mod design;
mod dual;
pub mod exact;
mod fista;
mod fit;
mod given;
mod gpu;
mod hessian;
mod iterate;
mod kkt;
mod lbfgs;
mod loss;
mod metric;
mod newton;
mod oracle;
mod passes;
mod plan;
mod problem;
mod slab;
mod smooth;
mod statement;
mod stop;
mod targets;
mod tile;
mod verify;

pub use certificate::Certified;
pub use design::Design;
pub use fit::{Certificate, Fit, Step};
pub use given::{Asking, Given, LossAt};
pub use gpu::{KERNELS, device_bytes};
pub use oracle::{KERNELS as KERNELS_OF_LOSS, oracle_bytes};
pub use plan::{Plan, TRANSFER, in_flight_bytes, plan};
pub use problem::{
    Curvature, Inner, Neurons, Norm, Params, PenaltyScale, Problem, Response, Solver,
    balanced_weights,
};
pub use stop::Stop;
pub use tile::{Tile, Way};

use std::collections::BTreeMap;
use std::sync::Arc;

use batch::{Frame, Outcome};
use fista::Fista;
use lbfgs::Lbfgs;
use newton::Newton;
use passes::Passes;
use smooth::Smooth;
use statement::Statement;

use crate::error::Result;
use crate::gpu::Gpu;
use crate::ops::recovery::surely;
use crate::ops::validate::{Deviation, validated};
use crate::ops::{Backend, Fleet};

/// How far a batch is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Problems that have left the batch.
    pub finished: usize,
    /// Problems in all.
    pub problems: usize,
    /// Passes over X so far.
    pub passes: f64,
}

/// Bias of a class without training samples: it is never predicted.
pub const ABSENT_CLASS_BIAS: f32 = -1e30;

/// Largest working set of the Newton solver, in (neuron, class) entries: its Hessian takes 4 · n² bytes. A problem with
/// more non-zeros (a control task at a weak λ, say) goes on with FISTA from where it is.
pub const WORKING_SET_MAX: usize = 6000;

/// FLOP from which a device sums a Hessian: sixteen threads take some milliseconds for less, as the way there and back does. An
/// estimate: it has not been measured on a GPU.
pub const CURVATURE_LEAST: f64 = 5e8;

/// FLOP of a pass from which on a device that holds the samples is asked for loss and gradient of a softmax: less takes as long on the
/// way there and back.
pub const ASKED_LEAST: f64 = 2e9;

/// Largest relative difference of the two back ends' objectives, as a multiple of the `relative_gap` asked for: each is
/// within one gap of the optimum.
pub const TOLERANCE: f64 = 2.0;

/// Solves a batch of probes over the same standardised activations.
///
/// Returns one fit for each problem, in order. `progress` is called after every pass.
///
/// # Errors
/// When responses, weights and the design differ in samples, fewer than two classes occur, a penalty or parameter is out
/// of range, an unpenalised problem has no optimum, or the GPU fails.
pub fn fit(
    backend: &Backend,
    design: &Design,
    problems: &[Problem<'_>],
    params: &Params,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Vec<Fit>> {
    check::batch(design, problems, params)?;
    let fits = surely("a batch of probes", backend, |backend| match backend {
        Backend::Fleet(fleet) => dealt(fleet, design, problems, params, progress),
        one => solve(one, design, problems, params, progress),
    })?;
    if let Backend::Fleet(_) = backend {
        // Each of its devices has been asked already.
        return Ok(fits);
    }
    validated(
        ("a batch of probes", "the objective, as a share of itself,"),
        backend,
        fits,
        || solve(&Backend::Cpu, design, problems, params, &mut |_| ()),
        |found, native| deviation(found, native),
    )
}

/// How far the objectives of two lists of fits are apart; each is within its own proven gap of the optimum, and [`TOLERANCE`]
/// times the larger one is what both together may be.
fn deviation(found: &[Fit], native: &[Fit]) -> Deviation {
    let mut deviation = Deviation::none();
    for (a, b) in found.iter().zip(native) {
        let gap = a.certificate.relative_gap.max(b.certificate.relative_gap);
        let largest = a
            .objective
            .abs()
            .max(b.objective.abs())
            .max(f64::MIN_POSITIVE);
        deviation.take((a.objective - b.objective) / largest, TOLERANCE * gap);
    }
    deviation
}

/// As [`fit`], natively or on one device.
fn solve(
    backend: &Backend,
    design: &Design,
    problems: &[Problem<'_>],
    params: &Params,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Vec<Fit>> {
    let in_flight = plan(backend, design, problems, params).in_flight;
    let (slabs, places) = slab::slabs(design, problems.iter().map(|p| p.neurons))?;
    let passes = Passes::new(backend, &slabs)?;
    let statements = statement::statements(&passes, problems, &places, params.scale)?;
    let mut routes = Routes::default();
    for (place, statement) in statements.into_iter().enumerate() {
        let asks = passes.asks(&statement);
        routes.send((params.solver, asks), place, statement);
    }
    let frame = Frame {
        passes: &passes,
        slabs: &slabs,
        params,
        rule: params.stop.rule(),
        in_flight,
    };
    let mut fits: Vec<Option<Fit>> = vec![None; problems.len()];
    let mut finished = 0;
    let mut go = |route: Route, rest: Vec<(usize, Statement)>| -> Result<_> {
        let mut report = |step: &Progress| {
            progress(&Progress {
                finished: finished + step.finished,
                problems: problems.len(),
                passes: step.passes,
            });
        };
        let inner = passes.inner(params.inner);
        let outcomes = match route {
            Route::Newton => frame.run(&mut Newton { inner }, rest, &mut report)?,
            Route::Smooth => frame.run(&mut Smooth, rest, &mut report)?,
            Route::Fista => frame.run(&mut Fista::default(), rest, &mut report)?,
            Route::Lbfgs => frame.run(&mut Lbfgs::default(), rest, &mut report)?,
        };
        let mut unfinished = Vec::new();
        for (place, outcome) in outcomes {
            match outcome {
                Outcome::Solved(fit) => {
                    fits[place] = Some(*fit);
                    finished += 1;
                }
                Outcome::Unfinished(statement) => unfinished.push((place, *statement)),
            }
        }
        Ok(unfinished)
    };
    let unfinished = go(Route::Newton, routes.newton)?;
    let (asking, others): (Vec<_>, Vec<_>) = unfinished
        .into_iter()
        .partition(|(_, statement)| passes.asks(statement));
    routes.lbfgs.extend(asking);
    routes.fista.extend(others);
    // These keep what they are given.
    go(Route::Lbfgs, routes.lbfgs)?;
    go(Route::Smooth, routes.smooth)?;
    go(Route::Fista, routes.fista)?;
    let solved = |fit: Option<Fit>| fit.expect("every problem went to one of the solvers");
    Ok(fits.into_iter().map(solved).collect())
}

/// Each device solves a batch of its own: what a problem does depends on itself alone.
fn dealt(
    fleet: &Fleet,
    design: &Design,
    problems: &[Problem<'_>],
    params: &Params,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Vec<Fit>> {
    let params = params.dealt(fleet);
    let parts = fleet.deal(problems.len());
    let part = |at: usize, gpu: &Gpu, tell: &mut dyn FnMut(Progress)| {
        let backend = Backend::Gpu(gpu.clone());
        let tell = &mut |step: &Progress| tell(*step);
        match &problems[parts[at].clone()] {
            [] => Ok(Vec::new()),
            mine => fit(&backend, design, mine, &params, tell),
        }
    };
    let mut heard: BTreeMap<usize, Progress> = BTreeMap::new();
    let mut hear = |part, step| {
        heard.insert(part, step);
        let most = |passes: f64, step: &Progress| passes.max(step.passes);
        progress(&Progress {
            finished: heard.values().map(|step| step.finished).sum(),
            problems: problems.len(),
            passes: heard.values().fold(0.0, most),
        });
    };
    Ok(fleet.each(part, &mut hear)?.concat())
}

/// A solver that a problem can go to.
enum Route {
    Newton,
    Smooth,
    Fista,
    Lbfgs,
}

/// Which problems go which way, with their places in the batch.
#[derive(Default)]
struct Routes {
    newton: Vec<(usize, Statement)>,
    smooth: Vec<(usize, Statement)>,
    fista: Vec<(usize, Statement)>,
    lbfgs: Vec<(usize, Statement)>,
}

impl Routes {
    /// The rule that this module's documentation states; `asks` where a device is to be asked.
    fn send(&mut self, (solver, asks): (Solver, bool), place: usize, statement: Statement) {
        let small = statement.start.len() <= WORKING_SET_MAX;
        let route = match solver {
            Solver::Fista => &mut self.fista,
            Solver::Lbfgs => &mut self.lbfgs,
            Solver::Auto if asks && statement.targets.loss == targets::Loss::Softmax => {
                &mut self.lbfgs
            }
            _ if statement.penalty.l1 > 0.0 || small => &mut self.newton,
            _ => &mut self.smooth,
        };
        route.push((place, statement));
    }
}

/// Bytes that [`fit`] takes at most beside the design, its results included: see [`plan`].
pub fn bytes(backend: &Backend, design: &Design, problems: &[Problem<'_>], params: &Params) -> u64 {
    plan(backend, design, problems, params).solver
}

/// λ_max: the smallest λ1 at which every weight of the optimum is zero, `max_jc |Σᵢ ωᵢ z_ij (p0_c − [yᵢ = c])|` on the
/// scale that the penalty acts on (for values `max_j |Σᵢ ωᵢ z_ij (yᵢ − ȳ)|`), of each problem. Natively, whatever devices there are: it reads
/// the design once, as its way to a device would, and one design has one value.
///
/// # Errors
/// As [`fit`].
pub fn lambda_max(
    design: &Design,
    problems: &[Problem<'_>],
    scale: PenaltyScale,
) -> Result<Vec<f64>> {
    for problem in problems {
        check::response(design.samples(), problem)?;
    }
    let (slabs, places) = slab::slabs(design, problems.iter().map(|p| p.neurons))?;
    let targets: Vec<_> = problems
        .iter()
        .map(|p| Arc::new(targets::Targets::new(p, design.samples())))
        .collect();
    let passes = Passes::new(&Backend::Cpu, &slabs)?;
    statement::lambda_maxima(&passes, &targets, &places, scale)
}
