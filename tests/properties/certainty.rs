//! How sure one can be of a set: sizes by bisection, disjoint sets, stability, random sets, corrected p values.

use ndarray::Array2;
use neurosieve::Backend;
use neurosieve::analysis::bootstrap::Units;
use neurosieve::analysis::disjoint::{Disjoint, Exclusion, Next};
use neurosieve::analysis::holm::holm;
use neurosieve::analysis::layers::required;
use neurosieve::analysis::minimal_set::{Ladder, Prefixes, SizeSearch, smallest};
use neurosieve::analysis::random_sets::random_sets;
use neurosieve::analysis::ranking::{lca, probeless, standardised_means};
use neurosieve::analysis::redundancy::{Clusters, Distance};
use neurosieve::analysis::search::{Penalties, Prober, Search, Target};
use neurosieve::analysis::stability::{
    lca_of_resamples, probeless_of_resamples, resamples, selected, stability, weighted_means,
};
use neurosieve::analysis::uncertainty::permutation_p;
use neurosieve::labels::Labels;
use neurosieve::ops::moments::{Moments, moments};
use proptest::prelude::*;
use rand::RngExt;

use super::choices::{all, path, prober, target};
use crate::golden::fixture;
use crate::support::{assert_close, normal, random};

/// Samples of two classes, one after the other, on train and dev alike in kind.
struct Made {
    train: Array2<f32>,
    dev: Array2<f32>,
    labels: Labels,
    moments: Moments,
}

impl Made {
    /// Noise, but for the neurons `telling`: copies of one that tells the classes apart, each with a little noise of its own.
    fn new(samples: usize, neurons: usize, telling: &[usize], seed: u64) -> Self {
        let mut generator = random(seed);
        let mut part = || {
            let mut x =
                Array2::from_shape_simple_fn((samples, neurons), || normal(&mut generator) as f32);
            for (sample, mut row) in x.rows_mut().into_iter().enumerate() {
                let class = if sample % 2 == 0 { -1.0 } else { 1.0 };
                let signal = class + 0.2 * normal(&mut generator);
                for &neuron in telling {
                    row[neuron] = (signal + 0.02 * normal(&mut generator)) as f32;
                }
            }
            x
        };
        let (train, dev) = (part(), part());
        let ids = (0..samples).map(|sample| (sample % 2) as u32).collect();
        Self {
            moments: moments(&Backend::Cpu, train.view(), None).expect("finite"),
            labels: Labels::new(ids, vec!["even".into(), "odd".into()]).expect("two classes"),
            train,
            dev,
        }
    }

    fn prober(&self) -> Prober<'_> {
        Prober {
            moments: &self.moments,
            train: self.train.view(),
            dev: self.dev.view(),
            ..prober()
        }
    }

    fn target(&self) -> Target<'_> {
        Target {
            train: &self.labels,
            dev: &self.labels,
        }
    }

    fn oracle(&self) -> Search {
        let columns: Vec<usize> = (0..self.train.ncols()).collect();
        let search = self.prober();
        search
            .search(&columns, self.target(), &path(), &mut |_| {})
            .expect("solvable")
    }
}

#[test]
fn the_ladders_of_the_papers_have_their_rungs() {
    let sizes = |ladder: Ladder| ladder.sizes(9984);
    // Beside all neurons, which every ladder ends in.
    assert_eq!(sizes(Ladder::Reference).len() - 1, 27);
    assert_eq!(sizes(Ladder::Fine).len() - 1, 63);
    assert_eq!(sizes(Ladder::MaxFeatures).len() - 1, 112);
    // The sizes that the published tables are full of.
    assert_eq!(sizes(Ladder::Fine)[..4], [9, 29, 49, 69]);
    assert_eq!(sizes(Ladder::Reference)[4..8], [49, 99, 199, 299]);
    assert_eq!(sizes(Ladder::MaxFeatures)[99..102], [998, 1497, 1996]);
    assert_eq!(Ladder::Sizes(vec![5, 2, 5]).sizes(9), [2, 5]);
}

