//! What probes get right with some neurons alone, without retraining: what `neurosieve sweep` does.

mod probes;
pub mod results;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use self::probes::Probe;
use self::results::{
    Accuracy, ClassSamples, CurveResult, MaskResult, Point, ProbeSweeps, RandomCurve,
    SCHEMA_VERSION, Smallest, Summary, SweepResults,
};
use super::clock::Clock;
use super::memory::{self, Allowed};
use super::results::DeviceUsed;
use super::spec::AblationSpec;
use super::{Progress, stream};
use crate::activations::Activations;
use crate::analysis::curves::{self, smallest_within};
use crate::analysis::ranking::random_order;
use crate::analysis::uncertainty::wilson;
use crate::data::{self, MasksFile, PartFiles, ReadOptions};
use crate::error::{Error, Result, meant};
use crate::ops::Backend;
use crate::ops::ablation::{self, Masks};
use crate::ops::sweep::{self, Curve};

/// Shares of the neurons that a summary shows.
pub const SHARES: [f64; 5] = [0.01, 0.05, 0.1, 0.5, 1.0];

/// The loss at which few neurons still count as enough, as a share of what all neurons get right.
pub const LOSS: f64 = 0.01;

const RANDOM: &str = "random";

const REMOVING: &str = "remove-top at k is keep bottom at neurons - k; remove-bottom at k is keep top at neurons - k; removing \
                        k at random is keeping neurons - k at random";

/// What to sweep, and how.
#[derive(Debug, Clone)]
pub struct SweepJob {
    /// The activations and labels that are predicted.
    pub data: PartFiles,
    /// The task; `None`: the file's primary one.
    pub task: Option<String>,
    /// What the file does not say about itself.
    pub options: ReadOptions,
    /// Probes that `neurosieve probe` wrote.
    pub probes: Vec<PathBuf>,
    /// Orderings that `neurosieve rank` wrote.
    pub rankings: Option<PathBuf>,
    /// The orderings to take; none: all in the file but its random one.
    pub methods: Vec<String>,
    /// What neurons are replaced by, each once.
    pub ablation: Vec<AblationSpec>,
    /// Random orderings to compare with.
    pub random_draws: usize,
    /// Seed of the random orderings.
    pub seed: u64,
    /// Sets of neurons that need not nest.
    pub masks: Option<PathBuf>,
    /// Activations whose means replace neurons; `None`: each probe's own, of train.
    pub mean_from: Option<PathBuf>,
    /// Whether each class is counted.
    pub per_class: bool,
    /// What it may take of the host's memory, where that is bounded.
    pub memory: Option<Allowed>,
}

