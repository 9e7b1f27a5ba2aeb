//! The native path: strips of columns in parallel, f64 sums in the order of the samples. Whether the samples are at hand
//! or come block by block does not change a bit: a strip's sums see them in the same order.

use std::ops::Range;

use ndarray::{Array2, ArrayView2, Axis, s};
use rayon::prelude::*;

use super::Sums;
use crate::activations::Rows;
use crate::error::{Error, Result};
use crate::labels::Labels;

/// Columns of one strip: a row of it is 1 KiB, and its f64 sums stay in the nearest cache.
const STRIP: usize = 256;
/// Samples whose mean the sums are around.
const FIRST: usize = 64;
/// Values of one block of a stream, and of what one thread reads of it at a time.
const BLOCK: (usize, usize) = (1 << 22, 1 << 16);

/// Sums around the mean of the first samples; the result does not depend on the number of threads, since each strip is summed by one.
pub(super) fn sums(x: ArrayView2<'_, f32>, groups: Option<&Labels>) -> Sums {
    let classes = groups.map_or(1, |labels| labels.classes().len());
    let strips: Vec<Sums> = x
        .axis_chunks_iter(Axis(1), STRIP)
        .into_par_iter()
        .map(|strip| {
            let mut sums = empty(strip.ncols(), classes);
            centre(strip.slice(s![..FIRST.min(x.nrows()), ..]), &mut sums);
            deviate(strip, 0, groups, &mut sums);
            sums
        })
        .collect();
    joined(strips, classes)
}

/// The same of samples that are read block by block, once.
pub(super) fn streamed(rows: &dyn Rows, groups: Option<&Labels>) -> Result<Sums> {
    let (samples, neurons) = rows.shape();
    let classes = groups.map_or(1, |labels| labels.classes().len());
    let mut strips: Vec<Sums> = strips_of(neurons)
        .map(|columns| empty(columns.len(), classes))
        .collect();
    let at_once = (BLOCK.0 / neurons).clamp(1, samples);
    let mut block = vec![0.0; at_once.max(FIRST.min(samples)) * neurons];
    let mut each = |from: usize, count: usize, sum: &Sum<'_>| {
        let values = &mut block[..count * neurons];
        read(rows, from, values)?;
        let x = ArrayView2::from_shape((count, neurons), &*values).expect("it is that long");
        strips
            .par_iter_mut()
            .zip(strips_of(neurons).collect::<Vec<_>>())
            .for_each(|(sums, columns)| sum(x.slice(s![.., columns]), sums));
        Ok(())
    };
    each(0, FIRST.min(samples), &centre)?;
    for from in (0..samples).step_by(at_once) {
        let count = at_once.min(samples - from);
        each(from, count, &|x, sums| deviate(x, from, groups, sums))?;
    }
    Ok(joined(strips, classes))
}

/// What the rows of a strip add to its sums.
type Sum<'a> = dyn Fn(ArrayView2<'_, f32>, &mut Sums) + Sync + 'a;

/// The columns of each strip.
fn strips_of(neurons: usize) -> impl Iterator<Item = Range<usize>> {
    (0..neurons)
        .step_by(STRIP)
        .map(move |from| from..(from + STRIP).min(neurons))
}

/// Reads whole rows from `from` on, and looks at every value.
fn read(rows: &dyn Rows, from: usize, values: &mut [f32]) -> Result<()> {
    let neurons = rows.shape().1;
    let at_once = (BLOCK.1 / neurons).max(1);
    values
        .par_chunks_mut(at_once * neurons)
        .enumerate()
        .try_for_each(|(chunk, out)| {
            let from = from + chunk * at_once;
            rows.read_rows(from, out)?;
            match out.iter().position(|value| !value.is_finite()) {
                None => Ok(()),
                Some(at) => Err(Error::invalid(
                    "activations",
                    format!(
                        "row {}, neuron {} is {}",
                        from + at / neurons,
                        at % neurons,
                        out[at]
                    ),
                    "Every activation must be a finite number: drop that sample or dump it again in a wider format",
                )),
            }
        })
}

fn empty(columns: usize, classes: usize) -> Sums {
    Sums {
        shift: vec![0.0; columns],
        deviation: Array2::zeros((classes, columns)),
        square: vec![0.0; columns],
    }
}

/// The mean of these rows is what the sums are around. Equal values give themselves, to the bit.
fn centre(x: ArrayView2<'_, f32>, sums: &mut Sums) {
    for row in x.outer_iter() {
        for (sum, value) in sums.shift.iter_mut().zip(row) {
            *sum += f64::from(*value);
        }
    }
    let count = x.nrows() as f64;
    sums.shift.iter_mut().for_each(|sum| *sum /= count);
}

/// What the samples from row `from` on deviate from the shift by.
fn deviate(x: ArrayView2<'_, f32>, from: usize, groups: Option<&Labels>, all: &mut Sums) {
    for (i, row) in x.outer_iter().enumerate() {
        let class = groups.map_or(0, |labels| labels.ids()[from + i] as usize);
        let mut sums = all.deviation.row_mut(class);
        let sums = sums.as_slice_mut().expect("a row of a standard array");
        let values = row.as_slice().expect("the caller made the rows contiguous");
        for (((sum, square), value), shift) in sums
            .iter_mut()
            .zip(&mut all.square)
            .zip(values)
            .zip(&all.shift)
        {
            let d = f64::from(*value) - shift;
            *sum += d;
            *square += d * d;
        }
    }
}

fn joined(strips: Vec<Sums>, classes: usize) -> Sums {
    let neurons = strips.iter().map(|strip| strip.shift.len()).sum();
    let mut all = empty(neurons, classes);
    let mut from = 0;
    for strip in strips {
        let to = from + strip.shift.len();
        all.shift[from..to].copy_from_slice(&strip.shift);
        all.square[from..to].copy_from_slice(&strip.square);
        all.deviation
            .slice_mut(s![.., from..to])
            .assign(&strip.deviation);
        from = to;
    }
    all
}
