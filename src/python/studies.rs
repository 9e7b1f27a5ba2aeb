//! Whole studies, and the command line.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pyo3::prelude::*;

use super::device::Device;
use super::error::to_python;
use super::work::{self, Watch};
use crate::error::{Error, Result};
use crate::study::{self, Spec};
use crate::{cli, report as reports};

/// Runs a study from a file (`path`) or from a specification as JSON (`text`); returns `results.json`.
#[pyfunction]
#[pyo3(signature = (device, path, text, progress))]
pub(super) fn run_study<'py>(
    device: &Bound<'py, Device>,
    py: Python<'py>,
    path: Option<PathBuf>,
    text: Option<String>,
    progress: Option<Bound<'py, PyAny>>,
) -> PyResult<String> {
    let (backend, used) = (device.get().backend.clone(), device.get().used.clone());
    let watch = Arc::new(Watch::default());
    let inside = watch.clone();
    work::run(py, &watch, progress.as_ref(), move || {
        let spec = match (path, text) {
            (Some(path), _) => Spec::read(&path)?,
            (None, text) => specification(&text.unwrap_or_default())?,
        };
        let mut heard = |told: &study::Progress<'_>| {
            let done = (told.number as f64 - 1.0 + told.fraction) / told.of as f64;
            inside.reach(told.step, done);
        };
        let results = study::run(&spec, &backend, used, &mut heard)?;
        let mut document = Vec::new();
        reports::json::write(&results, &mut document)?;
        Ok(String::from_utf8_lossy(&document).into_owned())
    })
}

/// A specification that was written as JSON: the keys are those of the TOML file.
fn specification(json: &str) -> Result<Spec> {
    let refused = |problem: String| {
        let fix = "Give the keys of a specification file; None stands for a key that is not given";
        Error::invalid("specification", problem, fix)
    };
    let value: serde_json::Value =
        serde_json::from_str(json).map_err(|error| refused(error.to_string()))?;
    let text = toml::to_string(&value).map_err(|error| refused(error.to_string()))?;
    Spec::parse(&text, Path::new("specification"))
}

/// The HTML report of `results.json`.
#[pyfunction]
pub(super) fn report(py: Python<'_>, results: &str) -> PyResult<String> {
    py.detach(|| reports::html::render(&reports::json::parse(results)?))
        .map_err(|error| to_python(py, &error))
}

/// Writes report and tables of `results.json` into a folder; returns the files, the report first.
#[pyfunction]
pub(super) fn write(py: Python<'_>, results: &str, folder: PathBuf) -> PyResult<Vec<PathBuf>> {
    py.detach(|| reports::write(&reports::json::parse(results)?, &folder))
        .map_err(|error| to_python(py, &error))
}

/// The command line: its exit code.
#[pyfunction]
pub(super) fn command(py: Python<'_>, arguments: Vec<OsString>) -> u8 {
    py.detach(|| {
        let (mut out, mut err) = (std::io::stdout().lock(), std::io::stderr());
        cli::main(arguments.into_iter(), &mut out, &mut err)
    })
}
