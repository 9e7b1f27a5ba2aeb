//! `neurosieve rank`: which neurons matter most for a task.

use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;

use super::output::{Destination, gibibytes};
use super::progress::Bar;
use super::{answer, memory, parse_layers_units, part};
use crate::data::ReadOptions;
use crate::error::Result;
use crate::report::json;
use crate::study::rank::{Method, RankJob, RankResults, StepResult, rank};

/// Neurons of each ordering that the summary shows.
const SHOWN: usize = 8;

/// Order the neurons by what they know of a task, by any number of methods at once.
///
/// FILE.json gets every ordering, complete, with scores and an ordering for each class where the method has them, how far each
/// two agree, and their vote (Borda).
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  neurosieve rank train.safetensors -o rankings.json
  neurosieve rank train.npy --labels train.label --method anova,auroc -o rankings.json
  neurosieve rank train.safetensors --method lca --probe probe.safetensors -o rankings.json")]
pub(super) struct Arguments {
    /// Activations: .safetensors, .npy, .npz, NeuroX .hdf5 or .json, or a folder of shards
    data: PathBuf,
    /// The file for the orderings, .json
    #[arg(short, long, value_name = "FILE.json")]
    output: PathBuf,
    /// lca, largest-weight (these need --probe), probeless, anova, mean-difference, information, auroc, average-precision,
    /// accuracy, gaussian, forward, random [default: all that can be, but gaussian and forward, which take far longer]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = parse_method)]
    method: Vec<Method>,
    /// Labels of DATA, where the file holds none: .label, .txt, .tsv or .npy
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// The task: one that the file holds (default: its primary one), or a column of a .tsv
    #[arg(long, value_name = "NAME")]
    task: Option<String>,
    /// A probe of the same neurons and task that `neurosieve probe` wrote; its weights are those of standardised activations, or
    /// of raw ones where it was fitted with --no-standardize
    #[arg(long, value_name = "FILE.safetensors")]
    probe: Option<PathBuf>,
    /// Other samples of the same neurons: gaussian selects on them, forward is judged on them
    #[arg(long, value_name = "FILE")]
    dev: Option<PathBuf>,
    /// Labels of dev, where the file holds none
    #[arg(long, value_name = "FILE", requires = "dev", requires = "labels")]
    dev_labels: Option<PathBuf>,
    /// gaussian and forward select K neurons one by one; the others follow by what each would have added last
    #[arg(long, value_name = "K", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    select: u32,
    /// λ2 of the probes of forward
    #[arg(long, value_name = "λ2", default_value_t = 1e-3)]
    l2: f64,
    /// Compare orderings over their first K neurons [default: a tenth]
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..))]
    depth: Option<u32>,
    /// Seed of the random ordering
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Layers × units, such as 7x384, where the file does not say
    #[arg(long, value_name = "LxU", value_parser = parse_layers_units)]
    layers_units: Option<(usize, usize)>,
    /// Memory of the host that may be taken; files that would take more are refused before they are read. No result depends on
    /// it [default: on Linux 80 % of what is free]
    #[arg(long, value_name = "GIB", value_parser = gibibytes)]
    max_memory: Option<u64>,
    /// Print the JSON document to stdout instead of a summary
    #[arg(long)]
    json: bool,
}

fn parse_method(text: &str) -> std::result::Result<Method, String> {
    let names = Method::ALL.map(Method::name).join(", ");
    let mut all = Method::ALL.into_iter();
    all.find(|method| method.name() == text)
        .ok_or_else(|| format!("the methods are {names}"))
}

pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<()> {
    let mut methods = arguments.method.clone();
    methods.sort();
    methods.dedup();
    let part = |activations: &PathBuf, labels: &Option<PathBuf>| {
        part(activations, labels.as_ref(), arguments.task.as_ref())
    };
    let job = RankJob {
        data: part(&arguments.data, &arguments.labels),
        dev: arguments
            .dev
            .as_ref()
            .map(|dev| part(dev, &arguments.dev_labels)),
        task: arguments.task.clone(),
        options: ReadOptions {
            layers_units: arguments.layers_units,
        },
        methods,
        probe: arguments.probe.clone(),
        depth: arguments.depth.map(|depth| depth as usize),
        select: arguments.select as usize,
        l2: arguments.l2,
        seed: arguments.seed,
        memory: memory::allowed(arguments.max_memory),
    };
    let file = Destination::new(&arguments.output, &["json"])?;
    let inputs = std::iter::once(&job.data.activations)
        .chain(&arguments.labels)
        .chain(&arguments.dev)
        .chain(&arguments.dev_labels)
        .chain(&job.probe);
    file.spare(&inputs.collect::<Vec<_>>())?;
    let mut bar = Bar::new();
    let finished = rank(&job, &mut |progress| bar.show(progress));
    bar.clear();
    let results = finished?;
    let document = json::document(&results)?;
    file.write(&document)?;
    answer(out, &document, arguments.json, |text| {
        summary(text, &results)
    })
}

fn summary(text: &mut String, results: &RankResults) -> std::fmt::Result {
    writeln!(
        text,
        "{}: {} samples × {} neurons, {} classes",
        results.task,
        results.samples,
        results.neurons,
        results.classes.len()
    )?;
    let overlap = |name: &str| {
        let mut pairs = results.agreement.iter();
        let both = ["borda", name];
        let with_vote = pairs.find(|pair| both.iter().all(|name| pair.of.contains(name)));
        let with_vote = with_vote.filter(|_| name != "borda");
        with_vote.map(|pair| pair.average_overlap)
    };
    for (name, ranking) in &results.rankings {
        let first: Vec<String> = ranking
            .order
            .iter()
            .take(SHOWN)
            .map(usize::to_string)
            .collect();
        write!(text, "  {name:<18} {}", first.join(" "))?;
        match overlap(name) {
            Some(overlap) => writeln!(text, " … (overlap with the vote {overlap:.2})")?,
            None => writeln!(text, " …")?,
        }
    }
    for (name, selection) in &results.selections {
        let (part, last) = (selection.scored_on, selection.steps.last());
        let Some(last) = last else { continue };
        write!(text, "  {name}: with {} neurons ", selection.steps.len())?;
        match last {
            StepResult::Gaussian { bits, accuracy, .. } => writeln!(
                text,
                "{bits:.3} bits, {:.1} % of {part} right",
                100.0 * accuracy
            )?,
            StepResult::Forward {
                log_loss, accuracy, ..
            } => writeln!(
                text,
                "log-loss {log_loss:.3}, {:.1} % of {part} right",
                100.0 * accuracy
            )?,
        }
    }
    Ok(())
}
