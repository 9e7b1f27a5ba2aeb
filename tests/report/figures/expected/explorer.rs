//! The explorer's neurons.

use serde_json::{Value, json};

use super::{list, number, ranking};

pub(super) fn explorer(results: &Value) -> Value {
    let tasks = list(&results["tasks"]);
    let neurons: Vec<Value> = list(&results["explored"]["neurons"])
        .iter()
        .map(|neuron| one(results, neuron))
        .collect();
    let of_task = |task: &Value| {
        let rankings = task["rankings"].as_object().expect("orderings").keys();
        let sets = list(&task["minimal_sets"]).iter().map(|set| {
            let percent = (number(&set["delta"]) * 1e8).round() / 1e6;
            format!("{}, δ {percent}\u{a0}%", ranking(&set["ranking"]))
        });
        json!({
            "name": task["name"],
            "classes": list(&task["classes"]).iter().map(|class| &class["name"]).collect::<Vec<_>>(),
            "rankings": rankings.map(|name| ranking(&json!(name))).collect::<Vec<_>>(),
            "sets": sets.collect::<Vec<_>>(),
        })
    };
    json!({
        "thresholds": list(&results["clusters"]).iter().map(|cut| &cut["threshold"]).collect::<Vec<_>>(),
        "tasks": tasks.iter().map(of_task).collect::<Vec<_>>(),
        "neurons": neurons,
    })
}

fn one(results: &Value, neuron: &Value) -> Value {
    let id = &neuron["neuron"];
    let at = number(id) as usize;
    let partners = list(&neuron["partners"]).iter().map(|other| {
        let layer = &results["data"]["layer_of"][number(&other["neuron"]) as usize];
        json!([other["neuron"], layer, other["r"]])
    });
    let words = list(&neuron["top_words"]).iter();
    let words = words.map(|word| json!([word["word"], word["z"], word["score"], word["count"]]));
    let cuts = list(&results["clusters"]).iter().map(|cut| {
        let (labels, own) = (list(&cut["labels"]), &cut["labels"][at]);
        let members = labels.iter().enumerate().filter(|(_, label)| *label == own);
        let members: Vec<usize> = members.map(|(neuron, _)| neuron).collect();
        let medoid = &cut["representatives"][number(own) as usize];
        json!([
            members.len(),
            medoid,
            members.iter().take(24).collect::<Vec<_>>()
        ])
    });
    let excerpts = list(&neuron["excerpts"]).iter().map(|excerpt| {
        let cut = [&excerpt["cut_before"], &excerpt["cut_after"]];
        json!({"sentence": excerpt["sentence"], "cut": cut, "words": excerpt["words"], "z": excerpt["z"]})
    });
    let tasks = list(&results["tasks"]).iter().zip(list(&neuron["tasks"]));
    let tasks = tasks.map(|(task, of)| of_task(id, task, of));
    json!({
        "id": id,
        "layer": neuron["layer"],
        "unit": neuron["unit"],
        "mean": neuron["mean"],
        "sd": neuron["sd"],
        "low": neuron["low"],
        "high": neuron["high"],
        "partners": partners.collect::<Vec<_>>(),
        "words": words.collect::<Vec<_>>(),
        "cuts": cuts.collect::<Vec<_>>(),
        "excerpts": excerpts.collect::<Vec<_>>(),
        "tasks": tasks.collect::<Vec<_>>(),
    })
}

fn of_task(id: &Value, task: &Value, of: &Value) -> Value {
    let place = |list: &[Value]| list.iter().position(|other| other == id);

    let rankings = task["rankings"].as_object().expect("orderings").values();
    let ranks = rankings.map(|ranking| place(list(&ranking["order"])).map_or(0, |at| at + 1));
    let within = |lists: &mut dyn Iterator<Item = &Value>| -> Vec<usize> {
        let found = lists
            .enumerate()
            .filter(|(_, of)| place(list(of)).is_some());
        found.map(|(at, _)| at).collect()
    };
    let mut sets = list(&task["minimal_sets"])
        .iter()
        .map(|set| &set["neurons"]);
    let weights = list(&of["weights"])
        .iter()
        .zip(list(&of["counts"]))
        .enumerate();
    let mut classes: Vec<Value> = weights.map(|(c, (w, n))| json!([c, w, n])).collect();
    let mut rest = Value::Null;
    if classes.len() > 10 {
        let size = |of: &Value| number(&of[1]).abs();
        classes.sort_by(|a, b| {
            size(b)
                .total_cmp(&size(a))
                .then(number(&a[0]).total_cmp(&number(&b[0])))
        });
        let others = classes.split_off(10);
        let bins = list(&others[0][2]).len();
        let sum = |bin: usize| {
            others
                .iter()
                .map(|of| of[2][bin].as_u64().expect("a count"))
                .sum::<u64>()
        };
        rest = (0..bins).map(sum).collect();
    }
    json!({
        "ranks": ranks.collect::<Vec<_>>(),
        "salient": within(&mut list(&task["salient"]["per_class"]).iter()),
        "sets": within(&mut sets),
        "classes": classes,
        "rest": rest,
    })
}
