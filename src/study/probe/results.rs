//! What is to say of one probe, in the form of its JSON document (`schema_version` 1).
//!
//! Shares are 0 to 1, intervals 95 %; what is not defined or not bounded is null.

use serde::Serialize;

use crate::analysis::selection::Rule;
use crate::analysis::selectivity::SampleFrom;
use crate::study::results::{DeviceUsed, Timing};

/// Version of the document's layout.
pub const SCHEMA_VERSION: u32 = 1;

/// A probe without its weights.
#[derive(Debug, Clone, Serialize)]
pub struct ProbeResults {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Version of neurosieve that fitted it.
    pub neurosieve_version: String,
    /// Seed of the solver, the folds and the intervals.
    pub seed: u64,
    /// Where it was fitted.
    pub device: DeviceUsed,
    /// Files and samples of each part.
    pub data: Parts<PartSummary>,
    /// The task.
    pub task: String,
    /// Names of the classes in id order; null for continuous labels.
    pub classes: Option<Vec<String>>,
    /// Neurons of the data D.
    pub neurons: usize,
    /// Columns that the probe sees; null: all.
    pub columns: Option<Vec<usize>>,
    /// λ1.
    pub l1: f64,
    /// λ2.
    pub l2: f64,
    /// `elastic-net`, or `neurox`: λ2 multiplies the norm, not its square.
    pub penalty: &'static str,
    /// Whether the penalty acts on weights of standardised activations.
    pub standardize: bool,
    /// `exact`, or `adam`: trained as NeuroX does.
    pub method: &'static str,
    /// Whether classes were balanced, and the file of weights.
    pub weighting: Weighting,
    /// Value of the objective.
    pub objective: f64,
    /// Weights that are not zero (of two classes each counts twice).
    pub nonzero_weights: usize,
    /// Neurons with any weight that is not zero.
    pub neurons_used: usize,
    /// How near the optimum it is.
    pub certificate: Certificate,
    /// What its largest batch was planned to take; null for NeuroX's training.
    pub plan: Option<PlanSummary>,
    /// How its penalty was chosen.
    pub selection: Selection,
    /// How good it is.
    pub metrics: Metrics,
    /// Control tasks; null: none were asked for.
    pub control: Option<ControlTasks>,
    /// Shuffled labels; null: none were asked for.
    pub label_shuffles: Option<LabelShuffles>,
    /// Description length; null: it was not asked for.
    pub description_length: Option<DescriptionLengths>,
    /// What the reader of the figures should know.
    pub warnings: Vec<String>,
    /// Seconds that each step took.
    pub timings: Vec<Timing>,
}

/// One value for each part that was given.
#[derive(Debug, Clone, Serialize)]
pub struct Parts<T> {
    /// Of train.
    pub train: T,
    /// Of dev.
    pub dev: Option<T>,
    /// Of test.
    pub test: Option<T>,
}

/// Metrics of each part that was given.
pub type Metrics = Parts<PartMetrics>;

/// A part.
#[derive(Debug, Clone, Serialize)]
pub struct PartSummary {
    /// Its file of activations.
    pub file: String,
    /// Number of samples.
    pub samples: usize,
}

/// How samples were weighted.
#[derive(Debug, Clone, Serialize)]
pub struct Weighting {
    /// Every class weighed the same.
    pub balanced: bool,
    /// The file of weights.
    pub file: Option<String>,
}

/// How near the optimum a fit provably is.
#[derive(Debug, Clone, Serialize)]
pub struct Certificate {
    /// ∞-norm of the minimum-norm subgradient.
    pub kkt: f64,
    /// The same as a share of λ_max.
    pub kkt_relative: f64,
    /// Objective minus a lower bound of the optimum; null without a penalty, when nothing bounds it.
    pub duality_gap: Option<f64>,
    /// The same as a share of the objective.
    pub relative_gap: Option<f64>,
    /// Passes over the activations.
    pub passes: f64,
    /// All FLOP, in passes.
    pub work: f64,
    /// Iterations that had to wait for one another.
    pub depth: usize,
    /// Whether the stopping rule was met.
    pub converged: bool,
    /// Weights that are provably 0 at the optimum.
    pub certified_zeros: usize,
    /// Weights that are provably not.
    pub certified_nonzeros: usize,
}

