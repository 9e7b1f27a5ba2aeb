//! Laws of differences and distances of two studies.

use neurosieve::analysis::comparison::{depths, jensen_shannon, newcombe};
use proptest::prelude::*;
use rand::RngExt;

use crate::support::{assert_close, random};

proptest! {
    #[test]
    fn a_difference_lies_in_its_interval_and_turns_its_sign(
        of_first in 1usize..400, of_second in 1usize..400, a in 0.0f64..=1.0, b in 0.0f64..=1.0,
    ) {
        let first = ((a * of_first as f64) as usize, of_first);
        let second = ((b * of_second as f64) as usize, of_second);
        let (there, back) = (newcombe(first, second).unwrap(), newcombe(second, first).unwrap());
        let [low, high] = there.interval;
        prop_assert!(-1.0 - 1e-12 <= low && low <= there.difference && there.difference <= high && high <= 1.0 + 1e-12);
        assert_close("difference", there.difference, -back.difference, 1e-15);
        assert_close("ends", low, -back.interval[1], 1e-12);
    }

    #[test]
    fn a_set_is_no_distance_from_itself_and_p_is_1(layers in 1usize..12, seed in 0u64..10_000) {
        let mut random = random(seed);
        let mut counts: Vec<usize> = (0..layers).map(|_| random.random_range(0..6)).collect();
        counts[0] += 1;
        let found = depths(&counts, &counts, 50, seed).unwrap();
        prop_assert_eq!((found.distance, found.p), (0.0, 1.0));
        prop_assert_eq!(jensen_shannon(&counts, &counts).unwrap(), Some(0.0));
    }

    #[test]
    fn distances_are_the_same_in_both_directions(a in 1usize..9, b in 1usize..9, seed in 0u64..10_000) {
        let mut random = random(seed);
        let mut counts = |layers: usize| -> Vec<usize> { (0..layers).map(|_| random.random_range(1..6)).collect() };
        let (first, second) = (counts(a), counts(b));
        let (there, back) = (depths(&first, &second, 1, 0).unwrap(), depths(&second, &first, 1, 0).unwrap());
        assert_close("distance", there.distance, back.distance, 1e-12);
        prop_assert!(there.distance <= 1.0 && there.distance >= (there.mean[0] - there.mean[1]).abs() - 1e-12);
        let other = counts(a);
        let (p, q) = (jensen_shannon(&first, &other).unwrap().unwrap(), jensen_shannon(&other, &first).unwrap().unwrap());
        assert_close("divergence", p, q, 1e-12);
        prop_assert!((0.0..=1.0).contains(&p));
    }
}

/// Ends of the scale, and the negative control: sets drawn from one distribution are seldom found apart.
#[test]
fn sets_at_both_ends_are_found_apart_and_those_of_one_distribution_are_not() {
    let found = depths(&[30, 0, 0], &[0, 0, 30], 999, 1).unwrap();
    assert_eq!(
        (found.distance, found.mean, found.p),
        (1.0, [0.0, 1.0], 0.001)
    );
    assert_eq!(jensen_shannon(&[3, 0], &[0, 8]).unwrap(), Some(1.0));
    let mut random = random(7);
    let mut draw = || {
        let mut counts = vec![0; 7];
        (0..40).for_each(|_| counts[random.random_range(0..7)] += 1);
        counts
    };
    let sets: Vec<_> = (0..200)
        .map(|seed| depths(&draw(), &draw(), 199, seed).unwrap().p)
        .collect();
    let small = sets.iter().filter(|p| **p <= 0.05).count();
    assert!((1..=24).contains(&small), "{small} of 200 at 0.05");
}

#[test]
fn what_there_is_nothing_of_is_not_compared() {
    assert!(depths(&[0, 0], &[1, 2], 10, 0).is_none());
    assert!(depths(&[], &[1], 10, 0).is_none());
    assert_eq!(jensen_shannon(&[0, 0], &[1, 2]).unwrap(), None);
    assert!(jensen_shannon(&[1], &[1, 2]).is_err());
    assert!(newcombe((0, 0), (1, 2)).is_err());
    assert!(newcombe((3, 2), (1, 2)).is_err());
}
