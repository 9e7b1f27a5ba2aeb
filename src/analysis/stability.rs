//! Stability: would another sample of train have named the same neurons? Bootstrap selection frequencies (as the stability
//! selection of Meinshausen & Bühlmann 2010 counts them, with resamples of full size), every figure beside what sets of
//! random neurons give.
//!
//! Correlated neurons stand in for one another, so that neurons change where what they say does not. The same figures are
//! therefore counted twice: neuron by neuron, and *cluster-equivalent*, where a neuron counts as found when any neuron of
//! its correlation cluster is.
//!
//! Chance is that of sets that no data chose. Resamples share samples with train and with one another (63 % of train is in
//! each), so that neurons which noise selected come back more often than by that chance: stability above chance is necessary
//! for a finding, not sufficient.

use std::collections::BTreeMap;

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;
use statrs::distribution::{Discrete, Hypergeometric};

use super::bootstrap::Units;
use super::ranking::{Ranking, lca, probeless};
use super::redundancy::Clusters;
use super::search::Prober;
use crate::error::{Error, Result};
use crate::labels::Labels;
use crate::ops::moments::{Moments, Spread};
use crate::ops::probe::{Certificate, Fit, Problem};

/// Draws that may hold fewer than two classes before the data are held to be unfit for resampling.
const UNFIT: usize = 1000;

/// How often each sample counts, a draw: `draws` bootstrap resamples of `units`, each of at least two classes.
///
/// # Errors
/// When labels and units differ in number, or resamples keep coming out with one class.
pub fn resamples(units: &Units, labels: &Labels, draws: usize, seed: u64) -> Result<Vec<Vec<f64>>> {
    if units.len() != labels.len() {
        return Err(Error::invalid(
            "resamples",
            format!("{} samples and {} labels", units.len(), labels.len()),
            "Give one label for every sample",
        ));
    }
    let mut found = Vec::with_capacity(draws);
    for number in 0..draws + UNFIT {
        if found.len() == draws {
            break;
        }
        let times = units.draw(seed, number);
        let mut drawn = labels.ids().iter().zip(&times).filter(|(_, t)| **t > 0);
        let first = drawn.next().map(|(id, _)| id);
        if drawn.any(|(id, _)| Some(id) != first) {
            found.push(times.into_iter().map(f64::from).collect());
        }
    }
    if found.len() < draws {
        return Err(Error::invalid(
            "resamples",
            format!("{UNFIT} draws of {} have one class only", units.name()),
            "Give more samples of the rarer classes, or ask for no resamples",
        ));
    }
    Ok(found)
}

/// The LCA ordering of each resample: probes at the penalty of `fit`, in one batch on the same activations, which weigh
/// samples by how often they were drawn and start from `fit`. The certificates beside.
///
/// # Errors
/// As [`Prober::search`].
pub fn lca_of_resamples(
    prober: &Prober<'_>,
    columns: &[usize],
    labels: &Labels,
    fit: &Fit,
    resamples: &[Vec<f64>],
    progress: &mut dyn FnMut(f64),
) -> Result<(Vec<Ranking>, Vec<Certificate>)> {
    let problem = |weights| Problem {
        weights: Some(weights),
        start: Some(fit),
        ..Problem::new(labels, fit.l1, fit.l2)
    };
    let problems: Vec<Problem<'_>> = resamples.iter().map(|times| problem(times)).collect();
    let fits = prober.fit_on(columns, &problems, progress)?;
    let certificates = fits.iter().map(|fit| fit.certificate).collect();
    let rankings = fits.iter().map(|fit| lca(fit.standardised.view()));
    Ok((rankings.collect::<Result<_>>()?, certificates))
}

