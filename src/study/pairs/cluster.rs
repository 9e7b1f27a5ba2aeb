//! Clusters of a file's neurons.

use std::path::PathBuf;

use super::Opened;
use super::results::{ClusterResults, Partition, SCHEMA_VERSION, SizeCount};
use crate::analysis::components::{components, representatives};
use crate::analysis::redundancy::{self, Clusters, Dendrogram, Distance, Linkage};
use crate::data::ReadOptions;
use crate::error::{Error, Result};
use crate::ops::Backend;
use crate::ops::correlation::{
    Computed, Correlation, Edge, Params, Precision, Wanted, packed, scan,
};
use crate::study::Progress;
use crate::study::clock::Clock;
use crate::study::results::DeviceUsed;

/// What to cluster, and how.
#[derive(Debug, Clone)]
pub struct ClusterJob {
    /// The activations.
    pub data: PathBuf,
    /// What the file does not say about itself.
    pub options: ReadOptions,
    /// How the distance of two clusters follows from their members'.
    pub linkage: Linkage,
    /// How far apart two neurons are.
    pub distance: Distance,
    /// Distances to cut at.
    pub thresholds: Vec<f64>,
    /// How exact r has to be.
    pub precision: Precision,
    /// Bytes of memory: for the pairs and their distances, or where these do not fit for edges.
    pub memory: u64,
}

impl ClusterJob {
    /// The files that are read, which the output must not replace.
    pub fn inputs(&self) -> Vec<&PathBuf> {
        vec![&self.data]
    }
}

/// Bytes a pair: r in f32 and its distance in f64.
const PAIR_BYTES: u64 = 12;

/// Reads the data, correlates all pairs on `backend` and clusters them. Where the pairs do not fit the memory the result is
/// single linkage's, whatever was asked for, and says so.
///
/// # Errors
/// When the data cannot be read, a threshold is out of range, there are more edges than memory for them, or the device fails.
pub fn cluster(
    job: &ClusterJob,
    backend: &Backend,
    device: DeviceUsed,
    observer: &mut dyn FnMut(&Progress<'_>),
) -> Result<ClusterResults> {
    let mut thresholds = job.thresholds.clone();
    thresholds.sort_by(f64::total_cmp);
    if let Some(wrong) = thresholds.iter().find(|t| !(0.0..=2.0).contains(*t)) {
        return Err(Error::invalid(
            "threshold",
            format!("{wrong} is not a distance of correlations"),
            "Give numbers from 0 to 1 (to 2 for signed distances)",
        ));
    }
    let mut clock = Clock::new(3, observer);
    clock.step("moments");
    let data = Opened::new(&job.data, &job.options)?;
    let neurons = data.summary.neurons;
    let pairs = neurons as u64 * (neurons as u64 - 1) / 2;
    let fits = pairs * PAIR_BYTES <= job.memory;
    clock.step("correlations");
    let (pairs, computed) = if fits {
        let (all, computed) = packed(backend, data.side(), &params(job))?;
        clock.step("clusters");
        let dendrogram = redundancy::dendrogram(&all, job.linkage, job.distance)?;
        (Pairs::All(all, dendrogram), computed)
    } else {
        let farthest = *thresholds.last().unwrap_or(&0.0);
        let (near, computed) = near_pairs(&data, backend, job, farthest)?;
        clock.step("clusters");
        (Pairs::Near(near), computed)
    };
    let partitions = partitions(&data, &pairs, job, &thresholds)?;
    let timings = clock.finish();
    let linkage = match pairs {
        Pairs::All(..) => job.linkage,
        Pairs::Near(_) => Linkage::Single,
    };
    Ok(ClusterResults {
        schema_version: SCHEMA_VERSION,
        neurosieve_version: env!("CARGO_PKG_VERSION").into(),
        device,
        neurons,
        precision: computed,
        linkage_asked: job.linkage.name(),
        linkage: linkage.name(),
        distance: job.distance.name(),
        thresholds: partitions,
        warnings: warnings(job, &pairs, neurons),
        data: data.summary,
        timings,
    })
}

fn params(job: &ClusterJob) -> Params {
    Params {
        memory: job.memory,
        precision: job.precision,
        ..Params::default()
    }
}

/// The pairs that there is memory for.
enum Pairs {
    All(Correlation, Dendrogram),
    /// Those within the largest threshold.
    Near(Vec<Edge>),
}

/// The pairs at a distance of at most `farthest`.
fn near_pairs(
    data: &Opened,
    backend: &Backend,
    job: &ClusterJob,
    farthest: f64,
) -> Result<(Vec<Edge>, Computed)> {
    if farthest >= 1.0 {
        return Err(Error::invalid(
            "threshold",
            format!("every pair is within {farthest}, and memory does not hold them all"),
            "Allow more memory, or lower the largest threshold",
        ));
    }
    // A little lower, since the threshold is rounded to f32.
    let least = (1.0 - farthest - 1e-6).clamp(0.0, 1.0) as f32;
    let wanted = Wanted {
        at_least: Some(least),
        most_edges: job.memory / size_of::<Edge>() as u64,
        ..Wanted::default()
    };
    let found = scan(backend, data.side(), None, &wanted, &params(job))?;
    let mut edges = found.edges;
    edges.retain(|edge| job.distance.between(edge.r) <= farthest);
    Ok((edges, found.computed))
}

fn partitions(
    data: &Opened,
    pairs: &Pairs,
    job: &ClusterJob,
    thresholds: &[f64],
) -> Result<Vec<Partition>> {
    let neurons = data.summary.neurons;
    let partition = |threshold: f64| {
        let (clusters, representatives) = match pairs {
            Pairs::All(all, dendrogram) => {
                let clusters = dendrogram.cut(threshold);
                let medoids = redundancy::medoids(&clusters, all)?;
                (clusters, medoids)
            }
            Pairs::Near(edges) => {
                let clusters = components(neurons, edges, job.distance, threshold)?;
                let most_joined = representatives(&clusters, edges);
                (clusters, most_joined)
            }
        };
        Ok(Partition {
            threshold,
            count: clusters.count,
            representatives,
            sizes: sizes(&clusters),
            windows: redundancy::window_histogram(&clusters, &data.layers)?,
            labels: clusters.labels,
        })
    };
    thresholds.iter().map(|t| partition(*t)).collect()
}

fn sizes(clusters: &Clusters) -> Vec<SizeCount> {
    let bins = redundancy::size_histogram(clusters).into_iter();
    bins.map(|bin| SizeCount {
        size: bin.size,
        clusters: bin.clusters,
        neurons: bin.neurons,
    })
    .collect()
}

fn warnings(job: &ClusterJob, pairs: &Pairs, neurons: usize) -> Vec<String> {
    let Pairs::Near(edges) = pairs else {
        return Vec::new();
    };
    let needed = neurons as u64 * (neurons as u64 - 1) / 2 * PAIR_BYTES;
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    let mut said = format!(
        "all pairs of {neurons} neurons need {} MiB and {} MiB are allowed, so the clusters are the connected \
         components of the {} nearest pairs: single linkage's",
        mib(needed),
        mib(job.memory),
        edges.len()
    );
    if job.linkage != Linkage::Single {
        said += &format!(
            ", not those of {} linkage that was asked for: chains of neurons make them larger",
            job.linkage.name()
        );
    }
    vec![
        said,
        "representatives are the members that are most like the others over the pairs within the largest threshold".into(),
    ]
}
