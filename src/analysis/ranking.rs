//! Neuron orderings: which neurons matter most, overall and for each class.

use ndarray::{Array2, ArrayView1, ArrayView2};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::error::{Error, Result};
use crate::labels::Labels;
use crate::ops::moments::{Moments, Spread};

/// The least share of a neuron's variance that counts as lying inside the classes.
const LEAST_WITHIN: f64 = 1e-12;

/// A complete ordering of D neurons.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranking {
    /// All D neuron ids, most salient first.
    pub order: Vec<usize>,
    /// Score of each neuron, by id; larger is more salient.
    pub scores: Vec<f64>,
    /// For each of the C classes all D neuron ids, most salient first; empty for a class that the ranking knows nothing of.
    pub per_class: Vec<Vec<usize>>,
}

impl Ranking {
    /// By scores of each class (C × D), NaN for a class that says nothing: overall by their mean over the classes that say
    /// something. Descending, ties by id.
    pub fn by_class(scores: &Array2<f64>) -> Self {
        let (classes, neurons) = scores.dim();
        let says = |class: &usize| scores.row(*class).iter().all(|s| !s.is_nan());
        let telling: Vec<usize> = (0..classes).filter(says).collect();
        let mut per_class = vec![Vec::new(); classes];
        let mut mean = vec![0.0; neurons];
        // Scores that differ in their last digits alone are equal: rounding must not order neurons.
        let rounded = |score: f64| (score * 1e12).round() / 1e12;
        for &class in &telling {
            let row = scores.row(class).mapv(rounded);
            per_class[class] = descending(row.view());
            mean.iter_mut().zip(&row).for_each(|(m, s)| *m += s);
        }
        for score in &mut mean {
            *score = rounded(*score / telling.len().max(1) as f64);
        }
        Self {
            order: descending(ArrayView1::from(&mean)),
            scores: mean,
            per_class,
        }
    }

    /// By one score a neuron, for `classes` classes without an ordering of their own. Descending, ties by id.
    pub fn overall(scores: Vec<f64>, classes: usize) -> Self {
        Self {
            order: descending(ArrayView1::from(&scores)),
            scores,
            per_class: vec![Vec::new(); classes],
        }
    }

    /// The same ordering without the neurons that are not in `subset`: for a probe that saw only some neurons.
    pub fn only(&self, subset: &[usize]) -> Vec<usize> {
        let mut member = vec![false; self.order.len()];
        for &neuron in subset {
            member[neuron] = true;
        }
        self.order.iter().copied().filter(|&n| member[n]).collect()
    }
}

/// The LCA ordering of a probe's weights (C × D): the ordering by cumulative |weight| mass of Dalvi et al. 2019 and
/// Durrani et al. 2023.
///
/// They grow a share p from 0 to 1, take for every class the heaviest neurons that together hold p of the class's
/// Σ|w|, and append the neurons that are new. In closed form: in the descending order of |w_c| (ties by id) neuron n
/// enters class c at the share `e_c(n) = Σ_{m before n} |w_cm| / Σ_m |w_cm|`, hence enters the ordering at
/// `e(n) = min_c e_c(n)`. Ordering by e gives the same growing sets at every p at once, so no step size is needed
/// ([`lca_cutoffs`] tells the sets of any step size); ties by id.
///
/// The ordering is complete: neurons whose weights are all 0 come last, by id. A class whose weights are all 0 (absent
/// from train) adds none. Score: `1 − e(n)`, 0 for neurons without weight. Sums are f64.
///
/// Cost: O(C·D·log D).
///
/// # Errors
/// When a weight is not finite.
pub fn lca(weights: ArrayView2<'_, f32>) -> Result<Ranking> {
    check_weights(weights)?;
    let neurons = weights.ncols();
    let mut entered = vec![f64::INFINITY; neurons];
    let mut per_class = Vec::with_capacity(weights.nrows());
    for row in weights.rows() {
        let order = by_magnitude(row);
        let total = mass(row, &order);
        let mut before = 0.0;
        for &neuron in order.iter().take_while(|&&n| row[n] != 0.0) {
            entered[neuron] = f64::min(entered[neuron], before / total);
            before += f64::from(row[neuron].abs());
        }
        per_class.push(order);
    }
    let mut order: Vec<usize> = (0..neurons).collect();
    order.sort_by(|&a, &b| entered[a].total_cmp(&entered[b]).then(a.cmp(&b)));
    // A share that rounding lifts to 1 still stands for weight: it must stay above the score of none.
    let score = |e: &f64| {
        if e.is_infinite() {
            0.0
        } else {
            (1.0 - e).max(f64::MIN_POSITIVE)
        }
    };
    Ok(Ranking {
        scores: entered.iter().map(score).collect(),
        order,
        per_class,
    })
}

