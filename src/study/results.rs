//! What a study finds, in the form that `results.json` holds (`schema_version` 1): every figure and table of the report
//! is made from these records and nothing else.
//!
//! Accuracies are shares (0 to 1) of the samples of a part; intervals are 95 % Wilson intervals; neuron ids are columns;
//! δ is a share (0.01 = 1 %) of the oracle's dev accuracy.

mod certainty;
mod explored;
mod sets;

use std::collections::BTreeMap;

pub use certainty::*;
pub use explored::*;
use serde::{Deserialize, Serialize};
pub use sets::*;

use super::spec::Spec;

use crate::analysis::selection::Rule;
use crate::analysis::selectivity::SampleFrom;
use crate::gpu::Validated;
use crate::ops::correlation::Computed;

/// Version of the layout of `results.json`.
pub const SCHEMA_VERSION: u32 = 1;

/// A whole study.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StudyResults {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The study's name, from its specification.
    pub name: String,
    /// What it was asked for, with the paths of its data from the folder it ran in, or whole where they were given whole; null
    /// in results of earlier versions.
    #[serde(default)]
    pub spec: Option<Spec>,
    /// Version of neurosieve that ran it.
    pub neurosieve_version: String,
    /// Seed of every random draw.
    pub seed: u64,
    /// Where it ran.
    pub device: DeviceUsed,
    /// What it read.
    pub data: DataSummary,
    /// How the clustering was done.
    pub clustering: Clustering,
    /// One cut of the one dendrogram a threshold.
    pub clusters: Vec<ClusterCut>,
    /// How redundant all neurons are; null in results of earlier versions.
    #[serde(default)]
    pub redundancy: Option<Redundancy>,
    /// One entry a task.
    pub tasks: Vec<TaskResults>,
    /// Neurons one by one; null where none were asked for, and in results of earlier versions.
    #[serde(default)]
    pub explored: Option<Explored>,
    /// In which family "a loss" was corrected for many comparisons.
    pub loss_claims: LossClaims,
    /// What test was used for.
    pub test_use: TestUse,
    /// What the reader of the figures should know.
    pub warnings: Vec<String>,
    /// Seconds that each step took.
    pub timings: Vec<Timing>,
}

/// The compute device.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeviceUsed {
    /// `cpu` or `gpu`.
    pub kind: String,
    /// Adapter name, or the number of CPU threads.
    pub name: String,
    /// Driver and its version; empty for the CPU.
    pub driver: String,
    /// Why this device was taken.
    pub reason: String,
    /// What was computed natively as well, where `--validate` asked for that: one entry an operation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub validation: Vec<Validated>,
}

/// The activations.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DataSummary {
    /// Samples of train, dev and test.
    pub samples: Parts<usize>,
    /// Files of train, dev and test.
    pub files: Parts<String>,
    /// BLAKE3 of what was read of each part: activations as f32, layers, labels, words; not there in results of versions before.
    #[serde(default)]
    pub hashes: Option<Parts<String>>,
    /// Neurons D.
    pub neurons: usize,
    /// Layer numbers.
    pub layers: Vec<u32>,
    /// Layer of each neuron.
    pub layer_of: Vec<u32>,
    /// Unit of each neuron in its layer.
    pub unit_of: Vec<u32>,
    /// Neurons that do not vary in train.
    pub constant: Vec<usize>,
    /// Neurons that vary a million times less than the median.
    pub nearly_constant: Vec<usize>,
    /// Layers all of whose neurons are constant.
    pub dead_layers: Vec<u32>,
}

/// One value each for train, dev and test.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Parts<T> {
    /// Of train.
    pub train: T,
    /// Of dev.
    pub dev: T,
    /// Of test.
    pub test: T,
}

/// How neurons were clustered.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Clustering {
    /// `average`, `complete` or `single`.
    pub linkage: String,
    /// `1 - |r|` or `1 - r`.
    pub distance: String,
    /// How exact r is, and what computed it; not there in results of versions before.
    #[serde(default)]
    pub precision: Option<Computed>,
    /// Pairs of neurons with |r| of at least 0.3, 0.5, 0.7, 0.9.
    pub pairs_at_least: Vec<PairCount>,
}

/// How many pairs are at least so correlated.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PairCount {
    /// |r|.
    pub r: f64,
    /// Pairs with at least that.
    pub pairs: u64,
}

/// The dendrogram cut at one threshold.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ClusterCut {
    /// Largest distance inside a cluster (cophenetic).
    pub threshold: f64,
    /// Number of clusters.
    pub count: usize,
    /// Cluster of each neuron, numbered from 0 by smallest member.
    pub labels: Vec<u32>,
    /// Medoid of each cluster.
    pub representatives: Vec<usize>,
    /// Neurons in clusters of 1, 2, 3–5, 6–10 and more than 10 members.
    pub size_histogram: Vec<SizeBin>,
    /// Number of clusters whose members span 1, 2, 3 … layers (largest − smallest layer + 1).
    pub window_histogram: Vec<usize>,
}

