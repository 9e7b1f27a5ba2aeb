//! `compare.html`: studies beside each other, for people. Everything on it is in the document of `neurosieve compare`.

mod claims;
mod figures;
mod tables;

use std::collections::BTreeMap;

use serde::Serialize;

use super::figures::Figure;
use super::spans::{self, Span};
use super::tables::Table;
use super::{Fact, POLICY, SCRIPT, STYLE, filled};
use crate::error::Result;
use crate::report::format;
use crate::study::compare::results::{CompareResults, RunPair, RunTask, TaskPair};
use claims::Claim;
use tables::Shares;

const TEMPLATE: &str = include_str!("../comparison.html");

/// A task of two or more runs, as everything here sees it.
struct Task<'a> {
    name: &'a str,
    /// The runs that have it, by their place in `runs`.
    runs: Vec<(usize, &'a RunTask)>,
    /// Each two of them.
    pairs: Vec<(&'a RunPair, &'a TaskPair)>,
}

#[derive(Debug, Serialize)]
struct TaskView {
    name: String,
    /// Runs whose oracle is not above chance.
    chance: Option<String>,
    claims: Vec<Claim>,
    accuracy: Figure,
    accuracies: Table,
    differences: Table,
    depth: Option<Figure>,
    depths: Table,
    mass: String,
    shares: Shares,
    classes: Table,
    layers: Table,
    sets: Table,
    overlaps: Table,
    transfers: Table,
}

#[derive(Debug, Serialize)]
struct Page<'a> {
    policy: &'static str,
    style: &'static str,
    script: &'static str,
    title: String,
    subtitle: String,
    version: String,
    runs: Table,
    notes: Vec<String>,
    tasks: Vec<TaskView>,
    clusters: Table,
    /// The random sets of transfers; none where none were asked for.
    random_sets: Option<String>,
    warnings: Vec<(String, Vec<Vec<Span<'a>>>)>,
    command: String,
    reproduce: Vec<Fact>,
}

/// A comparison of studies as one HTML document.
///
/// # Errors
/// When the template cannot be filled, which is a bug of ours.
pub fn comparison(results: &CompareResults) -> Result<String> {
    let names: Vec<&str> = results.runs.iter().map(|run| &*run.name).collect();
    let page = Page {
        policy: POLICY,
        style: STYLE,
        script: SCRIPT,
        title: names.join(" · "),
        subtitle: format!(
            "{} · {} that two or more have",
            format::counted(results.runs.len(), "run"),
            format::counted(tasks(results).len(), "task")
        ),
        version: results.neurosieve_version.clone(),
        runs: tables::runs(results),
        notes: notes(results),
        tasks: tasks(results).iter().map(|t| view(results, t)).collect(),
        clusters: tables::clusters(results),
        random_sets: (results.transfer.as_ref())
            .map(|plan| format::counted(plan.random_sets, "random set")),
        warnings: warnings(results),
        command: command(results),
        reproduce: reproduce(results),
    };
    filled("compare.html", TEMPLATE, &page)
}

/// Tasks that two runs or more have, in the order in which they come.
fn tasks(results: &CompareResults) -> Vec<Task<'_>> {
    let mut found: Vec<Task<'_>> = Vec::new();
    for pair in &results.pairs {
        for task in &pair.tasks {
            let at = found.iter().position(|known| known.name == task.name);
            let at = at.unwrap_or_else(|| {
                let runs = results.runs.iter().enumerate();
                let has = |run: &'_ crate::study::compare::results::Run| {
                    run.found.iter().position(|own| own.name == task.name)
                };
                found.push(Task {
                    name: &task.name,
                    runs: runs
                        .filter_map(|(number, run)| Some((number, &run.found[has(run)?])))
                        .collect(),
                    pairs: Vec::new(),
                });
                found.len() - 1
            });
            found[at].pairs.push((pair, task));
        }
    }
    found
}

