//! The run: from the specification to the results, step by step.
//!
//! Probes are fitted on train and chosen on dev. What makes choices ([`Common`]) has no test data; when all choices of all
//! tasks are made, [`evaluate`] judges them on test, and nothing is chosen after that.

use std::time::Instant;

use super::clock::Clock;
use super::load::load;
use super::memory::Room;
use super::records::Tally;
use super::results::{ClusterCut, DeviceUsed, Redundancy, SCHEMA_VERSION, StudyResults, Timing};
use super::spec::{ProbeSpec, SolverSpec, Spec};
use super::task::{self, Alike, Common};
use super::units::{Folder, Units};
use super::{Progress, evaluate, explore, stream, survey, warnings};
use crate::analysis::frozen::Frozen;
use crate::analysis::redundancy;
use crate::analysis::search::{Keeper, Penalties, Prober, Search};
use crate::analysis::selectivity::{self, ControlTask, Words, control_probes};
use crate::error::Result;
use crate::labels::Labels;
use crate::ops::Backend;
use crate::ops::correlation::{Computed, Correlation, Side};
use crate::ops::moments::{self, Moments};
use crate::ops::probe::{Params, PenaltyScale, Solver, Stop};
use crate::split::Dataset;

/// Steps that do not depend on a task.
const COMMON_STEPS: usize = 7;

