//! What dev decides, on real activations: penalties, layers, minimal sets, their combination, control tasks.

use std::sync::OnceLock;

use ndarray::Array2;
use neurosieve::Backend;
use neurosieve::analysis::combined::{Base, Plan, combine};
use neurosieve::analysis::frozen::Frozen;
use neurosieve::analysis::layers::{probe_layers, required};
use neurosieve::analysis::minimal_set::{Ladder, Rung, SizeSearch, climb, ladder, smallest};
use neurosieve::analysis::ranking::lca;
use neurosieve::analysis::redundancy::{Distance, Linkage};
use neurosieve::analysis::search::{Penalties, Prober, Search, Target, accuracy, hits};
use neurosieve::analysis::selection::Rule;
use neurosieve::analysis::selectivity::{
    ControlTask, SampleFrom, Words, control_probes, control_task,
};
use neurosieve::labels::Labels;
use neurosieve::ops::correlation::correlation;
use neurosieve::ops::moments::{Moments, moments};
use neurosieve::ops::probe::{Params, Stop};

use crate::golden::fixture;

/// The task with five classes.
const COARSE: usize = 1;

pub(super) fn prober() -> Prober<'static> {
    static MOMENTS: OnceLock<Moments> = OnceLock::new();
    let data = fixture();
    let train = data.train().activations.view();
    Prober {
        backend: &Backend::Cpu,
        moments: MOMENTS.get_or_init(|| moments(&Backend::Cpu, train, None).expect("finite")),
        train,
        dev: data.dev().activations.view(),
        params: Params {
            stop: Stop::Gap(1e-4),
            ..Params::default()
        },
        rule: Rule::Accuracy,
        dev_sentences: None,
        keeper: None,
        streamed: None,
    }
}

pub(super) fn target() -> Target<'static> {
    let data = fixture();
    Target {
        train: &data.train().labels[COARSE],
        dev: &data.dev().labels[COARSE],
    }
}

pub(super) fn path() -> Penalties {
    Penalties::Path {
        ratios: vec![0.01, 0.3, 0.03, 0.1],
        l2_per_l1: 0.1,
    }
}

pub(super) fn all() -> Vec<usize> {
    (0..fixture().train().activations.neurons()).collect()
}

pub(super) fn oracle() -> &'static Search {
    static ORACLE: OnceLock<Search> = OnceLock::new();
    ORACLE.get_or_init(|| {
        prober()
            .search(&all(), target(), &path(), &mut |_| {})
            .expect("the fixture is solvable")
    })
}

#[test]
fn dev_chooses_the_penalty_and_prefers_the_stronger_of_equals() {
    let search = oracle();
    let dev: Vec<f64> = search.path.iter().map(|c| c.dev_accuracy).collect();
    let best = dev.iter().copied().fold(0.0, f64::max);
    assert_eq!(
        Some(search.chosen),
        dev.iter().position(|&a| a == best),
        "{dev:?}"
    );
    assert_eq!(search.dev_accuracy, best);
    assert_eq!(search.fit.l1, search.path[search.chosen].l1);
    assert!(
        search.path.is_sorted_by(|a, b| a.l1 > b.l1),
        "strongest first"
    );
    assert!(search.path.iter().all(|c| c.certificate.converged));
    assert!(
        search
            .path
            .is_sorted_by(|a, b| a.train_accuracy <= b.train_accuracy)
    );
    assert!(best > 0.9, "dev accuracy {best}");
}

#[test]
fn a_batch_of_tasks_answers_as_each_task_alone() {
    let data = fixture();
    let columns: Vec<usize> = (0..48).collect();
    let targets = [COARSE, 0].map(|task| Target {
        train: &data.train().labels[task],
        dev: &data.dev().labels[task],
    });
    let penalties = Penalties::Path {
        ratios: vec![0.1, 0.03],
        l2_per_l1: 0.1,
    };
    let prober = prober();
    let together = prober
        .search_all(&columns, &targets, &penalties, &mut |_| {})
        .unwrap();
    for (target, found) in targets.iter().zip(together) {
        let alone = prober
            .search(&columns, *target, &penalties, &mut |_| {})
            .unwrap();
        assert_eq!(alone.chosen, found.chosen);
        let apart = (alone.fit.objective - found.fit.objective).abs() / alone.fit.objective;
        assert!(apart < 2e-4, "objectives are {apart:e} apart");
    }
}

