//! What the comparison of a task says in sentences, and how sure each is.

use serde::Serialize;

use super::{Task, numbers};
use crate::report::format;
use crate::study::compare::results::{CompareResults, DepthPair, OraclePair, TransferResult};

/// A p below it, or an interval that leaves zero out, is a finding.
const LEVEL: f64 = 0.05;
/// Of more pairs the sentences would say less than the table.
const SENTENCES: usize = 3;

/// The share of the neurons whose overlap is told.
const SHARE: f64 = 0.05;

/// One point.
#[derive(Debug, Serialize)]
pub(super) struct Claim {
    about: &'static str,
    figure: String,
    sentences: Vec<String>,
}

/// What is said of two accuracies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    More,
    Less,
    Open,
    /// A run is not above chance.
    Void,
}

pub(super) fn verdict(oracle: &OraclePair) -> Verdict {
    match oracle.interval {
        _ if oracle.above_chance.contains(&false) => Verdict::Void,
        [low, _] if low > 0.0 => Verdict::More,
        [_, high] if high < 0.0 => Verdict::Less,
        _ => Verdict::Open,
    }
}

/// What is said of a carried set beside random ones.
pub(super) fn carried(found: &TransferResult) -> bool {
    let random = &found.random;
    let above = random.interval.is_none_or(|[low, _]| low > 0.0);
    random.p_holm < LEVEL && random.difference > 0.0 && above
}

pub(super) fn claims(results: &CompareResults, task: &Task<'_>) -> Vec<Claim> {
    let mut claims = vec![accuracy(task)];
    claims.extend(depth(task));
    claims.extend(neurons(task));
    if results.transfer.is_some() {
        claims.extend(transfer(task));
    }
    claims
}

/// `p = 0.04`, `p < 0.001`.
fn p_value(p: f64) -> String {
    let shown = format::p_value(p);
    match shown.starts_with('<') {
        true => format!("p {shown}"),
        false => format!("p = {shown}"),
    }
}

/// The figure of a single pair, else the range over all.
fn figure(values: &[f64], shown: fn(f64) -> String, range: fn([f64; 2]) -> String) -> String {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    match values {
        [] => "–".to_owned(),
        [one] => shown(*one),
        _ => range([low, high]),
    }
}

fn accuracy(task: &Task<'_>) -> Claim {
    let sentence = |runs: [usize; 2], oracle: &OraclePair| {
        let [first, second] = runs.map(|run| run + 1);
        let ends = format::points_interval(oracle.interval);
        let by = format::points(oracle.difference.abs());
        let by = by.trim_start_matches('+');
        match verdict(oracle) {
            Verdict::More => format!(
                "Run {second} is more accurate than run {first} by {by} points (95 % interval {ends})."
            ),
            Verdict::Less => format!(
                "Run {second} is less accurate than run {first} by {by} points (95 % interval {ends})."
            ),
            Verdict::Open => format!(
                "No difference between run {second} and run {first} is shown: {} points, and the 95 % interval {ends} holds 0.",
                format::points(oracle.difference)
            ),
            Verdict::Void => format!(
                "Of run {second} against run {first} nothing follows: an oracle is not above chance."
            ),
        }
    };
    let mut sentences: Vec<String> = (task.pairs.iter().take(SENTENCES))
        .map(|(pair, found)| sentence(pair.runs, &found.oracle))
        .collect();
    if task.pairs.len() > SENTENCES {
        let differ = |verdict| matches!(verdict, Verdict::More | Verdict::Less);
        let apart = (task.pairs.iter()).filter(|(_, found)| differ(verdict(&found.oracle)));
        sentences = vec![format!(
            "{} of {} pairs of runs have an interval of the difference that excludes 0; the table below has each.",
            apart.count(),
            task.pairs.len()
        )];
    }
    let accuracies: Vec<f64> = task.runs.iter().map(|(_, run)| run.test_accuracy).collect();
    let (about, figure) = match &task.pairs[..] {
        [(_, only)] => (
            "Accuracy, second minus first",
            format!("{} points", format::points(only.oracle.difference)),
        ),
        _ => (
            "Accuracy of the runs",
            figure(&accuracies, format::percent, format::interval),
        ),
    };
    Claim {
        about,
        figure,
        sentences,
    }
}

