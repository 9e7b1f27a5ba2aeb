//! Description length: in how few bits can train's labels be sent to somebody who has the activations (Voita & Titov 2020,
//! Information-theoretic probing with minimum description length, EMNLP, §2.2.2, the online code)?
//!
//! # Formula
//! Train, in a random order, is cut into portions that end at shares [`SHARES`] of its samples. With t₁ samples in the first
//! portion, K classes, and p_i the probe that is fitted on portions 1 to i,
//!
//! `L = t₁·log₂ K − Σ_i Σ_{j in portion i+1} log₂ p_i(y_j | x_j)`, compression = `N·log₂ K / L`
//!
//! A probe that needs few examples codes late and early portions well; one that learns by heart codes each new portion badly,
//! however good it is on what it has seen. Compression is to be compared with that of control tasks, and L with
//! [`DescriptionLength::frequency_bits`], the code of somebody who has no activations: uneven classes alone compress.
//!
//! # What the receiver knows
//! Activations, the classes that occur, and portions sent before. So:
//! - The probes see activations standardised by all of train. That is no leak: the code sends labels, and activations are
//!   there on both sides.
//! - The penalty of p_i is the one of those to try that gives the shortest code of portions 2 to i together, of equals the
//!   strongest; for p_1 it is the strongest. All of them code every portion (a prequential choice, Dawid 1984). Shares of
//!   λ_max are shares of that of portions 1 to i. Neither dev nor the penalty of the probe on all of train is used.
//! - A class that p_i has not seen has no probability in it. The u classes of K that portions 1 to i lack (t samples) share
//!   the mass `(u/2) / (t + K/2)` alike, and p_i the rest: what the estimator of Krichevsky & Trofimov (1981) gives classes
//!   that were never seen. Once all classes have been seen, p_i is the probe's alone.
//!
//! # Order
//! Samples are shuffled; where sentences are known whole sentences are, and a portion ends with the sentence that reaches
//! its share. Otherwise p_i would have been fitted on the neighbours of the words that it codes, whose activations know of
//! each other, and the code would be shorter than for sentences that are new.
//!
//! # Cost
//! Portions × penalties problems for each task, all in one batch over the same activations: a portion is weights of 0 and 1.

use std::collections::HashSet;

use ndarray::{ArrayView2, Axis};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::bootstrap::Units;
use super::predictions::predict;
use super::search::{NO_SIGNAL, Penalties};
use crate::error::{Error, Result};
use crate::labels::Labels;
use crate::ops::Backend;
use crate::ops::moments::Moments;
use crate::ops::probe::{self, Certificate, Design, Fit, Norm, Params, Problem};

/// Shares of train's samples at which portions end.
pub const SHARES: [f64; 11] = [
    0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.0625, 0.125, 0.25, 0.5, 1.0,
];

/// The samples of train in the order in which they are sent, by portion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Portions(Vec<Vec<usize>>);

impl Portions {
    /// Shuffles `units` (train's sentences, or samples) and cuts at [`SHARES`]. A share that no further unit is needed for
    /// gives no portion. Same seed, same portions, on every machine.
    ///
    /// # Errors
    /// When there are fewer than two units.
    pub fn shuffled(units: &Units, seed: u64) -> Result<Self> {
        let mut members: Vec<Vec<usize>> = (0..units.count())
            .map(|unit| units.members(unit).collect())
            .collect();
        members.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        let mut portions = Vec::new();
        let mut members = members.into_iter();
        let mut sent = 0;
        for share in SHARES {
            // The small term keeps 0.008 · 1000 from being a bit more than 8.
            let end = (share * units.len() as f64 - 1e-9).ceil() as usize;
            let mut portion = Vec::new();
            while sent + portion.len() < end {
                portion.extend(members.next().expect("the units hold all samples"));
            }
            sent += portion.len();
            if !portion.is_empty() {
                portions.push(portion);
            }
        }
        Self::new(portions, units.len())
    }

