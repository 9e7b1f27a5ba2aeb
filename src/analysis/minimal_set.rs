//! Minimal sets: how few neurons suffice when the probe is retrained on the first k of an ordering (Dalvi et al. 2019;
//! Durrani et al. 2023, step 3).
//!
//! Dev decides. A [`Ladder`] retrains at fixed sizes from below until one suffices: the answer is the first rung, up to one
//! step too large. Bisection retrains between a size that does not suffice and one that does until they are neighbours: the
//! answer is exact to one neuron, the smallest only if accuracy grows with size, and takes about log₂ D probes, most of them
//! small.

use std::collections::BTreeMap;

use super::search::{Penalties, Prober, Search, Target};
use crate::error::{Error, Result};

/// Rungs of the default ladder.
pub const RUNGS: usize = 24;

/// Sizes to retrain at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Ladder {
    /// [`ladder`].
    #[default]
    Geometric,
    /// [`reference_ladder`].
    Reference,
    /// [`fine_ladder`].
    Fine,
    /// [`max_features_ladder`].
    MaxFeatures,
    /// These.
    Sizes(Vec<usize>),
}

impl Ladder {
    /// Its sizes for an ordering of so many neurons, ascending.
    pub fn sizes(&self, neurons: usize) -> Vec<usize> {
        match self {
            Self::Geometric => ladder(neurons),
            Self::Reference => reference_ladder(neurons),
            Self::Fine => fine_ladder(neurons),
            Self::MaxFeatures => max_features_ladder(neurons),
            Self::Sizes(sizes) => {
                let mut sizes = sizes.clone();
                sizes.sort_unstable();
                sizes.dedup();
                sizes
            }
        }
    }
}

/// How a sufficient size is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SizeSearch {
    /// Up a ladder.
    Ladder(Ladder),
    /// Between a size that does not suffice and one that does.
    Bisection,
}

/// A geometric ladder: about [`RUNGS`] sizes from a thousandth of the neurons to all of them, ascending.
///
/// The step is about 1.35 for thousands of neurons: a minimal set is that much too large at most, and the whole ladder
/// costs about four probes on all neurons.
pub fn ladder(neurons: usize) -> Vec<usize> {
    let all = neurons as f64;
    let first = (all / 1000.0).max(1.0);
    let mut sizes: Vec<usize> = (0..RUNGS)
        .map(|rung| first * (all / first).powf(rung as f64 / (RUNGS - 1) as f64))
        .map(|size| (size.round() as usize).clamp(1, neurons.max(1)))
        .collect();
    sizes.dedup();
    sizes
}

/// The ladder of Dalvi et al. 2020 (their `run_pipeline_all`): 0.1 … 0.5 %, 1 … 10 %, 15 … 50 %, 60 … 90 % of the neurons,
/// rounded down: 27 rungs; and all of them.
pub fn reference_ladder(neurons: usize) -> Vec<usize> {
    of_thousandths(
        neurons,
        (1..=5)
            .chain((10..=100).step_by(10))
            .chain((150..=500).step_by(50)),
    )
}

/// The fine ladder of Sharma et al. 2023 (token tagging): 0.1, 0.3 … 9.9 %, 10, 15 … 50 %, 60 … 90 % of the neurons, rounded
/// down: 63 rungs; and all of them.
pub fn fine_ladder(neurons: usize) -> Vec<usize> {
    of_thousandths(neurons, (1..100).step_by(2).chain((100..=500).step_by(50)))
}

/// The ladder of Dalvi et al. 2020's `max_features` runs: 0.1, 0.2 … 10 %, 15 … 50 %, 60 … 90 % of the neurons, rounded down:
/// 112 rungs; and all of them.
pub fn max_features_ladder(neurons: usize) -> Vec<usize> {
    of_thousandths(neurons, (1..=100).chain((150..=500).step_by(50)))
}

/// These thousandths of the neurons, 60 … 90 %, and all.
fn of_thousandths(neurons: usize, first: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut sizes: Vec<usize> = first
        .chain((600..=1000).step_by(100))
        .map(|share| share * neurons / 1000)
        .filter(|&size| size > 0)
        .collect();
    sizes.dedup();
    sizes
}

/// The prefixes of one ordering, to be retrained.
#[derive(Debug, Clone, Copy)]
pub struct Prefixes<'a, 'p> {
    /// Fits and judges.
    pub prober: &'a Prober<'p>,
    /// The task.
    pub target: Target<'a>,
    /// The neurons, most salient first.
    pub order: &'a [usize],
    /// Penalties that every size tries.
    pub penalties: &'a Penalties,
    /// The probe on all of `order`, where it is already known.
    pub whole: Option<&'a Search>,
}

