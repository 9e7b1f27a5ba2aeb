//! Moments and standardisation of every neuron.
//!
//! Formula, for column j of X (N × D) and, where groups are given, each class c with n_c samples:
//! `mean_j = Σᵢ x_ij / N`, `sd_j = √(Σᵢ (x_ij − mean_j)² / N)` (population), `group_mean_cj = Σ_{i: yᵢ=c} x_ij / n_c`,
//! `z_ij = (x_ij − mean_j) / sd_j`.
//!
//! Edge cases: a neuron that does not vary is [`Spread::Constant`] and its z is 0; one that varies a million times
//! less than the median neuron is [`Spread::NearlyConstant`] (an f16 subnormal that flips, say): scaling it would
//! amplify rounding noise, so probes leave it out, and it is reported. A class without samples has mean 0.
//!
//! Values must be finite ([`crate::Activations`] sees to it). One pass, natively with sums in f64 around the mean of the
//! first 64 samples. That is at most `sd·√(N/64)` from the mean of all, whatever their order, since the variance is at least
//! the 64 samples' share of it: the squares are at most 1 + N/64 times as large as those around the mean, and then only where these 64 are
//! unlike all others: f64 keeps eight digits of the variance of ten million such samples. A neuron whose mean is a million
//! times its sd loses nothing, and neither does one with values around 1e-30. A GPU, whose sums are f32, passes twice: for the mean, and around it.
//!
//! Cost: 4·N·D FLOP over N·D·4 bytes: memory bound.

mod cpu;
mod gpu;
mod norms;

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

use crate::activations::Rows;
use crate::error::{Error, Result};
use crate::labels::Labels;
use crate::ops::Backend;
use crate::ops::recovery::surely;
use crate::ops::validate::{Deviation, validated};

pub use crate::activations::{CONSTANT, NEARLY_CONSTANT, Spread, TINY};
pub use gpu::KERNELS;
pub use norms::{LayerNorms, layer_norms};

/// The first two moments of every neuron.
#[derive(Debug, Clone)]
pub struct Moments {
    /// Number of samples N.
    pub samples: usize,
    /// Mean of each neuron.
    pub mean: Vec<f64>,
    /// Population standard deviation of each neuron.
    pub sd: Vec<f64>,
    /// How much each neuron varies.
    pub spread: Vec<Spread>,
    /// Mean of each neuron in each class, C × D, where groups were given.
    pub group_mean: Option<Array2<f64>>,
}

/// On a GPU: |Δmean| ≤ this · sd, |Δsd| ≤ this · sd, |Δgroup_mean| ≤ this · (sd + |group_mean − mean|).
///
/// Partial sums of 256 deviations are f32, by 16s (each rounding is at most 6e-8 of the sum so far, 5e-7 altogether even
/// when all go the same way), and are added in f64. The
/// native path sums in f64 alone and is a thousand times closer still. A value under 1.2e-38 in size may count as 0 on a
/// GPU.
pub const TOLERANCE: f64 = 2e-6;

/// Mean and sd of every neuron, and its mean in every class where `groups` are given.
///
/// `x` is N × D; `groups` has N labels. Studies, whose samples the host holds, ask for it natively: on an H100 it took three
/// times as long as on 16 threads, for the samples' way there.
///
/// # Errors
/// When `x` is empty, `groups` has another length, or the GPU fails.
pub fn moments(
    backend: &Backend,
    x: ArrayView2<'_, f32>,
    groups: Option<&Labels>,
) -> Result<Moments> {
    let samples = x.nrows();
    check(x.dim(), groups)?;
    let x = x.as_standard_layout();
    let sums = surely("moments", backend, |backend| match backend.gpu() {
        None => Ok(cpu::sums(x.view(), groups)),
        Some(gpu) => gpu::sums(gpu, x.view(), groups),
    })?;
    validated(
        ("moments", "mean or sd, in sd,"),
        backend,
        sums.finish(samples, groups),
        || Ok(cpu::sums(x.view(), groups).finish(samples, groups)),
        deviation,
    )
}

/// How far means and standard deviations are apart, in standard deviations; a constant neuron's in f32's smallest numbers.
fn deviation(found: &Moments, native: &Moments) -> Deviation {
    let mut deviation = Deviation::none();
    for (j, sd) in native.sd.iter().enumerate() {
        let unit = sd.max(f64::from(f32::MIN_POSITIVE) / TOLERANCE);
        let off = [found.mean[j] - native.mean[j], found.sd[j] - sd];
        off.iter()
            .for_each(|off| deviation.take(off / unit, TOLERANCE));
    }
    if let (Some(found), Some(native_means)) = (&found.group_mean, &native.group_mean) {
        for ((at, mean), native_mean) in found.indexed_iter().zip(native_means) {
            let apart = (native_mean - native.mean[at.1]).abs();
            let unit = (native.sd[at.1] + apart).max(f64::from(f32::MIN_POSITIVE) / TOLERANCE);
            deviation.take((mean - native_mean) / unit, TOLERANCE);
        }
    }
    deviation
}

