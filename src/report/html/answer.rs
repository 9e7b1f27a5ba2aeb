//! The answer of a task in five points: each with its interval, each saying no more than the data support.

use serde::Serialize;

use super::certainty::{Beaten, beaten};
use crate::report::format;
use crate::study::results::{
    ClusterCut, Combined, LayerPoint, MinimalSet, Paired, StudyResults, TaskResults,
};

/// One sentence.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    /// What it is about: `Accuracy`.
    pub(super) about: &'static str,
    /// The figure, as large as fits: `92.6 %`.
    pub(super) figure: String,
    /// The finding.
    pub(super) lead: String,
    /// How sure it is.
    pub(super) rest: String,
    /// `plain`, `good` (the test supports it) or `care` (it does not).
    pub(super) tone: &'static str,
}

/// δ that the sentences speak of: the one nearest to 1 %.
pub(super) fn headline_delta(task: &TaskResults) -> Option<f64> {
    task.minimal_sets
        .iter()
        .map(|set| set.delta)
        .chain(task.layer_selection.iter().map(|choice| choice.delta))
        .min_by(|a, b| (a - 0.01).abs().total_cmp(&(b - 0.01).abs()))
}

/// The smallest retrained set at δ over all orderings; of equals, the better on dev.
pub(super) fn smallest_set(task: &TaskResults, delta: f64) -> Option<&MinimalSet> {
    task.minimal_sets
        .iter()
        .filter(|set| set.delta == delta)
        .filter(|set| task.suffices(set.dev_accuracy, delta))
        .min_by(|a, b| {
            a.size
                .cmp(&b.size)
                .then(b.dev_accuracy.total_cmp(&a.dev_accuracy))
        })
}

/// What a paired test says about "no more than δ is lost".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The interval excludes a loss above δ.
    Supported,
    /// The exact test finds a loss (its p, corrected for the study's many comparisons, is below [`SIGNIFICANT`]).
    Loss,
    /// Neither.
    Open,
}

/// A difference is found when its p is below this.
pub(super) const SIGNIFICANT: f64 = 0.05;

/// Whether the interval of the difference excludes a loss above `delta` of the oracle's test accuracy; if not, whether
/// a loss was found.
pub(super) fn verdict(paired: &Paired, delta: f64, oracle: f64) -> Verdict {
    if paired.interval[0] >= -delta * oracle {
        Verdict::Supported
    } else if paired.p_holm < SIGNIFICANT && paired.difference < 0.0 {
        Verdict::Loss
    } else {
        Verdict::Open
    }
}

/// The five points.
pub(super) fn answers(results: &StudyResults, task: &TaskResults) -> Vec<Answer> {
    let neurons = results.data.neurons;
    vec![
        accuracy(results, task),
        guarded(task, fewest(task, neurons)),
        guarded(task, layers(results, task)),
        redundancy(results, task),
        selectivity(task),
    ]
}

fn accuracy(results: &StudyResults, task: &TaskResults) -> Answer {
    let oracle = &task.oracle;
    let chance = if task.above_chance {
        "the oracle is above chance."
    } else {
        "the oracle is not above chance, so whatever suffices for it shows nothing about redundancy."
    };
    Answer {
        about: "Accuracy",
        figure: format::percent(oracle.test_accuracy),
        lead: format!(
            "The oracle, a probe on all {}, is right for {} of {}.",
            format::counted(results.data.neurons, "neuron"),
            format::percent(oracle.test_accuracy),
            format::counted(results.data.samples.test, "test sample"),
        ),
        rest: format!(
            "95 % interval {}. Always answering train's most frequent class gets {}; {chance}",
            format::interval(oracle.test_interval),
            format::percent(task.majority_accuracy),
        ),
        tone: if task.above_chance { "good" } else { "care" },
    }
}

