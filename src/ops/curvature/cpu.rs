//! The native path: samples are gathered some at a time, and the GEMM crate multiplies them.

use ndarray::linalg::general_mat_mul;
use ndarray::parallel::prelude::*;
use ndarray::{Array2, ArrayView2, Axis, s};

use super::Terms;
use crate::error::Result;

/// Values that a thread's gathered copies hold, and the samples that they cover at least and at most: what building needs
/// beside H itself stays small.
pub(in crate::ops) const GATHERED: usize = 1 << 21;
pub(in crate::ops) const GATHERED_SAMPLES: (usize, usize) = (256, 2048);

/// Blocks of H that a thread computes before they are put where they belong.
const BLOCKS: usize = 4;

/// Values of gathered copies for which it is worth asking another thread.
const SHARED: usize = 1 << 14;

/// Rows of so many values that one thread takes at least.
fn shared(width: usize) -> usize {
    (SHARED / width.max(1)).max(1)
}

/// H on some of the rows of each class.
pub(in crate::ops) type Known<'a> = (&'a [Vec<usize>], &'a Array2<f32>);

/// H on the rows of each class, n × n, symmetric, and the FLOP that it took. What is `known` already is kept: only the rest is
/// computed. `gather` gives the entries of some samples and rows.
pub(in crate::ops) fn sum(
    gather: &(impl Fn(&[u32], &[usize]) -> Result<Array2<f32>> + Sync),
    rows: &[Vec<usize>],
    terms: &[&Terms],
    known: Option<Known<'_>>,
) -> Result<(Array2<f32>, f64)> {
    let parts = parts(rows, known.map(|(rows, _)| rows));
    let n = rows.iter().map(Vec::len).sum();
    let mut h = Array2::zeros((n, n));
    if let Some((_, values)) = known {
        let place: Vec<usize> = parts.iter().flat_map(|p| p.old.iter().copied()).collect();
        debug_assert_eq!(place.len(), values.nrows());
        for (row, &to) in place.iter().enumerate() {
            let (from, mut to) = (values.row(row), h.row_mut(to));
            for (value, &column) in from.iter().zip(&place) {
                to[column] = *value;
            }
        }
    }
    let mut flop = 0.0;
    for terms in terms.chunks(BLOCKS * rayon::current_num_threads()) {
        let blocks: Vec<Vec<Block<'_>>> = terms
            .par_iter()
            .map(|terms| missing(gather, terms, rows, &parts))
            .collect::<Result<_>>()?;
        for (terms, blocks) in terms.iter().zip(blocks) {
            for block in blocks {
                flop += place(&mut h, terms, block);
            }
        }
    }
    Ok((h, flop))
}

/// Entries of some samples of X, whose rows are contiguous: |samples| × |rows|, the rows ascending, 0 the intercept's ones.
pub(in crate::ops) fn gathered(
    x: ArrayView2<'_, f32>,
    samples: &[u32],
    rows: &[usize],
) -> Array2<f32> {
    debug_assert!(rows.is_sorted(), "only the first row can be the intercept");
    let mut out = Array2::zeros((samples.len(), rows.len()));
    let intercept = usize::from(rows.first() == Some(&0));
    let each = out.axis_iter_mut(Axis(0)).into_par_iter().zip(samples);
    let each = each.with_min_len(shared(rows.len()));
    each.for_each(|(mut out, &i)| {
        let source = x.row(i as usize);
        let source = source.to_slice().expect("rows are contiguous");
        let out = out.as_slice_mut().expect("it was made contiguous");
        let (ones, entries) = out.split_at_mut(intercept);
        ones.fill(1.0);
        for (out, &row) in entries.iter_mut().zip(&rows[intercept..]) {
            *out = source[row - 1];
        }
    });
    out
}

/// The FLOP that [`sum`] takes.
pub(in crate::ops) fn flop(
    rows: &[Vec<usize>],
    terms: &[&Terms],
    known: Option<&[Vec<usize>]>,
) -> f64 {
    let parts = parts(rows, known);
    let of = |terms: &&Terms| {
        let (a, b) = (&parts[terms.a], &parts[terms.b]);
        let mut entries = a.new.len() * b.all.len();
        let mut each = 2.0;
        if terms.a != terms.b {
            entries += a.old.len() * b.new.len();
        } else if a.old.is_empty() {
            each = 1.0;
        }
        each * (terms.samples.len() * entries) as f64
    };
    terms.iter().map(of).sum()
}