impl Prefixes<'_, '_> {
    /// Retrains on prefixes until it is known for each of the dev accuracies `required` how long one must be to exceed it;
    /// read the answers with [`smallest`]. The sizes that were tried, ascending. Bisection tries the whole ordering first
    /// and no other size for an accuracy that it does not exceed. `progress` hears the share that is done, 0 to 1.
    ///
    /// # Errors
    /// As [`climb`].
    pub fn find(
        &self,
        how: &SizeSearch,
        required: &[f64],
        progress: &mut dyn FnMut(f64),
    ) -> Result<Vec<Rung>> {
        match how {
            SizeSearch::Bisection => self.bisect(required, progress),
            SizeSearch::Ladder(ladder) => {
                let strictest = required.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                climb(
                    self.prober,
                    self.target,
                    self.order,
                    &ladder.sizes(self.order.len()),
                    self.penalties,
                    strictest,
                    self.whole,
                    progress,
                )
            }
        }
    }

    fn bisect(&self, required: &[f64], progress: &mut dyn FnMut(f64)) -> Result<Vec<Rung>> {
        let retrain = |size: usize| {
            let neurons = &self.order[..size];
            self.prober
                .search(neurons, self.target, self.penalties, &mut |_| {})
        };
        let all = self.order.len();
        if all == 0 {
            return Err(Error::invalid(
                "bisection",
                "the ordering is empty",
                "Give at least one neuron",
            ));
        }
        let whole = match self.whole {
            Some(known) => known.clone(),
            None => retrain(all)?,
        };
        let mut tried = BTreeMap::from([(all, whole)]);
        // From the easiest on: what a harder one needs is never shorter, so each bracket starts where the last one ended.
        let mut required = required.to_vec();
        required.sort_by(f64::total_cmp);
        let mut share = 0.0_f64;
        for (at, &required) in required.iter().enumerate() {
            let enough = |search: &Search| search.dev_accuracy > required;
            let Some(mut high) = tried.iter().find(|t| enough(t.1)).map(|t| *t.0) else {
                continue;
            };
            let mut low = tried.range(..high).next_back().map_or(0, |t| *t.0);
            let steps = |low: usize, high: usize| ((high - low) as f64).log2().max(0.0);
            let first = steps(low, high).max(1.0);
            while high - low > 1 {
                // The middle on a logarithmic scale: small probes are cheap.
                let middle = (low.max(1) as f64 * high as f64).sqrt() as usize;
                let middle = middle.clamp(low + 1, high - 1);
                let search = retrain(middle)?;
                if enough(&search) {
                    high = middle;
                } else {
                    low = middle;
                }
                tried.insert(middle, search);
                let here = (1.0 - steps(low, high) / first).max(0.0);
                share = share.max((at as f64 + here) / (at + 1) as f64);
                progress(share.min(1.0));
            }
        }
        let rung = |(size, search)| Rung { size, search };
        Ok(tried.into_iter().map(rung).collect())
    }
}

/// One size of a ladder.
#[derive(Debug, Clone)]
pub struct Rung {
    /// Number of neurons: the first so many of the ordering.
    pub size: usize,
    /// The probe that was retrained on them.
    pub search: Search,
}

/// Retrains on the first k neurons of `order` for ascending `sizes`, until one exceeds the dev accuracy `required` or the
/// sizes end. Sizes beyond the ordering are cut to it; the whole ordering is always the last size.
///
/// One climb answers every δ: ask with the accuracy that the smallest δ requires, then read each with [`smallest`]. `whole`
/// is the probe on all of `order` where it is already known. `progress` hears the share that is done, 0 to 1; it ends early
/// when the climb does.
///
/// # Errors
/// When the ordering is empty or the sizes do not ascend from at least 1; as [`Prober::search`].
#[expect(
    clippy::too_many_arguments,
    reason = "data, question and answer of one experiment"
)]
pub fn climb(
    prober: &Prober<'_>,
    target: Target<'_>,
    order: &[usize],
    sizes: &[usize],
    penalties: &Penalties,
    required: f64,
    whole: Option<&Search>,
    progress: &mut dyn FnMut(f64),
) -> Result<Vec<Rung>> {
    let ascending = sizes.first().is_none_or(|&s| s > 0) && sizes.windows(2).all(|s| s[0] < s[1]);
    if order.is_empty() || !ascending {
        return Err(Error::invalid(
            "ladder",
            format!("sizes {sizes:?} of an ordering of {}", order.len()),
            "Give ascending sizes from 1 on, and at least one neuron",
        ));
    }
    let mut sizes: Vec<usize> = sizes.iter().copied().filter(|&s| s < order.len()).collect();
    sizes.push(order.len());
    let total: usize = sizes.iter().sum();
    let mut done = 0;
    let mut rungs: Vec<Rung> = Vec::with_capacity(sizes.len());
    for size in sizes {
        let search = match whole {
            Some(known) if size == order.len() => known.clone(),
            _ => prober.search(&order[..size], target, penalties, &mut |share| {
                progress((done as f64 + share * size as f64) / total as f64);
            })?,
        };
        done += size;
        let enough = search.dev_accuracy > required;
        rungs.push(Rung { size, search });
        if enough {
            break;
        }
    }
    Ok(rungs)
}

/// The smallest rung whose dev accuracy exceeds `required`; the largest where none does. `None` of no rungs.
pub fn smallest(rungs: &[Rung], required: f64) -> Option<&Rung> {
    let enough = |rung: &&Rung| rung.search.dev_accuracy > required;
    rungs.iter().find(enough).or(rungs.last())
}
