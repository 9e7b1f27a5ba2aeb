//! Sums by pair of layers: who is redundant with whom, and what linear CKA is made of.

use std::ops::Range;

use ndarray::{Array2, ArrayView2, s};

use super::LayerPairs;
use crate::activations::LayerMap;

/// Where the layers of both sides begin and end.
pub(super) struct Layers {
    names: [Vec<u32>; 2],
    /// The neurons of each layer.
    neurons: [Vec<Range<usize>>; 2],
    same: bool,
    /// Variance of the neurons of both sides, in the unit of the activations squared.
    variance: [Vec<f64>; 2],
    /// The largest variance of each layer.
    largest: [Vec<f64>; 2],
    at_least: Option<f32>,
}

/// What the pairs of two layers add up to.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    pairs: u64,
    size: f64,
    largest: f32,
    at_least: u64,
    /// Σ of the squared covariances.
    squares: f64,
}

/// The part of a tile whose pairs are of two layers.
#[derive(Debug, Clone)]
pub(super) struct Rectangle {
    /// The places of the layers.
    layers: (usize, usize),
    /// Rows of the tile.
    pub rows: Range<usize>,
    /// Columns of the tile.
    pub columns: Range<usize>,
}

/// The sums of one tile: the places of its layers, and what their pairs add up to.
#[derive(Debug, Default)]
pub(super) struct LayerSums(Vec<((usize, usize), Sum)>);

/// The sums of all tiles so far.
pub(super) struct Total(Array2<Sum>);

impl Layers {
    /// `sds` are of all columns, side after side.
    pub(super) fn new(
        maps: [&LayerMap; 2],
        same: bool,
        sds: &[f64],
        at_least: Option<f32>,
    ) -> Self {
        let names = maps.map(LayerMap::layers);
        let neurons = [0, 1].map(|side| {
            let of = |layer: &u32| maps[side].columns(*layer);
            names[side].iter().map(of).collect()
        });
        let variance: Vec<f64> = sds.iter().map(|sd| sd * sd).collect();
        let left = variance[..maps[0].neurons()].to_vec();
        let right = variance[variance.len() - maps[1].neurons()..].to_vec();
        let variance = [left, right];
        let largest = [0, 1].map(|side: usize| {
            let layers: &Vec<Range<usize>> = &neurons[side];
            let of = |layer: &Range<usize>| variance[side][layer.clone()].iter().copied();
            let all = layers.iter().map(|layer| of(layer).fold(0.0, f64::max));
            all.collect()
        });
        Self {
            names,
            neurons,
            same,
            variance,
            largest,
            at_least,
        }
    }

