//! Laws of rankings, curves, clusters, intervals, control tasks and ladders.

use std::collections::{BTreeSet, HashMap};

use ndarray::Array2;
use neurosieve::analysis::curves::{draws, smallest_within};
use neurosieve::analysis::layers::select_layer;
use neurosieve::analysis::minimal_set::{ladder, reference_ladder};
use neurosieve::analysis::random_sets::random_sets;
use neurosieve::analysis::ranking::{lca, lca_cutoffs, probeless, random_order, salient};
use neurosieve::analysis::redundancy::{
    Clusters, Distance, Linkage, among, dendrogram, medoids, random_representatives, size_histogram,
};
use neurosieve::analysis::selectivity::{SampleFrom, Words, control_task, seen_in_train};
use neurosieve::analysis::stability::stability;
use neurosieve::analysis::uncertainty::{Z95, above_chance, mcnemar, paired, wilson};
use neurosieve::labels::Labels;
use neurosieve::ops::correlation::Correlation;
use proptest::prelude::*;
use rand::RngExt;

use crate::support::{normal, random};

/// Sparse weights, some of them equal, one neuron and sometimes one class without any.
fn weights(classes: usize, neurons: usize, seed: u64) -> Array2<f32> {
    let mut random = random(seed);
    let mut weights = Array2::from_shape_simple_fn((classes, neurons), || {
        if random.random_bool(0.4) {
            0.0
        } else {
            (normal(&mut random) * 8.0).round() as f32 / 8.0
        }
    });
    weights.column_mut(neurons / 2).fill(0.0);
    if seed.is_multiple_of(2) {
        weights.row_mut(0).fill(0.0);
    }
    weights
}

/// Correlations of `neurons` random mixtures of five signals: clustered, and without ties.
fn correlations(neurons: usize, seed: u64) -> Correlation {
    let mut random = random(seed);
    let mixing = Array2::from_shape_simple_fn((neurons, 5), || normal(&mut random).powi(3));
    let unit: Vec<_> = mixing
        .rows()
        .into_iter()
        .map(|row| &row / row.dot(&row).sqrt())
        .collect();
    let mut packed = Vec::new();
    for i in 0..neurons {
        for j in i + 1..neurons {
            packed.push(unit[i].dot(&unit[j]).clamp(-1.0, 1.0) as f32);
        }
    }
    Correlation { neurons, packed }
}

fn is_permutation(order: &[usize], neurons: usize) -> bool {
    let distinct: BTreeSet<usize> = order.iter().copied().collect();
    order.len() == neurons && distinct.len() == neurons && distinct.last() < Some(&neurons)
}

