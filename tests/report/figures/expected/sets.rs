//! Tables of sets of neurons.

use serde_json::Value;

use super::{TEXT, against, cells, list, number, rows, test};
use crate::report::figures::Rows;

pub(super) fn tables(results: &Value, task: &Value, table: &mut dyn FnMut(&str, Rows)) {
    let neurons = number(&results["data"]["neurons"]);
    let minimal = &task["minimal_sets"];
    let explored = list(&results["explored"]["neurons"]);
    let is_explored = |id: &&Value| explored.iter().any(|neuron| neuron["neuron"] == **id);
    let named = |set: &Value| {
        let ids = list(&set["neurons"]).iter();
        let all = ids.len();
        let linked = ids.take(60).filter(is_explored).map(number).collect();
        let rest = (all > 60).then_some(all as f64 - 60.0);
        vec![
            vec![number(&set["delta"])],
            TEXT,
            linked,
            rest.into_iter().collect(),
        ]
    };
    table(
        "Retrained sets",
        rows(minimal, |set| {
            let size = number(&set["size"]);
            let mut row = vec![
                vec![number(&set["delta"])],
                TEXT,
                vec![size],
                vec![size / neurons],
            ];
            row.extend([vec![number(&set["dev_accuracy"])], test(set)]);
            row.extend(against(set));
            row
        }),
    );
    table("Which neurons they are", rows(minimal, named));
    table(
        "Layer selection, clustering and ranking together",
        rows(&task["combined"], |found| {
            let layers = vec![number(&found["layer"]), number(&found["layer_neurons"])];
            let mut row = vec![vec![number(&found["delta"])], layers];
            let rest = [
                "threshold",
                "clusters",
                "clusters_dev_accuracy",
                "set_delta",
                "size",
                "dev_accuracy",
            ];
            row.extend(cells(found, &rest));
            row.push(test(found));
            row.extend(against(found));
            row
        }),
    );
    certainty(task, table);
    selectivity(neurons, task, table);
}

fn certainty(task: &Value, table: &mut dyn FnMut(&str, Rows)) {
    let disjoint = list(&task["disjoint"]).iter().flat_map(|found| {
        (1_u32..).zip(list(&found["sets"])).map(|(at, set)| {
            let mut row = vec![TEXT, vec![f64::from(at)]];
            row.extend(cells(set, &["size", "dev_accuracy"]));
            row.push(test(set));
            row.extend(against(set));
            row
        })
    });
    table("How many such sets are there?", disjoint.collect());
    table(
        "Would another sample of train name the same neurons?",
        rows(&task["stability"], |s| {
            let beside =
                |field: &str| vec![number(&s[field]["observed"]), number(&s[field]["chance"])];
            let always = list(&s["frequency"])
                .iter()
                .filter(|f| number(f) == 1.0)
                .count();
            vec![
                TEXT,
                vec![number(&s["size"])],
                TEXT,
                beside("mean_frequency"),
                beside("mean_equivalent_frequency"),
                vec![always as f64],
                beside("overlap"),
                beside("equivalent_overlap"),
                beside("jaccard"),
            ]
        }),
    );
    table(
        "Are they better than random neurons?",
        rows(&task["random_sets"], |found| {
            let range = |of: &Value| {
                ["mean", "lowest", "highest"]
                    .map(|f| number(&of[f]))
                    .to_vec()
            };
            let mut row = vec![TEXT];
            row.extend(cells(found, &["size", "draws", "set_dev_accuracy"]));
            row.push(range(&found["dev"]));
            row.push(vec![number(&found["set_test_accuracy"])]);
            row.push(range(&found["test"]));
            row.extend(cells(found, &["as_good", "p"]));
            row
        }),
    );
}

fn selectivity(neurons: f64, task: &Value, table: &mut dyn FnMut(&str, Rows)) {
    let minimal = &task["minimal_sets"];
    let control = &task["control"];
    let selective = |of: &Value, value: &str| {
        let ends = of["interval"].as_array().into_iter().flatten().map(number);
        [number(&of[value])].into_iter().chain(ends).collect()
    };
    let oracle = vec![
        TEXT,
        TEXT,
        vec![neurons],
        vec![number(&task["oracle"]["test_accuracy"])],
        vec![number(&control["accuracy"])],
        selective(control, "selectivity"),
    ];
    let of_sets = rows(minimal, |set| {
        let found = &set["selectivity"];
        let mut row = vec![vec![number(&set["delta"])], TEXT];
        row.extend(cells(set, &["size", "test_accuracy"]));
        row.push(vec![number(&found["control_accuracy"])]);
        row.push(selective(found, "value"));
        row
    });
    table("Minimal sets", [vec![oracle], of_sets].concat());
}
