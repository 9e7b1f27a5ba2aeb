//! Predictions: what a probe answers for raw activations, and how sure it is.

use ndarray::{Array2, ArrayView2, Axis};

use crate::error::{Error, Result};
use crate::ops::probe::Fit;

/// What a probe answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Predictions {
    /// The class of each sample: the first of the largest logits, as [`Fit::predict`].
    pub classes: Vec<u32>,
    /// Natural logarithm of each class's probability, N × C.
    pub log_probabilities: Array2<f64>,
}

/// Predictions of a probe for the rows of `x` (raw activations, N × D). Logits are f32, their softmax f64.
///
/// # Errors
/// When the probe was fitted on another number of neurons.
pub fn predict(fit: &Fit, x: ArrayView2<'_, f32>) -> Result<Predictions> {
    if x.ncols() != fit.weights.ncols() {
        return Err(Error::invalid(
            "samples to predict",
            format!(
                "activations of {} neurons for a probe of {}",
                x.ncols(),
                fit.weights.ncols()
            ),
            "Give the neurons that the probe was fitted on",
        ));
    }
    let mut logits = logits(fit, x);
    let classes = logits
        .rows()
        .into_iter()
        .map(|row| first_of_the_largest(row.iter()))
        .collect();
    let mut log_probabilities = Array2::zeros(logits.dim());
    for (row, mut out) in logits
        .rows_mut()
        .into_iter()
        .zip(log_probabilities.rows_mut())
    {
        let largest = f64::from(row.fold(f32::NEG_INFINITY, |a, b| a.max(*b)));
        let sum: f64 = row.iter().map(|&z| (f64::from(z) - largest).exp()).sum();
        let normaliser = largest + sum.ln();
        for (out, &z) in out.iter_mut().zip(row.iter()) {
            *out = f64::from(z) - normaliser;
        }
    }
    Ok(Predictions {
        classes,
        log_probabilities,
    })
}

/// W·x + b for each row. A probe on a handful of neurons reads only those.
fn logits(fit: &Fit, x: ArrayView2<'_, f32>) -> Array2<f32> {
    match in_use(fit) {
        Some((used, small)) => small.predictions(x.select(Axis(1), &used).view()),
        None => fit.predictions(x),
    }
}

/// The ids of the neurons that have weight, and the probe on them alone (without standardised weights), where they are
/// fewer than a quarter: then it is worth picking them out of the samples.
pub(super) fn in_use(fit: &Fit) -> Option<(Vec<usize>, Fit)> {
    let neurons = fit.weights.ncols();
    let used: Vec<usize> = (0..neurons)
        .filter(|&n| fit.weights.column(n).iter().any(|w| *w != 0.0))
        .collect();
    if used.len() * 4 >= neurons {
        return None;
    }
    let small = Fit {
        weights: fit.weights.select(Axis(1), &used),
        standardised: Array2::zeros((0, 0)),
        bias: fit.bias.clone(),
        trace: Vec::new(),
        ..*fit
    };
    Some((used, small))
}

pub(super) fn first_of_the_largest<'a>(logits: impl Iterator<Item = &'a f32>) -> u32 {
    let mut best = (0, f32::NEG_INFINITY);
    for (class, &logit) in (0..).zip(logits) {
        if logit > best.1 {
            best = (class, logit);
        }
    }
    best.0
}
