//! How few neurons suffice: prefixes of an ordering, retrained, and the same after layer selection and clustering.

use std::collections::BTreeMap;

use super::layers::reaches;
use super::probing::{Penalty, Probe, Prober, Target, accuracy, certificate, correct};
use super::results::{Combined, LayerSelection, MinimalSet, Paired, Rung};
use super::spec::{ClusterSpec, CombinedSpec};
use super::survey;
use crate::activations::LayerMap;
use crate::analysis::{ranking, redundancy, uncertainty};
use crate::error::Result;
use crate::ops::correlation::Correlation;

/// How much larger than the one before a rung of the ladder is.
const STEP: f64 = 1.5;

/// The search between two rungs ends when they are this much apart.
const REFINE: f64 = 1.1;

/// What prefixes are retrained for.
#[derive(Clone, Copy)]
pub(super) struct Goal<'a> {
    /// The labels.
    pub target: Target<'a>,
    /// The penalties to choose from at every size.
    pub penalties: &'a [Penalty],
    /// The dev accuracy that a loss is taken from.
    pub of: f64,
    /// Which test samples the oracle gets right.
    pub oracle_hits: &'a [bool],
}

/// Probes on prefixes of an ordering, by size.
pub(super) struct Climb<'a> {
    goal: Goal<'a>,
    order: &'a [usize],
    tried: BTreeMap<usize, Probe>,
}

impl<'a> Climb<'a> {
    pub(super) fn new(goal: Goal<'a>, order: &'a [usize]) -> Self {
        Self {
            goal,
            order,
            tried: BTreeMap::new(),
        }
    }

    /// Whether the first `size` neurons lose at most `delta`.
    fn suffices(&mut self, prober: &mut Prober<'_>, size: usize, delta: f64) -> Result<bool> {
        if !self.tried.contains_key(&size) {
            let probe = prober.best(&self.order[..size], self.goal.target, self.goal.penalties)?;
            self.tried.insert(size, probe);
        }
        Ok(reaches(self.tried[&size].dev_accuracy, self.goal.of, delta))
    }

    /// The smallest size on `ladder` that loses at most `delta`; between it and the one below, `refine` searches by
    /// halving. All neurons of the ordering where no rung suffices.
    pub(super) fn smallest(
        &mut self,
        prober: &mut Prober<'_>,
        ladder: &[usize],
        delta: f64,
        refine: bool,
    ) -> Result<usize> {
        let mut below = 0;
        let mut found = self.order.len();
        for &size in ladder {
            if self.suffices(prober, size, delta)? {
                found = size;
                break;
            }
            below = size;
        }
        while refine && below + 1 < found && found as f64 > below as f64 * REFINE {
            let middle = below.midpoint(found);
            if self.suffices(prober, middle, delta)? {
                found = middle;
            } else {
                below = middle;
            }
        }
        self.suffices(prober, found, delta)?;
        Ok(found)
    }
}

/// The sizes to retrain, ascending: those that were asked for, or a geometric ladder; the last is all of `neurons`.
pub(super) fn ladder(asked: &[usize], neurons: usize) -> Vec<usize> {
    let mut sizes: Vec<usize> = if asked.is_empty() {
        let steps = std::iter::successors(Some(1.0_f64), |size| Some(size * STEP));
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "sizes of at most D"
        )]
        let sizes = steps.map(|size| size.round() as usize);
        sizes.take_while(|&size| size < neurons).collect()
    } else {
        asked
            .iter()
            .copied()
            .filter(|&size| size < neurons)
            .collect()
    };
    sizes.push(neurons);
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}

