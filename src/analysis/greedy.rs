//! Greedy orderings: neurons chosen one after the other, each for what it adds to those before it.

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

use super::ranking::Ranking;
use crate::error::{Error, Result};
use crate::labels::Labels;
use crate::ops::moments::{Moments, Spread};

/// Scores that differ by less than this share are equal: rounding must not choose neurons.
const SAME: f64 = 1e-11;

/// Neurons whose values are gathered together: their values of a sample are one cache line.
const GATHERED: usize = 16;

/// Raw activations (N × D) and the class of each sample.
#[derive(Debug, Clone, Copy)]
pub struct Labelled<'a> {
    /// Raw activations, N × D; values must be finite.
    pub x: ArrayView2<'a, f32>,
    /// The class of each sample.
    pub labels: &'a Labels,
}

/// Refuses what no selection can work on: parts that do not fit each other, fewer than two classes in train, no neuron to
/// select.
pub(super) fn check(
    what: &'static str,
    train: Labelled<'_>,
    moments: &Moments,
    scored: Labelled<'_>,
    select: usize,
) -> Result<()> {
    let refused = |problem: String, fix: &str| Err(Error::invalid(what, problem, fix));
    let (neurons, known) = (train.x.ncols(), moments.mean.len());
    if known != neurons || scored.x.ncols() != neurons {
        return refused(
            format!(
                "{neurons} neurons in train, {known} in the moments, {} in the samples to score on",
                scored.x.ncols()
            ),
            "Give the same neurons everywhere",
        );
    }
    let sizes = |of: Labelled<'_>| (of.x.nrows(), of.labels.len());
    for (part, (samples, labels)) in [
        ("train", sizes(train)),
        ("the samples to score on", sizes(scored)),
    ] {
        if samples != labels {
            return refused(
                format!("{samples} samples and {labels} labels in {part}"),
                "Give one label for every sample",
            );
        }
    }
    if train.labels.classes() != scored.labels.classes() {
        return refused(
            format!(
                "{} classes in train, {} in the samples to score on, or others",
                train.labels.classes().len(),
                scored.labels.classes().len()
            ),
            "Give labels of the same classes, in the same order",
        );
    }
    let present = train.labels.present();
    if present.len() < 2 {
        return refused(
            format!("{} class occurs in train", present.len()),
            "It compares classes: give at least two",
        );
    }
    if !scored.labels.ids().iter().any(|id| present.contains(id)) {
        return refused(
            "no sample to score on is of a class that occurs in train".into(),
            "Give samples of the same classes",
        );
    }
    if select == 0 {
        return refused(
            "0 neurons are to be selected".into(),
            "Select at least one; 50 is usual",
        );
    }
    Ok(())
}

/// The neurons that vary: the others tell nothing apart.
pub(super) fn varying(moments: &Moments) -> Vec<bool> {
    let varies = |spread: &Spread| *spread == Spread::Varies;
    moments.spread.iter().map(varies).collect()
}

/// The neuron of the largest finite score, of equal ones the first; `None` where there is none.
pub(super) fn best(scores: &[f64]) -> Option<usize> {
    let mut best: Option<usize> = None;
    for (neuron, &score) in scores.iter().enumerate().filter(|(_, s)| s.is_finite()) {
        let better = |b: usize| score > scores[b] + SAME * scores[b].abs();
        if best.is_none_or(better) {
            best = Some(neuron);
        }
    }
    best
}

/// A whole ordering: the selected neurons first, then the others by their score in the last step, at last those that were no
/// candidates (score not finite). Ties by id.
///
/// Scores are places, since a selected neuron's score and another's are not of the same step: D for the first neuron, one less
/// for each after it, 0 for those that were no candidates.
pub(super) fn complete(selected: &[usize], last: &[f64], classes: usize) -> Ranking {
    let neurons = last.len();
    let mut chosen = vec![false; neurons];
    selected.iter().for_each(|&neuron| chosen[neuron] = true);
    let mut rest: Vec<usize> = (0..neurons)
        .filter(|&n| !chosen[n] && last[n].is_finite())
        .collect();
    rest.sort_by(|&a, &b| last[b].total_cmp(&last[a]).then(a.cmp(&b)));
    let mut scores = vec![0.0; neurons];
    for (place, neuron) in selected.iter().chain(&rest).enumerate() {
        scores[*neuron] = (neurons - place) as f64;
    }
    Ranking::overall(scores, classes)
}

/// Samples grouped by class, the values of each neuron next to one another.
#[derive(Debug)]
pub(super) struct Columns {
    /// D rows of as many values as there are samples, filled up with zeros to a multiple of what was asked for.
    values: Array2<f32>,
    /// Which of the classes each sample is of, by its place among those that count; ascending.
    classes: Vec<usize>,
}

impl Columns {
    /// The samples of the classes `counting`, in that order of classes, and in their own order inside each.
    pub(super) fn of(labelled: Labelled<'_>, counting: &[u32], multiple: usize) -> Self {
        let mut rows = Vec::new();
        let mut classes = Vec::new();
        for (class, id) in counting.iter().enumerate() {
            let members = labelled.labels.ids().iter().enumerate();
            rows.extend(members.filter(|(_, of)| *of == id).map(|(row, _)| row));
            classes.resize(rows.len(), class);
        }
        let mut values = Array2::zeros((labelled.x.ncols(), rows.len().next_multiple_of(multiple)));
        values
            .axis_chunks_iter_mut(ndarray::Axis(0), GATHERED)
            .into_par_iter()
            .enumerate()
            .for_each(|(chunk, mut values)| {
                for (sample, &row) in rows.iter().enumerate() {
                    let from = labelled.x.row(row);
                    for (lane, value) in values.column_mut(sample).iter_mut().enumerate() {
                        *value = from[chunk * GATHERED + lane];
                    }
                }
            });
        Self { values, classes }
    }

    /// A neuron's values, filled up with zeros.
    pub(super) fn neuron(&self, neuron: usize) -> &[f32] {
        let row = self.values.row(neuron);
        row.to_slice().expect("rows of a matrix of its own")
    }

    /// The class of each sample.
    pub(super) fn classes(&self) -> &[usize] {
        &self.classes
    }
}
