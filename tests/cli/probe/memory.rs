//! Control tasks, shuffled labels and description lengths.

use serde_json::Value;

use super::{attempt, number, probe, three_classes};
use crate::cli::{Part, Study, assert_fails, code, stderr, stdout, text};
use crate::support::assert_close;

/// A penalty, so that nothing is searched for.
const ONE: [&str; 4] = ["--l1", "0.01", "--l2", "0.01"];

/// Writes words beside a part, `length` to a sentence.
fn write_words(study: &Study, name: &str, samples: usize, word: impl Fn(usize) -> String) {
    let words: Vec<String> = (0..samples).map(word).collect();
    let sentences: Vec<String> = words.chunks(6).map(|sentence| sentence.join(" ")).collect();
    std::fs::write(
        study.path(&format!("{name}.word")),
        sentences.join("\n") + "\n",
    )
    .expect("writable");
}

/// Three classes, and twenty words that have nothing to do with them.
fn with_words() -> Study {
    let parts = three_classes();
    let study = Study::new(&parts, "");
    for (name, part) in ["train", "dev", "test"].iter().zip(&parts) {
        write_words(&study, name, part.labels.len(), |n| {
            format!("w{}", n * 7 % 20)
        });
    }
    study
}

fn numbers(list: &Value) -> Vec<f64> {
    list.as_array()
        .expect("a list")
        .iter()
        .map(number)
        .collect()
}

fn sum(list: &Value, key: &str) -> f64 {
    list.as_array()
        .expect("a list")
        .iter()
        .map(|entry| number(&entry[key]))
        .sum()
}

#[test]
fn control_tasks_give_selectivity_with_an_interval() {
    let study = with_words();
    let test = study.path("test.safetensors");
    let with = |extra: &[&str]| {
        probe(
            &study,
            &[&ONE[..], &["--test", text(&test)], extra].concat(),
        )
        .1
    };
    let document = with(&["--control", "4"]);
    let control = &document["control"];
    assert_eq!(
        (&control["from"], &control["judged_on"]),
        (&"same".into(), &"test".into())
    );
    assert_eq!(control["resampled"], "sentences");
    assert_eq!(control["draws"].as_array().map(Vec::len), Some(4));
    assert_eq!(control["draws"][3]["certificate"]["converged"], true);
    let own = number(&document["metrics"]["test"]["accuracy"]["value"]);
    let mean = sum(&control["draws"], "accuracy") / 4.0;
    assert_close("mean", number(&control["accuracy"]), mean, 1e-12);
    let selectivity = number(&control["selectivity"]["value"]);
    assert_close("selectivity", selectivity, own - mean, 1e-12);
    let interval = numbers(&control["selectivity"]["interval"]);
    assert!(
        interval[0] > 0.0 && interval[0] < selectivity && selectivity < interval[1],
        "{control}"
    );
    assert_eq!(number(&control["seen_in_train"]), 1.0);
    assert_eq!(document["warnings"], serde_json::json!([]));
    // The same seed again, other draws, another distribution, other neurons.
    assert_eq!(with(&["--control", "4"])["control"], *control);
    assert_ne!(
        with(&["--control", "4", "--seed", "1"])["control"],
        *control
    );
    let uniform = with(&["--control", "4", "--control-from", "uniform"]);
    assert_eq!(uniform["control"]["from"], "uniform");
    assert_ne!(uniform["control"]["draws"], control["draws"]);
    let single = with(&["--control", "1"]);
    assert_eq!(single["control"]["selectivity"]["interval"], Value::Null);
    let few = with(&["--control", "4", "--neurons", "0,3"]);
    assert_ne!(few["control"]["draws"], control["draws"]);
    // Dev judges where there is no test.
    let dev = study.path("dev.safetensors");
    let on_dev = probe(
        &study,
        &[&ONE[..], &["--dev", text(&dev), "--control", "2"]].concat(),
    )
    .1;
    assert_eq!(on_dev["control"]["judged_on"], "dev");
    let plain = with(&[]);
    for absent in ["control", "label_shuffles", "description_length"] {
        assert_eq!(plain[absent], Value::Null);
    }
    assert_eq!(
        plain["metrics"], document["metrics"],
        "control tasks do not change the probe"
    );
}

#[test]
fn words_that_train_lacks_make_selectivity_meaningless_and_it_says_so() {
    let study = with_words();
    write_words(&study, "test", 60, |n| format!("new{n}"));
    let test = study.path("test.safetensors");
    let (_, document) = probe(
        &study,
        &[&ONE[..], &["--test", text(&test), "--control", "2"]].concat(),
    );
    assert_eq!(number(&document["control"]["seen_in_train"]), 0.0);
    let warnings = document["warnings"].to_string();
    assert!(
        warnings.contains("Only 0 % of the words of test occur in train"),
        "{warnings}"
    );
}

