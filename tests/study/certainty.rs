//! How sure a study is of its minimal sets, on the real fixture.

use std::collections::BTreeSet;

use neurosieve::Backend;
use neurosieve::study::results::MinimalSet;
use neurosieve::study::spec::{LadderSpec, SearchSpec};

use super::{quick, results, run, spec};

#[test]
fn minimal_sets_have_control_tasks_of_their_own() {
    for task in &results().tasks {
        let control = task.control.as_ref().expect("the fixture has words");
        let of = |set: &MinimalSet| set.selectivity.clone().expect("there are words");
        for set in &task.minimal_sets {
            let found = of(set);
            assert_eq!(found.accuracies.len(), control.draws);
            let mean = found.accuracies.iter().sum::<f64>() / control.draws as f64;
            assert!((found.control_accuracy - mean).abs() < 1e-12);
            assert!((found.value - (set.test_accuracy - mean)).abs() < 1e-12);
            let [low, high] = found.interval.expect("there are three draws");
            assert!(low < found.value && found.value < high);
            assert!(found.certificates.iter().all(|c| c.converged));
            // Guessing by frequency is what is left of a control task that cannot be learned.
            assert!(
                found.control_accuracy > 0.05 && found.value > 0.0,
                "{found:?}"
            );
            for other in &task.minimal_sets {
                if other.neurons == set.neurons {
                    assert_eq!(of(other), found, "the same set has the same control tasks");
                }
            }
        }
        // A few neurons cannot learn so many words by heart as all can.
        let least = task.minimal_sets.iter().min_by_key(|set| set.size);
        let least = of(least.expect("there are sets"));
        assert!(
            least.control_accuracy < control.accuracy,
            "{}: {least:?}",
            task.name
        );
    }
}

#[test]
fn a_set_of_all_neurons_has_the_control_tasks_of_the_oracle() {
    let mut spec = quick();
    spec.control.draws = 2;
    spec.minimal_set.deltas = vec![0.0];
    spec.minimal_set.ladder = LadderSpec::Sizes(vec![1]);
    let results = run(&spec, &Backend::Cpu);
    let task = &results.tasks[0];
    let control = task.control.as_ref().expect("there are words");
    let whole = &task.minimal_sets[0];
    assert_eq!(whole.size, results.data.neurons);
    let found = whole.selectivity.as_ref().expect("there are words");
    assert_eq!(found.accuracies, control.accuracies);
    assert_eq!(
        (found.value, found.interval),
        (control.selectivity, control.interval)
    );
    spec.control.draws = 0;
    let without = run(&spec, &Backend::Cpu);
    let sets = &without.tasks[0].minimal_sets;
    assert!(sets.iter().all(|set| set.selectivity.is_none()));
}

#[test]
fn disjoint_sets_share_no_neuron_and_all_suffice() {
    for task in &results().tasks {
        assert_eq!(task.disjoint.len(), 2, "one for each ordering");
        for found in &task.disjoint {
            let minimal = (task.minimal_sets.iter())
                .find(|set| set.ranking == found.ranking && set.delta == 0.01)
                .expect("the set that is examined");
            assert_eq!(found.sets[0].neurons, minimal.neurons);
            assert_eq!(found.sets[0].test_accuracy, minimal.test_accuracy);
            assert!((found.required - 0.99 * task.oracle.dev_accuracy).abs() < 1e-12);
            let all: Vec<usize> = found.sets.iter().flat_map(|s| s.neurons.clone()).collect();
            let distinct: BTreeSet<usize> = all.iter().copied().collect();
            assert_eq!(distinct.len(), all.len(), "a neuron is in two sets");
            assert!(
                found
                    .sets
                    .iter()
                    .all(|set| set.dev_accuracy > found.required)
            );
            assert!(found.exhausted || found.sets.len() == spec().minimal_set.disjoint);
            assert!(found.best_left.is_none_or(|best| best <= found.required));
            // 336 neurons, of which three do not vary.
            let varying = all.iter().filter(|n| ![310, 320, 332].contains(*n)).count();
            assert_eq!(found.left, 333 - varying);
        }
    }
}

