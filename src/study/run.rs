//! The run: from the specification to the results, step by step.
//!
//! Probes are fitted on train and chosen on dev. Test serves the figures that are reported, never a choice.

use std::collections::BTreeMap;
use std::time::Instant;

use super::clock::Clock;
use super::layers::{self, LayerTask};
use super::load::load;
use super::probing::{
    Penalty, Probe, Prober, Target, accuracy, best_place, certificate, correct, hits,
};
use super::results::{
    ClassSummary, Control, DeviceUsed, LambdaPoint, LayerCurves, Oracle, Parts, SCHEMA_VERSION,
    StudyResults, TaskResults, Timing,
};
use super::sets::{self, Goal};
use super::spec::Spec;
use super::{Progress, curves, salient, stream, survey, warnings};
use crate::analysis::selectivity::{self, ControlTask, Words};
use crate::analysis::{redundancy, uncertainty};
use crate::error::Result;
use crate::labels::Labels;
use crate::ops::Backend;
use crate::ops::correlation::{self, Correlation};
use crate::ops::moments::{self, Moments};
use crate::split::Dataset;

/// Steps that do not depend on a task.
const COMMON_STEPS: usize = 6;

/// Steps of one task.
const TASK_STEPS: usize = 4;

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
    let started = Instant::now();
    let data = load(spec)?;
    let read = Timing {
        step: "read".into(),
        seconds: started.elapsed().as_secs_f64(),
    };
    let mut results = run_on(spec, &data, backend, device, observer)?;
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
    let mut clock = Clock::new(COMMON_STEPS + TASK_STEPS * data.tasks().len(), observer);
    let train = &data.train().activations;
    clock.step("moments");
    let moments = moments::moments(backend, train.view(), None)?;
    let summary = survey::summarise(spec, data, &moments);
    clock.step("correlation");
    let correlation = correlation::correlation(backend, train.view(), &moments)?;
    clock.step("clusters");
    let dendrogram = redundancy::dendrogram(
        &correlation,
        survey::linkage(&spec.clusters),
        survey::distance(&spec.clusters),
    )?;
    let clusters = survey::cuts(&spec.clusters, data, &correlation, &dendrogram)?;
    let mut prober = Prober::new(backend, data, &moments, &spec.probe, spec.seed);
    let controls = draw_controls(spec, data)?;
    let common = Common {
        spec,
        data,
        backend,
        moments: &moments,
        correlation: &correlation,
    };
    clock.step("probes on all neurons");
    let paths = common.paths(&mut prober, &mut |done| clock.fraction(done))?;
    clock.step("control tasks");
    let accuracies = common.controls(&mut prober, &paths, &controls, &mut |done| {
        clock.fraction(done)
    })?;
    clock.step("probes on layers");
    let curves =
        common.layer_curves(&mut prober, &paths, (&controls, &accuracies), &mut |done| {
            clock.fraction(done)
        })?;
    let mut warnings = warnings::of_data(&summary);
    let mut tasks = Vec::new();
    for ((task, path), (accuracies, curves)) in paths
        .iter()
        .enumerate()
        .zip(accuracies.into_iter().zip(curves))
    {
        let results = common.task(&mut prober, task, path, accuracies, curves, &mut clock)?;
        warnings.extend(warnings::of_task(&results, spec.control.draws > 0));
        tasks.push(results);
    }
    warnings.extend(warnings::of_fits(&prober, spec.probe.relative_gap));
    Ok(StudyResults {
        schema_version: SCHEMA_VERSION,
        name: spec.name.clone(),
        neurosieve_version: env!("CARGO_PKG_VERSION").to_owned(),
        seed: spec.seed,
        device,
        data: summary,
        clustering: survey::clustering(&spec.clusters, &correlation),
        clusters,
        tasks,
        warnings,
        timings: clock.finish(),
    })
}

/// The draws of the control task for each task; none where the words are not known.
fn draw_controls(spec: &Spec, data: &Dataset) -> Result<Vec<Vec<ControlTask>>> {
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
                selectivity::control_task(&words, labels, seed)
            })
            .collect::<Result<Vec<_>>>()
    };
    (0..).zip(&data.train().labels).map(of_task).collect()
}

fn target(control: &ControlTask) -> Target<'_> {
    Target {
        train: &control.train,
        dev: &control.dev,
        test: &control.test,
    }
}

/// The probes of one task on all neurons: one for each penalty.
struct Path {
    penalties: Vec<Penalty>,
    probes: Vec<Probe>,
    best: usize,
}

impl Path {
    fn oracle(&self) -> &Probe {
        &self.probes[self.best]
    }
}

/// What every step of a run uses.
struct Common<'a> {
    spec: &'a Spec,
    data: &'a Dataset,
    backend: &'a Backend,
    moments: &'a Moments,
    correlation: &'a Correlation,
}

