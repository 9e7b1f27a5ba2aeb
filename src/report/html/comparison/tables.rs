//! The tables of the comparison. Differences are the second run's figure minus the first's.

use serde::Serialize;

use super::claims::{Verdict, carried, verdict};
use super::{Task, numbers};
use crate::report::format;
use crate::report::html::tables::{
    Cell, Table, count, number, numbers as number_with, share, table, text, with_interval,
};
use crate::study::compare::results::{ClassPair, CompareResults, DepthPair, TransferResult};

/// What share of a run's salient neurons is of which class.
#[derive(Debug, Serialize)]
pub(super) struct Shares {
    /// The runs, from 1.
    runs: Vec<usize>,
    /// Each class with a cell a run: what is shown, and how dark in percent.
    rows: Vec<(String, Vec<(String, f64)>)>,
}

fn absent() -> Cell {
    text("–")
}

fn toned(shown: &str, sort: f64, tone: &'static str) -> Cell {
    Cell {
        tone,
        ..number(shown.to_owned(), sort)
    }
}

fn points(difference: f64) -> Cell {
    number(format::points(difference), difference)
}

/// A difference in points with its interval.
fn difference(value: f64, interval: Option<[f64; 2]>) -> Cell {
    let ends = interval.map(|ends| format!(" ({})", format::points_interval(ends)));
    number_with(
        format!("{}{}", format::points(value), ends.unwrap_or_default()),
        value,
        interval.as_ref().map_or(&[], |ends| ends),
    )
}

fn three(value: f64) -> Cell {
    number(format!("{value:.3}").replace('-', "−"), value)
}

/// Two digits with the sign, which zero has not.
fn signed(value: f64) -> String {
    match format!("{value:+.2}").as_str() {
        "+0.00" | "-0.00" => "0.00".to_owned(),
        other => other.replace('-', "−"),
    }
}

fn p_value(p: f64) -> Cell {
    number(format::p_value(p), p)
}

pub(super) fn runs(results: &CompareResults) -> Table {
    let rows = (1..).zip(&results.runs).map(|(at, run)| {
        vec![
            count(at),
            text(&run.name),
            count(run.neurons),
            count(run.layers),
            count(run.test_samples),
            text(run.tasks.join(", ")),
            number(run.seed.to_string(), run.seed as f64),
            text(format!(
                "{}: {}",
                run.device.kind.to_uppercase(),
                run.device.name
            )),
            text(&run.file),
        ]
    });
    table(
        &[
            "*run",
            "study",
            "*neurons",
            "*layers",
            "*test samples",
            "tasks",
            "*seed",
            "device",
            "file",
        ],
        rows.collect(),
    )
}

/// One row a run.
pub(super) fn accuracies(results: &CompareResults, task: &Task<'_>) -> Table {
    let rows = task.runs.iter().map(|&(at, run)| {
        vec![
            count(at + 1),
            text(&results.runs[at].name),
            with_interval(run.test_accuracy, run.test_interval),
            share(run.majority_accuracy),
            match run.above_chance {
                true => toned("yes", 1.0, ""),
                false => toned("no", 0.0, "care"),
            },
            run.selectivity
                .map_or_else(absent, |value| difference(value, run.selectivity_interval)),
        ]
    });
    table(
        &[
            "*run",
            "study",
            "*oracle, test (95 %)",
            "*majority",
            "above chance?",
            "*selectivity, points (95 %)",
        ],
        rows.collect(),
    )
}

/// One row a pair.
pub(super) fn differences(task: &Task<'_>) -> Table {
    let rows = task.pairs.iter().map(|(pair, found)| {
        let (said, at, tone) = match verdict(&found.oracle) {
            Verdict::More => ("more\u{a0}accurate", 0.0, "good"),
            Verdict::Open => ("no\u{a0}difference\u{a0}shown", 1.0, ""),
            Verdict::Less => ("less\u{a0}accurate", 2.0, "care"),
            Verdict::Void => ("void", 3.0, "care"),
        };
        let selectivity = found.selectivity.as_ref();
        vec![
            text(numbers(pair)),
            difference(found.oracle.difference, Some(found.oracle.interval)),
            toned(said, at, tone),
            selectivity.map_or_else(absent, |s| points(s.difference)),
        ]
    });
    table(
        &[
            "runs",
            "*accuracy, points (95 %)",
            "the second is",
            "*selectivity, points",
        ],
        rows.collect(),
    )
}

