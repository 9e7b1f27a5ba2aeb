//! Clusters of more neurons than a matrix of their correlations fits: single linkage from the strong pairs alone.
//!
//! The connected components of the pairs within a distance are exactly single linkage's clusters cut there. Average linkage
//! would need every pair.

use super::redundancy::{Clusters, Distance};
use crate::error::{Error, Result};
use crate::ops::correlation::Edge;

/// The clusters of `neurons` neurons that pairs at a distance of at most `threshold` connect. `edges` hold all such pairs, and
/// perhaps others.
///
/// # Errors
/// When an edge names a neuron that is not there.
pub fn components(
    neurons: usize,
    edges: &[Edge],
    distance: Distance,
    threshold: f64,
) -> Result<Clusters> {
    let mut parent: Vec<u32> = (0..neurons as u32).collect();
    for edge in edges {
        if edge.i.max(edge.j) as usize >= neurons {
            return Err(Error::invalid(
                "edges",
                format!("one joins neurons {} and {} of {neurons}", edge.i, edge.j),
                "Take them from the same neurons",
            ));
        }
        if distance.between(edge.r) <= threshold {
            let (a, b) = (root(&mut parent, edge.i), root(&mut parent, edge.j));
            // The smaller one leads, so that a root is its cluster's smallest member.
            parent[a.max(b) as usize] = a.min(b);
        }
    }
    let mut number = vec![u32::MAX; neurons];
    let mut count = 0;
    let labels = (0..neurons as u32).map(|neuron| {
        let root = root(&mut parent, neuron) as usize;
        if number[root] == u32::MAX {
            number[root] = count;
            count += 1;
        }
        number[root]
    });
    Ok(Clusters {
        labels: labels.collect(),
        count: count as usize,
        distance,
    })
}

/// The root of a neuron's tree; halves the way to it.
fn root(parent: &mut [u32], mut neuron: u32) -> u32 {
    while parent[neuron as usize] != neuron {
        let above = parent[parent[neuron as usize] as usize];
        parent[neuron as usize] = above;
        neuron = above;
    }
    neuron
}

/// The member of each cluster whose edges to the others add up to the largest |r| (r for [`Distance::OneMinus`]); ties by id.
/// A pair that is no edge counts as 0, which [`medoids`](super::redundancy::medoids) of the whole matrix knows better.
pub fn representatives(clusters: &Clusters, edges: &[Edge]) -> Vec<usize> {
    let labels = &clusters.labels;
    let mut likeness = vec![0.0; labels.len()];
    for edge in edges {
        let (i, j) = (edge.i as usize, edge.j as usize);
        if labels[i] == labels[j] {
            let alike = 1.0 - clusters.distance.between(edge.r);
            likeness[i] += alike;
            likeness[j] += alike;
        }
    }
    let mut best = vec![usize::MAX; clusters.count];
    for (neuron, &label) in labels.iter().enumerate() {
        let best = &mut best[label as usize];
        if *best == usize::MAX || likeness[neuron] > likeness[*best] {
            *best = neuron;
        }
    }
    best
}
