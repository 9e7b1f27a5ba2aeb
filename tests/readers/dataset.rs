//! Train, dev and test together.

use neurosieve::data::{DatasetFiles, PartFiles, read_dataset};

use super::fixture;

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
