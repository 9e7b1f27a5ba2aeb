//! How far neuron orderings agree, and what they agree on.

use crate::error::{Error, Result};

/// How far two orderings of the same D neurons agree.
#[derive(Debug, Clone, PartialEq)]
pub struct Agreement {
    /// Average overlap (Wu & Crestani 2003): the mean over k = 1 … `depth` of `|A_k ∩ B_k| / k`, where A_k and B_k are the
    /// first k of each.
    pub average_overlap: f64,
    /// Jaccard index `|A_k ∩ B_k| / |A_k ∪ B_k|` at k = `depth`.
    pub jaccard: f64,
    /// Spearman's correlation of the places.
    pub spearman: f64,
}

/// Compares two orderings over their first `depth` neurons.
///
/// # Errors
/// When they are not orderings of the same neurons, each once, or `depth` is 0 or beyond them.
pub fn agreement(a: &[usize], b: &[usize], depth: usize) -> Result<Agreement> {
    let (places_a, places_b) = (places(a)?, places(b)?);
    if a.len() != b.len() || depth == 0 || depth > a.len() {
        return Err(Error::invalid(
            "agreement of orderings",
            format!(
                "the first {depth} of orderings of {} and {} neurons",
                a.len(),
                b.len()
            ),
            "Compare orderings of the same neurons, to a depth of at least 1 and at most all of them",
        ));
    }
    let mut shared = 0;
    let mut sum = 0.0;
    for k in 0..depth {
        // Each neuron is counted when the later of the two orderings has it.
        shared += usize::from(places_b[a[k]] <= k);
        shared += usize::from(places_a[b[k]] < k);
        sum += shared as f64 / (k + 1) as f64;
    }
    let n = a.len() as f64;
    let apart = |(a, b): (&usize, &usize)| (*a as f64 - *b as f64).powi(2);
    let squares: f64 = places_a.iter().zip(&places_b).map(apart).sum();
    Ok(Agreement {
        average_overlap: sum / depth as f64,
        jaccard: shared as f64 / (2 * depth - shared) as f64,
        spearman: if a.len() < 2 {
            1.0
        } else {
            1.0 - 6.0 * squares / (n * (n * n - 1.0))
        },
    })
}

/// The ordering that several together prefer: each gives a neuron as many points as it places others behind it (Borda).
/// Points of each neuron by id; more are better.
///
/// # Errors
/// When there is none, or they are not orderings of the same neurons, each once.
pub fn borda(orderings: &[&[usize]]) -> Result<Vec<f64>> {
    let neurons = orderings.first().map_or(0, |order| order.len());
    let mut points = vec![0.0; neurons];
    for order in orderings {
        let places = places(order)?;
        if places.len() != neurons || neurons == 0 {
            return Err(Error::invalid(
                "vote of orderings",
                format!("orderings of {neurons} and {} neurons", places.len()),
                "Give orderings of the same neurons",
            ));
        }
        let behind = places.iter().map(|place| (neurons - 1 - place) as f64);
        points.iter_mut().zip(behind).for_each(|(p, b)| *p += b);
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

/// The place of each neuron.
fn places(order: &[usize]) -> Result<Vec<usize>> {
    let mut places = vec![usize::MAX; order.len()];
    for (place, &neuron) in order.iter().enumerate() {
        match places.get_mut(neuron) {
            Some(free) if *free == usize::MAX => *free = place,
            _ => {
                return Err(Error::invalid(
                    "ordering",
                    format!("neuron {neuron} at place {place} of {}", order.len()),
                    "An ordering has every neuron from 0 on once",
                ));
            }
        }
    }
    Ok(places)
}
