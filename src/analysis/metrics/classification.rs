//! Metrics of predicted classes.

use ndarray::{Array2, ArrayView2};

use super::Estimate;
use crate::analysis::bootstrap::{self, Units};
use crate::analysis::uncertainty::wilson;
use crate::error::{Error, Result};
use crate::labels::Labels;

/// Smallest log-probability that enters a log-loss: the logarithm of f64's epsilon, as in scikit-learn. A probe gives
/// probability 0 to a class that train lacks, and one such sample would make the mean infinite.
pub const LOG_FLOOR: f64 = -36.043_653_389_117_15;

/// How good predicted classes are.
///
/// With n_ab samples of class a that were answered with b, of N samples and C classes, row sums t_a (support) and column
/// sums p_b:
/// - accuracy `Σ n_aa / N`
/// - precision of c `n_cc / p_c`, recall `n_cc / t_c`, F1 `2·n_cc / (t_c + p_c)`
/// - macro-F1: the plain mean of F1 over the classes that occur among labels or predictions
/// - MCC (Gorodkin 2004, R_K; Matthews 1975 for two classes)
///   `(N·Σ n_aa − Σ t_c·p_c) / √((N² − Σ p_c²)(N² − Σ t_c²))`, 0 where labels or predictions are all of one class
/// - log-loss: the mean of `−ln p` of each sample's class, natural logarithm, floored at [`LOG_FLOOR`]
///
/// Edge cases: precision is undefined for a class that is never predicted, recall for one without samples, F1 for one
/// that is neither; a class with samples that is never predicted has F1 = 0 and counts in macro-F1. A draw of the
/// bootstrap that lacks a rare class altogether leaves it out of its macro-F1, so where a probe fails on rare classes the
/// interval reaches further up than down.
#[derive(Debug, Clone, PartialEq)]
pub struct Classification {
    /// Number of samples N.
    pub samples: usize,
    /// Share of samples that are right; Wilson's interval.
    pub accuracy: Estimate,
    /// Mean F1 of the classes; bootstrap.
    pub macro_f1: Estimate,
    /// Matthews' correlation coefficient, −1 to 1; bootstrap.
    pub mcc: Estimate,
    /// Mean −ln p of the samples' classes; bootstrap.
    pub log_loss: Estimate,
    /// One entry a class, in id order.
    pub per_class: Vec<ClassMetrics>,
    /// C × C counts: row = class of the label, column = class of the prediction.
    pub confusion: Array2<usize>,
}

/// How good predictions of one class are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClassMetrics {
    /// Share of the samples answered with this class that are of it; Wilson's interval. `None`: never answered.
    pub precision: Option<Estimate>,
    /// Share of this class's samples that were answered with it; Wilson's interval. `None`: no samples.
    pub recall: Option<Estimate>,
    /// Harmonic mean of the two; bootstrap. `None`: neither samples nor answers.
    pub f1: Option<Estimate>,
    /// Samples of this class.
    pub support: usize,
}

impl Classification {
    /// Judges `predicted` class ids and the log-probabilities (N × C, natural logarithm) that they come from by `labels`;
    /// the bootstrap draws `units` under `seed`.
    ///
    /// # Errors
    /// When the inputs differ in samples or classes, a prediction is no class, or a log-probability is NaN or positive.
    pub fn of(
        labels: &Labels,
        predicted: &[u32],
        log_probabilities: ArrayView2<'_, f64>,
        units: &Units,
        seed: u64,
    ) -> Result<Self> {
        let classes = labels.classes().len();
        check(labels, predicted, log_probabilities, units)?;
        let losses = sample_losses(labels, log_probabilities);
        let cells: Vec<(usize, usize)> = labels
            .ids()
            .iter()
            .zip(predicted)
            .map(|(&label, &answer)| (label as usize, answer as usize))
            .collect();
        let counted = |times: &[u32]| {
            let mut counts = Counts::new(classes);
            let mut loss = 0.0;
            for ((cell, sample), &times) in cells.iter().zip(&losses).zip(times) {
                counts.confusion[*cell] += times as usize;
                loss += sample * f64::from(times);
            }
            (counts, loss)
        };
        let (counts, loss) = counted(&vec![1; cells.len()]);
        let resampled = bootstrap::intervals(units, seed, |times| {
            let (counts, loss) = counted(times);
            let drawn: u32 = times.iter().sum();
            let mut figures = vec![
                Some(counts.macro_f1()),
                Some(counts.mcc()),
                Some(loss / f64::from(drawn)),
            ];
            figures.extend((0..classes).map(|class| counts.f1(class)));
            figures
        });
        let estimate = |value, which: usize| Estimate {
            value,
            interval: resampled[which],
        };
        let per_class = (0..classes)
            .map(|class| ClassMetrics {
                precision: share(counts.right(class), counts.answered(class)),
                recall: share(counts.right(class), counts.support(class)),
                f1: counts.f1(class).map(|value| estimate(value, 3 + class)),
                support: counts.support(class),
            })
            .collect();
        let right = (0..classes).map(|class| counts.right(class)).sum();
        Ok(Self {
            samples: cells.len(),
            accuracy: share(right, cells.len()).expect("labels are never empty"),
            macro_f1: estimate(counts.macro_f1(), 0),
            mcc: estimate(counts.mcc(), 1),
            log_loss: estimate(loss / cells.len() as f64, 2),
            per_class,
            confusion: counts.confusion,
        })
    }
}

