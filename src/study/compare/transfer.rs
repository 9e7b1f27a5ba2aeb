//! Minimal sets of one run, retrained on another's data: what `neurosieve compare --transfer` does.

use super::Studied;
use super::results::{
    AboveRandom, AgainstOwn, CompareResults, SetAccuracy, TransferPlan, TransferResult,
};
use crate::analysis::bootstrap::Units;
use crate::analysis::holm::holm;
use crate::analysis::random_sets::random_sets;
use crate::analysis::ranking;
use crate::analysis::search::{Prober, Target};
use crate::analysis::transfer::{self, Sets};
use crate::analysis::uncertainty::wilson;
use crate::error::{Error, Result};
use crate::ops::Backend;
use crate::ops::moments::{Moments, Spread, moments};
use crate::split::Dataset;
use crate::study::results::{Distribution, MinimalSet, TaskResults};
use crate::study::sets::NEIGHBOURS;
use crate::study::{Progress, Spec, load, run, stream};

/// Random sets beside each carried one where no number is given: with a set of each of two orderings the smallest p that
/// Holm's correction leaves is 2 / 41, below 0.05.
pub const RANDOM_SETS: usize = 40;

/// Which sets are carried over, and what they are set beside.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Asked {
    /// The sets of the δ nearest to this.
    pub delta: f64,
    /// Random sets beside each.
    pub random_sets: usize,
    /// Seed of their draws.
    pub seed: u64,
}

/// Retrains minimal sets of the first run of every pair on the data of the second, which are read from where its study read
/// them, and puts the figures into `results`.
///
/// # Errors
/// When the runs of a pair have other neurons, results do not hold their specification, data are missing or others than
/// those that were studied, or the device fails.
pub fn transfer(
    studies: &[Studied],
    results: &mut CompareResults,
    asked: Asked,
    backend: &Backend,
    observer: &mut dyn FnMut(&Progress<'_>),
) -> Result<()> {
    for pair in &results.pairs {
        if !pair.same_neurons {
            return Err(other_neurons(pair.runs.map(|run| &studies[run])));
        }
    }
    let of = results.pairs.len();
    for (at, pair) in results.pairs.iter_mut().enumerate() {
        let [first, second] = pair.runs.map(|run| &studies[run]);
        let step = format!("run {} in run {}", pair.runs[0] + 1, pair.runs[1] + 1);
        let mut heard = |fraction: f64| {
            observer(&Progress {
                step: &step,
                number: at + 1,
                of,
                fraction,
            });
        };
        heard(0.0);
        let spec = specification(second)?;
        let data = data(second, spec)?;
        let other = Other {
            moments: moments(&Backend::Cpu, data.train().activations.view(), None)?,
            spec,
            data: &data,
            backend,
            asked,
        };
        let tasks = pair.tasks.len() as f64;
        for (number, task) in pair.tasks.iter_mut().enumerate() {
            let runs = (task_of(first, &task.name)?, task_of(second, &task.name)?);
            other.check(&second.file, runs.1)?;
            let draws = stream(stream(asked.seed, at as u64), number as u64);
            let mut share = |done: f64| heard((number as f64 + done) / tasks);
            let found = other.task(runs, draws, &mut share, &mut pair.notes)?;
            task.transfer = Some(found);
        }
    }
    let carried = correct(results)?;
    let least = carried as f64 / (asked.random_sets + 1) as f64;
    if least >= 0.05 {
        let note = format!(
            "{carried} sets are carried in all, beside {} random ones each: corrected for that, no p can be below {least:.2}; ask for {} random sets or more",
            asked.random_sets,
            20 * carried
        );
        for pair in &mut results.pairs {
            pair.notes.push(note.clone());
        }
    }
    results.transfer = Some(TransferPlan {
        delta: asked.delta,
        random_sets: asked.random_sets,
    });
    Ok(())
}

fn other_neurons(runs: [&Studied; 2]) -> Error {
    let of = runs.map(|run| {
        let data = &run.results.data;
        format!(
            "{} has {} in {} layers",
            run.file,
            data.neurons,
            data.layers.len()
        )
    });
    Error::invalid(
        "transfer",
        format!("the runs have other neurons: {}", of.join(", ")),
        "Carry sets between runs whose neurons correspond, such as a model and one fine-tuned from it",
    )
}

fn specification(run: &Studied) -> Result<&Spec> {
    run.results.spec.as_ref().ok_or_else(|| {
        Error::file(
            run.file.as_ref(),
            "spec",
            "it does not hold the specification of its study, which an earlier version left out",
            "Run the study again",
        )
    })
}

fn task_of<'a>(run: &'a Studied, name: &str) -> Result<&'a TaskResults> {
    let mut tasks = run.results.tasks.iter();
    let found = tasks.find(|task| task.name == name);
    found.ok_or_else(|| {
        let fix = "Compare these runs anew";
        Error::file(run.file.as_ref(), name, "it has no such task", fix)
    })
}

