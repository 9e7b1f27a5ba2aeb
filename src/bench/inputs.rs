//! Synthetic data, seeded: what matters to speed is their number, and to the gates that they are known.

use ndarray::Array2;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::error::Result;
use crate::labels::Labels;

/// A generator for one row of one input.
pub(super) fn random(seed: u64, row: usize) -> ChaCha8Rng {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(row as u64);
    random
}

/// Each value by the generator of its row.
fn filled(
    (rows, columns): (usize, usize),
    seed: u64,
    row: impl Fn(&mut ChaCha8Rng, &mut [f32]) + Sync,
) -> Array2<f32> {
    let mut values = Array2::zeros((rows, columns));
    let whole = values.as_slice_mut().expect("it was made here");
    let each = whole.par_chunks_mut(columns).enumerate();
    each.for_each(|(at, out)| row(&mut random(seed, at), out));
    values
}

/// Neurons that share a component, with means of their own.
pub(super) fn activations(samples: usize, neurons: usize, seed: u64) -> Array2<f32> {
    filled((samples, neurons), seed, |random, out| {
        let common: f32 = random.random_range(-1.0..1.0);
        for (neuron, value) in out.iter_mut().enumerate() {
            let mean = (neuron % 7) as f32 - 3.0;
            *value = mean + 0.3 * common + random.random_range(-1.0f32..1.0);
        }
    })
}

/// Neurons of a group of [`groups`]: more than are asked for as partners.
const GROUP: usize = 32;

/// Neurons in groups of 32, whose members lie far apart and share a component, each by another weight and every other one
/// with the other sign: |r| in a group goes from 0.9, of its first members, to 0.3. When pairs of the last members come, the
/// best partners of each are known, and nothing but the threshold keeps these pairs.
pub(super) fn groups(samples: usize, neurons: usize, seed: u64) -> Array2<f32> {
    let groups = neurons.div_ceil(GROUP);
    filled((samples, neurons), seed, |random, out| {
        let common: Vec<f32> = (0..groups)
            .map(|_| random.random_range(-1.0..1.0))
            .collect();
        for (neuron, value) in out.iter_mut().enumerate() {
            let (member, group) = (neuron / groups, neuron % groups);
            let mean = (neuron % 7) as f32 - 3.0;
            let sign = if member.is_multiple_of(2) { 1.0 } else { -1.0 };
            let weight = sign * (3.0 - 2.4 * member as f32 / (GROUP - 1) as f32);
            *value = mean + weight * common[group] + random.random_range(-1.0f32..1.0);
        }
    })
}

/// Whole numbers from −8 to 8: sums of their products are exact in f32 up to 262,144 terms.
pub(super) fn whole_numbers(rows: usize, columns: usize, seed: u64) -> Array2<f32> {
    filled((rows, columns), seed, |random, out| {
        for value in out {
            *value = random.random_range(-8i8..=8).into();
        }
    })
}

/// Classes drawn alike.
pub(super) fn labels(samples: usize, classes: u32, seed: u64) -> Result<Labels> {
    let mut random = random(seed, 0);
    let ids = (0..samples).map(|_| random.random_range(0..classes));
    let ids = ids.collect();
    Labels::new(
        ids,
        (0..classes).map(|class| format!("class {class}")).collect(),
    )
}

/// At most so many of 0..all, ascending: the first, the last, and one anywhere in each of as many equal parts between, so that
/// no regular pattern of faults (every eighth row, say) can fall between them.
pub(super) fn sampled(all: usize, most: usize) -> Vec<usize> {
    if all <= most.max(3) {
        return (0..all).collect();
    }
    let parts = most.saturating_sub(2).max(1);
    let mut random = random(12, all);
    let bound = |part: usize| 1 + part * (all - 2) / parts;
    let between = (0..parts).map(|part| random.random_range(bound(part)..bound(part + 1)));
    let mut places = vec![0];
    places.extend(between);
    places.push(all - 1);
    places
}