/// `−ln p` of each sample's class, floored as [`LOG_FLOOR`] says; labels and log-probabilities must agree in samples.
pub fn sample_losses(labels: &Labels, log_probabilities: ArrayView2<'_, f64>) -> Vec<f64> {
    let rows = log_probabilities.rows().into_iter();
    rows.zip(labels.ids())
        .map(|(row, &class)| -row[class as usize].max(LOG_FLOOR))
        .collect()
}

/// `part` of `whole` with Wilson's interval; `None` of nothing.
fn share(part: usize, whole: usize) -> Option<Estimate> {
    (whole > 0).then(|| Estimate {
        value: part as f64 / whole as f64,
        interval: Some(wilson(part, whole)),
    })
}

/// The confusion matrix and what follows from it.
struct Counts {
    confusion: Array2<usize>,
}

impl Counts {
    fn new(classes: usize) -> Self {
        Self {
            confusion: Array2::zeros((classes, classes)),
        }
    }

    fn right(&self, class: usize) -> usize {
        self.confusion[(class, class)]
    }

    fn support(&self, class: usize) -> usize {
        self.confusion.row(class).sum()
    }

    fn answered(&self, class: usize) -> usize {
        self.confusion.column(class).sum()
    }

    fn classes(&self) -> std::ops::Range<usize> {
        0..self.confusion.nrows()
    }

    fn f1(&self, class: usize) -> Option<f64> {
        let both = self.support(class) + self.answered(class);
        (both > 0).then(|| 2.0 * self.right(class) as f64 / both as f64)
    }

    fn macro_f1(&self) -> f64 {
        let occurring: Vec<f64> = self.classes().filter_map(|class| self.f1(class)).collect();
        occurring.iter().sum::<f64>() / occurring.len() as f64
    }

    fn mcc(&self) -> f64 {
        let sum = |of: &dyn Fn(usize) -> f64| self.classes().map(of).sum::<f64>();
        let support = |class| self.support(class) as f64;
        let answered = |class| self.answered(class) as f64;
        let n = sum(&support);
        let right = sum(&|class| self.right(class) as f64);
        let covariance = n * right - sum(&|class| support(class) * answered(class));
        let variances = (n * n - sum(&|class| answered(class).powi(2)))
            * (n * n - sum(&|class| support(class).powi(2)));
        if variances > 0.0 {
            covariance / variances.sqrt()
        } else {
            0.0
        }
    }
}

fn check(
    labels: &Labels,
    predicted: &[u32],
    log_probabilities: ArrayView2<'_, f64>,
    units: &Units,
) -> Result<()> {
    let (samples, classes) = (labels.len(), labels.classes().len());
    let agree = predicted.len() == samples
        && log_probabilities.dim() == (samples, classes)
        && units.len() == samples;
    if !agree {
        return Err(Error::invalid(
            "metrics",
            format!(
                "{samples} labels of {classes} classes, {} predictions, {:?} log-probabilities, and sentences of {} samples",
                predicted.len(),
                log_probabilities.dim(),
                units.len()
            ),
            "Give one label, one prediction and one log-probability a class for every sample",
        ));
    }
    if let Some((row, id)) = (0..)
        .zip(predicted)
        .find(|(_, id): &(usize, _)| **id as usize >= classes)
    {
        return Err(Error::invalid(
            "metrics",
            format!("the prediction of sample {row} is class {id} of {classes}"),
            "Predict ids of the classes that the labels have",
        ));
    }
    // Rounding may lift the logarithm of 1 a little above 0.
    let possible = |value: f64| value <= 1e-6;
    if let Some(((row, class), value)) = log_probabilities
        .indexed_iter()
        .find(|(_, value)| !possible(**value))
    {
        return Err(Error::invalid(
            "metrics",
            format!("the log-probability of class {class} of sample {row} is {value}"),
            "A logarithm of a probability is at most 0",
        ));
    }
    Ok(())
}
