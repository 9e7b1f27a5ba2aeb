//! Whole studies of extreme data: results that can be written, read back and shown, or an error that says what is wrong.

use std::path::Path;

use ndarray::{Array2, Axis};
use neurosieve::labels::Labels;
use neurosieve::report;
use neurosieve::split::{Dataset, Split, Tokens};
use neurosieve::study::results::{DeviceUsed, StudyResults};
use neurosieve::study::{self, Spec};
use neurosieve::{Activations, Backend, LayerMap, Result};

use super::files::WORDS;
use super::sample;

const SPEC: &str = "[data]\ntrain = \"a\"\ndev = \"b\"\ntest = \"c\"\n[probe]\nlambda_ratios = [0.1, 0.01]\n[control]\ndraws = 1\n";

/// A part and its words.
fn part(x: Array2<f32>, labels: Labels, layers: usize) -> Result<Split> {
    let map = LayerMap::uniform(layers, x.ncols() / layers)?;
    let words = |row: usize| WORDS[row % WORDS.len()].to_owned();
    let tokens = Tokens {
        words: (0..x.nrows()).map(words).collect(),
        sentences: (0..x.nrows() as u32).map(|row| row / 4).collect(),
    };
    Ok(Split {
        activations: Activations::new(x, map)?,
        labels: vec![labels],
        tokens: Some(tokens),
    })
}

/// A study of data of some shape, each part of which is spoilt first.
fn studied(
    (samples, neurons, classes): (usize, usize, usize),
    spoil: impl Fn(&mut Array2<f32>),
) -> Result<StudyResults> {
    let layers = if neurons % 2 == 0 { 2 } else { 1 };
    let mut parts = Vec::new();
    for seed in 20..23 {
        let (mut x, labels) = sample(samples, neurons, classes, seed);
        spoil(&mut x);
        parts.push(part(x, labels, layers)?);
    }
    run(parts)
}

fn run(parts: Vec<Split>) -> Result<StudyResults> {
    let Ok([train, dev, test]) = <[Split; 3]>::try_from(parts) else {
        unreachable!("three parts")
    };
    let data = Dataset::new(vec!["colour".to_owned()], train, dev, test)?;
    let device = DeviceUsed {
        kind: "cpu".into(),
        name: "test".into(),
        driver: String::new(),
        reason: String::new(),
        validation: Vec::new(),
    };
    let spec = Spec::parse(SPEC, Path::new("study.toml"))?;
    let results = study::run_on(&spec, &data, &Backend::Cpu, device, &mut |_| {})?;
    // Every figure is finite, and all of it can be shown.
    let mut document = Vec::new();
    report::json::write(&results, &mut document)?;
    report::html::render(&results)?;
    report::csv::tables(&results)?;
    Ok(results)
}

#[test]
fn scale_changes_no_finding() {
    let figures = |results: &StudyResults| {
        let task = &results.tasks[0];
        (
            task.oracle.test_accuracy,
            task.rankings["lca"].order.clone(),
        )
    };
    let plain = figures(&studied((60, 4, 2), |_| ()).unwrap());
    assert!(plain.0 > 0.7);
    for by in [1e30, 1e-30] {
        let scaled = studied((60, 4, 2), |x| x.mapv_inplace(|v| v * by)).unwrap();
        assert_eq!(figures(&scaled), plain, "times {by}");
    }
}

#[test]
fn constant_and_duplicated_neurons_are_listed_and_put_together() {
    let results = studied((60, 6, 2), |x| {
        x.column_mut(2).fill(1e30);
        x.column_mut(3).fill(1e-42);
        let twin = x.column(0).to_owned();
        x.column_mut(4).assign(&twin);
    })
    .unwrap();
    assert_eq!(results.data.constant, [2, 3]);
    for cut in &results.clusters {
        assert_eq!(cut.labels[0], cut.labels[4], "twins are one cluster");
    }
}

#[test]
fn data_without_any_neuron_that_varies_are_studied_by_the_classes_shares() {
    let results = studied((60, 4, 2), |x| x.fill(7.0)).unwrap();
    let task = &results.tasks[0];
    assert_eq!(results.data.constant.len(), 4);
    assert!(!task.above_chance);
    assert_eq!(task.oracle.test_accuracy, task.majority_accuracy);
}

#[test]
fn one_neuron_and_one_sample_of_each_class_are_enough() {
    let results = studied((60, 1, 2), |_| ()).unwrap();
    assert_eq!(results.tasks[0].rankings["lca"].order, [0]);
    assert!(studied((2, 4, 2), |_| ()).is_ok());
}

#[test]
fn many_classes_are_studied() {
    let results = studied((120, 4, 40), |_| ()).unwrap();
    assert_eq!(results.tasks[0].classes.len(), 40);
}

#[test]
fn one_sample_or_one_class_of_train_is_refused() {
    for shape in [(1, 4, 1), (60, 4, 1)] {
        let error = studied(shape, |_| ()).unwrap_err().to_string();
        assert!(
            error.contains("train") && error.contains("at least two classes"),
            "{error}"
        );
    }
}

#[test]
fn dev_and_test_of_one_class_or_of_one_sample_are_legal() {
    let (x, labels) = sample(60, 4, 2, 30);
    let whole = || part(x.clone(), labels.clone(), 2).unwrap();
    let rows = |rows: &[usize]| {
        let ids = rows.iter().map(|&row| labels.ids()[row]).collect();
        let labels = Labels::new(ids, labels.classes().to_vec()).unwrap();
        part(x.select(Axis(0), rows), labels, 2).unwrap()
    };
    let first: Vec<usize> = (0..60).filter(|&row| labels.ids()[row] == 0).collect();
    for small in [&first[..], &first[..1]] {
        let results = run(vec![whole(), rows(small), rows(small)]).unwrap();
        assert_eq!(results.tasks[0].classes[1].samples.test, 0);
    }
}
