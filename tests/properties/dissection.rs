//! Laws of sets of samples, of firing and concepts, and of what neurons are of.

use ndarray::{Array1, Array2};
use neurosieve::Backend;
use neurosieve::analysis::concepts::{TopWord, Vocabulary, firing_words};
use neurosieve::analysis::dissection::{Dissection, Side, Threshold, dissect};
use neurosieve::analysis::focus::{class_by_difference, class_by_weight, focus};
use neurosieve::analysis::histogram::histogram;
use neurosieve::analysis::overlap::Hypergeometric;
use neurosieve::analysis::sample_sets::SampleSets;
use neurosieve::labels::Labels;
use neurosieve::ops::moments::moments;
use proptest::prelude::*;
use rand::RngExt;
use rand::seq::SliceRandom;

use crate::support::{assert_close, labels, normal, random};

const ABOVE: [Threshold; 1] = [Threshold {
    quantile: 0.2,
    side: Side::Above,
}];

fn dissected(x: &Array2<f32>, sets: &SampleSets, thresholds: &[Threshold]) -> Dissection {
    let moments = moments(&Backend::Cpu, x.view(), None).unwrap();
    dissect(x.view(), &moments, sets, thresholds).unwrap()
}

fn noise(samples: usize, neurons: usize, seed: u64) -> Array2<f32> {
    let mut random = random(seed);
    Array2::from_shape_simple_fn((samples, neurons), || normal(&mut random) as f32)
}

