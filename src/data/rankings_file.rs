//! Orderings that `neurosieve rank` wrote (`study::rank` says what is in the document), or anything else of that form.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::mapped::read_text;
use crate::error::{Error, Result};

/// The version of the document that is read.
const SCHEMA_VERSION: u32 = 1;

#[derive(Deserialize)]
struct Document {
    schema_version: Option<u32>,
    rankings: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    order: Vec<usize>,
}

/// Reads the orderings of a `.json` file by name: `{"rankings": {"lca": {"order": [3, 0, …]}, …}}`, whatever else it
/// holds. Each lists every neuron from 0 to its length once, best first.
///
/// # Errors
/// When the file cannot be read, is of another version, holds no ordering, or one that is not complete.
pub fn read_rankings(path: &Path) -> Result<BTreeMap<String, Vec<usize>>> {
    let refused = |place: &str, problem: String| {
        let fix = "Give a file that `neurosieve rank` wrote, or orderings in its form";
        Error::file(path, place, problem, fix)
    };
    let text = read_text(path)?;
    let document: Document =
        serde_json::from_str(&text).map_err(|e| refused("document", e.to_string()))?;
    if let Some(other) = document.schema_version.filter(|v| *v != SCHEMA_VERSION) {
        let problem = format!("it is {other}, and {SCHEMA_VERSION} is read");
        return Err(refused("schema_version", problem));
    }
    if document.rankings.is_empty() {
        return Err(refused("rankings", "there are none".into()));
    }
    let mut orders = BTreeMap::new();
    for (name, Entry { order }) in document.rankings {
        let place = || format!("ranking \"{}\"", super::shortened(&name));
        let mut seen = vec![false; order.len()];
        for &neuron in &order {
            match seen.get_mut(neuron) {
                Some(seen) if !*seen => *seen = true,
                Some(_) => {
                    return Err(refused(&place(), format!("it lists neuron {neuron} twice")));
                }
                None => {
                    let problem = format!(
                        "it lists neuron {neuron}, and {} neurons in all",
                        order.len()
                    );
                    return Err(refused(&place(), problem));
                }
            }
        }
        orders.insert(name, order);
    }
    Ok(orders)
}
