//! Words and labels as text.
//!
//! - NeuroX pair `.word` + `.label`: one sentence a line, tokens separated by white space (U+2423 stands for white space
//!   inside a token); one word a line is the special case of one-word sentences.
//! - `.tsv`: `token⇥label`, a blank line between sentences; or with a header that names columns `token`, `label` (or a
//!   task), `sentence`. Quotes are ordinary characters.
//! - `.txt`: one label a line, the whole line.

use std::path::{Path, PathBuf};

use super::mapped;
use crate::error::{Error, Result};
use crate::split::Tokens;

/// Words of one file, with what is needed to say where a disagreement is.
#[derive(Debug)]
pub(super) struct Words {
    path: PathBuf,
    words: Vec<String>,
    /// Sentence of each word.
    sentences: Vec<u32>,
    /// Words on each line of a parallel text; empty for a table.
    line_lengths: Vec<usize>,
}

impl Words {
    /// Refuses words that are not as many as the rows of `activations`.
    pub fn check_rows(&self, activations: &Path, samples: usize) -> Result<()> {
        if self.words.len() == samples {
            return Ok(());
        }
        Err(Error::file(
            &self.path,
            "words",
            format!(
                "there are {} words for the {samples} rows of activations in {}",
                self.words.len(),
                activations.display()
            ),
            "Give exactly one word for every row of activations, in the same order",
        ))
    }

    /// Refuses words whose sentences do not start where those of the activations do: the two are out of step.
    pub fn check_sentences(&self, activations: &Path, sentences: &[u32]) -> Result<()> {
        let starts = |s: &[u32], row: usize| row == 0 || s[row - 1] != s[row];
        let out_of_step = (0..self.sentences.len().min(sentences.len()))
            .find(|&row| starts(&self.sentences, row) != starts(sentences, row));
        match out_of_step {
            None => Ok(()),
            Some(row) => Err(Error::file(
                &self.path,
                format!("word {row}, \"{}\"", super::shortened(&self.words[row])),
                if starts(&self.sentences, row) {
                    format!(
                        "a sentence starts here, but not at row {row} of {}",
                        activations.display()
                    )
                } else {
                    format!(
                        "no sentence starts here, but sentence {} does at row {row} of {}",
                        sentences[row],
                        activations.display()
                    )
                },
                "Words and activations must come from the same sentences in the same order",
            )),
        }
    }

    /// Numbers the sentences from 0, without gaps.
    pub fn into_tokens(self) -> Tokens {
        Tokens {
            words: self.words,
            sentences: self.sentences,
        }
    }
}

/// The file of words beside a file of activations: `<stem>.tokens.tsv` before `<stem>.word`, where `<stem>` is the name
/// without extension and without a trailing `.activations` or `-layer<k>`.
pub(super) fn words_beside(activations: &Path) -> Option<PathBuf> {
    let stem = activations.file_stem()?.to_str()?;
    let stem = stem.strip_suffix(".activations").unwrap_or(stem);
    let stem = super::decomposed_layer(activations).map_or(stem, |(stem, _)| stem);
    ["tokens.tsv", "word"]
        .into_iter()
        .map(|extension| activations.with_file_name(format!("{stem}.{extension}")))
        .find(|path| path.is_file())
}

/// Reads words: a table when the extension is `.tsv`, else parallel text.
pub(super) fn read_words(path: &Path) -> Result<Words> {
    if super::extension(path) == "tsv" {
        let table = Table::read(path)?;
        let words = table.column(&["token", "word"]).ok_or_else(|| {
            table.error(
                "line 1",
                "no column is named \"token\"",
                "Name the column of words \"token\" in the first line, or give token⇥label lines without a header",
            )
        })?;
        let sentences = table.sentences()?;
        return Ok(Words {
            path: path.to_owned(),
            words,
            sentences,
            line_lengths: Vec::new(),
        });
    }
    let text = mapped::read_text(path)?;
    let mut words = Words {
        path: path.to_owned(),
        words: Vec::new(),
        sentences: Vec::new(),
        line_lengths: Vec::new(),
    };
    let mut sentence = 0;
    for line in lines(&text) {
        let before = words.words.len();
        words.words.extend(split(line).map(str::to_owned));
        let length = words.words.len() - before;
        words.line_lengths.push(length);
        if length > 0 {
            words
                .sentences
                .extend(std::iter::repeat_n(sentence, length));
            sentence += 1;
        }
    }
    Ok(words)
}

/// One label for every token of a parallel text; `words`, where given, must have as many on each line.
pub(super) fn read_parallel_labels(path: &Path, words: Option<&Words>) -> Result<Vec<String>> {
    let text = mapped::read_text(path)?;
    let words = words.filter(|words| !words.line_lengths.is_empty());
    let mut labels = Vec::new();
    let mut count = 0;
    for (number, line) in lines(&text).enumerate() {
        let before = labels.len();
        labels.extend(split(line).map(str::to_owned));
        let length = labels.len() - before;
        count = number + 1;
        if let Some(words) = words {
            let expected = words.line_lengths.get(number).copied().unwrap_or(0);
            if length != expected {
                return Err(Error::file(
                    path,
                    format!("line {count}"),
                    format!(
                        "it has {length} labels, line {count} of {} has {expected} words",
                        words.path.display()
                    ),
                    "Give one label for every word, separated by single spaces (write U+2423 for white space inside a word)",
                ));
            }
        }
    }
    if let Some(words) = words
        && let Some((line, length)) = words
            .line_lengths
            .iter()
            .enumerate()
            .skip(count)
            .find(|(_, length)| **length > 0)
    {
        return Err(Error::file(
            path,
            format!("line {}", line + 1),
            format!(
                "the file ends after {count} lines, line {} of {} has {length} words",
                line + 1,
                words.path.display()
            ),
            "Give a line of labels for every line of words",
        ));
    }
    Ok(labels)
}

