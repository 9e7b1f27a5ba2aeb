//! The native path: blocks of the triangle in parallel, by the kernel beside it.
//!
//! Either the samples are held, and each tile is finished at once, or the sums are, while samples pass by in blocks: once,
//! or once for every square of tiles whose sums fit into the memory. The order of the sums, and so every bit, is the same.

use std::ops::Range;

use rayon::prelude::*;

use super::columns::Columns;
use super::findings::{Reduction, correlations};
use super::kernel::{ALIGNED, Panels, RUN, Sums};
use super::precision::Computed;
use super::{Findings, Params, Wanted};
use crate::error::Result;

/// Neurons of one block at most: wide enough for what is packed to be used often.
const BLOCK: usize = 384;

/// Scratch memory of one thread: sums in f64, correlations, and a run of left columns.
const SCRATCH_BYTES: u64 = (BLOCK * BLOCK * (8 + 4) + 2 * BLOCK * RUN * 4) as u64;

/// Left columns and right columns.
type Tile = (Range<usize>, Range<usize>);

/// Samples in flight at once, where the memory allows it: the sums pass through the caches once for each such block.
const FLIGHT: usize = 2048;

/// Hands every pair of left and right columns to the reduction, once.
pub(super) fn scan(
    columns: &Columns<'_>,
    wanted: &Wanted<'_>,
    params: &Params,
) -> Result<Findings> {
    let memory = params.memory;
    let reduction = Reduction::new(wanted, columns);
    let mut norm = Norm::new(columns);
    let finished = |sums: &Sums, tile: &Tile, norm: &[f64]| {
        let products = sums.divided(columns.samples() as f64);
        let (left, right) = tile;
        let r = correlations(columns, left, right, products.view(), norm);
        reduction.tile(left, right, r.view())
    };
    let mut collected = reduction.nothing();
    match Plan::of(columns, memory) {
        Plan::Hold => {
            let mut held = Panels::new(&columns.spans(), columns.samples());
            held.fill(columns, 0, columns.samples())?;
            held.add_squares(&mut norm.squares);
            let norm = norm.taken();
            let one = |tile: &Tile| {
                let mut sums = Sums::new(&tile.0, &tile.1);
                held.add(&mut sums);
                finished(&sums, tile, &norm)
            };
            for tiles in tiles(columns, usize::MAX) {
                let found = tiles.par_iter().map(one);
                collected.add(found.collect::<Result<_>>()?);
            }
        }
        Plan::Stream { side } => {
            let rounds = tiles(columns, side);
            let at_once = rounds.len() == 1;
            if !at_once {
                // In groups of columns: all of them in flight at once might be more than the memory.
                let most = (memory / 2 / (RUN as u64 * 4)).max(BLOCK as u64);
                let most = usize::try_from(most).unwrap_or(usize::MAX) / ALIGNED * ALIGNED;
                for side in columns.spans() {
                    for from in side.clone().step_by(most) {
                        let group = from..side.end.min(from.saturating_add(most));
                        pass(columns, memory, &[], &[group], Some(&mut norm.squares))?;
                    }
                }
            }
            for tiles in rounds {
                let squares = at_once.then_some(&mut norm.squares);
                let spans = match at_once {
                    true => columns.spans(),
                    false => columns.split(spans(&tiles)),
                };
                let sums = pass(columns, memory, &tiles, &spans, squares)?;
                let norm = norm.taken();
                let each = sums.into_par_iter().zip(&tiles);
                let found = each.map(|(sums, tile)| finished(&sums, tile, &norm));
                collected.add(found.collect::<Result<_>>()?);
            }
        }
    }
    Ok(reduction.finish(collected, Computed::natively(params.precision)))
}

/// 1/sd of z of every column, from the diagonal of G as the kernel sums it: the same roundings on both sides of a quotient.
struct Norm<'a> {
    columns: &'a Columns<'a>,
    squares: Vec<f64>,
}

impl<'a> Norm<'a> {
    fn new(columns: &'a Columns<'a>) -> Self {
        let squares = vec![0.0; columns.all().len()];
        Self { columns, squares }
    }

    fn taken(&self) -> Vec<f64> {
        let samples = self.columns.samples() as f64;
        let each = self.squares.iter().enumerate();
        each.map(|(column, sum)| self.columns.norm(column, sum / samples))
            .collect()
    }
}

/// What is kept: the samples, so that each tile is finished at once, or the sums, while samples pass by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plan {
    Hold,
    /// Squares of so many blocks along a side, each with a pass over the samples of its own.
    Stream {
        side: usize,
    },
}

impl Plan {
    /// The one that takes less, where it fits; else as large squares as fit.
    fn of(columns: &Columns<'_>, memory: u64) -> Self {
        let [left, right] = columns.sides();
        let (held, streamed) = needs(
            columns.samples(),
            (left.len(), right.len()),
            columns.is_cross(),
        );
        if streamed <= held.min(memory) {
            return Self::Stream { side: usize::MAX };
        }
        if held <= memory {
            return Self::Hold;
        }
        if streamed <= memory {
            return Self::Stream { side: usize::MAX };
        }
        // 8·s² for the sums of a square of s columns a side, and 2·4·s a sample in flight.
        let flight = (FLIGHT / 2) as f64;
        let side = (flight * flight + memory as f64 / 8.0).sqrt() - flight;
        Self::Stream {
            side: (side as usize / BLOCK).max(1),
        }
    }
}

/// Bytes to hold the samples, and to hold all sums while samples pass by.
fn needs(samples: usize, (left, right): (usize, usize), cross: bool) -> (u64, u64) {
    let width = if cross { left + right } else { left };
    let pairs = if cross {
        left as u64 * right as u64
    } else {
        left as u64 * (left + BLOCK) as u64 / 2
    };
    let held = Panels::bytes(samples, width);
    (held, pairs * 8 + Panels::bytes(samples.min(FLIGHT), width))
}

/// Bytes that a scan of one side takes when it may take what it likes, beside what is wanted.
pub(super) fn bytes(samples: usize, neurons: usize) -> u64 {
    let (held, streamed) = needs(samples, (neurons, neurons), false);
    held.min(streamed) + rayon::current_num_threads() as u64 * SCRATCH_BYTES
}

/// The sums of some tiles over all samples, which lie in `spans`, and these columns' sums of squares where they are wanted.
fn pass(
    columns: &Columns<'_>,
    memory: u64,
    tiles: &[Tile],
    spans: &[Range<usize>],
    mut squares: Option<&mut Vec<f64>>,
) -> Result<Vec<Sums>> {
    let samples = columns.samples();
    let width: usize = spans.iter().map(Range::len).sum();
    let most = memory / 2 / (width.next_multiple_of(ALIGNED) as u64 * 4);
    let rows = usize::try_from(most).unwrap_or(FLIGHT).min(FLIGHT) / RUN * RUN;
    let rows = rows.max(RUN).min(samples);
    let new = |(left, right): &Tile| Sums::new(left, right);
    let mut sums: Vec<Sums> = tiles.iter().map(new).collect();
    let mut panels = Panels::new(spans, rows);
    for from in (0..samples).step_by(rows) {
        panels.fill(columns, from, rows.min(samples - from))?;
        sums.par_iter_mut().for_each(|sums| panels.add(sums));
        if let Some(squares) = squares.as_deref_mut() {
            panels.add_squares(squares);
        }
    }
    Ok(sums)
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
