//! What `neurosieve concepts` finds, in the form of its JSON document (`schema_version` 1).

use std::collections::BTreeMap;

use serde::Serialize;

use crate::study::results::{Timing, TopWord};

/// Version of the document's layout.
pub const SCHEMA_VERSION: u32 = 1;

/// The document.
#[derive(Debug, Clone, Serialize)]
pub struct ConceptsResults {
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
    /// Layer numbers.
    pub layers: Vec<u32>,
    /// The file of the orderings, and the ordering whose first neurons are described.
    pub rankings: Option<String>,
    /// That ordering; null where neurons were named, or all are described.
    pub method: Option<String>,
    /// The probe.
    pub probe: Option<String>,
    /// Occurrences that a top word needs.
    pub min_count: usize,
    /// Occurrences that a word needs to be a concept.
    pub concept_count: usize,
    /// When a neuron fires; pairs name a place in this list.
    pub thresholds: Vec<ThresholdResult>,
    /// Pairs of a neuron and a concept that were tested, and how many are findings.
    pub tests: Tests,
    /// The neurons that were asked for, in the order of the ordering or of their ids.
    pub described: Vec<DescribedNeuron>,
    /// The concepts, each with its best neurons of all.
    pub concepts: Vec<ConceptResult>,
    /// How neurons are given a class in `orderings`: `weight`, the class of whose weight mass a neuron holds the
    /// largest share, or `mean-difference`, the one whose mean is farthest from the rest's.
    pub class_of_neurons_by: &'static str,
    /// Classes of the first neurons of each ordering.
    pub orderings: Vec<OrderingClasses>,
    /// How each class is spread over the neurons, where a probe was given.
    pub focus: Option<Focus>,
    /// What the reader of the figures should know.
    pub warnings: Vec<String>,
    /// Seconds that each step took.
    pub timings: Vec<Timing>,
}

/// When a neuron fires.
#[derive(Debug, Clone, Serialize)]
pub struct ThresholdResult {
    /// Largest share of the samples that it fires on.
    pub quantile: f64,
    /// `above` or `below` its threshold.
    pub side: &'static str,
}

/// How many tests were made.
#[derive(Debug, Clone, Serialize)]
pub struct Tests {
    /// Pairs of a neuron that fires and a concept.
    pub pairs: usize,
    /// Pairs with q of at most 0.05 (Benjamini & Hochberg 1995).
    pub findings: usize,
}

/// A neuron and a concept at the threshold of their largest IoU.
#[derive(Debug, Clone, Serialize)]
pub struct PairResult {
    /// Neuron id.
    pub neuron: usize,
    /// Place in `concepts`.
    pub concept: usize,
    /// The concept's name.
    pub name: String,
    /// Place in `thresholds`.
    pub threshold: usize,
    /// The value that the neuron is above, or below, where it fires.
    pub cut: f32,
    /// Samples that it fires on.
    pub fires: u32,
    /// Those of them that the concept covers.
    pub shared: u32,
    /// Intersection over union.
    pub iou: f64,
    /// `shared / fires`.
    pub precision: f64,
    /// `shared` over the concept's samples.
    pub recall: f64,
    /// Hypergeometric p times the number of thresholds.
    pub p: f64,
    /// False discovery rate over all pairs.
    pub q: f64,
}

/// A neuron that was asked for.
#[derive(Debug, Clone, Serialize)]
pub struct DescribedNeuron {
    /// Id.
    pub neuron: usize,
    /// Layer.
    pub layer: u32,
    /// Unit.
    pub unit: u32,
    /// Place in the ordering, from 1.
    pub rank: Option<usize>,
    /// The class that it is of (`class_of_neurons_by`).
    pub class: Option<String>,
    /// Words by mean |z|; the three lists are null where words are not known.
    pub top_words: Option<Vec<TopWord>>,
    /// Words by mean z, of those on which the neuron is large.
    pub high_words: Option<Vec<TopWord>>,
    /// Words by mean −z, of those on which the neuron is small.
    pub low_words: Option<Vec<TopWord>>,
    /// Its best concepts.
    pub concepts: Vec<PairResult>,
    /// Its activations by class.
    pub histogram: HistogramResult,
}

/// Activations of a neuron in bins of equal width.
#[derive(Debug, Clone, Serialize)]
pub struct HistogramResult {
    /// The smallest activation: the first bin begins there.
    pub low: f32,
    /// The largest: the last bin ends there.
    pub high: f32,
    /// By class: samples of each bin.
    pub counts: BTreeMap<String, Vec<u32>>,
}

/// A concept.
#[derive(Debug, Clone, Serialize)]
pub struct ConceptResult {
    /// The class, the word, or the name that the user gave.
    pub name: String,
    /// `class`, `word` or `pattern`.
    pub kind: &'static str,
    /// The regular expression of a pattern.
    pub pattern: Option<String>,
    /// Samples that it covers.
    pub samples: u32,
    /// Its best neurons.
    pub neurons: Vec<ConceptNeuron>,
}

/// A neuron of a concept.
#[derive(Debug, Clone, Serialize)]
pub struct ConceptNeuron {
    /// How far they agree.
    #[serde(flatten)]
    pub pair: PairResult,
    /// Layer of the neuron.
    pub layer: u32,
    /// Unit of the neuron.
    pub unit: u32,
    /// What else it fires on: its high words where it fires above its threshold, its low words where below.
    pub top_words: Option<Vec<String>>,
}

/// Classes of the first neurons of an ordering.
#[derive(Debug, Clone, Serialize)]
pub struct OrderingClasses {
    /// The ordering.
    pub ranking: String,
    /// Share of the neurons.
    pub share: f64,
    /// Their number, at least 1.
    pub k: usize,
    /// By class: neurons among the first k that are of it, in all and by layer.
    pub classes: BTreeMap<String, LayerCounts>,
    /// Neurons among them that are of no class.
    pub of_none: usize,
}

/// Neurons by layer.
#[derive(Debug, Clone, Serialize)]
pub struct LayerCounts {
    /// All of them.
    pub neurons: usize,
    /// By layer, in the order of `layers`.
    pub by_layer: Vec<usize>,
}

/// How each class is spread over the neurons (Dalvi et al. 2019).
#[derive(Debug, Clone, Serialize)]
pub struct Focus {
    /// Share of a class's weight mass that its neurons hold.
    pub mass: f64,
    /// By class.
    pub classes: Vec<ClassFocusResult>,
}

/// How a class is spread.
#[derive(Debug, Clone, Serialize)]
pub struct ClassFocusResult {
    /// The class.
    pub class: String,
    /// The fewest neurons that hold the share, heaviest first: few of them make a focused class, many a distributed
    /// one.
    pub neurons: Vec<usize>,
    /// Their number over that of all neurons.
    pub share: f64,
    /// Their number by layer.
    pub by_layer: Vec<usize>,
    /// `(Σ|w|)² / Σw²`, as many neurons of equal weight are as concentrated.
    pub effective: f64,
}
