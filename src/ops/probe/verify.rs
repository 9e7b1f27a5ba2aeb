//! The products of a pass that a device gave back, checked natively ([`crate::ops::verify`]): column sums of X·W are those of
//! X times W, column sums of Xᵀ·R are R weighed by the row sums of X (Huang & Abraham 1984), each entry is at most what its
//! terms can add up to, and some rows of X·W are computed again.

use multiversion::multiversion;
use ndarray::parallel::prelude::*;
use ndarray::{ArrayView1, ArrayView2, Axis};

use super::slab::Slab;
use crate::error::Result;

/// How far a sum may be off, as a share of the sum of its terms' sizes: the f32 sums of some ten thousand terms.
const ALLOWED: f64 = 1e-5;

/// How far single entries may be off, likewise.
const ALLOWED_ALONE: f64 = 1e-4;

/// Rows that a thread sums at a time, and neurons of them.
const RUN: usize = 256;
const STRIP: usize = 512;

/// Rows that are computed again, about: of few rows fewer.
const ROWS: usize = 16;

/// Sums of a slab, and some of its rows.
pub(super) struct Sums {
    /// Σ x and Σ |x| of each sample.
    rows: [Vec<f64>; 2],
    /// Of each neuron.
    columns: [Vec<f64>; 2],
    /// Some samples, with their places.
    sampled: Vec<(usize, Vec<f32>)>,
}

impl Sums {
    /// Reads the slab once.
    ///
    /// # Errors
    /// As [`Slab::block`].
    pub(super) fn new(slab: &Slab<'_>) -> Result<Self> {
        let (n, d) = (slab.samples(), slab.width());
        let mut sums = Self {
            rows: [Vec::with_capacity(n), Vec::with_capacity(n)],
            columns: [vec![0.0; d], vec![0.0; d]],
            sampled: Vec::new(),
        };
        let step = n.div_ceil(ROWS);
        let mut scratch = Vec::new();
        for rows in slab.blocks() {
            let from = rows.start;
            let x = slab.block(rows, &mut scratch)?;
            sums.add(x);
            for (at, row) in (from..)
                .zip(x.rows())
                .filter(|(at, _)| at % step == step / 2)
            {
                sums.sampled.push((at, row.to_vec()));
            }
        }
        Ok(sums)
    }

    /// Adds the sums of a block's rows, which are contiguous: runs of rows by strips of neurons, so that the strips' sums stay in
    /// the nearest cache and every value is read once.
    fn add(&mut self, x: ArrayView2<'_, f32>) {
        let d = x.ncols();
        let of_run = |run: ArrayView2<'_, f32>| {
            let mut columns = [vec![0.0; d], vec![0.0; d]];
            let mut rows = vec![(0.0, 0.0); run.nrows()];
            for from in (0..d).step_by(STRIP) {
                let strip = from..(from + STRIP).min(d);
                let [sums, sizes] = &mut columns;
                for (row, x) in rows.iter_mut().zip(run.rows()) {
                    let x = x.to_slice().expect("rows are contiguous");
                    let of_columns = (&mut sums[strip.clone()], &mut sizes[strip.clone()]);
                    let (sum, size) = both(&x[strip.clone()], of_columns);
                    *row = (row.0 + sum, row.1 + size);
                }
            }
            (rows, columns)
        };
        // Some runs at a time: each leaves sums of all neurons.
        let runs: Vec<_> = x.axis_chunks_iter(Axis(0), RUN).collect();
        for some in runs.chunks(4 * rayon::current_num_threads()) {
            let found: Vec<_> = some.par_iter().map(|run| of_run(*run)).collect();
            for (rows, columns) in found {
                self.rows[0].extend(rows.iter().map(|(sum, _)| sum));
                self.rows[1].extend(rows.iter().map(|(_, size)| size));
                for (all, of_run) in self.columns.iter_mut().zip(columns) {
                    all.iter_mut().zip(of_run).for_each(|(all, sum)| *all += sum);
                }
            }
        }
    }

    /// What is wrong with X·W, N × K.
    pub(super) fn of_forward(
        &self,
        w: ArrayView2<'_, f32>,
        z: ArrayView2<'_, f32>,
    ) -> Option<String> {
        let largest = largest_of_columns(w);
        let bound = |row: usize, column: usize| 1.01 * self.rows[1][row] * largest[column];
        let found = summed(z, |sum, row, column, z| {
            let z = f64::from(z);
            // One that no terms add up to spoils the sum.
            *sum += if near(z, 0.0, bound(row, column)) {
                z
            } else {
                f64::NAN
            };
        });
        for (column, (w, sum)) in w.columns().into_iter().zip(found).enumerate() {
            let [expected, size] = [0, 1].map(|which| {
                let terms = self.columns[which].iter().zip(w);
                terms.fold(0.0, |all, (x, w)| all + x * magnitude(*w, which == 1))
            });
            if !near(sum, expected, ALLOWED * size) {
                return Some(off("column", column, "logits", sum, expected));
            }
        }
        self.sampled.iter().find_map(|(row, x)| {
            let again = |(column, z): (usize, &f32)| {
                let terms = x.iter().zip(w.column(column));
                let (expected, size) = terms.fold((0.0, 0.0), |(sum, size), (x, w)| {
                    let term = f64::from(*x) * f64::from(*w);
                    (sum + term, size + term.abs())
                });
                let z = f64::from(*z);
                let right = near(z, expected, ALLOWED_ALONE * size);
                (!right).then(|| off("row", *row, "logits", z, expected))
            };
            z.row(*row).iter().enumerate().find_map(again)
        })
    }

    /// What is wrong with Xᵀ·R, d × K.
    pub(super) fn of_backward(
        &self,
        r: ArrayView2<'_, f32>,
        g: ArrayView2<'_, f64>,
    ) -> Option<String> {
        let [sums, sizes] = &self.rows;
        let found = summed(r, |of: &mut [f64; 3], row, _, r| {
            let r = f64::from(r);
            of[0] += sums[row] * r;
            of[1] += sizes[row] * r.abs();
            of[2] = of[2].max(r.abs());
        });
        for (column, (g, of)) in g.columns().into_iter().zip(&found).enumerate() {
            let sum = g.sum();
            if !near(sum, of[0], ALLOWED * of[1]) {
                return Some(off("column", column, "gradients", sum, of[0]));
            }
        }
        let rows = g.axis_iter(Axis(0)).into_par_iter().zip(&self.columns[1]);
        let wild = |(row, bound): (ArrayView1<'_, f64>, &f64)| {
            let mut each = row.iter().zip(&found);
            each.any(|(g, of)| !near(*g, 0.0, 1.01 * bound * of[2]))
        };
        let wild = rows.map(wild).any(|wild| wild);
        wild.then(|| "a gradient is larger than its terms can be".to_owned())
    }
}

