//! Sets of neurons judged on test.

use super::choices::{ChosenCombined, ChosenDisjoint, ChosenRandom, ChosenSet, Retrained};
use super::judge::Judge;
use super::records::certificate;
use super::results::{
    Combined, DisjointSet, DisjointSets, Distribution, MinimalSet, RandomSets, SetSelectivity,
};
use crate::analysis::bootstrap::Units;
use crate::analysis::search::accuracy;
use crate::analysis::selectivity::{ControlTask, Selectivity};
use crate::analysis::uncertainty::permutation_p;
use crate::error::Result;

/// A minimal set; `draws` are the control tasks of its probes, in their order.
pub(super) fn minimal_set(
    chosen: &ChosenSet,
    draws: &[ControlTask],
    judge: &mut Judge<'_>,
) -> Result<MinimalSet> {
    let set = &chosen.set;
    let (judged, against_oracle) = judge.against_oracle("minimal sets", &set.probe)?;
    let selectivity = selectivity(chosen, draws, &judged.hits, judge)?;
    Ok(MinimalSet {
        ranking: chosen.ranking.clone(),
        delta: chosen.delta,
        search: chosen.search.clone(),
        size: set.neurons.len(),
        neurons: set.neurons.clone(),
        dev_accuracy: set.dev_accuracy,
        test_accuracy: judged.accuracy,
        test_interval: judged.interval,
        against_oracle,
        selectivity,
        ladder: chosen.ladder.clone(),
        certificate: certificate(set.probe.certificate()),
    })
}

/// What a set's probe gets right beside its control tasks; `None` without any.
fn selectivity(
    chosen: &ChosenSet,
    draws: &[ControlTask],
    own: &[bool],
    judge: &mut Judge<'_>,
) -> Result<Option<SetSelectivity>> {
    let (Some(tokens), false) = (&judge.test.tokens, chosen.controls.is_empty()) else {
        return Ok(None);
    };
    let units = Units::sentences(&tokens.sentences)?;
    let mut hits = Vec::with_capacity(draws.len());
    for (probe, draw) in chosen.controls.iter().zip(draws) {
        hits.push(judge.hits("control tasks on minimal sets", probe, &draw.test)?);
    }
    let right: Vec<&[bool]> = hits.iter().map(Vec::as_slice).collect();
    let found = Selectivity::of(own, &right, &units)?;
    let certificates = chosen.controls.iter().map(|c| certificate(c.certificate()));
    Ok(Some(SetSelectivity {
        accuracies: hits.iter().map(|hits| accuracy(hits)).collect(),
        control_accuracy: found.control,
        value: found.value,
        interval: found.interval,
        spread: found.spread,
        certificates: certificates.collect(),
    }))
}

/// The result of layer selection, clustering and ranking.
pub(super) fn combination(
    chosen: &ChosenCombined,
    set_delta: f64,
    judge: &mut Judge<'_>,
) -> Result<Combined> {
    let set: &Retrained = &chosen.set;
    let (judged, against_oracle) = judge.against_oracle("combined sets", &set.probe)?;
    Ok(Combined {
        delta: chosen.delta,
        set_delta,
        threshold: chosen.threshold,
        layer: chosen.layer,
        layer_neurons: chosen.layer_neurons,
        clusters: chosen.clusters,
        clusters_dev_accuracy: chosen.clusters_dev_accuracy,
        size: set.neurons.len(),
        neurons: set.neurons.clone(),
        dev_accuracy: set.dev_accuracy,
        test_accuracy: judged.accuracy,
        test_interval: judged.interval,
        against_oracle,
        certificate: certificate(set.probe.certificate()),
    })
}

/// Sets that share no neuron.
pub(super) fn disjoint(chosen: &ChosenDisjoint, judge: &mut Judge<'_>) -> Result<DisjointSets> {
    let mut sets = Vec::with_capacity(chosen.sets.len());
    for set in &chosen.sets {
        let (judged, against_oracle) = judge.against_oracle("disjoint sets", &set.probe)?;
        sets.push(DisjointSet {
            size: set.neurons.len(),
            neurons: set.neurons.clone(),
            dev_accuracy: set.dev_accuracy,
            test_accuracy: judged.accuracy,
            test_interval: judged.interval,
            against_oracle,
            certificate: certificate(set.probe.certificate()),
        });
    }
    Ok(DisjointSets {
        ranking: chosen.ranking.clone(),
        delta: chosen.delta,
        required: chosen.required,
        sets,
        exhausted: chosen.exhausted,
        left: chosen.left,
        best_left: chosen.best_left,
    })
}

/// A minimal set beside random ones. They are compared on test: the set's size was chosen for its accuracy on dev.
pub(super) fn random(chosen: &ChosenRandom, judge: &mut Judge<'_>) -> Result<RandomSets> {
    let what = "random sets and the sets beside them";
    let set_test_accuracy = judge.judge(what, &chosen.set.probe)?.accuracy;
    let dev: Vec<f64> = chosen.random.iter().map(|set| set.dev_accuracy).collect();
    let mut test = Vec::with_capacity(dev.len());
    for set in &chosen.random {
        test.push(judge.judge(what, &set.probe)?.accuracy);
    }
    Ok(RandomSets {
        ranking: chosen.ranking.clone(),
        delta: chosen.delta,
        size: chosen.set.neurons.len(),
        draws: dev.len(),
        set_dev_accuracy: chosen.set.dev_accuracy,
        as_good: test.iter().filter(|&&t| t >= set_test_accuracy).count(),
        sufficient: dev.iter().filter(|&&dev| dev > chosen.required).count(),
        p: permutation_p(set_test_accuracy, &test),
        dev: Distribution::of(&dev),
        set_test_accuracy,
        test: Distribution::of(&test),
    })
}
