//! Work (pass-equivalents: all FLOP ÷ 4·N·(d + 1)·C, Hessians and quadratic programmes included) and depth (iterations
//! that wait for one another) to KKT 1e-2, 1e-3, 1e-4 and 1e-6 of λ_max; μ = 0.1·λ1.

use std::io::Write;
use std::time::Instant;

use neurosieve::Result;
use neurosieve::labels::Labels;
use neurosieve::ops::probe::{self, Design, Fit, Params, Problem, Solver, Stop};
use serde_json::{Value, json};

use crate::owlqn;
use crate::set::{BACKEND, Set, lambda_max};

const RATIOS: [f64; 6] = [0.1, 0.03, 0.01, 0.003, 0.001, 0.0003];
const TOLERANCES: [f64; 4] = [1e-2, 1e-3, 1e-4, 1e-6];

/// Whose work and depth are measured.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Method {
    Newton,
    Fista,
    OwlQn,
}

impl Method {
    const ALL: [Self; 3] = [Self::Newton, Self::Fista, Self::OwlQn];

    fn name(self) -> &'static str {
        match self {
            Self::Newton => "Newton",
            Self::Fista => "Fista",
            Self::OwlQn => "OWL-QN",
        }
    }

    fn named(text: &str) -> Option<Self> {
        match text.to_lowercase().as_str() {
            "newton" => Some(Self::Newton),
            "fista" => Some(Self::Fista),
            "owlqn" => Some(Self::OwlQn),
            _ => None,
        }
    }

    /// What it is measured on: the others than Newton would take hours for all layers at once.
    fn cases(self) -> (&'static [Option<u32>], &'static [&'static str]) {
        match self {
            Self::Newton => (&[Some(1), Some(5), None], &["fine", "coarse", "control"]),
            Self::Fista | Self::OwlQn => (&[Some(1), Some(5)], &["fine"]),
        }
    }

    /// The KKT residual, relative to λ_max, and the passes at which it stops.
    fn limits(self) -> (f64, usize) {
        match self {
            Self::Newton => (1e-6, 3000),
            Self::Fista | Self::OwlQn => (1e-4, 1200),
        }
    }
}

/// One line of the table.
struct Case<'a> {
    method: Method,
    layer: Option<u32>,
    task: &'a str,
    ratio: f64,
    /// λ_max.
    largest: f64,
}

/// `arguments` are `[seed=N] [PROTOTYPE] [SOLVER]…`; the seed is that of the Hessians' samples.
pub fn run(set: &Set, arguments: &[String]) -> Result<Value> {
    let (seed, arguments) = match arguments.split_first() {
        Some((first, rest)) if first.starts_with("seed=") => {
            let seed = first["seed=".len()..].parse();
            (seed.expect("seed=N with a whole number"), rest)
        }
        _ => (0, arguments),
    };
    let (prototype, methods) = chosen(arguments);
    let mut rows = Vec::new();
    let _ = writeln!(
        std::io::stderr(),
        "| layer | task | λ1/λ_max | solver | 1e-2 | 1e-3 | 1e-4 | 1e-6 | prototype | non-zero | dev | s |\n|---|---|---|---|---|---|---|---|---|---|---|---|"
    );
    for method in methods {
        let (layers, tasks) = method.cases();
        for &layer in layers {
            let design = set.design(layer)?;
            for task in tasks {
                let labels = set.labels(task);
                let largest = lambda_max(&design, labels)?;
                for ratio in RATIOS {
                    if layer.is_none() && *task == "control" && ratio < 3e-3 {
                        continue; // more non-zeros than a working set holds
                    }
                    let case = Case {
                        method,
                        layer,
                        task,
                        ratio,
                        largest,
                    };
                    let reference = prototype
                        .as_deref()
                        .and_then(|text| prototype_line(text, layer, task, ratio));
                    let (fit, seconds) = solve(set, &design, labels, &case, seed)?;
                    rows.push(row(set, &case, &fit, &reference, seconds));
                }
            }
        }
    }
    Ok(json!({ "tolerances": TOLERANCES, "threads": rayon::current_num_threads(), "rows": rows }))
}

/// The prototype's text, and the solvers named: all where none is.
fn chosen(arguments: &[String]) -> (Option<String>, Vec<Method>) {
    let (file, names) = match arguments {
        [first, rest @ ..] if Method::named(first).is_none() => (Some(first), rest),
        names => (None, names),
    };
    let named = |name: &String| {
        Method::named(name).unwrap_or_else(|| panic!("{name} is not newton, fista or owlqn"))
    };
    let named: Vec<Method> = names.iter().map(named).collect();
    let methods = Method::ALL
        .into_iter()
        .filter(|method| named.is_empty() || named.contains(method));
    (
        file.map(|path| std::fs::read_to_string(path).expect("PROTOTYPE can be read")),
        methods.collect(),
    )
}

/// The fit, and the seconds it took beside the standardised activations.
fn solve(
    set: &Set,
    design: &Design,
    labels: &Labels,
    case: &Case<'_>,
    seed: u64,
) -> Result<(Fit, f64)> {
    let l1 = case.ratio * case.largest;
    let l2 = 0.05 * l1;
    let (finest, most) = case.method.limits();
    let solver = match case.method {
        Method::Newton => Solver::Newton,
        Method::Fista => Solver::Fista,
        Method::OwlQn => {
            let problem = owlqn::Problem::new(set, design, labels, l1, l2);
            let start = Instant::now();
            let fit = problem.solve(finest * case.largest, case.largest, most);
            return Ok((fit, start.elapsed().as_secs_f64()));
        }
    };
    let params = Params {
        solver,
        stop: Stop::Kkt(finest),
        max_passes: most as f64,
        seed,
        ..Params::default()
    };
    let problem = Problem::new(labels, l1, l2);
    let start = Instant::now();
    let fit = probe::fit(&BACKEND, design, &[problem], &params, &mut |_| {})?.remove(0);
    Ok((fit, start.elapsed().as_secs_f64()))
}

fn row(
    set: &Set,
    case: &Case<'_>,
    fit: &Fit,
    reference: &Option<Vec<String>>,
    seconds: f64,
) -> Value {
    let (layer, task, ratio) = (case.layer, case.task, case.ratio);
    let reached: Vec<Option<(f64, usize)>> = TOLERANCES
        .iter()
        .map(|tolerance| {
            let within = |s: &&probe::Step| s.kkt <= tolerance * case.largest;
            let step = fit.trace.iter().find(within)?;
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
    let layer = layer.map_or("all".into(), |layer| layer.to_string());
    let solver = case.method.name();
    let shown = match (case.method, reference) {
        (Method::Newton, Some(cells)) => cells.join(" "),
        _ => String::new(),
    };
    let _ = writeln!(
        std::io::stderr(),
        "| {layer} | {task} | {ratio} | {solver} | {} | {shown} | {density:.3} | {dev:.4} | {seconds:.1} |",
        cells.join(" | ")
    );
    json!({
        "layer": layer, "task": task, "ratio": ratio, "solver": solver,
        "work": reached.iter().map(|r| r.map(|(work, _)| work)).collect::<Vec<_>>(),
        "depth": reached.iter().map(|r| r.map(|(_, depth)| depth)).collect::<Vec<_>>(),
        "prototype": reference, "nonzero": density, "dev_accuracy": dev,
        "objective": fit.objective, "relative_gap": finite(fit.certificate.relative_gap),
        "kkt": fit.certificate.kkt_relative, "passes": fit.certificate.passes,
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
