//! What a solved probe is, and how near to the optimum it provably is.

use ndarray::{Array1, Array2, ArrayView2};

use super::cpu;

/// How near to the optimum a fit provably is. Not converged is data, not an error.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Certificate {
    /// ∞-norm of the minimum-norm subgradient (each coordinate on the scale its penalty acts on).
    pub kkt: f64,
    /// `kkt` divided by λ_max, the smallest λ1 at which every weight is zero (by λ1 where that is larger).
    pub kkt_relative: f64,
    /// Objective minus a dual feasible value: the objective is at most this far above the optimum. Infinite without a
    /// penalty: nothing bounds it then.
    pub duality_gap: f64,
    /// `duality_gap` divided by the objective.
    pub relative_gap: f64,
    /// Passes over X: one pass is a forward and a backward GEMM, 4·N·d·C FLOP.
    pub passes: f64,
    /// All FLOP in units of a pass: the passes, the Hessians, the quadratic programmes and this certificate.
    pub work: f64,
    /// Iterations that had to wait for one another.
    pub depth: usize,
    /// Whether the stopping rule was met, or the goal that the problem named.
    pub converged: bool,
    /// Weights that are provably zero at the optimum (gap-safe rule, Ndiaye et al. 2017).
    pub certified_zeros: usize,
    /// Weights that are provably not zero at the optimum.
    pub certified_nonzeros: usize,
}

/// Where a solver stood after an iteration, by its own f32 numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// Pass-equivalents so far, as [`Certificate::work`].
    pub work: f64,
    /// Iterations so far.
    pub depth: usize,
    /// KKT residual at the λ asked for.
    pub kkt: f64,
    /// The objective at the λ asked for.
    pub objective: f64,
}

/// One solved probe.
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    /// λ1, as asked for.
    pub l1: f64,
    /// λ2, as asked for.
    pub l2: f64,
    /// Weights for standardised activations, C × D (1 × D for values); 0 for neurons that were left out.
    pub standardised: Array2<f32>,
    /// Weights for raw activations, as `standardised`. Two classes have opposite weights.
    pub weights: Array2<f32>,
    /// Bias for raw activations, C. A class that train lacks has [`super::ABSENT_CLASS_BIAS`].
    pub bias: Array1<f32>,
    /// The value of the objective.
    pub objective: f64,
    /// How near to the optimum it is.
    pub certificate: Certificate,
    /// How the solver got there.
    pub trace: Vec<Step>,
}

impl Fit {
    /// Logits (N × C), or predicted values (N × 1), of raw activations (N × D).
    pub fn predictions(&self, x: ArrayView2<'_, f32>) -> Array2<f32> {
        cpu::predictions(self, x)
    }

    /// Logits' first maximum for each row of raw activations (N × D): the predicted class ids.
    pub fn predict(&self, x: ArrayView2<'_, f32>) -> Vec<u32> {
        cpu::predict(self, x)
    }

    /// Predicted value for each row of raw activations (N × D), of a probe that was fitted to values.
    pub fn values(&self, x: ArrayView2<'_, f32>) -> Vec<f32> {
        self.predictions(x).column(0).to_vec()
    }

    /// Weights that are not zero.
    pub fn nonzero_weights(&self) -> usize {
        self.standardised.iter().filter(|w| **w != 0.0).count()
    }

    /// Neurons with any weight that is not zero.
    pub fn neurons_used(&self) -> usize {
        let used = |column: ndarray::ArrayView1<'_, f32>| column.iter().any(|w| *w != 0.0);
        self.standardised
            .columns()
            .into_iter()
            .filter(|c| used(*c))
            .count()
    }
}
