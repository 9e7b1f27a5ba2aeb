//! Forward selection of the neurons of a sparse probe: what k-sparse probing (Gurnee et al. 2023, "Finding neurons in a
//! haystack") asks for, greedily.
//!
//! The objective of a set S is that of the probe's optimum on S, `F(S) = min CE + λ2·‖W‖²` over weights of standardised
//! activations of the neurons of S ([`crate::ops::probe`] with λ1 = 0). Each step adds one neuron:
//!
//! 1. Every candidate j gets the decrease of F that its own weights alone promise at the optimum of S, by gradient and diagonal
//!    of the Hessian: `Σ_c g_jc² / (2·(h_jc + 2·λ2))`, `g_jc = Σᵢ z_ij (p_ic − [yᵢ = c]) / N`, `h_jc = Σᵢ z_ij² p_ic (1 − p_ic) / N`
//!    (orthogonal matching pursuit, Pati et al. 1993, for a logistic loss).
//! 2. The best few, the shortlist, are each fitted to the optimum together with S, from where S was, in one batch.
//! 3. The one of the smallest objective stays. Between optima that the duality gaps do not tell apart the promise decides; ties
//!    by id.
//!
//! It is greedy: no neuron leaves again, and the set of k need not be the best one of k neurons. A neuron outside the shortlist
//! could have been better; a shortlist of all neurons is the plain forward selection. Neurons that do not vary are no
//! candidates.
//!
//! Cost of a step: 4·N·D·C FLOP over 4·N·D bytes for the promises, and a batch of small probes. Memory: the standardised
//! activations, 4·N·D bytes, and twice 8·N·C.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, s};
use rayon::prelude::*;

use super::greedy::{self, Labelled};
use super::metrics::sample_losses;
use super::predictions::{Predictions, predict};
use super::ranking::Ranking;
use crate::error::{Error, Result};
use crate::labels::Labels;
use crate::ops::Backend;
use crate::ops::moments::Moments;
use crate::ops::probe::{self, Design, Fit, Neurons, Problem, Stop};

/// Neurons and samples of a block of the promises: its values stay in a core's cache.
const BLOCK: (usize, usize) = (64, 512);

/// How to select.
///
/// | name | default | meaning | range |
/// |---|---|---|---|
/// | `select` | 50 | neurons to select; all candidates where there are fewer | ≥ 1 |
/// | `l2` | 1e-3 | λ2 of the probes | > 0 |
/// | `shortlist` | 8 | candidates of a step that are fitted | ≥ 1 |
/// | `gap` | 1e-5 | relative duality gap of the fits | 1e-7 to 1 |
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Params {
    /// Neurons to select.
    pub select: usize,
    /// λ2 of the probes.
    pub l2: f64,
    /// Candidates of a step that are fitted.
    pub shortlist: usize,
    /// Relative duality gap of the fits.
    pub gap: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            select: 50,
            l2: 1e-3,
            shortlist: 8,
            gap: 1e-5,
        }
    }
}

/// The probe after a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// The neuron that was added.
    pub neuron: usize,
    /// The objective of the probe on the neurons so far, on train.
    pub objective: f64,
    /// Its relative duality gap: how far above the optimum it is at most.
    pub relative_gap: f64,
    /// Mean cross-entropy of the scored samples, in nats.
    pub log_loss: f64,
    /// Share of the scored samples that it gets right.
    pub accuracy: f64,
}

/// The neurons that were selected, and the ordering that follows.
#[derive(Debug, Clone, PartialEq)]
pub struct Selected {
    /// Selected neurons first, then the others by what they promised in the last step, at last those that were no candidates.
    /// Scores are places. No class has an ordering of its own.
    pub ranking: Ranking,
    /// One for each selected neuron, in order.
    pub steps: Vec<Step>,
    /// The objective before the first step: the entropy of the classes' shares in train, in nats.
    pub before: f64,
    /// Scored samples.
    pub scored: usize,
}