/// The probeless ordering of each resample, cut to its first `size` neurons: class means and sd are those of the resample.
///
/// # Errors
/// As [`probeless`].
pub fn probeless_of_resamples(
    x: ArrayView2<'_, f32>,
    moments: &Moments,
    labels: &Labels,
    resamples: &[Vec<f64>],
    size: usize,
) -> Result<Vec<Vec<usize>>> {
    let top = |times: &Vec<f64>| {
        let means = weighted_means(x, moments, labels, times)?;
        let drawn = labels.ids().iter().zip(times).filter(|(_, t)| **t > 0.0);
        let mut present: Vec<u32> = drawn.map(|(id, _)| *id).collect();
        present.sort_unstable();
        present.dedup();
        Ok(selected(&probeless(means.view(), &present)?, size))
    };
    resamples.par_iter().map(top).collect()
}

/// Class means (C × D) of weighted samples in units of each neuron's weighted sd around its weighted mean;
/// [`super::ranking::standardised_means`] where all weigh alike. 0 for neurons that do not, or nearly do not, vary, and for
/// classes without weight.
///
/// # Errors
/// When samples, labels and weights differ in number, or `moments` are of other neurons.
pub fn weighted_means(
    x: ArrayView2<'_, f32>,
    moments: &Moments,
    labels: &Labels,
    weights: &[f64],
) -> Result<Array2<f64>> {
    let (samples, neurons) = x.dim();
    if [labels.len(), weights.len()] != [samples; 2] || moments.mean.len() != neurons {
        return Err(Error::invalid(
            "weighted class means",
            format!(
                "{samples} samples, {} labels and {} weights; {neurons} neurons and moments of {}",
                labels.len(),
                weights.len(),
                moments.mean.len()
            ),
            "Give one label and weight for every sample, and the moments of these neurons",
        ));
    }
    // Deviations from the mean of all samples, so that a large mean costs no digits.
    let classes = labels.classes().len();
    let mut sums = Array2::<f64>::zeros((classes, neurons));
    let mut squares = vec![0.0; neurons];
    let mut of_class = vec![0.0; classes];
    for ((row, &class), &weight) in x.rows().into_iter().zip(labels.ids()).zip(weights) {
        if weight == 0.0 {
            continue;
        }
        of_class[class as usize] += weight;
        let mut sums = sums.row_mut(class as usize);
        for (neuron, &value) in row.iter().enumerate() {
            let deviation = f64::from(value) - moments.mean[neuron];
            sums[neuron] += weight * deviation;
            squares[neuron] += weight * deviation * deviation;
        }
    }
    let total: f64 = of_class.iter().sum();
    for (neuron, mut column) in sums.columns_mut().into_iter().enumerate() {
        let mean = column.sum() / total;
        let sd = (squares[neuron] / total - mean * mean).max(0.0).sqrt();
        let varies = moments.spread[neuron] == Spread::Varies && sd > 0.0;
        for (sum, &weight) in column.iter_mut().zip(&of_class) {
            let is = varies && weight > 0.0;
            *sum = if is { (*sum / weight - mean) / sd } else { 0.0 };
        }
    }
    Ok(sums)
}

/// The first `size` neurons of an ordering that have any score: a neuron without weight is not selected.
pub fn selected(ranking: &Ranking, size: usize) -> Vec<usize> {
    let first = ranking.order.iter().take(size).copied();
    first.filter(|&n| ranking.scores[n] > 0.0).collect()
}

/// What was observed, and what random neurons give on average.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Beside {
    /// Observed.
    pub observed: f64,
    /// With sets of the same sizes drawn at random.
    pub chance: f64,
}

/// How far resamples agree with a set and with one another.
#[derive(Debug, Clone, PartialEq)]
pub struct Stability {
    /// Share of the resamples that select each neuron of the set, in the set's order.
    pub frequency: Vec<f64>,
    /// Share of the resamples that select a neuron of its cluster.
    pub equivalent_frequency: Vec<f64>,
    /// Mean of `frequency`; by chance the mean share of the candidates that a resample selects.
    pub mean_frequency: Beside,
    /// Mean of `equivalent_frequency`.
    pub mean_equivalent_frequency: Beside,
    /// Mean over pairs of resamples of `2·|A ∩ B| / (|A| + |B|)`.
    pub overlap: Beside,
    /// The same counting a neuron when the other resample has one of its cluster.
    pub equivalent_overlap: Beside,
    /// Mean over pairs of resamples of `|A ∩ B| / |A ∪ B|`.
    pub jaccard: Beside,
}

