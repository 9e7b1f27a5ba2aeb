//! Every figure of the page is one of `results.json`: the numbers of each table with all their digits and as they are shown,
//! the points of each chart, the map and the explorer. What a table or chart has to hold is said in `expected`, by the names
//! of fields alone; nothing of the page is left out.

mod expected;

use std::collections::BTreeMap;

use neurosieve::study::results::StudyResults;
use serde_json::Value;

use super::markup::{Element, parse};
use super::page;
use super::sample::results;

/// Tables and charts by task (from 1; 0 for none) and the heading that they stand under.
pub type Found<T> = BTreeMap<(usize, String), T>;

/// The numbers of a table: rows of cells, none in a cell of text.
pub type Rows = Vec<Vec<Vec<f64>>>;

/// What a page or results hold.
#[derive(Debug, Default)]
pub struct Figures {
    pub tables: Found<Rows>,
    /// What each chart is drawn from.
    pub charts: Found<Value>,
    pub explorer: Value,
}

/// Where a page and results differ; empty where they agree.
pub fn differences(page: &str, results: &Value) -> Vec<String> {
    let (shown, mut wrong) = read(page);
    let wanted = expected::of(results);
    let names = shown.tables.keys().chain(wanted.tables.keys());
    for name in names {
        if shown.tables.get(name) != wanted.tables.get(name) {
            let (shown, wanted) = (shown.tables.get(name), wanted.tables.get(name));
            wrong.push(format!("table {name:?}: {shown:?} for {wanted:?}"));
        }
    }
    let names = shown.charts.keys().chain(wanted.charts.keys());
    for name in names {
        if shown.charts.get(name) != wanted.charts.get(name) {
            let (shown, wanted) = (shown.charts.get(name), wanted.charts.get(name));
            wrong.push(format!("chart {name:?}: {shown:?} for {wanted:?}"));
        }
    }
    if shown.explorer != wanted.explorer {
        wrong.push(format!(
            "explorer: {} for {}",
            shown.explorer, wanted.explorer
        ));
    }
    wrong
}

/// The text of `results.json` as numbers: an f32 has the digits that are written, not those of an f64.
pub fn document(results: &StudyResults) -> Value {
    let text = serde_json::to_string(results).expect("results are JSON");
    serde_json::from_str(&text).expect("it can be read again")
}

/// All figures of a page, and texts that show another number than their cell has.
fn read(page: &str) -> (Figures, Vec<String>) {
    let root = parse(page);
    let (mut found, mut wrong) = (Figures::default(), Vec::new());
    let mut articles = 0;
    for element in root.all("main")[0].inside.iter() {
        let task = if element.name == "article" {
            articles += 1;
            articles
        } else {
            0
        };
        let mut heading = String::new();
        for part in element.walk() {
            match &*part.name {
                "h2" | "h3" | "h4" | "summary" => heading.clone_from(&part.text),
                "table" => {
                    let rows = rows(part, &mut wrong);
                    let before = found.tables.insert((task, heading.clone()), rows);
                    assert!(before.is_none(), "two tables are called {heading}");
                }
                _ => {}
            }
            let values = part.attribute("data-values");
            if let Some(values) = values {
                let title = part.all("h4")[0].text.clone();
                let mut values: Value = serde_json::from_str(values).expect("it is JSON");
                points(&mut values);
                let before = found.charts.insert((task, title), values);
                assert!(before.is_none(), "two charts have the same title");
            }
        }
    }
    let scripts = root.all("script").into_iter();
    let data = scripts.filter(|script| script.attribute("id") == Some("neurons"));
    for script in data {
        found.explorer = serde_json::from_str(&script.text).expect("it is JSON");
    }
    (found, wrong)
}

