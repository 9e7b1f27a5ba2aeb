//! Data, folders and devices that are refused, and odd data that are legal and reported.

use rand::RngExt;
use serde_json::Value;

use super::{NEURONS, Part, Study, assert_fails, code, neurosieve, stderr, text};
use crate::support::random;

#[test]
fn a_missing_data_file_is_named() {
    let study = Study::new(&Study::usual(), "");
    std::fs::remove_file(study.path("dev.safetensors")).expect("it can be removed");
    assert_fails(&study.run(&[]), &["dev.safetensors"]);
}

#[test]
fn an_output_folder_that_is_a_file_is_found_out_before_the_work_starts() {
    let study = Study::new(&Study::usual(), "");
    std::fs::write(study.path("out"), b"mine").expect("the folder is writable");
    // The data are broken too: that the folder is named shows that it is looked at first.
    std::fs::write(study.path("train.safetensors"), b"broken").expect("the folder is writable");
    assert_fails(&study.run(&[]), &["out", "it is a file"]);
    assert_eq!(
        std::fs::read(study.path("out")).expect("it is still there"),
        b"mine"
    );
}

#[test]
fn an_output_folder_below_a_file_cannot_be_created() {
    let study = Study::new(&Study::usual(), "");
    let (spec, file) = (study.path("study.toml"), study.path("train.safetensors"));
    let below = file.join("out");
    assert_fails(
        &neurosieve(&["study", text(&spec), "-o", text(&below), "--device", "cpu"]),
        &["cannot create", "train.safetensors"],
    );
}

#[test]
fn a_device_that_does_not_exist_is_refused() {
    let study = Study::new(&Study::usual(), "");
    assert_fails(
        &study.run(&["--device", "no such accelerator"]),
        &["device \"no such accelerator\"", "cpu"],
    );
}

#[test]
fn an_unknown_format_is_refused_with_those_that_are_read() {
    let study = Study::new(&Study::usual(), "");
    let strange = study.path("train.xlsx");
    std::fs::write(&strange, b"x").expect("the folder is writable");
    assert_fails(
        &neurosieve(&["inspect", text(&strange)]),
        &["train.xlsx", ".safetensors"],
    );
}

#[test]
fn parts_of_different_neurons_are_refused() {
    let mut parts = Study::usual();
    let samples = parts[2].labels.len();
    parts[2].neurons = 4;
    parts[2].values.truncate(samples * 4);
    assert_fails(
        &Study::new(&parts, "").run(&[]),
        &["test", "4 neurons", "train has 6"],
    );
}

#[test]
fn labels_and_activations_that_differ_in_length_are_refused() {
    let mut parts = Study::usual();
    parts[0].labels.pop();
    assert_fails(
        &Study::new(&parts, "").run(&[]),
        &["train.safetensors", "59", "60"],
    );
}

#[test]
fn a_value_that_is_not_a_number_is_refused_with_row_and_neuron() {
    let mut parts = Study::usual();
    parts[1].values[7 * NEURONS + 4] = f32::NAN;
    assert_fails(
        &Study::new(&parts, "").run(&[]),
        &[
            "dev.safetensors",
            "row 7, neuron 4 (layer 1, unit 1)",
            "NaN",
        ],
    );
}

#[test]
fn one_class_only_is_refused() {
    let mut parts = Study::usual();
    parts[0].labels.fill(1);
    assert_fails(
        &Study::new(&parts, "").run(&[]),
        &["train", "colour", "at least two classes"],
    );
}

#[test]
fn a_task_that_the_files_do_not_have_is_refused_with_those_they_have() {
    let study = Study::new(&Study::usual(), "tasks = [\"shape\"]\n");
    assert_fails(&study.run(&[]), &["\"shape\"", "\"colour\""]);
}

#[test]
fn a_constant_neuron_is_legal_and_reported() {
    let mut parts = Study::usual();
    for part in &mut parts {
        part.set_column(2, 0.25);
    }
    let study = Study::new(&parts, "");
    let output = study.run(&[]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(study.results()["data"]["constant"], serde_json::json!([2]));
    study.assert_warns(&["1 of 6 neurons are constant"]);
    assert!(stderr(&output).contains("warning: 1 of 6 neurons are constant"));
}

#[test]
fn a_dead_layer_is_legal_and_its_probe_answers_the_most_frequent_class() {
    let mut parts = Study::usual();
    for part in &mut parts {
        for neuron in 0..3 {
            part.set_column(neuron, 0.0);
        }
    }
    let study = Study::new(&parts, "");
    let output = study.run(&[]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let results = study.results();
    assert_eq!(results["data"]["dead_layers"], serde_json::json!([0]));
    study.assert_warns(&["All neurons of layer 0 are constant"]);
    let task = &results["tasks"][0];
    assert_eq!(
        task["layers"]["independent"][0]["test_accuracy"],
        task["majority_accuracy"]
    );
}

#[test]
fn a_class_missing_from_train_is_legal_and_reported() {
    let mut parts = [
        Part::new(60, 2, 1),
        Part::new(30, 3, 2),
        Part::new(30, 3, 3),
    ];
    parts[0].classes = 3;
    let study = Study::new(&parts, "");
    let output = study.run(&[]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    study.assert_warns(&["train has no sample of class-2"]);
    let classes = &study.results()["tasks"][0]["classes"];
    assert_eq!(classes[2]["samples"]["train"], 0);
    assert_eq!(classes[2]["test_recall"], 0.0);
}

#[test]
fn a_probe_that_is_not_above_chance_is_said_to_be() {
    let mut parts = Study::usual();
    let mut coin = random(99);
    for part in &mut parts {
        part.labels
            .iter_mut()
            .for_each(|label| *label = coin.random_range(0..2));
    }
    let study = Study::new(&parts, "");
    assert_eq!(code(&study.run(&[])), 0);
    assert_eq!(study.results()["tasks"][0]["above_chance"], false);
    study.assert_warns(&["is not above always answering the most frequent class"]);
}

#[test]
fn data_without_words_have_no_control_tasks_and_say_so() {
    let study = Study::new(&Study::usual(), "");
    assert_eq!(code(&study.run(&[])), 0);
    assert_eq!(study.results()["tasks"][0]["control"], Value::Null);
    study.assert_warns(&["the words are not known"]);
}
