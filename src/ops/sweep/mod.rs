//! Sweep: the accuracy of a probe at EVERY prefix of a neuron ordering, in one pass over the data.
//!
//! Formula, for weights W (C × D) and bias b on the raw scale, an ordering π and a replacement a of every neuron:
//! `logits(0) = b + Σ_j w_j·a_j` over all D neurons, `logits(k) = logits(k−1) + w_π(k)·(x_π(k) − a_π(k))`; the prediction is
//! the first of the largest logits. Keeping the first k neurons for all k costs one pass, since one prefix is the next
//! one's start (Dalvi et al. 2019 retrain or re-evaluate for each k). The same walk gives keep-top, keep-bottom and random
//! curves: only the ordering differs.
//!
//! Edge cases: an ordering may be shorter than D, or empty: the neurons that it lacks stay replaced. A class that train
//! lacked has a bias of −1e30 and is never predicted.
//!
//! Cost: 2·N·K·C FLOP for an ordering of K neurons over N·K·4 bytes of X: bound by memory when C is small.

mod cpu;
mod gpu;

use ndarray::{ArrayView1, ArrayView2};

use crate::error::{Error, Result};
use crate::labels::Labels;
use crate::ops::Backend;

pub use gpu::KERNELS;

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

/// Counts are exact integers, but a sample is on the other side of a decision when rounding is. On a GPU (f32 logits)
/// that is possible only where the label's logit and the largest other one differ by less than this times the sum of
/// the absolute values of all terms that enter them; the native path (f64 logits) errs ten million times later. Where
/// all terms are exact in f32, both back ends count the same, ties included: the first of equal logits wins.
pub const TOLERANCE: f64 = 1e-5;

/// One curve for each ordering.
///
/// `x` is N × D and `labels` has N labels of C classes.
///
/// # Errors
/// When shapes do not fit one another, a weight is not finite, an ordering lists a neuron twice or one that does not
/// exist, or the GPU fails.
pub fn sweep(
    backend: &Backend,
    x: ArrayView2<'_, f32>,
    labels: &Labels,
    params: &Params<'_>,
) -> Result<Vec<Curve>> {
    check(x, labels, params)?;
    let counts = match backend {
        Backend::Cpu => cpu::counts(x, labels, params),
        Backend::Gpu(gpu) => gpu::counts(gpu, x, labels, params)?,
    };
    let total = labels.len() as u32;
    Ok(counts
        .into_iter()
        .map(|correct| Curve { correct, total })
        .collect())
}

/// Bytes of memory that [`sweep`] takes beside its input on a GPU, for orderings of `points` neurons altogether; the
/// native path takes less.
pub fn bytes(samples: usize, neurons: usize, classes: usize, points: usize) -> u64 {
    let (samples, neurons) = (samples as u64, neurons as u64);
    let (classes, points) = (classes.max(16) as u64, points as u64);
    neurons * (samples + classes) * 4 + points * (samples / 8 + 8)
}

/// Logits when every neuron is replaced, in f64.
fn initial(params: &Params<'_>) -> Vec<f64> {
    params
        .weights
        .outer_iter()
        .zip(params.bias)
        .map(|(weights, bias)| {
            let replaced: f64 = weights
                .iter()
                .zip(params.ablated)
                .map(|(weight, value)| f64::from(*weight) * f64::from(*value))
                .sum();
            f64::from(*bias) + replaced
        })
        .collect()
}

fn check(x: ArrayView2<'_, f32>, labels: &Labels, params: &Params<'_>) -> Result<()> {
    let (samples, neurons) = x.dim();
    let classes = labels.classes().len();
    if samples != labels.len() || u32::try_from(samples).is_err() {
        return Err(Error::invalid(
            "sweep",
            format!("{samples} samples but {} labels were given", labels.len()),
            "Give one label for every sample",
        ));
    }
    let shape = (
        params.weights.dim(),
        params.bias.len(),
        params.ablated.len(),
    );
    if shape != ((classes, neurons), classes, neurons) {
        return Err(Error::invalid(
            "sweep",
            format!(
                "weights of {} x {}, {} biases and {} replacements do not fit {classes} classes and {neurons} neurons",
                shape.0.0, shape.0.1, shape.1, shape.2
            ),
            "Give weights of classes x neurons, one bias a class and one replacement a neuron",
        ));
    }
    let values = params.weights.iter().chain(params.bias);
    if let Some(value) = values.chain(params.ablated).find(|v| !v.is_finite()) {
        return Err(Error::invalid(
            "sweep",
            format!("a weight, bias or replacement is {value}"),
            "All of them must be finite",
        ));
    }
    for (at, ordering) in params.orderings.iter().enumerate() {
        let mut seen = vec![false; neurons];
        for &neuron in ordering {
            if neuron >= neurons || std::mem::replace(&mut seen[neuron], true) {
                return Err(Error::invalid(
                    "sweep",
                    format!(
                        "ordering {at} lists neuron {neuron} twice, or there are only {neurons} neurons"
                    ),
                    "List distinct neurons from 0 to one less than their number",
                ));
            }
        }
    }
    Ok(())
}
