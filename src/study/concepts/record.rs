//! From what the analyses return to what the document holds.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rayon::prelude::*;

use super::ConceptsJob;
use super::masks::Concept;
use super::results::{
    ClassFocusResult, ConceptNeuron, ConceptResult, ConceptsResults, DescribedNeuron, Focus,
    HistogramResult, LayerCounts, OrderingClasses, PairResult, SCHEMA_VERSION, Tests,
    ThresholdResult,
};
use crate::activations::Activations;
use crate::analysis::concepts::{self, FiringWords, Vocabulary, firing_words};
use crate::analysis::dissection::{Dissection, Pair, Side, Threshold};
use crate::analysis::focus::{ClassFocus, focus};
use crate::analysis::histogram::histogram;
use crate::analysis::sample_sets::SampleSets;
use crate::data::ProbeFile;
use crate::error::Result;
use crate::labels::Labels;
use crate::ops::moments::Moments;
use crate::study::results::TopWord;

/// Shares of an ordering whose neurons are counted by class.
const SHARES: [f64; 3] = [0.01, 0.05, 0.1];

/// The false discovery rate at which a pair counts as a finding.
const RATE: f64 = 0.05;

/// Words that the list of a concept shows of each of its neurons.
const WORDS_OF_CONCEPT: usize = 5;

fn thresholds(thresholds: &[Threshold]) -> Vec<ThresholdResult> {
    let result = |threshold: &Threshold| ThresholdResult {
        quantile: threshold.quantile,
        side: match threshold.side {
            Side::Above => "above",
            Side::Below => "below",
        },
    };
    thresholds.iter().map(result).collect()
}

/// What descriptions follow from.
pub(super) struct Known<'a> {
    pub(super) job: &'a ConceptsJob,
    pub(super) x: &'a Activations,
    pub(super) labels: &'a Labels,
    pub(super) moments: &'a Moments,
    pub(super) vocabulary: Option<&'a Vocabulary<'a>>,
    pub(super) named: &'a [Concept],
    pub(super) sets: &'a SampleSets,
    pub(super) dissection: &'a Dissection,
    pub(super) thresholds: &'a [Threshold],
    pub(super) probe: Option<&'a ProbeFile>,
    pub(super) class_of: &'a [Option<usize>],
}

