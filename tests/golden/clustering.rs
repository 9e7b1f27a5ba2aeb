//! Clusters as SciPy's `linkage` and `fcluster`, and NeuroX's `create_correlation_clusters`, make them.

use neurosieve::analysis::redundancy::{
    Clusters, Distance, Linkage, among, dendrogram, medoids, pairs_at_least, window_histogram,
};
use neurosieve::ops::correlation::Correlation;
use serde::Deserialize;

use super::{fixture, json, tensor};

#[derive(Deserialize)]
struct Golden {
    thresholds: Vec<f64>,
    average: Vec<Vec<u32>>,
    complete: Vec<Vec<u32>>,
    single: Vec<Vec<u32>>,
    signed_average: Vec<Vec<u32>>,
    first_neurons: usize,
    first_average: Vec<Vec<u32>>,
    medoids_average: Vec<Vec<usize>>,
    neurox_average: Vec<NeuroX>,
    pairs_at_least: Vec<(f64, u64)>,
}

#[derive(Deserialize)]
struct NeuroX {
    threshold: f64,
    labels: Vec<u32>,
}

/// The correlations that SciPy clustered, in the precision in which it saw them.
fn correlation() -> Correlation {
    let packed = tensor("correlation.safetensors", "packed");
    Correlation {
        neurons: fixture().train().activations.neurons(),
        packed: packed.iter().map(|&r| r as f32).collect(),
    }
}

fn cuts(
    correlation: &Correlation,
    linkage: Linkage,
    distance: Distance,
    at: &[f64],
) -> Vec<Clusters> {
    let tree = dendrogram(correlation, linkage, distance).expect("the correlations are finite");
    at.iter().map(|&threshold| tree.cut(threshold)).collect()
}

fn assert_partitions(what: &str, got: &[Clusters], expected: &[Vec<u32>]) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (at, (clusters, labels)) in got.iter().zip(expected).enumerate() {
        let count = labels.iter().max().map_or(0, |&l| l as usize + 1);
        assert_eq!(clusters.count, count, "{what}, threshold number {at}");
        assert_eq!(&clusters.labels, labels, "{what}, threshold number {at}");
    }
}

#[test]
fn one_dendrogram_cut_at_nine_thresholds_gives_scipys_partitions_for_every_linkage() {
    let golden: Golden = json("clustering.json");
    let r = correlation();
    for (linkage, distance, expected) in [
        (Linkage::Average, Distance::OneMinusAbs, &golden.average),
        (Linkage::Complete, Distance::OneMinusAbs, &golden.complete),
        (Linkage::Single, Distance::OneMinusAbs, &golden.single),
        (Linkage::Average, Distance::OneMinus, &golden.signed_average),
    ] {
        let got = cuts(&r, linkage, distance, &golden.thresholds);
        assert_partitions(&format!("{linkage:?} on {distance:?}"), &got, expected);
    }
    assert_ne!(golden.average, golden.complete, "the linkages must differ");
    assert_ne!(golden.average, golden.signed_average, "the sign must count");
}

#[test]
fn the_first_layers_cluster_among_themselves_as_scipy_clusters_them() {
    let golden: Golden = json("clustering.json");
    let columns: Vec<usize> = (0..golden.first_neurons).collect();
    let part = among(&correlation(), &columns).expect("the neurons exist");
    let got = cuts(
        &part,
        Linkage::Average,
        Distance::OneMinusAbs,
        &golden.thresholds,
    );
    assert_partitions("the first layers", &got, &golden.first_average);
}

#[test]
fn partitions_are_those_of_neuroxs_correlation_clusters() {
    let golden: Golden = json("clustering.json");
    for neurox in &golden.neurox_average {
        let got = cuts(
            &correlation(),
            Linkage::Average,
            Distance::OneMinusAbs,
            &[neurox.threshold],
        );
        assert_partitions("NeuroX", &got, std::slice::from_ref(&neurox.labels));
    }
}

#[test]
fn medoids_are_the_members_with_the_largest_mean_correlation() {
    let golden: Golden = json("clustering.json");
    let r = correlation();
    let all = cuts(
        &r,
        Linkage::Average,
        Distance::OneMinusAbs,
        &golden.thresholds,
    );
    for (clusters, expected) in all.iter().zip(&golden.medoids_average) {
        assert_eq!(
            &medoids(clusters, &r).expect("of the same neurons"),
            expected
        );
    }
}

#[test]
fn correlated_pairs_are_as_many_as_numpy_counts() {
    let golden: Golden = json("clustering.json");
    let (thresholds, expected): (Vec<f64>, Vec<u64>) = golden.pairs_at_least.into_iter().unzip();
    assert_eq!(pairs_at_least(&correlation(), &thresholds), expected);
}

#[test]
fn most_clusters_of_real_neurons_stay_inside_few_layers() {
    // Dalvi et al. 2020 §5.2 find it for BERT and XLNet; a window computed from shuffled layers would not show it.
    let r = correlation();
    let cut = &cuts(&r, Linkage::Average, Distance::OneMinusAbs, &[0.5])[0];
    let windows =
        window_histogram(cut, fixture().train().activations.layers()).expect("same neurons");
    assert_eq!(windows.len(), 7);
    let mut spans = vec![0; 7];
    for members in cut.members() {
        let numbers = || members.iter().map(|neuron| neuron / 48);
        spans[numbers().max().unwrap_or(0) - numbers().min().unwrap_or(0)] += 1;
    }
    assert_eq!(windows, spans);
    let several: usize = cut.members().iter().filter(|m| m.len() > 1).count();
    let wide: usize = windows[5..].iter().sum();
    assert!(
        wide * 2 < several,
        "{wide} of {several} clusters span 6 or 7 layers: {windows:?}"
    );
}
