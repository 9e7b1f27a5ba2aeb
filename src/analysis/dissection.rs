//! What a neuron's firing covers: intersection over union of thresholded neurons with concepts (Network Dissection, Bau
//! et al. 2017; for language, Mu & Andreas 2020).
//!
//! A concept is a set of samples (a class, a word, a pattern of words). A neuron fires on the samples above a threshold
//! that a share of them is above: `T_q` with P(a > T_q) = q, or, as its sign means nothing where no rectifier made it,
//! below one. `IoU = |fires ∩ concept| / |fires ∪ concept|`, precision = `|fires ∩ concept| / |fires|`, recall =
//! `|fires ∩ concept| / |concept|`.
//!
//! NeuroX's `iou_probe` is not this: it ranks neurons by average precision, the area below precision and recall over
//! every threshold. IoU is a figure of one threshold, at which `1/IoU = 1/precision + 1/recall − 1`; `analysis::single`
//! has average precision.
//!
//! p is that of the hypergeometric distribution: how likely a random set as large as the firing one shares so many
//! samples with the concept. It takes samples as exchangeable, which tokens of one text are not quite. Where several
//! thresholds are tried, a pair's best is the one of the largest IoU, and its p is multiplied by their number
//! (Bonferroni), so it stays a p. Over all pairs of a neuron and a concept q controls the false discovery rate
//! (`analysis::overlap`).
//!
//! Cost: `D · thresholds · (N + C · N / 64)` steps, in tiles of 16 neurons over all cores; up to `42 · D · C` bytes.

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

use super::overlap::{FalseDiscoveries, Hypergeometric};
use super::sample_sets::SampleSets;
use crate::error::{Error, Result};
use crate::ops::moments::{Moments, Spread};

/// Neurons of a tile: 64 bytes of a row.
const TILE: usize = 16;

/// On which side of its threshold a neuron fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// On larger values.
    Above,
    /// On smaller values.
    Below,
}

/// When a neuron fires.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Threshold {
    /// The share of the samples that it fires on: at most ⌊q·N⌋ of them, at least 1, and fewer where values are equal.
    pub quantile: f64,
    /// On which side.
    pub side: Side,
}

/// A neuron and a concept at the threshold of their largest IoU.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pair {
    /// The neuron.
    pub neuron: usize,
    /// The concept.
    pub concept: usize,
    /// Which threshold.
    pub threshold: usize,
    /// The value that the neuron must be above, or below.
    pub cut: f32,
    /// Samples that it fires on.
    pub fires: u32,
    /// Samples that it fires on and the concept covers.
    pub shared: u32,
    /// Intersection over union.
    pub iou: f64,
    /// Share of the samples it fires on that are of the concept.
    pub precision: f64,
    /// Share of the concept that it fires on.
    pub recall: f64,
    /// How likely a random set of as many samples shares so many, times the number of thresholds.
    pub p: f64,
    /// The false discovery rate at which the pair is a finding.
    pub q: f64,
}

/// All pairs of neurons and concepts.
#[derive(Debug, Clone)]
pub struct Dissection {
    /// Samples of each concept.
    sizes: Vec<u32>,
    /// D × thresholds.
    fires: Array2<u32>,
    cuts: Array2<f32>,
    /// D × C.
    shared: Array2<u32>,
    threshold: Array2<u8>,
    p: Array2<f64>,
    /// Of all pairs of a neuron that can fire and a concept that covers a sample.
    discoveries: FalseDiscoveries,
}

