//! Neurons one by one, and how redundant all of them are: what the report's explorer and its map of correlations are made of.
//!
//! Ranks, clusters and sets of a neuron are not repeated here: they follow from `rankings`, `clusters` and the sets.

use serde::{Deserialize, Serialize};

use super::TopWord;

/// Neurons that are described one by one, on train.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Explored {
    /// How many were allowed (`concepts.explored`).
    pub most: usize,
    /// How many neurons are among the most salient of a task (its `salient`), or in a minimal or combined set of one: those are described first, the
    /// tasks taking turns; then representatives of the largest clusters.
    pub wanted: usize,
    /// The neurons, in that order.
    pub neurons: Vec<ExploredNeuron>,
}

/// One neuron.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ExploredNeuron {
    /// Id.
    pub neuron: usize,
    /// Layer.
    pub layer: u32,
    /// Unit.
    pub unit: u32,
    /// Mean over train.
    pub mean: f64,
    /// Population standard deviation over train.
    pub sd: f64,
    /// Smallest value in train: the lower end of the first bin of its histograms.
    pub low: f32,
    /// Largest value: the upper end of the last bin.
    pub high: f32,
    /// The neurons that it correlates with most, strongest |r| first.
    pub partners: Vec<Correlated>,
    /// Words that it fires on, strongest first; empty when the words are not known.
    pub top_words: Vec<TopWord>,
    /// Sentences in which it is farthest from its mean; empty when the words are not known.
    pub excerpts: Vec<ExcerptRecord>,
    /// One entry a task, in the order of `tasks`.
    pub tasks: Vec<NeuronOfTask>,
}

/// Another neuron and its correlation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Correlated {
    /// Its id.
    pub neuron: usize,
    /// Pearson's r on train.
    pub r: f32,
}

/// A part of a sentence of train.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExcerptRecord {
    /// The number of the sentence.
    pub sentence: u32,
    /// Whether the sentence has tokens before this part.
    pub cut_before: bool,
    /// Whether it has tokens after it.
    pub cut_after: bool,
    /// The tokens.
    pub words: Vec<String>,
    /// z = (x − mean) / sd of the neuron for each token, rounded to hundredths.
    pub z: Vec<f64>,
}

/// What a neuron is for one task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NeuronOfTask {
    /// Its weight for each class in the oracle, on the standardised scale.
    pub weights: Vec<f32>,
    /// Samples of train by class and bin; the bins are equally wide from `low` to `high`.
    pub counts: Vec<Vec<u32>>,
}

/// How large correlations are among all neurons, on train.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Redundancy {
    /// Between groups of neurons in the order of the dendrogram.
    pub map: MapRecord,
    /// Between layers a ≤ b.
    pub layers: Vec<LayerPair>,
}

/// Mean |r| between groups of neurons that follow one another below the dendrogram.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MapRecord {
    /// All neurons in the order of the dendrogram's leaves.
    pub order: Vec<usize>,
    /// Group g is `order[bounds[g]..bounds[g + 1]]`.
    pub bounds: Vec<usize>,
    /// Mean |r| of the pairs of different neurons of groups g ≤ h, row by row from (0, 0) and (0, 1) on, rounded to
    /// thousandths; 1 of a group of one neuron with itself.
    pub mean: Vec<f64>,
}

/// The neurons of two layers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LayerPair {
    /// The two layers, which may be the same.
    pub layers: [u32; 2],
    /// Pairs of different neurons.
    pub pairs: u64,
    /// Mean |r|; 0 without a pair.
    pub mean: f64,
    /// Largest |r|; 0 without a pair.
    pub largest: f32,
}