impl Common<'_> {
    fn target(&self, task: usize) -> Target<'_> {
        Target {
            train: &self.data.train().labels[task],
            dev: &self.data.dev().labels[task],
            test: &self.data.test().labels[task],
        }
    }

    /// The λ path of every task on all neurons, in one batch.
    fn paths(&self, prober: &mut Prober<'_>, progress: &mut dyn FnMut(f64)) -> Result<Vec<Path>> {
        let all: Vec<usize> = (0..self.moments.mean.len()).collect();
        let design = prober.design(&all)?;
        let tasks = 0..self.data.tasks().len();
        let penalties = tasks
            .clone()
            .map(|task| {
                prober.penalties(&self.spec.probe, design.as_ref(), self.target(task).train)
            })
            .collect::<Result<Vec<_>>>()?;
        let wanted: Vec<_> = tasks
            .flat_map(|task| penalties[task].iter().map(move |&penalty| (task, penalty)))
            .map(|(task, penalty)| (self.target(task), penalty))
            .collect();
        let mut probes = prober.fit(design.as_ref(), &wanted, progress)?.into_iter();
        let path = |penalties: Vec<Penalty>| {
            let probes: Vec<Probe> = probes.by_ref().take(penalties.len()).collect();
            Path {
                best: best_place(&probes),
                penalties,
                probes,
            }
        };
        Ok(penalties.into_iter().map(path).collect())
    }

    /// Test accuracies of the control tasks of every task at its oracle's penalty, all in one batch.
    fn controls(
        &self,
        prober: &mut Prober<'_>,
        paths: &[Path],
        controls: &[Vec<ControlTask>],
        progress: &mut dyn FnMut(f64),
    ) -> Result<Vec<Vec<f64>>> {
        let all: Vec<usize> = (0..self.moments.mean.len()).collect();
        let design = prober.design(&all)?;
        let wanted: Vec<_> = paths
            .iter()
            .zip(controls)
            .flat_map(|(path, draws)| {
                let fit = &path.oracle().fit;
                draws.iter().map(|draw| (target(draw), (fit.l1, fit.l2)))
            })
            .collect();
        let probes = prober.fit(design.as_ref(), &wanted, progress)?;
        let mut accuracies = probes
            .iter()
            .zip(&wanted)
            .map(|(probe, (target, _))| accuracy(&prober.test_hits(probe, *target)));
        let of_task = |draws: &Vec<ControlTask>| accuracies.by_ref().take(draws.len()).collect();
        Ok(controls.iter().map(of_task).collect())
    }

    fn layer_curves(
        &self,
        prober: &mut Prober<'_>,
        paths: &[Path],
        (controls, accuracies): (&[Vec<ControlTask>], &[Vec<f64>]),
        progress: &mut dyn FnMut(f64),
    ) -> Result<Vec<LayerCurves>> {
        let controls: Vec<Vec<Target<'_>>> = controls
            .iter()
            .map(|draws| draws.iter().map(target).collect())
            .collect();
        let tasks: Vec<LayerTask<'_>> = paths
            .iter()
            .zip(&controls)
            .enumerate()
            .map(|(task, (path, controls))| LayerTask {
                target: self.target(task),
                penalties: &path.penalties,
                oracle: path.oracle(),
                controls,
                control_accuracies: &accuracies[task],
            })
            .collect();
        layers::curves(
            prober,
            self.data.train().activations.layers(),
            &tasks,
            progress,
        )
    }

    /// The steps of one task.
    fn task(
        &self,
        prober: &mut Prober<'_>,
        task: usize,
        path: &Path,
        control_accuracies: Vec<f64>,
        layers: LayerCurves,
        clock: &mut Clock<'_>,
    ) -> Result<TaskResults> {
        let (spec, data, target) = (self.spec, self.data, self.target(task));
        let name = &data.tasks()[task];
        let probe = path.oracle();
        let oracle_hits = prober.test_hits(probe, target);
        let classes = target.train.classes();

        clock.step(format!("{name}: rankings and sweeps"));
        let by_class = moments::moments(
            self.backend,
            data.train().activations.view(),
            Some(target.train),
        )?;
        let rankings = curves::rankings(&probe.fit, &by_class, target.train)?;
        let sweeps = curves::sweeps(
            self.backend,
            &spec.sweep,
            stream(spec.seed, 1_000_000 + task as u64),
            &probe.fit,
            &self.moments.mean,
            (data.test(), target.test),
            &rankings,
        )?;

        clock.step(format!("{name}: minimal sets"));
        let goal = Goal {
            target,
            // A probe on few neurons needs no stronger penalty than one on all.
            penalties: &path.penalties[path.best..],
            of: probe.dev_accuracy,
            oracle_hits: &oracle_hits,
        };
        let mut minimal_sets = Vec::new();
        for (at, ranking) in spec.minimal_set.rankings.iter().enumerate() {
            let order = &rankings[ranking.name()].order;
            let how = (&*spec.minimal_set.ladder, &*spec.minimal_set.deltas);
            minimal_sets.extend(sets::minimal_sets(
                prober,
                ranking.name(),
                order,
                goal,
                how,
            )?);
            clock.fraction((at + 1) as f64 / spec.minimal_set.rankings.len() as f64);
        }

        clock.step(format!("{name}: layers, clusters and ranking combined"));
        let dev = probe.dev_accuracy;
        let selections = layers::select(&spec.combined.deltas, &layers.cumulative, dev);
        let combined = sets::combined(
            prober,
            (&spec.combined, &spec.clusters),
            data.train().activations.layers(),
            self.correlation,
            &selections,
            goal,
        )?;

        clock.step(format!("{name}: salient neurons"));
        let control = self.control(control_accuracies, accuracy(&oracle_hits));
        let salient = salient::find(
            &spec.concepts,
            &probe.fit,
            &rankings["lca"],
            classes,
            data.train(),
            self.moments,
        )?;
        let majority = majority_accuracy(target);
        Ok(TaskResults {
            name: name.clone(),
            classes: summarise_classes(target, &oracle_hits),
            majority_accuracy: majority,
            above_chance: uncertainty::above_chance(
                correct(&oracle_hits),
                oracle_hits.len(),
                majority,
            ),
            oracle: self.oracle(probe, target, &oracle_hits),
            lambda_path: path
                .probes
                .iter()
                .map(|p| self.lambda_point(p, target))
                .collect(),
            layer_selection: layers::select(&spec.layers.deltas, &layers.cumulative, dev),
            layers,
            rankings: rankings
                .iter()
                .map(|(name, ranking)| ((*name).to_owned(), curves::record(ranking, classes)))
                .collect::<BTreeMap<_, _>>(),
            sweeps,
            minimal_sets,
            combined,
            control,
            salient,
        })
    }

    fn oracle(&self, probe: &Probe, target: Target<'_>, test: &[bool]) -> Oracle {
        Oracle {
            l1: probe.fit.l1,
            l2: probe.fit.l2,
            train_accuracy: accuracy(&hits(&probe.fit, self.data.train(), target.train)),
            dev_accuracy: probe.dev_accuracy,
            test_accuracy: accuracy(test),
            test_interval: uncertainty::wilson(correct(test), test.len()),
            objective: probe.fit.objective,
            nonzero_weights: probe.fit.nonzero_weights(),
            neurons_used: probe.fit.neurons_used(),
            certificate: certificate(&probe.fit.certificate),
        }
    }

    fn lambda_point(&self, probe: &Probe, target: Target<'_>) -> LambdaPoint {
        LambdaPoint {
            l1: probe.fit.l1,
            l2: probe.fit.l2,
            dev_accuracy: probe.dev_accuracy,
            train_accuracy: accuracy(&hits(&probe.fit, self.data.train(), target.train)),
            nonzero_weights: probe.fit.nonzero_weights(),
            certificate: certificate(&probe.fit.certificate),
        }
    }

    /// The control tasks of one task in figures; `None` without draws.
    fn control(&self, accuracies: Vec<f64>, oracle: f64) -> Option<Control> {
        let (train, test) = (
            self.data.train().tokens.as_ref()?,
            self.data.test().tokens.as_ref()?,
        );
        let largest = accuracies.iter().copied().reduce(f64::max)?;
        let smallest = accuracies.iter().copied().reduce(f64::min)?;
        let mean = accuracies.iter().sum::<f64>() / accuracies.len() as f64;
        Some(Control {
            draws: accuracies.len(),
            accuracy: mean,
            selectivity: oracle - mean,
            spread: (largest - smallest) / 2.0,
            seen_in_train: selectivity::seen_in_train(&train.words, &test.words),
            accuracies,
        })
    }
}

/// Test accuracy of always answering train's most frequent class (of equals the first).
fn majority_accuracy(target: Target<'_>) -> f64 {
    let counts = target.train.counts();
    let mut most = 0;
    for (class, count) in counts.iter().enumerate() {
        if *count > counts[most] {
            most = class;
        }
    }
    target.test.counts()[most] as f64 / target.test.len() as f64
}

fn summarise_classes(target: Target<'_>, oracle_hits: &[bool]) -> Vec<ClassSummary> {
    let counts = [target.train, target.dev, target.test].map(Labels::counts);
    let mut right = vec![0_usize; target.test.classes().len()];
    for (&class, &hit) in target.test.ids().iter().zip(oracle_hits) {
        right[class as usize] += usize::from(hit);
    }
    let summarise = |(class, name): (usize, &String)| {
        let [train, dev, test] = [counts[0][class], counts[1][class], counts[2][class]];
        ClassSummary {
            name: name.clone(),
            samples: Parts { train, dev, test },
            test_recall: (test > 0).then(|| right[class] as f64 / test as f64),
        }
    };
    target
        .train
        .classes()
        .iter()
        .enumerate()
        .map(summarise)
        .collect()
}
