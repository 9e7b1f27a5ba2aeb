//! Masks, orderings and probes that are broken or of something else.

use serde_json::Value;

use super::{Files, SAMPLES, npy};
use crate::cli::{Part, assert_fails, code, neurosieve, stderr};

#[test]
fn masks_that_do_not_fit_are_refused() {
    let files = Files::new(3);
    let masks = |text: &str, parts: &[&str]| {
        let path = files.write("bad.json", text);
        files.refused(&["--masks", &path], &[&["bad.json"], parts].concat());
    };
    masks("[[0, 1], [0, 0]]", &["mask 1", "neuron 0 twice"]);
    masks("[[6]]", &["mask 0", "neuron 6, the data have 6"]);
    masks("[[-1]]", &["document", "line 1"]);
    masks("[]", &["there are none"]);
    masks("{\"a\": [0]}", &["document", "line 1"]);
    masks(
        r#"[{"name": "a", "keep": [0], "remove": [1]}]"#,
        &["mask 0, \"a\"", "exactly one of keep and remove"],
    );
    masks(r#"[{"name": "a"}]"#, &["exactly one"]);
    masks(r#"[{"keep": [0], "kept": [1]}]"#, &["document"]);
    masks(r#"[{"remove": [2, 2]}]"#, &["neuron 2 twice"]);
    masks(
        &format!("[{}[]]", "[],".repeat(1 << 20)),
        &["at most 1048576"],
    );
    masks(&"[".repeat(100_000), &["document"]);
    let matrix = |bytes: Vec<u8>, parts: &[&str]| {
        let path = files.write("bad.npy", bytes);
        files.refused(&["--masks", &path], &[&["bad.npy"], parts].concat());
    };
    matrix(
        npy("|b1", "False", "(2, 5)", &[true; 10]),
        &["of 5 neurons, the data of 6"],
    );
    matrix(
        npy("|b1", "False", "(2, 6)", &[true; 11]),
        &["takes 12 bytes"],
    );
    matrix(
        npy("|b1", "False", "(12,)", &[true; 12]),
        &["matrix of bool"],
    );
    matrix(
        npy("|u1", "False", "(2, 6)", &[true; 12]),
        &["matrix of bool"],
    );
    matrix(
        npy("|b1", "False", "(18446744073709551615, 6)", &[true; 12]),
        &["takes"],
    );
    matrix(npy("|b1", "False", "(5, 0)", &[]), &["there are none"]);
    let mut seven = npy("|b1", "False", "(1, 6)", &[true; 6]);
    *seven.last_mut().unwrap() = 7;
    matrix(seven, &["element 5", "its byte is 7"]);
    files.refused(
        &["--masks", &files.path("d.safetensors")],
        &["extension is \"safetensors\""],
    );
}

#[test]
fn orderings_that_do_not_fit_are_refused() {
    let files = Files::new(3);
    files.refused(
        &["--methods", "best"],
        &["there is no \"best\"", "lca", "probeless"],
    );
    files.refused(&["--methods", "probles"], &["Did you mean \"probeless\"?"]);
    // Names of the file are quoted, and a terminal obeys nothing in them.
    files.write(
        "r.json",
        r#"{"rankings": {"be\u001b[31mst": {"order": [0]}}}"#,
    );
    files.refused(&["--methods", "worst"], &["Name some of be\u{fffd}[31mst"]);
    let rankings = |text: &str, parts: &[&str]| {
        files.write("r.json", text);
        files.refused(&[], &[&["r.json"], parts].concat());
    };
    rankings("{}", &["document", "rankings"]);
    rankings(r#"{"rankings": {}}"#, &["there are none"]);
    rankings(
        r#"{"schema_version": 2, "rankings": {"a": {"order": [0]}}}"#,
        &["schema_version", "it is 2"],
    );
    rankings(
        r#"{"rankings": {"a": {"order": [0, 1]}}}"#,
        &["a orders 2 neurons, the data have 6"],
    );
    rankings(
        r#"{"rankings": {"a": {"order": [0, 0, 1, 2, 3, 4]}}}"#,
        &["ranking \"a\"", "neuron 0 twice"],
    );
    rankings(
        r#"{"rankings": {"a": {"order": [0, 9]}}}"#,
        &["neuron 9, and 2 neurons in all"],
    );
    rankings(
        r#"{"rankings": {"a": {"order": [0.5]}}}"#,
        &["document", "line 1"],
    );
    rankings("not json", &["document", "line 1"]);
}

#[test]
fn names_that_nothing_has_are_refused_before_activations_are_read() {
    let files = Files::new(3);
    let mut broken = Part::new(SAMPLES, 3, 4);
    broken.values[7] = f32::NAN;
    broken.write(files.path("d.safetensors").as_ref());
    files.refused(&[], &["row 1, neuron 1", "NaN"]);
    files.refused(
        &["--task", "color"],
        &["none of task \"color\"", "Did you mean \"colour\"?"],
    );
    files.refused(&["--methods", "probles"], &["Did you mean \"probeless\"?"]);
    let (data, out) = (files.path("d.safetensors"), files.path("r2.json"));
    let ranked = ["rank", &data, "-o", &out, "--task", "color"];
    assert_fails(&neurosieve(&ranked), &["Did you mean \"colour\"?"]);
    let far = neurosieve(&["rank", &data, "-o", &out, "--task", "position"]);
    assert_fails(&far, &["none of task \"position\"", "\"colour\""]);
    assert!(!stderr(&far).contains("Did you mean"));
}

#[test]
fn probes_that_do_not_fit_are_refused() {
    let files = Files::new(3);
    let (data, probe) = (files.path("d.safetensors"), files.path("p.safetensors"));
    files.refused(&["--probe", &data], &["d.safetensors", "neurosieve probe"]);
    files.refused(&["--task", "shape"], &["none of task \"shape\""]);
    let other = files.path("o.safetensors");
    let out = files.path("o.json");
    let rankings = files.path("r.json");
    let with = [
        "sweep",
        &other,
        "--probe",
        &probe,
        "--rankings",
        &rankings,
        "-o",
        &out,
    ];
    Part::new(50, 3, 4).with_neurons(4).write(other.as_ref());
    assert_fails(&neurosieve(&with), &["of 6 neurons, the data of 4"]);
    let mut numbers = "0.5\n".repeat(SAMPLES - 1);
    numbers.push_str("2\n");
    let values = files.write("values.txt", numbers);
    let line = files.path("line.safetensors");
    files.ok(&[
        "probe",
        &data,
        "-o",
        &line,
        "--regression",
        "--labels",
        &values,
        "--l1",
        "0.01",
        "--l2",
        "0.01",
        "--device",
        "cpu",
    ]);
    files.refused(&["--probe", &line], &["values, not classes"]);
    let words = files.write("words.txt", "red\n".repeat(SAMPLES));
    files.refused(
        &["--labels", &words],
        &["none of the classes of the data", "red"],
    );
    // Bytes of the bias that are no number.
    let mut bytes = std::fs::read(&probe).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let text: Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
    let start = 8 + header + text["bias"]["data_offsets"][0].as_u64().unwrap() as usize;
    bytes[start..start + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    let broken = files.write("broken.safetensors", bytes);
    files.refused(
        &["--probe", &broken],
        &["tensor \"bias\"", "entry 0 is NaN"],
    );
}

#[test]
fn outputs_that_are_inputs_and_wrong_usage_are_refused() {
    let files = Files::new(3);
    let (data, probe) = (files.path("d.safetensors"), files.path("p.safetensors"));
    let (out, rankings) = (files.path("o.json"), files.path("r.json"));
    // An output that is an input would be replaced.
    let replaced = [
        "sweep",
        &data,
        "--probe",
        &probe,
        "--rankings",
        &rankings,
        "-o",
        &rankings,
    ];
    assert_fails(
        &neurosieve(&replaced),
        &["would be replaced, which is an input"],
    );
    for wrong in [
        &["sweep", &data, "-o", &out, "--rankings", &rankings][..],
        &["sweep", &data, "-o", &out, "--probe", &probe],
        &[
            "sweep",
            &data,
            "-o",
            &out,
            "--probe",
            &probe,
            "--rankings",
            &rankings,
            "--ablation",
            "noise",
        ],
        &[
            "sweep",
            &data,
            "-o",
            &out,
            "--probe",
            &probe,
            "--masks",
            &out,
            "--methods",
            "lca",
        ],
        &[
            "sweep",
            &data,
            "-o",
            &out,
            "--probe",
            &probe,
            "--rankings",
            &rankings,
            "--random-draws",
            "1001",
        ],
    ] {
        let usage = neurosieve(wrong);
        assert_eq!(code(&usage), 2, "{wrong:?}: {}", stderr(&usage));
    }
}
