//! Native safetensors.

use std::collections::HashMap;
use std::path::Path;

use neurosieve::data::{self, Dtype, Naming, ReadOptions};
use safetensors::tensor::{Dtype as Stored, TensorView};

use super::{assert_says, fixture, message, open};

/// Writes tensors (name, type, shape, bytes) and metadata.
pub(super) fn write(
    path: &Path,
    tensors: &[(&str, Stored, Vec<usize>, Vec<u8>)],
    metadata: &[(&str, &str)],
) {
    let views: Vec<(&str, TensorView<'_>)> = tensors
        .iter()
        .map(|(name, dtype, shape, bytes)| {
            (
                *name,
                TensorView::new(*dtype, shape.clone(), bytes).unwrap(),
            )
        })
        .collect();
    let metadata: HashMap<String, String> = metadata
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    let metadata = (!metadata.is_empty()).then_some(metadata);
    std::fs::write(path, safetensors::serialize(views, metadata).unwrap()).unwrap();
}

pub(super) fn f32_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

pub(super) fn i32_bytes(values: &[i32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

#[test]
fn the_fixture_reads_with_layers_labels_and_words() {
    let source = open(&fixture("python-tokens/test.safetensors"));
    assert_eq!((source.samples(), source.neurons()), (190, 336));
    assert_eq!(source.dtype(), Dtype::F16);
    assert_eq!(source.layers().layers(), [0, 1, 2, 3, 4, 5, 6]);
    // Column 310 is unit 127 of layer 6, a dead neuron of the model.
    assert_eq!(
        (source.layers().layer(310), source.layers().unit(310)),
        (6, 127)
    );
    let activations = source.activations().unwrap();
    assert!(activations.view().column(310).iter().all(|&v| v == 0.0));
    assert!(activations.view().column(311).iter().any(|&v| v != 0.0));

    assert_eq!(source.task_names().unwrap(), ["fine", "coarse", "control"]);
    let labels = source.labels("coarse").unwrap().unwrap();
    assert_eq!(labels.naming, Naming::Declared);
    assert_eq!(
        labels.classes,
        ["NAME", "KEYWORD", "NUMBER", "STRING", "OP"]
    );
    let names: Vec<&str> = labels.ids[..5]
        .iter()
        .map(|&id| labels.classes[id as usize].as_str())
        .collect();
    assert_eq!(names, ["NAME", "OP", "NAME", "OP", "NAME"]);
    assert!(source.labels("absent").unwrap().is_none());

    let tokens = source.tokens().unwrap().unwrap();
    assert_eq!(
        tokens.words[..5],
        ["self", ".", "testLoader", ".", "testNamePatterns"]
    );
    assert_eq!((tokens.words.len(), tokens.sentences[189]), (190, 20));
}

#[test]
fn row_blocks_are_the_rows_of_the_whole() {
    let source = open(&fixture("python-tokens/test.safetensors"));
    let whole = source.activations().unwrap();
    let mut block = vec![0.0; 7 * 336];
    source.read_rows(183, &mut block).unwrap();
    assert_eq!(
        block,
        whole.view().as_slice().unwrap()[183 * 336..190 * 336]
    );
    let past_the_end = source.read_rows(184, &mut block).unwrap_err().to_string();
    assert_says(&past_the_end, &["from row 184", "190 rows × 336 neurons"]);
}

#[test]
fn a_value_that_is_not_finite_is_named_by_row_layer_and_unit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    let values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, f32::NAN];
    write(
        &path,
        &[("activations", Stored::F32, vec![2, 4], f32_bytes(&values))],
        &[("layers", "[3, 9]"), ("units", "[[5], [1, 4, 8]]")],
    );
    let source = open(&path);
    let text = message(source.activations(), &path);
    assert_says(
        &text,
        &["row 1, neuron 3", "layer 9, unit 8", "NaN", "finite"],
    );
}

#[test]
fn options_that_contradict_the_file_are_refused() {
    let path = fixture("python-tokens/test.safetensors");
    let options = ReadOptions {
        layers_units: Some((6, 56)),
    };
    let text = message(data::open(&path, &options), &path);
    assert_says(&text, &["7 layers of 48 units", "6x56"]);
    let options = ReadOptions {
        layers_units: Some((7, 48)),
    };
    assert!(data::open(&path, &options).is_ok());
}

#[test]
fn halves_are_handed_out_as_they_are_stored() {
    use half::f16;
    use neurosieve::activations::Stored;
    let shards = tempfile::tempdir().unwrap();
    for name in ["a", "b"] {
        let to = shards.path().join(format!("{name}.safetensors"));
        std::fs::copy(fixture("python-tokens/test.safetensors"), to).unwrap();
    }
    for path in [
        fixture("python-tokens/test.safetensors"),
        fixture("python-tokens/test.activations.npy"),
        shards.path().to_owned(),
    ] {
        let rows = data::open(&path, &ReadOptions::default())
            .unwrap()
            .into_rows()
            .unwrap();
        assert_eq!(rows.stored(), Stored::F16, "{path:?}");
        let neurons = rows.shape().1;
        let (first, count) = (rows.shape().0 - 30, 30);
        let (mut values, mut bits) = (vec![0.0; count * neurons], vec![0; count * neurons]);
        rows.read_rows(first, &mut values).unwrap();
        rows.read_bits(first, &mut bits).unwrap();
        assert!(values.iter().any(|v| *v != 0.0));
        for (value, bits) in values.iter().zip(&bits) {
            assert_eq!(f16::from_bits(*bits).to_f32(), *value);
        }
        assert!(
            rows.read_bits(first + 1, &mut bits).is_err(),
            "past the end"
        );
    }
    let whole = open(&fixture("python-tokens/test.safetensors"))
        .activations()
        .unwrap();
    let refused = neurosieve::activations::Rows::read_bits(&whole, 0, &mut [0; 336]);
    assert!(refused.unwrap_err().to_string().contains("32 bits"));
}
