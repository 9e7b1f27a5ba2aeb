//! The products of a pass that a device gave back, checked natively ([`crate::ops::verify`]): column sums of X·W are those of
//! X times W, column sums of Xᵀ·R are R weighed by the row sums of X (Huang & Abraham 1984), each entry is at most what its
//! terms can add up to, and some rows of X·W are computed again.

use multiversion::multiversion;
use ndarray::parallel::prelude::*;
use ndarray::{ArrayView1, ArrayView2, Axis};

use super::beside::Piece;
use super::slab::Slab;
use crate::error::Result;

/// How far a sum may be off, as a share of the sum of its terms' sizes: the f32 sums of some ten thousand terms.
const ALLOWED: f64 = 1e-5;

/// How far single entries may be off, likewise.
const ALLOWED_ALONE: f64 = 1e-4;

/// Rows that a thread sums at a time, and neurons of them.
const RUN: usize = 256;
const STRIP: usize = 512;

/// As good as 0 in f32.
const NOTHING: f64 = 1e-30;

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
                    all.iter_mut()
                        .zip(of_run)
                        .for_each(|(all, sum)| *all += sum);
                }
            }
        }
    }

    /// What is wrong with X·W, N × K, of which these are the pieces.
    pub(super) fn of_forward(&self, w: ArrayView2<'_, f32>, pieces: &[Piece]) -> Option<String> {
        let largest = largest_of_columns(w);
        let mut found = vec![0.0; w.ncols()];
        for piece in pieces {
            let largest = &largest[piece.columns.clone()];
            let sizes = &self.rows[1][piece.rows.clone()];
            let [sums] = summed(piece.view(), |row, values, [sums]| {
                bounded(values, 1.01 * sizes[row], largest, sums);
            });
            let of_columns = &mut found[piece.columns.clone()];
            of_columns.iter_mut().zip(sums).for_each(|(a, b)| *a += b);
        }
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
            let mut here = pieces.iter().filter(|piece| piece.rows.contains(row));
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
            let of_piece = |piece: &Piece| {
                let values = piece.view();
                let values = values.row(row - piece.rows.start);
                piece.columns.clone().zip(values).find_map(again)
            };
            here.find_map(of_piece)
        })
    }

    /// Sum and sum of sizes of each sample, one after the other.
    pub(super) fn of_samples(&self) -> Vec<f32> {
        let [sums, sizes] = &self.rows;
        let each = sums.iter().zip(sizes);
        each.flat_map(|(sum, size)| [*sum as f32, *size as f32])
            .collect()
    }

    /// What is wrong with X·W of which only sums are known ([`super::oracle`]): `found` of each column, the first of them the sum.
    pub(super) fn of_predictions(
        &self,
        w: ArrayView2<'_, f32>,
        found: &[[f64; 4]],
    ) -> Option<String> {
        let [mut expected, mut sizes] = [vec![0.0; w.ncols()], vec![0.0; w.ncols()]];
        let of_neurons = self.columns[0].iter().zip(&self.columns[1]);
        for (w, (sum, size)) in w.rows().into_iter().zip(of_neurons) {
            let w = w.to_slice().expect("rows are contiguous");
            weighed(w, (*sum, *size), (&mut expected, &mut sizes));
        }
        let mut each = found.iter().zip(expected.iter().zip(sizes)).enumerate();
        each.find_map(|(column, ([found, ..], (expected, size)))| {
            let right = near(*found, *expected, ALLOWED * size);
            (!right).then(|| off("column", column, "logits", *found, *expected))
        })
    }

    /// What looks at the rows of Xᵀ·R, where of each column of R sums are known: its sum, that weighed by the sums of X's rows and that of
    /// sizes, and the largest size.
    pub(super) fn watch<'s>(&'s self, of_residuals: &'s [[f64; 4]]) -> Watch<'s> {
        Watch {
            bounds: &self.columns[1],
            of_residuals,
            largest: of_residuals.iter().map(|of| 1.01 * of[3]).collect(),
            sums: vec![0.0; of_residuals.len()],
            wild: false,
        }
    }

    /// What is wrong with Xᵀ·R, d × K, of residuals side by side.
    pub(super) fn of_backward(
        &self,
        residuals: &[ArrayView2<'_, f32>],
        g: ArrayView2<'_, f64>,
    ) -> Option<String> {
        let [sums, sizes] = &self.rows;
        let of_part = |r: &ArrayView2<'_, f32>| {
            let found: [Vec<f64>; 2] = summed(r.view(), |row, values, [expected, size]| {
                weighed(values, (sums[row], sizes[row]), (expected, size));
            });
            let [expected, size] = found;
            (expected, size, largest_of_columns(r.view()))
        };
        let (mut expected, mut size, mut largest) = (Vec::new(), Vec::new(), Vec::new());
        for part in residuals.iter().map(of_part) {
            expected.extend(part.0);
            size.extend(part.1);
            largest.extend(part.2);
        }
        for (column, g) in g.columns().into_iter().enumerate() {
            let sum = g.sum();
            if !near(sum, expected[column], ALLOWED * size[column]) {
                return Some(off("column", column, "gradients", sum, expected[column]));
            }
        }
        let rows = g.axis_iter(Axis(0)).into_par_iter().zip(&self.columns[1]);
        let wild = |(row, bound): (ArrayView1<'_, f64>, &f64)| {
            let mut each = row.iter().zip(&largest);
            each.any(|(g, largest)| !near(*g, 0.0, 1.01 * bound * largest))
        };
        let wild = rows.map(wild).any(|wild| wild);
        wild.then(|| "a gradient is larger than its terms can be".to_owned())
    }
}

