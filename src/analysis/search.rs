//! Search: which penalty does dev prefer. Probes are fitted on train and chosen on dev; test is not known here.

mod each;
mod keeper;
mod sets;

pub use each::Need;
pub use keeper::{Batch, Keeper};

use std::sync::Arc;

use ndarray::{Array1, Array2, ArrayView2};

use super::bootstrap::Units;
use super::metrics::sample_losses;
use super::predictions::{Predictions, predict};
use super::selection::{LcaTerms, Rule, Score, Scores, lca_terms};
use crate::activations::Rows;
use crate::error::{Error, Result};
use crate::labels::Labels;
use crate::ops::Backend;
use crate::ops::moments::{Moments, Spread};
use crate::ops::probe::{
    self, ABSENT_CLASS_BIAS, Certificate, Design, Fit, Params, Problem, Response,
};

/// At a λ_max of at most this every neuron has the same mean in every class, up to rounding: any path of penalties then
/// gives the probe that always answers the most frequent class.
pub(super) const NO_SIGNAL: f64 = 1e-7;

/// Fits probes on any neurons of train and judges them on dev.
#[derive(Debug, Clone)]
pub struct Prober<'a> {
    /// Where probes are fitted.
    pub backend: &'a Backend,
    /// Moments of train.
    pub moments: &'a Moments,
    /// Raw activations of train, N × D.
    pub train: ArrayView2<'a, f32>,
    /// Raw activations of dev.
    pub dev: ArrayView2<'a, f32>,
    /// How to fit.
    pub params: Params,
    /// By which rule dev chooses.
    pub rule: Rule,
    /// The sentence of each sample of dev, ascending, where it is known: standard errors are then those of whole sentences.
    pub dev_sentences: Option<&'a [u32]>,
    /// What was fitted before, and where to keep what is fitted now.
    pub keeper: Option<&'a dyn Keeper>,
    /// Train's activations once more, where memory does not hold a standardised copy of them: natively they are standardised
    /// again for every pass. Fits are the same, bit for bit.
    pub streamed: Option<Arc<dyn Rows>>,
}

/// The labels of one task, or of one draw of a control task.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// Of train.
    pub train: &'a Labels,
    /// Of dev.
    pub dev: &'a Labels,
}

/// Which penalties to try.
#[derive(Debug, Clone, PartialEq)]
pub enum Penalties {
    /// λ1 = each ratio · λ_max of the neurons at hand, λ2 = `l2_per_l1` · λ1. Relative, so that the same path suits one
    /// layer, all layers and a handful of neurons.
    Path {
        /// λ1 as shares of λ_max, in (0, 1].
        ratios: Vec<f64>,
        /// λ2 / λ1.
        l2_per_l1: f64,
    },
    /// One λ1 and λ2.
    Fixed {
        /// λ1.
        l1: f64,
        /// λ2.
        l2: f64,
    },
}

impl Penalties {
    /// The ratio that `search` chose on this path, and `neighbours` more on either side: for retraining on other neurons.
    pub fn near(&self, search: &Search, neighbours: usize) -> Self {
        self.around(search.chosen, neighbours)
    }

    /// The ratio at this place of the path, strongest first, and `neighbours` more on either side.
    pub fn around(&self, place: usize, neighbours: usize) -> Self {
        match self {
            Self::Fixed { .. } => self.clone(),
            Self::Path { ratios, l2_per_l1 } => {
                let ratios = descending(ratios);
                let from = place.saturating_sub(neighbours);
                let to = (place + neighbours + 1).min(ratios.len());
                Self::Path {
                    ratios: ratios[from.min(to)..to].to_vec(),
                    l2_per_l1: *l2_per_l1,
                }
            }
        }
    }

