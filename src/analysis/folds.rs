//! Folds: which samples a cross-validation holds out together.
//!
//! Every fold gets about the same number of samples of every class (stratified), and, where sentences are known, all
//! samples of a sentence are in one fold: a word's neighbours would otherwise tell its answer. Same seed, same folds, on
//! every machine.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::error::{Error, Result};

/// The fold of each sample, 0 to `folds` − 1.
///
/// `strata` is what to spread evenly, one a sample (class ids; all 0 where there are none). `groups`, where given, is the
/// sentence of each sample. Without groups the samples of each class, shuffled, go to the folds in turn. With groups the
/// shuffled groups go, those of the most uneven classes first, to the fold that leaves the class shares most even (as
/// scikit-learn's `StratifiedGroupKFold`), of equals to the one with the fewest samples.
///
/// Cost: O(N), with groups O(groups · folds² · classes).
///
/// # Errors
/// When there are fewer than 2 folds, or fewer samples or groups than folds.
pub fn folds(
    strata: &[u32],
    groups: Option<&[u32]>,
    folds: usize,
    seed: u64,
) -> Result<Vec<usize>> {
    let members = groups.map(members);
    let (units, of) = match &members {
        Some(members) => (members.len(), "sentences"),
        None => (strata.len(), "samples"),
    };
    if folds < 2 || folds > units {
        return Err(Error::invalid(
            "folds",
            format!("{folds} folds of {units} {of}; 2 to {units} are allowed"),
            "5 or 10 are usual",
        ));
    }
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    Ok(match members {
        Some(members) => grouped(strata, members, folds, &mut random),
        None => in_turn(strata, folds, &mut random),
    })
}

/// The samples of each group, in the order of the groups' first samples.
fn members(groups: &[u32]) -> Vec<Vec<usize>> {
    let mut place = std::collections::HashMap::new();
    let mut members: Vec<Vec<usize>> = Vec::new();
    for (sample, group) in groups.iter().enumerate() {
        let at = *place.entry(*group).or_insert_with(|| {
            members.push(Vec::new());
            members.len() - 1
        });
        members[at].push(sample);
    }
    members
}

fn classes(strata: &[u32]) -> usize {
    strata
        .iter()
        .max()
        .map_or(0, |&largest| largest as usize + 1)
}

fn in_turn(strata: &[u32], folds: usize, random: &mut ChaCha8Rng) -> Vec<usize> {
    let mut order: Vec<usize> = (0..strata.len()).collect();
    order.shuffle(random);
    // Stable: the shuffled order stays inside a class. One count over all classes keeps the folds of equal size.
    order.sort_by_key(|&sample| strata[sample]);
    let mut fold = vec![0; strata.len()];
    for (turn, sample) in order.into_iter().enumerate() {
        fold[sample] = turn % folds;
    }
    fold
}

fn grouped(
    strata: &[u32],
    mut members: Vec<Vec<usize>>,
    folds: usize,
    random: &mut ChaCha8Rng,
) -> Vec<usize> {
    let classes = classes(strata);
    let count = |samples: &[usize]| {
        let mut counts = vec![0.0; classes];
        for &sample in samples {
            counts[strata[sample] as usize] += 1.0;
        }
        counts
    };
    members.shuffle(random);
    members.sort_by(|a, b| variance(&count(b)).total_cmp(&variance(&count(a))));
    let everything: Vec<usize> = (0..strata.len()).collect();
    let total = count(&everything);
    let mut held = vec![vec![0.0; classes]; folds];
    let mut fold = vec![0; strata.len()];
    for group in members {
        let counts = count(&group);
        let fits = |to: usize| {
            let uneven = unevenness(&held, &total, to, &counts);
            (uneven, held[to].iter().sum::<f64>())
        };
        let better = |a: &(f64, f64), b: &(f64, f64)| {
            // Rounding must not decide between folds that are equally good.
            if (a.0 - b.0).abs() > 1e-12 {
                a.0 < b.0
            } else {
                a.1 < b.1
            }
        };
        let mut best = (0, fits(0));
        for to in 1..folds {
            let candidate = fits(to);
            if better(&candidate, &best.1) {
                best = (to, candidate);
            }
        }
        for (held, count) in held[best.0].iter_mut().zip(&counts) {
            *held += count;
        }
        for sample in group {
            fold[sample] = best.0;
        }
    }
    fold
}

/// Mean over the classes of the sd over the folds of the share of the class, if fold `to` got `more`.
fn unevenness(held: &[Vec<f64>], total: &[f64], to: usize, more: &[f64]) -> f64 {
    let of_class = |class: usize| {
        let share = |fold: usize| {
            let extra = if fold == to { more[class] } else { 0.0 };
            (held[fold][class] + extra) / total[class].max(1.0)
        };
        let shares: Vec<f64> = (0..held.len()).map(share).collect();
        variance(&shares).sqrt()
    };
    (0..total.len()).map(of_class).sum::<f64>() / total.len() as f64
}

fn variance(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n
}