/// Reads everything and counts what is right.
///
/// # Errors
/// When something cannot be read, does not fit the data, or the device fails.
pub fn sweep(
    job: &SweepJob,
    backend: &Backend,
    device: DeviceUsed,
    observer: &mut dyn FnMut(&Progress<'_>),
) -> Result<SweepResults> {
    let mut clock = Clock::new(3, observer);
    clock.step("read");
    // A name that the file has not is told of before anything is read that may be large.
    let orders = orders(job)?;
    if let Some(allowed) = job.memory {
        let shapes = memory::shapes([&job.data], &job.options)?;
        allowed.beside(&shapes, 0, "activations of the file")?;
    }
    let wanted: Vec<String> = job.task.iter().cloned().collect();
    let (mut tasks, mut splits) = data::read_splits(&[&job.data], &wanted, &job.options)?;
    let (task, mut split) = (tasks.remove(0), splits.remove(0));
    let (x, labels) = (split.activations, split.labels.remove(0));
    let probes = probes::read(job, &x, &labels)?;
    check_orders(job, &orders, x.neurons())?;
    let file = job.masks.as_deref().map(data::read_masks).transpose()?;
    let masks = match &file {
        Some(file) => masks(file, x.neurons())?,
        None => Masks::new(x.neurons()),
    };
    let run = Run {
        job,
        backend,
        x: &x,
        orderings: orderings(&orders, job, x.neurons()),
        names: orders.into_keys().collect(),
        masks,
        file,
    };
    clock.step("sweeps");
    let mut found = Vec::new();
    for (place, probe) in probes.iter().enumerate() {
        clock.fraction(place as f64 / probes.len() as f64);
        found.push(run.curves(probe)?);
    }
    clock.step("masks");
    for (place, (probe, sweeps)) in probes.iter().zip(&mut found).enumerate() {
        clock.fraction(place as f64 / probes.len() as f64);
        sweeps.masks = run.masked(probe)?;
    }
    let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
    Ok(SweepResults {
        schema_version: SCHEMA_VERSION,
        neurosieve_version: env!("CARGO_PKG_VERSION").into(),
        device,
        file: job.data.activations.display().to_string(),
        task,
        samples: x.samples(),
        neurons: x.neurons(),
        rankings: path(&job.rankings),
        masks: path(&job.masks),
        mean_from: path(&job.mean_from),
        random_draws: job.random_draws,
        seed: job.seed,
        removing: REMOVING,
        warnings: probes.iter().filter_map(warning).collect(),
        probes: found,
        timings: clock.finish(),
    })
}

fn warning(probe: &Probe) -> Option<String> {
    (probe.unknown > 0).then(|| {
        format!(
            "{} does not know the classes of {} of the {} samples, and cannot get these right",
            probe.file.display(),
            probe.unknown,
            probe.labels.len()
        )
    })
}

/// The orderings that are asked for, by name.
fn orders(job: &SweepJob) -> Result<BTreeMap<String, Vec<usize>>> {
    let Some(path) = &job.rankings else {
        return Ok(BTreeMap::new());
    };
    let mut orders = data::read_rankings(path)?;
    if job.methods.is_empty() {
        // The rival of all is drawn here, several times.
        orders.remove(RANDOM);
    }
    if let Some(absent) = job.methods.iter().find(|name| !orders.contains_key(*name)) {
        let names: Vec<&str> = orders.keys().map(String::as_str).collect();
        let problem = format!("there is no \"{absent}\"");
        let meant = meant(absent, names.iter().copied());
        let fix = format!("{meant}Name some of {}", names.join(", "));
        return Err(refused(path, problem, fix));
    }
    orders.retain(|name, _| job.methods.is_empty() || job.methods.contains(name));
    Ok(orders)
}

fn refused(rankings: &Path, problem: String, fix: impl Into<String>) -> Error {
    Error::invalid(format!("rankings of {}", rankings.display()), problem, fix)
}

/// Refuses orderings of other neurons than those of the data.
fn check_orders(
    job: &SweepJob,
    orders: &BTreeMap<String, Vec<usize>>,
    neurons: usize,
) -> Result<()> {
    let other = orders.iter().find(|(_, order)| order.len() != neurons);
    let Some((path, (name, order))) = job.rankings.as_deref().zip(other) else {
        return Ok(());
    };
    let problem = format!(
        "{name} orders {} neurons, the data have {neurons}",
        order.len()
    );
    let fix = "Give orderings of the neurons of the data";
    Err(refused(path, problem, fix))
}

/// Every ordering from its top and from its bottom, then the random ones.
fn orderings(
    orders: &BTreeMap<String, Vec<usize>>,
    job: &SweepJob,
    neurons: usize,
) -> Vec<Vec<usize>> {
    let both_ends = |order: &Vec<usize>| {
        let bottom = order.iter().rev().copied().collect();
        [order.clone(), bottom]
    };
    let random = (0..job.random_draws as u64).map(|n| random_order(neurons, stream(job.seed, n)));
    orders.values().flat_map(both_ends).chain(random).collect()
}

fn masks(file: &MasksFile, neurons: usize) -> Result<Masks> {
    let mut masks = Masks::new(neurons);
    for mask in 0..file.len() {
        masks.push(&file.kept(mask, neurons)?)?;
    }
    Ok(masks)
}

/// What every probe is swept with.
struct Run<'a> {
    job: &'a SweepJob,
    backend: &'a Backend,
    x: &'a Activations,
    /// Of the orderings, two of `orderings` each; the others are random.
    names: Vec<String>,
    orderings: Vec<Vec<usize>>,
    masks: Masks,
    file: Option<MasksFile>,
}

