//! One matrix in every format: the same rows, whatever the file.

use neurosieve::data::{self, Dtype, ReadOptions};

use super::{fixture, open};

/// Rows of the first three sentences of the test part, columns of layers 0 and 1: what `fixtures/readers` holds.
fn expected() -> Vec<Vec<f32>> {
    let native = open(&fixture("python-tokens/test.safetensors"));
    let rows = native
        .tokens()
        .unwrap()
        .unwrap()
        .sentences
        .iter()
        .filter(|&&sentence| sentence < 3)
        .count();
    let values = native.activations().unwrap();
    (0..rows)
        .map(|row| values.view().row(row).iter().take(96).copied().collect())
        .collect()
}

fn rows(name: &str) -> Vec<Vec<f32>> {
    let values = open(&fixture(name)).activations().unwrap();
    values
        .view()
        .rows()
        .into_iter()
        .map(|row| row.to_vec())
        .collect()
}

#[test]
fn half_single_and_double_precision_give_identical_rows() {
    let expected = expected();
    for (name, dtype) in [
        ("readers/first.npz", Dtype::F16),
        ("readers/compressed.npz", Dtype::F32),
        ("readers/first-f32.npy", Dtype::F32),
        ("readers/fortran-f64.npy", Dtype::F64),
        ("readers/numbered-f64.hdf5", Dtype::F64),
    ] {
        assert_eq!(open(&fixture(name)).dtype(), dtype, "{name}");
        assert!(rows(name) == expected, "{name}");
    }
}

#[test]
fn bfloat16_is_the_nearest_value_of_eight_bits() {
    let source = open(&fixture("readers/bf16.safetensors"));
    assert_eq!(source.dtype(), Dtype::BF16);
    let rounded = rows("readers/bf16.safetensors");
    let mut differing = 0;
    for (row, expected) in rounded.iter().zip(expected()) {
        for (&value, expected) in row.iter().zip(expected) {
            assert!((value - expected).abs() <= expected.abs() / 256.0);
            differing += usize::from(value != expected);
        }
    }
    assert!(differing > 1000, "rounding must show: {differing}");
}

#[test]
fn json_lines_agree_to_the_eight_decimals_that_they_hold() {
    let json = rows("readers/first.json");
    let expected = expected();
    assert_eq!(json.len(), expected.len());
    for (row, expected) in json.iter().zip(expected) {
        for (&value, expected) in row.iter().zip(expected) {
            // Half a unit of the eighth decimal, and the rounding of that decimal to f32.
            let (value, expected) = (f64::from(value), f64::from(expected));
            let bound = 5e-9 + expected.abs() * f64::from(f32::EPSILON) / 2.0;
            assert!((value - expected).abs() <= bound, "{value} for {expected}");
        }
    }
}