/// Every neuron of `x` (N × D) against every concept; `moments` are those of the same neurons. A neuron that does not,
/// or nearly does not, vary fires on nothing.
///
/// # Errors
/// When concepts or moments are of other samples or neurons, there is no threshold or more than 255, a quantile is not
/// above 0 and below 1, or a value is not finite.
pub fn dissect(
    x: ArrayView2<'_, f32>,
    moments: &Moments,
    concepts: &SampleSets,
    thresholds: &[Threshold],
) -> Result<Dissection> {
    check(x, moments, concepts, thresholds)?;
    let (samples, neurons) = x.dim();
    let chance = Hypergeometric::new(samples);
    let starts: Vec<usize> = (0..neurons).step_by(TILE).collect();
    let tiles: Vec<Tile> = starts
        .into_par_iter()
        .map(|start| {
            let of = start..neurons.min(start + TILE);
            Tile::new(x, moments, of, concepts, thresholds, &chance)
        })
        .collect();
    let joined = |part: fn(&Tile) -> &Vec<u32>| tiles.iter().flat_map(part).copied().collect();
    let fires: Vec<u32> = joined(|tile| &tile.fires);
    let shape = (neurons, concepts.len());
    let of_thresholds = (neurons, thresholds.len());
    let array = "tiles have a row for each of their neurons";
    let p: Vec<f64> = tiles.iter().flat_map(|tile| &tile.p).copied().collect();
    let p = Array2::from_shape_vec(shape, p).expect(array);
    let fires = Array2::from_shape_vec(of_thresholds, fires).expect(array);
    let sizes: Vec<u32> = (0..concepts.len()).map(|c| concepts.size(c)).collect();
    let tested = |(neuron, concept): (usize, usize)| {
        sizes[concept] > 0 && fires.row(neuron).iter().any(|fires| *fires > 0)
    };
    let tests = p.indexed_iter().filter(|(pair, _)| tested(*pair));
    Ok(Dissection {
        discoveries: FalseDiscoveries::new(tests.map(|(_, p)| *p).collect()),
        shared: Array2::from_shape_vec(shape, joined(|tile| &tile.shared)).expect(array),
        threshold: Array2::from_shape_vec(
            shape,
            tiles.iter().flat_map(|tile| &tile.best).copied().collect(),
        )
        .expect(array),
        cuts: Array2::from_shape_vec(
            of_thresholds,
            tiles.iter().flat_map(|tile| &tile.cuts).copied().collect(),
        )
        .expect(array),
        sizes,
        fires,
        p,
    })
}

fn check(
    x: ArrayView2<'_, f32>,
    moments: &Moments,
    concepts: &SampleSets,
    thresholds: &[Threshold],
) -> Result<()> {
    let refused = |problem: String, fix: &str| Err(Error::invalid("dissection", problem, fix));
    let (samples, neurons) = x.dim();
    if concepts.samples() != samples || moments.mean.len() != neurons {
        return refused(
            format!(
                "concepts of {} samples and moments of {} neurons for activations of {samples} × {neurons}",
                concepts.samples(),
                moments.mean.len()
            ),
            "Give concepts of the same samples and moments of the same neurons",
        );
    }
    if thresholds.is_empty() || thresholds.len() > 255 {
        return refused(
            format!("{} thresholds", thresholds.len()),
            "Give 1 to 255 of them",
        );
    }
    let outside = |t: &&Threshold| !(t.quantile > 0.0 && t.quantile < 1.0);
    if let Some(threshold) = thresholds.iter().find(outside) {
        return refused(
            format!("a quantile of {}", threshold.quantile),
            "Give shares of the samples above 0 and below 1, such as 0.05",
        );
    }
    if let Some(((row, neuron), value)) = x.indexed_iter().find(|(_, value)| !value.is_finite()) {
        return refused(
            format!("row {row}, neuron {neuron} is {value}"),
            "Every activation must be a finite number",
        );
    }
    Ok(())
}

/// Some neighbouring neurons against all concepts.
struct Tile {
    fires: Vec<u32>,
    cuts: Vec<f32>,
    shared: Vec<u32>,
    best: Vec<u8>,
    p: Vec<f64>,
}

impl Tile {
    fn new(
        x: ArrayView2<'_, f32>,
        moments: &Moments,
        neurons: std::ops::Range<usize>,
        concepts: &SampleSets,
        thresholds: &[Threshold],
        chance: &Hypergeometric,
    ) -> Self {
        let pairs = neurons.len() * concepts.len();
        let mut tile = Self {
            fires: Vec::with_capacity(neurons.len() * thresholds.len()),
            cuts: Vec::with_capacity(neurons.len() * thresholds.len()),
            shared: Vec::with_capacity(pairs),
            best: Vec::with_capacity(pairs),
            p: Vec::with_capacity(pairs),
        };
        let samples = x.nrows();
        // Row by row through the tile's columns: a column alone would fetch a line of the cache for every value.
        let mut columns = vec![0.0f32; neurons.len() * samples];
        for (sample, row) in x.rows().into_iter().enumerate() {
            for (at, neuron) in neurons.clone().enumerate() {
                columns[at * samples + sample] = row[neuron];
            }
        }
        let mut sets = SampleSets::new(samples).expect("the concepts have as many samples");
        let mut sorted = Vec::new();
        for (values, neuron) in columns.chunks_exact(samples).zip(neurons) {
            sets.clear();
            for threshold in thresholds {
                let cut = cut(values, threshold, &mut sorted);
                let varies = moments.spread[neuron] == Spread::Varies;
                match threshold.side {
                    Side::Above => sets.push(|sample| varies && values[sample] > cut),
                    Side::Below => sets.push(|sample| varies && values[sample] < cut),
                }
                tile.cuts.push(cut);
            }
            tile.add(&sets, concepts, chance);
        }
        tile
    }