/// Counts of samples as the points that the script makes of them.
fn points(values: &mut Value) {
    let lines = values.get_mut("lines").and_then(Value::as_array_mut);
    for line in lines.into_iter().flatten() {
        let Some(steps) = line.get("steps").and_then(Value::as_array).cloned() else {
            continue;
        };
        let (draws, of) = (line["draws"].as_f64(), line["of"].as_f64());
        let (draws, of) = (draws.expect("a number"), of.expect("a number"));
        let mut sum = 0.0;
        let y: Vec<f64> = steps
            .iter()
            .map(|step| {
                sum += step.as_f64().expect("a number");
                sum / draws / of
            })
            .collect();
        let x: Vec<f64> = (0..y.len()).map(|k| k as f64).collect();
        *line = serde_json::json!({"name": line["name"], "x": x, "y": y});
    }
}

/// The numbers of a table's cells.
fn rows(table: &Element, wrong: &mut Vec<String>) -> Rows {
    let mut rows = Vec::new();
    for row in table.all("tbody")[0].all("tr") {
        if row.attribute("aria-hidden").is_some() {
            continue;
        }
        let cells = row.inside.iter().map(|cell| {
            let exact = numbers(cell);
            if !shows(&cell.text, &exact) {
                wrong.push(format!("\"{}\" is shown for {exact:?}", cell.text));
            }
            exact
        });
        rows.push(cells.collect());
    }
    rows
}

/// All digits of what a cell shows; of a cell of text (a verdict, say) none.
fn numbers(cell: &Element) -> Vec<f64> {
    let parse = |text: &str| text.parse::<f64>().expect("a number");
    let chips = cell.walk().into_iter().filter(|e| e.has_class("chip"));
    let mut found: Vec<f64> = chips
        .filter_map(|chip| chip.attribute("data-exact").map(parse))
        .collect();
    if cell.has_class("n") && cell.text.contains(|c: char| c.is_ascii_digit()) {
        found.extend(cell.attribute("data-sort").map(parse));
        let more = cell.attribute("data-more").unwrap_or_default();
        found.extend(more.split_whitespace().map(parse));
    }
    let ids = cell.all("a").into_iter();
    let ids = ids.filter_map(|link| link.attribute("href")?.strip_prefix("#neuron-").map(parse));
    if !cell.has_class("n") {
        found.extend(ids);
    }
    found
}

/// Whether each number is among those that a text shows: itself or as a percentage, rounded to the digits that are there.
pub fn shows(text: &str, exact: &[f64]) -> bool {
    let plain = text
        .replace(['\u{a0}', ','], "")
        .replace('−', "-")
        .replace('–', " ");
    let mut shown = Vec::new();
    let mut rest = &*plain;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let minus = rest[..start].ends_with('-');
        let digits = |c: char| c.is_ascii_digit() || c == '.' || c == 'e';
        let mut end = start;
        while let Some(letter) = rest[end..].chars().next() {
            let exponent = letter == '-' && rest[..end].ends_with('e');
            if !digits(letter) && !exponent {
                break;
            }
            end += letter.len_utf8();
        }
        let number = rest[start..end].trim_end_matches(['.', 'e']);
        if let Ok(value) = number.parse::<f64>() {
            let (lead, power) = number.split_once('e').unwrap_or((number, "0"));
            let decimals = lead.split_once('.').map_or(0, |(_, after)| after.len());
            let unit = 10_f64.powi(power.parse::<i32>().expect("a power"))
                / 10_f64.powi(i32::try_from(decimals).expect("few digits"));
            shown.push((if minus { -value } else { value }, unit));
        }
        rest = &rest[end..];
    }
    let below = text.contains('<');
    exact.iter().all(|&number| {
        shown.iter().any(|&(value, unit)| {
            let near = |number: f64| (number - value).abs() <= 0.5 * unit * (1.0 + 1e-9);
            near(number) || near(number * 100.0) || (below && number < value)
        })
    })
}

