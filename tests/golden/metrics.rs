//! Metrics as scikit-learn and SciPy compute them, and bootstrap intervals as NumPy draws them (`generate_metrics.py`).

use std::collections::BTreeMap;

use ndarray::Array2;
use neurosieve::analysis::bootstrap::Units;
use neurosieve::analysis::metrics::{Classification, Estimate, Regression};
use neurosieve::analysis::uncertainty::wilson;
use neurosieve::labels::Labels;
use serde::Deserialize;

use super::json;
use crate::support::assert_close;

/// 2.5 % and 97.5 % quantiles of 100,000 draws, and their standard deviation at 1,000 draws.
type Ends = BTreeMap<String, [f64; 4]>;

#[derive(Deserialize)]
struct Golden {
    classification: Vec<ClassCase>,
    regression: Vec<ValueCase>,
}

#[derive(Deserialize)]
struct ClassCase {
    labels: Vec<u32>,
    predicted: Vec<u32>,
    log_probabilities: Vec<Vec<f64>>,
    classes: usize,
    accuracy: f64,
    macro_f1: f64,
    mcc: f64,
    log_loss: f64,
    confusion: Vec<Vec<usize>>,
    support: Vec<usize>,
    precision: Vec<Option<f64>>,
    recall: Vec<Option<f64>>,
    f1: Vec<Option<f64>>,
    /// Over samples, over sentences.
    #[serde(default)]
    intervals: Vec<Ends>,
    #[serde(default)]
    sentences: Vec<u32>,
}

#[derive(Deserialize)]
struct ValueCase {
    labels: Vec<f64>,
    predicted: Vec<f64>,
    mse: f64,
    r2: Option<f64>,
    pearson: Option<f64>,
    spearman: Option<f64>,
    #[serde(default)]
    intervals: Ends,
}

fn classified(case: &ClassCase, units: &Units, seed: u64) -> Classification {
    let names = (0..case.classes).map(|c| c.to_string()).collect();
    let labels = Labels::new(case.labels.clone(), names).expect("every id has a name");
    let flat = case.log_probabilities.concat();
    let log_p = Array2::from_shape_vec((labels.len(), case.classes), flat).expect("C a sample");
    Classification::of(&labels, &case.predicted, log_p.view(), units, seed).expect("valid input")
}

#[track_caller]
fn assert_same(what: &str, got: Option<f64>, expected: Option<f64>) {
    match (got, expected) {
        (Some(got), Some(expected)) => {
            assert_close(what, got, expected, 1e-12 * expected.abs().max(1.0));
        }
        (None, None) => {}
        _ => panic!("{what}: {got:?} instead of {expected:?}"),
    }
}

#[test]
fn metrics_of_classes_are_scikit_learns() {
    let cases = json::<Golden>("metrics.json").classification;
    assert_eq!(cases.len(), 7);
    for (at, case) in cases.iter().enumerate() {
        let got = classified(case, &Units::samples(case.labels.len()), 0);
        let what = |figure: &str| format!("{figure} of case {at}");
        for (figure, got, expected) in [
            ("accuracy", got.accuracy, case.accuracy),
            ("macro-F1", got.macro_f1, case.macro_f1),
            ("MCC", got.mcc, case.mcc),
        ] {
            assert_same(&what(figure), Some(got.value), Some(expected));
        }
        // scikit-learn takes probabilities and clips them, so it sees the logarithms rounded.
        assert_close(&what("log-loss"), got.log_loss.value, case.log_loss, 1e-10);
        let confusion: Vec<Vec<usize>> = got
            .confusion
            .rows()
            .into_iter()
            .map(|r| r.to_vec())
            .collect();
        assert_eq!(confusion, case.confusion, "case {at}");
        for (class, of) in got.per_class.iter().enumerate() {
            let value = |estimate: Option<Estimate>| estimate.map(|e| e.value);
            assert_eq!(of.support, case.support[class]);
            assert_same(
                &what("precision"),
                value(of.precision),
                case.precision[class],
            );
            assert_same(&what("recall"), value(of.recall), case.recall[class]);
            assert_same(&what("F1"), value(of.f1), case.f1[class]);
        }
        let right = got.confusion.diag().sum();
        assert_eq!(got.accuracy.interval, Some(wilson(right, got.samples)));
    }
}

#[test]
fn metrics_of_values_are_scikit_learns_and_scipys() {
    let cases = json::<Golden>("metrics.json").regression;
    assert_eq!(cases.len(), 7);
    for (at, case) in cases.iter().enumerate() {
        let units = Units::samples(case.labels.len());
        let got = Regression::of(&case.labels, &case.predicted, &units, 0).expect("valid input");
        let value = |estimate: Option<Estimate>| estimate.map(|e| e.value);
        assert_same(
            &format!("MSE of case {at}"),
            Some(got.mse.value),
            Some(case.mse),
        );
        // The last case has a spread of 1e-9 of its mean: f64 leaves 1e-7 of it.
        let close = |what: &str, got: Option<f64>, expected: Option<f64>| {
            assert_eq!(got.is_some(), expected.is_some(), "{what} of case {at}");
            if let (Some(got), Some(expected)) = (got, expected) {
                assert_close(&format!("{what} of case {at}"), got, expected, 1e-6);
            }
        };
        close("R²", value(got.r2), case.r2);
        close("r", value(got.pearson), case.pearson);
        assert_same(
            &format!("ρ of case {at}"),
            value(got.spearman),
            case.spearman,
        );
    }
}

/// An end of an interval from our 1,000 draws is one from 100,000 of NumPy's within 4 standard deviations.
#[track_caller]
fn assert_drawn(name: &str, got: Option<[f64; 2]>, ends: &Ends) {
    let [low, high, low_sd, high_sd] = ends[name];
    let got = got.expect("an interval");
    assert_close(&format!("lower end of {name}"), got[0], low, 4.0 * low_sd);
    assert_close(&format!("upper end of {name}"), got[1], high, 4.0 * high_sd);
}

#[test]
fn bootstrap_intervals_are_numpys() {
    let golden = json::<Golden>("metrics.json");
    let case = &golden.classification[0];
    let sentences = Units::sentences(&case.sentences).expect("ascending");
    assert_eq!((sentences.count(), sentences.len()), (25, 150));
    for (units, ends) in [Units::samples(150), sentences].iter().zip(&case.intervals) {
        let got = classified(case, units, 5);
        assert_drawn("macro_f1", got.macro_f1.interval, ends);
        assert_drawn("mcc", got.mcc.interval, ends);
        assert_drawn("log_loss", got.log_loss.interval, ends);
    }
    for case in &golden.regression[..2] {
        let units = Units::samples(case.labels.len());
        let got = Regression::of(&case.labels, &case.predicted, &units, 6).expect("valid input");
        assert_drawn("mse", got.mse.interval, &case.intervals);
        for (name, estimate) in [
            ("r2", got.r2),
            ("pearson", got.pearson),
            ("spearman", got.spearman),
        ] {
            assert_drawn(name, estimate.expect("defined").interval, &case.intervals);
        }
    }
}

#[test]
fn a_wider_interval_is_told_from_numpys() {
    // Negative control of the tolerance: the interval over sentences is not the one over samples.
    let case = &json::<Golden>("metrics.json").classification[0];
    let [over_samples, over_sentences] = [0, 1].map(|at| case.intervals[at]["log_loss"]);
    let apart = (0..2)
        .any(|end| (over_samples[end] - over_sentences[end]).abs() > 4.0 * over_samples[end + 2]);
    assert!(apart, "{over_samples:?} {over_sentences:?}");
}
