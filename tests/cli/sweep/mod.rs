//! `neurosieve sweep`: every ordering and mask with every probe; removing is keeping read backwards; bad files are refused.

mod refused;

use serde_json::{Value, json};

use super::{Part, assert_fails, code, neurosieve, stderr, stdout};

const SAMPLES: usize = 200;

/// Data, probes of it and orderings, in a folder.
struct Files {
    folder: tempfile::TempDir,
    classes: usize,
}

impl Files {
    fn new(classes: usize) -> Self {
        let files = Self {
            folder: tempfile::tempdir().unwrap(),
            classes,
        };
        let data = files.path("d.safetensors");
        Part::new(SAMPLES, classes, 4).write(data.as_ref());
        for (probe, l1) in [("p.safetensors", "0.01"), ("q.safetensors", "0.05")] {
            let probe = files.path(probe);
            files.ok(&[
                "probe", &data, "-o", &probe, "--l1", l1, "--l2", "0.01", "--device", "cpu",
            ]);
        }
        let (probe, rankings) = (files.path("p.safetensors"), files.path("r.json"));
        files.ok(&[
            "rank", &data, "-o", &rankings, "--probe", &probe, "--depth", "2",
        ]);
        files
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let output = neurosieve(arguments);
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        stdout(&output)
    }

    fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::write(&path, contents).unwrap();
        path
    }

    /// The usual arguments, with others.
    fn arguments(&self, extra: &[&str]) -> Vec<String> {
        let paths = ["d.safetensors", "p.safetensors", "r.json", "s.json"].map(|n| self.path(n));
        let usual = [
            "sweep",
            &paths[0],
            "--probe",
            &paths[1],
            "--rankings",
            &paths[2],
            "-o",
            &paths[3],
            "--device",
            "cpu",
        ];
        usual.iter().chain(extra).map(|a| (*a).to_owned()).collect()
    }

    fn sweep(&self, extra: &[&str]) -> Value {
        let arguments = self.arguments(extra);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        self.ok(&arguments);
        serde_json::from_slice(&std::fs::read(self.path("s.json")).unwrap()).unwrap()
    }

    #[track_caller]
    fn refused(&self, extra: &[&str], parts: &[&str]) {
        let arguments = self.arguments(extra);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        assert_fails(&neurosieve(&arguments), parts);
    }
}

fn counts(value: &Value) -> Vec<u64> {
    let list = value.as_array().expect("a list").iter();
    list.map(|n| n.as_u64().expect("a count")).collect()
}

fn curve<'a>(probe: &'a Value, ranking: &str, ablation: &str, keep: &str) -> &'a Value {
    let mut all = probe["curves"].as_array().unwrap().iter();
    let wanted = [ranking, ablation, keep];
    all.find(|c| ["ranking", "ablation", "keep"].map(|key| c[key].as_str().unwrap()) == wanted)
        .expect("the curve is there")
}

