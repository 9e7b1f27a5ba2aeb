//! A probe that sees some neurons and a replacement of the others: what `sweep` and `ablation` have in common.

use std::ops::Range;

use ndarray::parallel::prelude::*;
use ndarray::{ArrayView1, ArrayView2, Axis};

use crate::error::{Error, Result};
use crate::labels::Labels;

/// The probe, and what stands for a neuron that it does not see.
#[derive(Debug, Clone, Copy)]
pub(super) struct Partial<'a> {
    /// C × D, on the raw scale of the activations.
    pub weights: ArrayView2<'a, f32>,
    /// Bias of each class.
    pub bias: ArrayView1<'a, f32>,
    /// Replacement of each neuron.
    pub ablated: &'a [f32],
}

impl Partial<'_> {
    /// Logits when every neuron is replaced, in f64.
    pub(super) fn initial(&self) -> Vec<f64> {
        self.weights
            .outer_iter()
            .zip(self.bias)
            .map(|(weights, bias)| {
                let replaced: f64 = weights
                    .iter()
                    .zip(self.ablated)
                    .map(|(weight, value)| f64::from(*weight) * f64::from(*value))
                    .sum();
                f64::from(*bias) + replaced
            })
            .collect()
    }

    /// Samples whose decision rounding in f32 may change: the label's logit and the largest other one differ by less than
    /// `tolerance` times the sizes of all terms that enter them.
    pub(super) fn undecided(
        &self,
        x: ArrayView2<'_, f32>,
        labels: &Labels,
        kept: &[bool],
        tolerance: f64,
    ) -> usize {
        let logit = |row: ArrayView1<'_, f32>, class: usize| {
            let bias = f64::from(self.bias[class]);
            let weights = self.weights.row(class);
            let neurons = weights.iter().zip(self.ablated).zip(row).zip(kept);
            let mut sums = (bias, bias.abs());
            for (((weight, ablated), x), kept) in neurons {
                let [weight, ablated, x] = [*weight, *ablated, *x].map(f64::from);
                sums.0 += weight * if *kept { x } else { ablated };
                sums.1 += weight.abs() * (ablated.abs() + (x - ablated).abs());
            }
            sums
        };
        let undecided = |(row, label): (ArrayView1<'_, f32>, &u32)| {
            let own = logit(row, *label as usize);
            let others = (0..self.bias.len()).filter(|class| *class != *label as usize);
            let others = others.map(|class| logit(row, class));
            let near = others.filter(|other| {
                // Any that may be the largest other one: those far below the label's decide nothing.
                (own.0 - other.0).abs() <= tolerance * (own.1 + other.1)
            });
            near.count() > 0
        };
        let samples = x.axis_iter(Axis(0)).into_par_iter().zip(labels.ids());
        samples.filter(|sample| undecided(*sample)).count()
    }

    /// Refuses samples, labels and a probe that do not fit one another; `what` names the operation.
    pub(super) fn check(&self, what: &str, x: ArrayView2<'_, f32>, labels: &Labels) -> Result<()> {
        let (samples, neurons) = x.dim();
        let classes = labels.classes().len();
        if u32::try_from(samples).is_err() {
            return Err(Error::invalid(
                what,
                format!("{samples} samples are more than {}", u32::MAX),
                "Split the data, and add the counts",
            ));
        }
        if samples != labels.len() {
            return Err(Error::invalid(
                what,
                format!("{samples} samples but {} labels were given", labels.len()),
                "Give one label for every sample",
            ));
        }
        let shape = (self.weights.dim(), self.bias.len(), self.ablated.len());
        if shape != ((classes, neurons), classes, neurons) {
            return Err(Error::invalid(
                what,
                format!(
                    "weights of {} x {}, {} biases and {} replacements do not fit {classes} classes and {neurons} neurons",
                    shape.0.0, shape.0.1, shape.1, shape.2
                ),
                "Give weights of classes x neurons, one bias a class and one replacement a neuron",
            ));
        }
        let values = self.weights.iter().chain(self.bias);
        if let Some(value) = values.chain(self.ablated).find(|v| !v.is_finite()) {
            return Err(Error::invalid(
                what,
                format!("a weight, bias or replacement is {value}"),
                "All of them must be finite",
            ));
        }
        Ok(())
    }
}

/// Samples in the order in which they are counted: all as one group, or one group a class.
#[derive(Debug)]
pub(super) struct Groups {
    /// Rows of X, group by group, ascending inside.
    pub samples: Vec<u32>,
    /// Where the groups end in `samples`.
    ends: Vec<usize>,
}

impl Groups {
    pub(super) fn new(labels: &Labels, by_class: bool) -> Self {
        let rows = 0..labels.len() as u32;
        if !by_class {
            return Self {
                samples: rows.collect(),
                ends: vec![labels.len()],
            };
        }
        let mut samples: Vec<u32> = rows.collect();
        samples.sort_by_key(|&row| labels.ids()[row as usize]);
        let mut end = 0;
        let mut upto = |count: usize| {
            end += count;
            end
        };
        Self {
            ends: labels.counts().into_iter().map(&mut upto).collect(),
            samples,
        }
    }

    /// Number of groups.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The part of `block`, a range of `samples`, that a group has, counted from the start of the block.
    pub(super) fn inside(&self, group: usize, block: &Range<usize>) -> Range<usize> {
        let start = if group == 0 { 0 } else { self.ends[group - 1] };
        let place = |at: usize| at.clamp(block.start, block.end) - block.start;
        place(start)..place(self.ends[group])
    }

    /// The rows of X that a group has.
    pub(super) fn rows(&self, group: usize) -> &[u32] {
        &self.samples[self.inside(group, &(0..self.samples.len()))]
    }
}

/// Which class is the first of the largest logits, lane by lane.
#[inline(always)]
pub(super) fn first_largest<const LANES: usize>(logits: &[[f64; LANES]]) -> [f64; LANES] {
    let mut best = [f64::NEG_INFINITY; LANES];
    let mut winner = [0.0; LANES];
    let mut class = 0.0;
    for logits in logits {
        for lane in 0..LANES {
            let better = logits[lane] > best[lane];
            best[lane] = if better { logits[lane] } else { best[lane] };
            winner[lane] = if better { class } else { winner[lane] };
        }
        class += 1.0;
    }
    winner
}