#[test]
fn bisection_ends_between_a_size_that_fails_and_one_that_suffices() {
    let prober = prober();
    let oracle = prober
        .search(&all(), target(), &path(), &mut |_| {})
        .unwrap();
    let order = lca(oracle.fit.standardised.view()).unwrap().order;
    let near = path().near(&oracle, 0);
    let prefixes = Prefixes {
        prober: &prober,
        target: target(),
        order: &order,
        penalties: &near,
        whole: Some(&oracle),
    };
    let wanted = [0.02, 0.1, 0.05].map(|delta| required(oracle.dev_accuracy, delta));
    let mut heard = Vec::new();
    let rungs = prefixes
        .find(&SizeSearch::Bisection, &wanted, &mut |share| {
            heard.push(share);
        })
        .unwrap();
    assert!(rungs.is_sorted_by(|a, b| a.size < b.size));
    assert!(rungs.len() < 30, "{} sizes of 336 were tried", rungs.len());
    assert!(heard.is_sorted() && heard.iter().all(|share| *share <= 1.0));
    for wanted in wanted {
        let size = smallest(&rungs, wanted).unwrap().size;
        assert!(size < 336);
        let below = rungs.iter().find(|rung| rung.size + 1 == size);
        assert!(
            size == 1 || below.is_some_and(|rung| rung.search.dev_accuracy <= wanted),
            "{size} neurons suffice and {} were not shown to fail",
            size - 1
        );
    }
    // What all neurons do not reach is not looked for.
    let none = prefixes
        .find(&SizeSearch::Bisection, &[2.0], &mut |_| {})
        .unwrap();
    assert_eq!(none.len(), 1);
    assert!(smallest(&none, 2.0).unwrap().size == 336);
    let empty = Prefixes {
        order: &[],
        ..prefixes
    };
    for how in [SizeSearch::Bisection, SizeSearch::Ladder(Ladder::Fine)] {
        assert!(empty.find(&how, &[0.5], &mut |_| {}).is_err(), "{how:?}");
    }
}

/// The sets without a common neuron in made data, the first one found as a study finds it.
fn exclusion(
    made: &Made,
    sizes: &SizeSearch,
    by_probe: bool,
    most: usize,
) -> (Vec<usize>, Disjoint) {
    let (prober, oracle, penalties) = (made.prober(), made.oracle(), path());
    let with_means = moments(&Backend::Cpu, made.train.view(), Some(&made.labels)).unwrap();
    let ranking = if by_probe {
        lca(oracle.fit.standardised.view()).unwrap()
    } else {
        probeless(standardised_means(&with_means).unwrap().view(), &[0, 1]).unwrap()
    };
    let wanted = required(oracle.dev_accuracy, 0.05);
    let prefixes = Prefixes {
        prober: &prober,
        target: made.target(),
        order: &ranking.order,
        penalties: &penalties,
        whole: Some(&oracle),
    };
    let rungs = prefixes.find(sizes, &[wanted], &mut |_| {}).unwrap();
    let first = ranking.order[..smallest(&rungs, wanted).unwrap().size].to_vec();
    let exclusion = Exclusion {
        prober: &prober,
        target: made.target(),
        penalties: &penalties,
        sizes,
        next: if by_probe {
            Next::Refit
        } else {
            Next::GoOn(&ranking)
        },
        required: wanted,
        most,
    };
    let found = exclusion.run(&first, &mut |_| {}).unwrap();
    (first, found)
}

#[test]
fn a_neuron_planted_so_many_times_gives_exactly_so_many_disjoint_sets() {
    let sizes = [
        SizeSearch::Ladder(Ladder::Sizes(vec![1, 2, 4])),
        SizeSearch::Bisection,
    ];
    for copies in [vec![5], vec![0, 4, 9]] {
        let made = Made::new(160, 12, &copies, 7);
        for (sizes, by_probe) in [(&sizes[0], true), (&sizes[1], true), (&sizes[0], false)] {
            let (first, found) = exclusion(&made, sizes, by_probe, 9);
            let mut sets = vec![first];
            sets.extend(found.further.iter().map(|(neurons, _)| neurons.clone()));
            assert!(found.exhausted);
            assert_eq!(sets.len(), copies.len(), "{sets:?}");
            let mut planted = sets.concat();
            planted.sort_unstable();
            assert_eq!(planted, copies, "each set is one copy");
            assert_eq!(found.left, 12 - copies.len());
            assert!(found.best_left.unwrap() < 0.7, "what is left is noise");
            assert!(!found.certificates.is_empty());
        }
        // A search that may not go on does not claim to be exhausted.
        let (_, found) = exclusion(&made, &sizes[0], true, 1);
        assert!(!found.exhausted && found.further.is_empty());
    }
}

