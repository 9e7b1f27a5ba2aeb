//! Whether few neurons hold a class, or many (focused and distributed classes, Dalvi et al. 2019), and of which class a
//! neuron is.

use ndarray::{ArrayView1, ArrayView2};

use super::ranking::{salient, standardised_means};
use crate::error::{Error, Result};
use crate::labels::Labels;
use crate::ops::moments::{Moments, Spread};

/// How a probe's weight for a class is spread over the neurons.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassFocus {
    /// The heaviest neurons that together hold the share of the class's Σ|w|, heaviest first. Few: the class is
    /// focused.
    pub neurons: Vec<usize>,
    /// `(Σ|w|)² / Σw²`: as many neurons of equal weight are as concentrated (inverse Simpson index); 0 for a class without
    /// weight. It needs no share to be chosen.
    pub effective: f64,
}

/// How each class (a row of C × D weights) is spread; `mass` is the share that its neurons hold together.
///
/// # Errors
/// When `mass` is 0, and as [`salient`].
pub fn focus(weights: ArrayView2<'_, f32>, mass: f64) -> Result<Vec<ClassFocus>> {
    if mass == 0.0 {
        return Err(Error::invalid(
            "share of the weight mass",
            "it is 0, allowed is more than 0, at most 1",
            "0.25 is usual",
        ));
    }
    let effective = |row: ArrayView1<'_, f32>| {
        let sum: f64 = row.iter().map(|w| f64::from(w.abs())).sum();
        let squares: f64 = row.iter().map(|w| f64::from(*w).powi(2)).sum();
        if squares > 0.0 {
            sum * sum / squares
        } else {
            0.0
        }
    };
    let per_class = salient(weights, mass)?.into_iter();
    let of = |(neurons, row)| ClassFocus {
        neurons,
        effective: effective(row),
    };
    Ok(per_class.zip(weights.rows()).map(of).collect())
}

/// The class that each neuron is of by a probe's weights (C × D): the one of whose Σ|w| it holds the largest share, the
/// first of equals; `None` for a neuron without weight.
///
/// # Errors
/// When a weight is not finite.
pub fn class_by_weight(weights: ArrayView2<'_, f32>) -> Result<Vec<Option<usize>>> {
    if weights.iter().any(|w| !w.is_finite()) {
        return Err(Error::invalid(
            "probe weights",
            "some are not finite",
            "Fit the probe again",
        ));
    }
    let mass: Vec<f64> = weights
        .rows()
        .into_iter()
        .map(|row| row.iter().map(|w| f64::from(w.abs())).sum())
        .collect();
    let share = |(w, mass): (&f32, &f64)| match *mass > 0.0 {
        true => f64::from(w.abs()) / mass,
        false => 0.0,
    };
    let columns = weights.columns().into_iter();
    Ok(columns
        .map(|column| largest(column.iter().zip(&mass).map(share)))
        .collect())
}

/// The class that each neuron is of by its activations: the one whose mean is farthest from that of the rest, the first
/// of equals; `None` for a neuron that does not, or nearly does not, vary, or whose means are all equal.
///
/// # Errors
/// When the moments were not taken with these labels, or fewer than two classes occur.
pub fn class_by_difference(moments: &Moments, labels: &Labels) -> Result<Vec<Option<usize>>> {
    let counts = labels.counts();
    let present = labels.present().len();
    let means = standardised_means(moments).filter(|means| means.nrows() == counts.len());
    let Some(means) = means.filter(|_| present > 1) else {
        return Err(Error::invalid(
            "classes of neurons",
            format!("moments without means of the {present} classes"),
            "Take the moments with these labels, of at least two classes",
        ));
    };
    let samples = labels.len() as f64;
    // The rest's mean is (N·μ − n_c·μ_c) / (N − n_c), so the distance from it is that from the mean of all, enlarged.
    let distance = |(mean, count): (&f64, &usize)| match *count {
        0 => 0.0,
        count => mean.abs() * samples / (samples - count as f64),
    };
    let of = |neuron: usize| match moments.spread[neuron] {
        Spread::Varies => largest(means.column(neuron).iter().zip(&counts).map(distance)),
        _ => None,
    };
    Ok((0..means.ncols()).map(of).collect())
}

/// The place of the largest value above 0, the first of equals.
fn largest(values: impl Iterator<Item = f64>) -> Option<usize> {
    let mut best = (None, 0.0);
    for (place, value) in values.enumerate() {
        if value > best.1 {
            best = (Some(place), value);
        }
    }
    best.0
}