#[test]
fn a_probe_uses_only_the_neurons_that_it_was_offered() {
    let columns = [3, 50, 51, 200, 310];
    let search = prober()
        .search(&columns, target(), &path(), &mut |_| {})
        .unwrap();
    for neuron in 0..search.fit.weights.ncols() {
        let used = search.fit.weights.column(neuron).iter().any(|w| *w != 0.0);
        assert!(!used || columns.contains(&neuron), "neuron {neuron}");
    }
    // The few used neurons are judged on their own: the same answers as from all of them.
    let dev = fixture().dev();
    let labels = &dev.labels[COARSE];
    let x = dev.activations.view();
    let direct: Vec<bool> = search
        .fit
        .predict(x)
        .iter()
        .zip(labels.ids())
        .map(|(p, y)| p == y)
        .collect();
    assert_eq!(hits(&search.fit, x, labels).unwrap(), direct);
    assert_eq!(accuracy(&direct), search.dev_accuracy);
}

#[test]
fn neurons_that_do_not_vary_give_the_majority_answer() {
    let search = prober()
        .search(&[310, 320], target(), &path(), &mut |_| {})
        .unwrap();
    let counts = target().train.counts();
    let majority = (0..counts.len()).max_by_key(|&c| counts[c]).unwrap();
    let dev = target().dev;
    let share = dev.counts()[majority] as f64 / dev.len() as f64;
    assert_eq!(search.dev_accuracy, share);
    assert_eq!(search.fit.neurons_used(), 0);
}

#[test]
fn layer_curves_cover_each_layer_and_end_in_the_oracle() {
    let layers = fixture().train().activations.layers();
    let penalties = path();
    let mut heard = Vec::new();
    let probes = probe_layers(
        &prober(),
        layers,
        target(),
        &penalties,
        oracle(),
        &mut |share| heard.push(share),
    )
    .unwrap();
    assert_eq!(probes.independent.len(), 7);
    assert_eq!(probes.cumulative.len(), 7);
    for (k, (alone, upto)) in probes
        .independent
        .iter()
        .zip(&probes.cumulative)
        .enumerate()
    {
        assert_eq!((alone.layer as usize, alone.neurons), (k, 48));
        assert_eq!((upto.layer as usize, upto.neurons), (k, 48 * (k + 1)));
        let outside = |columns: std::ops::Range<usize>, search: &Search| {
            (0..336).any(|n| {
                !columns.contains(&n) && search.fit.weights.column(n).iter().any(|w| *w != 0.0)
            })
        };
        assert!(!outside(48 * k..48 * (k + 1), &alone.search), "layer {k}");
        assert!(!outside(0..48 * (k + 1), &upto.search), "layers 0 to {k}");
    }
    assert_eq!(
        probes.cumulative[0].search.fit.weights,
        probes.independent[0].search.fit.weights
    );
    assert_eq!(
        probes.cumulative[6].search.fit.weights,
        oracle().fit.weights
    );
    // Whatever is fitted beside it, a probe is the one that is fitted alone.
    for (found, columns) in [
        (&probes.independent[3], 144..192),
        (&probes.cumulative[1], 0..96),
        (&probes.cumulative[5], 0..288),
    ] {
        let columns: Vec<usize> = columns.collect();
        let alone = prober().search(&columns, target(), &penalties, &mut |_| {});
        assert_eq!(found.search.fit.weights, alone.unwrap().fit.weights);
    }
    assert!(
        heard.is_sorted() && heard.iter().all(|s| (0.0..=1.0).contains(s)),
        "{heard:?}"
    );
}

#[test]
fn a_climb_stops_at_the_first_size_that_suffices_and_serves_every_larger_delta() {
    let order = lca(oracle().fit.standardised.view()).unwrap().order;
    let sizes = ladder(order.len());
    let near = path().near(oracle(), 0);
    let climb = |required: f64| -> Vec<Rung> {
        climb(
            &prober(),
            target(),
            &order,
            &sizes,
            &near,
            required,
            Some(oracle()),
            &mut |_| {},
        )
        .unwrap()
    };
    let dev = oracle().dev_accuracy;
    let whole = climb(f64::INFINITY);
    assert_eq!(whole.last().unwrap().size, order.len());
    assert_eq!(
        whole.last().unwrap().search.fit.weights,
        oracle().fit.weights
    );
    let short = climb(required(dev, 0.01));
    assert!(short.len() < whole.len(), "real neurons are redundant");
    for (a, b) in short.iter().zip(&whole) {
        assert_eq!(
            (a.size, a.search.dev_accuracy),
            (b.size, b.search.dev_accuracy)
        );
        assert!(a.search.fit.neurons_used() <= a.size);
    }
    let mut before = order.len();
    for delta in [0.01, 0.02, 0.03, 0.1] {
        let wanted = required(dev, delta);
        let size = smallest(&short, wanted).unwrap().size;
        let expected = whole
            .iter()
            .find(|r| r.search.dev_accuracy > wanted)
            .unwrap()
            .size;
        assert_eq!(size, expected, "δ = {delta}");
        assert!(size <= before);
        before = size;
    }
    assert!(smallest(&whole, f64::INFINITY).unwrap().size == order.len());
    let (first, last) = (&whole[0], &whole[whole.len() - 2]);
    assert!(
        first.search.dev_accuracy < last.search.dev_accuracy,
        "more neurons know more"
    );
}