#[test]
fn the_whole_test_part_is_the_same_in_safetensors_npy_and_hdf5() {
    let native = open(&fixture("python-tokens/test.safetensors"));
    let values = native.activations().unwrap();
    let hdf5 = open(&fixture("python-tokens/neurox/test.hdf5"));
    assert_eq!(hdf5.dtype(), Dtype::F32);
    assert!(hdf5.activations().unwrap().view() == values.view());
    assert_eq!(hdf5.layers().layers(), [0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(hdf5.layers().columns(6), 288..336);

    let options = ReadOptions {
        layers_units: Some((7, 48)),
    };
    let npy = data::open(&fixture("python-tokens/test.activations.npy"), &options).unwrap();
    assert!(npy.activations().unwrap().view() == values.view());
    assert_eq!(npy.layers(), hdf5.layers());
    // The words beside each of the three are those of the same sentences.
    assert_eq!(
        npy.tokens().unwrap().unwrap(),
        native.tokens().unwrap().unwrap()
    );
    assert_eq!(
        hdf5.tokens().unwrap().unwrap(),
        native.tokens().unwrap().unwrap()
    );
}

#[test]
fn row_blocks_that_cut_sentences_and_columns_are_the_rows_of_the_whole() {
    for name in [
        "readers/fortran-f64.npy",
        "readers/first.npz",
        "readers/order.hdf5",
        "readers/numbered-f64.hdf5",
        "readers/first.json",
    ] {
        let source = open(&fixture(name));
        let whole = source.activations().unwrap();
        for start in 0..source.samples() {
            let count = 11.min(source.samples() - start);
            let mut block = vec![f32::NAN; count * source.neurons()];
            source.read_rows(start, &mut block).unwrap();
            let rows = whole.view();
            let rows = rows.as_slice().unwrap();
            assert!(
                block == rows[start * 96..(start + count) * 96],
                "{name}, row {start}"
            );
        }
        source.read_rows(source.samples(), &mut []).unwrap();
    }
}

#[test]
fn sentences_follow_the_insertion_order_of_the_index_and_not_their_numbers() {
    // Sentences 0, 1, 0, 2 as data sets "30", "7", "2", "11"; the third is the second occurrence of the first.
    let source = open(&fixture("readers/order.hdf5"));
    assert_eq!(source.dtype(), Dtype::F16);
    let tokens = source.tokens().unwrap().unwrap();
    let lengths: Vec<usize> = (0..4)
        .map(|sentence| tokens.sentences.iter().filter(|&&s| s == sentence).count())
        .collect();
    let first = expected();
    let (a, b) = (lengths[0], lengths[1]);
    assert_eq!(lengths[2], a);
    assert_eq!(a + b + lengths[3], first.len());
    let mut order: Vec<Vec<f32>> = first[..a + b].to_vec();
    order.extend_from_slice(&first[..a]);
    order.extend_from_slice(&first[a + b..]);
    assert!(rows("readers/order.hdf5") == order);
    // Negative control: the order of the numbers (2, 7, 11, 30) is another matrix.
    let mut numeric: Vec<Vec<f32>> = first.clone();
    numeric.extend_from_slice(&first[..a]);
    assert!(rows("readers/order.hdf5") != numeric);

    assert_eq!(tokens.words[..3], ["self", ".", "testLoader"]);
    assert_eq!(tokens.words[a + b..2 * a + b], tokens.words[..a]);
}

#[test]
fn words_and_sentences_of_json_lines_are_those_of_the_text() {
    let json = open(&fixture("readers/first.json"))
        .tokens()
        .unwrap()
        .unwrap();
    let native = open(&fixture("python-tokens/test.safetensors"))
        .tokens()
        .unwrap()
        .unwrap();
    let rows = json.words.len();
    assert_eq!(json.words, native.words[..rows]);
    assert_eq!(json.sentences, native.sentences[..rows]);
}

#[test]
fn a_file_of_one_layer_carries_the_number_in_its_name() {
    let source = open(&fixture("readers/first-layer5.hdf5"));
    assert_eq!(source.layers().layers(), [5]);
    assert_eq!(source.layers().unit(47), 47);
    let values = rows("readers/first-layer5.hdf5");
    let second_layer: Vec<Vec<f32>> = expected().iter().map(|row| row[48..].to_vec()).collect();
    assert!(values == second_layer);
}

#[test]
fn layers_and_units_are_asked_for_only_where_the_file_is_silent() {
    let npy = fixture("readers/first-f32.npy");
    assert_eq!(open(&npy).layers().layers(), [0]);
    let asked = |layers, units| ReadOptions {
        layers_units: Some((layers, units)),
    };
    let split = data::open(&npy, &asked(2, 48)).unwrap();
    assert_eq!(split.layers().columns(1), 48..96);
    let wrong = data::open(&npy, &asked(3, 48)).unwrap_err().to_string();
    super::assert_says(&wrong, &["3 layers × 48 units", "96 columns"]);
    for name in ["readers/order.hdf5", "readers/first.json"] {
        assert!(data::open(&fixture(name), &asked(2, 48)).is_ok());
        let wrong = data::open(&fixture(name), &asked(4, 24)).unwrap_err();
        super::assert_says(&wrong.to_string(), &["2 layers of 48 units", "4x24"]);
    }
}

#[test]
fn arrays_that_another_library_writes_are_read() {
    use npyz::WriterBuilder;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.npy");
    for order in [npyz::Order::C, npyz::Order::Fortran] {
        let mut bytes = Vec::new();
        let mut writer = npyz::WriteOptions::new()
            .default_dtype()
            .shape(&[2, 3])
            .order(order)
            .writer(&mut bytes)
            .begin_nd()
            .unwrap();
        writer.extend([1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
        writer.finish().unwrap();
        std::fs::write(&path, bytes).unwrap();
        let values = open(&path).activations().unwrap();
        let expected = match order {
            npyz::Order::C => [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
            npyz::Order::Fortran => [1.0, 3.0, 5.0, 2.0, 4.0, 6.0],
        };
        assert_eq!(values.view().as_slice().unwrap(), expected);
    }
}

#[test]
fn rows_are_read_in_any_order_from_every_format() {
    let expected = expected();
    for name in [
        "readers/first.npz",
        "readers/first-f32.npy",
        "readers/fortran-f64.npy",
        "readers/numbered-f64.hdf5",
    ] {
        let rows = open(&fixture(name)).into_rows().unwrap();
        let neurons = expected[0].len();
        assert_eq!(rows.shape(), (expected.len(), neurons), "{name}");
        let mut row = vec![0.0; neurons];
        for (at, expected) in expected.iter().enumerate().rev() {
            rows.read_rows(at, &mut row).unwrap();
            assert!(row == *expected, "{name}, row {at}");
        }
        assert!(rows.read_rows(expected.len(), &mut row).is_err());
    }
    let native = open(&fixture("python-tokens/test.safetensors"));
    let values = native.activations().unwrap();
    let mut two = vec![0.0; 2 * native.neurons()];
    native.into_rows().unwrap().read_rows(5, &mut two).unwrap();
    assert!(two.iter().eq(values.view().slice(ndarray::s![5..7, ..])));
}
