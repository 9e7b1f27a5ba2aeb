//! What a device can do at most: arithmetic, memory, transfers, launches.

use ndarray::Array2;

use super::Size;
use super::inputs::{self, sampled};
use super::measure::{Bench, Ceilings, gate, no_error};
use super::repeat::{Effort, clocked, timing};
use super::results::{Roof, RoofTimes, Timing};
use crate::error::{Error, Result};
use crate::gpu::{Gpu, MatrixUnits, TimeSource};
use crate::ops::Backend;
use crate::ops::roofs::{self, Blocks, Params, Precision};

const ARITHMETIC: &str = "roof.f32";
const HALF: &str = "roof.f16";
const MATRIX_HALF: &str = "roof.matrix.f16";
const MATRIX_SINGLE: &str = "roof.matrix.f32";
const MEMORY: &str = "roof.memory";
const UPLOAD: &str = "roof.upload";
const DOWNLOAD: &str = "roof.download";
const LAUNCH: &str = "roof.launch";

/// Seconds that a kernel has to take for its clock, and the device's, to be in order.
const LONG_ENOUGH: f64 = 5e-3;

/// Threads of the chains at first, and at most.
const THREADS: (usize, usize) = (1 << 12, 1 << 24);

/// Workgroups on matrix units at first.
const GROUPS: usize = 1 << 5;

/// Steps of a chain. Values end at 1,071 at most; f16 holds whole numbers up to 2,048.
const STEPS: usize = 1024;

/// Bytes of one transfer.
const TRANSFER: usize = 64 << 20;

/// Rows and columns of a product of the GEMM crate: large enough for it to be at its best, small enough to be timed often.
const PRODUCT: (usize, usize) = (512, 512);

/// What was done once: seconds by whose clock, and the largest error.
struct Found {
    timing: Timing,
    work: f64,
    error: f64,
}

/// Names of the roofs of a back end, and what each is.
pub(super) fn list(backend: &Backend) -> Vec<(&'static str, &'static str)> {
    let gpu = match backend.gpu() {
        None => {
            return vec![
                (
                    ARITHMETIC,
                    "products of matrices by the GEMM crate, one a thread",
                ),
                (MEMORY, "a = b + s c, native, all threads"),
            ];
        }
        Some(gpu) => gpu,
    };
    let mut all = vec![(ARITHMETIC, "multiply-add chains in f32")];
    if gpu.has_f16() {
        all.push((HALF, "multiply-add chains in f16"));
    }
    if gpu.has(MatrixUnits::HalfBy16) {
        all.push((
            MATRIX_HALF,
            "products of 16 x 16 blocks on matrix units, f16 added in f32",
        ));
    }
    if gpu.has(MatrixUnits::SingleBy8) {
        all.push((
            MATRIX_SINGLE,
            "products of 8 x 8 blocks on matrix units, f32",
        ));
    }
    all.extend([
        (MEMORY, "a = b + s c on the device"),
        (
            UPLOAD,
            "host to device through a ring of host buffers, 64 MiB",
        ),
        (DOWNLOAD, "device to host, 64 MiB"),
        (LAUNCH, "one workgroup submitted and waited for"),
    ]);
    all
}

/// The roofs that bind workloads.
pub(super) fn ceilings(found: &[Roof]) -> Ceilings {
    let of = |name: &str| {
        let roof = found.iter().find(|roof| roof.name == name)?;
        Some(1e9 * roof.times.as_ref()?.value)
    };
    Ceilings {
        flop: of(ARITHMETIC),
        matrix_half: of(MATRIX_HALF),
        matrix_single: of(MATRIX_SINGLE),
        bytes: of(MEMORY),
    }
}

/// Measures one of the roofs of [`list`].
pub(super) fn measure(bench: &Bench<'_>, name: &str, what: &str) -> Result<Roof> {
    let found = match (bench.backend.gpu(), name) {
        (None, ARITHMETIC) => products(bench),
        (None, _) => native_memory(bench),
        (Some(gpu), ARITHMETIC) => chains(bench, gpu, Precision::F32),
        (Some(gpu), HALF) => chains(bench, gpu, Precision::F16),
        (Some(gpu), MATRIX_HALF) => on_units(bench, gpu, MatrixUnits::HalfBy16),
        (Some(gpu), MATRIX_SINGLE) => on_units(bench, gpu, MatrixUnits::SingleBy8),
        (Some(gpu), MEMORY) => memory(bench, gpu),
        (Some(gpu), UPLOAD) => upload(bench, gpu),
        (Some(gpu), DOWNLOAD) => download(bench, gpu),
        (Some(gpu), _) => launch(bench, gpu),
    };
    let roof = |valid, error, problem, times| Roof {
        name: name.to_owned(),
        what: what.to_owned(),
        valid,
        error,
        tolerance: roofs::TOLERANCE,
        problem,
        times,
    };
    match found {
        Ok(found) => {
            let times = found.times(name);
            let (valid, times) = gate(found.error, roofs::TOLERANCE, times);
            let error = Some(found.error).filter(|error| error.is_finite());
            let problem = no_error(found.error);
            Ok(roof(valid, error, problem, times))
        }
        Err(Error::Gpu { problem, .. }) => Ok(roof(false, None, Some(problem), None)),
        Err(other) => Err(other),
    }
}

