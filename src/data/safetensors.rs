//! Native activations: safetensors with `activations` N×D (F16, BF16, F32 or F64), `labels` and `labels.<task>`
//! (integers), `sentence`, `position`.
//!
//! Metadata (strings): `layers` (JSON list of layer numbers) or `n_layers`, `hidden` (columns a layer), `units` (`all`,
//! a JSON list for all layers, or a list for each layer), `classes` (JSON: task → names in id order), `primary` (the
//! task that `labels` holds). The file is mapped; a tensor may start at any byte.

use std::path::Path;

use ::safetensors::SafeTensors;
use ::safetensors::tensor::{Dtype as Stored, Metadata, SafeTensorError, TensorInfo};
use serde_json::Value;

use super::classes::LabelColumn;
use super::elements::{self, Dtype, IntegerType};
use super::layers;
use super::mapped::MappedFile;
use super::{Opened, ReadOptions};
use crate::activations::LayerMap;
use crate::error::{Error, Result};

const MATRIX: &str = "activations";
/// Name of the task whose labels are in `labels` when the metadata name none.
const UNNAMED_TASK: &str = "labels";

/// An open native file.
#[derive(Debug)]
pub(super) struct NativeFile {
    bytes: MappedFile,
    /// Where tensor data begin.
    data: usize,
    header: Metadata,
    samples: usize,
    neurons: usize,
    dtype: Dtype,
}

pub(super) fn open(path: &Path, options: &ReadOptions) -> Result<Opened<NativeFile>> {
    let bytes = MappedFile::open(path)?;
    let (length, header) =
        SafeTensors::read_metadata(&bytes).map_err(|e| broken(path, bytes.len(), &e))?;
    let matrix = header.info(MATRIX).ok_or_else(|| {
        Error::file(
            path,
            "header",
            format!(
                "there is no tensor \"{MATRIX}\", only {}",
                super::quoted_list(&header.offset_keys())
            ),
            "Name the samples × neurons matrix \"activations\"",
        )
    })?;
    let dtype = float_type(path, matrix)?;
    let &[samples, neurons] = matrix.shape.as_slice() else {
        return Err(Error::file(
            path,
            format!("tensor \"{MATRIX}\""),
            format!("its shape is {:?}", matrix.shape),
            "It must have two dimensions, samples × neurons",
        ));
    };
    layers::check_shape(path, samples, neurons)?;
    let file = NativeFile {
        bytes,
        data: 8 + length,
        samples,
        neurons,
        dtype,
        header,
    };
    let layers = file.layers(options)?;
    Ok(Opened {
        samples,
        neurons,
        dtype,
        layers,
        contents: file,
    })
}

fn broken(path: &Path, file: usize, error: &SafeTensorError) -> Error {
    let (place, fix) = match error {
        SafeTensorError::HeaderTooSmall
        | SafeTensorError::HeaderTooLarge
        | SafeTensorError::InvalidHeaderLength => (
            "bytes 0 to 7, the length of the header".to_owned(),
            "This is not a complete safetensors file: write it again, or check its extension",
        ),
        SafeTensorError::MetadataIncompleteBuffer => (
            format!("end of file, byte {file}"),
            "The tensors of the header do not end where the file ends: it was cut off or padded, copy it again",
        ),
        _ => (
            "header".to_owned(),
            "Write the file again with a safetensors library",
        ),
    };
    Error::file(path, place, error.to_string(), fix)
}

fn float_type(path: &Path, matrix: &TensorInfo) -> Result<Dtype> {
    match matrix.dtype {
        Stored::F16 => Ok(Dtype::F16),
        Stored::BF16 => Ok(Dtype::BF16),
        Stored::F32 => Ok(Dtype::F32),
        Stored::F64 => Ok(Dtype::F64),
        other => Err(Error::file(
            path,
            format!("tensor \"{MATRIX}\""),
            format!("its elements are {other}"),
            "Store activations as F16, BF16, F32 or F64",
        )),
    }
}

fn integer_type(stored: Stored) -> Option<IntegerType> {
    let (bytes, signed) = match stored {
        Stored::I8 => (1, true),
        Stored::I16 => (2, true),
        Stored::I32 => (4, true),
        Stored::I64 => (8, true),
        Stored::U8 => (1, false),
        Stored::U16 => (2, false),
        Stored::U32 => (4, false),
        Stored::U64 => (8, false),
        _ => return None,
    };
    Some(IntegerType { bytes, signed })
}

impl NativeFile {
    /// Fills `out` with whole rows from `start` on; the caller has checked the range.
    pub fn read_rows(&self, start: usize, out: &mut [f32]) {
        let info = self.header.info(MATRIX).expect("checked when opened");
        let from = start * self.neurons * self.dtype.bytes();
        let bytes = &self.tensor(info)[from..from + out.len() * self.dtype.bytes()];
        elements::to_f32(self.dtype, bytes, out);
    }

    /// As [`NativeFile::read_rows`], the bits of elements of two bytes.
    pub fn read_bits(&self, start: usize, out: &mut [u16]) {
        let info = self.header.info(MATRIX).expect("checked when opened");
        let from = start * self.neurons * 2;
        elements::to_bits(&self.tensor(info)[from..from + out.len() * 2], out);
    }

