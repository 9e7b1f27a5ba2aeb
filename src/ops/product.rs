//! Products of activations with narrow matrices, natively: X·B and Xᵀ·R for X of f32 rows, as they lie in memory.
//!
//! A probe's matrices have as many columns as it has classes. A general product copies X into panels first, which at few
//! columns takes as long as the arithmetic. X·B reads X where it is, and only B gets panels; Xᵀ·R copies runs of samples,
//! since its columns are far apart in memory, and uses each copy for all columns of a batch. Of few columns neither copy is
//! worth its time: rows of X are added up as they lie there.
//!
//! Every element is summed in an order of its own: neither the other columns nor the number of threads change a bit of it.

use std::ops::Range;

use ndarray::parallel::prelude::*;
use ndarray::{Array2, ArrayView1, ArrayView2, Axis, s};

use super::panels::Panels;
use super::tiles::{Entry, ROWS, RUN, TILE};
use crate::error::{Error, Result};

/// Bytes of X that a task of X·B reads, once for every panel: they stay in a core's second cache.
const TASK_BYTES: usize = 1 << 18;
/// Rows that it computes at most.
const TASK_ROWS: usize = 32 * TILE;
/// Neurons of Xᵀ·R that a task computes at least and at most: the more, the longer the pieces of X's rows that it reads.
const TASK_NEURONS: (usize, usize) = (4 * TILE, 32 * TILE);

/// Bytes of R whose panels are made at once.
const PANEL_BYTES: usize = 2 << 20;

/// Columns for which Xᵀ·R adds up rows of X as they lie in memory.
const FEW: usize = 8;
/// Bytes of the rows and sums of the neurons that a task adds up then: they stay in a core's nearest cache.
const NEAREST: usize = 32 << 10;

/// X·W of a pass, n × d times d × K.
///
/// # Errors
/// When the shapes do not fit one another.
pub fn forward(x: ArrayView2<'_, f32>, w: ArrayView2<'_, f32>) -> Result<Array2<f32>> {
    fitting("columns of X", x.ncols(), "rows of W", w.nrows())?;
    let mut b = Array2::zeros((1 + w.nrows(), w.ncols()));
    b.slice_mut(s![1.., ..]).assign(&w);
    let mut z = Array2::zeros((x.nrows(), w.ncols()));
    let x = x.as_standard_layout();
    let out = z.as_slice_mut().expect("it was made here");
    times(x.view(), &Panels::of(&[b.view()]), &mut [out]);
    Ok(z)
}

/// Xᵀ·R of a pass, d × n times n × K.
///
/// # Errors
/// When the shapes do not fit one another.
pub fn backward(x: ArrayView2<'_, f32>, r: ArrayView2<'_, f32>) -> Result<Array2<f64>> {
    fitting("rows of X", x.nrows(), "rows of R", r.nrows())?;
    let mut g = Array2::zeros((x.ncols(), r.ncols()));
    let x = x.as_standard_layout();
    let out = g.as_slice_mut().expect("it was made here");
    add_transposed(x.view(), false, &Panels::of(&[r]), &mut [out]);
    Ok(g)
}

fn fitting(what: &str, n: usize, other: &str, m: usize) -> Result<()> {
    if n == m && n > 0 {
        return Ok(());
    }
    let problem = format!("{n} {what} and {m} {other}");
    let fix = "Give as many of both, at least one";
    Err(Error::invalid("product", problem, fix))
}

/// X·B, the first row of B added to every row (intercepts), into one result a matrix of B: n × d times (1 + d) × K. The
/// rows of X are contiguous.
pub(in crate::ops) fn times<T: Entry>(x: ArrayView2<'_, f32>, b: &Panels<T>, out: &mut [&mut [T]]) {
    let task_rows = (TASK_BYTES / size_of::<T>() / x.ncols().max(1))
        .max(1)
        .next_multiple_of(TILE)
        .min(TASK_ROWS);
    b.chunks(out, task_rows)
        .into_par_iter()
        .zip(x.axis_chunks_iter(Axis(0), task_rows))
        .for_each(|(mut out, x)| {
            let mut made = Vec::new();
            let rows = T::rows(&contiguous(&x), &mut made);
            let mut sums = vec![T::default(); rows.len().next_multiple_of(TILE) * T::WIDTH];
            // A panel alone sees every row once, from its beginning to its end. Of several each is gone through run by run:
            // its rows of a run stay in the nearest cache.
            let together = match &b.panels[..] {
                [_] => TILE,
                _ => rows.len().next_multiple_of(TILE),
            };
            for panel in &b.panels {
                let (intercepts, weights) = panel.values.split_at(T::WIDTH);
                for row in sums.chunks_exact_mut(T::WIDTH) {
                    row.copy_from_slice(intercepts);
                }
                let some = sums.chunks_mut(together * T::WIDTH);
                for (from, some) in (0..).step_by(together).zip(some) {
                    add_runs(&rows[from..], weights, some);
                }
                for span in &panel.spans {
                    let width = b.widths[span.matrix];
                    let rows = out[span.matrix].chunks_exact_mut(width);
                    for (to, values) in rows.zip(sums.chunks_exact(T::WIDTH)) {
                        to[span.columns.clone()].copy_from_slice(&values[span.at.clone()]);
                    }
                }
            }
        });
}

