//! What is not of one task.

use serde_json::{Value, json};

use super::{TEXT, cells, list, number, rows, test};
use crate::report::figures::{Figures, Rows};

pub(super) fn tables(results: &Value, found: &mut Figures) {
    let mut table = |name: &str, rows: Rows| found.tables.insert((0, name.to_owned()), rows);
    let near = |of: &Value| number(&of["delta"]) == 0.01;
    let overview = rows(&results["tasks"], |task| {
        let (oracle, test) = (&task["oracle"], test(&task["oracle"]));
        let sets = list(&task["minimal_sets"]).iter().filter(|set| near(set));
        let sizes = sets.map(|set| number(&set["size"]));
        let layers = list(&task["layer_selection"]).iter();
        let layer = layers.filter(|of| near(of)).map(|of| number(&of["layer"]));
        vec![
            TEXT,
            vec![list(&task["classes"]).len() as f64],
            vec![number(&task["majority_accuracy"])],
            vec![number(&oracle["test_accuracy"])],
            test[1..].to_vec(),
            vec![sizes.fold(f64::INFINITY, f64::min)],
            TEXT,
            layer.collect(),
            vec![number(&task["control"]["selectivity"])],
        ]
    });
    table("At a glance", overview);
    let neurons = number(&results["data"]["neurons"]);
    let cuts = rows(&results["clusters"], |cut| {
        let count = number(&cut["count"]);
        vec![
            vec![number(&cut["threshold"])],
            vec![count],
            vec![count / neurons],
            TEXT,
        ]
    });
    table("Cuts", cuts);
    let used = rows(&results["test_use"]["evaluated"], |used| {
        [vec![TEXT; 2], cells(used, &["probes", "evaluations"])].concat()
    });
    table("Which probes", used);
    let layers = list(&results["data"]["layers"]);
    let pairs = list(&results["redundancy"]["layers"]);
    for (title, field) in [
        ("Mean |r| by pair of layers", "mean"),
        ("Largest |r| by pair of layers", "largest"),
    ] {
        let cell = |a: &Value, b: &Value| {
            let [low, high] = if number(a) <= number(b) {
                [a, b]
            } else {
                [b, a]
            };
            let same = |pair: &&Value| pair["layers"][0] == *low && pair["layers"][1] == *high;
            vec![number(&pairs.iter().find(same).expect("a pair")[field])]
        };
        let row = |a: &Value| {
            let numbers = layers.iter().map(|b| cell(a, b));
            [TEXT].into_iter().chain(numbers).collect()
        };
        table(title, layers.iter().map(row).collect());
    }
}

pub(super) fn charts(results: &Value, found: &mut Figures) {
    let mut chart = |name: &str, chart: Value| found.charts.insert((0, name.to_owned()), chart);
    let neurons = number(&results["data"]["neurons"]);
    let cuts = list(&results["clusters"]);
    let thresholds: Vec<f64> = cuts.iter().map(|cut| number(&cut["threshold"])).collect();
    let shares: Vec<f64> = cuts
        .iter()
        .map(|cut| number(&cut["count"]) / neurons)
        .collect();
    let lines = json!([{"name": "clusters", "x": thresholds, "y": shares}]);
    chart(
        "Clusters against the threshold",
        json!({"x": "threshold: largest distance inside a cluster", "y": "clusters as a share of neurons", "lines": lines}),
    );
    let sizes: Vec<Value> = cuts
        .iter()
        .flat_map(|cut| {
            let bins = list(&cut["size_histogram"]).iter();
            bins.map(|bin| {
                json!([
                    cut["threshold"],
                    bin["size"],
                    bin["neurons"],
                    bin["clusters"]
                ])
            })
        })
        .collect();
    chart(
        "Neurons by the size of their cluster",
        json!([["threshold", "size", "neurons", "clusters"], sizes]),
    );
    let windows: Vec<Value> = cuts
        .iter()
        .flat_map(|cut| {
            let spans = (1_usize..).zip(list(&cut["window_histogram"]));
            spans.map(|(span, clusters)| json!([cut["threshold"], span, clusters]))
        })
        .collect();
    chart(
        "Layers that a cluster spans",
        json!([
            ["threshold", "layers", "clusters, those of one neuron too"],
            windows
        ]),
    );
    let times = list(&results["timings"]).iter();
    let times: Vec<Value> = times.map(|t| json!([t["step"], t["seconds"]])).collect();
    chart("Time", json!([["step", "seconds"], times]));
    chart("Mean |r| in the order of the dendrogram", map(results));
}

fn map(results: &Value) -> Value {
    let map = &results["redundancy"]["map"];
    let order: Vec<usize> = list(&map["order"])
        .iter()
        .map(|n| number(n) as usize)
        .collect();
    let bounds = list(&map["bounds"]);
    let layers: Vec<Value> = bounds
        .windows(2)
        .map(|ends| {
            let group = &order[number(&ends[0]) as usize..number(&ends[1]) as usize];
            let layers = group.iter().map(|&n| &results["data"]["layer_of"][n]);
            let mut layers: Vec<u64> = layers.map(|l| l.as_u64().expect("a layer")).collect();
            layers.sort_unstable();
            let mean = layers.iter().sum::<u64>() as f64 / layers.len() as f64;
            json!([layers[0], mean, layers[layers.len() - 1]])
        })
        .collect();
    let single = bounds.len() - 1 == order.len();
    json!({
        "bounds": map["bounds"],
        "neurons": if single { map["order"].clone() } else { Value::Null },
        "layers": layers,
        "mean": map["mean"],
    })
}
