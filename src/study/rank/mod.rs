//! Orderings of a file's neurons for a task: what `neurosieve rank` does.

mod greedy;
mod method;

use std::collections::BTreeMap;
use std::path::PathBuf;

use ndarray::{Array2, ArrayView2, Axis};
use serde::Serialize;

pub use self::greedy::{SelectionResult, StepResult};
pub use self::method::Method;
use super::clock::Clock;
use super::curves::record;
use super::memory::{self, Allowed};
use super::results::{RankingResult, Timing};
use super::{Progress, stream};
use crate::activations::Activations;
use crate::analysis::agreement::{agreement, borda};
use crate::analysis::ranking::{self, Ranking};
use crate::analysis::single::{SingleNeurons, single_neurons};
use crate::data::{self, PartFiles, ProbeFile, ReadOptions};
use crate::error::{Error, Result};
use crate::labels::Labels;
use crate::ops::Backend;
use crate::ops::moments::{Moments, moments};
use crate::split::Split;

/// Version of the document's layout.
pub const SCHEMA_VERSION: u32 = 1;

/// What to order, and by what.
#[derive(Debug, Clone)]
pub struct RankJob {
    /// Activations and labels.
    pub data: PartFiles,
    /// The task; `None`: the file's primary one.
    pub task: Option<String>,
    /// What the file does not say about itself.
    pub options: ReadOptions,
    /// Other samples of the same neurons, which greedy selections are scored on.
    pub dev: Option<PartFiles>,
    /// The methods, each once; none: all that can be, but the greedy ones.
    pub methods: Vec<Method>,
    /// A probe's weights, for the methods that need them.
    pub probe: Option<PathBuf>,
    /// How many neurons orderings are compared over; `None`: a tenth of them.
    pub depth: Option<usize>,
    /// How many neurons greedy methods select.
    pub select: usize,
    /// λ2 of the probes of forward selection.
    pub l2: f64,
    /// Seed of the random ordering.
    pub seed: u64,
    /// What it may take of the host's memory, where that is bounded.
    pub memory: Option<Allowed>,
}

/// The document of `neurosieve rank`.
#[derive(Debug, Clone, Serialize)]
pub struct RankResults {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Version of neurosieve that made it.
    pub neurosieve_version: String,
    /// The activations.
    pub file: String,
    /// The task.
    pub task: String,
    /// Names of the classes in id order.
    pub classes: Vec<String>,
    /// Number of samples N.
    pub samples: usize,
    /// Number of neurons D.
    pub neurons: usize,
    /// The probe, where one was given.
    pub probe: Option<String>,
    /// The weights that were ordered: those of standardised activations, or of raw ones where the probe's penalty saw these.
    pub probe_weights: Option<&'static str>,
    /// The orderings by method; `borda` is the vote of those that have one ([`Method`]), where there are two or more.
    pub rankings: BTreeMap<&'static str, RankingResult>,
    /// How the greedy methods went, step by step; absent where there were none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub selections: BTreeMap<&'static str, SelectionResult>,
    /// How far each two of them agree.
    pub agreement: Vec<AgreementResult>,
    /// Neurons that orderings were compared over.
    pub depth: usize,
    /// Seed of the random ordering.
    pub seed: u64,
    /// Seconds that each step took.
    pub timings: Vec<Timing>,
}

