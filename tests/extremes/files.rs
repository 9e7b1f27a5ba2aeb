//! Extreme values, shapes and words as files hold them: the readers and `inspect`.

use std::path::{Path, PathBuf};

use half::f16;
use neurosieve::Result;
use neurosieve::data::{self, Inspection, ReadOptions};
use rust_hdf5::H5File;

/// Words of many scripts: combining marks, right to left, an emoji of several characters, one beyond the basic plane, a letter that
/// is no letter to some, U+2423 for white space inside a word.
pub const WORDS: [&str; 8] = [
    "e\u{301}te\u{301}",
    "שלום",
    "👩‍👩‍👧",
    "𝔘𝔫𝔦",
    "ſ",
    "a␣b",
    "日本語",
    "\u{202e}abc",
];

/// A folder with an array of some rows and columns in it, as `x.npy`.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new(descr: &str, shape: (usize, usize), bytes: &[u8]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        let header = format!(
            "{{'descr': '{descr}', 'fortran_order': False, 'shape': ({}, {}), }}\n",
            shape.0, shape.1
        );
        let mut file = b"\x93NUMPY\x01\x00".to_vec();
        file.extend((header.len() as u16).to_le_bytes());
        file.extend(header.as_bytes());
        file.extend(bytes);
        folder.with("x.npy", &file)
    }

    fn of_floats(shape: (usize, usize), values: impl Iterator<Item = f32>) -> Self {
        let bytes: Vec<u8> = values.flat_map(f32::to_le_bytes).collect();
        Self::new("<f4", shape, &bytes)
    }

    fn with(self, name: &str, bytes: &[u8]) -> Self {
        std::fs::write(self.path(name), bytes).unwrap();
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

fn inspected(path: &Path) -> Result<Inspection> {
    data::inspect(&data::open(path, &ReadOptions::default())?, &[])
}

fn activations(path: &Path) -> Result<neurosieve::Activations> {
    data::open(path, &ReadOptions::default())?.activations()
}

#[test]
fn what_f16_could_not_hold_is_counted_by_inspect_and_refused_with_its_place() {
    let values = [1.0, 65504.0, 70_000.0, -1e9, 6e-8, 1e-9].map(f16::from_f32);
    let folder = Folder::new("<f2", (3, 2), bytemuck::cast_slice(&values));
    let found = inspected(&folder.path("x.npy")).unwrap();
    assert_eq!(found.non_finite, 2);
    assert_eq!(found.first_non_finite[1].value, "-inf");
    assert_eq!(found.layers[0].maximum, 65504.0);
    let error = activations(&folder.path("x.npy")).unwrap_err().to_string();
    for piece in ["row 1, neuron 0", "inf", "F16", "wider format"] {
        assert!(error.contains(piece), "{error}");
    }
}

#[test]
fn subnormal_and_largest_values_are_read_bit_by_bit() {
    let extremes = [
        f32::MIN_POSITIVE / 8.0,
        1e-45,
        -1e-45,
        f32::MAX,
        f32::MIN,
        -0.0,
    ];
    let folder = Folder::of_floats((3, 2), extremes.into_iter());
    let read = activations(&folder.path("x.npy")).unwrap();
    let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    let values: Vec<f32> = read.view().iter().copied().collect();
    assert_eq!(bits(&values), bits(&extremes));
    let found = inspected(&folder.path("x.npy")).unwrap();
    assert_eq!((found.non_finite, found.layers[0].maximum), (0, f32::MAX));
    assert!(found.layers[0].sd.is_finite());
}

#[test]
fn one_sample_and_one_neuron_are_a_matrix_and_none_is_not() {
    let folder = Folder::of_floats((1, 1), [2.5].into_iter());
    let found = inspected(&folder.path("x.npy")).unwrap();
    assert_eq!(
        (found.samples, found.neurons, found.constant.len()),
        (1, 1, 1)
    );
    for shape in [(0, 3), (3, 0), (0, 0)] {
        let folder = Folder::of_floats(shape, std::iter::empty());
        let error = inspected(&folder.path("x.npy")).unwrap_err().to_string();
        assert!(
            error.contains("at least one sample and one neuron"),
            "{error}"
        );
    }
}

#[test]
fn words_of_any_script_are_read_as_they_are() {
    let shape = (WORDS.len(), 1);
    let values = || (0..WORDS.len()).map(|row| row as f32);
    let parallel = WORDS.join(" ");
    let table: String = WORDS.iter().map(|word| format!("{word}\tx\n")).collect();
    for (name, text) in [("x.word", &parallel), ("x.tokens.tsv", &table)] {
        let folder = Folder::of_floats(shape, values()).with(name, text.as_bytes());
        let source = data::open(&folder.path("x.npy"), &ReadOptions::default()).unwrap();
        let tokens = source.tokens().unwrap().expect("there are words");
        assert_eq!(tokens.words, WORDS, "{name}");
        assert_eq!(tokens.sentences, [0; WORDS.len()]);
    }
    let features = WORDS
        .map(|word| serde_json::json!({"token": word, "layers": [{"index": 0, "values": [0.5]}]}));
    let line = serde_json::json!({"linex_index": 0, "features": features}).to_string();
    let folder = Folder::of_floats(shape, values()).with("y.json", line.as_bytes());
    let source = data::open(&folder.path("y.json"), &ReadOptions::default()).unwrap();
    assert_eq!(source.tokens().unwrap().unwrap().words, WORDS);
    let labels = Folder::of_floats(shape, values()).with("y.txt", WORDS.join("\n").as_bytes());
    let column = data::read_labels(&labels.path("y.txt"), "task", None).unwrap();
    assert_eq!(column.classes.len(), WORDS.len());
}

#[test]
fn a_mark_or_a_carriage_return_inside_a_line_is_part_of_a_cell() {
    let text = "\u{feff}\u{feff}\n\u{feff}\tA\nb\rc\tB\r\n";
    let folder = Folder::of_floats((1, 1), [0.0].into_iter()).with("x.tsv", text.as_bytes());
    let error = data::read_labels(&folder.path("x.tsv"), "task", None).unwrap_err();
    assert!(
        error.to_string().contains("line 2: it has 2 columns"),
        "{error}"
    );
    let folder = folder.with("x.tsv", text.split_once('\n').unwrap().1.as_bytes());
    let column = data::read_labels(&folder.path("x.tsv"), "task", None).unwrap();
    assert_eq!(column.classes, ["A", "B"]);
}

/// Tokens of the longest sentence.
const LONG: usize = 1_000_000;

#[test]
fn a_sentence_of_a_million_tokens_is_one_sentence() {
    let shape = (LONG, 2);
    let value = |at: usize| (at % 1013) as f32;
    let folder = Folder::of_floats(shape, (0..2 * LONG).map(value))
        .with("x.word", "wörd ".repeat(LONG).as_bytes())
        .with("x.label", "A B ".repeat(LONG / 2).as_bytes());
    let found = inspected(&folder.path("x.npy")).unwrap();
    assert_eq!((found.samples, found.sentences), (LONG, Some(1)));
    let words = folder.path("x.word");
    let labels = data::read_labels(&folder.path("x.label"), "task", Some(&words)).unwrap();
    assert_eq!((labels.ids.len(), labels.classes.len()), (LONG, 2));
    // As NeuroX has it: longer than the blocks that it is read by.
    let path = folder.path("y.hdf5");
    let file = H5File::create(&path).unwrap();
    let sentence = file
        .new_dataset::<f32>()
        .shape([1, LONG, 2])
        .create("0")
        .unwrap();
    let values: Vec<f32> = (0..2 * LONG).map(value).collect();
    sentence.write_raw(&values).unwrap();
    drop((sentence, file));
    let read = activations(&path).unwrap();
    assert!(read.view().iter().zip(&values).all(|(a, b)| a == b));
}
