//! Selection: which of the penalties that were tried to take.
//!
//! | rule | takes the penalty with |
//! |---|---|
//! | `accuracy` | the highest accuracy |
//! | `accuracy-1se` | the strongest of those within one standard error of the highest accuracy |
//! | `log-loss` | the lowest log-loss |
//! | `log-loss-1se` | the strongest of those within one standard error of the lowest log-loss |
//! | `lca` | the highest search score of the LCA papers, below |
//!
//! Of equals always the strongest penalty, which needs the fewest neurons. The standard error is that of the best
//! penalty's own score (the one-standard-error rule of Breiman et al. 1984, as glmnet applies it): sd/√N over the samples
//! of dev, by sentences where they are known, or over the folds of a cross-validation.
//!
//! The LCA score (Dalvi et al. 2019; Durrani et al. 2023) is `α·(A_t − A_b) − β·(A_z − A_l)` with α = β = ½. A_t and A_b
//! are accuracies of the probe, not retrained, with only the top and only the bottom 20 % of its LCA ordering, all other
//! neurons set to 0; A_l is its accuracy with all neurons, A_z that without regularisation. It rewards orderings that
//! separate the salient neurons from the rest, as long as the penalty costs no accuracy. A_z is taken from the weakest
//! penalty that was tried, since without any the optimum need not exist; it is the same for all candidates, so it does
//! not change the choice.

use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};

use super::bootstrap::Units;
use super::ranking;
use crate::error::Result;
use crate::labels::Labels;
use crate::ops::Backend;
use crate::ops::probe::Fit;
use crate::ops::sweep;

/// Share of the neurons that the LCA score keeps.
pub const LCA_SHARE: f64 = 0.2;

/// How a penalty is chosen; the module's table says what each takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Rule {
    /// Highest accuracy.
    #[default]
    #[serde(rename = "accuracy")]
    Accuracy,
    /// Strongest penalty within one standard error of the highest accuracy.
    #[serde(rename = "accuracy-1se")]
    AccuracyOneSe,
    /// Lowest log-loss.
    #[serde(rename = "log-loss")]
    LogLoss,
    /// Strongest penalty within one standard error of the lowest log-loss.
    #[serde(rename = "log-loss-1se")]
    LogLossOneSe,
    /// Highest search score of the LCA papers.
    #[serde(rename = "lca")]
    Lca,
}

impl Rule {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Accuracy,
        Self::AccuracyOneSe,
        Self::LogLoss,
        Self::LogLossOneSe,
        Self::Lca,
    ];

    /// Its name in specifications, on the command line and in results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy",
            Self::AccuracyOneSe => "accuracy-1se",
            Self::LogLoss => "log-loss",
            Self::LogLossOneSe => "log-loss-1se",
            Self::Lca => "lca",
        }
    }

    /// The place of the penalty to take, of those tried, strongest first; 0 of none.
    pub fn choose(self, tried: &[Scores]) -> usize {
        let (score, one_se): (fn(&Scores) -> Score, bool) = match self {
            Self::Accuracy => (|s| s.accuracy, false),
            Self::AccuracyOneSe => (|s| s.accuracy, true),
            Self::LogLoss => (|s| s.log_loss.negated(), false),
            Self::LogLossOneSe => (|s| s.log_loss.negated(), true),
            Self::Lca => (|s| s.lca_score(), false),
        };
        let scores: Vec<Score> = tried.iter().map(score).collect();
        strongest(&scores, one_se)
    }
}

/// A figure of one penalty and the standard error of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// The figure.
    pub value: f64,
    /// Its standard error.
    pub se: f64,
}

impl Score {
    /// The mean of one value a sample.
    pub fn mean(values: &[f64], units: &Units) -> Self {
        Self {
            value: values.iter().sum::<f64>() / values.len() as f64,
            se: units.standard_error(values),
        }
    }

    fn negated(self) -> Self {
        Self {
            value: -self.value,
            ..self
        }
    }
}

/// What the rules look at, of one penalty.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scores {
    /// Share of the samples that are right.
    pub accuracy: Score,
    /// Mean −ln p of the samples' classes.
    pub log_loss: Score,
    /// The terms of the LCA score that are this penalty's own; only where that rule is asked for.
    pub lca: Option<LcaTerms>,
}

impl Scores {
    fn lca_score(&self) -> Score {
        // The weakest penalty's accuracy is the same for all candidates: any constant does to compare them.
        let value = self.lca.map_or(f64::NEG_INFINITY, |terms| {
            terms.score(self.accuracy.value, 0.0)
        });
        Score { value, se: 0.0 }
    }
}

/// Accuracies of a probe that keeps only some neurons.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LcaTerms {
    /// A_t: with only the top share of its ordering.
    pub top: f64,
    /// A_b: with only the bottom share.
    pub bottom: f64,
}

impl LcaTerms {
    /// The LCA score of a probe whose accuracy is `full`, where `unregularised` is that of the weakest penalty.
    pub fn score(self, full: f64, unregularised: f64) -> f64 {
        0.5 * (self.top - self.bottom) - 0.5 * (unregularised - full)
    }
}

/// The first of the highest scores, strongest penalty first; with `one_se` the first within the highest one's standard
/// error of it.
fn strongest(scores: &[Score], one_se: bool) -> usize {
    let mut best = 0;
    for (place, score) in scores.iter().enumerate() {
        if score.value > scores[best].value {
            best = place;
        }
    }
    if !one_se {
        return best;
    }
    let enough = |score: &Score| score.value >= scores[best].value - scores[best].se;
    scores.iter().position(enough).unwrap_or(best)
}

/// The terms of the LCA score of a probe on the neurons `columns`, on the rows of `x` (raw activations, N × D): each keeps
/// ⌈[`LCA_SHARE`]·|columns|⌉ of them. The bottom ones are the last of the ordering.
///
/// # Errors
/// When rows and labels differ in number, or the GPU fails.
pub fn lca_terms(
    backend: &Backend,
    fit: &Fit,
    columns: &[usize],
    x: ArrayView2<'_, f32>,
    labels: &Labels,
) -> Result<LcaTerms> {
    let order = ranking::lca(fit.weights.view())?.only(columns);
    let keep = (LCA_SHARE * order.len() as f64).ceil() as usize;
    let orderings = [order[..keep].to_vec(), order[order.len() - keep..].to_vec()];
    let curves = sweep::sweep(
        backend,
        x,
        labels,
        &sweep::Params {
            weights: fit.weights.view(),
            bias: fit.bias.view(),
            ablated: &vec![0.0; x.ncols()],
            orderings: &orderings,
            by_class: false,
        },
    )?;
    let all_kept = |curve: &sweep::Curve| {
        let correct = curve.correct.last().copied().unwrap_or(0);
        f64::from(correct) / f64::from(curve.total)
    };
    Ok(LcaTerms {
        top: all_kept(&curves[0]),
        bottom: all_kept(&curves[1]),
    })
}
