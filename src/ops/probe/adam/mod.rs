//! NeuroX's training, reproduced: for comparisons with studies that were made with it. It is no solver: after its ten
//! epochs it stands wherever it happens to stand, and its weights carry no certificate but how far that is.
//!
//! # Formula
//! `F(W, b) = (1/N) Σᵢ CE(softmax(W xᵢ + b), yᵢ) + λ1·‖W‖₁ + λ2·‖W‖_F`, the norm *not* squared, b unpenalised, xᵢ raw;
//! for values the loss is `(1/N) Σᵢ (w·xᵢ + b − yᵢ)²`, without ½ (NeuroX, `linear_probe._train_probe`).
//!
//! Batches of [`Params::batch`] samples in the data's order, never shuffled, the last one of an epoch smaller; each step
//! follows the gradient of the batch's mean loss plus the whole penalty, with sign(0) = 0, by Adam (Kingma & Ba 2015,
//! algorithm 1; β = 0.9, 0.999, ε = 1e-8, the arithmetic of PyTorch's `torch.optim.Adam`) in f32.
//!
//! # Method
//! Native on the CPU whatever back end the rest of a study runs on: a step is two products of 32 × d × C, too little to
//! pay for a launch, and 10 epochs of 200,000 samples are 62,500 of them one after the other. What is parallel are the
//! problems: they go through the samples side by side, so one sweep over X an epoch serves all of them. A problem's
//! arithmetic depends on itself alone: the same bits in any batch, on any number of threads.
//!
//! # Edge cases
//! A class without training samples is left out as in [`super::fit`]; NeuroX refuses such labels. At W = 0, where
//! PyTorch's derivative of the norm is NaN, the norm pulls nowhere. Constant neurons are kept: they are raw features like
//! any other.
//!
//! # Cost
//! 4·N·d·C FLOP an epoch, about 12·N·d·C/batch more for the updates; 16 bytes for each weight. [`fits`] adds four f64
//! products of that size for the certificate.

mod lockstep;
mod measure;
mod model;
mod panel;

use ndarray::{Array1, Array2, ArrayView1, ArrayView2};
use rayon::prelude::*;

use super::{ABSENT_CLASS_BIAS, Fit, Neurons, Progress, Response};
use crate::error::{Error, Result};
use crate::ops::moments::Moments;
use lockstep::Columns;
use model::Model;

/// Where the training starts.
#[derive(Debug, Clone, Copy)]
pub enum Start<'a> {
    /// From these: C × d (d the neurons that the probe sees) and C, those of `torch.nn.Linear(d, C)` for the same weights
    /// as a run of NeuroX.
    Given {
        /// Weights, C × d; 1 × d for values.
        weights: ArrayView2<'a, f32>,
        /// Biases, C.
        bias: ArrayView1<'a, f32>,
    },
    /// Drawn with this seed as `torch.nn.Linear` draws: weights, then biases, uniform on ±1/√d.
    Seeded(u64),
}

/// One probe to train.
#[derive(Debug, Clone, Copy)]
pub struct Problem<'a> {
    /// What to predict.
    pub response: Response<'a>,
    /// Which columns of X it sees.
    pub neurons: Neurons<'a>,
    /// λ1 ≥ 0.
    pub l1: f64,
    /// λ2 ≥ 0, of the norm that is not squared.
    pub l2: f64,
    /// Where it starts.
    pub start: Start<'a>,
}

/// How to train. Defaults are NeuroX's.
///
/// | name | default | meaning | range |
/// |---|---|---|---|
/// | `epochs` | 10 | sweeps over the samples | ≥ 1 |
/// | `batch` | 32 | samples of a step | ≥ 1 |
/// | `learning_rate` | 1e-3 | Adam's step size | > 0 |
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Params {
    /// Sweeps over the samples.
    pub epochs: usize,
    /// Samples of a step.
    pub batch: usize,
    /// Adam's step size.
    pub learning_rate: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            epochs: 10,
            batch: 32,
            learning_rate: 1e-3,
        }
    }
}

/// A trained probe.
#[derive(Debug, Clone, PartialEq)]
pub struct Trained {
    /// Weights for raw activations, C × D (1 × D for values); 0 for neurons that the probe does not see.
    pub weights: Array2<f32>,
    /// Bias, C. A class that train lacks has [`ABSENT_CLASS_BIAS`].
    pub bias: Array1<f32>,
    /// Steps that Adam took.
    pub steps: usize,
}

