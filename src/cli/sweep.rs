//! `neurosieve sweep`: what probes get right with some neurons alone.

use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;

use clap::ValueEnum;

use super::output::{Destination, gibibytes};
use super::progress::Bar;
use super::{answer, device, memory, parse_layers_units, part};
use crate::data::ReadOptions;
use crate::error::Result;
use crate::report::json;
use crate::study::spec::AblationSpec;
use crate::study::sweep::results::{Accuracy, ProbeSweeps, Summary, SweepResults};
use crate::study::sweep::{SHARES, SweepJob, sweep};

/// Masks that the summary shows.
const SHOWN: usize = 20;

/// Count what probes get right with some neurons alone, without retraining: every ordering at every number of neurons, and
/// any masks.
///
/// FILE.json gets, for each probe, ordering and ablation, the right samples with the k best and with the k worst neurons kept,
/// k from none to all. Removing is keeping read backwards: without the k best there are the others, which the curve of the
/// worst has.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  neurosieve sweep test.safetensors --probe probe.safetensors --rankings order.json -o sweep.json
  neurosieve sweep test.safetensors --probe probe.safetensors --masks masks.json -o sweep.json")]
pub(super) struct Arguments {
    /// Activations that are predicted: .safetensors, .npy, .npz, NeuroX .hdf5 or .json, or a folder of shards
    data: PathBuf,
    /// The file for the counts, .json
    #[arg(short, long, value_name = "FILE.json")]
    output: PathBuf,
    /// A probe that `neurosieve probe` wrote; may be given several times
    #[arg(long, value_name = "FILE.safetensors", required = true)]
    probe: Vec<PathBuf>,
    /// Orderings that `neurosieve rank` wrote
    #[arg(long, value_name = "FILE.json", required_unless_present = "masks")]
    rankings: Option<PathBuf>,
    /// The orderings to take [default: all in the file but its random one]
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        requires = "rankings"
    )]
    methods: Vec<String>,
    /// Masks of neurons that need not nest: a .json list of lists of the neurons that are kept, or of {"name", "keep"} or
    /// {"name", "remove"}; or a .npy matrix of bool, masks × neurons
    #[arg(long, value_name = "FILE")]
    masks: Option<PathBuf>,
    /// What the other neurons are replaced by: their means, zero, or one after the other
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "mean,zero"
    )]
    ablation: Vec<AblationName>,
    /// The means of these activations instead of those of the probe's train
    #[arg(long, value_name = "TRAIN")]
    mean_from: Option<PathBuf>,
    /// Random orderings to compare with
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(..=1000))]
    random_draws: u32,
    /// Seed of the random orderings
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Count each class as well: the document grows by as many numbers for every class
    #[arg(long)]
    per_class: bool,
    /// Labels of DATA, where the file holds none: .label, .txt, .tsv or .npy
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// The task: one that the file holds (default: its primary one), or a column of a .tsv
    #[arg(long, value_name = "NAME")]
    task: Option<String>,
    /// Layers × units, such as 7x384, where the file does not say
    #[arg(long, value_name = "LxU", value_parser = parse_layers_units)]
    layers_units: Option<(usize, usize)>,
    /// Where to compute: auto, cpu, gpu, all (every GPU), the index of an adapter or a part of its name, or several of these with commas between
    #[arg(long, value_name = "D", default_value = "auto")]
    device: String,
    /// Memory of each GPU that its buffers may take; what cannot do with so much runs natively [default: what the device has]
    #[arg(long, value_name = "GIB", value_parser = gibibytes)]
    max_device_memory: Option<u64>,
    /// Memory of the host that may be taken; activations that would take more are refused before they are read. No result
    /// depends on it [default: on Linux 80 % of what is free]
    #[arg(long, value_name = "GIB", value_parser = gibibytes)]
    max_memory: Option<u64>,
    /// Compute everything natively as well and compare it by each operation's tolerance; what is further apart is taken from
    /// the native path, and the exit code is 3. Takes the native path's time beside the device's
    #[arg(long)]
    validate: bool,
    /// Print the JSON document to stdout instead of a summary
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum AblationName {
    /// The mean of each neuron on the probe's train
    Mean,
    /// Zero, as NeuroX does
    Zero,
}

