//! Frozen probes: chosen, and no longer changed. What it takes to judge them on samples that no choice may see.

use ndarray::{Array2, ArrayView2};

use super::predictions::{first_of_the_largest, in_use};
use crate::error::{Error, Result};
use crate::labels::Labels;
use crate::ops::probe::{Certificate, Fit};

/// A probe after every choice about it was made. It holds the weights of the neurons that have any, so that many of them
/// fit into memory until they are judged.
#[derive(Debug, Clone)]
pub struct Frozen {
    /// The probe on the neurons in use; without weights of the standardised scale.
    fit: Fit,
    /// Ids of the neurons in use; `None`: all.
    used: Option<Vec<usize>>,
    /// Neurons D of the activations.
    neurons: usize,
}

impl Frozen {
    /// Freezes a probe.
    pub fn of(fit: &Fit) -> Self {
        let neurons = fit.weights.ncols();
        let (fit, used) = match in_use(fit) {
            Some((used, small)) => (small, Some(used)),
            None => (
                Fit {
                    standardised: Array2::zeros((0, 0)),
                    trace: Vec::new(),
                    ..fit.clone()
                },
                None,
            ),
        };
        Self { fit, used, neurons }
    }

    /// Its penalty (λ1, λ2).
    pub fn penalty(&self) -> (f64, f64) {
        (self.fit.l1, self.fit.l2)
    }

    /// How near the optimum it is.
    pub fn certificate(&self) -> &Certificate {
        &self.fit.certificate
    }

    /// Which samples (rows of raw activations, N × D) it gets right.
    ///
    /// # Errors
    /// When rows and labels differ in number, or the activations are of other neurons.
    pub fn hits(&self, x: ArrayView2<'_, f32>, labels: &Labels) -> Result<Vec<bool>> {
        if x.nrows() != labels.len() || x.ncols() != self.neurons {
            return Err(Error::invalid(
                "samples to judge a probe on",
                format!(
                    "{} × {} activations and {} labels for a probe of {} neurons",
                    x.nrows(),
                    x.ncols(),
                    labels.len(),
                    self.neurons
                ),
                "Give one label for every row, and the neurons that the probe was fitted on",
            ));
        }
        let logits = match &self.used {
            Some(used) => {
                let of_used = x.select(ndarray::Axis(1), used);
                self.fit.predictions(of_used.view())
            }
            None => self.fit.predictions(x),
        };
        let right = logits.rows().into_iter().zip(labels.ids());
        Ok(right
            .map(|(row, &label)| first_of_the_largest(row.iter()) == label)
            .collect())
    }
}
