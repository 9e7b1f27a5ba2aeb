//! Greedy selection by Gaussian probes: Torroba Hennigen, Williams & Cotterell 2020, "Intrinsic probing through dimension
//! selection", with all candidates of a step at once.
//!
//! # The probe
//! A class c with n_c samples in train is a Gaussian over the selected neurons S (k of them). Its mean and covariance are
//! the joint mode of the normal-inverse-Wishart posterior with `κ0 = 0.01` and `ν0 = d + 2`:
//!
//! `μ_c = (κ0 μ0 + n_c x̄_c) / (κ0 + n_c)`, `Λ_c = Λ0 + Σᵢ (xᵢ − x̄_c)(xᵢ − x̄_c)ᵀ + κ0 n_c / (κ0 + n_c) (x̄_c − μ0)(x̄_c − μ0)ᵀ`,
//! `Σ_c = Λ_c / (ν0 + n_c + d + 2)`
//!
//! and `p(c | x_S) ∝ (n_c / N) · N(x_S; μ_c, Σ_c)`. [`Convention`] says what μ0, Λ0 and d are. A class that train lacks has
//! no part in it; samples of such a class are not scored.
//!
//! # The selection
//! Each step adds the neuron with which the log-likelihood of the scored samples' classes, `Σᵢ ln p(yᵢ | xᵢ_S)`, is largest;
//! ties by id (equal is what differs by less than 1e-11). Less what the shares n_c / N alone reach, over the samples, in bits,
//! that is the paper's lower bound `H(V) − H(V | h_S)` of mutual information, so both choose the same neurons. It may go down
//! on samples that the probe was not trained on: the selection goes on all the same. Neurons that do not vary are no
//! candidates.
//!
//! # Method and cost
//! A candidate j gives the Cholesky factor of every Λ_c one more row (bordered Cholesky), so that class c's log-density gains
//! one residual: x_j less its regression on x_S inside the class, over its conditional deviation. Factor rows and regression
//! coefficients of every candidate and class are kept and extended when a neuron is selected, in O(D·(N + C·k)); the residuals
//! of all candidates are products of the selected neurons' values with the coefficients, in tiles that stay in registers.
//!
//! Over M scored samples a step takes at most 2·M·D·C·k FLOP and M·D·C exponentials, K steps M·D·C·K² and M·D·C·K. A residual
//! only lowers a class's density: where the density without it is e⁻⁴⁰ of another class's (the own class's where eight samples
//! share it), neither is computed. On real activations that is most of both. Memory: 4·(N + M)·D bytes of values by neuron
//! (once where train is scored), 16·C·K·D of coefficients, 8·M·(K + 2·C).

mod model;
mod score;

use self::model::Gaussians;
use self::score::Scored;
use super::greedy::{self, Columns, Labelled};
use super::ranking::Ranking;
use ndarray::ArrayView2;

use crate::error::{Error, Result};
use crate::labels::Labels;
use crate::ops::moments::Moments;

/// What the prior is centred on and how wide it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Convention {
    /// μ0 is the mean of all samples, Λ0 the diagonal of their covariance (divided by N), d the number of neurons of the set, k.
    ///
    /// A prior from the data as a whole is that of Fraley & Raftery 2007 ("Bayesian regularization for normal mixture
    /// estimation"), whose κ0 and ν0 the paper takes, without their division of Λ0 by the number of classes to the power of
    /// 2/d. The probe is defined for classes of one sample, and for neurons that do not vary inside a class. d = k is what the
    /// marginals of an inverse-Wishart prior with `ν0 = D + 2` over all D neurons have.
    #[default]
    Whole,
    /// What the paper's code does: μ0 = x̄_c, Λ0 the diagonal of the class's own covariance (divided by n_c), d = D, the number
    /// of all neurons, also of those that are not selected.
    ///
    /// With D in the thousands Σ_c is then n_c / (n_c + 2·D + 4) of the scatter's size, far less for rare classes than for
    /// frequent ones. Neurons that do not vary inside a class of two or more samples, or where a class has one sample, have no
    /// such prior: the former are no candidates, the latter is an error.
    Published,
    /// As [`Convention::Published`] with covariances divided by n_c − 1: NeuroX's `gaussian_probe`.
    Neurox,
}

/// How to select.
///
/// | name | default | meaning | range |
/// |---|---|---|---|
/// | `select` | 50 | neurons to select; all candidates where there are fewer | ≥ 1 |
/// | `convention` | Whole | the prior | |
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Params {
    /// Neurons to select.
    pub select: usize,
    /// The prior.
    pub convention: Convention,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            select: 50,
            convention: Convention::Whole,
        }
    }
}

/// The probe after a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// The neuron that was added.
    pub neuron: usize,
    /// Σ ln p(yᵢ | xᵢ) of the scored samples, in nats.
    pub log_likelihood: f64,
    /// Lower bound of the mutual information of class and selected neurons, in bits: what a sample's log-likelihood has gained
    /// over the classes' shares, on average.
    pub bits: f64,
    /// Share of the scored samples whose class is the most probable one (of equal ones the first).
    pub accuracy: f64,
}

