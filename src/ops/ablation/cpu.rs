//! The native path: a few samples side by side, f64 logits, a few classes at a time in registers.

use multiversion::{multiversion, target::target_cfg_f};
use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

use super::masks::Terms;
use super::{Params, partial, weighty};
use crate::labels::Labels;
use crate::ops::partial::first_largest;

/// Samples side by side: a neuron's values of them are one line of a cache.
const LANES: usize = 8;
/// Classes whose logits of that many samples fit the registers.
const TILE: usize = 4;
/// Masks whose lists of neurons are held at once.
const MASKS: usize = 64;

/// One value a sample.
type Lanes = [f64; LANES];

/// Right samples of each class under each mask, M × C. Sums of integers, so the order of threads does not matter.
pub(super) fn counts(x: ArrayView2<'_, f32>, labels: &Labels, params: &Params<'_>) -> Array2<u32> {
    let classes = params.weights.nrows();
    let probe = Probe::new(params);
    let masks: Vec<usize> = (0..params.masks.len()).collect();
    let mut counts = Array2::<u32>::zeros((masks.len(), classes));
    let out = counts.as_slice_mut().expect("a standard array");
    out.par_chunks_mut(MASKS * classes)
        .zip(masks.par_chunks(MASKS))
        .for_each(|(out, some)| {
            let terms = |mask: &usize| params.masks.terms(*mask, &probe.used);
            let terms: Vec<Terms> = some.iter().map(terms).collect();
            let found = (0..x.nrows().div_ceil(LANES))
                .into_par_iter()
                .fold(
                    || vec![0u32; out.len()],
                    |mut right, pack| {
                        let rows = pack * LANES..x.nrows().min((pack + 1) * LANES);
                        let ids = &labels.ids()[rows.clone()];
                        let deviations = deviations(x, rows.start, ids.len(), &probe.used, params);
                        probe.count(&deviations, ids, &terms, &mut right);
                        right
                    },
                )
                .reduce_with(added);
            if let Some(found) = found {
                out.copy_from_slice(&found);
            }
        });
    counts
}

fn added(mut sum: Vec<u32>, other: Vec<u32>) -> Vec<u32> {
    sum.iter_mut().zip(other).for_each(|(sum, n)| *sum += n);
    sum
}

/// x − a of some neurons for the samples from `first` on; surplus lanes repeat the last.
fn deviations(
    x: ArrayView2<'_, f32>,
    first: usize,
    samples: usize,
    neurons: &[usize],
    params: &Params<'_>,
) -> Vec<Lanes> {
    let rows: [_; LANES] = std::array::from_fn(|lane| x.row(first + lane.min(samples - 1)));
    let of = |&neuron: &usize| {
        let replaced = f64::from(params.ablated[neuron]);
        std::array::from_fn(|lane| f64::from(rows[lane][neuron]) - replaced)
    };
    neurons.iter().map(of).collect()
}

/// The probe as the inner loop reads it.
struct Probe {
    /// Logits of nothing kept; classes that fill the last tile are never predicted.
    initial: Vec<f64>,
    /// Neurons with any weight.
    used: Vec<usize>,
    /// Tile of classes by tile: neuron by neuron, [`TILE`] weights each.
    tiles: Vec<Vec<[f64; TILE]>>,
    classes: usize,
}

impl Probe {
    fn new(params: &Params<'_>) -> Self {
        let classes = params.weights.nrows();
        let used = weighty(params);
        let mut initial = partial(params).initial();
        initial.resize(classes.next_multiple_of(TILE), f64::NEG_INFINITY);
        let tile = |first: usize| {
            let weights = |&neuron: &usize| {
                std::array::from_fn(|class| match first + class < classes {
                    true => f64::from(params.weights[(first + class, neuron)]),
                    false => 0.0,
                })
            };
            used.iter().map(weights).collect()
        };
        Self {
            tiles: (0..classes).step_by(TILE).map(tile).collect(),
            initial,
            used,
            classes,
        }
    }

    /// Adds what the samples with these classes get right under each mask.
    fn count(&self, deviations: &[Lanes], ids: &[u32], masks: &[Terms], right: &mut [u32]) {
        let everything: Vec<u32> = (0..self.used.len() as u32).collect();
        let mut sums = [[0.0; LANES]; TILE];
        let mut whole = Vec::new();
        for (tile, weights) in self.tiles.iter().enumerate() {
            sum(&everything, weights, deviations, &mut sums);
            let initial = &self.initial[tile * TILE..];
            let logit = |(sums, initial): (&Lanes, &f64)| sums.map(|sum| initial + sum);
            whole.extend(sums.iter().zip(initial).map(logit));
        }
        let mut logits = vec![[0.0; LANES]; whole.len()];
        for (mask, right) in masks.iter().zip(right.chunks_exact_mut(self.classes)) {
            for (tile, weights) in self.tiles.iter().enumerate() {
                sum(&mask.places, weights, deviations, &mut sums);
                for (class, sums) in (tile * TILE..).zip(&sums) {
                    logits[class] = std::array::from_fn(|lane| match mask.from_whole {
                        true => whole[class][lane] - sums[lane],
                        false => self.initial[class] + sums[lane],
                    });
                }
            }
            for (predicted, &class) in first_largest(&logits).iter().zip(ids) {
                right[class as usize] += u32::from(*predicted == f64::from(class));
            }
        }
    }
}

/// Σ weight · deviation over the listed places, for a tile of classes.
#[multiversion(targets("x86_64+avx2+fma"))]
fn sum(places: &[u32], weights: &[[f64; TILE]], deviations: &[Lanes], out: &mut [Lanes; TILE]) {
    let fused = target_cfg_f!(target_feature = "fma");
    let mut sums = [[0.0; LANES]; TILE];
    for &place in places {
        // Every place is there; a panic that could end the loop would keep the sums out of the registers.
        let at = place as usize;
        let (Some(weights), Some(deviation)) = (weights.get(at), deviations.get(at)) else {
            continue;
        };
        for class in 0..TILE {
            for lane in 0..LANES {
                sums[class][lane] = if fused {
                    weights[class].mul_add(deviation[lane], sums[class][lane])
                } else {
                    weights[class] * deviation[lane] + sums[class][lane]
                };
            }
        }
    }
    *out = sums;
}
