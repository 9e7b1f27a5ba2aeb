//! Two fits of a stated size, timed from activations in memory to certified weights.
//!
//! ```text
//! cargo bench --bench fits -- reference [DEVICE [SHARE [HESSIANS [SOLVER]]]]   9,984 neurons, 100,000 samples, 2 classes: one probe
//! cargo bench --bench fits -- study [DEVICE [SHARE [HESSIANS [SOLVER]]]]       13 layers of 768, 200,000 samples, 45 classes: 10 λ each
//! ```
//!
//! `reference` has the size for which the code of Dalvi et al. (2020) states 48.48 s (ten epochs on a TITAN X). DEVICE is as
//! `--device`, auto where it is left out; SHARE takes that share of the samples; HESSIANS is auto, native or
//! device, where they are summed; SOLVER is auto, newton, fista or lbfgs. Values are synthetic: neurons mix some of 64
//! directions with noise, classes are the largest of as many mixtures, drawn with noise. Each part is timed by the wall clock,
//! and the kernels by the device. One JSON document goes to stdout.

use std::io::Write;
use std::time::Instant;

use ndarray::Array2;
use neurosieve::Result;
use neurosieve::gpu::{Choice, choose};
use neurosieve::labels::Labels;
use neurosieve::ops::probe::{self, Curvature, Design, Neurons, Params, Problem, Solver, Stop};
use neurosieve::ops::{Backend, Fleet, moments};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde_json::json;

const DIRECTIONS: usize = 64;

/// KKT residual, relative to λ_max, to which probes are fitted.
const KKT: f64 = 1e-4;

/// What takes more seconds than this runs once.
const LONG: f64 = 20.0;

/// What is fitted.
struct Shape {
    layers: usize,
    units: usize,
    samples: usize,
    classes: usize,
    /// λ1 = λ2 as shares of λ_max.
    ratios: Vec<f64>,
}

fn main() {
    let arguments = std::env::args().skip(1).filter(|a| !a.starts_with("--"));
    let arguments: Vec<String> = arguments.collect();
    let shape = match arguments.first().map(String::as_str) {
        Some("reference") => Shape {
            layers: 1,
            units: 9_984,
            samples: 100_000,
            classes: 2,
            ratios: vec![0.01],
        },
        Some("study") => Shape {
            layers: 13,
            units: 768,
            samples: 200_000,
            classes: 45,
            ratios: (0..10).map(|i| 0.3 * 0.5f64.powi(i)).collect(),
        },
        _ => {
            let usage = "fits: nothing to do; cargo bench --bench fits -- reference|study [DEVICE [SHARE [HESSIANS [SOLVER]]]]";
            let _ = writeln!(std::io::stderr(), "{usage}");
            return;
        }
    };
    let device = arguments.get(1).map_or("auto", String::as_str);
    let share = arguments
        .get(2)
        .map_or(1.0, |share| share.parse().expect("a share"));
    let samples = (shape.samples as f64 * share) as usize;
    let curvature = match arguments.get(3).map(String::as_str) {
        None | Some("auto") => Curvature::Auto,
        Some("native") => Curvature::Native,
        Some("device") => Curvature::Device,
        Some(other) => panic!("HESSIANS is {other}, and has to be auto, native or device"),
    };
    let solver = match arguments.get(4).map(String::as_str) {
        None | Some("auto") => Solver::Auto,
        Some("newton") => Solver::Newton,
        Some("fista") => Solver::Fista,
        Some("lbfgs") => Solver::Lbfgs,
        Some(other) => panic!("SOLVER is {other}, and has to be auto, newton, fista or lbfgs"),
    };
    let params = Params {
        stop: Stop::Kkt(KKT),
        curvature,
        solver,
        ..Params::default()
    };
    let found = run(&Shape { samples, ..shape }, device, &params);
    let found = found.expect("the probes can be fitted");
    let text = serde_json::to_string_pretty(&found).expect("a JSON value prints");
    let _ = writeln!(std::io::stdout(), "{text}");
}

fn run(shape: &Shape, device: &str, params: &Params) -> Result<serde_json::Value> {
    let (name, backend) = match choose(device)? {
        Choice::Cpu { .. } => ("cpu".to_owned(), Backend::Cpu),
        Choice::Gpu { gpu, .. } => (gpu.report().name.clone(), Backend::Gpu(gpu)),
        Choice::Fleet { gpus, .. } => ("several".to_owned(), Backend::Fleet(Fleet::new(gpus)?)),
    };
    let metered = match &backend {
        Backend::Gpu(gpu) => Backend::Gpu(gpu.for_measurements()?.metered()?),
        other => other.clone(),
    };
    let (x, ids) = data(shape);
    let classes = (0..shape.classes).map(|class| format!("class {class}"));
    let labels = Labels::new(ids, classes.collect())?;
    let mut runs = Vec::new();
    // The first run compiles kernels, the last one waits for every upload; something long runs once.
    for backend in [&backend, &backend, &metered] {
        let found = timed(shape, backend, &x, &labels, params)?;
        let _ = writeln!(std::io::stderr(), "{found}");
        let long = found["seconds"].as_f64() > Some(LONG);
        runs.push(found);
        if long {
            break;
        }
    }
    Ok(json!({
        "device": name, "threads": rayon::current_num_threads(),
        "layers": shape.layers, "units": shape.units, "samples": shape.samples,
        "classes": shape.classes, "ratios": shape.ratios, "kkt": KKT,
        "hessians": format!("{:?}", params.curvature).to_lowercase(),
        "solver": format!("{:?}", params.solver).to_lowercase(), "runs": runs,
    }))
}