impl Known<'_> {
    /// The classes that `class_of` numbers: those of the probe, or of the data.
    fn classes(&self) -> &[String] {
        let of_probe = self.probe.and_then(|probe| probe.classes.as_deref());
        of_probe.unwrap_or(self.labels.classes())
    }

    /// The document without what is found.
    pub(super) fn header(&self) -> ConceptsResults {
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        ConceptsResults {
            schema_version: SCHEMA_VERSION,
            neurosieve_version: env!("CARGO_PKG_VERSION").into(),
            file: self.job.data.activations.display().to_string(),
            task: String::new(),
            classes: self.labels.classes().to_vec(),
            samples: self.x.samples(),
            neurons: self.x.neurons(),
            layers: self.x.layers().layers(),
            rankings: path(&self.job.rankings),
            method: None,
            probe: path(&self.job.probe),
            min_count: self.job.min_count,
            concept_count: self.job.concept_count,
            thresholds: thresholds(self.thresholds),
            tests: Tests {
                pairs: self.dissection.tests(),
                findings: self.dissection.findings(RATE),
            },
            described: Vec::new(),
            concepts: Vec::new(),
            class_of_neurons_by: match self.probe {
                Some(_) => "weight",
                None => "mean-difference",
            },
            orderings: Vec::new(),
            focus: None,
            warnings: self.warnings(),
            timings: Vec::new(),
        }
    }

    fn words(&self, neurons: &[usize], words_each: usize) -> Result<Option<Vec<FiringWords>>> {
        let find = |vocabulary: &Vocabulary<'_>| {
            let (x, least) = (self.x.view(), self.job.min_count);
            firing_words(x, self.moments, vocabulary, neurons, words_each, least)
        };
        self.vocabulary.map(find).transpose()
    }

    /// `neurons` one by one; `order` is the ordering that they are the first of.
    pub(super) fn neurons(
        &self,
        neurons: &[usize],
        order: Option<&Vec<usize>>,
    ) -> Result<Vec<DescribedNeuron>> {
        let words = self.words(neurons, self.job.top_words)?;
        let list = |at: usize, of: fn(&FiringWords) -> &Vec<concepts::TopWord>| {
            words.as_ref().map(|words| {
                let words = of(&words[at]).iter();
                words.map(word).collect::<Vec<TopWord>>()
            })
        };
        let map = self.x.layers();
        let describe = |(at, &neuron): (usize, &usize)| {
            Ok(DescribedNeuron {
                neuron,
                layer: map.layer(neuron),
                unit: map.unit(neuron),
                rank: order.map(|_| at + 1),
                class: self.class_of[neuron].map(|class| self.classes()[class].clone()),
                top_words: list(at, |words| &words.absolute),
                high_words: list(at, |words| &words.high),
                low_words: list(at, |words| &words.low),
                concepts: self.pairs(self.dissection.of_neuron(neuron, self.job.best)),
                histogram: self.histogram(neuron)?,
            })
        };
        neurons.par_iter().enumerate().map(describe).collect()
    }

    fn histogram(&self, neuron: usize) -> Result<HistogramResult> {
        let found = histogram(self.x.view().column(neuron), self.labels, self.job.bins)?;
        let rows = found.counts.rows().into_iter();
        let rows = rows.zip(self.labels.classes());
        Ok(HistogramResult {
            low: found.low,
            high: found.high,
            counts: rows
                .map(|(row, name)| (name.clone(), row.to_vec()))
                .collect(),
        })
    }

    fn pairs(&self, pairs: Vec<Pair>) -> Vec<PairResult> {
        pairs.iter().map(|pair| self.pair(pair)).collect()
    }

    fn pair(&self, pair: &Pair) -> PairResult {
        PairResult {
            neuron: pair.neuron,
            concept: pair.concept,
            name: self.named[pair.concept].name.clone(),
            threshold: pair.threshold,
            cut: pair.cut,
            fires: pair.fires,
            shared: pair.shared,
            iou: pair.iou,
            precision: pair.precision,
            recall: pair.recall,
            p: pair.p,
            q: pair.q,
        }
    }

    /// Every concept with its best neurons.
    pub(super) fn concepts(&self) -> Result<Vec<ConceptResult>> {
        let all = (0..self.named.len()).into_par_iter();
        let best: Vec<Vec<Pair>> = all
            .map(|concept| self.dissection.of_concept(concept, self.job.best))
            .collect();
        let mut neurons: Vec<usize> = best.iter().flatten().map(|pair| pair.neuron).collect();
        neurons.sort_unstable();
        neurons.dedup();
        let words = self.words(&neurons, WORDS_OF_CONCEPT)?;
        let words_of = |pair: &Pair| {
            let at = neurons.binary_search(&pair.neuron).expect("it is listed");
            let words = words.as_ref()?;
            let list = match self.thresholds[pair.threshold].side {
                Side::Above => &words[at].high,
                Side::Below => &words[at].low,
            };
            Some(list.iter().map(|word| word.word.clone()).collect())
        };
        let map = self.x.layers();
        let neuron = |pair: &Pair| ConceptNeuron {
            pair: self.pair(pair),
            layer: map.layer(pair.neuron),
            unit: map.unit(pair.neuron),
            top_words: words_of(pair),
        };
        let concept = |(place, (concept, best)): (usize, (&Concept, &Vec<Pair>))| ConceptResult {
            name: concept.name.clone(),
            kind: concept.kind,
            pattern: concept.pattern.clone(),
            samples: self.sets.size(place),
            neurons: best.iter().map(neuron).collect(),
        };
        let all = self.named.iter().zip(&best).enumerate();
        Ok(all.map(concept).collect())
    }

    fn by_layer(&self, neurons: impl Iterator<Item = usize>) -> Vec<usize> {
        let map = self.x.layers();
        let layers = map.layers();
        let mut counts = vec![0; layers.len()];
        for neuron in neurons {
            let at = layers.binary_search(&map.layer(neuron));
            counts[at.expect("the map lists its layers")] += 1;
        }
        counts
    }

    /// Which classes the first neurons of each ordering are of.
    pub(super) fn orderings(&self, orders: &BTreeMap<String, Vec<usize>>) -> Vec<OrderingClasses> {
        let mut all = Vec::new();
        for (name, order) in orders {
            for share in SHARES {
                let k = ((order.len() as f64 * share).round() as usize).max(1);
                let first = || order[..k].iter().copied();
                let of = |class: usize| {
                    let by_layer =
                        self.by_layer(first().filter(|&n| self.class_of[n] == Some(class)));
                    LayerCounts {
                        neurons: by_layer.iter().sum(),
                        by_layer,
                    }
                };
                let classes = self.classes().iter().enumerate();
                all.push(OrderingClasses {
                    ranking: name.clone(),
                    share,
                    k,
                    classes: classes
                        .map(|(class, name)| (name.clone(), of(class)))
                        .collect(),
                    of_none: first().filter(|&n| self.class_of[n].is_none()).count(),
                });
            }
        }
        all
    }

    /// How each class of the probe is spread over the neurons.
    pub(super) fn focus(&self) -> Result<Option<Focus>> {
        let Some(probe) = self.probe else {
            return Ok(None);
        };
        let found = focus(probe.weights.view(), self.job.mass)?;
        let classes = self.classes().iter().zip(found);
        let result = |(class, found): (&String, ClassFocus)| ClassFocusResult {
            class: class.clone(),
            share: found.neurons.len() as f64 / self.x.neurons() as f64,
            by_layer: self.by_layer(found.neurons.iter().copied()),
            effective: found.effective,
            neurons: found.neurons,
        };
        Ok(Some(Focus {
            mass: self.job.mass,
            classes: classes.map(result).collect(),
        }))
    }

    fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.vocabulary.is_none() {
            warnings.push(
                "there are no words: neurons have no top words, and concepts are classes alone"
                    .to_owned(),
            );
        }
        let empty = (0..self.named.len()).filter(|&concept| self.sets.size(concept) == 0);
        for concept in empty {
            let name = &self.named[concept].name;
            warnings.push(format!("no word is a \"{name}\""));
        }
        if let Some(probe) = self.probe
            && probe.classes.as_deref() != Some(self.labels.classes())
        {
            let known = self.classes().len();
            warnings.push(format!(
                "the probe's {known} classes are not those of the data: neurons are counted by the probe's"
            ));
        }
        warnings
    }
}

fn word(word: &concepts::TopWord) -> TopWord {
    TopWord {
        word: word.word.clone(),
        score: word.score,
        z: word.z,
        count: word.count,
    }
}
