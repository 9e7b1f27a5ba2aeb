//! The design: a standardised copy of the neurons that a batch of probes sees.

use ndarray::{Array2, ArrayView2};

use crate::error::{Error, Result};
use crate::ops::Backend;
use crate::ops::moments::{self, Moments, Spread};

/// Standardised activations of the chosen neurons, N × d, contiguous by row.
///
/// Neurons that are constant or nearly constant are left out: their weight would be 0 at any λ1, or noise.
#[derive(Debug, Clone)]
pub struct Design {
    z: Array2<f32>,
    columns: Vec<usize>,
    mean: Vec<f64>,
    sd: Vec<f64>,
    neurons: usize,
}

impl Design {
    /// Standardises the neurons `columns` of X (N × D) by `moments` (of train).
    ///
    /// # Errors
    /// When a column is out of range or named twice, or no chosen neuron varies.
    pub fn new(
        backend: &Backend,
        x: ArrayView2<'_, f32>,
        moments: &Moments,
        columns: &[usize],
    ) -> Result<Self> {
        let neurons = x.ncols();
        let mut seen = vec![false; neurons];
        for &column in columns {
            if column >= neurons || std::mem::replace(&mut seen[column], true) {
                return Err(Error::invalid(
                    "neurons of a probe",
                    format!("neuron {column} is named twice or is not one of the {neurons}"),
                    format!("Name each neuron once, from 0 to {}", neurons - 1),
                ));
            }
        }
        let columns: Vec<usize> = columns
            .iter()
            .copied()
            .filter(|&c| moments.spread[c] == Spread::Varies)
            .collect();
        if columns.is_empty() {
            return Err(Error::invalid(
                "neurons of a probe",
                "none of them varies over the training samples",
                "Choose neurons that are not constant; `neurosieve inspect` lists those that are",
            ));
        }
        Ok(Self {
            z: moments::standardise(backend, x, moments, &columns)?,
            mean: columns.iter().map(|&c| moments.mean[c]).collect(),
            sd: columns.iter().map(|&c| moments.sd[c]).collect(),
            columns,
            neurons,
        })
    }

    /// The standardised activations, N × d.
    pub fn z(&self) -> ArrayView2<'_, f32> {
        self.z.view()
    }

    /// Ids of the d neurons that are in.
    pub fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// Number of samples N.
    pub fn samples(&self) -> usize {
        self.z.nrows()
    }

    /// Number of neurons D of the activations that the design was taken from.
    pub fn neurons(&self) -> usize {
        self.neurons
    }

    /// Bytes of the standardised activations.
    pub fn bytes(&self) -> u64 {
        4 * self.z.len() as u64
    }

    /// Mean of each neuron that is in, on train.
    pub(super) fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// Standard deviation of each neuron that is in, on train.
    pub(super) fn sd(&self) -> &[f64] {
        &self.sd
    }

    /// A copy of the columns at some positions, contiguous by row.
    pub(super) fn select(&self, positions: &[usize]) -> Array2<f32> {
        let mut out = Array2::zeros((self.samples(), positions.len()));
        for (mut out, z) in out.rows_mut().into_iter().zip(self.z.rows()) {
            for (out, &position) in out.iter_mut().zip(positions) {
                *out = z[position];
            }
        }
        out
    }
}
