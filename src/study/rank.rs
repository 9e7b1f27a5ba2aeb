//! Orderings of a file's neurons for a task: what `neurosieve rank` does.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ndarray::{Array2, Axis};
use serde::{Deserialize, Serialize};

use super::clock::Clock;
use super::curves::record;
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

/// Version of the document's layout.
pub const SCHEMA_VERSION: u32 = 1;

/// By what neurons are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Cumulative weight mass of a probe.
    Lca,
    /// Largest weight of a probe.
    LargestWeight,
    /// Distances of standardised class means.
    Probeless,
    /// F of the analysis of variance.
    Anova,
    /// Difference of a class's mean from the rest's.
    MeanDifference,
    /// Mutual information with the class.
    Information,
    /// Area under the ROC curve of the neuron alone.
    Auroc,
    /// Average precision of the neuron alone.
    AveragePrecision,
    /// Accuracy of the neuron's best threshold.
    Accuracy,
    /// None: the rival of all.
    Random,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Lca,
        Self::LargestWeight,
        Self::Probeless,
        Self::Anova,
        Self::MeanDifference,
        Self::Information,
        Self::Auroc,
        Self::AveragePrecision,
        Self::Accuracy,
        Self::Random,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lca => "lca",
            Self::LargestWeight => "largest-weight",
            Self::Probeless => "probeless",
            Self::Anova => "anova",
            Self::MeanDifference => "mean-difference",
            Self::Information => "information",
            Self::Auroc => "auroc",
            Self::AveragePrecision => "average-precision",
            Self::Accuracy => "accuracy",
            Self::Random => "random",
        }
    }

    /// Whether it needs a probe.
    pub fn needs_probe(self) -> bool {
        matches!(self, Self::Lca | Self::LargestWeight)
    }

    fn looks_at_single_neurons(self) -> bool {
        matches!(
            self,
            Self::Information | Self::Auroc | Self::AveragePrecision | Self::Accuracy
        )
    }
}

/// What to order, and by what.
#[derive(Debug, Clone)]
pub struct RankJob {
    /// Activations and labels.
    pub data: PartFiles,
    /// The task; `None`: the file's primary one.
    pub task: Option<String>,
    /// What the file does not say about itself.
    pub options: ReadOptions,
    /// The methods, each once; none: all that can be.
    pub methods: Vec<Method>,
    /// A probe's weights, for the methods that need them.
    pub probe: Option<PathBuf>,
    /// How many neurons orderings are compared over; `None`: a tenth of them.
    pub depth: Option<usize>,
    /// Seed of the random ordering.
    pub seed: u64,
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
    /// The orderings by method; `borda` is the vote of all but the random one and accuracy, whose best threshold is for most
    /// neurons the share of the largest class, where there are two or more.
    pub rankings: BTreeMap<&'static str, RankingResult>,
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

/// Reads the data and orders the neurons.
///
/// # Errors
/// When the data cannot be read or do not fit the probe, a method needs a probe and there is none, or the device fails.
pub fn rank(job: &RankJob, observer: &mut dyn FnMut(&Progress<'_>)) -> Result<RankResults> {
    let mut clock = Clock::new(3, observer);
    clock.step("read");
    let wanted: Vec<String> = job.task.iter().cloned().collect();
    let (mut tasks, mut splits) = data::read_splits(&[&job.data], &wanted, &job.options)?;
    let (task, mut split) = (tasks.remove(0), splits.remove(0));
    let (x, labels) = (split.activations, split.labels.remove(0));
    let probe = job.probe.as_deref().map(data::read_probe).transpose()?;
    let methods = methods(job, &labels)?;
    let weights = match &probe {
        Some(probe) => Some(weights_of(probe, &x, &labels)?),
        None => None,
    };
    clock.step("moments");
    // Natively: F needs more digits of class means than a GPU keeps, and this takes no time.
    let moments = moments(&Backend::Cpu, x.view(), Some(&labels))?;
    clock.step("rankings");
    let mut rankings = BTreeMap::new();
    let single = match methods.iter().any(|m| m.looks_at_single_neurons()) {
        true => Some(single_neurons(x.view(), &labels)?),
        false => None,
    };
    for method in &methods {
        let known = Known {
            moments: &moments,
            labels: &labels,
            weights: weights.as_ref(),
            single: single.as_ref(),
            seed: job.seed,
        };
        rankings.insert(method.name(), known.ranking(*method)?);
    }
    let silent = [Method::Random.name(), Method::Accuracy.name()];
    let voters: Vec<&Ranking> = rankings
        .iter()
        .filter(|(name, _)| !silent.contains(name))
        .map(|(_, ranking)| ranking)
        .collect();
    if voters.len() > 1 {
        let points = borda(&voters)?;
        rankings.insert("borda", Ranking::overall(points, labels.classes().len()));
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
        classes: labels.classes().to_vec(),
        agreement,
        depth,
        seed: job.seed,
        timings: clock.finish(),
    })
}

/// The methods that were asked for, or all that can be.
fn methods(job: &RankJob, labels: &Labels) -> Result<Vec<Method>> {
    let classes = labels.present().len();
    if classes < 2 {
        return Err(Error::invalid(
            "labels of a ranking",
            format!("{classes} class occurs"),
            "Rankings compare classes: give at least two",
        ));
    }
    let has_probe = job.probe.is_some();
    if let Some(method) = job.methods.iter().find(|m| m.needs_probe() && !has_probe) {
        return Err(Error::invalid(
            format!("ranking by {}", method.name()),
            "it orders the weights of a probe, and none was given",
            "Give --probe, a file that `neurosieve probe` wrote",
        ));
    }
    if !job.methods.is_empty() {
        return Ok(job.methods.clone());
    }
    let can_be = |method: &Method| match method {
        Method::Anova => labels.len() > classes,
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
