//! `neurosieve compare`: studies beside each other.

use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;

use super::output::Destination;
use super::progress::Bar;
use super::{answer, device, report};
use crate::error::Result;
use crate::report::{html, json};
use crate::study::compare::results::{CompareResults, RunPair, TaskPair};
use crate::study::compare::{Asked, DRAWS, RANDOM_SETS, Studied, compare, transfer};

/// The share of the neurons whose overlap the summary shows.
const SHOWN: f64 = 0.05;

/// Set studies beside each other: base and fine-tuned model, two models, two languages.
///
/// For each two runs and each task of both: accuracies and their difference, where in depth and in which classes
/// salient neurons sit, overlap of orderings and minimal sets beside that by chance, sizes of sets, redundancy and
/// selectivity. What runs of other neurons do not allow to compare is left out.
///
/// With --transfer, minimal sets of the earlier run are retrained on the data of the later one, which are read from where its
/// study read them.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  neurosieve compare base tuned -o compare.json
  neurosieve compare base tuned --transfer --delta 0.01 -o compare.json")]
pub(super) struct Arguments {
    /// A results.json that `study` wrote, or the folder that has it; two or more
    #[arg(value_name = "RUN", required = true, num_args = 2..)]
    runs: Vec<PathBuf>,
    /// The file for the comparison, .json; the same as a page for people, .html, is written beside it
    #[arg(short, long, value_name = "FILE.json")]
    output: Option<PathBuf>,
    /// Random draws behind each p of a distribution over depth
    #[arg(long, value_name = "N", default_value_t = DRAWS as u32, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    draws: u32,
    /// Seed of the draws
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Retrain minimal sets of the earlier run on the later one's data, beside its own and random sets of that size
    #[arg(long)]
    transfer: bool,
    /// Which minimal sets: those of the loss nearest to this, a share of the oracle's dev accuracy
    #[arg(long, value_name = "SHARE", default_value_t = 0.01, value_parser = share, requires = "transfer")]
    delta: f64,
    /// Random sets beside each carried one; p is at least 1 / (N + 1), corrected for m carried sets at least m / (N + 1)
    #[arg(long, value_name = "N", default_value_t = RANDOM_SETS as u32, value_parser = clap::value_parser!(u32).range(2..=10_000), requires = "transfer")]
    random_sets: u32,
    /// Where to retrain: auto, cpu, gpu, all (every GPU), the index of an adapter or a part of its name, or several of these with commas between
    #[arg(long, value_name = "D", default_value = "auto", requires = "transfer")]
    device: String,
    /// Print the JSON document to stdout instead of a table
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<()> {
    let mut files = Vec::new();
    let mut studies = Vec::new();
    for run in &arguments.runs {
        let file = match run.is_dir() {
            true => run.join("results.json"),
            false => run.clone(),
        };
        studies.push(Studied {
            results: report::read(&file)?,
            file: file.display().to_string(),
        });
        files.push(file);
    }
    let output = match &arguments.output {
        Some(file) => {
            let output = Destination::new(file, &["json"])?;
            let reports = files.iter().map(|file| file.with_file_name("report.html"));
            let spared: Vec<PathBuf> = files.iter().cloned().chain(reports).collect();
            output.spare(&spared.iter().collect::<Vec<_>>())?;
            Some(output)
        }
        None => None,
    };
    let mut results = compare(&studies, arguments.draws as usize, arguments.seed)?;
    if arguments.transfer {
        let (backend, _) = device::choose(&arguments.device)?;
        let asked = Asked {
            delta: arguments.delta,
            random_sets: arguments.random_sets as usize,
            seed: arguments.seed,
        };
        let mut bar = Bar::new();
        let done = transfer(&studies, &mut results, asked, &backend, &mut |progress| {
            bar.show(progress);
        });
        bar.clear();
        done?;
    }
    let document = json::document(&results)?;
    if let Some(output) = output {
        output.write(&document)?;
        output.write_beside("html", html::comparison(&results)?.as_bytes())?;
    }
    answer(out, &document, arguments.json, |text| {
        summary(text, &results)
    })
}

/// `--delta`: a share from 0 to 1.
fn share(text: &str) -> std::result::Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..1.0).contains(&share) => Ok(share),
        _ => Err("write a share from 0 to below 1, such as 0.01".to_owned()),
    }
}

