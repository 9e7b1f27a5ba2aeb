//! Readers: path → activations, labels, words. The only place that opens input files; one format per file.
//!
//! | extension | format | labels inside | words |
//! |---|---|---|---|
//! | `.safetensors` | native | yes | `<stem>.tokens.tsv` or `<stem>.word` beside it |
//! | `.npy`, `.npz` | a matrix samples × neurons | no | the same |
//! | `.hdf5`, `.h5` | NeuroX: one data set (layers, tokens, units) a sentence | no | `<stem>.word`, else the file's sentences |
//! | `.json`, `.jsonl` | NeuroX JSON lines | no | in the file |
//!
//! A folder of such files is read as shards: other samples of the same neurons, in the order of their names.
//!
//! [`open`] looks at headers only; values are read by row blocks ([`Source::read_rows`]) or at once
//! ([`Source::activations`]). [`read_dataset`] reads train, dev and test with their labels. What is allocated is bounded
//! by what the file can hold, and a broken file ends in one [`Error::File`] that names file, place, value and remedy.
//! Formats that can run code when they are loaded (pickle: `.pt`, `.pkl`, `.acts`, object arrays) are refused.

mod classes;
mod dataset;
mod elements;
mod inspect;
mod labels;
mod layers;
mod mapped;
mod masks_file;
mod neurox_hdf5;
mod neurox_json;
mod npy;
mod npz;
mod probe_file;
mod rankings_file;
mod safetensors;
mod sentences;
mod shards;
mod text;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ndarray::Array2;

pub use self::classes::{LabelColumn, Naming};
pub use self::dataset::{
    DatasetFiles, Outline, PartFiles, ValuedPart, outline, read_dataset, read_splits, read_valued,
};
pub use self::elements::Dtype;
pub use self::inspect::{
    ClassCount, ConstantNeuron, Inspection, LayerSummary, NonFinite, TaskSummary, inspect,
};
pub use self::labels::{read_labels, read_values};
pub use self::mapped::read_text;
pub use self::masks_file::{MasksFile, read_masks};
pub use self::probe_file::{ProbeFile, read_probe};
pub use self::rankings_file::read_rankings;
use crate::activations::{Activations, LayerMap, Rows, Stored, rows_of};
use crate::error::{Error, Result};
use crate::split::Tokens;

/// What a file does not say about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReadOptions {
    /// `--layers-units LxU`: layers and units a layer. For formats that do not describe their columns; an error where it
    /// contradicts a file that does.
    pub layers_units: Option<(usize, usize)>,
}

/// An open file of activations: shape, layers and labels are known, the values are not yet read.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    samples: usize,
    neurons: usize,
    dtype: Dtype,
    layers: LayerMap,
    contents: Contents,
}

/// What stays open, by format.
#[derive(Debug)]
enum Contents {
    Native(safetensors::NativeFile),
    Numpy(npy::Matrix),
    NeuroxHdf5(neurox_hdf5::SentenceFile),
    NeuroxJson(neurox_json::LineFile),
    Shards(shards::Shards),
}

/// What a format knows of a file after opening it.
struct Opened<C> {
    samples: usize,
    neurons: usize,
    dtype: Dtype,
    layers: LayerMap,
    contents: C,
}

impl<C> Opened<C> {
    fn into_source(self, path: &Path, contents: impl FnOnce(C) -> Contents) -> Source {
        Source {
            path: path.to_owned(),
            samples: self.samples,
            neurons: self.neurons,
            dtype: self.dtype,
            layers: self.layers,
            contents: contents(self.contents),
        }
    }
}

/// Opens a file of activations, whose extension says which format it is, or a folder of shards.
///
/// # Errors
/// [`Error::Io`] when it cannot be opened, [`Error::File`] when its extension is unknown, its header is broken, or
/// header and size contradict each other.
pub fn open(path: &Path, options: &ReadOptions) -> Result<Source> {
    if let Err(absent) = std::fs::metadata(path) {
        return Err(mapped::unreadable(path, absent));
    }
    if path.is_dir() {
        return Ok(shards::open(path, options)?.into_source(path, Contents::Shards));
    }
    match extension(path).as_str() {
        "safetensors" => Ok(safetensors::open(path, options)?.into_source(path, Contents::Native)),
        "npy" => Ok(npy::open(path, options)?.into_source(path, Contents::Numpy)),
        "npz" => Ok(npz::open(path, options)?.into_source(path, Contents::Numpy)),
        "hdf5" | "h5" => {
            Ok(neurox_hdf5::open(path, options)?.into_source(path, Contents::NeuroxHdf5))
        }
        "json" | "jsonl" => {
            Ok(neurox_json::open(path, options)?.into_source(path, Contents::NeuroxJson))
        }
        other => Err(unknown_extension(path, other)),
    }
}

fn unknown_extension(path: &Path, extension: &str) -> Error {
    let fix = match extension {
        "pt" | "pth" | "bin" | "pkl" | "pickle" | "acts" | "t7" => {
            "Loading it can run code that it carries, so it is not read here: load it in Python \
             (torch.load(…, weights_only=True)) and save the samples × neurons matrix as safetensors"
        }
        _ => "Give .safetensors, .npy, .npz, .hdf5 (NeuroX) or .json (NeuroX JSON lines)",
    };
    Error::file(
        path,
        "extension",
        format!("\".{extension}\" is not a format of activations"),
        fix,
    )
}

