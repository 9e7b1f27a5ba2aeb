//! What `neurosieve sweep` finds, in the form of its JSON document (`schema_version` 1).
//!
//! Counts are samples that the probe gets right; divided by `samples` they are accuracies, a class's divided by its samples
//! are recalls. Neurons that are not kept are replaced: `ablation` says by what.
//!
//! Removing is keeping read backwards, so each curve stands for two. With D neurons, removing the k best is keeping the
//! D − k worst: `remove-top` at k is the curve `bottom` at D − k, and `remove-bottom` at k is `top` at D − k. At random,
//! removing k is keeping D − k.

use serde::Serialize;

use crate::study::results::{DeviceUsed, Timing};

/// Version of the document's layout.
pub const SCHEMA_VERSION: u32 = 1;

/// The document.
#[derive(Debug, Clone, Serialize)]
pub struct SweepResults {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Version of neurosieve that made it.
    pub neurosieve_version: String,
    /// Where it ran.
    pub device: DeviceUsed,
    /// The activations.
    pub file: String,
    /// The task.
    pub task: String,
    /// Number of samples N.
    pub samples: usize,
    /// Number of neurons D.
    pub neurons: usize,
    /// The file of the orderings.
    pub rankings: Option<String>,
    /// The file of the masks.
    pub masks: Option<String>,
    /// The file whose means replace neurons; null: each probe's own of train.
    pub mean_from: Option<String>,
    /// Random orderings.
    pub random_draws: usize,
    /// Their seed.
    pub seed: u64,
    /// How removing is read from keeping, in words.
    pub removing: &'static str,
    /// One entry a probe.
    pub probes: Vec<ProbeSweeps>,
    /// What the reader of the figures should know.
    pub warnings: Vec<String>,
    /// Seconds that each step took.
    pub timings: Vec<Timing>,
}

/// What one probe gets right.
#[derive(Debug, Clone, Serialize)]
pub struct ProbeSweeps {
    /// Its file.
    pub file: String,
    /// Its classes in id order, and those of the data that it does not know.
    pub classes: Vec<ClassSamples>,
    /// With all neurons.
    pub complete: Accuracy,
    /// One entry an ordering and ablation.
    pub summaries: Vec<Summary>,
    /// Two entries an ordering and ablation.
    pub curves: Vec<CurveResult>,
    /// One entry an ablation, where there are random orderings.
    pub random: Vec<RandomCurve>,
    /// One entry a mask and ablation.
    pub masks: Vec<MaskResult>,
}

/// A class.
#[derive(Debug, Clone, Serialize)]
pub struct ClassSamples {
    /// Its name.
    pub name: String,
    /// Its samples.
    pub samples: usize,
}

/// A share of right samples.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Accuracy {
    /// The share; of random orderings their mean.
    pub accuracy: f64,
    /// 95 % Wilson interval; of random orderings their range.
    pub interval: [f64; 2],
}

/// A curve in short.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// The ordering; `random` for the random ones together.
    pub ranking: String,
    /// How many random orderings; null for one of the file.
    pub draws: Option<usize>,
    /// `mean` or `zero`.
    pub ablation: &'static str,
    /// At 1, 5, 10, 50 and 100 % of the neurons.
    pub points: Vec<Point>,
    /// The smallest k whose best neurons get at least 99 % of the samples right that all neurons do.
    pub smallest: Smallest,
}

/// Some neurons kept, and the same ones removed.
#[derive(Debug, Clone, Serialize)]
pub struct Point {
    /// Share of the neurons.
    pub share: f64,
    /// Their number, at least 1.
    pub k: usize,
    /// With the k best alone.
    pub kept: Accuracy,
    /// With all but the k best.
    pub removed: Accuracy,
}

/// How few neurons are as good as all, on these samples: k is chosen on them, so the figure is a description, no claim.
#[derive(Debug, Clone, Serialize)]
pub struct Smallest {
    /// Their number.
    pub k: usize,
    /// With them alone.
    pub kept: Accuracy,
}

/// One ordering from one end.
#[derive(Debug, Clone, Serialize)]
pub struct CurveResult {
    /// The ordering.
    pub ranking: String,
    /// `mean` or `zero`.
    pub ablation: &'static str,
    /// `top`: the k best are kept; `bottom`: the k worst.
    pub keep: &'static str,
    /// Right samples at k = 0 … D.
    pub correct: Vec<u32>,
    /// The same of each class; where it was asked for.
    pub per_class: Option<Vec<Vec<u32>>>,
}

/// k neurons at random.
#[derive(Debug, Clone, Serialize)]
pub struct RandomCurve {
    /// `mean` or `zero`.
    pub ablation: &'static str,
    /// Right samples at k = 0 … D, mean of the draws.
    pub mean: Vec<f64>,
    /// The fewest of a draw.
    pub least: Vec<u32>,
    /// The most of a draw.
    pub most: Vec<u32>,
    /// The mean of each class; where it was asked for.
    pub per_class: Option<Vec<Vec<f64>>>,
}

/// One mask.
#[derive(Debug, Clone, Serialize)]
pub struct MaskResult {
    /// Its place in the file.
    pub mask: usize,
    /// Its name, where it has one.
    pub name: Option<String>,
    /// `mean` or `zero`.
    pub ablation: &'static str,
    /// Neurons that it keeps.
    pub kept: usize,
    /// Right samples.
    pub correct: u32,
    /// Their share.
    #[serde(flatten)]
    pub accuracy: Accuracy,
    /// Right samples of each class; where it was asked for.
    pub per_class: Option<Vec<u32>>,
}
