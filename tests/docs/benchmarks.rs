//! Tables of measurements: each figure is the one in the file that its row names.
//!
//! A row that ends in a cell `` `FILE#/KEY/…` `` (a JSON pointer into a file of `benches/results`) has its figure in the cell
//! before. The figure is the file's number in the figure's unit, rounded to the digits that are shown.

use serde_json::Value;

use super::{pages, read, root};

/// Units of figures, and what one of the file's number is in them. Files count time in seconds, memory in bytes, and what
/// has neither as it is.
const UNITS: [(&str, f64); 9] = [
    ("", 1.0),
    ("s", 1.0),
    ("ms", 1e3),
    ("min", 1.0 / 60.0),
    ("%", 100.0),
    ("MB", 1e-6),
    ("GB", 1e-9),
    ("GFLOP/s", 1.0),
    ("times", 1.0),
];

/// Keys whose numbers are in another unit than that.
const KEYS: [(&str, &str, f64); 3] = [
    ("_gb", "GB", 1.0),
    ("/value", "GB/s", 1.0),
    ("gflops", "TFLOP/s", 1e-3),
];

/// One row of a table.
#[derive(Debug, PartialEq)]
struct Row<'a> {
    figure: &'a str,
    file: &'a str,
    pointer: &'a str,
}

/// The rows that name a file and a key.
fn rows(text: &str) -> Vec<Row<'_>> {
    text.lines()
        .filter_map(|line| {
            let line = line.trim().strip_prefix('|')?.strip_suffix('|')?;
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let [.., figure, source] = cells[..] else {
                return None;
            };
            let source = source.strip_prefix('`')?.strip_suffix('`')?;
            let (file, pointer) = source.split_once('#')?;
            if !pointer.starts_with('/') {
                return None;
            }
            Some(Row {
                figure,
                file,
                pointer,
            })
        })
        .collect()
}

/// A figure as it is written: its number, half a unit of its last digit, and its unit.
fn parsed(figure: &str) -> Option<(f64, f64, &str)> {
    let (number, unit) = figure.split_once(' ').unwrap_or((figure, ""));
    let plain = number.replace(',', "");
    let (mantissa, exponent) = plain.split_once('e').unwrap_or((&plain, "0"));
    let digits = mantissa.split_once('.').map_or(0, |(_, after)| after.len());
    let exponent: i32 = exponent.parse().ok()?;
    let half = 0.5 * 10f64.powi(exponent - i32::try_from(digits).ok()?);
    Some((plain.parse().ok()?, half, unit))
}

/// What is wrong with a row; `open` gives the document of a file.
fn wrong(row: &Row<'_>, open: &dyn Fn(&str) -> Option<Value>) -> Option<String> {
    let Row {
        figure,
        file,
        pointer,
    } = row;
    let Some((shown, half, unit)) = parsed(figure) else {
        return Some(format!("\"{figure}\" is no figure"));
    };
    let Some(document) = open(file) else {
        return Some(format!("there is no benches/results/{file}"));
    };
    let Some(number) = document.pointer(pointer).and_then(Value::as_f64) else {
        return Some(format!("{file} has no number {pointer}"));
    };
    let own = KEYS
        .iter()
        .find(|(key, of, _)| pointer.ends_with(key) && *of == unit)
        .map(|(_, _, scale)| *scale);
    let usual = || UNITS.iter().find(|(of, _)| *of == unit).map(|at| at.1);
    let Some(scale) = own.or_else(usual) else {
        return Some(format!(
            "\"{figure}\": tests/docs/benchmarks.rs knows no {unit}"
        ));
    };
    let there = number * scale;
    ((there - shown).abs() > half * (1.0 + 1e-9))
        .then(|| format!("\"{figure}\" is {there} in {file}#{pointer}"))
}

fn open(file: &str) -> Option<Value> {
    let path = root().join("benches/results").join(file);
    let text = std::fs::read_to_string(path).ok()?;
    serde_json::from_str(&text).ok()
}

#[test]
fn every_figure_is_that_of_its_file() {
    let mut checked = 0;
    let mut found = Vec::new();
    for page in pages() {
        for row in rows(&read(&page)) {
            checked += 1;
            found.extend(wrong(&row, &open).map(|what| format!("{page}: {what}")));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    assert!(checked >= 20, "{checked} rows");
}

/// A table of measurements whose rows do not name their source would not be checked.
#[test]
fn every_row_of_the_benchmark_page_names_its_source() {
    let text = read("docs/benchmarks.md");
    let tables = text.lines().filter(|line| line.starts_with('|')).count();
    let heads = text.lines().filter(|line| line.starts_with("|---")).count();
    assert_eq!(rows(&text).len(), tables - 2 * heads);
}

#[test]
fn another_figure_than_the_file_s_is_caught() {
    let page = "| what | figure | source |\n|---|---|---|\n\
                | a | 1,234.5 s | `x.json#/a/0/seconds` |\n| b | 12 % | nothing |\n";
    let found = rows(page);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].pointer, "/a/0/seconds");
    let document = serde_json::json!({
        "a": [{"seconds": 1234.46}], "share": 0.8344, "error": 3.64e-7, "peak_bytes": 129_974_272, "peak_memory_gb": 5.87
    });
    let open = |file: &str| (file == "x.json").then(|| document.clone());
    let verdict = |figure: &str, file: &str, pointer: &str| {
        wrong(
            &Row {
                figure,
                file,
                pointer,
            },
            &open,
        )
    };
    for (figure, pointer) in [
        ("1,234.5 s", "/a/0/seconds"),
        ("20.6 min", "/a/0/seconds"),
        ("83 %", "/share"),
        ("3.6e-7", "/error"),
        ("130 MB", "/peak_bytes"),
        ("5.9 GB", "/peak_memory_gb"),
    ] {
        assert_eq!(verdict(figure, "x.json", pointer), None);
    }
    for (figure, file, pointer) in [
        ("1,234.6 s", "x.json", "/a/0/seconds"),
        ("84 %", "x.json", "/share"),
        ("3.7e-7", "x.json", "/error"),
        ("131 MB", "x.json", "/peak_bytes"),
        ("0.83 parsecs", "x.json", "/share"),
        ("83 %", "y.json", "/share"),
        ("83 %", "x.json", "/no"),
        ("many", "x.json", "/share"),
    ] {
        assert!(verdict(figure, file, pointer).is_some(), "{figure}");
    }
}
