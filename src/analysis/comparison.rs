//! How two studies differ: accuracies of independent samples, and where in the depth of two models salient neurons sit.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::uncertainty::wilson;
use crate::error::{Error, Result};

/// The difference of two shares of independent samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    /// The second share minus the first.
    pub difference: f64,
    /// Its 95 % interval.
    pub interval: [f64; 2],
}

/// `second − first`, each `(right, of)`, with the hybrid score interval of independent shares (Newcombe 1998, Statistics in
/// Medicine 17, 873–890, method 10): with the ends l and u of each share's Wilson interval, from
/// `d − √((p₂ − l₂)² + (u₁ − p₁)²)` to `d + √((u₂ − p₂)² + (p₁ − l₁)²)`.
///
/// # Errors
/// When one is of no samples, or more are right than there are.
pub fn newcombe(first: (usize, usize), second: (usize, usize)) -> Result<Difference> {
    for (right, of) in [first, second] {
        if of == 0 || right > of {
            return Err(Error::invalid(
                "difference of accuracies",
                format!("{right} right of {of} samples"),
                "Give at least one sample, and no more right ones than there are",
            ));
        }
    }
    let share = |(right, of): (usize, usize)| right as f64 / of as f64;
    let (p1, p2) = (share(first), share(second));
    let ([l1, u1], [l2, u2]) = (wilson(first.0, first.1), wilson(second.0, second.1));
    let difference = p2 - p1;
    Ok(Difference {
        difference,
        interval: [
            difference - (p2 - l2).hypot(u1 - p1),
            difference + (u2 - p2).hypot(p1 - l1),
        ],
    })
}

/// Where the neurons of two sets sit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Depths {
    /// Mean relative depth of each set: 0 in the first layer, 1 in the last.
    pub mean: [f64; 2],
    /// 1-Wasserstein distance of the two distributions over relative depth: how far, in depths of a model, a neuron of
    /// one set has to move on average to make it the other.
    pub distance: f64,
    /// Share of the draws, the found one among them, whose distance is at least that, where the neurons of both sets
    /// are shuffled and dealt out again.
    pub p: f64,
}

/// Compares two sets of neurons by layer (counts, lowest layer first); the models need not have as many layers. `None`
/// where a set is empty.
///
/// The null takes neurons as exchangeable: p says whether the two sets could be two draws from one distribution over
/// depth.
pub fn depths(first: &[usize], second: &[usize], draws: usize, seed: u64) -> Option<Depths> {
    let mut placed = Vec::new();
    for (counts, of_second) in [(first, false), (second, true)] {
        let last = counts.len().saturating_sub(1).max(1) as f64;
        for (layer, count) in counts.iter().enumerate() {
            placed.extend(std::iter::repeat_n(
                (layer as f64 / last, of_second),
                *count,
            ));
        }
    }
    placed.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (depths, mut second): (Vec<f64>, Vec<bool>) = placed.into_iter().unzip();
    let sizes = [false, true].map(|set| second.iter().filter(|of| **of == set).count());
    if sizes.contains(&0) {
        return None;
    }
    let mean = |set: bool| {
        let of = depths.iter().zip(&second).filter(|(_, of)| **of == set);
        of.map(|(depth, _)| depth).sum::<f64>() / sizes[usize::from(set)] as f64
    };
    let means = [mean(false), mean(true)];
    let found = wasserstein(&depths, &second, sizes);
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    // Sums of the same gaps in another order differ by rounding.
    let reached = |distance: f64| distance >= found * (1.0 - 1e-12);
    let mut extreme = 1;
    for _ in 0..draws {
        second.shuffle(&mut random);
        extreme += usize::from(reached(wasserstein(&depths, &second, sizes)));
    }
    Some(Depths {
        mean: means,
        distance: found,
        p: extreme as f64 / (draws + 1) as f64,
    })
}

/// ∫ |F₁ − F₂| of the sorted `depths`, those that `second` is true of against the others.
fn wasserstein(depths: &[f64], second: &[bool], sizes: [usize; 2]) -> f64 {
    let (mut below, mut distance) = ([0usize; 2], 0.0);
    for (at, gap) in depths.windows(2).enumerate() {
        below[usize::from(second[at])] += 1;
        let [a, b] = [below[0] * sizes[1], below[1] * sizes[0]];
        distance += a.abs_diff(b) as f64 * (gap[1] - gap[0]);
    }
    distance / (sizes[0] * sizes[1]) as f64
}

/// Jensen–Shannon divergence, base 2, of two distributions over the same things, from counts: 0 for the same shares, 1
/// where nothing is in both. `None` where one has no counts.
///
/// # Errors
/// When they are not over as many things.
pub fn jensen_shannon(first: &[usize], second: &[usize]) -> Result<Option<f64>> {
    if first.len() != second.len() {
        return Err(Error::invalid(
            "divergence of distributions",
            format!("over {} and {} things", first.len(), second.len()),
            "Compare distributions over the same things",
        ));
    }
    let [of_first, of_second] = [first, second].map(|counts| counts.iter().sum::<usize>() as f64);
    if of_first == 0.0 || of_second == 0.0 {
        return Ok(None);
    }
    let term = |share: f64, mean: f64| match share > 0.0 {
        true => share * (share / mean).log2(),
        false => 0.0,
    };
    let each = first.iter().zip(second).map(|(a, b)| {
        let (p, q) = (*a as f64 / of_first, *b as f64 / of_second);
        let mean = 0.5 * (p + q);
        0.5 * (term(p, mean) + term(q, mean))
    });
    Ok(Some(each.sum::<f64>().clamp(0.0, 1.0)))
}
