//! Neuron orderings, and accuracy on test as a function of how many neurons are kept, without retraining.

use std::collections::BTreeMap;

use super::results::{RankingResult, SweepResult};
use super::spec::{AblationSpec, SweepSpec};
use crate::analysis::ranking::{self, Ranking};
use crate::error::Result;
use crate::labels::Labels;
use crate::ops::Backend;
use crate::ops::moments::Moments;
use crate::ops::probe::Fit;
use crate::ops::sweep::{self, Curve};
use crate::split::Split;

/// The LCA ordering of a probe and the probeless one of the class means, by name.
///
/// # Errors
/// When weights are not finite or train has fewer than two classes.
pub(super) fn rankings(
    fit: &Fit,
    moments: &Moments,
    labels: &Labels,
) -> Result<BTreeMap<&'static str, Ranking>> {
    let mut rankings = BTreeMap::from([("lca", ranking::lca(fit.standardised.view())?)]);
    if let Some(means) = ranking::standardised_means(moments) {
        rankings.insert(
            "probeless",
            ranking::probeless(means.view(), &labels.present())?,
        );
    }
    Ok(rankings)
}

/// An ordering as results hold it.
pub(super) fn record(ranking: &Ranking, classes: &[String]) -> RankingResult {
    RankingResult {
        order: ranking.order.clone(),
        scores: ranking.scores.clone(),
        per_class: classes
            .iter()
            .cloned()
            .zip(ranking.per_class.iter().cloned())
            .filter(|(_, order)| !order.is_empty())
            .collect(),
    }
}

/// What one curve keeps.
struct Kept {
    ranking: String,
    direction: &'static str,
    orderings: std::ops::Range<usize>,
}

/// Every ordering from its top and from its bottom, and random ones, under each ablation.
///
/// # Errors
/// As [`sweep::sweep`].
pub(super) fn sweeps(
    backend: &Backend,
    spec: &SweepSpec,
    seed: u64,
    fit: &Fit,
    mean: &[f64],
    part: (&Split, &Labels),
    rankings: &BTreeMap<&'static str, Ranking>,
) -> Result<Vec<SweepResult>> {
    let neurons = mean.len();
    let mut orderings = Vec::new();
    let mut kept = Vec::new();
    for (name, ranking) in rankings {
        let bottom: Vec<usize> = ranking.order.iter().rev().copied().collect();
        for (direction, order) in [("keep-top", ranking.order.clone()), ("keep-bottom", bottom)] {
            kept.push(Kept {
                ranking: (*name).to_owned(),
                direction,
                orderings: orderings.len()..orderings.len() + 1,
            });
            orderings.push(order);
        }
    }
    if spec.random_draws > 0 {
        let first = orderings.len();
        let draws = 0..spec.random_draws as u64;
        orderings
            .extend(draws.map(|draw| ranking::random_order(neurons, super::stream(seed, draw))));
        kept.push(Kept {
            ranking: "random".into(),
            direction: "keep-top",
            orderings: first..orderings.len(),
        });
    }
    let mut sweeps = Vec::new();
    for &ablation in &spec.ablation {
        #[expect(clippy::cast_possible_truncation, reason = "activations are f32")]
        let ablated: Vec<f32> = match ablation {
            AblationSpec::Mean => mean.iter().map(|&m| m as f32).collect(),
            AblationSpec::Zero => vec![0.0; neurons],
        };
        let curves = sweep::sweep(
            backend,
            part.0.activations.view(),
            part.1,
            &sweep::Params {
                weights: fit.weights.view(),
                bias: fit.bias.view(),
                ablated: &ablated,
                orderings: &orderings,
                by_class: false,
            },
        )?;
        sweeps.extend(
            kept.iter()
                .map(|kept| average(kept, ablation, &curves[kept.orderings.clone()])),
        );
    }
    Ok(sweeps)
}

/// The mean of several curves of the same length.
fn average(kept: &Kept, ablation: AblationSpec, curves: &[Curve]) -> SweepResult {
    let draws = curves.len();
    let total = curves[0].total as usize;
    let correct: Vec<f64> = (0..curves[0].correct.len())
        .map(|k| curves.iter().map(|c| f64::from(c.correct[k])).sum::<f64>() / draws as f64)
        .collect();
    SweepResult {
        ranking: kept.ranking.clone(),
        direction: kept.direction.into(),
        ablation: ablation.name().into(),
        k: (0..correct.len()).collect(),
        accuracy: correct.iter().map(|c| c / total as f64).collect(),
        correct,
        total,
        draws,
    }
}
