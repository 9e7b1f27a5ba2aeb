//! Neurons one by one: which of them, and what train tells of each.

use std::collections::BTreeSet;

use super::choices::Choices;
use super::records;
use super::results::{
    ClusterCut, Correlated, ExcerptRecord, Explored, ExploredNeuron, LayerPair, MapRecord,
    NeuronOfTask, Redundancy,
};
use super::salient;
use super::task::Common;
use crate::activations::LayerMap;
use crate::analysis::correlation_map::{between_layers, correlation_map, partners};
use crate::analysis::excerpts::{self, Excerpt};
use crate::analysis::histogram::histogram;
use crate::analysis::redundancy::Dendrogram;
use crate::error::Result;
use crate::ops::correlation::Correlation;

/// Bins of a histogram.
const BINS: usize = 24;

/// Neurons named as partners.
const PARTNERS: usize = 8;

/// Sentences of a neuron, and how many tokens of each at most.
const EXCERPTS: usize = 4;
const WINDOW: usize = 40;

/// Groups of the map of correlations.
const GROUPS: usize = 256;

/// How redundant all neurons are.
///
/// # Errors
/// As the functions of `analysis::correlation_map`.
pub(super) fn redundancy(
    correlation: &Correlation,
    dendrogram: &Dendrogram,
    layers: &LayerMap,
) -> Result<Redundancy> {
    let map = correlation_map(correlation, dendrogram, GROUPS)?;
    let found = between_layers(correlation, layers)?;
    let names = layers.layers();
    let pairs = (0..names.len()).flat_map(|a| (a..names.len()).map(move |b| (a, b)));
    Ok(Redundancy {
        layers: pairs
            .map(|at| LayerPair {
                layers: [names[at.0], names[at.1]],
                pairs: found.pairs[at],
                mean: found.mean[at],
                largest: found.largest[at],
            })
            .collect(),
        map: MapRecord {
            mean: map.mean.iter().map(|r| (r * 1e3).round() / 1e3).collect(),
            order: map.order,
            bounds: map.bounds,
        },
    })
}

/// The neurons that matter to any task, most important first, each once, and how many these are; then representatives of the
/// largest clusters. At most `most`.
fn chosen(
    choices: &[Choices<'_>],
    cuts: &[ClusterCut],
    equivalent: f64,
    most: usize,
) -> (Vec<usize>, usize) {
    let of_task = |chosen: &Choices<'_>| -> Vec<usize> {
        let salient = chosen.salient.neurons.iter().map(|found| found.neuron);
        let minimal = chosen.minimal_sets.iter().map(|set| &set.set);
        let combined = chosen.combined.iter().map(|set| &set.set);
        // The first neurons of every set before the later ones of any.
        let sets: Vec<&Vec<usize>> = minimal.chain(combined).map(|set| &set.neurons).collect();
        let longest = sets.iter().map(|set| set.len()).max().unwrap_or(0);
        let by_place = (0..longest).flat_map(|at| sets.iter().filter_map(move |set| set.get(at)));
        salient.chain(by_place.copied()).collect()
    };
    let lists: Vec<Vec<usize>> = choices.iter().map(of_task).collect();
    let longest = lists.iter().map(Vec::len).max().unwrap_or(0);
    let turns = (0..longest).flat_map(|at| lists.iter().filter_map(move |list| list.get(at)));
    let mut seen = BTreeSet::new();
    let mut found: Vec<usize> = turns.copied().filter(|&n| seen.insert(n)).collect();
    let wanted = found.len();
    let far = |cut: &ClusterCut| (cut.threshold - equivalent).abs();
    let cut = cuts.iter().min_by(|a, b| far(a).total_cmp(&far(b)));
    if let Some(cut) = cut.filter(|_| wanted < most) {
        let mut sizes = vec![0_usize; cut.count];
        cut.labels
            .iter()
            .for_each(|&label| sizes[label as usize] += 1);
        let mut clusters: Vec<usize> = (0..cut.count).filter(|&c| sizes[c] > 1).collect();
        clusters.sort_by_key(|&c| std::cmp::Reverse(sizes[c]));
        let medoids = clusters.iter().map(|&c| cut.representatives[c]);
        found.extend(medoids.filter(|&n| seen.insert(n)));
    }
    found.truncate(most);
    (found, wanted)
}

impl Common<'_> {
    /// Describes the neurons that matter; `None` where none were asked for.
    ///
    /// # Errors
    /// When words and activations differ in number.
    pub(super) fn explore(
        &self,
        choices: &[Choices<'_>],
        cuts: &[ClusterCut],
        correlation: &Correlation,
    ) -> Result<Option<Explored>> {
        let spec = self.spec;
        let most = spec.concepts.explored;
        if most == 0 {
            return Ok(None);
        }
        let (neurons, wanted) = chosen(choices, cuts, spec.minimal_set.equivalent, most);
        let (train, moments) = (self.train, self.prober.moments);
        let (x, map) = (train.activations.view(), train.activations.layers());
        let words = salient::top_words(&spec.concepts, &neurons, train, moments)?;
        let passages = match &train.tokens {
            None => vec![Vec::new(); neurons.len()],
            Some(tokens) => {
                let all = (EXCERPTS, WINDOW);
                let found = excerpts::excerpts(x, moments, tokens, &neurons, all.0, all.1)?;
                let record = |e: Excerpt| records::excerpt(e, &tokens.words);
                let of_neuron = |of: Vec<Excerpt>| of.into_iter().map(record).collect();
                found.into_iter().map(of_neuron).collect()
            }
        };
        let described = neurons.iter().zip(words.into_iter().zip(passages));
        let describe = |(&neuron, (top_words, excerpts)): (&usize, (_, Vec<ExcerptRecord>))| {
            let mut tasks = Vec::with_capacity(choices.len());
            let (mut low, mut high) = (0.0, 0.0);
            for (chosen, labels) in choices.iter().zip(&train.labels) {
                let spread = histogram(x.column(neuron), labels, BINS)?;
                (low, high) = (spread.low, spread.high);
                let weights = chosen.oracle.fit.standardised.column(neuron);
                tasks.push(NeuronOfTask {
                    weights: weights.to_vec(),
                    counts: spread
                        .counts
                        .rows()
                        .into_iter()
                        .map(|row| row.to_vec())
                        .collect(),
                });
            }
            let others = partners(correlation, neuron, PARTNERS).into_iter();
            Ok(ExploredNeuron {
                neuron,
                layer: map.layer(neuron),
                unit: map.unit(neuron),
                mean: moments.mean[neuron],
                sd: moments.sd[neuron],
                low,
                high,
                partners: others.map(|(neuron, r)| Correlated { neuron, r }).collect(),
                top_words,
                excerpts,
                tasks,
            })
        };
        Ok(Some(Explored {
            most,
            wanted,
            neurons: described.map(describe).collect::<Result<_>>()?,
        }))
    }
}
