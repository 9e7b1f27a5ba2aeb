//! Every flag of the fit changes it, and says so where it cannot.

use serde_json::Value;

use super::{attempt, number, probe, three_classes};
use crate::cli::{NEURONS, Part, Study, assert_fails, neurosieve, text};
use crate::support::assert_close;

/// Three classes of which one is rare, one small neuron: balance and scale matter.
fn unbalanced() -> [Part; 3] {
    let mut parts = three_classes();
    for label in parts[0]
        .labels
        .iter_mut()
        .skip(20)
        .filter(|label| **label == 2)
    {
        *label = 1;
    }
    for row in parts[0].values.chunks_mut(NEURONS) {
        row[0] *= 0.01;
    }
    parts
}

/// All weights and the document of one probe at a fixed penalty.
fn at_one_penalty(study: &Study, extra: &[&str]) -> (Vec<f64>, Value) {
    let one = ["--l1", "0.02", "--l2", "0.02"];
    let (weights, document) = probe(study, &[&one[..], extra].concat());
    (weights.weights.concat(), document)
}

#[test]
fn every_flag_of_the_fit_changes_it() {
    let study = Study::new(&unbalanced(), "");
    let with = |extra: &[&str]| at_one_penalty(&study, extra);
    let exact = |extra: &[&str]| with(&[&["--stop", "certified"], extra].concat());
    let (plain, document) = exact(&[]);
    for extra in [
        &["--class-weight", "balanced"][..],
        &["--penalty", "neurox"],
        &["--no-standardize"],
    ] {
        let (other, _) = exact(extra);
        let apart = plain.iter().zip(&other).map(|(a, b)| (a - b).abs());
        assert!(
            apart.fold(0.0, f64::max) > 1e-2,
            "{extra:?} changed nothing"
        );
    }
    let objective = number(&document["objective"]);
    for solver in ["newton", "fista", "lbfgs"] {
        let (_, other) = exact(&["--solver", solver]);
        assert_close(
            solver,
            number(&other["objective"]),
            objective,
            3e-6 * objective,
        );
    }
    let stopped_at = |stop: &str| {
        let (_, document) = with(&["--solver", "fista", "--stop", stop]);
        let certificate = &document["certificate"];
        (
            number(&certificate["relative_gap"]),
            number(&certificate["passes"]),
        )
    };
    let (loose, tight) = (stopped_at("gap=0.5"), stopped_at("gap=1e-6"));
    assert!(loose.0 > tight.0 && tight.0 <= 1e-6, "{loose:?} {tight:?}");
    assert!(loose.1 < tight.1, "{loose:?} {tight:?}");
    let (_, stopped) = with(&["--solver", "fista", "--max-passes", "2"]);
    assert_eq!(stopped["certificate"]["converged"], false);
    assert!(stopped["warnings"].to_string().contains("not converged"));
}

#[test]
fn neuroxs_training_stops_above_the_optimum_of_its_own_objective() {
    let study = Study::new(&three_classes(), "");
    let neurox = [
        "--penalty",
        "neurox",
        "--no-standardize",
        "--l1",
        "0.001",
        "--l2",
        "0.001",
    ];
    let objective = |extra: &[&str]| {
        let (weights, document) = probe(&study, &[&neurox[..], extra].concat());
        assert_eq!(weights.metadata["method"], document["method"]);
        (number(&document["objective"]), document)
    };
    let (exact, document) = objective(&[]);
    assert_eq!(
        (&document["method"], &document["penalty"]),
        (&"exact".into(), &"neurox".into())
    );
    let (ten, document) = objective(&["--solver", "adam"]);
    assert_eq!(document["method"], "adam");
    assert_eq!(document["certificate"]["converged"], false);
    assert!(
        document["warnings"]
            .to_string()
            .contains("NeuroX's training ends")
    );
    let (many, _) = objective(&["--solver", "adam", "--epochs", "400", "--batch-size", "120"]);
    let (fast, _) = objective(&["--solver", "adam", "--learning-rate", "0.01"]);
    assert!(
        exact < many && many < ten && fast < ten,
        "{exact} {many} {ten} {fast}"
    );
    assert!(ten > 1.05 * exact, "{exact} {ten}");
    for (extra, parts) in [
        (
            &["--solver", "adam", "--stop", "screening"][..],
            "--stop: it means nothing",
        ),
        (&["--epochs", "3"], "--epochs: it means nothing"),
        (
            &["--solver", "adam", "--class-weight", "balanced"],
            "neither weights of samples",
        ),
    ] {
        assert_fails(&attempt(&study, &[&neurox[..], extra].concat()), &[parts]);
    }
    assert_fails(
        &attempt(&study, &["--solver", "adam", "--l1", "0.1", "--l2", "0"]),
        &["--penalty neurox --no-standardize"],
    );
    assert_fails(
        &attempt(
            &study,
            &[
                "--solver",
                "adam",
                "--penalty",
                "neurox",
                "--no-standardize",
            ],
        ),
        &["folds", "--dev"],
    );
}

#[test]
fn weights_of_samples_from_a_file_do_what_the_flag_does() {
    let parts = unbalanced();
    let study = Study::new(&parts, "");
    let with = |extra: &[&str]| at_one_penalty(&study, extra);
    let counts = [0, 1, 2].map(|c| parts[0].labels.iter().filter(|l| **l == c).count());
    let weight =
        |label: &i32| 120.0 / (3.0 * counts[usize::try_from(*label).expect("a class")] as f64);
    let lines: Vec<String> = parts[0]
        .labels
        .iter()
        .map(|l| weight(l).to_string())
        .collect();
    let file = study.path("weights.txt");
    std::fs::write(&file, lines.join("\n")).expect("the folder is writable");
    let (by_flag, _) = with(&["--class-weight", "balanced"]);
    let (by_file, document) = with(&["--sample-weights", text(&file)]);
    for (a, b) in by_flag.iter().zip(&by_file) {
        assert_close("weight", *a, *b, 1e-5);
    }
    assert!(document["weighting"]["file"].is_string());
}

#[test]
fn an_output_that_would_replace_an_input_is_refused_before_anything_is_written() {
    let study = Study::new(&three_classes(), "");
    let input = study.path("train.safetensors");
    let before = std::fs::read(&input).expect("it is there");
    let one = ["--l1", "0.02", "--l2", "0.02"];
    let output = neurosieve(&[&["probe", text(&input), "-o", text(&input)], &one[..]].concat());
    assert_fails(&output, &["would be replaced, which is an input"]);
    assert_eq!(std::fs::read(&input).expect("it is there"), before);
}
