//! What a study chooses for one task, on train and dev.

use super::choices::{Choices, ChosenSet, Rankings};
use super::clock::Clock;
use super::records::Tally;
use super::sets::{self, Goal, Pipeline, size_search};
use super::spec::Spec;
use super::{curves, layers, salient};
use crate::Backend;
use crate::analysis::frozen::Frozen;
use crate::analysis::redundancy::Clusters;
use crate::analysis::search::{Penalties, Prober, Search, Target};
use crate::error::Result;
use crate::labels::Labels;
use crate::ops::correlation::Correlation;
use crate::ops::moments;
use crate::split::Split;

/// Steps of one task.
pub(super) const STEPS: usize = 7;

/// What every task of a study uses. It knows train and dev, not test.
pub(super) struct Common<'a> {
    /// What to do.
    pub spec: &'a Spec,
    /// Names of the tasks.
    pub tasks: &'a [String],
    /// Probes are fitted on it.
    pub train: &'a Split,
    /// Choices are made on it.
    pub dev: &'a Split,
    /// The penalties that probes choose from.
    pub penalties: Penalties,
    /// Fits probes on train and judges them on dev.
    pub prober: Prober<'a>,
    /// The same for control tasks.
    pub control_prober: Prober<'a>,
    /// Bytes for samples and sums while pairs are correlated.
    pub correlating: u64,
}

/// Which neurons say the same, on train.
pub(super) struct Alike<'a> {
    /// Their correlations.
    pub correlation: &'a Correlation,
    /// Neurons that stand in for one another.
    pub equivalent: Clusters,
}

impl Common<'_> {
    /// The labels of a task.
    pub(super) fn target(&self, task: usize) -> Target<'_> {
        Target {
            train: &self.train.labels[task],
            dev: &self.dev.labels[task],
        }
    }

    /// All neurons.
    pub(super) fn all(&self) -> Vec<usize> {
        (0..self.prober.moments.mean.len()).collect()
    }

    /// All choices of one task. `controls` are the labels of train of its control tasks, and their probes on all neurons.
    pub(super) fn choose<'b>(
        &self,
        task: usize,
        oracle: &'b Search,
        controls: (&[&Labels], &'b [Frozen]),
        alike: &Alike<'_>,
        tally: &mut Tally,
        clock: &mut Clock<'_>,
    ) -> Result<Choices<'b>> {
        let (spec, target) = (self.spec, self.target(task));
        let name = &self.tasks[task];
        let goal = Goal {
            target,
            penalties: &self.penalties,
            oracle,
        };
        clock.step(format!("{name}: probes on layers"));
        let map = self.train.activations.layers();
        let probers = (&self.prober, &self.control_prober);
        let layers = layers::curves(probers, map, goal, controls.0, tally, &mut |done| {
            clock.fraction(done);
        })?;
        clock.step(format!("{name}: rankings"));
        let rankings = self.rankings(oracle, target.train)?;
        let minimal_sets = self.minimal_sets(name, goal, &rankings, controls, tally, clock)?;
        clock.step(format!("{name}: how sure the minimal sets are"));
        let known = (&rankings, &*minimal_sets, &alike.equivalent);
        let examined = self.examine(task, goal, known, tally, &mut |done| clock.fraction(done))?;
        clock.step(format!("{name}: layers, clusters and ranking combined"));
        let select =
            |deltas: &[f64]| layers::select(deltas, &layers.cumulative, oracle.dev_accuracy);
        let pipeline = Pipeline {
            prober: &self.prober,
            spec: &spec.combined,
            clusters: &spec.clusters,
            sizes: &size_search(&spec.minimal_set),
            map,
            goal,
        };
        let combined = pipeline.combine(
            alike.correlation,
            (&select(&spec.combined.deltas), &layers.cumulative),
            tally,
            &mut |done| clock.fraction(done),
        )?;
        clock.step(format!("{name}: salient neurons"));
        let salient = salient::find(
            &spec.concepts,
            &oracle.fit,
            &rankings["lca"],
            target.train.classes(),
            self.train,
            self.prober.moments,
        )?;
        Ok(Choices {
            oracle,
            layer_selection: select(&spec.layers.deltas),
            layers,
            rankings,
            minimal_sets,
            disjoint: examined.disjoint,
            stability: examined.stability,
            random_sets: examined.random_sets,
            combined,
            controls: controls.1,
            salient,
        })
    }

    /// The minimal sets of every ordering and δ, and their control tasks.
    fn minimal_sets(
        &self,
        name: &str,
        goal: Goal<'_>,
        rankings: &Rankings,
        controls: (&[&Labels], &[Frozen]),
        tally: &mut Tally,
        clock: &mut Clock<'_>,
    ) -> Result<Vec<ChosenSet>> {
        clock.step(format!("{name}: minimal sets"));
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
        clock.step(format!("{name}: control tasks on minimal sets"));
        let progress = &mut |done| clock.fraction(done);
        sets::control(&self.control_prober, &mut found, controls, tally, progress)?;
        Ok(found)
    }

    /// Orderings of all neurons.
    pub(super) fn rankings(&self, oracle: &Search, labels: &Labels) -> Result<Rankings> {
        let train = self.train.activations.view();
        let by_class = moments::moments(&Backend::Cpu, train, Some(labels))?;
        curves::rankings(&oracle.fit, &by_class, labels)
    }
}
