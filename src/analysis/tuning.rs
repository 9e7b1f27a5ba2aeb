//! Tuning: one probe of classes or values, its penalty chosen on dev, by cross-validation, or given.
//!
//! Cross-validation holds every fold out once: a fold is a problem in which its samples weigh nothing, so all folds and
//! all penalties are one batch over the same activations. Those are standardised by all of train: held-out samples
//! contribute to the means and standard deviations, never to a fit. Penalties are shares of λ_max of all of train. The
//! score of a penalty is the mean of its folds' scores, weighted by their samples, its standard error
//! `√(Σ_k (n_k/N)·(s_k − s̄)² / (K − 1))` (as in glmnet, Friedman et al. 2010). The probe is then fitted on all of train at
//! the penalty that was chosen.
//!
//! Held-out samples and dev count alike whatever their weight in training is.

use ndarray::{ArrayView2, Axis};

use super::bootstrap::Units;
use super::predictions::predict;
use super::search::{Penalties, judge};
use super::selection::{LcaTerms, Rule, Score, Scores, lca_terms};
use crate::error::{Error, Result};
use crate::labels::Labels;
use crate::ops::Backend;
use crate::ops::moments::Moments;
use crate::ops::probe::{
    self, Certificate, Design, Fit, Neurons, Norm, Params, PenaltyScale, Plan, Problem, Response,
    adam,
};

/// Samples with what is to be predicted.
#[derive(Debug, Clone, Copy)]
pub struct Samples<'a> {
    /// Raw activations, N × D.
    pub x: ArrayView2<'a, f32>,
    /// Class or value of each row.
    pub response: Response<'a>,
    /// The sentence of each row, ascending, where it is known.
    pub sentences: Option<&'a [u32]>,
}

impl Samples<'_> {
    /// What a bootstrap draws and a standard error counts: sentences where they are known.
    ///
    /// # Errors
    /// When the sentences are not ascending.
    pub fn units(&self) -> Result<Units> {
        match self.sentences {
            Some(sentences) => Units::sentences(sentences),
            None => Ok(Units::samples(self.x.nrows())),
        }
    }
}

/// What decides between penalties.
#[derive(Debug, Clone, Copy)]
pub enum By<'a> {
    /// Samples of their own.
    Dev(Samples<'a>),
    /// The fold of each sample of train, 0 to `count` − 1.
    Folds {
        /// One a sample.
        fold: &'a [usize],
        /// Number of folds.
        count: usize,
    },
    /// Nothing: there is one penalty.
    Nothing,
}

/// What to fit, and how to choose.
#[derive(Debug, Clone)]
pub struct Tuning<'a> {
    /// Where probes are fitted.
    pub backend: &'a Backend,
    /// Moments of train.
    pub moments: &'a Moments,
    /// What the probe is fitted on.
    pub train: Samples<'a>,
    /// Weight of every sample of train; `None` weighs all alike.
    pub weights: Option<&'a [f64]>,
    /// The neurons that the probe sees.
    pub columns: &'a [usize],
    /// The penalties to try.
    pub penalties: &'a Penalties,
    /// What λ2 multiplies.
    pub norm: Norm,
    /// How to fit.
    pub params: Params,
    /// Instead of solving, train as NeuroX does, started with `params.seed`: its own objective, raw activations. It knows
    /// neither weights of samples nor folds.
    pub adam: Option<adam::Params>,
    /// How to choose. For values [`Rule::LogLoss`] stands for the squared error, the log-loss of a normal distribution up
    /// to a constant; rules of accuracy are refused.
    pub rule: Rule,
    /// What decides.
    pub by: By<'a>,
}

/// One penalty that was tried.
#[derive(Debug, Clone, PartialEq)]
pub struct Tried {
    /// λ1.
    pub l1: f64,
    /// λ2.
    pub l2: f64,
    /// What the rules look at; `None` where nothing decides. Of values the log-loss is the mean squared error and the
    /// accuracy 0.
    pub scores: Option<Scores>,
    /// The LCA score, where that is the rule.
    pub lca_score: Option<f64>,
    /// Weights that are not zero, and the certificate: of the one fit, or of every fold's.
    pub fits: Vec<(usize, Certificate)>,
}

