//! Sets of neurons that suffice, and what a probe on them learns by heart.

use serde::{Deserialize, Serialize};

use super::{CertificateRecord, Paired};

/// The smallest retrained prefix of a ranking whose dev accuracy is within δ of the oracle's.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MinimalSet {
    /// The ranking.
    pub ranking: String,
    /// δ.
    pub delta: f64,
    /// How the size was looked for: `geometric ladder`, `given sizes`, `bisection` and so on.
    pub search: String,
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
    /// Against the oracle on test: the paired comparison.
    pub against_oracle: Paired,
    /// Against control tasks on the same neurons; null without control tasks.
    #[serde(default)]
    pub selectivity: Option<SetSelectivity>,
    /// Sizes tried, ascending, with their dev accuracy.
    pub ladder: Vec<Rung>,
    /// How near the optimum the chosen fit is.
    pub certificate: CertificateRecord,
}

/// One size that was tried.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Rung {
    /// Neurons.
    pub size: usize,
    /// Accuracy on dev.
    pub dev_accuracy: f64,
}

/// Layer selection + correlation clustering + ranking.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Combined {
    /// δ of the layer selection; the minimal set uses `set_delta`.
    pub delta: f64,
    /// δ of the minimal set.
    pub set_delta: f64,
    /// Clustering threshold.
    pub threshold: f64,
    /// Layers 0 … this.
    pub layer: u32,
    /// Neurons of those layers.
    pub layer_neurons: usize,
    /// Clusters among them: one representative each.
    pub clusters: usize,
    /// Dev accuracy of the probe on the representatives.
    pub clusters_dev_accuracy: f64,
    /// Neurons of the minimal set among the representatives.
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
    /// How near the optimum the set's probe is.
    pub certificate: CertificateRecord,
}

/// Selectivity of a minimal set (Hewitt & Liang 2019): its probe beside probes of the study's control tasks on the same neurons
/// at the same penalty, on test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SetSelectivity {
    /// Test accuracy of each draw's probe.
    pub accuracies: Vec<f64>,
    /// Their mean.
    pub control_accuracy: f64,
    /// The set's test accuracy − `control_accuracy`.
    pub value: f64,
    /// 95 % interval of `value` over test samples (whole sentences) and draws; null of a single draw.
    pub interval: Option<[f64; 2]>,
    /// Half-range of the draws' accuracies around their mean: (largest − smallest) / 2.
    pub spread: f64,
    /// How near the optimum each draw's probe is.
    pub certificates: Vec<CertificateRecord>,
}