#[test]
fn agreement_is_counted_as_by_hand() {
    let clusters = Clusters {
        labels: vec![0, 1, 1, 2, 3],
        count: 4,
        distance: Distance::OneMinusAbs,
    };
    // Neuron 4 does not vary.
    let selections = [vec![0, 1], vec![0, 2]];
    let found = stability(&[0, 1], &selections, &[0, 1, 2, 3], &clusters).unwrap();
    assert_eq!(found.frequency, [1.0, 0.5]);
    assert_eq!(found.equivalent_frequency, [1.0, 1.0]);
    let figures = [
        found.mean_frequency,
        found.mean_equivalent_frequency,
        found.overlap,
        found.equivalent_overlap,
        found.jaccard,
    ];
    // By chance 2 of 4 are drawn; one of a pair with probability 1 − 1/6; Jaccard: 4/6 · 1/3 + 1/6 · 1.
    let third = 1.0 / 3.0;
    let expected = [
        (0.75, 0.5),
        (1.0, 2.0 * third),
        (0.5, 0.5),
        (1.0, 2.0 * third),
        (third, 7.0 / 18.0),
    ];
    for (figure, (observed, chance)) in figures.iter().zip(expected) {
        assert_close("observed", figure.observed, observed, 1e-12);
        assert_close("by chance", figure.chance, chance, 1e-12);
    }
    assert!(stability(&[], &selections, &[0, 1, 2], &clusters).is_err());
    assert!(stability(&[4], &selections, &[0, 1, 2], &clusters).is_err());
    assert!(stability(&[0], &selections[..1], &[0, 1, 2], &clusters).is_err());
}

#[test]
fn random_selections_agree_as_chance_says() {
    let mut generator = random(3);
    let labels = (0..60).map(|_| generator.random_range(0..25)).collect();
    let clusters = Clusters {
        labels,
        count: 25,
        distance: Distance::OneMinusAbs,
    };
    let candidates: Vec<usize> = (0..60).filter(|n| n % 7 != 0).collect();
    let mut selections = random_sets(&candidates, 12, 150, 5).unwrap();
    selections.extend(random_sets(&candidates, 7, 50, 6).unwrap());
    let set = &selections[0].clone();
    let found = stability(set, &selections[1..], &candidates, &clusters).unwrap();
    for figure in [
        found.mean_frequency,
        found.mean_equivalent_frequency,
        found.overlap,
        found.equivalent_overlap,
        found.jaccard,
    ] {
        assert_close("random selections", figure.observed, figure.chance, 0.02);
    }
    // The control: equal selections do not agree as by chance.
    let same = vec![set.clone(); 3];
    let found = stability(set, &same, &candidates, &clusters).unwrap();
    assert_eq!((found.overlap.observed, found.jaccard.observed), (1.0, 1.0));
    assert!(found.overlap.chance < 0.3);
}

#[test]
fn neurons_that_tell_are_selected_again_and_neurons_drawn_blindly_are_not() {
    let made = Made::new(160, 40, &[3, 17], 11);
    let oracle = made.oracle();
    let columns: Vec<usize> = (0..40).collect();
    let alone = Clusters {
        labels: (0..40).collect(),
        count: 40,
        distance: Distance::OneMinusAbs,
    };
    let units = Units::samples(160);
    let drawn = resamples(&units, &made.labels, 12, 2).unwrap();
    assert!(drawn.iter().all(|times| times.iter().sum::<f64>() == 160.0));
    assert_ne!(drawn[0], drawn[1]);
    let (rankings, certificates) = lca_of_resamples(
        &made.prober(),
        &columns,
        &made.labels,
        &oracle.fit,
        &drawn,
        &mut |_| {},
    )
    .unwrap();
    assert!(certificates.iter().all(|c| c.converged));
    let by_probe: Vec<Vec<usize>> = rankings.iter().map(|r| selected(r, 2)).collect();
    let x = made.train.view();
    let by_means = probeless_of_resamples(x, &made.moments, &made.labels, &drawn, 2).unwrap();
    for selections in [by_probe, by_means] {
        let found = stability(&[3, 17], &selections, &columns, &alone).unwrap();
        assert_eq!(found.frequency, [1.0, 1.0]);
        assert_close("by chance", found.mean_frequency.chance, 0.05, 1e-12);
        // Neurons that no data chose are selected as often as chance has it: never, where two others always are.
        let blind = stability(&[8, 29], &selections, &columns, &alone).unwrap();
        assert_eq!(blind.frequency, [0.0, 0.0]);
    }
}

