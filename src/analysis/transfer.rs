//! Transfer: do neurons that were found in one model carry the task in another whose neurons correspond to them, a model and
//! one fine-tuned from it, say? They are retrained on the other's data, beside as many neurons that the other itself prefers
//! and beside random sets of that size: only what does better than random neurons was carried over.
//!
//! All probes choose among the same penalties on dev; test is read when the last of them is frozen.

use ndarray::ArrayView2;

use super::bootstrap::Units;
use super::frozen::Frozen;
use super::search::{Penalties, Prober, Search, Target, accuracy, count};
use super::selectivity::Selectivity;
use super::uncertainty::{Paired, paired, permutation_p};
use crate::error::{Error, Result};
use crate::labels::Labels;

/// Sets of as many neurons each.
#[derive(Debug, Clone, Copy)]
pub struct Sets<'a> {
    /// Found in the other model, to be tried in this one.
    pub carried: &'a [usize],
    /// What this model itself prefers.
    pub own: &'a [usize],
    /// Random ones, at least one.
    pub random: &'a [Vec<usize>],
}

/// How a retrained set does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// Accuracy on dev.
    pub dev_accuracy: f64,
    /// Accuracy on test.
    pub test_accuracy: f64,
}

/// A set that was carried over, beside the others.
#[derive(Debug, Clone, PartialEq)]
pub struct Transfer {
    /// The carried set.
    pub carried: Figures,
    /// The model's own.
    pub own: Figures,
    /// Samples of test that the carried set and the own one get right.
    pub correct: [usize; 2],
    /// The random ones.
    pub random: Vec<Figures>,
    /// The own set (first) and the carried one (second) on the same samples of test.
    pub against_own: Paired,
    /// Test accuracy of the carried set − mean of the random sets'.
    pub above_random: f64,
    /// Its 95 % interval over test's units and random sets, by the formula of [`Selectivity`], whose draws are crossed with
    /// samples in the same way; `None` of a single random set or unit.
    pub above_random_interval: Option<[f64; 2]>,
    /// Random sets that are at least as good on test.
    pub as_good: usize,
    /// `(1 + as_good) / (R + 1)` of R random sets.
    pub p: f64,
}

/// Retrains all sets on train, each at the penalty that dev prefers, and judges them on `test`: raw activations, labels and
/// sentences or samples. The figures of a set depend on that set alone. `progress` hears the share that is done, 0 to 1.
///
/// # Errors
/// When the sets differ in size, are empty, or there are no random ones; as [`Prober::search`].
pub fn transfer(
    prober: &Prober<'_>,
    target: Target<'_>,
    penalties: &Penalties,
    sets: Sets<'_>,
    (test, labels, units): (ArrayView2<'_, f32>, &Labels, &Units),
    progress: &mut dyn FnMut(f64),
) -> Result<Transfer> {
    let size = sets.carried.len();
    let alike = sets.own.len() == size && sets.random.iter().all(|set| set.len() == size);
    if size == 0 || sets.random.is_empty() || !alike {
        return Err(Error::invalid(
            "sets to transfer",
            format!(
                "{size} carried neurons, {} of the model's own, and {} random sets",
                sets.own.len(),
                sets.random.len()
            ),
            "Give sets of the same size, at least one neuron and one random set",
        ));
    }
    let alone = |set: &[usize]| prober.search(set, target, penalties, &mut |_| {});
    let (carried, own) = (alone(sets.carried)?, alone(sets.own)?);
    let random = prober.search_sets(sets.random, target, penalties, progress)?;
    // From here on nothing is chosen.
    let judge = |search: &Search| -> Result<(Figures, Vec<bool>)> {
        let hits = Frozen::of(&search.fit).hits(test, labels)?;
        let figures = Figures {
            dev_accuracy: search.dev_accuracy,
            test_accuracy: accuracy(&hits),
        };
        Ok((figures, hits))
    };
    let (carried, right) = judge(&carried)?;
    let (own, own_right) = judge(&own)?;
    let judged: Vec<_> = random.iter().map(judge).collect::<Result<_>>()?;
    let random_right: Vec<&[bool]> = judged.iter().map(|(_, hits)| &**hits).collect();
    let above = Selectivity::of(&right, &random_right, units)?;
    let random: Vec<Figures> = judged.iter().map(|(figures, _)| *figures).collect();
    let of_random: Vec<f64> = random.iter().map(|figures| figures.test_accuracy).collect();
    let as_good = of_random.iter().filter(|&&a| a >= carried.test_accuracy);
    Ok(Transfer {
        carried,
        own,
        correct: [&right, &own_right].map(|hits| count(hits)),
        against_own: paired(&own_right, &right)?,
        above_random: above.value,
        above_random_interval: above.interval,
        as_good: as_good.count(),
        p: permutation_p(carried.test_accuracy, &of_random),
        random,
    })
}