    /// (λ1, λ2), strongest first.
    pub(super) fn values(
        &self,
        lambda_max: impl FnOnce() -> Result<f64>,
    ) -> Result<Vec<(f64, f64)>> {
        match self {
            Self::Fixed { l1, l2 } => Ok(vec![(*l1, *l2)]),
            Self::Path { ratios, .. }
                if ratios.is_empty() || !ratios.iter().all(|&r| r > 0.0 && r <= 1.0) =>
            {
                Err(Error::invalid(
                    "penalty path",
                    format!("its ratios to λ_max are {ratios:?}"),
                    "Give at least one ratio, each more than 0 and at most 1",
                ))
            }
            Self::Path { ratios, l2_per_l1 } => {
                let largest = lambda_max()?;
                let penalty = |ratio| (ratio * largest, ratio * largest * l2_per_l1);
                Ok(descending(ratios).into_iter().map(penalty).collect())
            }
        }
    }
}

fn descending(ratios: &[f64]) -> Vec<f64> {
    let mut ratios = ratios.to_vec();
    ratios.sort_by(|a, b| b.total_cmp(a));
    ratios
}

/// One penalty that was tried.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// λ1.
    pub l1: f64,
    /// λ2.
    pub l2: f64,
    /// Accuracy on dev.
    pub dev_accuracy: f64,
    /// What the rules look at, on dev.
    pub scores: Scores,
    /// The LCA score on dev, where that is the rule.
    pub lca_score: Option<f64>,
    /// Accuracy on train.
    pub train_accuracy: f64,
    /// Weights that are not zero.
    pub nonzero_weights: usize,
    /// How near the optimum the fit is.
    pub certificate: Certificate,
}

/// The probe that dev prefers, and what it was preferred to.
#[derive(Debug, Clone)]
pub struct Search {
    /// The probe.
    pub fit: Fit,
    /// Its accuracy on dev.
    pub dev_accuracy: f64,
    /// Its place in `path`.
    pub chosen: usize,
    /// All penalties that were tried, strongest first.
    pub path: Vec<Candidate>,
}

impl Search {
    /// Accuracy of the probe on train.
    pub fn train_accuracy(&self) -> f64 {
        self.path[self.chosen].train_accuracy
    }

    /// Of every fit: one a penalty.
    pub fn certificates(&self) -> impl Iterator<Item = &Certificate> {
        self.path.iter().map(|candidate| &candidate.certificate)
    }
}

