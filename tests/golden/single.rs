//! Single neurons as scikit-learn judges them, and the agreement of orderings as SciPy and Python's sets have it.

use ndarray::array;
use neurosieve::analysis::agreement::{agreement, borda};
use neurosieve::analysis::ranking::Ranking;
use neurosieve::analysis::single::single_neurons;
use neurosieve::labels::Labels;
use serde::Deserialize;

use super::{fixture, json};
use crate::support::assert_close;

#[derive(Deserialize)]
struct Golden {
    step: usize,
    neurons: Vec<Neuron>,
    overlaps: Overlaps,
}

/// AUROC, average precision and best accuracy of each class.
#[derive(Deserialize)]
struct Neuron {
    classes: Vec<[f64; 3]>,
    information: f64,
}

#[derive(Deserialize)]
struct Overlaps {
    a: Vec<usize>,
    b: Vec<usize>,
    depth: usize,
    average_overlap: f64,
    jaccard: f64,
    spearman: f64,
}

#[test]
fn each_neuron_alone_is_judged_as_scikit_learn_does() {
    let golden: Golden = json("single.json");
    let train = fixture().train();
    let coarse = &train.labels[1];
    let found = single_neurons(train.activations.view(), coarse).unwrap();
    for (place, neuron) in golden.neurons.iter().enumerate() {
        let id = place * golden.step;
        for (class, expected) in neuron.classes.iter().enumerate() {
            let at = (class, id);
            let got = [
                found.auroc[at],
                found.average_precision[at],
                found.accuracy[at],
            ];
            for (name, (got, expected)) in ["AUROC", "AP", "accuracy"]
                .iter()
                .zip(got.iter().zip(expected))
            {
                assert_close(
                    &format!("{name} of neuron {id}, class {class}"),
                    *got,
                    *expected,
                    1e-12,
                );
            }
        }
        let what = format!("information of neuron {id}");
        assert_close(&what, found.information[id], neuron.information, 1e-12);
    }
    for ranking in [
        found.by_auroc(),
        found.by_average_precision(),
        found.by_accuracy(),
        found.by_information(),
    ] {
        let mut all = ranking.order.clone();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..336));
        let pairs = ranking.order.windows(2);
        assert!(
            pairs
                .into_iter()
                .all(|p| ranking.scores[p[0]] >= ranking.scores[p[1]])
        );
    }
}

#[test]
fn perfect_useless_and_constant_neurons_are_told_apart() {
    // The first tells class 1, the second class 0 by its small values, the third is constant, the fourth is -0 and 0.
    let x = array![
        [1.0, 0.0, 7.0, 0.0],
        [2.0, 9.0, 7.0, -0.0],
        [5.0, 8.0, 7.0, 0.0],
        [6.0, 7.0, 7.0, -0.0f32],
    ];
    let names = ["a", "b", "absent"].map(String::from).to_vec();
    let labels = Labels::new(vec![0, 0, 1, 1], names).unwrap();
    let found = single_neurons(x.view(), &labels).unwrap();
    assert_eq!(found.auroc.row(1).to_vec(), [1.0, 0.5, 0.5, 0.5]);
    assert_eq!(found.auroc.row(0).to_vec(), [0.0, 0.5, 0.5, 0.5]);
    assert_eq!(found.accuracy.row(0).to_vec(), [1.0, 0.75, 0.5, 0.5]);
    assert_eq!(found.average_precision[(0, 0)], 1.0);
    assert_eq!(found.average_precision[(1, 2)], 0.5);
    assert!(found.auroc.row(2).iter().all(|v| v.is_nan()));
    assert_close("information", found.information[0], 2f64.ln(), 1e-12);
    assert_eq!(found.information[2..], [0.0, 0.0]);
    let ranking = found.by_auroc();
    assert_eq!(ranking.order, [0, 1, 2, 3]);
    assert_eq!(ranking.scores[0], 1.0, "the absent class does not count");
    assert!(ranking.per_class[2].is_empty());
    let fewer = Labels::new(vec![0, 1], vec!["a".into(), "b".into()]).unwrap();
    assert!(single_neurons(x.view(), &fewer).is_err());
}

#[test]
fn a_neuron_and_its_negative_tell_as_much_of_a_rare_class() {
    let ids: Vec<u32> = (0..1000).map(|i| u32::from(i % 21 == 0)).collect();
    let x = ndarray::Array2::from_shape_fn((1000, 3), |(i, neuron)| match neuron {
        0 => ids[i] as f32,
        1 => -(ids[i] as f32),
        _ => ((i * 7919) % 1000) as f32,
    });
    let labels = Labels::new(ids.clone(), vec!["often".into(), "rare".into()]).unwrap();
    let found = single_neurons(x.view(), &labels).unwrap();
    let share = ids.iter().sum::<u32>() as f64 / 1000.0;
    let entropy = -share * share.ln() - (1.0 - share) * (1.0 - share).ln();
    assert_close("its information", found.information[0], entropy, 1e-12);
    assert_close("its negative's", found.information[1], entropy, 1e-12);
    assert!(found.information[2] < 0.1 * entropy);
    let scores = found.by_auroc().scores;
    assert_eq!((scores[0], scores[1]), (1.0, 1.0));
}

#[test]
fn orderings_agree_as_their_sets_and_places_do() {
    let Overlaps {
        a,
        b,
        depth,
        average_overlap,
        jaccard,
        spearman,
    } = json::<Golden>("single.json").overlaps;
    let by_place = |order: &[usize]| {
        let mut scores = vec![0.0; order.len()];
        let places = order.iter().zip((0..order.len()).rev());
        places.for_each(|(neuron, score)| scores[*neuron] = score as f64);
        Ranking::overall(scores, 0)
    };
    let (first, second) = (by_place(&a), by_place(&b));
    assert_eq!((&first.order, &second.order), (&a, &b));
    let found = agreement(&first, &second, depth).unwrap();
    assert_close(
        "average overlap",
        found.average_overlap,
        average_overlap,
        1e-12,
    );
    assert_close("Jaccard", found.jaccard, jaccard, 1e-12);
    assert_close("Spearman", found.spearman, spearman, 1e-12);
    let same = agreement(&first, &first, depth).unwrap();
    assert_eq!(
        (same.average_overlap, same.jaccard, same.spearman),
        (1.0, 1.0, 1.0)
    );
    for depth in [0, 51] {
        assert!(agreement(&first, &second, depth).is_err());
    }
    assert!(agreement(&first, &by_place(&[0, 1]), 1).is_err());
    // Places of equal scores are shared: neither votes nor correlation come from ids.
    let of = |scores: &[f64]| Ranking::overall(scores.to_vec(), 0);
    assert_eq!(borda(&[&of(&[5.0, 1.0, 1.0])]).unwrap(), [2.0, 0.5, 0.5]);
    assert_eq!(
        borda(&[&of(&[3.0, 3.0, 9.0]), &of(&[1.0, 2.0, 3.0])]).unwrap(),
        [0.5, 1.5, 4.0]
    );
    let nothing = agreement(&of(&[0.0; 9]), &of(&[0.0; 9]), 3).unwrap();
    assert!(
        nothing.spearman.is_nan(),
        "an ordering that tells nothing apart agrees with none"
    );
    assert!(borda(&[]).is_err() && borda(&[&of(&[1.0, 2.0]), &of(&[1.0])]).is_err());
}