    /// Portions in order, which hold each of `samples` rows once.
    ///
    /// # Errors
    /// When there are fewer than two portions, one is empty, or a row is not there exactly once.
    pub fn new(portions: Vec<Vec<usize>>, samples: usize) -> Result<Self> {
        let rows: HashSet<usize> = portions.iter().flatten().copied().collect();
        let given: usize = portions.iter().map(Vec::len).sum();
        let once = given == samples && rows.len() == samples && rows.iter().all(|&r| r < samples);
        if portions.len() < 2 || portions.iter().any(Vec::is_empty) || !once {
            return Err(Error::invalid(
                "portions of train",
                format!(
                    "they are of {:?} samples, {} different ones of {samples}",
                    portions.iter().map(Vec::len).collect::<Vec<_>>(),
                    rows.len()
                ),
                "Give at least two portions, none of them empty, and every sample once. Train needs two sentences, or two samples where sentences are not known",
            ));
        }
        Ok(Self(portions))
    }

    /// The rows of each portion, in the order in which they are sent.
    pub fn rows(&self) -> &[Vec<usize>] {
        &self.0
    }
}

/// By which probes labels are coded.
#[derive(Debug, Clone)]
pub struct OnlineCode<'a> {
    /// Where probes are fitted.
    pub backend: &'a Backend,
    /// Moments of train.
    pub moments: &'a Moments,
    /// Raw activations of train, N × D.
    pub train: ArrayView2<'a, f32>,
    /// The neurons that probes see.
    pub columns: &'a [usize],
    /// The penalties to try.
    pub penalties: &'a Penalties,
    /// What λ2 multiplies.
    pub norm: Norm,
    /// How to fit.
    pub params: &'a Params,
    /// What is sent when.
    pub portions: &'a Portions,
}

/// The labels of one task in bits.
#[derive(Debug, Clone, PartialEq)]
pub struct DescriptionLength {
    /// Classes that can be sent, K.
    pub classes: usize,
    /// Samples N.
    pub samples: usize,
    /// Bits of all portions, L.
    pub bits: f64,
    /// Bits of the code that gives every class the same length, `N·log₂ K`.
    pub uniform_bits: f64,
    /// Bits of the code that knows how often each class was sent before and no activations:
    /// `−Σ_j log₂ (n_{y_j} + ½) / (j + K/2)` with n counted over the j samples before (Krichevsky & Trofimov 1981).
    pub frequency_bits: f64,
    /// `uniform_bits / bits`.
    pub compression: f64,
    /// One entry a portion, in order.
    pub portions: Vec<Portion>,
}

/// One portion in bits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Portion {
    /// Samples that were sent before it.
    pub before: usize,
    /// Its samples.
    pub samples: usize,
    /// Its bits.
    pub bits: f64,
    /// λ1, λ2 and certificate of the probe that coded it; `None` for the first portion, and after portions of one class, of
    /// which there is no probe.
    pub probe: Option<(f64, f64, Certificate)>,
}