#[test]
fn numbers_that_are_shown_are_told_from_others() {
    for (text, exact) in [
        ("92.6\u{a0}% (88.0–95.6\u{a0}%)", vec![0.9263, 0.88, 0.956]),
        ("−2.0 (−12.0 to +8.0)", vec![-0.02, -0.12, 0.08]),
        ("<\u{a0}0.001", vec![0.0004]),
        ("1.2e−5", vec![1.234e-5]),
        ("0–3 (1,024)", vec![3.0, 1024.0]),
        ("90.0\u{a0}% ✗", vec![0.9]),
    ] {
        assert!(shows(text, &exact), "{text}");
        let other: Vec<f64> = exact.iter().map(|number| number * 1.1 + 0.01).collect();
        assert!(!shows(text, &other), "{text} does not show {other:?}");
    }
}

#[test]
fn every_figure_of_the_page_is_one_of_results_json() {
    let results = results();
    let json = document(&results);
    let page = page(&results);
    let (figures, _) = read(&page);
    assert!(figures.tables.len() > 30, "{:?}", figures.tables.keys());
    assert!(figures.charts.len() > 15, "{:?}", figures.charts.keys());
    assert_eq!(differences(&page, &json), Vec::<String>::new());
}

/// Numbers of results of which one changed is noticed: for each kind of table and chart one.
const NOTICED: [&str; 36] = [
    "/tasks/0/oracle/test_accuracy",
    "/tasks/1/oracle/test_interval/1",
    "/tasks/0/majority_accuracy",
    "/tasks/0/layer_selection/0/dev_accuracy",
    "/tasks/0/layers/independent/1/test_accuracy",
    "/tasks/0/layers/independent/0/test_interval/0",
    "/tasks/1/layers/cumulative/1/dev_accuracy",
    "/tasks/0/sweeps/0/accuracy/3",
    "/tasks/1/sweeps/2/accuracy/1",
    "/tasks/0/minimal_sets/0/ladder/1/dev_accuracy",
    "/tasks/0/minimal_sets/1/against_oracle/p_holm",
    "/tasks/0/minimal_sets/0/selectivity/value",
    "/tasks/0/disjoint/0/sets/1/test_accuracy",
    "/tasks/0/stability/0/jaccard/chance",
    "/tasks/0/random_sets/0/dev/lowest",
    "/tasks/1/combined/0/layer_neurons",
    "/tasks/0/salient/by_class_layer/0/1",
    "/tasks/0/salient/neurons/0/classes/0/weight",
    "/tasks/0/salient/neurons/0/top_words/1/z",
    "/tasks/0/control/accuracies/1",
    "/tasks/1/lambda_path/0/train_accuracy",
    "/tasks/0/lambda_path/1/nonzero_weights",
    "/tasks/0/classes/1/test_recall",
    "/tasks/0/layers/cumulative/0/certificate/duality_gap",
    "/clusters/1/count",
    "/clusters/0/size_histogram/0/neurons",
    "/clusters/0/window_histogram/1",
    "/redundancy/map/mean/2",
    "/redundancy/layers/1/mean",
    "/redundancy/layers/1/largest",
    "/explored/neurons/1/partners/0/r",
    "/explored/neurons/0/excerpts/1/z/0",
    "/explored/neurons/0/tasks/1/weights/1",
    "/explored/neurons/1/tasks/0/counts/0/2",
    "/test_use/evaluated/0/probes",
    "/timings/0/seconds",
];

#[test]
fn a_changed_figure_is_noticed() {
    let results = results();
    let page = page(&results);
    let json = document(&results);
    for pointer in NOTICED {
        let mut other = json.clone();
        let number = other.pointer_mut(pointer).expect("there is such a number");
        *number = match number.as_u64() {
            Some(whole) => Value::from(whole + 1),
            None => Value::from(number.as_f64().expect("a number") - 1e-12),
        };
        assert!(!differences(&page, &other).is_empty(), "{pointer}");
    }
    // The digits agree and what is shown does not.
    let otherwise = page.replacen(">90.0\u{a0}%", ">91.0\u{a0}%", 1);
    assert_ne!(otherwise, page);
    assert_eq!(differences(&otherwise, &json).len(), 1);
}
