//! Activations: samples × neurons, with the layer and unit of every neuron.

use std::sync::Arc;

use half::{bf16, f16};
use ndarray::{ArcArray2, Array2, ArrayView2};

use crate::error::{Error, Result};

/// Layers are numbered up to this: results count by the layers that something spans.
const LAST_LAYER: u32 = 65_535;

/// Which layer and unit each neuron (column) is.
///
/// Columns are grouped by layer in ascending order. The *id* of a neuron is its column; where a file holds all units of
/// every layer that is `layer · units + unit` (Dalvi et al. 2019), where it holds a choice of units `unit` is the unit's
/// number in the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerMap {
    layer: Vec<u32>,
    unit: Vec<u32>,
}

impl LayerMap {
    /// From the layer and the unit of each column.
    ///
    /// # Errors
    /// When the two differ in length, are empty, or the layers are not in ascending order.
    pub fn new(layer: Vec<u32>, unit: Vec<u32>) -> Result<Self> {
        if layer.len() != unit.len() || layer.is_empty() {
            return Err(Error::invalid(
                "layer map",
                format!("{} layers and {} units were given", layer.len(), unit.len()),
                "Give one layer and one unit for every neuron, and at least one neuron",
            ));
        }
        if let Some(at) = layer.windows(2).position(|pair| pair[0] > pair[1]) {
            return Err(Error::invalid(
                "layer map",
                format!(
                    "neuron {} is of layer {} but neuron {at} before it of layer {}",
                    at + 1,
                    layer[at + 1],
                    layer[at]
                ),
                "Order the columns by layer",
            ));
        }
        if let Some(beyond) = layer.last().filter(|layer| **layer > LAST_LAYER) {
            return Err(Error::invalid(
                "layer map",
                format!("there is a layer {beyond}, but layers are numbered 0 to {LAST_LAYER}"),
                "Number the layers of the model from 0",
            ));
        }
        Ok(Self { layer, unit })
    }

    /// `layers` layers of `units` units each, all present: neuron = layer · units + unit.
    ///
    /// # Errors
    /// When either is zero or a number does not fit 32 bits.
    pub fn uniform(layers: usize, units: usize) -> Result<Self> {
        let small = |value: usize| {
            u32::try_from(value).map_err(|_| {
                Error::invalid(
                    "layer map",
                    format!("{value} is more than 32 bits hold"),
                    "Use fewer neurons",
                )
            })
        };
        let (layers, units) = (small(layers)?, small(units)?);
        Self::new(
            (0..layers)
                .flat_map(|layer| std::iter::repeat_n(layer, units as usize))
                .collect(),
            (0..layers).flat_map(|_| 0..units).collect(),
        )
    }

    /// Number of neurons D.
    pub fn neurons(&self) -> usize {
        self.layer.len()
    }

    /// The layer of a neuron.
    pub fn layer(&self, neuron: usize) -> u32 {
        self.layer[neuron]
    }

    /// The unit of a neuron inside its layer.
    pub fn unit(&self, neuron: usize) -> u32 {
        self.unit[neuron]
    }

    /// The distinct layers, ascending.
    pub fn layers(&self) -> Vec<u32> {
        let mut layers = self.layer.clone();
        layers.dedup();
        layers
    }

    /// The columns of one layer; empty when there is no such layer.
    pub fn columns(&self, layer: u32) -> std::ops::Range<usize> {
        self.layer.partition_point(|&l| l < layer)..self.layer.partition_point(|&l| l <= layer)
    }
}

/// Samples × neurons in f32, row-major, every value finite.
#[derive(Debug, Clone)]
pub struct Activations {
    values: ArcArray2<f32>,
    layers: LayerMap,
}

impl Activations {
    /// Checks the invariants once: at least one sample, one layer-map entry a neuron, every value finite.
    ///
    /// # Errors
    /// Names the first offending row and neuron.
    pub fn new(values: Array2<f32>, layers: LayerMap) -> Result<Self> {
        let (samples, neurons) = values.dim();
        if samples == 0 || neurons != layers.neurons() {
            return Err(Error::invalid(
                "activations",
                format!(
                    "{samples} samples of {neurons} neurons with a layer map of {}",
                    layers.neurons()
                ),
                "Give at least one sample, and a layer map of as many neurons as the matrix has columns",
            ));
        }
        let values = if values.is_standard_layout() {
            values
        } else {
            values.as_standard_layout().into_owned()
        };
        if let Some(at) = values.iter().position(|v| !v.is_finite()) {
            let (row, neuron) = (at / neurons, at % neurons);
            return Err(Error::invalid(
                "activations",
                format!(
                    "row {row}, neuron {neuron} (layer {}, unit {}) is {}",
                    layers.layer(neuron),
                    layers.unit(neuron),
                    values[(row, neuron)]
                ),
                "Every activation must be a finite number: drop that sample or dump it again in a wider format",
            ));
        }
        Ok(Self {
            values: values.into_shared(),
            layers,
        })
    }

    /// The same samples for who reads some at a time; they are not copied.
    pub fn rows(&self) -> Arc<dyn Rows> {
        Arc::new(self.clone())
    }

    /// The matrix, samples × neurons.
    pub fn view(&self) -> ArrayView2<'_, f32> {
        self.values.view()
    }

    /// Which layer and unit each column is.
    pub fn layers(&self) -> &LayerMap {
        &self.layers
    }

    /// Number of samples N.
    pub fn samples(&self) -> usize {
        self.values.nrows()
    }

    /// Number of neurons D.
    pub fn neurons(&self) -> usize {
        self.values.ncols()
    }
}

/// Rows of activations that stay where they are, on disk or in memory, in whatever type they are stored: read as f32, some
/// at a time and by several threads at once.
pub trait Rows: std::fmt::Debug + Send + Sync {
    /// Number of samples N, and of neurons D.
    fn shape(&self) -> (usize, usize);