/// How the penalty was chosen.
#[derive(Debug, Clone, Serialize)]
pub struct Selection {
    /// `dev`, `folds` or `given`.
    pub by: &'static str,
    /// Number of folds.
    pub folds: Option<usize>,
    /// The rule; null where one penalty was given.
    pub rule: Option<Rule>,
    /// Place of the penalty in `path`.
    pub chosen: usize,
    /// The penalties that were tried, strongest first.
    pub path: Vec<Tried>,
}

/// One penalty that was tried, judged on dev or on the samples that were held out.
#[derive(Debug, Clone, Serialize)]
pub struct Tried {
    /// λ1.
    pub l1: f64,
    /// λ2.
    pub l2: f64,
    /// Accuracy.
    pub accuracy: Option<Score>,
    /// Log-loss.
    pub log_loss: Option<Score>,
    /// Mean squared error, of continuous labels.
    pub mse: Option<Score>,
    /// The LCA papers' score, where that is the rule.
    pub lca_score: Option<f64>,
    /// The one fit, or that of every fold.
    pub fits: Vec<Fitted>,
}

/// A figure and its standard error.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Score {
    /// The figure.
    pub value: f64,
    /// Its standard error.
    pub se: f64,
}

/// A fit on the path.
#[derive(Debug, Clone, Serialize)]
pub struct Fitted {
    /// Weights that are not zero.
    pub nonzero_weights: usize,
    /// How near the optimum it is.
    pub certificate: Certificate,
}

/// A figure and its 95 % interval, null where the data say nothing of it.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Estimate {
    /// The figure.
    pub value: f64,
    /// Its interval.
    pub interval: Option<[f64; 2]>,
}

/// How good the probe is on one part; `crate::analysis::metrics` has the formulas.
#[derive(Debug, Clone, Serialize)]
pub struct PartMetrics {
    /// Number of samples.
    pub samples: usize,
    /// What the bootstrap drew: `samples` or `sentences`. Shares have Wilson's interval, which takes samples as independent.
    pub resampled: &'static str,
    /// The figures.
    #[serde(flatten)]
    pub figures: Figures,
}

/// Figures of one part.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Figures {
    /// Of classes.
    Classes {
        /// Share of samples that are right.
        accuracy: Estimate,
        /// Mean F1 of the classes that occur.
        macro_f1: Estimate,
        /// Matthews' correlation coefficient.
        mcc: Estimate,
        /// Mean −ln p.
        log_loss: Estimate,
        /// One entry a class.
        per_class: Vec<ClassFigures>,
        /// Counts: a row a class of the label, a column a class of the answer.
        confusion: Vec<Vec<usize>>,
    },
    /// Of values.
    Values {
        /// Mean squared error.
        mse: Estimate,
        /// Share of variance that is explained.
        r2: Option<Estimate>,
        /// Pearson's r.
        pearson: Option<Estimate>,
        /// Spearman's ρ.
        spearman: Option<Estimate>,
    },
}

/// Figures of one class.
#[derive(Debug, Clone, Serialize)]
pub struct ClassFigures {
    /// Its name.
    pub name: String,
    /// Its samples.
    pub support: usize,
    /// Share of answers that are right; null: never answered.
    pub precision: Option<Estimate>,
    /// Share of its samples that are right; null: no samples.
    pub recall: Option<Estimate>,
    /// Their harmonic mean; null: neither.
    pub f1: Option<Estimate>,
}

