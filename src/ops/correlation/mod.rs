//! Pearson correlation of every pair of neurons: of one model, or of two over the same samples.
//!
//! Formula, for columns i and j of X (N × D): `r_ij = Σₙ (x_ni − mean_i)(x_nj − mean_j) / (N · sd_i · sd_j)`.
//!
//! How: `z = (x − shift) · scale` with the mean rounded to f32 as the shift and a power of two near 1/sd as the scale
//! (both exact in f32, so centring loses nothing), `G = ZᵀZ` from partial sums of 128 samples in f32 (256 on a GPU), which are added in
//! f64 (on a GPU in f32 up to 65,536 samples), and `r_ij = (G_ij/N − m_i·m_j) / √((G_ii/N − m_i²)(G_jj/N − m_j²))`
//! with `m` the mean of z: normalised by its own diagonal, so that what rounding does to G it does to both sides. The raw
//! moments `E[xy] − E[x]E[y]` in f32 are wrong by 2e-2 where the mean is a hundred times the sd; this is not.
//!
//! A caller may allow a GPU other numbers than f32 ([`Precision`]): z as one f16 or as two, with and without matrix units, in
//! the same sums of 256 samples; the mean that rounding left is subtracted there, since f16 lacks the digits for it.
//!
//! Edge cases: a neuron that is [`Spread::Constant`] has r = 0 with every other. One that is
//! [`Spread::NearlyConstant`] keeps its r, noise that it may be: that is what
//! NumPy answers, and whoever clusters decides. On a GPU, values under 1.2e-38 in size may count as 0.
//!
//! Samples are read in blocks and tiles of r are reduced as they come ([`scan`]), so neither the samples nor the matrix
//! need fit into memory: [`Params::memory`] bounds what is in flight, and samples that do not fit it are read again for
//! every square of tiles.
//!
//! Cost: N·D·(D+1) FLOP (the triangle alone; 2·N·D·D' for two sides); N·D·4 bytes read D/384 times from cache; compute
//! bound from D ≈ 1,000 on.
//!
//! [`Spread::Constant`]: crate::ops::moments::Spread::Constant
//! [`Spread::NearlyConstant`]: crate::ops::moments::Spread::NearlyConstant

mod columns;
mod cpu;
mod distribution;
mod findings;
mod gpu;
mod kept;
mod kernel;
mod layers;
mod padded;
mod precision;
mod reduce;
mod run;
mod trial;
mod triangle;
mod validate;
mod variants;
mod verify;

use ndarray::{Array2, ArrayView2};

use self::columns::{Columns, Held};
use self::triangle::Triangle;
use crate::activations::{LayerMap, Rows};
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::ops::moments::Moments;
use crate::ops::recovery::surely;
use crate::ops::{Backend, Fleet};

pub use precision::{Computed, Kernels, Precision, TOLERANCE_F16};
pub use reduce::KERNELS as KERNELS_OF_TILES;
pub use run::KERNELS;
pub use variants::{KERNELS as KERNELS_OF_PRODUCTS, has_matrix_kernel};

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
            std::cmp::Ordering::Less => {
                let row = i * (2 * self.neurons - i - 1) / 2;
                self.packed[row + j - i - 1]
            }
            std::cmp::Ordering::Equal => 1.0,
            std::cmp::Ordering::Greater => self.get(j, i),
        }
    }
}

/// |Δr| against f64 on either back end, in every class but `f16` ([`TOLERANCE_F16`]), whatever the means and scales: f32 rounds each sum by 6e-8 of itself, and at most
/// 256 of these roundings go the same way (where sparse neurons repeat a product). 5e-7 is typical.
pub const TOLERANCE: f64 = 5e-6;

/// Neurons over some samples, and their moments over the same.
#[derive(Debug, Clone, Copy)]
pub struct Side<'a> {
    /// N × D, every value finite.
    pub rows: &'a dyn Rows,
    /// Of these rows.
    pub moments: &'a Moments,
}

