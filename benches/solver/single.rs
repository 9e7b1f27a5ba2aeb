//! One probe at a time beside scikit-learn (saga, lbfgs) and skglm: seconds until the objective is at or below theirs.
//!
//! PEERS.json comes from `peers_probe.py` on the same data and cores.

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use neurosieve::Result;
use neurosieve::labels::Labels;
use neurosieve::ops::probe::{self, Design, Fit, Params, PenaltyScale, Problem, Stop};
use serde_json::{Value, json};

use crate::set::{BACKEND, Set};

/// Tighter and tighter: the first at which the objective is at or below the peer's counts.
const GAPS: [f64; 6] = [1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6];
/// Times that the run that counts is repeated, for its median.
const REPEATS: usize = 5;

pub fn run(set: &Set, peers: Option<&Path>) -> Result<Value> {
    let path = peers.expect("single needs PEERS.json, written by peers_probe.py");
    let text = std::fs::read_to_string(path).expect("PEERS.json can be read");
    let peers: Value = serde_json::from_str(&text).expect("PEERS.json is JSON");
    let labels = set.labels("fine");
    let mut rows = Vec::new();
    for (name, l1, l2) in [("saga_raw", 1e-3, 1e-3), ("lbfgs_ridge", 0.0, 1e-3)] {
        if let Some(peer) = peers.get(name) {
            rows.push(race(set, (name, labels, l1, l2), PenaltyScale::Raw, peer)?);
        }
    }
    let kind = peers["binary_class"].as_u64().unwrap_or(0) as u32;
    let ids = labels
        .ids()
        .iter()
        .map(|id| u32::from(*id == kind))
        .collect();
    let binary = Labels::new(ids, vec!["rest".into(), "class".into()])?;
    for peer in peers["binary"].as_array().into_iter().flatten() {
        if peer["peer"] == "skglm" {
            let l1 = peer["l1"].as_f64().expect("a number");
            rows.push(race(
                set,
                ("skglm", &binary, l1, 0.0),
                PenaltyScale::Standardised,
                peer,
            )?);
        }
    }
    Ok(json!({
        "threads": rayon::current_num_threads(), "software": peers["software"], "rows": rows,
        "celer": peers["binary"].as_array().into_iter().flatten()
            .filter(|p| p["peer"] == "celer").collect::<Vec<_>>(),
    }))
}

/// The first gap that reaches the peer's objective, and its median time; the design is part of it.
fn race(
    set: &Set,
    (name, labels, l1, l2): (&str, &Labels, f64, f64),
    scale: PenaltyScale,
    peer: &Value,
) -> Result<Value> {
    let goal = peer["objective"].as_f64().expect("a number");
    let theirs = peer["seconds"].as_f64().expect("a number");
    let columns: Vec<usize> = (0..set.train().ncols()).collect();
    let solve = |gap: f64| -> Result<(Fit, f64)> {
        let start = Instant::now();
        let design = Design::new(&BACKEND, set.train(), &set.moments, &columns)?;
        let params = Params {
            scale,
            stop: Stop::Gap(gap),
            ..Params::default()
        };
        let problem = Problem::new(labels, l1, l2);
        let fit = probe::fit(&BACKEND, &design, &[problem], &params, &mut |_| {})?.remove(0);
        Ok((fit, start.elapsed().as_secs_f64()))
    };
    for gap in GAPS {
        let (fit, first) = solve(gap)?;
        if fit.objective > goal && gap != GAPS[GAPS.len() - 1] {
            continue;
        }
        let mut times = vec![first];
        for _ in 1..REPEATS {
            times.push(solve(gap)?.1);
        }
        times.sort_by(f64::total_cmp);
        let seconds = times[REPEATS / 2];
        let _ = writeln!(
            std::io::stderr(),
            "{name} (l1 {l1:.2e}, l2 {l2:.0e}): {theirs:.2} s to {goal:.8}; ours {seconds:.3} s to {:.8} (gap {gap:.0e}): {:.1} times faster",
            fit.objective,
            theirs / seconds
        );
        return Ok(json!({
            "peer": name, "l1": l1, "l2": l2, "peer_seconds": theirs, "peer_objective": goal,
            "seconds": seconds, "gap": gap, "objective": fit.objective,
            "reached": fit.objective <= goal, "passes": fit.certificate.passes,
            "relative_gap": fit.certificate.relative_gap, "times_faster": theirs / seconds,
        }));
    }
    unreachable!("the last gap is returned whether it reaches the goal or not")
}
