//! Laws of what tells knowledge from memory: description lengths, control tasks, intervals of selectivity, shuffled labels.

use std::collections::BTreeMap;

use ndarray::Array2;
use neurosieve::Backend;
use neurosieve::analysis::bootstrap::Units;
use neurosieve::analysis::description_length::{DescriptionLength, OnlineCode, Portions, SHARES};
use neurosieve::analysis::frozen::Frozen;
use neurosieve::analysis::relabelled::shuffled;
use neurosieve::analysis::search::{Penalties, Prober};
use neurosieve::analysis::selection::Rule;
use neurosieve::analysis::selectivity::{
    ControlTask, NeuronSet, SampleFrom, Selectivity, Words, control_probes, control_probes_of_sets,
    control_task,
};
use neurosieve::analysis::uncertainty::permutation_p;
use neurosieve::labels::Labels;
use neurosieve::ops::moments::{Moments, moments};
use neurosieve::ops::probe::{Norm, Params};
use proptest::prelude::*;
use rand::RngExt;

use crate::support::{assert_close, normal, random};

const CLASSES: u32 = 4;

fn named(ids: Vec<u32>, classes: u32) -> Labels {
    Labels::new(ids, (0..classes).map(|c| c.to_string()).collect()).expect("every class has a name")
}

fn uniform_labels(samples: usize, classes: u32, seed: u64) -> Labels {
    let mut random = random(seed);
    named(
        (0..samples)
            .map(|_| random.random_range(0..classes))
            .collect(),
        classes,
    )
}

/// Noise in which one neuron a class is `shift` larger for its samples.
fn activations(labels: &Labels, neurons: usize, shift: f64, seed: u64) -> Array2<f32> {
    let mut random = random(seed);
    Array2::from_shape_fn((labels.len(), neurons), |(row, neuron)| {
        let own = labels.ids()[row] as usize == neuron;
        (normal(&mut random) + if own { shift } else { 0.0 }) as f32
    })
}

fn path() -> Penalties {
    Penalties::Path {
        ratios: vec![0.5, 0.1, 0.02],
        l2_per_l1: 1.0,
    }
}

fn lengths(x: &Array2<f32>, tasks: &[&Labels], portions: &Portions) -> Vec<DescriptionLength> {
    let taken = moments(&Backend::Cpu, x.view(), None).expect("finite");
    let columns: Vec<usize> = (0..x.ncols()).collect();
    let code = OnlineCode {
        backend: &Backend::Cpu,
        moments: &taken,
        train: x.view(),
        columns: &columns,
        penalties: &path(),
        norm: Norm::Squared,
        params: &Params::default(),
        portions,
    };
    code.lengths(tasks, &mut |_| {}).expect("it can be coded")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn portions_hold_every_sample_once_and_whole_sentences(
        lengths in prop::collection::vec(1usize..9, 2..60), seed in 0u64..1000, known in any::<bool>(),
    ) {
        let sentences: Vec<u32> = (0u32..).zip(&lengths).flat_map(|(s, &n)| vec![s; n]).collect();
        let n = sentences.len();
        let units = if known { Units::sentences(&sentences).unwrap() } else { Units::samples(n) };
        let portions = Portions::shuffled(&units, seed).unwrap();
        prop_assert_eq!(&portions, &Portions::shuffled(&units, seed).unwrap());
        let mut rows: Vec<usize> = portions.rows().concat();
        let longest = if known { *lengths.iter().max().unwrap() } else { 1 };
        let mut sent = 0;
        let mut ends = SHARES.iter().map(|share| share * n as f64).peekable();
        for portion in portions.rows() {
            sent += portion.len();
            while ends.next_if(|end| *end <= sent as f64 + 1e-6).is_some() {}
            // Without the last unit the share that this portion ends at was not reached yet.
            let reached = SHARES.iter().any(|share| {
                let end = share * n as f64;
                end <= sent as f64 + 1e-6 && end > sent as f64 - longest as f64 - 1e-6
            });
            prop_assert!(reached);
        }
        prop_assert!(ends.next().is_none());
        rows.sort_unstable();
        prop_assert_eq!(rows, (0..n).collect::<Vec<_>>());
        if known {
            let mut portion_of = BTreeMap::new();
            for (at, portion) in portions.rows().iter().enumerate() {
                for &row in portion {
                    prop_assert_eq!(*portion_of.entry(sentences[row]).or_insert(at), at);
                }
            }
        }
    }

    #[test]
    fn shuffled_labels_are_the_same_labels_in_another_order(n in 30usize..200, seed in 0u64..1000) {
        let labels = uniform_labels(n, CLASSES, seed);
        let other = shuffled(&labels, seed);
        prop_assert_eq!(other.counts(), labels.counts());
        prop_assert_ne!(&other, &labels);
        prop_assert_eq!(&other, &shuffled(&labels, seed));
        prop_assert_ne!(&other, &shuffled(&labels, seed + 1));
    }

    #[test]
    fn p_counts_the_shuffles_that_are_as_good(observed in 0usize..50, null in prop::collection::vec(0usize..50, 1..60)) {
        let p = permutation_p(observed, &null);
        let worse = null.iter().filter(|right| **right < observed).count();
        prop_assert!((p * (null.len() + 1) as f64 - (null.len() + 1 - worse) as f64).abs() < 1e-9);
        prop_assert!(p > 0.0 && p <= 1.0);
    }
}

