//! The command: exit codes, what goes to stdout and what to stderr, and what bad input is answered with.
//!
//! - `bad_input`     data, folders and devices that are refused, and odd data that are legal
//! - `bench`         measurements: one document, lists, two files beside each other
//! - `compare`       what two studies have in common
//! - `concepts`      words, concepts and classes of neurons
//! - `memory`        how much of the host's memory a command may take
//! - `pairs`         correlations and clusters: files, flags, folders of shards
//! - `plan`          what a study would do
//! - `probe`         one probe: its files, what each flag changes
//! - `rank`          orderings by every method
//! - `sweep`         every ordering and mask with every probe
//! - `shards`        one study in parts, and the parts together
//! - `specification` what is wrong in the TOML is shown with its place
//! - `init`          a specification that fits the data
//! - `manual`        completions and manual pages
//! - `kill`          runs that are killed or stopped, full disks, and going on
//! - `terminal`      manners: examples, pipes, colours, progress
//! - `together`      several studies at once
//! - `transfer`      minimal sets of one run on another's data
//! - `tuning`        which kernels were measured to be fastest: shown, cleared, switched off

mod bad_input;
mod bench;
mod compare;
mod concepts;
mod init;
mod kill;
mod manual;
mod memory;
mod pairs;
mod plan;
mod probe;
mod rank;
mod shards;
mod specification;
mod sweep;
mod terminal;
mod together;
mod transfer;
mod tuning;
mod validation;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rand::RngExt;
use serde_json::Value;

use crate::support::{normal, random};

fn neurosieve(arguments: &[&str]) -> Output {
    // Without it drivers write to stderr, where tests expect what the command says.
    let runtime = std::env::var_os("XDG_RUNTIME_DIR");
    Command::new(env!("CARGO_BIN_EXE_neurosieve"))
        .args(arguments)
        .env(
            "XDG_RUNTIME_DIR",
            runtime.unwrap_or_else(|| std::env::temp_dir().into()),
        )
        .stdin(Stdio::null())
        .output()
        .expect("the binary was built for this test")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("it was not killed")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("stdout is UTF-8")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("stderr is UTF-8")
}

