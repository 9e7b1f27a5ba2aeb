//! A probe that `neurosieve probe` wrote (`report::probe` says what is in it).

use std::path::Path;

use ::safetensors::SafeTensors;
use ::safetensors::tensor::{Dtype as Stored, TensorView};
use ndarray::{Array1, Array2};

use super::elements::{self, Dtype};
use super::mapped::MappedFile;
use crate::error::{Error, Result};

/// A probe. Two classes have opposite rows, whose logits differ by the one that the file has.
#[derive(Debug, Clone, PartialEq)]
pub struct ProbeFile {
    /// C × D, on the scale that its penalty saw: of standardised activations, or of raw ones.
    pub weights: Array2<f32>,
    /// Which of the two.
    pub standardised: bool,
    /// C × D, for raw activations.
    pub raw: Array2<f32>,
    /// Bias of each class, for raw activations; −1e30 for one that train lacked.
    pub bias: Array1<f32>,
    /// Mean of each neuron on train.
    pub mean: Vec<f64>,
    /// Names of the classes; `None` for a probe of values, which has one row.
    pub classes: Option<Vec<String>>,
}

/// Reads a probe.
///
/// # Errors
/// When the file cannot be read, or its tensors or metadata are not those of a probe.
pub fn read_probe(path: &Path) -> Result<ProbeFile> {
    let bytes = MappedFile::open(path)?;
    let tensors =
        SafeTensors::deserialize(&bytes).map_err(|e| refused(path, "header", e.to_string()))?;
    let stored = Tensors::read(path, &tensors)?;
    let raw = metadata(&bytes, "standardize").is_ok_and(|text| text == "false");
    let classes =
        classes(&bytes).map_err(|problem| refused(path, "metadata \"classes\"", problem))?;
    let expected = match &classes {
        None => 1,
        Some(names) if names.len() == 2 => 1,
        Some(names) => names.len(),
    };
    let rows = stored.bias.len();
    if rows != expected {
        return Err(refused(
            path,
            "tensor \"weights\"",
            format!("it has {rows} rows, the classes in the metadata make {expected}"),
        ));
    }
    let two = classes.as_ref().is_some_and(|names| names.len() == 2);
    // One column of a sigmoid is two of a softmax, half as far on either side.
    let factor = |row: usize| match (two, row) {
        (false, _) => 1.0,
        (true, 0) => -0.5,
        (true, _) => 0.5,
    };
    let neurons = stored.mean.len();
    let shape = (if two { 2 } else { rows }, neurons);
    let of = |row: usize| if two { 0 } else { row };
    let scaled = |scale: &dyn Fn(usize) -> f64| {
        Array2::from_shape_fn(shape, |(row, neuron)| {
            let weight = stored.weights[of(row) * neurons + neuron];
            (factor(row) * (weight * scale(neuron))) as f32
        })
    };
    Ok(ProbeFile {
        weights: scaled(&|neuron| if raw { 1.0 } else { stored.scale[neuron] }),
        standardised: !raw,
        raw: scaled(&|_| 1.0),
        bias: (0..shape.0)
            .map(|row| (factor(row) * stored.bias[of(row)]) as f32)
            .collect(),
        mean: stored.mean,
        classes,
    })
}

/// The tensors as they are stored.
struct Tensors {
    /// Row by row.
    weights: Vec<f64>,
    bias: Vec<f64>,
    mean: Vec<f64>,
    scale: Vec<f64>,
}

impl Tensors {
    fn read(path: &Path, tensors: &SafeTensors<'_>) -> Result<Self> {
        let tensor = |name: &str| {
            let found = tensors.tensor(name);
            let place = format!("tensor \"{name}\"");
            found.map_err(|absent| refused(path, &place, absent.to_string()))
        };
        let (weights, scale) = (tensor("weights")?, tensor("scale")?);
        let (bias, mean) = (tensor("bias")?, tensor("mean")?);
        let shapes = [weights.shape(), scale.shape(), bias.shape(), mean.shape()];
        match shapes {
            [&[rows, neurons], &[scales], &[biases], &[means]]
                if rows > 0 && neurons == scales && rows == biases && neurons == means => {}
            _ => {
                let problem = format!("their shapes are {shapes:?}");
                let place = "tensors \"weights\", \"scale\", \"bias\" and \"mean\"";
                return Err(refused(path, place, problem));
            }
        }
        let read = |tensor: &TensorView<'_>, stored, dtype| numbers(tensor, stored, dtype);
        let (Some(weights), Some(bias), Some(mean), Some(scale)) = (
            read(&weights, Stored::F32, Dtype::F32),
            read(&bias, Stored::F32, Dtype::F32),
            read(&mean, Stored::F64, Dtype::F64),
            read(&scale, Stored::F64, Dtype::F64),
        ) else {
            let problem = "weights and bias are not F32, or mean and scale not F64";
            return Err(refused(path, "tensors", problem.into()));
        };
        let neurons = mean.len();
        if let Some(at) = weights.iter().position(|weight| !weight.is_finite()) {
            let (row, neuron) = (at / neurons, at % neurons);
            let problem = format!("row {row}, neuron {neuron} is {}", weights[at]);
            return Err(refused(path, "tensor \"weights\"", problem));
        }
        for (name, values) in [("bias", &bias), ("mean", &mean)] {
            // The mean of f32 values is one that f32 can hold.
            if let Some(at) = values.iter().position(|v| !(*v as f32).is_finite()) {
                let problem = format!("entry {at} is {}", values[at]);
                return Err(refused(path, &format!("tensor \"{name}\""), problem));
            }
        }
        if let Some(neuron) = scale.iter().position(|s| !(*s > 0.0 && s.is_finite())) {
            let problem = format!("neuron {neuron} has {}", scale[neuron]);
            return Err(refused(path, "tensor \"scale\"", problem));
        }
        Ok(Self {
            weights,
            bias,
            mean,
            scale,
        })
    }
}

fn refused(path: &Path, place: &str, problem: String) -> Error {
    let fix = "Give a file that `neurosieve probe` wrote";
    Error::file(path, place, problem, fix)
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
