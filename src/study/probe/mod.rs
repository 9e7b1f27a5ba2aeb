//! One probe, from its files to its weights and metrics: what `neurosieve probe` does.
//!
//! The probe is fitted on train. Where several penalties are tried, dev chooses, or cross-validation where there is no dev.
//! Test serves the figures alone.

mod code;
mod controls;
mod load;
mod record;
pub mod results;

use std::path::PathBuf;

use self::load::{Labelled, Loaded, Part};
pub use self::results::ProbeResults;
use super::clock::Clock;
use super::memory::{self, Allowed};
use super::results::DeviceUsed;
use super::{Progress, stream};
use crate::activations::{LayerMap, Spread};
use crate::analysis::folds::folds;
use crate::analysis::metrics::{Classification, Regression};
use crate::analysis::predictions::predict;
use crate::analysis::search::Penalties;
use crate::analysis::selection::Rule;
use crate::analysis::selectivity::SampleFrom;
use crate::analysis::tuning::{By, Heard, Samples, Tuning};
use crate::data::{PartFiles, ReadOptions};
use crate::error::{Error, Result};
use crate::ops::Backend;
use crate::ops::moments::{Moments, moments};
use crate::ops::probe::{Fit, Norm, Params, Plan, Response, adam, in_flight_bytes};

/// Which neurons the probe sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chosen {
    /// All.
    All,
    /// Those of these layers.
    Layers(Vec<u32>),
    /// These columns.
    These(Vec<usize>),
}

/// What to fit, and on what.
#[derive(Debug, Clone)]
pub struct Job {
    /// The probe is fitted on it.
    pub train: PartFiles,
    /// It chooses between penalties; without it folds of train do.
    pub dev: Option<PartFiles>,
    /// Figures are taken on it.
    pub test: Option<PartFiles>,
    /// The task; `None`: the file's primary one.
    pub task: Option<String>,
    /// Labels are numbers, not classes.
    pub continuous: bool,
    /// What the files do not say about themselves.
    pub options: ReadOptions,
    /// Which neurons the probe sees.
    pub chosen: Chosen,
    /// The penalties to try.
    pub penalties: Penalties,
    /// What λ2 multiplies.
    pub norm: Norm,
    /// How to fit; its seed is that of folds and intervals as well.
    pub params: Params,
    /// Train as NeuroX does instead of solving.
    pub adam: Option<adam::Params>,
    /// How dev or the folds choose.
    pub rule: Rule,
    /// Number of folds where there is no dev; `None`: no cross-validation.
    pub folds: Option<usize>,
    /// Every class weighs the same in training.
    pub balanced: bool,
    /// A file with the weight of every sample of train.
    pub sample_weights: Option<PathBuf>,
    /// Control tasks, which need words.
    pub control: Control,
    /// How often to fit the probe again to shuffled labels of train; 0: never.
    pub label_shuffles: usize,
    /// Whether to code train's labels.
    pub description_length: bool,
    /// What it may take of the host's memory; the parameters' own bound where nothing is said.
    pub memory: Option<Allowed>,
}

/// Which control tasks to set the probe.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Control {
    /// Number of draws; 0: none.
    pub draws: usize,
    /// Where their classes are drawn from.
    pub from: SampleFrom,
}

/// A probe, and what there is to say of it.
#[derive(Debug, Clone)]
pub struct Probed {
    /// Metrics, certificate, path.
    pub results: ProbeResults,
    /// The probe.
    pub fit: Fit,
    /// Mean of every neuron on train.
    pub mean: Vec<f64>,
    /// Standard deviation of every neuron on train; 1 for those that do not vary.
    pub scale: Vec<f64>,
}

/// Steps of a run that judges one probe and no more.
const STEPS: usize = 4;