fn depth_cells(depth: Option<&DepthPair>) -> Vec<Cell> {
    match depth {
        None => (0..4).map(|_| absent()).collect(),
        Some(depth) => vec![
            number(format!("{:.2}", depth.mean[0]), depth.mean[0]),
            number(format!("{:.2}", depth.mean[1]), depth.mean[1]),
            three(depth.distance),
            p_value(depth.p),
        ],
    }
}

pub(super) fn depths(task: &Task<'_>) -> Table {
    let salient = |depth: Option<&DepthPair>, of: usize| {
        depth.map_or_else(absent, |depth| {
            let shown = format!(
                "{} ({})",
                format::count(depth.neurons[of]),
                format::percent(depth.share[of])
            );
            number_with(shown, depth.neurons[of] as f64, &[depth.share[of]])
        })
    };
    let rows = task.pairs.iter().map(|(pair, found)| {
        let depth = found.depth.as_ref();
        let mut row = vec![text(numbers(pair)), salient(depth, 0), salient(depth, 1)];
        row.extend(depth_cells(depth));
        row.push(found.class_divergence.map_or_else(absent, three));
        row
    });
    table(
        &[
            "runs",
            "*salient, first (of all)",
            "*second",
            "*mean depth, first",
            "*second",
            "*distance",
            "*p",
            "*divergence of classes",
        ],
        rows.collect(),
    )
}

/// Which classes salient neurons are of, run by run.
pub(super) fn shares(task: &Task<'_>) -> Shares {
    let mut classes: Vec<&str> = Vec::new();
    for class in task.runs.iter().flat_map(|(_, run)| &run.classes) {
        if !classes.contains(&&**class) {
            classes.push(class);
        }
    }
    let of = |class: &str| -> Vec<Option<f64>> {
        let runs = task.runs.iter().map(|(_, run)| {
            let at = run.classes.iter().position(|own| own == class)?;
            let all: usize = run.salient_by_class.iter().sum();
            Some(run.salient_by_class[at] as f64 / all.max(1) as f64)
        });
        runs.collect()
    };
    let found: Vec<(&str, Vec<Option<f64>>)> = classes.iter().map(|c| (*c, of(c))).collect();
    let values = found.iter().flat_map(|(_, row)| row.iter().flatten());
    let most = values.copied().fold(1e-9, f64::max);
    let cell = |value: &Option<f64>| match value {
        Some(value) => (
            format::percent(*value),
            (value / most * 1000.0).round() / 10.0,
        ),
        None => ("–".to_owned(), 0.0),
    };
    Shares {
        runs: task.runs.iter().map(|(at, _)| at + 1).collect(),
        rows: found
            .iter()
            .map(|(class, row)| ((*class).to_owned(), row.iter().map(cell).collect()))
            .collect(),
    }
}

/// Depths class by class.
pub(super) fn classes(task: &Task<'_>) -> Table {
    let row = |runs: String, class: &ClassPair| {
        let mut row = vec![
            text(runs),
            text(&class.class),
            count(class.neurons[0]),
            count(class.neurons[1]),
        ];
        row.extend(depth_cells(class.depth.as_ref()));
        row
    };
    let rows = task.pairs.iter().flat_map(|(pair, found)| {
        let classes = found.classes.iter();
        classes.map(|class| row(numbers(pair), class))
    });
    table(
        &[
            "runs",
            "class",
            "*salient, first",
            "*second",
            "*mean depth, first",
            "*second",
            "*distance",
            "*p",
        ],
        rows.collect(),
    )
}

pub(super) fn layers(task: &Task<'_>) -> Table {
    let rows = task.pairs.iter().flat_map(|(pair, found)| {
        found.layer_selection.iter().map(|choice| {
            let depth = |of: usize| {
                let shown = format!("{} (depth {:.2})", choice.layer[of], choice.depth[of]);
                number(shown, choice.depth[of])
            };
            vec![
                text(numbers(pair)),
                number(format::delta(choice.delta), choice.delta),
                depth(0),
                depth(1),
                number(signed(choice.difference), choice.difference),
            ]
        })
    });
    table(
        &[
            "runs",
            "*δ",
            "*up to layer, first",
            "*second",
            "*depth, second − first",
        ],
        rows.collect(),
    )
}