#[test]
fn random_labels_do_not_compress_and_separable_ones_do() {
    for seed in 0..3 {
        let labels = uniform_labels(600, CLASSES, seed);
        let x = activations(&labels, 12, 8.0, seed + 10);
        let noise = uniform_labels(600, CLASSES, seed + 20);
        let portions = Portions::shuffled(&Units::samples(600), seed).expect("enough samples");
        let found = lengths(&x, &[&labels, &noise], &portions);
        let (easy, hard) = (&found[0], &found[1]);
        assert!(easy.compression > 6.0, "{}", easy.compression);
        assert!(hard.compression < 1.02, "{}", hard.compression);
        assert!(hard.compression > 0.6, "{}", hard.compression);
        for length in &found {
            assert_eq!((length.samples, length.classes), (600, 4));
            assert_close("uniform code", length.uniform_bits, 1200.0, 0.0);
            let first = length.portions[0];
            assert_close("first portion", first.bits, 2.0 * first.samples as f64, 0.0);
            let samples: usize = length.portions.iter().map(|portion| portion.samples).sum();
            assert_eq!(samples, 600);
            assert!(length.portions.iter().all(|portion| portion.bits > 0.0));
        }
        // One task more does not change a bit of the first.
        assert_eq!(lengths(&x, &[&labels], &portions)[0], *easy);
    }
}

#[test]
fn uneven_classes_compress_by_their_frequencies_alone() {
    let mut random = random(5);
    let ids = (0..2000)
        .map(|_| u32::from(random.random_bool(0.1)))
        .collect();
    let labels = named(ids, 2);
    let x = activations(&named(vec![3; 2000], 4), 6, 0.0, 6);
    let portions = Portions::shuffled(&Units::samples(2000), 0).expect("enough samples");
    let found = &lengths(&x, &[&labels], &portions)[0];
    // The entropy of 1 in 10 is 0.469 bits.
    assert!(found.compression > 1.6, "{}", found.compression);
    assert!(
        found.bits > found.frequency_bits,
        "noise adds nothing to the frequencies"
    );
    assert!(found.frequency_bits < 0.5 * 2000.0 && found.frequency_bits > 0.4 * 2000.0);
}

#[test]
fn a_class_that_comes_late_costs_bits_but_not_infinitely_many() {
    // The first portions have seen classes 0 and 1 only; one of 200 samples is of class 2.
    let mut ids: Vec<u32> = (0..200).map(|n| n % 2).collect();
    ids[199] = 2;
    let labels = named(ids, 3);
    let x = activations(&labels, 6, 5.0, 1);
    let rows = |range: std::ops::Range<usize>| range.collect::<Vec<_>>();
    let portions =
        Portions::new(vec![rows(0..1), rows(1..40), rows(40..200)], 200).expect("all rows");
    let late = &lengths(&x, &[&labels], &portions)[0];
    let at = late.portions[2];
    // The unseen class has (1/2) / (40 + 3/2) of the mass, and each of 159 others pays −log₂ of the rest.
    let mass = 0.5 / 41.5;
    let least = -f64::log2(mass) - 159.0 * f64::log2(1.0 - mass);
    // Less than a bit for each sample of the classes that were seen: their probe knows something.
    assert!(
        at.bits > least && at.bits < least + 159.0,
        "{} beside {least}",
        at.bits
    );
    // After one sample there is no probe: a class of its own, and two unseen ones that share 1 / (1 + 3/2).
    let second = late.portions[1];
    assert!(second.probe.is_none());
    let (ones, zeros) = (20.0, 19.0);
    let bits = -ones * f64::log2(0.2) - zeros * f64::log2(0.6);
    assert_close("without a probe", second.bits, bits, 1e-9);
}