/// Takes r tile by tile, from several threads at once and in any order.
pub trait Matrix: std::fmt::Debug + Sync {
    /// r of the left neurons from `at.0` on with the right ones from `at.1` on. Of one model every pair comes in a tile with
    /// `at.0 <= at.1`; where these are equal the tile is square and has its diagonal of ones.
    ///
    /// # Errors
    /// When it cannot be stored: the scan ends with that error.
    fn tile(&self, at: (usize, usize), r: ArrayView2<'_, f32>) -> Result<()>;
}

/// What a scan keeps of the pairs.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Every pair with |r| of at least this.
    pub at_least: Option<f32>,
    /// So many edges at most: more are an error. 12 bytes each.
    pub most_edges: u64,
    /// For every neuron so many others with the largest |r| (all, where there are fewer); ties by id.
    pub partners: usize,
    /// Histogram and moments of r.
    pub distribution: bool,
    /// Sums by pair of layers: the layers of the left and of the right neurons.
    pub layers: Option<[&'a LayerMap; 2]>,
    /// All of r.
    pub matrix: Option<&'a dyn Matrix>,
}

impl Default for Wanted<'_> {
    fn default() -> Self {
        Self {
            at_least: None,
            most_edges: u64::MAX,
            partners: 0,
            distribution: false,
            layers: None,
            matrix: None,
        }
    }
}

/// What a scan found. Natively nothing but the last bits of sums in f64 depends on memory. On a GPU nothing does where a binding
/// holds 256 samples of all neurons; else the last bits of r, within [`TOLERANCE`], since sums in f32 are as long as blocks of
/// samples are. Where a GPU keeps its tiles (up to 65,536 samples,
/// and no matrix wanted), edges and partners have the same bits, and histogram, moments and sums by layers are of r in f32.
#[derive(Debug, Clone, PartialEq)]
pub struct Findings {
    /// The pairs above the threshold, by left neuron and then by right one; of one model i < j.
    pub edges: Vec<Edge>,
    /// The partners of each left neuron, the strongest first; empty where none were wanted.
    pub partners: Vec<Vec<Partner>>,
    /// The same of each right neuron, where there are two models.
    pub partners_of_right: Vec<Vec<Partner>>,
    /// Histogram and moments.
    pub distribution: Option<Distribution>,
    /// Sums by pair of layers.
    pub layers: Option<LayerPairs>,
    /// What computed r.
    pub computed: Computed,
}

/// One pair of neurons.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Edge {
    /// The left neuron.
    pub i: u32,
    /// The right neuron.
    pub j: u32,
    /// Their correlation.
    pub r: f32,
}

/// One that a neuron correlates with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Partner {
    /// Its id.
    pub neuron: u32,
    /// The correlation.
    pub r: f32,
}

/// How r is distributed over all pairs.
#[derive(Debug, Clone, PartialEq)]
pub struct Distribution {
    /// Number of pairs.
    pub pairs: u64,
    /// Pairs in each of 200 equally wide bins from −1 to 1; a bin holds its lower edge, the last one also 1.
    pub counts: Vec<u64>,
    /// Mean of r.
    pub mean: f64,
    /// Mean of |r|.
    pub mean_size: f64,
    /// Standard deviation of r (population).
    pub sd: f64,
    /// Third standardised moment; 0 where the sd is under 1e-6.
    pub skewness: f64,
    /// Fourth standardised moment (3 for a normal distribution); 0 where the sd is under 1e-6.
    pub kurtosis: f64,
}

/// Sums over the pairs of neurons of two layers each: left layers × right layers. Of one model symmetric, and a pair of
/// neurons of the same layer counts once.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerPairs {
    /// Layers of the left neurons.
    pub left: Vec<u32>,
    /// Layers of the right neurons.
    pub right: Vec<u32>,
    /// Pairs of neurons.
    pub pairs: Array2<u64>,
    /// Mean |r|.
    pub mean: Array2<f64>,
    /// Largest |r|.
    pub largest: Array2<f32>,
    /// Pairs at or above the threshold, where one was given.
    pub at_least: Option<Array2<u64>>,
    /// `‖X_aᵀX_b/N‖²` of the centred activations of layers a and b: every covariance squared, both ways and with the
    /// variances where a = b. Linear CKA is made of it.
    pub squares: Array2<f64>,
}

/// How a scan is run.
///
/// | name | default | range |
/// |---|---|---|
/// | `memory` | 2 GiB | |
/// | `precision` | `f32` | [`Precision`] |
/// | `kernels` | any | [`Kernels`] |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Params {
    /// Bytes of host memory for samples and sums in flight; beside them stands what is wanted. A scan takes 256 samples of 384
    /// neurons, a tile of sums and a few rows a thread whatever it is allowed (on a GPU 256 to 1,024 samples of all neurons, thrice), and
    /// stays far below this where less is enough.
    pub memory: u64,
    /// How exact r has to be.
    pub precision: Precision,
    /// Which kernels a GPU may choose among.
    pub kernels: Kernels,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            memory: 2 << 30,
            precision: Precision::default(),
            kernels: Kernels::default(),
        }
    }
}

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
    let rows = &Held(x);
    let params = Params {
        memory: u64::MAX,
        ..Params::default()
    };
    Ok(packed(backend, Side { rows, moments }, &params)?.0)
}

