//! `neurosieve probe`: the weights predict what the metrics count; `flags`: what each flag of the fit
//! changes; `memory`: whether the probe knows more than memory.

mod flags;
mod memory;

use std::path::Path;

use safetensors::SafeTensors;
use serde_json::Value;

use super::{NEURONS, Part, Study, assert_fails, code, neurosieve, stderr, stdout, text};
use crate::support::assert_close;

/// Runs `probe` on the study's train with these arguments; weights and document.
#[track_caller]
fn probe(study: &Study, extra: &[&str]) -> (Weights, Value) {
    let output = attempt(study, extra);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let document = std::fs::read_to_string(study.path("p/probe.json")).expect("the document");
    let document = serde_json::from_str(&document).expect("JSON");
    (Weights::read(&study.path("p/probe.safetensors")), document)
}

fn attempt(study: &Study, extra: &[&str]) -> std::process::Output {
    let (data, file) = (
        study.path("train.safetensors"),
        study.path("p/probe.safetensors"),
    );
    let mut arguments = vec!["probe", text(&data), "-o", text(&file), "--device", "cpu"];
    arguments.extend(extra);
    neurosieve(&arguments)
}

/// A probe file, read by the safetensors library alone.
struct Weights {
    weights: Vec<Vec<f64>>,
    bias: Vec<f64>,
    mean: Vec<f64>,
    scale: Vec<f64>,
    metadata: std::collections::HashMap<String, String>,
}

impl Weights {
    fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).expect("the file was written");
        let file = SafeTensors::deserialize(&bytes).expect("it is safetensors");
        let (_, header) = SafeTensors::read_metadata(&bytes).expect("it has a header");
        let single = |name: &str| -> Vec<f64> {
            let tensor = file.tensor(name).expect("the tensor");
            assert_eq!(tensor.dtype(), safetensors::Dtype::F32);
            let (values, _) = tensor.data().as_chunks::<4>();
            values
                .iter()
                .map(|v| f64::from(f32::from_le_bytes(*v)))
                .collect()
        };
        let double = |name: &str| -> Vec<f64> {
            let tensor = file.tensor(name).expect("the tensor");
            assert_eq!(tensor.dtype(), safetensors::Dtype::F64);
            let (values, _) = tensor.data().as_chunks::<8>();
            values.iter().map(|v| f64::from_le_bytes(*v)).collect()
        };
        let shape = file.tensor("weights").expect("the tensor").shape().to_vec();
        let bias = single("bias");
        assert_eq!(shape, [bias.len(), NEURONS]);
        Self {
            weights: single("weights")
                .chunks(NEURONS)
                .map(<[f64]>::to_vec)
                .collect(),
            bias,
            mean: double("mean"),
            scale: double("scale"),
            metadata: header.metadata().clone().expect("it has metadata"),
        }
    }

    fn logits(&self, row: &[f32]) -> Vec<f64> {
        let dot = |w: &Vec<f64>| -> f64 { w.iter().zip(row).map(|(w, x)| w * f64::from(*x)).sum() };
        self.weights
            .iter()
            .zip(&self.bias)
            .map(|(w, b)| dot(w) + b)
            .collect()
    }

    /// The class of a row: the sign of the one logit of two classes, else the largest logit.
    fn class(&self, row: &[f32]) -> usize {
        let logits = self.logits(row);
        if let [logit] = logits[..] {
            return usize::from(logit > 0.0);
        }
        let best = |best: usize, class: usize| {
            if logits[class] > logits[best] {
                class
            } else {
                best
            }
        };
        (1..logits.len()).fold(0, best)
    }

    fn used(&self) -> Vec<bool> {
        (0..NEURONS)
            .map(|n| self.weights.iter().any(|row| row[n] != 0.0))
            .collect()
    }
}

fn three_classes() -> [Part; 3] {
    [
        Part::new(120, 3, 11),
        Part::new(60, 3, 12),
        Part::new(60, 3, 13),
    ]
}

fn number(value: &Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| panic!("{value} is not a number"))
}

#[test]
fn the_weights_that_were_written_predict_what_the_metrics_count() {
    for parts in [Study::usual(), three_classes()] {
        let classes = parts[0].classes;
        let study = Study::new(&parts, "");
        let (dev, test) = (
            study.path("dev.safetensors"),
            study.path("test.safetensors"),
        );
        let (weights, document) = probe(&study, &["--dev", text(&dev), "--test", text(&test)]);
        assert_eq!(weights.bias.len(), if classes == 2 { 1 } else { classes });
        for (name, part) in ["train", "dev", "test"].iter().zip(&parts) {
            let mut confusion = vec![vec![0_usize; classes]; classes];
            for (row, label) in part.values.chunks(NEURONS).zip(&part.labels) {
                confusion[usize::try_from(*label).expect("a class")][weights.class(row)] += 1;
            }
            let metrics = &document["metrics"][name];
            assert_eq!(metrics["confusion"], serde_json::json!(confusion), "{name}");
            let right: usize = (0..classes).map(|c| confusion[c][c]).sum();
            let accuracy = right as f64 / part.labels.len() as f64;
            assert_close(
                "accuracy",
                number(&metrics["accuracy"]["value"]),
                accuracy,
                1e-12,
            );
            assert!(accuracy > 0.6, "{name}: {confusion:?}");
        }
        let column = |neuron: usize| parts[0].values.iter().skip(neuron).step_by(NEURONS);
        for neuron in 0..NEURONS {
            let n = parts[0].labels.len() as f64;
            let mean = column(neuron).map(|v| f64::from(*v)).sum::<f64>() / n;
            let squares: f64 = column(neuron).map(|v| (f64::from(*v) - mean).powi(2)).sum();
            assert_close("mean", weights.mean[neuron], mean, 1e-6);
            assert_close("scale", weights.scale[neuron], (squares / n).sqrt(), 1e-6);
        }
    }
}

