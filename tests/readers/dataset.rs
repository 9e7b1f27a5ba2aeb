//! Train, dev and test together.

use std::path::{Path, PathBuf};

use neurosieve::data::{DatasetFiles, PartFiles, ReadOptions, read_dataset};
use safetensors::tensor::Dtype as Stored;

use super::native::{f32_bytes, i32_bytes, write};
use super::{assert_says, fixture, message};

fn part(folder: &str, name: &str) -> PartFiles {
    PartFiles {
        activations: fixture(&format!("{folder}/{name}.safetensors")),
        ..PartFiles::default()
    }
}

fn files(folder: &str, tasks: &[&str]) -> DatasetFiles {
    DatasetFiles {
        train: part(folder, "train"),
        dev: part(folder, "dev"),
        test: part(folder, "test"),
        tasks: tasks.iter().map(|&task| task.to_owned()).collect(),
        ..DatasetFiles::default()
    }
}

#[test]
fn both_fixtures_read_as_data_sets() {
    let data = read_dataset(&files("python-tokens", &[])).unwrap();
    assert_eq!(data.tasks(), ["fine"]);
    assert_eq!(data.train().activations.samples(), 800);
    assert_eq!(data.dev().labels[0].len(), 200);
    assert_eq!(data.test().labels[0].classes().len(), 16);

    let tasks = ["suffix", "casing", "digit", "parity", "control"];
    let data = read_dataset(&files("english-suffixes", &tasks)).unwrap();
    assert_eq!(data.tasks(), tasks);
    assert_eq!(data.test().labels[2].classes(), ["NODIGIT", "DIGIT"]);
    assert_eq!(data.test().tokens.as_ref().unwrap().words.len(), 190);
}

/// A part of three samples × two neurons, with integer labels and class names where they are given.
fn native(folder: &Path, name: &str, labels: &[i32], classes: Option<&str>) -> PartFiles {
    let path = folder.join(format!("{name}.safetensors"));
    let rows = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    let metadata: Vec<(&str, &str)> = classes
        .map(|classes| vec![("primary", "pos"), ("classes", classes)])
        .unwrap_or_default();
    write(
        &path,
        &[
            ("activations", Stored::F32, vec![3, 2], f32_bytes(&rows)),
            ("labels", Stored::I32, vec![labels.len()], i32_bytes(labels)),
        ],
        &metadata,
    );
    PartFiles {
        activations: path,
        ..PartFiles::default()
    }
}

/// The same without labels inside: they are in a text file of their own.
fn labelled(folder: &Path, name: &str, labels: &str) -> PartFiles {
    let mut part = native(folder, name, &[0, 0, 0], None);
    part.labels = vec![(
        "pos".to_owned(),
        text(folder, &format!("{name}.label"), labels),
    )];
    part
}

fn text(folder: &Path, name: &str, content: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, content).unwrap();
    path
}

fn of(train: PartFiles, dev: PartFiles, test: PartFiles) -> DatasetFiles {
    DatasetFiles {
        train,
        dev,
        test,
        ..DatasetFiles::default()
    }
}

#[test]
fn classes_of_text_are_the_sorted_union_and_one_that_only_test_has_is_legal() {
    let folder = tempfile::tempdir().unwrap();
    let files = of(
        labelled(folder.path(), "train", "VERB NOUN VERB\n"),
        labelled(folder.path(), "dev", "NOUN\nNOUN\nNOUN\n"),
        labelled(folder.path(), "test", "ADJ VERB X\n"),
    );
    let data = read_dataset(&files).unwrap();
    assert_eq!(data.tasks(), ["pos"]);
    for part in [data.train(), data.dev(), data.test()] {
        assert_eq!(part.labels[0].classes(), ["ADJ", "NOUN", "VERB", "X"]);
    }
    assert_eq!(data.train().labels[0].ids(), [2, 1, 2]);
    assert_eq!(data.test().labels[0].ids(), [0, 2, 3]);
}

