//! What does not depend on a task: the data, and which neurons say the same.

use super::fingerprint;
use super::results::{ClusterCut, Clustering, DataSummary, PairCount, Parts, SizeBin};
use super::spec::{ClusterSpec, DistanceSpec, LinkageSpec, Spec};
use super::units::Units;
use crate::analysis::redundancy::{self, Dendrogram, Distance, Linkage};
use crate::error::Result;
use crate::ops::Backend;
use crate::ops::correlation::{Computed, Correlation, Params, Side, packed};
use crate::ops::moments::{Moments, Spread};
use crate::split::Dataset;

/// |r| at which pairs are counted.
const PAIRS_AT: [f64; 4] = [0.3, 0.5, 0.7, 0.9];

/// The activations in figures.
pub(super) fn summarise(spec: &Spec, data: &Dataset, moments: &Moments) -> DataSummary {
    let map = data.train().activations.layers();
    let neurons = map.neurons();
    let with = |wanted: Spread| {
        (0..neurons)
            .filter(|&n| moments.spread[n] == wanted)
            .collect()
    };
    let layers = map.layers();
    let dead = |layer: &u32| {
        map.columns(*layer)
            .all(|n| moments.spread[n] == Spread::Constant)
    };
    DataSummary {
        samples: Parts {
            train: data.train().activations.samples(),
            dev: data.dev().activations.samples(),
            test: data.test().activations.samples(),
        },
        files: Parts {
            train: spec.data.train.activations.display().to_string(),
            dev: spec.data.dev.activations.display().to_string(),
            test: spec.data.test.activations.display().to_string(),
        },
        hashes: Some(Parts {
            train: fingerprint::whole(data.train(), data.tasks()),
            dev: fingerprint::whole(data.dev(), data.tasks()),
            test: fingerprint::whole(data.test(), data.tasks()),
        }),
        neurons,
        dead_layers: layers.iter().copied().filter(dead).collect(),
        layers,
        layer_of: (0..neurons).map(|n| map.layer(n)).collect(),
        unit_of: (0..neurons).map(|n| map.unit(n)).collect(),
        constant: with(Spread::Constant),
        nearly_constant: with(Spread::NearlyConstant),
    }
}

/// The linkage that a specification names.
pub(super) fn linkage(spec: &ClusterSpec) -> Linkage {
    match spec.linkage {
        LinkageSpec::Average => Linkage::Average,
        LinkageSpec::Complete => Linkage::Complete,
        LinkageSpec::Single => Linkage::Single,
    }
}

/// The distance that a specification names.
pub(super) fn distance(spec: &ClusterSpec) -> Distance {
    match spec.distance {
        DistanceSpec::Absolute => Distance::OneMinusAbs,
        DistanceSpec::Signed => Distance::OneMinus,
    }
}

/// Correlations of all pairs of neurons, as exact as the specification asks for, with so many bytes in flight.
///
/// # Errors
/// As [`packed`].
pub(super) fn correlations(
    spec: &ClusterSpec,
    (backend, memory): (&Backend, u64),
    side: Side<'_>,
    units: Option<&Units<'_>>,
) -> Result<(Correlation, Computed)> {
    let params = Params {
        memory,
        precision: spec.precision,
        ..Params::default()
    };
    let compute = || packed(backend, side, &params);
    // Which kernel computes them on a GPU is measured there, and its bits are not those of another one.
    match units.filter(|_| backend.gpu().is_none()) {
        None => compute(),
        Some(units) => units.correlations((side.moments.mean.len(), spec.precision), compute),
    }
}

/// How the clustering was done, and how correlated the neurons are.
pub(super) fn clustering(
    spec: &ClusterSpec,
    correlation: &Correlation,
    computed: Computed,
) -> Clustering {
    let counts = redundancy::pairs_at_least(correlation, &PAIRS_AT);
    Clustering {
        linkage: linkage(spec).name().into(),
        distance: distance(spec).name().into(),
        precision: Some(computed),
        pairs_at_least: PAIRS_AT
            .into_iter()
            .zip(counts)
            .map(|(r, pairs)| PairCount { r, pairs })
            .collect(),
    }
}

/// One cut of the dendrogram a threshold, ascending.
///
/// # Errors
/// As the functions of [`redundancy`].
pub(super) fn cuts(
    spec: &ClusterSpec,
    data: &Dataset,
    correlation: &Correlation,
    dendrogram: &Dendrogram,
) -> Result<Vec<ClusterCut>> {
    let mut thresholds = spec.thresholds.clone();
    thresholds.sort_by(f64::total_cmp);
    let cut = |threshold: f64| {
        let clusters = dendrogram.cut(threshold);
        let sizes = redundancy::size_histogram(&clusters);
        Ok(ClusterCut {
            threshold,
            count: clusters.count,
            representatives: redundancy::medoids(&clusters, correlation)?,
            size_histogram: sizes
                .into_iter()
                .map(|bin| SizeBin {
                    size: bin.size.into(),
                    clusters: bin.clusters,
                    neurons: bin.neurons,
                })
                .collect(),
            window_histogram: redundancy::window_histogram(
                &clusters,
                data.train().activations.layers(),
            )?,
            labels: clusters.labels,
        })
    };
    thresholds.into_iter().map(cut).collect()
}
