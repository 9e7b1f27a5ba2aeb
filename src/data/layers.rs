//! Which layer and unit each column of a file is.

use std::path::Path;

use serde_json::Value;

use super::ReadOptions;
use crate::activations::LayerMap;
use crate::error::{Error, Result};

/// Refuses a matrix without rows or columns, so that what is allocated for a row or a column is bounded by the file.
pub(super) fn check_shape(path: &Path, samples: usize, neurons: usize) -> Result<()> {
    if samples == 0 || neurons == 0 {
        return Err(Error::file(
            path,
            "activations",
            format!("the matrix is {samples} samples × {neurons} neurons"),
            "There must be at least one sample and one neuron",
        ));
    }
    Ok(())
}

/// The layer map of a file that says nothing: `--layers-units`, else one layer.
pub(super) fn undescribed(path: &Path, neurons: usize, options: &ReadOptions) -> Result<LayerMap> {
    let (layers, units) = options.layers_units.unwrap_or((1, neurons));
    uniform(path, neurons, layers, units)
}

/// The layer map of a file whose shape is layers × units, which `--layers-units` must not contradict.
pub(super) fn shaped(
    path: &Path,
    layers: usize,
    units: usize,
    options: &ReadOptions,
) -> Result<LayerMap> {
    check_agrees(path, options, layers, Some(units))?;
    LayerMap::uniform(layers, units)
}

fn uniform(path: &Path, neurons: usize, layers: usize, units: usize) -> Result<LayerMap> {
    if layers.checked_mul(units) != Some(neurons) {
        return Err(Error::file(
            path,
            "activations",
            format!(
                "{layers} layers × {units} units were asked for, the matrix has {neurons} columns"
            ),
            "Give --layers-units LxU so that L · U is the number of columns",
        ));
    }
    LayerMap::uniform(layers, units)
}

fn check_agrees(
    path: &Path,
    options: &ReadOptions,
    layers: usize,
    units: Option<usize>,
) -> Result<()> {
    match options.layers_units {
        Some(asked) if units != Some(asked.1) || layers != asked.0 => Err(Error::file(
            path,
            "layers",
            format!(
                "the file has {layers} layers of {} units, --layers-units says {}x{}",
                units.map_or("unequal numbers of".to_owned(), |u| u.to_string()),
                asked.0,
                asked.1
            ),
            "Leave --layers-units out: the file describes its layers",
        )),
        _ => Ok(()),
    }
}

/// What the metadata of a native file say about its columns.
#[derive(Debug)]
pub(super) struct Described<'a> {
    pub path: &'a Path,
    pub neurons: usize,
    /// `layers`: the numbers of the layers.
    pub layers: Option<Value>,
    /// `n_layers`: how many there are, numbered from 0.
    pub count: Option<Value>,
    /// `hidden`: columns a layer.
    pub hidden: Option<Value>,
    /// `units`: unit numbers for all layers, or a list for each; `None` for all units.
    pub units: Option<Value>,
}

impl Described<'_> {
    pub fn layer_map(&self, options: &ReadOptions) -> Result<LayerMap> {
        let hidden = match &self.hidden {
            Some(value) => Some(self.number("hidden", value)? as usize),
            None => None,
        };
        let Some(numbers) = self.numbers(hidden)? else {
            return undescribed(self.path, self.neurons, options);
        };
        let units = self.units(numbers.len(), hidden)?;
        let first = units[0].len();
        let equal = units.iter().all(|list| list.len() == first);
        check_agrees(self.path, options, numbers.len(), equal.then_some(first))?;
        let layer = numbers
            .iter()
            .zip(&units)
            .flat_map(|(&number, list)| std::iter::repeat_n(number, list.len()))
            .collect();
        LayerMap::new(layer, units.concat()).map_err(|e| {
            self.error(
                "layers",
                e.to_string(),
                "List the layers in ascending order, the columns likewise",
            )
        })
    }

    /// The number of each layer, from the most explicit key that the file has.
    fn numbers(&self, hidden: Option<usize>) -> Result<Option<Vec<u32>>> {
        if let Some(value) = &self.layers {
            let numbers = self.list("layers", value)?;
            if numbers.is_empty() || numbers.len() > self.neurons {
                return Err(self.error(
                    "layers",
                    format!("{} layers for {} columns", numbers.len(), self.neurons),
                    "List the number of every layer that the columns come from",
                ));
            }
            return Ok(Some(numbers));
        }
        let count = match (&self.count, hidden) {
            (Some(value), _) => self.number("n_layers", value)? as usize,
            (None, Some(hidden)) if hidden > 0 && self.neurons.is_multiple_of(hidden) => {
                self.neurons / hidden
            }
            (None, None) => return Ok(None),
            (None, Some(hidden)) => return Err(self.mismatch(format!("\"hidden\" is {hidden}"))),
        };
        if count == 0 || count > self.neurons {
            return Err(self.mismatch(format!("\"n_layers\" is {count}")));
        }
        Ok(Some((0..).take(count).collect()))
    }

    /// The units of each layer.
    fn units(&self, layers: usize, hidden: Option<usize>) -> Result<Vec<Vec<u32>>> {
        let units: Vec<Vec<u32>> = match &self.units {
            None => {
                let hidden = hidden.unwrap_or(self.neurons / layers);
                if hidden.checked_mul(layers) != Some(self.neurons) {
                    return Err(self.mismatch(format!("{layers} layers of {hidden} units")));
                }
                vec![(0..).take(hidden).collect(); layers]
            }
            Some(Value::Array(lists)) if lists.first().is_some_and(Value::is_array) => lists
                .iter()
                .map(|list| self.list("units", list))
                .collect::<Result<_>>()?,
            Some(value) => {
                let list = self.list("units", value)?;
                if list.len().checked_mul(layers) != Some(self.neurons) {
                    return Err(self.mismatch(format!("{layers} layers of {} units", list.len())));
                }
                vec![list; layers]
            }
        };
        let total: usize = units.iter().map(Vec::len).sum();
        if units.len() != layers || total != self.neurons {
            return Err(self.mismatch(format!(
                "{layers} layers, and {} lists of {total} units together",
                units.len()
            )));
        }
        if let Some(hidden) = hidden
            && units.iter().any(|list| list.len() != hidden)
        {
            return Err(self.mismatch(format!(
                "\"hidden\" is {hidden}, but the first layer has {} units",
                units[0].len()
            )));
        }
        Ok(units)
    }

    fn mismatch(&self, problem: String) -> Error {
        self.error(
            "layers, hidden, units",
            format!("{problem}; the matrix has {} columns", self.neurons),
            "The units of all layers together must be the columns of the matrix",
        )
    }

    fn number(&self, key: &str, value: &Value) -> Result<u32> {
        value
            .as_u64()
            .and_then(|number| u32::try_from(number).ok())
            .ok_or_else(|| {
                self.error(
                    key,
                    format!(
                        "{} is not a number from 0 to 4294967295",
                        super::shortened(&value.to_string())
                    ),
                    "Write a whole number",
                )
            })
    }

    fn list(&self, key: &str, value: &Value) -> Result<Vec<u32>> {
        let Value::Array(list) = value else {
            return Err(self.error(
                key,
                format!("{} is not a list", super::shortened(&value.to_string())),
                "Write a JSON list of whole numbers",
            ));
        };
        list.iter().map(|value| self.number(key, value)).collect()
    }

    fn error(&self, key: &str, problem: String, fix: &str) -> Error {
        Error::file(self.path, format!("metadata \"{key}\""), problem, fix)
    }
}