#[test]
fn declared_classes_keep_their_order_and_are_matched_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let declared = Some(r#"{"pos": ["VERB", "NOUN", "ADJ"]}"#);
    let swapped = Some(r#"{"pos": ["NOUN", "VERB"]}"#);
    let files = of(
        native(folder.path(), "train", &[0, 1, 0], declared),
        native(folder.path(), "dev", &[0, 1, 1], swapped),
        labelled(folder.path(), "test", "NOUN VERB NEW\n"),
    );
    let data = read_dataset(&files).unwrap();
    for part in [data.train(), data.dev(), data.test()] {
        assert_eq!(part.labels[0].classes(), ["VERB", "NOUN", "ADJ", "NEW"]);
    }
    assert_eq!(data.dev().labels[0].ids(), [1, 0, 0]);
    assert_eq!(data.test().labels[0].ids(), [1, 0, 3]);
}

#[test]
fn integer_labels_are_ids_into_declared_classes_and_must_be_among_them() {
    let mut files = files("python-tokens", &["fine", "control"]);
    let expected = read_dataset(&files).unwrap();
    files.test.labels = vec![
        ("fine".into(), fixture("python-tokens/test.labels.npy")),
        (
            "control".into(),
            fixture("python-tokens/test.labels.control.npy"),
        ),
    ];
    let data = read_dataset(&files).unwrap();
    assert_eq!(data.test().labels, expected.test().labels);

    let folder = tempfile::tempdir().unwrap();
    let declared = Some(r#"{"pos": ["NOUN", "VERB"]}"#);
    let files = DatasetFiles {
        tasks: vec!["pos".into()],
        ..of(
            native(folder.path(), "train", &[0, 1, 0], declared),
            native(folder.path(), "dev", &[0, 1, 0], declared),
            labelled(folder.path(), "test", "5 5 5\n"),
        )
    };
    let path = folder.path().join("test.label");
    let text = message(read_dataset(&files), &path);
    assert_says(
        &text,
        &["not one of its labels", "\"5\"", "train.safetensors"],
    );
}

#[test]
fn parts_in_npy_with_integer_labels_need_no_names() {
    let part = || PartFiles {
        activations: fixture("python-tokens/test.activations.npy"),
        labels: vec![("fine".into(), fixture("python-tokens/test.labels.npy"))],
        words: Some(fixture("python-tokens/neurox/test.word")),
    };
    let files = DatasetFiles {
        options: ReadOptions {
            layers_units: Some((7, 48)),
        },
        ..of(part(), part(), part())
    };
    let data = read_dataset(&files).unwrap();
    assert_eq!(data.train().activations.layers().layers().len(), 7);
    let native = super::open(&fixture("python-tokens/test.safetensors"));
    let declared = native.labels("fine").unwrap().unwrap();
    let labels = &data.test().labels[0];
    for (&id, &declared) in labels.ids().iter().zip(&declared.ids) {
        assert_eq!(labels.classes()[id as usize], declared.to_string());
    }
    assert_eq!(data.test().tokens, native.tokens().unwrap());
}

#[test]
fn counts_that_differ_are_named_with_both_files() {
    let folder = tempfile::tempdir().unwrap();
    let good = || labelled(folder.path(), "train", "A B A\n");
    let files = of(
        good(),
        good(),
        labelled(folder.path(), "test", "A B\nA\nB\n"),
    );
    let path = folder.path().join("test.label");
    let error = message(read_dataset(&files), &path);
    assert_says(
        &error,
        &["task \"pos\"", "4 labels", "3 rows", "test.safetensors"],
    );

    let mut files = of(good(), good(), good());
    let words = text(folder.path(), "dev.word", "a b\n");
    files.dev.words = Some(words.clone());
    let error = message(read_dataset(&files), &words);
    assert_says(&error, &["2 words", "3 rows", "train.safetensors"]);
}

#[test]
fn words_out_of_step_with_the_sentences_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let hdf5 = folder.path().join("a.hdf5");
    std::fs::copy(fixture("python-tokens/neurox/test.hdf5"), &hdf5).unwrap();
    let words = std::fs::read_to_string(fixture("python-tokens/neurox/test.word")).unwrap();
    let mut lines: Vec<&str> = words.lines().collect();
    lines.swap(0, 1);
    let word = text(folder.path(), "a.word", &lines.join("\n"));
    let error = message(super::open(&hdf5).tokens(), &word);
    assert_says(
        &error,
        &["word 9", "sentence 1 does at row 9", "same order"],
    );
}

#[test]
fn tasks_without_labels_and_parts_of_other_models_are_refused() {
    let files = files("python-tokens", &["fine", "gender"]);
    let error = message(read_dataset(&files), &files.train.activations);
    assert_says(&error, &["\"gender\"", "\"fine\", \"coarse\", \"control\""]);

    let mut mixed = self::files("python-tokens", &["control"]);
    mixed.dev = part("english-suffixes", "dev");
    let error = read_dataset(&mixed).unwrap_err().to_string();
    assert_says(&error, &["not one of its labels", "english-suffixes"]);

    let silent = PartFiles {
        activations: fixture("readers/first-f32.npy"),
        ..PartFiles::default()
    };
    let path = silent.activations.clone();
    let error = message(
        read_dataset(&of(silent.clone(), silent.clone(), silent)),
        &path,
    );
    assert_says(&error, &["holds none", "label file"]);
}

#[test]
fn a_table_of_labels_brings_its_words() {
    let folder = tempfile::tempdir().unwrap();
    let part = || {
        let mut part = native(folder.path(), "train", &[0, 0, 0], None);
        let table = "the\tDET\n\"cat\tNOUN\n\nsat\tVERB\n";
        part.labels = vec![("pos".into(), text(folder.path(), "train.tsv", table))];
        part
    };
    let data = read_dataset(&of(part(), part(), part())).unwrap();
    let tokens = data.train().tokens.as_ref().unwrap();
    assert_eq!(tokens.words, ["the", "\"cat", "sat"]);
    assert_eq!(tokens.sentences, [0, 0, 1]);
}