#[test]
fn neurons_of_real_sets_are_found_again_more_often_than_by_chance() {
    for task in &results().tasks {
        assert_eq!(task.stability.len(), 2);
        for found in &task.stability {
            assert_eq!((found.draws, found.candidates), (10, 333));
            assert_eq!(found.units, "sentences");
            assert_eq!(found.frequency.len(), found.neurons.len());
            let both = found.frequency.iter().zip(&found.equivalent_frequency);
            assert!(
                both.into_iter()
                    .all(|(own, cluster)| own <= cluster && *cluster <= 1.0)
            );
            for figure in [found.mean_frequency, found.overlap, found.jaccard] {
                assert!(
                    figure.observed > figure.chance + 0.1,
                    "{}: {figure:?}",
                    task.name
                );
            }
            // More is found by cluster, and more of that by chance.
            assert!(found.equivalent_overlap.observed >= found.overlap.observed);
            assert!(found.equivalent_overlap.chance > found.overlap.chance);
        }
    }
}

#[test]
fn random_sets_are_counted_as_their_p_says() {
    for task in &results().tasks {
        assert_eq!(task.random_sets.len(), 2);
        for found in &task.random_sets {
            assert_eq!(found.draws, 20);
            assert_eq!(found.p, (1 + found.as_good) as f64 / 21.0);
            assert!(found.dev.lowest <= found.dev.mean && found.dev.mean <= found.dev.highest);
            assert_eq!(
                found.as_good == 0,
                found.dev.highest < found.set_dev_accuracy
            );
            let minimal = (task.minimal_sets.iter())
                .find(|set| set.ranking == found.ranking && set.delta == 0.01)
                .expect("the set that is examined");
            assert_eq!(
                (found.size, found.set_test_accuracy),
                (minimal.size, minimal.test_accuracy)
            );
        }
    }
}

#[test]
fn losses_are_corrected_over_all_tasks_and_sets() {
    let results = results();
    let mut all = Vec::new();
    for task in &results.tasks {
        all.extend(task.minimal_sets.iter().map(|set| &set.against_oracle));
        all.extend(task.combined.iter().map(|set| &set.against_oracle));
        let disjoint = task.disjoint.iter().flat_map(|found| &found.sets);
        all.extend(disjoint.map(|set| &set.against_oracle));
    }
    let claims = &results.loss_claims;
    assert_eq!(claims.rows, all.len());
    assert!(claims.family < claims.rows, "several δ give the same set");
    let least = all.iter().min_by(|a, b| a.p.total_cmp(&b.p)).expect("some");
    let bonferroni = (least.p * claims.family as f64).min(1.0);
    assert!((least.p_holm - bonferroni).abs() < 1e-12, "{least:?}");
    for a in &all {
        assert!(a.p <= a.p_holm && a.p_holm <= 1.0);
        assert!(all.iter().all(|b| a.p > b.p || a.p_holm <= b.p_holm));
    }
}

#[test]
fn bisection_and_named_ladders_are_said_and_what_is_off_is_not_done() {
    let mut spec = quick();
    spec.minimal_set.search = SearchSpec::Bisection;
    (spec.minimal_set.disjoint, spec.minimal_set.bootstrap) = (0, 0);
    spec.minimal_set.random_sets = 0;
    let found = run(&spec, &Backend::Cpu);
    let task = &found.tasks[0];
    assert!(task.disjoint.is_empty() && task.stability.is_empty() && task.random_sets.is_empty());
    for set in &task.minimal_sets {
        assert_eq!(set.search, "bisection");
        let bar = task.oracle.dev_accuracy * (1.0 - set.delta);
        let below = set.ladder.iter().find(|rung| rung.size + 1 == set.size);
        assert!(set.size == 1 || below.is_some_and(|rung| rung.dev_accuracy <= bar));
    }
    spec.minimal_set.search = SearchSpec::Ladder;
    spec.minimal_set.ladder = LadderSpec::Named("reference".to_owned());
    spec.minimal_set.deltas = vec![0.1];
    let set = &run(&spec, &Backend::Cpu).tasks[0].minimal_sets[0];
    assert_eq!(set.search, "reference ladder");
    // 0.3 % of 336 is the first whole neuron, and 10 % the fourteenth rung.
    assert_eq!(set.ladder[0].size, 1);
    assert!(set.ladder.iter().all(|rung| {
        [1, 3, 6, 10, 13, 16, 20, 23, 26, 30, 33].contains(&rung.size) || rung.size > 33
    }));
}
