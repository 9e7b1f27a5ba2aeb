//! A sample need not be a word: two classes of whole sentences, of which no words are known, with a constant first layer, as the
//! embedding of a model's first position is.

use ndarray::Axis;
use neurosieve::labels::Labels;
use neurosieve::report;
use neurosieve::split::{Dataset, Split};
use neurosieve::study::{self, results::StudyResults};
use neurosieve::{Activations, Backend};

use super::{data, device, quick};
use crate::report::prose;

/// Value of the neurons that do not vary.
const STILL: f32 = 0.375;

/// A part of the fixture whose samples are one class or any other, without words; its first layer is constant.
fn part(part: &Split, task: usize) -> Split {
    let layers = part.activations.layers().clone();
    let mut x = part.activations.view().to_owned();
    for neuron in layers.columns(0) {
        x.index_axis_mut(Axis(1), neuron).fill(STILL);
    }
    let of_class = |&id: &u32| u32::from(id != 0);
    let ids = part.labels[task].ids().iter().map(of_class).collect();
    let classes = vec!["match".to_owned(), "mismatch".to_owned()];
    Split {
        activations: Activations::new(x, layers).expect("finite"),
        labels: vec![Labels::new(ids, classes).expect("two classes")],
        tokens: None,
    }
}

fn results() -> StudyResults {
    let read = data();
    let task = read.tasks().iter().position(|name| name == "coarse");
    let task = task.expect("the task is there");
    let [train, dev, test] = [read.train(), read.dev(), read.test()].map(|p| part(p, task));
    let data = Dataset::new(vec!["docmatch".to_owned()], train, dev, test);
    let data = data.expect("the parts agree");
    let mut spec = quick();
    spec.control.draws = 3; // asked for, but there are no words
    spec.minimal_set.deltas = vec![0.05, 0.01];
    study::run_on(&spec, &data, &Backend::Cpu, device("cpu"), &mut |_| {}).expect("it runs")
}

#[test]
fn two_classes_of_sentences_without_words_make_a_whole_study() {
    let results = results();
    let first = results.data.layer_of.iter().filter(|l| **l == 0).count();
    assert_eq!(results.data.dead_layers, [0]);
    assert!(results.data.constant.len() >= first);
    for cut in &results.clusters {
        for &still in &results.data.constant {
            let with = cut.labels.iter().filter(|l| **l == cut.labels[still]);
            assert_eq!(
                with.count(),
                1,
                "neuron {still} is in a cluster with others"
            );
        }
    }
    let task = &results.tasks[0];
    assert!(task.above_chance && task.control.is_none());
    assert_eq!(
        task.layers.independent[0].test_accuracy,
        task.majority_accuracy
    );
    assert!(
        task.layers
            .independent
            .iter()
            .all(|p| p.selectivity.is_none())
    );
    // Of two classes each has the other's weights with the sign changed.
    assert_eq!(task.salient.per_class[0], task.salient.per_class[1]);
    assert_eq!(task.salient.by_class_layer[0][0], 0);
    assert_eq!(task.minimal_sets.len(), 2 * 2);
    for set in &task.minimal_sets {
        assert!(set.selectivity.is_none());
        let still = set
            .neurons
            .iter()
            .filter(|n| results.data.constant.contains(n));
        assert_eq!(still.count(), 0, "a constant neuron was chosen");
    }
    assert_eq!((task.disjoint.len(), task.random_sets.len()), (2, 2));
    assert!(task.stability.iter().all(|found| found.units == "samples"));
    assert_eq!(task.combined.len(), 1);
    let said = results.warnings.join(" ");
    for part in ["are constant", "layer 0", "the words are not known"] {
        assert!(said.contains(part), "\"{part}\" is not in: {said}");
    }
    let page = report::html::render(&results).expect("a report");
    assert!(page.contains("a sample is more than a word"));
    assert!(!page.contains("words that it fires on"));
    assert_eq!(prose::of_results(&results), Vec::<String>::new());
}