#[test]
fn in_noise_neurons_drawn_blindly_are_selected_as_often_as_chance_has_it() {
    // Which of 40 neurons 12 resamples select out of noise depends on the data; whether a given neuron is among them does not.
    let mut frequencies = Vec::new();
    let columns: Vec<usize> = (0..40).collect();
    for seed in 0..12 {
        let made = Made::new(60, 40, &[], 100 + seed);
        let drawn = resamples(&Units::samples(60), &made.labels, 8, seed).unwrap();
        let x = made.train.view();
        let selections =
            probeless_of_resamples(x, &made.moments, &made.labels, &drawn, 10).unwrap();
        let alone = Clusters {
            labels: (0..40).collect(),
            count: 40,
            distance: Distance::OneMinusAbs,
        };
        let set = &random_sets(&columns, 10, 1, seed).unwrap()[0];
        let found = stability(set, &selections, &columns, &alone).unwrap();
        assert_close("by chance", found.mean_frequency.chance, 0.25, 1e-12);
        frequencies.push(found.mean_frequency.observed);
    }
    let mean = frequencies.iter().sum::<f64>() / 12.0;
    assert_close("frequency of neurons drawn blindly", mean, 0.25, 0.05);
}

#[test]
fn resamples_take_whole_sentences_and_need_two_classes() {
    let sentences: Vec<u32> = (0..40).map(|sample| sample / 4).collect();
    let units = Units::sentences(&sentences).unwrap();
    let ids = (0..40).map(|sample| u32::from(sample >= 36)).collect();
    let labels = Labels::new(ids, vec!["a".into(), "b".into()]).unwrap();
    let drawn = resamples(&units, &labels, 20, 1).unwrap();
    for times in &drawn {
        assert!(times.chunks(4).all(|s| s.iter().all(|t| *t == s[0])));
        assert!(
            times[36] > 0.0,
            "the one sentence of class b is in every resample"
        );
    }
    let one = Labels::new(vec![0; 40], vec!["a".into(), "b".into()]).unwrap();
    assert!(resamples(&units, &one, 3, 1).is_err());
    assert!(resamples(&Units::samples(39), &labels, 3, 1).is_err());
}

#[test]
fn weighted_means_are_the_standardised_ones_of_the_samples_drawn() {
    let data = fixture();
    let (x, labels) = (data.train().activations.view(), &data.train().labels[1]);
    let whole = moments(&Backend::Cpu, x, Some(labels)).unwrap();
    let times = &resamples(&Units::samples(800), labels, 1, 9).unwrap()[0];
    for times in [&vec![1.0; 800], times] {
        // The same samples, copied as often as they were drawn.
        let rows: Vec<usize> = (0..800)
            .flat_map(|row| std::iter::repeat_n(row, times[row] as usize))
            .collect();
        let ids = rows.iter().map(|&row| labels.ids()[row]).collect();
        let drawn = Labels::new(ids, labels.classes().to_vec()).unwrap();
        let copied = x.select(ndarray::Axis(0), &rows);
        let expected = moments(&Backend::Cpu, copied.view(), Some(&drawn)).unwrap();
        let expected = standardised_means(&expected).unwrap();
        let got = weighted_means(x, &whole, labels, times).unwrap();
        for ((class, neuron), &value) in got.indexed_iter() {
            let reference = expected[(class, neuron)];
            assert_close(
                &format!("class {class}, neuron {neuron}"),
                value,
                reference,
                1e-9,
            );
        }
    }
    assert!(weighted_means(x, &whole, labels, &[1.0]).is_err());
}

#[test]
fn sets_in_one_batch_answer_as_each_alone() {
    let prober = prober();
    let sets = random_sets(&all(), 20, 3, 4).unwrap();
    let together = prober
        .search_sets(&sets, target(), &path(), &mut |_| {})
        .unwrap();
    for (set, found) in sets.iter().zip(&together) {
        let alone = prober.search(set, target(), &path(), &mut |_| {}).unwrap();
        assert_eq!(found.chosen, alone.chosen);
        assert_close("dev", found.dev_accuracy, alone.dev_accuracy, 1.5 / 200.0);
        let apart = (found.fit.objective / alone.fit.objective - 1.0).abs();
        assert!(apart < 2e-4, "objectives are {apart:e} apart");
        let used = |n: usize| found.fit.weights.column(n).iter().any(|w| *w != 0.0);
        assert!((0..336).all(|n| !used(n) || set.contains(&n)));
    }
    assert!(random_sets(&[1, 2], 3, 1, 0).is_err() && random_sets(&[1, 2], 0, 1, 0).is_err());
}