proptest! {
    #[test]
    fn lca_holds_at_every_share_the_union_of_what_each_class_needs(
        classes in 1usize..6, neurons in 1usize..60, seed in 0u64..10_000, steps in 1usize..40,
    ) {
        let weights = weights(classes, neurons, seed);
        let ranking = lca(weights.view()).unwrap();
        prop_assert!(is_permutation(&ranking.order, neurons));
        let cutoffs = lca_cutoffs(&ranking, steps);
        // f64 sums and shares round: at an exact tie of the two the crossing neuron may go either way.
        for (step, &cutoff) in cutoffs.iter().enumerate().skip(1) {
            let share = step as f64 / steps as f64;
            let union = |share: f64| -> BTreeSet<usize> {
                let chosen = salient(weights.view(), share.clamp(1e-12, 1.0)).unwrap();
                chosen.into_iter().flatten().collect()
            };
            let held: BTreeSet<usize> = ranking.order[..cutoff].iter().copied().collect();
            prop_assert!(union(share - 1e-9).is_subset(&held), "share {share}");
            prop_assert!(held.is_subset(&union(share + 1e-9)), "share {share}");
        }
        let scores: Vec<f64> = ranking.order.iter().map(|&n| ranking.scores[n]).collect();
        prop_assert!(scores.windows(2).all(|s| s[0] >= s[1]));
    }

    #[test]
    fn lca_depends_neither_on_signs_nor_on_the_scale_of_a_class(seed in 0u64..10_000) {
        let weights = weights(3, 40, seed);
        let mut other = weights.mapv(|w| -w);
        other.row_mut(1).mapv_inplace(|w| w * 4.0);
        prop_assert_eq!(lca(weights.view()).unwrap(), lca(other.view()).unwrap());
    }

    #[test]
    fn salient_neurons_hold_the_share_and_would_not_without_the_last(
        neurons in 1usize..60, seed in 0u64..10_000, share in 0.01f64..0.99,
    ) {
        let weights = weights(3, neurons, seed);
        for (row, chosen) in weights.rows().into_iter().zip(salient(weights.view(), share).unwrap()) {
            let mass = |ids: &[usize]| -> f64 { ids.iter().map(|&n| f64::from(row[n].abs())).sum() };
            let all: Vec<usize> = (0..neurons).collect();
            if mass(&all) == 0.0 {
                prop_assert!(chosen.is_empty());
                continue;
            }
            prop_assert!(mass(&chosen) >= share * mass(&all) - 1e-9);
            prop_assert!(mass(&chosen[..chosen.len() - 1]) < share * mass(&all));
            let lightest = row[chosen[chosen.len() - 1]].abs();
            prop_assert!(all.iter().all(|n| chosen.contains(n) || row[*n].abs() <= lightest));
        }
    }

    #[test]
    fn probeless_does_not_see_shifts_and_ignores_absent_classes(seed in 0u64..10_000) {
        let mut random = random(seed);
        let means = Array2::from_shape_simple_fn((4, 30), || (normal(&mut random) * 64.0).round());
        let ranking = probeless(means.view(), &[0, 1, 3]).unwrap();
        prop_assert!(is_permutation(&ranking.order, 30));
        prop_assert!(ranking.per_class[2].is_empty());
        let mut other = &means + &Array2::from_shape_fn((1, 30), |(_, n)| n as f64);
        other.row_mut(2).fill(1e6);
        prop_assert_eq!(&ranking, &probeless(other.view(), &[0, 1, 3]).unwrap());
        // Two classes: their own orderings and the overall one are by the same distances.
        let two = probeless(means.view(), &[1, 3]).unwrap();
        prop_assert_eq!(&two.order, &two.per_class[1]);
        prop_assert_eq!(&two.order, &two.per_class[3]);
    }

    #[test]
    fn single_linkage_finds_the_connected_components(
        neurons in 1usize..40, seed in 0u64..10_000, threshold in 0.0f64..1.0,
    ) {
        let r = correlations(neurons, seed);
        let cut = dendrogram(&r, Linkage::Single, Distance::OneMinusAbs).unwrap().cut(threshold);
        let mut component: Vec<usize> = (0..neurons).collect();
        for i in 0..neurons {
            for j in i + 1..neurons {
                if 1.0 - f64::from(r.get(i, j).abs()) <= threshold {
                    let (a, b) = (component[i], component[j]);
                    component.iter_mut().filter(|c| **c == b).for_each(|c| *c = a);
                }
            }
        }
        let mut number = HashMap::new();
        let expected: Vec<u32> = component
            .iter()
            .map(|c| { let next = number.len() as u32; *number.entry(*c).or_insert(next) })
            .collect();
        prop_assert_eq!(cut.count, number.len());
        prop_assert_eq!(cut.labels, expected);
    }

    #[test]
    fn complete_linkage_keeps_every_pair_of_a_cluster_within_the_threshold(
        neurons in 1usize..40, seed in 0u64..10_000, threshold in 0.0f64..2.0,
    ) {
        let r = correlations(neurons, seed);
        let cut = dendrogram(&r, Linkage::Complete, Distance::OneMinus).unwrap().cut(threshold);
        for members in cut.members() {
            for &i in &members {
                prop_assert!(members.iter().all(|&j| 1.0 - f64::from(r.get(i, j)) <= threshold));
            }
        }
    }

    #[test]
    fn a_lower_threshold_splits_clusters_and_never_joins_them(
        neurons in 2usize..40, seed in 0u64..10_000, low in 0.0f64..1.0, more in 0.0f64..0.5,
    ) {
        let r = correlations(neurons, seed);
        for linkage in [Linkage::Average, Linkage::Complete, Linkage::Single] {
            let tree = dendrogram(&r, linkage, Distance::OneMinusAbs).unwrap();
            let (fine, coarse) = (tree.cut(low), tree.cut(low + more));
            for members in fine.members() {
                let first = coarse.labels[members[0]];
                prop_assert!(members.iter().all(|&n| coarse.labels[n] == first));
            }
            prop_assert_eq!(tree.cut(1.0).count, 1);
            prop_assert_eq!(tree.cut(-1.0).count, neurons);
            let smallest: Vec<usize> = coarse.members().iter().map(|m| m[0]).collect();
            prop_assert!(smallest.is_sorted(), "numbered by smallest member");
        }
    }

    #[test]
    fn representatives_are_one_member_of_each_cluster(
        neurons in 1usize..40, seed in 0u64..10_000, threshold in 0.0f64..1.0,
    ) {
        let r = correlations(neurons, seed);
        let cut = dendrogram(&r, Linkage::Average, Distance::OneMinusAbs).unwrap().cut(threshold);
        let every: Vec<u32> = (0..cut.count as u32).collect();
        for chosen in [medoids(&cut, &r).unwrap(), random_representatives(&cut, seed)] {
            let clusters: Vec<u32> = chosen.iter().map(|&n| cut.labels[n]).collect();
            prop_assert_eq!(&clusters, &every);
        }
        let bins = size_histogram(&cut);
        prop_assert_eq!(bins.iter().map(|b| b.clusters).sum::<usize>(), cut.count);
        prop_assert_eq!(bins.iter().map(|b| b.neurons).sum::<usize>(), neurons);
    }

    #[test]
    fn a_principal_submatrix_holds_the_same_correlations(seed in 0u64..10_000) {
        let r = correlations(12, seed);
        let columns = [1, 4, 5, 11];
        let part = among(&r, &columns).unwrap();
        for (i, &a) in columns.iter().enumerate() {
            for (j, &b) in columns.iter().enumerate() {
                prop_assert_eq!(part.get(i, j), r.get(a, b));
            }
        }
    }

    #[test]
    fn wilson_inverts_the_score_test(total in 1usize..3000, part in 0.0f64..1.0) {
        let correct = (part * total as f64) as usize;
        let [low, high] = wilson(correct, total);
        let share = correct as f64 / total as f64;
        prop_assert!(0.0 <= low && low <= share && share <= high && high <= 1.0);
        for end in [low, high] {
            if end > 0.0 && end < 1.0 {
                let z = (share - end).abs() / (end * (1.0 - end) / total as f64).sqrt();
                prop_assert!((z - Z95).abs() < 1e-6, "z = {z}");
            }
        }
        prop_assert!(above_chance(correct, total, low - 1e-9));
        prop_assert!(!above_chance(correct, total, low + 1e-9));
    }

    #[test]
    fn comparing_the_other_way_round_mirrors_the_answer(
        first in prop::collection::vec(any::<bool>(), 1..200), seed in 0u64..10_000,
    ) {
        let mut random = random(seed);
        let second: Vec<bool> = first.iter().map(|&h| h != random.random_bool(0.1)).collect();
        let (there, back) = (paired(&first, &second).unwrap(), paired(&second, &first).unwrap());
        prop_assert_eq!(there.p, back.p);
        prop_assert_eq!(there.difference, -back.difference);
        prop_assert!((there.interval[0] + back.interval[1]).abs() < 1e-12);
        prop_assert!(there.interval[0] <= there.difference && there.difference <= there.interval[1]);
        let right = |hits: &[bool]| hits.iter().filter(|h| **h).count() as f64 / hits.len() as f64;
        prop_assert!((there.difference - (right(&second) - right(&first))).abs() < 1e-12);
    }

    #[test]
    fn mcnemars_p_is_the_sum_of_the_binomial_tails(b in 0u32..30, c in 0u32..30) {
        let n = b + c;
        let choose = |k: u32| (0..k).fold(1.0, |product, i| product * f64::from(n - i) / f64::from(i + 1));
        let tail: f64 = (0..=b.min(c)).map(choose).sum::<f64>() * 0.5f64.powi(n as i32);
        let p = mcnemar(b as usize, c as usize);
        prop_assert!((p - (2.0 * tail).min(1.0)).abs() < 1e-9, "{p}");
    }

    #[test]
    fn a_control_task_gives_a_word_one_class_everywhere(seed in 0u64..10_000) {
        let mut random = random(seed);
        let mut part = |n: usize, types: u32| -> Vec<String> {
            (0..n).map(|_| format!("w{}", random.random_range(0..types))).collect()
        };
        let (train, dev, test) = (part(300, 30), part(40, 60), part(40, 60));
        let ids: Vec<u32> = (0..300).map(|i| if i % 10 == 0 { 2 } else { 0 }).collect();
        let names = vec!["a".to_owned(), "never".to_owned(), "c".to_owned()];
        let labels = Labels::new(ids, names).unwrap();
        let words = Words { train: &train, dev: &dev, test: &test };
        let task = control_task(&words, &labels, SampleFrom::Same, seed).unwrap();
        prop_assert_eq!(&task, &control_task(&words, &labels, SampleFrom::Same, seed).unwrap());
        let mut class: HashMap<&String, u32> = HashMap::new();
        for (words, labels) in [(&train, &task.train), (&dev, &task.dev), (&test, &task.test)] {
            for (word, &id) in words.iter().zip(labels.ids()) {
                prop_assert_eq!(*class.entry(word).or_insert(id), id);
                prop_assert_ne!(id, 1, "a class that train lacks is never drawn");
            }
        }
        prop_assert!(task.train.present().len() == 2);
        let known = test.iter().filter(|w| train.contains(w)).count() as f64 / 40.0;
        prop_assert_eq!(seen_in_train(&train, &test), known);
    }

    #[test]
    fn ladders_ascend_to_all_neurons(neurons in 1usize..20_000) {
        for sizes in [ladder(neurons), reference_ladder(neurons)] {
            prop_assert!(sizes.windows(2).all(|s| s[0] < s[1]) && sizes[0] > 0);
            prop_assert_eq!(sizes.last(), Some(&neurons));
        }
        prop_assert!(ladder(neurons).windows(2).all(|s| s[1] as f64 <= s[0] as f64 * 1.4 + 1.0));
    }

    #[test]
    fn the_selected_layer_is_the_lowest_that_suffices(
        curve in prop::collection::vec(0.0f64..1.0, 1..14), delta in 0.0f64..0.2,
    ) {
        let oracle = curve[curve.len() - 1];
        let layer = select_layer(&curve, oracle, delta);
        let wanted = (1.0 - delta) * oracle;
        prop_assert!(curve[..layer].iter().all(|&a| a <= wanted));
        prop_assert!(curve[layer] > wanted || layer == curve.len() - 1);
    }
}

