//! How few neurons suffice: prefixes of an ordering, retrained, and the same after layer selection and clustering.

use super::choices::{ChosenCombined, ChosenLayer, ChosenSet, Retrained, SelectedLayer};
use super::records::Tally;
use super::results::Rung;
use super::spec::{ClusterSpec, CombinedSpec, LadderSpec, MinimalSetSpec, SearchSpec};
use super::survey;
use crate::activations::LayerMap;
use crate::analysis::combined::{self, Base, Plan};
use crate::analysis::frozen::Frozen;
use crate::analysis::layers::required;
use crate::analysis::minimal_set::{Ladder, Prefixes, SizeSearch, smallest};
use crate::analysis::search::{Need, Penalties, Prober, Search, Target};
use crate::analysis::selectivity::{NeuronSet, control_probes_of_sets};
use crate::error::Result;
use crate::labels::Labels;
use crate::ops::correlation::Correlation;
use crate::ops::moments::Spread;
use crate::ops::probe::in_flight_bytes;

/// Penalties on either side of the chosen one that a smaller set of neurons tries.
pub(super) const NEIGHBOURS: usize = 1;

/// What smaller sets of neurons are measured against.
#[derive(Clone, Copy)]
pub(super) struct Goal<'a> {
    /// Labels of train and dev.
    pub target: Target<'a>,
    /// The penalties of the study.
    pub penalties: &'a Penalties,
    /// The probe on all neurons.
    pub oracle: &'a Search,
}

/// How a specification looks for sizes.
pub(super) fn size_search(spec: &MinimalSetSpec) -> SizeSearch {
    match (spec.search, &spec.ladder) {
        (SearchSpec::Bisection, _) => SizeSearch::Bisection,
        (SearchSpec::Ladder, LadderSpec::Sizes(sizes)) => {
            SizeSearch::Ladder(Ladder::Sizes(sizes.clone()))
        }
        (SearchSpec::Ladder, LadderSpec::Named(name)) => SizeSearch::Ladder(match &**name {
            "reference" => Ladder::Reference,
            "fine" => Ladder::Fine,
            "max-features" => Ladder::MaxFeatures,
            _ => Ladder::Geometric,
        }),
    }
}

fn name_of(search: &SizeSearch) -> &'static str {
    match search {
        SizeSearch::Bisection => "bisection",
        SizeSearch::Ladder(Ladder::Geometric) => "geometric ladder",
        SizeSearch::Ladder(Ladder::Reference) => "reference ladder",
        SizeSearch::Ladder(Ladder::Fine) => "fine ladder",
        SizeSearch::Ladder(Ladder::MaxFeatures) => "max-features ladder",
        SizeSearch::Ladder(Ladder::Sizes(_)) => "given sizes",
    }
}

/// The smallest sufficient prefix of one ordering for every δ: one search answers them all.
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
) -> Result<Vec<ChosenSet>> {
    if spec.deltas.is_empty() {
        return Ok(Vec::new());
    }
    let how = size_search(spec);
    let dev = goal.oracle.dev_accuracy;
    let wanted: Vec<f64> = spec.deltas.iter().map(|&d| required(dev, d)).collect();
    let prefixes = Prefixes {
        prober,
        target: goal.target,
        order,
        penalties: &goal.penalties.near(goal.oracle, NEIGHBOURS),
        whole: Some(goal.oracle),
    };
    let rungs = prefixes.find(&how, &wanted, progress)?;
    // The whole ordering is the oracle, which is counted already.
    let own = rungs.iter().filter(|rung| rung.size < order.len());
    own.for_each(|rung| tally.add(&rung.search));
    let tried: Vec<Rung> = rungs
        .iter()
        .map(|rung| Rung {
            size: rung.size,
            dev_accuracy: rung.search.dev_accuracy,
        })
        .collect();
    let mut sets = Vec::new();
    for (&delta, &wanted) in spec.deltas.iter().zip(&wanted) {
        let Some(rung) = smallest(&rungs, wanted) else {
            continue;
        };
        sets.push(ChosenSet {
            ranking: name.to_owned(),
            delta,
            search: name_of(&how).to_owned(),
            set: Retrained::of(&order[..rung.size], &rung.search),
            controls: Vec::new(),
            ladder: tried.clone(),
        });
    }
    Ok(sets)
}

/// Puts the probes of the control tasks, whose labels of train are `draws`, into every set: on its neurons at its penalty.
/// Several δ often give the same set, which is fitted once; a set of all neurons has the control tasks of the oracle,
/// `on_all`.
///
/// # Errors
/// When a fit fails.
pub(super) fn control(
    prober: &Prober<'_>,
    sets: &mut [ChosenSet],
    (draws, on_all): (&[&Labels], &[Frozen]),
    tally: &mut Tally,
    progress: &mut dyn FnMut(f64),
) -> Result<()> {
    let all = prober.moments.mean.len();
    let mut distinct: Vec<&Retrained> = Vec::new();
    for set in sets.iter().map(|chosen| &chosen.set) {
        let known = |other: &&Retrained| other.neurons == set.neurons;
        if set.neurons.len() < all && !distinct.iter().any(known) {
            distinct.push(set);
        }
    }
    let asked: Vec<NeuronSet<'_>> = distinct
        .iter()
        .map(|set| {
            let (l1, l2) = set.probe.penalty();
            let neurons = &*set.neurons;
            NeuronSet { neurons, l1, l2 }
        })
        .collect();
    let found = control_probes_of_sets(prober, &asked, draws, progress)?;
    let certificates = found.iter().flatten().map(Frozen::certificate);
    certificates.for_each(|certificate| tally.count(certificate));
    let known: Vec<(Vec<usize>, Vec<Frozen>)> = (distinct.iter().map(|set| set.neurons.clone()))
        .zip(found)
        .collect();
    for chosen in sets {
        let own = known.iter().find(|(set, _)| *set == chosen.set.neurons);
        chosen.controls = own.map_or_else(|| on_all.to_vec(), |(_, probes)| probes.clone());
    }
    Ok(())
}

