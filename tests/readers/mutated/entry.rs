//! What reading a file touches, by kind of file: for the mutated inputs here and for the fuzz targets in `fuzz/`, which
//! include this file.

use std::path::Path;

use neurosieve::data::{self, ReadOptions};
use neurosieve::error::{Error, Result};
use neurosieve::report;
use neurosieve::study::{Spec, units};

/// Neurons of the data that masks and units are of.
pub const NEURONS: usize = 6;

/// Activations of any format: header, labels inside, words beside, statistics, values.
pub fn activations(path: &Path) -> Result<()> {
    let source = data::open(path, &ReadOptions::default())?;
    for task in source.task_names()? {
        source.labels(&task)?;
    }
    source.tokens()?;
    data::inspect(&source, &[])?;
    source.activations().map(drop)
}

/// Labels in a file of their own, as classes and as values.
pub fn labels(path: &Path) -> Result<()> {
    let classes = data::read_labels(path, "colour", None).map(drop);
    let values = data::read_values(path, "colour").map(drop);
    // Names are no values, and numbers with a fraction no classes.
    classes.or(values)
}

/// Masks, each resolved.
pub fn masks(path: &Path) -> Result<()> {
    let file = data::read_masks(path)?;
    (0..file.len()).try_for_each(|mask| file.kept(mask, NEURONS).map(drop))
}

/// Orderings.
pub fn rankings(path: &Path) -> Result<()> {
    data::read_rankings(path).map(drop)
}

/// A probe.
pub fn probe(path: &Path) -> Result<()> {
    data::read_probe(path).map(drop)
}

/// The specification of a study.
pub fn specification(path: &Path) -> Result<()> {
    Spec::read(path).map(drop)
}

/// Results of a study: what `neurosieve report` makes of them.
pub fn results(path: &Path) -> Result<()> {
    let results = report::json::parse(&data::read_text(path)?)?;
    report::html::render(&results)?;
    report::csv::tables(&results).map(drop)
}

/// A unit of a run; one that is not whole is computed again.
pub fn unit(path: &Path) -> Result<()> {
    let bytes = std::fs::read(path).map_err(|e| Error::io("read", path, e))?;
    match units::fits_of(&bytes, NEURONS) {
        Some(_) => Ok(()),
        None => Err(Error::file(
            path,
            "unit",
            "it is not whole",
            "It is computed again",
        )),
    }
}
