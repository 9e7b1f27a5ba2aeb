//! Broken files: each ends in one error that names file, place, value and remedy; none in a panic.

use super::mutated::activations as read_all;
use super::{assert_says, fixture, message};

/// File and pieces of its message: where, what, and what to do.
const ACTIVATIONS: &[(&str, &[&str])] = &[
    // safetensors
    (
        "truncated.safetensors",
        &["end of file, byte 3308", "cut off"],
    ),
    (
        "cut-in-header.safetensors",
        &["length of the header", "not a complete"],
    ),
    (
        "long-header.safetensors",
        &["length of the header", "header too large"],
    ),
    (
        "short.safetensors",
        &["length of the header", "header too small"],
    ),
    ("empty.safetensors", &["the file is empty"]),
    ("lfs.safetensors", &["Git LFS pointer", "git lfs pull"]),
    ("not-json.safetensors", &["header", "invalid JSON"]),
    ("not-utf8.safetensors", &["header", "UTF-8"]),
    ("overflow.safetensors", &["header", "overflow"]),
    ("negative.safetensors", &["header", "-1"]),
    ("no-rows.safetensors", &["0 samples", "at least one"]),
    (
        "integers.safetensors",
        &["tensor \"activations\"", "I64", "F16, BF16, F32 or F64"],
    ),
    (
        "vector.safetensors",
        &["tensor \"activations\"", "[4]", "samples × neurons"],
    ),
    (
        "unnamed.safetensors",
        &["no tensor \"activations\"", "\"embeddings\""],
    ),
    (
        "infinite.safetensors",
        &["row 1, neuron 2 (layer 6, unit 0)", "inf", "stored as F32"],
    ),
    (
        "few-labels.safetensors",
        &["tensor \"labels\"", "[2]", "3 rows"],
    ),
    (
        "unknown-class.safetensors",
        &["tensor \"labels\", row 1", "class 2", "2 declared classes"],
    ),
    (
        "negative-label.safetensors",
        &["tensor \"labels\", row 0", "-1", "count from 0"],
    ),
    (
        "float-labels.safetensors",
        &["tensor \"labels\"", "F32", "integers"],
    ),
    (
        "broken-classes.safetensors",
        &["metadata \"classes\"", "EOF"],
    ),
    (
        "repeated-class.safetensors",
        &["metadata \"classes\"", "\"A\" twice"],
    ),
    (
        "wrong-units.safetensors",
        &["metadata", "3 layers of 2 units", "4 columns"],
    ),
    (
        "descending-layers.safetensors",
        &["metadata \"layers\"", "layer 0", "ascending"],
    ),
    (
        "many-layers.safetensors",
        &["metadata", "\"n_layers\" is 4294967295", "4 columns"],
    ),
    // NumPy
    ("objects.npy", &["header", "|O", "never loaded"]),
    (
        "objects.npz",
        &["array \"activations.npy\"", "|O", "never loaded"],
    ),
    ("big-endian.npy", &["header", ">f4", "little-endian"]),
    (
        "three-dimensions.npy",
        &["header", "[3, 2, 2]", "two dimensions"],
    ),
    (
        "integers.npy",
        &["header", "<i4", "float16, float32 or float64"],
    ),
    ("truncated.npy", &["13056 bytes", "13049 follow", "cut off"]),
    ("padded.npy", &["13056 bytes", "13057 follow"]),
    ("cut-in-header.npy", &["118 bytes long", "50 follow"]),
    ("text.npy", &["does not start with"]),
    ("negative.npy", &["character 51", "-3"]),
    ("overflow.npy", &["4611686018427387904", "more than 2^64"]),
    ("beyond.npy", &["character", "99999999999999999999999"]),
    ("nested.npy", &["character 10", "((("]),
    ("no-rows.npy", &["0 samples", "at least one"]),
    (
        "beyond-f32.npy",
        &["row 2, neuron 3 (layer 0, unit 3)", "inf as f32", "F64"],
    ),
    (
        "two-matrices.npz",
        &[
            "2 arrays, 2 of them",
            "\"a.npy\", \"b.npy\"",
            "activations=matrix",
        ],
    ),
    ("truncated.npz", &["zip directory", "not a complete .npz"]),
    ("flipped.npz", &["array \"only_matrix.npy\"", "damaged"]),
    // NeuroX HDF5
    ("truncated.hdf5", &["damaged"]),
    (
        "wide-chunks.hdf5",
        &["data set \"0\"", "chunks are of [2, 3, 1073741824]", "copy"],
    ),
    (
        "matrix.hdf5",
        &["data set \"0\"", "[3, 2]", "(layers, tokens, units)"],
    ),
    (
        "integers.hdf5",
        &["data set \"0\"", "float16, float32 or float64"],
    ),
    ("no-sentences.hdf5", &["root group", "no data set"]),
    ("names.hdf5", &["data set \"activations\"", "not a number"]),
    (
        "two-widths.hdf5",
        &["data set \"1\"", "2 layers of 1 units", "2 of 2"],
    ),
    (
        "missing.hdf5",
        &["sentence_to_index", "sentence 1", "\"1\""],
    ),
    (
        "twice.hdf5",
        &["sentence_to_index", "two sentences are data set \"0\""],
    ),
    (
        "unnamed.hdf5",
        &["sentence_to_index", "1 sentences", "2 data sets"],
    ),
    ("broken-index.hdf5", &["sentence_to_index", "EOF"]),
    ("nan.hdf5", &["row 5, neuron 2 (layer 1, unit 0)", "NaN"]),
    ("elsewhere.hdf5", &["data set \"0\"", "other files"]),
    // NeuroX JSON lines
    (
        "ragged.json",
        &["line 2, token \"b\"", "3 values", "4 values"],
    ),
    (
        "nan.json",
        &["line 2, column", "NaN and Infinity are not JSON"],
    ),
    ("cut.json", &["line 2, column", "EOF"]),
    ("words.json", &["line 2, column", "expected f32"]),
    ("array.json", &["line 1, column", "one JSON object"]),
    ("nested.json", &["line 1, column", "one JSON object"]),
    ("no-tokens.json", &["0 samples"]),
    // not activations at all
    (
        "model.pt",
        &["extension", "\".pt\"", "can run code", "safetensors"],
    ),
    ("pair.label", &["extension", "\".label\"", ".safetensors"]),
];

