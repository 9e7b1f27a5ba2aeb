//! Salient neurons, where they sit, and clusters.

use std::collections::BTreeSet;

use serde::Serialize;

use super::tables::{Cell, Chip, Table, count, ids, number, share, table, text};
use super::values;
use crate::report::format;
use crate::study::results::{ClusterCut, SalientNeuron, StudyResults, TaskResults};

/// Rows of horizontal bars, each split into parts.
#[derive(Debug, Serialize)]
pub(super) struct Stack {
    /// Name of each part, in order.
    pub(super) parts: Vec<String>,
    rows: Vec<StackRow>,
    /// The figures, for the script.
    values: String,
}

#[derive(Debug, Serialize)]
struct StackRow {
    name: String,
    /// Percent of the row's whole, and the text inside when it fits.
    parts: Vec<(f64, String, String)>,
    note: String,
}

/// Counts by class and layer.
#[derive(Debug, Serialize)]
pub(super) struct Heat {
    layers: Vec<u32>,
    rows: Vec<HeatRow>,
}

#[derive(Debug, Serialize)]
struct HeatRow {
    name: String,
    total: usize,
    /// Count, and its share of the largest count in percent.
    cells: Vec<(usize, f64)>,
}

/// Whether any salient neuron has words: samples that are whole sentences have none.
pub(super) fn have_words(task: &TaskResults) -> bool {
    let mut neurons = task.salient.neurons.iter();
    neurons.any(|neuron| !neuron.top_words.is_empty())
}

/// The most salient neurons.
pub(super) fn salient(task: &TaskResults, explored: &BTreeSet<usize>) -> Table {
    let with_words = have_words(task);
    let row = |neuron: &SalientNeuron| {
        let mut row = vec![
            count(neuron.rank),
            count(neuron.layer as usize),
            count(neuron.unit as usize),
            Cell {
                sort: Some(neuron.neuron as f64),
                ..ids(&[neuron.neuron], explored)
            },
            class_weights(neuron),
        ];
        row.extend(with_words.then(|| words(neuron)));
        row
    };
    let columns = [
        "*rank",
        "*layer",
        "*unit",
        "*neuron",
        "classes and weights",
        "words that it fires on",
    ];
    let shown = if with_words { 6 } else { 5 };
    table(
        &columns[..shown],
        task.salient.neurons.iter().map(row).collect(),
    )
}

fn class_weights(neuron: &SalientNeuron) -> Cell {
    let sizes = neuron.classes.iter().map(|class| class.weight.abs());
    let largest = sizes.fold(f64::MIN_POSITIVE, f64::max);
    let chips = neuron
        .classes
        .iter()
        .map(|class| chip(&class.class, class.weight, class.weight.abs() / largest));
    Cell {
        chips: chips.collect(),
        ..text("")
    }
}

fn words(neuron: &SalientNeuron) -> Cell {
    let chips = neuron
        .top_words
        .iter()
        .map(|word| chip(&word.word, word.z, word.score));
    Cell {
        chips: chips.collect(),
        ..text(if neuron.top_words.is_empty() {
            "–"
        } else {
            ""
        })
    }
}

fn chip(name: &str, value: f64, strength: f64) -> Chip {
    Chip {
        text: name.to_owned(),
        value: format!("{value:+.2}").replacen('-', "−", 1),
        exact: value,
        sign: if value < 0.0 { "down" } else { "up" },
        strength: (strength.clamp(0.0, 1.0) * 34.0).round(),
    }
}

/// Salient neurons by class and layer.
pub(super) fn heat(results: &StudyResults, task: &TaskResults) -> Heat {
    let salient = &task.salient;
    let most = salient
        .by_class_layer
        .iter()
        .flatten()
        .copied()
        .max()
        .unwrap_or(0)
        .max(1);
    let union_most = salient.by_layer.iter().copied().max().unwrap_or(0).max(1);
    let row = |name: &str, counts: &[usize], most: usize| HeatRow {
        name: name.to_owned(),
        total: counts.iter().sum(),
        cells: counts
            .iter()
            .map(|&n| (n, (n as f64 / most as f64 * 100.0).round()))
            .collect(),
    };
    let mut rows: Vec<HeatRow> = task
        .classes
        .iter()
        .zip(&salient.by_class_layer)
        .map(|(class, counts)| row(&class.name, counts, most))
        .collect();
    rows.push(row("any class", &salient.by_layer, union_most));
    Heat {
        layers: results.data.layers.clone(),
        rows,
    }
}

