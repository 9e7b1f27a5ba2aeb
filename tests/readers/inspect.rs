//! The numbers behind `neurosieve inspect`.

use neurosieve::data::{inspect, read_labels};

use super::{assert_says, fixture, open};

#[test]
fn the_fixture_has_its_dead_neurons_and_its_classes() {
    let source = open(&fixture("python-tokens/train.safetensors"));
    let found = inspect(&source, &[]).unwrap();
    assert_eq!(
        (found.samples, found.neurons, found.dtype),
        (800, 336, "F16")
    );
    let dead: Vec<_> = found
        .constant
        .iter()
        .map(|c| (c.neuron, c.layer, c.unit, c.value))
        .collect();
    assert_eq!(dead, [(310, 6, 127, 0.0), (320, 6, 223, 0.0)]);
    assert_eq!((found.non_finite, found.first_non_finite), (0, vec![]));
    assert!(found.dead_layers.is_empty());
    let constant: Vec<usize> = found.layers.iter().map(|l| l.constant).collect();
    assert_eq!(constant, [0, 0, 0, 0, 0, 0, 2]);

    let names: Vec<&str> = found.tasks.iter().map(|t| t.name.as_str()).collect();
    assert_eq!(names, ["fine", "coarse", "control"]);
    for task in &found.tasks {
        assert_eq!(task.classes.iter().map(|c| c.samples).sum::<usize>(), 800);
    }
    let words = source.tokens().unwrap().unwrap();
    let last = *words.sentences.last().unwrap() as usize;
    assert_eq!(found.sentences, Some(last + 1));
}

#[test]
fn statistics_of_a_layer_are_those_of_all_its_values() {
    let source = open(&fixture("python-tokens/test.safetensors"));
    let found = inspect(&source, &[]).unwrap();
    let values = source.activations().unwrap();
    for summary in &found.layers {
        let columns = source.layers().columns(summary.layer);
        let values: Vec<f64> = columns
            .flat_map(|column| values.view().column(column).to_vec())
            .map(f64::from)
            .collect();
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / count;
        assert!((summary.mean - mean).abs() < 1e-12);
        assert!((summary.sd - variance.sqrt()).abs() < 1e-12);
        let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        assert_eq!(f64::from(summary.maximum), largest);
    }
}

#[test]
fn values_that_are_not_finite_are_counted_and_not_refused() {
    let found = inspect(&open(&fixture("hostile/infinite.safetensors")), &[]).unwrap();
    assert_eq!(found.non_finite, 1);
    let first = &found.first_non_finite[0];
    assert_eq!(
        (first.sample, first.neuron, first.value.as_str()),
        (1, 2, "inf")
    );
    assert!(found.layers[1].maximum.is_finite());
    assert_eq!(found.tasks, []);
    assert_eq!(found.sentences, None);
}

#[test]
fn labels_from_a_file_of_their_own_are_counted_with_the_rest() {
    let labels = |name: &str| {
        let path = fixture(&format!("python-tokens/{name}"));
        vec![("fine".to_owned(), read_labels(&path, "fine", None).unwrap())]
    };
    let source = open(&fixture("python-tokens/test.activations.npy"));
    let found = inspect(&source, &labels("test.labels.txt")).unwrap();
    let native = open(&fixture("python-tokens/test.safetensors"));
    let native = inspect(&native, &[]).unwrap();
    for class in &found.tasks[0].classes {
        assert!(native.tasks[0].classes.contains(class), "{class:?}");
    }
    let error = inspect(&source, &labels("dev.labels.txt")).unwrap_err();
    assert_says(&error.to_string(), &["200 labels", "190 rows"]);
}
