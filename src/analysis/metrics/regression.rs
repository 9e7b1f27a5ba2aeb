//! Metrics of predicted values.

use super::Estimate;
use crate::analysis::bootstrap::{self, Units};
use crate::error::{Error, Result};

/// How good predicted values ŷ of labels y are.
///
/// - MSE `mean (ŷ − y)²`
/// - R² `1 − Σ(ŷ − y)² / Σ(y − ȳ)²`; below 0 where ȳ would predict better
/// - Pearson's r of ŷ and y; Spearman's ρ: Pearson's r of their ranks, equal values sharing their mean rank
///
/// Edge cases: R² is undefined where all labels are equal, r and ρ where all labels or all predictions are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Regression {
    /// Number of samples N.
    pub samples: usize,
    /// Mean squared error, in the labels' unit squared; bootstrap.
    pub mse: Estimate,
    /// Share of the labels' variance that is explained; bootstrap.
    pub r2: Option<Estimate>,
    /// Pearson's r; bootstrap.
    pub pearson: Option<Estimate>,
    /// Spearman's ρ; bootstrap.
    pub spearman: Option<Estimate>,
}

impl Regression {
    /// Judges `predicted` values by `labels`; the bootstrap draws `units` under `seed`.
    ///
    /// # Errors
    /// When there are no samples, the inputs differ in number, or a value is not finite.
    pub fn of(labels: &[f64], predicted: &[f64], units: &Units, seed: u64) -> Result<Self> {
        check(labels, predicted, units)?;
        let (label_order, predicted_order) = (order(labels), order(predicted));
        let figures = |times: &[u32]| {
            let ranks = [(labels, &label_order), (predicted, &predicted_order)]
                .map(|(values, order)| ranks(values, order, times));
            let (mse, r2) = errors(labels, predicted, times);
            vec![
                Some(mse),
                r2,
                pearson(labels, predicted, times),
                pearson(&ranks[0], &ranks[1], times),
            ]
        };
        let values = figures(&vec![1; labels.len()]);
        let resampled = bootstrap::intervals(units, seed, figures);
        let estimate = |which: usize| {
            values[which].map(|value| Estimate {
                value,
                interval: resampled[which],
            })
        };
        Ok(Self {
            samples: labels.len(),
            mse: estimate(0).expect("a mean square is always defined"),
            r2: estimate(1),
            pearson: estimate(2),
            spearman: estimate(3),
        })
    }
}

/// Pearson's and Spearman's correlation of two lists of values; `None` where one of them does not vary.
///
/// # Errors
/// When there are no samples, the lists differ in length, or a value is not finite.
pub fn correlations(labels: &[f64], predicted: &[f64]) -> Result<[Option<f64>; 2]> {
    check(labels, predicted, &Units::samples(labels.len()))?;
    let times = vec![1; labels.len()];
    let [label_ranks, predicted_ranks] =
        [labels, predicted].map(|values| ranks(values, &order(values), &times));
    Ok([
        pearson(labels, predicted, &times),
        pearson(&label_ranks, &predicted_ranks, &times),
    ])
}

/// Mean of values that count `times`.
fn mean(values: &[f64], times: &[u32]) -> f64 {
    let n: f64 = times.iter().map(|&t| f64::from(t)).sum();
    let sum: f64 = values
        .iter()
        .zip(times)
        .map(|(v, &t)| v * f64::from(t))
        .sum();
    sum / n
}

/// Whether all values that count are the same.
fn constant(values: &[f64], times: &[u32]) -> bool {
    let mut counted = values.iter().zip(times).filter(|(_, times)| **times > 0);
    let first = counted.next();
    counted.all(|(value, _)| first.is_none_or(|(first, _)| value == first))
}

/// MSE and R².
fn errors(labels: &[f64], predicted: &[f64], times: &[u32]) -> (f64, Option<f64>) {
    let squares = |of: &dyn Fn(usize) -> f64| -> f64 {
        (0..labels.len())
            .map(|at| of(at).powi(2) * f64::from(times[at]))
            .sum()
    };
    let centre = mean(labels, times);
    let residual = squares(&|at| predicted[at] - labels[at]);
    let total = squares(&|at| labels[at] - centre);
    let n: f64 = times.iter().map(|&t| f64::from(t)).sum();
    let r2 = (!constant(labels, times) && total > 0.0).then(|| 1.0 - residual / total);
    (residual / n, r2)
}

fn pearson(a: &[f64], b: &[f64], times: &[u32]) -> Option<f64> {
    if constant(a, times) || constant(b, times) {
        return None;
    }
    let (centre_a, centre_b) = (mean(a, times), mean(b, times));
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for ((a, b), &times) in a.iter().zip(b).zip(times) {
        let (a, b, times) = (a - centre_a, b - centre_b, f64::from(times));
        ab += times * a * b;
        aa += times * a * a;
        bb += times * b * b;
    }
    // Two roots: the product of two small sums of squares may be 0.
    let r = ab / (aa.sqrt() * bb.sqrt());
    r.is_finite().then(|| r.clamp(-1.0, 1.0))
}

/// Places of the values, ascending.
fn order(values: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    order
}

/// Rank of each value among values that count `times`, from 1; equal values share their mean rank. Linear, since the
/// order is known: a draw of the bootstrap changes the counts, not the order.
fn ranks(values: &[f64], order: &[usize], times: &[u32]) -> Vec<f64> {
    let mut ranks = vec![0.0; values.len()];
    let mut before = 0.0;
    for equal in order.chunk_by(|&a, &b| values[a] == values[b]) {
        let together: f64 = equal.iter().map(|&at| f64::from(times[at])).sum();
        for &at in equal {
            ranks[at] = before + (together + 1.0) / 2.0;
        }
        before += together;
    }
    ranks
}

fn check(labels: &[f64], predicted: &[f64], units: &Units) -> Result<()> {
    let samples = labels.len();
    if samples == 0 || predicted.len() != samples || units.len() != samples {
        return Err(Error::invalid(
            "metrics",
            format!(
                "{samples} labels, {} predictions, and sentences of {} samples",
                predicted.len(),
                units.len()
            ),
            "Give one label and one prediction for every sample, at least one",
        ));
    }
    for (name, values) in [("label", labels), ("prediction", predicted)] {
        if let Some((row, value)) = (0..).zip(values).find(|(_, v): &(usize, _)| !v.is_finite()) {
            return Err(Error::invalid(
                "metrics",
                format!("the {name} of sample {row} is {value}"),
                "Values must be finite",
            ));
        }
    }
    Ok(())
}
