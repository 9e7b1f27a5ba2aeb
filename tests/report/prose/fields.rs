//! Which fields of a document are in the prose of its page: a number of each of these is changed, and that is noticed.

use std::collections::BTreeSet;

use serde_json::Value;

use super::expected::{self, Statements};
use super::shown::Texts;
use super::{differences, of_comparison, of_report, variants};
use crate::report::figures::document;
use crate::report::sample::results;

/// Fields of the sample's results that its page has in its prose; `*` stands for every place of a list.
const FIELDS: [&str; 87] = [
    "/clustering/pairs_at_least/*/pairs",
    "/clusters/*/count",
    "/clusters/*/size_histogram/*/clusters",
    "/clusters/*/size_histogram/*/neurons",
    "/clusters/*/window_histogram/*",
    "/data/constant/*",
    "/data/layer_of/*",
    "/data/layers/*",
    "/data/neurons",
    "/data/samples/dev",
    "/data/samples/test",
    "/data/samples/train",
    "/data/unit_of/*",
    "/explored/neurons/*/layer",
    "/explored/neurons/*/neuron",
    "/explored/neurons/*/unit",
    "/explored/wanted",
    "/loss_claims/family",
    "/redundancy/map/bounds/*",
    "/redundancy/map/mean/*",
    "/schema_version",
    "/seed",
    "/tasks/*/combined/*/against_oracle/difference",
    "/tasks/*/combined/*/against_oracle/interval/*",
    "/tasks/*/combined/*/against_oracle/p",
    "/tasks/*/combined/*/against_oracle/p_holm",
    "/tasks/*/combined/*/delta",
    "/tasks/*/combined/*/layer",
    "/tasks/*/combined/*/set_delta",
    "/tasks/*/combined/*/size",
    "/tasks/*/combined/*/threshold",
    "/tasks/*/control/accuracy",
    "/tasks/*/control/draws",
    "/tasks/*/control/interval/*",
    "/tasks/*/control/seen_in_train",
    "/tasks/*/control/selectivity",
    "/tasks/*/control/spread",
    "/tasks/*/disjoint/*/best_left",
    "/tasks/*/disjoint/*/delta",
    "/tasks/*/disjoint/*/left",
    "/tasks/*/disjoint/*/required",
    "/tasks/*/lambda_path/*/l1",
    "/tasks/*/layer_selection/*/delta",
    "/tasks/*/layer_selection/*/layer",
    "/tasks/*/layer_selection/*/neurons",
    "/tasks/*/layer_selection/*/test_accuracy",
    "/tasks/*/layers/cumulative/*/layer",
    "/tasks/*/layers/cumulative/*/test_interval/*",
    "/tasks/*/layers/independent/*/layer",
    "/tasks/*/layers/independent/*/test_accuracy",
    "/tasks/*/layers/independent/*/test_interval/*",
    "/tasks/*/majority_accuracy",
    "/tasks/*/minimal_sets/*/against_oracle/difference",
    "/tasks/*/minimal_sets/*/against_oracle/interval/*",
    "/tasks/*/minimal_sets/*/against_oracle/p",
    "/tasks/*/minimal_sets/*/against_oracle/p_holm",
    "/tasks/*/minimal_sets/*/delta",
    "/tasks/*/minimal_sets/*/neurons/*",
    "/tasks/*/minimal_sets/*/size",
    "/tasks/*/oracle/dev_accuracy",
    "/tasks/*/oracle/l1",
    "/tasks/*/oracle/l2",
    "/tasks/*/oracle/neurons_used",
    "/tasks/*/oracle/nonzero_weights",
    "/tasks/*/oracle/objective",
    "/tasks/*/oracle/test_accuracy",
    "/tasks/*/oracle/test_interval/*",
    "/tasks/*/oracle/train_accuracy",
    "/tasks/*/random_sets/*/as_good",
    "/tasks/*/random_sets/*/delta",
    "/tasks/*/random_sets/*/draws",
    "/tasks/*/random_sets/*/p",
    "/tasks/*/random_sets/*/size",
    "/tasks/*/random_sets/*/sufficient",
    "/tasks/*/salient/mass",
    "/tasks/*/salient/neurons/*/classes/*/weight",
    "/tasks/*/salient/neurons/*/top_words/*/z",
    "/tasks/*/stability/*/draws",
    "/tasks/*/stability/*/mean_equivalent_frequency/chance",
    "/tasks/*/stability/*/mean_equivalent_frequency/observed",
    "/tasks/*/stability/*/mean_frequency/chance",
    "/tasks/*/stability/*/mean_frequency/observed",
    "/tasks/*/stability/*/size",
    "/tasks/*/sweeps/*/draws",
    "/test_use/choices_after",
    "/test_use/probes",
    "/timings/*/seconds",
];

