//! Layer selection, then correlation clustering, then a ranking, then a minimal set: the pipeline of Dalvi et al. 2020, §7.

use super::layers::required;
use super::minimal_set::{Prefixes, Rung, SizeSearch, smallest};
use super::ranking::lca;
use super::redundancy::{Distance, Linkage, among, dendrogram, medoids};
use super::search::{Penalties, Prober, Search, Target};
use crate::error::Result;
use crate::ops::correlation::Correlation;
use crate::ops::moments::Spread;
use crate::ops::probe::Certificate;

/// What the loss of the minimal set is measured against.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Base {
    /// A given dev accuracy: the oracle's.
    Accuracy(f64),
    /// The dev accuracy of the probe on the representatives, as in the reference pipeline: the losses of the steps add up.
    Representatives,
}

/// How to combine.
#[derive(Debug, Clone)]
pub struct Plan<'a> {
    /// Correlations of all D neurons on train.
    pub correlation: &'a Correlation,
    /// Linkage of the clusters.
    pub linkage: Linkage,
    /// Distance of two neurons.
    pub distance: Distance,
    /// Clustering thresholds.
    pub thresholds: &'a [f64],
    /// Penalties for the probe on the representatives.
    pub penalties: &'a Penalties,
    /// How many penalties on either side of the one that it chose each rung of the ladder tries.
    pub neighbours: usize,
    /// How the size of the minimal set is looked for.
    pub sizes: &'a SizeSearch,
    /// What the loss is measured against.
    pub base: Base,
    /// δ of the minimal set.
    pub set_delta: f64,
}

/// What one threshold gives.
#[derive(Debug, Clone)]
pub struct Combined {
    /// The threshold.
    pub threshold: f64,
    /// One neuron of each cluster.
    pub representatives: Vec<usize>,
    /// The probe on them.
    pub clusters: Search,
    /// The neurons of the minimal set, most salient first.
    pub neurons: Vec<usize>,
    /// The probe on the minimal set.
    pub set: Search,
    /// Sizes tried and their dev accuracies, ascending.
    pub ladder: Vec<(usize, f64)>,
    /// Of every fit, on the representatives and at the sizes tried.
    pub certificates: Vec<Certificate>,
}

/// For each threshold: clusters the neurons `columns` (those of the selected layers, ascending) *among themselves*, keeps a
/// medoid of each cluster, fits a probe on the medoids, orders them by LCA and retrains on prefixes until the loss on dev is
/// within δ. Neurons that do not, or nearly do not, vary are left out from the start.
///
/// Every threshold starts from `columns` again. (The reference scripts cluster, from the second threshold on, the matrix
/// that the first one has already thinned out, but index the full one.) One dendrogram serves all thresholds.
///
/// # Errors
/// As [`Prober::search`]; when a column does not exist or `columns` does not ascend.
pub fn combine(
    prober: &Prober<'_>,
    target: Target<'_>,
    columns: &[usize],
    plan: &Plan<'_>,
    progress: &mut dyn FnMut(f64),
) -> Result<Vec<Combined>> {
    let varies = |&&n: &&usize| prober.moments.spread.get(n) == Some(&Spread::Varies);
    let columns: Vec<usize> = columns.iter().filter(varies).copied().collect();
    let part = among(plan.correlation, &columns)?;
    let tree = dendrogram(&part, plan.linkage, plan.distance)?;
    let total = plan.thresholds.len() as f64;
    let mut found = Vec::with_capacity(plan.thresholds.len());
    for (at, &threshold) in plan.thresholds.iter().enumerate() {
        let representatives: Vec<usize> = medoids(&tree.cut(threshold), &part)?
            .into_iter()
            .map(|member| columns[member])
            .collect();
        found.push(one_threshold(
            prober,
            target,
            threshold,
            representatives,
            plan,
            &mut |share| progress((at as f64 + share) / total),
        )?);
    }
    Ok(found)
}

fn one_threshold(
    prober: &Prober<'_>,
    target: Target<'_>,
    threshold: f64,
    representatives: Vec<usize>,
    plan: &Plan<'_>,
    progress: &mut dyn FnMut(f64),
) -> Result<Combined> {
    let clusters = prober.search(&representatives, target, plan.penalties, &mut |share| {
        progress(0.5 * share);
    })?;
    let order = lca(clusters.fit.standardised.view())?.only(&representatives);
    let accuracy = match plan.base {
        Base::Accuracy(accuracy) => accuracy,
        Base::Representatives => clusters.dev_accuracy,
    };
    let wanted = required(accuracy, plan.set_delta);
    let prefixes = Prefixes {
        prober,
        target,
        order: &order,
        penalties: &plan.penalties.near(&clusters, plan.neighbours),
        whole: Some(&clusters),
    };
    let mut rungs = prefixes.find(plan.sizes, &[wanted], &mut |share| {
        progress(0.5 + 0.5 * share);
    })?;
    let ladder = rungs
        .iter()
        .map(|rung| (rung.size, rung.search.dev_accuracy))
        .collect();
    // The whole ordering is the probe on the representatives, not fitted again.
    let own = rungs.iter().filter(|rung| rung.size < order.len());
    let certificates = std::iter::once(&clusters)
        .chain(own.map(|rung| &rung.search))
        .flat_map(Search::certificates)
        .copied()
        .collect();
    let size = smallest(&rungs, wanted).map_or(order.len(), |rung| rung.size);
    let at = rungs.iter().position(|rung| rung.size == size);
    let Rung { search: set, .. } = rungs.swap_remove(at.expect("a climb has at least one rung"));
    Ok(Combined {
        threshold,
        representatives,
        clusters,
        neurons: order[..size].to_vec(),
        set,
        ladder,
        certificates,
    })
}
