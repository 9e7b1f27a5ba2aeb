//! What neurons fire on: what `neurosieve concepts` does.

mod masks;
mod record;
pub mod results;

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use self::masks::Pattern;
use self::record::Known;
use self::results::ConceptsResults;
use super::Progress;
use super::clock::Clock;
use crate::activations::Activations;
use crate::analysis::concepts::Vocabulary;
use crate::analysis::dissection::{Side, Threshold, dissect};
use crate::analysis::focus::{class_by_difference, class_by_weight};
use crate::analysis::ranking;
use crate::data::{self, PartFiles, ProbeFile, ReadOptions};
use crate::error::{Error, Result, meant};
use crate::ops::Backend;
use crate::ops::moments::moments;

/// The share of the samples that a neuron fires on where none is given.
///
/// Network Dissection takes 0.005 of the pixels, of which objects cover few. Classes and frequent words cover 1 to 20 %
/// of the tokens: a neuron that fires on 0.5 % could at most have an IoU of 0.5 with one of 1 %, and of 0.025 with one
/// of 20 %.
pub const QUANTILE: f64 = 0.05;

/// The ordering of a probe's weights.
const LCA: &str = "lca";

/// Which neurons are described.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Described {
    /// All.
    All,
    /// These.
    These(Vec<usize>),
    /// The first of an ordering.
    First(usize),
}

/// What to look at, and how.
#[derive(Debug, Clone)]
pub struct ConceptsJob {
    /// Activations, labels and words.
    pub data: PartFiles,
    /// The task; `None`: the file's primary one.
    pub task: Option<String>,
    /// What the file does not say about itself.
    pub options: ReadOptions,
    /// The neurons that are described one by one.
    pub described: Described,
    /// Orderings that `neurosieve rank` wrote.
    pub rankings: Option<PathBuf>,
    /// The ordering whose first neurons are described; `None`: lca, or the file's only one.
    pub method: Option<String>,
    /// A probe that `neurosieve probe` wrote.
    pub probe: Option<PathBuf>,
    /// Share of a class's weight mass that its neurons hold.
    pub mass: f64,
    /// Shares of the samples that a neuron fires on.
    pub quantiles: Vec<f64>,
    /// Whether neurons fire below a threshold as well.
    pub both_sides: bool,
    /// Concepts that the user describes.
    pub patterns: Vec<Pattern>,
    /// Occurrences that a top word needs.
    pub min_count: usize,
    /// Occurrences that a word needs to be a concept.
    pub concept_count: usize,
    /// Words of each list.
    pub top_words: usize,
    /// Concepts of a neuron, and neurons of a concept.
    pub best: usize,
    /// Bins of a histogram.
    pub bins: usize,
}

