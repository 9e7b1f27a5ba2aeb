//! The tables of the report.

use std::collections::BTreeSet;

use serde::Serialize;

use super::answer::{Verdict, verdict};
use crate::report::csv::fits;
use crate::report::format;
use crate::study::results::{CertificateRecord, MinimalSet, Paired, StudyResults, TaskResults};

/// Neurons of a set that are named.
const NAMED: usize = 60;

/// One cell: what is shown, and the same with all digits, by which the column is sorted.
#[derive(Debug, Default, Serialize)]
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) sort: Option<f64>,
    /// Further numbers that the text shows: the ends of an interval, or what stands in brackets.
    pub(super) more: Vec<f64>,
    pub(super) tone: &'static str,
    pub(super) chips: Vec<Chip>,
    /// Neurons by id, and whether the explorer has them.
    pub(super) neurons: Vec<(usize, bool)>,
}

/// A word or class with a signed number, the stronger the darker.
#[derive(Debug, Serialize)]
pub(super) struct Chip {
    pub(super) text: String,
    pub(super) value: String,
    /// The number with all digits.
    pub(super) exact: f64,
    /// `up` or `down`.
    pub(super) sign: &'static str,
    /// Percent.
    pub(super) strength: f64,
}

/// A table that a click on a heading sorts.
#[derive(Debug, Serialize)]
pub(super) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

#[derive(Debug, Serialize)]
struct Column {
    name: &'static str,
    numeric: bool,
}

pub(super) fn text(text: impl Into<String>) -> Cell {
    Cell {
        text: text.into(),
        ..Cell::default()
    }
}

pub(super) fn number(shown: String, sort: f64) -> Cell {
    Cell {
        sort: Some(sort),
        ..text(shown)
    }
}

/// A number that is shown with others, which are `more`.
pub(super) fn numbers(shown: String, sort: f64, more: &[f64]) -> Cell {
    Cell {
        more: more.to_vec(),
        ..number(shown, sort)
    }
}

fn toned(shown: &str, sort: f64, tone: &'static str) -> Cell {
    Cell {
        tone,
        ..number(shown.to_owned(), sort)
    }
}

/// A test accuracy with its interval, sorted by the accuracy.
pub(super) fn with_interval(accuracy: f64, ends: [f64; 2]) -> Cell {
    let shown = format!("{} ({})", format::percent(accuracy), format::interval(ends));
    numbers(shown, accuracy, &ends)
}

pub(super) fn share(value: f64) -> Cell {
    number(format::percent(value), value)
}

pub(super) fn count(value: usize) -> Cell {
    number(format::count(value), value as f64)
}

/// An accuracy on dev, marked when it is farther than δ below the oracle's.
fn on_dev(task: &TaskResults, accuracy: f64, delta: f64) -> Cell {
    let mut cell = share(accuracy);
    if !task.suffices(accuracy, delta) {
        cell.text.push_str(" ✗");
        cell.tone = "care";
    }
    cell
}

fn interval(ends: [f64; 2]) -> Cell {
    numbers(format::interval(ends), ends[0], &ends[1..])
}