/// Rows of X times a panel, added to sums of whole tiles: the last row stands for those that are missing.
fn add_runs<T: Entry>(rows: &[&[T]], panel: &[T], sums: &mut [T]) {
    let last = rows.len() - 1;
    for (from, panel) in (0..).step_by(RUN).zip(panel.chunks(RUN * T::WIDTH)) {
        let terms = from..from + panel.len() / T::WIDTH;
        let tiles = sums.chunks_exact_mut(TILE * T::WIDTH);
        for (first, tile) in (0..).step_by(TILE).zip(tiles) {
            let row = |row: usize| &rows[(first + row).min(last)][terms.clone()];
            T::times(std::array::from_fn(row), panel, tile);
        }
    }
}

/// Samples of Xᵀ·R whose panels are made at once, of so many columns in all: panels of all samples would take as much as R again, and
/// every task would read them from memory. Whole runs, so that no sum notices.
pub(in crate::ops) fn together<T>(columns: usize) -> usize {
    let rows = PANEL_BYTES / (size_of::<T>() * columns.max(1));
    rows.max(1).next_multiple_of(RUN)
}

/// Xᵀ·R added to one result a matrix of R: d × n times n × K, summed in registers over runs of samples and in f64 over the
/// runs; of the squares of X with `square`. The rows of X are contiguous.
pub(in crate::ops) fn add_transposed<T: Entry>(
    x: ArrayView2<'_, f32>,
    square: bool,
    r: &Panels<T>,
    out: &mut [&mut [f64]],
) {
    let neurons = x.ncols();
    let columns = r.widths.iter().sum::<usize>();
    let few = columns <= FEW;
    let each = columns * size_of::<T>() + ROWS * size_of::<f32>();
    let most = if few { NEAREST / each } else { TASK_NEURONS.1 };
    let task_neurons = (neurons / (2 * rayon::current_num_threads()))
        .next_multiple_of(TILE)
        .clamp(TASK_NEURONS.0, most / TILE * TILE);
    r.chunks(out, task_neurons)
        .into_par_iter()
        .enumerate()
        .for_each(|(task, mut out)| {
            let left = task * task_neurons;
            let neurons = left..(left + task_neurons).min(neurons);
            if few {
                return add_few(x.slice(s![.., neurons]), square, r, &mut out);
            }
            let mut packed = Packed::<T>::new(neurons.len());
            for (run, x) in x.axis_chunks_iter(Axis(0), RUN).enumerate() {
                let rows = contiguous(&x);
                let first = run * RUN * T::WIDTH;
                let samples = first..first + rows.len() * T::WIDTH;
                packed.fill(&rows, neurons.start, square);
                strip(&packed, rows.len(), r, &samples, &mut out);
            }
        });
}

/// The neurons of a task, of few columns: each element in the order that it has of many.
fn add_few<T: Entry>(x: ArrayView2<'_, f32>, square: bool, r: &Panels<T>, out: &mut [&mut [f64]]) {
    let [panel] = &r.panels[..] else {
        unreachable!("few columns are one panel's");
    };
    let columns = panel.columns();
    let mut sums = vec![vec![T::default(); x.ncols()]; columns.len()];
    let mut squares: Vec<Vec<f32>> = vec![vec![0.0; x.ncols()]; if square { ROWS } else { 0 }];
    for (run, x) in x.axis_chunks_iter(Axis(0), RUN).enumerate() {
        sums.iter_mut().for_each(|sums| sums.fill(T::default()));
        let rows = contiguous(&x);
        let first = run * RUN;
        for (rows, first) in rows.chunks(ROWS).zip((first..).step_by(ROWS)) {
            for (to, row) in squares.iter_mut().zip(rows) {
                let each = to.iter_mut().zip(*row);
                each.for_each(|(to, x)| *to = x * x);
            }
            let squared: Vec<&[f32]> = squares.iter().map(|row| &row[..]).collect();
            let rows = if square { &squared[..rows.len()] } else { rows };
            for (sums, (_, _, at)) in sums.iter_mut().zip(&columns) {
                let by = |row: usize| panel.values[(first + row) * T::WIDTH + at];
                match rows.try_into() {
                    Ok(rows) => T::add_rows(rows, std::array::from_fn(by), sums),
                    Err(_) => (0..)
                        .zip(rows)
                        .for_each(|(k, row)| T::add_row(row, by(k), sums)),
                }
            }
        }
        for (sums, (matrix, column, _)) in sums.iter().zip(&columns) {
            let rows = out[*matrix].chunks_exact_mut(r.widths[*matrix]);
            rows.zip(sums)
                .for_each(|(to, sum)| to[*column] += (*sum).into());
        }
    }
}