fn depth(task: &Task<'_>) -> Option<Claim> {
    let found: Vec<([usize; 2], &DepthPair)> = (task.pairs.iter())
        .filter_map(|(pair, found)| Some((pair.runs, found.depth.as_ref()?)))
        .collect();
    if found.is_empty() {
        return None;
    }
    let sentence = |&(runs, depth): &([usize; 2], &DepthPair)| {
        let [first, second] = runs.map(|run| run + 1);
        let [from, to] = depth.mean.map(|mean| format!("{mean:.2}"));
        let apart = format!("distance {:.3}, {}", depth.distance, p_value(depth.p));
        match depth.p < LEVEL {
            true => format!(
                "Salient neurons of run {second} sit elsewhere than those of run {first}: mean depth {to}, there {from} ({apart})."
            ),
            false => format!(
                "That salient neurons of runs {first} and {second} sit at other depths is not shown: mean depth {from} and {to} \
                 ({apart})."
            ),
        }
    };
    let sentences = match found.len() > SENTENCES {
        true => vec![format!(
            "In {} of {} pairs of runs salient neurons sit at other depths (p < {LEVEL}); the table below has each.",
            found.iter().filter(|(_, depth)| depth.p < LEVEL).count(),
            found.len()
        )],
        false => found.iter().map(sentence).collect(),
    };
    let distances: Vec<f64> = found.iter().map(|(_, depth)| depth.distance).collect();
    Some(Claim {
        about: "Depth, distance of the distributions",
        figure: figure(
            &distances,
            |distance| format!("{distance:.3}"),
            |[low, high]| format!("{low:.3}–{high:.3}"),
        ),
        sentences,
    })
}

/// Shared neurons of the first 5 % of each ordering, where both runs have the same neurons.
fn neurons(task: &Task<'_>) -> Option<Claim> {
    let mut sentences = Vec::new();
    let mut shares = Vec::new();
    for (pair, found) in &task.pairs {
        let Some(overlaps) = &found.overlaps else {
            continue;
        };
        for overlap in overlaps.iter().filter(|overlap| overlap.share == SHARE) {
            shares.push(overlap.shared as f64 / overlap.k as f64);
            sentences.push(format!(
                "{} of the first {} by {} are in both of runs {}; {:.1} would be by chance ({}).",
                format::count(overlap.shared),
                format::counted(overlap.k, "neuron"),
                format::ranking(&overlap.ranking),
                numbers(pair),
                overlap.expected,
                p_value(overlap.p)
            ));
        }
    }
    if sentences.is_empty() {
        return None;
    }
    if sentences.len() > 2 * SENTENCES {
        sentences = vec![format!(
            "Shared neurons of the first 5 % of {} orderings of pairs; the table below has each.",
            sentences.len()
        )];
    }
    Some(Claim {
        about: "Neurons in both, of the first 5\u{a0}%",
        figure: figure(&shares, format::percent, format::interval),
        sentences,
    })
}

fn transfer(task: &Task<'_>) -> Option<Claim> {
    let all: Vec<([usize; 2], &TransferResult)> = (task.pairs.iter())
        .flat_map(|(pair, found)| found.transfer.iter().flatten().map(|t| (pair.runs, t)))
        .collect();
    if all.is_empty() {
        return None;
    }
    let sentence = |&(runs, found): &([usize; 2], &TransferResult)| {
        let [first, second] = runs.map(|run| run + 1);
        let set = format!(
            "{} of run {first} by {}, retrained on run {second},",
            format::counted(found.size, "neuron"),
            format::ranking(&found.ranking)
        );
        let random = format!(
            "{} points against random ones, {} after Holm’s correction",
            format::points(found.random.difference),
            p_value(found.random.p_holm)
        );
        let own = &found.against_own;
        let ends = format::points_interval(own.interval);
        let rest = match (own.p_holm < LEVEL, own.difference < 0.0) {
            (true, true) => format!(
                "run {second}’s own do better ({} points, {ends})",
                format::points(own.difference)
            ),
            (true, false) => format!(
                "they do better than run {second}’s own ({} points, {ends})",
                format::points(own.difference)
            ),
            _ => format!(
                "no difference from run {second}’s own is shown ({} points, {ends})",
                format::points(own.difference)
            ),
        };
        match carried(found) {
            true => format!("{set} carry the task: {random}; {rest}."),
            false => format!("That {set} do more than random ones is not shown: {random}; {rest}."),
        }
    };
    let good = all.iter().filter(|(_, found)| carried(found)).count();
    let sentences = match all.len() > 2 * SENTENCES {
        true => vec!["A set carries the task where it does better than random neurons; the table below has each.".to_owned()],
        false => all.iter().map(sentence).collect(),
    };
    Some(Claim {
        about: "Sets that carry the task over",
        figure: format!("{good} of {}", all.len()),
        sentences,
    })
}
