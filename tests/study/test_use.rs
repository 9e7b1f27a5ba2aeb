//! Test is read after the last choice: other test data change figures of test and nothing else.

use ndarray::{Array2, Axis};
use neurosieve::labels::Labels;
use neurosieve::split::{Dataset, Split, Tokens};
use neurosieve::study::{self, results::StudyResults};
use neurosieve::{Activations, Backend};
use rand::RngExt;
use rand::seq::SliceRandom;
use serde_json::Value;

use super::{data, device, quick};
use crate::support::{normal, random};

/// Fields of `results.json` that hold figures of test, whatever they are in.
const OF_TEST: [&str; 17] = [
    "test",
    "test_accuracy",
    "test_interval",
    "test_recall",
    "majority_accuracy",
    "above_chance",
    "against_oracle",
    "selectivity",
    "accuracies",
    "accuracy",
    "spread",
    "seen_in_train",
    "correct",
    "total",
    "warnings",
    "timings",
    "files",
];

/// A document without the fields of test.
fn choices(mut value: Value) -> Value {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                fields.retain(|name, _| !OF_TEST.contains(&name.as_str()));
                fields.values_mut().for_each(strip);
            }
            Value::Array(items) => items.iter_mut().for_each(strip),
            _ => {}
        }
    }
    strip(&mut value);
    value
}

fn study(data: &Dataset) -> Value {
    let mut spec = quick();
    spec.minimal_set.deltas = vec![0.05, 0.01];
    let results: StudyResults =
        study::run_on(&spec, data, &Backend::Cpu, device("cpu"), &mut |_| {}).expect("it runs");
    assert_eq!(results.test_use.choices_after, 0);
    serde_json::to_value(results).expect("results are JSON")
}

/// Noise instead of activations, shuffled labels, other words, and fewer samples.
fn nonsense(part: &Split) -> Split {
    let mut generator = random(4);
    let samples = part.activations.samples() - 40;
    let shape = (samples, part.activations.neurons());
    let x = Array2::from_shape_simple_fn(shape, || 3.0 * normal(&mut generator) as f32);
    let labels = part.labels.iter().map(|labels| {
        let mut ids = labels.ids().to_vec();
        ids.shuffle(&mut generator);
        ids.truncate(samples);
        Labels::new(ids, labels.classes().to_vec()).expect("the same classes")
    });
    let labels = labels.collect();
    let words = (0..samples).map(|_| format!("other{}", generator.random_range(0..9)));
    Split {
        activations: Activations::new(x, part.activations.layers().clone()).expect("finite"),
        labels,
        tokens: Some(Tokens {
            words: words.collect(),
            sentences: vec![0; samples],
        }),
    }
}

/// The data with one task, and another test or dev.
fn with(test: Option<Split>, dev: Option<Split>) -> Dataset {
    let read = data();
    let task = read.tasks().iter().position(|name| name == "coarse");
    let one = |part: &Split| Split {
        labels: vec![part.labels[task.expect("the task is there")].clone()],
        ..part.clone()
    };
    Dataset::new(
        vec!["coarse".to_owned()],
        one(read.train()),
        one(&dev.unwrap_or_else(|| read.dev().clone())),
        one(&test.unwrap_or_else(|| read.test().clone())),
    )
    .expect("the parts agree")
}

#[test]
fn other_test_data_change_no_choice() {
    let real = study(&with(None, None));
    let other = study(&with(Some(nonsense(data().test())), None));
    assert_ne!(
        real["tasks"][0]["oracle"]["test_accuracy"], other["tasks"][0]["oracle"]["test_accuracy"],
        "the figures of test do change"
    );
    let (real, other) = (choices(real), choices(other));
    assert!(
        real["tasks"][0]["minimal_sets"][0]["neurons"].is_array(),
        "what was chosen is compared"
    );
    assert_eq!(real, other, "test had a part in a choice");
}

#[test]
fn other_dev_data_do_change_choices() {
    // The control of the test above: what is compared is able to differ.
    let read = data();
    let mut shuffled = read.dev().clone();
    let rows: Vec<usize> = (0..shuffled.activations.samples()).rev().collect();
    let x = shuffled.activations.view().select(Axis(0), &rows);
    let layers = shuffled.activations.layers().clone();
    shuffled.activations = Activations::new(x, layers).expect("finite");
    let real = choices(study(&with(None, None)));
    assert_ne!(real, choices(study(&with(None, Some(shuffled)))));
}

#[test]
fn every_probe_whose_test_accuracy_is_shown_is_counted() {
    for task in &super::results().tasks {
        let uses = &super::results().test_use.evaluated;
        let probes = |what: &str| {
            let found = uses.iter().find(|e| e.task == task.name && e.what == what);
            found.map_or(0, |e| e.probes)
        };
        let layers = &task.layers;
        let draws = task.control.as_ref().map_or(0, |control| control.draws);
        assert_eq!(probes("oracle"), 1);
        assert_eq!(
            probes("layers"),
            layers.independent.len() + layers.cumulative.len()
        );
        assert_eq!(
            probes("control tasks"),
            draws * (1 + layers.independent.len())
        );
        assert_eq!(probes("minimal sets"), task.minimal_sets.len());
        assert_eq!(
            probes("control tasks on minimal sets"),
            draws * task.minimal_sets.len()
        );
        assert_eq!(probes("combined sets"), task.combined.len());
    }
    let used = &super::results().test_use;
    let sum: usize = used.evaluated.iter().map(|e| e.probes).sum();
    assert_eq!(sum, used.probes);
}