#[test]
fn shuffled_labels_are_worse_where_there_is_something_to_know() {
    let study = with_words();
    let test = study.path("test.safetensors");
    let arguments = [&ONE[..], &["--test", text(&test), "--label-shuffles", "19"]].concat();
    let (_, document) = probe(&study, &arguments);
    let shuffles = &document["label_shuffles"];
    let accuracy = number(&document["metrics"]["test"]["accuracy"]["value"]);
    assert_close("accuracy", number(&shuffles["accuracy"]), accuracy, 1e-12);
    let null = numbers(&shuffles["accuracies"]);
    assert!(
        null.len() == 19 && null.iter().all(|&a| a < accuracy),
        "{shuffles}"
    );
    assert_close("p", number(&shuffles["p"]), 0.05, 1e-12);

    // Neurons that know nothing: the probe's own accuracy is one of twenty.
    let mut parts = three_classes();
    for (part, other) in parts.iter_mut().zip([21, 22, 23]) {
        part.labels = Part::new(part.labels.len(), 3, other).labels;
    }
    let blind = Study::new(&parts, "");
    let test = blind.path("test.safetensors");
    let (_, document) = probe(
        &blind,
        &[&ONE[..], &["--test", text(&test), "--label-shuffles", "19"]].concat(),
    );
    let p = number(&document["label_shuffles"]["p"]);
    assert!(p > 0.1, "{}", document["label_shuffles"]);
}

#[test]
fn descriptions_are_shorter_than_the_uniform_code_and_than_those_of_control_tasks() {
    let study = with_words();
    let test = study.path("test.safetensors");
    let asked = [
        "--test",
        text(&test),
        "--description-length",
        "--control",
        "2",
    ];
    let (_, document) = probe(&study, &asked);
    let length = &document["description_length"];
    let task = &length["task"];
    assert_eq!(length["shuffled"], "sentences");
    assert_eq!(
        (&task["samples"], &task["classes"]),
        (&120.into(), &3.into())
    );
    assert_close(
        "sum of the portions",
        sum(&task["portions"], "bits"),
        number(&task["bits"]),
        1e-9,
    );
    assert_close(
        "uniform",
        number(&task["uniform_bits"]),
        120.0 * 3.0_f64.log2(),
        1e-9,
    );
    let compression = number(&task["compression"]);
    assert_close(
        "compression",
        compression * number(&task["bits"]),
        number(&task["uniform_bits"]),
        1e-9,
    );
    assert!(compression > 1.3, "{task}");
    assert_eq!(length["controls"].as_array().map(Vec::len), Some(2));
    let mean = sum(&length["controls"], "compression") / 2.0;
    assert_close(
        "control",
        number(&length["control_compression"]),
        mean,
        1e-12,
    );
    assert!(mean < 1.05, "the neurons know no words: {mean}");
    let shown = stdout(&attempt(
        &study,
        &[&asked[..], &["--label-shuffles", "3"]].concat(),
    ));
    for part in [
        "selectivity on test",
        "classes same",
        "p 0.25",
        "compression",
        "of 2 control tasks",
        "3 label shuffles",
    ] {
        assert!(shown.contains(part), "\"{part}\" is not in: {shown}");
    }
}

#[test]
fn a_description_needs_neither_words_nor_a_part_to_judge_on() {
    // Samples are shuffled where sentences are not known.
    let wordless = Study::new(&three_classes(), "");
    let (_, document) = probe(&wordless, &[&ONE[..], &["--description-length"]].concat());
    let length = &document["description_length"];
    assert_eq!(
        (&length["shuffled"], &length["control_bits"]),
        (&"samples".into(), &Value::Null)
    );
    assert_eq!(length["task"]["portions"][0]["samples"], 1);
}

#[test]
fn what_cannot_be_judged_is_refused_before_the_work() {
    let study = Study::new(&three_classes(), "");
    let test = study.path("test.safetensors");
    let judged = ["--test", text(&test)];
    for usage in [
        &["--control", "0"][..],
        &["--control", "some"],
        &["--control-from", "uniform"],
        &["--control", "3", "--control-from", "nowhere"],
        &["--label-shuffles", "0"],
        &["--label-shuffles", "5", "--regression", "--labels", "x.txt"],
        &["--description-length", "--class-weight", "balanced"],
        &["--description-length", "--sample-weights", "x.txt"],
    ] {
        let output = attempt(&study, &[&judged[..], usage].concat());
        assert_eq!(code(&output), 2, "{usage:?}: {}", stderr(&output));
        assert_eq!(stdout(&output), "");
    }
    let adam = [
        "--solver",
        "adam",
        "--penalty",
        "neurox",
        "--no-standardize",
    ];
    let adam = [&ONE[..], &adam, &["--description-length"]].concat();
    for (arguments, parts) in [
        (
            &["--control", "3", judged[0], judged[1]][..],
            &["the words of train are not known", ".word"][..],
        ),
        (
            &["--control", "3"],
            &["nothing to judge the probe on", "--test"],
        ),
        (
            &["--label-shuffles", "3"],
            &["nothing to judge the probe on"],
        ),
        (&adam, &["--description-length", "NeuroX's training"]),
    ] {
        assert_fails(&attempt(&study, arguments), parts);
    }
    write_words(&study, "train", 120, |n| format!("w{n}"));
    assert_fails(
        &attempt(&study, &[&judged[..], &["--control", "3"]].concat()),
        &["the words of test are not known"],
    );
    assert!(!study.path("p/probe.safetensors").exists());
}