    /// The type of the elements.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Tasks, the primary one first, the others in the order of `classes`, then by name.
    pub fn tasks(&self) -> Result<Vec<String>> {
        let declared = self.classes()?;
        let rank = |task: &str| {
            declared
                .keys()
                .position(|name| name == task)
                .unwrap_or(usize::MAX)
        };
        let mut tasks: Vec<String> = self
            .header
            .offset_keys()
            .iter()
            .filter_map(|name| name.strip_prefix("labels."))
            .map(str::to_owned)
            .collect();
        tasks.sort_by(|a, b| (rank(a), a).cmp(&(rank(b), b)));
        let primary = self.primary();
        if self.header.info("labels").is_some() {
            tasks.retain(|task| task != primary);
            tasks.insert(0, primary.to_owned());
        } else if let Some(at) = tasks.iter().position(|task| task == primary) {
            tasks[..=at].rotate_right(1);
        }
        Ok(tasks)
    }

    /// The labels of one task; `None` when the file has no such task.
    pub fn labels(&self, task: &str) -> Result<Option<LabelColumn>> {
        let own = format!("labels.{task}");
        let (name, info) = match self.header.info(&own) {
            Some(info) => (own, info),
            None if task == self.primary() => match self.header.info("labels") {
                Some(info) => ("labels".to_owned(), info),
                None => return Ok(None),
            },
            None => return Ok(None),
        };
        let place = format!("tensor \"{name}\"");
        let numbers = self.column(&name, info)?;
        let path = self.bytes.path();
        let names = match self.classes()?.get(task) {
            Some(value) => Some(self.names(task, value)?),
            None => None,
        };
        match names {
            Some(classes) => LabelColumn::declared(path, &place, &numbers, classes),
            None => LabelColumn::numbered(path, &place, &numbers),
        }
        .map(Some)
    }

    /// The number of every sample's sentence, where the file has it.
    pub fn sentences(&self) -> Result<Option<Vec<u32>>> {
        let Some(info) = self.header.info("sentence") else {
            return Ok(None);
        };
        let numbers = self.column("sentence", info)?;
        let mut sentences = Vec::with_capacity(numbers.len());
        for (row, &number) in numbers.iter().enumerate() {
            match u32::try_from(number) {
                Ok(number) if sentences.last().is_none_or(|last| *last <= number) => {
                    sentences.push(number);
                }
                _ => {
                    return Err(Error::file(
                        self.bytes.path(),
                        format!("tensor \"sentence\", row {row}"),
                        format!("the sentence is {number}"),
                        "Sentence numbers are not negative and never go down from one row to the next",
                    ));
                }
            }
        }
        Ok(Some(sentences))
    }

    /// An integer tensor of one value a sample.
    fn column(&self, name: &str, info: &TensorInfo) -> Result<Vec<i64>> {
        let path = self.bytes.path();
        let place = || format!("tensor \"{name}\"");
        let kind = integer_type(info.dtype).ok_or_else(|| {
            Error::file(
                path,
                place(),
                format!("its elements are {}", info.dtype),
                "Store it as integers (I32)",
            )
        })?;
        if info.shape != [self.samples] {
            return Err(Error::file(
                path,
                place(),
                format!(
                    "its shape is {:?}, for {} rows of activations",
                    info.shape, self.samples
                ),
                "Give exactly one value for every row of activations, in the same order",
            ));
        }
        Ok(kind.read(self.tensor(info)))
    }

    fn tensor(&self, info: &TensorInfo) -> &[u8] {
        let (start, end) = info.data_offsets;
        &self.bytes[self.data + start..self.data + end]
    }

    fn metadata(&self, key: &str) -> Option<&str> {
        self.header
            .metadata()
            .as_ref()?
            .get(key)
            .map(String::as_str)
    }

    fn primary(&self) -> &str {
        self.metadata("primary").unwrap_or(UNNAMED_TASK)
    }

    fn metadata_error(&self, key: &str, problem: String, fix: &str) -> Error {
        Error::file(
            self.bytes.path(),
            format!("metadata \"{key}\""),
            problem,
            fix,
        )
    }

    fn json(&self, key: &str) -> Result<Option<Value>> {
        self.metadata(key)
            .map(|text| {
                serde_json::from_str(text).map_err(|e| {
                    self.metadata_error(
                        key,
                        format!("{e} in {:?}", super::shortened(text)),
                        "Write JSON text there",
                    )
                })
            })
            .transpose()
    }

    fn classes(&self) -> Result<serde_json::Map<String, Value>> {
        match self.json("classes")? {
            None => Ok(serde_json::Map::new()),
            Some(Value::Object(map)) => Ok(map),
            Some(other) => Err(self.metadata_error(
                "classes",
                format!("it is {:?}", super::shortened(&other.to_string())),
                "Write a JSON object: task → list of class names in id order",
            )),
        }
    }

    fn names(&self, task: &str, value: &Value) -> Result<Vec<String>> {
        let names: Option<Vec<String>> = value.as_array().and_then(|list| {
            list.iter()
                .map(|name| name.as_str().map(str::to_owned))
                .collect()
        });
        let names = names.ok_or_else(|| {
            self.metadata_error(
                "classes",
                format!(
                    "task \"{task}\" has {:?}",
                    super::shortened(&value.to_string())
                ),
                "Write a list of class names in id order",
            )
        })?;
        let mut sorted: Vec<&String> = names.iter().collect();
        sorted.sort_unstable();
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(self.metadata_error(
                "classes",
                format!("task \"{task}\" names the class \"{}\" twice", pair[0]),
                "Give every class its own name",
            ));
        }
        Ok(names)
    }

    fn layers(&self, options: &ReadOptions) -> Result<LayerMap> {
        layers::Described {
            path: self.bytes.path(),
            neurons: self.neurons,
            layers: self.json("layers")?,
            count: self.json("n_layers")?,
            hidden: self.json("hidden")?,
            units: match self.metadata("units") {
                None | Some("all") => None,
                Some(_) => self.json("units")?,
            },
        }
        .layer_map(options)
    }
}
