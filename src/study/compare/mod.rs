//! Studies beside each other: what `neurosieve compare` does.
//!
//! Base against fine-tuned model, model against model, language against language: whatever the same tasks were studied
//! on. Two runs need not have the same neurons; what then cannot be compared is left out, and a note says so.

mod check;
pub mod results;
mod transfer;

use std::collections::BTreeSet;

pub use transfer::{Asked, RANDOM_SETS, transfer};

use self::results::{
    ClassPair, ClusterShares, CompareResults, DepthPair, LayerPair, OraclePair, OverlapResult, Run,
    RunPair, RunTask, SCHEMA_VERSION, SelectivityPair, SetPair, TaskPair,
};
use super::results::{RankingResult, StudyResults, TaskResults};
use super::stream;
use crate::analysis::agreement::agreement;
use crate::analysis::comparison::{depths, jensen_shannon, newcombe};
use crate::analysis::overlap::Hypergeometric;
use crate::analysis::ranking::Ranking;
use crate::error::{Error, Result};

/// Shares of the neurons at which orderings are compared.
pub const SHARES: [f64; 3] = [0.01, 0.05, 0.1];

/// Random draws behind a p where no number is given.
pub const DRAWS: usize = 2_000;

/// Results and the file that they come from.
#[derive(Debug, Clone)]
pub struct Studied {
    /// The file.
    pub file: String,
    /// What it holds.
    pub results: StudyResults,
}

/// Compares each two of `studies`; every p of a distribution over depth is from `draws` draws.
///
/// # Errors
/// When there are fewer than two, no two have a task in common, or results contradict themselves.
pub fn compare(studies: &[Studied], draws: usize, seed: u64) -> Result<CompareResults> {
    for study in studies {
        check::check(&study.file, &study.results)?;
    }
    let mut pairs = Vec::new();
    for second in 1..studies.len() {
        for first in 0..second {
            let two = Two {
                first: &studies[first].results,
                second: &studies[second].results,
                draws,
                seed,
            };
            pairs.push(two.compare([first, second])?);
        }
    }
    pairs.sort_by_key(|pair| pair.runs);
    if pairs.iter().all(|pair| pair.tasks.is_empty()) {
        let names = |study: &Studied| {
            let tasks: Vec<&str> = study.results.tasks.iter().map(|t| &*t.name).collect();
            format!("{} has {}", study.file, tasks.join(", "))
        };
        let all: Vec<String> = studies.iter().map(names).collect();
        return Err(Error::invalid(
            "studies to compare",
            format!("no two have a task in common: {}", all.join("; ")),
            "Give two or more studies of tasks of the same name",
        ));
    }
    Ok(CompareResults {
        schema_version: SCHEMA_VERSION,
        neurosieve_version: env!("CARGO_PKG_VERSION").into(),
        draws,
        seed,
        transfer: None,
        runs: studies.iter().map(run).collect(),
        pairs,
    })
}

fn run(study: &Studied) -> Run {
    let results = &study.results;
    Run {
        file: study.file.clone(),
        name: results.name.clone(),
        neurosieve_version: results.neurosieve_version.clone(),
        seed: results.seed,
        device: results.device.clone(),
        neurons: results.data.neurons,
        layers: results.data.layers.len(),
        test_samples: results.data.samples.test,
        tasks: results.tasks.iter().map(|task| task.name.clone()).collect(),
        found: results.tasks.iter().map(run_task).collect(),
        warnings: results.warnings.clone(),
    }
}

fn run_task(task: &TaskResults) -> RunTask {
    let control = task.control.as_ref();
    let by_class = task.salient.by_class_layer.iter();
    RunTask {
        name: task.name.clone(),
        classes: task.classes.iter().map(|c| c.name.clone()).collect(),
        majority_accuracy: task.majority_accuracy,
        test_accuracy: task.oracle.test_accuracy,
        test_interval: task.oracle.test_interval,
        above_chance: task.above_chance,
        selectivity: control.map(|control| control.selectivity),
        selectivity_interval: control.and_then(|control| control.interval),
        mass: task.salient.mass,
        salient_by_layer: task.salient.by_layer.clone(),
        salient_by_class: by_class.map(|row| row.iter().sum()).collect(),
    }
}

/// Two studies.
struct Two<'a> {
    first: &'a StudyResults,
    second: &'a StudyResults,
    draws: usize,
    seed: u64,
}

