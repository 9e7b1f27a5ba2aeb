//! A whole study on the real fixture.

mod certainty;
mod explored;
mod memory;
mod resume;
mod sentences;
mod specification;
mod test_use;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::OnceLock;

use neurosieve::ops::correlation::Precision;
use neurosieve::study::results::{DeviceUsed, StudyResults, SweepResult, TaskResults};
use neurosieve::study::spec::LadderSpec;
use neurosieve::study::{self, Spec};
use neurosieve::{Backend, Dataset, Error};

use crate::support::gpu;

const SPEC: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/fixtures/python-tokens/study.toml"
);

fn device(kind: &str) -> DeviceUsed {
    DeviceUsed {
        kind: kind.into(),
        name: "test".into(),
        driver: String::new(),
        reason: String::new(),
        validation: Vec::new(),
    }
}

fn spec() -> Spec {
    Spec::read(Path::new(SPEC)).expect("the fixture's specification is right")
}

fn run(spec: &Spec, backend: &Backend) -> StudyResults {
    study::run(spec, backend, device("cpu"), &mut |_| {}).expect("the fixture can be studied")
}

/// The fixture's own study, run once for all tests that look at it.
fn results() -> &'static StudyResults {
    static RESULTS: OnceLock<StudyResults> = OnceLock::new();
    RESULTS.get_or_init(|| run(&spec(), &Backend::Cpu))
}

fn data() -> Dataset {
    study::load(&spec()).expect("the fixture can be read")
}

/// A study that is quick enough to be run several times.
fn quick() -> Spec {
    let mut spec = spec();
    spec.data.tasks = vec!["coarse".into()];
    spec.probe.lambda_ratios = vec![0.1, 0.01];
    spec.probe.relative_gap = 1e-6;
    spec.control.draws = 1;
    spec.minimal_set.ladder = LadderSpec::Sizes(vec![4, 16, 64]);
    spec.combined.deltas = vec![0.02];
    spec.combined.thresholds = vec![0.5];
    spec
}

fn assert_permutation(order: &[usize], neurons: usize) {
    assert_eq!(order.len(), neurons);
    assert_eq!(order.iter().collect::<BTreeSet<_>>().len(), neurons);
    assert!(order.iter().all(|&neuron| neuron < neurons));
}

#[test]
fn the_oracle_is_above_the_majority_and_every_certificate_has_converged() {
    for task in &results().tasks {
        let oracle = &task.oracle;
        assert!(task.above_chance, "{}", task.name);
        assert!(
            oracle.test_interval[0] > task.majority_accuracy,
            "{}",
            task.name
        );
        assert!(oracle.test_interval[0] <= oracle.test_accuracy);
        assert!(oracle.test_interval[1] >= oracle.test_accuracy);
        let path = task.lambda_path.iter().map(|point| point.certificate);
        let layers = task
            .layers
            .independent
            .iter()
            .chain(&task.layers.cumulative);
        let sets = task.minimal_sets.iter().map(|set| set.certificate);
        for certificate in path
            .chain(layers.map(|point| point.certificate))
            .chain(sets)
        {
            assert!(certificate.converged, "{}: {certificate:?}", task.name);
            assert!(certificate.relative_gap <= spec().probe.relative_gap);
        }
    }
}

#[test]
fn the_oracle_is_the_point_of_the_path_that_dev_prefers() {
    for task in &results().tasks {
        let best = task
            .lambda_path
            .iter()
            .map(|p| p.dev_accuracy)
            .fold(0.0, f64::max);
        assert_eq!(task.oracle.dev_accuracy, best);
        let first = task.lambda_path.iter().find(|p| p.dev_accuracy == best);
        assert_eq!(first.map(|point| point.l1), Some(task.oracle.l1));
        assert!(
            task.lambda_path
                .windows(2)
                .all(|pair| pair[0].l1 > pair[1].l1)
        );
    }
}

