//! The native path: blocks of the triangle in parallel, a GEMM crate for the f32 partial sums, f64 between them.
//!
//! Samples that fit into the memory are centred once and each tile is finished at once. Others come in blocks of rows, once
//! for every round of tiles whose sums fit; the order of the sums, and so every bit, is the same.

use std::ops::Range;

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

use super::columns::Columns;
use super::findings::{Leavings, Reduction, correlations};
use super::kernel::{ALIGNED, Panels, RUN};
use super::{Findings, Wanted};
use crate::error::Result;

/// Neurons of one block at most: wide enough for the GEMM to run at full speed.
const BLOCK: usize = 384;

/// Scratch memory of one thread: sums in f64, correlations, and a run of left columns.
pub(super) const SCRATCH_BYTES: u64 = (BLOCK * BLOCK * (8 + 4) + 2 * BLOCK * RUN * 4) as u64;

/// Left columns and right columns.
type Tile = (Range<usize>, Range<usize>);

/// Hands every pair of left and right columns to the reduction, once.
pub(super) fn scan(columns: &Columns<'_>, wanted: &Wanted<'_>, memory: u64) -> Result<Findings> {
    let reduction = Reduction::new(wanted, columns);
    let samples = Samples::new(columns, memory)?;
    let norm = samples.norms()?;
    let mut leavings = Vec::new();
    for tiles in tiles(columns, samples.square) {
        let found = samples.each(&tiles, &|tile, products| {
            reduced(columns, tile, products, &norm, &reduction)
        })?;
        leavings.extend(found);
    }
    Ok(reduction.finish(leavings))
}

fn reduced(
    columns: &Columns<'_>,
    (left, right): &Tile,
    products: ArrayView2<'_, f64>,
    norm: &[f64],
    reduction: &Reduction<'_>,
) -> Result<Leavings> {
    let r = correlations(columns, left, right, products, norm);
    reduction.tile(left, right, r.view())
}

/// The tiles of all pairs, in squares of `side` blocks. Those on the diagonal, which are half the work, come last in theirs:
/// they even out what the threads have to do.
fn tiles(columns: &Columns<'_>, side: usize) -> Vec<Vec<Tile>> {
    let [left, right] = columns.sides().map(|side| blocks(&side));
    let mut squares = Vec::new();
    for rows in left.chunks(side) {
        for others in right.chunks(side) {
            let pairs = |wanted: &dyn Fn(&Range<usize>, &Range<usize>) -> bool| -> Vec<Tile> {
                let pair = |a: &Range<usize>| {
                    let others = others.iter().filter(|b| wanted(a, b));
                    others.map(|b| (a.clone(), b.clone())).collect::<Vec<_>>()
                };
                rows.iter().flat_map(pair).collect()
            };
            let mut square = pairs(&|a, b| b.start >= a.end);
            square.extend(pairs(&|a, b| a == b));
            if !square.is_empty() {
                squares.push(square);
            }
        }
    }
    squares
}

fn blocks(range: &Range<usize>) -> Vec<Range<usize>> {
    divided(range, range.len().div_ceil(BLOCK))
}

/// At most `parts` consecutive ranges of nearly equal length, which begin where the kernel's tiles do.
fn divided(range: &Range<usize>, parts: usize) -> Vec<Range<usize>> {
    let each = range.len().div_ceil(parts).next_multiple_of(ALIGNED);
    range
        .clone()
        .step_by(each)
        .map(|start| start..range.end.min(start + each))
        .collect()
}

/// The samples: held, or read block by block.
struct Samples<'a> {
    columns: &'a Columns<'a>,
    held: Option<Panels>,
    /// Blocks along the side of a square of tiles whose sums fit into the memory.
    square: usize,
    /// Bytes for samples in flight.
    bytes: u64,
}

impl<'a> Samples<'a> {
    fn new(columns: &'a Columns<'a>, memory: u64) -> Result<Self> {
        let (samples, width) = (columns.samples(), columns.all().len());
        let half = memory / 2;
        if Panels::bytes(samples, width) <= memory - memory / 4 {
            let mut held = Panels::new(&columns.spans(), samples);
            held.fill(columns, 0, samples)?;
            return Ok(Self {
                columns,
                held: Some(held),
                square: usize::MAX,
                bytes: half,
            });
        }
        // Half for the sums of a square of tiles, half for blocks of samples of its rows and columns.
        let by_sums = (half / 8).isqrt() as usize;
        let by_samples = half as usize / (2 * RUN * 4);
        Ok(Self {
            columns,
            held: None,
            square: (by_sums.min(by_samples) / BLOCK).max(1),
            bytes: half,
        })
    }

