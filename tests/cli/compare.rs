//! `neurosieve compare`: what two runs have in common, what they do not, and what is refused.

use std::path::Path;

use serde_json::Value;

use super::{Part, Study, assert_fails, code, neurosieve, stderr, stdout, text};

/// A finished study; `extra` ends its specification.
fn finished(parts: &[Part; 3], extra: &str) -> Study {
    let study = Study::new(parts, extra);
    let output = study.run(&[]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    study
}

fn compared(runs: &[&Path]) -> (Value, String) {
    let mut arguments = vec!["compare"];
    arguments.extend(runs.iter().map(|run| text(run)));
    let plain = neurosieve(&arguments);
    assert_eq!(code(&plain), 0, "{}", stderr(&plain));
    arguments.push("--json");
    let output = neurosieve(&arguments);
    let document = serde_json::from_str(&stdout(&output)).expect("one JSON document");
    (document, stdout(&plain))
}

#[test]
fn a_run_beside_itself_has_no_differences_and_shares_everything() {
    let study = finished(&Study::usual(), "");
    let (folder, file) = (study.path("out"), study.path("out/results.json"));
    let (found, said) = compared(&[&folder, &file]);
    assert_eq!(found["schema_version"], 1);
    assert_eq!(found["pairs"].as_array().unwrap().len(), 1);
    let pair = &found["pairs"][0];
    assert_eq!(pair["same_neurons"], true);
    for cut in pair["clusters"].as_array().unwrap() {
        assert_eq!(cut["difference"], 0.0);
    }
    let task = &pair["tasks"][0];
    let [low, high] = [0, 1].map(|end| task["oracle"]["interval"][end].as_f64().unwrap());
    assert!(low < 0.0 && high > 0.0 && (low + high).abs() < 1e-12);
    assert_eq!(
        (&task["oracle"]["difference"], &task["same_classes"]),
        (&0.0.into(), &true.into())
    );
    assert_eq!(
        (&task["depth"]["distance"], &task["depth"]["p"]),
        (&0.0.into(), &1.0.into())
    );
    assert_eq!(task["class_divergence"], 0.0);
    let overlaps = task["overlaps"].as_array().unwrap();
    assert_eq!(overlaps.len(), 2 * 3, "two orderings at three shares");
    for overlap in overlaps {
        assert_eq!(
            (&overlap["jaccard"], &overlap["average_overlap"]),
            (&1.0.into(), &1.0.into())
        );
        assert_eq!(overlap["shared"], overlap["k"]);
    }
    let sets = task["minimal_sets"].as_array().unwrap();
    assert!(!sets.is_empty());
    for set in sets {
        assert_eq!(
            (&set["difference"], &set["jaccard"]),
            (&0.0.into(), &1.0.into())
        );
    }
    assert!(
        said.contains("run 2 against run 1") && said.contains("colour: accuracy"),
        "{said}"
    );
}

#[test]
fn runs_of_other_neurons_are_compared_in_shares_and_depth_alone() {
    let whole = finished(&Study::usual(), "");
    let few = Study::usual().map(|part| part.with_neurons(4));
    let few = finished(&few, "");
    let (found, said) = compared(&[&whole.path("out"), &few.path("out"), &whole.path("out")]);
    let pairs = found["pairs"].as_array().unwrap();
    let runs: Vec<String> = pairs.iter().map(|pair| pair["runs"].to_string()).collect();
    assert_eq!(runs, ["[0,1]", "[0,2]", "[1,2]"]);
    let task = &pairs[0]["tasks"][0];
    assert_eq!(pairs[0]["same_neurons"], false);
    assert!(task["overlaps"].is_null());
    for set in task["minimal_sets"].as_array().unwrap() {
        assert!(set["shared"].is_null() && set["p"].is_null());
        let share = [0, 1].map(|at| set["size"][at].as_f64().unwrap() / [6.0, 4.0][at]);
        assert_eq!(set["difference"].as_f64().unwrap(), share[1] - share[0]);
    }
    assert!(task["depth"]["distance"].is_number());
    assert!(
        said.contains("note: overlaps of orderings and sets are not compared"),
        "{said}"
    );
    assert_eq!(pairs[1]["tasks"][0]["overlaps"][0]["jaccard"], 1.0);
}

#[test]
fn better_data_are_seen_in_the_difference() {
    let noisy = Study::usual().map(|mut part| {
        // Every second label is the other one's.
        part.labels
            .iter_mut()
            .step_by(2)
            .for_each(|label| *label = 1 - *label);
        part
    });
    let (noisy, clean) = (finished(&noisy, ""), finished(&Study::usual(), ""));
    let out = clean.path("c.json");
    let (a, b) = (noisy.path("out"), clean.path("out"));
    let output = neurosieve(&["compare", text(&a), text(&b), "-o", text(&out)]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let found: Value = serde_json::from_slice(&std::fs::read(&out).unwrap()).unwrap();
    let page = std::fs::read_to_string(clean.path("c.html")).expect("a page beside it");
    assert!(page.starts_with("<!doctype html>"));
    // One oracle is at chance, which the page says as the table does.
    assert!(page.contains("Of run 2 against run 1 nothing follows"));
    let oracle = &found["pairs"][0]["tasks"][0]["oracle"];
    assert!(oracle["difference"].as_f64().unwrap() > 0.2, "{oracle}");
    assert!(oracle["interval"][0].as_f64().unwrap() > 0.0, "{oracle}");
    assert_eq!(oracle["samples"], "independent");
    assert_eq!(oracle["above_chance"], serde_json::json!([false, true]));
    assert!(
        stdout(&output).contains("* not above"),
        "{}",
        stdout(&output)
    );
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let study = finished(&Study::usual(), "");
    let file = study.path("out/results.json");
    let results = study.results();
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut other = results.clone();
        change(&mut other);
        let path = study.path("other.json");
        std::fs::write(&path, other.to_string()).unwrap();
        neurosieve(&["compare", text(&file), text(&path)])
    };
    let version = changed(&|run| run["schema_version"] = 99.into());
    assert_fails(&version, &["other.json", "schema_version is 99"]);
    let task = changed(&|run| run["tasks"][0]["name"] = "shape".into());
    assert_fails(&task, &["no two have a task in common", "colour", "shape"]);
    let twice = changed(&|run| run["tasks"][0]["rankings"]["lca"]["order"][0] = 77.into());
    assert_fails(&twice, &["other.json", "lca"]);
    let scores =
        changed(&|run| run["tasks"][0]["rankings"]["lca"]["scores"] = serde_json::json!([1.0]));
    assert_fails(&scores, &["1 scores"]);
    let layers = changed(&|run| run["tasks"][0]["salient"]["by_layer"] = serde_json::json!([1]));
    assert_fails(&layers, &["salient neurons"]);
    let empty = changed(&|run| run["data"]["samples"]["test"] = 0.into());
    assert_fails(&empty, &["no test samples"]);
    let accuracy = changed(&|run| run["tasks"][0]["oracle"]["test_accuracy"] = 7.5.into());
    assert_fails(&accuracy, &["accuracy is 7.5"]);
    let classes = changed(&|run| run["tasks"][0]["classes"][0]["name"] = "red".into());
    assert_eq!(code(&classes), 0, "{}", stderr(&classes));
    assert!(stdout(&classes).contains("note: colour: the runs have other classes"));
    let absent = study.path("nothing");
    assert_fails(
        &neurosieve(&["compare", text(&file), text(&absent)]),
        &["nothing"],
    );
    assert_eq!(code(&neurosieve(&["compare", text(&file)])), 2);
    let over = neurosieve(&["compare", text(&file), text(&file), "-o", text(&file)]);
    assert_fails(&over, &["which is an input"]);
    // The page beside it would take the place of the study's own.
    let report = file.with_file_name("report.json");
    std::fs::write(file.with_file_name("report.html"), "a study's").unwrap();
    let over = neurosieve(&["compare", text(&file), text(&file), "-o", text(&report)]);
    assert_fails(&over, &["report.html would be replaced"]);
}