/// The same of a comparison in which sets were carried over.
const OF_COMPARISON: [&str; 23] = [
    "/draws",
    "/pairs/*/runs/*",
    "/pairs/*/tasks/*/depth/distance",
    "/pairs/*/tasks/*/depth/mean/*",
    "/pairs/*/tasks/*/depth/p",
    "/pairs/*/tasks/*/oracle/difference",
    "/pairs/*/tasks/*/oracle/interval/*",
    "/pairs/*/tasks/*/overlaps/*/expected",
    "/pairs/*/tasks/*/overlaps/*/k",
    "/pairs/*/tasks/*/overlaps/*/p",
    "/pairs/*/tasks/*/overlaps/*/share",
    "/pairs/*/tasks/*/overlaps/*/shared",
    "/pairs/*/tasks/*/transfer/*/against_own/difference",
    "/pairs/*/tasks/*/transfer/*/against_own/interval/*",
    "/pairs/*/tasks/*/transfer/*/random/difference",
    "/pairs/*/tasks/*/transfer/*/random/p_holm",
    "/pairs/*/tasks/*/transfer/*/size",
    "/runs/*/found/*/mass",
    "/runs/*/found/*/salient_by_class/*",
    "/schema_version",
    "/seed",
    "/transfer/delta",
    "/transfer/random_sets",
];

/// Its place among the variants.
const CARRIED_OVER: usize = 7;

/// Every number of a document by its pointer.
fn numbers(of: &Value, at: &str, found: &mut Vec<String>) {
    match of {
        Value::Number(_) => found.push(at.to_owned()),
        Value::Array(values) => {
            for (place, value) in values.iter().enumerate() {
                numbers(value, &format!("{at}/{place}"), found);
            }
        }
        Value::Object(fields) => {
            for (name, value) in fields {
                numbers(
                    value,
                    &format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")),
                    found,
                );
            }
        }
        _ => {}
    }
}

/// A pointer without the places in lists.
fn field(pointer: &str) -> String {
    let parts = pointer.split('/').map(|part| {
        let place = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if place { "*" } else { part }
    });
    parts.collect::<Vec<_>>().join("/")
}

/// Fields of a document whose change is noticed on its page, and how many numbers of it these are.
fn noticed(
    shown: &Texts,
    document: &Value,
    say: fn(&Value) -> Statements,
) -> (BTreeSet<String>, usize) {
    assert_eq!(differences(shown, &say(document)), Vec::<String>::new());
    let mut pointers = Vec::new();
    numbers(document, "", &mut pointers);
    let mut found = BTreeSet::new();
    let mut count = 0;
    for pointer in &pointers {
        let mut other = document.clone();
        let number = other.pointer_mut(pointer).expect("there is such a number");
        *number = match number.as_u64() {
            Some(whole) => Value::from(whole + 1),
            None => Value::from(number.as_f64().expect("a number") + 0.0137),
        };
        if !differences(shown, &say(&other)).is_empty() {
            count += 1;
            found.insert(field(pointer));
        }
    }
    (found, count)
}

#[test]
fn a_changed_number_of_the_results_is_noticed_where_prose_has_it() {
    let results = results();
    let (shown, _) = of_report(&results);
    let (found, count) = noticed(&shown, &document(&results), expected::report);
    assert_eq!(found, FIELDS.map(str::to_owned).into());
    assert!(count > 200, "{count}");
}

#[test]
fn a_changed_number_of_a_comparison_is_noticed_where_prose_has_it() {
    let (_, results) = variants::comparisons().swap_remove(CARRIED_OVER);
    let (shown, _) = of_comparison(&results);
    let document = serde_json::to_string(&results).expect("results are JSON");
    let document = serde_json::from_str(&document).expect("it can be read again");
    let (found, count) = noticed(&shown, &document, expected::comparison);
    assert_eq!(found, OF_COMPARISON.map(str::to_owned).into());
    assert!(count > 20, "{count}");
}
