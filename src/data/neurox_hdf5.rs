//! NeuroX HDF5: one data set (layers, tokens, units) for each sentence, named by a decimal number.
//!
//! `sentence_to_index` holds a JSON object sentence → number; NeuroX, and so we, take the sentences in the *insertion
//! order* of that object, which is the order of its label files and need not be that of the numbers. A file without it is
//! read in the order of the numbers. A repeated sentence carries ` (Occurrence k)`. Neuron = layer · units + unit. A file
//! `<stem>-layer<k>.hdf5` holds layer k alone.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use rust_hdf5::{DatatypeMessage, H5Dataset, H5File, H5FileOptions, StorageLayout};
use serde_json::Value;

use super::elements::Dtype;
use super::layers;
use super::mapped;
use super::sentences::{LastSentence, SentenceRows};
use super::{Opened, ReadOptions};
use crate::activations::LayerMap;
use crate::error::{Error, Result};

const INDEX: &str = "sentence_to_index";
/// No filter that is read (DEFLATE, LZF, shuffle) inflates by more than DEFLATE does.
const MOST_INFLATION: u64 = 1032;

/// An open NeuroX file.
pub(super) struct SentenceFile {
    path: PathBuf,
    file: H5File,
    /// Data sets in the order of the sentences.
    names: Vec<String>,
    /// The sentences' text where the file has it.
    texts: Option<Vec<String>>,
    rows: SentenceRows,
    last: LastSentence,
    shape: Shape,
}

/// What all data sets of a file have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape {
    layers: usize,
    units: usize,
    dtype: Dtype,
}

impl std::fmt::Debug for SentenceFile {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("SentenceFile")
            .field("path", &self.path)
            .field("sentences", &self.names.len())
            .field("shape", &self.shape)
            .finish_non_exhaustive()
    }
}

pub(super) fn open(path: &Path, options: &ReadOptions) -> Result<Opened<SentenceFile>> {
    let regular = mapped::open_regular(path)?;
    let length = regular
        .metadata()
        .map_err(|e| Error::io("read", path, e))?
        .len();
    let file = H5FileOptions::new()
        .best_effort_locking()
        .open(path)
        .map_err(|e| {
            Error::file(
                path,
                "HDF5 file header",
                e.to_string(),
                "This is not a complete HDF5 file: copy or dump it again",
            )
        })?;
    let (names, texts) = order(path, &file, length)?;
    let (shape, rows) = common_shape(path, &file, &names, length)?;
    let neurons = shape.layers.saturating_mul(shape.units);
    layers::check_shape(path, rows.total(), neurons)?;
    Ok(Opened {
        samples: rows.total(),
        neurons,
        dtype: shape.dtype,
        layers: layer_map(path, shape, options)?,
        contents: SentenceFile {
            path: path.to_owned(),
            file,
            names,
            texts,
            rows,
            last: LastSentence::default(),
            shape,
        },
    })
}

/// The shape that all sentences have in common, and the rows of each.
fn common_shape(
    path: &Path,
    file: &H5File,
    names: &[String],
    length: u64,
) -> Result<(Shape, SentenceRows)> {
    let mut budget = Budget::new(length);
    let mut tokens = Vec::with_capacity(names.len());
    let mut common: Option<(Shape, &str)> = None;
    for name in names {
        let (shape, count) = describe(path, file, name, &mut budget)?;
        let (first, first_name) = *common.get_or_insert((shape, name));
        if first != shape {
            return Err(Error::file(
                path,
                place(name),
                format!(
                    "{} layers of {} units in {}, but data set \"{first_name}\" has {} of {} in {}",
                    shape.layers, shape.units, shape.dtype, first.layers, first.units, first.dtype
                ),
                "Dump all sentences with the same model and settings",
            ));
        }
        tokens.push(count);
    }
    let Some((shape, _)) = common else {
        return Err(Error::file(
            path,
            "root group",
            "there is no data set of activations",
            "A NeuroX file holds one data set (layers, tokens, units) for each sentence, named \"0\", \"1\", …",
        ));
    };
    let rows = SentenceRows::new(tokens).ok_or_else(|| budget.exceeded(path, "root group"))?;
    Ok((shape, rows))
}

fn place(name: &str) -> String {
    format!("data set \"{}\"", super::shortened(name))
}

fn unreadable(path: &Path, name: &str, error: impl std::fmt::Display) -> Error {
    Error::file(
        path,
        place(name),
        error.to_string(),
        "The file is damaged, or uses a filter that is not read: rewrite it with h5py, uncompressed or with gzip",
    )
}

fn layer_map(path: &Path, shape: Shape, options: &ReadOptions) -> Result<LayerMap> {
    let map = layers::shaped(path, shape.layers, shape.units, options)?;
    match super::decomposed_layer(path) {
        Some((_, layer)) if shape.layers == 1 => LayerMap::new(
            vec![layer; shape.units],
            (0..shape.units).map(|unit| map.unit(unit)).collect(),
        ),
        _ => Ok(map),
    }
}