/// How many neurons an LCA ordering holds at each share p = 0/steps, 1/steps … steps/steps: the cut-offs that NeuroX's
/// `get_neuron_ordering` returns. `order[..cutoffs[s]]` is the set of p = s/steps.
///
/// A neuron is in the set of p when it entered at 0 (the heaviest of a class) or before p. Neurons without weight are in
/// none.
pub fn lca_cutoffs(ranking: &Ranking, steps: usize) -> Vec<usize> {
    (0..=steps)
        .map(|step| {
            let share = step as f64 / steps as f64;
            ranking.order.partition_point(|&neuron| {
                let score = ranking.scores[neuron];
                score >= 1.0 || (score > 0.0 && (score > 1.0 - share || step == steps))
            })
        })
        .collect()
}

/// For every class the heaviest neurons that together hold the share `mass_share` of its Σ|w| (C × D weights), heaviest
/// first, ties by id; the neuron that crosses the share is in (NeuroX's `get_top_neurons`), so 0 gives one neuron. Empty for a
/// class without weight.
///
/// # Errors
/// When `mass_share` is not from 0 to 1 or a weight is not finite.
pub fn salient(weights: ArrayView2<'_, f32>, mass_share: f64) -> Result<Vec<Vec<usize>>> {
    check_weights(weights)?;
    check_share(mass_share)?;
    let class = |row: ArrayView1<'_, f32>| {
        let mut order = by_magnitude(row);
        let weighty = order.partition_point(|&neuron| row[neuron] != 0.0);
        order.truncate(weighty);
        holding(row, order, mass_share)
    };
    Ok(weights.rows().into_iter().map(class).collect())
}

/// As [`salient`] from the other end: the lightest neurons, lightest first (NeuroX's `get_bottom_neurons`). Those without weight
/// are among them, all neurons of a class that has none.
///
/// # Errors
/// As [`salient`].
pub fn negligible(weights: ArrayView2<'_, f32>, mass_share: f64) -> Result<Vec<Vec<usize>>> {
    check_weights(weights)?;
    check_share(mass_share)?;
    let class = |row: ArrayView1<'_, f32>| {
        let mut order: Vec<usize> = (0..row.len()).collect();
        order.sort_by(|&a, &b| row[a].abs().total_cmp(&row[b].abs()).then(a.cmp(&b)));
        match row.iter().all(|weight| *weight == 0.0) {
            true => order,
            false => holding(row, order, mass_share),
        }
    };
    Ok(weights.rows().into_iter().map(class).collect())
}

/// The first neurons of `order` that together hold a share of its Σ|w|, the one that crosses it included.
fn holding(row: ArrayView1<'_, f32>, mut order: Vec<usize>, mass_share: f64) -> Vec<usize> {
    let wanted = mass(row, &order) * mass_share;
    let mut held = 0.0;
    let crossing = order.iter().position(|&neuron| {
        held += f64::from(row[neuron].abs());
        held >= wanted
    });
    order.truncate(crossing.map_or(order.len(), |place| place + 1));
    order
}

