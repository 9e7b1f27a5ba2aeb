//! What follows from the moments alone: F of the analysis of variance as scikit-learn computes it, CKA by its definition.

use neurosieve::Backend;
use neurosieve::analysis::ranking::anova;
use neurosieve::analysis::similarity::linear_cka;
use neurosieve::labels::Labels;
use neurosieve::ops::correlation::{Params, Side, Wanted, scan};
use neurosieve::ops::moments::{Spread, layer_norms, moments, streamed};
use serde::Deserialize;

use super::{fixture, json};
use crate::support::assert_close;

#[derive(Deserialize)]
struct Golden {
    anova: Anova,
    cka: Cka,
}

#[derive(Deserialize)]
struct Anova {
    fine: Vec<Option<f64>>,
    coarse: Vec<Option<f64>>,
}

#[derive(Deserialize)]
struct Cka {
    biased: Vec<Vec<f64>>,
    unbiased: Vec<Vec<f64>>,
}

#[test]
fn f_of_every_neuron_is_scikit_learns() {
    let golden: Golden = json("moments.json");
    let train = fixture().train();
    for (labels, expected) in train
        .labels
        .iter()
        .zip([golden.anova.fine, golden.anova.coarse])
    {
        let taken = streamed(&train.activations, Some(labels)).unwrap();
        let ranking = anova(&taken, labels).unwrap();
        for (neuron, (got, expected)) in ranking.scores.iter().zip(&expected).enumerate() {
            // Neurons that hardly vary are left out, as everywhere; scikit-learn judges one of them by its rounding.
            let varies = taken.spread[neuron] == Spread::Varies;
            let expected = expected.filter(|_| varies).unwrap_or(0.0);
            let what = format!("F of neuron {neuron}");
            assert_close(&what, *got, expected, 1e-9 * expected.max(1.0));
        }
        let descending = ranking.order.windows(2);
        assert!(descending.into_iter().all(|pair| {
            let [a, b] = [pair[0], pair[1]].map(|neuron| ranking.scores[neuron]);
            a > b || a == b && pair[0] < pair[1]
        }));
    }
}

#[test]
fn neurons_that_vary_between_classes_alone_are_equal_and_finite() {
    let ids = vec![0, 1, 2, 0, 1, 2, 0];
    let x = ndarray::Array2::from_shape_fn((7, 3), |(i, neuron)| match neuron {
        0 => ids[i] as f32 * 0.1,
        1 => 5.0 - ids[i] as f32,
        _ => i as f32,
    });
    let labels = Labels::new(ids.clone(), ["a", "b", "c"].map(String::from).to_vec()).unwrap();
    let taken = moments(&Backend::Cpu, x.view(), Some(&labels)).unwrap();
    let ranking = anova(&taken, &labels).unwrap();
    assert!(ranking.scores.iter().all(|score| score.is_finite()));
    assert_eq!(ranking.scores[0], ranking.scores[1]);
    assert_eq!(ranking.order, [0, 1, 2]);
}

#[test]
fn f_needs_classes_and_samples_beyond_them() {
    let train = fixture().train();
    let x = train.activations.view();
    let refuse = |labels: &Labels| {
        let taken = moments(&Backend::Cpu, x, Some(labels)).unwrap();
        anova(&taken, labels).unwrap_err().to_string()
    };
    let names = |count: usize| (0..count).map(|c| c.to_string()).collect::<Vec<_>>();
    let samples = x.nrows();
    let one = Labels::new(vec![0; samples], names(2)).unwrap();
    assert!(refuse(&one).contains("1 classes"), "{}", refuse(&one));
    let each = Labels::new((0..samples as u32).collect(), names(samples)).unwrap();
    assert!(refuse(&each).contains("more samples"), "{}", refuse(&each));
    let without = moments(&Backend::Cpu, x, None).unwrap();
    let message = anova(&without, &train.labels[0]).unwrap_err().to_string();
    assert!(message.contains("without classes"), "{message}");
}

#[test]
fn cka_of_real_layers_is_that_of_their_kernels() {
    let golden: Golden = json("moments.json");
    let activations = &fixture().train().activations;
    let taken = moments(&Backend::Cpu, activations.view(), None).unwrap();
    let map = activations.layers();
    let wanted = Wanted {
        layers: Some([map, map]),
        ..Wanted::default()
    };
    let side = Side {
        rows: activations,
        moments: &taken,
    };
    let found = scan(&Backend::Cpu, side, None, &wanted, &Params::default()).unwrap();
    let norms = layer_norms(activations, &taken, map).unwrap();
    let cka = linear_cka(&found.layers.unwrap(), &norms).unwrap();
    for (got, expected) in [
        (cka.biased, golden.cka.biased),
        (cka.unbiased, golden.cka.unbiased),
    ] {
        for ((a, b), got) in got.indexed_iter() {
            assert_close(
                &format!("CKA of layers {a} and {b}"),
                *got,
                expected[a][b],
                2e-7,
            );
        }
    }
}