/// Names of the data sets in the order of the sentences, and the sentences.
fn order(path: &Path, file: &H5File, length: u64) -> Result<(Vec<String>, Option<Vec<String>>)> {
    let mut names = file.dataset_names();
    let Some(at) = names.iter().position(|name| name == INDEX) else {
        return Ok((by_number(path, names)?, None));
    };
    names.swap_remove(at);
    let names: HashSet<String> = names.into_iter().collect();
    let text = index_text(path, file, length)?;
    let error = |problem: String| {
        Error::file(
            path,
            place(INDEX),
            problem,
            "It must hold a JSON object that maps every sentence to the name of its data set: dump the file again",
        )
    };
    let Value::Object(index) = serde_json::from_str(&text).map_err(|e| error(e.to_string()))?
    else {
        return Err(error(format!(
            "it holds {:?}, not an object",
            super::shortened(&text)
        )));
    };
    let mut ordered = Vec::with_capacity(index.len());
    let mut texts = Vec::with_capacity(index.len());
    let mut seen = HashSet::new();
    for (sentence, value) in index {
        let name = match value {
            Value::String(name) => name,
            other => other.to_string(),
        };
        if !names.contains(&name) {
            return Err(error(format!(
                "sentence {} is said to be data set \"{}\", which does not exist",
                texts.len(),
                super::shortened(&name)
            )));
        }
        if !seen.insert(name.clone()) {
            return Err(error(format!("two sentences are data set \"{name}\"")));
        }
        ordered.push(name);
        texts.push(sentence);
    }
    if ordered.len() != names.len() {
        return Err(error(format!(
            "it names {} sentences, the file holds {} data sets",
            ordered.len(),
            names.len()
        )));
    }
    Ok((ordered, Some(texts)))
}

/// The JSON text of `sentence_to_index`: one string.
fn index_text(path: &Path, file: &H5File, length: u64) -> Result<String> {
    let dataset = file
        .dataset(INDEX)
        .map_err(|e| unreadable(path, INDEX, e))?;
    let stored = (dataset.element_size() as u64).saturating_mul(elements(&dataset.shape()));
    if elements(&dataset.shape()) != 1 || stored > length {
        return Err(unreadable(
            path,
            INDEX,
            format!("its shape is {:?}, for one string", dataset.shape()),
        ));
    }
    check_storage(path, INDEX, &dataset, length)?;
    let mut strings = dataset
        .read_strings()
        .map_err(|e| unreadable(path, INDEX, e))?;
    match strings.pop() {
        Some(text) if strings.is_empty() => Ok(text),
        _ => Err(unreadable(path, INDEX, "it holds no string")),
    }
}

fn elements(shape: &[usize]) -> u64 {
    shape.iter().fold(1u64, |product, &extent| {
        product.saturating_mul(extent as u64)
    })
}

fn by_number(path: &Path, names: Vec<String>) -> Result<Vec<String>> {
    let mut numbered = names
        .into_iter()
        .map(|name| match name.parse::<u64>() {
            Ok(number) => Ok((number, name)),
            Err(_) => Err(Error::file(
                path,
                place(&name),
                "its name is not a number, and the file has no \"sentence_to_index\"",
                "A NeuroX file holds one data set (layers, tokens, units) for each sentence, named \"0\", \"1\", …",
            )),
        })
        .collect::<Result<Vec<_>>>()?;
    numbered.sort_unstable();
    Ok(numbered.into_iter().map(|(_, name)| name).collect())
}

/// How many bytes of elements a file of a given length can hold.
struct Budget {
    length: u64,
    used: u64,
    compressed: bool,
}

impl Budget {
    fn new(length: u64) -> Self {
        Self {
            length,
            used: 0,
            compressed: false,
        }
    }

    /// Counts a data set; false when all of them together cannot be in the file.
    fn take(&mut self, bytes: u64, chunked: bool) -> bool {
        self.used = self.used.saturating_add(bytes);
        self.compressed |= chunked;
        let most = if self.compressed { MOST_INFLATION } else { 1 };
        self.used <= self.length.saturating_mul(most)
    }

    fn exceeded(&self, path: &Path, place: impl Into<String>) -> Error {
        Error::file(
            path,
            place,
            format!(
                "up to here the data sets claim {} bytes, more than a file of {} bytes can hold",
                self.used, self.length
            ),
            "The file is damaged: copy or dump it again",
        )
    }
}

