//! Pearson correlation of every pair of neurons.
//!
//! Formula, for columns i and j of X (N × D): `r_ij = Σₙ (x_ni − mean_i)(x_nj − mean_j) / (N · sd_i · sd_j)`.
//!
//! How: `z = (x − shift) · scale` with the mean rounded to f32 as the shift and a power of two near 1/sd as the scale
//! (both exact in f32, so centring loses nothing), `G = ZᵀZ` from partial sums of 256 samples in f32, which are added in f32
//! up to 2,048 samples (65,536 on a GPU) and beyond them in f64, and `r_ij = (G_ij/N − m_i·m_j) / √((G_ii/N − m_i²)(G_jj/N − m_j²))`
//! with `m` the mean of z: normalised by its own diagonal, so that what rounding does to G it does to both sides. The raw
//! moments `E[xy] − E[x]E[y]` in f32 are wrong by 2e-2 where the mean is a hundred times the sd; this is not.
//!
//! Edge cases: a neuron that is [`Spread::Constant`] has r = 0 with every other. One that is
//! [`Spread::NearlyConstant`] keeps its r, noise that it may be: that is what
//! NumPy answers, and whoever clusters decides. On a GPU, values under 1.2e-38 in size may count as 0.
//!
//! Cost: N·D·(D+1) FLOP (the triangle alone); N·D·4 bytes read D/64 times from cache; compute bound from D ≈ 1,000 on.

mod cpu;
mod gpu;

use ndarray::ArrayView2;

use crate::error::{Error, Result};
use crate::ops::Backend;
use crate::ops::moments::{Moments, Spread};

pub use gpu::KERNELS;

/// Correlations of all pairs of D neurons: the upper triangle without the diagonal, row by row.
#[derive(Debug, Clone)]
pub struct Correlation {
    /// Number of neurons D.
    pub neurons: usize,
    /// r of the pairs (0,1), (0,2) … (D−2,D−1): D·(D−1)/2 values in [−1, 1]; 0 where either neuron is constant.
    pub packed: Vec<f32>,
}

impl Correlation {
    /// r of two neurons, in either order; 1 of a neuron with itself.
    ///
    /// # Panics
    /// When there is no such neuron: our own bug.
    pub fn get(&self, i: usize, j: usize) -> f32 {
        assert!(
            i < self.neurons && j < self.neurons,
            "neurons {i} and {j} of {}",
            self.neurons
        );
        match i.cmp(&j) {
            std::cmp::Ordering::Less => self.packed[row_start(self.neurons, i) + j - i - 1],
            std::cmp::Ordering::Equal => 1.0,
            std::cmp::Ordering::Greater => self.get(j, i),
        }
    }
}

/// |Δr| against f64 on either back end, whatever the means and scales: f32 rounds each sum by 6e-8 of itself, and at most
/// 256 of these roundings go the same way (where sparse neurons repeat a product). 5e-7 is typical.
pub const TOLERANCE: f64 = 5e-6;

/// Samples of one product of matrices: the largest whose sums are f32 alone on the native path.
const PARTIAL: usize = 2048;

/// The correlation of every pair of neurons.
///
/// `x` is N × D and `moments` are its own, over the same samples.
///
/// # Errors
/// When `moments` are of another shape, or the GPU fails.
pub fn correlation(
    backend: &Backend,
    x: ArrayView2<'_, f32>,
    moments: &Moments,
) -> Result<Correlation> {
    let (samples, neurons) = x.dim();
    if samples == 0 || moments.samples != samples || moments.mean.len() != neurons {
        return Err(Error::invalid(
            "correlation",
            format!(
                "the activations are {samples} samples of {neurons} neurons but the moments {} of {}",
                moments.samples,
                moments.mean.len()
            ),
            "Take the moments of the same activations",
        ));
    }
    let x = x.as_standard_layout();
    let centring = Centring::new(moments);
    let packed = match backend {
        Backend::Cpu => cpu::packed(x.view(), &centring),
        Backend::Gpu(gpu) => gpu::packed(gpu, x.view(), &centring)?,
    };
    Ok(Correlation { neurons, packed })
}

/// Bytes of memory that [`correlation`] takes beside its input on the host; a GPU takes at most four bindings.
pub fn bytes(samples: usize, neurons: usize) -> u64 {
    let (samples, neurons) = (samples as u64, neurons as u64);
    let packed = neurons * neurons.saturating_sub(1) / 2 * 4;
    packed + samples * neurons * 4 + rayon::current_num_threads() as u64 * cpu::SCRATCH_BYTES
}

/// Where row i of the packed triangle begins.
fn row_start(neurons: usize, i: usize) -> usize {
    i * (2 * neurons - i - 1) / 2
}

/// The rows of the packed triangle, row i of D − i − 1 values.
fn rows(neurons: usize, packed: &mut [f32]) -> Vec<&mut [f32]> {
    let mut rest = packed;
    (0..neurons)
        .map(|i| {
            let (row, after) = std::mem::take(&mut rest).split_at_mut(neurons - i - 1);
            rest = after;
            row
        })
        .collect()
}

/// How each neuron is centred and scaled, exactly in f32, and what mean that leaves.
struct Centring {
    shift: Vec<f32>,
    /// 0 for a constant neuron.
    scale: Vec<f32>,
    /// Mean of z, in f64: what the rounding of the shift leaves.
    residual: Vec<f64>,
}

impl Centring {
    fn new(moments: &Moments) -> Self {
        let shift: Vec<f32> = moments.mean.iter().map(|&mean| mean as f32).collect();
        let scale: Vec<f32> = moments
            .sd
            .iter()
            .zip(&moments.spread)
            .map(|(sd, spread)| match spread {
                Spread::Constant => 0.0,
                _ => 2f32.powi(-(sd.log2().round() as i32).clamp(-126, 126)),
            })
            .collect();
        let residual = moments
            .mean
            .iter()
            .zip(&shift)
            .zip(&scale)
            .map(|((mean, shift), scale)| (mean - f64::from(*shift)) * f64::from(*scale))
            .collect();
        Self {
            shift,
            scale,
            residual,
        }
    }

    /// 1/sd of z from the diagonal of G/N; 0 for a constant neuron.
    fn norm(&self, neuron: usize, mean_square: f64) -> f64 {
        let variance = mean_square - self.residual[neuron].powi(2);
        if variance > 0.0 {
            variance.sqrt().recip()
        } else {
            0.0
        }
    }

    /// r of two neurons from G_ij/N and the norms.
    fn r(&self, (i, j): (usize, usize), mean_product: f64, norm: &[f64]) -> f32 {
        let covariance = mean_product - self.residual[i] * self.residual[j];
        (covariance * norm[i] * norm[j]).clamp(-1.0, 1.0) as f32
    }
}
