//! Work (pass-equivalents: all FLOP ÷ 4·N·(d + 1)·C, Hessians and quadratic programmes included) and depth (iterations
//! that wait for one another) to KKT 1e-2, 1e-3, 1e-4 and 1e-6 of λ_max; μ = 0.1·λ1.
//!
//! Newton's Hessians are of drawn samples, and at a weak λ its first rounds take three times as long with one draw as with
//! another: figures are medians over draws, and so are the prototype's.

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

/// `arguments` are `[draws=N] [PROTOTYPE] [SOLVER]…`; the draws are of the Hessians' samples, by the seeds 0 to N − 1.
pub fn run(set: &Set, arguments: &[String]) -> Result<Value> {
    let (draws, arguments) = match arguments.split_first() {
        Some((first, rest)) if first.starts_with("draws=") => {
            let draws = first["draws=".len()..].parse();
            (draws.expect("draws=N with a whole number from 1 on"), rest)
        }
        _ => (1_u64, arguments),
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
                        .map(|text| prototype_draws(text, layer, task, ratio));
                    let seeds = if method == Method::Newton { draws } else { 1 };
                    let fits = (0..seeds)
                        .map(|seed| solve(set, &design, labels, &case, seed))
                        .collect::<Result<Vec<_>>>()?;
                    rows.push(row(set, &case, &fits, reference.as_ref()));
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

/// Work and depth at which each tolerance was reached, of one draw.
type Reached = [Option<(f64, f64)>; TOLERANCES.len()];

fn row(set: &Set, case: &Case<'_>, fits: &[(Fit, f64)], reference: Option<&Vec<Reached>>) -> Value {
    let draws: Vec<Reached> = fits
        .iter()
        .map(|(fit, _)| {
            TOLERANCES.map(|tolerance| {
                let within = |s: &&probe::Step| s.kkt <= tolerance * case.largest;
                let step = fit.trace.iter().find(within)?;
                Some((step.work, step.depth as f64))
            })
        })
        .collect();
    let reached = medians(&draws);
    let prototype = match case.method {
        Method::Newton => reference.filter(|draws| !draws.is_empty()),
        Method::Fista | Method::OwlQn => None,
    };
    let theirs = prototype.map(|draws| medians(draws));
    let (fit, _) = &fits[0];
    let density = fit.nonzero_weights() as f64 / entries(set, case) as f64;
    let dev = set.dev_accuracy(case.task, fit);
    let layer = case.layer.map_or("all".into(), |layer| layer.to_string());
    let (task, ratio, solver) = (case.task, case.ratio, case.method.name());
    let seconds = median(fits.iter().map(|(_, seconds)| *seconds));
    let _ = writeln!(
        std::io::stderr(),
        "| {layer} | {task} | {ratio} | {solver} | {} | {} | {density:.3} | {dev:.4} | {seconds:.1} |",
        shown(&reached).join(" | "),
        theirs
            .as_ref()
            .map_or(String::new(), |t| shown(t).join(" ")),
    );
    let work = |reached: &Reached| reached.map(|r| r.map(|(work, _)| work));
    let depth = |reached: &Reached| reached.map(|r| r.map(|(_, depth)| depth));
    let prototype = theirs.zip(prototype).map(|(medians, draws)| {
        json!({
            "work": work(&medians), "depth": depth(&medians),
            "draws": TOLERANCES.iter().enumerate().map(|(at, _)| {
                draws.iter().filter(|d| d[at].is_some()).count()
            }).collect::<Vec<_>>(),
            "work_of_draws": draws.iter().map(work).collect::<Vec<_>>(),
            "ratio": work(&reached).iter().zip(work(&medians)).map(|(ours, theirs)| {
                Some(ours.as_ref()? / theirs?)
            }).collect::<Vec<_>>(),
        })
    });
    json!({
        "layer": layer, "task": task, "ratio": ratio, "solver": solver,
        "work": work(&reached), "depth": depth(&reached), "draws": fits.len(),
        "work_of_draws": draws.iter().map(work).collect::<Vec<_>>(),
        "prototype": prototype, "nonzero": density, "dev_accuracy": dev,
        "objective": fit.objective, "relative_gap": finite(fit.certificate.relative_gap),
        "kkt": fit.certificate.kkt_relative, "passes": fit.certificate.passes,
        "converged": fits.iter().all(|(fit, _)| fit.certificate.converged), "seconds": seconds,
    })
}

/// Weights of a case: present classes × neurons.
fn entries(set: &Set, case: &Case<'_>) -> usize {
    let layers = set.data.train().activations.layers();
    let neurons = case
        .layer
        .map_or(set.train().ncols(), |layer| layers.columns(layer).len());
    set.labels(case.task).present().len() * neurons
}

fn shown(reached: &Reached) -> Vec<String> {
    reached
        .iter()
        .map(|r| {
            r.map_or("–".into(), |(work, depth)| {
                format!("{work:.0}/{depth:.0}")
            })
        })
        .collect()
}

/// Medians of work and depth at each tolerance, over the draws that reached it.
fn medians(draws: &[Reached]) -> Reached {
    std::array::from_fn(|at| {
        let here = || draws.iter().filter_map(|draw| draw[at]);
        here().next()?;
        Some((median(here().map(|r| r.0)), median(here().map(|r| r.1))))
    })
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        1 => values[middle],
        _ => 0.5 * (values[middle - 1] + values[middle]),
    }
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

/// The prototype's work and depth in f64, a draw a line such as
/// `5 labels r 0.01 mu/l1 0.1 float64 cost/depth 0.01: 17/12 0.001: 23/14 …`; a tolerance that a run did not aim at has
/// none.
fn prototype_draws(text: &str, layer: Option<u32>, task: &str, ratio: f64) -> Vec<Reached> {
    let key = match task {
        "fine" => "labels".to_owned(),
        other => format!("labels.{other}"),
    };
    let Some(layer) = layer else {
        return Vec::new();
    };
    let start = format!("{layer} {key} r {ratio} mu/l1 0.1 float64 cost/depth ");
    let lines = text.lines().filter_map(|line| line.strip_prefix(&start));
    lines
        .map(|line| {
            let words = line.split('|').next().unwrap_or_default();
            let mut cells = words.split_whitespace().skip(1).step_by(2);
            std::array::from_fn(|_| {
                let (work, depth) = cells.next()?.split_once('/')?;
                Some((work.parse().ok()?, depth.parse().ok()?))
            })
        })
        .collect()
}
