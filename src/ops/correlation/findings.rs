//! What becomes of each tile of correlations, so that the matrix need not exist: edges, partners, a histogram, sums by pair
//! of layers.
//!
//! Nothing here depends on the order in which tiles come or on how the pairs are cut into tiles, except sums in f64, which
//! are added in the order of the tiles.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use ndarray::{Array2, ArrayView2};

use super::columns::Columns;
use super::distribution::{Sums, sums};
use super::precision::Computed;
use super::{Edge, Findings, Partner, Wanted};
use crate::error::{Error, Result};
use crate::ops::correlation::layers::{LayerSums, Layers, Rectangle, Total};

/// Neurons whose partners one lock guards.
const GUARDED: usize = 64;
/// Takes tiles from any thread.
pub(super) struct Reduction<'a> {
    wanted: &'a Wanted<'a>,
    /// The first column of the left and of the right neurons.
    starts: [usize; 2],
    /// The same neurons are left and right.
    same: bool,
    partners: [Vec<Mutex<Vec<Best>>>; 2],
    layers: Option<Layers>,
    edges: AtomicU64,
}

/// What one tile leaves.
#[derive(Default)]
pub(super) struct Leavings {
    edges: Vec<Edge>,
    sums: Option<Sums>,
    layers: LayerSums,
}

/// What one tile leaves that its device reduced, or what came back of it left.
#[derive(Default)]
pub(super) struct OfTile {
    pub leavings: Vec<Leavings>,
    /// What the pairs of rectangles add up to: |r|, (r·s_i·s_j)² of the shares that [`Reduction::sizes`] gives, and the
    /// largest |r|.
    pub rectangles: Vec<(Rectangle, [f32; 3])>,
}

impl From<Sums> for Leavings {
    fn from(sums: Sums) -> Self {
        Self {
            sums: Some(sums),
            ..Self::default()
        }
    }
}

impl Leavings {
    /// Σ |r| of the pairs, where sums are kept.
    pub(super) fn size(&self) -> Option<f64> {
        self.sums.as_ref().map(|sums| sums.size)
    }
}

impl From<Leavings> for OfTile {
    fn from(leavings: Leavings) -> Self {
        Self {
            leavings: vec![leavings],
            rectangles: Vec::new(),
        }
    }
}

/// What all tiles so far have left.
pub(super) struct Collected {
    edges: Vec<Edge>,
    sums: Sums,
    layers: Option<Total>,
}

/// The partners of one neuron so far: the best first, ties by id.
#[derive(Debug, Clone)]
struct Best {
    most: usize,
    partners: Vec<Partner>,
    /// |r| that a new one must have at least.
    floor: f32,
}

impl Best {
    fn consider(&mut self, neuron: usize, r: f32) {
        let size = r.abs();
        if size < self.floor {
            return;
        }
        let neuron = neuron as u32;
        let better = |p: &Partner| p.r.abs() > size || p.r.abs() == size && p.neuron < neuron;
        let place = self.partners.partition_point(better);
        if place == self.most {
            return;
        }
        self.partners.truncate(self.most - 1);
        self.partners.insert(place, Partner { neuron, r });
        if self.partners.len() == self.most {
            self.floor = self.partners[self.most - 1].r.abs();
        }
    }
}

impl<'a> Reduction<'a> {
    pub(super) fn new(wanted: &'a Wanted<'a>, columns: &Columns<'_>) -> Self {
        let [left, right] = columns.sides();
        let same = !columns.is_cross();
        let best = |neurons: &Range<usize>, others: usize| {
            let most = wanted.partners.min(others);
            let floor = if most == 0 { f32::INFINITY } else { 0.0 };
            let empty = Best {
                most,
                partners: Vec::new(),
                floor,
            };
            (0..neurons.len())
                .step_by(GUARDED)
                .map(|from| Mutex::new(vec![empty.clone(); GUARDED.min(neurons.len() - from)]))
                .collect()
        };
        let of_right = if same { 0..0 } else { right.clone() };
        Self {
            partners: [
                best(&left, right.len() - usize::from(same)),
                best(&of_right, left.len()),
            ],
            layers: wanted
                .layers
                .map(|maps| Layers::new(maps, same, columns.sd(), wanted.at_least)),
            wanted,
            starts: [left.start, right.start],
            same,
            edges: AtomicU64::new(0),
        }
    }

    /// Takes r of the left columns `rows` with the right columns `columns`. A tile on the diagonal is a square whose pairs
    /// above the diagonal count.
    ///
    /// # Errors
    /// When there are more edges than wanted, or the matrix cannot be written.
    pub(super) fn tile(
        &self,
        rows: &Range<usize>,
        columns: &Range<usize>,
        r: ArrayView2<'_, f32>,
    ) -> Result<Leavings> {
        let at = (rows.start - self.starts[0], columns.start - self.starts[1]);
        let square = self.same && rows == columns;
        if let Some(matrix) = self.wanted.matrix {
            matrix.tile(at, r)?;
        }
        let mut leavings = self.pairs_of_tile(rows, columns, r)?;
        if self.wanted.distribution {
            leavings.sums = Some(sums(square, r));
        }
        if let Some(layers) = &self.layers {
            leavings.layers = layers.sums(at, square, r);
        }
        Ok(leavings)
    }

