//! What a study finds about one task.

use std::collections::BTreeMap;

use super::clock::Clock;
use super::records::{Judged, Tally, certificate, judge, lambda_point};
use super::results::{
    ClassSummary, Control, MinimalSet, Oracle, Parts, RankingResult, SweepResult, TaskResults,
};
use super::sets::{self, Goal};
use super::spec::Spec;
use super::{curves, layers, salient, stream};
use crate::analysis::bootstrap::Units;
use crate::analysis::ranking::Ranking;
use crate::analysis::search::{self, Penalties, Prober, Search, Target};
use crate::analysis::selection::Rule;
use crate::analysis::selectivity::{self, ControlProbe, ControlTask, Selectivity};
use crate::analysis::uncertainty;
use crate::error::Result;
use crate::labels::Labels;
use crate::ops::correlation::Correlation;
use crate::ops::moments;
use crate::split::Dataset;

/// Steps of one task.
pub(super) const STEPS: usize = 5;

/// What every task of a study uses.
pub(super) struct Common<'a> {
    /// What to do.
    pub spec: &'a Spec,
    /// The data.
    pub data: &'a Dataset,
    /// Correlations of the neurons on train.
    pub correlation: &'a Correlation,
    /// The penalties that probes choose from.
    pub penalties: Penalties,
    /// Fits probes on train and judges them on dev.
    pub prober: Prober<'a>,
    /// The same for control tasks.
    pub control_prober: Prober<'a>,
}

/// Orderings by name.
type Rankings = BTreeMap<&'static str, Ranking>;

impl Common<'_> {
    /// The labels of a task.
    pub(super) fn target(&self, task: usize) -> Target<'_> {
        Target {
            train: &self.data.train().labels[task],
            dev: &self.data.dev().labels[task],
        }
    }

    /// All neurons.
    pub(super) fn all(&self) -> Vec<usize> {
        (0..self.prober.moments.mean.len()).collect()
    }

    /// All steps of one task. `controls` are its control tasks and their probes on all neurons.
    pub(super) fn study(
        &self,
        task: usize,
        oracle: &Search,
        controls: (&[ControlTask], &[ControlProbe]),
        tally: &mut Tally,
        clock: &mut Clock<'_>,
    ) -> Result<TaskResults> {
        let (spec, data, target) = (self.spec, self.data, self.target(task));
        let (name, test) = (&data.tasks()[task], &data.test().labels[task]);
        let judged = judge(oracle, data.test(), test)?;
        let goal = Goal {
            target,
            test: (data.test(), test),
            penalties: &self.penalties,
            oracle,
            oracle_hits: &judged.hits,
        };
        clock.step(format!("{name}: probes on layers"));
        let map = data.train().activations.layers();
        let probers = (&self.prober, &self.control_prober);
        let layers = layers::curves(probers, map, goal, controls.0, tally, &mut |done| {
            clock.fraction(done);
        })?;
        clock.step(format!("{name}: rankings and sweeps"));
        let rankings = self.rankings(oracle, target.train)?;
        let sweeps = self.sweeps(task, goal, &rankings)?;
        clock.step(format!("{name}: minimal sets"));
        let minimal_sets = self.minimal_sets(goal, &rankings, tally, clock)?;
        clock.step(format!("{name}: layers, clusters and ranking combined"));
        let select =
            |deltas: &[f64]| layers::select(deltas, &layers.cumulative, oracle.dev_accuracy);
        let combined = sets::combine(
            &self.prober,
            (&spec.combined, &spec.clusters),
            (map, self.correlation),
            &select(&spec.combined.deltas),
            goal,
            tally,
            &mut |done| clock.fraction(done),
        )?;
        clock.step(format!("{name}: salient neurons"));
        let salient = salient::find(
            &spec.concepts,
            &oracle.fit,
            &rankings["lca"],
            test.classes(),
            data.train(),
            self.prober.moments,
        )?;
        let majority = majority_accuracy(target.train, test);
        let correct = search::count(&judged.hits);
        Ok(TaskResults {
            name: name.clone(),
            classes: summarise_classes([target.train, target.dev, test], &judged.hits),
            majority_accuracy: majority,
            above_chance: uncertainty::above_chance(correct, test.len(), majority),
            oracle: record_oracle(oracle, &judged, self.prober.rule),
            lambda_path: oracle.path.iter().map(lambda_point).collect(),
            layer_selection: select(&spec.layers.deltas),
            layers,
            rankings: record_rankings(&rankings, test.classes()),
            sweeps,
            minimal_sets,
            combined,
            control: self.control(controls.1, &judged.hits)?,
            salient,
        })
    }

    fn minimal_sets(
        &self,
        goal: Goal<'_>,
        rankings: &Rankings,
        tally: &mut Tally,
        clock: &mut Clock<'_>,
    ) -> Result<Vec<MinimalSet>> {
        let spec = &self.spec.minimal_set;
        let mut found = Vec::new();
        for (at, ranking) in spec.rankings.iter().enumerate() {
            let ordering = (ranking.name(), &*rankings[ranking.name()].order);
            let progress = &mut |done| {
                clock.fraction((at as f64 + done) / spec.rankings.len() as f64);
            };
            let sets = sets::minimal_sets(&self.prober, spec, ordering, goal, tally, progress)?;
            found.extend(sets);
        }
        Ok(found)
    }

    fn rankings(&self, oracle: &Search, labels: &Labels) -> Result<Rankings> {
        let train = self.data.train().activations.view();
        let by_class = moments::moments(self.prober.backend, train, Some(labels))?;
        curves::rankings(&oracle.fit, &by_class, labels)
    }

    fn sweeps(&self, task: usize, goal: Goal<'_>, rankings: &Rankings) -> Result<Vec<SweepResult>> {
        curves::sweeps(
            self.prober.backend,
            &self.spec.sweep,
            // Another stream than the control tasks'.
            stream(stream(self.spec.seed, 0), task as u64),
            &goal.oracle.fit,
            &self.prober.moments.mean,
            goal.test,
            rankings,
        )
    }

    /// The control tasks of one task in figures; `None` without draws.
    fn control(&self, probes: &[ControlProbe], oracle: &[bool]) -> Result<Option<Control>> {
        let parts = [self.data.train(), self.data.test()].map(|part| part.tokens.as_ref());
        let ([Some(train), Some(test)], false) = (parts, probes.is_empty()) else {
            return Ok(None);
        };
        let hits: Vec<&[bool]> = probes.iter().map(|probe| &*probe.hits).collect();
        let found = Selectivity::of(oracle, &hits, &Units::sentences(&test.sentences)?)?;
        Ok(Some(Control {
            draws: probes.len(),
            from: self.spec.control.from,
            certificates: probes
                .iter()
                .map(|probe| certificate(&probe.certificate))
                .collect(),
            accuracies: probes.iter().map(|probe| probe.accuracy).collect(),
            accuracy: found.control,
            selectivity: found.value,
            interval: found.interval,
            spread: found.spread,
            seen_in_train: selectivity::seen_in_train(&train.words, &test.words),
        }))
    }
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