/// The entries of one class: which are known already, which are new; places in the flat order, ascending.
struct Part {
    start: usize,
    all: Vec<usize>,
    old: Vec<usize>,
    new: Vec<usize>,
}

fn parts(rows: &[Vec<usize>], known: Option<&[Vec<usize>]>) -> Vec<Part> {
    let mut start = 0;
    let of = |(class, rows): (usize, &Vec<usize>)| {
        let known = |row: &usize| known.is_some_and(|k| k[class].binary_search(row).is_ok());
        let places = (start..).zip(rows);
        start += rows.len();
        let (old, new): (Vec<_>, Vec<_>) = places.partition(|(_, row)| known(row));
        let place = |some: Vec<(usize, &usize)>| some.into_iter().map(|(place, _)| place).collect();
        Part {
            start: start - rows.len(),
            all: (start - rows.len()..start).collect(),
            old: place(old),
            new: place(new),
        }
    };
    rows.iter().enumerate().map(of).collect()
}

/// A block of H: places down, places across, values.
type Block<'a> = (&'a [usize], &'a [usize], Array2<f32>);

/// The blocks of some terms that are not known yet.
fn missing<'a>(
    gather: &impl Fn(&[u32], &[usize]) -> Result<Array2<f32>>,
    terms: &Terms,
    rows: &[Vec<usize>],
    parts: &'a [Part],
) -> Result<Vec<Block<'a>>> {
    let (a, b) = (&parts[terms.a], &parts[terms.b]);
    let mut wanted: Vec<(&[usize], &[usize])> = vec![(&a.new, &b.all)];
    if terms.a != terms.b {
        wanted.push((&a.old, &b.new));
    }
    let named = |class: usize, places: &[usize]| -> Vec<usize> {
        let start = parts[class].start;
        places.iter().map(|p| rows[class][p - start]).collect()
    };
    wanted
        .into_iter()
        .filter(|(down, across)| !down.is_empty() && !across.is_empty())
        .map(|(down, across)| {
            let sides = (named(terms.a, down), named(terms.b, across));
            Ok((down, across, block(gather, terms, &sides)?))
        })
        .collect()
}
/// Side of the square tiles in which a block is written down and across: both sides of a tile stay in the cache.
const TILE: usize = 32;

/// Writes a block of some terms to where it belongs in H, and its transpose; returns the FLOP that it took. Of a class's own
/// block only what is on and above the diagonal is read.
fn place(h: &mut Array2<f32>, terms: &Terms, (rows, columns, block): Block<'_>) -> f64 {
    let whole = terms.a == terms.b && rows.len() == columns.len();
    let sign = if terms.a == terms.b { 1.0 } else { -1.0 };
    let (n, width) = (h.ncols(), columns.len());
    // A class's own block is symmetric: half of it is computed.
    let cost = if whole { 1.0 } else { 2.0 };
    let flop = cost * (terms.samples.len() * block.len()) as f64;
    let h = h.as_slice_mut().expect("it was made contiguous");
    let block = block.as_slice().expect("it was made contiguous");
    for top in (0..rows.len()).step_by(TILE) {
        let first = if whole { top } else { 0 };
        let bottom = (top + TILE).min(rows.len());
        for left in (first..width).step_by(TILE) {
            let right = (left + TILE).min(width);
            for i in top..bottom {
                let from = if whole { left.max(i) } else { left };
                let values = block[i * width + from..i * width + right].iter();
                let to = &mut h[rows[i] * n..(rows[i] + 1) * n];
                put(to, &columns[from..right], values.map(|value| sign * value));
            }
            for j in left..right {
                let to_row = if whole { bottom.min(j + 1) } else { bottom };
                let values = block[top * width + j..].iter().step_by(width);
                let to = &mut h[columns[j] * n..(columns[j] + 1) * n];
                put(to, &rows[top..to_row], values.map(|value| sign * value));
            }
        }
    }
    if terms.a == terms.b && !whole {
        // A pair of new rows is in the block twice, each time rounded in its own way.
        for (at, &i) in rows.iter().enumerate() {
            for &j in &rows[at + 1..] {
                h[j * n + i] = h[i * n + j];
            }
        }
    }
    flop
}