/// What a batch of probes was planned to take.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PlanSummary {
    /// Problems.
    pub problems: usize,
    /// How many of them were solved at once.
    pub in_flight: usize,
    /// Bytes of the activations.
    pub design_bytes: u64,
    /// Bytes beside them, at most.
    pub solver_bytes: u64,
    /// FLOP of one pass over all problems.
    pub pass_flop: f64,
}

/// The same probe of control tasks (`crate::analysis::selectivity`).
#[derive(Debug, Clone, Serialize)]
pub struct ControlTasks {
    /// Where classes are drawn from: `same` (train's class frequencies) or `uniform`.
    pub from: SampleFrom,
    /// The part that accuracies are of: `test`, or `dev` where there is no test.
    pub judged_on: &'static str,
    /// What the interval takes as independent: `samples` or `sentences`.
    pub resampled: &'static str,
    /// One entry a draw.
    pub draws: Vec<ControlProbeFigures>,
    /// Mean accuracy of the draws.
    pub accuracy: f64,
    /// The probe's accuracy − `accuracy`; its interval is over samples and draws, null of a single draw.
    pub selectivity: Estimate,
    /// Half-range of the draws' accuracies: (largest − smallest) / 2.
    pub spread: f64,
    /// Share of the part's samples whose word occurs in train; near 0 selectivity means nothing.
    pub seen_in_train: f64,
}

/// The probe of one draw.
#[derive(Debug, Clone, Serialize)]
pub struct ControlProbeFigures {
    /// Its accuracy.
    pub accuracy: f64,
    /// Its weights and certificate.
    #[serde(flatten)]
    pub fit: Fitted,
}

/// The same probe of shuffled labels of train (`crate::analysis::relabelled`).
#[derive(Debug, Clone, Serialize)]
pub struct LabelShuffles {
    /// The part that accuracies are of: `test`, or `dev` where there is no test.
    pub judged_on: &'static str,
    /// Accuracy of the probe.
    pub accuracy: f64,
    /// Accuracy of each shuffle's probe.
    pub accuracies: Vec<f64>,
    /// `(1 + #{accuracies ≥ accuracy}) / (shuffles + 1)`.
    pub p: f64,
    /// Shuffles whose probe has not converged.
    pub unconverged: usize,
}

/// Labels of train in bits (`crate::analysis::description_length`).
#[derive(Debug, Clone, Serialize)]
pub struct DescriptionLengths {
    /// What was shuffled: `samples` or `sentences`.
    pub shuffled: &'static str,
    /// Of the task.
    pub task: TaskLength,
    /// Of each draw of a control task.
    pub controls: Vec<TaskLength>,
    /// Mean of the draws' bits; null without draws.
    pub control_bits: Option<f64>,
    /// Mean of the draws' compressions; null without draws.
    pub control_compression: Option<f64>,
}

/// The labels of one task in bits.
#[derive(Debug, Clone, Serialize)]
pub struct TaskLength {
    /// Classes that can be sent, K.
    pub classes: usize,
    /// Samples N.
    pub samples: usize,
    /// Bits of all portions.
    pub bits: f64,
    /// Bits of the uniform code, `N·log₂ K`.
    pub uniform_bits: f64,
    /// Bits of the code by class frequencies alone.
    pub frequency_bits: f64,
    /// `uniform_bits / bits`.
    pub compression: f64,
    /// One entry a portion, in order.
    pub portions: Vec<CodedPortion>,
}

/// One portion in bits.
#[derive(Debug, Clone, Serialize)]
pub struct CodedPortion {
    /// Samples that were sent before it.
    pub before: usize,
    /// Its samples.
    pub samples: usize,
    /// Its bits.
    pub bits: f64,
    /// λ1 of the probe that coded it; null: there was none.
    pub l1: Option<f64>,
    /// λ2 of the same.
    pub l2: Option<f64>,
    /// How near the optimum that probe is.
    pub certificate: Option<Certificate>,
}
