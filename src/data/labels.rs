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

/// The labels, and the words where the file has them as well.
pub(super) fn read(
    path: &Path,
    task: &str,
    words: Option<&Words>,
) -> Result<(LabelColumn, Option<Words>)> {
    let (names, own_words) = match super::extension(path).as_str() {
        "npy" => return Ok((npy::read_labels(path)?, None)),
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
    };
    Ok((LabelColumn::spelled(path, names), own_words))
}

/// Refuses labels that are not as many as the rows of `activations`.
pub(super) fn check_rows(
    labels: &LabelColumn,
    task: &str,
    activations: &Path,
    samples: usize,
) -> Result<()> {
    if labels.ids.len() == samples {
        return Ok(());
    }
    Err(Error::file(
        &labels.path,
        format!("labels of task \"{task}\""),
        format!(
            "there are {} labels for the {samples} rows of activations in {}",
            labels.ids.len(),
            activations.display()
        ),
        "Give exactly one label for every row of activations, in the same order",
    ))
}