fn summary(text: &mut String, results: &CompareResults) -> std::fmt::Result {
    for (number, run) in (1..).zip(&results.runs) {
        writeln!(
            text,
            "run {number}: {} ({}), {} neurons in {} layers, {} test samples",
            run.name, run.file, run.neurons, run.layers, run.test_samples
        )?;
    }
    for pair in &results.pairs {
        writeln!(
            text,
            "\nrun {} against run {}",
            pair.runs[1] + 1,
            pair.runs[0] + 1
        )?;
        for task in &pair.tasks {
            table(text, task)?;
            carried(text, task, pair.runs)?;
        }
        clusters(text, pair)?;
        for note in &pair.notes {
            writeln!(text, "  note: {note}")?;
        }
    }
    Ok(())
}

fn table(text: &mut String, task: &TaskPair) -> std::fmt::Result {
    let mut row = |what: &str, values: [String; 2], more: String| {
        writeln!(
            text,
            "{}",
            format!("  {what:<38}{:<16}{:<16}{more}", values[0], values[1]).trim_end()
        )
    };
    let signed = |value: f64| format!("{value:+.3}");
    let of = |values: [f64; 2]| values.map(|value| format!("{value:.3}"));
    let oracle = &task.oracle;
    let [low, high] = oracle.interval;
    let heads = [0, 1].map(|at| if oracle.above_chance[at] { "" } else { "*" });
    let accuracy = of(oracle.accuracy);
    row(
        &format!("{}: accuracy", task.name),
        [0, 1].map(|at| format!("{}{}", accuracy[at], heads[at])),
        format!("{} ({low:+.3} to {high:+.3})", signed(oracle.difference)),
    )?;
    if let Some(found) = &task.selectivity {
        row(
            "selectivity",
            of(found.selectivity),
            signed(found.difference),
        )?;
    }
    match &task.depth {
        Some(depth) => {
            row(
                "salient neurons",
                depth.neurons.map(|n| n.to_string()),
                String::new(),
            )?;
            let more = format!("distance {:.3}, p = {:.3}", depth.distance, depth.p);
            row("their mean depth (0 to 1)", of(depth.mean), more)?;
        }
        None => row(
            "salient neurons",
            [String::new(), String::new()],
            "not compared: a run has none".into(),
        )?,
    }
    for set in &task.minimal_sets {
        let what = format!("minimal set, {}, δ {} %", set.ranking, 100.0 * set.delta);
        let sizes = [0, 1].map(|at| format!("{} ({:.1} %)", set.size[at], 100.0 * set.share[at]));
        let more = match (set.shared, set.p) {
            (Some(shared), Some(p)) => format!("{shared} in both, p = {p:.1e}"),
            _ => String::new(),
        };
        row(&what, sizes, more)?;
    }
    for overlap in task.overlaps.iter().flatten().filter(|o| o.share == SHOWN) {
        row(
            &format!("first {} neurons, {}", overlap.k, overlap.ranking),
            [
                format!("{} in both", overlap.shared),
                format!("{:.1} by chance", overlap.expected),
            ],
            format!("p = {:.1e}", overlap.p),
        )?;
    }
    if !oracle.above_chance.iter().all(|above| *above) {
        writeln!(
            text,
            "  * not above always answering the most frequent class: nothing follows from it"
        )?;
    }
    Ok(())
}

/// Sets of the first run on the second one's data.
fn carried(text: &mut String, task: &TaskPair, runs: [usize; 2]) -> std::fmt::Result {
    for found in task.transfer.iter().flatten() {
        let random = &found.random;
        let range = match random.interval {
            Some([low, high]) => format!(" ({low:+.3} to {high:+.3})"),
            None => String::new(),
        };
        let [low, high] = found.against_own.interval;
        writeln!(
            text,
            "  {} neurons of run {} by {}, retrained on run {}: test {:.3}, in run {} it was {:.3}\n    its own {} score {:.3}: \
             difference {:+.3} ({low:+.3} to {high:+.3}), p = {:.1e}, {} of the neurons are in both\n    {} random sets score \
             {:.3}: difference {:+.3}{range}, p = {:.1e}; p after Holm's correction {:.1e} and {:.1e}",
            found.size,
            runs[0] + 1,
            found.ranking,
            runs[1] + 1,
            found.carried.test_accuracy,
            runs[0] + 1,
            found.first_test_accuracy,
            found.size,
            found.own.test_accuracy,
            found.against_own.difference,
            found.against_own.p,
            found.shared,
            random.draws,
            random.test.mean,
            random.difference,
            random.p,
            found.against_own.p_holm,
            random.p_holm,
        )?;
    }
    Ok(())
}

fn clusters(text: &mut String, pair: &RunPair) -> std::fmt::Result {
    for cut in &pair.clusters {
        writeln!(
            text,
            "  {:<38}{:<16.3}{:<16.3}{:+.3}",
            format!("clusters per neuron, threshold {}", cut.threshold),
            cut.share[0],
            cut.share[1],
            cut.difference
        )?;
    }
    Ok(())
}
