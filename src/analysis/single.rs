//! What each neuron alone knows of each class: one look at a neuron's samples in the order of their values gives all of it.
//!
//! Values that are equal cannot be told apart, so whatever a threshold does it does to all of them.

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

use super::ranking::Ranking;
use crate::error::{Error, Result};
use crate::labels::Labels;

/// Bins of the mutual information.
const BINS: usize = 10;

/// Each of C classes against the rest, by each of D neurons alone. Classes that do not occur, or alone do, have NaN.
#[derive(Debug, Clone, PartialEq)]
pub struct SingleNeurons {
    /// Area under the ROC curve, C × D: how often a sample of the class has the larger value, ties counting half
    /// (scikit-learn's `roc_auc_score`). 0.5 is chance, 0 as telling as 1.
    pub auroc: Array2<f64>,
    /// Average precision, C × D: `Σ_t (R_t − R_{t−1}) P_t` over the thresholds t, descending (scikit-learn's
    /// `average_precision_score`), of the values or of their negatives, whichever is larger.
    pub average_precision: Array2<f64>,
    /// Accuracy of the best threshold, C × D, the class above it or below it; at least the larger share.
    pub accuracy: Array2<f64>,
    /// Mutual information of class and binned value, D, in nats. Ten bins by the place of the value among the samples;
    /// equal values share the one of their middle.
    pub information: Vec<f64>,
}

/// Scores every neuron of `x` (N × D). Time O(D·(N·log N + C)), natively; values must be finite.
///
/// # Errors
/// When there are not as many labels as samples.
pub fn single_neurons(x: ArrayView2<'_, f32>, labels: &Labels) -> Result<SingleNeurons> {
    let (samples, neurons) = x.dim();
    if labels.len() != samples {
        return Err(Error::invalid(
            "scores of single neurons",
            format!("{samples} samples but {} labels were given", labels.len()),
            "Give one label for every sample",
        ));
    }
    let counts = labels.counts();
    let of_neuron = |neuron: usize| {
        let mut order: Vec<(f32, u32)> = x.column(neuron).iter().copied().zip(0..).collect();
        // −0 is 0; the order of equal values does not matter.
        order.sort_unstable_by(|a, b| (a.0 + 0.0).total_cmp(&(b.0 + 0.0)));
        let ties: Vec<&[(f32, u32)]> = order.chunk_by(|a, b| a.0 == b.0).collect();
        Scored::of(&ties, labels.ids(), &counts)
    };
    let scored: Vec<Scored> = (0..neurons).into_par_iter().map(of_neuron).collect();
    let table = |of: &dyn Fn(&Scored) -> &Vec<f64>| {
        Array2::from_shape_fn((counts.len(), neurons), |(class, neuron)| {
            let occurs = counts[class] > 0 && counts[class] < samples;
            if occurs {
                of(&scored[neuron])[class]
            } else {
                f64::NAN
            }
        })
    };
    Ok(SingleNeurons {
        auroc: table(&|s| &s.auroc),
        average_precision: table(&|s| &s.average_precision),
        accuracy: table(&|s| &s.accuracy),
        information: scored.iter().map(|s| s.information).collect(),
    })
}

/// Average precision of the larger values of every neuron (D) for the samples of class 1 of two, where values with
/// |x| < `threshold` count as 0: what NeuroX's `iou_probe` orders neurons by. NaN where class 1 does not occur.
///
/// # Errors
/// When there are not as many labels as samples, or not two classes.
pub fn thresholded_precision(
    x: ArrayView2<'_, f32>,
    labels: &Labels,
    threshold: f32,
) -> Result<Vec<f64>> {
    let (samples, neurons) = x.dim();
    if labels.len() != samples || labels.classes().len() != 2 {
        return Err(Error::invalid(
            "average precision",
            format!(
                "{} labels of {} classes for {samples} samples",
                labels.len(),
                labels.classes().len()
            ),
            "Give one of two classes for every sample",
        ));
    }
    let counts = labels.counts();
    let of_neuron = |neuron: usize| {
        if counts[1] == 0 {
            return f64::NAN;
        }
        let kept = |x: f32| if x.abs() < threshold { 0.0 } else { x + 0.0 };
        let column = x.column(neuron);
        let mut order: Vec<(f32, u32)> = column.iter().map(|x| kept(*x)).zip(0..).collect();
        order.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
        let ties = order.chunk_by(|a, b| a.0 == b.0);
        Sweep::over(ties, labels.ids(), &counts).precision[1]
    };
    Ok((0..neurons).into_par_iter().map(of_neuron).collect())
}

/// The scores of one neuron, by class.
struct Scored {
    auroc: Vec<f64>,
    average_precision: Vec<f64>,
    accuracy: Vec<f64>,
    information: f64,
}

