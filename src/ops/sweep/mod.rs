//! Sweep: the accuracy of a probe at EVERY prefix of a neuron ordering, in one pass over the data.
//!
//! Formula, for weights W (C × D) and bias b on the raw scale, an ordering π and a replacement a of every neuron:
//! `logits(0) = b + Σ_j w_j·a_j` over all D neurons, `logits(k) = logits(k−1) + w_π(k)·(x_π(k) − a_π(k))`; the prediction is
//! the first of the largest logits. Keeping the first k neurons for all k costs one pass, since one prefix is the next
//! one's start (Dalvi et al. 2019 retrain or re-evaluate for each k). The same walk gives keep-top, keep-bottom and random
//! curves: only the ordering differs. Removing the k best of D keeps the D − k worst: it is the walk from the bottom, read
//! backwards, and removing the k worst is the walk from the top read backwards.
//!
//! Edge cases: an ordering may be shorter than D, or empty: the neurons that it lacks stay replaced. A class that train
//! lacked has a bias of −1e30 and is never predicted.
//!
//! Cost: 2·N·K·C FLOP for an ordering of K neurons, and as many comparisons; X is read once for all orderings. Counting
//! by class walks samples class by class, on the CPU in eights: at most seven more a class.

mod cpu;
mod gpu;
mod plan;

use ndarray::{Array2, ArrayView1, ArrayView2, Axis, s};

use super::partial::{Groups, Partial};
use crate::activations::beyond_or_again;
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::labels::Labels;
use crate::ops::recovery::surely;
use crate::ops::validate::validated;
use crate::ops::{Backend, Fleet, validate, verify};

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
    /// Whether right samples are counted for each class as well: 4·C bytes a point instead of 4.
    pub by_class: bool,
}

/// Accuracy at every prefix of one ordering.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Curve {
    /// Samples that the probe gets right when it keeps the first k neurons, k = 0 … length of the ordering.
    pub correct: Vec<u32>,
    /// The same of each class's samples, C × points: divided by the samples of the class it is its recall. Where it was
    /// asked for.
    pub by_class: Option<Array2<u32>>,
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
    let groups = Groups::new(labels, params.by_class);
    let counts = surely("a sweep", backend, |backend| match backend {
        Backend::Cpu => Ok(cpu::counts(x, labels, params, &groups)),
        Backend::Gpu(gpu) => {
            let counts = gpu::counts(gpu, x, labels, params, (&groups, x.nrows()))?;
            trusted(std::slice::from_ref(gpu), x, labels, params, counts)
        }
        Backend::Fleet(fleet) => {
            let counts = dealt(fleet, x, labels, params)?;
            trusted(fleet.devices(), x, labels, params, counts)
        }
    })?;
    let counts = validated(
        ("a sweep", "samples that are right"),
        backend,
        counts,
        || Ok(cpu::counts(x, labels, params, &groups)),
        |found, native| deviation(x, labels, params, (found, native)),
    )?;
    let total = labels.len() as u32;
    let curve = |counts: Array2<u32>| Curve {
        correct: counts.sum_axis(Axis(0)).to_vec(),
        by_class: params.by_class.then_some(counts),
        total,
    };
    Ok(counts.into_iter().map(curve).collect())
}

/// How far two counts are apart at each point, where as many samples may differ as are undecided there.
fn deviation(
    x: ArrayView2<'_, f32>,
    labels: &Labels,
    params: &Params<'_>,
    (found, native): (&[Array2<u32>], &[Array2<u32>]),
) -> validate::Deviation {
    let mut deviation = validate::Deviation::none();
    for ((found, native), ordering) in found.iter().zip(native).zip(params.orderings) {
        let points = found.columns().into_iter().zip(native.columns());
        for (k, (found, native)) in points.enumerate() {
            let differ = found.iter().zip(native).map(|(a, b)| a.abs_diff(*b)).max();
            let differ = differ.unwrap_or(0);
            let undecided = match differ {
                0 => 0,
                _ => {
                    let mut kept = vec![false; x.ncols()];
                    ordering[..k].iter().for_each(|&neuron| kept[neuron] = true);
                    partial(params).undecided(x, labels, &kept, TOLERANCE)
                }
            };
            deviation.take(f64::from(differ), undecided as f64);
        }
    }
    deviation
}

