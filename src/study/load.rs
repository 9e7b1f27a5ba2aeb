//! From the specification's files to a data set.

use super::spec::{self, PartSpec, Spec};
use crate::data::{self, DatasetFiles, PartFiles, ReadOptions};
use crate::error::Result;
use crate::split::Dataset;

/// Reads the data that a specification names.
///
/// # Errors
/// As [`data::read_dataset`].
pub fn load(spec: &Spec) -> Result<Dataset> {
    let files = |part: &PartSpec| PartFiles {
        activations: part.activations.clone(),
        labels: part.labels.clone().into_iter().collect(),
        words: part.words.clone(),
    };
    data::read_dataset(&DatasetFiles {
        train: files(&spec.data.train),
        dev: files(&spec.data.dev),
        test: files(&spec.data.test),
        tasks: spec.data.tasks.clone(),
        options: ReadOptions {
            layers_units: spec
                .data
                .layers_units
                .as_deref()
                .and_then(spec::layers_units),
        },
    })
}
