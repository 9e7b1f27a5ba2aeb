//! Pairs of neurons as safetensors.
//!
//! | what | tensors |
//! |---|---|
//! | pairs above a threshold | `i`, `j` (I32), `r` (F32): ascending by i, then j |
//! | partners of each neuron | the same: i is the neuron, j its partner, the strongest first; of two models also `i_cross`, `j_cross`, `r_cross`: i is the other model's neuron |
//!
//! Metadata: `schema_version`, `neurosieve_version`.

use std::collections::HashMap;

use safetensors::tensor::{Dtype, TensorView};

use crate::error::{Error, Result};
use crate::ops::correlation::{Edge, Partner};

/// Pairs above a threshold.
///
/// # Errors
/// When the header cannot be written.
pub fn edges(edges: &[Edge]) -> Result<Vec<u8>> {
    let pairs = edges.iter().map(|edge| (edge.i, edge.j, edge.r));
    file(&columns("", pairs))
}

/// The partners of each neuron, and of each of the other model where there is one.
///
/// # Errors
/// When the header cannot be written.
pub fn partners(of_left: &[Vec<Partner>], of_right: Option<&[Vec<Partner>]>) -> Result<Vec<u8>> {
    let pairs = |partners: &[Vec<Partner>]| {
        let each = partners.iter().zip(0u32..);
        each.flat_map(|(partners, neuron)| {
            let pair = move |partner: &Partner| (neuron, partner.neuron, partner.r);
            partners.iter().map(pair).collect::<Vec<_>>()
        })
        .collect::<Vec<_>>()
    };
    let mut all: Vec<Column> = columns("", pairs(of_left)).into();
    if let Some(of_right) = of_right {
        all.extend(columns("_cross", pairs(of_right)));
    }
    file(&all)
}

/// A tensor of one dimension.
struct Column {
    name: String,
    dtype: Dtype,
    bytes: Vec<u8>,
}

fn columns(suffix: &str, pairs: impl IntoIterator<Item = (u32, u32, f32)>) -> [Column; 3] {
    let column = |name: &str, dtype| Column {
        name: format!("{name}{suffix}"),
        dtype,
        bytes: Vec::new(),
    };
    let mut all = [
        column("i", Dtype::I32),
        column("j", Dtype::I32),
        column("r", Dtype::F32),
    ];
    for (i, j, r) in pairs {
        all[0].bytes.extend(i.to_le_bytes());
        all[1].bytes.extend(j.to_le_bytes());
        all[2].bytes.extend(r.to_le_bytes());
    }
    all
}

fn file<'a>(columns: impl IntoIterator<Item = &'a Column>) -> Result<Vec<u8>> {
    let broken = |error: &dyn std::fmt::Display| {
        Error::invalid(
            "file of pairs",
            error.to_string(),
            "This is a bug: report it",
        )
    };
    let mut tensors = Vec::new();
    for column in columns {
        let shape = vec![column.bytes.len() / 4];
        let view = TensorView::new(column.dtype, shape, &column.bytes).map_err(|e| broken(&e))?;
        tensors.push((column.name.as_str(), view));
    }
    let metadata = HashMap::from([
        ("schema_version".to_owned(), "1".to_owned()),
        (
            "neurosieve_version".to_owned(),
            env!("CARGO_PKG_VERSION").to_owned(),
        ),
    ]);
    let mut file = safetensors::serialize(tensors, Some(metadata)).map_err(|e| broken(&e))?;
    super::probe::sort_metadata(&mut file).map_err(|e| broken(&e))?;
    Ok(file)
}
