//! Top words as NeuroX's `get_top_words` finds them.

use neurosieve::analysis::concepts::{TopWord, top_words};
use neurosieve::ops::moments::{Moments, Spread};
use serde::Deserialize;

use super::{fixture, json};
use crate::support::assert_close;

#[derive(Deserialize)]
struct Case {
    neuron: usize,
    neurox: Vec<(String, f64)>,
    at_least_3: Vec<(String, f64, f64, usize)>,
}

/// Mean and sd by the plain formula in f64.
fn moments() -> Moments {
    let x = fixture().train().activations.view();
    let n = x.nrows() as f64;
    let mean: Vec<f64> = x
        .columns()
        .into_iter()
        .map(|c| c.iter().map(|&v| f64::from(v)).sum::<f64>() / n)
        .collect();
    let spread_around = |(column, mean): (ndarray::ArrayView1<'_, f32>, &f64)| {
        let squares = column.iter().map(|&v| (f64::from(v) - mean).powi(2));
        (squares.sum::<f64>() / n).sqrt()
    };
    let sd: Vec<f64> = x
        .columns()
        .into_iter()
        .zip(&mean)
        .map(spread_around)
        .collect();
    let varies = |&sd: &f64| {
        if sd > 1e-5 {
            Spread::Varies
        } else {
            Spread::Constant
        }
    };
    Moments {
        samples: x.nrows(),
        spread: sd.iter().map(varies).collect(),
        mean,
        sd,
        group_mean: None,
    }
}

fn top(neuron: usize, min_count: usize) -> Vec<TopWord> {
    let train = fixture().train();
    let words = &train.tokens.as_ref().expect("the fixture has words").words;
    let found = top_words(
        train.activations.view(),
        &moments(),
        words,
        &[neuron],
        12,
        min_count,
    );
    found.expect("words and rows agree").remove(0)
}

#[test]
fn top_words_are_neuroxs() {
    for case in json::<Vec<Case>>("concepts.json") {
        let got = top(case.neuron, 1);
        assert_eq!(got.len(), case.neurox.len());
        for (ours, (word, score)) in got.iter().zip(&case.neurox) {
            assert_eq!(&ours.word, word, "neuron {}", case.neuron);
            assert_close(word, ours.score, *score, 1e-9);
        }
    }
}

#[test]
fn rare_words_are_left_out_when_a_least_count_is_asked_for() {
    for case in json::<Vec<Case>>("concepts.json") {
        let got = top(case.neuron, 3);
        assert_eq!(got.len(), case.at_least_3.len());
        for (ours, (word, score, z, count)) in got.iter().zip(&case.at_least_3) {
            assert_eq!(
                (&ours.word, ours.count),
                (word, *count),
                "neuron {}",
                case.neuron
            );
            assert_close(word, ours.score, *score, 1e-9);
            assert_close(word, ours.z, *z, 1e-9);
        }
    }
}

#[test]
fn a_dead_neuron_fires_on_no_word() {
    assert!(top(310, 1).is_empty());
}
