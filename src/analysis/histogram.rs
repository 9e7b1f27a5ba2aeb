//! How a neuron's activations are spread, by class.

use ndarray::{Array2, ArrayView1};

use crate::error::{Error, Result};
use crate::labels::Labels;

/// Counts of a neuron's activations in bins of equal width.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    /// The smallest value: the lower end of the first bin.
    pub low: f32,
    /// The largest value: the upper end of the last bin, which includes it.
    pub high: f32,
    /// Classes × bins.
    pub counts: Array2<u32>,
}

/// Counts `values`, one a sample, in `bins` bins from the smallest to the largest; in the first one where all are
/// equal.
///
/// # Errors
/// When values and labels differ in number, there is no bin, or a value is not finite.
pub fn histogram(values: ArrayView1<'_, f32>, labels: &Labels, bins: usize) -> Result<Histogram> {
    let finite = values.iter().all(|value| value.is_finite());
    if values.len() != labels.len() || bins == 0 || !finite {
        return Err(Error::invalid(
            "histogram",
            format!(
                "{} values (all finite: {finite}) with {} labels in {bins} bins",
                values.len(),
                labels.len()
            ),
            "Give one finite value and one label for every sample, and at least one bin",
        ));
    }
    let low = values.iter().copied().fold(f32::INFINITY, f32::min);
    let high = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    // In f64, where the range of f32 cannot overflow.
    let width = (f64::from(high) - f64::from(low)) / bins as f64;
    let mut counts = Array2::zeros((labels.classes().len(), bins));
    for (value, class) in values.iter().zip(labels.ids()) {
        let bin = match width > 0.0 {
            true => ((f64::from(*value) - f64::from(low)) / width) as usize,
            false => 0,
        };
        counts[(*class as usize, bin.min(bins - 1))] += 1;
    }
    Ok(Histogram { low, high, counts })
}