#[test]
fn clusters_only_merge_as_the_threshold_grows() {
    let results = results();
    assert_eq!(results.clusters.len(), 9);
    for pair in results.clusters.windows(2) {
        assert!(pair[0].count >= pair[1].count);
        // Neurons that were together stay together.
        let mut parent = vec![None; pair[0].count];
        for (fine, coarse) in pair[0].labels.iter().zip(&pair[1].labels) {
            assert_eq!(*parent[*fine as usize].get_or_insert(*coarse), *coarse);
        }
    }
    for cut in &results.clusters {
        assert_eq!(cut.representatives.len(), cut.count);
        for (cluster, &neuron) in cut.representatives.iter().enumerate() {
            assert_eq!(cut.labels[neuron] as usize, cluster);
        }
        let neurons: usize = cut.size_histogram.iter().map(|bin| bin.neurons).sum();
        assert_eq!(neurons, results.data.neurons);
        assert_eq!(cut.window_histogram.iter().sum::<usize>(), cut.count);
    }
}

#[test]
fn the_dead_neurons_of_the_fixture_are_found() {
    assert_eq!(results().data.constant, [310, 320]);
    assert_eq!(results().data.nearly_constant, [332]);
}

#[test]
fn the_parts_are_named_by_hashes_of_all_that_was_read_of_them() {
    let of = |spec: &Spec| {
        let hashes = run(spec, &Backend::Cpu)
            .data
            .hashes
            .expect("there are some");
        [hashes.train, hashes.dev, hashes.test]
    };
    let mut spec = quick();
    let first = of(&spec);
    let hex = |hash: &String| hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit());
    assert!(first.iter().all(hex), "{first:?}");
    assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), 3, "{first:?}");
    // A seed is not read; another part, or other labels of the same samples, are.
    spec.seed += 1;
    assert_eq!(of(&spec), first);
    spec.data.dev = spec.data.test.clone();
    let dev = of(&spec);
    assert_eq!([&dev[0], &dev[1]], [&first[0], &first[2]]);
    spec.data.tasks = vec!["fine".into()];
    assert_ne!(of(&spec)[0], first[0]);
}

#[test]
fn orderings_are_permutations_of_the_neurons() {
    let neurons = results().data.neurons;
    for task in &results().tasks {
        assert_eq!(
            task.rankings.keys().collect::<Vec<_>>(),
            ["lca", "probeless"]
        );
        for ranking in task.rankings.values() {
            assert_permutation(&ranking.order, neurons);
            assert_eq!(ranking.scores.len(), neurons);
            let sorted = ranking.order.windows(2);
            assert!(
                sorted
                    .into_iter()
                    .all(|p| ranking.scores[p[0]] >= ranking.scores[p[1]])
            );
            for order in ranking.per_class.values() {
                assert_permutation(order, neurons);
            }
        }
    }
}

#[test]
fn every_sweep_ends_at_the_oracle() {
    let neurons = results().data.neurons;
    for task in &results().tasks {
        assert_eq!(task.sweeps.len(), 2 * (2 * 2 + 1));
        for sweep in &task.sweeps {
            assert_eq!(sweep.k, (0..=neurons).collect::<Vec<_>>());
            assert_eq!(sweep.draws, if sweep.ranking == "random" { 5 } else { 1 });
            let last = sweep.accuracy[neurons];
            // One sample may lie on a boundary: the sums are taken in another order.
            let one = 1.5 / sweep.total as f64;
            assert!((last - task.oracle.test_accuracy).abs() < one, "{last}");
            assert!(
                sweep
                    .correct
                    .iter()
                    .all(|&c| (0.0..=sweep.total as f64).contains(&c))
            );
        }
    }
}

fn sweep<'a>(task: &'a TaskResults, ranking: &str, direction: &str) -> &'a [f64] {
    let wanted =
        |s: &&SweepResult| s.ranking == ranking && s.direction == direction && s.ablation == "mean";
    &task
        .sweeps
        .iter()
        .find(wanted)
        .expect("it was swept")
        .accuracy
}

#[test]
fn keeping_the_top_of_a_ranking_beats_random_and_random_beats_the_bottom() {
    for task in &results().tasks {
        let area = |curve: &[f64]| curve.iter().sum::<f64>() / curve.len() as f64;
        let top = area(sweep(task, "lca", "keep-top"));
        let random = area(sweep(task, "random", "keep-top"));
        let bottom = area(sweep(task, "lca", "keep-bottom"));
        assert!(
            top > random && random > bottom,
            "{}: {top} {random} {bottom}",
            task.name
        );
    }
}