/// Something of each column, to which `add` adds a row's and column's value at a time: rows in runs, in their order.
fn summed<S: Accumulated>(
    values: ArrayView2<'_, f32>,
    add: impl Fn(&mut S, usize, usize, f32) + Sync,
) -> Vec<S> {
    let runs = values.axis_chunks_iter(Axis(0), RUN).into_par_iter();
    let of_run = |(run, values): (usize, ArrayView2<'_, f32>)| {
        let mut sums = vec![S::default(); values.ncols()];
        for (row, values) in (run * RUN..).zip(values.rows()) {
            for (column, (sum, value)) in sums.iter_mut().zip(values).enumerate() {
                add(sum, row, column, *value);
            }
        }
        sums
    };
    let sums: Vec<Vec<S>> = runs.enumerate().map(of_run).collect();
    let mut all = vec![S::default(); values.ncols()];
    for sums in sums {
        all.iter_mut()
            .zip(sums)
            .for_each(|(all, sum)| all.take(sum));
    }
    all
}

/// What runs of rows leave, put together.
trait Accumulated: Clone + Default + Send + Sync {
    fn take(&mut self, other: Self);
}

impl Accumulated for f64 {
    fn take(&mut self, other: Self) {
        *self += other;
    }
}

/// Two sums and a largest value.
impl Accumulated for [f64; 3] {
    fn take(&mut self, other: Self) {
        *self = [
            self[0] + other[0],
            self[1] + other[1],
            self[2].max(other[2]),
        ];
    }
}

/// The value, or its size.
fn magnitude(value: f32, size: bool) -> f64 {
    let value = f64::from(value);
    if size { value.abs() } else { value }
}

/// Whether they differ by at most so much; NaN is near nothing. What f32 cannot tell from 0 is as good as 0.
fn near(found: f64, expected: f64, allowed: f64) -> bool {
    (found - expected).abs() <= allowed + 1e-30
}

/// Σ x and Σ |x|, both of which are added to the sums of columns as well.
#[multiversion(targets("x86_64+avx2+fma"))]
fn both(x: &[f32], (sums, sizes): (&mut [f64], &mut [f64])) -> (f64, f64) {
    const LANES: usize = 8;
    let (mut of_row, mut of_size) = ([0.0; LANES], [0.0; LANES]);
    let ((x, rest), (all, others), (wide, more)) = (
        x.as_chunks::<LANES>(),
        sums.as_chunks_mut::<LANES>(),
        sizes.as_chunks_mut::<LANES>(),
    );
    for ((x, sums), sizes) in x.iter().zip(all).zip(wide) {
        for lane in 0..LANES {
            let x = f64::from(x[lane]);
            sums[lane] += x;
            sizes[lane] += x.abs();
            of_row[lane] += x;
            of_size[lane] += x.abs();
        }
    }
    for (lane, ((x, sum), size)) in rest.iter().zip(others).zip(more).enumerate() {
        let x = f64::from(*x);
        *sum += x;
        *size += x.abs();
        of_row[lane] += x;
        of_size[lane] += x.abs();
    }
    (of_row.iter().sum(), of_size.iter().sum())
}

/// The largest size in each column.
fn largest_of_columns(values: ArrayView2<'_, f32>) -> Vec<f64> {
    let size = |most: f64, value: &f32| most.max(f64::from(value.abs()));
    let columns = values.columns().into_iter();
    columns
        .map(|column| column.iter().fold(0.0, size))
        .collect()
}

fn off(of: &str, at: usize, what: &str, found: f64, expected: f64) -> String {
    format!("{of} {at} of {what} is or adds up to {found:e} instead of {expected:e}")
}
