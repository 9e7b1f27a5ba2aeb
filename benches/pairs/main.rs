//! All pairs of neurons: how fast, in how much memory, and how both grow.
//!
//! ```text
//! cargo bench --bench pairs -- rate DATA             useful FLOP/s beside the GEMM crate's own, samples in memory
//! cargo bench --bench pairs -- write FILE N D        a file of synthetic activations, f16, N × D
//! cargo bench --bench pairs -- top FILE K GIB        the K best partners of each neuron, in so much memory
//! cargo bench --bench pairs -- growth                seconds against N and against D, over a decade each
//! ```
//!
//! DATA is a file of activations. `benches/peers_pairs.py` sets the command beside NumPy and PyTorch. One JSON document goes
//! to stdout.

use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use half::f16;
use ndarray::Array2;
use ndarray::linalg::general_mat_mul;
use neurosieve::activations::Rows;
use neurosieve::data::{self, ReadOptions};
use neurosieve::ops::correlation::{Params, Side, Wanted, correlation, scan};
use neurosieve::ops::moments::{moments, streamed};
use neurosieve::{Backend, Result};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde_json::{Value, json};

const REPEATS: usize = 5;
/// Samples and neurons that growth starts from: from here on products of matrices outweigh what grows less.
const SMALLEST: (usize, usize) = (4_000, 2_000);
/// How many times as many, over a decade.
const STEPS: [f64; 5] = [1.0, 1.78, 3.16, 5.62, 10.0];

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<usize>().expect("a whole number");
    let report = match arguments[..] {
        ["rate", file] => rate(Path::new(file)),
        ["write", file, samples, neurons] => {
            write(Path::new(file), number(samples), number(neurons))
        }
        ["top", file, partners, gib] => top(
            Path::new(file),
            number(partners),
            gib.parse().expect("a number of GiB"),
        ),
        ["growth"] => growth(),
        _ => {
            let _ = writeln!(
                std::io::stderr(),
                "pairs: nothing to do; cargo bench --bench pairs -- rate DATA | write FILE N D | top FILE K GIB | growth"
            );
            return;
        }
    };
    let report = report.expect("the data can be read and correlated");
    let _ = writeln!(
        std::io::stdout(),
        "{}",
        serde_json::to_string_pretty(&report).expect("a JSON value prints")
    );
}