/// Neurons by the size of their cluster, one row a threshold.
pub(super) fn cluster_sizes(cuts: &[ClusterCut]) -> Stack {
    let rows = cuts.iter().map(|cut| {
        let parts = cut
            .size_histogram
            .iter()
            .map(|bin| (bin.neurons, bin.clusters))
            .collect();
        let note = format::counted(cut.count, "cluster");
        stack_row(format::plain(cut.threshold), parts, note)
    });
    let bins = cuts.iter().flat_map(|cut| {
        let bins = cut.size_histogram.iter();
        bins.map(|bin| (cut.threshold, &bin.size, bin.neurons, bin.clusters))
    });
    Stack {
        values: values::rows(&["threshold", "size", "neurons", "clusters"], bins),
        parts: cuts.first().map_or_else(Vec::new, |cut| {
            cut.size_histogram
                .iter()
                .map(|bin| bin.size.replace('-', "–"))
                .collect()
        }),
        rows: rows.collect(),
    }
}

/// Clusters of two or more neurons by the number of layers that they span, one row a threshold.
pub(super) fn cluster_windows(cuts: &[ClusterCut]) -> Stack {
    let most = cuts
        .iter()
        .map(|cut| cut.window_histogram.len())
        .max()
        .unwrap_or(0);
    let shown = most.min(5);
    let rows = cuts.iter().map(|cut| {
        let alone = cut
            .size_histogram
            .iter()
            .find(|bin| bin.size == "1")
            .map_or(0, |bin| bin.clusters);
        let mut windows = cut.window_histogram.clone();
        windows.resize(most, 0);
        if let Some(first) = windows.first_mut() {
            *first = first.saturating_sub(alone);
        }
        let rest: usize = windows.iter().skip(shown).sum();
        windows.truncate(shown);
        if let Some(last) = windows.last_mut() {
            *last += rest;
        }
        let total: usize = windows.iter().sum();
        let note = format::counted(total, "cluster");
        stack_row(
            format::plain(cut.threshold),
            windows.into_iter().map(|n| (n, n)).collect(),
            note,
        )
    });
    let spans = cuts.iter().flat_map(|cut| {
        let spans = (1_usize..).zip(&cut.window_histogram);
        spans.map(|(layers, clusters)| (cut.threshold, layers, clusters))
    });
    Stack {
        values: values::rows(
            &["threshold", "layers", "clusters, those of one neuron too"],
            spans,
        ),
        rows: rows.collect(),
        parts: (1..=shown)
            .map(|span| {
                if span == shown && most > shown {
                    format!("{span} or more")
                } else {
                    span.to_string()
                }
            })
            .collect(),
    }
}

/// Parts are their size and the clusters that they stand for.
fn stack_row(name: String, parts: Vec<(usize, usize)>, note: String) -> StackRow {
    let total = parts.iter().map(|part| part.0).sum::<usize>().max(1) as f64;
    StackRow {
        name,
        parts: parts
            .into_iter()
            .map(|(size, clusters)| {
                let percent = size as f64 / total * 100.0;
                let inside = if percent >= 7.0 {
                    format!("{percent:.0}%")
                } else {
                    String::new()
                };
                (
                    percent,
                    inside,
                    format!("{percent:.1}%, {}", format::counted(clusters, "cluster")),
                )
            })
            .collect(),
        note,
    }
}

/// Clusterings.
pub(super) fn cuts(results: &StudyResults) -> Table {
    let all = results.data.neurons.max(1) as f64;
    let rows = results
        .clusters
        .iter()
        .map(|cut| {
            let largest = cut
                .size_histogram
                .iter()
                .rev()
                .find(|bin| bin.clusters > 0)
                .map_or_else(|| "–".to_owned(), |bin| bin.size.replace('-', "–"));
            vec![
                number(format::plain(cut.threshold), cut.threshold),
                count(cut.count),
                share(cut.count as f64 / all),
                text(largest),
            ]
        })
        .collect();
    table(
        &["*threshold", "*clusters", "*of all neurons", "largest size"],
        rows,
    )
}