/// Reads the data of a specification and runs the study on `backend`; `device` is how results name it.
///
/// # Errors
/// When the data cannot be read or are contradictory, or the device fails.
pub fn run(
    spec: &Spec,
    backend: &Backend,
    device: DeviceUsed,
    observer: &mut dyn FnMut(&Progress<'_>),
) -> Result<StudyResults> {
    let kept = (None, Room::enough(backend));
    read_and_run(spec, (backend, device), kept, observer, |_, _| Ok(()))
}

/// As [`run`], with units: those that are in the folder are not computed again, and those that are computed are kept there.
/// The results have the same bits, whatever room there is. Whoever keeps the results [finishes](Folder::finish) the folder.
///
/// # Errors
/// As [`run`]; when a unit cannot be written, or [`Error::Interrupted`](crate::Error::Interrupted).
pub fn resume(
    spec: &Spec,
    backend: &Backend,
    device: DeviceUsed,
    (folder, room): (&Folder, Room),
    observer: &mut dyn FnMut(&Progress<'_>),
) -> Result<StudyResults> {
    let any = |_: &Dataset, _: &DeviceUsed| Ok(());
    let kept = (Some(folder), room);
    read_and_run(spec, (backend, device), kept, observer, any)
}

/// `check` may refuse the data.
pub(super) fn read_and_run(
    spec: &Spec,
    (backend, device): (&Backend, DeviceUsed),
    kept: (Option<&Folder>, Room),
    observer: &mut dyn FnMut(&Progress<'_>),
    check: impl FnOnce(&Dataset, &DeviceUsed) -> Result<()>,
) -> Result<StudyResults> {
    let started = Instant::now();
    let data = load(spec)?;
    check(&data, &device)?;
    let read = Timing {
        step: "read".into(),
        seconds: started.elapsed().as_secs_f64(),
    };
    let mut results = on_data(spec, &data, (backend, device), kept, observer)?;
    results.timings.insert(0, read);
    Ok(results)
}

/// Runs the study on data that were read before: one entry in the results for each task of `data`.
///
/// # Errors
/// When the device fails.
pub fn run_on(
    spec: &Spec,
    data: &Dataset,
    backend: &Backend,
    device: DeviceUsed,
    observer: &mut dyn FnMut(&Progress<'_>),
) -> Result<StudyResults> {
    let kept = (None, Room::enough(backend));
    on_data(spec, data, (backend, device), kept, observer)
}

fn on_data(
    spec: &Spec,
    data: &Dataset,
    (backend, device): (&Backend, DeviceUsed),
    (folder, room): (Option<&Folder>, Room),
    observer: &mut dyn FnMut(&Progress<'_>),
) -> Result<StudyResults> {
    let mut clock = Clock::new(COMMON_STEPS + task::STEPS * data.tasks().len(), observer);
    let train = &data.train().activations;
    // What a device had trouble with before is another run's.
    let told = backend.told().len();
    clock.step("moments");
    let moments = moments::moments(&Backend::Cpu, train.view(), None)?;
    let summary = survey::summarise(spec, data, &moments);
    clock.step("correlation");
    let units = folder.map(|folder| Units::new(folder, train.view(), &moments, (backend, &device)));
    let common = common(spec, data, backend, &moments, (units.as_ref(), room));
    let (correlation, computed) = common.correlations(units.as_ref())?;
    clock.step("clusters");
    let clustering = survey::clustering(&spec.clusters, &correlation, computed);
    let (clusters, redundancy, alike) = clusters(spec, data, &correlation)?;
    clock.step("probes on all neurons");
    let oracles = common.oracles(&mut |done| clock.fraction(done))?;
    clock.step("control tasks");
    let controls = draw_controls(spec, data)?;
    let drawn = of_train(&controls);
    let on_all = common.on_all(&drawn, &oracles, &mut |done| clock.fraction(done))?;
    let mut warnings = warnings::of_data(&summary, &clustering);
    let mut tally = Tally::of(on_all.iter().flatten().map(Frozen::certificate));
    let mut choices = Vec::new();
    for (task, oracle) in oracles.iter().enumerate() {
        let controls = (&*drawn[task], &*on_all[task]);
        let chosen = common.choose(task, oracle, controls, &alike, &mut tally, &mut clock)?;
        choices.push(chosen);
    }
    clock.step("neurons one by one");
    let explored = common.explore(&choices, &clusters, &correlation)?;
    clock.step("test");
    let means = (backend, &*moments.mean);
    let (tasks, loss_claims, test_use) =
        evaluate::all(spec, data, means, &choices, &controls, &mut |done| {
            clock.fraction(done);
        })?;
    for task in &tasks {
        warnings.extend(warnings::of_task(task, spec.control.draws > 0));
    }
    warnings.extend(warnings::of_fits(&tally, spec.probe.relative_gap));
    let mut told = backend.told().split_off(told);
    told.dedup();
    warnings.extend(told);
    Ok(StudyResults {
        schema_version: SCHEMA_VERSION,
        name: spec.name.clone(),
        spec: Some(spec.clone()),
        neurosieve_version: env!("CARGO_PKG_VERSION").to_owned(),
        seed: spec.seed,
        device,
        data: summary,
        clustering,
        clusters,
        redundancy: Some(redundancy),
        tasks,
        explored,
        loss_claims,
        test_use,
        warnings,
        timings: clock.finish(),
    })
}

/// The cuts that are asked for, how redundant the neurons are, and the cut whose clusters stand in for one another.
fn clusters<'a>(
    spec: &Spec,
    data: &Dataset,
    correlation: &'a Correlation,
) -> Result<(Vec<ClusterCut>, Redundancy, Alike<'a>)> {
    let dendrogram = redundancy::dendrogram(
        correlation,
        survey::linkage(&spec.clusters),
        survey::distance(&spec.clusters),
    )?;
    let cuts = survey::cuts(&spec.clusters, data, correlation, &dendrogram)?;
    let layers = data.train().activations.layers();
    let redundancy = explore::redundancy(correlation, &dendrogram, layers)?;
    let alike = Alike {
        correlation,
        equivalent: dendrogram.cut(spec.minimal_set.equivalent),
    };
    Ok((cuts, redundancy, alike))
}

/// What the choices of every task share: of the data train and dev.
pub(super) fn common<'a>(
    spec: &'a Spec,
    data: &'a Dataset,
    backend: &'a Backend,
    moments: &'a Moments,
    (units, room): (Option<&'a Units<'a>>, Room),
) -> Common<'a> {
    let (train, dev) = (data.train(), data.dev());
    let prober = Prober {
        backend,
        moments,
        train: train.activations.view(),
        dev: dev.activations.view(),
        params: Params {
            memory: room.solver,
            ..params(&spec.probe, spec.seed)
        },
        rule: spec.probe.rule,
        dev_sentences: dev.tokens.as_ref().map(|t| t.sentences.as_slice()),
        keeper: units.map(|units| units as &dyn Keeper),
        streamed: room.streamed.then(|| train.activations.rows()),
    };
    let mut control_prober = prober.clone();
    control_prober.params.stop = Stop::Gap(spec.control.relative_gap);
    Common {
        spec,
        tasks: data.tasks(),
        train,
        dev,
        correlating: room.correlating,
        penalties: penalties(&spec.probe),
        prober,
        control_prober,
    }
}

/// How a specification fits probes.
pub(super) fn params(spec: &ProbeSpec, seed: u64) -> Params {
    Params {
        solver: match spec.solver {
            SolverSpec::Auto => Solver::Auto,
            SolverSpec::Newton => Solver::Newton,
            SolverSpec::Fista => Solver::Fista,
            SolverSpec::Lbfgs => Solver::Lbfgs,
        },
        scale: if spec.standardize {
            PenaltyScale::Standardised
        } else {
            PenaltyScale::Raw
        },
        stop: Stop::Gap(spec.relative_gap),
        max_passes: spec.max_passes as f64,
        seed,
        ..Params::default()
    }
}

/// The penalties that a specification tries.
pub(super) fn penalties(spec: &ProbeSpec) -> Penalties {
    match spec.l1 {
        Some(l1) => Penalties::Fixed {
            l1,
            l2: spec.l2.unwrap_or(spec.l2_per_l1 * l1),
        },
        None => Penalties::Path {
            ratios: spec.lambda_ratios.clone(),
            l2_per_l1: spec.l2_per_l1,
        },
    }
}

/// The draws of the control task for each task; none where the words are not known.
pub(super) fn draw_controls(spec: &Spec, data: &Dataset) -> Result<Vec<Vec<ControlTask>>> {
    let parts = [data.train(), data.dev(), data.test()];
    let [Some(train), Some(dev), Some(test)] = parts.map(|part| part.tokens.as_ref()) else {
        return Ok(data.tasks().iter().map(|_| Vec::new()).collect());
    };
    let words = Words {
        train: &train.words,
        dev: &dev.words,
        test: &test.words,
    };
    let of_task = |(task, labels): (u64, &Labels)| {
        (0..spec.control.draws as u64)
            .map(|draw| {
                let seed = stream(stream(spec.seed, 1 + task), draw);
                selectivity::control_task(&words, labels, spec.control.from, seed)
            })
            .collect::<Result<Vec<_>>>()
    };
    (0..).zip(&data.train().labels).map(of_task).collect()
}

/// The labels of train of every draw.
fn of_train(controls: &[Vec<ControlTask>]) -> Vec<Vec<&Labels>> {
    let each = controls.iter();
    each.map(|draws| draws.iter().map(|draw| &draw.train).collect())
        .collect()
}

impl Common<'_> {
    /// Correlations of all pairs of neurons of train.
    pub(super) fn correlations(
        &self,
        units: Option<&Units<'_>>,
    ) -> Result<(Correlation, Computed)> {
        let (backend, moments) = (self.prober.backend, self.prober.moments);
        let side = Side {
            rows: &self.train.activations,
            moments,
        };
        let spec = &self.spec.clusters;
        survey::correlations(spec, (backend, self.correlating), side, units)
    }

    /// The probes on all neurons of every task.
    fn oracles(&self, progress: &mut dyn FnMut(f64)) -> Result<Vec<Search>> {
        let targets: Vec<_> = (0..self.tasks.len())
            .map(|task| self.target(task))
            .collect();
        self.prober
            .search_all(&self.all(), &targets, &self.penalties, progress)
    }

    /// The probes of the control tasks of every task at its oracle's penalty; `draws` are their labels of train.
    fn on_all(
        &self,
        draws: &[Vec<&Labels>],
        oracles: &[Search],
        progress: &mut dyn FnMut(f64),
    ) -> Result<Vec<Vec<Frozen>>> {
        let mut probes = Vec::new();
        for (at, (of_task, oracle)) in draws.iter().zip(oracles).enumerate() {
            let penalty = (oracle.fit.l1, oracle.fit.l2);
            let mut heard = |done: f64| progress((at as f64 + done) / draws.len() as f64);
            probes.push(if of_task.is_empty() {
                Vec::new()
            } else {
                let prober = &self.control_prober;
                control_probes(prober, &self.all(), of_task, penalty, &mut heard)?
            });
        }
        Ok(probes)
    }
}
