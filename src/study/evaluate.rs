//! Test: every frozen choice is judged here, after the last choice of the last task. Nothing here chooses.

use std::collections::BTreeMap;

use super::choices::{Choices, ChosenLayer, Rankings};
use super::judge::{Judge, Judged};
use super::records::{certificate, lambda_point};
use super::results::{
    ClassSummary, Control, Evaluated, LayerCurves, LayerPoint, LayerSelection, LossClaims, Oracle,
    Parts, RankingResult, TaskResults, TestUse,
};
use super::spec::Spec;
use super::{claims, curves, judged_sets, stream};
use crate::analysis::bootstrap::Units;
use crate::analysis::frozen::Frozen;
use crate::analysis::ranking::Ranking;
use crate::analysis::search::{self, Search};
use crate::analysis::selection::Rule;
use crate::analysis::selectivity::{self, ControlTask, SampleFrom, Selectivity};
use crate::analysis::uncertainty;
use crate::error::Result;
use crate::labels::Labels;
use crate::ops::Backend;
use crate::split::Dataset;

/// Judges the choices of every task on test. `means` are the neurons' means of train, by which sweeps replace neurons, and
/// where they are computed; `controls` the draws of the control tasks.
///
/// # Errors
/// When a sweep fails.
pub(super) fn all(
    spec: &Spec,
    data: &Dataset,
    means: (&Backend, &[f64]),
    choices: &[Choices<'_>],
    controls: &[Vec<ControlTask>],
    progress: &mut dyn FnMut(f64),
) -> Result<(Vec<TaskResults>, LossClaims, TestUse)> {
    let mut tasks = Vec::with_capacity(choices.len());
    let mut evaluated = Vec::new();
    for (at, chosen) in choices.iter().enumerate() {
        let labels = [data.train(), data.dev(), data.test()].map(|part| &part.labels[at]);
        let mut judge = Judge {
            task: &data.tasks()[at],
            test: data.test(),
            labels: labels[2],
            oracle: Vec::new(),
            evaluated: Vec::new(),
        };
        let controls = &*controls[at];
        tasks.push(one(
            spec,
            data,
            means,
            chosen,
            (at, labels, controls),
            &mut judge,
        )?);
        evaluated.extend(judge.evaluated);
        progress((at + 1) as f64 / choices.len() as f64);
    }
    let probes = evaluated.iter().map(|e: &Evaluated| e.probes).sum();
    let test_use = TestUse {
        evaluated,
        probes,
        choices_after: 0,
    };
    let claims = claims::correct(&mut tasks)?;
    Ok((tasks, claims, test_use))
}

fn one(
    spec: &Spec,
    data: &Dataset,
    (backend, mean): (&Backend, &[f64]),
    chosen: &Choices<'_>,
    (task, labels, controls): (usize, [&Labels; 3], &[ControlTask]),
    judge: &mut Judge<'_>,
) -> Result<TaskResults> {
    let test = labels[2];
    let oracle = judge.judge("oracle", &Frozen::of(&chosen.oracle.fit))?;
    judge.oracle.clone_from(&oracle.hits);
    let layers = LayerCurves {
        independent: points(&chosen.layers.independent, controls, judge)?,
        cumulative: points(&chosen.layers.cumulative, controls, judge)?,
    };
    let sweeps = curves::sweeps(
        backend,
        &spec.sweep,
        // Another stream than the control tasks'.
        stream(stream(spec.seed, 0), task as u64),
        &chosen.oracle.fit,
        mean,
        (data.test(), test),
        &chosen.rankings,
    )?;
    let evaluations = sweeps.iter().map(|s| s.draws * s.k.len()).sum();
    judge.count("oracle, neurons taken away", 0, evaluations);
    let minimal_sets = each(&chosen.minimal_sets, |set| {
        judged_sets::minimal_set(set, controls, judge)
    })?;
    let disjoint = each(&chosen.disjoint, |s| judged_sets::disjoint(s, judge))?;
    let random_sets = each(&chosen.random_sets, |s| judged_sets::random(s, judge))?;
    let set_delta = spec.combined.set_delta;
    let combined = each(&chosen.combined, |s| {
        judged_sets::combination(s, set_delta, judge)
    })?;
    let majority = majority_accuracy(labels[0], test);
    let correct = search::count(&oracle.hits);
    Ok(TaskResults {
        name: data.tasks()[task].clone(),
        classes: summarise_classes(labels, &oracle.hits),
        majority_accuracy: majority,
        above_chance: uncertainty::above_chance(correct, test.len(), majority),
        oracle: record_oracle(chosen.oracle, &oracle, spec.probe.rule),
        lambda_path: chosen.oracle.path.iter().map(lambda_point).collect(),
        layer_selection: selection(chosen, &layers.cumulative),
        layers,
        rankings: record_rankings(&chosen.rankings, test.classes()),
        sweeps,
        minimal_sets,
        disjoint,
        stability: chosen.stability.clone(),
        random_sets,
        combined,
        control: control(
            (data, spec.control.from),
            controls,
            chosen.controls,
            &oracle.hits,
            judge,
        )?,
        salient: chosen.salient.clone(),
    })
}

fn each<T, R>(chosen: &[T], judge: impl FnMut(&T) -> Result<R>) -> Result<Vec<R>> {
    chosen.iter().map(judge).collect()
}

fn points(
    chosen: &[ChosenLayer],
    draws: &[ControlTask],
    judge: &mut Judge<'_>,
) -> Result<Vec<LayerPoint>> {
    let mut points = Vec::with_capacity(chosen.len());
    for layer in chosen {
        let judged = judge.judge("layers", &layer.probe)?;
        let controls = control_hits(&layer.controls, draws, judge)?;
        let accuracies = controls.iter().map(|hits| search::accuracy(hits));
        let mean = accuracies.sum::<f64>() / controls.len() as f64;
        points.push(LayerPoint {
            layer: layer.layer,
            neurons: layer.neurons,
            l1: layer.probe.penalty().0,
            dev_accuracy: layer.dev_accuracy,
            test_accuracy: judged.accuracy,
            test_interval: judged.interval,
            selectivity: (!controls.is_empty()).then_some(judged.accuracy - mean),
            certificate: certificate(layer.probe.certificate()),
        });
    }
    Ok(points)
}

/// Which samples of test the probe of each draw gets right.
fn control_hits(
    probes: &[Frozen],
    draws: &[ControlTask],
    judge: &mut Judge<'_>,
) -> Result<Vec<Vec<bool>>> {
    let each = probes.iter().zip(draws);
    each.map(|(probe, draw)| judge.hits("control tasks", probe, &draw.test))
        .collect()
}

fn selection(chosen: &Choices<'_>, cumulative: &[LayerPoint]) -> Vec<LayerSelection> {
    let record = |selected: &super::choices::SelectedLayer| {
        let point = &cumulative[selected.place];
        LayerSelection {
            delta: selected.delta,
            layer: point.layer,
            neurons: point.neurons,
            dev_accuracy: point.dev_accuracy,
            test_accuracy: point.test_accuracy,
        }
    };
    chosen.layer_selection.iter().map(record).collect()
}

/// The control tasks of one task in figures; `None` without draws.
fn control(
    (data, from): (&Dataset, SampleFrom),
    draws: &[ControlTask],
    probes: &[Frozen],
    oracle: &[bool],
    judge: &mut Judge<'_>,
) -> Result<Option<Control>> {
    let parts = (data.train().tokens.as_ref(), data.test().tokens.as_ref());
    let hits = control_hits(probes, draws, judge)?;
    let ((Some(train), Some(test)), false) = (parts, hits.is_empty()) else {
        return Ok(None);
    };
    let right: Vec<&[bool]> = hits.iter().map(Vec::as_slice).collect();
    let found = Selectivity::of(oracle, &right, &Units::sentences(&test.sentences)?)?;
    Ok(Some(Control {
        draws: hits.len(),
        from,
        certificates: probes
            .iter()
            .map(|probe| certificate(probe.certificate()))
            .collect(),
        accuracies: hits.iter().map(|hits| search::accuracy(hits)).collect(),
        accuracy: found.control,
        selectivity: found.value,
        interval: found.interval,
        spread: found.spread,
        seen_in_train: selectivity::seen_in_train(&train.words, &test.words),
    }))
}

fn record_rankings(rankings: &Rankings, classes: &[String]) -> BTreeMap<String, RankingResult> {
    let record =
        |(name, ranking): (&&str, &Ranking)| ((*name).to_owned(), curves::record(ranking, classes));
    rankings.iter().map(record).collect()
}

fn record_oracle(oracle: &Search, judged: &Judged, rule: Rule) -> Oracle {
    Oracle {
        rule,
        l1: oracle.fit.l1,
        l2: oracle.fit.l2,
        train_accuracy: oracle.train_accuracy(),
        dev_accuracy: oracle.dev_accuracy,
        test_accuracy: judged.accuracy,
        test_interval: judged.interval,
        objective: oracle.fit.objective,
        nonzero_weights: oracle.fit.nonzero_weights(),
        neurons_used: oracle.fit.neurons_used(),
        certificate: certificate(&oracle.fit.certificate),
    }
}

/// Test accuracy of always answering train's most frequent class (of equals the first).
fn majority_accuracy(train: &Labels, test: &Labels) -> f64 {
    let counts = train.counts();
    let mut most = 0;
    for (class, count) in counts.iter().enumerate() {
        if *count > counts[most] {
            most = class;
        }
    }
    test.counts()[most] as f64 / test.len() as f64
}

/// Sizes of the classes in train, dev and test, and the share of each that the oracle gets right on test.
fn summarise_classes(labels: [&Labels; 3], oracle_hits: &[bool]) -> Vec<ClassSummary> {
    let counts = labels.map(Labels::counts);
    let mut right = vec![0_usize; labels[2].classes().len()];
    for (&class, &hit) in labels[2].ids().iter().zip(oracle_hits) {
        right[class as usize] += usize::from(hit);
    }
    let summarise = |(class, name): (usize, &String)| {
        let [train, dev, test] = [0, 1, 2].map(|part: usize| counts[part][class]);
        ClassSummary {
            name: name.clone(),
            samples: Parts { train, dev, test },
            test_recall: (test > 0).then(|| right[class] as f64 / test as f64),
        }
    };
    labels[0]
        .classes()
        .iter()
        .enumerate()
        .map(summarise)
        .collect()
}