    /// 1/sd of z of every column, from the diagonal of G as the kernel sums it.
    fn norms(&self) -> Result<Vec<f64>> {
        let columns = self.columns;
        let (samples, width) = (columns.samples(), columns.all().len());
        let mut sums = vec![0.0; width];
        match &self.held {
            Some(held) => held.add_squares(&mut sums),
            None => {
                let rows = self.rows(width);
                let mut panels = Panels::new(&columns.spans(), rows);
                for from in (0..samples).step_by(rows) {
                    panels.fill(columns, from, rows.min(samples - from))?;
                    panels.add_squares(&mut sums);
                }
            }
        }
        let norm = |(column, sum): (usize, f64)| columns.norm(column, sum / samples as f64);
        Ok(sums.into_iter().enumerate().map(norm).collect())
    }

    /// Samples of so many columns that are in flight together.
    fn rows(&self, width: usize) -> usize {
        let rows = self.bytes / (width.next_multiple_of(ALIGNED) as u64 * 4);
        let whole = usize::try_from(rows).unwrap_or(usize::MAX) / RUN * RUN;
        whole.max(RUN).min(self.columns.samples())
    }

    /// What `done` makes of the mean products of each tile, in the order of the tiles.
    fn each<T: Send>(
        &self,
        tiles: &[Tile],
        done: &(dyn Fn(&Tile, ArrayView2<'_, f64>) -> Result<T> + Sync),
    ) -> Result<Vec<T>> {
        let samples = self.columns.samples();
        let mean = |mut sums: Array2<f64>, tile: &Tile| {
            sums.mapv_inplace(|sum| sum / samples as f64);
            if tile.0 == tile.1 {
                mirror(&mut sums);
            }
            done(tile, sums.view())
        };
        let empty = |(left, right): &Tile| Array2::<f64>::zeros((left.len(), right.len()));
        if let Some(held) = &self.held {
            let one = |tile: &Tile| {
                let mut sums = empty(tile);
                add_products(held, tile, &mut sums);
                mean(sums, tile)
            };
            return tiles.par_iter().map(one).collect();
        }
        let spans = self.columns.split(spans(tiles));
        let rows = self.rows(spans.iter().map(Range::len).sum());
        let mut sums: Vec<Array2<f64>> = tiles.iter().map(empty).collect();
        let mut panels = Panels::new(&spans, rows);
        for from in (0..samples).step_by(rows) {
            panels.fill(self.columns, from, rows.min(samples - from))?;
            tiles
                .par_iter()
                .zip(&mut sums)
                .for_each(|(tile, sums)| add_products(&panels, tile, sums));
        }
        drop(panels);
        let finished = tiles.par_iter().zip(sums);
        finished.map(|(tile, sums)| mean(sums, tile)).collect()
    }
}

/// The columns that some tiles need: as one range, or as two where left and right ones are apart.
fn spans(tiles: &[Tile]) -> Vec<Range<usize>> {
    let hull = |ranges: &dyn Fn(&Tile) -> Range<usize>| {
        let start = tiles.iter().map(|tile| ranges(tile).start).min();
        let end = tiles.iter().map(|tile| ranges(tile).end).max();
        start.unwrap_or(0)..end.unwrap_or(0)
    };
    let (left, right) = (hull(&|t| t.0.clone()), hull(&|t| t.1.clone()));
    if right.start <= left.end {
        return std::iter::once(left.start..right.end.max(left.end)).collect();
    }
    vec![left, right]
}

/// What is above the diagonal, below it as well.
fn mirror(square: &mut Array2<f64>) {
    for i in 0..square.nrows() {
        for j in 0..i {
            square[(i, j)] = square[(j, i)];
        }
    }
}

/// Adds the products of a tile over the samples.
fn add_products(panels: &Panels, (left, right): &Tile, sums: &mut Array2<f64>) {
    let sums = sums.as_slice_mut().expect("a standard array");
    panels.add(left, right, sums);
}