/// How the paired test on test reads, and the tone it deserves.
fn paired_sentence(
    paired: &Paired,
    delta: f64,
    task: &TaskResults,
    what: &str,
) -> (String, &'static str) {
    let figures = format!(
        "On test {what} score {} points against the oracle (95 % interval {}, McNemar p {}, Holm-corrected {})",
        format::points(paired.difference),
        format::points_interval(paired.interval),
        p_is(paired.p),
        format::p_value(paired.p_holm),
    );
    let allowed = format::delta(delta);
    match verdict(paired, delta, task.oracle.test_accuracy) {
        Verdict::Supported => (
            format!("{figures}, which excludes a loss above {allowed}."),
            "good",
        ),
        Verdict::Loss => (format!("{figures}: there is a loss."), "care"),
        Verdict::Open if paired.interval[1] < 0.0 => (
            format!(
                "{figures}: a loss by this comparison alone, but not after correction for all of the study's, so \"no loss \
                 above {allowed}\" stays unproven.",
            ),
            "plain",
        ),
        Verdict::Open => (
            format!(
                "{figures}: no loss is shown, but one of up to {} points is not excluded, so \"no loss above {allowed}\" \
                 stays unproven on this many samples.",
                format::points(-paired.interval[0]).trim_start_matches('+'),
            ),
            "plain",
        ),
    }
}

/// `= 0.38`, `< 0.001`.
pub(super) fn p_is(p: f64) -> String {
    let text = format::p_value(p);
    if text.starts_with('<') {
        text
    } else {
        format!("= {text}")
    }
}

fn fewest(task: &TaskResults, neurons: usize) -> Answer {
    let about = "Fewest of an ordering";
    let Some((delta, set)) =
        headline_delta(task).and_then(|d| smallest_set(task, d).map(|set| (d, set)))
    else {
        return missing(
            about,
            if task.minimal_sets.is_empty() {
                "The study asked for no minimal sets."
            } else {
                "No set that was tried stays within δ of the oracle on dev."
            },
        );
    };
    let share = set.size as f64 / neurons.max(1) as f64;
    let lead = if set.size < neurons {
        format!(
            "{} ({}) suffice on dev: retrained on the first {} by {}, a probe stays within {} of the oracle there.",
            format::counted(set.size, "neuron"),
            format::percent(share),
            format::count(set.size),
            format::ranking(&set.ranking),
            format::delta(delta),
        )
    } else {
        format!(
            "No smaller set stays within {} of the oracle on dev: all {} are kept.",
            format::delta(delta),
            format::counted(neurons, "neuron"),
        )
    };
    let (test, tone) = paired_sentence(&set.against_oracle, delta, task, "they");
    let mut others: Vec<String> = Vec::new();
    let mut deltas: Vec<f64> = task.minimal_sets.iter().map(|s| s.delta).collect();
    deltas.sort_by(f64::total_cmp);
    deltas.dedup();
    for other in deltas.into_iter().filter(|&other| other != delta) {
        if let Some(set) = smallest_set(task, other) {
            others.push(format!(
                "{} by {} within {}",
                format::count(set.size),
                format::ranking(&set.ranking),
                format::delta(other)
            ));
        }
    }
    let others = if others.is_empty() {
        String::new()
    } else {
        format!(" For other losses: {}.", others.join(", "))
    };
    let doubts = doubts(task, set);
    Answer {
        about,
        figure: format::counted(set.size, "neuron"),
        lead,
        rest: format!("{test}{doubts}{others}"),
        tone,
    }
}

