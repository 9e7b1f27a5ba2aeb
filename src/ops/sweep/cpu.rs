//! The native path: a few samples side by side, f64 logits, each ordering walked once.

use ndarray::ArrayView2;
use rayon::prelude::*;

use super::{Params, initial};
use crate::labels::Labels;

/// Samples side by side: the compiler turns loops over them into vector instructions.
const LANES: usize = 8;

/// One value a sample.
type Lanes = [f64; LANES];

/// Right samples at every point of every ordering. Sums of integers, so the order of threads does not matter.
pub(super) fn counts(
    x: ArrayView2<'_, f32>,
    labels: &Labels,
    params: &Params<'_>,
) -> Vec<Vec<u32>> {
    let initial = initial(params);
    // Neuron by neuron, so that one step reads one row.
    let weights = params.weights.t().mapv(f64::from);
    let weights = weights.as_standard_layout();
    params
        .orderings
        .iter()
        .map(|ordering| {
            let points = ordering.len() + 1;
            (0..x.nrows())
                .step_by(LANES)
                .collect::<Vec<_>>()
                .into_par_iter()
                .fold(
                    || vec![0u32; points],
                    |mut correct, first| {
                        let walk = Walk::new(x, labels, params.ablated, first);
                        walk.count(ordering, &initial, weights.view(), &mut correct);
                        correct
                    },
                )
                .reduce(|| vec![0u32; points], added)
        })
        .collect()
}

fn added(mut sum: Vec<u32>, other: Vec<u32>) -> Vec<u32> {
    sum.iter_mut().zip(other).for_each(|(sum, n)| *sum += n);
    sum
}

/// Up to [`LANES`] samples on their way along an ordering.
struct Walk<'a> {
    x: ArrayView2<'a, f32>,
    ablated: &'a [f32],
    /// Row of each lane. Surplus lanes repeat a row.
    rows: [usize; LANES],
    /// Class that counts as right; a surplus lane has one that does not exist.
    class: Lanes,
}

impl<'a> Walk<'a> {
    fn new(x: ArrayView2<'a, f32>, labels: &Labels, ablated: &'a [f32], first: usize) -> Self {
        let mut rows = [first; LANES];
        let mut class = [-1.0; LANES];
        for (lane, row) in (first..x.nrows().min(first + LANES)).enumerate() {
            rows[lane] = row;
            class[lane] = f64::from(labels.ids()[row]);
        }
        Self {
            x,
            ablated,
            rows,
            class,
        }
    }

    fn count(
        &self,
        ordering: &[usize],
        initial: &[f64],
        weights: ArrayView2<'_, f64>,
        correct: &mut [u32],
    ) {
        let mut logits: Vec<Lanes> = initial.iter().map(|&logit| [logit; LANES]).collect();
        correct[0] += self.right(&step(&mut logits, &vec![0.0; initial.len()], &[0.0; LANES]));
        for (correct, &neuron) in correct[1..].iter_mut().zip(ordering) {
            let replaced = f64::from(self.ablated[neuron]);
            let deviation = self
                .rows
                .map(|row| f64::from(self.x[(row, neuron)]) - replaced);
            let weights = weights.row(neuron);
            let weights = weights.to_slice().expect("a row of a standard array");
            *correct += self.right(&step(&mut logits, weights, &deviation));
        }
    }

    fn right(&self, predicted: &Lanes) -> u32 {
        predicted
            .iter()
            .zip(&self.class)
            .map(|(predicted, class)| u32::from(predicted == class))
            .sum()
    }
}

/// Adds weight · deviation to every logit and says which class is the first of the largest.
fn step(logits: &mut [Lanes], weights: &[f64], deviation: &Lanes) -> Lanes {
    let mut best = [f64::NEG_INFINITY; LANES];
    let mut winner = [0.0; LANES];
    let mut class = 0.0;
    for (logits, weight) in logits.iter_mut().zip(weights) {
        for lane in 0..LANES {
            let logit = logits[lane] + weight * deviation[lane];
            let better = logit > best[lane];
            logits[lane] = logit;
            best[lane] = if better { logit } else { best[lane] };
            winner[lane] = if better { class } else { winner[lane] };
        }
        class += 1.0;
    }
    winner
}
