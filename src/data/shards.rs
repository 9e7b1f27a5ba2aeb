//! A folder of shards: files of the same neurons, whose samples follow one another in the order of the files' names.
//!
//! Numbers in names count as numbers, so `part-2` comes before `part-10`. Every file that has the extension of a format of
//! activations is a shard (labels in `.npy` have to lie elsewhere); others (`.word`, `.label`, `.tsv`, notes) are passed
//! over, and hidden ones too.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::classes::{LabelColumn, joined};
use super::elements::Dtype;
use super::{Opened, ReadOptions, Source, extension};
use crate::activations::{Rows, Stored, rows_of};
use crate::error::{Error, Result};
use crate::split::Tokens;

const EXTENSIONS: [&str; 7] = ["safetensors", "npy", "npz", "hdf5", "h5", "json", "jsonl"];

/// Open shards.
#[derive(Debug)]
pub(super) struct Shards {
    sources: Vec<Source>,
    /// The first row of each, and behind them the number of all.
    starts: Vec<usize>,
}

pub(super) fn open(folder: &Path, options: &ReadOptions) -> Result<Opened<Shards>> {
    let files = files(folder)?;
    let mut sources: Vec<Source> = Vec::new();
    let mut starts = vec![0];
    for file in files {
        let source = super::open(&file, options)?;
        if let Some(first) = sources.first()
            && first.layers != source.layers
        {
            return Err(Error::file(
                &file,
                "header",
                format!(
                    "{} neurons in layers {:?}, but {} has {} in {:?}",
                    source.neurons,
                    source.layers.layers(),
                    first.path.display(),
                    first.neurons,
                    first.layers.layers()
                ),
                "The files of a folder are shards: other samples of the same neurons. Keep other files elsewhere",
            ));
        }
        starts.push(starts[starts.len() - 1] + source.samples);
        sources.push(source);
    }
    let first = &sources[0];
    // What is stored most precisely says what is stored.
    let dtype = sources.iter().map(|s| s.dtype).max_by_key(|d| d.bytes());
    Ok(Opened {
        samples: starts[sources.len()],
        neurons: first.neurons,
        dtype: dtype.unwrap_or(Dtype::F32),
        layers: first.layers.clone(),
        contents: Shards { sources, starts },
    })
}

/// The shards of a folder, in order; at least one.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let unreadable = |e| Error::io("read", folder, e);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_shard = EXTENSIONS.contains(&extension(&path).as_str()) && !name.starts_with('.');
        if is_shard && path.is_file() {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(Error::file(
            folder,
            "folder",
            "it holds no file of activations",
            "Give a folder of shards (.safetensors, .npy, .npz, .hdf5, .json) or one file",
        ));
    }
    let named = |part: &str| {
        let stem = |file: &PathBuf| file.file_stem().is_some_and(|stem| stem == part);
        files.iter().any(stem)
    };
    if named("train") && (named("dev") || named("test")) {
        return Err(Error::file(
            folder,
            "folder",
            "it holds train and dev or test: the parts of a data set, not shards of one matrix",
            "Give one of them",
        ));
    }
    files.sort_by_cached_key(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        (counted(&name), name.into_owned())
    });
    Ok(files)
}

/// A name as pieces that compare as people count: text, and the number after it.
fn counted(name: &str) -> Vec<(String, u128)> {
    let mut pieces = vec![(String::new(), String::new())];
    for letter in name.chars() {
        let last = pieces.len() - 1;
        if letter.is_ascii_digit() {
            pieces[last].1.push(letter);
        } else if pieces[last].1.is_empty() {
            pieces[last].0.push(letter);
        } else {
            pieces.push((letter.into(), String::new()));
        }
    }
    let number = |digits: String| digits.parse().unwrap_or(0);
    let pieces = pieces.into_iter();
    pieces
        .map(|(text, digits)| (text, number(digits)))
        .collect()
}

impl Shards {
    /// Bytes that its files were inflated to.
    pub fn inflated(&self) -> u64 {
        self.sources.iter().map(Source::inflated).sum()
    }

    /// Fills `out` with whole rows from `start` on; the caller has checked the range.
    pub fn read_rows(&self, start: usize, out: &mut [f32]) -> Result<()> {
        let sources = &self.sources;
        each(
            &self.starts,
            sources[0].neurons,
            start,
            out,
            |shard, from, out| sources[shard].read_rows(from, out),
        )
    }