/// One run of samples of a task's neurons; `samples` is where they are in a panel.
fn strip<T: Entry>(
    packed: &Packed<T>,
    rows: usize,
    r: &Panels<T>,
    samples: &Range<usize>,
    out: &mut [&mut [f64]],
) {
    let mut tile = vec![0.0; TILE * T::WIDTH];
    for panel in &r.panels {
        for (place, x) in packed.tiles.chunks_exact(SPACING).enumerate() {
            let wanted = TILE.min(packed.neurons - place * TILE);
            tile.fill(0.0);
            T::transposed(&x[..rows * TILE], &panel.values[samples.clone()], &mut tile);
            for span in &panel.spans {
                let rows = out[span.matrix].chunks_exact_mut(r.widths[span.matrix]);
                let values = tile.chunks_exact(T::WIDTH).take(wanted);
                for (to, values) in rows.skip(place * TILE).zip(values) {
                    let values = &values[span.at.clone()];
                    for (to, value) in to[span.columns.clone()].iter_mut().zip(values) {
                        *to += *value;
                    }
                }
            }
        }
    }
}

/// A run of samples of some neurons, six neurons by six: rows far apart in memory would be read anew for every panel.
struct Packed<T> {
    neurons: usize,
    /// As they are, sample by sample: plain copies keep more reads of X under way than rearranging does.
    copied: Vec<f32>,
    /// Tile by tile, filled up with zeros.
    tiles: Vec<T>,
}

/// From one tile to the next: a cache line more than it needs, since tiles a multiple of 2 KiB apart would share few places
/// in a core's nearest cache.
const SPACING: usize = RUN * TILE + 16;

impl<T: Entry> Packed<T> {
    fn new(neurons: usize) -> Self {
        Self {
            neurons,
            copied: vec![0.0; RUN * neurons],
            tiles: vec![T::default(); neurons.div_ceil(TILE) * SPACING],
        }
    }

    /// Takes the neurons from `left` on of a run of rows, or their squares.
    fn fill(&mut self, rows: &[&[f32]], left: usize, square: bool) {
        let neurons = self.neurons;
        for (to, row) in self.copied.chunks_exact_mut(neurons).zip(rows) {
            to.copy_from_slice(&row[left..left + neurons]);
        }
        let copied = self.copied.chunks_exact_mut(neurons).take(rows.len());
        for (sample, row) in copied.enumerate() {
            if square {
                row.iter_mut().for_each(|x| *x *= *x);
            }
            let whole = row.chunks_exact(TILE);
            let rest = whole.remainder();
            let at = |tile: usize| tile * SPACING + sample * TILE;
            for (tile, six) in whole.enumerate() {
                let six: [f32; TILE] = six.try_into().expect("six neurons");
                let to = self.tiles[at(tile)..].first_chunk_mut();
                *to.expect("a tile has room for its samples") = T::six(six);
            }
            if !rest.is_empty() {
                let last = at(neurons / TILE);
                let to = &mut self.tiles[last..last + rest.len()];
                to.iter_mut()
                    .zip(rest)
                    .for_each(|(to, x)| *to = T::from(*x));
            }
        }
    }
}

