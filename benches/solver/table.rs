//! Work (pass-equivalents: all FLOP ÷ 4·N·(d + 1)·C, Hessians and quadratic programmes included) and depth (iterations
//! that wait for one another) to KKT 1e-2, 1e-3, 1e-4 and 1e-6 of λ_max; μ = 0.1·λ1.

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use neurosieve::Result;
use neurosieve::ops::probe::{self, Fit, Params, Problem, Solver, Stop};
use serde_json::{Value, json};

use crate::set::{BACKEND, Set, lambda_max};

const RATIOS: [f64; 6] = [0.1, 0.03, 0.01, 0.003, 0.001, 0.0003];
const TOLERANCES: [f64; 4] = [1e-2, 1e-3, 1e-4, 1e-6];

pub fn run(set: &Set, prototype: Option<&Path>) -> Result<Value> {
    let prototype = prototype.map(|path| std::fs::read_to_string(path).expect("it can be read"));
    let mut rows = Vec::new();
    let _ = writeln!(
        std::io::stderr(),
        "| layer | task | λ1/λ_max | solver | 1e-2 | 1e-3 | 1e-4 | 1e-6 | prototype | non-zero | dev | s |\n|---|---|---|---|---|---|---|---|---|---|---|---|"
    );
    let cases = [Solver::Newton, Solver::Fista]
        .into_iter()
        .flat_map(|solver| [Some(1), Some(5), None].map(|layer| (solver, layer)));
    for (solver, layer) in cases {
        let by_fista = solver == Solver::Fista;
        if by_fista && layer.is_none() {
            continue; // hours
        }
        let design = set.design(layer)?;
        let tasks = ["fine", "coarse", "control"];
        for task in &tasks[..if by_fista { 1 } else { tasks.len() }] {
            let labels = set.labels(task);
            let largest = lambda_max(&design, labels)?;
            for ratio in RATIOS {
                if layer.is_none() && *task == "control" && ratio < 3e-3 {
                    continue; // more non-zeros than a working set holds
                }
                let l1 = ratio * largest;
                let problem = Problem::new(labels, l1, 0.05 * l1);
                let reference = prototype
                    .as_deref()
                    .and_then(|text| prototype_line(text, layer, task, ratio));
                let (finest, most) = match solver {
                    Solver::Fista => (1e-4, 1200.0),
                    _ => (1e-6, 3000.0),
                };
                let params = Params {
                    solver,
                    stop: Stop::Kkt(finest),
                    max_passes: most,
                    ..Params::default()
                };
                let start = Instant::now();
                let fit =
                    probe::fit(&BACKEND, &design, &[problem], &params, &mut |_| {})?.remove(0);
                let seconds = start.elapsed().as_secs_f64();
                rows.push(row(
                    set, layer, task, ratio, solver, &fit, largest, &reference, seconds,
                ));
            }
        }
    }
    Ok(json!({ "tolerances": TOLERANCES, "threads": rayon::current_num_threads(), "rows": rows }))
}

#[expect(clippy::too_many_arguments, reason = "one line of the table")]
fn row(
    set: &Set,
    layer: Option<u32>,
    task: &str,
    ratio: f64,
    solver: Solver,
    fit: &Fit,
    largest: f64,
    reference: &Option<Vec<String>>,
    seconds: f64,
) -> Value {
    let reached: Vec<Option<(f64, usize)>> = TOLERANCES
        .iter()
        .map(|tolerance| {
            let step = fit.trace.iter().find(|s| s.kkt <= tolerance * largest)?;
            Some((step.work, step.depth))
        })
        .collect();
    let cells: Vec<String> = reached
        .iter()
        .map(|r| r.map_or("–".into(), |(work, depth)| format!("{work:.0}/{depth}")))
        .collect();
    let present = set.labels(task).present().len();
    let entries = present
        * layer.map_or(set.train().ncols(), |l| {
            set.data.train().activations.layers().columns(l).len()
        });
    let density = fit.nonzero_weights() as f64 / entries as f64;
    let dev = set.dev_accuracy(task, fit);
    let name = layer.map_or("all".into(), |layer| layer.to_string());
    let shown = match (solver, reference) {
        (Solver::Newton, Some(cells)) => cells.join(" "),
        _ => String::new(),
    };
    let _ = writeln!(
        std::io::stderr(),
        "| {name} | {task} | {ratio} | {solver:?} | {} | {shown} | {density:.3} | {dev:.4} | {seconds:.1} |",
        cells.join(" | ")
    );
    json!({
        "layer": name, "task": task, "ratio": ratio, "solver": format!("{solver:?}"),
        "work": reached.iter().map(|r| r.map(|(work, _)| work)).collect::<Vec<_>>(),
        "depth": reached.iter().map(|r| r.map(|(_, depth)| depth)).collect::<Vec<_>>(),
        "prototype": reference, "nonzero": density, "dev_accuracy": dev,
        "objective": fit.objective, "relative_gap": finite(fit.certificate.relative_gap),
        "converged": fit.certificate.converged, "seconds": seconds,
    })
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

/// The prototype's work/depth in f64 for the four tolerances, from a line such as
/// `5 labels r 0.01 mu/l1 0.1 float64 cost/depth 0.01: 17/12 0.001: 23/14 …`.
fn prototype_line(text: &str, layer: Option<u32>, task: &str, ratio: f64) -> Option<Vec<String>> {
    let key = match task {
        "fine" => "labels".to_owned(),
        other => format!("labels.{other}"),
    };
    let start = format!("{} {key} r {ratio} mu/l1 0.1 float64 cost/depth ", layer?);
    let line = text.lines().find_map(|line| line.strip_prefix(&start))?;
    let cells = line.split('|').next()?.split_whitespace();
    Some(
        cells
            .filter(|cell| cell.contains('/'))
            .map(str::to_owned)
            .collect(),
    )
}