/// What is to be said of a set beside its size: whether others do as well.
fn doubts(task: &TaskResults, set: &MinimalSet) -> String {
    let same = |ranking: &str, delta: f64| ranking == set.ranking && delta == set.delta;
    let mut text = String::new();
    if let Some(random) = task.random_sets.iter().find(|r| same(&r.ranking, r.delta)) {
        let p = p_is(random.p);
        text.push_str(&match beaten(random) {
            Beaten::Better => format!(" On test random sets of that size do worse (p {p})."),
            Beaten::AsWell => format!(
                " Random sets of that size do as well (p {p} on test): which neurons they are hardly matters."
            ),
            Beaten::Open => format!(
                " On test they are not shown to be better than random sets of that size (p {p})."
            ),
        });
    }
    let disjoint = task.disjoint.iter().find(|d| same(&d.ranking, d.delta));
    if let Some(disjoint) = disjoint.filter(|d| !d.sets.is_empty()) {
        let how = if disjoint.exhausted {
            "Exactly"
        } else {
            "At least"
        };
        text.push_str(&match disjoint.sets.len() {
            1 if disjoint.exhausted => {
                " No second set of this ordering without a common neuron was found.".to_owned()
            }
            1 => String::new(),
            several => format!(
                " {how} {} of this ordering without a common neuron suffice.",
                format::counted(several, "set"),
            ),
        });
    }
    text
}

/// The single layer that dev prefers; of equals the lowest.
pub(super) fn best_layer(points: &[LayerPoint]) -> Option<&LayerPoint> {
    points.iter().reduce(|best, point| {
        if point.dev_accuracy > best.dev_accuracy {
            point
        } else {
            best
        }
    })
}

fn layers(results: &StudyResults, task: &TaskResults) -> Answer {
    let about = "Layers";
    let chosen = headline_delta(task).and_then(|delta| {
        task.layer_selection
            .iter()
            .min_by(|a, b| (a.delta - delta).abs().total_cmp(&(b.delta - delta).abs()))
    });
    let Some(choice) = chosen else {
        return missing(about, "The study asked for no layer selection.");
    };
    let first = results.data.layers.first().copied().unwrap_or(0);
    let span = format::layers_up_to(first, choice.layer);
    let interval = task
        .layers
        .cumulative
        .iter()
        .find(|point| point.layer == choice.layer)
        .map(|point| format!(", 95 % interval {}", format::interval(point.test_interval)))
        .unwrap_or_default();
    let single = best_layer(&task.layers.independent)
        .map(|best| {
            format!(
                " The best single layer on dev is {}: {} on test ({}).",
                best.layer,
                format::percent(best.test_accuracy),
                format::interval(best.test_interval),
            )
        })
        .unwrap_or_default();
    Answer {
        about,
        figure: span.clone(),
        lead: format!(
            "{} ({}) stay within {} of the oracle on dev.",
            capital(&span),
            format::counted(choice.neurons, "neuron"),
            format::delta(choice.delta),
        ),
        rest: format!(
            "They score {} on test{interval}.{single}",
            format::percent(choice.test_accuracy)
        ),
        tone: "plain",
    }
}

/// Of the combinations that stay within their δ, the one with the fewest neurons at the δ nearest to 1 %.
pub(super) fn smallest_combined(task: &TaskResults) -> Option<&Combined> {
    let reach = |found: &&Combined| task.suffices(found.dev_accuracy, found.set_delta);
    task.combined.iter().filter(reach).min_by(|a, b| {
        (a.set_delta - 0.01)
            .abs()
            .total_cmp(&(b.set_delta - 0.01).abs())
            .then(a.size.cmp(&b.size))
            .then(b.dev_accuracy.total_cmp(&a.dev_accuracy))
    })
}

/// The cut whose threshold is nearest to one half.
pub(super) fn middle_cut(cuts: &[ClusterCut]) -> Option<&ClusterCut> {
    cuts.iter().min_by(|a, b| {
        (a.threshold - 0.5)
            .abs()
            .total_cmp(&(b.threshold - 0.5).abs())
    })
}

/// How many clusters are no finding: a neuron that does not vary correlates with none, and is a cluster at every threshold.
fn alone(results: &StudyResults) -> String {
    let data = &results.data;
    match data.constant.len() + data.nearly_constant.len() {
        0 => String::new(),
        still => format!(
            ", {} of them neurons that do not vary, each on its own",
            format::count(still)
        ),
    }
}

