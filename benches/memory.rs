//! Memory: what the planner says a batch of probes takes, and what it takes, counted by the allocator.
//!
//! `cargo bench --bench memory -- [FOLDER]`
//!
//! Seven small batches always; with FOLDER also 100,000 × 9,984 activations in f16 (2 GB, made there on the first run)
//! that stay on disk, 45 classes. Prints one JSON document; exits 1 when a peak is above the planner's figure + 10 %.

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use half::f16;
use ndarray::Array2;
use neurosieve::data::{self, ReadOptions};
use neurosieve::ops::moments::{self, moments};
use neurosieve::ops::probe::{
    self, Design, Neurons, Params, PenaltyScale, Problem, Response, Solver, Stop,
};
use neurosieve::{Backend, Labels, Result};
use rayon::prelude::*;
use serde_json::{Value, json};

/// The large batch: samples, neurons (13 layers of 768), classes, and λ1 as shares of λ_max.
const SAMPLES: usize = 100_000;
const LAYERS: usize = 13;
const UNITS: usize = 768;
const CLASSES: usize = 45;
const LAMBDAS: [f64; 2] = [0.3, 0.15];

/// Counts what is allocated.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn grown(by: usize) {
    let live = LIVE.fetch_add(by, Ordering::Relaxed) + by;
    PEAK.fetch_max(live, Ordering::Relaxed);
}

#[expect(
    unsafe_code,
    reason = "an allocator that counts is the only exact measure of a peak"
)]
// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // While a block moves, both are there.
        grown(size);
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() {
    let folder = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with("--"))
        .map(PathBuf::from);
    let report = run(folder.as_deref()).expect("the batches can be solved");
    let _ = writeln!(
        std::io::stdout(),
        "{}",
        serde_json::to_string_pretty(&report).expect("a JSON value prints")
    );
    let held = |case: &Value| case["within_figure_plus_10_percent"] == true;
    if !report["cases"]
        .as_array()
        .is_some_and(|cases| cases.iter().all(held))
    {
        std::process::exit(1);
    }
}

fn run(folder: Option<&Path>) -> Result<Value> {
    let mut cases = small()?;
    cases.extend(long()?);
    if let Some(folder) = folder {
        cases.push(large(folder)?);
    }
    Ok(json!({
        "schema_version": 1,
        "bench": "memory",
        "threads": rayon::current_num_threads(),
        "cases": cases,
    }))
}