pub(super) fn sets(task: &Task<'_>) -> Table {
    let rows = task.pairs.iter().flat_map(|(pair, found)| {
        found.minimal_sets.iter().map(|set| {
            let size = |of: usize| {
                let shown = format!(
                    "{} ({})",
                    format::count(set.size[of]),
                    format::percent(set.share[of])
                );
                number(shown, set.size[of] as f64)
            };
            vec![
                text(numbers(pair)),
                text(format::ranking(&set.ranking)),
                number(format::delta(set.delta), set.delta),
                size(0),
                size(1),
                points(set.difference),
                set.shared.map_or_else(absent, count),
                set.jaccard.map_or_else(absent, three),
                set.p.map_or_else(absent, p_value),
            ]
        })
    });
    table(
        &[
            "runs",
            "ordering",
            "*δ",
            "*neurons, first (of all)",
            "*second",
            "*share, points",
            "*in both",
            "*Jaccard",
            "*p",
        ],
        rows.collect(),
    )
}

pub(super) fn overlaps(task: &Task<'_>) -> Table {
    let rows = task.pairs.iter().flat_map(|(pair, found)| {
        found.overlaps.iter().flatten().map(|overlap| {
            vec![
                text(numbers(pair)),
                text(format::ranking(&overlap.ranking)),
                number(format::delta(overlap.share), overlap.share),
                count(overlap.k),
                count(overlap.shared),
                number(format!("{:.1}", overlap.expected), overlap.expected),
                three(overlap.jaccard),
                three(overlap.average_overlap),
                p_value(overlap.p),
            ]
        })
    });
    table(
        &[
            "runs",
            "ordering",
            "*first",
            "*neurons",
            "*in both",
            "*by chance",
            "*Jaccard",
            "*average overlap",
            "*p",
        ],
        rows.collect(),
    )
}

fn transfer(runs: [usize; 2], found: &TransferResult) -> Vec<Cell> {
    let (own, random) = (&found.against_own, &found.random);
    let (said, at, tone) = match carried(found) {
        true => ("yes", 0.0, "good"),
        false => ("not\u{a0}shown", 1.0, ""),
    };
    vec![
        text(format!("{}\u{a0}→\u{a0}{}", runs[0] + 1, runs[1] + 1)),
        text(format::ranking(&found.ranking)),
        number(format::delta(found.delta), found.delta),
        count(found.size),
        toned(said, at, tone),
        count(found.shared),
        count(found.constant),
        share(found.first_test_accuracy),
        with_interval(found.carried.test_accuracy, found.carried.test_interval),
        with_interval(found.own.test_accuracy, found.own.test_interval),
        difference(own.difference, Some(own.interval)),
        p_value(own.p_holm),
        share(random.test.mean),
        difference(random.difference, random.interval),
        p_value(random.p_holm),
    ]
}

pub(super) fn transfers(task: &Task<'_>) -> Table {
    let rows = task.pairs.iter().flat_map(|(pair, found)| {
        let sets = found.transfer.iter().flatten();
        sets.map(|set| transfer(pair.runs, set))
    });
    table(
        &[
            "runs",
            "ordering",
            "*δ",
            "*neurons",
            "carried over?",
            "*in both",
            "*constant there",
            "*test where chosen",
            "*carried, test (95 %)",
            "*own, test (95 %)",
            "*carried − own, points (95 %)",
            "*p, Holm",
            "*random, mean",
            "*carried − random, points (95 %)",
            "*p, Holm",
        ],
        rows.collect(),
    )
}

pub(super) fn clusters(results: &CompareResults) -> Table {
    let rows = results.pairs.iter().flat_map(|pair| {
        pair.clusters.iter().map(|cut| {
            vec![
                text(numbers(pair)),
                number(format::plain(cut.threshold), cut.threshold),
                share(cut.share[0]),
                share(cut.share[1]),
                points(cut.difference),
            ]
        })
    });
    table(
        &[
            "runs",
            "*threshold",
            "*clusters per neuron, first",
            "*second",
            "*difference, points",
        ],
        rows.collect(),
    )
}