impl Scored {
    /// From samples in ascending groups of equal values.
    fn of(ties: &[&[(f32, u32)]], ids: &[u32], counts: &[usize]) -> Self {
        let samples = ids.len();
        let (n, total) = (samples as f64, |class: usize| counts[class] as f64);
        let mut ranks = vec![0.0; counts.len()];
        let mut joint = vec![0.0; BINS * counts.len()];
        let mut below = 0;
        for group in ties {
            // Ranks from 1; equal values have the middle one.
            let rank = below as f64 + (group.len() as f64 + 1.0) / 2.0;
            // By the middle of the equal values: a neuron and its negative have the same bins, but for a value that lies at
            // the edge of one where the samples are not a multiple of the bins.
            let bin = (2 * below + group.len() - 1) * BINS / (2 * samples);
            for (_, sample) in *group {
                let class = ids[*sample as usize] as usize;
                ranks[class] += rank;
                joint[bin * counts.len() + class] += 1.0;
            }
            below += group.len();
        }
        let auroc = ranks.iter().enumerate().map(|(class, sum)| {
            let own = total(class);
            (sum - own * (own + 1.0) / 2.0) / (own * (n - own))
        });
        let up = Sweep::over(ties.iter().copied(), ids, counts);
        let down = Sweep::over(ties.iter().rev().copied(), ids, counts);
        let larger = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a.max(*b)).collect();
        // Taking the first k as the class is right for its members there and for the others behind: tp + (N − n_c) − (k − tp).
        let accuracy = |sweep: &Sweep, class: usize| (sweep.best[class] + n - total(class)) / n;
        Self {
            auroc: auroc.collect(),
            average_precision: larger(&up.precision, &down.precision),
            accuracy: (0..counts.len())
                .map(|class| accuracy(&up, class).max(accuracy(&down, class)))
                .collect(),
            information: information(&joint, counts.len(), n),
        }
    }
}

/// What is gathered while more and more samples, group by group, are taken as the class.
struct Sweep {
    /// Average precision of each class.
    precision: Vec<f64>,
    /// The largest 2·tp − k of each class, where tp of the first k samples are its own.
    best: Vec<f64>,
}

impl Sweep {
    fn over<'a>(
        groups: impl Iterator<Item = &'a [(f32, u32)]>,
        ids: &[u32],
        counts: &[usize],
    ) -> Self {
        let mut own = vec![0usize; counts.len()];
        let mut precision = vec![0.0; counts.len()];
        let mut best = vec![0.0f64; counts.len()];
        let mut taken = 0;
        let mut fresh = vec![0usize; counts.len()];
        for group in groups {
            taken += group.len();
            let class = |(_, sample): &(f32, u32)| ids[*sample as usize] as usize;
            group.iter().for_each(|sample| fresh[class(sample)] += 1);
            // Only the classes of this group change; each is dealt with where it is met first.
            for sample in group {
                let class = class(sample);
                let new = std::mem::take(&mut fresh[class]);
                if new == 0 {
                    continue;
                }
                own[class] += new;
                let share = own[class] as f64 / taken as f64;
                precision[class] += new as f64 / counts[class] as f64 * share;
                best[class] = best[class].max(2.0 * own[class] as f64 - taken as f64);
            }
        }
        Self { precision, best }
    }
}

/// I(bin; class) in nats from joint counts, bins × classes.
fn information(joint: &[f64], classes: usize, samples: f64) -> f64 {
    let mut of_class = vec![0.0; classes];
    for row in joint.chunks_exact(classes) {
        of_class.iter_mut().zip(row).for_each(|(sum, n)| *sum += n);
    }
    let mut sum = 0.0;
    for row in joint.chunks_exact(classes) {
        let of_bin: f64 = row.iter().sum();
        for (n, of_class) in row.iter().zip(&of_class).filter(|(n, _)| **n > 0.0) {
            sum += n / samples * (n * samples / (of_bin * of_class)).ln();
        }
    }
    sum.max(0.0)
}

impl SingleNeurons {
    /// By the distance of the AUROC from chance, twice: `|2·AUROC − 1|`; overall its mean over the classes.
    pub fn by_auroc(&self) -> Ranking {
        Ranking::by_class(&self.auroc.mapv(|auroc| (2.0 * auroc - 1.0).abs()))
    }

    /// By average precision; overall its mean over the classes.
    pub fn by_average_precision(&self) -> Ranking {
        Ranking::by_class(&self.average_precision)
    }

    /// By the accuracy of the best threshold; overall its mean over the classes.
    pub fn by_accuracy(&self) -> Ranking {
        Ranking::by_class(&self.accuracy)
    }

    /// By mutual information; no class has an ordering of its own.
    pub fn by_information(&self) -> Ranking {
        Ranking::overall(self.information.clone(), self.auroc.nrows())
    }
}