impl Found {
    fn times(&self, name: &str) -> RoofTimes {
        let per_second = self.work / self.timing.min_s / 1e9;
        let (value, unit) = match name {
            LAUNCH => (1e6 * self.timing.min_s, "us"),
            ARITHMETIC | HALF | MATRIX_HALF | MATRIX_SINGLE => (per_second, "GFLOP/s"),
            _ => (per_second, "GB/s"),
        };
        RoofTimes {
            timing: self.timing,
            work: self.work,
            value,
            unit: unit.to_owned(),
        }
    }
}

/// Chains of so many threads that the device needs some time for them.
fn chains(bench: &Bench<'_>, gpu: &Gpu, precision: Precision) -> Result<Found> {
    let mut params = Params {
        precision,
        threads: THREADS.0,
        steps: STEPS,
        factor: 1.0,
        summand: 1.0,
    };
    let all = |_: &str| true;
    loop {
        let work = |backend: &Backend| roofs::fma(backend, &params);
        let sums = work(bench.backend)?;
        let metered = gpu.metered()?;
        work(&Backend::Gpu(metered.clone()))?;
        let once = metered.metering()?.seconds(all);
        if once < LONG_ENOUGH && params.threads < THREADS.1 {
            params.threads *= 4;
            continue;
        }
        let (clock, seconds, _) = bench.kernels(gpu, &all, &work)?;
        let off = |(thread, sum): (usize, &f32)| (f64::from(*sum) - params.exact(thread)).abs();
        return Ok(Found {
            timing: timing(clock, &seconds),
            work: params.flop(),
            error: largest(sums.iter().enumerate().map(off)),
        });
    }
}

/// Blocks of so many workgroups that the device needs some time for them.
fn on_units(bench: &Bench<'_>, gpu: &Gpu, units: MatrixUnits) -> Result<Found> {
    let mut params = Blocks {
        units,
        groups: GROUPS,
        steps: STEPS,
    };
    let all = |_: &str| true;
    loop {
        let work = |backend: &Backend| match backend.gpu() {
            Some(gpu) => roofs::blocks(gpu, &params),
            None => Ok(Vec::new()), // never asked: it has no such roof
        };
        let sums = work(bench.backend)?;
        let metered = gpu.metered()?;
        work(&Backend::Gpu(metered.clone()))?;
        let once = metered.metering()?.seconds(all);
        if once < LONG_ENOUGH && params.groups < roofs::MOST_GROUPS {
            params.groups *= 4;
            continue;
        }
        let (clock, seconds, _) = bench.kernels(gpu, &all, &work)?;
        return Ok(Found {
            timing: timing(clock, &seconds),
            work: params.flop(&sums),
            error: params.error(&sums),
        });
    }
}

/// Values of each of the three arrays of a triad: 32 MiB an array, or 256 MiB. That is more than most processors' last cache
/// holds, but one of 96 MiB or more may serve some of the small size, and the roof is then above that of the memory.
fn values(size: Size) -> usize {
    match size {
        Size::Small => 1 << 23,
        Size::Standard | Size::Large => 1 << 26,
    }
}

/// Whole numbers, whose sums are exact.
fn triad_input(values: usize) -> (Vec<f32>, Vec<f32>) {
    let b = (0..values).map(|i| (i % 1021) as f32).collect();
    let c = (0..values).map(|i| (i % 509) as f32).collect();
    (b, c)
}

const SCALE: f32 = 3.0;

fn triad_error(a: &[f32], b: &[f32], c: &[f32]) -> f64 {
    let exact = |(b, c): (&f32, &f32)| f64::from(*b) + f64::from(SCALE) * f64::from(*c);
    let off = |(a, pair): (&f32, _)| (f64::from(*a) - exact(pair)).abs();
    largest(a.iter().zip(b.iter().zip(c)).map(off))
}

