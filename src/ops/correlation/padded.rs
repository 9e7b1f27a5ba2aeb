//! How columns lie on a device: in whole tiles, and in which order the tiles are computed.

use std::ops::Range;

use super::columns::{Columns, Placed};
use crate::gpu::blocks;

/// Tiles along a side of a square that is computed together, so that its columns stay in the cache.
const SQUARE: usize = 8;

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

    /// First the tiles on the diagonal, then, in squares, those above it, or those of the left side with the right one.
    pub(super) fn tiles(&self, cross: bool) -> Vec<[u32; 2]> {
        let all = self.columns.len();
        let mut tiles: Vec<[u32; 2]> = (0..all as u32).map(|at| [at, at]).collect();
        let first = if cross { self.left } else { 0 };
        for left in blocks(self.left, SQUARE) {
            for right in blocks(all - first, SQUARE) {
                for a in left.clone() {
                    for b in right.clone().map(|b| first + b).filter(|&b| b > a) {
                        tiles.push([a as u32, b as u32]);
                    }
                }
            }
        }
        tiles
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