/// A probe and what it was preferred to.
#[derive(Debug, Clone)]
pub struct Tuned {
    /// The probe, fitted on all of train.
    pub fit: Fit,
    /// The place of its penalty in `path`.
    pub chosen: usize,
    /// All penalties that were tried, strongest first.
    pub path: Vec<Tried>,
    /// What the largest batch was planned to take; `None` where nothing was solved (NeuroX's training).
    pub plan: Option<Plan>,
}

/// What a run tells while it runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Heard {
    /// A batch is about to be solved.
    Planned(Plan),
    /// The share that is done, 0 to 1.
    Done(f64),
}

impl Heard {
    /// The same as a part of something larger.
    fn within(self, from: f64, to: f64) -> Self {
        match self {
            Self::Planned(plan) => Self::Planned(plan),
            Self::Done(share) => Self::Done(from + share * (to - from)),
        }
    }
}

impl Tuning<'_> {
    /// Fits the probe. `progress` hears what is planned, and how far it is.
    ///
    /// # Errors
    /// When no chosen neuron varies, nothing decides between several penalties, the rule does not suit the response, or as
    /// [`probe::fit`].
    pub fn run(&self, progress: &mut dyn FnMut(Heard)) -> Result<Tuned> {
        let design = Design::new(self.backend, self.train.x, self.moments, self.columns)?;
        let lambda_max = || {
            let problems = [self.problem((0.0, 0.0), self.weights)];
            probe::lambda_max(&design, &problems, self.params.scale).map(|all| all[0])
        };
        let mut penalties = self.penalties.values(lambda_max)?;
        if let (Response::Values(values), Penalties::Path { .. }) =
            (self.train.response, self.penalties)
        {
            // λ1 has the unit of the values, λ2 has none: the ratio is meant for values of unit spread.
            let spread = spread(values);
            for (_, l2) in &mut penalties {
                *l2 /= spread;
            }
        }
        self.check(&penalties)?;
        let mut largest: Option<Plan> = None;
        let mut progress = |heard: Heard| {
            if let Heard::Planned(plan) = heard
                && largest.is_none_or(|known| plan.solver > known.solver)
            {
                largest = Some(plan);
            }
            progress(heard);
        };
        let tuned = self.tune(&design, &penalties, &mut progress)?;
        Ok(Tuned {
            plan: largest,
            ..tuned
        })
    }

    fn tune(
        &self,
        design: &Design,
        penalties: &[(f64, f64)],
        progress: &mut dyn FnMut(Heard),
    ) -> Result<Tuned> {
        match self.by {
            By::Dev(dev) => self.on_dev(design, penalties, dev, progress),
            By::Folds { fold, count } => self.by_folds(design, penalties, (fold, count), progress),
            By::Nothing => {
                let fits = self.fit(
                    design,
                    &[self.problem(penalties[0], self.weights)],
                    progress,
                )?;
                let fit = fits.into_iter().next().expect("one fit a problem");
                let path = vec![tried(penalties[0], None, [&fit])];
                Ok(Tuned {
                    fit,
                    chosen: 0,
                    path,
                    plan: None,
                })
            }
        }
    }

    fn check(&self, penalties: &[(f64, f64)]) -> Result<()> {
        if matches!(self.by, By::Nothing) && penalties.len() > 1 {
            return Err(Error::invalid(
                "penalties",
                format!("there are {} and nothing to choose by", penalties.len()),
                "Give dev or folds, or one penalty",
            ));
        }
        let raw = self.norm == Norm::Frobenius && self.params.scale == PenaltyScale::Raw;
        if self.adam.is_some() && !raw {
            return Err(Error::invalid(
                "NeuroX's training",
                "another objective was asked for",
                "It minimises its own: the norm that is not squared, of raw weights (--penalty neurox --no-standardize)",
            ));
        }
        if self.adam.is_some() && (self.weights.is_some() || matches!(self.by, By::Folds { .. })) {
            return Err(Error::invalid(
                "NeuroX's training",
                "it knows neither weights of samples nor folds",
                "Leave the weights out, and give dev or one penalty (--dev, or --l1 and --l2)",
            ));
        }
        let of_values = matches!(self.train.response, Response::Values(_));
        if of_values && !matches!(self.rule, Rule::LogLoss | Rule::LogLossOneSe) {
            return Err(Error::invalid(
                "selection",
                format!("\"{}\" does not suit continuous labels", self.rule.name()),
                "Choose by log-loss or log-loss-1se, which take the squared error of values",
            ));
        }
        Ok(())
    }

    fn problem<'b>(&'b self, (l1, l2): (f64, f64), weights: Option<&'b [f64]>) -> Problem<'b> {
        Problem {
            weights,
            norm: self.norm,
            ..Problem::of(self.train.response, l1, l2)
        }
    }

    pub(super) fn fit(
        &self,
        design: &Design,
        problems: &[Problem<'_>],
        progress: &mut dyn FnMut(Heard),
    ) -> Result<Vec<Fit>> {
        if self.adam.is_none() {
            progress(Heard::Planned(probe::plan(
                self.backend,
                design,
                problems,
                &self.params,
            )));
        }
        let mut report =
            |p: &probe::Progress| progress(Heard::Done(p.finished as f64 / p.problems as f64));
        let Some(params) = &self.adam else {
            return probe::fit(self.backend, design, problems, &self.params, &mut report);
        };
        let problems: Vec<adam::Problem<'_>> = problems
            .iter()
            .map(|problem| adam::Problem {
                response: problem.response,
                neurons: Neurons::These(self.columns),
                l1: problem.l1,
                l2: problem.l2,
                start: adam::Start::Seeded(self.params.seed),
            })
            .collect();
        adam::fits(self.train.x, self.moments, &problems, params, &mut report)
    }

    fn on_dev(
        &self,
        design: &Design,
        penalties: &[(f64, f64)],
        dev: Samples<'_>,
        progress: &mut dyn FnMut(Heard),
    ) -> Result<Tuned> {
        let problems: Vec<Problem<'_>> = penalties
            .iter()
            .map(|&penalty| self.problem(penalty, self.weights))
            .collect();
        let mut fits = self.fit(design, &problems, progress)?;
        let units = dev.units()?;
        let mut path = Vec::with_capacity(fits.len());
        for (fit, &penalty) in fits.iter().zip(penalties) {
            let scores = self.scores(fit, dev, &units)?;
            path.push(tried(penalty, Some(scores), [fit]));
        }
        let chosen = self.choose(&mut path);
        Ok(Tuned {
            fit: fits.swap_remove(chosen),
            chosen,
            path,
            plan: None,
        })
    }

    fn by_folds(
        &self,
        design: &Design,
        penalties: &[(f64, f64)],
        (fold, count): (&[usize], usize),
        progress: &mut dyn FnMut(Heard),
    ) -> Result<Tuned> {
        let weight = |sample: usize| self.weights.map_or(1.0, |weights| weights[sample]);
        let without = |held_out: usize| -> Vec<f64> {
            let of_sample = |(sample, &fold): (usize, &usize)| {
                if fold == held_out {
                    0.0
                } else {
                    weight(sample)
                }
            };
            fold.iter().enumerate().map(of_sample).collect()
        };
        let weights: Vec<Vec<f64>> = (0..count).map(without).collect();
        let mut problems = Vec::with_capacity(count * penalties.len());
        for of_fold in &weights {
            problems.extend(penalties.iter().map(|&p| self.problem(p, Some(of_fold))));
        }
        let fits = self.fit(design, &problems, &mut |heard| {
            progress(heard.within(0.0, 0.9));
        })?;
        let mut of_folds = vec![Vec::with_capacity(count); penalties.len()];
        for (held_out, fits) in fits.chunks(penalties.len()).enumerate() {
            let rows: Vec<usize> = (0..fold.len()).filter(|&i| fold[i] == held_out).collect();
            let scores = self.held_out(fits, &rows)?;
            for (of_penalty, scores) in of_folds.iter_mut().zip(scores) {
                of_penalty.push((rows.len(), scores));
            }
        }
        let mut path = Vec::with_capacity(penalties.len());
        for (at, (&penalty, scores)) in penalties.iter().zip(&of_folds).enumerate() {
            let fits = fits.iter().skip(at).step_by(penalties.len());
            path.push(tried(penalty, Some(over_folds(scores)), fits));
        }
        let chosen = self.choose(&mut path);
        let problem = self.problem(penalties[chosen], self.weights);
        let fits = self.fit(design, &[problem], &mut |heard| {
            progress(heard.within(0.9, 1.0));
        })?;
        Ok(Tuned {
            fit: fits.into_iter().next().expect("one fit a problem"),
            chosen,
            path,
            plan: None,
        })
    }

    /// Scores of fits on rows of train that they have not seen.
    fn held_out(&self, fits: &[Fit], rows: &[usize]) -> Result<Vec<Scores>> {
        let x = self.train.x.select(Axis(0), rows);
        let units = Units::samples(rows.len());
        let judge = |response| {
            let samples = Samples {
                x: x.view(),
                response,
                sentences: None,
            };
            fits.iter()
                .map(|fit| self.scores(fit, samples, &units))
                .collect()
        };
        match self.train.response {
            Response::Classes(labels) => {
                let ids = rows.iter().map(|&row| labels.ids()[row]).collect();
                judge(Response::Classes(&Labels::new(
                    ids,
                    labels.classes().to_vec(),
                )?))
            }
            Response::Values(values) => {
                let values: Vec<f32> = rows.iter().map(|&row| values[row]).collect();
                judge(Response::Values(&values))
            }
        }
    }

    fn scores(&self, fit: &Fit, samples: Samples<'_>, units: &Units) -> Result<Scores> {
        match samples.response {
            Response::Classes(labels) => {
                let mut scores = judge(&predict(fit, samples.x)?, labels, units)?;
                if self.rule == Rule::Lca {
                    let terms = lca_terms(self.backend, fit, self.columns, samples.x, labels)?;
                    scores.lca = Some(terms);
                }
                Ok(scores)
            }
            Response::Values(values) => {
                let squares: Vec<f64> = (fit.values(samples.x).iter().zip(values))
                    .map(|(got, value)| f64::from(got - value).powi(2))
                    .collect();
                Ok(Scores {
                    accuracy: Score {
                        value: 0.0,
                        se: 0.0,
                    },
                    log_loss: Score::mean(&squares, units),
                    lca: None,
                })
            }
        }
    }

    /// The place of the penalty to take; fills in the LCA scores.
    fn choose(&self, path: &mut [Tried]) -> usize {
        let scores: Vec<Scores> = path.iter().filter_map(|tried| tried.scores).collect();
        let weakest = scores.last().map_or(0.0, |scores| scores.accuracy.value);
        for (tried, scores) in path.iter_mut().zip(&scores) {
            let score = |terms: LcaTerms| terms.score(scores.accuracy.value, weakest);
            tried.lca_score = scores.lca.map(score);
        }
        self.rule.choose(&scores)
    }
}