impl Source {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Number of samples N.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// Number of neurons D.
    pub fn neurons(&self) -> usize {
        self.neurons
    }

    /// The type of the stored elements.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Bytes that were inflated when it was opened, and that it holds: of compressed archives, 0 of files that are mapped.
    pub fn inflated(&self) -> u64 {
        match &self.contents {
            Contents::Numpy(matrix) => matrix.inflated(),
            Contents::Shards(shards) => shards.inflated(),
            Contents::Native(_) | Contents::NeuroxHdf5(_) | Contents::NeuroxJson(_) => 0,
        }
    }

    /// Which layer and unit each column is.
    pub fn layers(&self) -> &LayerMap {
        &self.layers
    }

    /// Reads the rows from `start` on, row-major, as many whole rows as fit `out`. Values may be NaN or infinite.
    ///
    /// # Errors
    /// When `out` is not a whole number of rows or reaches past the last one, or the file cannot be read.
    pub fn read_rows(&self, start: usize, out: &mut [f32]) -> Result<()> {
        rows_of((self.samples, self.neurons), start, out.len())?;
        match &self.contents {
            Contents::Native(file) => file.read_rows(start, out),
            Contents::Numpy(matrix) => matrix.read_rows(start, out),
            Contents::NeuroxHdf5(file) => file.read_rows(start, out)?,
            Contents::NeuroxJson(file) => file.read_rows(start, out)?,
            Contents::Shards(shards) => shards.read_rows(start, out)?,
        }
        Ok(())
    }

    /// Reads all rows. An `f64` beyond the range of `f32` counts as infinite.
    ///
    /// # Errors
    /// When the file cannot be read or a value is NaN or infinite: the message names row, neuron, layer and unit.
    pub fn activations(&self) -> Result<Activations> {
        let mut values = zeros(&self.path, self.samples, self.neurons)?;
        let rows = block_rows(self.neurons);
        for (block, out) in values.chunks_mut(rows * self.neurons).enumerate() {
            self.read_rows(block * rows, out)?;
            if let Some(at) = out.iter().position(|value| !value.is_finite()) {
                let row = block * rows + at / self.neurons;
                return Err(self.non_finite(row, at % self.neurons, out[at]));
            }
        }
        let values = Array2::from_shape_vec((self.samples, self.neurons), values)
            .expect("allocated for exactly this shape");
        Activations::new(values, self.layers.clone())
    }

    /// The rows for operations that take some at a time. Matrices (safetensors, npy) stay where they are, mapped and in
    /// the type that they are stored in; NeuroX files, which are decoded sentence by sentence, are read into memory.
    ///
    /// # Errors
    /// As [`Source::activations`], for a file that is read into memory.
    pub fn into_rows(self) -> Result<Arc<dyn Rows>> {
        let shape = (self.samples, self.neurons);
        Ok(match self.contents {
            Contents::Native(file) => Arc::new(NativeRows { shape, file }),
            Contents::Numpy(matrix) => Arc::new(MatrixRows { shape, matrix }),
            Contents::NeuroxHdf5(_) | Contents::NeuroxJson(_) => Arc::new(self.activations()?),
            Contents::Shards(shards) => Arc::new(shards.into_rows()?),
        })
    }

    fn non_finite(&self, row: usize, neuron: usize, value: f32) -> Error {
        let stored = match self.dtype {
            Dtype::F64 => " as f32 (the file stores F64)".to_owned(),
            other => format!(" (stored as {other})"),
        };
        Error::file(
            &self.path,
            format!(
                "row {row}, neuron {neuron} (layer {}, unit {})",
                self.layers.layer(neuron),
                self.layers.unit(neuron)
            ),
            format!("the activation is {value}{stored}"),
            "Every activation must be a finite number: drop that sample, or dump it again in a wider format",
        )
    }

    /// The tasks whose labels the file holds, the primary one first; empty for formats without labels.
    ///
    /// # Errors
    /// When the metadata are broken.
    pub fn task_names(&self) -> Result<Vec<String>> {
        match &self.contents {
            Contents::Native(file) => file.tasks(),
            Contents::Shards(shards) => shards.tasks(),
            Contents::Numpy(_) | Contents::NeuroxHdf5(_) | Contents::NeuroxJson(_) => {
                Ok(Vec::new())
            }
        }
    }

    /// The task that is meant when none is named: the first of [`Source::task_names`].
    ///
    /// # Errors
    /// When the metadata are broken.
    pub fn primary_task(&self) -> Result<Option<String>> {
        Ok(self.task_names()?.into_iter().next())
    }

    /// The labels of one task; `None` when the file has no such task.
    ///
    /// # Errors
    /// When the labels do not fit the activations or the declared classes.
    pub fn labels(&self, task: &str) -> Result<Option<LabelColumn>> {
        match &self.contents {
            Contents::Native(file) => file.labels(task),
            Contents::Shards(shards) => shards.labels(task),
            Contents::Numpy(_) | Contents::NeuroxHdf5(_) | Contents::NeuroxJson(_) => Ok(None),
        }
    }

