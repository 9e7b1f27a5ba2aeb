//! How sure the findings are, and what test was used for.

use serde::Serialize;

use super::answer::{SIGNIFICANT, p_is};
use super::tables::{
    Cell, Table, against, count, number, numbers, share, table, text, with_interval,
};
use crate::report::format;
use crate::study::results::{
    Beside, DisjointSets, RandomSets, Stability, StudyResults, TaskResults,
};

/// What is known of how sure the minimal sets of one δ are.
#[derive(Debug, Serialize)]
pub(super) struct Certainty {
    delta: String,
    /// In plain words, one sentence a finding.
    disjoint_sentences: Vec<String>,
    disjoint: Table,
    stability_sentences: Vec<String>,
    stability: Table,
    threshold: String,
    random_sentences: Vec<String>,
    random: Table,
}

/// Everything that was examined of a task; `None` where nothing was.
pub(super) fn certainty(task: &TaskResults) -> Option<Certainty> {
    let deltas = task.disjoint.iter().map(|found| found.delta);
    let deltas = deltas.chain(task.stability.iter().map(|found| found.delta));
    let mut deltas = deltas.chain(task.random_sets.iter().map(|found| found.delta));
    let threshold = task.stability.first().map(|s| format::plain(s.threshold));
    Some(Certainty {
        delta: format::delta(deltas.next()?),
        disjoint_sentences: task.disjoint.iter().map(disjoint_sentence).collect(),
        disjoint: disjoint(task),
        stability_sentences: task.stability.iter().map(stability_sentence).collect(),
        stability: stability(task),
        threshold: threshold.unwrap_or_default(),
        random_sentences: task.random_sets.iter().map(random_sentence).collect(),
        random: random(task),
    })
}

/// How many sets there are, in one sentence.
pub(super) fn disjoint_sentence(found: &DisjointSets) -> String {
    let name = format::ranking(&found.ranking);
    let sets = format::counted(found.sets.len(), "set");
    if found.sets.is_empty() {
        return format!("{name}: no set stays within δ on dev, not even all neurons.");
    }
    if !found.exhausted {
        return format!(
            "{name}: at least {sets} without a common neuron; the search stopped there, with {} left.",
            format::counted(found.left, "neuron")
        );
    }
    match found.best_left {
        Some(best) => format!(
            "{name}: exactly {sets}: no size of the {} left that was tried stays within δ on dev (best {}, {} wanted).",
            format::counted(found.left, "neuron"),
            format::percent(best),
            format::percent(found.required),
        ),
        None => format!("{name}: exactly {sets}: no neuron is left."),
    }
}

fn disjoint(task: &TaskResults) -> Table {
    let mut rows = Vec::new();
    for found in &task.disjoint {
        for (number, set) in (1..).zip(&found.sets) {
            let mut row = vec![
                text(format::ranking(&found.ranking)),
                count(number),
                count(set.size),
                share(set.dev_accuracy),
                with_interval(set.test_accuracy, set.test_interval),
            ];
            row.extend(against(&set.against_oracle, found.delta, task));
            rows.push(row);
        }
    }
    table(
        &[
            "ordering",
            "*set",
            "*neurons",
            "*dev",
            "*test (95 %)",
            "*− oracle, points (95 %)",
            "*p",
            "*p, Holm",
            "no loss above δ?",
        ],
        rows,
    )
}

/// Whether another sample would name the same neurons, in one sentence.
fn stability_sentence(found: &Stability) -> String {
    format!(
        "{}: a resample of train names {} of the {} again ({} by chance), and for {} one of the same cluster ({} by chance).",
        format::ranking(&found.ranking),
        format::percent(found.mean_frequency.observed),
        format::counted(found.size, "neuron"),
        format::percent(found.mean_frequency.chance),
        format::percent(found.mean_equivalent_frequency.observed),
        format::percent(found.mean_equivalent_frequency.chance),
    )
}