/// Clusters of one range of sizes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SizeBin {
    /// `1`, `2`, `3-5`, `6-10`, `>10`.
    pub size: String,
    /// Clusters of that size.
    pub clusters: usize,
    /// Neurons in them.
    pub neurons: usize,
}

/// One task.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TaskResults {
    /// Its name.
    pub name: String,
    /// Its classes and their sizes.
    pub classes: Vec<ClassSummary>,
    /// Test accuracy of always answering train's most frequent class.
    pub majority_accuracy: f64,
    /// Whether the oracle's test accuracy is above the majority's beyond chance (one-sided, 2.5 %).
    pub above_chance: bool,
    /// The probe on all neurons.
    pub oracle: Oracle,
    /// The λ's that were tried, strongest first.
    pub lambda_path: Vec<LambdaPoint>,
    /// Probes on layers.
    pub layers: LayerCurves,
    /// The lowest layer that suffices, for each δ.
    pub layer_selection: Vec<LayerSelection>,
    /// Neuron orderings by name.
    pub rankings: BTreeMap<String, RankingResult>,
    /// Accuracy on test as a function of the number of neurons kept.
    pub sweeps: Vec<SweepResult>,
    /// Smallest retrained sets, one for each ranking and δ.
    pub minimal_sets: Vec<MinimalSet>,
    /// Sets that share no neuron, of the δ that was examined, one for each ranking.
    pub disjoint: Vec<DisjointSets>,
    /// What resamples of train select, of the same sets.
    pub stability: Vec<Stability>,
    /// Random sets beside the same sets; not beside one of all neurons.
    pub random_sets: Vec<RandomSets>,
    /// Layer selection, then correlation clustering, then a ranking, one for each δ and threshold.
    pub combined: Vec<Combined>,
    /// Control tasks; absent when the words are not known.
    pub control: Option<Control>,
    /// Salient neurons and where they sit.
    pub salient: Salient,
}

impl TaskResults {
    /// Whether an accuracy on dev stays within `delta` of the oracle's; a search may end without reaching it.
    pub fn suffices(&self, dev_accuracy: f64, delta: f64) -> bool {
        dev_accuracy >= self.oracle.dev_accuracy * (1.0 - delta) - 1e-9
    }
}

/// One class.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ClassSummary {
    /// Its name.
    pub name: String,
    /// Its samples.
    pub samples: Parts<usize>,
    /// Share of its test samples that the oracle gets right; absent without test samples.
    pub test_recall: Option<f64>,
}

/// Optimality of one fit; see `ops::probe::Certificate`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CertificateRecord {
    /// ∞-norm of the minimum-norm subgradient.
    pub kkt: f64,
    /// The same divided by λ_max.
    pub kkt_relative: f64,
    /// Upper bound of objective − optimum.
    pub duality_gap: f64,
    /// The same divided by the objective.
    pub relative_gap: f64,
    /// Passes over the activations.
    pub passes: f64,
    /// Whether the stopping rule was met.
    pub converged: bool,
    /// Weights that are provably zero at the optimum.
    pub certified_zeros: usize,
    /// Weights that are provably not.
    pub certified_nonzeros: usize,
}

/// The probe on all neurons at the λ that dev prefers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Oracle {
    /// The rule by which dev chose λ (`probe.rule`).
    pub rule: Rule,
    /// λ1.
    pub l1: f64,
    /// λ2.
    pub l2: f64,
    /// Accuracy on train.
    pub train_accuracy: f64,
    /// Accuracy on dev.
    pub dev_accuracy: f64,
    /// Accuracy on test.
    pub test_accuracy: f64,
    /// 95 % interval of the test accuracy.
    pub test_interval: [f64; 2],
    /// Value of the objective.
    pub objective: f64,
    /// Weights that are not zero.
    pub nonzero_weights: usize,
    /// Neurons with any weight that is not zero.
    pub neurons_used: usize,
    /// How near the optimum it is.
    pub certificate: CertificateRecord,
}

/// One λ of the search.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LambdaPoint {
    /// λ1.
    pub l1: f64,
    /// λ2.
    pub l2: f64,
    /// Accuracy on dev.
    pub dev_accuracy: f64,
    /// Log-loss on dev, natural logarithm.
    pub dev_log_loss: f64,
    /// The LCA papers' search score on dev; only where `probe.rule` is `lca`.
    pub lca_score: Option<f64>,
    /// Accuracy on train.
    pub train_accuracy: f64,
    /// Weights that are not zero.
    pub nonzero_weights: usize,
    /// How near the optimum it is.
    pub certificate: CertificateRecord,
}

/// Probes on each layer alone, and on all layers up to each.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LayerCurves {
    /// Each layer alone.
    pub independent: Vec<LayerPoint>,
    /// Layers 0 … k.
    pub cumulative: Vec<LayerPoint>,
}

