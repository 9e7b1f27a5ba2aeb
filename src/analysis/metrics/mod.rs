//! Metrics: how good are predictions, each figure with its 95 % interval.
//!
//! [`Classification`] for classes, [`Regression`] for values. Shares of independent trials (accuracy, precision, recall)
//! have Wilson's interval ([`wilson`](super::uncertainty::wilson)), all others the seeded [`bootstrap`](super::bootstrap)
//! over samples, or over sentences where they are known. Wilson's takes the samples of a sentence for independent.
//!
//! Values and conventions are scikit-learn's and SciPy's (`tests/golden/metrics.rs`), except that what is not defined has
//! no value here, where they answer 0, 1 or NaN.

mod classification;
mod regression;

pub use classification::{ClassMetrics, Classification, LOG_FLOOR, sample_losses};
pub use regression::{Regression, correlations};

/// A figure and how sure one can be of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The figure.
    pub value: f64,
    /// Its 95 % interval; `None` where the data say nothing of it (a single sample or sentence).
    pub interval: Option<[f64; 2]>,
}