/// Shape and number of tokens of one sentence.
fn describe(path: &Path, file: &H5File, name: &str, budget: &mut Budget) -> Result<(Shape, usize)> {
    let dataset = file.dataset(name).map_err(|e| unreadable(path, name, e))?;
    let extents = dataset.shape();
    let &[layers, tokens, units] = extents.as_slice() else {
        return Err(Error::file(
            path,
            place(name),
            format!("its shape is {extents:?}"),
            "Each sentence is an array of three dimensions: (layers, tokens, units)",
        ));
    };
    let dtype = match dataset.datatype().map_err(|e| unreadable(path, name, e))? {
        // A half that is not IEEE binary16 is refused when it is read.
        DatatypeMessage::FloatingPoint { size: 2, .. } => Dtype::F16,
        DatatypeMessage::FloatingPoint { size: 4, .. } => Dtype::F32,
        DatatypeMessage::FloatingPoint { size: 8, .. } => Dtype::F64,
        // The library's own words for a type can overflow where it is damaged.
        _ => {
            return Err(Error::file(
                path,
                place(name),
                "its elements are no floating-point numbers of 2, 4 or 8 bytes",
                "Store activations as float16, float32 or float64",
            ));
        }
    };
    let chunked = check_storage(path, name, &dataset, budget.length)?;
    let bytes = elements(&extents).saturating_mul(dtype.bytes() as u64);
    if !budget.take(bytes, chunked) {
        return Err(budget.exceeded(path, place(name)));
    }
    let shape = Shape {
        layers,
        units,
        dtype,
    };
    Ok((shape, tokens))
}

/// Refuses data that lie in other files, and chunks larger than such a file can hold, for which memory would be made; says whether the
/// data are in chunks, which may be compressed.
fn check_storage(path: &Path, name: &str, dataset: &H5Dataset, length: u64) -> Result<bool> {
    let layout = dataset
        .storage_layout()
        .map_err(|e| unreadable(path, name, e))?;
    let external = dataset
        .external_files()
        .map_err(|e| unreadable(path, name, e))?;
    if layout == StorageLayout::Virtual || !external.is_empty() {
        return Err(Error::file(
            path,
            place(name),
            "its values lie in other files (virtual or external storage)",
            "Copy the data set into this file",
        ));
    }
    let extents = dataset.chunk_dims().unwrap_or_default();
    let chunk = elements(&extents).saturating_mul(dataset.element_size() as u64);
    if layout == StorageLayout::Chunked && chunk > length.saturating_mul(MOST_INFLATION) {
        return Err(Error::file(
            path,
            place(name),
            format!(
                "its chunks are of {extents:?} values, more than a file of {length} bytes can hold"
            ),
            "The file is damaged: copy or dump it again",
        ));
    }
    Ok(layout == StorageLayout::Chunked)
}

impl SentenceFile {
    /// Fills `out` with whole rows from `start` on; the caller has checked the range.
    pub fn read_rows(&self, start: usize, out: &mut [f32]) -> Result<()> {
        let Shape { layers, units, .. } = self.shape;
        let neurons = layers * units;
        for overlap in self.rows.overlaps(start, out.len() / neurons) {
            let name = &self.names[overlap.sentence];
            let decode = || self.sentence(name);
            let values = self.last.values(overlap.sentence, overlap.part, decode)?;
            let tokens = values.len() / neurons;
            if tokens * neurons != values.len() || tokens < overlap.tokens.end {
                return Err(unreadable(
                    &self.path,
                    name,
                    format!("{} values were read", values.len()),
                ));
            }
            for (row, token) in overlap.tokens.enumerate() {
                let target = &mut out[(overlap.row + row) * neurons..][..neurons];
                for (layer, target) in target.chunks_exact_mut(units).enumerate() {
                    let from = (layer * tokens + token) * units;
                    target.copy_from_slice(&values[from..from + units]);
                }
            }
        }
        Ok(())
    }

    fn sentence(&self, name: &str) -> Result<Vec<f32>> {
        let read = || -> rust_hdf5::Result<Vec<f32>> {
            let dataset = self.file.dataset(name)?;
            if self.shape.dtype == Dtype::F64 {
                let wide = dataset.read_numeric_as::<f64>()?;
                return Ok(wide.into_iter().map(|value| value as f32).collect());
            }
            dataset.read_numeric_as::<f32>()
        };
        read().map_err(|e| unreadable(&self.path, name, e))
    }

    /// The sentence of every row.
    pub fn sentences(&self) -> Vec<u32> {
        self.rows.numbers()
    }

    /// The words of the sentences, where every sentence splits into as many as it has rows.
    pub fn words(&self) -> Option<Vec<String>> {
        let mut words = Vec::with_capacity(self.rows.total());
        for (text, tokens) in self.texts.as_ref()?.iter().zip(self.rows.lengths()) {
            let split = |text: &str| -> Option<Vec<String>> {
                let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
                (words.len() == tokens).then_some(words)
            };
            words.extend(split(text).or_else(|| split(without_occurrence(text)))?);
        }
        Some(words)
    }
}

/// The sentence without the ` (Occurrence k)` that tells repeated ones apart.
fn without_occurrence(text: &str) -> &str {
    text.strip_suffix(')')
        .map(|rest| rest.trim_end_matches(|c: char| c.is_ascii_digit()))
        .and_then(|rest| rest.strip_suffix(" (Occurrence "))
        .unwrap_or(text)
}
