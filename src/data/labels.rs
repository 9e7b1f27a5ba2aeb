//! Label files: which reader takes them, by extension.

use std::path::Path;

use super::classes::LabelColumn;
use super::npy;
use super::text::{self, Words};
use crate::error::{Error, Result};

/// Reads the labels of one task from a file of their own.
///
/// `.label` is parallel text (one sentence a line), `.txt` one label a line, `.tsv` a table with a column `label` or
/// named as the task, `.npy` one-dimensional integers. `words`, where given (`.word`), must have as many words on each line as a `.label` file has labels.
///
/// # Errors
/// When the file cannot be read, its extension is unknown, or lines of words and labels differ in length.
pub fn read_labels(path: &Path, task: &str, words: Option<&Path>) -> Result<LabelColumn> {
    let words = words.map(text::read_words).transpose()?;
    Ok(read(path, task, words.as_ref())?.0)
}

/// Reads one number a sample from a file of its own: continuous labels, or weights of samples.
///
/// `.npy` is one-dimensional of any number type, `.txt` one number a line, `.tsv` a table with a column `label` or named
/// as the task, `.label` numbers separated by white space.
///
/// # Errors
/// When the file cannot be read, its extension is unknown, or something is not a finite number.
pub fn read_values(path: &Path, task: &str) -> Result<Vec<f64>> {
    let numbers = match super::extension(path).as_str() {
        "npy" => npy::read_numbers(path)?,
        _ => names(path, task, None)?
            .0
            .iter()
            .enumerate()
            .map(|(row, text)| {
                text.parse().map_err(|_| {
                    Error::file(
                        path,
                        format!("value {row}"),
                        format!("\"{}\" is not a number", super::shortened(text)),
                        "Write one number for every sample, such as 0.5 or 1e-3",
                    )
                })
            })
            .collect::<Result<_>>()?,
    };
    match numbers.iter().position(|value: &f64| !value.is_finite()) {
        None => Ok(numbers),
        Some(row) => Err(Error::file(
            path,
            format!("value {row}"),
            format!("it is {}", numbers[row]),
            "Every value must be a finite number: leave that sample out",
        )),
    }
}

/// The labels, and the words where the file has them as well.
pub(super) fn read(
    path: &Path,
    task: &str,
    words: Option<&Words>,
) -> Result<(LabelColumn, Option<Words>)> {
    if super::extension(path) == "npy" {
        return Ok((npy::read_labels(path)?, None));
    }
    let (names, own_words) = names(path, task, words)?;
    Ok((LabelColumn::spelled(path, names), own_words))
}

/// The label of every sample as it is spelled in a text.
fn names(path: &Path, task: &str, words: Option<&Words>) -> Result<(Vec<String>, Option<Words>)> {
    Ok(match super::extension(path).as_str() {
        "label" | "labels" => (text::read_parallel_labels(path, words)?, None),
        "txt" => (text::read_label_lines(path)?, None),
        "tsv" => text::read_label_table(path, task)?,
        other => {
            return Err(Error::file(
                path,
                "extension",
                format!("\".{other}\" is not a format of labels"),
                "Give .label (one sentence a line), .txt (one label a line), .tsv (token⇥label) or .npy (integers)",
            ));
        }
    })
}

/// Refuses labels that are not as many as the rows of `activations`.
pub(super) fn check_rows(
    labels: &Path,
    count: usize,
    task: &str,
    activations: &Path,
    samples: usize,
) -> Result<()> {
    if count == samples {
        return Ok(());
    }
    Err(Error::file(
        labels,
        format!("labels of task \"{task}\""),
        format!(
            "there are {count} labels for the {samples} rows of activations in {}",
            activations.display()
        ),
        "Give exactly one label for every row of activations, in the same order",
    ))
}