/// Reads the data and says what the neurons fire on.
///
/// # Errors
/// When something cannot be read or does not fit the data, a neuron or an ordering does not exist, or a value is
/// outside its range.
pub fn concepts(
    job: &ConceptsJob,
    observer: &mut dyn FnMut(&Progress<'_>),
) -> Result<ConceptsResults> {
    let mut clock = Clock::new(4, observer);
    clock.step("read");
    let wanted: Vec<String> = job.task.iter().cloned().collect();
    let (mut tasks, mut splits) = data::read_splits(&[&job.data], &wanted, &job.options)?;
    let (task, mut split) = (tasks.remove(0), splits.remove(0));
    let (x, labels) = (split.activations, split.labels.remove(0));
    let tokens = split.tokens;
    let probe = job.probe.as_deref().map(data::read_probe).transpose()?;
    if let Some(probe) = &probe {
        check_probe(probe, &x)?;
    }
    let orders = orders(job, probe.as_ref(), x.neurons())?;
    let chosen = choose(job, &orders, &x)?;
    clock.step("moments");
    let moments = moments(&Backend::Cpu, x.view(), Some(&labels))?;
    let class_of = match &probe {
        Some(probe) => class_by_weight(probe.weights.view())?,
        None => class_by_difference(&moments, &labels)?,
    };
    clock.step("concepts");
    let vocabulary = tokens.as_ref().map(|tokens| Vocabulary::new(&tokens.words));
    let (named, sets) = masks::concepts(
        &labels,
        vocabulary.as_ref(),
        &job.patterns,
        job.concept_count,
    )?;
    let thresholds = thresholds(job);
    let dissection = dissect(x.view(), &moments, &sets, &thresholds)?;
    clock.step("descriptions");
    let known = Known {
        job,
        x: &x,
        labels: &labels,
        moments: &moments,
        vocabulary: vocabulary.as_ref(),
        named: &named,
        sets: &sets,
        dissection: &dissection,
        thresholds: &thresholds,
        probe: probe.as_ref(),
        class_of: &class_of,
    };
    let neurons = known.neurons(&chosen.neurons, chosen.method.and_then(|m| orders.get(m)))?;
    Ok(ConceptsResults {
        task,
        described: neurons,
        method: chosen.method.map(str::to_owned),
        concepts: known.concepts()?,
        orderings: known.orderings(&orders),
        focus: known.focus()?,
        timings: clock.finish(),
        ..known.header()
    })
}

fn thresholds(job: &ConceptsJob) -> Vec<Threshold> {
    let sides: &[Side] = match job.both_sides {
        true => &[Side::Above, Side::Below],
        false => &[Side::Above],
    };
    let all = job.quantiles.iter();
    all.flat_map(|&quantile| sides.iter().map(move |&side| Threshold { quantile, side }))
        .collect()
}

fn check_probe(probe: &ProbeFile, x: &Activations) -> Result<()> {
    let refused = |problem: String| {
        let fix = "Give a probe of classes that was fitted on the same neurons";
        Err(Error::invalid("probe", problem, fix))
    };
    let (theirs, ours) = (probe.weights.ncols(), x.neurons());
    if theirs != ours {
        return refused(format!("it is of {theirs} neurons, the data of {ours}"));
    }
    if probe.classes.is_none() {
        return refused("it predicts values, not classes".into());
    }
    Ok(())
}

/// The orderings by name: those of the file, or of the probe's weights.
fn orders(
    job: &ConceptsJob,
    probe: Option<&ProbeFile>,
    neurons: usize,
) -> Result<BTreeMap<String, Vec<usize>>> {
    let Some(path) = &job.rankings else {
        let lca = probe.map(|probe| ranking::lca(probe.weights.view()));
        let lca = lca.transpose()?.map(|lca| (LCA.to_owned(), lca.order));
        return Ok(lca.into_iter().collect());
    };
    let orders = data::read_rankings(path)?;
    if let Some((name, order)) = orders.iter().find(|(_, order)| order.len() != neurons) {
        return Err(Error::invalid(
            format!("rankings of {}", path.display()),
            format!(
                "{name} orders {} neurons, the data have {neurons}",
                order.len()
            ),
            "Give orderings of the neurons of the data",
        ));
    }
    Ok(orders)
}

/// The neurons that are described, and the ordering that they are the first of.
struct Choice<'a> {
    neurons: Vec<usize>,
    method: Option<&'a str>,
}

fn choose<'a>(
    job: &ConceptsJob,
    orders: &'a BTreeMap<String, Vec<usize>>,
    x: &Activations,
) -> Result<Choice<'a>> {
    let refused =
        |what: &str, problem: String, fix: String| Err(Error::invalid(what, problem, fix));
    let neurons = x.neurons();
    let method = match &job.method {
        Some(name) => orders.get_key_value(name),
        None if orders.len() == 1 => orders.first_key_value(),
        None => orders.get_key_value(LCA),
    };
    let names = || orders.keys().cloned().collect::<Vec<_>>().join(", ");
    if let (Some(name), None) = (&job.method, method) {
        let fix = match orders.is_empty() {
            true => "Give --rankings or --probe".into(),
            false => {
                let meant = meant(name, orders.keys().map(String::as_str));
                format!("{meant}Name one of {}", names())
            }
        };
        return refused("--method", format!("there is no \"{name}\""), fix);
    }
    let chosen = match &job.described {
        Described::All => (0..neurons).collect(),
        Described::These(these) => {
            if let Some(absent) = these.iter().find(|&&neuron| neuron >= neurons) {
                return refused(
                    "--neurons",
                    format!("there is no neuron {absent}"),
                    format!("Name some of 0 to {}", neurons - 1),
                );
            }
            let mut these = these.clone();
            these.sort_unstable();
            these.dedup();
            these
        }
        Described::First(most) => match method {
            Some((_, order)) => order.iter().take(*most).copied().collect(),
            None if orders.is_empty() => {
                let fix = "Give --rankings, --probe, or the neurons by --neurons";
                return refused("--top", "there is no ordering".into(), fix.into());
            }
            None => {
                let fix = format!("Name one by --method: {}", names());
                return refused("--top", "there are several orderings".into(), fix);
            }
        },
    };
    let ordered = matches!(job.described, Described::First(_));
    Ok(Choice {
        neurons: chosen,
        method: method.filter(|_| ordered).map(|(name, _)| name.as_str()),
    })
}
