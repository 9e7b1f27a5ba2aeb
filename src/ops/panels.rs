//! Narrow matrices side by side, as products of activations read them: in panels as wide as a tile.

use std::ops::Range;

use ndarray::{ArrayView2, s};
use rayon::prelude::*;

use super::tiles::Entry;

/// Matrices of as many rows, side by side, in panels of [`Entry::WIDTH`] columns: each row after row, the last one filled up
/// with zeros.
pub(in crate::ops) struct Panels<T> {
    pub(super) panels: Vec<Panel<T>>,
    /// Columns of each matrix.
    pub(super) widths: Vec<usize>,
}

/// Rows of a panel that a task fills.
const FILLED: usize = 1024;

pub(super) struct Panel<T> {
    pub(super) values: Vec<T>,
    pub(super) spans: Vec<Span>,
}

/// Some columns of a matrix, and where they are in a panel.
pub(super) struct Span {
    pub(super) matrix: usize,
    pub(super) columns: Range<usize>,
    pub(super) at: Range<usize>,
}

impl<T> Panel<T> {
    /// Its columns: matrix and column there, and where that is in the panel.
    pub(super) fn columns(&self) -> Vec<(usize, usize, usize)> {
        let of = |span: &Span| {
            let (matrix, places) = (span.matrix, span.columns.clone().zip(span.at.clone()));
            places.map(move |(column, at)| (matrix, column, at))
        };
        self.spans.iter().flat_map(of).collect()
    }
}

impl<T: Entry> Panels<T> {
    pub(in crate::ops) fn of(matrices: &[ArrayView2<'_, T>]) -> Self {
        let widths: Vec<usize> = matrices.iter().map(|m| m.ncols()).collect();
        let rows = matrices.first().map_or(0, |m| m.nrows());
        let mut spans: Vec<Vec<Span>> = Vec::new();
        let mut taken = T::WIDTH;
        for (matrix, &width) in widths.iter().enumerate() {
            let mut from = 0;
            while from < width {
                if taken == T::WIDTH {
                    spans.push(Vec::new());
                    taken = 0;
                }
                let some = (width - from).min(T::WIDTH - taken);
                let last = spans.len() - 1;
                spans[last].push(Span {
                    matrix,
                    columns: from..from + some,
                    at: taken..taken + some,
                });
                from += some;
                taken += some;
            }
        }
        let filled = |spans: Vec<Span>| {
            let mut values = vec![T::default(); rows * T::WIDTH];
            let some = values.par_chunks_mut(FILLED * T::WIDTH).enumerate();
            some.for_each(|(at, values)| {
                let first = at * FILLED;
                let these = first..first + values.len() / T::WIDTH;
                for span in &spans {
                    let from = &matrices[span.matrix];
                    let from = from.slice(s![these.clone(), span.columns.clone()]);
                    for (to, from) in values.chunks_exact_mut(T::WIDTH).zip(from.rows()) {
                        let to = &mut to[span.at.clone()];
                        match from.to_slice() {
                            Some(from) => to.copy_from_slice(from),
                            None => to.iter_mut().zip(from).for_each(|(to, from)| *to = *from),
                        }
                    }
                }
            });
            Panel { values, spans }
        };
        Self {
            panels: spans.into_par_iter().map(filled).collect(),
            widths,
        }
    }

    /// Adds the rows of each matrix to the sums of its columns, in f64, one row after another.
    pub(in crate::ops) fn add_sums(&self, sums: &mut [Vec<f64>]) {
        let so_far: &[Vec<f64>] = sums;
        let of = |panel: &Panel<T>| {
            let mut sums = vec![0.0; T::WIDTH];
            for span in &panel.spans {
                let own = &so_far[span.matrix][span.columns.clone()];
                sums[span.at.clone()].copy_from_slice(own);
            }
            for row in panel.values.chunks_exact(T::WIDTH) {
                for (sum, value) in sums.iter_mut().zip(row) {
                    *sum += (*value).into();
                }
            }
            sums
        };
        let found: Vec<Vec<f64>> = self.panels.par_iter().map(of).collect();
        for (panel, found) in self.panels.iter().zip(found) {
            for span in &panel.spans {
                sums[span.matrix][span.columns.clone()].copy_from_slice(&found[span.at.clone()]);
            }
        }
    }

    /// Chunks of `rows` rows of results that have the matrices' columns, each with its part of every result.
    pub(super) fn chunks<'a, U>(
        &self,
        out: &'a mut [&mut [U]],
        rows: usize,
    ) -> Vec<Vec<&'a mut [U]>> {
        let mut chunks: Vec<Vec<&'a mut [U]>> = Vec::new();
        for (out, width) in out.iter_mut().zip(&self.widths) {
            for (place, chunk) in out.chunks_mut(rows * width).enumerate() {
                match chunks.get_mut(place) {
                    Some(parts) => parts.push(chunk),
                    None => chunks.push(vec![chunk]),
                }
            }
        }
        chunks
    }
}