/// Values to their places in a row, ascending; most follow one another.
fn put(row: &mut [f32], places: &[usize], values: impl Iterator<Item = f32>) {
    let (Some(&first), Some(&last)) = (places.first(), places.last()) else {
        return;
    };
    if last - first + 1 == places.len() {
        let to = row[first..=last].iter_mut();
        to.zip(values).for_each(|(to, value)| *to = value);
    } else {
        let each = places.iter().zip(values);
        each.for_each(|(&place, value)| row[place] = value);
    }
}

/// Σ v·x_a·x_bᵀ of some terms, for some rows of each class.
fn block(
    gather: &impl Fn(&[u32], &[usize]) -> Result<Array2<f32>>,
    terms: &Terms,
    (a, b): &(Vec<usize>, Vec<usize>),
) -> Result<Array2<f32>> {
    let same = a == b;
    let mut out = Array2::zeros((a.len(), b.len()));
    let (least, most) = GATHERED_SAMPLES;
    let at_once = (GATHERED / (a.len() + b.len())).clamp(least, most);
    let parts = terms.samples.chunks(at_once);
    for (samples, weights) in parts.zip(terms.weights.chunks(at_once)) {
        let mut left = gather(samples, a)?;
        let right = if same {
            left.clone()
        } else {
            gather(samples, b)?
        };
        let rows = left.axis_iter_mut(Axis(0)).into_par_iter().zip(weights);
        let rows = rows.with_min_len(shared(a.len()));
        rows.for_each(|(mut row, &weight)| row *= weight);
        add_products(&left, &right, same, &mut out);
    }
    if same && terms.a != terms.b {
        mirror(&mut out); // the pair's block is symmetric, but H is not around it
    }
    Ok(out)
}

/// Rows of a product that one thread computes: of a symmetric one from their diagonal on.
const PANEL: usize = 64;

/// out += leftᵀ·right; where that is symmetric only on and above the diagonal.
fn add_products(left: &Array2<f32>, right: &Array2<f32>, symmetric: bool, out: &mut Array2<f32>) {
    let panels = out.axis_chunks_iter_mut(Axis(0), PANEL).into_par_iter();
    panels.enumerate().for_each(|(panel, mut out)| {
        let from = panel * PANEL;
        let across = if symmetric { from } else { 0 };
        general_mat_mul(
            1.0,
            &left.slice(s![.., from..from + out.nrows()]).t(),
            &right.slice(s![.., across..]),
            1.0,
            &mut out.slice_mut(s![.., across..]),
        );
    });
}

/// Copies what is above the diagonal below it.
fn mirror(out: &mut Array2<f32>) {
    for i in 0..out.nrows() {
        for j in 0..i {
            out[(i, j)] = out[(j, i)];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_is_symmetric_to_the_last_bit_and_what_it_is_at_once() {
        const N: usize = 300;
        let x = Array2::from_shape_fn((N, 60), |(i, j)| ((i * 61 + j * 7) as f32 * 0.37).sin());
        let gather = |samples: &[u32], rows: &[usize]| Ok(gathered(x.view(), samples, rows));
        let of = |a: usize, b: usize| Terms {
            a,
            b,
            samples: (0..N as u32).collect(),
            weights: (0..N).map(|i| 0.1 + (i % 7) as f32).collect(),
        };
        let terms = [of(0, 1), of(0, 0), of(1, 1)];
        let terms: Vec<&Terms> = terms.iter().collect();
        // New rows between, before and behind those that are known.
        let all: [Vec<usize>; 2] = [(0..55).collect(), (3..47).collect()];
        let some: [Vec<usize>; 2] = [(2..50).step_by(3).collect(), vec![5, 9, 40]];
        let (known, _) = sum(&gather, &some, &terms, None).unwrap();
        let (grown, _) = sum(&gather, &all, &terms, Some((&some, &known))).unwrap();
        let (whole, _) = sum(&gather, &all, &terms, None).unwrap();
        for (at, value) in grown.indexed_iter() {
            assert_eq!(*value, grown[(at.1, at.0)], "{at:?}");
            let size = (whole[(at.0, at.0)] * whole[(at.1, at.1)]).sqrt();
            assert!((value - whole[at]).abs() <= 1e-6 * size, "{at:?}");
        }
    }
}
