//! Greedy selections: how they go, step by step.

use ndarray::ArrayView2;
use serde::Serialize;

use super::{Method, RankJob};
use crate::analysis::greedy::Labelled;
use crate::analysis::ranking::Ranking;
use crate::analysis::{forward, gaussian};
use crate::error::Result;
use crate::labels::Labels;
use crate::ops::Backend;
use crate::ops::moments::Moments;

/// Activations and labels of a part.
type Part<'a> = (ArrayView2<'a, f32>, &'a Labels);

/// How one greedy method went.
#[derive(Debug, Clone, Serialize)]
pub struct SelectionResult {
    /// What each step makes as large, or for forward selection as small, as one more neuron can; `before` is its value without
    /// any.
    pub criterion: &'static str,
    /// Its value before the first step.
    pub before: f64,
    /// The part that the criterion was taken on.
    pub selected_on: &'static str,
    /// The part that the other figures were taken on.
    pub scored_on: &'static str,
    /// Samples of that part, without those of classes that train lacks.
    pub samples: usize,
    /// λ2 of the probes of forward selection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub l2: Option<f64>,
    /// One for each selected neuron, in order.
    pub steps: Vec<StepResult>,
}

/// After one step.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum StepResult {
    /// Of Gaussians.
    Gaussian {
        /// The neuron that was added.
        neuron: usize,
        /// Σ ln p(y | x) of the scored samples, in nats: the criterion.
        log_likelihood: f64,
        /// Lower bound of the mutual information of class and selected neurons, in bits.
        bits: f64,
        /// Share of the scored samples that are right.
        accuracy: f64,
    },
    /// Of a probe.
    Forward {
        /// The neuron that was added.
        neuron: usize,
        /// The probe's objective on train: the criterion.
        objective: f64,
        /// Its relative duality gap.
        relative_gap: f64,
        /// Mean cross-entropy of the scored samples, in nats.
        log_loss: f64,
        /// Share of the scored samples that are right.
        accuracy: f64,
    },
}

/// Selects neurons of train; of dev the samples to score on, where there is one.
pub(super) fn select<'a>(
    method: Method,
    (train, dev): (Part<'a>, Option<Part<'a>>),
    moments: &Moments,
    job: &RankJob,
    progress: &mut dyn FnMut(f64),
) -> Result<(Ranking, SelectionResult)> {
    let labelled = |(x, labels): Part<'a>| Labelled { x, labels };
    let scored_on = if dev.is_some() { "dev" } else { "train" };
    let (train, dev) = (labelled(train), dev.map(labelled));
    if method == Method::Gaussian {
        let params = gaussian::Params {
            select: job.select,
            ..gaussian::Params::default()
        };
        let found = gaussian::select(train, moments, dev, &params, progress)?;
        let step = |step: &gaussian::Step| StepResult::Gaussian {
            neuron: step.neuron,
            log_likelihood: step.log_likelihood,
            bits: step.bits,
            accuracy: step.accuracy,
        };
        let selection = SelectionResult {
            criterion: "log_likelihood",
            before: found.before,
            selected_on: scored_on,
            scored_on,
            samples: found.scored,
            l2: None,
            steps: found.steps.iter().map(step).collect(),
        };
        return Ok((found.ranking, selection));
    }
    let params = forward::Params {
        select: job.select,
        l2: job.l2,
        ..forward::Params::default()
    };
    let found = forward::select(&Backend::Cpu, train, moments, dev, &params, progress)?;
    let step = |step: &forward::Step| StepResult::Forward {
        neuron: step.neuron,
        objective: step.objective,
        relative_gap: step.relative_gap,
        log_loss: step.log_loss,
        accuracy: step.accuracy,
    };
    let selection = SelectionResult {
        criterion: "objective",
        before: found.before,
        selected_on: "train",
        scored_on,
        samples: found.scored,
        l2: Some(job.l2),
        steps: found.steps.iter().map(step).collect(),
    };
    Ok((found.ranking, selection))
}
