//! The file of one probe: its weights as safetensors.
//!
//! | tensor | shape | what |
//! |---|---|---|
//! | `weights` | C × D, F32 | for raw activations; one row for two classes (positive: the second) and for values |
//! | `bias` | C, F32 | the same; −1e30 for a class that train lacks |
//! | `mean` | D, F64 | mean of each neuron on train |
//! | `scale` | D, F64 | standard deviation on train, 1 where a neuron does not vary: `weights · scale` are those of standardised activations |
//!
//! Neurons that the probe does not see have weight 0. Metadata, all strings: `classes` (JSON list; `null` for values),
//! `task`, `columns` (JSON list of the neurons it sees; `null`: all), `l1`, `l2`, `penalty`, `standardize`, `method`
//! (`exact` or `adam`), `certificate` (JSON), `schema_version`, `neurosieve_version`.

use std::collections::HashMap;

use ndarray::Axis;
use safetensors::tensor::{Dtype, TensorView};

use crate::error::{Error, Result};
use crate::study::probe::{ProbeResults, Probed};

/// The safetensors file.
///
/// # Errors
/// When the header cannot be written.
pub fn safetensors(probe: &Probed) -> Result<Vec<u8>> {
    let (weights, bias) = rows(probe);
    let neurons = probe.fit.weights.ncols();
    let bytes = [
        (
            "weights",
            Dtype::F32,
            vec![bias.len(), neurons],
            f32_bytes(&weights),
        ),
        ("bias", Dtype::F32, vec![bias.len()], f32_bytes(&bias)),
        ("mean", Dtype::F64, vec![neurons], f64_bytes(&probe.mean)),
        ("scale", Dtype::F64, vec![neurons], f64_bytes(&probe.scale)),
    ];
    let broken = |error: &dyn std::fmt::Display| {
        Error::invalid("probe file", error.to_string(), "This is a bug: report it")
    };
    let mut tensors = Vec::new();
    for (name, dtype, shape, data) in &bytes {
        let view = TensorView::new(*dtype, shape.clone(), data).map_err(|e| broken(&e))?;
        tensors.push((*name, view));
    }
    let metadata = metadata(&probe.results).map_err(|e| broken(&e))?;
    let mut file = safetensors::serialize(tensors, Some(metadata)).map_err(|e| broken(&e))?;
    sort_metadata(&mut file).map_err(|e| broken(&e))?;
    Ok(file)
}

/// Puts the metadata into the order of their keys: the library writes them in any, and the same probe should be the same
/// bytes.
pub(super) fn sort_metadata(file: &mut [u8]) -> serde_json::Result<()> {
    let (length, rest) = file.split_at_mut(8);
    let length = u64::from_le_bytes(length.try_into().expect("split at 8")) as usize;
    let header = &mut rest[..length];
    let mut tree: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(header)?;
    if let Some(serde_json::Value::Object(metadata)) = tree.get_mut("__metadata__") {
        metadata.sort_keys();
    }
    let text = serde_json::to_vec(&tree)?;
    // The same entries in another order take the same space; what is left is the library's padding.
    header.fill(b' ');
    header[..text.len()].copy_from_slice(&text);
    Ok(())
}

/// Weights row by row, and biases: one row for two classes.
fn rows(probe: &Probed) -> (Vec<f32>, Vec<f32>) {
    let fit = &probe.fit;
    if fit.weights.nrows() != 2 {
        return (fit.weights.iter().copied().collect(), fit.bias.to_vec());
    }
    // Softmax of two logits is the sigmoid of their difference.
    let difference = |a: f32, b: f32| (f64::from(b) - f64::from(a)) as f32;
    let [first, second] = [0, 1].map(|class| fit.weights.index_axis(Axis(0), class));
    let weights = first.iter().zip(second);
    (
        weights.map(|(a, b)| difference(*a, *b)).collect(),
        vec![difference(fit.bias[0], fit.bias[1])],
    )
}

fn f32_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn f64_bytes(values: &[f64]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn metadata(results: &ProbeResults) -> serde_json::Result<HashMap<String, String>> {
    let entries = [
        ("schema_version", results.schema_version.to_string()),
        ("neurosieve_version", results.neurosieve_version.clone()),
        ("task", results.task.clone()),
        ("classes", serde_json::to_string(&results.classes)?),
        ("columns", serde_json::to_string(&results.columns)?),
        ("l1", results.l1.to_string()),
        ("l2", results.l2.to_string()),
        ("penalty", results.penalty.to_owned()),
        ("standardize", results.standardize.to_string()),
        ("method", results.method.to_owned()),
        ("certificate", serde_json::to_string(&results.certificate)?),
    ];
    Ok(entries.map(|(key, value)| (key.to_owned(), value)).into())
}