    /// The layers that some neurons of a side are of, and those neurons of each.
    fn among(
        &self,
        side: usize,
        span: Range<usize>,
    ) -> impl Iterator<Item = (usize, Range<usize>)> + '_ {
        let layers = &self.neurons[side];
        let first = layers.partition_point(|layer| layer.end <= span.start);
        let inside = layers.iter().enumerate().skip(first);
        inside
            .map(move |(place, layer)| {
                (place, layer.start.max(span.start)..layer.end.min(span.end))
            })
            .take_while(|(_, neurons)| !neurons.is_empty())
    }

    /// Of the pairs of one tile; of those above the diagonal where it is a square on it.
    pub(super) fn sums(
        &self,
        (top, left): (usize, usize),
        square: bool,
        r: ArrayView2<'_, f32>,
    ) -> LayerSums {
        let mut sums = Vec::new();
        for (a, rows) in self.among(0, top..top + r.nrows()) {
            for (b, columns) in self.among(1, left..left + r.ncols()) {
                if square && b < a {
                    continue;
                }
                let part = r.slice(s![
                    rows.start - top..rows.end - top,
                    columns.start - left..columns.end - left
                ]);
                let variance = &self.variance[1][columns.clone()];
                let mut sum = Sum::default();
                for (i, row) in rows.clone().zip(part.outer_iter()) {
                    let first = match square && a == b {
                        true => i + 1 - columns.start,
                        false => 0,
                    };
                    let mut of_row = Sum::default();
                    for (&r, variance) in row.iter().zip(variance).skip(first) {
                        of_row.take(r, *variance, self.at_least);
                    }
                    of_row.squares *= self.variance[0][i];
                    sum.add(&of_row);
                }
                sums.push(((a, b), sum));
            }
        }
        LayerSums(sums)
    }

    /// The rectangles of a tile off the diagonal.
    pub(super) fn rectangles(
        &self,
        (top, left): (usize, usize),
        (rows, columns): (usize, usize),
    ) -> Vec<Rectangle> {
        let across: Vec<_> = self.among(1, left..left + columns).collect();
        let of_layer = |(a, rows): (usize, Range<usize>)| {
            let rectangle = move |(b, columns): &(usize, Range<usize>)| Rectangle {
                layers: (a, *b),
                rows: rows.start - top..rows.end - top,
                columns: columns.start - left..columns.end - left,
            };
            across.iter().map(rectangle).collect::<Vec<_>>()
        };
        self.among(0, top..top + rows).flat_map(of_layer).collect()
    }

    /// Standard deviation of every neuron, side after side (one side where both are the same), as a share of the largest of
    /// its layer.
    pub(super) fn sizes(&self, same: bool) -> Vec<f32> {
        let mut sizes = Vec::new();
        for side in 0..if same { 1 } else { 2 } {
            for (layer, neurons) in self.neurons[side].iter().enumerate() {
                let largest = self.largest[side][layer].max(f64::MIN_POSITIVE);
                let of_layer = self.variance[side][neurons.clone()].iter();
                sizes.extend(of_layer.map(|v| (v / largest).sqrt() as f32));
            }
        }
        sizes
    }

    /// The places of the layers of two neurons.
    fn of_pair(&self, i: usize, j: usize) -> (usize, usize) {
        let of = |side: usize, neuron: usize| {
            self.neurons[side].partition_point(|layer| layer.end <= neuron)
        };
        (of(0, i), of(1, j))
    }

    /// Strong pairs by their layers, and nothing else of them.
    pub(super) fn strong(&self, pairs: impl Iterator<Item = (usize, usize)>) -> LayerSums {
        let one = Sum {
            at_least: 1,
            ..Sum::default()
        };
        let counted = pairs.map(|(i, j)| (self.of_pair(i, j), one));
        LayerSums(counted.collect())
    }

    /// Nothing yet.
    pub(super) fn total(&self) -> Total {
        Total(Array2::default((self.names[0].len(), self.names[1].len())))
    }
}

impl Sum {
    /// One pair, whose right neuron has that variance.
    fn take(&mut self, r: f32, variance: f64, at_least: Option<f32>) {
        let size = r.abs();
        self.pairs += 1;
        self.size += f64::from(size);
        self.largest = self.largest.max(size);
        self.at_least += u64::from(at_least.is_some_and(|least| size >= least));
        self.squares += f64::from(r) * f64::from(r) * variance;
    }

    fn add(&mut self, other: &Self) {
        self.pairs += other.pairs;
        self.size += other.size;
        self.largest = self.largest.max(other.largest);
        self.at_least += other.at_least;
        self.squares += other.squares;
    }
}

impl Total {
    pub(super) fn add(&mut self, tile: &LayerSums) {
        for (at, sum) in &tile.0 {
            self.0[*at].add(sum);
        }
    }

    /// The pairs of a rectangle but for how many are strong; `squares` are those of shares of the largest variances.
    pub(super) fn add_rectangle(
        &mut self,
        layers: &Layers,
        rectangle: &Rectangle,
        size: f64,
        squares: f64,
        largest: f32,
    ) {
        let (a, b) = rectangle.layers;
        self.0[(a, b)].add(&Sum {
            pairs: rectangle.rows.len() as u64 * rectangle.columns.len() as u64,
            size,
            largest,
            at_least: 0,
            squares: squares * layers.largest[0][a] * layers.largest[1][b],
        });
    }

    pub(super) fn finish(self, layers: Layers) -> LayerPairs {
        let Self(mut sums) = self;
        if layers.same {
            // Each pair was seen once, with its left neuron in the lower layer.
            for a in 0..sums.nrows() {
                sums[(a, a)].squares *= 2.0;
                let variance = &layers.variance[0][layers.neurons[0][a].clone()];
                sums[(a, a)].squares += variance.iter().map(|v| v * v).sum::<f64>();
                for b in 0..a {
                    sums[(a, b)] = sums[(b, a)];
                }
            }
        }
        let [left, right] = layers.names;
        LayerPairs {
            left,
            right,
            pairs: sums.map(|sum| sum.pairs),
            mean: sums.map(|sum| sum.size / sum.pairs.max(1) as f64),
            largest: sums.map(|sum| sum.largest),
            at_least: layers.at_least.map(|_| sums.map(|sum| sum.at_least)),
            squares: sums.map(|sum| sum.squares),
        }
    }
}