fn contiguous<'a>(x: &'a ArrayView2<'_, f32>) -> Vec<&'a [f32]> {
    let slice = |row: ArrayView1<'a, f32>| row.to_slice().expect("rows are contiguous");
    x.rows().into_iter().map(slice).collect()
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, s};

    use super::*;

    /// Values without a pattern that a wrong place could repeat.
    fn matrix(rows: usize, columns: usize, seed: usize) -> Array2<f32> {
        Array2::from_shape_fn((rows, columns), |(i, j)| {
            ((i * 131 + j * 17 + seed * 7) as f32 * 0.618).sin()
        })
    }

    fn wide(matrix: &Array2<f32>) -> Array2<f64> {
        matrix.mapv(f64::from)
    }

    fn apart(a: &Array2<f64>, b: &Array2<f64>) -> f64 {
        (a - b).iter().fold(0.0, |most, d| most.max(d.abs()))
    }

    #[test]
    fn odd_shapes_give_what_f64_gives_each_in_its_place() {
        // Fewer rows and columns than a tile, and a little more than some tiles, runs and tasks.
        for (n, d) in [(1, 1), (5, 2), (7, 6), (601, 301), (1300, 20), (3, 65_537)] {
            let x = matrix(n, d + 3, 1);
            let x = x.slice(s![.., 2..d + 2]); // rows that are not next to one another
            let b: Vec<Array2<f32>> = [1, 5, 16, 3].map(|k| matrix(d + 1, k, k)).into();
            let r: Vec<Array2<f32>> = [1, 5, 16, 3].map(|k| matrix(n, k, k + 9)).into();
            let of_b: Vec<_> = b.iter().map(|b| b.view()).collect();
            let of_r: Vec<_> = r.iter().map(|r| r.view()).collect();
            let mut z: Vec<Array2<f32>> = b.iter().map(|b| Array2::zeros((n, b.ncols()))).collect();
            let mut out: Vec<&mut [f32]> =
                z.iter_mut().map(|z| z.as_slice_mut().unwrap()).collect();
            times(x, &Panels::of(&of_b), &mut out);
            for square in [false, true] {
                let mut g: Vec<Array2<f64>> =
                    r.iter().map(|r| Array2::zeros((d, r.ncols()))).collect();
                let mut out: Vec<&mut [f64]> =
                    g.iter_mut().map(|g| g.as_slice_mut().unwrap()).collect();
                let panels = Panels::of(&of_r);
                let mut totals: Vec<_> = r.iter().map(|r| vec![0.0; r.ncols()]).collect();
                panels.add_sums(&mut totals);
                add_transposed(x, square, &panels, &mut out);
                let activations = x.mapv(|x| f64::from(if square { x * x } else { x }));
                for (place, r) in r.iter().enumerate() {
                    assert!(apart(&activations.t().dot(&wide(r)), &g[place]) < 1e-3);
                    let sums = wide(r).sum_axis(Axis(0)).to_vec();
                    let off = sums.iter().zip(&totals[place]);
                    assert!(off.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max) < 1e-9);
                }
            }
            for (z, b) in z.iter().zip(&b) {
                let exact = x
                    .mapv(f64::from)
                    .dot(&wide(&b.slice(s![1.., ..]).to_owned()))
                    + wide(b).row(0);
                assert!(apart(&exact, &wide(z)) < 1e-3);
            }
        }
    }

    #[test]
    fn a_column_has_the_same_bits_alone_and_beside_others() {
        fn gradients<T: Entry>(r: &[ArrayView2<'_, T>], square: bool) -> Vec<Array2<f64>> {
            let x = matrix(601, 77, 1);
            let mut g: Vec<_> = r.iter().map(|r| Array2::zeros((77, r.ncols()))).collect();
            let mut out: Vec<&mut [f64]> =
                g.iter_mut().map(|g| g.as_slice_mut().unwrap()).collect();
            add_transposed(x.view(), square, &Panels::of(r), &mut out);
            g
        }
        fn agree<T: Entry>(many: &Array2<T>) {
            for square in [false, true] {
                let all = &gradients(&[many.view()], square)[0];
                for from in [0, 7, 16] {
                    // Two matrices of few columns in all, the second of the most that are few.
                    let parts = [from..from + 1, from + 1..from + FEW];
                    let views = parts.clone().map(|part| many.slice(s![.., part]));
                    for (part, few) in parts.into_iter().zip(gradients(&views, square)) {
                        assert_eq!(all.slice(s![.., part]), few);
                    }
                }
            }
        }
        let many = matrix(601, 3 * FEW, 5);
        agree(&many);
        agree(&wide(&many));
    }

    #[test]
    fn columns_of_f64_lose_nothing_that_f32_would() {
        let (x, b) = (matrix(50, 300, 1), matrix(301, 11, 2).mapv(f64::from) / 3.0);
        let mut z = Array2::zeros((50, 11));
        times(
            x.view(),
            &Panels::of(&[b.view()]),
            &mut [z.as_slice_mut().unwrap()],
        );
        let exact = wide(&x).dot(&b.slice(s![1.., ..])) + b.row(0);
        assert!(apart(&exact, &z) < 1e-12);
    }
}
