//! Concepts: which words does a neuron fire on.

use std::collections::HashMap;

use ndarray::ArrayView2;
use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::ops::moments::{Moments, Spread};

/// A word type that a neuron fires on.
#[derive(Debug, Clone, PartialEq)]
pub struct TopWord {
    /// The word.
    pub word: String,
    /// Mean |z| over its occurrences, divided by the largest of all words: 0 to 1.
    pub score: f64,
    /// Mean signed z over its occurrences.
    pub z: f64,
    /// Occurrences.
    pub count: usize,
}

/// The words that each of `neurons` fires on, strongest first, at most `words_each`.
///
/// For every word type the mean of |z| over its occurrences, `z = (x − mean) / sd`, divided by the largest among the words
/// that occur at least `min_count` times (the others are left out: the mean of one occurrence is an outlier, not a
/// concept); ties by word. With `min_count` 1 this is NeuroX's `get_top_words`. A neuron that does not, or nearly does
/// not, vary has none.
///
/// `x` is N × D, `moments` those of the same neurons, `words` one a row.
///
/// # Errors
/// When the words are not one a row, the moments not of these neurons, or a neuron does not exist.
pub fn top_words(
    x: ArrayView2<'_, f32>,
    moments: &Moments,
    words: &[String],
    neurons: &[usize],
    words_each: usize,
    min_count: usize,
) -> Result<Vec<Vec<TopWord>>> {
    check(x, moments, words.len(), neurons)?;
    let vocabulary = Vocabulary::new(words);
    let of = |&neuron: &usize| {
        let found = vocabulary.means(x, moments, neuron, min_count);
        strongest(found, words_each, |word| word.score)
    };
    Ok(neurons.par_iter().map(of).collect())
}

/// The words that a neuron fires on, in three orders; each score is a share of the largest of its list.
#[derive(Debug, Clone, PartialEq)]
pub struct FiringWords {
    /// By the mean of |z|, as [`top_words`] has them.
    pub absolute: Vec<TopWord>,
    /// By the mean of z, of those where it is not negative: the words on which its values are large.
    pub high: Vec<TopWord>,
    /// By the mean of −z, of those where it is not negative: the words on which its values are small.
    pub low: Vec<TopWord>,
}

/// As [`top_words`], by z in either direction as well.
///
/// # Errors
/// As [`top_words`], whose `words` the vocabulary is of.
pub fn firing_words(
    x: ArrayView2<'_, f32>,
    moments: &Moments,
    vocabulary: &Vocabulary<'_>,
    neurons: &[usize],
    words_each: usize,
    min_count: usize,
) -> Result<Vec<FiringWords>> {
    check(x, moments, vocabulary.type_of.len(), neurons)?;
    let of = |&neuron: &usize| {
        let found = vocabulary.means(x, moments, neuron, min_count);
        let (high, low) = (found.clone(), found.clone());
        FiringWords {
            absolute: strongest(found, words_each, |word| word.score),
            high: strongest(high, words_each, |word| word.z),
            low: strongest(low, words_each, |word| -word.z),
        }
    };
    Ok(neurons.par_iter().map(of).collect())
}

fn check(x: ArrayView2<'_, f32>, moments: &Moments, words: usize, neurons: &[usize]) -> Result<()> {
    let dim = x.dim();
    let known = neurons.iter().all(|&n| n < dim.1);
    if words != dim.0 || moments.mean.len() != dim.1 || !known {
        return Err(Error::invalid(
            "top words",
            format!(
                "{words} words and moments of {} neurons for activations of {} × {}",
                moments.mean.len(),
                dim.0,
                dim.1
            ),
            "Give one word for every row, and neurons that are columns",
        ));
    }
    Ok(())
}

/// The word types in the order in which they occur first, and which sample is of which.
#[derive(Debug, Clone)]
pub struct Vocabulary<'a> {
    types: Vec<&'a str>,
    type_of: Vec<usize>,
    counts: Vec<usize>,
}

impl<'a> Vocabulary<'a> {
    /// Of the words of all samples.
    pub fn new(words: &'a [String]) -> Self {
        let mut number = HashMap::new();
        let (mut types, mut counts) = (Vec::new(), Vec::new());
        let type_of = words
            .iter()
            .map(|word| {
                let at = *number.entry(word.as_str()).or_insert_with(|| {
                    types.push(word.as_str());
                    counts.push(0);
                    types.len() - 1
                });
                counts[at] += 1;
                at
            })
            .collect();
        Self {
            types,
            type_of,
            counts,
        }
    }

    /// The word types.
    pub fn types(&self) -> &[&'a str] {
        &self.types
    }

    /// Which type the word of each sample is.
    pub fn type_of(&self) -> &[usize] {
        &self.type_of
    }

    /// Occurrences of each type.
    pub fn counts(&self) -> &[usize] {
        &self.counts
    }

    /// Mean |z| (`score`) and mean z of every type that occurs often enough.
    fn means(
        &self,
        x: ArrayView2<'_, f32>,
        moments: &Moments,
        neuron: usize,
        min_count: usize,
    ) -> Vec<TopWord> {
        if moments.spread[neuron] != Spread::Varies {
            return Vec::new();
        }
        let mut sums = vec![(0.0, 0.0); self.types.len()];
        for (&value, &at) in x.column(neuron).iter().zip(&self.type_of) {
            let z = (f64::from(value) - moments.mean[neuron]) / moments.sd[neuron];
            sums[at].0 += z.abs();
            sums[at].1 += z;
        }
        sums.into_iter()
            .zip(self.types.iter().zip(&self.counts))
            .filter(|(_, (_, count))| **count >= min_count)
            .map(|((absolute, signed), (word, &count))| TopWord {
                word: (*word).to_owned(),
                score: absolute / count as f64,
                z: signed / count as f64,
                count,
            })
            .collect()
    }
}

/// The words of the largest `of`, ties by word, scored by their share of the largest. Words that it is negative of are
/// left out; where it is 0 for all, so are the scores.
fn strongest(
    mut words: Vec<TopWord>,
    words_each: usize,
    of: impl Fn(&TopWord) -> f64,
) -> Vec<TopWord> {
    words.retain(|word| of(word) >= 0.0);
    words.sort_by(|a, b| of(b).total_cmp(&of(a)).then(a.word.cmp(&b.word)));
    words.truncate(words_each);
    let largest = words.first().map_or(1.0, &of);
    for word in &mut words {
        // A neuron at its mean for every one of these words fires on none of them.
        let share = if largest > 0.0 {
            of(word) / largest
        } else {
            0.0
        };
        word.score = share;
    }
    words
}
