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
    let per_class = ranking::salient(fit.standardised.view(), spec.mass)?;
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
    let words = top_words(spec, &described, train, moments)?;
    let describe = |(&neuron, top_words): (&usize, Vec<TopWord>)| SalientNeuron {
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
                weight: f64::from(fit.standardised[(class, neuron)]),
            })
            .collect(),
        top_words,
    };
    Ok(Salient {
        mass: spec.mass,
        neurons: described.iter().zip(words).map(describe).collect(),
        by_class_layer: per_class.iter().map(|neurons| by_layer(neurons)).collect(),
        by_layer: by_layer(&union),
        per_class,
    })
}

/// The words that each neuron fires on; none where they are not known.
///
/// # Errors
/// When words and activations differ in number.
pub(super) fn top_words(
    spec: &ConceptSpec,
    neurons: &[usize],
    train: &Split,
    moments: &Moments,
) -> Result<Vec<Vec<TopWord>>> {
    let Some(tokens) = &train.tokens else {
        return Ok(vec![Vec::new(); neurons.len()]);
    };
    let found = concepts::top_words(
        train.activations.view(),
        moments,
        &tokens.words,
        neurons,
        spec.top_words,
        spec.min_count,
    )?;
    let record = |word: concepts::TopWord| TopWord {
        word: word.word,
        score: word.score,
        z: word.z,
        count: word.count,
    };
    Ok(found
        .into_iter()
        .map(|words| words.into_iter().map(record).collect())
        .collect())
}
