//! From the specification's files to a data set.

use super::spec::{self, PartSpec, Spec};
use crate::data::{self, DatasetFiles, Outline, PartFiles, ReadOptions};
use crate::error::Result;
use crate::split::Dataset;

/// Reads the data that a specification names.
///
/// # Errors
/// As [`data::read_dataset`].
pub fn load(spec: &Spec) -> Result<Dataset> {
    data::read_dataset(&files(spec))
}

/// What is known of the data before their activations are read.
///
/// # Errors
/// As [`data::outline`].
pub(super) fn outline(spec: &Spec) -> Result<Outline> {
    data::outline(&files(spec))
}

fn files(spec: &Spec) -> DatasetFiles {
    let files = |part: &PartSpec| PartFiles {
        activations: part.activations.clone(),
        labels: part.labels.clone().into_iter().collect(),
        words: part.words.clone(),
    };
    DatasetFiles {
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
    }
}