#[test]
fn every_broken_file_of_activations_ends_in_an_error_that_says_where_and_why() {
    let mut wrong = Vec::new();
    for (name, pieces) in ACTIVATIONS {
        let path = fixture(&format!("hostile/{name}"));
        let text = message(read_all(&path), &path);
        for piece in pieces.iter().filter(|piece| !text.contains(**piece)) {
            wrong.push(format!("{text:?} lacks {piece:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_broken_file_is_in_a_test() {
    let named: Vec<&str> = ACTIVATIONS.iter().map(|(name, _)| *name).collect();
    for entry in std::fs::read_dir(fixture("hostile")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(
            named.contains(&name.as_str()) || super::text::BROKEN.contains(&name.as_str()),
            "fixtures/hostile/{name} is not read by any test"
        );
    }
}

#[test]
fn folders_and_missing_files_are_refused_by_name() {
    // Parts of a data set are not shards of one matrix.
    let folder = fixture("english-suffixes");
    assert_says(
        &message(read_all(&folder), &folder),
        &["train", "a data set", "one of them"],
    );
    let empty = tempfile::Builder::new().suffix(".npy").tempdir().unwrap();
    assert_says(
        &message(read_all(empty.path()), empty.path()),
        &["no file of activations", "shards"],
    );
    let missing = fixture("python-tokens/none.hdf5");
    assert_says(&message(read_all(&missing), &missing), &["cannot read"]);
}