#[test]
fn every_ordering_meets_every_probe_at_every_k() {
    for classes in [2, 3] {
        let files = Files::new(classes);
        let second = files.path("q.safetensors");
        let found = files.sweep(&["--probe", &second, "--per-class", "--random-draws", "3"]);
        assert_eq!(found["schema_version"], 1);
        assert_eq!(
            (&found["samples"], &found["neurons"]),
            (&json!(SAMPLES), &json!(6))
        );
        let probes = found["probes"].as_array().unwrap();
        assert_eq!(probes.len(), 2);
        assert_ne!(probes[0]["curves"], probes[1]["curves"]);
        for probe in probes {
            // Ten orderings (the file's eleven without its random one), two ablations, both ends.
            assert_eq!(probe["curves"].as_array().unwrap().len(), 10 * 2 * 2);
            assert_eq!(probe["summaries"].as_array().unwrap().len(), 11 * 2);
            assert_eq!(probe["random"].as_array().unwrap().len(), 2);
            let complete = probe["complete"]["accuracy"].as_f64().unwrap();
            let complete = (complete * SAMPLES as f64).round() as u64;
            assert!(
                complete > SAMPLES as u64 / 2,
                "the probe has learnt something"
            );
            for curve in probe["curves"].as_array().unwrap() {
                let correct = counts(&curve["correct"]);
                assert_eq!(correct.len(), 7);
                assert_eq!(correct[6], complete, "all neurons are the probe");
                let per_class = curve["per_class"].as_array().unwrap();
                assert_eq!(per_class.len(), classes);
                let summed = |k: usize| per_class.iter().map(|c| counts(c)[k]).sum::<u64>();
                assert!((0..7).all(|k| summed(k) == correct[k]));
            }
            let random = &probe["random"][0];
            assert_eq!(random["mean"][6].as_f64().unwrap(), complete as f64);
            let (least, most) = (counts(&random["least"]), counts(&random["most"]));
            for k in 0..7 {
                let mean = random["mean"][k].as_f64().unwrap();
                assert!(least[k] as f64 <= mean && mean <= most[k] as f64);
            }
        }
        // The summary's figures are those of the curves, removing that of the other end.
        let probe = &probes[0];
        let summary = probe["summaries"].as_array().unwrap().iter();
        let mut of_lca = summary.filter(|s| s["ranking"] == "lca" && s["ablation"] == "zero");
        let point = &of_lca.next().unwrap()["points"][3];
        assert_eq!((&point["share"], &point["k"]), (&json!(0.5), &json!(3)));
        let accuracy = |keep: &str, k: usize| {
            counts(&curve(probe, "lca", "zero", keep)["correct"])[k] as f64 / SAMPLES as f64
        };
        assert_eq!(
            point["kept"]["accuracy"].as_f64().unwrap(),
            accuracy("top", 3)
        );
        assert_eq!(
            point["removed"]["accuracy"].as_f64().unwrap(),
            accuracy("bottom", 3)
        );
        assert!(
            accuracy("top", 3) > accuracy("bottom", 3),
            "the ordering knows the neurons"
        );
    }
}

#[test]
fn masks_equal_the_curves_whose_sets_they_are_in_every_form() {
    let files = Files::new(3);
    let rankings: Value =
        serde_json::from_slice(&std::fs::read(files.path("r.json")).unwrap()).unwrap();
    let order = counts(&rankings["rankings"]["lca"]["order"]);
    let (two, rest) = order.split_at(2);
    let masks = files.write(
        "m.json",
        json!([two, {"name": "the others", "remove": two}, {"keep": []}, rest]).to_string(),
    );
    let found = files.sweep(&[
        "--masks",
        &masks,
        "--methods",
        "lca",
        "--per-class",
        "--ablation",
        "mean",
    ]);
    let probe = &found["probes"][0];
    assert_eq!(probe["curves"].as_array().unwrap().len(), 2);
    let top = counts(&curve(probe, "lca", "mean", "top")["correct"]);
    let bottom = counts(&curve(probe, "lca", "mean", "bottom")["correct"]);
    let masked = probe["masks"].as_array().unwrap();
    let of = |mask: usize, key: &str| masked[mask][key].clone();
    assert_eq!(
        [0, 1, 2, 3].map(|m| of(m, "kept")),
        [2, 4, 0, 4].map(|n| json!(n))
    );
    let expected = [top[2], bottom[4], top[0], bottom[4]];
    assert_eq!(
        [0, 1, 2, 3].map(|m| of(m, "correct")),
        expected.map(|n| json!(n))
    );
    assert_eq!(
        (of(0, "name"), of(1, "name")),
        (Value::Null, json!("the others"))
    );
    assert_eq!(counts(&of(0, "per_class")).iter().sum::<u64>(), top[2]);
    // The same masks as a matrix, in either order of NumPy's, and without orderings.
    let rows: Vec<Vec<bool>> = [two, rest]
        .map(|set| (0..6).map(|n| set.contains(&n)).collect())
        .to_vec();
    let by_row: Vec<bool> = rows.concat();
    let by_column: Vec<bool> = (0..6).flat_map(|n| [rows[0][n], rows[1][n]]).collect();
    for (fortran, values) in [("False", by_row), ("True", by_column)] {
        let matrix = files.write("m.npy", npy("|b1", fortran, "(2, 6)", &values));
        let (data, probe) = (files.path("d.safetensors"), files.path("p.safetensors"));
        let (out, device) = (
            files.path("n.json"),
            ["--device", "cpu", "--random-draws", "0"],
        );
        let base = [
            "sweep", &data, "--probe", &probe, "--masks", &matrix, "-o", &out,
        ];
        let said = files.ok(&[&base[..], &device].concat());
        assert!(said.contains("mask 1") && said.contains("4 kept"), "{said}");
        let found: Value = serde_json::from_slice(&std::fs::read(&out).unwrap()).unwrap();
        let masked = &found["probes"][0]["masks"];
        assert_eq!(
            (&masked[0]["correct"], &masked[1]["correct"]),
            (&json!(top[2]), &json!(bottom[4]))
        );
        assert_eq!(found["probes"][0]["curves"], json!([]));
    }
}

