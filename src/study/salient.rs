//! Salient neurons: which, where they sit, and what they fire on.

use super::results::{ClassWeight, Salient, SalientNeuron, TopWord};
use super::spec::ConceptSpec;
use crate::analysis::{
    concepts,
    ranking::{self, Ranking},
};
use crate::error::Result;
use crate::ops::moments::Moments;
use crate::ops::probe::Fit;
use crate::split::Split;

/// The neurons that hold the largest share of each class's weight mass.
///
/// # Errors
/// When weights are not finite or words and activations differ in number.
pub(super) fn find(
    spec: &ConceptSpec,
    fit: &Fit,
    lca: &Ranking,
    classes: &[String],
    train: &Split,
    moments: &Moments,
) -> Result<Salient> {
    let weights = fit.standardised.view();
    let per_class = ranking::salient(weights, spec.mass)?;
    let map = train.activations.layers();
    let layers = map.layers();
    let by_layer = |neurons: &[usize]| -> Vec<usize> {
        layers
            .iter()
            .map(|&layer| neurons.iter().filter(|&&n| map.layer(n) == layer).count())
            .collect()
    };
    let mut union: Vec<usize> = per_class.concat();
    union.sort_unstable();
    union.dedup();
    let mut rank = vec![0; lca.order.len()];
    for (at, &neuron) in lca.order.iter().enumerate() {
        rank[neuron] = at + 1;
    }
    let mut described = union.clone();
    described.sort_by_key(|&n| rank[n]);
    described.truncate(spec.neurons);
    let words = match &train.tokens {
        Some(tokens) => concepts::top_words(
            train.activations.view(),
            moments,
            &tokens.words,
            &described,
            spec.top_words,
            spec.min_count,
        )?,
        None => vec![Vec::new(); described.len()],
    };
    let neurons = described
        .iter()
        .zip(words)
        .map(|(&neuron, words)| SalientNeuron {
            neuron,
            layer: map.layer(neuron),
            unit: map.unit(neuron),
            rank: rank[neuron],
            classes: classes
                .iter()
                .enumerate()
                .filter(|&(class, _)| per_class[class].contains(&neuron))
                .map(|(class, name)| ClassWeight {
                    class: name.clone(),
                    weight: f64::from(weights[(class, neuron)]),
                })
                .collect(),
            top_words: words
                .into_iter()
                .map(|word| TopWord {
                    word: word.word,
                    score: word.score,
                    z: word.z,
                    count: word.count,
                })
                .collect(),
        });
    Ok(Salient {
        mass: spec.mass,
        neurons: neurons.collect(),
        by_class_layer: per_class.iter().map(|neurons| by_layer(neurons)).collect(),
        by_layer: by_layer(&union),
        per_class,
    })
}
