//! A probe that `neurosieve probe` wrote (`report::probe` says what is in it): its weights.

use std::path::Path;

use ::safetensors::SafeTensors;
use ::safetensors::tensor::{Dtype as Stored, TensorView};
use ndarray::Array2;

use super::elements::{self, Dtype};
use super::mapped::MappedFile;
use crate::error::{Error, Result};

/// The weights of a probe.
#[derive(Debug, Clone, PartialEq)]
pub struct ProbeFile {
    /// C × D, on the scale that its penalty saw: of standardised activations, or of raw ones. Two classes have opposite rows.
    pub weights: Array2<f32>,
    /// Which of the two.
    pub standardised: bool,
    /// Names of the classes; `None` for a probe of values, which has one row.
    pub classes: Option<Vec<String>>,
}

/// Reads a probe.
///
/// # Errors
/// When the file cannot be read, or its tensors or metadata are not those of a probe.
pub fn read_probe(path: &Path) -> Result<ProbeFile> {
    let bytes = MappedFile::open(path)?;
    let refused = |place: &str, problem: String| {
        let fix = "Give a file that `neurosieve probe` wrote";
        Error::file(path, place, problem, fix)
    };
    let tensors = SafeTensors::deserialize(&bytes).map_err(|e| refused("header", e.to_string()))?;
    let tensor = |name: &str| {
        let found = tensors.tensor(name);
        found.map_err(|absent| refused(&format!("tensor \"{name}\""), absent.to_string()))
    };
    let (weights, scale) = (tensor("weights")?, tensor("scale")?);
    let (rows, neurons) = match (weights.shape(), scale.shape()) {
        (&[rows, neurons], &[scales]) if rows > 0 && neurons == scales => (rows, neurons),
        (weights, scale) => {
            return Err(refused(
                "tensors \"weights\" and \"scale\"",
                format!("their shapes are {weights:?} and {scale:?}"),
            ));
        }
    };
    let (Some(values), Some(scale)) = (
        numbers(&weights, Stored::F32, Dtype::F32),
        numbers(&scale, Stored::F64, Dtype::F64),
    ) else {
        let problem = "weights are not F32, or scale is not F64";
        return Err(refused("tensors", problem.into()));
    };
    if let Some(at) = values.iter().position(|weight| !weight.is_finite()) {
        let (row, neuron) = (at / neurons, at % neurons);
        let problem = format!("row {row}, neuron {neuron} is {}", values[at]);
        return Err(refused("tensor \"weights\"", problem));
    }
    if let Some(neuron) = scale.iter().position(|s| !(*s > 0.0 && s.is_finite())) {
        let problem = format!("neuron {neuron} has {}", scale[neuron]);
        return Err(refused("tensor \"scale\"", problem));
    }
    let raw = metadata(&bytes, "standardize").is_ok_and(|text| text == "false");
    let classes = classes(&bytes).map_err(|problem| refused("metadata \"classes\"", problem))?;
    let expected = match &classes {
        None => 1,
        Some(names) if names.len() == 2 => 1,
        Some(names) => names.len(),
    };
    if rows != expected {
        return Err(refused(
            "tensor \"weights\"",
            format!("it has {rows} rows, the classes in the metadata make {expected}"),
        ));
    }
    let weight = |row: usize, neuron: usize| {
        let scale = if raw { 1.0 } else { scale[neuron] };
        values[row * neurons + neuron] * scale
    };
    let two = classes.as_ref().is_some_and(|names| names.len() == 2);
    let weights = Array2::from_shape_fn((if two { 2 } else { rows }, neurons), |(row, neuron)| {
        let value = match (two, row) {
            (false, row) => weight(row, neuron),
            // One column of a sigmoid is two of a softmax, half as far on either side.
            (true, 0) => -0.5 * weight(0, neuron),
            (true, _) => 0.5 * weight(0, neuron),
        };
        value as f32
    });
    Ok(ProbeFile {
        weights,
        standardised: !raw,
        classes,
    })
}

fn numbers(tensor: &TensorView<'_>, stored: Stored, dtype: Dtype) -> Option<Vec<f64>> {
    (tensor.dtype() == stored).then(|| elements::to_f64(dtype, tensor.data()))
}

/// The list in the metadata; `null` where labels were values.
fn classes(bytes: &[u8]) -> std::result::Result<Option<Vec<String>>, String> {
    let text = metadata(bytes, "classes")?;
    serde_json::from_str(&text).map_err(|e| format!("{e} in {:?}", super::shortened(&text)))
}

fn metadata(bytes: &[u8], key: &str) -> std::result::Result<String, String> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| e.to_string())?;
    let metadata = header.metadata().as_ref();
    let text = metadata.and_then(|metadata| metadata.get(key));
    text.cloned().ok_or_else(|| "there is none".to_owned())
}