/// The data that a study read, as long as they are still those.
fn data(run: &Studied, spec: &Spec) -> Result<Dataset> {
    let parts = &spec.data;
    for part in [&parts.train, &parts.dev, &parts.test] {
        let labels = part.labels.values();
        for file in labels.chain([&part.activations]).chain(&part.words) {
            if !file.exists() {
                return Err(Error::invalid(
                    format!("data of {}", run.file),
                    format!("{} is not there", file.display()),
                    "Compare in the folder in which the study ran, with its data where they were",
                ));
            }
        }
    }
    let data = load(spec)?;
    let known = &run.results.data;
    let map = data.train().activations.layers();
    let same_neurons = map.neurons() == known.neurons
        && (0..known.neurons)
            .all(|n| map.layer(n) == known.layer_of[n] && map.unit(n) == known.unit_of[n]);
    let samples = [data.train(), data.dev(), data.test()].map(|part| part.activations.samples());
    let were = [known.samples.train, known.samples.dev, known.samples.test];
    if !same_neurons || samples != were {
        return Err(Error::invalid(
            format!("data of {}", run.file),
            format!(
                "the files hold {} neurons and {samples:?} samples of train, dev and test, the study had {} and {were:?}",
                map.neurons(),
                known.neurons
            ),
            "Put back the data that were studied, or run the study again",
        ));
    }
    Ok(data)
}

/// The run whose data the sets are retrained on.
struct Other<'a> {
    moments: Moments,
    spec: &'a Spec,
    data: &'a Dataset,
    backend: &'a Backend,
    asked: Asked,
}

/// The probeless scores of the same data agree to this share of the largest on any device.
const SAME: f64 = 1e-4;

impl Other<'_> {
    /// That the files hold what was studied, not something else of the same shape: the same classes with as many samples,
    /// and class means that give the probeless scores which the results hold.
    fn check(&self, run: &str, task: &TaskResults) -> Result<()> {
        let others = |what: String| {
            Error::invalid(
                format!("data of {run}"),
                format!("task {}: {what} than in the study", task.name),
                "Compare in the folder in which the study ran, with its data where they were, or run the study again",
            )
        };
        let (place, _) = self.known(task)?;
        let train = self.data.train();
        let labels = &train.labels[place];
        let classes = labels.classes().iter().zip(labels.counts());
        let were = task.classes.iter().map(|c| (&c.name, c.samples.train));
        if !classes.eq(were) {
            return Err(others("the classes of train are others".to_owned()));
        }
        let Some(studied) = task.rankings.get("probeless") else {
            return Ok(());
        };
        let by_class = moments(&Backend::Cpu, train.activations.view(), Some(labels))?;
        let Some(means) = ranking::standardised_means(&by_class) else {
            return Ok(());
        };
        let now = ranking::probeless(means.view(), &labels.present())?.scores;
        let largest = studied.scores.iter().copied().fold(0.0, f64::max);
        let scores = now.iter().zip(&studied.scores);
        let differs = |(now, studied): (&f64, &f64)| (now - studied).abs() > SAME * largest;
        match scores.map(differs).position(|differs| differs) {
            None => Ok(()),
            Some(neuron) => Err(others(format!(
                "the class means of neuron {neuron} are others"
            ))),
        }
    }

    fn task(
        &self,
        (first, second): (&TaskResults, &TaskResults),
        draws: u64,
        progress: &mut dyn FnMut(f64),
        notes: &mut Vec<String>,
    ) -> Result<Vec<TransferResult>> {
        let far = |set: &MinimalSet| (set.delta - self.asked.delta).abs();
        let nearest = first.minimal_sets.iter().map(far).min_by(f64::total_cmp);
        let sets: Vec<&MinimalSet> = first
            .minimal_sets
            .iter()
            .filter(|set| Some(far(set)) == nearest)
            .collect();
        let mut found = Vec::with_capacity(sets.len());
        for (at, set) in sets.iter().enumerate() {
            let name = (&second.name, &set.ranking);
            if !second.rankings.contains_key(&set.ranking) {
                notes.push(format!(
                    "{}: the {} set is not carried, since the second run has no such ordering",
                    name.0, name.1
                ));
                continue;
            }
            let mut share = |done: f64| progress((at as f64 + done) / sets.len() as f64);
            match self.set(set, second, stream(draws, at as u64), &mut share)? {
                Some(one) => found.push(one),
                None => notes.push(format!(
                    "{}: the {} set is not carried, since it has as many neurons as vary",
                    name.0, name.1
                )),
            }
        }
        Ok(found)
    }

    /// The place of a task among those of the data, and of its oracle's penalty on its path.
    fn known(&self, task: &TaskResults) -> Result<(usize, usize)> {
        let names = self.data.tasks();
        let place = names.iter().position(|name| *name == task.name);
        let mut path = task.lambda_path.iter();
        let chosen = path.position(|point| point.l1.total_cmp(&task.oracle.l1).is_eq());
        place.zip(chosen).ok_or_else(|| {
            Error::invalid(
                format!("results of task {}", task.name),
                "the task is not one of the specification, or the oracle's penalty none of its path",
                "Give the unchanged results.json of a finished study",
            )
        })
    }

    /// `None` where the set has as many neurons as vary: every random set would be all of them.
    fn set(
        &self,
        set: &MinimalSet,
        second: &TaskResults,
        seed: u64,
        progress: &mut dyn FnMut(f64),
    ) -> Result<Option<TransferResult>> {
        let spread = &self.moments.spread;
        let varies = |&n: &usize| spread[n] == Spread::Varies;
        let varying: Vec<usize> = (0..spread.len()).filter(varies).collect();
        if set.size >= varying.len() {
            return Ok(None);
        }
        let (task, chosen) = self.known(second)?;
        let (train, dev, test) = (self.data.train(), self.data.dev(), self.data.test());
        let prober = Prober {
            backend: self.backend,
            moments: &self.moments,
            train: train.activations.view(),
            dev: dev.activations.view(),
            params: run::params(&self.spec.probe, self.spec.seed),
            rule: self.spec.probe.rule,
            dev_sentences: dev.tokens.as_ref().map(|tokens| &*tokens.sentences),
            keeper: None,
            streamed: None,
        };
        let penalties = run::penalties(&self.spec.probe).around(chosen, NEIGHBOURS);
        let own = &second.rankings[&set.ranking].order[..set.size];
        let units = match &test.tokens {
            Some(tokens) => Units::sentences(&tokens.sentences)?,
            None => Units::samples(test.activations.samples()),
        };
        let random = random_sets(&varying, set.size, self.asked.random_sets, seed)?;
        let found = transfer::transfer(
            &prober,
            Target {
                train: &train.labels[task],
                dev: &dev.labels[task],
            },
            &penalties,
            Sets {
                carried: &set.neurons,
                own,
                random: &random,
            },
            (test.activations.view(), &test.labels[task], &units),
            progress,
        )?;
        Ok(Some(record(set, own, spread, &found)))
    }
}

