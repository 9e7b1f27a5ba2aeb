//! What `Solver::Auto` rests on: seconds to the default stopping rule by Newton and by FISTA, for problems of several
//! sizes, alone and as a batch of one λ each, elastic net with λ2 = λ1/20.

use std::io::Write;
use std::time::Instant;

use neurosieve::Result;
use neurosieve::labels::Labels;
use neurosieve::ops::probe::{self, Design, Fit, Params, Problem, Solver, Stop};
use serde_json::{Value, json};

use crate::set::{BACKEND, Set, lambda_max};

const RATIOS: [f64; 4] = [0.1, 0.03, 0.01, 0.003];
/// A solver that needs more is not run to its end.
const MOST_PASSES: f64 = 1500.0;

pub fn run(set: &Set) -> Result<Value> {
    let mut rows = Vec::new();
    let _ = writeln!(
        std::io::stderr(),
        "| neurons | task | λ1/λ_max | Newton s | passes | FISTA s | passes | FISTA ÷ Newton |\n|---|---|---|---|---|---|---|---|"
    );
    let layer: Vec<usize> = set.data.train().activations.layers().columns(5).collect();
    let few: Vec<usize> = layer.iter().copied().step_by(8).collect();
    let all: Vec<usize> = (0..set.train().ncols()).collect();
    let fine = set.labels("fine");
    let ids = fine.ids().iter().map(|id| u32::from(*id == 0)).collect();
    let two = Labels::new(ids, vec!["rest".into(), "class".into()])?;
    let tasks = [
        ("one against the rest", &two),
        ("coarse", set.labels("coarse")),
        ("fine", fine),
    ];
    for columns in [few, layer, all] {
        let design = Design::new(&BACKEND, set.train(), &set.moments, &columns)?;
        for (task, labels) in tasks {
            let largest = lambda_max(&design, labels)?;
            for ratio in RATIOS {
                let problems = [problem(labels, ratio * largest)];
                rows.push(race(
                    &design,
                    &problems,
                    (columns.len(), task, &ratio.to_string()),
                )?);
            }
            let path = RATIOS.map(|ratio| problem(labels, ratio * largest));
            rows.push(race(
                &design,
                &path,
                (columns.len(), task, "all in one batch"),
            )?);
        }
    }
    Ok(json!({ "threads": rayon::current_num_threads(), "stop": "screening", "rows": rows }))
}

fn problem(labels: &Labels, l1: f64) -> Problem<'_> {
    Problem::new(labels, l1, 0.05 * l1)
}

fn race(
    design: &Design,
    problems: &[Problem<'_>],
    (neurons, task, ratio): (usize, &str, &str),
) -> Result<Value> {
    let solve = |solver: Solver| -> Result<(f64, f64, bool)> {
        let params = Params {
            solver,
            stop: Stop::Screening,
            max_passes: MOST_PASSES,
            ..Params::default()
        };
        let start = Instant::now();
        let fits = probe::fit(&BACKEND, design, problems, &params, &mut |_| {})?;
        let seconds = start.elapsed().as_secs_f64();
        let passes = fits.iter().map(|f| f.certificate.passes).sum();
        let done = |fit: &Fit| fit.certificate.converged;
        Ok((seconds, passes, fits.iter().all(done)))
    };
    let (newton, fista) = (solve(Solver::Newton)?, solve(Solver::Fista)?);
    let mark = |done: bool| if done { "" } else { " (not converged)" };
    let unfinished = (mark(newton.2), mark(fista.2));
    let _ = writeln!(
        std::io::stderr(),
        "| {neurons} | {task} | {ratio} | {:.3}{} | {:.1} | {:.3}{} | {:.1} | {:.1} |",
        newton.0,
        unfinished.0,
        newton.1,
        fista.0,
        unfinished.1,
        fista.1,
        fista.0 / newton.0
    );
    Ok(json!({
        "neurons": neurons, "task": task, "ratio": ratio,
        "newton": { "seconds": newton.0, "passes": newton.1, "converged": newton.2 },
        "fista": { "seconds": fista.0, "passes": fista.1, "converged": fista.2 },
    }))
}