impl Prober<'_> {
    /// Fits a task on the neurons `columns` at every penalty and chooses on dev by [`Prober::rule`]; of
    /// equally good ones the most strongly penalised, since it needs the fewest neurons.
    ///
    /// Neurons none of which varies give the probe that always answers the most frequent class. `progress` hears the share
    /// that is done, 0 to 1.
    ///
    /// # Errors
    /// As [`probe::fit`]; when dev's labels and rows differ in number.
    pub fn search(
        &self,
        columns: &[usize],
        target: Target<'_>,
        penalties: &Penalties,
        progress: &mut dyn FnMut(f64),
    ) -> Result<Search> {
        let mut searches = self.search_all(columns, &[target], penalties, progress)?;
        Ok(searches.remove(0))
    }

    /// As [`Prober::search`] for several tasks at once: they are one batch at each penalty, which reads the activations once
    /// for all.
    ///
    /// # Errors
    /// As [`Prober::search`].
    pub fn search_all(
        &self,
        columns: &[usize],
        targets: &[Target<'_>],
        penalties: &Penalties,
        progress: &mut dyn FnMut(f64),
    ) -> Result<Vec<Search>> {
        let design = self.design(columns)?;
        let mut paths = Vec::with_capacity(targets.len());
        for target in targets {
            let lambda_max = || match &design {
                Some(d) => {
                    let problem = Problem::new(target.train, 0.0, 0.0);
                    let all = probe::lambda_max(d, &[problem], self.params.scale)?;
                    Ok(if all[0] > NO_SIGNAL { all[0] } else { 1.0 })
                }
                None => Ok(1.0), // every penalty gives the same probe
            };
            let values = penalties.values(lambda_max)?;
            let problem = |(l1, l2)| Problem::new(target.train, l1, l2);
            paths.push(values.into_iter().map(problem).collect());
        }
        let fits = self.fit_paths(design.as_ref(), &paths, progress)?;
        let each = targets.iter().zip(fits);
        each.map(|(target, fits)| self.choose(columns, fits, *target))
            .collect()
    }

    /// Fits paths of problems that share one choice of neurons, each from its strongest penalty on. Natively the paths go
    /// step by step, and each problem starts where the one before it ended: the whole path then takes about as long as its
    /// weakest penalty would alone. A GPU, which many problems at once keep busy, gets all of them as one batch.
    fn fit_paths(
        &self,
        design: Option<&Design>,
        paths: &[Vec<Problem<'_>>],
        progress: &mut dyn FnMut(f64),
    ) -> Result<Vec<Vec<Fit>>> {
        let steps = paths.first().map_or(0, Vec::len);
        if !matches!(self.backend, Backend::Cpu) {
            let mut fits = self.fit(design, &paths.concat(), progress)?.into_iter();
            return Ok(paths
                .iter()
                .map(|path| fits.by_ref().take(path.len()).collect())
                .collect());
        }
        let mut found: Vec<Vec<Fit>> = paths.iter().map(|_| Vec::with_capacity(steps)).collect();
        for step in 0..steps {
            let problems: Vec<Problem<'_>> = paths
                .iter()
                .zip(&found)
                .map(|(path, found)| Problem {
                    start: found.last(),
                    ..path[step]
                })
                .collect();
            let fits = self.fit(design, &problems, &mut |share| {
                progress((step as f64 + share) / steps as f64);
            })?;
            found
                .iter_mut()
                .zip(fits)
                .for_each(|(path, fit)| path.push(fit));
        }
        Ok(found)
    }

    /// The chosen neurons, standardised; `None` where none of them varies.
    pub(super) fn design(&self, columns: &[usize]) -> Result<Option<Design>> {
        let varies = |&n: &usize| {
            let spread = self.moments.spread.get(n);
            spread.is_none_or(|s| *s == Spread::Varies) // an unknown neuron is Design's error
        };
        if !columns.iter().any(varies) {
            return Ok(None);
        }
        match (&self.streamed, self.backend) {
            (Some(rows), Backend::Cpu) => {
                Design::streamed(Arc::clone(rows), self.moments, columns).map(Some)
            }
            _ => Design::new(self.backend, self.train, self.moments, columns).map(Some),
        }
    }

    /// Fits problems that share one choice of neurons, in one batch.
    pub(super) fn fit_on(
        &self,
        columns: &[usize],
        problems: &[Problem<'_>],
        progress: &mut dyn FnMut(f64),
    ) -> Result<Vec<Fit>> {
        self.fit(self.design(columns)?.as_ref(), problems, progress)
    }

    fn choose(&self, columns: &[usize], mut fits: Vec<Fit>, target: Target<'_>) -> Result<Search> {
        let units = match self.dev_sentences {
            Some(sentences) => Units::sentences(sentences)?,
            None => Units::samples(self.dev.nrows()),
        };
        let mut path = Vec::with_capacity(fits.len());
        for fit in &fits {
            check_shape(fit, self.dev, target.dev)?;
            let mut scores = judge(&predict(fit, self.dev)?, target.dev, &units)?;
            if self.rule == Rule::Lca {
                scores.lca = Some(lca_terms(self.backend, fit, columns, self.dev, target.dev)?);
            }
            path.push(Candidate {
                l1: fit.l1,
                l2: fit.l2,
                dev_accuracy: scores.accuracy.value,
                scores,
                lca_score: None,
                train_accuracy: accuracy(&hits(fit, self.train, target.train)?),
                nonzero_weights: fit.nonzero_weights(),
                certificate: fit.certificate,
            });
        }
        let unregularised = path.last().map_or(0.0, |weakest| weakest.dev_accuracy);
        for candidate in &mut path {
            let score = |terms: LcaTerms| terms.score(candidate.dev_accuracy, unregularised);
            candidate.lca_score = candidate.scores.lca.map(score);
        }
        let tried: Vec<Scores> = path
            .iter()
            .map(|candidate: &Candidate| candidate.scores)
            .collect();
        let chosen = self.rule.choose(&tried);
        Ok(Search {
            dev_accuracy: path[chosen].dev_accuracy,
            fit: fits.swap_remove(chosen),
            chosen,
            path,
        })
    }
}

/// Accuracy and log-loss of predictions, with standard errors over `units`.
pub(super) fn judge(predictions: &Predictions, labels: &Labels, units: &Units) -> Result<Scores> {
    if predictions.classes.len() != labels.len() || units.len() != labels.len() {
        return Err(Error::invalid(
            "samples to judge a probe on",
            format!(
                "{} predictions, {} labels, and sentences of {} samples",
                predictions.classes.len(),
                labels.len(),
                units.len()
            ),
            "Give one label for every row",
        ));
    }
    let right: Vec<f64> = (predictions.classes.iter().zip(labels.ids()))
        .map(|(p, y)| f64::from(u8::from(p == y)))
        .collect();
    let losses = sample_losses(labels, predictions.log_probabilities.view());
    Ok(Scores {
        accuracy: Score::mean(&right, units),
        log_loss: Score::mean(&losses, units),
        lca: None,
    })
}

/// Which samples (rows of raw activations, N × D) a probe gets right.
///
/// # Errors
/// When rows and labels differ in number.
pub fn hits(fit: &Fit, x: ArrayView2<'_, f32>, labels: &Labels) -> Result<Vec<bool>> {
    check_shape(fit, x, labels)?;
    let predicted = predict(fit, x)?.classes;
    Ok(predicted
        .iter()
        .zip(labels.ids())
        .map(|(p, y)| p == y)
        .collect())
}

fn check_shape(fit: &Fit, x: ArrayView2<'_, f32>, labels: &Labels) -> Result<()> {
    if x.nrows() == labels.len() && x.ncols() == fit.weights.ncols() {
        return Ok(());
    }
    Err(Error::invalid(
        "samples to judge a probe on",
        format!(
            "{} × {} activations and {} labels for a probe of {} neurons",
            x.nrows(),
            x.ncols(),
            labels.len(),
            fit.weights.ncols()
        ),
        "Give one label for every row, and the neurons that the probe was fitted on",
    ))
}

/// Number of samples that are right.
pub fn count(hits: &[bool]) -> usize {
    hits.iter().filter(|hit| **hit).count()
}

/// Share of the samples that are right; 0 of none.
pub fn accuracy(hits: &[bool]) -> f64 {
    count(hits) as f64 / hits.len().max(1) as f64
}

/// The optimum where no neuron varies: all weights 0, each bias the logarithm of its class's share of train. Exact, so its
/// certificate is 0 without any pass.
pub(super) fn intercept_only(problem: &Problem<'_>, neurons: usize) -> Fit {
    let Response::Classes(labels) = problem.response else {
        unreachable!("a search is over classes")
    };
    let total = labels.len() as f64;
    let shares: Vec<f64> = labels.counts().iter().map(|&n| n as f64 / total).collect();
    let bias: Array1<f32> = shares
        .iter()
        .map(|&p| {
            if p > 0.0 {
                p.ln() as f32
            } else {
                ABSENT_CLASS_BIAS
            }
        })
        .collect();
    let weights = Array2::zeros((shares.len(), neurons));
    Fit {
        l1: problem.l1,
        l2: problem.l2,
        standardised: weights.clone(),
        weights,
        bias,
        objective: shares
            .iter()
            .filter(|&&p| p > 0.0)
            .map(|p| -p * p.ln())
            .sum(),
        certificate: Certificate {
            kkt: 0.0,
            kkt_relative: 0.0,
            duality_gap: 0.0,
            relative_gap: 0.0,
            passes: 0.0,
            work: 0.0,
            depth: 0,
            converged: true,
            certified_zeros: shares.len() * neurons,
            certified_nonzeros: 0,
        },
        trace: Vec::new(),
    }
}