impl Two<'_> {
    fn both<T>(&self, of: impl Fn(&StudyResults) -> T) -> [T; 2] {
        [of(self.first), of(self.second)]
    }

    fn compare(&self, runs: [usize; 2]) -> Result<RunPair> {
        let [a, b] = [&self.first.data, &self.second.data];
        let same_neurons = a.layer_of == b.layer_of && a.unit_of == b.unit_of;
        let mut notes = vec![match same_neurons {
            true => "neurons are compared by their ids: that means something only where they correspond, as in a model and one \
                     fine-tuned from it"
                .to_owned(),
            false => format!(
                "overlaps of orderings and sets are not compared: the runs have other neurons ({} in {} layers, {} in {})",
                a.neurons,
                a.layers.len(),
                b.neurons,
                b.layers.len()
            ),
        }];
        let mut tasks = Vec::new();
        for (number, first) in (0..).zip(&self.first.tasks) {
            match self
                .second
                .tasks
                .iter()
                .find(|task| task.name == first.name)
            {
                Some(second) => {
                    let pair = self.task(first, second, same_neurons, number)?;
                    if !pair.same_classes {
                        notes.push(format!("{}: the runs have other classes", pair.name));
                    }
                    tasks.push(pair);
                }
                None => notes.push(format!("{}: only the first run has this task", first.name)),
            }
        }
        let lacks = |name: &String| !self.first.tasks.iter().any(|task| task.name == *name);
        let names = self.second.tasks.iter().map(|task| &task.name);
        let alone = names.filter(|name| lacks(name));
        notes.extend(alone.map(|name| format!("{name}: only the second run has this task")));
        let clusters = self.clusters();
        if clusters.is_none() {
            notes.push(
                "clusters are not compared: the runs have other linkages or distances".into(),
            );
        }
        Ok(RunPair {
            runs,
            same_neurons,
            notes,
            clusters: clusters.unwrap_or_default(),
            tasks,
        })
    }

    /// `None` where clusters mean something else.
    fn clusters(&self) -> Option<Vec<ClusterShares>> {
        let [a, b] = self.both(|run| {
            (
                run.clustering.linkage.clone(),
                run.clustering.distance.clone(),
            )
        });
        let sizes = self.both(|run| run.data.neurons as f64);
        let matching = self.first.clusters.iter().filter_map(|first| {
            let mut cuts = self.second.clusters.iter();
            let second = cuts.find(|cut| cut.threshold == first.threshold)?;
            let share = [
                first.count as f64 / sizes[0],
                second.count as f64 / sizes[1],
            ];
            Some(ClusterShares {
                threshold: first.threshold,
                share,
                difference: share[1] - share[0],
            })
        });
        (a == b).then(|| matching.collect())
    }

    fn task(
        &self,
        first: &TaskResults,
        second: &TaskResults,
        same_neurons: bool,
        number: u64,
    ) -> Result<TaskPair> {
        let names = |task: &TaskResults| -> Vec<String> {
            task.classes
                .iter()
                .map(|class| class.name.clone())
                .collect()
        };
        let (classes, others) = (names(first), names(second));
        let places = |name: &String| others.iter().position(|other| other == name);
        let same_classes =
            classes.len() == others.len() && classes.iter().all(|c| places(c).is_some());
        let mut found = Vec::new();
        // Streams of a task are its own: classes of one do not move the draws of another.
        let draw = |class: u64| stream(stream(self.seed, number), class);
        for (at, class) in classes.iter().enumerate() {
            let Some(other) = places(class) else {
                continue;
            };
            let rows = [
                &first.salient.by_class_layer[at],
                &second.salient.by_class_layer[other],
            ];
            found.push(ClassPair {
                class: class.clone(),
                neurons: rows.map(|row| row.iter().sum()),
                depth: self.depth(rows[0], rows[1], draw(at as u64 + 1)),
            });
        }
        let counts = |of: usize| -> Vec<usize> { found.iter().map(|c| c.neurons[of]).collect() };
        Ok(TaskPair {
            name: first.name.clone(),
            same_classes,
            oracle: self.oracle(first, second)?,
            selectivity: selectivity(first, second),
            depth: self.depth(&first.salient.by_layer, &second.salient.by_layer, draw(0)),
            class_divergence: match same_classes {
                true => jensen_shannon(&counts(0), &counts(1))?,
                false => None,
            },
            classes: found,
            layer_selection: self.layers(first, second),
            overlaps: match same_neurons {
                true => Some(overlaps(first, second, self.first.data.neurons)?),
                false => None,
            },
            minimal_sets: self.sets(first, second, same_neurons),
            transfer: None,
        })
    }

    fn oracle(&self, first: &TaskResults, second: &TaskResults) -> Result<OraclePair> {
        let accuracy = [first, second].map(|task| task.oracle.test_accuracy);
        let of = self.both(|run| run.data.samples.test);
        let right = |at: usize| ((accuracy[at] * of[at] as f64).round() as usize, of[at]);
        let found = newcombe(right(0), right(1))?;
        Ok(OraclePair {
            accuracy,
            intervals: [first, second].map(|task| task.oracle.test_interval),
            difference: found.difference,
            interval: found.interval,
            samples: "independent",
            above_chance: [first, second].map(|task| task.above_chance),
        })
    }

    fn depth(&self, first: &[usize], second: &[usize], seed: u64) -> Option<DepthPair> {
        let found = depths(first, second, self.draws, seed)?;
        let neurons = [first, second].map(|row| row.iter().sum::<usize>());
        let all = self.both(|run| run.data.neurons as f64);
        Some(DepthPair {
            neurons,
            share: [0, 1].map(|at| neurons[at] as f64 / all[at]),
            mean: found.mean,
            distance: found.distance,
            p: found.p,
        })
    }

    fn layers(&self, first: &TaskResults, second: &TaskResults) -> Vec<LayerPair> {
        let place = |run: &StudyResults, layer: u32| {
            let layers = &run.data.layers;
            let at = layers.iter().position(|other| *other == layer)?;
            Some(at as f64 / (layers.len() - 1).max(1) as f64)
        };
        let matching = first.layer_selection.iter().filter_map(|one| {
            let mut others = second.layer_selection.iter();
            let other = others.find(|other| other.delta == one.delta)?;
            let depth = [
                place(self.first, one.layer)?,
                place(self.second, other.layer)?,
            ];
            Some(LayerPair {
                delta: one.delta,
                layer: [one.layer, other.layer],
                depth,
                difference: depth[1] - depth[0],
            })
        });
        matching.collect()
    }

    fn sets(&self, first: &TaskResults, second: &TaskResults, same_neurons: bool) -> Vec<SetPair> {
        let all = self.both(|run| run.data.neurons);
        let chance = same_neurons.then(|| Hypergeometric::new(all[0]));
        let matching = first.minimal_sets.iter().filter_map(|one| {
            let same = |set: &&super::results::MinimalSet| {
                set.ranking == one.ranking && set.delta == one.delta
            };
            let other = second.minimal_sets.iter().find(same)?;
            let size = [one.size, other.size];
            let share = [0, 1].map(|at| size[at] as f64 / all[at] as f64);
            let members: BTreeSet<usize> = one.neurons.iter().copied().collect();
            let shared = other.neurons.iter().filter(|n| members.contains(n)).count();
            let union = size[0] + size[1] - shared;
            Some(SetPair {
                ranking: one.ranking.clone(),
                delta: one.delta,
                size,
                share,
                difference: share[1] - share[0],
                shared: same_neurons.then_some(shared),
                jaccard: (same_neurons && union > 0).then(|| shared as f64 / union as f64),
                p: chance
                    .as_ref()
                    .map(|chance| chance.at_least(shared, size[0], size[1])),
            })
        });
        matching.collect()
    }
}

