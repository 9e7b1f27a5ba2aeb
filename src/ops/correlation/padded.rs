//! How columns lie on a device: in whole tiles, and in which order the tiles are computed.

use std::ops::Range;

use super::columns::{Columns, Placed};
use crate::gpu::blocks;

/// Tiles along a side of a square that is computed together, so that its columns stay in the cache.
pub(super) const SQUARE: usize = 8;

/// The columns on the device: each side begins with a tile of its own.
pub(super) struct Padded {
    /// Neurons along a side of a tile.
    pub tile: usize,
    /// The columns of each tile.
    pub columns: Vec<Range<usize>>,
    /// Tiles of the left side.
    left: usize,
}

impl Padded {
    pub(super) fn new(columns: &Columns<'_>, tile: usize) -> Self {
        let [left, right] = columns.sides();
        let tiles = |side: Range<usize>| {
            let start = side.start;
            blocks(side.len(), tile).map(move |tile| start + tile.start..start + tile.end)
        };
        let mut all: Vec<Range<usize>> = tiles(left).collect();
        let left = all.len();
        if columns.is_cross() {
            all.extend(tiles(right));
        }
        Self {
            tile,
            columns: all,
            left,
        }
    }

    /// The tiles of the left side and of the right one, which is the same where there is one.
    pub(super) fn sides(&self, cross: bool) -> (Range<usize>, Range<usize>) {
        let all = self.columns.len();
        let first = if cross { self.left } else { 0 };
        (0..self.left, first..all)
    }

    /// The number of columns with those of the padding.
    pub(super) fn width(&self) -> usize {
        self.columns.len() * self.tile
    }

    /// Where the columns go.
    pub(super) fn placed(&self) -> Vec<Placed> {
        let place = |(tile, columns): (usize, &Range<usize>)| Placed {
            columns: columns.clone(),
            to: tile * self.tile,
        };
        self.columns.iter().enumerate().map(place).collect()
    }

    /// The tiles on the diagonal, one for each.
    pub(super) fn diagonal(&self) -> Vec<[u32; 2]> {
        (0..self.columns.len() as u32).map(|at| [at, at]).collect()
    }

    /// The tiles of all pairs but those on the diagonal, in bands along it that double in width, and where each band
    /// ends: after each of them every neuron has met about as many others as every other has. Inside a band the tiles come
    /// in squares, so that their columns stay in the cache.
    pub(super) fn tiles(&self, cross: bool) -> (Vec<[u32; 2]>, Vec<usize>) {
        let all = self.columns.len();
        let (first, others) = match cross {
            true => (self.left, all - self.left),
            false => (0, all),
        };
        // The right tile is so many places after the left one; of two sides, round the end of the right one.
        let right = |left: usize, apart: usize| match cross {
            true => Some(first + (left + apart) % others),
            false => Some(left + apart).filter(|right| *right < all),
        };
        let mut tiles = Vec::new();
        let mut ends = Vec::new();
        let (mut from, mut to) = if cross { (0, 1) } else { (1, 2) };
        while from < others {
            for rows in blocks(self.left, SQUARE) {
                for aparts in blocks(to.min(others) - from, SQUARE) {
                    for left in rows.clone() {
                        let aparts = aparts.clone().map(|apart| from + apart);
                        let here = aparts.filter_map(|apart| right(left, apart));
                        tiles.extend(here.map(|right| [left as u32, right as u32]));
                    }
                }
            }
            ends.push(tiles.len());
            (from, to) = (to, 2 * to);
        }
        (tiles, ends)
    }

    /// Values of every column, with zeros for the padding.
    pub(super) fn spread(&self, values: &[f32]) -> Vec<f32> {
        let mut spread = vec![0.0; self.width()];
        for Placed { columns, to } in self.placed() {
            spread[to..to + columns.len()].copy_from_slice(&values[columns]);
        }
        spread
    }
}
