//! What each table and chart of the page has to hold, by the names of the fields of `results.json`.

mod charts;
mod common;
mod explorer;
mod sets;

use serde_json::Value;

use super::{Figures, Rows};

/// A cell of text.
const TEXT: Vec<f64> = Vec::new();

fn number(of: &Value) -> f64 {
    of.as_f64().expect("a number")
}

fn list(of: &Value) -> &[Value] {
    of.as_array().map(Vec::as_slice).expect("a list")
}

fn cells(of: &Value, fields: &[&str]) -> Vec<Vec<f64>> {
    fields
        .iter()
        .map(|field| vec![number(&of[*field])])
        .collect()
}

fn test(of: &Value) -> Vec<f64> {
    let interval = &of["test_interval"];
    vec![
        number(&of["test_accuracy"]),
        number(&interval[0]),
        number(&interval[1]),
    ]
}

/// Difference with its interval, p, p after Holm, the verdict.
fn against(of: &Value) -> Vec<Vec<f64>> {
    let (of, interval) = (&of["against_oracle"], &of["against_oracle"]["interval"]);
    let difference = vec![
        number(&of["difference"]),
        number(&interval[0]),
        number(&interval[1]),
    ];
    vec![
        difference,
        vec![number(&of["p"])],
        vec![number(&of["p_holm"])],
        TEXT,
    ]
}

fn rows(of: &Value, row: impl FnMut(&Value) -> Vec<Vec<f64>>) -> Rows {
    list(of).iter().map(row).collect()
}

/// Everything of a page of these results.
pub fn of(results: &Value) -> Figures {
    let mut found = Figures::default();
    common::tables(results, &mut found);
    common::charts(results, &mut found);
    for (at, task) in list(&results["tasks"]).iter().enumerate() {
        let mut table = |name: &str, rows: Rows| {
            if !rows.is_empty() {
                found.tables.insert((at + 1, name.to_owned()), rows);
            }
        };
        sets::tables(results, task, &mut table);
        others(task, &mut table);
        for (title, chart) in charts::charts(task) {
            found.charts.insert((at + 1, title), chart);
        }
    }
    found.explorer = explorer::explorer(results);
    found
}

fn others(task: &Value, table: &mut dyn FnMut(&str, Rows)) {
    table(
        "Layer selection",
        rows(&task["layer_selection"], |choice| {
            cells(
                choice,
                &["delta", "layer", "neurons", "dev_accuracy", "test_accuracy"],
            )
        }),
    );
    let salient = &task["salient"];
    let counts = list(&salient["by_class_layer"])
        .iter()
        .chain([&salient["by_layer"]]);
    let counts = counts.map(|counts| {
        let counts: Vec<f64> = list(counts).iter().map(number).collect();
        let sum = counts.iter().sum::<f64>();
        let counted = counts.into_iter().chain([sum]).map(|n| vec![n]);
        [TEXT].into_iter().chain(counted).collect()
    });
    table("Where the salient neurons sit", counts.collect());
    let chips = |of: &Value, field: &str| list(of).iter().map(|of| number(&of[field])).collect();
    let words = list(&salient["neurons"])
        .iter()
        .any(|n| !list(&n["top_words"]).is_empty());
    table(
        "Salient neurons",
        rows(&salient["neurons"], |neuron| {
            let mut row = cells(neuron, &["rank", "layer", "unit", "neuron"]);
            row.push(chips(&neuron["classes"], "weight"));
            row.extend(words.then(|| chips(&neuron["top_words"], "z")));
            row
        }),
    );
    let oracle = number(&task["oracle"]["test_accuracy"]);
    let draws = (1_u32..).zip(list(&task["control"]["accuracies"]));
    let draws = draws.map(|(draw, accuracy)| {
        let accuracy = number(accuracy);
        vec![
            vec![f64::from(draw)],
            vec![accuracy],
            vec![oracle - accuracy],
        ]
    });
    table("Control task and selectivity", draws.collect());
    table(
        "Classes",
        rows(&task["classes"], |class| {
            let recall = class["test_recall"].as_f64();
            let mut row = vec![TEXT];
            row.extend(cells(&class["samples"], &["train", "dev", "test"]));
            row.push(recall.into_iter().collect());
            row
        }),
    );
    let name = "Every fit and how near to its optimum it provably is";
    table(name, certificates(task));
}

fn certificate(of: &Value) -> Vec<&Value> {
    list(of).iter().map(|of| &of["certificate"]).collect()
}

fn certificates(task: &Value) -> Rows {
    let draws = |of: &'_ Value| of["certificates"].as_array().cloned().unwrap_or_default();
    let mut fits: Vec<Value> = vec![task["oracle"]["certificate"].clone()];
    let lists = [
        &task["lambda_path"],
        &task["layers"]["independent"],
        &task["layers"]["cumulative"],
        &task["minimal_sets"],
    ];
    fits.extend(lists.into_iter().flat_map(certificate).cloned());
    for set in list(&task["minimal_sets"]) {
        fits.extend(draws(&set["selectivity"]));
    }
    for found in list(&task["disjoint"]) {
        fits.extend(certificate(&found["sets"]).into_iter().skip(1).cloned());
    }
    fits.extend(certificate(&task["combined"]).into_iter().cloned());
    fits.extend(draws(&task["control"]));
    let fields = [
        "kkt",
        "kkt_relative",
        "duality_gap",
        "relative_gap",
        "passes",
        "certified_zeros",
        "certified_nonzeros",
    ];
    let row = |fit: &Value| [vec![TEXT; 2], cells(fit, &fields)].concat();
    fits.iter().map(row).collect()
}

/// How an ordering is called.
fn ranking(name: &Value) -> String {
    let name = name.as_str().expect("a name");
    if name == "lca" {
        "LCA".into()
    } else {
        name.into()
    }
}