/// Trains a batch of probes over the same raw activations X (N × D).
///
/// Returns one for each problem, in order. `progress` is called after every epoch; a pass is an epoch.
///
/// # Errors
/// When X has a value that is not finite; responses and X differ in samples; fewer than two classes occur; neurons,
/// start, penalty or parameter are out of range; or the weights left the range of f32.
pub fn train(
    x: ArrayView2<'_, f32>,
    problems: &[Problem<'_>],
    params: &Params,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Vec<Trained>> {
    let (models, columns) = models(x, problems, params, progress)?;
    let trained = |model: &Model| model.trained(&columns[model.place], x.ncols());
    Ok(models.iter().map(trained).collect())
}

/// As [`train`], as [`Fit`]s: with `moments` of X, the weights for standardised activations; the objective is that of
/// this module; the certificate says how far from its optimum the training stopped (KKT residual on raw weights, duality
/// gap, both f64) and, since it has no stopping rule to meet, never that it converged, nor that any weight is certain.
///
/// # Errors
/// As [`train`].
pub fn fits(
    x: ArrayView2<'_, f32>,
    moments: &Moments,
    problems: &[Problem<'_>],
    params: &Params,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Vec<Fit>> {
    let neurons = x.ncols();
    if moments.sd.len() != neurons {
        return Err(Error::invalid(
            "moments",
            format!("{} of them for {neurons} neurons", moments.sd.len()),
            "Give the moments of the activations that are trained on",
        ));
    }
    let (models, columns) = models(x, problems, params, progress)?;
    let fit = |(model, problem): (&Model, &Problem<'_>)| {
        let seen = &columns[model.place];
        let trained = model.trained(seen, neurons);
        let (objective, certificate) = measure::certificate(x, seen, model, problem, params.epochs);
        let sd = Array1::from_iter(moments.sd.iter().map(|sd| *sd as f32));
        Fit {
            l1: problem.l1,
            l2: problem.l2,
            standardised: &trained.weights * &sd,
            weights: trained.weights,
            bias: trained.bias,
            objective,
            certificate,
            trace: Vec::new(),
        }
    };
    Ok(models.par_iter().zip(problems).map(fit).collect())
}

/// NeuroX's objective of weights (C × D) and biases (C) on raw activations X (N × D), in f64: `F` above.
///
/// # Errors
/// When the shapes of X, response, weights and biases do not fit together.
pub fn neurox_objective(
    x: ArrayView2<'_, f32>,
    response: Response<'_>,
    weights: ArrayView2<'_, f32>,
    bias: ArrayView1<'_, f32>,
    l1: f64,
    l2: f64,
) -> Result<f64> {
    let classes = check_response(x, response)?;
    if weights.dim() != (classes, x.ncols()) || bias.len() != classes {
        return Err(Error::invalid(
            "weights",
            format!(
                "{:?} weights and {} biases for {classes} classes and {} neurons",
                weights.dim(),
                bias.len(),
                x.ncols()
            ),
            "Give C × D weights and C biases",
        ));
    }
    let all = Columns::new(x.ncols(), Neurons::All)?;
    let z = measure::predictions(x, &all, weights.t(), bias);
    Ok(measure::loss(&z, response) + measure::penalty(weights.iter(), l1, l2))
}

/// Bytes that [`train`] takes beside X: weights, gradient and Adam's two moments of every (classes, neurons) probe.
pub fn bytes(probes: impl IntoIterator<Item = (usize, usize)>) -> u64 {
    let probe = |(classes, neurons): (usize, usize)| 16 * (classes * (neurons + 1)) as u64;
    probes.into_iter().map(probe).sum()
}

fn models(
    x: ArrayView2<'_, f32>,
    problems: &[Problem<'_>],
    params: &Params,
    progress: &mut dyn FnMut(&Progress),
) -> Result<(Vec<Model>, Vec<Columns>)> {
    check(x, problems, params)?;
    let mut columns: Vec<Columns> = Vec::new();
    let mut models = Vec::with_capacity(problems.len());
    for problem in problems {
        let seen = Columns::new(x.ncols(), problem.neurons)?;
        let place = columns.iter().position(|known| *known == seen);
        let place = place.unwrap_or_else(|| {
            columns.push(seen);
            columns.len() - 1
        });
        models.push(Model::new(problem, place, columns[place].width(), params)?);
    }
    lockstep::sweep(x, &columns, &mut models, params, progress);
    if models.iter().all(Model::is_finite) {
        return Ok((models, columns));
    }
    Err(Error::invalid(
        "learning_rate",
        format!(
            "with {} the weights left the range of f32",
            params.learning_rate
        ),
        "Give a smaller one; NeuroX takes 0.001",
    ))
}

fn check(x: ArrayView2<'_, f32>, problems: &[Problem<'_>], params: &Params) -> Result<()> {
    for (name, value) in [("epochs", params.epochs), ("batch", params.batch)] {
        if value == 0 {
            let fix = "Give at least 1";
            return Err(Error::invalid(name, "it is 0, allowed is 1 or more", fix));
        }
    }
    if !(params.learning_rate.is_finite() && params.learning_rate > 0.0) {
        let problem = format!("it is {}, allowed is more than 0", params.learning_rate);
        return Err(Error::invalid(
            "learning_rate",
            problem,
            "NeuroX takes 0.001",
        ));
    }
    if let Some(((row, neuron), value)) = x.indexed_iter().find(|(_, v)| !v.is_finite()) {
        return Err(Error::invalid(
            "activations",
            format!("row {row}, neuron {neuron} is {value}"),
            "Every activation must be a finite number",
        ));
    }
    for problem in problems {
        check_response(x, problem.response)?;
        for (name, value) in [("l1", problem.l1), ("l2", problem.l2)] {
            if !(value.is_finite() && value >= 0.0) {
                let is = format!("it is {value}, allowed is 0 or more");
                return Err(Error::invalid(name, is, "Give a finite penalty"));
            }
        }
    }
    Ok(())
}

/// The number of classes (1 for values).
fn check_response(x: ArrayView2<'_, f32>, response: Response<'_>) -> Result<usize> {
    let (what, given) = match response {
        Response::Classes(labels) => ("labels", labels.len()),
        Response::Values(values) => ("values", values.len()),
    };
    if given != x.nrows() {
        return Err(Error::invalid(
            what,
            format!("{given} {what} for {} rows of activations", x.nrows()),
            "Give exactly one for every row",
        ));
    }
    match response {
        Response::Classes(labels) if labels.present().len() < 2 => Err(Error::invalid(
            "labels",
            "all samples are of one class",
            "A probe needs at least two classes in train",
        )),
        Response::Classes(labels) => Ok(labels.classes().len()),
        Response::Values(values) => match values.iter().position(|v| !v.is_finite()) {
            Some(row) => Err(Error::invalid(
                "values",
                format!("row {row} is {}", values[row]),
                "Every value must be a finite number",
            )),
            None if values.is_empty() => Err(Error::invalid(
                "values",
                "there are none",
                "Give one value for every sample",
            )),
            None => Ok(1),
        },
    }
}
