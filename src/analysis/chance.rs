//! How well neurons of two models match by chance: the other model's samples shuffled, or its layers rotated.
//!
//! Gurnee et al. 2024 (universal neurons) call a neuron's best |r| in another model its correlation and subtract what it gets
//! when the other model's layers are rotated at random: a rotation keeps everything that a layer says, but no neuron.

use std::f64::consts::TAU;

use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, s};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::activations::{LayerMap, Rows, rows_of};
use crate::error::{Error, Result};

/// Columns that are made orthogonal together.
const PANEL: usize = 64;

/// Samples in a random order.
#[derive(Debug)]
pub struct Permuted<'a> {
    rows: &'a dyn Rows,
    order: Vec<usize>,
}

impl<'a> Permuted<'a> {
    /// Every order is as likely.
    pub fn new(rows: &'a dyn Rows, seed: u64) -> Self {
        let mut order: Vec<usize> = (0..rows.shape().0).collect();
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        Self { rows, order }
    }
}

impl Rows for Permuted<'_> {
    fn shape(&self) -> (usize, usize) {
        self.rows.shape()
    }

    fn read_rows(&self, start: usize, out: &mut [f32]) -> Result<()> {
        let (_, neurons) = self.shape();
        let wanted = rows_of(self.shape(), start, out.len())?;
        let order = self.order[wanted].iter();
        let mut each = order.zip(out.chunks_exact_mut(neurons));
        each.try_for_each(|(row, out)| self.rows.read_rows(*row, out))
    }
}

/// Samples whose layers are rotated, each by an orthogonal matrix of its own; every such matrix is as likely.
#[derive(Debug)]
pub struct Rotated<'a> {
    rows: &'a dyn Rows,
    /// Subtracted before the rotation, so that no mean drowns what varies. Correlations do not see it.
    shift: Vec<f32>,
    layers: Vec<(std::ops::Range<usize>, Array2<f32>)>,
}

impl<'a> Rotated<'a> {
    /// Bytes that the matrices of these layers take, one of them also in f64 for each thread while they are made.
    pub fn bytes(map: &LayerMap) -> u64 {
        let sizes = map
            .layers()
            .into_iter()
            .map(|layer| map.columns(layer).len() as u64);
        let largest = sizes.clone().max().unwrap_or(0);
        let threads = rayon::current_num_threads() as u64;
        sizes.map(|units| 4 * units * units).sum::<u64>() + threads * 12 * largest * largest
    }

    /// `mean` of the neurons that `map` describes. Takes 4·U² bytes and about 4·U³ FLOP for a layer of U neurons.
    ///
    /// # Errors
    /// When the three are of other neurons.
    pub fn new(rows: &'a dyn Rows, map: &LayerMap, mean: &[f64], seed: u64) -> Result<Self> {
        let neurons = rows.shape().1;
        if map.neurons() != neurons || mean.len() != neurons {
            return Err(Error::invalid(
                "rotation of layers",
                format!(
                    "activations of {neurons} neurons, {} means and a layer map of {}",
                    mean.len(),
                    map.neurons()
                ),
                "Take all from the same activations",
            ));
        }
        let rotation = |layer: &u32| {
            let columns = map.columns(*layer);
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            random.set_stream(u64::from(*layer));
            let q = orthogonal(columns.len(), &mut random);
            (columns, q.mapv(|value| value as f32))
        };
        Ok(Self {
            rows,
            shift: mean.iter().map(|&mean| mean as f32).collect(),
            layers: map.layers().par_iter().map(rotation).collect(),
        })
    }
}

impl Rows for Rotated<'_> {
    fn shape(&self) -> (usize, usize) {
        self.rows.shape()
    }

    fn read_rows(&self, start: usize, out: &mut [f32]) -> Result<()> {
        let (_, neurons) = self.shape();
        let rows = rows_of(self.shape(), start, out.len())?.len();
        let mut stored = vec![0.0; out.len()];
        self.rows.read_rows(start, &mut stored)?;
        for row in stored.chunks_exact_mut(neurons) {
            row.iter_mut().zip(&self.shift).for_each(|(x, s)| *x -= s);
        }
        let stored = ArrayView2::from_shape((rows, neurons), &stored).expect("it is that long");
        let mut out = ArrayViewMut2::from_shape((rows, neurons), out).expect("whole rows");
        for (columns, rotation) in &self.layers {
            let rotated = stored.slice(s![.., columns.clone()]).dot(rotation);
            out.slice_mut(s![.., columns.clone()]).assign(&rotated);
        }
        Ok(())
    }
}

/// A random orthogonal matrix: normal draws made orthonormal by Gram–Schmidt, twice for its rounding, panel by panel so that
/// most of it are products of matrices. What is left of a draw after the ones before it has no preferred direction, so the
/// matrix is uniformly distributed.
fn orthogonal(size: usize, random: &mut ChaCha8Rng) -> Array2<f64> {
    let mut q = Array2::from_shape_simple_fn((size, size), || normal(random));
    for from in (0..size).step_by(PANEL) {
        let to = size.min(from + PANEL);
        let (before, mut rest) = q.view_mut().split_at(Axis(1), from);
        let mut panel = rest.slice_mut(s![.., ..to - from]);
        for _ in 0..2 {
            let along = before.t().dot(&panel);
            panel -= &before.dot(&along);
        }
        for at in 0..to - from {
            let (done, mut rest) = panel.view_mut().split_at(Axis(1), at);
            let mut column = rest.column_mut(0);
            for _ in 0..2 {
                let along = done.t().dot(&column);
                column -= &done.dot(&along);
            }
            let length = column.dot(&column).sqrt();
            column /= length;
        }
    }
    q
}

/// A standard normal draw (Box and Muller).
fn normal(random: &mut ChaCha8Rng) -> f64 {
    let [u, v]: [f64; 2] = [random.random(), random.random()];
    (-2.0 * (1.0 - u).ln()).sqrt() * (TAU * v).cos()
}