impl OnlineCode<'_> {
    /// The code of each of several tasks over the same samples: the task itself and control tasks, say, all of which are
    /// coded with the classes that occur in the first. `progress` hears the share that is done, 0 to 1.
    ///
    /// # Errors
    /// When there are no tasks, labels and rows differ in number, the first has fewer than two classes or another has one
    /// more, no chosen neuron varies, or as [`probe::fit`].
    pub fn lengths(
        &self,
        tasks: &[&Labels],
        progress: &mut dyn FnMut(f64),
    ) -> Result<Vec<DescriptionLength>> {
        let classes = self.check(tasks)?;
        let design = Design::new(self.backend, self.train, self.moments, self.columns)?;
        let prefixes = self.prefixes();
        let stages: Vec<Stage<'_>> = tasks
            .iter()
            .flat_map(|task| prefixes.iter().map(|weights| Stage::new(task, weights)))
            .collect();
        let penalties = self.penalties(&design, &stages)?;
        let mut problems = Vec::new();
        for (stage, penalties) in stages.iter().zip(&penalties) {
            let at = |&(l1, l2): &(f64, f64)| stage.problem(l1, l2, self.norm);
            problems.extend(penalties.iter().map(at));
        }
        let fits = probe::fit(self.backend, &design, &problems, self.params, &mut |p| {
            progress(p.finished as f64 / p.problems as f64);
        })?;
        let mut coded = self.code(&stages, &penalties, &fits, &classes)?.into_iter();
        let of_task = |task: &&Labels| {
            let portions = coded.by_ref().take(prefixes.len()).collect();
            self.add_up(task, &classes, portions)
        };
        Ok(tasks.iter().map(of_task).collect())
    }

    /// The classes that can be sent.
    fn check(&self, tasks: &[&Labels]) -> Result<Vec<u32>> {
        let samples: usize = self.portions.rows().iter().map(Vec::len).sum();
        let classes = tasks.first().map_or_else(Vec::new, |task| task.present());
        let fits = |task: &&Labels| {
            let known = |class| classes.contains(class);
            task.len() == self.train.nrows() && task.present().iter().all(known)
        };
        if classes.len() < 2 || samples != self.train.nrows() || !tasks.iter().all(fits) {
            return Err(Error::invalid(
                "description length",
                format!(
                    "{} rows of activations, portions of {samples} samples, tasks of {:?} labels, {} classes in the first",
                    self.train.nrows(),
                    tasks.iter().map(|task| task.len()).collect::<Vec<_>>(),
                    classes.len()
                ),
                "Give every task one label a row, at least two classes in the first, and no others in the rest",
            ));
        }
        Ok(classes)
    }

    /// For each portion but the last, weight 1 for the samples up to its end and 0 for those after.
    fn prefixes(&self) -> Vec<Vec<f64>> {
        let portions = self.portions.rows();
        let mut seen = vec![0.0; self.train.nrows()];
        let mut prefixes = Vec::with_capacity(portions.len() - 1);
        for portion in &portions[..portions.len() - 1] {
            portion.iter().for_each(|&row| seen[row] = 1.0);
            prefixes.push(seen.clone());
        }
        prefixes
    }

    /// The penalties of each stage, strongest first; none where there is no probe.
    fn penalties(&self, design: &Design, stages: &[Stage<'_>]) -> Result<Vec<Vec<(f64, f64)>>> {
        let problems: Vec<Problem<'_>> = (stages.iter().filter(|stage| stage.has_probe()))
            .map(|stage| stage.problem(0.0, 0.0, self.norm))
            .collect();
        let maxima = match self.penalties {
            Penalties::Path { .. } => probe::lambda_max(design, &problems, self.params.scale)?,
            Penalties::Fixed { .. } => vec![1.0; problems.len()],
        };
        let mut maxima = maxima.into_iter();
        let of_stage = |stage: &Stage<'_>| {
            if !stage.has_probe() {
                return Ok(Vec::new());
            }
            let largest = maxima.next().expect("one for every problem");
            let largest = if largest > NO_SIGNAL { largest } else { 1.0 };
            self.penalties.values(|| Ok(largest))
        };
        stages.iter().map(of_stage).collect()
    }

    /// Bits of the portion after each stage, by the probe whose penalty did best before.
    fn code(
        &self,
        stages: &[Stage<'_>],
        penalties: &[Vec<(f64, f64)>],
        fits: &[Fit],
        classes: &[u32],
    ) -> Result<Vec<Portion>> {
        let portions = self.portions.rows();
        let mut fits = fits.iter();
        let mut coded = Vec::with_capacity(stages.len());
        let mut so_far: Vec<f64> = Vec::new();
        for (at, (stage, penalties)) in stages.iter().zip(penalties).enumerate() {
            let place = at % (portions.len() - 1);
            if place == 0 {
                so_far.clear();
            }
            let rows = &portions[place + 1];
            let fits: Vec<&Fit> = fits.by_ref().take(penalties.len()).collect();
            let portion = |bits, fit: Option<&Fit>| Portion {
                before: stage.samples,
                samples: rows.len(),
                bits,
                probe: fit.map(|fit| (fit.l1, fit.l2, fit.certificate)),
            };
            if fits.is_empty() {
                coded.push(portion(stage.bits_without_probe(rows, classes), None));
                continue;
            }
            let x = self.train.select(Axis(0), rows);
            let bits = fits
                .iter()
                .map(|fit| stage.bits(fit, x.view(), rows, classes))
                .collect::<Result<Vec<f64>>>()?;
            so_far.resize(bits.len(), 0.0);
            // The first of the smallest: penalties stand strongest first.
            let best = (0..bits.len()).fold(0, |best, other| {
                if so_far[other] < so_far[best] {
                    other
                } else {
                    best
                }
            });
            coded.push(portion(bits[best], Some(fits[best])));
            so_far
                .iter_mut()
                .zip(&bits)
                .for_each(|(sum, bits)| *sum += bits);
        }
        Ok(coded)
    }

    fn add_up(&self, task: &Labels, classes: &[u32], later: Vec<Portion>) -> DescriptionLength {
        let each = (classes.len() as f64).log2();
        let first = self.portions.rows()[0].len();
        let mut portions = vec![Portion {
            before: 0,
            samples: first,
            bits: first as f64 * each,
            probe: None,
        }];
        portions.extend(later);
        let bits = portions.iter().map(|portion| portion.bits).sum::<f64>();
        let uniform_bits = task.len() as f64 * each;
        DescriptionLength {
            classes: classes.len(),
            samples: task.len(),
            bits,
            uniform_bits,
            frequency_bits: self.frequency_bits(task, classes),
            compression: uniform_bits / bits,
            portions,
        }
    }

    fn frequency_bits(&self, task: &Labels, classes: &[u32]) -> f64 {
        let half = classes.len() as f64 / 2.0;
        let mut counts = vec![0.5; task.classes().len()];
        let mut bits = 0.0;
        for (sent, &row) in self.portions.rows().iter().flatten().enumerate() {
            let class = task.ids()[row] as usize;
            bits -= f64::log2(counts[class] / (sent as f64 + half));
            counts[class] += 1.0;
        }
        bits
    }
}