/// The probeless ordering of Antverg & Belinkov 2022 from class means (C × D): neuron n scores
/// `Σ_{a<b} |μ_an − μ_bn|` over the classes `present`, for class c `Σ_{b≠c} |μ_cn − μ_bn|`; descending, ties by id.
///
/// The means are taken as they are: raw for what NeuroX computes, from [`standardised_means`] to compare neurons of
/// different scales. Classes that are not in `present` get no ordering of their own.
///
/// # Errors
/// When fewer than two classes are present or one of them has no row.
pub fn probeless(group_mean: ArrayView2<'_, f64>, present: &[u32]) -> Result<Ranking> {
    let (classes, neurons) = group_mean.dim();
    if present.len() < 2 || present.iter().any(|&c| c as usize >= classes) {
        return Err(Error::invalid(
            "probeless ranking",
            format!("the classes {present:?} of {classes} class means"),
            "It compares classes: give at least two, numbered from 0",
        ));
    }
    let mut by_class = Array2::<f64>::zeros((classes, neurons));
    let mut scores = vec![0.0; neurons];
    for (at, &a) in present.iter().enumerate() {
        for &b in &present[at + 1..] {
            for neuron in 0..neurons {
                let (a, b) = (a as usize, b as usize);
                let distance = (group_mean[(a, neuron)] - group_mean[(b, neuron)]).abs();
                scores[neuron] += distance;
                by_class[(a, neuron)] += distance;
                by_class[(b, neuron)] += distance;
            }
        }
    }
    let mut per_class = vec![Vec::new(); classes];
    for &class in present {
        per_class[class as usize] = descending(by_class.row(class as usize));
    }
    Ok(Ranking {
        order: descending(ArrayView1::from(&scores)),
        scores,
        per_class,
    })
}

/// The ordering by F of the one-way analysis of variance, `(Σ_c n_c (μ_c − μ)² / (C − 1)) / (Σ_i (x_i − μ_{y_i})² / (N − C))`
/// over the C classes that occur: scikit-learn's `f_classif`. Descending, ties by id; 0 for neurons that do not, or nearly do
/// not, vary. Neurons that vary a million times less inside the classes than between them are equal. No class has an ordering
/// of its own. From the moments that were taken with the same labels: it costs no pass over the samples.
///
/// # Errors
/// When the moments are without class means, fewer than two classes occur, or there are no more samples than classes.
pub fn anova(moments: &Moments, labels: &Labels) -> Result<Ranking> {
    let refused = |problem: String, fix: &str| Err(Error::invalid("ANOVA ranking", problem, fix));
    let counts = labels.counts();
    let fits = |means: &&Array2<f64>| means.nrows() == counts.len();
    let Some(means) = moments.group_mean.as_ref().filter(fits) else {
        return refused(
            "the moments are without classes, or of others".into(),
            "Take the moments with these labels",
        );
    };
    let (samples, classes) = (labels.len(), labels.present().len());
    if classes < 2 {
        return refused(
            format!("{classes} classes occur"),
            "It compares classes: give at least two",
        );
    }
    if samples <= classes {
        return refused(
            format!("{samples} samples of {classes} classes"),
            "Give more samples than classes",
        );
    }
    let score = |neuron: usize| {
        if moments.spread[neuron] != Spread::Varies {
            return 0.0;
        }
        let mean = moments.mean[neuron];
        let of_class = means.column(neuron);
        let apart = of_class.iter().zip(&counts);
        let between: f64 = apart.map(|(m, n)| *n as f64 * (m - mean).powi(2)).sum();
        let whole = samples as f64 * moments.sd[neuron].powi(2);
        // f64 sums leave nothing to tell below that share, and an infinite F could not be written.
        let share = (between / whole).min(1.0 - LEAST_WITHIN);
        share / (1.0 - share) * (samples - classes) as f64 / (classes - 1) as f64
    };
    let scores = (0..moments.mean.len()).map(score).collect();
    Ok(Ranking::overall(scores, counts.len()))
}

