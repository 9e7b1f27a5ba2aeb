//! The native path: strips of columns in parallel, f64 sums in the order of the samples.

use ndarray::{Array2, ArrayView2, Axis, s};
use rayon::prelude::*;

use super::Sums;
use crate::labels::Labels;

/// Columns of one strip: a row of it is 1 KiB, and its f64 sums stay in the nearest cache.
const STRIP: usize = 256;

/// Sums around the mean; the result does not depend on the number of threads, since each strip is summed by one.
pub(super) fn sums(x: ArrayView2<'_, f32>, groups: Option<&Labels>) -> Sums {
    let classes = groups.map_or(1, |labels| labels.classes().len());
    let strips: Vec<Sums> = x
        .axis_chunks_iter(Axis(1), STRIP)
        .into_par_iter()
        .map(|strip| strip_sums(strip, groups, classes))
        .collect();
    let mut all = Sums {
        shift: Vec::with_capacity(x.ncols()),
        deviation: Array2::zeros((classes, x.ncols())),
        square: Vec::with_capacity(x.ncols()),
    };
    for strip in strips {
        let from = all.shift.len();
        let to = from + strip.shift.len();
        all.shift.extend(strip.shift);
        all.square.extend(strip.square);
        all.deviation
            .slice_mut(s![.., from..to])
            .assign(&strip.deviation);
    }
    all
}

fn strip_sums(x: ArrayView2<'_, f32>, groups: Option<&Labels>, classes: usize) -> Sums {
    let mut shift = vec![0f64; x.ncols()];
    for row in x.outer_iter() {
        for (sum, value) in shift.iter_mut().zip(row) {
            *sum += f64::from(*value);
        }
    }
    let n = x.nrows() as f64;
    shift.iter_mut().for_each(|sum| *sum /= n);
    let mut deviation = Array2::zeros((classes, x.ncols()));
    let mut square = vec![0f64; x.ncols()];
    for (i, row) in x.outer_iter().enumerate() {
        let class = groups.map_or(0, |labels| labels.ids()[i] as usize);
        let mut sums = deviation.row_mut(class);
        let sums = sums.as_slice_mut().expect("a row of a standard array");
        let values = row.as_slice().expect("the caller made the rows contiguous");
        for (((sum, square), value), shift) in
            sums.iter_mut().zip(&mut square).zip(values).zip(&shift)
        {
            let d = f64::from(*value) - shift;
            *sum += d;
            *square += d * d;
        }
    }
    Sums {
        shift,
        deviation,
        square,
    }
}