/// How far two orderings agree.
#[derive(Debug, Clone, Serialize)]
pub struct AgreementResult {
    /// The two.
    pub of: [&'static str; 2],
    /// Mean overlap of their first k neurons, over k up to the depth.
    pub average_overlap: f64,
    /// Jaccard index of their first neurons, as many as the depth.
    pub jaccard: f64,
    /// Spearman's correlation of the places of all neurons; null where an ordering tells none apart.
    pub spearman: Option<f64>,
}

/// Refuses what memory does not hold: from the files' headers.
fn check_memory(job: &RankJob) -> Result<()> {
    let Some(allowed) = job.memory else {
        return Ok(());
    };
    let parts = std::iter::once(&job.data).chain(&job.dev);
    let shapes = memory::shapes(parts, &job.options)?;
    let (samples, neurons) = (shapes[0].samples, shapes[0].neurons);
    // Values in order, with their samples, by each thread; forward selection has the neurons standardised.
    let mut made = 16 * samples * rayon::current_num_threads() as u64;
    if job.methods.contains(&Method::Forward) {
        made += 4 * samples * neurons;
    }
    let holds = "activations of all files and what the methods make of them";
    allowed.beside(&shapes, made, holds).map(drop)
}

/// Reads the data and orders the neurons.
///
/// # Errors
/// When the data cannot be read or do not fit the probe, a method needs a probe and there is none, or the device fails.
pub fn rank(job: &RankJob, observer: &mut dyn FnMut(&Progress<'_>)) -> Result<RankResults> {
    let greedy = job.methods.iter().filter(|method| method.is_greedy());
    let mut clock = Clock::new(3 + greedy.count(), observer);
    clock.step("read");
    check_memory(job)?;
    let Loaded {
        task,
        x,
        labels,
        dev,
    } = load(job)?;
    let probe = job.probe.as_deref().map(data::read_probe).transpose()?;
    let methods = methods(&job.methods, probe.is_some(), &labels)?;
    let weights = match &probe {
        Some(probe) => Some(weights_of(probe, &x, &labels)?),
        None => None,
    };
    clock.step("moments");
    // Natively: F needs more digits of class means than a GPU keeps, and this takes no time.
    let moments = moments(&Backend::Cpu, x.view(), Some(&labels))?;
    clock.step("rankings");
    let sample = (x.view(), &labels, &moments);
    let mut rankings = orderings(&methods, sample, weights.as_ref(), job.seed)?;
    let mut selections = BTreeMap::new();
    let dev = dev.as_ref().map(|d| (d.activations.view(), &d.labels[0]));
    for method in methods.iter().filter(|method| method.is_greedy()) {
        clock.step(method.name());
        let parts = ((x.view(), &labels), dev);
        let mut heard = |share| clock.fraction(share);
        let (ranking, selection) = greedy::select(*method, parts, &moments, job, &mut heard)?;
        rankings.insert(method.name(), ranking);
        selections.insert(method.name(), selection);
    }
    let neurons = x.neurons();
    let depth = job.depth.unwrap_or(neurons / 10).clamp(1, neurons);
    let agreement = agreements(&rankings, depth)?;
    let result = |ranking: &Ranking| record(ranking, labels.classes());
    Ok(RankResults {
        schema_version: SCHEMA_VERSION,
        neurosieve_version: env!("CARGO_PKG_VERSION").into(),
        file: job.data.activations.display().to_string(),
        task,
        samples: x.samples(),
        neurons,
        probe: job.probe.as_ref().map(|path| path.display().to_string()),
        probe_weights: probe.as_ref().map(|probe| match probe.standardised {
            true => "standardised",
            false => "raw",
        }),
        rankings: rankings
            .iter()
            .map(|(name, r)| (*name, result(r)))
            .collect(),
        selections,
        classes: labels.classes().to_vec(),
        agreement,
        depth,
        seed: job.seed,
        timings: clock.finish(),
    })
}

/// The orderings of activations at hand by all of the methods but the greedy ones, and their vote where two or more have one
/// ([`Method`]); without methods by all that can be. `sample` are activations (N × D), labels and the moments that were taken
/// with these; `weights` (C × D) those of a probe.
///
/// # Errors
/// When shapes do not fit one another, fewer than two classes occur, or a method needs a probe and there is none.
pub fn orderings(
    methods: &[Method],
    (x, labels, moments): (ArrayView2<'_, f32>, &Labels, &Moments),
    weights: Option<&Array2<f32>>,
    seed: u64,
) -> Result<BTreeMap<&'static str, Ranking>> {
    let methods = self::methods(methods, weights.is_some(), labels)?;
    let single = match methods.iter().any(|m| m.looks_at_single_neurons()) {
        true => Some(single_neurons(x, labels)?),
        false => None,
    };
    let known = Known {
        moments,
        labels,
        weights,
        single: single.as_ref(),
        seed,
    };
    known.rankings(&methods)
}

/// What the job's files hold.
struct Loaded {
    task: String,
    x: Activations,
    labels: Labels,
    dev: Option<Split>,
}

fn load(job: &RankJob) -> Result<Loaded> {
    let wanted: Vec<String> = job.task.iter().cloned().collect();
    let parts: Vec<&PartFiles> = std::iter::once(&job.data).chain(&job.dev).collect();
    let (mut tasks, splits) = data::read_splits(&parts, &wanted, &job.options)?;
    let mut splits = splits.into_iter();
    let mut train = splits.next().expect("a split a part");
    let dev = splits.next();
    if let Some(dev) = dev
        .as_ref()
        .filter(|dev| dev.activations.layers() != train.activations.layers())
    {
        return Err(Error::invalid(
            "dev of a ranking",
            format!(
                "it has {} neurons, the data {}, or they are of other layers",
                dev.activations.neurons(),
                train.activations.neurons()
            ),
            "Give samples of the same neurons",
        ));
    }
    Ok(Loaded {
        task: tasks.remove(0),
        labels: train.labels.remove(0),
        x: train.activations,
        dev,
    })
}

/// The methods that were asked for, or all that can be and take no time.
fn methods(asked: &[Method], has_probe: bool, labels: &Labels) -> Result<Vec<Method>> {
    let classes = labels.present().len();
    if classes < 2 {
        return Err(Error::invalid(
            "labels of a ranking",
            format!("{classes} class occurs"),
            "Rankings compare classes: give at least two",
        ));
    }
    if let Some(method) = asked.iter().find(|m| m.needs_probe() && !has_probe) {
        return Err(Error::invalid(
            format!("ranking by {}", method.name()),
            "it orders the weights of a probe, and none was given",
            "Give a probe: on the command line --probe, a file that `neurosieve probe` wrote",
        ));
    }
    if !asked.is_empty() {
        return Ok(asked.to_vec());
    }
    let can_be = |method: &Method| match method {
        Method::Anova => labels.len() > classes,
        greedy if greedy.is_greedy() => false,
        other => has_probe || !other.needs_probe(),
    };
    Ok(Method::ALL.into_iter().filter(can_be).collect())
}

/// The probe's weights by the classes of the data: it may know others as well, of dev and test.
fn weights_of(probe: &ProbeFile, x: &Activations, labels: &Labels) -> Result<Array2<f32>> {
    let refused = |problem: String| {
        let fix = "Give a probe that was fitted on the same neurons and task";
        Err(Error::invalid("probe of a ranking", problem, fix))
    };
    let (theirs, ours) = (probe.weights.ncols(), x.neurons());
    if theirs != ours {
        return refused(format!("it is of {theirs} neurons, the data of {ours}"));
    }
    let Some(known) = &probe.classes else {
        return refused("it predicts values, not classes".into());
    };
    let mut rows = Vec::new();
    for class in labels.classes() {
        match known.iter().position(|name| name == class) {
            Some(row) => rows.push(row),
            None => {
                return refused(format!(
                    "it does not know the class \"{class}\" of the data"
                ));
            }
        }
    }
    Ok(probe.weights.select(Axis(0), &rows))
}

/// What rankings follow from.
struct Known<'a> {
    moments: &'a Moments,
    labels: &'a Labels,
    weights: Option<&'a Array2<f32>>,
    single: Option<&'a SingleNeurons>,
    seed: u64,
}

impl Known<'_> {
    /// The orderings by all but the greedy methods, and their vote where two or more have one.
    fn rankings(&self, methods: &[Method]) -> Result<BTreeMap<&'static str, Ranking>> {
        let mut rankings = BTreeMap::new();
        for method in methods.iter().filter(|method| !method.is_greedy()) {
            rankings.insert(method.name(), self.ranking(*method)?);
        }
        let voters = methods.iter().filter(|method| method.votes());
        let voters: Vec<&Ranking> = voters.map(|method| &rankings[method.name()]).collect();
        if voters.len() > 1 {
            let points = borda(&voters)?;
            rankings.insert(
                "borda",
                Ranking::overall(points, self.labels.classes().len()),
            );
        }
        Ok(rankings)
    }

    fn ranking(&self, method: Method) -> Result<Ranking> {
        let weights = || self.weights.expect("it was checked").view();
        let single = || self.single.expect("they were scored");
        match method {
            Method::Lca => ranking::lca(weights()),
            Method::LargestWeight => ranking::largest_weight(weights()),
            Method::Probeless => {
                let means = ranking::standardised_means(self.moments).expect("of classes");
                ranking::probeless(means.view(), &self.labels.present())
            }
            Method::Anova => ranking::anova(self.moments, self.labels),
            Method::MeanDifference => ranking::mean_difference(self.moments, self.labels),
            Method::Information => Ok(single().by_information()),
            Method::Auroc => Ok(single().by_auroc()),
            Method::AveragePrecision => Ok(single().by_average_precision()),
            Method::Accuracy => Ok(single().by_accuracy()),
            Method::Gaussian | Method::Forward => unreachable!("they are selections"),
            Method::Random => {
                let neurons = self.moments.mean.len();
                let order = ranking::random_order(neurons, stream(self.seed, 0));
                let mut scores = vec![0.0; neurons];
                for (place, neuron) in order.iter().enumerate() {
                    scores[*neuron] = (neurons - place) as f64;
                }
                Ok(Ranking::overall(scores, self.labels.classes().len()))
            }
        }
    }
}

fn agreements(
    rankings: &BTreeMap<&'static str, Ranking>,
    depth: usize,
) -> Result<Vec<AgreementResult>> {
    let mut all = Vec::new();
    for (place, (a, left)) in rankings.iter().enumerate() {
        for (b, right) in rankings.iter().skip(place + 1) {
            let found = agreement(left, right, depth)?;
            all.push(AgreementResult {
                of: [*a, *b],
                average_overlap: found.average_overlap,
                jaccard: found.jaccard,
                spearman: found.spearman.is_finite().then_some(found.spearman),
            });
        }
    }
    Ok(all)
}
