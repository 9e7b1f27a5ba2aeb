//! Ablation: what a probe gets right under any number of masks of neurons that need not nest.
//!
//! Formula, for weights W (C × D) and bias b on the raw scale, a mask S of neurons that are kept and a replacement a of
//! every other: `logits = b + Σ_{j ∈ S} w_j·x_j + Σ_{j ∉ S} w_j·a_j`; the prediction is the first of the largest logits.
//! That is NeuroX's `zero_out_activations_keep_neurons` for a = 0, and the same with means for mean ablation.
//!
//! With `d = x − a` the terms are `w_j·d_j`, added for the neurons of S to the logits of nothing kept, or taken from those
//! of everything kept for the neurons outside: whichever are fewer. Neurons without any weight need no term at all. So a
//! mask costs at most half of a product with all neurons, beside what some masks share.
//! Where masks nest, [`super::sweep`] is cheaper: it gets each from the one before.
//!
//! Edge cases: the empty mask gives every sample the class of the largest `b + Σ w·a`; the full one is the probe itself. A
//! class that train lacked has a bias of −1e30 and is never predicted.
//!
//! Cost: 2·N·C·min(|S|, D − |S|) FLOP a mask, and 2·N·C·D for every 64 masks natively, once for all on a GPU.

mod cpu;
mod gpu;
mod masks;

use ndarray::{Array2, ArrayView1, ArrayView2, Axis, s};

use super::partial::Partial;
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::labels::Labels;
use crate::ops::recovery::surely;
use crate::ops::validate::validated;
use crate::ops::{Backend, Fleet, validate, verify};

pub use gpu::KERNELS;
pub use masks::Masks;

/// What to ablate.
#[derive(Debug, Clone)]
pub struct Params<'a> {
    /// Weights of the probe, C × D, on the raw scale of the activations.
    pub weights: ArrayView2<'a, f32>,
    /// Bias of each class.
    pub bias: ArrayView1<'a, f32>,
    /// What a neuron that is not kept is replaced by, one value a neuron: 0 for zero ablation, its train mean for mean
    /// ablation.
    pub ablated: &'a [f32],
    /// Which neurons each mask keeps.
    pub masks: &'a Masks,
}

/// Samples that are right under each mask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counts {
    /// Of all samples, one count a mask.
    pub correct: Vec<u32>,
    /// Of each class's samples, M × C.
    pub by_class: Array2<u32>,
    /// Number of samples.
    pub total: u32,
}

/// Counts are exact integers, but a sample is on the other side of a decision when rounding is. On a GPU (f32 logits)
/// that is possible only where the label's logit and the largest other one differ by less than this times the sum of
/// the absolute values of all terms, |w|·(|a| + |x − a|) of every neuron; the native path (f64 logits) errs ten million
/// times later. The f32 sums are sequential: of K terms they err by about √K · 6e-8, so this holds for some ten thousand
/// neurons with weight. Where all terms are exact in f32, both back ends count the same, ties included: the first of equal logits
/// wins.
pub const TOLERANCE: f64 = 1e-5;

/// Counts what is right under every mask.
///
/// `x` is N × D and `labels` has N labels of C classes.
///
/// # Errors
/// When shapes do not fit one another, a weight is not finite, or the GPU fails.
pub fn ablation(
    backend: &Backend,
    x: ArrayView2<'_, f32>,
    labels: &Labels,
    params: &Params<'_>,
) -> Result<Counts> {
    partial(params).check("ablation", x, labels)?;
    if params.masks.neurons() != x.ncols() {
        return Err(Error::invalid(
            "ablation",
            format!(
                "the masks are of {} neurons, the activations of {}",
                params.masks.neurons(),
                x.ncols()
            ),
            "Make masks of the neurons of the activations",
        ));
    }
    let by_class = surely("an ablation", backend, |backend| match backend {
        Backend::Cpu => Ok(cpu::counts(x, labels, params)),
        Backend::Gpu(gpu) => {
            let counts = gpu::counts(gpu, x, labels, params)?;
            trusted(std::slice::from_ref(gpu), x, labels, params, counts)
        }
        Backend::Fleet(fleet) => {
            let counts = dealt(fleet, x, labels, params)?;
            trusted(fleet.devices(), x, labels, params, counts)
        }
    })?;
    let by_class = validated(
        ("an ablation", "samples that are right"),
        backend,
        by_class,
        || Ok(cpu::counts(x, labels, params)),
        |found, native| deviation(x, labels, params, (found, native)),
    )?;
    Ok(Counts {
        correct: by_class.sum_axis(Axis(1)).to_vec(),
        by_class,
        total: labels.len() as u32,
    })
}

