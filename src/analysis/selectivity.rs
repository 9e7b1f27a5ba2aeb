//! Control tasks (Hewitt & Liang 2019): would the probe have learned a task without meaning as well? Every word type gets a
//! random class; a probe that learns that too owes its accuracy to memory, not to what the neurons encode.
//!
//! Selectivity is the probe's accuracy minus the mean accuracy of the probes of several draws, on the same test samples.
//!
//! # Interval
//! Test samples and draws both come from something larger, and cross: every draw is judged on every sample. With h_i = 1
//! where the probe is right, c_di likewise of draw d, D draws, and c̄ means over draws,
//!
//! `selectivity ± √((t_{U−1}·e₁)² + (t_{D−1}·e₂)²)`
//!
//! is the 95 % interval: e₁ the standard error of the mean of h_i − c̄_i over test's U sentences (samples where sentences
//! are not known), e₂ = s/√D with s the standard deviation of the draws' accuracies, t the 0.975 quantiles of Student's
//! distribution. Limits of the two parts are combined by the squares of their distances (Zou & Donner 2008, Statistics in
//! Medicine 27, 1693–1702). Variances by row and by column together count what is left between them twice (Owen 2007, Annals
//! of Applied Statistics 1, 386–411), so the interval is rather too wide than too narrow: in simulations it holds the true
//! value 96 to 99 times in 100 with 2 to 10 draws (`tests/properties/memory.rs`). All samples of one word are right or wrong
//! together in a draw: e₂ holds that, sentences need not. How the probe would differ on another train is not in it.

use std::collections::{HashMap, HashSet};

use ndarray::ArrayView2;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};

use super::bootstrap::Units;
use super::frozen::Frozen;
use super::search::{Prober, accuracy, hits, intercept_only};
use crate::activations::beyond_or_again;
use crate::error::{Error, Result};
use crate::labels::Labels;
use crate::ops::probe::{Certificate, Fit, Neurons, Problem};

/// Below this share of test's samples whose word train has ([`seen_in_train`]), selectivity says little: a word that was
/// never seen cannot have been learned by heart.
pub const SEEN_ENOUGH: f64 = 0.2;

/// Where the class of a word type is drawn from (`sample_from` of NeuroX's `create_sequence_labeling_dataset`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SampleFrom {
    /// Train's label distribution over samples, so that guessing is as good as in the task.
    #[default]
    Same,
    /// All classes that occur in train alike.
    Uniform,
}

impl SampleFrom {
    /// The name that specifications and results use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Uniform => "uniform",
        }
    }
}

/// The words of the three parts, one a sample.
#[derive(Debug, Clone, Copy)]
pub struct Words<'a> {
    /// Of train.
    pub train: &'a [String],
    /// Of dev.
    pub dev: &'a [String],
    /// Of test.
    pub test: &'a [String],
}

/// One draw of a control task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlTask {
    /// Labels of train.
    pub train: Labels,
    /// Labels of dev.
    pub dev: Labels,
    /// Labels of test.
    pub test: Labels,
}

/// Draws a control task for the task whose train labels are `labels`: every word type, in order of first appearance in
/// train, dev, test, gets a class drawn as `from` says; the same type has the same class in all parts. Types are compared as
/// they are written. The same for the same seed on every machine. A draw that gives all of train one class is drawn again.
///
/// # Errors
/// When words and labels of train differ in number, a part has no words, or train has fewer than two word types or classes.
pub fn control_task(
    words: &Words<'_>,
    labels: &Labels,
    from: SampleFrom,
    seed: u64,
) -> Result<ControlTask> {
    let mut parts = control_labels(&[words.train, words.dev, words.test], labels, from, seed)?;
    let mut next = || parts.remove(0);
    Ok(ControlTask {
        train: next(),
        dev: next(),
        test: next(),
    })
}

/// As [`control_task`], for any parts, of which train is the first: the labels of each.
///
/// # Errors
/// As [`control_task`]; when there are no parts.
pub fn control_labels(
    parts: &[&[String]],
    labels: &Labels,
    from: SampleFrom,
    seed: u64,
) -> Result<Vec<Labels>> {
    let train = parts.first().copied().unwrap_or_default();
    let types: HashSet<&String> = train.iter().collect();
    if train.len() != labels.len() || types.len() < 2 || labels.present().len() < 2 {
        return Err(Error::invalid(
            "control task",
            format!(
                "train has {} words of {} types and {} labels of {} classes",
                train.len(),
                types.len(),
                labels.len(),
                labels.present().len()
            ),
            "It needs one word for every label, and at least two word types and classes",
        ));
    }
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    loop {
        let drawn = draw(parts, labels, from, &mut random)?;
        if drawn[0].present().len() >= 2 {
            return Ok(drawn);
        }
    }
}

