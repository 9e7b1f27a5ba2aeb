//! How few neurons suffice: prefixes of an ordering, retrained, and the same after layer selection and clustering.

use super::records::{Tally, certificate, judge, paired};
use super::results::{self, LayerSelection, MinimalSet};
use super::spec::{ClusterSpec, CombinedSpec, MinimalSetSpec};
use super::survey;
use crate::activations::LayerMap;
use crate::analysis::combined::{self, Base, Plan};
use crate::analysis::layers::required;
use crate::analysis::minimal_set::{climb, ladder, smallest};
use crate::analysis::search::{Penalties, Prober, Search, Target};
use crate::error::Result;
use crate::labels::Labels;
use crate::ops::correlation::Correlation;
use crate::ops::moments::Spread;
use crate::split::Split;

/// Penalties on either side of the chosen one that a smaller set of neurons tries.
const NEIGHBOURS: usize = 1;

/// What smaller sets of neurons are measured against.
#[derive(Clone, Copy)]
pub(super) struct Goal<'a> {
    /// Labels of train and dev.
    pub target: Target<'a>,
    /// Test and its labels.
    pub test: (&'a Split, &'a Labels),
    /// The penalties of the study.
    pub penalties: &'a Penalties,
    /// The probe on all neurons.
    pub oracle: &'a Search,
    /// Which test samples it gets right.
    pub oracle_hits: &'a [bool],
}

/// The smallest sufficient prefix of one ordering for every δ: one climb answers them all.
///
/// # Errors
/// When a fit fails.
pub(super) fn minimal_sets(
    prober: &Prober<'_>,
    spec: &MinimalSetSpec,
    (name, order): (&str, &[usize]),
    goal: Goal<'_>,
    tally: &mut Tally,
    progress: &mut dyn FnMut(f64),
) -> Result<Vec<MinimalSet>> {
    let Some(strictest) = spec.deltas.iter().copied().reduce(f64::min) else {
        return Ok(Vec::new());
    };
    let mut sizes = spec.ladder.clone();
    if sizes.is_empty() {
        sizes = ladder(order.len());
    }
    sizes.sort_unstable();
    sizes.dedup();
    let dev = goal.oracle.dev_accuracy;
    let rungs = climb(
        prober,
        goal.target,
        order,
        &sizes,
        &goal.penalties.near(goal.oracle, NEIGHBOURS),
        required(dev, strictest),
        Some(goal.oracle),
        progress,
    )?;
    // The whole ordering is the oracle, which is counted already.
    let own = rungs.iter().filter(|rung| rung.size < order.len());
    own.for_each(|rung| tally.add(&rung.search));
    let tried: Vec<results::Rung> = rungs
        .iter()
        .map(|rung| results::Rung {
            size: rung.size,
            dev_accuracy: rung.search.dev_accuracy,
        })
        .collect();
    let mut sets = Vec::new();
    for &delta in &spec.deltas {
        let Some(rung) = smallest(&rungs, required(dev, delta)) else {
            continue;
        };
        let judged = judge(&rung.search, goal.test.0, goal.test.1)?;
        sets.push(MinimalSet {
            ranking: name.to_owned(),
            delta,
            size: rung.size,
            neurons: order[..rung.size].to_vec(),
            dev_accuracy: rung.search.dev_accuracy,
            test_accuracy: judged.accuracy,
            test_interval: judged.interval,
            against_oracle: paired(goal.oracle_hits, &judged.hits)?,
            ladder: tried.clone(),
            certificate: certificate(&rung.search.fit.certificate),
        });
    }
    Ok(sets)
}

/// Layer selection, then correlation clustering, then LCA, then a minimal set: one result for each selected layer and
/// threshold. The minimal set's δ is a share of the dev accuracy on the representatives, as in Dalvi et al. 2020.
///
/// Layers none of whose neurons varies give none.
///
/// # Errors
/// When a fit fails.
pub(super) fn combine(
    prober: &Prober<'_>,
    (spec, clusters): (&CombinedSpec, &ClusterSpec),
    (map, correlation): (&LayerMap, &Correlation),
    selections: &[LayerSelection],
    goal: Goal<'_>,
    tally: &mut Tally,
    progress: &mut dyn FnMut(f64),
) -> Result<Vec<results::Combined>> {
    let plan = Plan {
        correlation,
        linkage: survey::linkage(clusters),
        distance: survey::distance(clusters),
        thresholds: &spec.thresholds,
        penalties: goal.penalties,
        neighbours: NEIGHBOURS,
        ladder,
        base: Base::Representatives,
        set_delta: spec.set_delta,
    };
    let mut found: Vec<results::Combined> = Vec::new();
    for (at, selection) in selections.iter().enumerate() {
        // Several δ often select the same layer.
        let known: Vec<_> = found
            .iter()
            .filter(|c| c.layer == selection.layer && c.delta == selections[at - 1].delta)
            .cloned()
            .collect();
        if !known.is_empty() {
            found.extend(known.into_iter().map(|c| results::Combined {
                delta: selection.delta,
                ..c
            }));
            continue;
        }
        let columns: Vec<usize> = (0..map.columns(selection.layer).end).collect();
        if !columns
            .iter()
            .any(|&n| prober.moments.spread[n] == Spread::Varies)
        {
            continue;
        }
        let share = |done: f64| (at as f64 + done) / selections.len() as f64;
        for one in combined::combine(prober, goal.target, &columns, &plan, &mut |done| {
            progress(share(done));
        })? {
            tally.add(&one.clusters);
            tally.add(&one.set);
            found.push(record(selection, spec.set_delta, one, goal)?);
        }
    }
    Ok(found)
}

fn record(
    selection: &LayerSelection,
    set_delta: f64,
    one: combined::Combined,
    goal: Goal<'_>,
) -> Result<results::Combined> {
    let judged = judge(&one.set, goal.test.0, goal.test.1)?;
    Ok(results::Combined {
        delta: selection.delta,
        set_delta,
        threshold: one.threshold,
        layer: selection.layer,
        layer_neurons: selection.neurons,
        clusters: one.representatives.len(),
        clusters_dev_accuracy: one.clusters.dev_accuracy,
        size: one.neurons.len(),
        neurons: one.neurons,
        dev_accuracy: one.set.dev_accuracy,
        test_accuracy: judged.accuracy,
        test_interval: judged.interval,
        against_oracle: paired(goal.oracle_hits, &judged.hits)?,
        certificate: certificate(&one.set.fit.certificate),
    })
}