/// The neurons that were selected, and the ordering that follows.
#[derive(Debug, Clone, PartialEq)]
pub struct Selected {
    /// Selected neurons first, then the others by the log-likelihood that each would have had in the last step, at last those
    /// that were no candidates. Scores are places. No class has an ordering of its own.
    pub ranking: Ranking,
    /// One for each selected neuron, in order.
    pub steps: Vec<Step>,
    /// Σ ln of the classes' shares in train over the scored samples: the log-likelihood before the first step.
    pub before: f64,
    /// Scored samples.
    pub scored: usize,
}

/// Selects neurons by Gaussians of `train`, scored on the samples of `score_on`, or on train itself where that is `None`.
///
/// `moments` are those of train, natively. `progress` hears the share that is done, 0 to 1. The result is the same bit for bit
/// whatever the number of threads.
///
/// # Errors
/// When samples, labels, moments or classes do not fit each other, fewer than two classes occur in train, no scored sample is
/// of one of them, `select` is 0, or a class has one sample and its covariance is the prior.
pub fn select<'a>(
    train: Labelled<'a>,
    moments: &Moments,
    score_on: Option<Labelled<'a>>,
    params: &Params,
    progress: &mut dyn FnMut(f64),
) -> Result<Selected> {
    let samples = score_on.unwrap_or(train);
    greedy::check("Gaussian selection", train, moments, samples, params.select)?;
    let counts = train.labels.counts();
    let present = train.labels.present();
    check_classes(train.labels, params.convention)?;
    let columns = Columns::of(train, &present, score::SAMPLES);
    let of_scored = score_on.map(|scored| Columns::of(scored, &present, score::SAMPLES));
    let of_scored = of_scored.as_ref().unwrap_or(&columns);
    let neurons = moments.mean.len();
    let mut gaussians = Gaussians::new(&columns, moments, params, neurons);
    let most = params.select.min(gaussians.candidates());
    let mut scored = Scored::new(of_scored, gaussians.classes(), most);
    let before = scored.log_likelihood(&gaussians).0;
    let mut steps = Vec::with_capacity(most);
    let mut last = vec![f64::NEG_INFINITY; neurons];
    for step in 0..most {
        last = scored.candidates(&gaussians);
        // Log-likelihoods of candidates are finite: every class has a share, and every Λ is positive definite.
        let Some(neuron) = greedy::best(&last) else {
            break;
        };
        scored.add(&gaussians, neuron);
        gaussians.add(neuron);
        let (log_likelihood, right) = scored.log_likelihood(&gaussians);
        let samples = scored.samples() as f64;
        steps.push(Step {
            neuron,
            log_likelihood,
            bits: (log_likelihood - before) / samples / std::f64::consts::LN_2,
            accuracy: right as f64 / samples,
        });
        progress((step + 1) as f64 / most as f64);
    }
    let chosen: Vec<usize> = steps.iter().map(|step| step.neuron).collect();
    Ok(Selected {
        ranking: greedy::complete(&chosen, &last, counts.len()),
        steps,
        before,
        scored: scored.samples(),
    })
}

/// The most probable class of each row of `x` (M × D), by Gaussians of `train` over all its D neurons that are candidates: the
/// number of the class, of equal ones the first. A class that train lacks is never answered.
///
/// `moments` are those of train. `of` is the number of neurons that these were taken from, which is d of the published priors.
/// Cost: D²·(N + M·C) FLOP and more.
///
/// # Errors
/// When samples, labels or moments do not fit each other, fewer than two classes occur in train, or a class has one sample and
/// its covariance is the prior.
pub fn predict(
    train: Labelled<'_>,
    moments: &Moments,
    x: ArrayView2<'_, f32>,
    convention: Convention,
    of: usize,
) -> Result<Vec<u32>> {
    let present = train.labels.present();
    // Classes group samples: rows of one stay in order.
    let one = vec![present.first().copied().unwrap_or(0); x.nrows()];
    let rows = Labels::new(one, train.labels.classes().to_vec())?;
    let asked = Labelled { x, labels: &rows };
    let neurons = moments.mean.len();
    greedy::check("Gaussian probe", train, moments, asked, neurons)?;
    check_classes(train.labels, convention)?;
    let columns = Columns::of(train, &present, score::SAMPLES);
    let of_asked = Columns::of(asked, &present[..1], score::SAMPLES);
    let params = Params {
        select: neurons,
        convention,
    };
    let mut gaussians = Gaussians::new(&columns, moments, &params, of);
    let mut scored = Scored::new(&of_asked, gaussians.classes(), neurons);
    for neuron in 0..neurons {
        if gaussians.is_candidate(neuron) {
            scored.add(&gaussians, neuron);
            gaussians.add(neuron);
        }
    }
    let most_probable = scored.most_probable(&gaussians).into_iter();
    Ok(most_probable.map(|place| present[place]).collect())
}

fn check_classes(labels: &Labels, convention: Convention) -> Result<()> {
    let counts = labels.counts();
    let single = counts.iter().position(|count| *count == 1);
    match (convention, single) {
        (Convention::Whole, _) | (_, None) => Ok(()),
        (_, Some(single)) => Err(Error::invalid(
            "Gaussian probe",
            format!(
                "class \"{}\" has one sample in train, and the prior is its covariance",
                labels.classes()[single]
            ),
            "Leave the class out, or take the prior of the whole data",
        )),
    }
}