fn draw(
    parts: &[&[String]],
    labels: &Labels,
    from: SampleFrom,
    random: &mut ChaCha8Rng,
) -> Result<Vec<Labels>> {
    let present = labels.present();
    let classes = match from {
        // The class of a random sample of train is a draw from train's label distribution.
        SampleFrom::Same => labels.ids(),
        SampleFrom::Uniform => &present,
    };
    let mut class_of: HashMap<&String, u32> = HashMap::new();
    let mut drawn = Vec::with_capacity(parts.len());
    for words in parts {
        let mut ids = Vec::with_capacity(words.len());
        for word in *words {
            let known = class_of.get(word).copied();
            let id = known.unwrap_or_else(|| classes[random.random_range(0..classes.len())]);
            class_of.insert(word, id);
            ids.push(id);
        }
        drawn.push(Labels::new(ids, labels.classes().to_vec())?);
    }
    Ok(drawn)
}

/// Share of the words of test that occur in train. Near 0 a control task cannot be learned by memory, so selectivity says
/// nothing; 0 when test has no words.
pub fn seen_in_train(train: &[String], test: &[String]) -> f64 {
    let known: HashSet<&String> = train.iter().collect();
    let seen = test.iter().filter(|word| known.contains(word)).count();
    if test.is_empty() {
        0.0
    } else {
        seen as f64 / test.len() as f64
    }
}

/// The probe of one draw of a control task.
#[derive(Debug, Clone, PartialEq)]
pub struct ControlProbe {
    /// Its accuracy on test.
    pub accuracy: f64,
    /// Which samples of test it gets right.
    pub hits: Vec<bool>,
    /// How near the optimum it is.
    pub certificate: Certificate,
}

impl ControlProbe {
    /// A fit judged on `test` (raw activations, N × D) by the draw's labels.
    ///
    /// # Errors
    /// When rows and labels differ in number.
    pub fn of(fit: &Fit, test: ArrayView2<'_, f32>, labels: &Labels) -> Result<Self> {
        let hits = hits(fit, test, labels)?;
        Ok(Self {
            accuracy: accuracy(&hits),
            hits,
            certificate: fit.certificate,
        })
    }
}

/// The probe of each draw of a control task, whose labels of train are `draws`, learned from the neurons `columns` at the
/// penalty (λ1, λ2) of the probe that it is a control of: equal means for equal capacity. All draws are one batch over the
/// same activations. Selectivity is the probe's own accuracy minus the mean of these.
///
/// # Errors
/// As [`Prober::search`].
pub fn control_probes(
    prober: &Prober<'_>,
    columns: &[usize],
    draws: &[&Labels],
    (l1, l2): (f64, f64),
    progress: &mut dyn FnMut(f64),
) -> Result<Vec<Frozen>> {
    let problems: Vec<Problem<'_>> = draws
        .iter()
        .map(|labels| Problem::new(labels, l1, l2))
        .collect();
    let fits = prober.fit_on(columns, &problems, progress)?;
    Ok(fits.iter().map(Frozen::of).collect())
}

/// How much better a probe is at its task than at control tasks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Selectivity {
    /// Accuracy of the probe.
    pub accuracy: f64,
    /// Mean accuracy of the draws' probes.
    pub control: f64,
    /// `accuracy` − `control`.
    pub value: f64,
    /// 95 % interval over test samples and draws (this module's documentation has the formula); `None` of a single draw,
    /// which does not say how far draws differ, or a single sample or sentence.
    pub interval: Option<[f64; 2]>,
    /// Half-range of the draws' accuracies: (largest − smallest) / 2.
    pub spread: f64,
}

impl Selectivity {
    /// From the samples of test that the probe gets right, and those that the probe of each draw gets right; `units` are
    /// test's sentences or samples.
    ///
    /// # Errors
    /// When there are no draws or no samples, or they differ in samples.
    pub fn of(own: &[bool], draws: &[&[bool]], units: &Units) -> Result<Self> {
        let samples = own.len();
        let alike = units.len() == samples && draws.iter().all(|draw| draw.len() == samples);
        if draws.is_empty() || samples == 0 || !alike {
            return Err(Error::invalid(
                "selectivity",
                format!(
                    "{samples} samples of the probe, {:?} of its draws, and sentences of {}",
                    draws.iter().map(|draw| draw.len()).collect::<Vec<_>>(),
                    units.len()
                ),
                "Judge the probe and at least one draw on the same samples, at least one",
            ));
        }
        let accuracies: Vec<f64> = draws.iter().map(|draw| accuracy(draw)).collect();
        let number = draws.len() as f64;
        let control = accuracies.iter().sum::<f64>() / number;
        let difference = |sample: usize| {
            let right = draws.iter().filter(|draw| draw[sample]).count();
            f64::from(u8::from(own[sample])) - right as f64 / number
        };
        let differences: Vec<f64> = (0..samples).map(difference).collect();
        let squares: f64 = accuracies.iter().map(|a| (a - control).powi(2)).sum();
        let parts = [
            (units.standard_error(&differences), units.count()),
            ((squares / (number - 1.0) / number).sqrt(), draws.len()),
        ];
        let value = accuracy(own) - control;
        Ok(Self {
            accuracy: accuracy(own),
            control,
            value,
            interval: (draws.len() > 1 && units.count() > 1).then(|| around(value, parts)),
            spread: (accuracies.iter().copied().fold(0.0, f64::max)
                - accuracies.iter().copied().fold(1.0, f64::min))
                / 2.0,
        })
    }
}

