//! Masks of neurons: which are kept, or which are removed.
//!
//! | extension | what |
//! |---|---|
//! | `.json` | a list; each entry a list of the neurons that are kept, or `{"name": "…", "keep": […]}`, or `{"name": "…", "remove": […]}` |
//! | `.npy` | a matrix of `bool`, masks × neurons; true: kept |

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::mapped::read_text;
use super::npy;
use crate::error::{Error, Result};

/// Masks that one file may hold: with a bit a neuron, a gigabyte at 8,000 neurons.
const MOST: usize = 1 << 20;

/// The masks of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct MasksFile {
    path: PathBuf,
    contents: Contents,
}

#[derive(Debug, Clone, PartialEq)]
enum Contents {
    Listed(Vec<Entry>),
    /// Rows of so many neurons.
    Matrix(usize, Vec<bool>),
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
enum Entry {
    Keep(Vec<usize>),
    Named(Named),
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    name: Option<String>,
    keep: Option<Vec<usize>>,
    remove: Option<Vec<usize>>,
}

/// Reads masks.
///
/// # Errors
/// When the file cannot be read, holds no mask or more than a million, or something else than masks.
pub fn read_masks(path: &Path) -> Result<MasksFile> {
    let contents = match super::extension(path).as_str() {
        "npy" => {
            let (_, neurons, values) = npy::read_bools(path)?;
            Contents::Matrix(neurons, values)
        }
        "json" => {
            let text = read_text(path)?;
            let entries = serde_json::from_str(&text);
            Contents::Listed(entries.map_err(|e| refused(path, "document", e.to_string()))?)
        }
        other => {
            let problem = format!("the extension is \"{}\"", super::shortened(other));
            return Err(refused(path, "path", problem));
        }
    };
    let file = MasksFile {
        path: path.to_owned(),
        contents,
    };
    match file.len() {
        0 => Err(refused(path, "masks", "there are none".into())),
        1..=MOST => Ok(file),
        many => Err(refused(
            path,
            "masks",
            format!("there are {many}, and at most {MOST} are read"),
        )),
    }
}

fn refused(path: &Path, place: &str, problem: String) -> Error {
    let fix = "Give a .json list of lists of neurons, of {\"name\": …, \"keep\": […]} or of {\"name\": …, \"remove\": […]}, or a \
               .npy matrix of bool, masks × neurons";
    Error::file(path, place, problem, fix)
}

impl MasksFile {
    /// Number of masks.
    pub fn len(&self) -> usize {
        match &self.contents {
            Contents::Listed(entries) => entries.len(),
            Contents::Matrix(0, _) => 0,
            Contents::Matrix(neurons, values) => values.len() / neurons,
        }
    }

    /// Never true: [`read_masks`] refuses such a file.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Name of a mask, where the file gives it one.
    pub fn name(&self, mask: usize) -> Option<&str> {
        match &self.contents {
            Contents::Listed(entries) => match &entries[mask] {
                Entry::Keep(_) => None,
                Entry::Named(named) => named.name.as_deref(),
            },
            Contents::Matrix(..) => None,
        }
    }

    /// The neurons that a mask keeps, of `neurons` in all: as the file lists them, or ascending.
    ///
    /// # Errors
    /// When the mask is not of so many neurons, or names one that does not exist or that it names before.
    pub fn kept(&self, mask: usize, neurons: usize) -> Result<Vec<usize>> {
        let place = match self.name(mask) {
            Some(name) => format!("mask {mask}, \"{}\"", super::shortened(name)),
            None => format!("mask {mask}"),
        };
        let refused = |problem: String| Err(refused(&self.path, &place, problem));
        let (listed, removes) = match &self.contents {
            Contents::Matrix(columns, _) if *columns != neurons => {
                return refused(format!("it is of {columns} neurons, the data of {neurons}"));
            }
            Contents::Matrix(columns, values) => {
                let row = &values[mask * columns..(mask + 1) * columns];
                return Ok((0..*columns).filter(|&neuron| row[neuron]).collect());
            }
            Contents::Listed(entries) => match &entries[mask] {
                Entry::Keep(kept) => (kept, false),
                Entry::Named(named) => match (&named.keep, &named.remove) {
                    (Some(kept), None) => (kept, false),
                    (None, Some(removed)) => (removed, true),
                    _ => return refused("it has not exactly one of keep and remove".into()),
                },
            },
        };
        let mut seen = vec![false; neurons];
        for &neuron in listed {
            match seen.get_mut(neuron) {
                Some(seen) if !*seen => *seen = true,
                Some(_) => return refused(format!("it lists neuron {neuron} twice")),
                None => {
                    return refused(format!("it lists neuron {neuron}, the data have {neurons}"));
                }
            }
        }
        Ok(match removes {
            true => (0..neurons).filter(|&neuron| !seen[neuron]).collect(),
            false => listed.clone(),
        })
    }
}