    /// As [`Reduction::tile`], the edges and partners alone.
    pub(super) fn pairs_of_tile(
        &self,
        rows: &Range<usize>,
        columns: &Range<usize>,
        r: ArrayView2<'_, f32>,
    ) -> Result<Leavings> {
        let at = (rows.start - self.starts[0], columns.start - self.starts[1]);
        let square = self.same && rows == columns;
        let mut leavings = Leavings::default();
        if let Some(least) = self.wanted.at_least {
            leavings.edges = edges(at, square, least, r);
            self.admit(leavings.edges.len(), least)?;
        }
        if self.wanted.partners > 0 {
            self.partners(at, square, r);
        }
        Ok(leavings)
    }

    /// Takes single pairs of a left and a right column, off the diagonal, each once: as edges and partners, and as strong
    /// pairs of their layers.
    pub(super) fn pairs(&self, pairs: &[(usize, usize, f32)]) -> Result<Leavings> {
        let mut leavings = Leavings::default();
        for &(i, j, r) in pairs {
            let (i, j) = (i - self.starts[0], j - self.starts[1]);
            if self.wanted.at_least.is_some_and(|least| r.abs() >= least) {
                let (i, j) = (i as u32, j as u32);
                leavings.edges.push(Edge { i, j, r });
            }
            if self.wanted.partners > 0 {
                lock(&self.partners[0][i / GUARDED])[i % GUARDED].consider(j, r);
                let others = &self.partners[usize::from(!self.same)];
                lock(&others[j / GUARDED])[j % GUARDED].consider(i, r);
            }
        }
        if let Some(least) = self.wanted.at_least {
            self.admit(leavings.edges.len(), least)?;
        }
        Ok(self.with_strong(leavings))
    }

    /// Counts the edges of what [`Reduction::pairs_of_tile`] left as strong pairs of their layers.
    pub(super) fn with_strong(&self, mut leavings: Leavings) -> Leavings {
        if let Some(layers) = &self.layers {
            let ends = |edge: &Edge| (edge.i as usize, edge.j as usize);
            leavings.layers = layers.strong(leavings.edges.iter().map(ends));
        }
        leavings
    }

    /// Counts edges that were found, and refuses more than are wanted.
    fn admit(&self, found: usize, least: f32) -> Result<()> {
        let found = found as u64;
        let before = self.edges.fetch_add(found, Ordering::Relaxed);
        if before + found > self.wanted.most_edges {
            return Err(Error::invalid(
                format!("pairs with |r| of at least {least}"),
                format!(
                    "there are more than {}, which is as many as memory is planned for",
                    self.wanted.most_edges
                ),
                "Ask for stronger pairs only (a larger |r|, a smaller distance), or allow more memory",
            ));
        }
        Ok(())
    }

    /// Whether all of r is wanted.
    pub(super) fn keeps_matrix(&self) -> bool {
        self.wanted.matrix.is_some()
    }

    /// Whether edges or partners are.
    pub(super) fn keeps_pairs(&self) -> bool {
        self.wanted.at_least.is_some() || self.wanted.partners > 0
    }

    /// Whether histogram and moments are.
    pub(super) fn keeps_sums(&self) -> bool {
        self.wanted.distribution
    }

    /// Whether sums by pair of layers are.
    pub(super) fn keeps_layers(&self) -> bool {
        self.layers.is_some()
    }

    /// |r| of an edge.
    pub(super) fn least(&self) -> Option<f32> {
        self.wanted.at_least
    }

    /// For every column, side after side, the |r| that a partner must have by now; nothing where none are wanted.
    pub(super) fn cuts(&self) -> Vec<f32> {
        if self.wanted.partners == 0 {
            return Vec::new();
        }
        let chunks = self.partners.iter().flatten();
        let floors = |chunk| {
            lock(chunk)
                .iter()
                .map(|best| best.floor)
                .collect::<Vec<_>>()
        };
        chunks.flat_map(floors).collect()
    }

    /// Standard deviation of every column, side after side, as a share of the largest of its layer; nothing where layers
    /// are not wanted.
    pub(super) fn sizes(&self) -> Vec<f32> {
        let of_layers = |layers: &Layers| layers.sizes(self.same);
        self.layers.as_ref().map(of_layers).unwrap_or_default()
    }

    /// The parts of a tile off the diagonal whose pairs are of two layers each.
    pub(super) fn rectangles(&self, rows: &Range<usize>, columns: &Range<usize>) -> Vec<Rectangle> {
        let at = (rows.start - self.starts[0], columns.start - self.starts[1]);
        let shape = (rows.len(), columns.len());
        let of_layers = |layers: &Layers| layers.rectangles(at, shape);
        self.layers.as_ref().map(of_layers).unwrap_or_default()
    }