/// A probe on a layer, or on the layers up to it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LayerPoint {
    /// The layer, or the last of the layers.
    pub layer: u32,
    /// Neurons that the probe saw.
    pub neurons: usize,
    /// λ1 that dev prefers here.
    pub l1: f64,
    /// Accuracy on dev.
    pub dev_accuracy: f64,
    /// Accuracy on test.
    pub test_accuracy: f64,
    /// 95 % interval of the test accuracy.
    pub test_interval: [f64; 2],
    /// Accuracy on test minus the mean test accuracy of the control tasks at the same penalty; of
    /// single layers only, and absent without words.
    pub selectivity: Option<f64>,
    /// How near the optimum it is.
    pub certificate: CertificateRecord,
}

/// The lowest layer k such that layers 0 … k stay within δ of the oracle on dev.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LayerSelection {
    /// δ.
    pub delta: f64,
    /// The layer k.
    pub layer: u32,
    /// Neurons of layers 0 … k.
    pub neurons: usize,
    /// Accuracy on dev of layers 0 … k.
    pub dev_accuracy: f64,
    /// Accuracy on test of layers 0 … k.
    pub test_accuracy: f64,
}

/// A neuron ordering.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RankingResult {
    /// All D neuron ids, most salient first.
    pub order: Vec<usize>,
    /// Score of each neuron (by id); larger is more salient.
    pub scores: Vec<f64>,
    /// The same per class: the ids, most salient first.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub per_class: BTreeMap<String, Vec<usize>>,
}

/// Accuracy on test when only some neurons are kept, without retraining.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SweepResult {
    /// The ranking, or `random`.
    pub ranking: String,
    /// `keep-top`: the first k of the ordering are kept; `keep-bottom`: the last k.
    pub direction: String,
    /// `mean` or `zero`: what the other neurons are replaced by.
    pub ablation: String,
    /// k = 0 … D.
    pub k: Vec<usize>,
    /// Samples that are right at each k (of several draws: their mean).
    pub correct: Vec<f64>,
    /// `correct / total`.
    pub accuracy: Vec<f64>,
    /// Samples.
    pub total: usize,
    /// Draws that were averaged: 1, or more for `random`.
    pub draws: usize,
}

/// Control tasks (Hewitt & Liang 2019): a random class for every word type.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Control {
    /// Number of draws.
    pub draws: usize,
    /// Where classes are drawn from: `same` (train's class frequencies) or `uniform`.
    #[serde(default)]
    pub from: SampleFrom,
    /// Test accuracy of each draw.
    pub accuracies: Vec<f64>,
    /// How near the optimum each draw's probe is.
    pub certificates: Vec<CertificateRecord>,
    /// Their mean.
    pub accuracy: f64,
    /// Oracle's test accuracy − `accuracy`.
    pub selectivity: f64,
    /// 95 % interval of `selectivity` over test samples (whole sentences) and draws; null of a single draw.
    pub interval: Option<[f64; 2]>,
    /// Half-range of the draws' accuracies around their mean: (largest − smallest) / 2.
    pub spread: f64,
    /// Share of test samples whose word occurs in train; near 0 makes selectivity meaningless.
    pub seen_in_train: f64,
}

/// The neurons that hold the largest share of the oracle's weight mass.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Salient {
    /// Share of each class's weight mass that defines salience.
    pub mass: f64,
    /// Salient neurons of each class: `per_class[c]` are ids, most salient first.
    pub per_class: Vec<Vec<usize>>,
    /// Salient neurons by class and layer: `by_class_layer[c][l]` counts.
    pub by_class_layer: Vec<Vec<usize>>,
    /// Union over the classes by layer.
    pub by_layer: Vec<usize>,
    /// The most salient neurons, with what they fire on.
    pub neurons: Vec<SalientNeuron>,
}

/// One salient neuron.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SalientNeuron {
    /// Id.
    pub neuron: usize,
    /// Layer.
    pub layer: u32,
    /// Unit.
    pub unit: u32,
    /// Place in the LCA ordering, from 1.
    pub rank: usize,
    /// Classes it is salient for, with its standardised weight.
    pub classes: Vec<ClassWeight>,
    /// Words that it fires on, strongest first; empty when the words are not known.
    pub top_words: Vec<TopWord>,
}

/// The weight of a neuron for a class.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ClassWeight {
    /// Class name.
    pub class: String,
    /// Weight on the standardised scale.
    pub weight: f64,
}

/// One word type that a neuron fires on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TopWord {
    /// The word.
    pub word: String,
    /// Mean |z| of the neuron over its occurrences, as a share of the largest.
    pub score: f64,
    /// Mean signed z.
    pub z: f64,
    /// Occurrences in train.
    pub count: usize,
}

/// Time of one step.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Timing {
    /// The step.
    pub step: String,
    /// Wall-clock seconds.
    pub seconds: f64,
}
