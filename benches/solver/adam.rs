//! NeuroX's training of many probes in lockstep: 7 layers × 10 λ × (fine, coarse), how long it takes, and what it reaches.
//!
//! With PEERS.json (see `batch.rs`) the same probes of NeuroX's stand beside it. They start from PyTorch's draws and these
//! from our own, so the objectives are near one another, not equal; `tests/golden/adam.rs` starts both from the same.

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use neurosieve::Result;
use neurosieve::ops::probe::adam::{Params, Problem, Start, fits, train};
use neurosieve::ops::probe::{Neurons, Response};
use serde_json::{Value, json};

use crate::set::Set;

const TASKS: [&str; 2] = ["fine", "coarse"];
const LAMBDAS: u32 = 10;

pub fn run(set: &Set, peers: Option<&Path>) -> Result<Value> {
    let map = set.data.train().activations.layers();
    let mut problems = Vec::new();
    let mut names = Vec::new();
    for task in TASKS {
        for layer in map.layers() {
            for step in 0..LAMBDAS {
                let lambda = 10f64.powf(-2.0 - f64::from(step) / 3.0);
                let columns = map.columns(layer);
                problems.push(Problem {
                    response: Response::Classes(set.labels(task)),
                    neurons: Neurons::Range {
                        from: columns.start,
                        to: columns.end,
                    },
                    l1: lambda,
                    l2: lambda,
                    start: Start::Seeded(0),
                });
                names.push((task, layer, lambda));
            }
        }
    }
    let (x, params) = (set.train(), Params::default());
    let start = Instant::now();
    train(x, &problems, &params, &mut |_| {})?;
    let seconds = start.elapsed().as_secs_f64();
    let start = Instant::now();
    let fitted = fits(x, &set.moments, &problems, &params, &mut |_| {})?;
    let with_certificates = start.elapsed().as_secs_f64();
    let peers: Option<Value> = peers.map(|path| {
        let text = std::fs::read_to_string(path).expect("PEERS.json can be read");
        serde_json::from_str(&text).expect("PEERS.json is JSON")
    });
    let mut ratios = Vec::new();
    let mut theirs = 0.0;
    for probe in peers.iter().flat_map(|p| p["probes"].as_array()).flatten() {
        let same = |(task, layer, lambda): &(&str, u32, f64)| {
            let near = (probe["lambda"].as_f64().expect("a number") / lambda - 1.0).abs() < 1e-6;
            near && probe["task"] == *task && probe["layer"] == *layer
        };
        if let Some(place) = names.iter().position(same) {
            let objective = probe["objective"].as_f64().expect("a number");
            ratios.push(fitted[place].objective / objective);
            theirs += probe["seconds"].as_f64().expect("a number");
        }
    }
    let of = |pick: fn(f64, f64) -> f64| ratios.iter().copied().reduce(pick);
    let _ = writeln!(
        std::io::stderr(),
        "{} probes in {seconds:.1} s, {:.3} s a probe and thread",
        problems.len(),
        seconds * rayon::current_num_threads() as f64 / problems.len() as f64
    );
    Ok(json!({
        "samples": x.nrows(), "probes": problems.len(), "threads": rayon::current_num_threads(),
        "seconds": seconds, "seconds_with_certificates": with_certificates,
        "neurox_probes": ratios.len(), "neurox_seconds_summed": theirs,
        "least_objective_ratio": of(f64::min), "largest_objective_ratio": of(f64::max),
        "largest_relative_gap": fitted.iter().map(|f| f.certificate.relative_gap).fold(0.0, f64::max),
        "least_relative_gap": fitted.iter().map(|f| f.certificate.relative_gap).fold(f64::INFINITY, f64::min),
    }))
}