/// Counts how often resamples select the neurons of `set`, and how far their selections agree. `candidates` are the
/// neurons that could have been selected, from which chance draws; clusters count as far as they are candidates.
///
/// Chance: a random selection of b of D candidates has one neuron with probability b/D, and one of a cluster of m with
/// `1 − C(D−m, b)/C(D, b)`; the Jaccard index of two is averaged over the hypergeometric distribution of what they share.
///
/// # Errors
/// When there are fewer than two selections, the set is empty, or a neuron is no candidate.
pub fn stability(
    set: &[usize],
    selections: &[Vec<usize>],
    candidates: &[usize],
    clusters: &Clusters,
) -> Result<Stability> {
    let mut is_candidate = vec![false; clusters.labels.len()];
    let neurons = is_candidate.len();
    for &neuron in candidates.iter().filter(|n| **n < neurons) {
        is_candidate[neuron] = true;
    }
    let known = |neuron: &usize| is_candidate.get(*neuron) == Some(&true);
    let all_known = set.iter().chain(selections.iter().flatten()).all(known);
    if selections.len() < 2 || set.is_empty() || !all_known {
        return Err(Error::invalid(
            "stability of a set",
            format!(
                "{} neurons and {} selections from {} candidates",
                set.len(),
                selections.len(),
                candidates.len()
            ),
            "Give a set and two or more selections of candidates",
        ));
    }
    let count = Counting::new(selections, candidates, clusters);
    let share = |has: &dyn Fn(usize) -> bool| {
        let hits = (0..selections.len()).filter(|&draw| has(draw)).count();
        hits as f64 / selections.len() as f64
    };
    let frequency: Vec<f64> = set
        .iter()
        .map(|&neuron| share(&|draw| count.selects[draw][neuron]))
        .collect();
    let equivalent_frequency: Vec<f64> = set
        .iter()
        .map(|&neuron| share(&|draw| count.has_cluster(draw, neuron)))
        .collect();
    let over_draws = |value: &dyn Fn(usize) -> f64| {
        let sizes = selections.iter().map(|selection| value(selection.len()));
        sizes.sum::<f64>() / selections.len() as f64
    };
    let of_set = |size: usize| {
        let hit = set.iter().map(|&neuron| count.hit(neuron, size));
        hit.sum::<f64>() / set.len() as f64
    };
    let pairs = count.pairs();
    Ok(Stability {
        mean_frequency: Beside {
            observed: mean(&frequency),
            chance: over_draws(&|size| size as f64 / candidates.len() as f64),
        },
        mean_equivalent_frequency: Beside {
            observed: mean(&equivalent_frequency),
            chance: over_draws(&of_set),
        },
        frequency,
        equivalent_frequency,
        overlap: pairs[0],
        equivalent_overlap: pairs[1],
        jaccard: pairs[2],
    })
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Selections as tables.
struct Counting<'a> {
    selections: &'a [Vec<usize>],
    candidates: &'a [usize],
    cluster: &'a [u32],
    /// Whether each draw selects each neuron.
    selects: Vec<Vec<bool>>,
    /// Whether each draw selects a neuron of each cluster.
    touches: Vec<Vec<bool>>,
    /// Candidates in each cluster.
    members: Vec<usize>,
}