#[test]
fn thresholds_are_independent_of_each_other_in_the_combination() {
    // The reference scripts cluster what the threshold before has left, but index the whole matrix.
    let train = fixture().train();
    let prober = prober();
    let r = correlation(&Backend::Cpu, train.activations.view(), prober.moments).unwrap();
    // Not from neuron 0 on, so that places among them and ids differ.
    let columns: Vec<usize> = (48..192).collect();
    let run = |thresholds: &[f64], base: Base| {
        let plan = Plan {
            correlation: &r,
            linkage: Linkage::Average,
            distance: Distance::OneMinusAbs,
            thresholds,
            penalties: &path(),
            neighbours: 0,
            sizes: &SizeSearch::Ladder(Ladder::Geometric),
            base,
            set_delta: 0.02,
        };
        combine(&prober, target(), &columns, &plan, &mut |_| {}).unwrap()
    };
    let both = run(&[0.3, 0.7], Base::Representatives);
    let second = &run(&[0.7], Base::Representatives)[0];
    assert_eq!(both[1].representatives, second.representatives);
    assert_eq!(both[1].neurons, second.neurons);
    assert_eq!(both[1].set.fit.weights, second.set.fit.weights);
    assert!(both[1].representatives.len() < both[0].representatives.len());
    for found in &both {
        assert!(found.representatives.iter().all(|n| columns.contains(n)));
        assert!(
            found
                .neurons
                .iter()
                .all(|n| found.representatives.contains(n))
        );
        let enough = found.set.dev_accuracy > required(found.clusters.dev_accuracy, 0.02);
        assert!(enough || found.neurons.len() == found.representatives.len());
        let used = |n: usize| found.set.fit.weights.column(n).iter().any(|w| *w != 0.0);
        assert!((0..336).all(|n| !used(n) || found.neurons.contains(&n)));
    }
    // Nothing reaches twice the accuracy: all representatives remain.
    let unreachable = &run(&[0.7], Base::Accuracy(2.0))[0];
    assert_eq!(unreachable.neurons.len(), unreachable.representatives.len());
}

#[test]
fn a_probe_that_can_read_the_word_masters_its_control_task() {
    // One neuron a word type: a control task is all memory, and these neurons are a perfect one.
    let types = 12;
    let word = |n: usize| format!("w{}", n % types);
    let words = |n: usize| -> Vec<String> { (0..n).map(word).collect() };
    let one_hot = |n: usize| {
        Array2::from_shape_fn((n, types), |(row, t)| f32::from(u8::from(row % types == t)))
    };
    let (train, test) = (one_hot(240), one_hot(60));
    let ids = (0..240).map(|n| (n % 3) as u32).collect();
    let labels = Labels::new(ids, ["a", "b", "c"].map(str::to_owned).to_vec()).unwrap();
    let (train_words, test_words) = (words(240), words(60));
    let parts = Words {
        train: &train_words,
        dev: &test_words,
        test: &test_words,
    };
    let draws: Vec<ControlTask> = (0..3)
        .map(|seed| control_task(&parts, &labels, SampleFrom::Same, seed).unwrap())
        .collect();
    assert_ne!(draws[0], draws[1]);
    let taken = moments(&Backend::Cpu, train.view(), None).unwrap();
    let prober = Prober {
        moments: &taken,
        train: train.view(),
        dev: test.view(),
        ..prober()
    };
    let columns: Vec<usize> = (0..types).collect();
    let of_train: Vec<&Labels> = draws.iter().map(|draw| &draw.train).collect();
    let probes = control_probes(&prober, &columns, &of_train, (1e-4, 1e-4), &mut |_| {}).unwrap();
    let judged = |x: &Array2<f32>| -> Vec<f64> {
        let each = probes.iter().zip(&draws);
        each.map(|(probe, draw)| accuracy(&probe.hits(x.view(), &draw.test).unwrap()))
            .collect()
    };
    assert_eq!(judged(&test), [1.0; 3]);
    assert!(probes.iter().all(|probe| probe.certificate().converged));
    // A neuron that does not vary knows no word: what is left is the most frequent class.
    let blind = judged(&Array2::<f32>::ones((60, types)));
    assert!(blind.iter().all(|&accuracy| accuracy < 1.0), "{blind:?}");
}

