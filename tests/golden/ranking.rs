//! Orderings as NeuroX makes them. NeuroX leaves the order inside one step of p open, so steps are compared.

use std::collections::{BTreeMap, BTreeSet};

use ndarray::{Array2, ArrayView1};
use neurosieve::analysis::ranking::{Ranking, lca, lca_cutoffs, probeless, salient};
use serde::Deserialize;

use super::{fixture, json, tensor};

#[derive(Deserialize)]
struct Golden {
    dense: ProbeRankings,
    sparse: ProbeRankings,
    probeless_fine: Probeless,
    probeless_coarse: Probeless,
}

#[derive(Deserialize)]
struct ProbeRankings {
    orderings: Vec<Ordering>,
    top: Vec<Top>,
}

/// NeuroX's ordering: how many neurons each step holds, and the step that takes each neuron (−1: none).
#[derive(Deserialize)]
struct Ordering {
    steps: usize,
    cutoffs: Vec<usize>,
    chunk: Vec<i64>,
}

#[derive(Deserialize)]
struct Top {
    mass: f64,
    per_class: Vec<Vec<usize>>,
}

#[derive(Deserialize)]
struct Probeless {
    overall: Vec<usize>,
    per_class: BTreeMap<String, Vec<usize>>,
}

fn weights(name: &str) -> Array2<f32> {
    tensor("ranking.safetensors", name).mapv(|w| w as f32)
}

fn chunk_of(ranking: &Ranking, steps: usize) -> Vec<i64> {
    let mut chunk = vec![-1; ranking.order.len()];
    let mut start = 0;
    for (step, end) in (0..).zip(lca_cutoffs(ranking, steps)) {
        for &neuron in &ranking.order[start..end] {
            chunk[neuron] = step;
        }
        start = end;
    }
    chunk
}

#[test]
fn lca_takes_every_neuron_at_the_step_at_which_neurox_takes_it() {
    // Whether NeuroX takes the neurons without any weight at its last step or never is a matter of how its f32 sums
    // round: only there may the two differ.
    let golden: Golden = json("ranking.json");
    for (name, expected) in [("dense", golden.dense), ("sparse", golden.sparse)] {
        let weights = weights(name);
        let ranking = lca(weights.view()).expect("the weights are finite");
        for ordering in expected.orderings {
            let (steps, last) = (ordering.steps, ordering.steps as i64);
            let got = chunk_of(&ranking, steps);
            for (neuron, (ours, theirs)) in got.iter().zip(&ordering.chunk).enumerate() {
                let weightless = weights.column(neuron).iter().all(|w| *w == 0.0);
                assert!(
                    ours == theirs || (weightless && [-1, last].contains(theirs)),
                    "{name} probe, {steps} steps: neuron {neuron} enters at {ours}, NeuroX's at {theirs}"
                );
            }
            let cutoffs = lca_cutoffs(&ranking, steps);
            assert_eq!(
                cutoffs[..steps],
                ordering.cutoffs[..steps],
                "{name} probe, {steps} steps"
            );
        }
    }
}

#[test]
fn lca_puts_the_neurons_without_weight_last_by_id() {
    let weights = weights("sparse");
    let weightless: Vec<usize> = (0..weights.ncols())
        .filter(|&n| weights.column(n).iter().all(|w| *w == 0.0))
        .collect();
    assert!(weightless.len() > 50, "the sparse probe must have some");
    let ranking = lca(weights.view()).expect("the weights are finite");
    let (head, tail) = ranking
        .order
        .split_at(ranking.order.len() - weightless.len());
    assert_eq!(tail, weightless);
    assert!(tail.iter().all(|&n| ranking.scores[n] == 0.0));
    assert!(head.iter().all(|&n| ranking.scores[n] > 0.0));
    let all: BTreeSet<usize> = ranking.order.iter().copied().collect();
    assert_eq!(all.len(), weights.ncols(), "every neuron stands once");
}

#[test]
fn salient_neurons_are_neuroxs_top_neurons_in_their_order() {
    let golden: Golden = json("ranking.json");
    for (name, expected) in [("dense", golden.dense), ("sparse", golden.sparse)] {
        let weights = weights(name);
        for top in expected.top {
            let got = salient(weights.view(), top.mass).expect("a share between 0 and 1");
            assert_eq!(got, top.per_class, "{name} probe, mass {}", top.mass);
        }
    }
}

/// Class means in f64 by the plain formula.
fn class_means(task: usize) -> (Array2<f64>, Vec<u32>) {
    let part = fixture().train();
    let labels = &part.labels[task];
    let mut means = Array2::zeros((labels.classes().len(), part.activations.neurons()));
    for (row, &class) in part.activations.view().rows().into_iter().zip(labels.ids()) {
        let mut sum = means.row_mut(class as usize);
        sum.zip_mut_with(&row, |s: &mut f64, &v| *s += f64::from(v));
    }
    for (mut sum, count) in means.rows_mut().into_iter().zip(labels.counts()) {
        sum /= count.max(1) as f64;
    }
    (means, labels.present())
}

/// The same ordering, except that neurons of equal score (dead ones) may stand in any order.
fn assert_same_order(what: &str, got: &[usize], expected: &[usize], score: impl Fn(usize) -> f64) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (place, (&ours, &theirs)) in got.iter().zip(expected).enumerate() {
        let equal = (score(ours) - score(theirs)).abs() <= 1e-12 * score(ours).abs();
        assert!(
            ours == theirs || equal,
            "{what}, place {place}: neuron {ours} (score {}) instead of {theirs} ({})",
            score(ours),
            score(theirs)
        );
    }
}

#[test]
fn probeless_orders_as_neurox_does_overall_and_for_each_class() {
    let golden: Golden = json("ranking.json");
    for (task, expected) in [(0, golden.probeless_fine), (1, golden.probeless_coarse)] {
        let (means, present) = class_means(task);
        let ranking = probeless(means.view(), &present).expect("several classes are present");
        assert_same_order("overall", &ranking.order, &expected.overall, |n| {
            ranking.scores[n]
        });
        assert_eq!(expected.per_class.len(), present.len());
        for (class, order) in expected.per_class {
            let class: usize = class.parse().expect("classes are named by their ids");
            let score = |n: usize| -> f64 {
                let column: ArrayView1<'_, f64> = means.column(n);
                let distances = present
                    .iter()
                    .map(|&other| (column[class] - column[other as usize]).abs());
                distances.sum()
            };
            assert_same_order("one class", &ranking.per_class[class], &order, score);
        }
    }
}
