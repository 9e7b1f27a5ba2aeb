//! What is wrong in the specification is shown with its place.

use super::{Study, assert_fails, code, neurosieve, stderr, text};

#[test]
fn a_missing_specification_is_named() {
    assert_fails(
        &neurosieve(&["study", "nowhere/study.toml", "-o", "never"]),
        &["cannot read nowhere/study.toml", "No such file"],
    );
}

#[test]
fn a_misspelt_key_is_shown_with_line_column_and_the_nearest_key() {
    let study = Study::new(&Study::usual(), "[probe]\n  lamda_ratios = [0.1]\n");
    assert_fails(
        &study.run(&[]),
        &[
            "study.toml",
            "line 7, column 3",
            "unknown field `lamda_ratios`",
            "Did you mean `lambda_ratios`?",
        ],
    );
}

#[test]
fn a_misspelt_value_is_shown_with_the_nearest_one() {
    let study = Study::new(&Study::usual(), "[clusters]\nlinkage = \"averge\"\n");
    assert_fails(
        &study.run(&[]),
        &["line 7, column 11", "Did you mean `average`?"],
    );
}

#[test]
fn a_misspelt_ladder_is_shown_with_the_nearest_one_and_odd_sizes_are_refused() {
    let refused = |line: &str, parts: &[&str]| {
        let study = Study::new(&Study::usual(), &format!("[minimal_set]\n{line}\n"));
        assert_fails(&study.run(&[]), parts);
    };
    refused(
        "ladder = \"referense\"",
        &["line 7", "Did you mean `reference`?"],
    );
    refused("ladder = 7", &["line 7", "a ladder, or a list of sizes"]);
    refused("ladder = [4, 0]", &["line 7, column 10", "a size of 0"]);
    refused("ladder = []", &["line 7, column 10", "empty"]);
    refused(
        "bootstrap = 1",
        &["line 7, column 13", "none to agree with"],
    );
    refused("search = \"bisecton\"", &["Did you mean `bisection`?"]);
    refused("disjoint = 101", &["101 is outside 0 to 100"]);
}

#[test]
fn a_value_out_of_range_is_shown_with_its_place_and_range() {
    let study = Study::new(&Study::usual(), "[probe]\nlambda_ratios = [0.1, 1.5]\n");
    assert_fails(
        &study.run(&[]),
        &[
            "line 7, column 17",
            "`probe.lambda_ratios`",
            "1.5 is outside (0, 1]",
        ],
    );
}

#[test]
fn a_name_that_is_nearly_right_is_corrected_and_activations_are_no_specification() {
    let study = Study::new(&Study::usual(), "");
    let run = |name: &str| {
        let (spec, out) = (study.path(name), study.path("out"));
        neurosieve(&["study", text(&spec), "-o", text(&out)])
    };
    let meant = format!("Did you mean {}?", study.path("study.toml").display());
    assert_fails(&run("study.tmol"), &["No such file", &meant]);
    // A part is not taken for another one.
    std::fs::rename(study.path("study.toml"), study.path("test.toml")).unwrap();
    assert!(!stderr(&run("dev.toml")).contains("Did you mean"));
    let far = run("something-else");
    assert_fails(&far, &["No such file"]);
    assert!(!stderr(&far).contains("Did you mean"), "{}", stderr(&far));
    assert_fails(
        &run("train.safetensors"),
        &["file of activations", "neurosieve init"],
    );
}

#[test]
fn a_value_of_the_wrong_type_and_broken_toml_are_shown_with_their_place() {
    let study = Study::new(&Study::usual(), "[control]\ndraws = \"three\"\n");
    assert_fails(&study.run(&[]), &["line 7, column 9", "invalid type"]);
    let study = Study::new(&Study::usual(), "[minimal_set]\ndeltas = 0.01\n");
    assert_fails(
        &study.run(&[]),
        &["line 7, column 10", "invalid type", "Write a list: [0.01]"],
    );
    let study = Study::new(&Study::usual(), "[control\n");
    assert_fails(&study.run(&[]), &["line 6, column "]);
    study.specify("name = \"no data\"\n");
    assert_fails(&study.run(&[]), &["missing field `data`"]);
}

#[test]
fn no_penalty_at_all_is_refused_with_its_place() {
    let study = Study::new(&Study::usual(), "[probe]\nl1 = 0.0\n");
    assert_fails(
        &study.run(&[]),
        &["line 7, column 6", "both 0", "a small positive value"],
    );
}

#[test]
fn the_rule_of_the_specification_chooses_the_penalty_and_stands_in_the_results() {
    let ratios = "lambda_ratios = [0.5, 0.1, 0.01, 0.001]\n";
    let chosen = |rule: &str| {
        let study = Study::new(
            &Study::usual(),
            &format!("[probe]\n{ratios}rule = \"{rule}\"\n"),
        );
        let output = study.run(&[]);
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        let task = study.results()["tasks"][0].clone();
        assert_eq!(task["oracle"]["rule"], rule);
        let path = task["lambda_path"].as_array().expect("a list").clone();
        let at = path.iter().position(|p| p["l1"] == task["oracle"]["l1"]);
        (at.expect("the oracle is on the path"), path)
    };
    let (at, path) = chosen("log-loss");
    let loss = |p: &serde_json::Value| p["dev_log_loss"].as_f64().expect("a number");
    assert!(path.iter().all(|p| loss(p) >= loss(&path[at])), "{path:?}");
    assert!(chosen("log-loss-1se").0 <= at);
    let (at, path) = chosen("lca");
    let score = |p: &serde_json::Value| p["lca_score"].as_f64().expect("a number");
    assert!(
        path.iter().all(|p| score(p) <= score(&path[at])),
        "{path:?}"
    );
    let study = Study::new(&Study::usual(), "[probe]\nrule = \"acuracy\"\n");
    assert_fails(
        &study.run(&[]),
        &["line 7, column 8", "Did you mean `accuracy`?"],
    );
}
