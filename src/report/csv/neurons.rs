//! The tables of neurons: orderings, salience, clusters.

use super::{Sheet, ids};
use crate::error::Result;
use crate::study::results::StudyResults;

/// Layer and unit of a neuron; empty fields for an id that the data do not have.
fn place(results: &StudyResults, neuron: usize) -> (Option<u32>, Option<u32>) {
    let data = &results.data;
    (
        data.layer_of.get(neuron).copied(),
        data.unit_of.get(neuron).copied(),
    )
}

pub(super) fn rankings(results: &StudyResults) -> Result<Sheet> {
    let mut sheet = Sheet::new("rankings.csv", "task ranking rank neuron layer unit score")?;
    for task in &results.tasks {
        for (name, ranking) in &task.rankings {
            for (rank, &neuron) in (1..).zip(&ranking.order) {
                let score = ranking.scores.get(neuron);
                sheet.row((
                    (&task.name, name),
                    (rank as usize, neuron, place(results, neuron), score),
                ))?;
            }
        }
    }
    Ok(sheet)
}

pub(super) fn class_rankings(results: &StudyResults) -> Result<Sheet> {
    let mut sheet = Sheet::new(
        "class_rankings.csv",
        "task ranking class rank neuron layer unit",
    )?;
    for task in &results.tasks {
        for (name, ranking) in &task.rankings {
            for (class, order) in &ranking.per_class {
                for (rank, &neuron) in (1..).zip(order) {
                    sheet.row((
                        (&task.name, name, class),
                        (rank as usize, neuron, place(results, neuron)),
                    ))?;
                }
            }
        }
    }
    Ok(sheet)
}

pub(super) fn salient_layers(results: &StudyResults) -> Result<Sheet> {
    let mut sheet = Sheet::new("salient_layers.csv", "task class layer neurons")?;
    for task in &results.tasks {
        for (class, counts) in task.classes.iter().zip(&task.salient.by_class_layer) {
            for (layer, count) in results.data.layers.iter().zip(counts) {
                sheet.row((&task.name, &class.name, layer, count))?;
            }
        }
    }
    Ok(sheet)
}

pub(super) fn salient_neurons(results: &StudyResults) -> Result<Sheet> {
    let mut sheet = Sheet::new(
        "salient_neurons.csv",
        "task neuron layer unit rank class weight",
    )?;
    for task in &results.tasks {
        for n in &task.salient.neurons {
            for class in &n.classes {
                sheet.row((
                    (&task.name, n.neuron, n.layer, n.unit, n.rank),
                    (&class.class, class.weight),
                ))?;
            }
        }
    }
    Ok(sheet)
}

pub(super) fn top_words(results: &StudyResults) -> Result<Sheet> {
    let mut sheet = Sheet::new("top_words.csv", "task neuron layer unit word score z count")?;
    for task in &results.tasks {
        for n in &task.salient.neurons {
            for word in &n.top_words {
                sheet.row((
                    (&task.name, n.neuron, n.layer, n.unit),
                    (&word.word, word.score, word.z, word.count),
                ))?;
            }
        }
    }
    Ok(sheet)
}

pub(super) fn clusters(results: &StudyResults) -> Result<Sheet> {
    let mut sheet = Sheet::new(
        "clusters.csv",
        "threshold clusters share_of_neurons representatives",
    )?;
    for cut in &results.clusters {
        let share = cut.count as f64 / results.data.neurons.max(1) as f64;
        sheet.row((cut.threshold, cut.count, share, ids(&cut.representatives)))?;
    }
    Ok(sheet)
}

pub(super) fn cluster_sizes(results: &StudyResults) -> Result<Sheet> {
    let mut sheet = Sheet::new("cluster_sizes.csv", "threshold size clusters neurons")?;
    for cut in &results.clusters {
        for bin in &cut.size_histogram {
            sheet.row((cut.threshold, &bin.size, bin.clusters, bin.neurons))?;
        }
    }
    Ok(sheet)
}

pub(super) fn cluster_windows(results: &StudyResults) -> Result<Sheet> {
    let mut sheet = Sheet::new("cluster_windows.csv", "threshold layers_spanned clusters")?;
    for cut in &results.clusters {
        for (span, count) in (1..).zip(&cut.window_histogram) {
            sheet.row((cut.threshold, span as usize, count))?;
        }
    }
    Ok(sheet)
}

pub(super) fn cluster_labels(results: &StudyResults) -> Result<Sheet> {
    let mut sheet = Sheet::new("cluster_labels.csv", "threshold neuron layer unit cluster")?;
    for cut in &results.clusters {
        for (neuron, cluster) in cut.labels.iter().enumerate() {
            sheet.row((cut.threshold, neuron, place(results, neuron), cluster))?;
        }
    }
    Ok(sheet)
}