/// Fails unless the command failed with code 1, nothing on stdout, and all `parts` in the error.
#[track_caller]
fn assert_fails(output: &Output, parts: &[&str]) {
    let said = stderr(output);
    assert_eq!(code(output), 1, "{said}");
    assert_eq!(stdout(output), "", "a failure leaves stdout empty");
    assert!(said.contains("error: "), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    for part in parts {
        assert!(said.contains(part), "\"{part}\" is not in: {said}");
    }
}

/// One part of a small data set: two layers of three neurons; the class shifts the first neuron of each layer.
#[derive(Clone)]
pub(crate) struct Part {
    values: Vec<f32>,
    labels: Vec<i32>,
    neurons: usize,
    classes: usize,
}

const NEURONS: usize = 6;

impl Part {
    fn new(samples: usize, classes: usize, seed: u64) -> Self {
        let mut generator = random(seed);
        let mut part = Self {
            values: Vec::new(),
            labels: Vec::new(),
            neurons: NEURONS,
            classes,
        };
        for _ in 0..samples {
            let class = generator.random_range(0..classes);
            part.labels.push(i32::try_from(class).expect("few classes"));
            for neuron in 0..NEURONS {
                let shift = if neuron % 3 == 0 {
                    2.0 * class as f64
                } else {
                    0.0
                };
                part.values.push((shift + normal(&mut generator)) as f32);
            }
        }
        part
    }

    /// Only the first neurons of each row.
    fn with_neurons(&self, neurons: usize) -> Self {
        let mut part = self.clone();
        let rows = self.values.chunks_exact(self.neurons);
        part.values = rows.flat_map(|row| row[..neurons].to_vec()).collect();
        part.neurons = neurons;
        part
    }

    fn set_column(&mut self, neuron: usize, value: f32) {
        for row in self.values.chunks_exact_mut(self.neurons) {
            row[neuron] = value;
        }
    }

    fn write(&self, path: &Path) {
        use safetensors::tensor::{Dtype, TensorView};
        let names: Vec<String> = (0..self.classes).map(|c| format!("class-{c}")).collect();
        let metadata = [
            ("layers", "[0, 1]".to_owned()),
            ("n_layers", "2".to_owned()),
            ("hidden", (self.neurons / 2).to_string()),
            ("units", "all".to_owned()),
            (
                "classes",
                serde_json::json!({ "colour": names }).to_string(),
            ),
            ("primary", "colour".to_owned()),
        ];
        let values = bytemuck::cast_slice(&self.values);
        let labels = bytemuck::cast_slice(&self.labels);
        let shape = vec![self.values.len() / self.neurons, self.neurons];
        let tensors = [
            ("activations", TensorView::new(Dtype::F32, shape, values)),
            (
                "labels",
                TensorView::new(Dtype::I32, vec![self.labels.len()], labels),
            ),
        ]
        .map(|(name, tensor)| (name, tensor.expect("shape and bytes agree")));
        let metadata = metadata.map(|(key, value)| (key.to_owned(), value)).into();
        safetensors::serialize_to_file(tensors, Some(metadata), path)
            .expect("the folder is writable");
    }
}

/// A folder with a small study in it.
pub(crate) struct Study {
    folder: tempfile::TempDir,
}

impl Study {
    /// Writes the three parts and a specification that ends in `extra`.
    pub(crate) fn new(parts: &[Part; 3], extra: &str) -> Self {
        let study = Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
        };
        for (part, name) in parts.iter().zip(["train", "dev", "test"]) {
            part.write(&study.path(&format!("{name}.safetensors")));
        }
        study.specify(&format!(
            "name = \"small\"\n[data]\ntrain = \"train.safetensors\"\ndev = \"dev.safetensors\"\ntest = \"test.safetensors\"\n{extra}"
        ));
        study
    }

    pub(crate) fn usual() -> [Part; 3] {
        [
            Part::new(60, 2, 1),
            Part::new(30, 2, 2),
            Part::new(30, 2, 3),
        ]
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn specify(&self, text: &str) {
        std::fs::write(self.path("study.toml"), text).expect("the folder is writable");
    }

    pub(crate) fn run(&self, extra: &[&str]) -> Output {
        let (spec, output) = (self.path("study.toml"), self.path("out"));
        let mut arguments = vec!["study", text(&spec), "-o", text(&output)];
        if !extra.contains(&"--device") {
            arguments.extend(["--device", "cpu"]);
        }
        arguments.extend(extra);
        neurosieve(&arguments)
    }

    fn results(&self) -> Value {
        let text = std::fs::read_to_string(self.path("out/results.json")).expect("results.json");
        serde_json::from_str(&text).expect("results.json is JSON")
    }

    #[track_caller]
    fn assert_warns(&self, parts: &[&str]) {
        let warnings = self.results()["warnings"].to_string();
        for part in parts {
            assert!(warnings.contains(part), "\"{part}\" is not in: {warnings}");
        }
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary folders have UTF-8 names")
}

#[test]
fn a_study_writes_its_files_and_prints_the_answer() {
    let study = Study::new(&Study::usual(), "");
    let output = study.run(&[]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let said = stdout(&output);
    assert!(
        said.contains("colour: 2 classes") && said.contains("oracle (neurons in use)"),
        "{said}"
    );
    for file in ["results.json", "report.html", "tables"] {
        assert!(study.path("out").join(file).exists(), "{file} is missing");
        assert!(said.contains(file), "{said}");
    }
    let left: Vec<_> = std::fs::read_dir(study.path("out"))
        .expect("the folder is there")
        .map(|entry| entry.expect("a name").file_name())
        .filter(|name| name.to_string_lossy().contains("tmp"))
        .collect();
    assert!(left.is_empty(), "temporary files were left: {left:?}");
}

#[test]
fn json_on_stdout_is_one_document_equal_to_results_json() {
    let study = Study::new(&Study::usual(), "");
    let output = study.run(&["--json"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let document: Value = serde_json::from_str(&stdout(&output)).expect("one JSON document");
    assert_eq!(document["schema_version"], 1);
    assert_eq!(document, study.results());
}

#[test]
fn the_report_is_rebuilt_from_results_json_alone() {
    let study = Study::new(&Study::usual(), "");
    assert_eq!(code(&study.run(&[])), 0);
    let report = study.path("out/report.html");
    let first = std::fs::read(&report).expect("report.html");
    std::fs::remove_file(&report).expect("it can be removed");
    std::fs::remove_dir_all(study.path("out/tables")).expect("it can be removed");
    let output = neurosieve(&["report", text(&study.path("out"))]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(stdout(&output).contains("report.html"));
    assert_eq!(std::fs::read(&report).expect("report.html"), first);
    assert!(study.path("out/tables").is_dir());
}

#[test]
fn usage_errors_exit_with_2_and_help_with_0() {
    for arguments in [
        &["study"][..],
        &["study", "spec.toml"],
        &["nonsense"],
        &["devices", "--nonsense"],
        &["inspect", "x.npy", "--layers-units", "7*384"],
        &[],
    ] {
        let output = neurosieve(arguments);
        assert_eq!(code(&output), 2, "{arguments:?}: {}", stderr(&output));
        assert_eq!(stdout(&output), "");
    }
    for arguments in [&["--help"][..], &["study", "--help"], &["--version"]] {
        let output = neurosieve(arguments);
        assert_eq!(code(&output), 0);
        assert!(!stdout(&output).is_empty());
    }
}

#[test]
fn a_reader_that_stops_early_is_no_failure() {
    let study = Study::new(&Study::usual(), "");
    let data = study.path("train.safetensors");
    let mut child = Command::new(env!("CARGO_BIN_EXE_neurosieve"))
        .args(["inspect", text(&data)])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary was built for this test");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(stderr(&output), "");
}

#[test]
fn inspect_shows_shape_constants_and_classes() {
    let mut parts = Study::usual();
    parts[0].set_column(5, 1.0);
    let study = Study::new(&parts, "");
    let data = study.path("train.safetensors");
    let output = neurosieve(&["inspect", text(&data), "--json"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let shown: Value = serde_json::from_str(&stdout(&output)).expect("one JSON document");
    assert_eq!(shown["schema_version"], 1);
    assert_eq!(
        (&shown["samples"], &shown["neurons"]),
        (&60.into(), &6.into())
    );
    assert_eq!(
        shown["constant"],
        serde_json::json!([{"neuron": 5, "layer": 1, "unit": 2, "value": 1.0}])
    );
    assert_eq!(shown["nearly_constant"], serde_json::json!([]));
    assert_eq!(shown["dead_layers"], serde_json::json!([]));
    assert_eq!(shown["non_finite"], 0);
    let zeros = parts[0].labels.iter().filter(|label| **label == 0).count();
    assert_eq!(shown["tasks"][0]["name"], "colour");
    assert_eq!(
        shown["tasks"][0]["classes"][0],
        serde_json::json!({"name": "class-0", "samples": zeros})
    );
    let plain = stdout(&neurosieve(&["inspect", text(&data)]));
    assert!(
        plain.contains("60 samples × 6 neurons")
            && plain.contains("constant neurons: 1 (5)")
            && plain.contains("class-1"),
        "{plain}"
    );
}

#[test]
fn inspect_counts_non_finite_values_instead_of_failing() {
    let mut parts = Study::usual();
    parts[0].values[3] = f32::INFINITY;
    parts[0].values[2 * NEURONS] = f32::NAN;
    let study = Study::new(&parts, "");
    let output = neurosieve(&["inspect", text(&study.path("train.safetensors")), "--json"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let shown: Value = serde_json::from_str(&stdout(&output)).expect("one JSON document");
    assert_eq!(shown["non_finite"], 2);
    assert_eq!(
        shown["first_non_finite"][1],
        serde_json::json!({"sample": 2, "neuron": 0, "value": "NaN"})
    );
    assert_eq!(shown["constant"], serde_json::json!([]));
}

#[test]
fn inspect_refuses_labels_of_another_length() {
    let study = Study::new(&Study::usual(), "");
    let labels = study.path("few.txt");
    std::fs::write(&labels, "red\nblue\n").expect("the folder is writable");
    let data = study.path("train.safetensors");
    assert_fails(
        &neurosieve(&["inspect", text(&data), "--labels", text(&labels)]),
        &["few.txt", "2 labels for the 60 rows"],
    );
}

#[test]
fn devices_names_what_auto_takes_and_never_a_software_adapter() {
    let output = neurosieve(&["devices", "--json"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let devices: Value = serde_json::from_str(&stdout(&output)).expect("one JSON document");
    let auto = &devices["auto"];
    assert!(!auto["reason"].as_str().expect("a reason").is_empty());
    let adapters = devices["adapters"].as_array().expect("a list");
    if auto["kind"] == "gpu" {
        let taken = adapters
            .iter()
            .find(|adapter| adapter["name"] == auto["name"]);
        assert_ne!(taken.expect("it is listed")["kind"], "software");
    } else {
        let real = ["discrete", "integrated", "virtual"];
        assert!(
            adapters
                .iter()
                .all(|a| !real.contains(&a["kind"].as_str().unwrap_or("")))
        );
    }
    let plain = stdout(&neurosieve(&["devices"]));
    assert!(plain.contains("auto: "), "{plain}");
    assert_eq!(plain.matches("matrix units").count(), adapters.len());
    for adapter in adapters {
        let shapes = adapter["matrix_units"].as_array().expect("a list");
        assert!(shapes.iter().all(|shape| shape["factors"].is_string()));
    }
}