/// A task after some portions.
struct Stage<'a> {
    task: &'a Labels,
    weights: &'a [f64],
    samples: usize,
    /// Whether each class has been sent.
    seen: Vec<bool>,
}

impl<'a> Stage<'a> {
    fn new(task: &'a Labels, weights: &'a [f64]) -> Self {
        let mut seen = vec![false; task.classes().len()];
        let sent = weights
            .iter()
            .zip(task.ids())
            .filter(|(weight, _)| **weight > 0.0);
        let samples = sent.map(|(_, &class)| seen[class as usize] = true).count();
        Self {
            task,
            weights,
            samples,
            seen,
        }
    }

    /// A probe needs two classes.
    fn has_probe(&self) -> bool {
        self.seen.iter().filter(|seen| **seen).count() > 1
    }

    fn problem(&self, l1: f64, l2: f64, norm: Norm) -> Problem<'a> {
        Problem {
            weights: Some(self.weights),
            norm,
            ..Problem::new(self.task, l1, l2)
        }
    }

    /// Bits that a class which was seen costs beside the probe's, and those of one that was not.
    fn extra_bits(&self, classes: &[u32]) -> (f64, f64) {
        let unseen = classes
            .iter()
            .filter(|class| !self.seen[**class as usize])
            .count() as f64;
        let mass = unseen / 2.0 / (self.samples as f64 + classes.len() as f64 / 2.0);
        (-(1.0 - mass).log2(), -(mass / unseen).log2())
    }

    fn bits(
        &self,
        fit: &Fit,
        x: ArrayView2<'_, f32>,
        rows: &[usize],
        classes: &[u32],
    ) -> Result<f64> {
        let log_probabilities = predict(fit, x)?.log_probabilities;
        let (seen, unseen) = self.extra_bits(classes);
        let of_row = |(at, &row): (usize, &usize)| {
            let class = self.task.ids()[row] as usize;
            if self.seen[class] {
                seen - log_probabilities[[at, class]] / std::f64::consts::LN_2
            } else {
                unseen
            }
        };
        Ok(rows.iter().enumerate().map(of_row).sum())
    }

    /// After portions of one class: that class has all the mass but the unseen ones'.
    fn bits_without_probe(&self, rows: &[usize], classes: &[u32]) -> f64 {
        let (seen, unseen) = self.extra_bits(classes);
        let of_row = |&row: &usize| {
            if self.seen[self.task.ids()[row] as usize] {
                seen
            } else {
                unseen
            }
        };
        rows.iter().map(of_row).sum()
    }
}