    /// A neuron, whose `sets` are what it fires on at each threshold.
    fn add(&mut self, sets: &SampleSets, concepts: &SampleSets, chance: &Hypergeometric) {
        let tried = sets.len();
        self.fires.extend((0..tried).map(|t| sets.size(t)));
        let shared = sets.shared(concepts);
        for concept in 0..concepts.len() {
            let size = concepts.size(concept);
            let of = |t: usize| shared[t * concepts.len() + concept];
            let iou = |t: usize| iou(of(t), sets.size(t), size);
            let mut best = 0;
            for t in 1..tried {
                if iou(t) > iou(best) {
                    best = t;
                }
            }
            let p = chance.at_least(of(best) as usize, sets.size(best) as usize, size as usize);
            self.shared.push(of(best));
            self.best.push(best as u8);
            self.p.push((p * tried as f64).min(1.0));
        }
    }
}

/// The value that at most ⌊q·N⌋ of the values, at least 1, are strictly above or below.
fn cut(values: &[f32], threshold: &Threshold, sorted: &mut Vec<f32>) -> f32 {
    let share = (threshold.quantile * values.len() as f64).floor() as usize;
    let fires = share.max(1).min(values.len() - 1);
    let at = match threshold.side {
        Side::Above => values.len() - 1 - fires,
        Side::Below => fires,
    };
    sorted.clear();
    sorted.extend_from_slice(values);
    *sorted.select_nth_unstable_by(at, f32::total_cmp).1
}

fn iou(shared: u32, fires: u32, size: u32) -> f64 {
    let union = u64::from(fires) + u64::from(size) - u64::from(shared);
    match union {
        0 => 0.0,
        union => f64::from(shared) / union as f64,
    }
}

fn share(part: u32, whole: u32) -> f64 {
    match whole {
        0 => 0.0,
        whole => f64::from(part) / f64::from(whole),
    }
}

impl Dissection {
    /// A neuron and a concept.
    pub fn pair(&self, neuron: usize, concept: usize) -> Pair {
        let at = (neuron, concept);
        let threshold = usize::from(self.threshold[at]);
        let (fires, shared, size) = (
            self.fires[(neuron, threshold)],
            self.shared[at],
            self.sizes[concept],
        );
        let p = self.p[at];
        Pair {
            neuron,
            concept,
            threshold,
            cut: self.cuts[(neuron, threshold)],
            fires,
            shared,
            iou: iou(shared, fires, size),
            precision: share(shared, fires),
            recall: share(shared, size),
            p,
            q: self.discoveries.q(p),
        }
    }

    /// The concepts of a neuron's largest IoU, at most `most`, ties by id; those that it shares no sample with are left
    /// out.
    pub fn of_neuron(&self, neuron: usize, most: usize) -> Vec<Pair> {
        let pairs = (0..self.sizes.len()).map(|concept| (neuron, concept));
        self.best(pairs, most)
    }

    /// The neurons of a concept's largest IoU, at most `most`, ties by id; those that share no sample with it are left
    /// out.
    pub fn of_concept(&self, concept: usize, most: usize) -> Vec<Pair> {
        let pairs = (0..self.p.nrows()).map(|neuron| (neuron, concept));
        self.best(pairs, most)
    }

    fn best(&self, pairs: impl Iterator<Item = (usize, usize)>, most: usize) -> Vec<Pair> {
        let of = |at: (usize, usize)| {
            let fires = self.fires[(at.0, usize::from(self.threshold[at]))];
            iou(self.shared[at], fires, self.sizes[at.1])
        };
        let shares = pairs.filter(|at| self.shared[*at] > 0);
        let mut found: Vec<(f64, (usize, usize))> = shares.map(|at| (of(at), at)).collect();
        // Stable: equal ones stay in the order of their ids.
        found.sort_by(|a, b| b.0.total_cmp(&a.0));
        found.truncate(most);
        let pair = |(_, (neuron, concept))| self.pair(neuron, concept);
        found.into_iter().map(pair).collect()
    }

    /// Pairs of a neuron that fires and a concept that covers a sample: so many tests are made.
    pub fn tests(&self) -> usize {
        self.discoveries.tests()
    }

    /// Pairs that are findings at a false discovery rate.
    pub fn findings(&self, rate: f64) -> usize {
        self.discoveries.at(rate)
    }
}