/// The smallest sufficient prefix of one ordering for every δ.
///
/// # Errors
/// When a fit fails.
pub(super) fn minimal_sets(
    prober: &mut Prober<'_>,
    name: &str,
    order: &[usize],
    goal: Goal<'_>,
    (asked, deltas): (&[usize], &[f64]),
) -> Result<Vec<MinimalSet>> {
    let ladder = ladder(asked, order.len());
    let mut climb = Climb::new(goal, order);
    let mut sizes = Vec::new();
    for &delta in deltas {
        sizes.push(climb.smallest(prober, &ladder, delta, asked.is_empty())?);
    }
    let rungs: Vec<Rung> = climb
        .tried
        .iter()
        .map(|(&size, probe)| Rung {
            size,
            dev_accuracy: probe.dev_accuracy,
        })
        .collect();
    let mut sets = Vec::new();
    for (&delta, size) in deltas.iter().zip(sizes) {
        let probe = &climb.tried[&size];
        let hits = prober.test_hits(probe, goal.target);
        sets.push(MinimalSet {
            ranking: name.to_owned(),
            delta,
            size,
            neurons: order[..size].to_vec(),
            dev_accuracy: probe.dev_accuracy,
            test_accuracy: accuracy(&hits),
            test_interval: uncertainty::wilson(correct(&hits), hits.len()),
            against_oracle: paired(goal.oracle_hits, &hits)?,
            ladder: rungs.clone(),
            certificate: certificate(&probe.fit.certificate),
        });
    }
    Ok(sets)
}

/// Layer selection, then correlation clustering among the layers that are left, then the LCA ordering of a probe on the
/// representatives and its smallest sufficient prefix. The minimal set's δ is a share of the dev accuracy on the
/// representatives (Dalvi et al. 2020).
///
/// # Errors
/// When a fit fails.
pub(super) fn combined(
    prober: &mut Prober<'_>,
    spec: (&CombinedSpec, &ClusterSpec),
    map: &LayerMap,
    correlation: &Correlation,
    selections: &[LayerSelection],
    goal: Goal<'_>,
) -> Result<Vec<Combined>> {
    let mut found: Vec<Combined> = Vec::new();
    for selection in selections {
        for &threshold in &spec.0.thresholds {
            let same = |c: &&Combined| c.layer == selection.layer && c.threshold == threshold;
            let one = match found.iter().find(same) {
                Some(known) => Combined {
                    delta: selection.delta,
                    ..known.clone()
                },
                None => combine(prober, spec, map, correlation, (selection, threshold), goal)?,
            };
            found.push(one);
        }
    }
    Ok(found)
}

fn combine(
    prober: &mut Prober<'_>,
    (spec, clusters): (&CombinedSpec, &ClusterSpec),
    map: &LayerMap,
    correlation: &Correlation,
    (selection, threshold): (&LayerSelection, f64),
    goal: Goal<'_>,
) -> Result<Combined> {
    let columns: Vec<usize> = (0..map.columns(selection.layer).end).collect();
    let among = redundancy::among(correlation, &columns)?;
    let dendrogram = redundancy::dendrogram(
        &among,
        survey::linkage(clusters),
        survey::distance(clusters),
    )?;
    // Columns start at 0, so neuron i among them is neuron i of all.
    let mut kept = redundancy::medoids(&dendrogram.cut(threshold), &among)?;
    kept.sort_unstable();
    let base = prober.best(&kept, goal.target, goal.penalties)?;
    let order = ranking::lca(base.fit.standardised.view())?.only(&kept);
    let mut climb = Climb::new(
        Goal {
            of: base.dev_accuracy,
            ..goal
        },
        &order,
    );
    let base_dev_accuracy = base.dev_accuracy;
    climb.tried.insert(order.len(), base);
    let size = climb.smallest(prober, &ladder(&[], order.len()), spec.set_delta, true)?;
    let probe = &climb.tried[&size];
    let hits = prober.test_hits(probe, goal.target);
    Ok(Combined {
        delta: selection.delta,
        set_delta: spec.set_delta,
        threshold,
        layer: selection.layer,
        layer_neurons: columns.len(),
        clusters: kept.len(),
        clusters_dev_accuracy: base_dev_accuracy,
        size,
        neurons: order[..size].to_vec(),
        dev_accuracy: probe.dev_accuracy,
        test_accuracy: accuracy(&hits),
        test_interval: uncertainty::wilson(correct(&hits), hits.len()),
        against_oracle: paired(goal.oracle_hits, &hits)?,
    })
}

fn paired(oracle: &[bool], other: &[bool]) -> Result<Paired> {
    let paired = uncertainty::paired(oracle, other)?;
    Ok(Paired {
        only_oracle: paired.only_first,
        only_other: paired.only_second,
        difference: paired.difference,
        interval: paired.interval,
        p: paired.p,
    })
}