/// Reads the data, fits the probe and judges it; `device` is how results name `backend`.
///
/// # Errors
/// When the data cannot be read or contradict each other, a layer or neuron does not exist, the penalty cannot be chosen,
/// or the device fails.
pub fn run(
    job: &Job,
    backend: &Backend,
    device: DeviceUsed,
    observer: &mut dyn FnMut(&Progress<'_>),
) -> Result<Probed> {
    let others = job.control.draws > 0 || job.label_shuffles > 0;
    let steps = STEPS + usize::from(others) + usize::from(job.description_length);
    let mut clock = Clock::new(steps, observer);
    clock.step("read");
    let left = load::room(job)?;
    let data = load::load(job)?;
    let train = &data.train.activations;
    let columns = columns(&job.chosen, train.layers())?;
    let job = &Job {
        params: within(job, &data, columns.len(), (backend, left))?,
        ..job.clone()
    };
    let weights = load::weights(job, &data.train)?;
    let drawn = controls::prepare(job, &data)?;
    let portions = code::prepare(job, &data)?;
    let fold = fold(job, &data)?;
    clock.step("moments");
    let moments = moments(&Backend::Cpu, train.view(), None)?;
    let tuning = tuning(job, backend, &data, (&moments, &columns), &fold);
    let tuning = Tuning {
        weights: weights.as_deref(),
        ..tuning
    };
    clock.step("probes");
    let tuned = tuning.run(&mut |heard| hear(&mut clock, heard))?;
    clock.step("metrics");
    let metrics = all_metrics(job, &data, &tuned.fit)?;
    let mut warnings = Vec::new();
    if others {
        clock.step("control tasks and shuffled labels");
    }
    let hear = &mut |heard| hear(&mut clock, heard);
    let found = controls::others(job, &data, (&tuning, &tuned), &drawn, hear)?;
    warnings.extend(found.warnings);
    let mut lengths = None;
    if let Some(portions) = &portions {
        clock.step("description length");
        let progress = &mut |done| clock.fraction(done);
        let coded = code::lengths(job, &data, &tuning, portions, &drawn, progress)?;
        warnings.extend(code::warnings(&coded));
        lengths = Some(coded);
    }
    let timings = clock.finish();
    let mut results = record::results(job, &data, &columns, &tuned, metrics, (device, timings));
    results.control = found.control;
    results.label_shuffles = found.shuffles;
    results.description_length = lengths;
    results.warnings.extend(warnings);
    Ok(Probed {
        results,
        fit: tuned.fit,
        scale: scale(&moments),
        mean: moments.mean,
    })
}

/// The parameters with what the standardised neurons leave of the host's memory.
fn within(
    job: &Job,
    data: &Loaded,
    neurons: usize,
    (backend, left): (&Backend, Option<u64>),
) -> Result<Params> {
    let params = job.params.clone();
    let (Some(left), Some(allowed)) = (left, job.memory) else {
        return Ok(params);
    };
    let samples = data.train.activations.samples();
    let classes = match &data.train.labels {
        Labelled::Classes(labels) => labels.present().len(),
        Labelled::Values(_) => 2,
    };
    let copy = 4 * (samples * neurons) as u64;
    let least = copy + in_flight_bytes(samples, neurons, classes);
    if least > left {
        let held = allowed.limit.bytes - allowed.process - left;
        let holds = "activations, their standardised copy and one problem";
        allowed.left(held + least, holds)?;
    }
    Ok(Params {
        memory: (left - copy).min(memory::enough(backend)),
        ..params
    })
}

/// Tells the observer what a batch says.
fn hear(clock: &mut Clock<'_>, heard: Heard) {
    match heard {
        Heard::Planned(plan) => clock.note(stated(&plan)),
        Heard::Done(share) => clock.fraction(share),
    }
}

fn all_metrics(job: &Job, data: &Loaded, fit: &Fit) -> Result<results::Metrics> {
    let of = |number: u64, part: &Part| metrics(fit, part, stream(job.params.seed, number));
    Ok(results::Metrics {
        train: of(1, &data.train)?,
        dev: data.dev.as_ref().map(|part| of(2, part)).transpose()?,
        test: data.test.as_ref().map(|part| of(3, part)).transpose()?,
    })
}

/// A plan in a few words.
fn stated(plan: &Plan) -> String {
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    format!(
        "{} to solve, {} at once, at most {} MiB beside {} MiB of activations",
        plan.problems,
        plan.in_flight,
        mib(plan.solver),
        mib(plan.design)
    )
}

fn scale(moments: &Moments) -> Vec<f64> {
    let varies = |(sd, spread): (&f64, &Spread)| match spread {
        Spread::Varies => *sd,
        Spread::NearlyConstant | Spread::Constant => 1.0,
    };
    moments.sd.iter().zip(&moments.spread).map(varies).collect()
}

/// The chosen columns, ascending.
fn columns(chosen: &Chosen, layers: &LayerMap) -> Result<Vec<usize>> {
    match chosen {
        Chosen::All => Ok((0..layers.neurons()).collect()),
        Chosen::Layers(wanted) => {
            let known = layers.layers();
            if let Some(layer) = wanted.iter().find(|layer| !known.contains(layer)) {
                return Err(Error::invalid(
                    "layers",
                    format!("there is no layer {layer}; the data have {known:?}"),
                    "Name layers of the data",
                ));
            }
            Ok((0..layers.neurons())
                .filter(|&neuron| wanted.contains(&layers.layer(neuron)))
                .collect())
        }
        Chosen::These(wanted) => {
            let mut columns = wanted.clone();
            columns.sort_unstable();
            let last = layers.neurons() - 1;
            if let Some(&beyond) = columns.last().filter(|&&neuron| neuron > last) {
                return Err(Error::invalid(
                    "neurons",
                    format!("there is no neuron {beyond}; the data have 0 to {last}"),
                    "Name columns of the activations",
                ));
            }
            columns.dedup();
            Ok(columns)
        }
    }
}

fn samples(part: &Part) -> Samples<'_> {
    Samples {
        x: part.activations.view(),
        response: match &part.labels {
            Labelled::Classes(labels) => Response::Classes(labels),
            Labelled::Values(values) => Response::Values(values),
        },
        sentences: part.tokens.as_ref().map(|t| t.sentences.as_slice()),
    }
}