    /// Fills `out` with the rows from `start` on, row-major, as many whole rows as it holds. Values may be NaN or infinite.
    ///
    /// # Errors
    /// When `out` is not a whole number of rows or reaches past the last one, or they cannot be read.
    fn read_rows(&self, start: usize, out: &mut [f32]) -> Result<()>;

    /// The type that values are stored in, where [`Rows::read_bits`] hands them out as they are; F32 where it does not.
    fn stored(&self) -> Stored {
        Stored::F32
    }

    /// As [`Rows::read_rows`], the bits of values stored in 16 bits: half of what a GPU has to be sent.
    ///
    /// # Errors
    /// As [`Rows::read_rows`]; when [`Rows::stored`] is F32.
    fn read_bits(&self, _start: usize, _out: &mut [u16]) -> Result<()> {
        Err(Error::invalid(
            "bits of activations",
            "they are stored in 32 bits",
            "Read them as f32",
        ))
    }
}

/// The type that values are stored in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// IEEE single precision, or a type that is read as it.
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of an f32.
    Bf16,
}

impl Rows for Activations {
    fn shape(&self) -> (usize, usize) {
        self.values.dim()
    }

    fn read_rows(&self, start: usize, out: &mut [f32]) -> Result<()> {
        copy_rows(self.values.view(), start, out, |value| value)
    }
}

impl Rows for Array2<f16> {
    fn shape(&self) -> (usize, usize) {
        self.dim()
    }

    fn read_rows(&self, start: usize, out: &mut [f32]) -> Result<()> {
        copy_rows(self.view(), start, out, f16::to_f32)
    }

    fn stored(&self) -> Stored {
        Stored::F16
    }

    fn read_bits(&self, start: usize, out: &mut [u16]) -> Result<()> {
        copy_rows(self.view(), start, out, f16::to_bits)
    }
}

impl Rows for Array2<bf16> {
    fn shape(&self) -> (usize, usize) {
        self.dim()
    }

    fn read_rows(&self, start: usize, out: &mut [f32]) -> Result<()> {
        copy_rows(self.view(), start, out, bf16::to_f32)
    }

    fn stored(&self) -> Stored {
        Stored::Bf16
    }

    fn read_bits(&self, start: usize, out: &mut [u16]) -> Result<()> {
        copy_rows(self.view(), start, out, bf16::to_bits)
    }
}

/// Rows of a matrix at hand, converted.
fn copy_rows<T: Copy, U>(
    from: ArrayView2<'_, T>,
    start: usize,
    out: &mut [U],
    convert: impl Fn(T) -> U,
) -> Result<()> {
    let rows = rows_of(from.dim(), start, out.len())?;
    let from = from.slice(ndarray::s![rows, ..]);
    for (out, value) in out.iter_mut().zip(from) {
        *out = convert(*value);
    }
    Ok(())
}

/// The rows of a matrix samples × neurons that `values` values from row `start` on are.
///
/// # Errors
/// When they are not whole rows, or reach past the last one.
pub fn rows_of(
    (samples, neurons): (usize, usize),
    start: usize,
    values: usize,
) -> Result<std::ops::Range<usize>> {
    let rows = values / neurons.max(1);
    if rows * neurons != values || start > samples || rows > samples - start {
        return Err(Error::invalid(
            "rows to read",
            format!(
                "{values} values from row {start} on, of a matrix of {samples} rows × {neurons} neurons"
            ),
            "Ask for whole rows that there are",
        ));
    }
    Ok(start..start + rows)
}

/// The first of these ids that is not below `count`, or that stands among them twice; `None` where each is one of the
/// `count` and stands there once.
pub fn beyond_or_again(ids: &[usize], count: usize) -> Option<usize> {
    let mut seen = vec![false; count];
    let wrong = |id: &&usize| **id >= count || std::mem::replace(&mut seen[**id], true);
    ids.iter().find(wrong).copied()
}

/// How much a neuron varies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    /// It varies.
    Varies,
    /// Its sd is under [`NEARLY_CONSTANT`] of the median sd.
    NearlyConstant,
    /// Its sd is at most [`CONSTANT`] of its |mean|, or [`TINY`].
    Constant,
}

/// A neuron is constant when sd ≤ this · |mean|: f32 holds about 7 digits.
pub const CONSTANT: f64 = 1e-7;

/// A neuron is constant when its sd is at most this, whatever its mean: weights of raw activations, which are divided by it, would
/// be beyond f32, and a GPU may take values under 1.2e-38 for 0.
pub const TINY: f64 = 1e-35;

/// A neuron is nearly constant when its sd is under this share of the median sd of those that vary.
pub const NEARLY_CONSTANT: f64 = 1e-6;

impl Spread {
    /// Classifies every neuron by its mean and its population sd, in the unit of the values.
    pub fn of_neurons(mean: &[f64], sd: &[f64]) -> Vec<Self> {
        let constant: Vec<bool> = mean
            .iter()
            .zip(sd)
            .map(|(mean, sd)| *sd <= (CONSTANT * mean.abs()).max(TINY))
            .collect();
        let mut varying: Vec<f64> = sd
            .iter()
            .zip(&constant)
            .filter(|(_, constant)| !**constant)
            .map(|(sd, _)| *sd)
            .collect();
        varying.sort_by(f64::total_cmp);
        let floor = varying
            .get(varying.len() / 2)
            .map_or(0.0, |median| NEARLY_CONSTANT * median);
        sd.iter()
            .zip(constant)
            .map(|(sd, constant)| match constant {
                true => Spread::Constant,
                false if *sd < floor => Spread::NearlyConstant,
                false => Spread::Varies,
            })
            .collect()
    }
}