impl<'a> Counting<'a> {
    fn new(selections: &'a [Vec<usize>], candidates: &'a [usize], clusters: &'a Clusters) -> Self {
        let cluster = &*clusters.labels;
        let table = |length: usize, places: &dyn Fn(usize) -> usize| -> Vec<Vec<bool>> {
            let one = |selection: &Vec<usize>| {
                let mut row = vec![false; length];
                selection.iter().for_each(|&n| row[places(n)] = true);
                row
            };
            selections.iter().map(one).collect()
        };
        let mut members = vec![0; clusters.count];
        candidates
            .iter()
            .for_each(|&n| members[cluster[n] as usize] += 1);
        Self {
            selects: table(cluster.len(), &|neuron| neuron),
            touches: table(clusters.count, &|neuron| cluster[neuron] as usize),
            selections,
            candidates,
            cluster,
            members,
        }
    }

    fn has_cluster(&self, draw: usize, neuron: usize) -> bool {
        self.touches[draw][self.cluster[neuron] as usize]
    }

    /// The probability that a random selection of `size` candidates has one of the neuron's cluster:
    /// `1 − ∏_{i<m} (D − size − i)/(D − i)`.
    fn hit(&self, neuron: usize, size: usize) -> f64 {
        let members = self.members[self.cluster[neuron] as usize];
        let all = self.candidates.len() as f64;
        let missed = (0..members).map(|i| {
            let (left, of) = (all - size as f64 - i as f64, all - i as f64);
            (left / of).max(0.0)
        });
        1.0 - missed.product::<f64>()
    }

    /// The mean over candidates of [`Counting::hit`].
    fn mean_hit(&self, size: usize) -> f64 {
        let hits = self.candidates.iter().map(|&neuron| self.hit(neuron, size));
        hits.sum::<f64>() / self.candidates.len() as f64
    }

    /// Overlap, equivalent overlap and Jaccard index over all pairs of draws.
    fn pairs(&self) -> [Beside; 3] {
        let mut expected = BTreeMap::new();
        let mut hits = BTreeMap::new();
        let mut sums = [[0.0; 2]; 3];
        let mut pairs = 0.0;
        for (first, a) in self.selections.iter().enumerate() {
            for (second, b) in self.selections.iter().enumerate().skip(first + 1) {
                let shared = a.iter().filter(|n| self.selects[second][**n]).count() as f64;
                let found = a.iter().filter(|n| self.has_cluster(second, **n)).count()
                    + b.iter().filter(|n| self.has_cluster(first, **n)).count();
                let both = (a.len() + b.len()) as f64;
                let all = self.candidates.len();
                let mut hit = |size| *hits.entry(size).or_insert_with(|| self.mean_hit(size));
                let hit = a.len() as f64 * hit(b.len()) + b.len() as f64 * hit(a.len());
                let by_chance = expected
                    .entry((a.len(), b.len()))
                    .or_insert_with(|| jaccard_by_chance(all, a.len(), b.len()));
                let random = (a.len() * b.len()) as f64 / all as f64;
                // Two empty selections agree in nothing.
                let ratio = |part: f64, of: f64| if of > 0.0 { part / of } else { 0.0 };
                let pair = [
                    [ratio(2.0 * shared, both), ratio(2.0 * random, both)],
                    [ratio(found as f64, both), ratio(hit, both)],
                    [ratio(shared, both - shared), *by_chance],
                ];
                for (sum, pair) in sums.iter_mut().zip(pair) {
                    sum[0] += pair[0];
                    sum[1] += pair[1];
                }
                pairs += 1.0;
            }
        }
        sums.map(|[observed, chance]| Beside {
            observed: observed / pairs,
            chance: chance / pairs,
        })
    }
}

/// The mean Jaccard index of random selections of a and b of `all` candidates.
fn jaccard_by_chance(all: usize, a: usize, b: usize) -> f64 {
    let shared = Hypergeometric::new(all as u64, a as u64, b as u64)
        .expect("selections are not larger than what they are drawn from");
    (1..=a.min(b))
        // Through logarithms: the binomials of a few hundred out of thousands are beyond f64.
        .map(|x| shared.ln_pmf(x as u64).exp() * x as f64 / (a + b - x) as f64)
        .sum()
}
