//! Laws of moments, correlation, sweep and ablation, on every back end.

use ndarray::{Array2, ArrayView2, Axis};
use neurosieve::ops::Backend;
use neurosieve::ops::ablation::{self, Masks, ablation};
use neurosieve::ops::correlation::{self, Correlation, correlation};
use neurosieve::ops::moments::{self, Moments, Spread, moments};
use neurosieve::ops::sweep::{Curve, Params, sweep};
use proptest::prelude::*;
use rand::RngExt;
use rand::seq::SliceRandom;

use crate::support::{self, labels, normal, random};

fn backends(test: &str) -> Vec<Backend> {
    let mut backends = vec![Backend::Cpu];
    backends.extend(support::gpu(test).map(Backend::Gpu));
    backends
}

/// Correlated neurons of different means and scales, none of them constant.
fn mixed(samples: usize, neurons: usize, seed: u64) -> Array2<f32> {
    let mut random = random(seed);
    let scales: Vec<f64> = (0..neurons)
        .map(|_| 10f64.powi(random.random_range(-3..4)))
        .collect();
    let mut x = Array2::zeros((samples, neurons));
    for mut row in x.rows_mut() {
        let common = normal(&mut random) + 2.0;
        for (value, scale) in row.iter_mut().zip(&scales) {
            *value = (scale * (common + normal(&mut random))) as f32;
        }
    }
    x
}

fn correlated(backend: &Backend, x: ArrayView2<'_, f32>) -> Correlation {
    let moments = moments(backend, x, None).unwrap();
    correlation(backend, x, &moments).unwrap()
}

/// The largest |Δr| between two sets of neurons, the second of them placed by `place`.
fn largest_difference(a: &Correlation, b: &Correlation, place: &[usize]) -> f64 {
    let mut worst: f64 = 0.0;
    for i in 0..a.neurons {
        for j in 0..a.neurons {
            let difference = a.get(i, j) - b.get(place[i], place[j]);
            worst = worst.max(f64::from(difference.abs()));
        }
    }
    worst
}

fn shuffled(count: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    order.shuffle(&mut random(seed));
    order
}