    fn partners(&self, (top, left): (usize, usize), square: bool, r: ArrayView2<'_, f32>) {
        for (chunk, rows) in guarded(top, r.nrows()) {
            let mut best = lock(&self.partners[0][chunk]);
            for i in rows {
                let best = &mut best[i % GUARDED];
                for (j, &r) in r.row(i - top).iter().enumerate() {
                    if r.abs() >= best.floor && !(square && left + j == i) {
                        best.consider(left + j, r);
                    }
                }
            }
        }
        if square {
            return; // the square has each pair both ways
        }
        for (chunk, columns) in guarded(left, r.ncols()) {
            let mut best = lock(&self.partners[usize::from(!self.same)][chunk]);
            let span = columns.start - left..columns.end - left;
            let first = columns.start % GUARDED;
            for (i, row) in r.outer_iter().enumerate() {
                let row = row.slice_move(ndarray::s![span.clone()]);
                for (best, &r) in best[first..].iter_mut().zip(row) {
                    if r.abs() >= best.floor {
                        best.consider(top + i, r);
                    }
                }
            }
        }
    }

    /// Nothing yet.
    pub(super) fn nothing(&self) -> Collected {
        Collected {
            edges: Vec::new(),
            sums: Sums::default(),
            layers: self.layers.as_ref().map(Layers::total),
        }
    }

    /// All tiles have been taken.
    pub(super) fn finish(self, collected: Collected, computed: Computed) -> Findings {
        let Collected {
            mut edges,
            sums,
            layers,
        } = collected;
        edges.sort_unstable_by_key(|edge| (edge.i, edge.j));
        let [left, right] = self.partners.map(|chunks| {
            let chunks = chunks.into_iter().flat_map(|chunk| {
                let best = chunk.into_inner().unwrap_or_else(PoisonError::into_inner);
                best.into_iter().map(|best| best.partners)
            });
            chunks.collect()
        });
        Findings {
            computed,
            edges,
            partners: left,
            partners_of_right: right,
            distribution: self.wanted.distribution.then(|| sums.distribution()),
            layers: layers
                .zip(self.layers)
                .map(|(total, layers)| total.finish(layers)),
        }
    }
}

impl Collected {
    /// What one tile has left; tiles come in their order.
    pub(super) fn add_tile(&mut self, reduction: &Reduction<'_>, of_tile: OfTile) {
        self.add(of_tile.leavings);
        let (Some(total), Some(layers)) = (&mut self.layers, &reduction.layers) else {
            return;
        };
        for (rectangle, [size, squares, largest]) in &of_tile.rectangles {
            let (size, squares) = (f64::from(*size), f64::from(*squares));
            total.add_rectangle(layers, rectangle, size, squares, *largest);
        }
    }

    /// What some tiles have left, in their order.
    pub(super) fn add(&mut self, leavings: Vec<Leavings>) {
        for leaving in leavings {
            self.edges.extend(leaving.edges);
            if let Some(sums) = &leaving.sums {
                self.sums.add(sums);
            }
            if let Some(total) = &mut self.layers {
                total.add(&leaving.layers);
            }
        }
    }
}

/// The pieces of `len` neurons from `start` on that one lock guards each.
fn guarded(start: usize, len: usize) -> impl Iterator<Item = (usize, Range<usize>)> {
    let end = start + len;
    (start / GUARDED..end.div_ceil(GUARDED)).map(move |chunk| {
        let piece = chunk * GUARDED;
        (chunk, start.max(piece)..end.min(piece + GUARDED))
    })
}

fn lock(best: &Mutex<Vec<Best>>) -> std::sync::MutexGuard<'_, Vec<Best>> {
    best.lock().unwrap_or_else(PoisonError::into_inner)
}

fn edges(at: (usize, usize), square: bool, least: f32, r: ArrayView2<'_, f32>) -> Vec<Edge> {
    let mut edges = Vec::new();
    for (i, row) in r.outer_iter().enumerate() {
        let first = if square { i + 1 } else { 0 };
        for (j, &r) in row.iter().enumerate().skip(first) {
            if r.abs() >= least {
                let (i, j) = ((at.0 + i) as u32, (at.1 + j) as u32);
                edges.push(Edge { i, j, r });
            }
        }
    }
    edges
}

/// r of a tile from its mean products.
pub(super) fn correlations(
    columns: &Columns<'_>,
    rows: &Range<usize>,
    right: &Range<usize>,
    mean_products: ArrayView2<'_, f64>,
    norm: &[f64],
) -> Array2<f32> {
    let mut r = Array2::zeros((rows.len(), right.len()));
    let each = rows.clone().zip(r.rows_mut()).zip(mean_products.rows());
    for ((i, mut r), products) in each {
        for ((r, product), j) in r.iter_mut().zip(products).zip(right.clone()) {
            *r = columns.r((i, j), *product, norm);
        }
    }
    r
}