proptest! {
    #[test]
    fn counts_of_words_of_bits_are_those_of_samples(
        samples in 2usize..700, neurons in 1usize..40, count in 1usize..140, quantile in 0.01f64..0.9, seed in 0u64..10_000,
    ) {
        let x = noise(samples, neurons, seed);
        let mut generator = random(seed + 1);
        let member = Array2::from_shape_simple_fn((count, samples), || generator.random_bool(0.3));
        let mut sets = SampleSets::new(samples).unwrap();
        member.rows().into_iter().for_each(|row| sets.push(|sample| row[sample]));
        for side in [Side::Above, Side::Below] {
            let found = dissected(&x, &sets, &[Threshold { quantile, side }]);
            for neuron in [0, neurons / 2, neurons - 1] {
                for concept in [0, count / 2, count - 1] {
                    let pair = found.pair(neuron, concept);
                    let fires = |sample: usize| match side {
                        Side::Above => x[(sample, neuron)] > pair.cut,
                        Side::Below => x[(sample, neuron)] < pair.cut,
                    };
                    let of = |holds: &dyn Fn(usize) -> bool| (0..samples).filter(|s| holds(*s)).count();
                    let both = of(&|s| fires(s) && member[(concept, s)]);
                    let either = of(&|s| fires(s) || member[(concept, s)]);
                    prop_assert_eq!((pair.fires as usize, pair.shared as usize), (of(&fires), both));
                    prop_assert_eq!(pair.iou, both as f64 / either as f64);
                    // Without equal values as many fire as were asked for.
                    let wanted = ((quantile * samples as f64) as usize).max(1).min(samples - 1);
                    prop_assert_eq!(pair.fires as usize, wanted);
                    if pair.shared > 0 {
                        let inverse = 1.0 / pair.precision + 1.0 / pair.recall - 1.0;
                        assert_close("1/IoU", 1.0 / pair.iou, inverse, 1e-9 * inverse);
                    }
                }
            }
        }
    }

    #[test]
    fn the_same_set_has_1_and_sets_apart_have_0(samples in 10usize..400, seed in 0u64..10_000) {
        let x = noise(samples, 1, seed);
        let plain = SampleSets::new(samples).unwrap();
        let cut = dissected(&x, &{ let mut s = plain.clone(); s.push(|_| true); s }, &ABOVE).pair(0, 0).cut;
        let mut sets = plain;
        sets.push(|sample| x[(sample, 0)] > cut);
        sets.push(|sample| x[(sample, 0)] <= cut);
        let found = dissected(&x, &sets, &ABOVE);
        let (same, apart) = (found.pair(0, 0), found.pair(0, 1));
        prop_assert_eq!((same.iou, same.precision, same.recall), (1.0, 1.0, 1.0));
        prop_assert_eq!((apart.iou, apart.shared, apart.p), (0.0, 0, 1.0));
        // A neuron turned over fires below where it fired above.
        let turned = x.mapv(|value| -value);
        let below = [Threshold { quantile: 0.2, side: Side::Below }];
        prop_assert_eq!(dissected(&turned, &sets, &below).pair(0, 0).iou, 1.0);
        prop_assert!(found.of_neuron(0, 5).iter().all(|pair| pair.concept == 0));
        prop_assert_eq!(found.of_concept(0, 5)[0].neuron, 0);
    }

    #[test]
    fn more_thresholds_find_no_smaller_overlap(samples in 20usize..300, seed in 0u64..10_000) {
        let x = noise(samples, 4, seed);
        let mut generator = random(seed + 1);
        let member: Vec<bool> = (0..samples).map(|_| generator.random_bool(0.2)).collect();
        let mut sets = SampleSets::new(samples).unwrap();
        sets.push(|sample| member[sample]);
        let more = [ABOVE[0], Threshold { quantile: 0.05, side: Side::Above }];
        let (one, two) = (dissected(&x, &sets, &ABOVE), dissected(&x, &sets, &more));
        for neuron in 0..4 {
            let (one, two) = (one.pair(neuron, 0), two.pair(neuron, 0));
            prop_assert!(two.iou >= one.iou);
            if two.threshold == 0 {
                prop_assert_eq!(two.p, (2.0 * one.p).min(1.0), "two were tried");
            }
        }
    }

    #[test]
    fn tails_are_sums_of_all_terms(population in 1usize..60, a in 0.0f64..=1.0, b in 0.0f64..=1.0) {
        let size = |share: f64| (share * population as f64).round() as usize;
        let (first, second) = (size(a), size(b));
        let table = Hypergeometric::new(population);
        // Pascal's triangle: another way to the same numbers.
        let mut choose = vec![vec![1.0f64]];
        for n in 1..=population {
            let last = &choose[n - 1];
            let of = |k: usize| last.get(k).unwrap_or(&0.0) + if k > 0 { last[k - 1] } else { 0.0 };
            choose.push((0..=n).map(of).collect());
        }
        let c = |n: usize, k: usize| choose[n].get(k).copied().unwrap_or(0.0);
        for shared in 0..=population + 1 {
            let terms = (shared..=first.min(second)).map(|x| c(first, x) * c(population - first, second - x));
            let tail = terms.sum::<f64>() / c(population, second);
            assert_close("tail", table.at_least(shared, first, second), tail, 1e-12);
        }
    }

    #[test]
    fn a_neuron_turned_over_fires_low_on_what_it_fired_high_on(samples in 10usize..200, seed in 0u64..10_000) {
        let x = noise(samples, 3, seed);
        let words: Vec<String> = (0..samples).map(|sample| format!("word {}", sample % 6)).collect();
        let vocabulary = Vocabulary::new(&words);
        let of = |x: &Array2<f32>| {
            let moments = moments(&Backend::Cpu, x.view(), None).unwrap();
            firing_words(x.view(), &moments, &vocabulary, &[2, 0], 4, 1).unwrap()
        };
        let names = |words: &[TopWord]| -> Vec<String> { words.iter().map(|w| w.word.clone()).collect() };
        for (one, turned) in of(&x).iter().zip(of(&x.mapv(|v| -v))) {
            prop_assert_eq!(names(&one.high), names(&turned.low));
            prop_assert_eq!(names(&one.low), names(&turned.high));
            prop_assert_eq!(names(&one.absolute), names(&turned.absolute));
            prop_assert!(one.high.iter().all(|w| w.z >= 0.0 && (0.0..=1.0).contains(&w.score)));
            prop_assert!(one.high.is_sorted_by(|a, b| a.z >= b.z));
            prop_assert!(one.low.iter().all(|w| w.z <= 0.0));
        }
        prop_assert!(firing_words(x.view(), &moments(&Backend::Cpu, x.view(), None).unwrap(), &vocabulary, &[3], 4, 1).is_err());
    }

    #[test]
    fn a_histogram_counts_every_sample_once_in_its_bin(samples in 1usize..200, bins in 1usize..30, seed in 0u64..10_000) {
        let values: Array1<f32> = noise(samples, 1, seed).column(0).mapv(|v| (4.0 * v).round());
        let labels = labels(samples, 3, seed);
        let found = histogram(values.view(), &labels, bins).unwrap();
        let by_class: Vec<usize> = found.counts.rows().into_iter().map(|row| row.sum() as usize).collect();
        prop_assert_eq!(by_class, labels.counts());
        let width = f64::from(found.high - found.low) / bins as f64;
        for bin in 0..bins {
            let (from, to) = (f64::from(found.low) + width * bin as f64, f64::from(found.low) + width * (bin + 1) as f64);
            // Half a step of the values away from any doubt about the ends.
            let inside = |v: &&f32| f64::from(**v) > from + 1e-6 && f64::from(**v) < to - 1e-6;
            let certain = values.iter().filter(inside).count();
            prop_assert!(found.counts.column(bin).sum() as usize >= certain);
        }
    }

    #[test]
    fn equal_weights_are_spread_over_as_many_neurons_as_have_them(neurons in 1usize..50, some in 1usize..50, weight in 0.1f32..9.0) {
        let some = some.min(neurons);
        let weights = Array2::from_shape_fn((1, neurons), |(_, n)| if n < some { weight } else { 0.0 });
        let found = focus(weights.view(), 1.0).unwrap();
        prop_assert_eq!(found[0].neurons.len(), some);
        assert_close("effective", found[0].effective, some as f64, 1e-9 * some as f64);
        let classes = class_by_weight(weights.view()).unwrap();
        prop_assert_eq!(classes.iter().flatten().count(), some);
    }
}

