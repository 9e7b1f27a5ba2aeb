//! The packed upper triangle, filled tile by tile from any thread.

use std::sync::{Mutex, PoisonError};

use ndarray::ArrayView2;

use super::Matrix;
use crate::error::Result;

/// Rows that one lock guards.
const GUARDED: usize = 64;

/// The triangle without its diagonal, row i of D − i − 1 values, open for writing.
#[derive(Debug)]
pub(super) struct Triangle<'a> {
    chunks: Vec<Mutex<Vec<&'a mut [f32]>>>,
}

impl<'a> Triangle<'a> {
    pub(super) fn new(neurons: usize, packed: &'a mut [f32]) -> Self {
        let mut rest = packed;
        let mut rows = (0..neurons).map(|i| {
            let (row, after) = std::mem::take(&mut rest).split_at_mut(neurons - i - 1);
            rest = after;
            row
        });
        let chunks = (0..neurons.div_ceil(GUARDED))
            .map(|_| Mutex::new(rows.by_ref().take(GUARDED).collect()))
            .collect();
        Self { chunks }
    }
}

impl Matrix for Triangle<'_> {
    fn tile(&self, (top, left): (usize, usize), r: ArrayView2<'_, f32>) -> Result<()> {
        let mut at = 0;
        while at < r.nrows() {
            let chunk = (top + at) / GUARDED;
            let end = r.nrows().min((chunk + 1) * GUARDED - top);
            let mut rows = self.chunks[chunk]
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            for i in at..end {
                // On the diagonal the row begins inside the tile.
                let first = left.max(top + i + 1);
                let tail = r.row(i).slice_move(ndarray::s![first - left..]);
                let row = &mut rows[(top + i) % GUARDED][first - (top + i) - 1..];
                row.iter_mut().zip(tail).for_each(|(to, r)| *to = *r);
            }
            at = end;
        }
        Ok(())
    }
}
