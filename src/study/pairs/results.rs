//! What is to say of all pairs of neurons, in the form of the JSON documents (`schema_version` 1).
//!
//! Neurons are numbered from 0 by column. What is not defined is null.

use serde::Serialize;

use crate::ops::correlation::Computed;
use crate::study::results::{DeviceUsed, Timing};

/// Version of the documents' layout.
pub const SCHEMA_VERSION: u32 = 1;

/// One file of activations.
#[derive(Debug, Clone, Serialize)]
pub struct DataSummary {
    /// The file.
    pub file: String,
    /// Number of samples N.
    pub samples: usize,
    /// Number of neurons D.
    pub neurons: usize,
    /// Type of the stored elements.
    pub dtype: &'static str,
    /// Its layers, ascending.
    pub layers: Vec<u32>,
    /// Neurons that do not vary: their r is 0 with every other.
    pub constant: Vec<usize>,
    /// Neurons that vary a million times less than the median one.
    pub nearly_constant: Vec<usize>,
}

/// The document of `neurosieve correlate`.
#[derive(Debug, Clone, Serialize)]
pub struct CorrelationResults {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Version of neurosieve that made it.
    pub neurosieve_version: String,
    /// Where it was computed.
    pub device: DeviceUsed,
    /// How exact r is, and what computed it.
    pub precision: Computed,
    /// The activations.
    pub data: DataSummary,
    /// The other model's; null: the pairs are of one model.
    pub cross: Option<DataSummary>,
    /// The threshold of |r|, where one was given.
    pub threshold: Option<f32>,
    /// How many pairs reach it.
    pub pairs_at_least: Option<usize>,
    /// How r is distributed over all pairs.
    pub distribution: Distribution,
    /// For each neuron the one it correlates with most; null where there is no other.
    pub best: Vec<Option<Match>>,
    /// The same of each neuron of the other model.
    pub best_of_cross: Option<Vec<Option<Match>>>,
    /// What the best matches would be by chance, where that was asked for.
    pub baseline: Option<BaselineResults>,
    /// By pair of layers.
    pub layers: LayerPairs,
    /// Seconds that each step took.
    pub timings: Vec<Timing>,
}

/// How r is distributed.
#[derive(Debug, Clone, Serialize)]
pub struct Distribution {
    /// Number of pairs.
    pub pairs: u64,
    /// Pairs in each of equally wide bins from −1 to 1.
    pub counts: Vec<u64>,
    /// Mean of r.
    pub mean: f64,
    /// Mean of |r|.
    pub mean_abs: f64,
    /// Standard deviation of r.
    pub sd: f64,
    /// Third standardised moment.
    pub skewness: f64,
    /// Fourth standardised moment; 3 for a normal distribution.
    pub kurtosis: f64,
}

/// The neuron that another one correlates with most.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Match {
    /// Its id.
    pub neuron: u32,
    /// The correlation.
    pub r: f32,
}

/// Matches by chance.
#[derive(Debug, Clone, Serialize)]
pub struct BaselineResults {
    /// `rotation` of the other model's layers, or `permutation` of its samples.
    pub kind: &'static str,
    /// Seed of the draw.
    pub seed: u64,
    /// Largest |r| of each neuron of the data with any of the other model's after it.
    pub best_abs: Vec<f32>,
    /// Mean over the neurons of the best |r| as they are.
    pub mean_best: f64,
    /// Mean over the neurons of the best |r| by chance.
    pub mean_best_by_chance: f64,
    /// Mean over the neurons of the difference.
    pub mean_excess: f64,
}

/// Figures by pair of layers: rows are the layers of the data, columns those of the other model (or the same).
#[derive(Debug, Clone, Serialize)]
pub struct LayerPairs {
    /// Layers of the rows.
    pub rows: Vec<u32>,
    /// Layers of the columns.
    pub columns: Vec<u32>,
    /// Mean |r|.
    pub mean_abs: Vec<Vec<f64>>,
    /// Largest |r|.
    pub largest: Vec<Vec<f32>>,
    /// Pairs of neurons at or above the threshold, where one was given.
    pub pairs_at_least: Option<Vec<Vec<u64>>>,
    /// Linear CKA; null for two models, and for fewer than four samples.
    pub cka: Option<Vec<Vec<Option<f64>>>>,
    /// The same of the unbiased estimate of HSIC.
    pub cka_unbiased: Option<Vec<Vec<Option<f64>>>>,
}

/// The document of `neurosieve cluster`.
#[derive(Debug, Clone, Serialize)]
pub struct ClusterResults {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Version of neurosieve that made it.
    pub neurosieve_version: String,
    /// Where correlations were computed.
    pub device: DeviceUsed,
    /// How exact they are, and what computed them.
    pub precision: Computed,
    /// The activations.
    pub data: DataSummary,
    /// Number of neurons D.
    pub neurons: usize,
    /// The linkage that was asked for.
    pub linkage_asked: &'static str,
    /// The linkage that was computed: another one where the pairs do not fit the memory.
    pub linkage: &'static str,
    /// `1 - |r|` or `1 - r`.
    pub distance: &'static str,
    /// One partition a threshold, ascending.
    pub thresholds: Vec<Partition>,
    /// What the reader should know.
    pub warnings: Vec<String>,
    /// Seconds that each step took.
    pub timings: Vec<Timing>,
}

/// The clusters at one threshold.
#[derive(Debug, Clone, Serialize)]
pub struct Partition {
    /// Distance that the dendrogram is cut at.
    pub threshold: f64,
    /// Number of clusters.
    pub count: usize,
    /// Cluster of each neuron, numbered from 0 by smallest member.
    pub labels: Vec<u32>,
    /// The most central neuron of each cluster.
    pub representatives: Vec<usize>,
    /// Clusters by number of members.
    pub sizes: Vec<SizeCount>,
    /// Clusters by the layers they span: the first entry one layer, the second two …
    pub windows: Vec<usize>,
}

/// Clusters of a range of sizes.
#[derive(Debug, Clone, Serialize)]
pub struct SizeCount {
    /// `1`, `2`, `3-5`, `6-10` or `>10` members.
    pub size: &'static str,
    /// Clusters.
    pub clusters: usize,
    /// Neurons in them.
    pub neurons: usize,
}
