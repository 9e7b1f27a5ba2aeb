//! `neurosieve report`: the report and the tables again, from `results.json`.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::output::OutputFolder;
use super::say;
use crate::data::read_text;
use crate::error::{Error, Result};
use crate::report;
use crate::study::results::StudyResults;

/// Rebuild report.html and tables/*.csv of a finished study from its results.json.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  neurosieve report out")]
pub(super) struct Arguments {
    /// The folder that `study` wrote
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<()> {
    let results = read(&arguments.folder.join("results.json"))?;
    let folder = OutputFolder::open(&arguments.folder)?;
    let mut said = String::new();
    for file in report::write(&results, folder.path())? {
        said.push_str(&format!("{}\n", file.display()));
    }
    say(out, &said)
}

/// Reads what a study found.
pub(super) fn read(path: &Path) -> Result<StudyResults> {
    let text = read_text(path)?;
    report::json::parse(&text).map_err(|error| match error {
        // Of several files the reader wants to know which.
        Error::Invalid { what, problem, fix } => Error::file(path, what, problem, fix),
        other => other,
    })
}
