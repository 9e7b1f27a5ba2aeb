//! How redundant all neurons are: the map of correlations and the table of pairs of layers.

use std::collections::BTreeMap;

use serde::Serialize;

use super::values;
use crate::study::results::{LayerPair, MapRecord, Redundancy, StudyResults};

/// The map of correlations as the template shows it.
#[derive(Debug, Serialize)]
pub(super) struct Map {
    /// Cells along a side.
    groups: usize,
    /// The largest mean |r| off the diagonal, which is drawn darkest.
    most: f64,
    /// What it shows, for those who cannot see it.
    said: String,
    /// The figures, for the script.
    values: String,
    /// Neurons of a cell's side: `1`, or `39 or 40`.
    neurons: String,
}

#[derive(Debug, Serialize)]
struct MapValues<'a> {
    bounds: &'a [usize],
    /// Neuron ids by place, where a group is one neuron.
    neurons: Option<&'a [usize]>,
    /// Lowest, mean and highest layer of each group.
    layers: Vec<(u32, f64, u32)>,
    mean: &'a [f64],
}

/// Numbers by pair of layers, symmetric.
#[derive(Debug, Serialize)]
pub(super) struct LayerTable {
    title: &'static str,
    layers: Vec<u32>,
    rows: Vec<LayerRow>,
}

#[derive(Debug, Serialize)]
struct LayerRow {
    layer: u32,
    /// What is shown, all its digits, and its share of the largest in percent.
    cells: Vec<(String, Option<f64>, f64)>,
}

/// The map; `None` where results have none, or one that is not whole.
pub(super) fn map(results: &StudyResults) -> Option<Map> {
    let map = &results.redundancy.as_ref()?.map;
    let groups = map.bounds.len().checked_sub(1)?;
    let ordered = map.bounds.windows(2).all(|ends| ends[0] < ends[1]);
    let whole = map.bounds.last() == Some(&map.order.len());
    if groups == 0 || !ordered || !whole || map.mean.len() != groups * (groups + 1) / 2 {
        return None;
    }
    let rows = (0..groups).flat_map(|g| (g..groups).map(move |h| (g, h)));
    let cells: Vec<((usize, usize), f64)> = rows.zip(map.mean.iter().copied()).collect();
    let off = cells.iter().filter(|((g, h), _)| g != h);
    let most = off.clone().map(|cell| cell.1).fold(0.0, f64::max);
    let sizes = map.bounds.windows(2).map(|ends| ends[1] - ends[0]);
    let (least, largest) = (sizes.clone().min()?, sizes.max()?);
    Some(Map {
        groups,
        most,
        said: said(&cells, groups),
        values: values::json(&MapValues {
            bounds: &map.bounds,
            neurons: (groups == map.order.len()).then_some(&map.order),
            layers: depth(results, map),
            mean: &map.mean,
        }),
        neurons: if least == largest {
            largest.to_string()
        } else {
            format!("{least} or {largest}")
        },
    })
}

/// Cells near the diagonal beside all others: blocks along it are groups of redundant neurons.
fn said(cells: &[((usize, usize), f64)], groups: usize) -> String {
    let mean = |near: bool| {
        let of = cells
            .iter()
            .filter(|((g, h), _)| g != h && (h - g <= 2) == near);
        let sum: (f64, usize) = of.fold((0.0, 0), |sum, cell| (sum.0 + cell.1, sum.1 + 1));
        (sum.1 > 0).then(|| format!("{:.2}", sum.0 / sum.1 as f64))
    };
    let (near, far) = (mean(true), mean(false));
    let none = || "–".to_owned();
    format!(
        "Mean |r| between {groups} groups of neurons in the order of the dendrogram: {} between a group and the next two, {} \
         between all others.",
        near.unwrap_or_else(none),
        far.unwrap_or_else(none),
    )
}

fn depth(results: &StudyResults, map: &MapRecord) -> Vec<(u32, f64, u32)> {
    let of = |ends: &[usize]| {
        let neurons = map.order[ends[0]..ends[1]].iter();
        let layers = neurons.filter_map(|&n| results.data.layer_of.get(n).copied());
        let (mut low, mut high, mut sum) = (u32::MAX, 0, 0.0);
        for layer in layers {
            (low, high) = (low.min(layer), high.max(layer));
            sum += f64::from(layer);
        }
        (low.min(high), sum / (ends[1] - ends[0]) as f64, high)
    };
    map.bounds.windows(2).map(of).collect()
}

/// Mean and largest |r| by pair of layers; none where results do not have every pair.
pub(super) fn layers(results: &StudyResults) -> Vec<LayerTable> {
    let layers = results.data.layers.len();
    let whole = |found: &&Redundancy| found.layers.len() == layers * (layers + 1) / 2;
    let Some(found) = results.redundancy.as_ref().filter(whole) else {
        return Vec::new();
    };
    vec![
        layer_table("Mean |r| by pair of layers", results, found, |pair| {
            pair.mean
        }),
        layer_table("Largest |r| by pair of layers", results, found, |pair| {
            written(pair.largest)
        }),
    ]
}

/// The f64 that results.json, which has the shortest digits of an f32, is read as.
fn written(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}

fn layer_table(
    title: &'static str,
    results: &StudyResults,
    found: &Redundancy,
    value: fn(&LayerPair) -> f64,
) -> LayerTable {
    let layers = results.data.layers.clone();
    let most = found.layers.iter().map(value).fold(0.0, f64::max);
    let pairs = found.layers.iter().filter(|pair| pair.pairs > 0);
    let pairs: BTreeMap<[u32; 2], &LayerPair> = pairs.map(|pair| (pair.layers, pair)).collect();
    let cell = |a: u32, b: u32| {
        pairs.get(&[a.min(b), a.max(b)]).map_or_else(
            || ("–".to_owned(), None, 0.0),
            |pair| {
                let value = value(pair);
                let share = (value / most.max(f64::MIN_POSITIVE) * 100.0).round();
                (format!("{value:.2}"), Some(value), share)
            },
        )
    };
    let row = |&layer: &u32| LayerRow {
        layer,
        cells: layers.iter().map(|&other| cell(layer, other)).collect(),
    };
    LayerTable {
        title,
        rows: layers.iter().map(row).collect(),
        layers: layers.clone(),
    }
}
