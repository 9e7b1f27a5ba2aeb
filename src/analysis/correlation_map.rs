//! All correlations at a glance: how large they are between groups of neurons that stand side by side in the dendrogram, and
//! between layers.

use ndarray::Array2;

use super::redundancy::Dendrogram;
use crate::activations::LayerMap;
use crate::error::{Error, Result};
use crate::ops::correlation::Correlation;

/// Mean |r| between groups of neurons that follow one another in the dendrogram.
#[derive(Debug, Clone, PartialEq)]
pub struct CorrelationMap {
    /// All D neurons in the order of the dendrogram's leaves.
    pub order: Vec<usize>,
    /// Group g is the neurons `order[bounds[g]..bounds[g + 1]]`; one more than there are groups. Sizes differ by one at most.
    pub bounds: Vec<usize>,
    /// Mean |r| of the pairs of different neurons of groups g ≤ h, row by row: (0,0), (0,1) … (1,1) …; 1 of a group of one
    /// neuron with itself, which has no such pair.
    pub mean: Vec<f64>,
}

/// The map of at most `most` groups, as many as there are neurons where these are fewer.
///
/// One pass over the pairs with sums in f64, in the order of the pairs.
///
/// # Errors
/// When there is no neuron or no group, or correlation and dendrogram differ in neurons.
pub fn correlation_map(
    correlation: &Correlation,
    dendrogram: &Dendrogram,
    most: usize,
) -> Result<CorrelationMap> {
    let order = dendrogram.leaves();
    let neurons = correlation.neurons;
    if neurons == 0 || most == 0 || order.len() != neurons {
        return Err(Error::invalid(
            "correlation map",
            format!(
                "{most} groups of {neurons} neurons whose dendrogram has {}",
                order.len()
            ),
            "Take both from the same neurons, and at least one group",
        ));
    }
    let groups = neurons.min(most);
    let bounds: Vec<usize> = (0..=groups).map(|g| g * neurons / groups).collect();
    let mut group_of = vec![0; neurons];
    for (group, ends) in bounds.windows(2).enumerate() {
        for &neuron in &order[ends[0]..ends[1]] {
            group_of[neuron] = group;
        }
    }
    let mut sums = vec![0.0; groups * groups];
    let mut rest = &*correlation.packed;
    for i in 0..neurons {
        let (row, after) = rest.split_at(neurons - i - 1);
        rest = after;
        for (j, r) in (i + 1..).zip(row) {
            let (a, b) = (group_of[i], group_of[j]);
            sums[a.min(b) * groups + a.max(b)] += f64::from(r.abs());
        }
    }
    let size = |g: usize| bounds[g + 1] - bounds[g];
    let mut mean = Vec::with_capacity(groups * (groups + 1) / 2);
    for g in 0..groups {
        for h in g..groups {
            let pairs = match g == h {
                true => size(g) * (size(g) - 1) / 2,
                false => size(g) * size(h),
            };
            mean.push(match pairs {
                0 => 1.0,
                pairs => sums[g * groups + h] / pairs as f64,
            });
        }
    }
    Ok(CorrelationMap {
        order,
        bounds,
        mean,
    })
}

/// |r| between the neurons of two layers each: layers × layers, symmetric; a pair of neurons of one layer counts once.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerRedundancy {
    /// Pairs of neurons.
    pub pairs: Array2<u64>,
    /// Mean |r|; 0 without a pair.
    pub mean: Array2<f64>,
    /// Largest |r|; 0 without a pair.
    pub largest: Array2<f32>,
}

/// What `ops::correlation`'s scan says of pairs of layers, of correlations at hand.
///
/// # Errors
/// When correlation and layer map differ in neurons.
pub fn between_layers(correlation: &Correlation, map: &LayerMap) -> Result<LayerRedundancy> {
    let neurons = correlation.neurons;
    if map.neurons() != neurons {
        return Err(Error::invalid(
            "correlations between layers",
            format!(
                "correlations of {neurons} neurons with a layer map of {}",
                map.neurons()
            ),
            "Take both from the same neurons",
        ));
    }
    let layers: Vec<_> = map.layers().into_iter().map(|l| map.columns(l)).collect();
    let shape = (layers.len(), layers.len());
    let (mut pairs, mut sums) = (Array2::<u64>::zeros(shape), Array2::<f64>::zeros(shape));
    let mut largest = Array2::<f32>::zeros(shape);
    let mut rest = &*correlation.packed;
    for (a, rows) in layers.iter().enumerate() {
        for i in rows.clone() {
            let (row, after) = rest.split_at(neurons - i - 1);
            rest = after;
            for (b, columns) in layers.iter().enumerate().skip(a) {
                let first = columns.start.max(i + 1);
                let part = &row[first - (i + 1)..columns.end - (i + 1)];
                pairs[(a, b)] += part.len() as u64;
                sums[(a, b)] += part.iter().map(|r| f64::from(r.abs())).sum::<f64>();
                largest[(a, b)] = part
                    .iter()
                    .fold(largest[(a, b)], |most, r| most.max(r.abs()));
            }
        }
    }
    for a in 0..layers.len() {
        for b in 0..a {
            pairs[(a, b)] = pairs[(b, a)];
            sums[(a, b)] = sums[(b, a)];
            largest[(a, b)] = largest[(b, a)];
        }
    }
    let mean = ndarray::Zip::from(&sums)
        .and(&pairs)
        .map_collect(|sum, &pairs| sum / pairs.max(1) as f64);
    Ok(LayerRedundancy {
        pairs,
        mean,
        largest,
    })
}

/// The `most` others with which a neuron correlates most, strongest |r| first, ties by id.
///
/// # Panics
/// When there is no such neuron: our own bug.
pub fn partners(correlation: &Correlation, neuron: usize, most: usize) -> Vec<(usize, f32)> {
    let others = (0..correlation.neurons).filter(|&other| other != neuron);
    let mut found: Vec<(usize, f32)> = others
        .map(|other| (other, correlation.get(neuron, other)))
        .collect();
    found.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()).then(a.0.cmp(&b.0)));
    found.truncate(most);
    found
}