/// Layer selection, then correlation clustering, then LCA, then a minimal set: one result for each selected layer and
/// threshold. The minimal set's δ is a share of the dev accuracy on the representatives, as in Dalvi et al. 2020.
#[derive(Clone, Copy)]
pub(super) struct Pipeline<'a, 'p> {
    /// Fits and judges.
    pub prober: &'a Prober<'p>,
    /// δs and thresholds.
    pub spec: &'a CombinedSpec,
    /// Linkage and distance.
    pub clusters: &'a ClusterSpec,
    /// How sizes are looked for.
    pub sizes: &'a SizeSearch,
    /// Layers of the neurons.
    pub map: &'a LayerMap,
    /// The task.
    pub goal: Goal<'a>,
}

impl Pipeline<'_, '_> {
    /// Every selected layer and threshold. Layers none of whose neurons varies give none.
    ///
    /// # Errors
    /// When a fit fails.
    pub(super) fn combine(
        &self,
        correlation: &Correlation,
        (selections, cumulative): (&[SelectedLayer], &[ChosenLayer]),
        tally: &mut Tally,
        progress: &mut dyn FnMut(f64),
    ) -> Result<Vec<ChosenCombined>> {
        let places = self.places(selections, cumulative);
        let mut each = Vec::with_capacity(places.len());
        // As many at once as there are threads: each holds the correlations of its neurons.
        for some in places.chunks(rayon::current_num_threads()) {
            let before = each.len();
            let mut done = 0;
            each.extend(self.prober.each(
                some,
                |&place| self.need(cumulative[place].layer),
                |prober, &place| {
                    let upto = cumulative[place].layer;
                    self.upto(prober, upto, &self.spec.thresholds, correlation)
                },
                &mut |_| {
                    done += 1;
                    progress((before + done) as f64 / places.len() as f64);
                },
            )?);
        }
        let certificates = each.iter().flatten().flat_map(|one| &one.certificates);
        certificates.for_each(|certificate| tally.count(certificate));
        let mut found = Vec::new();
        for selection in selections {
            let Some(at) = places.iter().position(|&place| place == selection.place) else {
                continue;
            };
            let chosen = &cumulative[selection.place];
            found.extend(each[at].iter().map(|one| ChosenCombined {
                delta: selection.delta,
                threshold: one.threshold,
                layer: chosen.layer,
                layer_neurons: chosen.neurons,
                clusters: one.representatives.len(),
                clusters_dev_accuracy: one.clusters.dev_accuracy,
                set: Retrained::of(&one.neurons, &one.set),
            }));
        }
        Ok(found)
    }

    /// What the layers up to one need: r of their neurons and the distances of their dendrogram, the standardised neurons, and a
    /// copy of some of them.
    fn need(&self, layer: u32) -> Need {
        let neurons = self.map.columns(layer).end as u64;
        let (samples, classes) = (self.prober.train.nrows(), self.goal.target.train);
        let copies = if self.prober.streamed.is_some() { 0 } else { 2 };
        Need {
            probe: in_flight_bytes(samples, neurons as usize, classes.present().len()),
            beside: 12 * (neurons * neurons.saturating_sub(1) / 2)
                + copies * 4 * samples as u64 * neurons,
        }
    }

    /// The selected places among the cumulative layers, ascending, each once: several δ often select the same layer.
    pub(super) fn places(
        &self,
        selections: &[SelectedLayer],
        cumulative: &[ChosenLayer],
    ) -> Vec<usize> {
        let mut places: Vec<usize> = selections.iter().map(|s| s.place).collect();
        places.sort_unstable();
        places.dedup();
        let varies = |n: usize| self.prober.moments.spread[n] == Spread::Varies;
        let columns = |place: &usize| 0..self.map.columns(cumulative[*place].layer).end;
        places.retain(|place| columns(place).any(varies));
        places
    }

    /// The layers up to one, at these thresholds.
    ///
    /// # Errors
    /// When a fit fails.
    pub(super) fn upto(
        &self,
        prober: &Prober<'_>,
        layer: u32,
        thresholds: &[f64],
        correlation: &Correlation,
    ) -> Result<Vec<combined::Combined>> {
        let plan = Plan {
            correlation,
            linkage: survey::linkage(self.clusters),
            distance: survey::distance(self.clusters),
            thresholds,
            penalties: self.goal.penalties,
            neighbours: NEIGHBOURS,
            sizes: self.sizes,
            base: Base::Representatives,
            set_delta: self.spec.set_delta,
        };
        let columns: Vec<usize> = (0..self.map.columns(layer).end).collect();
        combined::combine(prober, self.goal.target, &columns, &plan, &mut |_| {})
    }
}
