//! Sweep: the accuracy of a probe at EVERY prefix of a neuron ordering, in one pass over the data.

use ndarray::{ArrayView1, ArrayView2};

use crate::error::Result;
use crate::labels::Labels;
use crate::ops::Backend;

/// What to sweep.
#[derive(Debug, Clone)]
pub struct Params<'a> {
    /// Weights of the probe, C × D, on the raw scale of the activations.
    pub weights: ArrayView2<'a, f32>,
    /// Bias of each class.
    pub bias: ArrayView1<'a, f32>,
    /// What a neuron that is not kept is replaced by, one value a neuron: 0 for zero ablation, its train mean for mean
    /// ablation.
    pub ablated: &'a [f32],
    /// The orderings; each lists distinct neurons, best first. The k-th point keeps the first k.
    pub orderings: &'a [Vec<usize>],
}

/// Accuracy at every prefix of one ordering.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Curve {
    /// Samples that the probe gets right when it keeps the first k neurons, k = 0 … length of the ordering.
    pub correct: Vec<u32>,
    /// Number of samples.
    pub total: u32,
}