/// The ordering by the difference of means, `|μ_c − μ_rest| / sd`, of each class that occurs against the others together;
/// overall its mean over the classes. 0 for neurons that do not, or nearly do not, vary. From the moments that were taken with
/// the same labels.
///
/// # Errors
/// When the moments are without class means, or fewer than two classes occur.
pub fn mean_difference(moments: &Moments, labels: &Labels) -> Result<Ranking> {
    let counts = labels.counts();
    let fits = |means: &&Array2<f64>| means.nrows() == counts.len();
    let means = moments.group_mean.as_ref().filter(fits);
    let Some(means) = means.filter(|_| labels.present().len() > 1) else {
        return Err(Error::invalid(
            "ranking by mean difference",
            "there are no class means, or of fewer than two classes",
            "Take the moments with these labels, of at least two classes",
        ));
    };
    let samples = labels.len() as f64;
    let scores = Array2::from_shape_fn(means.dim(), |(class, neuron)| {
        let own = counts[class] as f64;
        if own == 0.0 {
            f64::NAN
        } else if moments.spread[neuron] == Spread::Varies {
            // μ_rest = (N·μ − n_c·μ_c) / (N − n_c), so the difference is that from the mean of all, enlarged.
            let apart = (means[(class, neuron)] - moments.mean[neuron]).abs();
            apart * samples / (samples - own) / moments.sd[neuron]
        } else {
            0.0
        }
    });
    Ok(Ranking::by_class(&scores))
}

/// The ordering by the heaviest weight of each neuron (C × D), `max_c |w_cn|`; for a class by |w_cn|. Descending, ties by id.
///
/// # Errors
/// When a weight is not finite.
pub fn largest_weight(weights: ArrayView2<'_, f32>) -> Result<Ranking> {
    check_weights(weights)?;
    let size = |column: ArrayView1<'_, f32>| column.iter().fold(0.0f32, |m, w| m.max(w.abs()));
    let scores = weights.columns().into_iter().map(|c| f64::from(size(c)));
    Ok(Ranking {
        per_class: weights.rows().into_iter().map(by_magnitude).collect(),
        ..Ranking::overall(scores.collect(), weights.nrows())
    })
}

/// Class means in units of each neuron's sd, `(μ_cn − mean_n) / sd_n`; 0 for neurons that do not, or nearly do not, vary.
/// `None` when the moments were taken without groups.
pub fn standardised_means(moments: &Moments) -> Option<Array2<f64>> {
    let mut means = moments.group_mean.clone()?;
    for (neuron, mut column) in means.columns_mut().into_iter().enumerate() {
        let (mean, sd) = (moments.mean[neuron], moments.sd[neuron]);
        if moments.spread[neuron] == Spread::Varies {
            column.mapv_inplace(|m| (m - mean) / sd);
        } else {
            column.fill(0.0);
        }
    }
    Some(means)
}

/// The neurons 0 … D−1 in a random order: the rival that every ranking must beat. The same for the same seed on every
/// machine.
pub fn random_order(neurons: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..neurons).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    order
}

fn check_weights(weights: ArrayView2<'_, f32>) -> Result<()> {
    if let Some(((class, neuron), value)) = weights.indexed_iter().find(|(_, w)| !w.is_finite()) {
        return Err(Error::invalid(
            "probe weights",
            format!("class {class}, neuron {neuron} is {value}"),
            "A ranking needs finite weights: fit the probe again",
        ));
    }
    Ok(())
}

fn check_share(mass_share: f64) -> Result<()> {
    if (0.0..=1.0).contains(&mass_share) {
        return Ok(());
    }
    Err(Error::invalid(
        "share of the weight mass",
        format!("it is {mass_share}, allowed is from 0 to 1"),
        "0.25 is usual",
    ))
}

/// Neurons by descending |w|, ties by id.
fn by_magnitude(row: ArrayView1<'_, f32>) -> Vec<usize> {
    let mut order: Vec<usize> = (0..row.len()).collect();
    order.sort_by(|&a, &b| row[b].abs().total_cmp(&row[a].abs()).then(a.cmp(&b)));
    order
}

/// Neurons by descending score, ties by id.
fn descending(scores: ArrayView1<'_, f64>) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(a.cmp(&b)));
    order
}

/// Σ|w|, summed in the order in which the cumulative sums are.
fn mass(row: ArrayView1<'_, f32>, order: &[usize]) -> f64 {
    order.iter().map(|&n| f64::from(row[n].abs())).sum()
}