#[test]
fn a_frozen_probe_answers_as_the_probe_did() {
    let dev = fixture().dev();
    let (x, labels) = (dev.activations.view(), &dev.labels[COARSE]);
    let few = prober()
        .search(&[3, 50, 51, 200], target(), &path(), &mut |_| {})
        .unwrap();
    for (what, search) in [("few neurons", &few), ("all neurons", oracle())] {
        let frozen = Frozen::of(&search.fit);
        assert_eq!(
            frozen.hits(x, labels).unwrap(),
            hits(&search.fit, x, labels).unwrap(),
            "{what}"
        );
        assert_eq!(frozen.penalty(), (search.fit.l1, search.fit.l2));
        let fewer = dev.activations.view().slice_move(ndarray::s![.., ..200]);
        assert!(frozen.hits(fewer, labels).is_err(), "other neurons");
        let other = &fixture().test().labels[COARSE];
        assert!(frozen.hits(x, other).is_err(), "rows and labels differ");
    }
}

#[test]
fn the_same_seed_gives_the_same_bits() {
    let once = || {
        prober()
            .search(&all(), target(), &path(), &mut |_| {})
            .unwrap()
    };
    let again = once();
    assert_eq!(again.fit.weights, oracle().fit.weights);
    assert_eq!(again.path, oracle().path);
}

#[test]
fn what_cannot_be_searched_is_refused() {
    let prober = prober();
    let empty = Penalties::Path {
        ratios: vec![],
        l2_per_l1: 1.0,
    };
    assert!(prober.search(&[1], target(), &empty, &mut |_| {}).is_err());
    let beyond = Penalties::Path {
        ratios: vec![1.5],
        l2_per_l1: 1.0,
    };
    assert!(prober.search(&[1], target(), &beyond, &mut |_| {}).is_err());
    assert!(
        prober
            .search(&[999], target(), &path(), &mut |_| {})
            .is_err()
    );
    let fixed = Penalties::Fixed { l1: 0.01, l2: 0.01 };
    for sizes in [vec![0, 1], vec![3, 2]] {
        let refused = climb(
            &prober,
            target(),
            &[1, 2, 3],
            &sizes,
            &fixed,
            0.5,
            None,
            &mut |_| {},
        );
        assert!(refused.is_err(), "{sizes:?}");
    }
    let labels = &fixture().test().labels[COARSE];
    assert!(
        hits(&oracle().fit, prober.dev, labels).is_err(),
        "rows and labels differ"
    );
}

#[test]
fn neurons_with_the_same_mean_in_every_class_give_the_most_frequent_class() {
    // Exclusive or: both means of both classes are 0, so λ_max is 0 and there is no path below it.
    let corners = [
        (1.0, 1.0, 0),
        (-1.0, -1.0, 0),
        (1.0, -1.0, 1),
        (-1.0, 1.0, 1),
    ];
    let x = Array2::from_shape_fn((40, 2), |(i, j)| {
        let (first, second, _) = corners[i % 4];
        if j == 0 { first } else { second }
    });
    let ids = (0..40).map(|i| corners[i % 4].2).collect();
    let y = Labels::new(ids, vec!["equal".into(), "different".into()]).unwrap();
    let taken = moments(&Backend::Cpu, x.view(), None).unwrap();
    let prober = Prober {
        moments: &taken,
        train: x.view(),
        dev: x.view(),
        ..prober()
    };
    let target = Target { train: &y, dev: &y };
    let found = prober
        .search(&[0, 1], target, &path(), &mut |_| {})
        .unwrap();
    assert_eq!(found.fit.nonzero_weights(), 0);
    assert_eq!(found.dev_accuracy, 0.5);
    for candidate in &found.path {
        assert!(candidate.certificate.converged);
        assert!(candidate.certificate.kkt_relative.is_finite());
    }
}