/// Solves a batch and sets what it took beside what the planner said.
fn case(
    name: &str,
    design: &Design,
    problems: &[Problem<'_>],
    params: &Params,
) -> Result<serde_json::Map<String, Value>> {
    let plan = probe::plan(&Backend::Cpu, design, problems, params);
    let before = LIVE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let start = Instant::now();
    let fits = probe::fit(&Backend::Cpu, design, problems, params, &mut |_| {})?;
    let seconds = start.elapsed().as_secs_f64();
    let peak = (PEAK.load(Ordering::Relaxed) - before) as u64;
    let ratio = plan.solver as f64 / peak as f64;
    let fits: Vec<Value> = fits
        .iter()
        .map(|fit| {
            json!({
                "l1": fit.l1,
                "nonzero_weights": fit.nonzero_weights(),
                "converged": fit.certificate.converged,
                "kkt_relative": fit.certificate.kkt_relative,
                "relative_gap": fit.certificate.relative_gap,
                "passes": fit.certificate.passes,
                "depth": fit.certificate.depth,
            })
        })
        .collect();
    let case = json!({
        "case": name,
        "samples": design.samples(),
        "neurons": design.columns().len(),
        "problems": plan.problems,
        "in_flight": plan.in_flight,
        "streamed": design.is_streamed(),
        "design_bytes": plan.design,
        "figure_bytes": plan.solver,
        "peak_bytes": peak,
        "figure_over_peak": ratio,
        "within_figure_plus_10_percent": peak as f64 <= 1.1 * plan.solver as f64,
        "seconds": seconds,
        "fits": fits,
    });
    let Value::Object(case) = case else {
        unreachable!("it was made as one")
    };
    Ok(case)
}

/// Many λ in flight; scattered neurons; values; the same λ by proximal L-BFGS, and all weights at once.
fn small() -> Result<Vec<Value>> {
    let made = Made {
        neurons: 600,
        classes: 8,
        informative: 60,
    };
    let samples = 6000;
    let mut x = Array2::zeros((samples, made.neurons));
    for (row, mut out) in x.rows_mut().into_iter().enumerate() {
        made.row(row, out.as_slice_mut().expect("rows are contiguous"));
    }
    let x = x.mapv(f16::to_f32);
    let labels = made.labels(samples)?;
    let found = moments(&Backend::Cpu, x.view(), None)?;
    let columns: Vec<usize> = (0..made.neurons).collect();
    let design = Design::new(&Backend::Cpu, x.view(), &found, &columns)?;
    let params = Params {
        stop: Stop::Gap(1e-4),
        ..Params::default()
    };
    let largest = largest(&design, Problem::new(&labels, 0.0, 0.0))?;
    let path: Vec<Problem<'_>> = (0..12)
        .map(|step| largest * 0.3 * 0.7f64.powi(step))
        .map(|l1| Problem::new(&labels, l1, 0.05 * l1))
        .collect();
    let sets: Vec<Vec<usize>> = (0..6)
        .map(|set| (set..made.neurons).step_by(3 + set).collect())
        .collect();
    let scattered: Vec<Problem<'_>> = sets
        .iter()
        .map(|set| Problem {
            neurons: Neurons::These(set),
            ..Problem::new(&labels, 0.02 * largest, 0.001 * largest)
        })
        .collect();
    let values: Vec<f32> = x
        .rows()
        .into_iter()
        .map(|row| row.iter().step_by(7).sum::<f32>() + row[3])
        .collect();
    let response = Response::Values(&values);
    let largest_of_values = largest_of(&design, response)?;
    let regressions: Vec<Problem<'_>> = [0.1, 0.01, 0.001]
        .iter()
        .map(|share| share * largest_of_values)
        .map(|l1| Problem::of(response, l1, 0.05 * l1))
        .collect();
    let ridge = [Problem::new(&labels, 0.0, 0.01 * largest)];
    let lbfgs = Params {
        solver: Solver::Lbfgs,
        ..params.clone()
    };
    let cases: [(&str, &[Problem<'_>], &Params); 5] = [
        ("12 penalties in flight", &path, &params),
        ("6 sets of scattered neurons", &scattered, &params),
        ("3 penalties of values", &regressions, &params),
        ("12 penalties by proximal L-BFGS", &path, &lbfgs),
        ("no weight at zero, by proximal L-BFGS", &ridge, &lbfgs),
    ];
    cases
        .into_iter()
        .map(|(name, problems, params)| case(name, &design, problems, params).map(Value::Object))
        .collect()
}

/// One probe on many samples of few neurons: what counts is what every sample takes.
fn long() -> Result<Vec<Value>> {
    let samples = 100_000;
    [2, 8]
        .into_iter()
        .map(|classes| {
            let made = Made {
                neurons: 20,
                classes,
                informative: 16,
            };
            let mut x = Array2::zeros((samples, made.neurons));
            for (row, mut out) in x.rows_mut().into_iter().enumerate() {
                made.row(row, out.as_slice_mut().expect("rows are contiguous"));
            }
            let x = x.mapv(f16::to_f32);
            let labels = made.labels(samples)?;
            let found = moments(&Backend::Cpu, x.view(), None)?;
            let columns: Vec<usize> = (0..made.neurons).collect();
            let design = Design::new(&Backend::Cpu, x.view(), &found, &columns)?;
            let l1 = 0.05 * largest(&design, Problem::new(&labels, 0.0, 0.0))?;
            let name = format!("one probe of {classes} classes on few neurons");
            let problems = [Problem::new(&labels, l1, 0.05 * l1)];
            case(&name, &design, &problems, &Params::default()).map(Value::Object)
        })
        .collect()
}

fn largest(design: &Design, problem: Problem<'_>) -> Result<f64> {
    let scale = PenaltyScale::Standardised;
    Ok(probe::lambda_max(design, &[problem], scale)?[0])
}

fn largest_of(design: &Design, response: Response<'_>) -> Result<f64> {
    largest(design, Problem::of(response, 0.0, 0.0))
}

/// Activations that stay on disk.
fn large(folder: &Path) -> Result<Value> {
    let made = Made {
        neurons: LAYERS * UNITS,
        classes: CLASSES,
        informative: 90,
    };
    let path = folder.join("memory.safetensors");
    if !path.exists() {
        made.write(&path).expect("the folder has room for 2 GB");
    }
    let start = Instant::now();
    let rows = data::open(&path, &ReadOptions::default())?.into_rows()?;
    let before = LIVE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let found = moments::streamed(rows.as_ref(), None)?;
    let moments_peak = PEAK.load(Ordering::Relaxed) - before;
    let moments_seconds = start.elapsed().as_secs_f64();
    let columns: Vec<usize> = (0..made.neurons).collect();
    let labels = made.labels(SAMPLES)?;
    let design = Design::streamed(Arc::clone(&rows), &found, &columns)?;
    let largest = largest(&design, Problem::new(&labels, 0.0, 0.0))?;
    let problems = LAMBDAS.map(|share| {
        let l1 = share * largest;
        Problem::new(&labels, l1, 0.05 * l1)
    });
    let params = Params {
        stop: Stop::Screening,
        ..Params::default()
    };
    let mut case = case("streamed from disk", &design, &problems, &params)?;
    case.insert("stored_as".into(), json!("f16"));
    case.insert("classes".into(), json!(CLASSES));
    case.insert("l1_over_lambda_max".into(), json!(LAMBDAS));
    case.insert(
        "file_bytes".into(),
        json!(std::fs::metadata(&path).map_or(0, |m| m.len())),
    );
    case.insert("moments_seconds".into(), json!(moments_seconds));
    case.insert("moments_peak_bytes".into(), json!(moments_peak));
    case.insert("vm_hwm_kib".into(), json!(vm_hwm()));
    Ok(Value::Object(case))
}

/// `VmHWM` of the process, mapped pages of the file included; `None` where there is no `/proc`.
fn vm_hwm() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Class-structured activations, each value a function of its place alone: some neurons shift with a class, all share
/// sixteen latent factors, and every neuron has a mean and a scale of its own.
struct Made {
    neurons: usize,
    classes: usize,
    /// Neurons that shift with a class.
    informative: usize,
}

impl Made {
    fn class(&self, row: usize) -> usize {
        (uniform(row as u64, 1) * self.classes as f64) as usize
    }

    fn labels(&self, samples: usize) -> Result<Labels> {
        let ids = (0..samples).map(|row| self.class(row) as u32).collect();
        let names = (0..self.classes).map(|c| format!("class {c}")).collect();
        Labels::new(ids, names)
    }

    fn row(&self, row: usize, out: &mut [f16]) {
        let class = self.class(row);
        let factors: Vec<f32> = (0..16u64)
            .map(|k| normal((row as u64) << 8 | k, 2))
            .collect();
        for (j, out) in out.iter_mut().enumerate() {
            let place = j as u64;
            let at = (row * self.neurons + j) as u64;
            let mut z = normal(at, 3) + 0.4 * factors[j % 16];
            // Which neurons a class shifts is a permutation's choice: a different one for every class.
            let rank = (j * 7919 + class * 104_729) % self.neurons;
            if rank < self.informative {
                z += 0.4 + 0.8 * uniform(place, 4 + class as u64) as f32;
            }
            let scale = 0.2 + 2.0 * uniform(place, 100) as f32;
            let mean = 3.0 * normal(place, 101);
            *out = f16::from_f32(mean + scale * z);
        }
    }

    /// Writes the native format, block by block.
    fn write(&self, path: &Path) -> std::io::Result<()> {
        let layers: Vec<usize> = (0..LAYERS).collect();
        let header = json!({
            "__metadata__": {
                "layers": serde_json::to_string(&layers).expect("numbers print"),
                "hidden": UNITS.to_string(),
            },
            "activations": {
                "dtype": "F16",
                "shape": [SAMPLES, self.neurons],
                "data_offsets": [0, 2 * SAMPLES * self.neurons],
            },
        })
        .to_string();
        let unfinished = path.with_extension("unfinished");
        let mut file = BufWriter::new(File::create(&unfinished)?);
        let padded = header.len().next_multiple_of(8);
        file.write_all(&(padded as u64).to_le_bytes())?;
        write!(file, "{header:padded$}")?;
        let rows = 1000;
        let mut block = vec![f16::ZERO; rows * self.neurons];
        for from in (0..SAMPLES).step_by(rows) {
            let values = block.par_chunks_exact_mut(self.neurons).enumerate();
            values.for_each(|(row, out)| self.row(from + row, out));
            for value in &block {
                file.write_all(&value.to_le_bytes())?;
            }
        }
        file.into_inner()?.sync_all()?;
        std::fs::rename(unfinished, path)
    }
}

/// 64 bits that depend on the arguments alone (SplitMix64).
fn bits(at: u64, stream: u64) -> u64 {
    let mut x = at
        .wrapping_add(stream << 56 | 0x9E37_79B9_7F4A_7C15)
        .wrapping_mul(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// In [0, 1).
fn uniform(at: u64, stream: u64) -> f64 {
    (bits(at, stream) >> 11) as f64 / (1u64 << 53) as f64
}

/// Mean 0, variance 1 and nearly normal: the sum of four uniforms of 16 bits.
fn normal(at: u64, stream: u64) -> f32 {
    let bits = bits(at, stream);
    let sum: u32 = (0..4).map(|k| (bits >> (16 * k) & 0xffff) as u32).sum();
    (sum as f32 / 65_536.0 - 2.0) * 3f32.sqrt()
}
