//! `neurosieve compare --transfer`: minimal sets of one run on another's data.

use std::path::Path;

use rand::RngExt;
use serde_json::Value;

use super::{Part, Study, assert_fails, code, neurosieve, stderr, stdout, text};
use crate::support::{normal, random};

/// Neurons of [`telling`], of which the first three tell the class.
const NEURONS: usize = 24;

/// A part whose first three neurons tell the class, each a little.
fn telling(samples: usize, seed: u64) -> Part {
    let mut generator = random(seed);
    let mut part = Part::new(0, 2, seed);
    part.neurons = NEURONS;
    for _ in 0..samples {
        let class = generator.random_range(0..2);
        part.labels.push(class);
        for neuron in 0..NEURONS {
            let shift = f64::from(class) * if neuron < 3 { 1.6 } else { 0.0 };
            part.values.push((shift + normal(&mut generator)) as f32);
        }
    }
    part
}

fn parts(seed: u64) -> [Part; 3] {
    [
        telling(300, seed),
        telling(150, seed + 1),
        telling(300, seed + 2),
    ]
}

/// The same samples with the neurons the other way round.
fn turned(parts: [Part; 3]) -> [Part; 3] {
    parts.map(|mut part| {
        let rows = part.values.chunks_exact_mut(NEURONS);
        rows.for_each(<[f32]>::reverse);
        part
    })
}

fn finished(parts: &[Part; 3]) -> Study {
    let study = Study::new(parts, "[minimal_set]\nrandom_sets = 0\nbootstrap = 0\n");
    let output = study.run(&[]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    study
}

/// The sets of the first run on the second one's data, and the table.
fn transferred(first: &Path, second: &Path, extra: &[&str]) -> (Vec<Value>, String) {
    let mut arguments = vec!["compare", text(first), text(second)];
    arguments.extend(["--transfer", "--device", "cpu"]);
    arguments.extend(extra);
    let plain = neurosieve(&arguments);
    assert_eq!(code(&plain), 0, "{}", stderr(&plain));
    arguments.push("--json");
    let output = neurosieve(&arguments);
    let document: Value = serde_json::from_str(&stdout(&output)).expect("one JSON document");
    let found = document["pairs"][0]["tasks"][0]["transfer"].as_array();
    (found.expect("a list").clone(), stdout(&plain))
}

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

#[test]
fn a_set_carried_to_its_own_run_has_the_figures_that_the_study_found() {
    let study = finished(&parts(1));
    let run = study.path("out");
    let (found, said) = transferred(&run, &run, &["--random-sets", "5", "--delta", "0.02"]);
    assert_eq!(found.len(), 2, "a set of each ordering");
    let results = study.results();
    for set in &found {
        assert_eq!(
            (&set["carried"], &set["delta"]),
            (&set["own"], &0.02.into())
        );
        let mut known = results["tasks"][0]["minimal_sets"]
            .as_array()
            .unwrap()
            .iter();
        let same = |s: &&Value| s["ranking"] == set["ranking"] && s["delta"] == set["delta"];
        let known = known.find(same).expect("the study has it");
        for figure in ["dev_accuracy", "test_accuracy", "test_interval"] {
            assert_eq!(set["carried"][figure], known[figure], "{figure}");
        }
        assert_eq!(set["first_test_accuracy"], known["test_accuracy"]);
        assert_eq!(
            (&set["shared"], &set["size"]),
            (&known["size"], &known["size"])
        );
        let own = &set["against_own"];
        assert_eq!((&own["difference"], &own["p"]), (&0.0.into(), &1.0.into()));
        assert_eq!(set["random"]["draws"], 5);
    }
    assert!(said.contains("retrained on run 2"), "{said}");
}

#[test]
fn neurons_that_correspond_are_carried_over_and_others_are_not() {
    let first = finished(&parts(1));
    let alike = finished(&parts(50));
    let other = finished(&turned(parts(50)));
    // The control: other samples of the same neurons.
    let (found, _) = transferred(&first.path("out"), &alike.path("out"), &[]);
    for set in &found {
        let random = &set["random"];
        assert!(number(&random["p_holm"]) < 0.05, "{set}");
        assert!(number(&random["interval"][0]) > 0.0, "{set}");
        assert!(number(&set["against_own"]["p_holm"]) > 0.05, "{set}");
    }
    let (found, _) = transferred(&first.path("out"), &other.path("out"), &[]);
    for set in &found {
        let (random, own) = (&set["random"], &set["against_own"]);
        assert!(number(&random["p"]) > 0.2, "{set}");
        assert!(number(&random["interval"][0]) < 0.0, "{set}");
        assert!(number(&own["difference"]) < -0.1, "{set}");
        assert!(number(&own["p_holm"]) < 0.05, "{set}");
        let difference = number(&set["carried"]["test_accuracy"]) - number(&random["test"]["mean"]);
        assert!((number(&random["difference"]) - difference).abs() < 1e-12);
        let as_good = number(&random["as_good"]);
        assert_eq!(number(&random["p"]), (1.0 + as_good) / 41.0);
        // Two sets: the smaller p counts twice, the larger is at least that.
        assert!(number(&random["p_holm"]) >= number(&random["p"]));
    }
}

#[test]
fn few_random_sets_are_said_to_be_too_few() {
    let study = finished(&parts(1));
    let run = study.path("out");
    let said = |random_sets| transferred(&run, &run, &["--random-sets", random_sets]).1;
    assert!(said("20").contains("no p can be below 0.10; ask for 40"));
    assert!(!said("40").contains("no p can be below"));
}

#[test]
fn what_cannot_be_carried_over_is_refused() {
    let study = finished(&parts(1));
    let run = study.path("out");
    let carry = |second: &Path| {
        let (first, second) = (text(&run), text(second));
        neurosieve(&["compare", first, second, "--transfer", "--device", "cpu"])
    };
    let few = finished(&parts(1).map(|part| part.with_neurons(20)));
    assert_fails(&carry(&few.path("out")), &["other neurons", "24", "20"]);
    let mut old = study.results();
    old["spec"] = Value::Null;
    let earlier = study.path("earlier.json");
    std::fs::write(&earlier, old.to_string()).expect("the folder is writable");
    let said = &["earlier.json", "specification", "Run the study again"];
    assert_fails(&carry(&earlier), said);
    let mut odd = study.results();
    odd["tasks"][0]["oracle"]["l1"] = 123.0.into();
    std::fs::write(&earlier, odd.to_string()).expect("the folder is writable");
    assert_fails(&carry(&earlier), &["penalty"]);
    // Other data of the same shape, as another folder's files of the same names are.
    let [train, ..] = turned(parts(1));
    train.write(&study.path("train.safetensors"));
    assert_fails(&carry(&run), &["class means", "run the study again"]);
    telling(300, 9).write(&study.path("train.safetensors"));
    assert_fails(&carry(&run), &["classes of train", "run the study again"]);
    telling(299, 1).write(&study.path("train.safetensors"));
    assert_fails(&carry(&run), &["299", "300", "Put back the data"]);
    std::fs::remove_file(study.path("dev.safetensors")).expect("it can be removed");
    assert_fails(&carry(&run), &["dev.safetensors is not there"]);
    // Without data a comparison of results alone goes on as before.
    assert_eq!(code(&neurosieve(&["compare", text(&run), text(&run)])), 0);
    for wrong in [&["--delta", "0.01"][..], &["--transfer", "--delta", "1.5"]] {
        let mut arguments = vec!["compare", text(&run), text(&run)];
        arguments.extend(wrong);
        assert_eq!(code(&neurosieve(&arguments)), 2, "{wrong:?}");
    }
}