fn redundancy(results: &StudyResults, task: &TaskResults) -> Answer {
    let about = "Redundancy";
    let Some(cut) = middle_cut(&results.clusters) else {
        return missing(about, "The study asked for no clustering.");
    };
    let neurons = results.data.neurons;
    let (combined, tone) = match smallest_combined(task) {
        None if task.combined.is_empty() => (String::new(), "plain"),
        None => (
            "Layer selection and one neuron of each cluster together do not stay within δ of the oracle on dev at any \
             threshold that was tried."
                .to_owned(),
            "plain",
        ),
        Some(found) => {
            let (test, tone) =
                paired_sentence(&found.against_oracle, found.set_delta, task, "they");
            let first = results.data.layers.first().copied().unwrap_or(0);
            let text = format!(
                "Together with the task, from {} and one neuron of each cluster at {}, {} stay within {} of the oracle on \
                 dev. {test}",
                format::layers_up_to(first, found.layer),
                format::plain(found.threshold),
                format::counted(found.size, "neuron"),
                format::delta(found.set_delta),
            );
            (text, tone)
        }
    };
    Answer {
        about,
        figure: format::counted(cut.count, "cluster"),
        lead: format!(
            "By correlation alone, {} fall into {} ({}) at a threshold of {}{}.",
            format::counted(neurons, "neuron"),
            format::counted(cut.count, "cluster"),
            format::percent(cut.count as f64 / neurons.max(1) as f64),
            format::plain(cut.threshold),
            alone(results),
        ),
        rest: if task.above_chance {
            combined
        } else {
            format!("What follows is no finding, since the oracle is not above chance. {combined}")
        },
        tone: if task.above_chance { tone } else { "care" },
    }
}

/// Control tasks say nothing when fewer test words than this occur in train: a word that was never seen cannot have
/// been memorised.
pub(super) const SEEN_ENOUGH: f64 = 0.2;

fn selectivity(task: &TaskResults) -> Answer {
    let about = "Selectivity";
    let Some(control) = &task.control else {
        return missing(
            about,
            "The words are not known, or a sample is more than a word, so there is no control task: how much of the accuracy is \
             memory stays open.",
        );
    };
    let seen = format!(
        "{} of the test samples are words that train has",
        format::percent(control.seen_in_train)
    );
    let caution = if control.seen_in_train < SEEN_ENOUGH {
        format!("Only {seen}: a probe cannot memorise the others, so this figure means little.")
    } else {
        format!("{seen}; small selectivity would mean that the probe could have memorised words.")
    };
    Answer {
        about,
        figure: format!("{} points", format::points(control.selectivity)),
        lead: format!(
            "Trained on random classes for words instead, probes reach {} (mean of {} ± {} points), the oracle {} points more{}.",
            format::percent(control.accuracy),
            format::counted(control.draws, "draw"),
            format::points(control.spread).trim_start_matches('+'),
            format::points(control.selectivity).trim_start_matches('+'),
            control.interval.map_or(String::new(), |interval| format!(
                " (95 % interval {})",
                format::points_interval(interval)
            )),
        ),
        rest: caution,
        tone: if control.seen_in_train < SEEN_ENOUGH {
            "care"
        } else {
            "plain"
        },
    }
}

/// Where the oracle is not above chance, a finding about what suffices for it is none.
fn guarded(task: &TaskResults, answer: Answer) -> Answer {
    if task.above_chance {
        return answer;
    }
    Answer {
        figure: "void".to_owned(),
        lead: "No finding, since the oracle is not above chance.".to_owned(),
        rest: format!("{} {}", answer.lead, answer.rest),
        tone: "care",
        ..answer
    }
}

fn missing(about: &'static str, why: &str) -> Answer {
    Answer {
        about,
        figure: "–".to_owned(),
        lead: why.to_owned(),
        rest: String::new(),
        tone: "plain",
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| {
        first.to_uppercase().chain(letters).collect()
    })
}
