//! All pairs of neurons, from files to answers: what `neurosieve correlate` and `neurosieve cluster` do.
//!
//! Samples stay on disk: moments take two passes over them, correlations as many as memory asks for.

mod cluster;
mod correlate;
pub mod results;

use std::path::Path;
use std::sync::Arc;

use self::results::DataSummary;
use crate::activations::{LayerMap, Rows};
use crate::data::{self, ReadOptions};
use crate::error::{Error, Result};
use crate::ops::correlation::Side;
use crate::ops::moments::{self, Moments, Spread};

pub use self::cluster::{ClusterJob, cluster};
pub use self::correlate::{Baseline, CorrelateJob, Correlated, correlate};

/// An open file of activations and its moments.
struct Opened {
    summary: DataSummary,
    layers: LayerMap,
    rows: Arc<dyn Rows>,
    moments: Moments,
}

impl Opened {
    fn new(path: &Path, options: &ReadOptions) -> Result<Self> {
        let source = data::open(path, options)?;
        let layers = source.layers().clone();
        let dtype = source.dtype().name();
        let rows = source.into_rows()?;
        let moments = moments::streamed(rows.as_ref(), None).map_err(|error| match error {
            // An operation knows no files.
            Error::Invalid { what, problem, fix } => Error::file(path, what, problem, fix),
            other => other,
        })?;
        let with = |wanted: Spread| {
            let spread = moments.spread.iter().enumerate();
            let found = spread.filter(|(_, spread)| **spread == wanted);
            found.map(|(neuron, _)| neuron).collect()
        };
        Ok(Self {
            summary: DataSummary {
                file: path.display().to_string(),
                samples: rows.shape().0,
                neurons: rows.shape().1,
                dtype,
                layers: layers.layers(),
                constant: with(Spread::Constant),
                nearly_constant: with(Spread::NearlyConstant),
            },
            layers,
            rows,
            moments,
        })
    }

    fn side(&self) -> Side<'_> {
        Side {
            rows: self.rows.as_ref(),
            moments: &self.moments,
        }
    }
}
