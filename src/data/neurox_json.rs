//! NeuroX JSON lines (`.json`, `.jsonl`): one object a sentence,
//! `{"linex_index": 0, "features": [{"token": "…", "layers": [{"index": 0, "values": […]}, …]}, …]}`.
//!
//! Opening reads the file once for tokens and shape; values are parsed line by line when they are asked for. NeuroX
//! rounds them to 8 decimals.

use std::ops::Range;
use std::path::Path;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, IgnoredAny, SeqAccess, Visitor};

use super::elements::Dtype;
use super::layers;
use super::mapped::MappedFile;
use super::sentences::{LastSentence, SentenceRows};
use super::{Opened, ReadOptions};
use crate::activations::LayerMap;
use crate::error::{Error, Result};
use crate::split::Tokens;

/// One line: a sentence, its values as `V`.
#[derive(Deserialize)]
struct Sentence<V> {
    features: Vec<Feature<V>>,
}

#[derive(Deserialize)]
struct Feature<V> {
    token: String,
    layers: Vec<Layer<V>>,
}

#[derive(Deserialize)]
struct Layer<V> {
    index: u32,
    values: V,
}

/// The number of elements of a list that is otherwise skipped.
struct Count(usize);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Counter;
        impl<'de> Visitor<'de> for Counter {
            type Value = Count;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("a list of numbers")
            }

            fn visit_seq<A: SeqAccess<'de>>(
                self,
                mut list: A,
            ) -> std::result::Result<Count, A::Error> {
                let mut count = 0;
                while list.next_element::<IgnoredAny>()?.is_some() {
                    count += 1;
                }
                Ok(Count(count))
            }
        }
        deserializer.deserialize_seq(Counter)
    }
}

/// An open file of JSON lines.
#[derive(Debug)]
pub(super) struct LineFile {
    bytes: MappedFile,
    /// Line number (from 1) and bytes of each sentence.
    lines: Vec<(usize, Range<usize>)>,
    rows: SentenceRows,
    last: LastSentence,
    words: Vec<String>,
    /// Number and units of each layer, the same for every token.
    shape: Vec<(u32, usize)>,
}

pub(super) fn open(path: &Path, options: &ReadOptions) -> Result<Opened<LineFile>> {
    let bytes = MappedFile::open(path)?;
    let mut lines = Vec::new();
    let mut tokens = Vec::new();
    let mut words = Vec::new();
    let mut shape: Option<Vec<(u32, usize)>> = None;
    let mut start = 0;
    for (number, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        let range = start..start + line.len();
        start = range.end + 1;
        if line.trim_ascii().is_empty() {
            continue;
        }
        let sentence: Sentence<Count> = parse(path, number + 1, line)?;
        tokens.push(sentence.features.len());
        lines.push((number + 1, range));
        for feature in sentence.features {
            let own: Vec<(u32, usize)> = feature
                .layers
                .iter()
                .map(|layer| (layer.index, layer.values.0))
                .collect();
            let common = shape.get_or_insert_with(|| own.clone());
            if *common != own {
                return Err(differs(path, number + 1, &feature.token, common, &own));
            }
            words.push(feature.token);
        }
    }
    let shape = shape.unwrap_or_default();
    let neurons = shape.iter().map(|(_, units)| units).sum();
    let rows = SentenceRows::new(tokens).expect("as many tokens as are in memory");
    layers::check_shape(path, rows.total(), neurons)?;
    Ok(Opened {
        samples: rows.total(),
        neurons,
        dtype: Dtype::F32,
        layers: layer_map(path, &shape, options)?,
        contents: LineFile {
            bytes,
            lines,
            rows,
            last: LastSentence::default(),
            words,
            shape,
        },
    })
}

fn layer_map(path: &Path, shape: &[(u32, usize)], options: &ReadOptions) -> Result<LayerMap> {
    let (_, units) = shape[0];
    if shape.iter().all(|layer| layer.1 == units) {
        // The numbers of the layers are the file's, also when some were filtered out.
        layers::shaped(path, shape.len(), units, options)?;
    }
    let layer = shape
        .iter()
        .flat_map(|&(layer, units)| std::iter::repeat_n(layer, units));
    let unit = shape.iter().flat_map(|&(_, units)| (0..).take(units));
    LayerMap::new(layer.collect(), unit.collect()).map_err(|e| {
        Error::file(
            path,
            "line 1, \"layers\"",
            e.to_string(),
            "Write the layers of a token in ascending order",
        )
    })
}

fn parse<V: DeserializeOwned>(path: &Path, number: usize, line: &[u8]) -> Result<Sentence<V>> {
    serde_json::from_slice(line).map_err(|e| {
        Error::file(
            path,
            format!("line {number}, column {}", e.column()),
            without_position(&e.to_string()),
            "Every line is one JSON object with \"features\", as NeuroX writes it; NaN and Infinity are not JSON",
        )
    })
}

/// The parser's message without its ` at line 1 column 5`: it saw one line only.
fn without_position(message: &str) -> String {
    let end = message.rfind(" at line ").unwrap_or(message.len());
    message[..end].to_owned()
}

fn differs(
    path: &Path,
    number: usize,
    token: &str,
    common: &[(u32, usize)],
    own: &[(u32, usize)],
) -> Error {
    let describe = |shape: &[(u32, usize)]| {
        let units: usize = shape.iter().map(|(_, units)| units).sum();
        format!("{} layers of {units} values together", shape.len())
    };
    Error::file(
        path,
        format!("line {number}, token \"{}\"", super::shortened(token)),
        format!(
            "it has {}, the first token has {}, or their layers differ",
            describe(own),
            describe(common)
        ),
        "Dump all sentences with the same model and settings",
    )
}

impl LineFile {
    /// Fills `out` with whole rows from `start` on; the caller has checked the range.
    pub fn read_rows(&self, start: usize, out: &mut [f32]) -> Result<()> {
        let neurons: usize = self.shape.iter().map(|(_, units)| units).sum();
        for overlap in self.rows.overlaps(start, out.len() / neurons) {
            let decode = || self.sentence(overlap.sentence);
            let values = self.last.values(overlap.sentence, overlap.part, decode)?;
            // The lengths were checked when the file was opened.
            let values = &values[overlap.tokens.start * neurons..overlap.tokens.end * neurons];
            out[overlap.row * neurons..][..values.len()].copy_from_slice(values);
        }
        Ok(())
    }

    /// All values of a sentence, token by token.
    fn sentence(&self, sentence: usize) -> Result<Vec<f32>> {
        let (number, range) = &self.lines[sentence];
        let line = &self.bytes[range.clone()];
        let sentence: Sentence<Vec<f32>> = parse(self.bytes.path(), *number, line)?;
        let layers = sentence.features.into_iter().flat_map(|token| token.layers);
        Ok(layers.flat_map(|layer| layer.values).collect())
    }

    /// The words and the sentences that they stand in.
    pub fn tokens(&self) -> Tokens {
        Tokens {
            words: self.words.clone(),
            sentences: self.rows.numbers(),
        }
    }
}