fn tried<'a>(
    (l1, l2): (f64, f64),
    scores: Option<Scores>,
    fits: impl IntoIterator<Item = &'a Fit>,
) -> Tried {
    Tried {
        l1,
        l2,
        scores,
        lca_score: None,
        fits: fits
            .into_iter()
            .map(|fit| (fit.nonzero_weights(), fit.certificate))
            .collect(),
    }
}

/// Scores of one penalty over the folds, from those of each fold and its number of samples.
fn over_folds(folds: &[(usize, Scores)]) -> Scores {
    let total: usize = folds.iter().map(|(samples, _)| samples).sum();
    let mean = |of: &dyn Fn(&Scores) -> f64| -> Score {
        let share = |samples: &usize| *samples as f64 / total as f64;
        let value: f64 = folds.iter().map(|(n, s)| share(n) * of(s)).sum();
        let spread: f64 = folds
            .iter()
            .map(|(n, s)| share(n) * (of(s) - value).powi(2))
            .sum();
        Score {
            value,
            se: (spread / (folds.len() as f64 - 1.0)).sqrt(),
        }
    };
    let term = |of: fn(&LcaTerms) -> f64| mean(&move |s| s.lca.as_ref().map_or(0.0, of)).value;
    Scores {
        accuracy: mean(&|s| s.accuracy.value),
        log_loss: mean(&|s| s.log_loss.value),
        lca: folds[0].1.lca.map(|_| LcaTerms {
            top: term(|terms| terms.top),
            bottom: term(|terms| terms.bottom),
        }),
    }
}

/// Standard deviation of values; 1 where they do not vary.
fn spread(values: &[f32]) -> f64 {
    let n = values.len().max(1) as f64;
    let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
    let square: f64 = values.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum();
    match (square / n).sqrt() {
        sd if sd > 0.0 && sd.is_finite() => sd,
        _ => 1.0,
    }
}
