//! The tiles in which `shaders/probe.wgsl` computes a product, and which one a result takes.

use super::gpu::KERNELS;
use crate::gpu::Kernel;

/// From so many workgroups on a device is busy with the largest tiles.
const ENOUGH: usize = 512;

/// One of the two products of a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// X·W.
    Forward,
    /// Xᵀ·R.
    Backward,
}

/// What one workgroup computes of a product. Whatever the tile, the bits of a result are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tile {
    /// 64 (forward) or 256 (backward) × 4: nothing but X takes time to read.
    Few,
    /// Threads in a square, each with some quads of 4 × 4.
    Square {
        /// Threads along a side.
        side: usize,
        /// Quads of columns a thread.
        quads: usize,
    },
}

impl Tile {
    /// 64 × 32: for columns of a few classes.
    pub const NARROW: Self = Self::Square { side: 8, quads: 1 };
    /// 64 × 64.
    pub const MIDDLE: Self = Self::Square { side: 8, quads: 2 };
    /// 128 × 128: reads each factor half as often.
    pub const WIDE: Self = Self::Square { side: 16, quads: 2 };

    /// The tile for a result of so many rows, a multiple of 64, and columns, in so many slices.
    pub fn of(way: Way, (rows, columns): (usize, usize), slices: usize) -> Self {
        let padded = Self::padded(columns);
        let wide = Self::WIDE;
        let whole = rows.is_multiple_of(wide.rows(way)) && padded.is_multiple_of(wide.columns());
        if padded <= Self::Few.columns() {
            Self::Few
        } else if padded < Self::MIDDLE.columns() {
            Self::NARROW
        } else if whole && wide.groups(way, (rows, padded), slices) >= ENOUGH {
            wide
        } else {
            Self::MIDDLE
        }
    }

    /// Columns with their padding: whole numbers of tiles, whichever.
    pub fn padded(columns: usize) -> usize {
        let fits = |tile: &Self| columns <= tile.columns();
        match [Self::Few, Self::NARROW].iter().find(|tile| fits(tile)) {
            Some(tile) => tile.columns(),
            None => columns.next_multiple_of(Self::MIDDLE.columns()),
        }
    }

    /// Its rows.
    pub fn rows(self, way: Way) -> usize {
        match (self, way) {
            (Self::Few, Way::Forward) => 64,
            (Self::Few, Way::Backward) => 256,
            (Self::Square { side, .. }, _) => 8 * side,
        }
    }

    /// Its columns.
    pub fn columns(self) -> usize {
        match self {
            Self::Few => 4,
            Self::Square { side, quads } => 4 * side * quads,
        }
    }

    /// Tiles along the rows and the columns of a padded result; the last of the rows may reach beyond it.
    pub fn grid(self, way: Way, (rows, columns): (usize, usize)) -> (usize, usize) {
        (rows.div_ceil(self.rows(way)), columns / self.columns())
    }

    /// Workgroups for a padded result.
    pub fn groups(self, way: Way, shape: (usize, usize), slices: usize) -> usize {
        let (down, across) = self.grid(way, shape);
        down * across * slices
    }

    /// What computes it.
    pub fn kernel(self, way: Way) -> &'static Kernel {
        &KERNELS[match (self, way) {
            (Self::Square { .. }, Way::Forward) => 0,
            (Self::Square { .. }, Way::Backward) => 1,
            (Self::Few, Way::Forward) => 2,
            (Self::Few, Way::Backward) => 3,
        }]
    }

    /// What the kernel is compiled with.
    pub fn constants(self) -> Vec<(&'static str, f64)> {
        let Self::Square { side, quads } = self else {
            return Vec::new();
        };
        let constants = [
            ("SIDE", side),
            ("THREADS", side * side),
            ("QUADS", quads),
            ("LEFT", 2 * side),
            ("RIGHT", side * quads),
        ];
        constants.map(|(name, value)| (name, value as f64)).to_vec()
    }
}