/// Samples that rounding may put on either side under a mask.
fn undecided(x: ArrayView2<'_, f32>, labels: &Labels, params: &Params<'_>, mask: usize) -> usize {
    let kept: Vec<bool> = (0..x.ncols())
        .map(|neuron| params.masks.keeps(mask, neuron))
        .collect();
    partial(params).undecided(x, labels, &kept, TOLERANCE)
}

/// How far two counts are apart under each mask, where as many samples may differ as are undecided there.
fn deviation(
    x: ArrayView2<'_, f32>,
    labels: &Labels,
    params: &Params<'_>,
    (found, native): (&Array2<u32>, &Array2<u32>),
) -> validate::Deviation {
    let mut deviation = validate::Deviation::none();
    let masks = found.outer_iter().zip(native.outer_iter());
    for (mask, (found, native)) in masks.enumerate() {
        let differ = found.iter().zip(native).map(|(a, b)| a.abs_diff(*b)).max();
        let differ = differ.unwrap_or(0);
        let undecided = match differ {
            0 => 0,
            _ => undecided(x, labels, params, mask),
        };
        deviation.take(f64::from(differ), undecided as f64);
    }
    deviation
}

/// Each device counts among its share of the samples.
fn dealt(
    fleet: &Fleet,
    x: ArrayView2<'_, f32>,
    labels: &Labels,
    params: &Params<'_>,
) -> Result<Array2<u32>> {
    let parts = fleet.deal(x.nrows());
    let part = |at: usize, gpu: &Gpu, _: &mut dyn FnMut(())| {
        let rows = parts[at].clone();
        if rows.is_empty() {
            return Ok(None);
        }
        let labels = labels.part(rows.clone());
        gpu::counts(gpu, x.slice(s![rows, ..]), &labels, params).map(Some)
    };
    let parts = fleet.each(part, &mut |_, ()| ())?;
    let mut parts = parts.into_iter().flatten();
    let counts = parts.next().expect("there are samples");
    Ok(parts.fold(counts, |sum, part| sum + part))
}

/// Counts that devices gave back, where they may be what they should be.
fn trusted(
    devices: &[Gpu],
    x: ArrayView2<'_, f32>,
    labels: &Labels,
    params: &Params<'_>,
    counts: Array2<u32>,
) -> Result<Array2<u32>> {
    verify::trusted(devices, "ablation", || {
        let sizes = labels.counts();
        let each = counts
            .outer_iter()
            .flat_map(|mask| mask.into_iter().zip(&sizes));
        if let Some((count, size)) = each
            .into_iter()
            .find(|(count, size)| **count as usize > **size)
        {
            return Ok(Some(format!("{count} of {size} samples are right")));
        }
        let rows = verify::drawn(x.nrows());
        let of_rows = rows.iter().map(|&row| labels.ids()[row]).collect();
        let all_labels = labels;
        let labels = Labels::new(of_rows, labels.classes().to_vec())?;
        let native = cpu::counts(x.select(Axis(0), &rows).view(), &labels, params);
        let all = |counts: &Array2<u32>| counts.sum_axis(Axis(1)).to_vec();
        let shares = (rows.len(), x.nrows());
        let undecided = |mask: usize| undecided(x, all_labels, params, mask);
        let (found, native) = (all(&counts), all(&native));
        Ok(verify::of_counts(&found, &native, shares, undecided))
    })?;
    Ok(counts)
}

/// Bytes of memory that [`ablation`] takes beside its input on a GPU; the native path takes less.
pub fn bytes(samples: usize, neurons: usize, classes: usize, masks: usize) -> u64 {
    let (samples, neurons, masks) = (samples as u64, neurons as u64, masks as u64);
    let padded = classes.next_multiple_of(16) as u64;
    neurons * (samples + padded) * 4 + samples * padded * 4 + masks * (neurons / 8 + padded * 8)
}

fn partial<'a>(params: &Params<'a>) -> Partial<'a> {
    Partial {
        weights: params.weights,
        bias: params.bias,
        ablated: params.ablated,
    }
}

/// The neurons with any weight, ascending: no other can change a logit.
fn weighty(params: &Params<'_>) -> Vec<usize> {
    let columns = params.weights.columns().into_iter().enumerate();
    columns
        .filter(|(_, weights)| weights.iter().any(|w| *w != 0.0))
        .map(|(neuron, _)| neuron)
        .collect()
}