#[test]
fn layer_selection_takes_the_lowest_layer_within_delta_of_the_oracle() {
    for task in &results().tasks {
        let curve = &task.layers.cumulative;
        assert_eq!(curve.len(), results().data.layers.len());
        let last = &curve[curve.len() - 1];
        assert_eq!(last.dev_accuracy, task.oracle.dev_accuracy);
        assert_eq!(last.test_accuracy, task.oracle.test_accuracy);
        assert_eq!(task.layer_selection.len(), 3);
        for chosen in &task.layer_selection {
            let bar = task.oracle.dev_accuracy * (1.0 - chosen.delta) - 1e-9;
            let lower = curve.iter().filter(|point| point.layer < chosen.layer);
            assert!(
                lower.into_iter().all(|point| point.dev_accuracy < bar),
                "a lower layer suffices"
            );
            assert!(chosen.dev_accuracy >= bar);
        }
    }
}

#[test]
fn minimal_sets_are_prefixes_that_reach_the_bar_and_grow_as_delta_shrinks() {
    for task in &results().tasks {
        assert_eq!(task.minimal_sets.len(), 2 * 3);
        for set in &task.minimal_sets {
            assert_eq!(set.neurons, task.rankings[&set.ranking].order[..set.size]);
            let bar = task.oracle.dev_accuracy * (1.0 - set.delta) - 1e-9;
            assert!(set.dev_accuracy >= bar || set.size == results().data.neurons);
            assert!(
                set.ladder
                    .windows(2)
                    .all(|rungs| rungs[0].size < rungs[1].size)
            );
            let paired = &set.against_oracle;
            assert!(
                (set.test_accuracy - task.oracle.test_accuracy - paired.difference).abs() < 1e-12
            );
            assert!(
                paired.interval[0] <= paired.difference && paired.difference <= paired.interval[1]
            );
        }
        for pair in task.minimal_sets.windows(2) {
            if pair[0].ranking == pair[1].ranking {
                assert!(pair[0].delta > pair[1].delta && pair[0].size <= pair[1].size);
            }
        }
    }
}

#[test]
fn combined_sets_are_representatives_of_the_selected_layers() {
    let results = results();
    for task in &results.tasks {
        assert_eq!(task.combined.len(), 3 * 2);
        for set in &task.combined {
            assert!(set.size <= set.clusters && set.clusters <= set.layer_neurons);
            assert_eq!(set.neurons.len(), set.size);
            assert!(
                set.neurons
                    .iter()
                    .all(|&n| results.data.layer_of[n] <= set.layer)
            );
            assert!(set.dev_accuracy >= set.clusters_dev_accuracy * (1.0 - set.set_delta) - 1e-9);
        }
    }
}

#[test]
fn control_tasks_are_harder_and_salient_neurons_have_words() {
    for task in &results().tasks {
        let control = task.control.as_ref().expect("the fixture has words");
        assert_eq!(control.accuracies.len(), 3);
        assert!(control.selectivity > 0.0, "{}: {control:?}", task.name);
        let [low, high] = control.interval.expect("there are three draws");
        assert!(low < control.selectivity && control.selectivity < high);
        // Three draws say little of how far draws differ: their part is not less than that of their standard error.
        assert!(high - low > 2.0 * control.spread / 3.0_f64.sqrt());
        assert!((0.5..1.0).contains(&control.seen_in_train));
        let salient = &task.salient;
        assert_eq!(salient.per_class.len(), task.classes.len());
        for (class, neurons) in salient.per_class.iter().enumerate() {
            assert_eq!(
                salient.by_class_layer[class].iter().sum::<usize>(),
                neurons.len()
            );
        }
        assert!(!salient.neurons.is_empty());
        for neuron in &salient.neurons {
            assert!(!neuron.top_words.is_empty() && !neuron.classes.is_empty());
            assert!(neuron.top_words.iter().all(|word| word.count >= 3));
        }
        assert!(
            task.layers
                .independent
                .iter()
                .all(|point| point.selectivity.is_some())
        );
    }
}

#[test]
fn classes_add_up_to_the_samples_and_recall_to_the_accuracy() {
    let data = data();
    for (task, labels) in results().tasks.iter().zip(&data.test().labels) {
        let total: usize = task.classes.iter().map(|class| class.samples.test).sum();
        assert_eq!(total, labels.len());
        let right: f64 = task
            .classes
            .iter()
            .filter_map(|class| {
                class
                    .test_recall
                    .map(|recall| recall * class.samples.test as f64)
            })
            .sum();
        assert!((right / total as f64 - task.oracle.test_accuracy).abs() < 1e-9);
    }
}