fn selectivity(first: &TaskResults, second: &TaskResults) -> Option<SelectivityPair> {
    let controls = [first.control.as_ref()?, second.control.as_ref()?];
    let selectivity = controls.map(|control| control.selectivity);
    Some(SelectivityPair {
        selectivity,
        spread: controls.map(|control| control.spread),
        difference: selectivity[1] - selectivity[0],
    })
}

/// The first neurons of every ordering that both have, at [`SHARES`] of the neurons.
fn overlaps(
    first: &TaskResults,
    second: &TaskResults,
    neurons: usize,
) -> Result<Vec<OverlapResult>> {
    let chance = Hypergeometric::new(neurons);
    let mut all = Vec::new();
    for (name, one) in &first.rankings {
        let Some(other) = second.rankings.get(name) else {
            continue;
        };
        let (one, other) = (ranking(one), ranking(other));
        for share in SHARES {
            let k = ((neurons as f64 * share).round() as usize).max(1);
            let found = agreement(&one, &other, k)?;
            let members: BTreeSet<usize> = one.order[..k].iter().copied().collect();
            let shared = other.order[..k]
                .iter()
                .filter(|n| members.contains(n))
                .count();
            all.push(OverlapResult {
                ranking: name.clone(),
                share,
                k,
                shared,
                expected: (k * k) as f64 / neurons as f64,
                jaccard: found.jaccard,
                average_overlap: found.average_overlap,
                p: chance.at_least(shared, k, k),
            });
        }
    }
    Ok(all)
}

fn ranking(recorded: &RankingResult) -> Ranking {
    Ranking {
        order: recorded.order.clone(),
        scores: recorded.scores.clone(),
        per_class: Vec::new(),
    }
}