#[test]
fn the_file_says_what_it_is_and_is_the_same_every_time() {
    let study = Study::new(&Study::usual(), "");
    let arguments = ["--l1", "0.01", "--l2", "0.002"];
    let (weights, document) = probe(&study, &arguments);
    let bytes = std::fs::read(study.path("p/probe.safetensors")).expect("the file");
    for (key, value) in [
        ("classes", "[\"class-0\",\"class-1\"]"),
        ("task", "colour"),
        ("l1", "0.01"),
        ("l2", "0.002"),
        ("penalty", "elastic-net"),
        ("standardize", "true"),
        ("columns", "null"),
        ("schema_version", "1"),
    ] {
        assert_eq!(weights.metadata[key], value, "{key}");
    }
    let certificate: Value = serde_json::from_str(&weights.metadata["certificate"]).expect("JSON");
    assert_eq!(certificate, document["certificate"]);
    let plan = &document["plan"];
    assert!(
        plan["in_flight"].as_u64() >= Some(1)
            && plan["problems"].as_u64() >= plan["in_flight"].as_u64()
    );
    assert!(plan["solver_bytes"].as_u64() > Some(0));
    assert_eq!(certificate["converged"], true);
    assert_eq!(document["schema_version"], 1);
    assert_eq!(document["selection"]["by"], "given");
    assert_eq!(document["metrics"]["dev"], Value::Null);
    let again = attempt(&study, &[&arguments[..], &["--json"]].concat());
    let printed: Value = serde_json::from_str(&stdout(&again)).expect("one JSON document");
    assert_eq!(printed["metrics"], document["metrics"]);
    assert_eq!(
        bytes,
        std::fs::read(study.path("p/probe.safetensors")).expect("the file")
    );
    let shown = stdout(&attempt(&study, &arguments));
    for part in [
        "colour: 2 classes",
        "λ1 1.0000e-2, λ2 2.0000e-3 (given; 1 tried)",
        "accuracy",
        "macro-F1",
        "MCC",
        "log-loss",
        "converged",
    ] {
        assert!(shown.contains(part), "\"{part}\" is not in: {shown}");
    }
}

#[test]
fn dev_folds_or_nothing_decide() {
    let study = Study::new(&three_classes(), "");
    let dev = study.path("dev.safetensors");
    let by = |extra: &[&str]| probe(&study, extra).1["selection"].clone();
    let on_dev = by(&[
        "--dev",
        text(&dev),
        "--ratios",
        "0.5,0.1,0.01",
        "--select",
        "log-loss",
    ]);
    assert_eq!(
        (&on_dev["by"], &on_dev["rule"]),
        (&"dev".into(), &"log-loss".into())
    );
    let path = on_dev["path"].as_array().expect("a list");
    assert_eq!(path.len(), 3);
    let losses: Vec<f64> = path
        .iter()
        .map(|p| number(&p["log_loss"]["value"]))
        .collect();
    let chosen = on_dev["chosen"].as_u64().expect("a place") as usize;
    assert!(
        losses.iter().all(|&loss| loss >= losses[chosen]),
        "{losses:?}"
    );
    let in_folds = by(&["--folds", "4", "--select", "accuracy-1se"]);
    assert_eq!(
        (&in_folds["by"], &in_folds["folds"]),
        (&"folds".into(), &4.into())
    );
    for tried in in_folds["path"].as_array().expect("a list") {
        assert_eq!(tried["fits"].as_array().expect("a list").len(), 4);
        assert!(number(&tried["accuracy"]["se"]) > 0.0);
    }
    assert_eq!(by(&[])["folds"], 5);
    assert_eq!(by(&["--ratios", "0.1"])["by"], "given");
    let lca = by(&["--select", "lca", "--ratios", "0.3,0.01"]);
    assert!(lca["path"][0]["lca_score"].is_number(), "{lca}");
}