fn memory(bench: &Bench<'_>, gpu: &Gpu) -> Result<Found> {
    let values = gpu.fit("values", 4, 4)?.min(values(bench.options.size));
    let (b, c) = triad_input(values);
    let work = |backend: &Backend| roofs::triad(backend, &b, &c, SCALE);
    let a = work(bench.backend)?;
    let (clock, seconds, _) = bench.kernels(gpu, &|_| true, &work)?;
    Ok(Found {
        timing: timing(clock, &seconds),
        work: 12.0 * values as f64,
        error: triad_error(&a, &b, &c),
    })
}

/// Four times as long: what counts is the fastest repetition, and other programs may leave few of them alone.
fn longer(bench: &Bench<'_>) -> Effort {
    let effort = bench.options.effort;
    Effort {
        seconds: 4.0 * effort.seconds,
        ..effort
    }
}

fn native_memory(bench: &Bench<'_>) -> Result<Found> {
    let values = values(bench.options.size);
    let (b, c) = triad_input(values);
    let mut a = vec![0.0; values];
    roofs::triad_into(&b, &c, SCALE, &mut a)?;
    let once = || Ok(clocked(|| roofs::triad_into(&b, &c, SCALE, &mut a))?.0);
    let seconds = longer(bench).repeat(once)?;
    Ok(Found {
        timing: timing(TimeSource::Wall, &seconds),
        work: 12.0 * values as f64,
        error: triad_error(&a, &b, &c),
    })
}

fn products(bench: &Bench<'_>) -> Result<Found> {
    let (rows, columns) = PRODUCT;
    let threads = rayon::current_num_threads();
    let factor = |seed: usize| inputs::whole_numbers(rows, columns, seed as u64);
    let pairs: Vec<(Array2<f32>, Array2<f32>)> = (0..threads)
        .map(|t| (factor(2 * t), factor(2 * t + 1)))
        .collect();
    let work = || roofs::products(&pairs);
    let answers = work()?;
    let seconds = longer(bench).repeat(|| Ok(clocked(work)?.0))?;
    let mut error: f64 = 0.0;
    for ((a, b), c) in pairs.iter().zip(&answers) {
        for i in sampled(columns, 16) {
            for j in sampled(columns, 16) {
                let terms = a.column(i).into_iter().zip(b.column(j));
                let exact: f64 = terms.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                error = worse(error, (f64::from(c[[i, j]]) - exact).abs());
            }
        }
    }
    Ok(Found {
        timing: timing(TimeSource::Wall, &seconds),
        work: 2.0 * (rows * columns * columns * threads) as f64,
        error,
    })
}

/// Values that are sent: no two runs of them are alike.
fn sent() -> Vec<u32> {
    (0..TRANSFER as u32 / 4)
        .map(|i| i.wrapping_mul(2_654_435_761))
        .collect()
}

fn differing(a: &[u32], b: &[u32]) -> f64 {
    let pairs = a.iter().zip(b).filter(|(a, b)| a != b).count();
    (pairs + a.len().abs_diff(b.len())) as f64
}

fn upload(bench: &Bench<'_>, gpu: &Gpu) -> Result<Found> {
    let values = sent();
    let ring = gpu.staging(2, TRANSFER)?;
    let to = gpu.zeros::<u32>("values", values.len())?;
    let once = || {
        let staged = gpu.stage(&ring, &values)?;
        gpu.send(&ring, staged, &to)?;
        gpu.wait("upload")
    };
    once()?;
    let seconds = bench.options.effort.repeat(|| Ok(clocked(once)?.0))?;
    Ok(Found {
        timing: timing(TimeSource::Wall, &seconds),
        work: TRANSFER as f64,
        error: differing(&gpu.download(&to)?, &values),
    })
}

fn download(bench: &Bench<'_>, gpu: &Gpu) -> Result<Found> {
    let values = sent();
    let from = gpu.upload("values", &values)?;
    let back = gpu.download(&from)?;
    let seconds = bench
        .options
        .effort
        .repeat(|| Ok(clocked(|| gpu.download(&from))?.0))?;
    Ok(Found {
        timing: timing(TimeSource::Wall, &seconds),
        work: TRANSFER as f64,
        error: differing(&back, &values),
    })
}

fn launch(bench: &Bench<'_>, gpu: &Gpu) -> Result<Found> {
    let once = roofs::launch(gpu)?;
    once()?;
    let seconds = bench.options.effort.repeat(|| Ok(clocked(&once)?.0))?;
    Ok(Found {
        timing: timing(TimeSource::Wall, &seconds),
        work: 1.0,
        error: 0.0, // nothing is computed
    })
}

/// The largest of some errors; not a number where one of them is none.
pub(super) fn largest(errors: impl Iterator<Item = f64>) -> f64 {
    errors.fold(0.0, worse)
}

/// The larger error; one that is no number wins.
pub(super) fn worse(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() {
        f64::NAN
    } else {
        a.max(b)
    }
}
