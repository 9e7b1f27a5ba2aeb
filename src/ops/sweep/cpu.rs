//! The native path: a few samples side by side, f64 logits, each ordering walked once.

use multiversion::{multiversion, target::target_cfg_f};
use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

use super::{Params, partial};
use crate::labels::Labels;
use crate::ops::partial::{Groups, first_largest};

/// Samples side by side: the compiler turns loops over them into vector instructions.
const LANES: usize = 8;

/// One value a sample.
type Lanes = [f64; LANES];

/// Right samples of each group (rows) at every point of every ordering. Sums of integers, so the order of threads does not
/// matter.
pub(super) fn counts(
    x: ArrayView2<'_, f32>,
    labels: &Labels,
    params: &Params<'_>,
    groups: &Groups,
) -> Vec<Array2<u32>> {
    let walks = Walks::new(x, labels, params);
    let points: usize = params.orderings.iter().map(|order| order.len() + 1).sum();
    let of_groups: Vec<Vec<u32>> = (0..groups.len())
        .into_par_iter()
        .map(|group| {
            let packs = groups.rows(group).par_chunks(LANES);
            let counted = packs.fold(
                || vec![0u32; points],
                |mut correct, rows| {
                    walks.count(rows, &mut correct);
                    correct
                },
            );
            counted.reduce(|| vec![0u32; points], added)
        })
        .collect();
    let mut first = 0;
    let mut of_ordering = |length: usize| {
        let points = first..first + length + 1;
        first = points.end;
        Array2::from_shape_fn((groups.len(), points.len()), |(group, k)| {
            of_groups[group][points.start + k]
        })
    };
    let orderings = params.orderings.iter();
    orderings.map(|order| of_ordering(order.len())).collect()
}

fn added(mut sum: Vec<u32>, other: Vec<u32>) -> Vec<u32> {
    sum.iter_mut().zip(other).for_each(|(sum, n)| *sum += n);
    sum
}

/// What every walk needs.
struct Walks<'a, 'x, 'p> {
    x: ArrayView2<'x, f32>,
    labels: &'a Labels,
    params: &'a Params<'p>,
    initial: Vec<f64>,
    /// Neuron by neuron, so that one step reads one row.
    weights: Vec<f64>,
    /// The neurons that any ordering lists.
    used: Vec<usize>,
}

impl<'a, 'x, 'p> Walks<'a, 'x, 'p> {
    fn new(x: ArrayView2<'x, f32>, labels: &'a Labels, params: &'a Params<'p>) -> Self {
        let mut listed = vec![false; x.ncols()];
        for &neuron in params.orderings.iter().flatten() {
            listed[neuron] = true;
        }
        Self {
            x,
            labels,
            params,
            initial: partial(params).initial(),
            weights: params.weights.t().iter().map(|w| f64::from(*w)).collect(),
            used: (0..x.ncols()).filter(|&neuron| listed[neuron]).collect(),
        }
    }

    /// Adds what up to [`LANES`] samples get right, all orderings one after another.
    fn count(&self, rows: &[u32], correct: &mut [u32]) {
        // Surplus lanes repeat a row, and have a class that does not exist.
        let row = |lane: usize| rows[lane.min(rows.len() - 1)] as usize;
        let values: [_; LANES] = std::array::from_fn(|lane| self.x.row(row(lane)));
        let class: Lanes = std::array::from_fn(|lane| match lane < rows.len() {
            true => f64::from(self.labels.ids()[row(lane)]),
            false => -1.0,
        });
        let mut deviations = vec![[0.0; LANES]; self.x.ncols()];
        for &neuron in &self.used {
            let replaced = f64::from(self.params.ablated[neuron]);
            deviations[neuron] =
                std::array::from_fn(|lane| f64::from(values[lane][neuron]) - replaced);
        }
        let mut rest = correct;
        for ordering in self.params.orderings {
            let (own, after) = rest.split_at_mut(ordering.len() + 1);
            rest = after;
            let mut logits: Vec<Lanes> = self.initial.iter().map(|l| [*l; LANES]).collect();
            own[0] += right(&first_largest(&logits), &class);
            let own = &mut own[1..];
            walk(
                ordering,
                &self.weights,
                &deviations,
                &class,
                &mut logits,
                own,
            );
        }
    }
}

#[inline(always)]
fn right(predicted: &Lanes, class: &Lanes) -> u32 {
    let pairs = predicted.iter().zip(class);
    pairs
        .map(|(predicted, class)| u32::from(predicted == class))
        .sum()
}

/// Adds weight · deviation to every logit, neuron by neuron of the ordering, and counts which samples are right.
#[multiversion(targets("x86_64+avx2+fma"))]
fn walk(
    ordering: &[usize],
    weights: &[f64],
    deviations: &[Lanes],
    class: &Lanes,
    logits: &mut [Lanes],
    correct: &mut [u32],
) {
    let fused = target_cfg_f!(target_feature = "fma");
    let classes = logits.len();
    for (&neuron, correct) in ordering.iter().zip(correct) {
        let deviation = &deviations[neuron];
        let weights = &weights[neuron * classes..(neuron + 1) * classes];
        for (logits, weight) in logits.iter_mut().zip(weights) {
            for lane in 0..LANES {
                logits[lane] = if fused {
                    weight.mul_add(deviation[lane], logits[lane])
                } else {
                    weight * deviation[lane] + logits[lane]
                };
            }
        }
        *correct += right(&first_largest(logits), class);
    }
}
