//! Probe: multinomial logistic regression with an elastic net, solved to a certified optimum.

use ndarray::{Array1, Array2};

/// How near to the optimum a fit provably is. Not converged is data, not an error.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Certificate {
    /// ∞-norm of the minimum-norm subgradient, in units of λ1 (each coordinate on the scale its penalty acts on).
    pub kkt: f64,
    /// `kkt` divided by λ_max, the smallest λ1 at which every weight is zero.
    pub kkt_relative: f64,
    /// Objective minus a dual feasible value: the objective is at most this far above the optimum.
    pub duality_gap: f64,
    /// `duality_gap` divided by the objective.
    pub relative_gap: f64,
    /// Passes over X: one pass is a forward and a backward GEMM.
    pub passes: f64,
    /// Whether the stopping rule was met.
    pub converged: bool,
    /// Weights that are provably zero at the optimum.
    pub certified_zeros: usize,
    /// Weights that are provably not zero at the optimum.
    pub certified_nonzeros: usize,
}

/// One solved probe.
#[derive(Debug, Clone)]
pub struct Fit {
    /// λ1, as asked for.
    pub l1: f64,
    /// λ2, as asked for.
    pub l2: f64,
    /// Weights for standardised activations, C × D; 0 for neurons that were left out.
    pub standardised: Array2<f32>,
    /// Weights for raw activations, C × D.
    pub weights: Array2<f32>,
    /// Bias for raw activations, C. A class that train lacks has [`ABSENT_CLASS_BIAS`].
    pub bias: Array1<f32>,
    /// The value of the objective.
    pub objective: f64,
    /// How near to the optimum it is.
    pub certificate: Certificate,
}

/// Bias of a class without training samples: it is never predicted.
pub const ABSENT_CLASS_BIAS: f32 = -1e30;
