//! A study's probes in one batch: 7 layers × 10 λ × (fine + coarse + 3 control draws), timed until every probe's value of
//! NeuroX's own objective is at or below what NeuroX's training reaches, and to the default stopping rule.
//!
//! NeuroX's figures come from PEERS.json, written by `peers_neurox.py` on the same data and cores; it also holds the draws
//! of the control task. The objective is NeuroX's: l1 = l2 on raw activations, the norm not squared.

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use neurosieve::Result;
use neurosieve::labels::Labels;
use neurosieve::ops::probe::{
    self, Design, Fit, Neurons, Norm, Params, PenaltyScale, Problem, Solver, Stop,
};
use serde_json::{Value, json};

use crate::set::{BACKEND, Set};

/// What is run: its name, the solver, and whether a probe may leave once it is at NeuroX's objective. The last goes to the
/// default stopping rule.
const RUNS: [(&str, Solver, bool); 3] = [
    ("to NeuroX's objective, FISTA", Solver::Fista, true),
    ("to NeuroX's objective, Newton", Solver::Newton, true),
    ("to a relative gap of 1e-3", Solver::Auto, false),
];

/// One probe of NeuroX's.
struct Peer {
    layer: u32,
    task: String,
    lambda: f64,
    objective: f64,
    dev_accuracy: f64,
}

pub fn run(set: &Set, peers: Option<&Path>) -> Result<Value> {
    let path = peers.expect("batch needs PEERS.json, written by peers_neurox.py");
    let text = std::fs::read_to_string(path).expect("PEERS.json can be read");
    let document: Value = serde_json::from_str(&text).expect("PEERS.json is JSON");
    let peers: Vec<Peer> = document["probes"]
        .as_array()
        .expect("a list of probes")
        .iter()
        .map(|p| Peer {
            layer: p["layer"].as_u64().expect("a layer") as u32,
            task: p["task"].as_str().expect("a task").to_owned(),
            lambda: p["lambda"].as_f64().expect("a number"),
            objective: p["objective"].as_f64().expect("a number"),
            dev_accuracy: p["dev_accuracy"].as_f64().expect("a number"),
        })
        .collect();
    let tasks = Tasks::new(set, &document);
    let theirs = document["seconds"].as_f64().expect("a number");
    let mut rows = Vec::new();
    for (rule, solver, with_goal) in RUNS {
        let params = Params {
            solver,
            stop: Stop::Screening,
            ..Params::default()
        };
        let (fits, seconds) = solve(set, &tasks, &peers, with_goal, params)?;
        let above = fits
            .iter()
            .zip(&peers)
            .filter(|(fit, peer)| fit.objective > peer.objective)
            .count();
        note(rule, seconds, theirs, above, &fits);
        rows.push(summary(set, &tasks, &peers, &fits, rule, seconds, above));
    }
    Ok(json!({
        "probes": peers.len(), "threads": rayon::current_num_threads(),
        "neurox_seconds": theirs, "neurox_processes": document["processes"],
        "neurox_software": document["software"], "rows": rows,
    }))
}

/// Labels of train and dev of each task.
struct Tasks(Vec<(String, Labels, Labels)>);

impl Tasks {
    fn new(set: &Set, document: &Value) -> Self {
        let mut tasks = Vec::new();
        for (place, name) in set.data.tasks().iter().enumerate() {
            if name != "control" {
                tasks.push((
                    name.clone(),
                    set.data.train().labels[place].clone(),
                    set.data.dev().labels[place].clone(),
                ));
            }
        }
        let draws = document["controls"].as_array().expect("a list of draws");
        for (draw, labels) in draws.iter().enumerate() {
            let classes: Vec<String> = (0..16).map(|class| class.to_string()).collect();
            let of = |part: &str| {
                let ids = labels[part].as_array().expect("a list of ids").iter();
                let ids = ids.map(|id| id.as_u64().expect("an id") as u32).collect();
                Labels::new(ids, classes.clone()).expect("ids of the classes")
            };
            tasks.push((format!("control {draw}"), of("train"), of("dev")));
        }
        Self(tasks)
    }

    fn of(&self, name: &str) -> &(String, Labels, Labels) {
        let found = self.0.iter().find(|(task, _, _)| task == name);
        found.expect("the task is known")
    }
}

fn solve(
    set: &Set,
    tasks: &Tasks,
    peers: &[Peer],
    with_goal: bool,
    params: Params,
) -> Result<(Vec<Fit>, f64)> {
    let start = Instant::now();
    // Time includes what a user pays: the design is part of it.
    let map = set.data.train().activations.layers();
    let all: Vec<usize> = (0..map.neurons()).collect();
    let design = Design::new(&BACKEND, set.train(), &set.moments, &all)?;
    let position = |neuron: usize| design.columns().partition_point(|&c| c < neuron);
    let problems: Vec<Problem<'_>> = peers
        .iter()
        .map(|peer| {
            let columns = map.columns(peer.layer);
            Problem {
                neurons: Neurons::Range {
                    from: position(columns.start),
                    to: position(columns.end),
                },
                norm: Norm::Frobenius,
                goal: with_goal.then_some(peer.objective),
                ..Problem::new(&tasks.of(&peer.task).1, peer.lambda, peer.lambda)
            }
        })
        .collect();
    let params = Params {
        scale: PenaltyScale::Raw,
        ..params
    };
    let fits = probe::fit(&BACKEND, &design, &problems, &params, &mut |_| {})?;
    Ok((fits, start.elapsed().as_secs_f64()))
}

fn note(rule: &str, seconds: f64, theirs: f64, above: usize, fits: &[Fit]) {
    let unsolved = fits.iter().filter(|f| !f.certificate.converged).count();
    let _ = writeln!(
        std::io::stderr(),
        "{rule}: {seconds:.1} s against NeuroX's {theirs:.1} s; {above} of {} above NeuroX's objective, {unsolved} not converged",
        fits.len()
    );
}

fn summary(
    set: &Set,
    tasks: &Tasks,
    peers: &[Peer],
    fits: &[Fit],
    rule: &str,
    seconds: f64,
    above: usize,
) -> Value {
    let dev = set.data.dev().activations.view();
    let accuracy = |fit: &Fit, labels: &Labels| {
        let predicted = fit.predict(dev);
        let right = predicted.iter().zip(labels.ids()).filter(|(p, y)| p == y);
        right.count() as f64 / labels.len() as f64
    };
    let best: Vec<Value> = tasks
        .0
        .iter()
        .map(|(name, _, labels)| {
            let members = || fits.iter().zip(peers).filter(|(_, p)| p.task == *name);
            let ours = members().map(|(fit, _)| accuracy(fit, labels));
            let theirs = members().map(|(_, peer)| peer.dev_accuracy);
            json!({
                "task": name,
                "best_dev_accuracy": ours.fold(0.0, f64::max),
                "neurox_best_dev_accuracy": theirs.fold(0.0, f64::max),
            })
        })
        .collect();
    json!({
        "run": rule, "probes": fits.len(), "seconds": seconds, "above_neurox": above,
        "mean_passes": fits.iter().map(|f| f.certificate.passes).sum::<f64>() / fits.len() as f64,
        "most_passes": fits.iter().map(|f| f.certificate.passes).fold(0.0, f64::max),
        "not_converged": fits.iter().filter(|f| !f.certificate.converged).count(),
        "tasks": best,
    })
}