/// The negative control: where neurons know nothing, next to nothing is found; where one fires on the concept, it is.
#[test]
fn noise_has_no_findings_and_a_neuron_of_a_concept_is_one() {
    let (samples, neurons) = (2_000, 100);
    let mut x = noise(samples, neurons, 3);
    let mut member: Vec<bool> = (0..samples).map(|sample| sample < 120).collect();
    member.shuffle(&mut random(4));
    let mut sets = SampleSets::new(samples).unwrap();
    sets.push(|sample| member[sample]);
    sets.push(|sample| sample % 7 == 0);
    let found = dissected(&x, &sets, &ABOVE);
    assert_eq!(found.tests(), 2 * neurons);
    assert_eq!(found.findings(0.05), 0);
    for (sample, member) in member.iter().enumerate() {
        x[(sample, 42)] += if *member { 2.0 } else { 0.0 };
    }
    let found = dissected(&x, &sets, &ABOVE);
    assert_eq!(found.findings(0.05), 1);
    let best = found.of_concept(0, 3)[0];
    assert_eq!(best.neuron, 42);
    assert!(best.q < 1e-20, "{best:?}");
}

#[test]
fn a_neuron_is_of_the_class_that_it_tells_from_the_rest() {
    let ids = labels(300, 4, 8).ids().to_vec();
    let names = (0..4).map(|class| class.to_string()).collect();
    let labels = Labels::new(ids, names).unwrap();
    let mut x = noise(300, 3, 9);
    for (sample, class) in labels.ids().iter().enumerate() {
        x[(sample, 0)] += if *class == 2 { 5.0 } else { 0.0 };
        x[(sample, 1)] -= if *class == 0 { 5.0 } else { 0.0 };
        x[(sample, 2)] = 1.0;
    }
    let moments = moments(&Backend::Cpu, x.view(), Some(&labels)).unwrap();
    let found = class_by_difference(&moments, &labels).unwrap();
    assert_eq!(found, [Some(2), Some(0), None]);
    let weights = ndarray::array![[0.1f32, 0.0, 3.0], [1.0, 0.0, 9.0]];
    // 0.1 of 3.1 is less than 1 of 10; 3 of 3.1 more than 9 of 10.
    assert_eq!(
        class_by_weight(weights.view()).unwrap(),
        [Some(1), None, Some(0)]
    );
}

#[test]
fn what_does_not_fit_is_refused() {
    let x = noise(20, 3, 1);
    let moments = moments(&Backend::Cpu, x.view(), None).unwrap();
    let mut sets = SampleSets::new(20).unwrap();
    sets.push(|sample| sample < 5);
    let refused = |x: &Array2<f32>, sets: &SampleSets, thresholds: &[Threshold], part: &str| {
        let error = dissect(x.view(), &moments, sets, thresholds)
            .unwrap_err()
            .to_string();
        assert!(error.contains(part), "{error}");
    };
    refused(&x, &sets, &[], "0 thresholds");
    let at = |quantile: f64| Threshold {
        quantile,
        side: Side::Above,
    };
    for quantile in [0.0, 1.0, f64::NAN, -0.5] {
        refused(&x, &sets, &[at(quantile)], "a quantile of");
    }
    refused(
        &x,
        &SampleSets::new(21).unwrap(),
        &ABOVE,
        "concepts of 21 samples",
    );
    let mut broken = x.clone();
    broken[(3, 1)] = f32::NAN;
    refused(&broken, &sets, &ABOVE, "row 3, neuron 1 is NaN");
    assert!(SampleSets::new(0).is_err());
}