fn record(
    set: &MinimalSet,
    own: &[usize],
    spread: &[Spread],
    found: &transfer::Transfer,
) -> TransferResult {
    let accuracy = |figures: transfer::Figures, correct: usize| SetAccuracy {
        dev_accuracy: figures.dev_accuracy,
        test_accuracy: figures.test_accuracy,
        test_interval: wilson(correct, found.against_own.total),
    };
    let paired = &found.against_own;
    let of = |which: fn(&transfer::Figures) -> f64| {
        let values: Vec<f64> = found.random.iter().map(which).collect();
        Distribution::of(&values)
    };
    TransferResult {
        ranking: set.ranking.clone(),
        delta: set.delta,
        size: set.size,
        constant: (set.neurons.iter())
            .filter(|&&n| spread[n] != Spread::Varies)
            .count(),
        shared: set.neurons.iter().filter(|n| own.contains(n)).count(),
        first_test_accuracy: set.test_accuracy,
        carried: accuracy(found.carried, found.correct[0]),
        own: accuracy(found.own, found.correct[1]),
        against_own: AgainstOwn {
            only_own: paired.only_first,
            only_carried: paired.only_second,
            difference: paired.difference,
            interval: paired.interval,
            p: paired.p,
            p_holm: paired.p,
        },
        random: AboveRandom {
            draws: found.random.len(),
            dev: of(|figures| figures.dev_accuracy),
            test: of(|figures| figures.test_accuracy),
            as_good: found.as_good,
            difference: found.above_random,
            interval: found.above_random_interval,
            p: found.p,
            p_holm: found.p,
        },
    }
}

/// Corrects the two kinds of p over all carried sets of the document (Holm 1979), each kind by itself. Returns how many sets
/// there are.
fn correct(results: &mut CompareResults) -> Result<usize> {
    let tasks = results.pairs.iter_mut().flat_map(|pair| &mut pair.tasks);
    let mut all: Vec<&mut TransferResult> = tasks
        .flat_map(|task| task.transfer.iter_mut().flatten())
        .collect();
    let own: Vec<f64> = all.iter().map(|found| found.against_own.p).collect();
    let random: Vec<f64> = all.iter().map(|found| found.random.p).collect();
    let corrected = holm(&own)?.into_iter().zip(holm(&random)?);
    for (found, (own, random)) in all.iter_mut().zip(corrected) {
        found.against_own.p_holm = own;
        found.random.p_holm = random;
    }
    Ok(own.len())
}
