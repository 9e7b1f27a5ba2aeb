//! `results.json`: all that a study found; and the documents of the other commands.

use std::io::Write;

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::study::results::{SCHEMA_VERSION, StudyResults};

/// The only field that every version of the layout has.
#[derive(Deserialize)]
struct Header {
    schema_version: Option<u32>,
}

/// Writes the results as one JSON document, ending in a line feed.
///
/// # Errors
/// When a figure is not finite (JSON has no such number, the document could not be read again), or `out` cannot be
/// written.
pub fn write(results: &StudyResults, out: &mut dyn Write) -> Result<()> {
    let text = serde_json::to_string(results)
        .map_err(|e| Error::invalid("results", e.to_string(), "This is a bug: report it"))?;
    // serde_json writes NaN and ∞ as null; better to say so now than when the report is rebuilt.
    parse(&text)?;
    writeln!(out, "{text}").map_err(|e| Error::io("write", "results.json".as_ref(), e))
}

/// Reads the results back from the text of `results.json`.
///
/// # Errors
/// When the text is not JSON, its `schema_version` is not [`SCHEMA_VERSION`], or a field is missing or of another kind;
/// the message has the line and column.
pub fn parse(text: &str) -> Result<StudyResults> {
    let broken = |e: serde_json::Error| {
        Error::invalid(
            "results.json",
            e.to_string(),
            "Give the unchanged results.json of a finished study, or run the study again",
        )
    };
    let header: Header = serde_json::from_str(text).map_err(broken)?;
    match header.schema_version {
        Some(SCHEMA_VERSION) => serde_json::from_str(text).map_err(broken),
        Some(other) => Err(Error::invalid(
            "results.json",
            format!("schema_version is {other}, this neurosieve reads {SCHEMA_VERSION}"),
            "Use the neurosieve that ran the study, or run the study again",
        )),
        None => Err(Error::invalid(
            "results.json",
            format!("there is no schema_version (expected {SCHEMA_VERSION})"),
            "Give the results.json that `neurosieve study` wrote",
        )),
    }
}

/// As [`document`], on one line: for documents of long lists of numbers.
///
/// # Errors
/// When it cannot be written.
pub fn compact(results: &impl serde::Serialize) -> Result<Vec<u8>> {
    let mut text = serde_json::to_vec(results).map_err(unwritten)?;
    text.push(b'\n');
    Ok(text)
}

fn unwritten(error: serde_json::Error) -> Error {
    Error::invalid(
        "JSON document",
        error.to_string(),
        "This is a bug: report it",
    )
}

/// The document of any other command, ending in a line feed.
///
/// # Errors
/// When it cannot be written.
pub fn document(results: &impl serde::Serialize) -> Result<Vec<u8>> {
    let mut text = serde_json::to_vec_pretty(results).map_err(unwritten)?;
    text.push(b'\n');
    Ok(text)
}
