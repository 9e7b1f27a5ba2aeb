//! Products of many columns with many, natively: Σ z_i·z_j for a block of left columns and one of right ones.
//!
//! A general product of matrices packs both blocks anew for every call, adds to the result in f32, and reaches about two
//! thirds of what a core can do. Here samples are packed once, as they are centred; sums stay in registers over a run of
//! samples, and runs are added in f64.

use std::ops::Range;

use multiversion::{multiversion, target::target_cfg_f};
use ndarray::{Array2, Axis};
use rayon::prelude::*;

use super::columns::{Columns, Placed};
use crate::error::Result;

/// Left and right columns of a tile of sums: with AVX2 they fill twelve of sixteen registers.
const TILE: (usize, usize) = (6, 16);
/// Blocks of columns begin at multiples of this: whole tiles either way.
pub(super) const ALIGNED: usize = 48;
/// Samples that are summed in registers before they are added to the result. A panel of so many right columns takes half of
/// a core's nearest cache.
pub(super) const RUN: usize = 128;
/// From one tile of left columns to the next: a cache line more than it needs, since tiles a multiple of 2 KiB apart would
/// share few places in a core's nearest cache.
const SPACING: usize = RUN * TILE.0 + 16;
/// Values that a thread centres at a time, row by row, before they go to their panels.
const CENTRED: usize = 1 << 16;

/// Centred samples of some columns: run by run, in panels of [`TILE`]`.1` columns, each row after row; zeros fill up the last
/// panel of a span.
pub(super) struct Panels {
    values: Vec<f32>,
    /// The columns, and the panel that each span begins with.
    spans: Vec<Placed>,
    panels: usize,
    samples: usize,
}

impl Panels {
    /// Room for so many samples of the columns of ascending spans, each of which begins where a block may.
    pub(super) fn new(spans: &[Range<usize>], samples: usize) -> Self {
        let mut panels = 0;
        let place = |span: &Range<usize>| {
            let to = panels;
            panels += span.len().div_ceil(TILE.1);
            Placed {
                columns: span.clone(),
                to,
            }
        };
        let spans = spans.iter().map(place).collect();
        Self {
            values: vec![0.0; samples.div_ceil(RUN) * panels * RUN * TILE.1],
            spans,
            panels,
            samples,
        }
    }

    /// Bytes for so many samples of so many columns.
    pub(super) fn bytes(samples: usize, columns: usize) -> u64 {
        let rows = samples.next_multiple_of(RUN) as u64;
        rows * columns.next_multiple_of(ALIGNED) as u64 * 4
    }

    /// Takes the samples from `from` on, at most as many as there is room for.
    pub(super) fn fill(
        &mut self,
        columns: &Columns<'_>,
        from: usize,
        samples: usize,
    ) -> Result<()> {
        self.samples = samples;
        let width = self.panels * TILE.1;
        let place = |span: &Placed| Placed {
            columns: span.columns.clone(),
            to: span.to * TILE.1,
        };
        let placed: Vec<Placed> = self.spans.iter().map(place).collect();
        let at_once = (CENTRED / width).clamp(1, RUN);
        self.values
            .par_chunks_mut(width * RUN)
            .zip((0..samples).into_par_iter().step_by(RUN))
            .try_for_each(|(run, first)| {
                let rows = RUN.min(samples - first);
                let mut centred = vec![0.0; at_once * width];
                for start in (0..rows).step_by(at_once) {
                    let centred = &mut centred[..at_once.min(rows - start) * width];
                    columns.centred(from + first + start, &placed, width, centred)?;
                    for (row, values) in (start..).zip(centred.chunks_exact(width)) {
                        let panels = run.chunks_exact_mut(RUN * TILE.1);
                        for (panel, values) in panels.zip(values.chunks_exact(TILE.1)) {
                            panel[row * TILE.1..][..TILE.1].copy_from_slice(values);
                        }
                    }
                }
                Ok(())
            })
    }

    /// Adds Σ z_i² over the samples for each column of the spans, in the order and with the bits of [`Panels::add`].
    pub(super) fn add_squares(&self, sums: &mut [f64]) {
        let size = RUN * TILE.1;
        for (run, first) in self
            .values
            .chunks_exact(self.panels * size)
            .zip((0..self.samples).step_by(RUN))
        {
            let rows = RUN.min(self.samples - first);
            for span in &self.spans {
                let panels = run[span.to * size..].par_chunks_exact(size);
                sums[span.columns.clone()]
                    .par_chunks_mut(TILE.1)
                    .zip(panels)
                    .for_each(|(sums, panel)| add_squares(&panel[..rows * TILE.1], sums));
            }
        }
    }

    /// The panels of a block of columns.
    fn of(&self, block: &Range<usize>) -> Range<usize> {
        let holds =
            |span: &&Placed| span.columns.start <= block.start && block.end <= span.columns.end;
        let span = self.spans.iter().find(holds).expect("a span has the block");
        let first = span.to + (block.start - span.columns.start) / TILE.1;
        first..first + block.len().div_ceil(TILE.1)
    }

