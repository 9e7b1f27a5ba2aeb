//! The methods by which neurons are ordered.

use serde::{Deserialize, Serialize};

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
    /// What a neuron adds to Gaussians of the classes over those before it.
    Gaussian,
    /// What it adds to a probe on those before it.
    Forward,
    /// None: the rival of all.
    Random,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Lca,
        Self::LargestWeight,
        Self::Probeless,
        Self::Anova,
        Self::MeanDifference,
        Self::Information,
        Self::Auroc,
        Self::AveragePrecision,
        Self::Accuracy,
        Self::Gaussian,
        Self::Forward,
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
            Self::Gaussian => "gaussian",
            Self::Forward => "forward",
            Self::Random => "random",
        }
    }

    /// Whether it needs a probe.
    pub fn needs_probe(self) -> bool {
        matches!(self, Self::Lca | Self::LargestWeight)
    }

    /// Whether it selects one neuron after the other. Such a method takes far longer than the others and runs when it is named.
    /// It has no vote: behind the first neurons its ordering says what one adds to these, so that near copies of the best one
    /// come last, while the others say what a neuron knows.
    pub fn is_greedy(self) -> bool {
        matches!(self, Self::Gaussian | Self::Forward)
    }

    /// Whether its ordering counts in the vote: not that of chance, nor accuracy, whose best threshold is for most neurons the
    /// share of the largest class.
    pub(super) fn votes(self) -> bool {
        !self.is_greedy() && !matches!(self, Self::Random | Self::Accuracy)
    }

    pub(super) fn looks_at_single_neurons(self) -> bool {
        matches!(
            self,
            Self::Information | Self::Auroc | Self::AveragePrecision | Self::Accuracy
        )
    }
}
