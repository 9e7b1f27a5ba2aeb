//! Matrices side by side: the residuals of several problems as one factor of a product, and a product's columns as each
//! problem's logits. What travels is neither put together nor taken apart more than once.

use std::ops::Range;

use ndarray::parallel::prelude::*;
use ndarray::{Array2, ArrayView1, ArrayView2, Axis, s};

/// A block of a product's rows, some of its columns, and their values with padding below and to the right.
pub(super) struct Piece {
    pub rows: Range<usize>,
    pub columns: Range<usize>,
    pub values: Array2<f32>,
}

impl Piece {
    /// The values without the padding.
    pub(super) fn view(&self) -> ArrayView2<'_, f32> {
        let within = s![..self.rows.len(), ..self.columns.len()];
        self.values.slice(within)
    }
}

/// Part of some matrices side by side, with zeros below and to the right of them.
pub(super) struct Beside<'a> {
    /// All of the same rows, which are contiguous.
    pub parts: &'a [ArrayView2<'a, f32>],
    pub rows: Range<usize>,
    pub columns: Range<usize>,
    /// Columns with the padding.
    pub width: usize,
}

impl Beside<'_> {
    /// Writes the values from place `start` on, row by row.
    pub(super) fn fill(&self, start: usize, out: &mut [f32]) {
        out.fill(0.0);
        let end = start + out.len();
        let within = start / self.width..end.div_ceil(self.width).min(self.rows.len());
        let mut first = 0;
        for part in self.parts {
            // The part's columns, as the matrices and as the padded rows count them.
            let columns = first..first + part.ncols();
            first = columns.end;
            let (from, to) = (
                columns.start.max(self.columns.start),
                columns.end.min(self.columns.end),
            );
            if from >= to {
                continue;
            }
            for row in within.clone() {
                let begin = row * self.width + from - self.columns.start;
                let these = begin.max(start)..(begin + to - from).min(end);
                if these.is_empty() {
                    continue;
                }
                let values = part.row(self.rows.start + row);
                let values = values.to_slice().expect("rows are contiguous");
                let skipped = from - columns.start + these.start - begin;
                out[these.start - start..these.end - start]
                    .copy_from_slice(&values[skipped..skipped + these.len()]);
            }
        }
    }
}

/// Matrices side by side.
pub(super) fn joined(parts: &[ArrayView2<'_, f32>]) -> Array2<f32> {
    let rows = parts.first().map_or(0, |part| part.nrows());
    let mut all = Array2::zeros((rows, parts.iter().map(|part| part.ncols()).sum()));
    let mut at = 0;
    for part in parts {
        all.slice_mut(s![.., at..at + part.ncols()]).assign(part);
        at += part.ncols();
    }
    all
}

/// A product's columns from one on, as many as there are intercepts, which are added to every row.
pub(super) fn apart(
    pieces: &[Piece],
    samples: usize,
    first: usize,
    intercepts: ArrayView1<'_, f32>,
) -> Array2<f32> {
    let mut all = Array2::zeros((samples, intercepts.len()));
    for piece in pieces {
        let from = piece.columns.start.max(first);
        let to = piece.columns.end.min(first + intercepts.len());
        if from >= to {
            continue;
        }
        let inside = from - piece.columns.start..to - piece.columns.start;
        let values = piece.values.slice(s![..piece.rows.len(), inside]);
        let columns = from - first..to - first;
        let intercepts = intercepts.slice(s![columns.clone()]);
        let mut these = all.slice_mut(s![piece.rows.clone(), columns]);
        let rows = these.axis_iter_mut(Axis(0)).into_par_iter();
        rows.zip(values.axis_iter(Axis(0)))
            .with_min_len(LINES)
            .for_each(|(mut to, from)| {
                for ((to, value), intercept) in to.iter_mut().zip(from).zip(intercepts) {
                    *to = value + intercept;
                }
            });
    }
    all
}

/// Rows that a thread takes at a time, at least.
const LINES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    /// Every place of the padded factor is written, whatever part of it is asked for.
    #[test]
    fn matrices_side_by_side_are_written_from_any_place_on() {
        let of = |columns: usize, seed: usize| {
            Array2::from_shape_fn((7, columns), |(i, j)| {
                (100 * seed + 10 * i + j) as f32 + 1.0
            })
        };
        let parts = [of(2, 1), of(1, 2), of(4, 3)];
        let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
        let all = joined(&views);
        let (height, width) = (8, 6);
        let beside = Beside {
            parts: &views,
            rows: 2..7,
            columns: 1..6,
            width,
        };
        let mut padded = Array2::<f32>::zeros((height, width));
        let inside = all.slice(s![2..7, 1..6]);
        padded.slice_mut(s![..5, ..5]).assign(&inside);
        let padded = padded.as_slice().expect("it is contiguous").to_vec();
        for start in 0..height * width {
            for end in start..=height * width {
                let mut out = vec![f32::NAN; end - start];
                beside.fill(start, &mut out);
                assert_eq!(out, padded[start..end], "{start}..{end}");
            }
        }
    }

    #[test]
    fn columns_come_from_whichever_pieces_have_them() {
        let whole = Array2::from_shape_fn((5, 6), |(i, j)| (10 * i + j) as f32);
        let piece = |rows: Range<usize>, columns: Range<usize>| {
            let mut values = Array2::from_elem((4, 5), f32::NAN);
            let inside = whole.slice(s![rows.clone(), columns.clone()]);
            let mut to = values.slice_mut(s![..rows.len(), ..columns.len()]);
            to.assign(&inside);
            Piece {
                rows,
                columns,
                values,
            }
        };
        let pieces = [
            piece(0..3, 0..4),
            piece(3..5, 0..4),
            piece(0..3, 4..6),
            piece(3..5, 4..6),
        ];
        let intercepts = ndarray::arr1(&[0.5, 0.25, 0.125]);
        let found = apart(&pieces, 5, 2, intercepts.view());
        let expected = &whole.slice(s![.., 2..5]) + &intercepts;
        assert_eq!(found, expected);
    }
}
