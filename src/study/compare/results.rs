//! What `neurosieve compare` finds, in the form of its JSON document (`schema_version` 1).
//!
//! Differences are the second run's figure minus the first's. What two runs do not allow to compare is null, and
//! `notes` says why.

use serde::Serialize;

use crate::study::results::{DeviceUsed, Distribution};

/// Version of the document's layout.
pub const SCHEMA_VERSION: u32 = 1;

/// The document.
#[derive(Debug, Clone, Serialize)]
pub struct CompareResults {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Version of neurosieve that made it.
    pub neurosieve_version: String,
    /// Random draws behind each p of a distribution over depth.
    pub draws: usize,
    /// Their seed.
    pub seed: u64,
    /// How sets were carried over; null where none were.
    pub transfer: Option<TransferPlan>,
    /// The runs.
    pub runs: Vec<Run>,
    /// Each two of them.
    pub pairs: Vec<RunPair>,
}

/// A run.
#[derive(Debug, Clone, Serialize)]
pub struct Run {
    /// Its results.
    pub file: String,
    /// The study's name.
    pub name: String,
    /// Version of neurosieve that ran it.
    pub neurosieve_version: String,
    /// Its seed.
    pub seed: u64,
    /// Where it ran.
    pub device: DeviceUsed,
    /// Neurons D.
    pub neurons: usize,
    /// Layers.
    pub layers: usize,
    /// Samples of test.
    pub test_samples: usize,
    /// Its tasks.
    pub tasks: Vec<String>,
    /// What it found for each of them, as far as runs are compared in it.
    pub found: Vec<RunTask>,
    /// What it warned of.
    pub warnings: Vec<String>,
}

/// A task of one run.
#[derive(Debug, Clone, Serialize)]
pub struct RunTask {
    /// The task.
    pub name: String,
    /// Its classes.
    pub classes: Vec<String>,
    /// Test accuracy of always answering train's most frequent class.
    pub majority_accuracy: f64,
    /// Test accuracy of the probe on all neurons.
    pub test_accuracy: f64,
    /// 95 % Wilson interval of that.
    pub test_interval: [f64; 2],
    /// Whether it is above always answering the most frequent class.
    pub above_chance: bool,
    /// Accuracy minus that of the control task; null without one.
    pub selectivity: Option<f64>,
    /// Its 95 % interval, over test's sentences and the control task's draws; null of a single draw.
    pub selectivity_interval: Option<[f64; 2]>,
    /// Share of each class's weight mass that defines a salient neuron.
    pub mass: f64,
    /// Salient neurons of each layer, lowest first.
    pub salient_by_layer: Vec<usize>,
    /// Salient neurons of each class, in the order of `classes`; one neuron may be of several.
    pub salient_by_class: Vec<usize>,
}

/// Two runs.
#[derive(Debug, Clone, Serialize)]
pub struct RunPair {
    /// Their places in `runs`.
    pub runs: [usize; 2],
    /// Whether both have as many neurons, in the same layers and units: then neurons are compared by their ids.
    pub same_neurons: bool,
    /// What could not be compared, and what a comparison takes for granted.
    pub notes: Vec<String>,
    /// Clusters at each threshold that both have.
    pub clusters: Vec<ClusterShares>,
    /// One entry a task that both have.
    pub tasks: Vec<TaskPair>,
}

/// Clusters at one threshold.
#[derive(Debug, Clone, Serialize)]
pub struct ClusterShares {
    /// The threshold.
    pub threshold: f64,
    /// Clusters over neurons: the smaller, the more redundant.
    pub share: [f64; 2],
    /// Second minus first.
    pub difference: f64,
}

/// A task of two runs.
#[derive(Debug, Clone, Serialize)]
pub struct TaskPair {
    /// The task.
    pub name: String,
    /// Whether both have the same classes.
    pub same_classes: bool,
    /// Accuracies of the probes on all neurons.
    pub oracle: OraclePair,
    /// Selectivity, where both runs have control tasks.
    pub selectivity: Option<SelectivityPair>,
    /// Where salient neurons sit; null where a run has none.
    pub depth: Option<DepthPair>,
    /// The same by class, for the classes that both have.
    pub classes: Vec<ClassPair>,
    /// Jensen–Shannon divergence (base 2) of the salient neurons' distributions over the classes; null where classes
    /// differ.
    pub class_divergence: Option<f64>,
    /// The lowest layers that suffice, at each δ that both have.
    pub layer_selection: Vec<LayerPair>,
    /// The first neurons of each ordering that both have; null where the runs' neurons differ.
    pub overlaps: Option<Vec<OverlapResult>>,
    /// Minimal sets of each ordering and δ that both have.
    pub minimal_sets: Vec<SetPair>,
    /// Minimal sets of the first run on the data of the second; null where that was not asked for.
    pub transfer: Option<Vec<TransferResult>>,
}

/// Accuracies of two oracles.
#[derive(Debug, Clone, Serialize)]
pub struct OraclePair {
    /// Of each.
    pub accuracy: [f64; 2],
    /// 95 % Wilson intervals.
    pub intervals: [[f64; 2]; 2],
    /// Second minus first.
    pub difference: f64,
    /// Its 95 % interval, Newcombe's for independent samples.
    pub interval: [f64; 2],
    /// Always `independent`: results do not say which samples were right.
    pub samples: &'static str,
    /// Whether each is above always answering the most frequent class.
    pub above_chance: [bool; 2],
}

