//! Words and labels as text and as integers.

use std::path::PathBuf;

use neurosieve::data::{Naming, read_labels};

use super::{assert_says, fixture, message, open};

/// Files of `fixtures/hostile` that the tests below read.
pub(super) const BROKEN: &[&str] = &[
    "latin1.word",
    "pair.word",
    "pair.label",
    "short.label",
    "blank.txt",
    "ragged.tsv",
    "unlabelled.tsv",
];

fn hostile(name: &str) -> PathBuf {
    fixture(&format!("hostile/{name}"))
}

fn scratch(name: &str, text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

fn names(labels: &neurosieve::data::LabelColumn) -> Vec<&str> {
    labels
        .ids
        .iter()
        .map(|&id| labels.classes[id as usize].as_str())
        .collect()
}

#[test]
fn parallel_text_lines_and_integers_give_the_same_labels() {
    let native = open(&fixture("python-tokens/test.safetensors"));
    for (task, suffix) in [("fine", ""), ("coarse", ".coarse"), ("control", ".control")] {
        let declared = native.labels(task).unwrap().unwrap();
        let words = fixture("python-tokens/neurox/test.word");
        let parallel = fixture(&format!("python-tokens/neurox/test{suffix}.label"));
        let parallel = read_labels(&parallel, task, Some(&words)).unwrap();
        assert_eq!(parallel.naming, Naming::Spelled);
        assert_eq!(names(&parallel), names(&declared));
        assert!(parallel.classes.is_sorted());

        let lines = fixture(&format!("python-tokens/test.labels{suffix}.txt"));
        assert_eq!(read_labels(&lines, task, None).unwrap().ids, parallel.ids);

        let integers = fixture(&format!("python-tokens/test.labels{suffix}.npy"));
        let integers = read_labels(&integers, task, None).unwrap();
        assert_eq!(integers.naming, Naming::Numbered);
        let numbers: Vec<u32> = names(&integers)
            .iter()
            .map(|n| n.parse().unwrap())
            .collect();
        assert_eq!(numbers, declared.ids);
    }
}

#[test]
fn lines_of_different_length_are_named_with_both_counts() {
    let words = hostile("pair.word");
    let labels = hostile("pair.label");
    let text = message(read_labels(&labels, "pos", Some(&words)), &labels);
    assert_says(&text, &["line 2", "2 labels", "3 words", "pair.word"]);
    let labels = hostile("short.label");
    let text = message(read_labels(&labels, "pos", Some(&words)), &labels);
    assert_says(
        &text,
        &["line 2", "ends after 1 lines", "3 words", "pair.word"],
    );
}

#[test]
fn broken_text_is_refused_with_its_line() {
    let cases = [
        ("blank.txt", &["line 2", "empty"] as &[&str]),
        ("ragged.tsv", &["line 2", "1 columns", "2"]),
        ("unlabelled.tsv", &["line 1", "\"label\" or \"xpos\""]),
    ];
    for (name, pieces) in cases {
        let path = hostile(name);
        assert_says(&message(read_labels(&path, "xpos", None), &path), pieces);
    }
    let words = hostile("latin1.word");
    let text = message(
        read_labels(&hostile("pair.label"), "pos", Some(&words)),
        &words,
    );
    assert_says(&text, &["line 2", "0xfc", "UTF-8"]);
    let path = fixture("python-tokens/labels.json");
    let text = message(read_labels(&path, "fine", None), &path);
    assert_says(&text, &["extension", "\".json\"", ".label", ".npy"]);
}

#[test]
fn tables_take_quotes_as_they_are_and_blank_lines_end_sentences() {
    let (_folder, path) = scratch("a.tsv", "\"\tPUNCT\nhe\tPRON\n\n\"\"said\tVERB\n");
    let labels = read_labels(&path, "pos", None).unwrap();
    assert_eq!(names(&labels), ["PUNCT", "PRON", "VERB"]);
    let (_folder, path) = scratch("b.tsv", "token\tpos\tner\na\tDET\tO\nb\tNOUN\tPER\n");
    assert_eq!(
        names(&read_labels(&path, "ner", None).unwrap()),
        ["O", "PER"]
    );
}

#[test]
fn classes_that_are_numbers_are_sorted_by_value_and_labels_may_hold_spaces() {
    let (_folder, path) = scratch("a.label", "10 2\n9\n");
    assert_eq!(
        read_labels(&path, "depth", None).unwrap().classes,
        ["2", "9", "10"]
    );
    let (_folder, path) = scratch("a.txt", "\u{feff}noun phrase\r\nverb\r\n");
    assert_eq!(
        names(&read_labels(&path, "kind", None).unwrap()),
        ["noun phrase", "verb"]
    );
}
