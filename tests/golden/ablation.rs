//! Neurons kept and removed as NeuroX keeps and removes them, and the same with means in place of zeros.

use std::collections::BTreeMap;

use ndarray::{Array1, Array2};
use neurosieve::ops::Backend;
use neurosieve::ops::ablation::{self, Masks, ablation};
use neurosieve::ops::sweep::{Params, sweep};
use serde::Deserialize;

use super::{fixture, json, tensor};
use crate::support;

#[derive(Deserialize)]
struct Golden {
    bias: Vec<f32>,
    margin: f64,
    orders: BTreeMap<String, Vec<usize>>,
    points: Vec<Point>,
}

/// Right samples of each class.
#[derive(Deserialize)]
struct Point {
    ordering: String,
    k: usize,
    zero_kept: Vec<u32>,
    zero_removed: Vec<u32>,
    mean_kept: Vec<u32>,
    mean_removed: Vec<u32>,
}

/// Means of train, added up in f64 and rounded once.
fn means() -> Vec<f32> {
    let x = fixture().train().activations.view();
    let mean = |column: ndarray::ArrayView1<'_, f32>| {
        let sum: f64 = column.iter().copied().map(f64::from).sum();
        (sum / x.nrows() as f64) as f32
    };
    x.columns().into_iter().map(mean).collect()
}

#[test]
fn sweeps_and_masks_count_what_neurox_counts() {
    let golden: Golden = json("ablation.json");
    assert!(golden.margin > 1e-5, "no decision hangs on rounding");
    let weights: Array2<f32> = tensor("ranking.safetensors", "dense").mapv(|w| w as f32);
    let bias = Array1::from(golden.bias);
    let test = fixture().test();
    let (x, labels) = (test.activations.view(), &test.labels[0]);
    let neurons = x.ncols();
    let mut backends = vec![Backend::Cpu];
    let name = "sweeps_and_masks_count_what_neurox_counts";
    backends.extend(support::gpu(name).map(Backend::Gpu));
    for (order, points) in golden.orders.iter().map(|(name, order)| {
        let points = golden.points.iter().filter(move |p| p.ordering == *name);
        (order, points.collect::<Vec<_>>())
    }) {
        assert_eq!(points.len(), 14);
        let bottom = order.iter().rev().copied().collect();
        let orderings = [order.clone(), bottom];
        let mut masks = Masks::new(neurons);
        for point in &points {
            masks.push(&order[..point.k]).unwrap();
            masks.push(&order[point.k..]).unwrap();
        }
        for (ablated, mean) in [(vec![0.0; neurons], false), (means(), true)] {
            for backend in &backends {
                let (weights, bias, ablated) = (weights.view(), bias.view(), &ablated[..]);
                let sweeps = Params {
                    weights,
                    bias,
                    ablated,
                    orderings: &orderings,
                    by_class: true,
                };
                let curves = sweep(backend, x, labels, &sweeps).unwrap();
                let tables = [0, 1].map(|end: usize| curves[end].by_class.as_ref().unwrap());
                let params = ablation::Params {
                    weights,
                    bias,
                    ablated,
                    masks: &masks,
                };
                let masked = ablation(backend, x, labels, &params).unwrap();
                for (place, point) in points.iter().enumerate() {
                    let (kept, removed) = match mean {
                        true => (&point.mean_kept, &point.mean_removed),
                        false => (&point.zero_kept, &point.zero_removed),
                    };
                    let at = format!(
                        "{}, k {}, means {mean}, {backend:?}",
                        point.ordering, point.k
                    );
                    assert_eq!(&tables[0].column(point.k).to_vec(), kept, "{at}");
                    let column = tables[1].column(neurons - point.k).to_vec();
                    assert_eq!(&column, removed, "{at}");
                    assert_eq!(&masked.by_class.row(2 * place).to_vec(), kept, "{at}");
                    assert_eq!(
                        &masked.by_class.row(2 * place + 1).to_vec(),
                        removed,
                        "{at}"
                    );
                }
            }
        }
    }
}

/// The negative control: what NeuroX counts for one mask is not what it counts for the next, nor with other means.
#[test]
fn the_golden_counts_tell_masks_and_replacements_apart() {
    let golden: Golden = json("ablation.json");
    for name in golden.orders.keys() {
        let points = golden.points.iter().filter(|p| p.ordering == *name);
        let points: Vec<&Point> = points.collect();
        let different = points
            .windows(2)
            .filter(|p| p[0].zero_kept != p[1].zero_kept);
        assert!(different.count() >= 8);
        assert!(points.iter().any(|p| p.zero_kept != p.mean_kept));
        assert!(points.iter().any(|p| p.zero_kept != p.zero_removed));
    }
}
