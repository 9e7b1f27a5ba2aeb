//! Excerpts: real sentences in which a neuron fires.

use std::ops::Range;

use ndarray::ArrayView2;
use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::ops::moments::{Moments, Spread};
use crate::split::Tokens;

/// A part of a sentence around the token at which a neuron is farthest from its mean.
#[derive(Debug, Clone, PartialEq)]
pub struct Excerpt {
    /// The number of the sentence.
    pub sentence: u32,
    /// The samples that it shows.
    pub rows: Range<usize>,
    /// Whether the sentence has tokens before it, and after it.
    pub cut: [bool; 2],
    /// z of the neuron for each of these samples: `(x − mean) / sd`.
    pub z: Vec<f64>,
}

/// For each of `neurons` at most `most` excerpts of at most `window` tokens each.
///
/// Sentences are taken by the largest |z| of the neuron among their tokens, ties in the order of the samples; one whose
/// excerpt has the words of one that was taken is passed over. A sentence that is longer than `window` is cut around its
/// strongest token. A neuron that does not, or nearly does not, vary has none.
///
/// `x` is N × D, `moments` those of the same neurons, `tokens` one a row; samples of a sentence follow one another.
///
/// # Errors
/// When the tokens are not one a row, the moments not of these neurons, a neuron does not exist, or `window` is 0.
pub fn excerpts(
    x: ArrayView2<'_, f32>,
    moments: &Moments,
    tokens: &Tokens,
    neurons: &[usize],
    most: usize,
    window: usize,
) -> Result<Vec<Vec<Excerpt>>> {
    let (samples, all) = x.dim();
    let fits = tokens.words.len() == samples && tokens.sentences.len() == samples;
    let known = neurons.iter().all(|&n| n < all);
    if !fits || moments.mean.len() != all || !known || window == 0 {
        return Err(Error::invalid(
            "excerpts",
            format!(
                "{} words, moments of {} neurons and windows of {window} for activations of {samples} × {all}",
                tokens.words.len(),
                moments.mean.len()
            ),
            "Give one word for every row, neurons that are columns, and a window of at least one token",
        ));
    }
    let mut sentences: Vec<Range<usize>> = Vec::new();
    for row in 0..samples {
        match sentences.last_mut() {
            Some(last) if tokens.sentences[last.start] == tokens.sentences[row] => {
                last.end = row + 1;
            }
            _ => sentences.push(row..row + 1),
        }
    }
    let of = |&neuron: &usize| {
        if moments.spread[neuron] != Spread::Varies {
            return Vec::new();
        }
        let (mean, sd) = (moments.mean[neuron], moments.sd[neuron]);
        let column = x.column(neuron);
        let z: Vec<f64> = column.iter().map(|&v| (f64::from(v) - mean) / sd).collect();
        strongest(&z, tokens, &sentences, most, window)
    };
    Ok(neurons.par_iter().map(of).collect())
}

fn strongest(
    z: &[f64],
    tokens: &Tokens,
    sentences: &[Range<usize>],
    most: usize,
    window: usize,
) -> Vec<Excerpt> {
    // The first of the largest: `max_by` would return the last.
    let peak = |rows: &Range<usize>| {
        let sizes = rows.clone().map(|row| (row, z[row].abs()));
        sizes.reduce(|best, other| if other.1 > best.1 { other } else { best })
    };
    let peaks = sentences
        .iter()
        .filter_map(|rows| Some((rows, peak(rows)?)));
    let mut peaks: Vec<(&Range<usize>, (usize, f64))> = peaks.collect();
    peaks.sort_by(|(_, a), (_, b)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let mut found: Vec<Excerpt> = Vec::new();
    for (sentence, (peak, _)) in peaks {
        if found.len() == most {
            break;
        }
        let last = sentence.end.saturating_sub(window).max(sentence.start);
        let start = peak.saturating_sub(window / 2).clamp(sentence.start, last);
        let rows = start..sentence.end.min(start + window);
        let words = &tokens.words[rows.clone()];
        if found
            .iter()
            .any(|other| tokens.words[other.rows.clone()] == *words)
        {
            continue;
        }
        found.push(Excerpt {
            sentence: tokens.sentences[peak],
            cut: [rows.start > sentence.start, rows.end < sentence.end],
            z: z[rows.clone()].to_vec(),
            rows,
        });
    }
    found
}