    /// The word of every sample, from the file or from one beside it (`<stem>.tokens.tsv`, `<stem>.word`); `None` where
    /// there is neither.
    ///
    /// # Errors
    /// When words and activations differ in number, or in the sentences they stand in.
    pub fn tokens(&self) -> Result<Option<Tokens>> {
        let beside = text::words_beside(&self.path);
        let (sentences, own_words) = match &self.contents {
            Contents::Native(file) => (file.sentences()?, None),
            Contents::Numpy(_) => (None, None),
            Contents::NeuroxHdf5(file) => (Some(file.sentences()), file.words()),
            Contents::NeuroxJson(file) => return Ok(Some(file.tokens())),
            Contents::Shards(shards) => return shards.tokens(),
        };
        let Some(path) = beside else {
            return Ok(sentences
                .zip(own_words)
                .map(|(sentences, words)| Tokens { words, sentences }));
        };
        let words = text::read_words(&path)?;
        words.check_rows(&self.path, self.samples)?;
        if let Some(sentences) = sentences {
            words.check_sentences(&self.path, &sentences)?;
        }
        Ok(Some(words.into_tokens()))
    }
}

/// A native file's matrix, where it is.
#[derive(Debug)]
struct NativeRows {
    shape: (usize, usize),
    file: safetensors::NativeFile,
}

/// A NumPy matrix, where it is.
#[derive(Debug)]
struct MatrixRows {
    shape: (usize, usize),
    matrix: npy::Matrix,
}

impl Rows for NativeRows {
    fn shape(&self) -> (usize, usize) {
        self.shape
    }

    fn read_rows(&self, start: usize, out: &mut [f32]) -> Result<()> {
        rows_of(self.shape, start, out.len())?;
        self.file.read_rows(start, out);
        Ok(())
    }

    fn stored(&self) -> Stored {
        self.file.dtype().stored()
    }

    fn read_bits(&self, start: usize, out: &mut [u16]) -> Result<()> {
        in_bits(self.stored())?;
        rows_of(self.shape, start, out.len())?;
        self.file.read_bits(start, out);
        Ok(())
    }
}

impl Rows for MatrixRows {
    fn shape(&self) -> (usize, usize) {
        self.shape
    }

    fn read_rows(&self, start: usize, out: &mut [f32]) -> Result<()> {
        rows_of(self.shape, start, out.len())?;
        self.matrix.read_rows(start, out);
        Ok(())
    }

    fn stored(&self) -> Stored {
        self.matrix.by_row().map_or(Stored::F32, Dtype::stored)
    }

    fn read_bits(&self, start: usize, out: &mut [u16]) -> Result<()> {
        in_bits(self.stored())?;
        rows_of(self.shape, start, out.len())?;
        self.matrix.read_bits(start, out);
        Ok(())
    }
}

/// Refuses to hand out the bits of values of 32 bits.
fn in_bits(stored: Stored) -> Result<()> {
    match stored {
        Stored::F16 | Stored::Bf16 => Ok(()),
        Stored::F32 => Err(Error::invalid(
            "bits of activations",
            "they are not stored in 16 bits, row by row",
            "Read them as f32",
        )),
    }
}

/// Rows in a block of about 4 MiB of `f32`: a value is looked at again while it is still in the cache.
fn block_rows(neurons: usize) -> usize {
    ((1 << 20) / neurons).max(1)
}

/// Zeros for a matrix of the file's shape, or an error that says how much memory was asked for.
fn zeros(path: &Path, samples: usize, neurons: usize) -> Result<Vec<f32>> {
    let refuse = || {
        Error::file(
            path,
            "activations",
            format!("{samples} samples × {neurons} neurons do not fit into memory as f32"),
            "Read fewer samples or fewer layers",
        )
    };
    let length = samples.checked_mul(neurons).ok_or_else(refuse)?;
    let mut values = Vec::new();
    values.try_reserve_exact(length).map_err(|_| refuse())?;
    values.resize(length, 0.0);
    Ok(values)
}

/// The extension in lower case, without the dot; empty when there is none.
fn extension(path: &Path) -> String {
    path.extension()
        .map(|e| e.to_string_lossy().to_lowercase())
        .unwrap_or_default()
}

/// `<stem>-layer<k>`: the file's name before that suffix and k, as NeuroX names the files of single layers.
fn decomposed_layer(path: &Path) -> Option<(&str, u32)> {
    let (stem, number) = path.file_stem()?.to_str()?.rsplit_once("-layer")?;
    Some((stem, number.parse().ok()?))
}

/// At most 60 characters of a value that a message quotes.
fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(60).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// `"a", "b"`, at most ten of them; `none` when there are none.
fn quoted_list(names: &[String]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    let mut list: Vec<String> = names
        .iter()
        .take(10)
        .map(|name| format!("\"{}\"", shortened(name)))
        .collect();
    if names.len() > list.len() {
        list.push(format!("… ({} in all)", names.len()));
    }
    list.join(", ")
}
