//! Redundancy: which neurons say the same. Correlation clustering as in Dalvi et al. 2020: agglomerative clustering on
//! 1 − |r|, cut at a distance, one representative kept for each cluster.

use kodama::Method;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::activations::LayerMap;
use crate::error::{Error, Result};
use crate::ops::correlation::Correlation;

/// How the distance of two clusters follows from those of their members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Linkage {
    /// Mean over all pairs (UPGMA).
    #[default]
    Average,
    /// Largest of all pairs.
    Complete,
    /// Smallest of all pairs.
    Single,
}

impl Linkage {
    /// Its name, as results have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Average => "average",
            Self::Complete => "complete",
            Self::Single => "single",
        }
    }
}

/// How far apart two neurons of correlation r are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Distance {
    /// `1 − |r|`: a probe can use a neuron and its negative alike.
    #[default]
    OneMinusAbs,
    /// `1 − r`, 0 to 2.
    OneMinus,
}

impl Distance {
    /// Its formula, as results have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::OneMinusAbs => "1 - |r|",
            Self::OneMinus => "1 - r",
        }
    }

    /// The distance of two neurons of correlation r, as a dendrogram has it.
    pub fn between(self, r: f32) -> f64 {
        (1.0 - self.likeness(r)).max(0.0)
    }

    /// How alike two neurons of correlation r are: |r| or r.
    fn likeness(self, r: f32) -> f64 {
        match self {
            Self::OneMinusAbs => f64::from(r.abs()),
            Self::OneMinus => f64::from(r),
        }
    }
}

/// The whole merge history of D neurons. One dendrogram serves every threshold.
#[derive(Debug, Clone, PartialEq)]
pub struct Dendrogram {
    neurons: usize,
    distance: Distance,
    merges: Vec<Merge>,
}

/// Two clusters become one. Neuron n is cluster n; merge i makes cluster D + i.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Merge {
    /// The two clusters.
    pub clusters: [usize; 2],
    /// Their distance, at least that of the merge before.
    pub distance: f64,
}

impl Dendrogram {
    /// The D − 1 merges in ascending order of distance: SciPy's `linkage`.
    pub fn merges(&self) -> &[Merge] {
        &self.merges
    }

    /// The neurons as they stand below the tree, the first cluster of each merge left of the second: SciPy's `leaves_list`.
    /// Members of a cluster stand side by side, at every cut.
    pub fn leaves(&self) -> Vec<usize> {
        let mut leaves = Vec::with_capacity(self.neurons);
        let root = (self.neurons + self.merges.len()).checked_sub(1);
        let mut open: Vec<usize> = root.into_iter().collect();
        while let Some(cluster) = open.pop() {
            match cluster.checked_sub(self.neurons) {
                None => leaves.push(cluster),
                Some(merge) => open.extend(self.merges[merge].clusters.iter().rev()),
            }
        }
        leaves
    }

    /// The clusters whose cophenetic distance is at most `threshold`: SciPy's `fcluster` with criterion `distance`.
    pub fn cut(&self, threshold: f64) -> Clusters {
        // The three linkages are monotone, so the merges up to the threshold are the first ones.
        let merged = self.merges.partition_point(|m| m.distance <= threshold);
        let mut parent: Vec<usize> = (0..self.neurons + merged).collect();
        for (at, merge) in self.merges[..merged].iter().enumerate() {
            for cluster in merge.clusters {
                parent[cluster] = self.neurons + at;
            }
        }
        for cluster in (0..parent.len()).rev() {
            parent[cluster] = parent[parent[cluster]];
        }
        let mut number = vec![u32::MAX; parent.len()];
        let mut count = 0;
        let labels = parent[..self.neurons].iter().map(|&root| {
            if number[root] == u32::MAX {
                number[root] = count;
                count += 1;
            }
            number[root]
        });
        Clusters {
            labels: labels.collect(),
            count: count as usize,
            distance: self.distance,
        }
    }
}

/// Clusters the neurons of a correlation matrix. Distances are f64; memory 8 bytes a pair, time O(D²).
///
/// # Errors
/// When a correlation is not a number.
pub fn dendrogram(
    correlation: &Correlation,
    linkage: Linkage,
    distance: Distance,
) -> Result<Dendrogram> {
    if let Some(at) = correlation.packed.iter().position(|r| r.is_nan()) {
        return Err(Error::invalid(
            "correlations",
            format!("pair {at} of the packed triangle is NaN"),
            "Constant neurons must have r = 0",
        ));
    }
    let mut condensed: Vec<f64> = correlation
        .packed
        .iter()
        .map(|&r| distance.between(r))
        .collect();
    let method = match linkage {
        Linkage::Average => Method::Average,
        Linkage::Complete => Method::Complete,
        Linkage::Single => Method::Single,
    };
    let merges = kodama::linkage(&mut condensed, correlation.neurons, method)
        .steps()
        .iter()
        .map(|step| Merge {
            clusters: [step.cluster1, step.cluster2],
            distance: step.dissimilarity,
        })
        .collect();
    Ok(Dendrogram {
        neurons: correlation.neurons,
        distance,
        merges,
    })
}

/// A partition of D neurons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clusters {
    /// Cluster of each neuron, numbered from 0 by smallest member.
    pub labels: Vec<u32>,
    /// Number of clusters.
    pub count: usize,
    /// The distance that they were made by.
    pub distance: Distance,
}