pub(super) fn run(
    arguments: &Arguments,
    open: device::Open<'_>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<()> {
    let job = job(arguments);
    // Whatever can fail fails before the work starts.
    let file = Destination::new(&arguments.output, &["json"])?;
    let inputs = std::iter::once(&job.data.activations)
        .chain(&arguments.labels)
        .chain(&job.probes)
        .chain(&job.rankings)
        .chain(&job.masks)
        .chain(&job.mean_from);
    file.spare(&inputs.collect::<Vec<_>>())?;
    let (backend, device) = device::choose_as(
        open,
        &arguments.device,
        arguments.validate,
        arguments.max_device_memory,
    )?;
    let job = SweepJob {
        memory: memory::allowed(arguments.max_memory),
        ..job
    };
    let mut bar = Bar::new();
    let finished = sweep(&job, &backend, device, &mut |progress| bar.show(progress));
    bar.clear();
    let mut results = finished?;
    device::take_validation(&backend, &mut results.device);
    let document = json::compact(&results)?;
    file.write(&document)?;
    answer(out, &document, arguments.json, |text| {
        summary(text, &results)
    })?;
    device::validation(&results.device, err)
}

fn job(arguments: &Arguments) -> SweepJob {
    let data = part(
        &arguments.data,
        arguments.labels.as_ref(),
        arguments.task.as_ref(),
    );
    let asked = |name: &AblationName| arguments.ablation.contains(name);
    let ablation = [
        (AblationName::Mean, AblationSpec::Mean),
        (AblationName::Zero, AblationSpec::Zero),
    ];
    SweepJob {
        data,
        task: arguments.task.clone(),
        options: ReadOptions {
            layers_units: arguments.layers_units,
        },
        probes: arguments.probe.clone(),
        rankings: arguments.rankings.clone(),
        methods: arguments.methods.clone(),
        ablation: ablation
            .into_iter()
            .filter(|(name, _)| asked(name))
            .map(|(_, ablation)| ablation)
            .collect(),
        random_draws: arguments.random_draws as usize,
        seed: arguments.seed,
        masks: arguments.masks.clone(),
        mean_from: arguments.mean_from.clone(),
        per_class: arguments.per_class,
        memory: None,
    }
}

fn summary(text: &mut String, results: &SweepResults) -> std::fmt::Result {
    writeln!(
        text,
        "{}: {} samples × {} neurons, on {} ({})",
        results.task, results.samples, results.neurons, results.device.kind, results.device.name
    )?;
    for probe in &results.probes {
        write!(text, "\n{}: with all neurons ", probe.file)?;
        writeln!(text, "{}", figure(&probe.complete).trim_end())?;
        if !probe.summaries.is_empty() {
            heads(text)?;
        }
        for summary in &probe.summaries {
            curve(text, summary)?;
        }
        masks(text, probe)?;
    }
    if !results.warnings.is_empty() {
        writeln!(text)?;
    }
    for warning in &results.warnings {
        writeln!(text, "warning: {warning}")?;
    }
    Ok(())
}

fn figure(accuracy: &Accuracy) -> String {
    let [low, high] = accuracy.interval;
    format!("{:.3} ({low:.2}–{high:.2})", accuracy.accuracy)
}

fn heads(text: &mut String) -> std::fmt::Result {
    write!(text, "  {:<34}", "accuracy with")?;
    for share in SHARES {
        write!(text, "{:<20}", format!("{:.0} % of them", 100.0 * share))?;
    }
    writeln!(text, "within 1 % of all with")
}

fn curve(text: &mut String, summary: &Summary) -> std::fmt::Result {
    let name = match summary.draws {
        Some(draws) => format!("{}, {draws} draws", summary.ranking),
        None => summary.ranking.clone(),
    };
    write!(text, "  {name:<20}{:<5}kept     ", summary.ablation)?;
    for point in &summary.points {
        write!(text, "{:<20}", figure(&point.kept))?;
    }
    writeln!(text, "{} neurons", summary.smallest.k)?;
    write!(text, "  {:<25}removed  ", "")?;
    let removed: Vec<String> = summary
        .points
        .iter()
        .map(|point| format!("{:<20}", figure(&point.removed)))
        .collect();
    writeln!(text, "{}", removed.concat().trim_end())
}

fn masks(text: &mut String, probe: &ProbeSweeps) -> std::fmt::Result {
    for mask in probe.masks.iter().take(SHOWN) {
        let name = match &mask.name {
            Some(name) => name.clone(),
            None => format!("mask {}", mask.mask),
        };
        writeln!(
            text,
            "  {name:<20}{:<5}{:>6} kept  {}",
            mask.ablation,
            mask.kept,
            figure(&mask.accuracy)
        )?;
    }
    match probe.masks.len().saturating_sub(SHOWN) {
        0 => Ok(()),
        more => writeln!(text, "  … and {more} more"),
    }
}
