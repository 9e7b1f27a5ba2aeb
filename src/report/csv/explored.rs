//! Tables of neurons one by one, and of how redundant all of them are.

use super::Sheet;
use crate::error::Result;
use crate::study::results::{ExploredNeuron, StudyResults};

fn neurons(results: &StudyResults) -> impl Iterator<Item = &ExploredNeuron> {
    results.explored.iter().flat_map(|found| &found.neurons)
}

pub(super) fn described(results: &StudyResults) -> Result<Sheet> {
    let mut sheet = Sheet::new("neurons.csv", "neuron layer unit mean sd low high")?;
    for n in neurons(results) {
        sheet.row((n.neuron, n.layer, n.unit, n.mean, n.sd, n.low, n.high))?;
    }
    Ok(sheet)
}

pub(super) fn weights(results: &StudyResults) -> Result<Sheet> {
    let mut sheet = Sheet::new("neuron_weights.csv", "task neuron class weight")?;
    for n in neurons(results) {
        for (task, of) in results.tasks.iter().zip(&n.tasks) {
            for (class, weight) in task.classes.iter().zip(&of.weights) {
                sheet.row((&task.name, n.neuron, &class.name, weight))?;
            }
        }
    }
    Ok(sheet)
}

pub(super) fn histograms(results: &StudyResults) -> Result<Sheet> {
    let mut sheet = Sheet::new(
        "neuron_histograms.csv",
        "task neuron class bin from to samples",
    )?;
    for n in neurons(results) {
        let (low, high) = (f64::from(n.low), f64::from(n.high));
        for (task, of) in results.tasks.iter().zip(&n.tasks) {
            for (class, counts) in task.classes.iter().zip(&of.counts) {
                let width = (high - low) / counts.len().max(1) as f64;
                for (bin, samples) in counts.iter().enumerate() {
                    let ends = [bin, bin + 1].map(|edge| low + edge as f64 * width);
                    sheet.row((&task.name, n.neuron, &class.name, bin, ends, samples))?;
                }
            }
        }
    }
    Ok(sheet)
}

pub(super) fn partners(results: &StudyResults) -> Result<Sheet> {
    let mut sheet = Sheet::new("neuron_partners.csv", "neuron partner r")?;
    for n in neurons(results) {
        for other in &n.partners {
            sheet.row((n.neuron, other.neuron, other.r))?;
        }
    }
    Ok(sheet)
}

pub(super) fn words(results: &StudyResults) -> Result<Sheet> {
    let mut sheet = Sheet::new("neuron_words.csv", "neuron word score z count")?;
    for n in neurons(results) {
        for word in &n.top_words {
            sheet.row((n.neuron, &word.word, word.score, word.z, word.count))?;
        }
    }
    Ok(sheet)
}

pub(super) fn excerpts(results: &StudyResults) -> Result<Sheet> {
    let mut sheet = Sheet::new(
        "neuron_excerpts.csv",
        "neuron excerpt sentence token word z",
    )?;
    for n in neurons(results) {
        for (number, excerpt) in (1_usize..).zip(&n.excerpts) {
            for (token, (word, z)) in excerpt.words.iter().zip(&excerpt.z).enumerate() {
                sheet.row((n.neuron, number, excerpt.sentence, token, word, z))?;
            }
        }
    }
    Ok(sheet)
}

pub(super) fn layers(results: &StudyResults) -> Result<Sheet> {
    let mut sheet = Sheet::new(
        "layer_redundancy.csv",
        "layer other_layer pairs mean_r largest_r",
    )?;
    for pair in results.redundancy.iter().flat_map(|found| &found.layers) {
        sheet.row((pair.layers, pair.pairs, pair.mean, pair.largest))?;
    }
    Ok(sheet)
}

pub(super) fn map(results: &StudyResults) -> Result<Sheet> {
    let mut sheet = Sheet::new("correlation_map.csv", "group other_group mean_r")?;
    for map in results.redundancy.iter().map(|found| &found.map) {
        let groups = map.bounds.len().saturating_sub(1);
        let pairs = (0..groups).flat_map(|g| (g..groups).map(move |h| (g, h)));
        for (pair, mean) in pairs.zip(&map.mean) {
            sheet.row((pair, mean))?;
        }
    }
    Ok(sheet)
}

pub(super) fn order(results: &StudyResults) -> Result<Sheet> {
    let mut sheet = Sheet::new("dendrogram_order.csv", "place neuron group")?;
    for map in results.redundancy.iter().map(|found| &found.map) {
        for (place, neuron) in map.order.iter().enumerate() {
            let group = map.bounds.partition_point(|&bound| bound <= place);
            sheet.row((place, neuron, group.saturating_sub(1)))?;
        }
    }
    Ok(sheet)
}
