//! What goes to a device and what comes back, gone through once by the thread that asks: others may be busy for longer than it takes,
//! and as many threads ask as questions are under way.

use multiversion::multiversion;
use ndarray::{Array2, ArrayView2, ShapeBuilder};

use super::gpu::{Bench, parts, runs};
use super::{Answer, Ask};
use crate::ops::probe::gpu::Resident;

/// Writes the coefficients of problems that see one slab side by side, without the intercepts: so many padded rows of so many padded
/// columns.
pub(super) fn side_by_side(asks: &[&Ask<'_>], (rows, width): (usize, usize), out: &mut Vec<f32>) {
    out.resize(rows * width, 0.0);
    let neurons = asks.first().map_or(0, |ask| ask.theta.nrows() - 1);
    let (known, below) = out.split_at_mut(neurons * width);
    below.fill(0.0);
    for (row, out) in known.chunks_exact_mut(width).enumerate() {
        let mut rest = out;
        for ask in asks {
            let values = ask.theta.row(row + 1);
            let values = values.to_slice().expect("rows are contiguous");
            let (own, others) = rest.split_at_mut(values.len());
            own.copy_from_slice(values);
            rest = others;
        }
        rest.fill(0.0);
    }
}

/// What came back for some problems side by side.
pub(super) struct Found<'a> {
    asks: &'a [&'a Ask<'a>],
    samples: usize,
    /// d × columns.
    pub weights: ArrayView2<'a, f32>,
    /// Of all samples, whose weights have the mean 1: not divided by N yet. So are gradients and sums.
    losses: &'a [f32],
    pub of_predictions: Vec<[f64; 4]>,
    pub of_residuals: Vec<[f64; 4]>,
    /// Padded rows of gradients, and what the sums of the blocks' lost.
    total: &'a [f32],
    lost: &'a [f32],
    width: usize,
}

impl<'a> Found<'a> {
    /// Of these problems, as the bench holds it.
    pub(super) fn new(resident: &Resident<'_>, asks: &'a [&'a Ask<'a>], bench: &'a Bench) -> Self {
        let width = bench.weights.len() / resident.room.neurons;
        let columns = asks.iter().map(|ask| ask.theta.ncols()).sum();
        let shape = (resident.slab.width(), columns).strides((width, 1));
        let weights = ArrayView2::from_shape(shape, &bench.weights);
        let [losses, of_predictions, of_residuals, total, lost] = &bench.returned[..] else {
            unreachable!("five parts came back");
        };
        let [of_predictions, of_residuals] = [of_predictions, of_residuals]
            .map(|sums| summed(sums, runs(resident), (width, columns)));
        Self {
            asks,
            samples: resident.slab.samples(),
            weights: weights.expect("it is as large as the padded factor"),
            losses,
            of_predictions,
            of_residuals,
            total,
            lost,
            width,
        }
    }

    /// The answers to the questions, whose weights add up to 1. `see` is shown the gradients' rows, all columns of them, as they were
    /// summed.
    pub(super) fn answers(&self, mut see: impl FnMut(usize, &[f64])) -> Vec<Answer> {
        let share = (self.samples as f64).recip();
        let mut sums = &self.of_residuals[..];
        let losses = self.losses.chunks_exact(parts(self.samples));
        let begun = |(ask, losses): (&&Ask<'_>, &[f32])| {
            let mut derivative = Array2::zeros(ask.theta.dim());
            let (own, others) = sums.split_at(ask.theta.ncols());
            sums = others;
            let intercepts = derivative.row_mut(0).into_iter().zip(own);
            intercepts.for_each(|(to, of_column)| *to = of_column[0] * share);
            let loss: f64 = losses.iter().map(|loss| f64::from(*loss)).sum();
            Answer {
                loss: loss * share,
                derivative,
            }
        };
        let mut answers: Vec<Answer> = self.asks.iter().zip(losses).map(begun).collect();
        let mut values = vec![0.0; self.weights.ncols()];
        for row in 0..self.weights.nrows() {
            let from = row * self.width;
            added(&self.total[from..], &self.lost[from..], &mut values);
            see(row, &values);
            let mut rest = &values[..];
            for answer in &mut answers {
                let to = answer.derivative.row_mut(row + 1);
                let to = to.into_slice().expect("rows are contiguous");
                let (own, others) = rest.split_at(to.len());
                rest = others;
                to.iter_mut()
                    .zip(own)
                    .for_each(|(to, value)| *to = value * share);
            }
        }
        answers
    }
}

/// Two rows as one.
#[multiversion(targets("x86_64+avx2+fma"))]
fn added(total: &[f32], lost: &[f32], out: &mut [f64]) {
    for ((out, total), lost) in out.iter_mut().zip(total).zip(lost) {
        *out = f64::from(*total) + f64::from(*lost);
    }
}

/// Sums of each column over runs, and the largest of what is fourth; nothing where there are none.
fn summed(
    sums: &[f32],
    runs: impl Iterator<Item = usize>,
    (width, columns): (usize, usize),
) -> Vec<[f64; 4]> {
    if sums.is_empty() {
        return Vec::new();
    }
    let mut all = vec![[0.0; 4]; columns];
    runs.for_each(|run| run_added(&sums[4 * run * width..], &mut all));
    all
}

/// Adds a run's sums.
#[multiversion(targets("x86_64+avx2+fma"))]
fn run_added(values: &[f32], all: &mut [[f64; 4]]) {
    for (all, values) in all.iter_mut().zip(values.as_chunks::<4>().0) {
        let [sum, weighed, sizes, largest] = values.map(f64::from);
        *all = [
            all[0] + sum,
            all[1] + weighed,
            all[2] + sizes,
            all[3].max(largest),
        ];
    }
}