#[test]
fn random_orders_are_permutations_that_only_the_seed_decides() {
    let order = random_order(500, 7);
    assert!(is_permutation(&order, 500));
    assert_eq!(order, random_order(500, 7));
    assert_ne!(order, random_order(500, 8));
    let fixed = order.iter().enumerate().filter(|(at, n)| at == *n).count();
    assert!(fixed < 10, "{fixed} of 500 stand in their own place");
}

#[test]
fn control_classes_follow_trains_label_distribution() {
    let words: Vec<String> = (0..20_000).map(|n| format!("w{n}")).collect();
    let ids: Vec<u32> = (0..20_000).map(|n| u32::from(n % 4 == 0)).collect();
    let labels = Labels::new(ids, vec!["a".to_owned(), "b".to_owned()]).unwrap();
    let parts = Words {
        train: &words,
        dev: &words[..1],
        test: &words[..1],
    };
    let task = control_task(&parts, &labels, SampleFrom::Same, 3).unwrap();
    let share = task.train.counts()[1] as f64 / 20_000.0;
    // Standard error 0.003.
    assert!((share - 0.25).abs() < 0.015, "{share}");
}

#[test]
fn what_cannot_be_ranked_clustered_or_compared_is_refused_with_the_place() {
    let mut broken = weights(2, 5, 1);
    broken[(1, 3)] = f32::NAN;
    let message = lca(broken.view()).unwrap_err().to_string();
    assert!(message.contains("class 1, neuron 3"), "{message}");
    assert!(salient(weights(2, 5, 1).view(), 1.5).is_err());
    assert!(probeless(Array2::zeros((3, 4)).view(), &[1]).is_err());
    let nan = Correlation {
        neurons: 3,
        packed: vec![0.1, f32::NAN, 0.2],
    };
    assert!(dendrogram(&nan, Linkage::Average, Distance::OneMinusAbs).is_err());
    assert!(among(&correlations(4, 1), &[2, 1]).is_err());
    assert!(among(&correlations(4, 1), &[2, 4]).is_err());
    assert!(among(&correlations(4, 1), &[]).is_err());
    assert!(paired(&[true], &[true, false]).is_err());
    assert!(paired(&[], &[]).is_err());
}