/// Selectivities.
#[derive(Debug, Clone, Serialize)]
pub struct SelectivityPair {
    /// Oracle minus control task, of each.
    pub selectivity: [f64; 2],
    /// Half-range of the control tasks' draws.
    pub spread: [f64; 2],
    /// Second minus first.
    pub difference: f64,
}

/// Where salient neurons of two runs sit.
#[derive(Debug, Clone, Serialize)]
pub struct DepthPair {
    /// Salient neurons of each.
    pub neurons: [usize; 2],
    /// The same over all neurons.
    pub share: [f64; 2],
    /// Mean relative depth: 0 in the lowest layer, 1 in the highest.
    pub mean: [f64; 2],
    /// 1-Wasserstein distance over relative depth.
    pub distance: f64,
    /// Share of the draws that are at least as far apart.
    pub p: f64,
}

/// A class of two runs.
#[derive(Debug, Clone, Serialize)]
pub struct ClassPair {
    /// The class.
    pub class: String,
    /// Salient neurons of each.
    pub neurons: [usize; 2],
    /// Where they sit; null where a run has none.
    pub depth: Option<DepthPair>,
}

/// The lowest layer that suffices.
#[derive(Debug, Clone, Serialize)]
pub struct LayerPair {
    /// δ.
    pub delta: f64,
    /// The layers.
    pub layer: [u32; 2],
    /// Their relative depth.
    pub depth: [f64; 2],
    /// Second minus first.
    pub difference: f64,
}

/// The first neurons of the same ordering in two runs.
#[derive(Debug, Clone, Serialize)]
pub struct OverlapResult {
    /// The ordering.
    pub ranking: String,
    /// Share of the neurons.
    pub share: f64,
    /// Their number, at least 1.
    pub k: usize,
    /// Neurons that are among the first k of both.
    pub shared: usize,
    /// As many are at random: k² / D.
    pub expected: f64,
    /// Shared over those of either.
    pub jaccard: f64,
    /// Mean overlap of the first 1, 2 … k.
    pub average_overlap: f64,
    /// How likely two random sets share so many (hypergeometric).
    pub p: f64,
}

/// Minimal sets of two runs.
#[derive(Debug, Clone, Serialize)]
pub struct SetPair {
    /// The ordering.
    pub ranking: String,
    /// δ.
    pub delta: f64,
    /// Neurons.
    pub size: [usize; 2],
    /// The same over all neurons.
    pub share: [f64; 2],
    /// Second minus first.
    pub difference: f64,
    /// Neurons of both sets; null where the runs' neurons differ.
    pub shared: Option<usize>,
    /// Shared over those of either.
    pub jaccard: Option<f64>,
    /// How likely random sets of these sizes share so many (hypergeometric).
    pub p: Option<f64>,
}

/// What was asked of a transfer.
#[derive(Debug, Clone, Serialize)]
pub struct TransferPlan {
    /// The sets of the δ nearest to this were carried over.
    pub delta: f64,
    /// Random sets beside each.
    pub random_sets: usize,
}

/// A minimal set of the first run retrained on the second run's train, at the penalty that its dev prefers there, and judged
/// on its test.
#[derive(Debug, Clone, Serialize)]
pub struct TransferResult {
    /// The ordering.
    pub ranking: String,
    /// δ in the first run.
    pub delta: f64,
    /// Neurons of every set here.
    pub size: usize,
    /// Carried neurons that do not vary in the second run's train.
    pub constant: usize,
    /// Carried neurons that are in the second run's own set too.
    pub shared: usize,
    /// Test accuracy of the set in the first run.
    pub first_test_accuracy: f64,
    /// The carried set.
    pub carried: SetAccuracy,
    /// The second run's own: the first `size` neurons of its same ordering.
    pub own: SetAccuracy,
    /// Carried against own, on the same samples of test.
    pub against_own: AgainstOwn,
    /// Carried beside random sets of neurons that vary in the second run.
    pub random: AboveRandom,
}

/// Accuracy of a retrained set.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct SetAccuracy {
    /// On dev.
    pub dev_accuracy: f64,
    /// On test.
    pub test_accuracy: f64,
    /// 95 % Wilson interval of that.
    pub test_interval: [f64; 2],
}

/// The carried set against the second run's own.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct AgainstOwn {
    /// Samples that only the own set's probe gets right.
    pub only_own: usize,
    /// Samples that only the carried set's probe gets right.
    pub only_carried: usize,
    /// Accuracy of the carried set minus that of the own one.
    pub difference: f64,
    /// 95 % interval of the difference (Tango 1998).
    pub interval: [f64; 2],
    /// Two-sided p of McNemar's exact test.
    pub p: f64,
    /// The same corrected over all carried sets of the document (Holm 1979).
    pub p_holm: f64,
}

/// The carried set beside random sets.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct AboveRandom {
    /// Random sets R.
    pub draws: usize,
    /// Their accuracies on dev.
    pub dev: Distribution,
    /// Their accuracies on test.
    pub test: Distribution,
    /// How many are at least as good on test.
    pub as_good: usize,
    /// Test accuracy of the carried set minus their mean.
    pub difference: f64,
    /// 95 % interval of the difference over test's sentences (samples where they are not known) and random sets.
    pub interval: Option<[f64; 2]>,
    /// `(1 + as_good) / (R + 1)`.
    pub p: f64,
    /// The same corrected over all carried sets of the document (Holm 1979).
    pub p_holm: f64,
}