    /// Adds Σ z_i·z_j over the samples. Of a block with itself, tiles below the diagonal are left out.
    pub(super) fn add(&self, sums: &mut Sums) {
        let same = sums.left == sums.right;
        let [of_left, of_right] = [&sums.left, &sums.right].map(|block| self.of(block));
        let mut tiles = vec![0.0; sums.tiles * SPACING];
        let size = RUN * TILE.1;
        let runs = self.values.chunks_exact(self.panels * size);
        for (run, first) in runs.zip((0..self.samples).step_by(RUN)) {
            let rows = RUN.min(self.samples - first);
            let panels = run[of_left.start * size..of_left.end * size].chunks_exact(size);
            pack(panels, rows, &mut tiles);
            let panels = run[of_right.start * size..of_right.end * size].chunks_exact(size);
            let of_panels = sums.values.chunks_exact_mut(sums.tiles * TILE.0 * TILE.1);
            for ((panel, out), from) in panels.zip(of_panels).zip((0..).step_by(TILE.1)) {
                let out = out.chunks_exact_mut(TILE.0 * TILE.1);
                for ((tile, out), top) in tiles
                    .chunks_exact(SPACING)
                    .zip(out)
                    .zip((0..).step_by(TILE.0))
                {
                    if same && from + TILE.1 <= top {
                        break;
                    }
                    add_tile(&tile[..rows * TILE.0], &panel[..rows * TILE.1], out);
                }
            }
        }
    }
}

/// Sums of products of a block of left columns with one of right columns, tile after tile in the order in which they are
/// computed: so they pass through the caches as a stream.
pub(super) struct Sums {
    left: Range<usize>,
    right: Range<usize>,
    /// Tiles of left columns.
    tiles: usize,
    values: Vec<f64>,
}

impl Sums {
    pub(super) fn new(left: &Range<usize>, right: &Range<usize>) -> Self {
        let tiles = left.len().div_ceil(ALIGNED) * (ALIGNED / TILE.0);
        let panels = right.len().div_ceil(TILE.1);
        Self {
            left: left.clone(),
            right: right.clone(),
            tiles,
            values: vec![0.0; panels * tiles * TILE.0 * TILE.1],
        }
    }

    /// The sums, left × right, divided by `by`; of a block with itself on both sides of the diagonal.
    pub(super) fn divided(&self, by: f64) -> Array2<f64> {
        let mut products = Array2::zeros((self.left.len(), self.right.len()));
        for (i, mut row) in products.rows_mut().into_iter().enumerate() {
            for (panel, mut row) in row.axis_chunks_iter_mut(Axis(0), TILE.1).enumerate() {
                let tile = panel * self.tiles + i / TILE.0;
                let sums = &self.values[(tile * TILE.0 + i % TILE.0) * TILE.1..];
                row.iter_mut()
                    .zip(sums)
                    .for_each(|(to, sum)| *to = sum / by);
            }
        }
        if self.left == self.right {
            for i in 0..self.left.len() {
                for j in 0..i {
                    products[(i, j)] = products[(j, i)];
                }
            }
        }
        products
    }
}

/// Panels as tiles of [`TILE`]`.0` columns, each row after row.
fn pack<'a>(panels: impl Iterator<Item = &'a [f32]>, rows: usize, tiles: &mut [f32]) {
    let panels: Vec<&[f32]> = panels.collect();
    let groups = panels.chunks(ALIGNED / TILE.1);
    for (group, tiles) in groups.zip(tiles.chunks_exact_mut(ALIGNED / TILE.0 * SPACING)) {
        let mut row = [0.0; ALIGNED];
        for sample in 0..rows {
            for (to, panel) in row.chunks_exact_mut(TILE.1).zip(group) {
                to.copy_from_slice(&panel[sample * TILE.1..][..TILE.1]);
            }
            let (pieces, _) = row.as_chunks::<{ TILE.0 }>();
            for (tile, piece) in tiles.chunks_exact_mut(SPACING).zip(pieces) {
                tile[sample * TILE.0..][..TILE.0].copy_from_slice(piece);
            }
        }
    }
}

/// Σ z² of the columns of a panel over a run, added to `out`.
#[multiversion(targets("x86_64+avx2+fma"))]
fn add_squares(panel: &[f32], out: &mut [f64]) {
    let fused = target_cfg_f!(target_feature = "fma");
    let mut sums = [0f32; TILE.1];
    for row in panel.chunks_exact(TILE.1) {
        for (sum, z) in sums.iter_mut().zip(row) {
            *sum = if fused {
                z.mul_add(*z, *sum)
            } else {
                z * z + *sum
            };
        }
    }
    for (out, sum) in out.iter_mut().zip(&sums) {
        *out += f64::from(*sum);
    }
}

/// One tile of sums over a run, added to `out`, row after row.
#[multiversion(targets("x86_64+avx2+fma"))]
fn add_tile(left: &[f32], right: &[f32], out: &mut [f64]) {
    let fused = target_cfg_f!(target_feature = "fma");
    let mut sums = [[0f32; TILE.1]; TILE.0];
    for (a, b) in left.chunks_exact(TILE.0).zip(right.chunks_exact(TILE.1)) {
        let a: [f32; TILE.0] = a.try_into().expect("a row of the tile");
        let b: [f32; TILE.1] = b.try_into().expect("a row of the panel");
        for i in 0..TILE.0 {
            for j in 0..TILE.1 {
                sums[i][j] = if fused {
                    a[i].mul_add(b[j], sums[i][j])
                } else {
                    a[i] * b[j] + sums[i][j]
                };
            }
        }
    }
    for (out, sums) in out.chunks_exact_mut(TILE.1).zip(&sums) {
        for (out, sum) in out.iter_mut().zip(sums) {
            *out += f64::from(*sum);
        }
    }
}
