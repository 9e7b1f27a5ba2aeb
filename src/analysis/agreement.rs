//! How far neuron orderings agree, and what they agree on.

use super::ranking::Ranking;
use crate::error::{Error, Result};

/// How far two orderings of the same D neurons agree.
#[derive(Debug, Clone, PartialEq)]
pub struct Agreement {
    /// Average overlap (Wu & Crestani 2003): the mean over k = 1 … `depth` of `|A_k ∩ B_k| / k`, where A_k and B_k are the
    /// first k of each.
    pub average_overlap: f64,
    /// Jaccard index `|A_k ∩ B_k| / |A_k ∪ B_k|` at k = `depth`.
    pub jaccard: f64,
    /// Spearman's correlation of the places; neurons of the same score share theirs. NaN where an ordering tells no neurons
    /// apart.
    pub spearman: f64,
}

/// Compares two orderings over their first `depth` neurons. In the overlaps neurons of the same score stand by id.
///
/// # Errors
/// When they are not of the same number of neurons, or `depth` is 0 or beyond them.
pub fn agreement(a: &Ranking, b: &Ranking, depth: usize) -> Result<Agreement> {
    let neurons = a.order.len();
    if neurons != b.order.len() || depth == 0 || depth > neurons {
        return Err(Error::invalid(
            "agreement of orderings",
            format!(
                "the first {depth} of orderings of {neurons} and {} neurons",
                b.order.len()
            ),
            "Compare orderings of the same neurons, to a depth of at least 1 and at most all of them",
        ));
    }
    let place = |order: &[usize]| {
        let mut places = vec![0; neurons];
        let each = order.iter().enumerate();
        each.for_each(|(place, neuron)| places[*neuron] = place);
        places
    };
    let (in_a, in_b) = (place(&a.order), place(&b.order));
    let mut shared = 0;
    let mut sum = 0.0;
    for k in 0..depth {
        // Each neuron is counted when the later of the two orderings has it.
        shared += usize::from(in_b[a.order[k]] <= k);
        shared += usize::from(in_a[b.order[k]] < k);
        sum += shared as f64 / (k + 1) as f64;
    }
    Ok(Agreement {
        average_overlap: sum / depth as f64,
        jaccard: shared as f64 / (2 * depth - shared) as f64,
        spearman: correlation(&behind(a), &behind(b)),
    })
}

/// The vote of several orderings: each gives a neuron as many points as it places others behind it, and half a point for
/// each of the same score (Borda). Points of each neuron by id; more are better.
///
/// # Errors
/// When there is none, or they are not of the same number of neurons.
pub fn borda(rankings: &[&Ranking]) -> Result<Vec<f64>> {
    let neurons = rankings.first().map_or(0, |ranking| ranking.order.len());
    let mut points = vec![0.0; neurons];
    for ranking in rankings {
        let given = behind(ranking);
        if given.len() != neurons {
            return Err(Error::invalid(
                "vote of orderings",
                format!("orderings of {neurons} and {} neurons", given.len()),
                "Give orderings of the same neurons",
            ));
        }
        points.iter_mut().zip(given).for_each(|(p, g)| *p += g);
    }
    if points.is_empty() {
        return Err(Error::invalid(
            "vote of orderings",
            "there is none",
            "Give at least one ordering",
        ));
    }
    Ok(points)
}

/// How many neurons each has behind it, those of the same score counting half.
fn behind(ranking: &Ranking) -> Vec<f64> {
    let (order, scores) = (&ranking.order, &ranking.scores);
    let mut behind = vec![0.0; order.len()];
    let mut after = order.len() as f64;
    for tied in order.chunk_by(|a, b| scores[*a] == scores[*b]) {
        let size = tied.len() as f64;
        after -= size;
        for neuron in tied {
            behind[*neuron] = after + (size - 1.0) / 2.0;
        }
    }
    behind
}

fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let n = a.len() as f64;
    let mean = (n - 1.0) / 2.0; // of places, whatever is tied
    let product = |a: &[f64], b: &[f64]| -> f64 {
        let each = a.iter().zip(b);
        each.map(|(a, b)| (a - mean) * (b - mean)).sum()
    };
    product(a, b) / (product(a, a) * product(b, b)).sqrt()
}