impl Run<'_> {
    fn curves(&self, probe: &Probe) -> Result<ProbeSweeps> {
        let (mut summaries, mut curves, mut random) = (Vec::new(), Vec::new(), Vec::new());
        for &ablation in &self.job.ablation {
            let params = sweep::Params {
                weights: probe.weights.view(),
                bias: probe.bias.view(),
                ablated: &probe.ablated(ablation),
                orderings: &self.orderings,
                by_class: self.job.per_class,
            };
            let mut found = sweep::sweep(self.backend, self.x.view(), &probe.labels, &params)?;
            let draws = found.split_off(2 * self.names.len());
            let pairs = found.as_chunks::<2>().0;
            for (name, [top, bottom]) in self.names.iter().zip(pairs) {
                summaries.push(summary(name, ablation, top, bottom));
                for (keep, curve) in [("top", top), ("bottom", bottom)] {
                    curves.push(CurveResult {
                        ranking: name.clone(),
                        ablation: ablation.name(),
                        keep,
                        correct: curve.correct.clone(),
                        per_class: curve.by_class.as_ref().map(rows),
                    });
                }
            }
            if !draws.is_empty() {
                let curve = averaged(ablation, &draws)?;
                summaries.push(random_summary(&curve, draws.len(), probe.labels.len()));
                random.push(curve);
            }
        }
        let counts = probe.labels.counts().into_iter();
        let classes = probe.labels.classes().iter().zip(counts);
        Ok(ProbeSweeps {
            file: probe.file.display().to_string(),
            classes: classes
                .map(|(name, samples)| ClassSamples {
                    name: name.clone(),
                    samples,
                })
                .collect(),
            complete: self.complete(probe)?,
            summaries,
            curves,
            random,
            masks: Vec::new(),
        })
    }

    /// With all neurons: whatever would replace them does not matter.
    fn complete(&self, probe: &Probe) -> Result<Accuracy> {
        let mut all = Masks::new(self.x.neurons());
        all.push(&(0..self.x.neurons()).collect::<Vec<_>>())?;
        let counts = self.ablated(probe, AblationSpec::Zero, &all)?;
        Ok(share(counts.correct[0], counts.total))
    }

    fn ablated(
        &self,
        probe: &Probe,
        ablation: AblationSpec,
        masks: &Masks,
    ) -> Result<ablation::Counts> {
        let params = ablation::Params {
            weights: probe.weights.view(),
            bias: probe.bias.view(),
            ablated: &probe.ablated(ablation),
            masks,
        };
        ablation::ablation(self.backend, self.x.view(), &probe.labels, &params)
    }

    fn masked(&self, probe: &Probe) -> Result<Vec<MaskResult>> {
        let Some(file) = &self.file else {
            return Ok(Vec::new());
        };
        let mut all = Vec::new();
        for &ablation in &self.job.ablation {
            let counts = self.ablated(probe, ablation, &self.masks)?;
            let by_class = counts.by_class.outer_iter();
            for (mask, (&correct, by_class)) in counts.correct.iter().zip(by_class).enumerate() {
                all.push(MaskResult {
                    mask,
                    name: file.name(mask).map(str::to_owned),
                    ablation: ablation.name(),
                    kept: self.masks.size(mask),
                    correct,
                    accuracy: share(correct, counts.total),
                    per_class: self.job.per_class.then(|| by_class.to_vec()),
                });
            }
        }
        Ok(all)
    }
}

fn rows(counts: &ndarray::Array2<u32>) -> Vec<Vec<u32>> {
    counts.outer_iter().map(|row| row.to_vec()).collect()
}

fn share(correct: u32, total: u32) -> Accuracy {
    Accuracy {
        accuracy: f64::from(correct) / f64::from(total),
        interval: wilson(correct as usize, total as usize),
    }
}

/// Numbers of neurons that a summary shows.
fn shown(neurons: usize) -> impl Iterator<Item = (f64, usize)> {
    let of = move |share: f64| (share, ((neurons as f64 * share).round() as usize).max(1));
    SHARES.into_iter().map(of)
}

fn summary(name: &str, ablation: AblationSpec, top: &Curve, bottom: &Curve) -> Summary {
    let neurons = top.correct.len() - 1;
    let at = |curve: &Curve, k: usize| share(curve.correct[k], curve.total);
    let correct: Vec<f64> = top.correct.iter().copied().map(f64::from).collect();
    let k = smallest_within(&correct, LOSS).expect("a curve has a point");
    Summary {
        ranking: name.to_owned(),
        draws: None,
        ablation: ablation.name(),
        points: shown(neurons)
            .map(|(share, k)| Point {
                share,
                k,
                kept: at(top, k),
                removed: at(bottom, neurons - k),
            })
            .collect(),
        smallest: Smallest {
            k,
            kept: at(top, k),
        },
    }
}

fn averaged(ablation: AblationSpec, draws: &[Curve]) -> Result<RandomCurve> {
    let of: Vec<&[u32]> = draws.iter().map(|curve| &curve.correct[..]).collect();
    let found = curves::draws(&of)?;
    let tables: Option<Vec<_>> = draws.iter().map(|curve| curve.by_class.as_ref()).collect();
    let per_class = tables.map(|tables| {
        let classes = 0..tables[0].nrows();
        let mean = |class: usize| {
            let at = |k: usize| tables.iter().map(move |table| f64::from(table[(class, k)]));
            let points = 0..tables[0].ncols();
            let mean = points.map(|k| at(k).sum::<f64>() / draws.len() as f64);
            mean.collect()
        };
        classes.map(mean).collect()
    });
    Ok(RandomCurve {
        ablation: ablation.name(),
        mean: found.mean,
        least: found.least,
        most: found.most,
        per_class,
    })
}

fn random_summary(curve: &RandomCurve, draws: usize, total: usize) -> Summary {
    let neurons = curve.mean.len() - 1;
    let at = |k: usize| Accuracy {
        accuracy: curve.mean[k] / total as f64,
        interval: [curve.least[k], curve.most[k]].map(|n| f64::from(n) / total as f64),
    };
    let k = smallest_within(&curve.mean, LOSS).expect("a curve has a point");
    Summary {
        ranking: RANDOM.into(),
        draws: Some(draws),
        ablation: curve.ablation,
        points: shown(neurons)
            .map(|(share, k)| Point {
                share,
                k,
                kept: at(k),
                removed: at(neurons - k),
            })
            .collect(),
        smallest: Smallest { k, kept: at(k) },
    }
}