/// As [`correlation`], of samples that are read block by block; and what computed r.
///
/// # Errors
/// As [`scan`].
pub fn packed(
    backend: &Backend,
    side: Side<'_>,
    params: &Params,
) -> Result<(Correlation, Computed)> {
    let neurons = side.rows.shape().1;
    let mut packed = vec![0f32; neurons * neurons.saturating_sub(1) / 2];
    let triangle = Triangle::new(neurons, &mut packed);
    let wanted = Wanted {
        matrix: Some(&triangle),
        ..Wanted::default()
    };
    let computed = scan(backend, side, None, &wanted, params)?.computed;
    drop(triangle);
    Ok((Correlation { neurons, packed }, computed))
}

/// Reduces the correlations of all pairs as they come: of the neurons of `left`, or of each of them with each of `right`,
/// another model's over the same samples.
///
/// # Errors
/// When samples and moments do not belong together, a layer map is of other neurons, there are more edges than wanted,
/// samples cannot be read, or the GPU fails.
pub fn scan(
    backend: &Backend,
    left: Side<'_>,
    right: Option<Side<'_>>,
    wanted: &Wanted<'_>,
    params: &Params,
) -> Result<Findings> {
    let sides: Vec<Side<'_>> = [Some(left), right].into_iter().flatten().collect();
    check(&sides, wanted)?;
    let columns = Columns::new(&sides);
    let run = |wanted: &Wanted<'_>| {
        surely("correlations", backend, |backend| match backend {
            Backend::Cpu => cpu::scan(&columns, wanted, params),
            Backend::Gpu(gpu) => gpu::scan(&Fleet::of(gpu), &columns, wanted, params),
            Backend::Fleet(fleet) => gpu::scan(fleet, &columns, wanted, params),
        })
    };
    if !backend.gpu().is_some_and(Gpu::is_validating) {
        return run(wanted);
    }
    let native = |wanted: &Wanted<'_>| cpu::scan(&columns, wanted, params);
    validate::validated(backend, &columns, wanted, run, native)
}

fn check(sides: &[Side<'_>], wanted: &Wanted<'_>) -> Result<()> {
    let samples = sides[0].rows.shape().0;
    for side in sides {
        let (n, neurons) = side.rows.shape();
        if n == 0 || side.moments.samples != n || side.moments.mean.len() != neurons {
            return Err(Error::invalid(
                "correlation",
                format!(
                    "the activations are {n} samples of {neurons} neurons but the moments {} of {}",
                    side.moments.samples,
                    side.moments.mean.len()
                ),
                "Take the moments of the same activations",
            ));
        }
        if n != samples {
            return Err(Error::invalid(
                "correlation of two models",
                format!("one has {samples} samples and the other {n}"),
                "Give activations of the same samples, in the same order",
            ));
        }
        if u32::try_from(neurons).is_err() {
            return Err(Error::invalid(
                "correlation",
                format!("{neurons} neurons are more than 32 bits number"),
                "Correlate fewer neurons",
            ));
        }
    }
    let last = sides.len() - 1;
    for (map, side) in wanted
        .layers
        .iter()
        .flatten()
        .zip([&sides[0], &sides[last]])
    {
        if map.neurons() != side.rows.shape().1 {
            return Err(Error::invalid(
                "layers of a correlation",
                format!(
                    "a layer map of {} neurons for {}",
                    map.neurons(),
                    side.rows.shape().1
                ),
                "Take both from the same activations",
            ));
        }
    }
    if let Some(least) = wanted.at_least.filter(|t| !(0.0..=1.0).contains(t)) {
        return Err(Error::invalid(
            "threshold of |r|",
            format!("{least} is not from 0 to 1"),
            "Give a number from 0 to 1",
        ));
    }
    Ok(())
}

/// Bytes of memory that [`correlation`] takes beside its input on the host; a GPU takes at most four bindings.
pub fn bytes(samples: usize, neurons: usize) -> u64 {
    let packed = neurons as u64 * neurons.saturating_sub(1) as u64 / 2 * 4;
    packed + cpu::bytes(samples, neurons)
}
