//! Neurons one by one, of the real fixture.

use std::collections::BTreeSet;

use neurosieve::report::html;
use neurosieve::split::Tokens;
use neurosieve::study::results::{ExploredNeuron, TopWord};

use super::{data, results};
use crate::report::figures::{differences, document};
use crate::report::prose;

#[test]
fn the_neurons_that_matter_are_described_first_and_none_twice() {
    let results = results();
    let found = results
        .explored
        .as_ref()
        .expect("they are asked for by default");
    assert_eq!((found.most, found.neurons.len()), (200, 200));
    let ids: Vec<usize> = found.neurons.iter().map(|n| n.neuron).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 200);
    // The tasks take turns with their most salient neurons.
    let first = results
        .tasks
        .iter()
        .map(|task| task.salient.neurons[0].neuron);
    assert_eq!(ids[..2], first.collect::<Vec<_>>());
    for task in &results.tasks {
        let salient = task.salient.neurons.iter().map(|n| n.neuron);
        assert!(
            salient.into_iter().all(|n| ids.contains(&n)),
            "{}",
            task.name
        );
        for set in &task.minimal_sets {
            assert!(set.neurons[..10].iter().all(|n| ids.contains(n)));
        }
    }
    let mut matter = BTreeSet::new();
    for task in &results.tasks {
        matter.extend(task.salient.neurons.iter().map(|n| n.neuron));
        matter.extend(task.minimal_sets.iter().flat_map(|set| &set.neurons));
        matter.extend(task.combined.iter().flat_map(|set| &set.neurons));
    }
    assert_eq!(found.wanted, matter.len());
}

#[test]
fn what_is_said_of_a_neuron_is_true_of_train() {
    let (results, data) = (results(), data());
    let (x, tokens) = (
        data.train().activations.view(),
        data.train().tokens.as_ref(),
    );
    let tokens = tokens.expect("the fixture has words");
    for found in &results.explored.as_ref().expect("neurons").neurons {
        let values = x.column(found.neuron);
        let count = values.len() as f64;
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
        let squares = values.iter().map(|&v| (f64::from(v) - mean).powi(2));
        let sd = (squares.sum::<f64>() / count).sqrt();
        assert!(
            (found.mean - mean).abs() <= 1e-9 * (1.0 + sd)
                && (found.sd - sd).abs() <= 1e-9 * (1.0 + sd)
        );
        assert_eq!(found.low, values.iter().copied().fold(f32::MAX, f32::min));
        for (of, labels) in found.tasks.iter().zip(&data.train().labels) {
            let sizes: Vec<usize> = of
                .counts
                .iter()
                .map(|bins| bins.iter().sum::<u32>() as usize)
                .collect();
            assert_eq!(sizes, labels.counts());
            assert_eq!(of.weights.len(), labels.classes().len());
        }
        excerpts_are_of(found, tokens, &values.to_vec());
        for (task, of) in results.tasks.iter().zip(&found.tasks) {
            let salient = task
                .salient
                .neurons
                .iter()
                .find(|n| n.neuron == found.neuron);
            for class in salient.iter().flat_map(|n| &n.classes) {
                let at = task
                    .classes
                    .iter()
                    .position(|c| c.name == class.class)
                    .expect("a class");
                assert_eq!(f64::from(of.weights[at]), class.weight);
            }
            if let Some(salient) = salient {
                let words = |of: &[TopWord]| of.iter().map(|w| w.word.clone()).collect::<Vec<_>>();
                assert_eq!(words(&salient.top_words), words(&found.top_words));
            }
        }
    }
}

#[test]
fn redundancy_between_layers_agrees_with_the_pairs_that_are_counted() {
    let results = results();
    let found = results.redundancy.as_ref().expect("it is always there");
    let neurons = results.data.neurons as u64;
    let pairs: u64 = found.layers.iter().map(|pair| pair.pairs).sum();
    assert_eq!(pairs, neurons * (neurons - 1) / 2);
    let layers = results.data.layers.len();
    assert_eq!(found.layers.len(), layers * (layers + 1) / 2);
    let strong = results
        .clustering
        .pairs_at_least
        .iter()
        .filter(|at| at.pairs > 0);
    let largest = found
        .layers
        .iter()
        .map(|pair| pair.largest)
        .fold(0.0, f32::max);
    assert!(strong.map(|at| at.r).fold(0.0, f64::max) <= f64::from(largest));
    let mut order = found.map.order.clone();
    order.sort_unstable();
    assert_eq!(order, (0..results.data.neurons).collect::<Vec<_>>());
    assert_eq!(found.map.bounds.len(), 257);
}

#[test]
fn every_figure_of_the_report_of_a_real_study_is_one_of_its_results() {
    let results = results();
    let page = html::render(results).expect("the report renders");
    assert_eq!(differences(&page, &document(results)), Vec::<String>::new());
}

#[test]
fn every_number_of_the_prose_of_a_real_studys_report_is_one_of_its_results() {
    let results = results();
    assert_eq!(prose::of_results(results), Vec::<String>::new());
    let (numbers, unnoticed) = prose::changes_of_results(results);
    assert!(numbers > 2500, "{numbers}");
    assert_eq!(unnoticed, Vec::<String>::new());
}

/// Words and z of a neuron's excerpts are those of the samples.
fn excerpts_are_of(found: &ExploredNeuron, tokens: &Tokens, values: &[f32]) {
    let (mean, sd) = (found.mean, found.sd);
    for excerpt in &found.excerpts {
        let first = tokens
            .sentences
            .iter()
            .position(|&s| s == excerpt.sentence)
            .expect("a sentence");
        let at = (first..)
            .find(|&row| tokens.words[row..].starts_with(&excerpt.words))
            .expect("its words");
        for (z, value) in excerpt.z.iter().zip(&values[at..]) {
            let exact = (f64::from(*value) - mean) / sd;
            // The same words may stand twice in a sentence.
            let twice = tokens.words[at + 1..]
                .windows(excerpt.words.len())
                .any(|words| *words == *excerpt.words);
            assert!(
                (z - exact).abs() <= 0.005 + 1e-6 || twice,
                "{z} for {exact}"
            );
        }
    }
}