#[test]
fn a_probe_sees_the_neurons_that_were_chosen() {
    let study = Study::new(&three_classes(), "");
    let one = ["--l1", "0.001", "--l2", "0.001"];
    let (all, _) = probe(&study, &one);
    assert_eq!(all.used(), [true; NEURONS]);
    let (second_layer, document) = probe(&study, &[&one[..], &["--layers", "1"]].concat());
    assert_eq!(second_layer.used(), [false, false, false, true, true, true]);
    assert_eq!(document["columns"], serde_json::json!([3, 4, 5]));
    let (chosen, _) = probe(&study, &[&one[..], &["--neurons", "4,0-1"]].concat());
    assert_eq!(chosen.used(), [true, true, false, false, true, false]);
}

#[test]
fn continuous_labels_get_a_linear_regression() {
    let parts = three_classes();
    let study = Study::new(&parts, "");
    let exact = |row: &[f32]| 2.0 * f64::from(row[1]) - f64::from(row[4]) + 3.0;
    let mut files = Vec::new();
    for (name, part) in ["train", "dev", "test"].iter().zip(&parts) {
        let lines = part
            .values
            .chunks(NEURONS)
            .map(|row| exact(row).to_string());
        let file = study.path(&format!("{name}.txt"));
        std::fs::write(&file, lines.collect::<Vec<_>>().join("\n")).expect("writable");
        files.push(file);
    }
    let (dev, test) = (
        study.path("dev.safetensors"),
        study.path("test.safetensors"),
    );
    let labels = ["--regression", "--labels", text(&files[0])];
    let judged = [
        "--dev",
        text(&dev),
        "--dev-labels",
        text(&files[1]),
        "--test",
        text(&test),
    ];
    let all = [&labels[..], &judged, &["--test-labels", text(&files[2])]].concat();
    let (weights, document) = probe(&study, &all);
    let metrics = &document["metrics"]["test"];
    let rows: Vec<&[f32]> = parts[2].values.chunks(NEURONS).collect();
    let squares: f64 = rows
        .iter()
        .map(|row| (weights.logits(row)[0] - exact(row)).powi(2))
        .sum();
    assert_close(
        "MSE",
        number(&metrics["mse"]["value"]),
        squares / rows.len() as f64,
        1e-6,
    );
    for figure in ["r2", "pearson", "spearman"] {
        assert!(number(&metrics[figure]["value"]) > 0.99, "{metrics}");
    }
    assert_eq!(document["classes"], Value::Null);
    assert_eq!(weights.metadata["classes"], "null");
    assert!(document["selection"]["path"][0]["mse"]["value"].is_number());
    assert_close("weight of neuron 1", weights.weights[0][1], 2.0, 0.05);
    let (_, in_folds) = probe(&study, &labels);
    assert_eq!(in_folds["selection"]["folds"], 5);
    assert_fails(
        &attempt(&study, &[&labels[..], &["--select", "accuracy"]].concat()),
        &["\"accuracy\" does not suit continuous labels", "log-loss"],
    );
    std::fs::write(&files[0], "1.5\nlots\n").expect("writable");
    assert_fails(
        &attempt(&study, &labels),
        &["train.txt", "value 1", "\"lots\" is not a number"],
    );
    std::fs::write(&files[0], "1.5\n2.5\n").expect("writable");
    assert_fails(&attempt(&study, &labels), &["2 labels for the 120 rows"]);
}

#[test]
fn what_contradicts_itself_is_refused() {
    let study = Study::new(&Study::usual(), "");
    let dev = study.path("dev.safetensors");
    for usage in [
        &["--l1", "0.1"][..],
        &["--l1", "0.1", "--l2", "0", "--select", "lca"],
        &["--l1", "0.1", "--l2", "0", "--ratios", "0.1"],
        &["--dev", text(&dev), "--folds", "5"],
        &["--layers", "0", "--neurons", "1"],
        &["--regression"],
        &["--select", "best"],
        &["--stop", "soon"],
        &["--neurons", "3-1"],
    ] {
        let output = attempt(&study, usage);
        assert_eq!(code(&output), 2, "{usage:?}: {}", stderr(&output));
        assert_eq!(stdout(&output), "");
    }
    for (arguments, parts) in [
        (&["--layers", "7"][..], &["no layer 7", "[0, 1]"][..]),
        (&["--neurons", "6"], &["no neuron 6", "0 to 5"]),
        (&["--folds", "1"], &["1 folds of 60", "2 to 60"]),
        (&["--ratios", "0.1,2"], &["at most 1"]),
        (&["--task", "size"], &["\"size\"", "colour"]),
        (&["--stop", "gap=7"], &["7"]),
        (&["--dev", "nowhere.safetensors"], &["cannot read nowhere"]),
    ] {
        assert_fails(&attempt(&study, arguments), parts);
    }
    let weights = study.path("weights.txt");
    std::fs::write(&weights, "1\n1\n").expect("writable");
    assert_fails(
        &attempt(&study, &["--sample-weights", text(&weights)]),
        &["2 weights for 60 rows"],
    );
    let data = study.path("train.safetensors");
    assert_fails(
        &neurosieve(&["probe", text(&data), "-o", "probe.npz"]),
        &["probe.npz", ".safetensors"],
    );
    assert!(!study.path("p/probe.safetensors").exists());
}
