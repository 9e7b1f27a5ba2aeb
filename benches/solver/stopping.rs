//! What each stopping rule costs, and what it changes against the certified optimum: dev accuracy, predictions, the LCA
//! ordering's top. All λ of a task are one batch; λ1/λ_max from 0.1 to 3e-4 (control labels: to 1e-3),
//! μ = 0.1·λ1, the neurons of one layer.

use std::collections::HashSet;
use std::io::Write;
use std::time::Instant;

use neurosieve::Result;
use neurosieve::analysis::ranking::lca;
use neurosieve::ops::probe::{self, Fit, Params, Problem, Stop};
use serde_json::{Value, json};

use crate::set::{BACKEND, Set, lambda_max};

const RATIOS: [f64; 6] = [0.1, 0.03, 0.01, 0.003, 0.001, 0.0003];

pub fn run(set: &Set) -> Result<Value> {
    let rules = [
        ("KKT 1e-2", Stop::Kkt(1e-2)),
        ("KKT 1e-3", Stop::Kkt(1e-3)),
        ("KKT 1e-4", Stop::Kkt(1e-4)),
        ("KKT 1e-5", Stop::Kkt(1e-5)),
        ("gap 1e-2", Stop::Gap(1e-2)),
        ("gap 1e-3", Stop::Gap(1e-3)),
        ("gap 1e-4", Stop::Gap(1e-4)),
        ("screening", Stop::Screening),
        ("certified", Stop::Certified),
    ];
    let _ = writeln!(
        std::io::stderr(),
        "| layer | task | rule | s | work | largest gap | Δ dev, chosen λ | largest Δ dev | changed | top 5 % | top 10 % |\n|---|---|---|---|---|---|---|---|---|---|---|"
    );
    let mut rows = Vec::new();
    for (layer, task) in [(5, "fine"), (1, "fine"), (5, "coarse"), (5, "control")] {
        let design = set.design(Some(layer))?;
        let labels = set.labels(task);
        let largest = lambda_max(&design, labels)?;
        let problems: Vec<Problem<'_>> = RATIOS
            .iter()
            .filter(|ratio| task != "control" || **ratio >= 1e-3)
            .map(|ratio| Problem::new(labels, ratio * largest, 0.05 * ratio * largest))
            .collect();
        let solve = |stop| {
            let params = Params {
                stop,
                ..Params::default()
            };
            let start = Instant::now();
            let fits = probe::fit(&BACKEND, &design, &problems, &params, &mut |_| {})?;
            Ok::<_, neurosieve::Error>((fits, start.elapsed().as_secs_f64()))
        };
        let (reference, _) = solve(Stop::Gap(1e-7))?;
        for (name, stop) in rules {
            let (fits, seconds) = solve(stop)?;
            rows.push(compare(
                set,
                (layer, task, name),
                &fits,
                &reference,
                seconds,
            )?);
        }
    }
    Ok(json!({ "ratios": RATIOS, "threads": rayon::current_num_threads(), "rows": rows }))
}

fn compare(
    set: &Set,
    (layer, task, name): (u32, &str, &str),
    fits: &[Fit],
    reference: &[Fit],
    seconds: f64,
) -> Result<Value> {
    let dev = set.data.dev().activations.view();
    let columns: HashSet<usize> = set
        .data
        .train()
        .activations
        .layers()
        .columns(layer)
        .collect();
    let (mut changed, mut difference, mut gap, mut work) = (0.0f64, 0.0f64, 0.0f64, 0.0);
    let mut overlap = [1.0f64, 1.0];
    let mut accuracies = (Vec::new(), Vec::new());
    for (fit, exact) in fits.iter().zip(reference) {
        let (a, b) = (fit.predict(dev), exact.predict(dev));
        let differ = a.iter().zip(&b).filter(|(a, b)| a != b).count();
        changed = changed.max(differ as f64 / a.len() as f64);
        let (x, y) = (set.dev_accuracy(task, fit), set.dev_accuracy(task, exact));
        difference = difference.max((x - y).abs());
        accuracies.0.push(x);
        accuracies.1.push(y);
        gap = gap.max(fit.certificate.relative_gap);
        work += fit.certificate.work;
        for (overlap, share) in overlap.iter_mut().zip([0.05, 0.1]) {
            let k = (share * columns.len() as f64).round() as usize;
            let top = |fit: &Fit| -> Result<HashSet<usize>> {
                let ranking = lca(fit.standardised.view())?;
                let inside = ranking.order.iter().filter(|n| columns.contains(n));
                Ok(inside.take(k).copied().collect())
            };
            let shared = top(fit)?.intersection(&top(exact)?).count() as f64 / k as f64;
            *overlap = overlap.min(shared);
        }
    }
    let best = |all: &[f64]| all.iter().copied().fold(0.0, f64::max);
    let chosen = best(&accuracies.0) - best(&accuracies.1);
    let _ = writeln!(
        std::io::stderr(),
        "| {layer} | {task} | {name} | {seconds:.1} | {work:.0} | {gap:.1e} | {chosen:+.4} | {difference:.4} | {changed:.4} | {:.3} | {:.3} |",
        overlap[0],
        overlap[1],
    );
    Ok(json!({
        "layer": layer, "task": task, "rule": name, "seconds": seconds, "work": work,
        "largest_relative_gap": gap, "dev_accuracy_of_chosen_minus_exact": chosen,
        "largest_dev_difference": difference, "largest_share_of_changed_predictions": changed,
        "least_overlap_top_5": overlap[0], "least_overlap_top_10": overlap[1],
    }))
}