fn assert_same_moments(a: &Moments, b: &Moments, tolerance: f64) {
    for j in 0..a.mean.len() {
        let allowed = tolerance * a.sd[j];
        assert!(
            (a.mean[j] - b.mean[j]).abs() <= allowed,
            "mean of neuron {j}"
        );
        assert!((a.sd[j] - b.sd[j]).abs() <= allowed, "sd of neuron {j}");
    }
    assert_eq!(a.spread, b.spread);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn moments_do_not_depend_on_the_order_of_samples(samples in 2usize..400, seed: u64) {
        let x = mixed(samples, 9, seed);
        let other = x.select(Axis(0), &shuffled(samples, seed ^ 1));
        for backend in backends("moments_do_not_depend_on_the_order_of_samples") {
            let (a, b) = (moments(&backend, x.view(), None).unwrap(), moments(&backend, other.view(), None).unwrap());
            assert_same_moments(&a, &b, 2.0 * moments::TOLERANCE);
        }
    }

    #[test]
    fn class_means_weighted_by_class_sizes_make_the_mean(samples in 2usize..400, classes in 1u32..9, seed: u64) {
        let x = mixed(samples, 7, seed);
        let y = labels(samples, classes, seed);
        for backend in backends("class_means_weighted_by_class_sizes_make_the_mean") {
            let got = moments(&backend, x.view(), Some(&y)).unwrap();
            let means = got.group_mean.expect("groups were given");
            for j in 0..7 {
                let mean: f64 = means
                    .column(j)
                    .iter()
                    .zip(y.counts())
                    .map(|(mean, count)| mean * count as f64 / samples as f64)
                    .sum();
                prop_assert!((mean - got.mean[j]).abs() <= 4.0 * moments::TOLERANCE * got.sd[j]);
            }
        }
    }

    #[test]
    fn correlation_ignores_shifts_and_positive_scales_and_turns_with_the_sign(
        samples in 3usize..500, factor in prop::sample::select(vec![0.125f32, 2.0, 1024.0, -1.0]), seed: u64,
    ) {
        let x = mixed(samples, 12, seed);
        // Powers of two and a sign: exact in f32, so that nothing but the correlation itself is tested.
        let scaled = &x * factor;
        let mut one = x.clone();
        one.column_mut(0).mapv_inplace(|value| value * factor);
        for backend in backends("correlation_ignores_shifts_and_positive_scales_and_turns_with_the_sign") {
            let r = correlated(&backend, x.view());
            let of_scaled = correlated(&backend, scaled.view());
            let identity: Vec<usize> = (0..12).collect();
            prop_assert!(largest_difference(&r, &of_scaled, &identity) <= correlation::TOLERANCE);
            let of_one = correlated(&backend, one.view());
            for j in 1..12 {
                prop_assert!((of_one.get(0, j) - factor.signum() * r.get(0, j)).abs() <= 1e-5);
            }
        }
    }

    #[test]
    fn correlation_follows_a_permutation_of_neurons_and_ignores_one_of_samples(
        samples in 3usize..500, neurons in 2usize..80, seed: u64,
    ) {
        let x = mixed(samples, neurons, seed);
        let order = shuffled(neurons, seed ^ 2);
        let permuted = x.select(Axis(1), &order).select(Axis(0), &shuffled(samples, seed ^ 3));
        let mut place = vec![0; neurons];
        for (to, &from) in order.iter().enumerate() {
            place[from] = to;
        }
        for backend in backends("correlation_follows_a_permutation_of_neurons_and_ignores_one_of_samples") {
            let (a, b) = (correlated(&backend, x.view()), correlated(&backend, permuted.view()));
            prop_assert!(largest_difference(&a, &b, &place) <= 2.0 * correlation::TOLERANCE);
            prop_assert!(a.packed.iter().all(|r| (-1.0..=1.0).contains(r)));
        }
    }

    #[test]
    fn a_copy_of_a_neuron_correlates_by_1_and_its_negative_by_minus_1(samples in 3usize..500, seed: u64) {
        let mut x = mixed(samples, 70, seed);
        let copied = x.column(3).to_owned();
        x.column_mut(66).assign(&copied);
        x.column_mut(40).assign(&copied.mapv(|value| -value));
        x.column_mut(5).fill(7.5);
        for backend in backends("a_copy_of_a_neuron_correlates_by_1_and_its_negative_by_minus_1") {
            let r = correlated(&backend, x.view());
            prop_assert!((r.get(3, 66) - 1.0).abs() <= 1e-6);
            prop_assert!((r.get(40, 66) + 1.0).abs() <= 1e-6);
            prop_assert!((0..70).filter(|&j| j != 5).all(|j| r.get(5, j) == 0.0));
        }
    }

    #[test]
    fn a_sweep_of_two_orderings_meets_where_both_keep_the_same_neurons(
        samples in 1usize..200, classes in 2u32..20, seed: u64,
    ) {
        let neurons = 37;
        let mut source = random(seed);
        let mut integers = |shape: (usize, usize)| Array2::from_shape_simple_fn(shape, || f32::from(source.random_range(-3i8..=3)));
        let (x, weights) = (integers((samples, neurons)), integers((classes as usize, neurons)));
        let (bias, ablated) = (integers((1, classes as usize)), integers((1, neurons)));
        let y = labels(samples, classes, seed);
        let first = shuffled(neurons, seed ^ 4);
        let mut second = first.clone();
        second[..20].reverse();
        second[20..].reverse();
        let orderings = [first, second];
        let params = Params {
            weights: weights.view(),
            bias: bias.row(0),
            ablated: ablated.as_slice().expect("one row"),
            orderings: &orderings,
            by_class: false,
        };
        let mut seen: Option<Vec<Curve>> = None;
        for backend in backends("a_sweep_of_two_orderings_meets_where_both_keep_the_same_neurons") {
            let curves = sweep(&backend, x.view(), &y, &params).unwrap();
            for k in [0, 20, 37] {
                prop_assert_eq!(curves[0].correct[k], curves[1].correct[k]);
            }
            prop_assert!(curves.iter().all(|curve| curve.correct.iter().all(|&n| n <= curve.total)));
            // All terms are exact in f32, so both back ends count the same.
            if let Some(seen) = &seen {
                prop_assert_eq!(seen, &curves);
            }
            seen = Some(curves);
        }
    }

    #[test]
    fn removing_the_best_is_the_sweep_from_the_bottom_read_backwards(
        samples in 1usize..100, neurons in 1usize..70, classes in 1u32..20, seed: u64,
    ) {
        let mut source = random(seed);
        let mut integers = |shape: (usize, usize)| Array2::from_shape_simple_fn(shape, || f32::from(source.random_range(-3i8..=3)));
        let (x, weights) = (integers((samples, neurons)), integers((classes as usize, neurons)));
        let (bias, ablated) = (integers((1, classes as usize)), integers((1, neurons)));
        let ablated = ablated.as_slice().expect("one row");
        let y = labels(samples, classes, seed);
        let order = shuffled(neurons, seed ^ 5);
        let bottom: Vec<usize> = order.iter().rev().copied().collect();
        let mut removed = Masks::new(neurons);
        for k in 0..=neurons {
            removed.push(&order[k..]).unwrap();
        }
        let orderings = [order, bottom];
        for backend in backends("removing_the_best_is_the_sweep_from_the_bottom_read_backwards") {
            let (weights, bias) = (weights.view(), bias.row(0));
            let sweeps = Params { weights, bias, ablated, orderings: &orderings, by_class: true };
            let curves = sweep(&backend, x.view(), &y, &sweeps).unwrap();
            let params = ablation::Params { weights, bias, ablated, masks: &removed };
            let counts = ablation(&backend, x.view(), &y, &params).unwrap();
            let backwards: Vec<u32> = curves[1].correct.iter().rev().copied().collect();
            prop_assert_eq!(&counts.correct, &backwards);
            // With everything kept both orderings, and the mask, are the probe.
            prop_assert_eq!(curves[0].correct[neurons], counts.correct[0]);
            let by_class = curves[0].by_class.as_ref().expect("asked for");
            prop_assert_eq!(by_class.column(neurons), counts.by_class.row(0));
        }
    }
}

#[test]
fn scaling_all_neurons_changes_no_classification_of_their_spread() {
    let x = support::activations(300, 16, 8);
    let expected = moments(&Backend::Cpu, x.view(), None).unwrap().spread;
    assert!(expected.contains(&Spread::Constant) && expected.contains(&Spread::NearlyConstant));
    for factor in [2f32.powi(-40), 2f32.powi(40)] {
        let scaled = &x * factor;
        for backend in backends("scaling_all_neurons_changes_no_classification_of_their_spread") {
            let got = moments(&backend, scaled.view(), None).unwrap();
            assert_eq!(got.spread, expected, "{backend:?}, times {factor:e}");
        }
    }
}
