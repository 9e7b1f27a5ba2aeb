//! Results to text: one format per file.
//!
//! | module | makes |
//! |---|---|
//! | [`json`] | `results.json`, and reads it back: the one source of everything else here; documents of other commands |
//! | [`csv`] | `tables/*.csv`, in long form: one row a figure, one file a kind of figure |
//! | [`html`] | `report.html`, and `compare.html` of `neurosieve compare`: each one file that needs nothing beside it |
//! | [`probe`] | the weights of one probe (`neurosieve probe`) |
//! | [`matrix`], [`pairs`] | correlations as matrices, edges and partners (`neurosieve correlate`, `cluster`) |
//! | [`chart`] | the drawings of `report.html`, as SVG |
//! | [`mod@bench`] | measurements as aligned text and as Markdown (`neurosieve bench`) |
//! | [`mod@format`] | numbers as people read them |
//!
//! Nothing here computes a result: what a report shows is in [`StudyResults`], so a report can be rebuilt from
//! `results.json` alone.

pub mod bench;
pub mod chart;
pub mod csv;
pub mod format;
pub mod html;
pub mod json;
pub mod matrix;
pub mod pairs;
pub mod probe;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::study::results::StudyResults;

/// Writes `report.html` and `tables/*.csv` into `folder`, which is made if it is absent; returns the files, the report
/// first.
///
/// Each file is written beside its place and then renamed, so a reader never meets half a file.
///
/// # Errors
/// When a folder or file cannot be written.
pub fn write(results: &StudyResults, folder: &Path) -> Result<Vec<PathBuf>> {
    let tables = folder.join("tables");
    fs::create_dir_all(&tables).map_err(|e| Error::io("create", &tables, e))?;
    let report = folder.join("report.html");
    replace(&report, html::render(results)?.as_bytes())?;
    let mut written = vec![report];
    for (name, bytes) in csv::tables(results)? {
        let path = tables.join(name);
        replace(&path, &bytes)?;
        written.push(path);
    }
    Ok(written)
}

fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let beside = path.with_extension("partial");
    let attempt = || -> std::io::Result<()> {
        let mut file = fs::File::create(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    attempt().map_err(|e| Error::io("write", path, e))
}
