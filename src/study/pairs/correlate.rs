//! The correlations of a file's neurons, or of two files' over the same samples.

use std::path::PathBuf;

use ndarray::Array2;

use super::Opened;
use super::results::{
    BaselineResults, CorrelationResults, Distribution, LayerPairs, Match, SCHEMA_VERSION,
};
use crate::activations::Rows;
use crate::analysis::chance::{Permuted, Rotated};
use crate::analysis::similarity::{Cka, linear_cka};
use crate::data::ReadOptions;
use crate::error::{Error, Result};
use crate::ops::Backend;
use crate::ops::correlation::{
    self, Findings, Matrix, Params, Partner, Precision, Side, Wanted, scan,
};
use crate::ops::moments::{self, layer_norms};
use crate::study::clock::Clock;
use crate::study::results::{DeviceUsed, Timing};
use crate::study::{Progress, stream};

/// What the other model is compared with beside itself as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Baseline {
    /// Its layers rotated at random (Gurnee et al. 2024).
    Rotation,
    /// Its samples in a random order.
    Permutation,
}

/// What to correlate, and what to keep.
#[derive(Debug, Clone)]
pub struct CorrelateJob {
    /// The activations.
    pub data: PathBuf,
    /// Another model's over the same samples.
    pub cross: Option<PathBuf>,
    /// What the file of activations does not say about itself.
    pub options: ReadOptions,
    /// The same of the other model's.
    pub cross_options: ReadOptions,
    /// Keep pairs with |r| of at least this.
    pub threshold: Option<f32>,
    /// Keep so many partners of each neuron; 0: only the best, in the document.
    pub top: usize,
    /// What matches by chance are taken from.
    pub baseline: Option<Baseline>,
    /// Seed of the baseline.
    pub seed: u64,
    /// How exact r has to be, that by chance too.
    pub precision: Precision,
    /// Bytes of memory: for samples and sums in flight, and as many for what is kept of the pairs.
    pub memory: u64,
}

impl CorrelateJob {
    /// The files that are read, which the output must not replace.
    pub fn inputs(&self) -> Vec<&PathBuf> {
        std::iter::once(&self.data).chain(&self.cross).collect()
    }
}

/// The document, and what goes into the file beside it.
#[derive(Debug, Clone)]
pub struct Correlated {
    /// The document.
    pub results: CorrelationResults,
    /// Edges and partners.
    pub findings: Findings,
}

