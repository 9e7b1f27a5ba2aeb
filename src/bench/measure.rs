//! One workload on one device.

use super::Options;
use super::repeat::{Effort, clocked, median, timing};
use super::results::{EndToEnd, Row, Times, Timing};
use crate::error::{Error, Result};
use crate::gpu::{Gpu, MatrixUnits, Metered, TimeSource, Wake};
use crate::ops::Backend;

/// Whether an answer is right, and its times only if it is: an error that is not at most the tolerance (or is no number)
/// takes them away.
pub fn gate<T>(error: f64, tolerance: f64, times: T) -> (bool, Option<T>) {
    // A NaN is not at most anything.
    if error <= tolerance {
        (true, Some(times))
    } else {
        (false, None)
    }
}

/// What an error that is no finite number says of the answer.
pub(super) fn no_error(error: f64) -> Option<String> {
    if error.is_nan() {
        Some("a value of the answer is no number".to_owned())
    } else if error.is_infinite() {
        Some(
            "a value of the answer is infinite, or the answer lacks parts or has wrong ones"
                .to_owned(),
        )
    } else {
        None
    }
}

/// What a run shares.
pub(super) struct Bench<'a> {
    pub(super) backend: &'a Backend,
    pub(super) options: &'a Options,
    pub(super) roofs: Ceilings,
    /// What keeps a GPU's clock up.
    pub(super) wake: Option<Wake>,
}

/// The roofs that bind workloads, in units a second.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ceilings {
    /// FLOP a second in f32.
    pub(super) flop: Option<f64>,
    /// FLOP a second on matrix units of either kind.
    pub(super) matrix_half: Option<f64>,
    pub(super) matrix_single: Option<f64>,
    /// Bytes a second.
    pub(super) bytes: Option<f64>,
}

/// Runs a workload: makes its input and hands what is to be measured to the measure.
type Run = Box<dyn Fn(&Bench<'_>) -> Result<Outcome>>;

/// Measures what it is given, for as long as what that needs is there.
pub(super) type Session<'s, T> = &'s mut dyn FnMut(&dyn Fn() -> Result<T>) -> Result<()>;

/// A workload that waits to be run.
pub(super) struct Workload {
    pub(super) name: String,
    pub(super) shape: String,
    pub(super) what: &'static str,
    pub(super) run: Run,
}

/// What came of a workload.
pub(super) struct Outcome {
    pub(super) error_is: &'static str,
    pub(super) error: f64,
    pub(super) tolerance: f64,
    pub(super) flop: Option<f64>,
    pub(super) bytes: Option<f64>,
    /// What multiplies, where it is not the device's usual arithmetic.
    pub(super) units: Option<MatrixUnits>,
    pub(super) measured: Measured,
}

/// How long it took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measured {
    timing: Timing,
    end_to_end: Option<EndToEnd>,
    cpu_median_s: Option<f64>,
    /// Whether the roofs are of what it ran on, and of its arithmetic.
    has_roofs: bool,
}

impl<'a> Bench<'a> {
    pub(super) fn new(backend: &'a Backend, options: &'a Options) -> Self {
        Self {
            backend,
            options,
            roofs: Ceilings::default(),
            wake: None,
        }
    }

    fn effort(&self) -> Effort {
        self.options.effort
    }

    /// Measures `work`, which takes a back end; on a GPU the kernels whose names `wanted` takes. What it answers comes from
    /// the device.
    pub(super) fn measure<T>(
        &self,
        wanted: &dyn Fn(&str) -> bool,
        work: &dyn Fn(&Backend) -> Result<T>,
    ) -> Result<(T, Measured)> {
        let answer = work(self.backend)?;
        let Some(gpu) = self.backend.gpu() else {
            let seconds = self
                .effort()
                .repeat(|| Ok(clocked(|| work(&Backend::Cpu))?.0))?;
            let measured = Measured::of(timing(TimeSource::Wall, &seconds));
            return Ok((answer, measured));
        };
        let whole = self
            .effort()
            .repeat(|| Ok(clocked(|| work(self.backend))?.0))?;
        let (clock, kernels, left) = self.kernels(gpu, wanted, work)?;
        let end_to_end = EndToEnd {
            with_upload_s: median(&whole),
            without_upload_s: median(&left),
        };
        let measured = Measured {
            timing: timing(clock, &kernels),
            end_to_end: Some(end_to_end),
            cpu_median_s: Some(self.natively(work)?),
            has_roofs: true,
        };
        Ok((answer, measured))
    }