#[test]
fn what_cannot_be_coded_is_refused() {
    assert!(Portions::shuffled(&Units::samples(1), 0).is_err());
    assert!(Portions::shuffled(&Units::sentences(&[4, 4, 4]).expect("ascending"), 0).is_err());
    for portions in [
        vec![vec![0, 1, 2]],
        vec![vec![0], vec![]],
        vec![vec![0, 1], vec![1]],
        vec![vec![0], vec![3]],
    ] {
        let samples = portions.concat().len();
        let message = Portions::new(portions, samples)
            .expect_err("refused")
            .to_string();
        assert!(message.contains("portions of train"), "{message}");
    }
    let labels = uniform_labels(60, 2, 1);
    let x = activations(&labels, 6, 1.0, 1);
    let portions = Portions::shuffled(&Units::samples(60), 0).expect("enough samples");
    let taken = moments(&Backend::Cpu, x.view(), None).expect("finite");
    let code = OnlineCode {
        backend: &Backend::Cpu,
        moments: &taken,
        train: x.view(),
        columns: &[0, 1],
        penalties: &path(),
        norm: Norm::Squared,
        params: &Params::default(),
        portions: &portions,
    };
    let other = uniform_labels(60, 3, 1);
    for tasks in [
        vec![],
        vec![&uniform_labels(59, 2, 1)],
        vec![&labels, &other],
        vec![&named(vec![0; 60], 1)],
    ] {
        let message = code
            .lengths(&tasks, &mut |_| {})
            .expect_err("refused")
            .to_string();
        assert!(message.contains("description length"), "{message}");
    }
}

#[test]
fn uniform_control_classes_are_alike_likely_and_only_those_of_train() {
    let words: Vec<String> = (0..9000).map(|n| format!("w{n}")).collect();
    let ids = (0..9000).map(|n| if n % 10 == 0 { 2 } else { 0 }).collect();
    let labels = named(ids, 3);
    let parts = Words {
        train: &words,
        dev: &words[..1],
        test: &words[..1],
    };
    let share = |from| {
        let task = control_task(&parts, &labels, from, 3).expect("there are words");
        assert_eq!(task.train.counts()[1], 0, "a class that train lacks");
        task.train.counts()[2] as f64 / 9000.0
    };
    // Standard errors 0.005 and 0.003.
    assert!((share(SampleFrom::Uniform) - 0.5).abs() < 0.025);
    assert!((share(SampleFrom::Same) - 0.1).abs() < 0.015);
}

/// How often the interval of selectivity holds the true one, and how often the same would without the draws' variance.
/// Sentences and draws have effects of their own on whether a sample is right.
fn coverage(draws: usize, runs: u64) -> (f64, f64) {
    let (sentences, length) = (60_u32, 5);
    let (mut inside, mut narrow) = (0, 0);
    let number: Vec<u32> = (0..sentences).flat_map(|s| vec![s; length]).collect();
    let units = Units::sentences(&number).expect("ascending");
    for run in 0..runs {
        let mut random = random(run);
        let mut effects =
            |n: usize, sd: f64| -> Vec<f64> { (0..n).map(|_| sd * normal(&mut random)).collect() };
        let (of_sentence, of_draw) = (effects(60, 0.1), effects(draws, 0.08));
        let mut judge = |base: f64| -> Vec<bool> {
            let right =
                |s: &u32| random.random_bool((base + of_sentence[*s as usize]).clamp(0.0, 1.0));
            number.iter().map(right).collect()
        };
        let own = judge(0.75);
        let hits: Vec<Vec<bool>> = of_draw.iter().map(|effect| judge(0.4 + effect)).collect();
        let hits: Vec<&[bool]> = hits.iter().map(Vec::as_slice).collect();
        let found = Selectivity::of(&own, &hits, &units).expect("valid");
        let [low, high] = found.interval.expect("several draws");
        inside += u32::from(low <= 0.35 && 0.35 <= high);
        let difference = |i: usize| {
            let right = hits.iter().filter(|h| h[i]).count();
            f64::from(u8::from(own[i])) - right as f64 / draws as f64
        };
        let differences: Vec<f64> = (0..own.len()).map(difference).collect();
        let alone = 1.96 * units.standard_error(&differences);
        narrow += u32::from((found.value - 0.35).abs() <= alone);
    }
    (
        f64::from(inside) / runs as f64,
        f64::from(narrow) / runs as f64,
    )
}

#[test]
fn the_interval_of_selectivity_holds_the_true_one_19_times_in_20() {
    for draws in [2, 3, 10] {
        let (both, of_samples) = coverage(draws, 1500);
        // Standard error 0.005. What is left between samples and draws counts twice, hence more than 95 %.
        assert!((0.95..0.995).contains(&both), "{draws} draws: {both}");
        assert!(
            of_samples < 0.9,
            "{draws} draws: {of_samples} without the draws' variance"
        );
    }
}

