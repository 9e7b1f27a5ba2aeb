//! `neurosieve report`: the report and the tables again, from `results.json`.

use std::io::Write;
use std::path::PathBuf;

use super::output::OutputFolder;
use super::say;
use crate::error::{Error, Result};
use crate::report;

/// Rebuild report.html and tables/*.csv of a finished study from its results.json.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The folder that `study` wrote
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<()> {
    let path = arguments.folder.join("results.json");
    let text = std::fs::read_to_string(&path).map_err(|source| Error::io("read", &path, source))?;
    let results = report::json::parse(&text)?;
    let folder = OutputFolder::open(&arguments.folder)?;
    let mut said = String::new();
    for file in report::write(&results, folder.path())? {
        said.push_str(&format!("{}\n", file.display()));
    }
    say(out, &said)
}
