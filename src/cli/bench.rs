//! `neurosieve bench`: how fast this machine is.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::progress::Bar;
use super::{device, say, say_json};
use crate::bench::comparison::{compare, parse};
use crate::bench::results::BenchResults;
use crate::bench::{self, Effort, Options, Size};
use crate::data::read_text;
use crate::error::{Error, Result};
use crate::gpu::AdapterKind;
use crate::ops::Backend;
use crate::report;

/// Measure a device: what it can do at most, and what share of that some operations reach.
///
/// Roofs (arithmetic, memory, transfers, launches) are measured on the same device by work that does nothing else. Samples of
/// every operation's answer are compared with a reference in f64, and the study has its own certificates: a row that fails is
/// INVALID and shows no time.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  neurosieve bench --size small
  neurosieve bench --device cpu --json > cpu.json
  neurosieve bench --compare old.json new.json")]
pub(super) struct Arguments {
    /// What to measure: auto (the default), cpu, gpu, the index of an adapter or a part of its name
    #[arg(long, value_name = "D")]
    device: Option<String>,
    /// How large the workloads are; up to 1, 4 and 16 GiB of memory; small where it is left out
    #[arg(long, value_enum)]
    size: Option<SizeArgument>,
    /// Only workloads whose names begin so; roofs are there always
    #[arg(long, value_name = "NAME[,NAME]", value_delimiter = ',')]
    only: Vec<String>,
    /// Only say what would be measured
    #[arg(long, conflicts_with_all = ["compare", "markdown"])]
    list: bool,
    /// Set this run beside an earlier one, or two files beside each other without measuring
    #[arg(long, value_name = "OLD.json [NEW.json]", num_args = 1..=2)]
    compare: Vec<PathBuf>,
    /// Print one JSON document
    #[arg(long, conflicts_with = "markdown")]
    json: bool,
    /// Print Markdown
    #[arg(long)]
    markdown: bool,
}

/// `--size`.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum SizeArgument {
    /// Under two minutes, software adapters included
    Small,
    /// For a GPU with 4 GB
    Standard,
    /// For a GPU with 12 GB or more
    Large,
}

pub(super) fn run(arguments: &Arguments, out: &mut dyn Write, err: &mut dyn Write) -> Result<()> {
    let files: Vec<BenchResults> = arguments
        .compare
        .iter()
        .map(|file| read(file))
        .collect::<Result<_>>()?;
    if let [old, new] = files.as_slice() {
        return beside(arguments, old, new, out);
    }
    let options = Options {
        size: match arguments.size {
            None | Some(SizeArgument::Small) => Size::Small,
            Some(SizeArgument::Standard) => Size::Standard,
            Some(SizeArgument::Large) => Size::Large,
        },
        only: arguments.only.clone(),
        effort: Effort::default(),
    };
    let backend = open(arguments.device.as_deref().unwrap_or("auto"), err)?;
    if arguments.list {
        let listed = bench::list(&backend, &options)?;
        return match arguments.json {
            true => say_json(out, &listed),
            false => say(out, &report::bench::listed(&listed)),
        };
    }
    let mut bar = Bar::new();
    let measured = bench::run(&backend, &options, &mut |progress| bar.show(progress));
    bar.clear();
    let mut results = measured?;
    results.comparison = files
        .first()
        .map(|old| compare(old, &results, &arguments.only));
    match (arguments.json, arguments.markdown) {
        (true, _) => say_json(out, &results),
        (_, true) => say(out, &report::bench::markdown(&results)),
        _ => say(out, &report::bench::text(&results)),
    }
}

/// Two files, without measuring.
fn beside(
    arguments: &Arguments,
    old: &BenchResults,
    new: &BenchResults,
    out: &mut dyn Write,
) -> Result<()> {
    let given = [
        ("--device", arguments.device.is_some()),
        ("--size", arguments.size.is_some()),
    ];
    if let Some((flag, _)) = given.iter().find(|(_, given)| *given) {
        return Err(Error::invalid(
            *flag,
            "two files are set beside each other without measuring",
            format!("Leave {flag} out, or give --compare the old file alone"),
        ));
    }
    let names = old
        .workloads
        .iter()
        .chain(&new.workloads)
        .map(|row| &*row.name);
    for only in &arguments.only {
        if !names.clone().any(|name| name.starts_with(only)) {
            return Err(Error::invalid(
                format!("workload \"{only}\""),
                "no name in either file begins with it",
                "Choose among the names in the files",
            ));
        }
    }
    let comparison = compare(old, new, &arguments.only);
    match (arguments.json, arguments.markdown) {
        (true, _) => say_json(out, &comparison),
        (_, true) => say(out, &report::bench::compared_in_markdown(&comparison)),
        _ => say(out, &report::bench::compared(&comparison)),
    }
}

/// The device with what measurements need; warns where it is none that figures mean something of.
fn open(asked: &str, err: &mut dyn Write) -> Result<Backend> {
    let (backend, _) = device::choose(asked)?;
    // The native path, or several devices, which the bench refuses.
    let Backend::Gpu(gpu) = backend else {
        return Ok(backend);
    };
    if gpu.report().kind == AdapterKind::Software {
        // A closed stderr must not cost the measurement; the document says it too.
        drop(writeln!(
            err,
            "warning: {} is a software adapter: its figures are not ranked and say nothing of GPUs",
            gpu.report()
        ));
    }
    Ok(Backend::Gpu(gpu.for_measurements()?))
}

fn read(file: &Path) -> Result<BenchResults> {
    let text = read_text(file)?;
    parse(&text, &file.display().to_string())
}
