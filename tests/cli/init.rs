//! `init`: a specification that fits the data, and that a study then runs by.

use std::path::Path;

use super::{assert_fails, neurosieve};

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/python-tokens");

fn copied(folder: &Path, names: &[(&str, &str)]) {
    for (from, to) in names {
        std::fs::copy(format!("{DATA}/{from}"), folder.join(to)).unwrap();
    }
}

fn init(arguments: &[&Path]) -> std::process::Output {
    let mut all = vec!["init"];
    all.extend(arguments.iter().map(|path| path.to_str().unwrap()));
    neurosieve(&all)
}

#[test]
fn a_folder_becomes_a_specification_that_a_study_runs_by() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let names = [
        ("train.safetensors", "my-Train.safetensors"),
        ("dev.safetensors", "my_valid.safetensors"),
        ("test.safetensors", "test.1.safetensors"),
    ];
    copied(&data, &names);
    std::fs::write(data.join("notes.md"), "about train").unwrap();
    let spec = folder.path().join("study.toml");
    let ended = init(&[&data, Path::new("-o"), &spec]);
    assert!(
        ended.status.success(),
        "{}",
        String::from_utf8_lossy(&ended.stderr)
    );
    let text = std::fs::read_to_string(&spec).unwrap();
    for said in [
        "train = \"data/my-Train.safetensors\"",
        "dev = \"data/my_valid.safetensors\"",
        "test = \"data/test.1.safetensors\"",
        "coarse",
    ] {
        assert!(text.contains(said), "{said} is not in\n{text}");
    }
    // Every default that it shows is one: with the # removed it says the same.
    let shown = neurosieve::study::Spec::parse(&uncommented(&text), &spec).unwrap();
    let mut plain = neurosieve::study::Spec::parse(&text, &spec).unwrap();
    assert_eq!(shown, plain);
    // A small study by it.
    plain.data.tasks = vec!["coarse".to_owned()];
    let small = text.replace("tasks = [", "tasks = [\"coarse\"] # [") + "\n";
    let small = small
        .replace(
            "# lambda_ratios = [0.1, 0.03, 0.01, 0.003, 0.001, 0.0003]",
            "lambda_ratios = [0.1]",
        )
        .replace("# draws = 3", "draws = 0")
        .replace("# bootstrap = 10", "bootstrap = 0");
    std::fs::write(&spec, small).unwrap();
    let out = folder.path().join("out");
    let (spec, out) = (spec.to_str().unwrap(), out.to_str().unwrap());
    let ended = neurosieve(&["study", spec, "-o", out, "--device", "cpu"]);
    assert!(
        ended.status.success(),
        "{}",
        String::from_utf8_lossy(&ended.stderr)
    );
}

/// The text with the # of every default removed; remarks stay.
fn uncommented(text: &str) -> String {
    let setting = |line: &&str| {
        line.strip_prefix("# ")
            .is_some_and(|rest| rest.contains(" = "))
    };
    let line = |line: &str| match Some(line).filter(setting) {
        Some(line) if !line.contains("layers_units") => line[2..].to_owned() + "\n",
        _ => line.to_owned() + "\n",
    };
    text.lines().map(line).collect()
}

#[test]
fn labels_and_words_of_their_own_are_named() {
    let folder = tempfile::tempdir().unwrap();
    for part in ["train", "dev", "test"] {
        let values: Vec<u8> = [0.0f32, 1.0, 2.0, 4.0]
            .iter()
            .flat_map(|x| x.to_le_bytes())
            .collect();
        let head = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }";
        let mut file = b"\x93NUMPY\x01\x00".to_vec();
        let padded = format!("{head:<117}\n");
        file.extend((padded.len() as u16).to_le_bytes());
        file.extend(padded.bytes().chain(values));
        std::fs::write(folder.path().join(format!("{part}.npy")), file).unwrap();
        std::fs::write(folder.path().join(format!("{part}.label")), "a b\n").unwrap();
        std::fs::write(folder.path().join(format!("{part}.word")), "one two\n").unwrap();
    }
    let spec = folder.path().join("pos.toml");
    let ended = init(&[folder.path(), Path::new("-o"), &spec]);
    assert!(
        ended.status.success(),
        "{}",
        String::from_utf8_lossy(&ended.stderr)
    );
    let text = std::fs::read_to_string(&spec).unwrap();
    let said = "train = { activations = \"train.npy\", labels = { labels = \"train.label\" }, words = \"train.word\" }";
    assert!(text.contains(said), "{text}");
    assert!(
        text.contains("name = \"pos\"") && text.contains("# layers_units"),
        "{text}"
    );
}

#[test]
fn what_is_missing_or_there_already_is_said() {
    let folder = tempfile::tempdir().unwrap();
    copied(
        folder.path(),
        &[
            ("train.safetensors", "train.safetensors"),
            ("dev.safetensors", "dev.safetensors"),
        ],
    );
    let spec = folder.path().join("study.toml");
    let output = Path::new("-o");
    let refused = init(&[folder.path(), output, &spec]);
    assert_fails(&refused, &["test part", "no file of activations"]);
    copied(
        folder.path(),
        &[
            ("test.safetensors", "test.safetensors"),
            ("test.safetensors", "test2-test.safetensors"),
        ],
    );
    assert_fails(&init(&[folder.path(), output, &spec]), &["several files"]);
    std::fs::write(&spec, "mine").unwrap();
    assert_fails(&init(&[folder.path(), output, &spec]), &["there already"]);
    assert_eq!(std::fs::read_to_string(&spec).unwrap(), "mine");
}
