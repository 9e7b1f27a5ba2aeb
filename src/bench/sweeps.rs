//! What probes get right with some neurons alone: at every prefix of orderings, and under masks.

use ndarray::{Array1, Array2, ArrayView1};
use rand::RngExt;
use rand::seq::SliceRandom;

use super::Size;
use super::inputs::{labels, random, sampled, whole_numbers};
use super::measure::{Bench, Outcome, Workload};
use super::roofs::largest;
use crate::error::Result;
use crate::labels::Labels;
use crate::ops::Backend;
use crate::ops::ablation::{self, Masks};
use crate::ops::sweep;

/// Classes, and orderings.
const CLASSES: usize = 16;
const ORDERINGS: usize = 2;

/// Samples, neurons and masks.
fn shape(size: Size) -> (usize, usize, usize) {
    match size {
        Size::Small => (1_024, 512, 32),
        Size::Standard => (8_192, 2_688, 256),
        Size::Large => (32_768, 9_984, 512),
    }
}

pub(super) fn workloads(size: Size) -> Vec<Workload> {
    let (n, d, masks) = shape(size);
    vec![
        Workload {
            name: "sweep".to_owned(),
            shape: format!(
                "{n} samples x {d} neurons, {CLASSES} classes, {ORDERINGS} orderings at every k"
            ),
            what: "accuracy of a probe at every prefix of orderings",
            run: Box::new(of_orderings),
        },
        Workload {
            name: "ablation".to_owned(),
            shape: format!("{n} samples x {d} neurons, {CLASSES} classes, {masks} masks"),
            what: "accuracy of a probe under masks that do not nest",
            run: Box::new(of_masks),
        },
    ]
}

/// Whole numbers, so that counts are exact on every device.
struct Input {
    x: Array2<f32>,
    y: Labels,
    weights: Array2<f32>,
    bias: Array1<f32>,
    ablated: Vec<f32>,
}

impl Input {
    fn new(n: usize, d: usize) -> Result<Self> {
        Ok(Self {
            x: whole_numbers(n, d, 7),
            y: labels(n, CLASSES as u32, 8)?,
            weights: whole_numbers(CLASSES, d, 9),
            bias: Array1::zeros(CLASSES),
            ablated: vec![0.0; d],
        })
    }

    /// Whether a sample is right by logits in f64: the first of the largest ones wins.
    fn is_right(&self, sample: usize, logits: &[f64]) -> bool {
        let mut best = 0;
        for (class, logit) in logits.iter().enumerate() {
            if *logit > logits[best] {
                best = class;
            }
        }
        best == self.y.ids()[sample] as usize
    }

    /// Adds a neuron's terms.
    fn add(&self, sample: ArrayView1<'_, f32>, neuron: usize, logits: &mut [f64]) {
        let x = f64::from(sample[neuron]);
        for (logit, w) in logits.iter_mut().zip(self.weights.column(neuron)) {
            *logit += f64::from(*w) * x;
        }
    }
}

const ERROR: &str = "largest difference of a count from f64; all terms are exact";

fn of_orderings(bench: &Bench<'_>) -> Result<Outcome> {
    let (n, d, _) = shape(bench.options.size);
    let input = Input::new(n, d)?;
    let shuffled = |seed: usize| {
        let mut order: Vec<usize> = (0..d).collect();
        order.shuffle(&mut random(10, seed));
        order
    };
    let orderings: Vec<Vec<usize>> = (0..ORDERINGS).map(shuffled).collect();
    let params = sweep::Params {
        weights: input.weights.view(),
        bias: input.bias.view(),
        ablated: &input.ablated,
        orderings: &orderings,
        by_class: false,
    };
    let ours = |name: &str| name.starts_with("sweep/");
    let work = |backend: &Backend| sweep::sweep(backend, input.x.view(), &input.y, &params);
    let (found, measured) = bench.measure(&ours, &work)?;
    // One ordering whole: a fault of another would be one of indices, which the parity tests look for.
    let last = ORDERINGS - 1;
    let mut exact = vec![0u32; d + 1];
    for (sample, row) in input.x.rows().into_iter().enumerate() {
        let mut logits = vec![0.0; CLASSES];
        exact[0] += u32::from(input.is_right(sample, &logits));
        for (k, neuron) in orderings[last].iter().enumerate() {
            input.add(row, *neuron, &mut logits);
            exact[k + 1] += u32::from(input.is_right(sample, &logits));
        }
    }
    let error = differences(&found[last].correct, &exact);
    let values = n as f64 * d as f64;
    Ok(Outcome {
        error_is: ERROR,
        error,
        tolerance: 0.0,
        flop: Some(2.0 * values * (CLASSES * ORDERINGS) as f64),
        bytes: Some(4.0 * values),
        units: None,
        measured,
    })
}

fn of_masks(bench: &Bench<'_>) -> Result<Outcome> {
    let (n, d, count) = shape(bench.options.size);
    let input = Input::new(n, d)?;
    // A quarter of the neurons each.
    let kept: Vec<Vec<usize>> = (0..count)
        .map(|mask| {
            let mut random = random(11, mask);
            (0..d).filter(|_| random.random_bool(0.25)).collect()
        })
        .collect();
    let mut masks = Masks::new(d);
    for neurons in &kept {
        masks.push(neurons)?;
    }
    let params = ablation::Params {
        weights: input.weights.view(),
        bias: input.bias.view(),
        ablated: &input.ablated,
        masks: &masks,
    };
    let ours = |name: &str| name.starts_with("ablation/");
    let work = |backend: &Backend| ablation::ablation(backend, input.x.view(), &input.y, &params);
    let (found, measured) = bench.measure(&ours, &work)?;
    let chosen = sampled(count, 16);
    let exact = chosen.iter().map(|&mask| {
        let right = |(sample, row): (usize, ArrayView1<'_, f32>)| {
            let mut logits = vec![0.0; CLASSES];
            for &neuron in &kept[mask] {
                input.add(row, neuron, &mut logits);
            }
            input.is_right(sample, &logits)
        };
        let rows = input.x.rows().into_iter().enumerate();
        rows.filter(|row| right((row.0, row.1))).count() as u32
    });
    let exact: Vec<u32> = exact.collect();
    let counted: Vec<u32> = chosen.iter().map(|&mask| found.correct[mask]).collect();
    let terms: usize = kept.iter().map(Vec::len).sum();
    Ok(Outcome {
        error_is: ERROR,
        error: differences(&counted, &exact),
        tolerance: 0.0,
        flop: Some(2.0 * (n * CLASSES) as f64 * terms as f64),
        bytes: Some(4.0 * n as f64 * d as f64),
        units: None,
        measured,
    })
}

/// The largest difference of two lists of counts; endless where one is longer.
fn differences(a: &[u32], b: &[u32]) -> f64 {
    if a.len() != b.len() {
        return f64::INFINITY;
    }
    largest(a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b))))
}