/// Selects neurons by the objective on `train`; log-loss and accuracy of each step are those of `score_on`, or of train where
/// that is `None`. Samples of classes that train lacks are not
/// scored.
///
/// `moments` are those of train. `progress` hears the share that is done, 0 to 1.
///
/// # Errors
/// When samples, labels, moments or classes do not fit each other, fewer than two classes occur in train, no scored sample is
/// of one of them, `select` or `shortlist` is 0, λ2 or the gap is out of range, or the device fails.
pub fn select<'a>(
    backend: &Backend,
    train: Labelled<'a>,
    moments: &Moments,
    score_on: Option<Labelled<'a>>,
    params: &Params,
    progress: &mut dyn FnMut(f64),
) -> Result<Selected> {
    let scored = score_on.unwrap_or(train);
    greedy::check("forward selection", train, moments, scored, params.select)?;
    check(params)?;
    let varies = greedy::varying(moments);
    let candidates: Vec<usize> = (0..varies.len()).filter(|n| varies[*n]).collect();
    let shares = shares(train.labels);
    let known: Vec<bool> = shares.iter().map(|share| *share > 0.0).collect();
    let of_known = |labels: &Labels| {
        labels
            .ids()
            .iter()
            .filter(|id| known[**id as usize])
            .count()
    };
    let mut last = vec![f64::NEG_INFINITY; varies.len()];
    let mut steps = Vec::new();
    if !candidates.is_empty() {
        let search = Search {
            backend,
            train,
            design: Design::new(backend, train.x, moments, &candidates)?,
            moments,
            params,
        };
        let most = params.select.min(candidates.len());
        let mut positions = Vec::new();
        let mut log_probabilities = Array2::from_shape_fn((train.labels.len(), shares.len()), {
            |(_, class)| shares[class].ln()
        });
        let mut fit: Option<Fit> = None;
        while steps.len() < most {
            let promises = search.promises(&log_probabilities, &positions);
            for (position, promise) in promises.iter().enumerate() {
                last[candidates[position]] = *promise;
            }
            let (position, found) = search.step(&promises, &positions, fit.as_ref())?;
            positions.push(position);
            log_probabilities = predict(&found, train.x)?.log_probabilities;
            steps.push(judged(candidates[position], &found, scored, &known)?);
            fit = Some(found);
            progress(steps.len() as f64 / most as f64);
        }
    }
    let chosen: Vec<usize> = steps.iter().map(|step: &Step| step.neuron).collect();
    let entropy = |p: &f64| if *p > 0.0 { -p * p.ln() } else { 0.0 };
    Ok(Selected {
        ranking: greedy::complete(&chosen, &last, shares.len()),
        steps,
        before: shares.iter().map(entropy).sum(),
        scored: of_known(scored.labels),
    })
}

fn check(params: &Params) -> Result<()> {
    let refused = |what: String, fix: &str| Err(Error::invalid("forward selection", what, fix));
    if !(params.l2 > 0.0 && params.l2.is_finite()) {
        return refused(
            format!("λ2 is {}, allowed is more than 0", params.l2),
            "Without a penalty a probe that separates the classes has no optimum; 0.001 is usual",
        );
    }
    if params.shortlist == 0 {
        return refused(
            "its shortlist is empty".into(),
            "Fit at least one candidate a step; 8 is usual",
        );
    }
    if !(1e-7..=1.0).contains(&params.gap) {
        return refused(
            format!("its relative gap is {}", params.gap),
            "Give one from 1e-7 to 1",
        );
    }
    Ok(())
}

/// Share of each class.
fn shares(labels: &Labels) -> Array1<f64> {
    let share = |n: usize| n as f64 / labels.len() as f64;
    labels.counts().into_iter().map(share).collect()
}

/// What all steps share.
struct Search<'a, 'b> {
    backend: &'b Backend,
    train: Labelled<'a>,
    /// The candidates; positions are places in it.
    design: Design,
    moments: &'b Moments,
    params: &'b Params,
}

impl Search<'_, '_> {
    /// What each candidate's own weights promise at log-probabilities of N × C; −∞ for those that are in.
    fn promises(&self, log_probabilities: &Array2<f64>, chosen: &[usize]) -> Vec<f64> {
        let mut curvature = log_probabilities.mapv(f64::exp);
        let mut residual = curvature.clone();
        for (mut row, id) in residual.rows_mut().into_iter().zip(self.train.labels.ids()) {
            row[*id as usize] -= 1.0;
        }
        curvature.mapv_inplace(|p| p * (1.0 - p));
        let blocks = self.design.columns().par_chunks(BLOCK.0);
        let promised = blocks.map(|neurons| self.promised(neurons, &residual, &curvature));
        let mut promises = promised.collect::<Vec<_>>().concat();
        chosen
            .iter()
            .for_each(|at| promises[*at] = f64::NEG_INFINITY);
        promises
    }