/// p of the first four neurons of LCA among random sets of four, and the sets.
fn p_of_the_top(made: &Made, seed: u64) -> (f64, Vec<Vec<usize>>) {
    let (prober, penalties) = (
        made.prober(),
        Penalties::Path {
            ratios: vec![0.1],
            l2_per_l1: 1.0,
        },
    );
    let columns: Vec<usize> = (0..made.train.ncols()).collect();
    let search = |set: &[usize]| {
        prober
            .search(set, made.target(), &penalties, &mut |_| {})
            .unwrap()
    };
    let order = lca(search(&columns).fit.standardised.view()).unwrap().order;
    let sets = random_sets(&columns, 4, 19, seed).unwrap();
    let random = prober
        .search_sets(&sets, made.target(), &penalties, &mut |_| {})
        .unwrap();
    let random: Vec<f64> = random.iter().map(|search| search.dev_accuracy).collect();
    let p = permutation_p(search(&order[..4]).dev_accuracy, &random);
    (p, sets)
}

#[test]
fn neurons_of_a_task_without_meaning_are_no_better_than_random_ones() {
    let p: Vec<f64> = (0..60)
        .map(|seed| p_of_the_top(&Made::new(60, 20, &[], 500 + seed), seed).0)
        .collect();
    let mean = p.iter().sum::<f64>() / 60.0;
    let small = p.iter().filter(|p| **p <= 0.1).count();
    // Uniform on 1/20 … 1: mean 0.525 with an error of 0.037; 6 of 60 at or below 0.1. Ties make p larger.
    assert!((0.42..0.72).contains(&mean), "mean p {mean}: {p:?}");
    assert!(small <= 12, "{small} of 60 at or below 0.1");
    // One neuron of 100 tells all: random sets are as good where they happen to hold it.
    let (telling, sets) = p_of_the_top(&Made::new(60, 100, &[6], 1), 1);
    let hold_it = sets.iter().filter(|set| set.contains(&6)).count();
    assert_eq!(telling, (1 + hold_it) as f64 / 20.0);
    assert!(telling <= 0.15, "{hold_it} of 19 sets hold it");
    assert!(p.iter().all(|p| (0.05..=1.0).contains(p)));
}

proptest! {
    #[test]
    fn holm_never_turns_an_order_round_and_lies_between_p_and_bonferroni(
        p in proptest::collection::vec(0.0_f64..=1.0, 1..40),
    ) {
        let corrected = holm(&p).unwrap();
        let m = p.len() as f64;
        let least = p.iter().copied().fold(1.0, f64::min);
        for (i, (&own, &holms)) in p.iter().zip(&corrected).enumerate() {
            prop_assert!(holms >= own && holms <= 1.0);
            prop_assert!(holms <= (own * m).min(1.0) + 1e-15, "at most Bonferroni's");
            for (other, &others) in p.iter().zip(&corrected) {
                prop_assert!(own > *other || holms <= others, "{i}");
            }
            if own == least {
                prop_assert!((holms - (own * m).min(1.0)).abs() < 1e-15);
            }
        }
        let reversed: Vec<f64> = p.iter().rev().copied().collect();
        let back: Vec<f64> = holm(&reversed).unwrap().into_iter().rev().collect();
        prop_assert_eq!(back, corrected);
    }

    #[test]
    fn the_p_of_one_of_many_exchangeable_values_is_its_place(
        values in proptest::collection::hash_set(0_u32..1000, 2..30),
    ) {
        // Each value against the others: all p from 1/n to 1 occur once, so that p ≤ α in a share α of them.
        let values: Vec<f64> = values.into_iter().map(f64::from).collect();
        let n = values.len();
        let mut places: Vec<usize> = (0..n)
            .map(|at| {
                let mut others = values.clone();
                let own = others.remove(at);
                (permutation_p(own, &others) * n as f64).round() as usize
            })
            .collect();
        places.sort_unstable();
        prop_assert_eq!(places, (1..=n).collect::<Vec<_>>());
    }
}