fn view(results: &CompareResults, task: &Task<'_>) -> TaskView {
    let mut masses: Vec<String> = task
        .runs
        .iter()
        .map(|(_, run)| format::delta(run.mass))
        .collect();
    masses.dedup();
    let below: Vec<String> = (task.runs.iter())
        .filter(|(_, run)| !run.above_chance)
        .map(|(number, _)| (number + 1).to_string())
        .collect();
    TaskView {
        name: task.name.to_owned(),
        chance: (!below.is_empty()).then(|| {
            let (s, are) = if below.len() == 1 {
                ("", "is")
            } else {
                ("s", "are")
            };
            format!("The oracle{s} of run{s} {} {are} not", below.join(", "))
        }),
        claims: claims::claims(results, task),
        accuracy: figures::accuracy(task),
        accuracies: tables::accuracies(results, task),
        differences: tables::differences(task),
        depth: figures::depth(task),
        depths: tables::depths(task),
        mass: masses.join(" or "),
        shares: tables::shares(task),
        classes: tables::classes(task),
        layers: tables::layers(task),
        sets: tables::sets(task),
        overlaps: tables::overlaps(task),
        transfers: tables::transfers(task),
    }
}

/// `1 and 2`: the runs of a pair, from 1.
fn numbers(pair: &RunPair) -> String {
    format!("{}\u{a0}and\u{a0}{}", pair.runs[0] + 1, pair.runs[1] + 1)
}

/// What could not be compared, once for all pairs that it is true of.
fn notes(results: &CompareResults) -> Vec<String> {
    let mut all: Vec<(&str, Vec<String>)> = Vec::new();
    for pair in &results.pairs {
        for note in &pair.notes {
            match all.iter_mut().find(|(known, _)| known == note) {
                Some((_, pairs)) => pairs.push(numbers(pair)),
                None => all.push((note, vec![numbers(pair)])),
            }
        }
    }
    all.into_iter()
        .map(|(note, pairs)| format!("Runs {}: {note}.", pairs.join("; ")))
        .collect()
}

/// What the studies themselves warned of.
fn warnings(results: &CompareResults) -> Vec<(String, Vec<Vec<Span<'_>>>)> {
    let runs = (1..).zip(&results.runs);
    runs.filter(|(_, run)| !run.warnings.is_empty())
        .map(|(number, run)| {
            (
                format!("Run {number}, {}", run.name),
                spans::all(&run.warnings),
            )
        })
        .collect()
}

/// A word of a command line, so that a shell takes it as it is.
fn quoted(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "._-+/:=,@".contains(letter);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

fn command(results: &CompareResults) -> String {
    let mut words = vec!["neurosieve compare".to_owned()];
    words.extend(results.runs.iter().map(|run| quoted(&run.file)));
    if let Some(plan) = &results.transfer {
        words.push(format!(
            "--transfer --delta {} --random-sets {}",
            plan.delta, plan.random_sets
        ));
    }
    words.push(format!("--draws {} --seed {}", results.draws, results.seed));
    words.push("-o compare.json".to_owned());
    words.join(" ")
}

fn reproduce(results: &CompareResults) -> Vec<Fact> {
    let versions: BTreeMap<&str, Vec<String>> =
        (1..)
            .zip(&results.runs)
            .fold(BTreeMap::new(), |mut versions, (number, run)| {
                let runs: &mut Vec<String> = versions.entry(&run.neurosieve_version).or_default();
                runs.push(format!("{number}"));
                versions
            });
    let versions: Vec<String> = (versions.into_iter())
        .map(|(version, runs)| format!("{version} (run {})", runs.join(", ")))
        .collect();
    vec![
        ("neurosieve", results.neurosieve_version.clone()),
        ("Versions that ran the studies", versions.join("; ")),
        ("Seed of the draws", results.seed.to_string()),
        (
            "Draws behind each p of a distribution over depth",
            format::count(results.draws),
        ),
        ("Layout of the document", results.schema_version.to_string()),
    ]
}