    fn promised(
        &self,
        neurons: &[usize],
        residual: &Array2<f64>,
        curvature: &Array2<f64>,
    ) -> Vec<f64> {
        let (samples, classes) = residual.dim();
        let mut gradient = Array2::<f64>::zeros((neurons.len(), classes));
        let mut diagonal = Array2::<f64>::zeros((neurons.len(), classes));
        let scaling: Vec<(f64, f64)> = neurons
            .iter()
            .map(|&n| (self.moments.mean[n], self.moments.scale(n)))
            .collect();
        for from in (0..samples).step_by(BLOCK.1) {
            let rows = from..(from + BLOCK.1).min(samples);
            let x = self.train.x.slice(s![rows.clone(), ..]);
            let mut z = Array2::from_shape_fn((rows.len(), neurons.len()), |(row, at)| {
                let (mean, scale) = scaling[at];
                (f64::from(x[(row, neurons[at])]) - mean) * scale
            });
            general_mat_mul(
                1.0,
                &z.t(),
                &residual.slice(s![rows.clone(), ..]),
                1.0,
                &mut gradient,
            );
            z.mapv_inplace(|z| z * z);
            general_mat_mul(
                1.0,
                &z.t(),
                &curvature.slice(s![rows, ..]),
                1.0,
                &mut diagonal,
            );
        }
        let samples = samples as f64;
        let promise = |(g, h): (&f64, &f64)| {
            let (g, h) = (g / samples, h / samples);
            g * g / (2.0 * (h + 2.0 * self.params.l2))
        };
        let rows = gradient.rows().into_iter().zip(diagonal.rows());
        rows.map(|(g, h)| g.iter().zip(h).map(promise).sum())
            .collect()
    }

    /// Fits the shortlist and returns the best, with its position.
    fn step(
        &self,
        promises: &[f64],
        chosen: &[usize],
        start: Option<&Fit>,
    ) -> Result<(usize, Fit)> {
        let sets: Vec<Vec<usize>> = shortlist(promises, self.params.shortlist)
            .into_iter()
            .map(|position| chosen.iter().copied().chain([position]).collect())
            .collect();
        let problems: Vec<Problem<'_>> = sets
            .iter()
            .map(|set| Problem {
                neurons: Neurons::These(set),
                start,
                ..Problem::new(self.train.labels, 0.0, self.params.l2)
            })
            .collect();
        let params = probe::Params {
            stop: Stop::Gap(self.params.gap),
            ..probe::Params::default()
        };
        let fits = probe::fit(self.backend, &self.design, &problems, &params, &mut |_| {})?;
        let mut tried = sets.into_iter().zip(fits);
        let (mut set, mut best) = tried.next().expect("a candidate is left");
        for (other, fit) in tried {
            // Below what the best one's optimum can be: its own optimum is lower for certain.
            let doubt = best.certificate.duality_gap;
            let least = best.objective - if doubt.is_finite() { doubt } else { 0.0 };
            if fit.objective < least || best.objective.is_nan() {
                (set, best) = (other, fit);
            }
        }
        Ok((*set.last().expect("it ends with the candidate"), best))
    }
}

/// Positions of the largest promises, descending; ties by place, which is by id.
fn shortlist(promises: &[f64], size: usize) -> Vec<usize> {
    let mut left = promises.to_vec();
    let mut list = Vec::new();
    while list.len() < size {
        let Some(best) = greedy::best(&left) else {
            break;
        };
        left[best] = f64::NEG_INFINITY;
        list.push(best);
    }
    list
}

/// A step's figures over the samples of classes that train knows.
fn judged(neuron: usize, fit: &Fit, scored: Labelled<'_>, known: &[bool]) -> Result<Step> {
    let Predictions {
        classes,
        log_probabilities,
    } = predict(fit, scored.x)?;
    let losses = sample_losses(scored.labels, log_probabilities.view());
    let (mut samples, mut right, mut loss) = (0, 0, 0.0);
    for ((id, class), of_sample) in scored.labels.ids().iter().zip(classes).zip(losses) {
        if known[*id as usize] {
            samples += 1;
            right += usize::from(class == *id);
            loss += of_sample;
        }
    }
    Ok(Step {
        neuron,
        objective: fit.objective,
        relative_gap: fit.certificate.relative_gap,
        log_loss: loss / samples as f64,
        accuracy: right as f64 / samples as f64,
    })
}