/// A `.npy` file of bytes.
fn npy(descr: &str, fortran: &str, shape: &str, values: &[bool]) -> Vec<u8> {
    let header =
        format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(values.iter().map(|value| u8::from(*value)));
    bytes
}

#[test]
fn the_text_has_figures_and_the_json_option_the_document() {
    let files = Files::new(3);
    let arguments = files.arguments(&["--methods", "lca,probeless"]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let said = files.ok(&arguments);
    for part in [
        "colour: 200 samples × 6 neurons",
        "with all neurons",
        "lca",
        "removed",
        "random, 5 draws",
        "50 % of them",
    ] {
        assert!(said.contains(part), "\"{part}\" is not in: {said}");
    }
    let document: Value =
        serde_json::from_str(&files.ok(&[&arguments[..], &["--json"]].concat())).unwrap();
    assert_eq!(document["probes"][0]["curves"].as_array().unwrap().len(), 8);
    assert_eq!(document["probes"][0]["curves"][0]["per_class"], Value::Null);
    // The file's own random ordering is one of the orderings where it is asked for.
    let named = files.sweep(&["--methods", "random", "--random-draws", "2"]);
    let draws = named["probes"][0]["summaries"].as_array().unwrap().iter();
    let draws: Vec<Value> = draws.map(|summary| summary["draws"].clone()).collect();
    assert_eq!(draws, [Value::Null, json!(2), Value::Null, json!(2)]);
    // The same seed, the same draws; another, others.
    let random = |seed: &str| {
        files.sweep(&["--methods", "lca", "--seed", seed])["probes"][0]["random"].clone()
    };
    assert_eq!(random("0"), document["probes"][0]["random"]);
    assert_ne!(random("1"), random("0"));
}

#[test]
fn means_of_other_activations_replace_those_of_train() {
    let files = Files::new(3);
    let same = files.path("d.safetensors");
    let usual = files.sweep(&["--methods", "lca"]);
    let named = files.sweep(&["--methods", "lca", "--mean-from", &same]);
    assert_eq!(named["probes"][0]["curves"], usual["probes"][0]["curves"]);
    let other = files.path("o.safetensors");
    let mut part = Part::new(50, 3, 9);
    part.values.iter_mut().for_each(|value| *value += 3.0);
    part.write(other.as_ref());
    let shifted = files.sweep(&["--methods", "lca", "--mean-from", &other]);
    let of = |found: &Value, ablation| curve(&found["probes"][0], "lca", ablation, "top").clone();
    assert_ne!(of(&shifted, "mean"), of(&usual, "mean"));
    assert_eq!(of(&shifted, "zero"), of(&usual, "zero"));
    Part::new(50, 3, 9).with_neurons(4).write(other.as_ref());
    files.refused(
        &["--mean-from", &other],
        &["means of", "of 4 neurons, the data of 6"],
    );
}

#[test]
fn classes_that_a_probe_does_not_know_are_never_right() {
    let files = Files::new(3);
    let data = files.path("d.safetensors");
    // A fourth class, among the samples.
    let part = Part::new(SAMPLES, 4, 4);
    part.write(data.as_ref());
    let fourth = part.labels.iter().filter(|label| **label == 3).count();
    let found = files.sweep(&["--methods", "lca", "--per-class"]);
    let warned = found["warnings"][0].as_str().unwrap();
    assert!(
        warned.contains(&format!("{fourth} of the 200 samples")),
        "{warned}"
    );
    let probe = &found["probes"][0];
    assert_eq!(
        probe["classes"][3],
        json!({"name": "class-3", "samples": fourth})
    );
    for curve in probe["curves"].as_array().unwrap() {
        assert_eq!(counts(&curve["per_class"][3]), vec![0; 7]);
    }
    // A probe may know more classes than the data have.
    Part::new(SAMPLES, 2, 4).write(data.as_ref());
    let found = files.sweep(&["--methods", "lca", "--per-class"]);
    assert_eq!(found["warnings"], json!([]));
    assert_eq!(
        found["probes"][0]["classes"][2],
        json!({"name": "class-2", "samples": 0})
    );
    assert_eq!(files.classes, 3);
}