/// The fold of every sample of train; empty without cross-validation.
fn fold(job: &Job, data: &Loaded) -> Result<Vec<usize>> {
    let sentences = samples(&data.train).sentences;
    match (job.folds, &data.train.labels) {
        (None, _) => Ok(Vec::new()),
        (Some(count), Labelled::Classes(labels)) => {
            folds(labels.ids(), sentences, count, job.params.seed)
        }
        (Some(count), Labelled::Values(values)) => {
            let alike = vec![0; values.len()];
            folds(&alike, sentences, count, job.params.seed)
        }
    }
}

/// What to fit and how to choose, every sample weighing alike.
fn tuning<'a>(
    job: &'a Job,
    backend: &'a Backend,
    data: &'a Loaded,
    (moments, columns): (&'a Moments, &'a [usize]),
    fold: &'a [usize],
) -> Tuning<'a> {
    Tuning {
        backend,
        moments,
        train: samples(&data.train),
        weights: None,
        columns,
        penalties: &job.penalties,
        norm: job.norm,
        params: job.params.clone(),
        adam: job.adam,
        rule: job.rule,
        by: match (&data.dev, job.folds) {
            (Some(dev), _) => By::Dev(samples(dev)),
            (None, Some(count)) => By::Folds { fold, count },
            (None, None) => By::Nothing,
        },
    }
}

/// All metrics of a probe on a part.
fn metrics(fit: &Fit, part: &Part, seed: u64) -> Result<results::PartMetrics> {
    let units = samples(part).units()?;
    let x = part.activations.view();
    match &part.labels {
        Labelled::Classes(labels) => {
            let got = predict(fit, x)?;
            let log_p = got.log_probabilities.view();
            let found = Classification::of(labels, &got.classes, log_p, &units, seed)?;
            Ok(record::classification(&found, labels.classes(), &units))
        }
        Labelled::Values(values) => {
            let wide = |values: &[f32]| values.iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
            let found = Regression::of(&wide(values), &wide(&fit.values(x)), &units, seed)?;
            Ok(record::regression(&found, &units))
        }
    }
}