/// As [`moments`], of samples that are read block by block, once: natively, and to the same bits as at hand.
///
/// # Errors
/// As [`moments`]; when a value is not finite, or the rows cannot be read.
pub fn streamed(rows: &dyn Rows, groups: Option<&Labels>) -> Result<Moments> {
    check(rows.shape(), groups)?;
    Ok(cpu::streamed(rows, groups)?.finish(rows.shape().0, groups))
}

fn check((samples, neurons): (usize, usize), groups: Option<&Labels>) -> Result<()> {
    if samples == 0 || neurons == 0 {
        return Err(Error::invalid(
            "moments",
            format!("{samples} samples of {neurons} neurons were given"),
            "Give at least one sample and one neuron",
        ));
    }
    if let Some(labels) = groups.filter(|labels| labels.len() != samples) {
        return Err(Error::invalid(
            "moments",
            format!("{samples} samples but {} labels were given", labels.len()),
            "Give one label for every sample",
        ));
    }
    Ok(())
}

/// z of the chosen columns, N × `columns.len()`, in the order given; 0 for a constant neuron.
///
/// Native on either back end: one multiplication a value cannot pay for its way to a GPU and back.
///
/// # Errors
/// When `moments` are of another number of neurons, or a column does not exist.
pub fn standardise(
    _backend: &Backend,
    x: ArrayView2<'_, f32>,
    moments: &Moments,
    columns: &[usize],
) -> Result<Array2<f32>> {
    let (samples, neurons) = x.dim();
    if moments.mean.len() != neurons {
        return Err(Error::invalid(
            "standardise",
            format!(
                "the activations have {neurons} neurons but the moments {}",
                moments.mean.len()
            ),
            "Take the moments of the same neurons",
        ));
    }
    if let Some(column) = columns.iter().find(|&&column| column >= neurons) {
        return Err(Error::invalid(
            "standardise",
            format!("neuron {column} was chosen, but there are {neurons}"),
            "Choose neurons from 0 to one less than their number",
        ));
    }
    let scaling: Vec<(usize, f64, f64)> = columns
        .iter()
        .map(|&column| (column, moments.mean[column], moments.scale(column)))
        .collect();
    let mut z = Array2::zeros((samples, columns.len()));
    z.outer_iter_mut()
        .into_par_iter()
        .zip(x.outer_iter().into_par_iter())
        .for_each(|(mut z, x)| {
            for (z, &(column, mean, scale)) in z.iter_mut().zip(&scaling) {
                *z = standardised(x[column], mean, scale);
            }
        });
    Ok(z)
}

/// z of one value; `scale` is [`Moments::scale`].
#[inline]
pub(crate) fn standardised(x: f32, mean: f64, scale: f64) -> f32 {
    ((f64::from(x) - mean) * scale) as f32
}

impl Moments {
    /// What a neuron's deviations from its mean are multiplied by: 1/sd, or 0 for a constant one.
    pub(crate) fn scale(&self, neuron: usize) -> f64 {
        if self.spread[neuron] == Spread::Constant {
            0.0
        } else {
            self.sd[neuron].recip()
        }
    }
}

/// Bytes of memory that [`moments`] takes beside its input, on the host or on the device, whichever is more.
pub fn bytes(samples: usize, neurons: usize, classes: usize) -> u64 {
    let (samples, neurons, classes) = (samples as u64, neurons as u64, classes.max(1) as u64);
    let result = neurons * (classes + 2) * 8;
    let device = samples * (neurons + 1) * 4 + (samples / gpu::RUN as u64 + classes) * neurons * 16;
    result + device
}

/// What a back end hands over: sums around a shift.
struct Sums {
    /// What was subtracted from each neuron.
    shift: Vec<f64>,
    /// Σ (x − shift) of each class and neuron, C × D; C = 1 without groups.
    deviation: Array2<f64>,
    /// Σ (x − shift)² of each neuron.
    square: Vec<f64>,
}

impl Sums {
    fn finish(self, samples: usize, groups: Option<&Labels>) -> Moments {
        let n = samples as f64;
        let total = self.deviation.sum_axis(ndarray::Axis(0));
        let mut mean = self.shift.clone();
        let mut sd = self.square;
        for (j, total) in total.iter().enumerate() {
            let residual = total / n;
            mean[j] += residual;
            sd[j] = (sd[j] / n - residual * residual).max(0.0).sqrt();
        }
        let group_mean = groups.map(|labels| {
            let mut means = self.deviation;
            for (mut row, count) in means.outer_iter_mut().zip(labels.counts()) {
                for (mean, shift) in row.iter_mut().zip(&self.shift) {
                    *mean = if count == 0 {
                        0.0
                    } else {
                        shift + *mean / count as f64
                    };
                }
            }
            means
        });
        let spread = Spread::of_neurons(&mean, &sd);
        Moments {
            samples,
            mean,
            sd,
            spread,
            group_mean,
        }
    }
}