/// The interval around `value` from standard errors and the numbers of units that they are over, at least 2, within −1 and 1.
fn around(value: f64, parts: [(f64, usize); 2]) -> [f64; 2] {
    let reach = |(error, units): (f64, usize)| {
        let student = StudentsT::new(0.0, 1.0, units as f64 - 1.0)
            .expect("there are at least two units, so the degrees of freedom are positive");
        student.inverse_cdf(0.975) * error
    };
    let half = parts.map(reach).iter().map(|r| r * r).sum::<f64>().sqrt();
    [(value - half).max(-1.0), (value + half).min(1.0)]
}

/// Some neurons, and the penalty of the probe on them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NeuronSet<'a> {
    /// Ids, each once.
    pub neurons: &'a [usize],
    /// λ1.
    pub l1: f64,
    /// λ2.
    pub l2: f64,
}

/// The probes of each draw of a control task, whose labels of train are `draws`, on each of several sets of neurons: those of
/// a set together, at the penalty of its own probe: few neurons have less room to learn words by heart. As [`control_probes`]
/// for many sets, in batches of sets. They are frozen, to be judged on test when the last choice was made.
///
/// # Errors
/// When a neuron does not exist or is twice in a set; as [`crate::ops::probe::fit`].
pub fn control_probes_of_sets(
    prober: &Prober<'_>,
    sets: &[NeuronSet<'_>],
    draws: &[&Labels],
    progress: &mut dyn FnMut(f64),
) -> Result<Vec<Vec<Frozen>>> {
    if sets.is_empty() || draws.is_empty() {
        return Ok(vec![Vec::new(); sets.len()]);
    }
    let fits = fit_sets(prober, sets, draws, progress)?;
    let of_set = |fits: &[Fit]| fits.iter().map(Frozen::of).collect();
    Ok(fits.chunks(draws.len()).map(of_set).collect())
}

/// Every task on every set, the tasks of a set together.
fn fit_sets(
    prober: &Prober<'_>,
    sets: &[NeuronSet<'_>],
    tasks: &[&Labels],
    progress: &mut dyn FnMut(f64),
) -> Result<Vec<Fit>> {
    let mut union: Vec<usize> = sets.iter().flat_map(|set| set.neurons).copied().collect();
    union.sort_unstable();
    union.dedup();
    let design = prober.design(&union)?;
    let columns = design.as_ref().map_or(&[][..], |design| design.columns());
    let mut places = Vec::with_capacity(sets.len());
    for set in sets {
        let neurons = prober.train.ncols();
        if let Some(neuron) = beyond_or_again(set.neurons, neurons) {
            return Err(Error::invalid(
                "set of neurons",
                format!("it names neuron {neuron} twice, or there are only {neurons}"),
                "Name every neuron of a set once",
            ));
        }
        // The design leaves out neurons that do not vary; their weights are 0.
        let place = |neuron: &usize| columns.binary_search(neuron).ok();
        places.push(set.neurons.iter().filter_map(place).collect::<Vec<usize>>());
    }
    let mut problems = Vec::with_capacity(sets.len() * tasks.len());
    for (set, places) in sets.iter().zip(&places) {
        problems.extend(tasks.iter().map(|task| Problem {
            neurons: Neurons::These(places),
            ..Problem::new(task, set.l1, set.l2)
        }));
    }
    // On neurons none of which varies there is nothing to solve.
    let idle = |problem: &&Problem<'_>| problem.neurons == Neurons::These(&[]);
    let mut solved = Vec::with_capacity(problems.len());
    for group in prober.together(&places) {
        let (from, to) = (group.start * tasks.len(), group.end * tasks.len());
        let of_group = problems[from..to].iter().filter(|p| !idle(p));
        let busy: Vec<Problem<'_>> = of_group.copied().collect();
        solved.extend(prober.fit(
            design.as_ref().filter(|_| !busy.is_empty()),
            &busy,
            &mut |share| {
                progress((from as f64 + share * (to - from) as f64) / problems.len() as f64);
            },
        )?);
    }
    let mut solved = solved.into_iter();
    let fit = |problem: &Problem<'_>| {
        if idle(&problem) {
            intercept_only(problem, prober.train.ncols())
        } else {
            solved.next().expect("one fit a problem")
        }
    };
    Ok(problems.iter().map(fit).collect())
}
