//! How sure the findings are, and what test was used for.

use serde::{Deserialize, Serialize};

use super::CertificateRecord;

/// Two probes on the same test samples (McNemar's test).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Paired {
    /// Samples that only the oracle gets right.
    pub only_oracle: usize,
    /// Samples that only the other probe gets right.
    pub only_other: usize,
    /// Accuracy of the other minus accuracy of the oracle.
    pub difference: f64,
    /// 95 % interval of the difference.
    pub interval: [f64; 2],
    /// Two-sided exact p of no difference.
    pub p: f64,
    /// The same corrected by Holm's procedure over the study's comparisons ([`LossClaims`]).
    pub p_holm: f64,
}

/// What test was used for: figures of probes that were frozen before, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestUse {
    /// What was evaluated, by task.
    pub evaluated: Vec<Evaluated>,
    /// Probes in all; ablations of a probe are not counted again.
    pub probes: usize,
    /// Choices (penalties, layers, sizes, neurons) that were made after test was first evaluated: always 0, since what
    /// chooses has no test data (`src/study/run.rs`).
    pub choices_after: usize,
}

/// One kind of probes of one task that was evaluated on test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evaluated {
    /// The task.
    pub task: String,
    /// What the probes are of: `oracle`, `layers`, `control tasks`, `minimal sets` and so on.
    pub what: String,
    /// How many probes.
    pub probes: usize,
    /// How often test was predicted: more than once a probe where neurons are taken from it.
    pub evaluations: usize,
}

/// The family in which the p values of "a loss" were corrected (Holm 1979): every minimal, combined and disjoint set of every
/// task against its task's oracle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LossClaims {
    /// Hypotheses: sets of neurons that differ, or differ in what they get right.
    pub family: usize,
    /// Rows of the results that compare a set with an oracle; several δ often give the same set.
    pub rows: usize,
}

/// Minimal sets that share no neuron, one after the other (iterative exclusion).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DisjointSets {
    /// The ordering.
    pub ranking: String,
    /// δ.
    pub delta: f64,
    /// The dev accuracy that every set exceeds.
    pub required: f64,
    /// The sets, the minimal set first. For LCA each later one is of a new probe on the neurons that were left.
    pub sets: Vec<DisjointSet>,
    /// `true`: no size of what was left that was tried suffices, there are exactly these sets in this ordering. `false`:
    /// there are at least these, `minimal_set.disjoint` ended the search.
    pub exhausted: bool,
    /// Neurons that vary and are in no set.
    pub left: usize,
    /// The best dev accuracy that any size of them reached; where the search is exhausted and neurons were left.
    pub best_left: Option<f64>,
}

/// One of several sets that share no neuron.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DisjointSet {
    /// Number of neurons.
    pub size: usize,
    /// Their ids, most salient first.
    pub neurons: Vec<usize>,
    /// Accuracy on dev.
    pub dev_accuracy: f64,
    /// Accuracy on test.
    pub test_accuracy: f64,
    /// 95 % interval of the test accuracy.
    pub test_interval: [f64; 2],
    /// Against the oracle on test.
    pub against_oracle: Paired,
    /// How near the optimum its probe is.
    pub certificate: CertificateRecord,
}

/// A figure and what random neurons give.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Beside {
    /// Observed.
    pub observed: f64,
    /// Its mean with sets of the same sizes drawn at random from the neurons that vary.
    pub chance: f64,
}

/// Whether other samples of train name the same neurons: bootstrap resamples of train, each ranked anew, each selecting as
/// many neurons as the minimal set has. For LCA a probe a resample, at the oracle's penalty.
///
/// Resamples share samples with train and with one another (63 % of train is in each), so that neurons which noise selects
/// are found again more often than by chance too: stability above chance is necessary for a finding, not sufficient.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stability {
    /// The ordering.
    pub ranking: String,
    /// δ of the minimal set.
    pub delta: f64,
    /// Neurons of the minimal set, and of each selection at most.
    pub size: usize,
    /// Resamples.
    pub draws: usize,
    /// What was drawn: `sentences` where they are known and there are ten or more, else `samples`.
    pub units: String,
    /// Neurons that could be selected: those that vary.
    pub candidates: usize,
    /// Clustering threshold at which neurons stand in for one another.
    pub threshold: f64,
    /// The neurons of the minimal set that vary, most salient first.
    pub neurons: Vec<usize>,
    /// Share of the resamples that select each of them.
    pub frequency: Vec<f64>,
    /// Share of the resamples that select a neuron of its cluster.
    pub equivalent_frequency: Vec<f64>,
    /// Mean of `frequency`.
    pub mean_frequency: Beside,
    /// Mean of `equivalent_frequency`.
    pub mean_equivalent_frequency: Beside,
    /// Mean over pairs of resamples of the share of neurons that both select, `2·|A ∩ B| / (|A| + |B|)`.
    pub overlap: Beside,
    /// The same counting a neuron when the other resample selects one of its cluster.
    pub equivalent_overlap: Beside,
    /// Mean over pairs of resamples of `|A ∩ B| / |A ∪ B|`.
    pub jaccard: Beside,
}

/// Accuracies of the random sets.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Distribution {
    /// Their mean.
    pub mean: f64,
    /// The lowest.
    pub lowest: f64,
    /// The highest.
    pub highest: f64,
}

impl Distribution {
    /// Of at least one value.
    pub(in crate::study) fn of(values: &[f64]) -> Self {
        Self {
            mean: values.iter().sum::<f64>() / values.len() as f64,
            lowest: values.iter().copied().fold(f64::INFINITY, f64::min),
            highest: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        }
    }
}

/// A minimal set beside random sets of its size, each with a probe of its own at the same shares of its λ_max.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RandomSets {
    /// The ordering.
    pub ranking: String,
    /// δ of the minimal set.
    pub delta: f64,
    /// Neurons of every set.
    pub size: usize,
    /// Random sets R.
    pub draws: usize,
    /// Accuracy on dev of the minimal set.
    pub set_dev_accuracy: f64,
    /// Accuracies on dev of the random sets.
    pub dev: Distribution,
    /// Random sets that are at least as good on test: on dev the set was chosen for being good.
    pub as_good: usize,
    /// Random sets that stay within δ of the oracle on dev.
    pub sufficient: usize,
    /// `(1 + as_good) / (R + 1)`: how likely a random set is so good on test; at least `1 / (R + 1)`.
    pub p: f64,
    /// Accuracy on test of the minimal set.
    pub set_test_accuracy: f64,
    /// Accuracies on test of the random sets.
    pub test: Distribution,
}