/// Reads the data, correlates all pairs on `backend` and keeps what was asked for. `matrix` makes a sink of all of r for so
/// many left and right neurons, where the whole matrix is wanted.
///
/// # Errors
/// When the data cannot be read or contradict each other, there are more edges than memory for them, or the device fails.
pub fn correlate<M: Matrix>(
    job: &CorrelateJob,
    backend: &Backend,
    device: DeviceUsed,
    matrix: Option<&mut dyn FnMut(usize, usize) -> Result<M>>,
    observer: &mut dyn FnMut(&Progress<'_>),
) -> Result<(Correlated, Option<M>)> {
    let steps = if job.cross.is_some() { 2 } else { 3 };
    let mut clock = Clock::new(steps + usize::from(job.baseline.is_some()), observer);
    clock.step("moments");
    let data = Opened::new(&job.data, &job.options)?;
    let cross = job.cross.as_ref();
    let cross = cross
        .map(|path| Opened::new(path, &job.cross_options))
        .transpose()?;
    let other = cross.as_ref().unwrap_or(&data);
    if job.baseline == Some(Baseline::Rotation) {
        check_rotation(job, other)?;
    }
    clock.step("correlations");
    let neurons = (data.summary.neurons, other.summary.neurons);
    let matrix = matrix.map(|make| make(neurons.0, neurons.1)).transpose()?;
    let wanted = Wanted {
        at_least: job.threshold,
        most_edges: job.memory / (COPIES * size_of::<correlation::Edge>() as u64),
        partners: kept(job, neurons)?,
        distribution: true,
        layers: Some([&data.layers, &other.layers]),
        matrix: matrix.as_ref().map(|matrix| matrix as &dyn Matrix),
    };
    let right = cross.as_ref().map(Opened::side);
    let findings = scan(backend, data.side(), right, &wanted, &params(job))?;
    let mut cka = None;
    if cross.is_none() {
        clock.step("similarity of layers");
        cka = similarity(&data, &findings)?;
    }
    let baseline = match (job.baseline, &cross) {
        (Some(kind), Some(cross)) => {
            clock.step("matches by chance");
            Some(by_chance(job, backend, kind, (&data, cross), &findings)?)
        }
        _ => None,
    };
    let timings = clock.finish();
    let results = record(
        job,
        (data, cross),
        &findings,
        cka,
        baseline,
        (device, timings),
    );
    Ok((Correlated { results, findings }, matrix))
}

fn params(job: &CorrelateJob) -> Params {
    Params {
        memory: job.memory,
        precision: job.precision,
        ..Params::default()
    }
}

/// How often what is kept is in memory while it is written: as found, as columns, as a file.
const COPIES: u64 = 3;

/// Partners of each neuron, where memory allows so many.
fn kept(job: &CorrelateJob, (left, right): (usize, usize)) -> Result<usize> {
    let wanted = job.top.max(1);
    let of = |neurons: usize, others: usize| neurons as u64 * wanted.min(others) as u64;
    let partners = of(left, right) + job.cross.as_ref().map_or(0, |_| of(right, left));
    let bytes = partners * COPIES * size_of::<correlation::Edge>() as u64;
    if job.top > 1 && bytes > job.memory {
        return Err(Error::invalid(
            "number of partners",
            format!(
                "{wanted} of each neuron take {} MiB, and {} MiB are allowed",
                bytes.div_ceil(1 << 20),
                job.memory.div_ceil(1 << 20)
            ),
            "Keep fewer, or allow more memory",
        ));
    }
    Ok(wanted)
}

/// Whether there is memory for the rotations of a model's layers: found out before the work starts.
fn check_rotation(job: &CorrelateJob, model: &Opened) -> Result<()> {
    let bytes = Rotated::bytes(&model.layers);
    if bytes <= job.memory {
        return Ok(());
    }
    Err(Error::invalid(
        "rotation of the other model's layers",
        format!(
            "its matrices take {} MiB, and {} MiB are allowed",
            bytes.div_ceil(1 << 20),
            job.memory.div_ceil(1 << 20)
        ),
        "Allow more memory, say of which layers the file is (--cross-layers-units), or take a permutation",
    ))
}

/// CKA of the layers; none where there are too few samples for it.
fn similarity(data: &Opened, findings: &Findings) -> Result<Option<Cka>> {
    let (Some(pairs), true) = (&findings.layers, data.summary.samples >= 4) else {
        return Ok(None);
    };
    let norms = layer_norms(data.rows.as_ref(), &data.moments, &data.layers)?;
    linear_cka(pairs, &norms).map(Some)
}

/// The best matches with the other model shuffled or rotated.
fn by_chance(
    job: &CorrelateJob,
    backend: &Backend,
    kind: Baseline,
    (data, cross): (&Opened, &Opened),
    findings: &Findings,
) -> Result<BaselineResults> {
    let seed = stream(job.seed, 0);
    let rows = cross.rows.as_ref();
    let (rotated, permuted);
    let rows: &dyn Rows = match kind {
        Baseline::Rotation => {
            rotated = Rotated::new(rows, &cross.layers, &cross.moments.mean, seed)?;
            &rotated
        }
        Baseline::Permutation => {
            permuted = Permuted::new(rows, seed);
            &permuted
        }
    };
    let moments = &moments::streamed(rows, None)?;
    let wanted = Wanted {
        partners: 1,
        ..Wanted::default()
    };
    let right = Some(Side { rows, moments });
    let chance = scan(backend, data.side(), right, &wanted, &params(job))?;
    let size = |partners: &Vec<Partner>| partners.first().map_or(0.0, |best| best.r.abs());
    let best_abs: Vec<f32> = chance.partners.iter().map(size).collect();
    let mean = |values: &mut dyn Iterator<Item = f32>| {
        values.map(f64::from).sum::<f64>() / best_abs.len() as f64
    };
    let mean_best = mean(&mut findings.partners.iter().map(size));
    let mean_best_by_chance = mean(&mut best_abs.iter().copied());
    Ok(BaselineResults {
        kind: match kind {
            Baseline::Rotation => "rotation",
            Baseline::Permutation => "permutation",
        },
        seed: job.seed,
        mean_best,
        mean_best_by_chance,
        mean_excess: mean_best - mean_best_by_chance,
        best_abs,
    })
}

fn record(
    job: &CorrelateJob,
    (data, cross): (Opened, Option<Opened>),
    findings: &Findings,
    cka: Option<Cka>,
    baseline: Option<BaselineResults>,
    (device, timings): (DeviceUsed, Vec<Timing>),
) -> CorrelationResults {
    let found = findings.distribution.as_ref().expect("it was wanted");
    let pairs = findings.layers.as_ref().expect("they were wanted");
    let defined = |cka: &Array2<f64>| table(cka, |value| value.is_finite().then_some(*value));
    CorrelationResults {
        schema_version: SCHEMA_VERSION,
        neurosieve_version: env!("CARGO_PKG_VERSION").into(),
        device,
        precision: findings.computed.clone(),
        data: data.summary,
        threshold: job.threshold,
        pairs_at_least: job.threshold.map(|_| findings.edges.len()),
        distribution: Distribution {
            pairs: found.pairs,
            counts: found.counts.clone(),
            mean: found.mean,
            mean_abs: found.mean_size,
            sd: found.sd,
            skewness: found.skewness,
            kurtosis: found.kurtosis,
        },
        best: best(&findings.partners),
        best_of_cross: cross.as_ref().map(|_| best(&findings.partners_of_right)),
        cross: cross.map(|cross| cross.summary),
        baseline,
        layers: LayerPairs {
            rows: pairs.left.clone(),
            columns: pairs.right.clone(),
            mean_abs: table(&pairs.mean, |value| *value),
            largest: table(&pairs.largest, |value| *value),
            pairs_at_least: pairs.at_least.as_ref().map(|pairs| table(pairs, |n| *n)),
            cka: cka.as_ref().map(|cka| defined(&cka.biased)),
            cka_unbiased: cka.as_ref().map(|cka| defined(&cka.unbiased)),
        },
        timings,
    }
}

fn best(partners: &[Vec<Partner>]) -> Vec<Option<Match>> {
    let first = |partners: &Vec<Partner>| {
        partners.first().map(|best| Match {
            neuron: best.neuron,
            r: best.r,
        })
    };
    partners.iter().map(first).collect()
}

fn table<T, U>(values: &Array2<T>, change: impl Fn(&T) -> U) -> Vec<Vec<U>> {
    let row = |row: ndarray::ArrayView1<'_, T>| row.iter().map(&change).collect();
    values.rows().into_iter().map(row).collect()
}