    /// As [`Bench::measure`], of something that needs more to be there than it takes to measure: `session` sees to that on a back
    /// end, and hands over what is to be measured. What is there before is in none of the times.
    pub(super) fn measure_within<T>(
        &self,
        wanted: &dyn Fn(&str) -> bool,
        session: &dyn Fn(&Backend, Session<'_, T>) -> Result<()>,
    ) -> Result<(T, Measured)> {
        let mut answer = None;
        let mut whole = Vec::new();
        session(self.backend, &mut |work| {
            answer = Some(work()?);
            whole = self.effort().repeat(|| Ok(clocked(work)?.0))?;
            Ok(())
        })?;
        let answer = answer.expect("a session measures what it has");
        let Some(gpu) = self.backend.gpu() else {
            return Ok((answer, Measured::of(timing(TimeSource::Wall, &whole))));
        };
        let metered = gpu.metered_awake(self.wake.clone())?;
        let mut kernels = None;
        session(&Backend::Gpu(metered.clone()), &mut |work| {
            work()?; // cold: it does not count
            let one = || metered_once(&metered, wanted, work);
            kernels = Some(self.seconds_of(&metered, one)?);
            Ok(())
        })?;
        let (clock, kernels, left) = kernels.expect("a session measures what it has");
        let mut natively = 0.0;
        session(&Backend::Cpu, &mut |work| {
            natively = self.natively(&|_: &Backend| work())?;
            Ok(())
        })?;
        let measured = Measured {
            timing: timing(clock, &kernels),
            end_to_end: Some(EndToEnd {
                with_upload_s: median(&whole),
                without_upload_s: median(&left),
            }),
            cpu_median_s: Some(natively),
            has_roofs: true,
        };
        Ok((answer, measured))
    }

    /// As [`Bench::measure_whole`], of something that the processor does in f64, whatever the device: there is nothing beside it, and
    /// no roof is of that.
    pub(super) fn measure_natively<T>(
        &self,
        work: &dyn Fn() -> Result<T>,
    ) -> Result<(T, Measured)> {
        let answer = work()?;
        let seconds = self.effort().repeat(|| Ok(clocked(work)?.0))?;
        let mut measured = Measured::of(timing(TimeSource::Wall, &seconds));
        measured.has_roofs = false;
        Ok((answer, measured))
    }

    /// As [`Bench::measure`], of something that has no kernels of its own: the whole call, by the host's clock.
    pub(super) fn measure_whole<T>(
        &self,
        work: &dyn Fn(&Backend) -> Result<T>,
    ) -> Result<(T, Measured)> {
        let answer = work(self.backend)?;
        let seconds = self
            .effort()
            .repeat(|| Ok(clocked(|| work(self.backend))?.0))?;
        let mut measured = Measured::of(timing(TimeSource::Wall, &seconds));
        if self.backend.gpu().is_some() {
            measured.cpu_median_s = Some(self.natively(work)?);
        }
        Ok((answer, measured))
    }

    /// Median seconds of the native path, of as many repetitions as something long has.
    fn natively<T>(&self, work: &dyn Fn(&Backend) -> Result<T>) -> Result<f64> {
        let least = self.effort().least;
        work(&Backend::Cpu)?; // cold: it does not count
        let again = (0..least).map(|_| Ok(clocked(|| work(&Backend::Cpu))?.0));
        Ok(median(&again.collect::<Result<Vec<f64>>>()?))
    }

    /// Seconds of the wanted kernels, and of the whole call less its uploads.
    pub(super) fn kernels<T>(
        &self,
        gpu: &Gpu,
        wanted: &dyn Fn(&str) -> bool,
        work: &dyn Fn(&Backend) -> Result<T>,
    ) -> Result<(TimeSource, Vec<f64>, Vec<f64>)> {
        let each = || {
            let metered = gpu.metered_awake(self.wake.clone())?;
            let backend = Backend::Gpu(metered.clone());
            metered_once(&metered, wanted, &|| work(&backend))
        };
        self.seconds_of(gpu, each)
    }

    /// Seconds of the wanted kernels, and of the whole call less its uploads, of as many calls as there is time for.
    fn seconds_of(
        &self,
        gpu: &Gpu,
        mut one: impl FnMut() -> Result<(TimeSource, f64, f64)>,
    ) -> Result<(TimeSource, Vec<f64>, Vec<f64>)> {
        let mut clock = TimeSource::Wall;
        let found = self.effort().repeat(|| {
            let (source, kernels, left) = one()?;
            clock = source;
            Ok((kernels, left))
        })?;
        let (kernels, left): (Vec<f64>, Vec<f64>) = found.into_iter().unzip();
        if kernels.iter().all(|seconds| *seconds <= 0.0) {
            return Err(gpu.error(
                "measure kernels",
                "none that belongs to this workload was submitted".to_owned(),
            ));
        }
        Ok((clock, kernels, left))
    }
}

/// Seconds of one call on a metered device: of the wanted kernels, and of the whole less its uploads.
fn metered_once<T>(
    metered: &Gpu,
    wanted: &dyn Fn(&str) -> bool,
    work: &dyn Fn() -> Result<T>,
) -> Result<(TimeSource, f64, f64)> {
    let before = metered.metering()?;
    let (whole, _) = clocked(work)?;
    let seen = metered.metering()?;
    let kernels = seen.seconds(wanted) - before.seconds(wanted);
    let others = |seen: &Metered| seen.upload_seconds + seen.waking_seconds;
    let left = whole - (others(&seen) - others(&before));
    Ok((seen.source, kernels, left.max(kernels)))
}

impl Measured {
    fn of(timing: Timing) -> Self {
        Self {
            timing,
            end_to_end: None,
            cpu_median_s: None,
            has_roofs: true,
        }
    }
}

impl Workload {
    /// Runs it. A device that refuses it leaves a row that says so.
    pub(super) fn row(&self, bench: &Bench<'_>) -> Result<Row> {
        let row = |valid, error_is: &str, error, tolerance, problem, times| Row {
            name: self.name.clone(),
            what: self.what.to_owned(),
            shape: self.shape.clone(),
            valid,
            error_is: error_is.to_owned(),
            error,
            tolerance,
            problem,
            times,
        };
        let told = bench.backend.told().len();
        let outcome = (self.run)(bench);
        // What another device did instead is not this one's.
        let trouble = bench.backend.told().split_off(told).pop();
        let outcome = match (outcome, trouble, bench.backend.gpu()) {
            (Ok(_), Some(trouble), Some(gpu)) => Err(gpu.error("measure", trouble)),
            (outcome, _, _) => outcome,
        };
        match outcome {
            Ok(outcome) => {
                let times = outcome.times(bench.roofs);
                let (valid, times) = gate(outcome.error, outcome.tolerance, times);
                let error = Some(outcome.error).filter(|error| error.is_finite());
                let tolerance = outcome.tolerance;
                let problem = no_error(outcome.error);
                Ok(row(
                    valid,
                    outcome.error_is,
                    error,
                    tolerance,
                    problem,
                    times,
                ))
            }
            Err(Error::Gpu { problem, .. }) => Ok(row(false, "", None, 0.0, Some(problem), None)),
            Err(other) => Err(other),
        }
    }
}

impl Outcome {
    fn times(&self, roofs: Ceilings) -> Times {
        let Measured {
            timing,
            end_to_end,
            cpu_median_s,
            has_roofs,
        } = self.measured;
        let roofs = if has_roofs {
            roofs
        } else {
            Ceilings::default()
        };
        let seconds = |work: Option<f64>, roof: Option<f64>| Some(work? / roof?);
        let arithmetic = match self.units {
            None => ("roof.f32", roofs.flop),
            Some(MatrixUnits::HalfBy16) => ("roof.matrix.f16", roofs.matrix_half),
            Some(MatrixUnits::SingleBy8) => ("roof.matrix.f32", roofs.matrix_single),
        };
        let candidates = [
            (arithmetic.0, seconds(self.flop, arithmetic.1)),
            ("roof.memory", seconds(self.bytes, roofs.bytes)),
        ];
        let binding = candidates
            .into_iter()
            .filter_map(|(name, seconds)| Some((name, seconds?)))
            .max_by(|a, b| a.1.total_cmp(&b.1));
        let rate = |work: Option<f64>| Some(work? / timing.median_s / 1e9);
        let whole = end_to_end.map_or(timing.median_s, |e| e.with_upload_s);
        Times {
            timing,
            flop: self.flop,
            bytes: self.bytes,
            gflops: rate(self.flop),
            gbps: rate(self.bytes),
            bound_by: binding.map(|(name, _)| name.to_owned()),
            share_of_roof: binding.map(|(_, seconds)| seconds / timing.median_s),
            end_to_end,
            cpu_median_s,
            speed_up_over_cpu: cpu_median_s.map(|cpu| cpu / whole),
        }
    }
}
