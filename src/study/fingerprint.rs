//! Hashes of what a study read: whether two runs had the same data, whatever their files are called.

use ndarray::ArrayView2;

use super::units::{text, values};
use crate::split::Split;

/// BLAKE3 of the activations of a part: samples, neurons, and every value as f32, sample by sample.
pub(super) fn activations(part: &Split) -> String {
    let mut hasher = blake3::Hasher::new();
    let view: ArrayView2<'_, f32> = part.activations.view();
    values(&mut hasher, &[view.nrows() as u64, view.ncols() as u64]);
    let standard = view.as_standard_layout();
    let contiguous = standard.as_slice().expect("it has the standard layout");
    hasher.update(bytemuck::cast_slice(contiguous));
    hasher.finalize().to_hex().to_string()
}

/// Adds the layer of each neuron.
pub(super) fn layers(hasher: &mut blake3::Hasher, part: &Split) {
    let map = part.activations.layers();
    let layers: Vec<u32> = (0..map.neurons()).map(|n| map.layer(n)).collect();
    values(hasher, &layers);
}

/// Adds what is said of the samples of a part: labels, with the names of tasks and classes, sentences and words.
pub(super) fn said(hasher: &mut blake3::Hasher, part: &Split, tasks: &[String]) {
    for (task, labels) in tasks.iter().zip(&part.labels) {
        text(hasher, task);
        values(hasher, labels.ids());
        labels
            .classes()
            .iter()
            .for_each(|class| text(hasher, class));
    }
    if let Some(tokens) = &part.tokens {
        values(hasher, &tokens.sentences);
        tokens.words.iter().for_each(|word| text(hasher, word));
    }
}

/// BLAKE3 of all of a part: the hash of its activations, layers, labels and words.
pub(super) fn whole(part: &Split, tasks: &[String]) -> String {
    let mut hasher = blake3::Hasher::new();
    text(&mut hasher, &activations(part));
    layers(&mut hasher, part);
    said(&mut hasher, part, tasks);
    hasher.finalize().to_hex().to_string()
}