/// `*` marks columns of numbers.
pub(super) fn table(columns: &[&'static str], rows: Vec<Vec<Cell>>) -> Table {
    Table {
        columns: columns
            .iter()
            .map(|name| Column {
                name: name.trim_start_matches('*'),
                numeric: name.starts_with('*'),
            })
            .collect(),
        rows,
    }
}

/// One row a task: the whole study at a glance.
pub(super) fn overview(results: &StudyResults) -> Table {
    let rows = results
        .tasks
        .iter()
        .map(|task| {
            let delta = super::answer::headline_delta(task);
            let set = delta.and_then(|delta| super::answer::smallest_set(task, delta));
            let layer = delta.and_then(|delta| {
                let mut choices = task.layer_selection.iter();
                choices.find(|choice| choice.delta == delta)
            });
            let absent = || text("–");
            vec![
                text(&task.name),
                count(task.classes.len()),
                share(task.majority_accuracy),
                share(task.oracle.test_accuracy),
                interval(task.oracle.test_interval),
                set.map_or_else(absent, |set| count(set.size)),
                set.map_or_else(absent, |set| {
                    verdict_cell(&set.against_oracle, set.delta, task)
                }),
                layer.map_or_else(absent, |choice| count(choice.layer as usize)),
                task.control.as_ref().map_or_else(absent, |control| {
                    number(format::points(control.selectivity), control.selectivity)
                }),
            ]
        })
        .collect();
    table(
        &[
            "task",
            "*classes",
            "*majority",
            "*oracle, test",
            "*95 % interval",
            "*fewest neurons",
            "no loss on test?",
            "*up to layer",
            "*selectivity, points",
        ],
        rows,
    )
}

fn verdict_cell(paired: &Paired, delta: f64, task: &TaskResults) -> Cell {
    if !task.above_chance {
        return toned("void", 3.0, "care");
    }
    match verdict(paired, delta, task.oracle.test_accuracy) {
        Verdict::Supported => toned("supported", 0.0, "good"),
        Verdict::Open => toned("not\u{a0}decided", 1.0, ""),
        Verdict::Loss => toned("a\u{a0}loss", 2.0, "care"),
    }
}

/// Classes and how well each is told.
pub(super) fn classes(task: &TaskResults) -> Table {
    let rows = task
        .classes
        .iter()
        .map(|class| {
            vec![
                text(&class.name),
                count(class.samples.train),
                count(class.samples.dev),
                count(class.samples.test),
                class.test_recall.map_or_else(|| text("–"), share),
            ]
        })
        .collect();
    table(&["class", "*train", "*dev", "*test", "*recall, test"], rows)
}

/// Layers suffice for each δ.
pub(super) fn layer_selection(task: &TaskResults) -> Table {
    let rows = task
        .layer_selection
        .iter()
        .map(|choice| {
            vec![
                number(format::delta(choice.delta), choice.delta),
                count(choice.layer as usize),
                count(choice.neurons),
                share(choice.dev_accuracy),
                share(choice.test_accuracy),
            ]
        })
        .collect();
    table(&["*δ", "*up to layer", "*neurons", "*dev", "*test"], rows)
}

/// Paired comparison with the oracle: difference and interval, p, the same corrected, verdict.
pub(super) fn against(paired: &Paired, delta: f64, task: &TaskResults) -> [Cell; 4] {
    let difference = format!(
        "{} ({})",
        format::points(paired.difference),
        format::points_interval(paired.interval)
    );
    [
        numbers(difference, paired.difference, &paired.interval),
        number(format::p_value(paired.p), paired.p),
        number(format::p_value(paired.p_holm), paired.p_holm),
        verdict_cell(paired, delta, task),
    ]
}

/// Minimal sets.
pub(super) fn minimal_sets(results: &StudyResults, task: &TaskResults) -> Table {
    let all = results.data.neurons.max(1) as f64;
    let rows = task
        .minimal_sets
        .iter()
        .map(|set| {
            let mut row = vec![
                number(format::delta(set.delta), set.delta),
                text(format::ranking(&set.ranking)),
                count(set.size),
                share(set.size as f64 / all),
                on_dev(task, set.dev_accuracy, set.delta),
                with_interval(set.test_accuracy, set.test_interval),
            ];
            row.extend(against(&set.against_oracle, set.delta, task));
            row
        })
        .collect();
    table(
        &[
            "*δ",
            "ordering",
            "*neurons",
            "*of all",
            "*dev",
            "*test (95 %)",
            "*− oracle, points (95 %)",
            "*p",
            "*p, Holm",
            "no loss above δ?",
        ],
        rows,
    )
}

/// The neurons of the minimal sets, the first ones of each.
pub(super) fn set_neurons(task: &TaskResults, explored: &BTreeSet<usize>) -> Table {
    let row = |set: &MinimalSet| {
        let named = ids(&set.neurons[..set.neurons.len().min(NAMED)], explored);
        let left = set.neurons.len().saturating_sub(NAMED);
        vec![
            number(format::delta(set.delta), set.delta),
            text(format::ranking(&set.ranking)),
            named,
            match left {
                0 => text(""),
                left => number(format::count(left), left as f64),
            },
        ]
    };
    table(
        &["*δ", "ordering", "neurons, most salient first", "*and more"],
        task.minimal_sets.iter().map(row).collect(),
    )
}

/// Neurons by id; those that the explorer has are linked to it.
pub(super) fn ids(neurons: &[usize], explored: &BTreeSet<usize>) -> Cell {
    let named = neurons.iter().map(|n| (*n, explored.contains(n)));
    Cell {
        neurons: named.collect(),
        ..Cell::default()
    }
}

/// Layer selection, clustering and ranking together.
pub(super) fn combined(results: &StudyResults, task: &TaskResults) -> Table {
    let first = results.data.layers.first().copied().unwrap_or(0);
    let rows = task
        .combined
        .iter()
        .map(|found| {
            let mut row = vec![
                number(format::delta(found.delta), found.delta),
                numbers(
                    format!(
                        "{} ({})",
                        format::layer_span(first, found.layer),
                        format::count(found.layer_neurons)
                    ),
                    f64::from(found.layer),
                    &[found.layer_neurons as f64],
                ),
                number(format::plain(found.threshold), found.threshold),
                count(found.clusters),
                share(found.clusters_dev_accuracy),
                number(format::delta(found.set_delta), found.set_delta),
                count(found.size),
                on_dev(task, found.dev_accuracy, found.set_delta),
                with_interval(found.test_accuracy, found.test_interval),
            ];
            row.extend(against(&found.against_oracle, found.set_delta, task));
            row
        })
        .collect();
    table(
        &[
            "*δ, layers",
            "*layers (neurons)",
            "*threshold",
            "*clusters",
            "*their dev",
            "*δ, set",
            "*neurons",
            "*dev",
            "*test (95 %)",
            "*− oracle, points (95 %)",
            "*p",
            "*p, Holm",
            "no loss above δ?",
        ],
        rows,
    )
}

/// Optimality of every fit of a task.
pub(super) fn certificates(task: &TaskResults) -> Table {
    let fits = fits(task);
    let rows = fits
        .into_iter()
        .map(|(name, fit)| certificate(name, fit))
        .collect();
    table(
        &[
            "fit",
            "converged",
            "*KKT residual",
            "*÷ λ_max",
            "*duality gap",
            "*÷ objective",
            "*passes",
            "*certified zeros",
            "*certified non-zeros",
        ],
        rows,
    )
}

fn certificate(name: String, certificate: &CertificateRecord) -> Vec<Cell> {
    let converged = if certificate.converged {
        toned("yes", 1.0, "")
    } else {
        toned("no", 0.0, "care")
    };
    let small = |value: f64| number(format!("{value:.1e}").replace('-', "−"), value);
    vec![
        text(name),
        converged,
        small(certificate.kkt),
        small(certificate.kkt_relative),
        small(certificate.duality_gap),
        small(certificate.relative_gap),
        number(
            format::plain((certificate.passes * 10.0).round() / 10.0),
            certificate.passes,
        ),
        count(certificate.certified_zeros),
        count(certificate.certified_nonzeros),
    ]
}

/// Fits of a task that did not meet their stopping rule.
pub(super) fn unconverged(task: &TaskResults) -> usize {
    fits(task).iter().filter(|(_, fit)| !fit.converged).count()
}

/// Minimal sets beside control tasks on their neurons, after the oracle beside those on all.
pub(super) fn set_selectivity(results: &StudyResults, task: &TaskResults) -> Option<Table> {
    let control = task.control.as_ref()?;
    let selective = |value: f64, ends: Option<[f64; 2]>| {
        let bracket = ends.map(|ends| format!(" ({})", format::points_interval(ends)));
        let shown = format!("{}{}", format::points(value), bracket.unwrap_or_default());
        numbers(shown, value, ends.as_ref().map_or(&[], |ends| &ends[..]))
    };
    let sets = task.minimal_sets.iter().filter_map(|set| {
        let found = set.selectivity.as_ref()?;
        Some(vec![
            number(format::delta(set.delta), set.delta),
            text(format::ranking(&set.ranking)),
            count(set.size),
            share(set.test_accuracy),
            share(found.control_accuracy),
            selective(found.value, found.interval),
        ])
    });
    let mut rows: Vec<Vec<Cell>> = sets.collect();
    if rows.is_empty() {
        return None;
    }
    let oracle = vec![
        number("–".to_owned(), 0.0),
        text("all neurons"),
        count(results.data.neurons),
        share(task.oracle.test_accuracy),
        share(control.accuracy),
        selective(control.selectivity, control.interval),
    ];
    rows.insert(0, oracle);
    let columns = [
        "*δ",
        "ordering",
        "*neurons",
        "*test",
        "*control tasks, mean",
        "*selectivity, points (95 %)",
    ];
    Some(table(&columns, rows))
}

/// The draws of the control task.
pub(super) fn control(task: &TaskResults) -> Option<Table> {
    let control = task.control.as_ref()?;
    let rows = control
        .accuracies
        .iter()
        .enumerate()
        .map(|(draw, &accuracy)| {
            let selectivity = task.oracle.test_accuracy - accuracy;
            vec![
                count(draw + 1),
                share(accuracy),
                number(format::points(selectivity), selectivity),
            ]
        })
        .collect();
    Some(table(
        &["*draw", "*control accuracy, test", "*selectivity, points"],
        rows,
    ))
}
