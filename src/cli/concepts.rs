//! `neurosieve concepts`: what neurons fire on.

use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;

use super::list::NumberList;
use super::output::Destination;
use super::progress::Bar;
use super::{answer, parse_layers_units, part};
use crate::data::{PartFiles, ReadOptions};
use crate::error::Result;
use crate::report::json;
use crate::study::concepts::results::{ConceptNeuron, ConceptResult, ConceptsResults, Focus};
use crate::study::concepts::{ConceptsJob, Described, Pattern, QUANTILE, concepts};

/// Neurons of the first of an ordering that are described where no number is given.
const TOP: usize = 30;

/// Classes and patterns, neurons of each, and words of each neuron that the summary shows.
const SHOWN: [usize; 3] = [24, 3, 5];

/// Say what neurons fire on: their top words, and how far each covers each class, word or pattern (IoU of thresholded
/// neurons with concepts, as in Network Dissection).
///
/// FILE.json gets, for each neuron that is asked for, its words, best concepts and histogram by class; for each concept
/// its best neurons of all; of which classes the first neurons of each ordering are; and how a probe spreads each class
/// over the neurons.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  neurosieve concepts train.safetensors --neurons 3,17-20 -o concepts.json
  neurosieve concepts train.safetensors --rankings rankings.json --top 30 -o concepts.json
  neurosieve concepts train.safetensors --concept 'digit=[0-9]+' -o concepts.json")]
pub(super) struct Arguments {
    /// Activations: .safetensors, .npy, .npz, NeuroX .hdf5 or .json, or a folder of shards
    data: PathBuf,
    /// The file for what is found, .json
    #[arg(short, long, value_name = "FILE.json")]
    output: PathBuf,
    /// Describe these neurons (columns), such as 0,3-5 [default: the first of the ordering, without one all]
    #[arg(long, value_name = "LIST", value_parser = NumberList::parse, conflicts_with_all = ["method", "top"])]
    neurons: Option<NumberList>,
    /// Orderings that `neurosieve rank` wrote
    #[arg(long, value_name = "FILE.json")]
    rankings: Option<PathBuf>,
    /// The ordering whose first neurons are described [default: lca, or the only one]
    #[arg(long, value_name = "NAME")]
    method: Option<String>,
    /// Describe so many of its first neurons [default: 30]
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..))]
    top: Option<u32>,
    /// A probe of the same neurons that `neurosieve probe` wrote: how it spreads each class over the neurons; without
    /// --rankings its lca is the ordering
    #[arg(long, value_name = "FILE.safetensors")]
    probe: Option<PathBuf>,
    /// Count the neurons that hold this share of a class's weight mass
    #[arg(long, value_name = "SHARE", default_value_t = 0.25)]
    mass: f64,
    /// A neuron fires on so large a share of the samples; of several the one of the largest IoU is taken for each
    /// concept
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_values_t = [QUANTILE])]
    quantile: Vec<f64>,
    /// Neurons fire on their smallest values as well
    #[arg(long)]
    both_sides: bool,
    /// A concept: the words that match a regular expression from first to last letter, such as number=[0-9]+; may be
    /// given several times
    #[arg(long, value_name = "NAME=REGEX", value_parser = parse_pattern)]
    concept: Vec<Pattern>,
    /// Words that occur less often are no top words
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    min_count: u32,
    /// Words that occur less often are no concepts
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    concept_count: u32,
    /// Words of each list
    #[arg(long, value_name = "N", default_value_t = 8)]
    top_words: u32,
    /// Concepts of each neuron, and neurons of each concept
    #[arg(long, value_name = "N", default_value_t = 5)]
    best: u32,
    /// Bins of the histograms
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    bins: u32,
    /// Labels of DATA, where the file holds none: .label, .txt, .tsv or .npy
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// The task: one that the file holds (default: its primary one), or a column of a .tsv
    #[arg(long, value_name = "NAME")]
    task: Option<String>,
    /// Words of DATA, where none are in or beside the file: .word or .tsv
    #[arg(long, value_name = "FILE")]
    words: Option<PathBuf>,
    /// Layers × units, such as 7x384, where the file does not say
    #[arg(long, value_name = "LxU", value_parser = parse_layers_units)]
    layers_units: Option<(usize, usize)>,
    /// Print the JSON document to stdout instead of a summary
    #[arg(long)]
    json: bool,
}

fn parse_pattern(text: &str) -> std::result::Result<Pattern, String> {
    let (name, expression) = text
        .split_once('=')
        .ok_or_else(|| "write NAME=REGEX, such as number=[0-9]+".to_owned())?;
    Pattern::new(name, expression).map_err(|error| error.to_string())
}

pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<()> {
    let job = job(arguments);
    // Whatever can fail fails before the work starts.
    let file = Destination::new(&arguments.output, &["json"])?;
    let inputs = std::iter::once(&job.data.activations)
        .chain(&arguments.labels)
        .chain(&arguments.words)
        .chain(&job.rankings)
        .chain(&job.probe);
    file.spare(&inputs.collect::<Vec<_>>())?;
    let mut bar = Bar::new();
    let finished = concepts(&job, &mut |progress| bar.show(progress));
    bar.clear();
    let results = finished?;
    let document = json::compact(&results)?;
    file.write(&document)?;
    answer(out, &document, arguments.json, |text| {
        summary(text, &results)
    })
}

fn job(arguments: &Arguments) -> ConceptsJob {
    let data = part(
        &arguments.data,
        arguments.labels.as_ref(),
        arguments.task.as_ref(),
    );
    let ordering = arguments.rankings.is_some()
        || arguments.probe.is_some()
        || arguments.method.is_some()
        || arguments.top.is_some();
    ConceptsJob {
        data: PartFiles {
            words: arguments.words.clone(),
            ..data
        },
        task: arguments.task.clone(),
        options: ReadOptions {
            layers_units: arguments.layers_units,
        },
        described: match &arguments.neurons {
            Some(these) => Described::These(these.0.clone()),
            None if ordering => Described::First(arguments.top.map_or(TOP, |top| top as usize)),
            None => Described::All,
        },
        rankings: arguments.rankings.clone(),
        method: arguments.method.clone(),
        probe: arguments.probe.clone(),
        mass: arguments.mass,
        quantiles: arguments.quantile.clone(),
        both_sides: arguments.both_sides,
        patterns: arguments.concept.clone(),
        min_count: arguments.min_count as usize,
        concept_count: arguments.concept_count as usize,
        top_words: arguments.top_words as usize,
        best: arguments.best as usize,
        bins: arguments.bins as usize,
    }
}

fn summary(text: &mut String, results: &ConceptsResults) -> std::fmt::Result {
    writeln!(
        text,
        "{}: {} samples × {} neurons, {} concepts; {} of {} pairs overlap more than by chance (false discovery rate 0.05)",
        results.task,
        results.samples,
        results.neurons,
        results.concepts.len(),
        results.tests.findings,
        results.tests.pairs
    )?;
    let shown = results.concepts.iter().filter(|c| c.kind != "word");
    let mut shown: Vec<&ConceptResult> = shown.collect();
    // What neurons are of is seen best where they cover it best.
    let best = |concept: &ConceptResult| concept.neurons.first().map_or(0.0, |n| n.pair.iou);
    shown.sort_by(|a, b| best(b).total_cmp(&best(a)));
    writeln!(
        text,
        "  {:<24}{:>8}  {:<36}IoU   fires on",
        "concept", "samples", "neuron"
    )?;
    for concept in shown.iter().take(SHOWN[0]) {
        table(text, concept, results)?;
    }
    match shown.len().saturating_sub(SHOWN[0]) {
        0 => {}
        more => writeln!(text, "  … and {more} more")?,
    }
    if let Some(focus) = &results.focus {
        spread(text, focus)?;
    }
    for warning in &results.warnings {
        writeln!(text, "warning: {warning}")?;
    }
    Ok(())
}

fn table(
    text: &mut String,
    concept: &ConceptResult,
    results: &ConceptsResults,
) -> std::fmt::Result {
    write!(text, "  {:<24}{:>8}", concept.name, concept.samples)?;
    if concept.neurons.is_empty() {
        writeln!(text, "  no neuron fires on it")?;
    }
    for (place, neuron) in concept.neurons.iter().take(SHOWN[1]).enumerate() {
        if place > 0 {
            write!(text, "{:34}", "")?;
        }
        writeln!(text, "  {}", line(neuron, results))?;
    }
    Ok(())
}

fn line(neuron: &ConceptNeuron, results: &ConceptsResults) -> String {
    let threshold = &results.thresholds[neuron.pair.threshold];
    let name = format!(
        "{} (layer {}, unit {}{})",
        neuron.pair.neuron,
        neuron.layer,
        neuron.unit,
        if threshold.side == "below" {
            ", below"
        } else {
            ""
        }
    );
    let words = neuron.top_words.iter().flatten().take(SHOWN[2]);
    let words: Vec<&str> = words.map(String::as_str).collect();
    format!("{name:<36}{:.2}  {}", neuron.pair.iou, words.join(" "))
        .trim_end()
        .to_owned()
}

fn spread(text: &mut String, focus: &Focus) -> std::fmt::Result {
    let mut classes: Vec<_> = focus.classes.iter().collect();
    classes.sort_by_key(|class| class.neurons.len());
    let classes = classes
        .iter()
        .map(|class| format!("{} {}", class.class, class.neurons.len()));
    writeln!(
        text,
        "neurons that hold {:.0} % of a class's weight, from focused to distributed: {}",
        100.0 * focus.mass,
        classes.collect::<Vec<_>>().join(", ")
    )
}