impl Clusters {
    /// Neurons of each cluster, ascending.
    pub fn members(&self) -> Vec<Vec<usize>> {
        let mut members = vec![Vec::new(); self.count];
        for (neuron, &label) in self.labels.iter().enumerate() {
            members[label as usize].push(neuron);
        }
        members
    }
}

/// The medoid of each cluster, in cluster order: the member that is most like the others, with the largest mean |r| (mean
/// r for [`Distance::OneMinus`]) to them; ties by id.
///
/// # Errors
/// When clusters and correlation differ in neurons.
pub fn medoids(clusters: &Clusters, correlation: &Correlation) -> Result<Vec<usize>> {
    if clusters.labels.len() != correlation.neurons {
        return Err(Error::invalid(
            "medoids",
            format!(
                "clusters of {} neurons with correlations of {}",
                clusters.labels.len(),
                correlation.neurons
            ),
            "Take both from the same neurons",
        ));
    }
    let medoid = |members: Vec<usize>| {
        let mut likeness = vec![0.0; members.len()];
        for (at, &a) in members.iter().enumerate() {
            for (other, &b) in members.iter().enumerate().skip(at + 1) {
                let r = clusters.distance.likeness(correlation.get(a, b));
                likeness[at] += r;
                likeness[other] += r;
            }
        }
        let mut best = 0;
        for at in 1..members.len() {
            if likeness[at] > likeness[best] {
                best = at;
            }
        }
        members[best]
    };
    Ok(clusters.members().into_iter().map(medoid).collect())
}

/// A random member of each cluster, in cluster order: what NeuroX's `extract_independent_neurons` keeps, but seeded.
pub fn random_representatives(clusters: &Clusters, seed: u64) -> Vec<usize> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    clusters
        .members()
        .into_iter()
        .map(|members| members[random.random_range(0..members.len())])
        .collect()
}

/// The correlations among the neurons `columns` only: a principal submatrix. Neuron i of the result is `columns[i]`.
///
/// # Errors
/// When `columns` is empty, not ascending, or names a neuron that is not there.
pub fn among(correlation: &Correlation, columns: &[usize]) -> Result<Correlation> {
    let ascending = columns.windows(2).all(|c| c[0] < c[1]);
    if !ascending || columns.last().is_none_or(|&c| c >= correlation.neurons) {
        return Err(Error::invalid(
            "neurons of a submatrix",
            format!("{} of {}", columns.len(), correlation.neurons),
            "Name at least one neuron, in ascending order, each once",
        ));
    }
    let mut packed = Vec::with_capacity(columns.len() * (columns.len() - 1) / 2);
    for (at, &a) in columns.iter().enumerate() {
        for &b in &columns[at + 1..] {
            packed.push(correlation.get(a, b));
        }
    }
    Ok(Correlation {
        neurons: columns.len(),
        packed,
    })
}

/// Clusters of one range of sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SizeBin {
    /// `1`, `2`, `3-5`, `6-10` or `>10` members.
    pub size: &'static str,
    /// Clusters of that size.
    pub clusters: usize,
    /// Neurons in them.
    pub neurons: usize,
}

/// How many clusters are of 1, 2, 3–5, 6–10 and more than 10 members.
pub fn size_histogram(clusters: &Clusters) -> Vec<SizeBin> {
    let sizes: Vec<usize> = clusters.members().iter().map(Vec::len).collect();
    [
        ("1", 1..=1),
        ("2", 2..=2),
        ("3-5", 3..=5),
        ("6-10", 6..=10),
        (">10", 11..=usize::MAX),
    ]
    .into_iter()
    .map(|(size, range)| {
        let inside = || sizes.iter().filter(|s| range.contains(s));
        SizeBin {
            size,
            clusters: inside().count(),
            neurons: inside().sum(),
        }
    })
    .collect()
}

/// How many clusters span 1, 2, 3 … layers, where a cluster's window is its largest − its smallest layer + 1 (Dalvi et al.
/// 2020, §5.2). As long as the whole model's window.
///
/// # Errors
/// When clusters and layer map differ in neurons.
pub fn window_histogram(clusters: &Clusters, layers: &LayerMap) -> Result<Vec<usize>> {
    if clusters.labels.len() != layers.neurons() {
        return Err(Error::invalid(
            "layer windows",
            format!(
                "clusters of {} neurons with a layer map of {}",
                clusters.labels.len(),
                layers.neurons()
            ),
            "Take both from the same neurons",
        ));
    }
    let (first, last) = (layers.layer(0), layers.layer(layers.neurons() - 1));
    let mut windows = vec![0; (last - first) as usize + 1];
    for members in clusters.members() {
        // Neurons are ordered by layer, so the ends of a cluster are its first and last member.
        let span = layers.layer(members[members.len() - 1]) - layers.layer(members[0]);
        windows[span as usize] += 1;
    }
    Ok(windows)
}

/// How many pairs of neurons have |r| of at least each of `thresholds`.
pub fn pairs_at_least(correlation: &Correlation, thresholds: &[f64]) -> Vec<u64> {
    let mut counts = vec![0; thresholds.len()];
    for r in &correlation.packed {
        for (count, &threshold) in counts.iter_mut().zip(thresholds) {
            *count += u64::from(f64::from(r.abs()) >= threshold);
        }
    }
    counts
}