fn beside(figure: Beside) -> Cell {
    let shown = format!(
        "{} ({})",
        format::percent(figure.observed),
        format::percent(figure.chance)
    );
    numbers(shown, figure.observed, &[figure.chance])
}

fn stability(task: &TaskResults) -> Table {
    let row = |found: &Stability| {
        let always = found.frequency.iter().filter(|f| **f == 1.0).count();
        vec![
            text(format::ranking(&found.ranking)),
            count(found.size),
            text(format!("{} of {}", found.draws, found.units)),
            beside(found.mean_frequency),
            beside(found.mean_equivalent_frequency),
            count(always),
            beside(found.overlap),
            beside(found.equivalent_overlap),
            beside(found.jaccard),
        ]
    };
    table(
        &[
            "ordering",
            "*neurons",
            "resamples",
            "*of the set, found again (chance)",
            "*or one of its cluster (chance)",
            "*in every resample",
            "*two resamples share (chance)",
            "*or by cluster (chance)",
            "*Jaccard (chance)",
        ],
        task.stability.iter().map(row).collect(),
    )
}

/// What random sets say of a minimal set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beaten {
    /// The set is better than they (p below [`SIGNIFICANT`]).
    Better,
    /// At least half of them are as good, or stay within δ as it does.
    AsWell,
    /// Neither.
    Open,
}

/// What the random sets of a size say.
pub(super) fn beaten(found: &RandomSets) -> Beaten {
    if found.p < SIGNIFICANT {
        Beaten::Better
    } else if 2 * found.as_good.max(found.sufficient) >= found.draws {
        Beaten::AsWell
    } else {
        Beaten::Open
    }
}

/// Whether random neurons do as well, in one sentence.
fn random_sentence(found: &RandomSets) -> String {
    let figures = format!(
        "{} of {} of {} are at least as good on test (p {}), {} of them stay within δ on dev.",
        format::count(found.as_good),
        format::counted(found.draws, "random set"),
        format::counted(found.size, "neuron"),
        p_is(found.p),
        format::count(found.sufficient),
    );
    let (before, after) = match beaten(found) {
        Beaten::Better => ("better than random neurons", ""),
        Beaten::AsWell => (
            "random neurons do as well",
            " Which neurons they are hardly matters: that is redundancy itself, and no finding about these neurons.",
        ),
        Beaten::Open => ("not shown to be better than random neurons", ""),
    };
    format!(
        "{}: {before}. {figures}{after}",
        format::ranking(&found.ranking)
    )
}

fn random(task: &TaskResults) -> Table {
    let range = |of: crate::study::results::Distribution| {
        let shown = format!(
            "{} ({}–{})",
            format::percent(of.mean),
            format::percent_bare(of.lowest),
            format::percent_bare(of.highest)
        );
        numbers(shown, of.mean, &[of.lowest, of.highest])
    };
    let row = |found: &RandomSets| {
        vec![
            text(format::ranking(&found.ranking)),
            count(found.size),
            count(found.draws),
            share(found.set_dev_accuracy),
            range(found.dev),
            share(found.set_test_accuracy),
            range(found.test),
            count(found.as_good),
            number(format::p_value(found.p), found.p),
        ]
    };
    table(
        &[
            "ordering",
            "*neurons",
            "*random sets",
            "*dev",
            "*random, dev (range)",
            "*test",
            "*random, test (range)",
            "*as good",
            "*p",
        ],
        task.random_sets.iter().map(row).collect(),
    )
}

/// What was evaluated on test.
pub(super) fn test_use(results: &StudyResults) -> Table {
    let rows = results
        .test_use
        .evaluated
        .iter()
        .map(|used| {
            vec![
                text(&used.task),
                text(&used.what),
                count(used.probes),
                count(used.evaluations),
            ]
        })
        .collect();
    table(
        &["task", "what", "*probes", "*times test was predicted"],
        rows,
    )
}
