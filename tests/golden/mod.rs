//! Equal to other people's software, one module per subject. `fixtures/generate.py` and the generators beside it made the
//! expected values with NumPy, SciPy, scikit-learn and NeuroX from the real activations in `fixtures/python-tokens`.

mod ablation;
mod adam;
mod clustering;
mod comparison;
mod concepts;
mod correlation;
mod description_length;
mod dissection;
mod greedy;
mod holm;
mod metrics;
mod moments;
mod peers;
mod probe;
mod ranking;
mod single;
mod uncertainty;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use ndarray::Array2;
use neurosieve::data::{DatasetFiles, PartFiles, read_dataset};
use neurosieve::split::Dataset;
use safetensors::SafeTensors;
use serde::de::DeserializeOwned;

/// Real activations: 800 / 200 / 190 tokens of Python source, 7 layers × 48 units, tasks `fine` (16 classes) and
/// `coarse` (5).
pub fn fixture() -> &'static Dataset {
    static FIXTURE: OnceLock<Dataset> = OnceLock::new();
    FIXTURE.get_or_init(|| {
        let part = |name: &str| PartFiles {
            activations: folder("python-tokens").join(format!("{name}.safetensors")),
            ..PartFiles::default()
        };
        let files = DatasetFiles {
            train: part("train"),
            dev: part("dev"),
            test: part("test"),
            tasks: vec!["fine".to_owned(), "coarse".to_owned()],
            ..DatasetFiles::default()
        };
        read_dataset(&files).expect("the fixture is a valid data set")
    })
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(name)
}

/// A golden JSON file.
fn json<T: DeserializeOwned>(name: &str) -> T {
    let path = folder("golden").join(name);
    let text = std::fs::read_to_string(&path).expect("the golden file is committed");
    serde_json::from_str(&text).expect("generate.py writes what the test reads")
}

/// A tensor of a golden safetensors file, F32 or F64, widened; a vector is one row.
fn tensor(file: &str, name: &str) -> Array2<f64> {
    let bytes = std::fs::read(folder("golden").join(file)).expect("the golden file is committed");
    let tensors = SafeTensors::deserialize(&bytes).expect("it is safetensors");
    let tensor = tensors.tensor(name).expect("it has the tensor");
    let values: Vec<f64> = match tensor.dtype() {
        safetensors::Dtype::F32 => little_endian(tensor.data(), f32::from_le_bytes)
            .map(f64::from)
            .collect(),
        safetensors::Dtype::F64 => little_endian(tensor.data(), f64::from_le_bytes).collect(),
        other => panic!("{name} of {file} is {other:?}"),
    };
    let shape = match *tensor.shape() {
        [columns] => (1, columns),
        [rows, columns] => (rows, columns),
        _ => panic!("{name} of {file} is neither a vector nor a matrix"),
    };
    Array2::from_shape_vec(shape, values).expect("the shape is the file's own")
}

fn little_endian<const BYTES: usize, T>(
    data: &[u8],
    read: fn([u8; BYTES]) -> T,
) -> impl Iterator<Item = T> {
    data.as_chunks::<BYTES>()
        .0
        .iter()
        .map(move |chunk| read(*chunk))
}
