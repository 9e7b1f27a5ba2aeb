//! Concepts: which words does a neuron fire on.

use std::collections::HashMap;

use ndarray::ArrayView2;

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
    let dim = x.dim();
    let known = neurons.iter().all(|&n| n < dim.1);
    if words.len() != dim.0 || moments.mean.len() != dim.1 || !known {
        return Err(Error::invalid(
            "top words",
            format!(
                "{} words and moments of {} neurons for activations of {} × {}",
                words.len(),
                moments.mean.len(),
                dim.0,
                dim.1
            ),
            "Give one word for every row, and neurons that are columns",
        ));
    }
    let vocabulary = Vocabulary::new(words);
    Ok(neurons
        .iter()
        .map(|&neuron| vocabulary.strongest(x, moments, neuron, words_each, min_count))
        .collect())
}

/// The word types and which row is of which.
struct Vocabulary<'a> {
    types: Vec<&'a str>,
    type_of: Vec<usize>,
    counts: Vec<usize>,
}

impl<'a> Vocabulary<'a> {
    fn new(words: &'a [String]) -> Self {
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

    fn strongest(
        &self,
        x: ArrayView2<'_, f32>,
        moments: &Moments,
        neuron: usize,
        words_each: usize,
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
        let mut words: Vec<TopWord> = sums
            .into_iter()
            .zip(self.types.iter().zip(&self.counts))
            .filter(|(_, (_, count))| **count >= min_count)
            .map(|((absolute, signed), (word, &count))| TopWord {
                word: (*word).to_owned(),
                score: absolute / count as f64,
                z: signed / count as f64,
                count,
            })
            .collect();
        words.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.word.cmp(&b.word)));
        words.truncate(words_each);
        let largest = words.first().map_or(1.0, |w| w.score);
        for word in &mut words {
            // A neuron at its mean for every one of these words fires on none of them.
            word.score = if largest > 0.0 {
                word.score / largest
            } else {
                0.0
            };
        }
        words
    }
}