/// Median seconds.
fn median<T>(mut work: impl FnMut() -> T) -> (f64, T) {
    let mut last = None;
    let mut seconds: Vec<f64> = (0..REPEATS)
        .map(|_| {
            let start = Instant::now();
            last = Some(work());
            start.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    (seconds[REPEATS / 2], last.expect("it was repeated"))
}

/// The triangle beside a product of the GEMM crate on as many threads, each with blocks of its own.
fn rate(file: &Path) -> Result<Value> {
    let x = data::open(file, &ReadOptions::default())?.activations()?;
    let (samples, neurons) = x.view().dim();
    let (of_moments, found) = median(|| moments(&Backend::Cpu, x.view(), None));
    let found = found?;
    let (seconds, _) = median(|| correlation(&Backend::Cpu, x.view(), &found));
    let useful = samples as f64 * neurons as f64 * (neurons as f64 + 1.0);
    // Large enough for the crate to be at its best, small enough to stay in the shared cache.
    let (rows, columns) = (2_048, 768);
    let threads = rayon::current_num_threads();
    let block = |seed: u64| {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        Array2::from_shape_simple_fn((rows, columns), || random.random_range(-1.0f32..1.0))
    };
    let blocks: Vec<_> = (0..threads as u64)
        .map(|t| (block(2 * t), block(2 * t + 1)))
        .collect();
    const TIMES: usize = 10;
    let (of_crate, _) = median(|| {
        blocks.par_iter().for_each(|(a, b)| {
            let mut c = Array2::<f32>::zeros((columns, columns));
            for _ in 0..TIMES {
                general_mat_mul(1.0, &a.t(), b, 1.0, &mut c);
            }
            std::hint::black_box(c);
        });
    });
    let flop = 2.0 * (rows * columns * columns * TIMES * threads) as f64;
    let (ours, theirs) = (useful / seconds / 1e9, flop / of_crate / 1e9);
    Ok(json!({
        "samples": samples, "neurons": neurons, "threads": threads,
        "moments_seconds": of_moments, "correlation_seconds": seconds,
        "useful_gflops": ours, "gemm_crate_gflops": theirs, "share_of_gemm_crate": ours / theirs,
    }))
}

/// Neurons that share a few directions, an offset each.
fn write(file: &Path, samples: usize, neurons: usize) -> Result<Value> {
    let failed = |e| neurosieve::Error::io("write", file, e);
    let mut out = BufWriter::with_capacity(1 << 22, std::fs::File::create(file).map_err(failed)?);
    let length = samples * neurons * 2;
    let mut header = format!(
        "{{\"activations\":{{\"dtype\":\"F16\",\"shape\":[{samples},{neurons}],\"data_offsets\":[0,{length}]}}}}"
    );
    while header.len() % 8 != 0 {
        header.push(' ');
    }
    out.write_all(&(header.len() as u64).to_le_bytes())
        .and_then(|()| out.write_all(header.as_bytes()))
        .map_err(failed)?;
    for first in (0..samples).step_by(256) {
        let rows = 256.min(samples - first);
        out.write_all(bytemuck::cast_slice(&synthetic(first, rows, neurons)))
            .map_err(failed)?;
    }
    out.flush().map_err(failed)?;
    Ok(json!({ "file": file, "samples": samples, "neurons": neurons, "bytes": length }))
}

fn synthetic(first: usize, rows: usize, neurons: usize) -> Vec<f16> {
    const SHARED: usize = 8;
    let row = |row: usize| {
        let mut random = ChaCha8Rng::seed_from_u64(row as u64);
        let shared: [f32; SHARED] = std::array::from_fn(|_| random.random_range(-1.0..1.0));
        let value = move |neuron: usize| {
            let noise: f32 = random.random_range(-1.0..1.0);
            let offset = (neuron % 13) as f32 * 0.1;
            f16::from_f32(0.4 * shared[neuron % SHARED] + noise + offset)
        };
        (0..neurons).map(value).collect::<Vec<_>>()
    };
    let rows: Vec<Vec<f16>> = (first..first + rows).into_par_iter().map(row).collect();
    rows.concat()
}

/// Best partners, from a file that stays on disk.
fn top(file: &Path, partners: usize, gib: f64) -> Result<Value> {
    let rows = data::open(file, &ReadOptions::default())?.into_rows()?;
    let (samples, neurons) = rows.shape();
    let start = Instant::now();
    let moments = streamed(rows.as_ref(), None)?;
    let of_moments = start.elapsed().as_secs_f64();
    let start = Instant::now();
    let found = partners_of(&rows, &moments, partners, (gib * f64::from(1 << 30)) as u64)?;
    let seconds = start.elapsed().as_secs_f64();
    let useful = samples as f64 * neurons as f64 * (neurons as f64 + 1.0);
    Ok(json!({
        "samples": samples, "neurons": neurons, "partners": partners, "memory_gib": gib,
        "threads": rayon::current_num_threads(), "moments_seconds": of_moments, "seconds": seconds,
        "useful_gflops": useful / seconds / 1e9,
        "kept": found.iter().map(Vec::len).sum::<usize>(),
        "peak_bytes_with_mapped_pages": peak("VmHWM:"), "anonymous_bytes_at_the_end": peak("RssAnon:"),
    }))
}

fn partners_of(
    rows: &Arc<dyn Rows>,
    moments: &neurosieve::ops::moments::Moments,
    partners: usize,
    memory: u64,
) -> Result<Vec<Vec<neurosieve::ops::correlation::Partner>>> {
    let wanted = Wanted {
        partners,
        ..Wanted::default()
    };
    let side = Side {
        rows: rows.as_ref(),
        moments,
    };
    let found = scan(
        &Backend::Cpu,
        side,
        None,
        &wanted,
        &Params {
            memory,
            ..Params::default()
        },
    )?;
    Ok(found.partners)
}

/// A figure of the process in bytes; null where there is no `/proc`.
fn peak(name: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with(name))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

/// Seconds of partners at hand, against samples and against neurons, and what a fit of c·N·D² leaves.
fn growth() -> Result<Value> {
    let seconds = |samples: usize, neurons: usize| -> Result<f64> {
        let x = synthetic(0, samples, neurons);
        let x = Array2::from_shape_vec((samples, neurons), x).expect("it is that long");
        let rows: Arc<dyn Rows> = Arc::new(x);
        let moments = streamed(rows.as_ref(), None)?;
        let (seconds, found) = median(|| partners_of(&rows, &moments, 10, 4 << 30));
        found.map(|_| seconds)
    };
    let mut rows = Vec::new();
    for step in STEPS {
        for (axis, samples, neurons) in [
            ("samples", SMALLEST.0 as f64 * step, SMALLEST.1 as f64),
            ("neurons", SMALLEST.0 as f64, SMALLEST.1 as f64 * step),
        ] {
            let (n, d) = (samples as usize, neurons as usize);
            let seconds = seconds(n, d)?;
            let work = n as f64 * d as f64 * (d as f64 + 1.0);
            rows.push(json!({
                "axis": axis, "samples": n, "neurons": d, "seconds": seconds,
                "useful_gflops": work / seconds / 1e9,
            }));
        }
    }
    let fits: Vec<Value> = ["samples", "neurons"].map(|axis| fit(axis, &rows)).into();
    Ok(json!({ "threads": rayon::current_num_threads(), "rows": rows, "fits": fits }))
}

/// c of seconds = c·N·D² that leaves the least largest share, and that share.
fn fit(axis: &str, rows: &[Value]) -> Value {
    let number = |row: &Value, key: &str| row[key].as_f64().expect("a number");
    let costs: Vec<f64> = rows
        .iter()
        .filter(|row| row["axis"] == axis)
        .map(|row| {
            let work = number(row, "samples") * number(row, "neurons").powi(2);
            number(row, "seconds") / work
        })
        .collect();
    let least = costs.iter().copied().fold(f64::INFINITY, f64::min);
    let most = costs.iter().copied().fold(0.0, f64::max);
    let c = 0.5 * (least + most);
    json!({ "axis": axis, "seconds_per_n_d2": c, "largest_share_off": (most - c) / c })
}