/// Each device counts among its share of the samples.
fn dealt(
    fleet: &Fleet,
    x: ArrayView2<'_, f32>,
    labels: &Labels,
    params: &Params<'_>,
) -> Result<Vec<Array2<u32>>> {
    let parts = fleet.deal(x.nrows());
    let part = |at: usize, gpu: &Gpu, _: &mut dyn FnMut(())| {
        let rows = parts[at].clone();
        if rows.is_empty() {
            return Ok(None);
        }
        let labels = labels.part(rows.clone());
        let groups = Groups::new(&labels, params.by_class);
        let part = x.slice(s![rows, ..]);
        gpu::counts(gpu, part, &labels, params, (&groups, x.nrows())).map(Some)
    };
    let parts = fleet.each(part, &mut |_, ()| ())?;
    let mut parts = parts.into_iter().flatten();
    let mut counts = parts.next().expect("there are samples");
    for part in parts {
        let each = counts.iter_mut().zip(&part);
        each.for_each(|(sum, part)| *sum += part);
    }
    Ok(counts)
}

/// Counts that devices gave back, where they may be what they should be.
fn trusted(
    devices: &[Gpu],
    x: ArrayView2<'_, f32>,
    labels: &Labels,
    params: &Params<'_>,
    counts: Vec<Array2<u32>>,
) -> Result<Vec<Array2<u32>>> {
    verify::trusted(devices, "sweep", || {
        let sizes = match params.by_class {
            true => labels.counts(),
            false => vec![labels.len()],
        };
        let too_many = |counts: &Array2<u32>| {
            let groups = counts.outer_iter().zip(&sizes);
            groups
                .flat_map(|(counts, size)| counts.into_iter().map(move |count| (*count, *size)))
                .find(|(count, size)| *count as usize > *size)
        };
        if let Some((count, size)) = counts.iter().find_map(too_many) {
            return Ok(Some(format!("{count} of {size} samples are right")));
        }
        let rows = verify::drawn(x.nrows());
        let of_rows = rows.iter().map(|&row| labels.ids()[row]).collect();
        let (all_labels, asked) = (labels, params);
        let labels = Labels::new(of_rows, labels.classes().to_vec())?;
        let params = Params {
            by_class: false,
            ..params.clone()
        };
        let groups = Groups::new(&labels, false);
        let some = x.select(Axis(0), &rows);
        let native = cpu::counts(some.view(), &labels, &params, &groups);
        let all = |counts: &[Array2<u32>]| -> Vec<u32> {
            counts
                .iter()
                .flat_map(|counts| counts.sum_axis(Axis(0)))
                .collect()
        };
        let shares = (rows.len(), x.nrows());
        let undecided = |mut at: usize| {
            let mut orderings = asked.orderings.iter();
            let ordering = orderings.find(|ordering| {
                let inside = at <= ordering.len();
                at -= if inside { 0 } else { ordering.len() + 1 };
                inside
            });
            let mut kept = vec![false; x.ncols()];
            let neurons = ordering.map_or(&[][..], |ordering| &ordering[..at]);
            neurons.iter().for_each(|&neuron| kept[neuron] = true);
            partial(asked).undecided(x, all_labels, &kept, TOLERANCE)
        };
        let (found, native) = (all(&counts), all(&native));
        Ok(verify::of_counts(&found, &native, shares, undecided))
    })?;
    Ok(counts)
}

/// Bytes of memory that [`sweep`] takes beside its input on a GPU, for orderings of `points` neurons altogether; the
/// native path takes less. Counting by class adds the counts, 4·C bytes a point.
pub fn bytes(samples: usize, neurons: usize, classes: usize, points: usize) -> u64 {
    let (samples, neurons) = (samples as u64, neurons as u64);
    let padded = [16, 32, 64].into_iter().find(|fits| classes <= *fits);
    let (classes, points) = (padded.unwrap_or(classes) as u64, points as u64);
    // Logits before each piece, of 256 points, take twice as much as the piece's hits for every 16 classes.
    neurons * (samples + classes) * 4 + points * (samples / 8 * (1 + classes / 8) + 8)
}

fn partial<'a>(params: &Params<'a>) -> Partial<'a> {
    Partial {
        weights: params.weights,
        bias: params.bias,
        ablated: params.ablated,
    }
}

fn check(x: ArrayView2<'_, f32>, labels: &Labels, params: &Params<'_>) -> Result<()> {
    partial(params).check("sweep", x, labels)?;
    let neurons = x.ncols();
    for (at, ordering) in params.orderings.iter().enumerate() {
        if let Some(neuron) = beyond_or_again(ordering, neurons) {
            return Err(Error::invalid(
                "sweep",
                format!(
                    "ordering {at} lists neuron {neuron} twice, or there are only {neurons} neurons"
                ),
                "List distinct neurons from 0 to one less than their number",
            ));
        }
    }
    Ok(())
}
