//! The tiles in which `shaders/probe.wgsl` computes a product, and which one a result takes.

/// From so many workgroups on a device is busy with the largest tiles.
const ENOUGH: usize = 512;

/// What one workgroup computes of a product. Whatever the tile, the bits of a result are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tile {
    /// Threads along a side.
    side: usize,
    /// Quads of columns a thread.
    quads: usize,
}

impl Tile {
    /// 64 × 32: for few columns.
    pub const NARROW: Self = Self { side: 8, quads: 1 };
    /// 64 × 64.
    pub const MIDDLE: Self = Self { side: 8, quads: 2 };
    /// 128 × 128: reads each factor half as often.
    pub const WIDE: Self = Self { side: 16, quads: 2 };

    /// The tile for a result of so many rows, a multiple of 64, and columns, in so many slices.
    pub fn of((rows, columns): (usize, usize), slices: usize) -> Self {
        let padded = Self::padded(columns);
        let wide = Self::WIDE;
        let whole = rows.is_multiple_of(wide.rows()) && padded.is_multiple_of(wide.columns());
        if padded < Self::MIDDLE.columns() {
            Self::NARROW
        } else if whole && wide.groups((rows, padded), slices) >= ENOUGH {
            wide
        } else {
            Self::MIDDLE
        }
    }

    /// Columns with their padding: whole numbers of tiles, whichever.
    pub fn padded(columns: usize) -> usize {
        if columns <= Self::NARROW.columns() {
            Self::NARROW.columns()
        } else {
            columns.next_multiple_of(Self::MIDDLE.columns())
        }
    }

    /// Its rows.
    pub fn rows(self) -> usize {
        8 * self.side
    }

    /// Its columns.
    pub fn columns(self) -> usize {
        4 * self.side * self.quads
    }

    /// Workgroups for a padded result.
    pub fn groups(self, (rows, columns): (usize, usize), slices: usize) -> usize {
        rows / self.rows() * (columns / self.columns()) * slices
    }

    /// What the kernels are compiled with.
    pub fn constants(self) -> [(&'static str, f64); 5] {
        [
            ("SIDE", self.side),
            ("THREADS", self.side * self.side),
            ("QUADS", self.quads),
            ("LEFT", self.rows() / 4),
            ("RIGHT", self.columns() / 4),
        ]
        .map(|(name, value)| (name, value as f64))
    }
}