    /// The shards as rows, each where it is.
    pub fn into_rows(self) -> Result<ShardRows> {
        let neurons = self.sources[0].neurons;
        let rows = self.sources.into_iter().map(Source::into_rows);
        Ok(ShardRows {
            rows: rows.collect::<Result<_>>()?,
            starts: self.starts,
            neurons,
        })
    }

    /// The tasks of the first shard that all have.
    pub fn tasks(&self) -> Result<Vec<String>> {
        let mut tasks = self.sources[0].task_names()?;
        for source in &self.sources[1..] {
            let theirs = source.task_names()?;
            tasks.retain(|task| theirs.contains(task));
        }
        Ok(tasks)
    }

    /// The labels of one task, shard after shard; `None` where one of them has none.
    pub fn labels(&self, task: &str) -> Result<Option<LabelColumn>> {
        let columns = self.sources.iter().map(|source| source.labels(task));
        let columns: Option<Vec<LabelColumn>> = columns.collect::<Result<_>>()?;
        columns.map(|columns| joined(task, columns)).transpose()
    }

    /// The words, shard after shard; `None` where one of them has none. A sentence ends where its shard does.
    pub fn tokens(&self) -> Result<Option<Tokens>> {
        let mut all = Tokens::default();
        for source in &self.sources {
            let Some(tokens) = source.tokens()? else {
                return Ok(None);
            };
            let (first, next) = match (tokens.sentences.first(), all.sentences.last()) {
                (Some(first), Some(last)) => (*first, last.saturating_add(1)),
                _ => (0, 0),
            };
            for (row, &sentence) in tokens.sentences.iter().enumerate() {
                let number = (sentence - first).checked_add(next);
                all.sentences
                    .push(number.ok_or_else(|| too_many(&source.path, row, sentence))?);
            }
            all.words.extend(tokens.words);
        }
        Ok(Some(all))
    }
}

fn too_many(path: &Path, row: usize, sentence: u32) -> Error {
    Error::file(
        path,
        format!("row {row}"),
        format!("sentence {sentence}, after those of the shards before it, is beyond 4294967295"),
        "Number the sentences of each shard from 0, without gaps",
    )
}

/// The rows of shards, one after the other.
#[derive(Debug)]
pub(super) struct ShardRows {
    rows: Vec<Arc<dyn Rows>>,
    starts: Vec<usize>,
    neurons: usize,
}

impl Rows for ShardRows {
    fn shape(&self) -> (usize, usize) {
        (self.starts[self.rows.len()], self.neurons)
    }

    fn read_rows(&self, start: usize, out: &mut [f32]) -> Result<()> {
        rows_of(self.shape(), start, out.len())?;
        each(
            &self.starts,
            self.neurons,
            start,
            out,
            |shard, from, out| self.rows[shard].read_rows(from, out),
        )
    }

    fn stored(&self) -> Stored {
        let first = self.rows[0].stored();
        let same = self.rows.iter().all(|rows| rows.stored() == first);
        if same { first } else { Stored::F32 }
    }

    fn read_bits(&self, start: usize, out: &mut [u16]) -> Result<()> {
        super::in_bits(self.stored())?;
        rows_of(self.shape(), start, out.len())?;
        each(
            &self.starts,
            self.neurons,
            start,
            out,
            |shard, from, out| self.rows[shard].read_bits(from, out),
        )
    }
}

/// Hands out the pieces of `out` by shard, with the row of the shard that each begins with.
fn each<T>(
    starts: &[usize],
    neurons: usize,
    start: usize,
    out: &mut [T],
    read: impl Fn(usize, usize, &mut [T]) -> Result<()>,
) -> Result<()> {
    let (mut at, mut rest) = (start, out);
    let mut shard = starts.partition_point(|first| *first <= start) - 1;
    while !rest.is_empty() {
        let rows = (rest.len() / neurons).min(starts[shard + 1] - at);
        let (piece, after) = rest.split_at_mut(rows * neurons);
        read(shard, at - starts[shard], piece)?;
        rest = after;
        at += rows;
        shard += 1;
    }
    Ok(())
}