#[test]
fn selectivity_of_odd_samples() {
    let units = Units::samples(4);
    let own = [true, true, true, false];
    let draw = [true, false, false, false];
    let one = Selectivity::of(&own, &[&draw], &units).expect("valid");
    assert_eq!((one.value, one.interval, one.spread), (0.5, None, 0.0));
    let perfect = Selectivity::of(&[true; 4], &[&[false; 4], &[false; 4]], &units).expect("valid");
    assert_eq!((perfect.value, perfect.interval), (1.0, Some([1.0, 1.0])));
    let [low, high] = Selectivity::of(&own, &[&draw, &own], &units)
        .expect("valid")
        .interval
        .expect("two");
    assert!((-1.0..=1.0).contains(&low) && (-1.0..=1.0).contains(&high) && low < high);
    assert!(Selectivity::of(&own, &[], &units).is_err());
    assert!(Selectivity::of(&[], &[&[]], &Units::samples(0)).is_err());
    assert!(Selectivity::of(&own, &[&draw[..3]], &units).is_err());
    assert!(Selectivity::of(&own, &[&draw], &Units::samples(3)).is_err());
}

/// Twelve word types with a neuron each, six neurons of the class, one that never varies.
struct World {
    x: Array2<f32>,
    labels: Labels,
    draws: Vec<ControlTask>,
    moments: Moments,
}

fn world() -> World {
    let samples = 240;
    let word = |n: usize| n * 7 % 12;
    let ids: Vec<u32> = (0..samples).map(|n| (word(n) % 3) as u32).collect();
    let labels = named(ids, 3);
    let mut random = random(3);
    let x = Array2::from_shape_fn((samples, 19), |(row, neuron)| match neuron {
        0..12 => f32::from(u8::from(word(row) == neuron)),
        12..18 => {
            (normal(&mut random) * 0.3) as f32 + f32::from(u8::from(word(row) % 3 == neuron % 3))
        }
        _ => 1.0,
    });
    let words: Vec<String> = (0..samples).map(|n| word(n).to_string()).collect();
    let parts = Words {
        train: &words,
        dev: &words,
        test: &words,
    };
    let draw =
        |seed| control_task(&parts, &labels, SampleFrom::Uniform, seed).expect("there are words");
    World {
        moments: moments(&Backend::Cpu, x.view(), None).expect("finite"),
        draws: (0..4).map(draw).collect(),
        x,
        labels,
    }
}

#[test]
fn sets_in_one_batch_are_what_each_is_alone_and_few_neurons_remember_less() {
    let world = world();
    let prober = Prober {
        backend: &Backend::Cpu,
        moments: &world.moments,
        train: world.x.view(),
        dev: world.x.view(),
        params: Params::default(),
        rule: Rule::Accuracy,
        dev_sentences: None,
        keeper: None,
        streamed: None,
    };
    let all: Vec<usize> = (0..19).collect();
    let few: Vec<usize> = (12..18).rev().collect();
    let penalty = (1e-3, 1e-3);
    let set = |neurons| NeuronSet {
        neurons,
        l1: penalty.0,
        l2: penalty.1,
    };
    let units = Units::samples(240);
    // The task itself, then the draws.
    let tasks: Vec<&Labels> = std::iter::once(&world.labels)
        .chain(world.draws.iter().map(|draw| &draw.train))
        .collect();
    let fit = |sets: &[NeuronSet<'_>]| control_probes_of_sets(&prober, sets, &tasks, &mut |_| {});
    let right = |probes: &[Frozen]| -> Vec<Vec<bool>> {
        let labels = std::iter::once(&world.labels).chain(world.draws.iter().map(|d| &d.test));
        let hits = probes.iter().zip(labels);
        hits.map(|(probe, labels)| probe.hits(world.x.view(), labels).expect("same shape"))
            .collect()
    };
    let found = fit(&[set(&all), set(&[18]), set(&few)]).expect("valid sets");
    assert_eq!(found.len(), 3);
    for (batch, neurons) in [(&found[0], &all), (&found[2], &few)] {
        let alone = control_probes(&prober, neurons, &tasks, penalty, &mut |_| {});
        assert_eq!(right(&alone.expect("valid")), right(batch));
        assert!(batch.iter().all(|probe| probe.certificate().converged));
    }
    let [of_all, of_constant, of_few] = [0, 1, 2].map(|at: usize| {
        let right = right(&found[at]);
        let controls: Vec<&[bool]> = right[1..].iter().map(Vec::as_slice).collect();
        Selectivity::of(&right[0], &controls, &units).expect("as many samples each")
    });
    assert!(
        of_all.control > 0.99,
        "twelve neurons tell the words apart: {of_all:?}"
    );
    assert!(
        of_few.accuracy > 0.95 && of_few.value > of_all.value + 0.2,
        "{of_few:?}"
    );
    assert_close(
        "the most frequent class",
        of_constant.accuracy,
        1.0 / 3.0,
        0.01,
    );
    for wrong in [&[3, 3][..], &[19]] {
        assert!(fit(&[set(wrong)]).is_err(), "{wrong:?}");
    }
}