/// The results without what depends on the clock.
fn document(mut results: StudyResults) -> String {
    results.timings.clear();
    serde_json::to_string(&results).expect("results are JSON")
}

#[test]
fn the_same_seed_gives_the_same_bytes_on_any_number_of_threads() {
    let spec = quick();
    let pool = |threads| {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .expect("threads can be started")
    };
    let one = pool(1).install(|| document(run(&spec, &Backend::Cpu)));
    let three = pool(3).install(|| document(run(&spec, &Backend::Cpu)));
    assert!(one == three, "the results depend on the number of threads");
    let other = Spec { seed: 1, ..spec };
    assert_ne!(
        one,
        document(run(&other, &Backend::Cpu)),
        "the seed has no effect"
    );
}

#[test]
fn the_gpu_finds_what_the_cpu_finds() {
    let Some(gpu) = gpu("the_gpu_finds_what_the_cpu_finds") else {
        return;
    };
    let mut spec = quick();
    spec.clusters.precision = Precision::SplitF16;
    let cpu = run(&spec, &Backend::Cpu);
    let gpu = run(&spec, &Backend::Gpu(gpu));
    for results in [&cpu, &gpu] {
        let ran = results.clustering.precision.as_ref().expect("it is said");
        assert_eq!(ran.asked, Precision::SplitF16);
        let said = format!(
            "allowed the precision split-f16 and computed by {}",
            ran.kernel
        );
        assert!(
            results
                .warnings
                .iter()
                .any(|warning| warning.contains(&said))
        );
    }
    for (c, g) in cpu.clusters.iter().zip(&gpu.clusters) {
        assert_eq!(
            (c.count, &c.labels),
            (g.count, &g.labels),
            "at {}",
            c.threshold
        );
        assert_eq!(c.representatives, g.representatives, "at {}", c.threshold);
    }
    for (c, g) in cpu.tasks.iter().zip(&gpu.tasks) {
        // λ_max is a maximum of f32 sums of a few hundred terms; accuracies may differ by two samples on a boundary,
        // since both optima are within one relative gap (1e-6) of the true one.
        assert!((c.oracle.l1 / g.oracle.l1 - 1.0).abs() < 1e-5);
        assert!(
            (c.oracle.objective / g.oracle.objective - 1.0).abs()
                < 2.0 * spec.probe.relative_gap + 1e-6
        );
        let two = 2.5 / cpu.data.samples.test as f64;
        assert!((c.oracle.test_accuracy - g.oracle.test_accuracy).abs() < two);
        for (c, g) in c.layers.independent.iter().zip(&g.layers.independent) {
            assert!(
                (c.test_accuracy - g.test_accuracy).abs() < two,
                "layer {}",
                c.layer
            );
        }
        assert_eq!(c.minimal_sets.len(), g.minimal_sets.len());
        assert_eq!(g.sweeps.len(), c.sweeps.len());
        assert!(g.oracle.certificate.converged);
    }
}

#[test]
fn steps_are_announced_in_order_and_all_are_timed() {
    let mut seen = Vec::new();
    let results = study::run(&quick(), &Backend::Cpu, device("cpu"), &mut |progress| {
        assert!((0.0..=1.0).contains(&progress.fraction));
        assert!(progress.number <= progress.of);
        seen.push((progress.number, progress.step.to_owned(), progress.of));
    })
    .expect("the fixture can be studied");
    seen.dedup();
    let numbers: Vec<usize> = seen.iter().map(|step| step.0).collect();
    assert_eq!(numbers, (1..=seen[0].2).collect::<Vec<_>>());
    let timed: Vec<&str> = results
        .timings
        .iter()
        .skip(1)
        .map(|t| t.step.as_str())
        .collect();
    assert_eq!(
        timed,
        seen.iter().map(|step| step.1.as_str()).collect::<Vec<_>>()
    );
}

#[test]
fn a_library_user_gets_the_same_errors_as_the_command() {
    let mut spec = spec();
    spec.data.dev.activations = "nowhere.safetensors".into();
    let error = study::run(&spec, &Backend::Cpu, device("cpu"), &mut |_| {}).expect_err("no file");
    assert!(matches!(error, Error::Io { .. }), "{error}");
}
