//! The design: a standardised copy of the neurons that a batch of probes sees.

use ndarray::{Array1, Array2, ArrayView2, Axis};

use super::PenaltyScale;
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

    /// What λ1 is multiplied by for each row of the coefficients (0 for the intercept): 1, or 1/sd for a penalty on raw
    /// coefficients, since w_raw = w / sd. λ2 takes the square.
    pub(super) fn penalty_rows(&self, scale: PenaltyScale) -> Vec<f64> {
        let row = |sd: &f64| match scale {
            PenaltyScale::Standardised => 1.0,
            PenaltyScale::Raw => 1.0 / sd,
        };
        std::iter::once(0.0)
            .chain(self.sd.iter().map(row))
            .collect()
    }

    /// Coefficients (d + 1) × |classes| on standardised activations, intercept first → C × D standardised, C × D raw and
    /// C biases, with `absent` as the bias of classes that are not in `classes`.
    pub(super) fn expand(
        &self,
        theta: ArrayView2<'_, f32>,
        classes: &[u32],
        all_classes: usize,
        absent: f32,
    ) -> (Array2<f32>, Array2<f32>, Array1<f32>) {
        let mut standardised = Array2::zeros((all_classes, self.neurons));
        let mut raw = Array2::zeros((all_classes, self.neurons));
        let mut bias = Array1::from_elem(all_classes, absent);
        for (from, &class) in classes.iter().enumerate() {
            let class = class as usize;
            let mut b = f64::from(theta[(0, from)]);
            for (row, &column) in self.columns.iter().enumerate() {
                let w = theta[(row + 1, from)];
                let w_raw = f64::from(w) / self.sd[row];
                standardised[(class, column)] = w;
                raw[(class, column)] = w_raw as f32;
                b -= w_raw * self.mean[row];
            }
            bias[class] = b as f32;
        }
        (standardised, raw, bias)
    }

    /// The inverse of [`Design::expand`] for a start: (d + 1) × |classes| on standardised activations.
    pub(super) fn collapse(&self, fit: &super::Fit, classes: &[u32]) -> Array2<f32> {
        let mut theta = Array2::zeros((self.columns.len() + 1, classes.len()));
        for (to, &class) in classes.iter().enumerate() {
            let weights = fit.standardised.index_axis(Axis(0), class as usize);
            let raw = fit.weights.index_axis(Axis(0), class as usize);
            let mut b = f64::from(fit.bias[class as usize]).max(-30.0);
            for (row, &column) in self.columns.iter().enumerate() {
                theta[(row + 1, to)] = weights[column];
                b += f64::from(raw[column]) * self.mean[row];
            }
            theta[(0, to)] = b as f32;
        }
        theta
    }
}
