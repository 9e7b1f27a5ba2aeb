//! Greedy selections of neurons: seconds for K of them, natively.
//!
//! ```text
//! cargo bench --bench greedy -- DATA TASK K [REPEATS]
//! ```
//!
//! DATA holds `train` and `dev.safetensors`. Gaussians are selected on train and on dev, probes forward on train and
//! judged on dev; seconds are medians, without reading the files; beside them the processor's seconds, which other programs on
//! the machine change little. `benches/peers_greedy.py` sets brute force in NumPy beside it. One JSON document goes to stdout.

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use neurosieve::analysis::greedy::Labelled;
use neurosieve::analysis::{forward, gaussian};
use neurosieve::data::{PartFiles, ReadOptions, read_splits};
use neurosieve::ops::moments::{Moments, moments};
use neurosieve::split::Split;
use neurosieve::{Backend, Result};
use serde_json::{Value, json};

const REPEATS: usize = 3;

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<usize>().expect("a whole number");
    let report = match arguments[..] {
        [data, task, select] => run(Path::new(data), task, number(select), REPEATS),
        [data, task, select, repeats] => {
            run(Path::new(data), task, number(select), number(repeats))
        }
        _ => {
            let _ = writeln!(
                std::io::stderr(),
                "greedy: nothing to do; cargo bench --bench greedy -- DATA TASK K [REPEATS]"
            );
            return;
        }
    };
    let _ = writeln!(
        std::io::stdout(),
        "{}",
        serde_json::to_string_pretty(&report.expect("the data can be read and selected from"))
            .expect("a JSON value prints")
    );
}

fn run(folder: &Path, task: &str, select: usize, repeats: usize) -> Result<Value> {
    let part = |name: &str| PartFiles {
        activations: folder.join(format!("{name}.safetensors")),
        ..PartFiles::default()
    };
    let parts = [part("train"), part("dev")];
    let (_, splits) = read_splits(
        &[&parts[0], &parts[1]],
        &[task.to_owned()],
        &ReadOptions::default(),
    )?;
    let [train, dev] = &splits[..] else {
        unreachable!("two parts")
    };
    let (train, dev) = (labelled(train), labelled(dev));
    let moments = moments(&Backend::Cpu, train.x, None)?;
    let mut rows = Vec::new();
    for (on, scored) in [("train", None), ("dev", Some(dev))] {
        rows.push(gaussians((train, on, scored), &moments, select, repeats)?);
    }
    rows.push(probes((train, dev), &moments, select, repeats)?);
    Ok(json!({
        "task": task, "samples": train.x.nrows(), "dev_samples": dev.x.nrows(), "neurons": train.x.ncols(),
        "classes": train.labels.present().len(), "select": select, "threads": rayon::current_num_threads(),
        "repeats": repeats, "rows": rows,
    }))
}

fn labelled(split: &Split) -> Labelled<'_> {
    Labelled {
        x: split.activations.view(),
        labels: &split.labels[0],
    }
}

/// Seconds of each run, ascending, the processor's seconds of all threads (a median too), and what the last run found.
fn timed<T>(repeats: usize, mut work: impl FnMut() -> Result<T>) -> Result<(Value, T)> {
    let mut processor = Vec::new();
    let mut once = || -> Result<(f64, T)> {
        let (start, before) = (Instant::now(), processor_seconds());
        let found = work()?;
        processor.extend(
            processor_seconds()
                .zip(before)
                .map(|(after, before)| after - before),
        );
        Ok((start.elapsed().as_secs_f64(), found))
    };
    let (first, mut found) = once()?;
    let mut seconds = vec![first];
    for _ in 1..repeats {
        let (more, again) = once()?;
        seconds.push(more);
        found = again;
    }
    seconds.sort_by(f64::total_cmp);
    processor.sort_by(f64::total_cmp);
    let times = json!({
        "median": seconds[repeats / 2], "of_each": seconds, "processor": processor.get(repeats / 2),
    });
    Ok((times, found))
}

/// What the process has used of the processor so far, all threads together; `None` where there is no `/proc`.
fn processor_seconds() -> Option<f64> {
    /// Of `/proc` on Linux, whatever the kernel's own clock.
    const TICKS: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let fields = stat.rsplit_once(") ")?.1;
    let ticks: Vec<f64> = fields
        .split(' ')
        .skip(11)
        .take(2)
        .filter_map(|ticks| ticks.parse().ok())
        .collect();
    Some(ticks.iter().sum::<f64>() / TICKS)
}

fn gaussians<'a>(
    (train, on, scored): (Labelled<'a>, &str, Option<Labelled<'a>>),
    moments: &Moments,
    select: usize,
    repeats: usize,
) -> Result<Value> {
    let params = gaussian::Params {
        select,
        ..gaussian::Params::default()
    };
    let (seconds, found) = timed(repeats, || {
        gaussian::select(train, moments, scored, &params, &mut |_| {})
    })?;
    let steps = &found.steps;
    Ok(json!({
        "method": "gaussian", "scored_on": on, "seconds": seconds,
        "neurons": steps.iter().map(|s| s.neuron).collect::<Vec<_>>(),
        "log_likelihood": steps.iter().map(|s| s.log_likelihood).collect::<Vec<_>>(),
        "bits": steps.last().map(|s| s.bits), "accuracy": steps.last().map(|s| s.accuracy),
    }))
}

fn probes<'a>(
    (train, dev): (Labelled<'a>, Labelled<'a>),
    moments: &Moments,
    select: usize,
    repeats: usize,
) -> Result<Value> {
    let params = forward::Params {
        select,
        ..forward::Params::default()
    };
    let (seconds, found) = timed(repeats, || {
        forward::select(
            &Backend::Cpu,
            train,
            moments,
            Some(dev),
            &params,
            &mut |_| {},
        )
    })?;
    let steps = &found.steps;
    let largest = steps.iter().map(|s| s.relative_gap).fold(0.0, f64::max);
    Ok(json!({
        "method": "forward", "scored_on": "dev", "l2": params.l2, "shortlist": params.shortlist,
        "seconds": seconds, "largest_relative_gap": largest,
        "neurons": steps.iter().map(|s| s.neuron).collect::<Vec<_>>(),
        "objective": steps.iter().map(|s| s.objective).collect::<Vec<_>>(),
        "log_loss": steps.last().map(|s| s.log_loss), "accuracy": steps.last().map(|s| s.accuracy),
    }))
}
