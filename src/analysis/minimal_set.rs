//! Minimal sets: how few neurons suffice when the probe is retrained on the first k of an ordering (Dalvi et al. 2019;
//! Durrani et al. 2023, step 3).

use super::search::{Penalties, Prober, Search, Target};
use crate::error::{Error, Result};

/// Rungs of the default ladder.
pub const RUNGS: usize = 24;

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
/// rounded down, and all of them.
pub fn reference_ladder(neurons: usize) -> Vec<usize> {
    let thousandths = (1..=5)
        .chain((10..=100).step_by(10))
        .chain((150..=500).step_by(50))
        .chain((600..=1000).step_by(100));
    let mut sizes: Vec<usize> = thousandths
        .map(|share| share * neurons / 1000)
        .filter(|&size| size > 0)
        .collect();
    sizes.dedup();
    sizes
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