fn timed(
    shape: &Shape,
    backend: &Backend,
    x: &Array2<f32>,
    labels: &Labels,
    params: &Params,
) -> Result<serde_json::Value> {
    let begun = Instant::now();
    let known = moments::moments(&Backend::Cpu, x.view(), None)?;
    let of_moments = begun.elapsed().as_secs_f64();
    let all: Vec<usize> = (0..x.ncols()).collect();
    let design = Design::new(backend, x.view(), &known, &all)?;
    let of_design = begun.elapsed().as_secs_f64();
    let neurons = |layer: usize| Neurons::Range {
        from: layer * shape.units,
        to: (layer + 1) * shape.units,
    };
    let layers = |lambda: f64| (0..shape.layers).map(move |layer| (layer, lambda));
    let problem = |(layer, lambda): (usize, f64)| Problem {
        neurons: neurons(layer),
        ..Problem::new(labels, lambda, lambda)
    };
    let plain: Vec<Problem<'_>> = layers(0.0).map(problem).collect();
    let largest = probe::lambda_max(&design, &plain, params.scale)?;
    let of_lambda = begun.elapsed().as_secs_f64();
    let by_ratio = shape.ratios.iter();
    let problems: Vec<Problem<'_>> = by_ratio
        .flat_map(|ratio| {
            largest
                .iter()
                .enumerate()
                .map(move |(layer, l)| (layer, ratio * l))
        })
        .map(problem)
        .collect();
    let mut said = Instant::now();
    let mut progress = |progress: &probe::Progress| {
        if said.elapsed().as_secs_f64() > LONG / 2.0 {
            let _ = writeln!(std::io::stderr(), "{progress:?}");
            said = Instant::now();
        }
    };
    let fits = probe::fit(backend, &design, &problems, params, &mut progress)?;
    let whole = begun.elapsed().as_secs_f64();
    let metering = backend.gpu().map(|gpu| gpu.metering()).transpose();
    let kernels = metering.ok().flatten().map(|metered| {
        let each = metered.kernels.iter();
        let each = each.map(|(name, time)| (name.clone(), json!([time.seconds, time.submissions])));
        json!({
            "seconds": each.collect::<serde_json::Map<_, _>>(),
            "upload_seconds": metered.upload_seconds,
        })
    });
    let certificates = || fits.iter().map(|fit| &fit.certificate);
    Ok(json!({
        "seconds": whole, "moments_seconds": of_moments, "design_seconds": of_design - of_moments,
        "lambda_max_seconds": of_lambda - of_design, "fit_seconds": whole - of_lambda,
        "probes": fits.len(), "converged": certificates().filter(|c| c.converged).count(),
        "largest_kkt": certificates().map(|c| c.kkt_relative).fold(0.0, f64::max),
        "largest_gap": certificates().map(|c| c.relative_gap).fold(0.0, f64::max),
        "mean_passes": certificates().map(|c| c.passes).sum::<f64>() / fits.len() as f64,
        "most_passes": certificates().map(|c| c.passes).fold(0.0, f64::max),
        "kernels": kernels,
    }))
}

/// Activations and class ids.
fn data(shape: &Shape) -> (Array2<f32>, Vec<u32>) {
    let neurons = shape.layers * shape.units;
    let random = |seed: u64, stream: usize| {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(stream as u64);
        random
    };
    let drawn = |seed: u64, rows: usize| -> Vec<[f32; DIRECTIONS]> {
        let row = |row| {
            let mut random = random(seed, row);
            std::array::from_fn(|_| random.random_range(-1.0f32..1.0))
        };
        (0..rows).map(row).collect()
    };
    let directions = drawn(1, shape.classes);
    // Three directions a neuron.
    let mixed: Vec<[(usize, f32); 3]> = (0..neurons)
        .map(|neuron| {
            let mut random = random(2, neuron);
            std::array::from_fn(|_| {
                (
                    random.random_range(0..DIRECTIONS),
                    random.random_range(-1.0f32..1.0),
                )
            })
        })
        .collect();
    let mut x = Array2::<f32>::zeros((shape.samples, neurons));
    let mut ids = vec![0u32; shape.samples];
    let rows = x
        .as_slice_mut()
        .expect("it was made here")
        .par_chunks_mut(neurons);
    rows.zip(&mut ids)
        .enumerate()
        .for_each(|(sample, (row, id))| {
            let mut random = random(3, sample);
            let latent: [f32; DIRECTIONS] =
                std::array::from_fn(|_| random.random_range(-1.0f32..1.0));
            let score = |class: &[f32; DIRECTIONS], noise: f32| {
                let sum: f32 = class.iter().zip(&latent).map(|(a, b)| a * b).sum();
                sum + 2.0 * noise
            };
            let noise: Vec<f32> = directions
                .iter()
                .map(|_| random.random_range(-1.0f32..1.0))
                .collect();
            let scores = directions
                .iter()
                .zip(noise)
                .map(|(class, noise)| score(class, noise));
            let best = scores.enumerate().max_by(|a, b| a.1.total_cmp(&b.1));
            *id = best.expect("there are classes").0 as u32;
            for (value, mixed) in row.iter_mut().zip(&mixed) {
                let told: f32 = mixed
                    .iter()
                    .map(|(direction, weight)| weight * latent[*direction])
                    .sum();
                *value = told + random.random_range(-1.0f32..1.0);
            }
        });
    (x, ids)
}