/// Looks at a gradient's rows as they pass by.
pub(super) struct Watch<'s> {
    bounds: &'s [f64],
    of_residuals: &'s [[f64; 4]],
    /// 1.01 times what no size of a column of R exceeds.
    largest: Vec<f64>,
    sums: Vec<f64>,
    wild: bool,
}

impl Watch<'_> {
    /// Takes the next row.
    pub(super) fn take(&mut self, row: usize, g: &[f64]) {
        self.wild |= passed(g, self.bounds[row], (&self.largest, &mut self.sums));
    }

    /// What is wrong with the rows, all of which have been seen.
    pub(super) fn wrong(self) -> Option<String> {
        for (column, (sum, found)) in self.sums.iter().zip(self.of_residuals).enumerate() {
            let [_, expected, size, _] = *found;
            if !near(*sum, expected, ALLOWED * size) {
                return Some(off("column", column, "gradients", *sum, expected));
            }
        }
        self.wild
            .then(|| "a gradient is larger than its terms can be".to_owned())
    }
}

/// Sums over the rows of a matrix, some of each column, to which `add` adds a row at a time: rows in runs, in their order.
pub(super) fn summed<const SUMS: usize>(
    values: ArrayView2<'_, f32>,
    add: impl Fn(usize, &[f32], &mut [Vec<f64>; SUMS]) + Sync,
) -> [Vec<f64>; SUMS] {
    let none = || std::array::from_fn(|_| vec![0.0; values.ncols()]);
    let runs = values.axis_chunks_iter(Axis(0), RUN).into_par_iter();
    let of_run = |(run, values): (usize, ArrayView2<'_, f32>)| {
        let mut sums: [Vec<f64>; SUMS] = none();
        for (row, values) in (run * RUN..).zip(values.rows()) {
            let values = values.to_slice().expect("rows are contiguous");
            add(row, values, &mut sums);
        }
        sums
    };
    let runs: Vec<[Vec<f64>; SUMS]> = runs.enumerate().map(of_run).collect();
    let mut all: [Vec<f64>; SUMS] = none();
    for sums in runs {
        for (all, sums) in all.iter_mut().zip(sums) {
            all.iter_mut().zip(sums).for_each(|(all, sum)| *all += sum);
        }
    }
    all
}

/// Adds values to sums, each of which is at most so large a share of `largest`: one that is not, as no terms add up to it, spoils
/// its sum.
#[multiversion(targets("x86_64+avx2+fma"))]
fn bounded(values: &[f32], share: f64, largest: &[f64], sums: &mut [f64]) {
    for ((sum, value), largest) in sums.iter_mut().zip(values).zip(largest) {
        let value = f64::from(*value);
        // Not so of NaN either.
        let possible = value.abs() <= share * largest + NOTHING;
        *sum += if possible { value } else { f64::NAN };
    }
}

/// Adds values times one weight to `sums`, and their sizes times another to `sizes`.
#[multiversion(targets("x86_64+avx2+fma"))]
fn weighed(values: &[f32], (weight, size): (f64, f64), (sums, sizes): (&mut [f64], &mut [f64])) {
    for ((sum, of_size), value) in sums.iter_mut().zip(sizes).zip(values) {
        let value = f64::from(*value);
        *sum += value * weight;
        *of_size += value.abs() * size;
    }
}

/// Adds a row to sums; whether one of its values is larger than the bound times what its column has at most.
#[multiversion(targets("x86_64+avx2+fma"))]
fn passed(row: &[f64], bound: f64, (largest, sums): (&[f64], &mut [f64])) -> bool {
    let mut possible = true;
    for ((sum, value), largest) in sums.iter_mut().zip(row).zip(largest) {
        *sum += value;
        // Not so of NaN either.
        possible &= value.abs() <= bound * largest + NOTHING;
    }
    !possible
}

/// The value, or its size.
fn magnitude(value: f32, size: bool) -> f64 {
    let value = f64::from(value);
    if size { value.abs() } else { value }
}

/// Whether they differ by at most so much; NaN is near nothing. What f32 cannot tell from 0 is as good as 0.
fn near(found: f64, expected: f64, allowed: f64) -> bool {
    (found - expected).abs() <= allowed + NOTHING
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
    let none = || vec![0f32; values.ncols()];
    let of_run = |mut largest: Vec<f32>, row: ArrayView1<'_, f32>| {
        for (most, value) in largest.iter_mut().zip(row) {
            *most = most.max(value.abs());
        }
        largest
    };
    let larger = |mut a: Vec<f32>, b: Vec<f32>| {
        a.iter_mut().zip(b).for_each(|(a, b)| *a = a.max(b));
        a
    };
    let rows = values.axis_iter(Axis(0)).into_par_iter();
    let runs = rows.with_min_len(RUN).fold(none, of_run);
    let largest = runs.reduce(none, larger);
    largest.into_iter().map(f64::from).collect()
}

fn off(of: &str, at: usize, what: &str, found: f64, expected: f64) -> String {
    format!("{of} {at} of {what} is or adds up to {found:e} instead of {expected:e}")
}
