//! The native path: blocks of the triangle in parallel, a GEMM crate for the f32 partial sums, f64 between them.
//!
//! Samples that fit into the memory are centred once and each tile is finished at once. Others come in blocks of rows, once
//! for every round of tiles whose sums fit; the order of the sums, and so every bit, is the same.

use std::ops::Range;

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, Axis, s};
use rayon::prelude::*;

use super::columns::{Columns, Placed};
use super::findings::{Leavings, Reduction, correlations};
use super::{Findings, PARTIAL, Wanted};
use crate::error::Result;

/// Neurons of one block at most: wide enough for the GEMM to run at full speed.
const BLOCK: usize = 384;
/// Neurons of the blocks that only norms are taken from.
const NORM_BLOCK: usize = 64;

/// Scratch memory of one thread: a block of sums in f32 and one in f64, and its correlations.
pub(super) const SCRATCH_BYTES: u64 = (BLOCK * BLOCK * (4 + 8 + 4)) as u64;

/// Left columns and right columns.
type Tile = (Range<usize>, Range<usize>);

/// Hands every pair of left and right columns to the reduction, once.
pub(super) fn scan(columns: &Columns<'_>, wanted: &Wanted<'_>, memory: u64) -> Result<Findings> {
    let reduction = Reduction::new(wanted, columns);
    let samples = Samples::new(columns, memory)?;
    let mut norm = Vec::with_capacity(columns.all().len());
    let mut leavings = Vec::new();
    for tiles in samples.rounds(&diagonal(columns)) {
        let products = samples.mean_products(&tiles)?;
        for ((left, right), products) in tiles.iter().zip(&products) {
            if left == right {
                let each = left.clone().zip(products.diag());
                norm.extend(each.map(|(column, mean_square)| columns.norm(column, *mean_square)));
            }
        }
        if !columns.is_cross() {
            // A round has whole blocks, so the norms of its columns are known.
            let found = tiles
                .par_iter()
                .zip(products)
                .map(|(tile, products)| reduced(columns, tile, products.view(), &norm, &reduction));
            leavings.extend(found.collect::<Result<Vec<_>>>()?);
        }
    }
    for tiles in off_diagonal(columns, samples.square) {
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

/// The tiles that hold the diagonal. Of one side: its blocks, in halves, so that only a quarter of what is computed there is
/// computed twice. Of two: small ones, for nothing but the norms.
fn diagonal(columns: &Columns<'_>) -> Vec<Vec<Tile>> {
    if columns.is_cross() {
        let all = columns.all();
        let blocks = divided(&all, all.len().div_ceil(NORM_BLOCK)).into_iter();
        return blocks.map(|block| vec![(block.clone(), block)]).collect();
    }
    let halves = |block: &Range<usize>| {
        let halves = divided(block, 2);
        match &halves[..] {
            [one, two] => vec![
                (one.clone(), one.clone()),
                (one.clone(), two.clone()),
                (two.clone(), two.clone()),
            ],
            _ => vec![(block.clone(), block.clone())],
        }
    };
    blocks(&columns.all()).iter().map(halves).collect()
}

/// The other tiles, in squares of `side` blocks.
fn off_diagonal(columns: &Columns<'_>, side: usize) -> Vec<Vec<Tile>> {
    let [left, right] = columns.sides().map(|side| blocks(&side));
    let mut squares = Vec::new();
    for rows in left.chunks(side) {
        for others in right.chunks(side) {
            let mut square = Vec::new();
            for a in rows {
                let others = others.iter().filter(|b| b.start >= a.end);
                square.extend(others.map(|b| (a.clone(), b.clone())));
            }
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

/// `parts` consecutive ranges of nearly equal length; fewer where there is not enough to divide.
fn divided(range: &Range<usize>, parts: usize) -> Vec<Range<usize>> {
    let each = range.len().div_ceil(parts).max(1);
    range
        .clone()
        .step_by(each)
        .map(|start| start..range.end.min(start + each))
        .collect()
}

/// The samples: held, or read block by block.
struct Samples<'a> {
    columns: &'a Columns<'a>,
    held: Option<Array2<f32>>,
    /// Blocks along the side of a square of tiles whose sums fit into the memory.
    square: usize,
    /// Bytes for samples in flight.
    bytes: u64,
}

impl<'a> Samples<'a> {
    fn new(columns: &'a Columns<'a>, memory: u64) -> Result<Self> {
        let (samples, width) = (columns.samples(), columns.all().len());
        let whole = samples as u64 * width as u64 * 4;
        let half = memory / 2;
        if whole <= memory - memory / 4 {
            let mut z = Array2::zeros((samples, width));
            let values = z.as_slice_mut().expect("a standard array");
            columns.centred(0, &placed(&[columns.all()]), width, values)?;
            return Ok(Self {
                columns,
                held: Some(z),
                square: usize::MAX,
                bytes: half,
            });
        }
        // Half for the sums of a square of tiles, half for blocks of samples of its rows and columns.
        let by_sums = (half / 8).isqrt() as usize;
        let by_samples = half as usize / (2 * PARTIAL * 4);
        Ok(Self {
            columns,
            held: None,
            square: (by_sums.min(by_samples) / BLOCK).max(1),
            bytes: half,
        })
    }

    /// The groups of tiles, as many together as there is memory for: all of them where the samples are held.
    fn rounds(&self, groups: &[Vec<Tile>]) -> Vec<Vec<Tile>> {
        if self.held.is_some() {
            return vec![groups.concat()];
        }
        let most = self.square * self.square * BLOCK * BLOCK;
        let widest = 2 * self.square * BLOCK;
        let mut rounds: Vec<Vec<Tile>> = Vec::new();
        let (mut entries, mut columns) = (usize::MAX, 0);
        for group in groups {
            let more: usize = group.iter().map(|(a, b)| a.len() * b.len()).sum();
            let wider = width(&spans(group));
            if entries.saturating_add(more) > most || columns + wider > widest {
                rounds.push(Vec::new());
                (entries, columns) = (0, 0);
            }
            entries += more;
            columns += wider;
            let last = rounds.len() - 1;
            rounds[last].extend_from_slice(group);
        }
        rounds
    }

    /// Mean over the samples of z_i · z_j for the pairs of each tile.
    fn mean_products(&self, tiles: &[Tile]) -> Result<Vec<Array2<f64>>> {
        self.each(tiles, &|_, products| Ok(products.to_owned()))
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
            done(tile, sums.view())
        };
        let empty = |(left, right): &Tile| Array2::<f64>::zeros((left.len(), right.len()));
        if let Some(z) = &self.held {
            let spans = [self.columns.all()];
            let one = |tile: &Tile| {
                let mut sums = empty(tile);
                add_products(z.view(), &spans, tile, &mut sums);
                mean(sums, tile)
            };
            return tiles.par_iter().map(one).collect();
        }
        let spans = spans(tiles);
        let width = width(&spans);
        let rows = self.bytes as usize / (width * 4) / PARTIAL * PARTIAL;
        let rows = rows.max(PARTIAL).min(samples);
        let mut sums: Vec<Array2<f64>> = tiles.iter().map(empty).collect();
        let mut z = vec![0.0; rows * width];
        for from in (0..samples).step_by(rows) {
            let rows = rows.min(samples - from);
            let z = &mut z[..rows * width];
            self.columns.centred(from, &placed(&spans), width, z)?;
            let z = ArrayView2::from_shape((rows, width), &*z).expect("it is that long");
            tiles
                .par_iter()
                .zip(&mut sums)
                .for_each(|(tile, sums)| add_products(z, &spans, tile, sums));
        }
        drop(z);
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

fn width(spans: &[Range<usize>]) -> usize {
    spans.iter().map(Range::len).sum()
}

/// The spans side by side.
fn placed(spans: &[Range<usize>]) -> Vec<Placed> {
    let mut to = 0;
    let place = |span: &Range<usize>| {
        let placed = Placed {
            columns: span.clone(),
            to,
        };
        to += span.len();
        placed
    };
    spans.iter().map(place).collect()
}

/// Adds Σ z_i · z_j over the rows of `z`, whose columns are those in `spans`, for i and j of the tile.
fn add_products(
    z: ArrayView2<'_, f32>,
    spans: &[Range<usize>],
    (left, right): &Tile,
    sums: &mut Array2<f64>,
) {
    let place = |range: &Range<usize>| {
        let holds = |p: &&Placed| p.columns.start <= range.start && range.end <= p.columns.end;
        let spans = placed(spans);
        let span = spans.iter().find(holds).expect("made of these tiles");
        let start = span.to + range.start - span.columns.start;
        start..start + range.len()
    };
    let (left, right) = (place(left), place(right));
    let mut partial = Array2::<f32>::zeros(sums.dim());
    for samples in z.axis_chunks_iter(Axis(0), PARTIAL) {
        let (a, b) = (
            samples.slice(s![.., left.clone()]),
            samples.slice(s![.., right.clone()]),
        );
        general_mat_mul(1.0, &a.t(), &b, 0.0, &mut partial);
        sums.zip_mut_with(&partial, |sum, partial| *sum += f64::from(*partial));
    }
}