proptest! {
    #[test]
    fn the_smallest_number_of_neurons_suffices_and_no_smaller_one_does(
        correct in proptest::collection::vec(0u32..200, 1..60), loss in 0.0..1.0f64,
    ) {
        let curve: Vec<f64> = correct.iter().map(|n| f64::from(*n)).collect();
        let needed = (1.0 - loss) * curve[curve.len() - 1];
        let k = smallest_within(&curve, loss).expect("the last point suffices");
        prop_assert!(curve[k] >= needed);
        prop_assert!(curve[..k].iter().all(|correct| *correct < needed));
    }

    #[test]
    fn draws_lie_between_least_and_most_of_them(
        curves in (1usize..20).prop_flat_map(|points| {
            proptest::collection::vec(proptest::collection::vec(0u32..100, points), 1..8)
        }),
    ) {
        let of: Vec<&[u32]> = curves.iter().map(Vec::as_slice).collect();
        let found = draws(&of).expect("all over the same points");
        for k in 0..curves[0].len() {
            let mut at: Vec<u32> = curves.iter().map(|curve| curve[k]).collect();
            at.sort_unstable();
            prop_assert_eq!((found.least[k], found.most[k]), (at[0], at[at.len() - 1]));
            let sum: u32 = at.iter().sum();
            prop_assert!((found.mean[k] * at.len() as f64 - f64::from(sum)).abs() < 1e-9);
        }
    }
}

#[test]
fn curves_without_points_or_of_different_lengths_are_no_draws() {
    assert_eq!(smallest_within(&[], 0.1), None);
    assert!(draws(&[]).is_err());
    let message = draws(&[&[1, 2], &[1]]).unwrap_err().to_string();
    assert!(message.contains("[2, 1]"), "{message}");
}

#[test]
fn chance_is_a_number_for_hundreds_out_of_thousands() {
    // The binomials of these sizes are beyond the largest f64.
    let all: Vec<usize> = (0..3000).collect();
    let clusters = Clusters {
        labels: (0..3000).collect(),
        count: 3000,
        distance: Distance::OneMinusAbs,
    };
    let selections = random_sets(&all, 700, 12, 4).unwrap();
    let found = stability(&selections[0], &selections[1..], &all, &clusters).unwrap();
    for figure in [found.mean_frequency, found.overlap, found.jaccard] {
        assert!(figure.chance.is_finite() && figure.chance > 0.1);
        assert!((figure.observed - figure.chance).abs() < 0.01, "{figure:?}");
    }
}
