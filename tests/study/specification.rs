//! The specification: its defaults, its documentation, its paths.

use std::path::Path;

use neurosieve::study::{self, Spec};

use super::spec;

#[test]
fn every_fixture_has_a_specification_that_can_be_read() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    for name in ["python-tokens", "english-suffixes"] {
        let spec = Spec::read(&fixtures.join(name).join("study.toml")).expect(name);
        study::load(&spec).expect(name);
    }
}

#[test]
fn the_defaults_are_those_that_the_documentation_lists() {
    let text =
        "[data]\ntrain = \"a\"\ndev = \"b\"\ntest = {activations = \"c\", labels = {x = \"d\"}}\n";
    let spec = Spec::parse(text, Path::new("study.toml")).expect("it is complete");
    let value = toml::Value::try_from(&spec).expect("a specification is TOML");
    let documentation = include_str!("../../src/study/spec/mod.rs");
    for (key, shown) in [
        ("probe.lambda_ratios", list(&spec.probe.lambda_ratios)),
        (
            "probe.relative_gap",
            format!("{:e}", spec.probe.relative_gap),
        ),
        ("probe.l2_per_l1", spec.probe.l2_per_l1.to_string()),
        ("probe.max_passes", spec.probe.max_passes.to_string()),
        (
            "clusters.precision",
            format!("`{}`", spec.clusters.precision),
        ),
        ("layers.deltas", list(&spec.layers.deltas)),
        ("minimal_set.deltas", list(&spec.minimal_set.deltas)),
        (
            "minimal_set.disjoint",
            spec.minimal_set.disjoint.to_string(),
        ),
        (
            "minimal_set.bootstrap",
            spec.minimal_set.bootstrap.to_string(),
        ),
        (
            "minimal_set.random_sets",
            spec.minimal_set.random_sets.to_string(),
        ),
        (
            "minimal_set.equivalent",
            spec.minimal_set.equivalent.to_string(),
        ),
        ("combined.deltas", list(&spec.combined.deltas)),
        ("combined.thresholds", list(&spec.combined.thresholds)),
        ("combined.set_delta", spec.combined.set_delta.to_string()),
        ("control.draws", spec.control.draws.to_string()),
        (
            "control.relative_gap",
            format!("{:e}", spec.control.relative_gap),
        ),
        ("sweep.random_draws", spec.sweep.random_draws.to_string()),
        ("concepts.mass", spec.concepts.mass.to_string()),
        ("concepts.min_count", spec.concepts.min_count.to_string()),
        ("concepts.top_words", spec.concepts.top_words.to_string()),
        ("concepts.neurons", spec.concepts.neurons.to_string()),
        ("concepts.explored", spec.concepts.explored.to_string()),
    ] {
        let row = format!("| `{key}` | {shown} |");
        assert!(documentation.contains(&row), "the table has no {row}");
        let (section, name) = key.split_once('.').expect("a section and a name");
        assert!(
            value.get(section).and_then(|s| s.get(name)).is_some(),
            "{key} is no key"
        );
    }
}

fn list(values: &[f64]) -> String {
    let texts: Vec<String> = values.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

#[test]
fn paths_are_relative_to_the_folder_of_the_specification() {
    let train = spec().data.train.activations;
    assert!(
        train.is_absolute() && train.is_file(),
        "{}",
        train.display()
    );
}
