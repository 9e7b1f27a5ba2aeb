//! Charts of a task.

use serde_json::{Value, json};

use super::{list, number, ranking};

fn line(name: &str, x: &[f64], y: &[f64]) -> Value {
    json!({"name": name, "x": x, "y": y})
}

fn column(of: &Value, field: &str) -> Vec<f64> {
    list(of).iter().map(|point| number(&point[field])).collect()
}

pub(super) fn charts(task: &Value) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for (title, axis, kind) in [
        ("Each layer alone", "layer", "independent"),
        ("Layers up to each", "last layer", "cumulative"),
    ] {
        let points = &task["layers"][kind];
        let x = column(points, "layer");
        let ends = |at: usize| -> Vec<f64> {
            let points = list(points).iter();
            points
                .map(|point| number(&point["test_interval"][at]))
                .collect()
        };
        let mut test = line("test", &x, &column(points, "test_accuracy"));
        test["low"] = json!(ends(0));
        test["high"] = json!(ends(1));
        let mut lines = vec![line("dev", &x, &column(points, "dev_accuracy")), test];
        let selective = list(points)
            .iter()
            .all(|point| point["selectivity"].is_number());
        if kind == "independent" && selective {
            lines.push(line("selectivity", &x, &column(points, "selectivity")));
        }
        found.push((
            title.to_owned(),
            json!({"x": axis, "y": "accuracy", "lines": lines}),
        ));
    }
    let path = &task["lambda_path"];
    let l1 = column(path, "l1");
    for (title, unit, lines) in [
        (
            "Accuracy along the λ path",
            "accuracy",
            vec![
                line("train", &l1, &column(path, "train_accuracy")),
                line("dev", &l1, &column(path, "dev_accuracy")),
            ],
        ),
        (
            "Weights that are not zero",
            "weights",
            vec![line("non-zero", &l1, &column(path, "nonzero_weights"))],
        ),
    ] {
        let chart = json!({"x": "λ1 (weaker to the right)", "y": unit, "lines": lines});
        found.push((title.to_owned(), chart));
    }
    found.extend(sweeps(task));
    found.push(ladders(task));
    found
}

fn sweeps(task: &Value) -> Vec<(String, Value)> {
    let chart = |(ablation, title): (&str, &str)| {
        let shown = list(&task["sweeps"])
            .iter()
            .filter(|s| s["ablation"] == *ablation);
        let lines: Vec<Value> = shown
            .map(|sweep| {
                let name = match sweep["direction"].as_str() {
                    _ if sweep["ranking"] == "random" => {
                        format!("random (mean of {})", sweep["draws"])
                    }
                    Some("keep-bottom") => format!("{}, bottom", ranking(&sweep["ranking"])),
                    _ => format!("{}, top", ranking(&sweep["ranking"])),
                };
                let points = |field: &str| list(&sweep[field]).iter().map(number).collect();
                let (x, y): (Vec<f64>, Vec<f64>) = (points("k"), points("accuracy"));
                line(&name, &x, &y)
            })
            .collect();
        let values = json!({"x": "neurons kept", "y": "accuracy on test", "lines": lines});
        (!lines.is_empty()).then(|| (title.to_owned(), values))
    };
    let both = [
        ("mean", "The others replaced by their train mean"),
        ("zero", "The others replaced by zero"),
    ];
    both.into_iter().filter_map(chart).collect()
}

fn ladders(task: &Value) -> (String, Value) {
    let mut lines: Vec<(String, Vec<(f64, f64)>)> = Vec::new();
    for set in list(&task["minimal_sets"]) {
        let name = ranking(&set["ranking"]);
        if lines.iter().all(|line| line.0 != name) {
            lines.push((name.clone(), Vec::new()));
        }
        let line = lines
            .iter_mut()
            .find(|line| line.0 == name)
            .expect("it is there");
        let rungs = list(&set["ladder"]).iter();
        let rungs = rungs.map(|rung| (number(&rung["size"]), number(&rung["dev_accuracy"])));
        line.1.extend(rungs);
    }
    let lines = lines.into_iter().map(|(name, mut points)| {
        // One point a size, the lowest of those that were found.
        points.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        points.dedup_by(|a, b| a.0 == b.0);
        let (x, y): (Vec<f64>, Vec<f64>) = points.into_iter().unzip();
        line(&name, &x, &y)
    });
    let lines: Vec<Value> = lines.collect();
    let axes = ("neurons, a new probe at each size", "accuracy on dev");
    (
        "Retrained sets".into(),
        json!({"x": axes.0, "y": axes.1, "lines": lines}),
    )
}
