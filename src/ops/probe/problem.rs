//! What one probe of a batch is asked for.

use super::{Fit, stop::Stop};
use crate::labels::Labels;
use crate::ops::{Backend, Fleet};

/// Which coefficients the penalty acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PenaltyScale {
    /// Those of standardised activations: every neuron is penalised alike.
    #[default]
    Standardised,
    /// Those of raw activations, as NeuroX does: neurons of small scale are penalised more.
    Raw,
}

/// What λ2 multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Norm {
    /// ‖W‖²_F: the elastic net (Zou & Hastie 2005).
    #[default]
    Squared,
    /// ‖W‖_F, not squared: what NeuroX's code penalises.
    Frobenius,
}

/// How the optimum is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Solver {
    /// The fastest, by the rule in [`super`]'s documentation.
    #[default]
    Auto,
    /// Sampled-Hessian working-set proximal Newton.
    Newton,
    /// Accelerated proximal gradient with restart.
    Fista,
    /// Proximal limited-memory BFGS, which asks for loss and gradient alone.
    Lbfgs,
}

/// Where the quadratic programmes of Newton's steps are solved when the back end is a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Inner {
    /// Natively. Coordinate descent waits for itself more than it computes: on an H100 eight programmes of 1,600 entries took
    /// 90 ms, and 130 to 160 ms with their way there and back, where 16 threads took 72 ms; software adapters share the processor.
    #[default]
    Native,
    /// On the device.
    Device,
}

impl Inner {
    /// The back end that solves the quadratic programmes of a batch on `backend`.
    pub(super) fn backend(self, backend: &Backend) -> Backend {
        match self {
            Self::Native => Backend::Cpu,
            Self::Device => backend.clone(),
        }
    }
}

/// Where the Hessians of Newton's steps are summed when the back end is a GPU, which holds the design already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Curvature {
    /// On the device where it has its own memory and there are at least [`super::CURVATURE_LEAST`] FLOP to do, else natively. Which
    /// one it is depends on the problem, the device, and what its bindings may hold, and on nothing beside it.
    #[default]
    Auto,
    /// Natively.
    Native,
    /// On the device, however small.
    Device,
}

/// What a probe learns to predict.
#[derive(Debug, Clone, Copy)]
pub enum Response<'a> {
    /// The class of every sample of the design.
    Classes(&'a Labels),
    /// A finite value for every sample of the design.
    Values(&'a [f32]),
}

/// Which of a design's neurons a probe sees, by their position in the design.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Neurons<'a> {
    /// All.
    #[default]
    All,
    /// `from..to`: a layer, or a prefix of an ordering that the design's columns are in. Costs no copy.
    Range {
        /// The first.
        from: usize,
        /// One past the last.
        to: usize,
    },
    /// These, each once. Costs a copy of the columns, unless they are consecutive.
    These(&'a [usize]),
}

/// One probe of a batch.
#[derive(Debug, Clone, Copy)]
pub struct Problem<'a> {
    /// What to predict.
    pub response: Response<'a>,
    /// Weight of every sample, ≥ 0, not all 0; `None` weighs all alike. A sample of weight 0 is not seen: a fold of a
    /// cross-validation is a problem with zeros.
    pub weights: Option<&'a [f64]>,
    /// Which neurons it sees.
    pub neurons: Neurons<'a>,
    /// λ1 ≥ 0.
    pub l1: f64,
    /// λ2 ≥ 0.
    pub l2: f64,
    /// What λ2 multiplies.
    pub norm: Norm,
    /// Start from this fit (of the same label set) instead of from zero.
    pub start: Option<&'a Fit>,
    /// An objective that is good enough, whatever the stop says: what another program reached, say.
    pub goal: Option<f64>,
}

impl<'a> Problem<'a> {
    /// An elastic net on all neurons, every sample alike.
    pub fn new(labels: &'a Labels, l1: f64, l2: f64) -> Self {
        Self::of(Response::Classes(labels), l1, l2)
    }

    /// Whether another problem has the same responses and weights, in the same place of memory.
    pub(super) fn learns_as(&self, other: &Self) -> bool {
        let response = match (self.response, other.response) {
            (Response::Classes(a), Response::Classes(b)) => std::ptr::eq(a, b),
            (Response::Values(a), Response::Values(b)) => std::ptr::eq(a, b),
            _ => false,
        };
        let weights = match (self.weights, other.weights) {
            (Some(a), Some(b)) => std::ptr::eq(a, b),
            (a, b) => a.is_none() && b.is_none(),
        };
        response && weights
    }

    /// As [`Problem::new`], for classes or values.
    pub fn of(response: Response<'a>, l1: f64, l2: f64) -> Self {
        Self {
            response,
            weights: None,
            neurons: Neurons::All,
            l1,
            l2,
            norm: Norm::Squared,
            start: None,
            goal: None,
        }
    }
}

/// How to fit.
///
/// | name | default | meaning | range |
/// |---|---|---|---|
/// | `solver` | Auto | how the optimum is found | |
/// | `scale` | Standardised | what the penalty acts on | |
/// | `stop` | Screening | when a fit is good enough | see [`Stop`] |
/// | `max_passes` | 3000 | give up after so many passes over X | ≥ 1 |
/// | `inner` | Native | where a GPU's Newton steps are solved | |
/// | `curvature` | Auto | where their Hessians are summed | |
/// | `memory` | 4 GiB | bytes that the solver may take beside the design; decides how many problems are in flight at once, and nothing else | > 0 |
/// | `seed` | 0 | of the Hessian's sampling | |
#[derive(Debug, Clone, PartialEq)]
pub struct Params {
    /// How the optimum is found.
    pub solver: Solver,
    /// What the penalty acts on.
    pub scale: PenaltyScale,
    /// When a fit is good enough.
    pub stop: Stop,
    /// Give up after so many passes over X.
    pub max_passes: f64,
    /// Where a GPU's Newton steps are solved.
    pub inner: Inner,
    /// Where their Hessians are summed.
    pub curvature: Curvature,
    /// Bytes that the solver may take beside the design.
    pub memory: u64,
    /// Seed of the Hessian's sampling.
    pub seed: u64,
}

impl Params {
    /// What each device of a fleet gets: its share of the memory.
    pub(super) fn dealt(&self, fleet: &Fleet) -> Self {
        Self {
            memory: (self.memory / fleet.devices().len() as u64).max(1),
            ..self.clone()
        }
    }
}

impl Default for Params {
    fn default() -> Self {
        Self {
            solver: Solver::Auto,
            scale: PenaltyScale::Standardised,
            stop: Stop::Screening,
            max_passes: 3000.0,
            inner: Inner::Native,
            curvature: Curvature::Auto,
            memory: 4 << 30,
            seed: 0,
        }
    }
}

/// Weights of samples that give every class that occurs the same total weight ("balanced": N / (C·n_c) for each sample
/// of class c).
pub fn balanced_weights(labels: &Labels) -> Vec<f64> {
    let counts = labels.counts();
    let share = labels.len() as f64 / labels.present().len().max(1) as f64;
    let weight = |&id: &u32| share / counts[id as usize] as f64;
    labels.ids().iter().map(weight).collect()
}
