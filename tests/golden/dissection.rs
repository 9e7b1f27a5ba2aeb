//! Overlaps of firing and concepts, their p and q, as plain sets of NumPy and SciPy have them.

use ndarray::Axis;
use neurosieve::Backend;
use neurosieve::analysis::dissection::{Side, Threshold, dissect};
use neurosieve::analysis::overlap::{FalseDiscoveries, Hypergeometric};
use neurosieve::analysis::sample_sets::SampleSets;
use neurosieve::ops::moments::moments;
use serde::Deserialize;

use super::{fixture, json};
use crate::support::assert_close;

/// Threshold, cut, fires, shared, IoU, p.
type PairCase = (usize, f32, u32, u32, f64, f64);

#[derive(Deserialize)]
struct Golden {
    step: usize,
    least: usize,
    sizes: Vec<u32>,
    /// Neuron × concept.
    neurons: Vec<Vec<PairCase>>,
    tested: Vec<f64>,
    q: Vec<f64>,
    /// Shared, first, second, population, P(X ≥ shared).
    tails: Vec<(usize, usize, usize, usize, f64)>,
}

fn thresholds() -> Vec<Threshold> {
    [(0.05, Side::Above), (0.2, Side::Above), (0.05, Side::Below)]
        .map(|(quantile, side)| Threshold { quantile, side })
        .to_vec()
}

/// The classes of `coarse`, numbers, and words that occur `least` times in the order in which they occur first.
fn concepts(least: usize) -> SampleSets {
    let train = fixture().train();
    let labels = &train.labels[1];
    let words = &train.tokens.as_ref().expect("the fixture has words").words;
    let mut sets = SampleSets::new(labels.len()).expect("there are samples");
    for class in 0..labels.classes().len() {
        sets.push(|sample| labels.ids()[sample] as usize == class);
    }
    sets.push(|sample| words[sample].bytes().all(|letter| letter.is_ascii_digit()));
    for (at, word) in words.iter().enumerate() {
        let count = words.iter().filter(|other| *other == word).count();
        if count >= least && !words[..at].contains(word) {
            sets.push(|sample| words[sample] == *word);
        }
    }
    sets
}

#[test]
fn overlaps_p_and_q_are_those_of_plain_sets() {
    let golden: Golden = json("dissection.json");
    let x = fixture().train().activations.view();
    let chosen: Vec<usize> = (0..x.ncols()).step_by(golden.step).collect();
    let x = x.select(Axis(1), &chosen);
    let sets = concepts(golden.least);
    let sizes: Vec<u32> = (0..sets.len()).map(|set| sets.size(set)).collect();
    assert_eq!(sizes, golden.sizes);
    let moments = moments(&Backend::Cpu, x.view(), None).unwrap();
    let found = dissect(x.view(), &moments, &sets, &thresholds()).unwrap();
    let mut q = golden.q.iter().zip(&golden.tested);
    for (neuron, row) in golden.neurons.iter().enumerate() {
        let dead = row.iter().all(|pair| pair.2 == 0);
        for (concept, &(threshold, cut, fires, shared, iou, p)) in row.iter().enumerate() {
            let pair = found.pair(neuron, concept);
            let what = format!("neuron {}, concept {concept}", chosen[neuron]);
            let counts = (pair.threshold, pair.fires, pair.shared);
            assert_eq!(counts, (threshold, fires, shared), "{what}");
            assert_eq!(pair.cut, cut, "{what}");
            assert_close(&what, pair.iou, iou, 1e-15);
            assert_close(&what, pair.p, p, 1e-10 * p + 1e-300);
            if !dead {
                let (q, tested) = q.next().expect("every test has a q");
                assert_eq!(*tested, p);
                assert_close(&format!("q of {what}"), pair.q, *q, 1e-9 * q);
            }
        }
    }
    assert_eq!(found.tests(), golden.tested.len());
    let findings = golden.q.iter().filter(|q| **q <= 0.05).count();
    assert_eq!(found.findings(0.05), findings);
    assert!(
        findings > 100 && findings < golden.q.len() / 2,
        "{findings}"
    );
}

#[test]
fn tails_are_scipys() {
    let golden: Golden = json("dissection.json");
    for (shared, first, second, population, tail) in golden.tails {
        let got = Hypergeometric::new(population).at_least(shared, first, second);
        let what = format!("P(X >= {shared}) of {first}, {second} of {population}");
        assert_close(&what, got, tail, 1e-9 * tail + 1e-300);
    }
}

#[test]
fn false_discoveries_are_scipys() {
    let golden: Golden = json("dissection.json");
    let found = FalseDiscoveries::new(golden.tested.clone());
    for (p, q) in golden.tested.iter().zip(&golden.q) {
        assert_close("q", found.q(*p), *q, 1e-12);
    }
}