/// One label a line, the whole line without surrounding white space.
pub(super) fn read_label_lines(path: &Path) -> Result<Vec<String>> {
    let text = mapped::read_text(path)?;
    lines(&text)
        .enumerate()
        .map(|(number, line)| match line.trim() {
            "" => Err(Error::file(
                path,
                format!("line {}", number + 1),
                "it is empty",
                "A .txt file of labels has one label on every line; parallel text is named .label",
            )),
            label => Ok(label.to_owned()),
        })
        .collect()
}

/// The column of labels of a table, and its words where it has them.
pub(super) fn read_label_table(path: &Path, task: &str) -> Result<(Vec<String>, Option<Words>)> {
    let table = Table::read(path)?;
    let labels = table.column(&[task, "label"]).ok_or_else(|| {
        table.error(
            "line 1",
            &format!("no column is named \"label\" or \"{task}\""),
            "Name the column of labels in the first line, or give token⇥label lines without a header",
        )
    })?;
    let words = match table.column(&["token", "word"]) {
        Some(words) => Some(Words {
            path: path.to_owned(),
            words,
            sentences: table.sentences()?,
            line_lengths: Vec::new(),
        }),
        None => None,
    };
    Ok((labels, words))
}

/// Lines without their ends; a byte-order mark and a last line without an end are accepted.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.strip_prefix('\u{feff}').unwrap_or(text).lines()
}

/// Tokens of a line as NeuroX splits it.
fn split(line: &str) -> impl Iterator<Item = &str> {
    line.split_whitespace()
}

/// A tab-separated table whose cells are taken as they are.
#[derive(Debug)]
struct Table {
    path: PathBuf,
    header: Vec<String>,
    /// Line number (from 1), sentence by blank lines, cells.
    rows: Vec<(usize, u32, Vec<String>)>,
}

impl Table {
    /// The first line is a header when one of its cells is `token` or `word`; otherwise the first column holds the words
    /// and the last the labels.
    fn read(path: &Path) -> Result<Self> {
        let text = mapped::read_text(path)?;
        let mut table = Self {
            path: path.to_owned(),
            header: Vec::new(),
            rows: Vec::new(),
        };
        let mut sentence = 0;
        for (number, line) in lines(&text).enumerate() {
            let line_number = number + 1;
            if line.trim().is_empty() {
                if table.rows.last().is_some_and(|(_, s, _)| *s == sentence) {
                    sentence += 1;
                }
                continue;
            }
            // At tabs alone: a parser of tables drops a byte-order mark, and ends a line at a lone carriage return.
            let cells: Vec<String> = line.split('\t').map(str::to_owned).collect();
            if table.header.is_empty() {
                let named = cells.iter().any(|cell| cell == "token" || cell == "word");
                if named {
                    table.header = cells;
                    continue;
                }
                table.header = vec![String::new(); cells.len()];
                table.header[0] = "token".to_owned();
                if cells.len() > 1 {
                    table.header[cells.len() - 1] = "label".to_owned();
                }
            }
            if cells.len() != table.header.len() {
                return Err(table.error(
                    &format!("line {line_number}"),
                    &format!(
                        "it has {} columns, the first line has {}",
                        cells.len(),
                        table.header.len()
                    ),
                    "Separate columns by one tab, and write U+2423 for a tab inside a word",
                ));
            }
            table.rows.push((line_number, sentence, cells));
        }
        Ok(table)
    }

    /// The first of the named columns that there is.
    fn column(&self, names: &[&str]) -> Option<Vec<String>> {
        let at = names
            .iter()
            .find_map(|name| self.header.iter().position(|cell| cell == name))?;
        Some(
            self.rows
                .iter()
                .map(|(_, _, cells)| cells[at].clone())
                .collect(),
        )
    }

    /// The sentence of every row: the column `sentence` where there is one, else by blank lines.
    fn sentences(&self) -> Result<Vec<u32>> {
        let Some(at) = self.header.iter().position(|cell| cell == "sentence") else {
            return Ok(self.rows.iter().map(|(_, sentence, _)| *sentence).collect());
        };
        let mut sentences: Vec<u32> = Vec::with_capacity(self.rows.len());
        for (line, _, cells) in &self.rows {
            match cells[at].parse() {
                Ok(number) if sentences.last().is_none_or(|last| *last <= number) => {
                    sentences.push(number);
                }
                _ => {
                    return Err(self.error(
                        &format!("line {line}"),
                        &format!("the sentence is \"{}\"", super::shortened(&cells[at])),
                        "Sentence numbers are whole, not negative, and never go down",
                    ));
                }
            }
        }
        Ok(sentences)
    }

    fn error(&self, place: &str, problem: &str, fix: &str) -> Error {
        Error::file(&self.path, place, problem, fix)
    }
}
