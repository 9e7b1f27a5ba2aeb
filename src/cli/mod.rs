//! The command line: one subcommand per file, arguments → calls → report. No numerics.
//!
//! The result goes to stdout (one JSON document with `--json`), progress and errors to stderr. Exit codes: 0 ok, 1 failed,
//! 2 usage, 3 a validation failed.

mod allocator;
mod bench;
mod cluster;
mod compare;
mod concepts;
mod correlate;
pub(crate) mod device;
mod devices;
mod init;
mod inspect;
mod list;
mod manual;
mod memory;
mod merge;
mod output;
mod plan;
mod precision;
mod probe;
mod progress;
mod rank;
mod report;
mod stopping;
mod study;
mod sweep;

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};

pub use self::allocator::give_back_what_is_freed;

use clap::{Parser, Subcommand};

use crate::data::PartFiles;
use crate::error::{Error, Result};
use crate::gpu::{self, Choice};
use crate::study::spec::layers_units;

/// A neuron-probing study of a language model as one fast, reproducible job on any GPU or CPU.
#[derive(Debug, Parser)]
#[command(
    name = "neurosieve",
    version,
    arg_required_else_help = true,
    after_help = "Examples:
  neurosieve init data/
  neurosieve study study.toml -o out
  neurosieve inspect data/train.safetensors
Every command's --help ends with its own."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::Arguments),
    Study(study::Arguments),
    Merge(merge::Arguments),
    Probe(Box<probe::Arguments>),
    Correlate(correlate::Arguments),
    Cluster(cluster::Arguments),
    Rank(rank::Arguments),
    Sweep(Box<sweep::Arguments>),
    Concepts(Box<concepts::Arguments>),
    Compare(compare::Arguments),
    Report(report::Arguments),
    Inspect(inspect::Arguments),
    Devices(devices::Arguments),
    Bench(bench::Arguments),
    Completions(manual::CompletionArguments),
    Man(manual::ManArguments),
}

/// The exit code of a command that did what it was asked for.
const DONE: u8 = 0;
/// The exit code of one that failed.
const FAILED: u8 = 1;
/// The exit code of one whose device deviated from the native path.
const INVALID: u8 = 3;

/// Runs the command and returns its exit code; `out` is stdout, `err` stderr.
pub fn main(
    arguments: impl Iterator<Item = OsString>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> u8 {
    main_on(&gpu::choose, arguments, out, err)
}

/// As [`main`]; the device that studies, probes, pairs and sweeps ask for is what `open` gives. For tests of what becomes of one
/// that computes wrongly.
pub fn main_on(
    open: &dyn Fn(&str) -> Result<Choice>,
    arguments: impl Iterator<Item = OsString>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> u8 {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(usage) => {
            // Help and version go to stdout with code 0, usage errors to stderr with code 2; a closed pipe is no news.
            drop(usage.print());
            return u8::try_from(usage.exit_code()).unwrap_or(2);
        }
    };
    let done = match &arguments.command {
        Command::Init(arguments) => init::run(arguments, out),
        Command::Study(arguments) => study::run(arguments, open, out, err),
        Command::Merge(arguments) => merge::run(arguments, open, out, err),
        Command::Probe(arguments) => probe::run(arguments, open, out, err),
        Command::Correlate(arguments) => correlate::run(arguments, open, out, err),
        Command::Cluster(arguments) => cluster::run(arguments, open, out, err),
        Command::Rank(arguments) => rank::run(arguments, out),
        Command::Sweep(arguments) => sweep::run(arguments, open, out, err),
        Command::Concepts(arguments) => concepts::run(arguments, out),
        Command::Compare(arguments) => compare::run(arguments, out),
        Command::Report(arguments) => report::run(arguments, out),
        Command::Inspect(arguments) => inspect::run(arguments, out),
        Command::Devices(arguments) => devices::run(arguments, out),
        Command::Bench(arguments) => bench::run(arguments, out, err),
        Command::Completions(arguments) => manual::completions(arguments, out),
        Command::Man(arguments) => manual::man(arguments, out),
    };
    match done {
        Ok(()) => DONE,
        // The reader of our stdout has seen enough (`neurosieve … | head`).
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::BrokenPipe => DONE,
        Err(error) => {
            let code = match error {
                Error::Interrupted { .. } => stopping::CODE,
                Error::Validation { .. } => INVALID,
                _ => FAILED,
            };
            // Nobody is left to tell when stderr is closed as well.
            drop(explain(&error, err));
            code
        }
    }
}

/// What is wrong with how a command is used; `None` where nothing is. The command is not run.
pub fn usage_error(arguments: impl Iterator<Item = OsString>) -> Option<String> {
    let parsed = Arguments::try_parse_from(arguments);
    parsed.err().map(|error| error.to_string())
}

/// The error, and below it each cause that its text does not already say.
fn explain(error: &Error, err: &mut dyn Write) -> std::io::Result<()> {
    let mut said = error.to_string();
    writeln!(err, "error: {said}")?;
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let text = inner.to_string();
        if !said.contains(&text) {
            writeln!(err, "  because: {text}")?;
            said = text;
        }
        cause = inner.source();
    }
    Ok(())
}

/// `--layers-units`: layers × units, such as 7x384.
fn parse_layers_units(text: &str) -> std::result::Result<(usize, usize), String> {
    layers_units(text).ok_or_else(|| "write 7x384 for 7 layers of 384 units".to_owned())
}

/// Writes to stdout.
fn say(out: &mut dyn Write, text: &str) -> Result<()> {
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|source| Error::io("write", Path::new("standard output"), source))
}

/// Writes to stdout what a command found: the document itself, or a summary for people.
fn answer(
    out: &mut dyn Write,
    document: &[u8],
    as_json: bool,
    summary: impl FnOnce(&mut String) -> std::fmt::Result,
) -> Result<()> {
    if as_json {
        return say(out, &String::from_utf8_lossy(document));
    }
    let mut text = String::new();
    summary(&mut text).expect("writing to a String cannot fail");
    say(out, &text)
}

/// Activations with labels in a file of their own, perhaps, which are those of the task where one is named.
fn part(activations: &Path, labels: Option<&PathBuf>, task: Option<&String>) -> PartFiles {
    let name = task.cloned().unwrap_or_else(|| "label".to_owned());
    PartFiles {
        activations: activations.to_owned(),
        labels: labels
            .map(|file| (name, file.clone()))
            .into_iter()
            .collect(),
        words: None,
    }
}

/// Writes a value to stdout as one JSON document.
fn say_json(out: &mut dyn Write, value: &impl serde::Serialize) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value)
        .map_err(|source| Error::io("write", Path::new("standard output"), source.into()))?;
    text.push('\n');
    say(out, &text)
}
