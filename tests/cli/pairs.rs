//! `neurosieve correlate` and `neurosieve cluster`: their files, what each flag changes, and what is refused.

use std::path::Path;

use ndarray::Array2;
use serde_json::Value;

use super::{Part, assert_fails, code, neurosieve, stderr, stdout};

/// Two models over the same samples, in one folder.
fn models() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut one = Part::new(60, 2, 1);
    one.set_column(4, 0.25);
    one.write(&folder.path().join("one.safetensors"));
    let mut other = one.clone();
    // The other model has the first neuron of this one, negated and shifted, as its last.
    for row in other.values.chunks_exact_mut(6) {
        (row[5], row[0]) = (3.0 - row[0], 0.5 * row[1] + row[2]);
    }
    other.write(&folder.path().join("other.safetensors"));
    folder
}

fn path(folder: &Path, name: &str) -> String {
    folder.join(name).to_str().unwrap().to_owned()
}

#[track_caller]
fn works(arguments: &[&str]) -> String {
    let output = neurosieve(arguments);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    stdout(&output)
}

fn document(file: &str) -> Value {
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

fn npy(file: &str) -> Array2<f32> {
    let bytes = std::fs::read(file).unwrap();
    let array = npyz::NpyFile::new(&bytes[..]).unwrap();
    let shape: Vec<usize> = array.shape().iter().map(|n| *n as usize).collect();
    let values = array.into_vec().unwrap();
    Array2::from_shape_vec((shape[0], shape[1]), values).unwrap()
}

fn tensor(file: &str, name: &str) -> Vec<f32> {
    let bytes = std::fs::read(file).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let tensor = tensors.tensor(name).unwrap();
    let number = |bytes: &[u8]| {
        let bytes = bytes.try_into().unwrap();
        match tensor.dtype() {
            safetensors::Dtype::I32 => i32::from_le_bytes(bytes) as f32,
            _ => f32::from_le_bytes(bytes),
        }
    };
    tensor.data().chunks_exact(4).map(number).collect()
}

/// r of every pair by its definition.
fn reference(folder: &Path, other: &str) -> Array2<f64> {
    let columns = |name: &str| -> Vec<Vec<f64>> {
        let options = neurosieve::data::ReadOptions::default();
        let source = neurosieve::data::open(&folder.join(name), &options).unwrap();
        let x = source.activations().unwrap();
        let column = |column: ndarray::ArrayView1<'_, f32>| {
            let mean = column.iter().map(|v| f64::from(*v)).sum::<f64>() / column.len() as f64;
            column.iter().map(|v| f64::from(*v) - mean).collect()
        };
        x.view().columns().into_iter().map(column).collect()
    };
    let (a, b) = (columns("one.safetensors"), columns(other));
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    Array2::from_shape_fn((a.len(), b.len()), |(i, j)| {
        let norm = (dot(&a[i], &a[i]) * dot(&b[j], &b[j])).sqrt();
        if norm > 0.0 {
            dot(&a[i], &b[j]) / norm
        } else {
            0.0
        }
    })
}

#[test]
fn the_whole_matrix_goes_to_npy_and_its_triangle_to_safetensors() {
    let folder = models();
    let folder = folder.path();
    let (one, full) = (path(folder, "one.safetensors"), path(folder, "r.npy"));
    let said = works(&["correlate", &one, "-o", &full, "--device", "cpu"]);
    assert!(said.contains("15 pairs"), "{said}");
    assert!(said.contains("1 constant neurons"), "{said}");
    let (r, expected) = (npy(&full), reference(folder, "one.safetensors"));
    for ((i, j), r) in r.indexed_iter() {
        let expected = if i == j { 1.0 } else { expected[(i, j)] };
        assert!((f64::from(*r) - expected).abs() < 5e-6, "{i}, {j}: {r}");
    }
    let packed = path(folder, "packed.safetensors");
    works(&["correlate", &one, "-o", &packed, "--device", "cpu"]);
    let upper = r.indexed_iter().filter(|((i, j), _)| i < j);
    let upper: Vec<f32> = upper.map(|(_, r)| *r).collect();
    assert_eq!(tensor(&packed, "packed"), upper);
    let left: Vec<_> = std::fs::read_dir(folder).unwrap().collect();
    assert_eq!(left.len(), 6, "nothing is left beside the files: {left:?}");
}

/// Writes a matrix as NumPy does.
fn write_npy(file: &Path, values: &Array2<f32>) {
    let mut text = format!(
        "{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {}), }}",
        values.nrows(),
        values.ncols()
    );
    while (10 + text.len() + 1) % 64 != 0 {
        text.push(' ');
    }
    text.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((text.len() as u16).to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    std::fs::write(file, bytes).unwrap();
}

#[test]
fn matrices_of_many_tiles_have_every_pair_in_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let x = crate::support::activations(20, 805, 81);
    let y = crate::support::activations(20, 423, 82);
    write_npy(&folder.join("x.npy"), &x);
    write_npy(&folder.join("y.npy"), &y);
    let [x_file, y_file] = ["x.npy", "y.npy"].map(|name| path(folder, name));
    let found =
        neurosieve::ops::moments::moments(&neurosieve::Backend::Cpu, x.view(), None).unwrap();
    let r = neurosieve::ops::correlation::correlation(&neurosieve::Backend::Cpu, x.view(), &found);
    let r = r.unwrap();
    let out = path(folder, "r.npy");
    for memory in ["2", "0.000001"] {
        let base = ["--device", "cpu", "--memory", memory];
        works(&[&["correlate", &x_file, "-o", &out][..], &base].concat());
        let square = npy(&out);
        assert_eq!(square.dim(), (805, 805));
        assert!(
            square
                .indexed_iter()
                .all(|((i, j), value)| *value == r.get(i, j))
        );
        let packed = path(folder, "packed.safetensors");
        works(&[&["correlate", &x_file, "-o", &packed][..], &base].concat());
        assert_eq!(tensor(&packed, "packed"), r.packed);
        works(
            &[
                &["correlate", &x_file, "--cross", &y_file, "-o", &out][..],
                &base,
            ]
            .concat(),
        );
        let cross = npy(&out);
        let swapped = path(folder, "swapped.safetensors");
        works(
            &[
                &["correlate", &y_file, "--cross", &x_file, "-o", &swapped][..],
                &base,
            ]
            .concat(),
        );
        let swapped = tensor(&swapped, "correlations");
        let swapped = Array2::from_shape_vec((423, 805), swapped).unwrap();
        assert_eq!(cross.t(), swapped);
        assert!(cross.iter().any(|r| r.abs() > 0.5));
    }
}

#[test]
fn values_near_the_end_of_f32_correlate_as_others_do() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut x = crate::support::activations(8, 3, 83);
    for (row, mut values) in x.rows_mut().into_iter().enumerate() {
        values[0] = if row % 3 == 0 { 3.4e38 } else { -3.4e38 };
        values[2] = if row % 3 == 0 { 1.0 } else { -1.0 };
    }
    write_npy(&folder.join("x.npy"), &x);
    let out = path(folder, "r.npy");
    works(&[
        "correlate",
        &path(folder, "x.npy"),
        "-o",
        &out,
        "--device",
        "cpu",
    ]);
    let r = npy(&out);
    assert!((r[(0, 2)] - 1.0).abs() < 1e-6, "{r}");
    assert!(r.iter().all(|r| r.is_finite()));
}

#[test]
fn edges_and_partners_are_the_strong_entries_of_the_matrix() {
    let folder = models();
    let folder = folder.path();
    let one = path(folder, "one.safetensors");
    let (edges, top) = (path(folder, "e.safetensors"), path(folder, "k.safetensors"));
    works(&[
        "correlate",
        &one,
        "-o",
        &edges,
        "--threshold",
        "0.3",
        "--device",
        "cpu",
    ]);
    let r = reference(folder, "one.safetensors");
    let strong: Vec<(f32, f32)> = r
        .indexed_iter()
        .filter(|((i, j), r)| i < j && r.abs() >= 0.3)
        .map(|((i, j), _)| (i as f32, j as f32))
        .collect();
    assert!(!strong.is_empty());
    let [i, j] = ["i", "j"].map(|name| tensor(&edges, name));
    assert_eq!(i.into_iter().zip(j).collect::<Vec<_>>(), strong);
    assert_eq!(
        document(&path(folder, "e.json"))["pairs_at_least"],
        strong.len()
    );
    works(&[
        "correlate",
        &one,
        "-o",
        &top,
        "--top-k",
        "2",
        "--device",
        "cpu",
    ]);
    let (i, j) = (tensor(&top, "i"), tensor(&top, "j"));
    assert_eq!(i, [0., 0., 1., 1., 2., 2., 3., 3., 4., 4., 5., 5.]);
    assert_eq!(j[0], 3.0, "the class shifts neurons 0 and 3");
}

#[test]
fn two_models_are_matched_and_compared_with_chance() {
    let folder = models();
    let folder = folder.path();
    let [one, other] = ["one", "other"].map(|n| path(folder, &format!("{n}.safetensors")));
    let out = path(folder, "cross.npy");
    for baseline in ["rotation", "permutation"] {
        works(&[
            "correlate",
            &one,
            "--cross",
            &other,
            "-o",
            &out,
            "--baseline",
            baseline,
            "--device",
            "cpu",
        ]);
        let (r, expected) = (npy(&out), reference(folder, "other.safetensors"));
        assert!(
            r.iter()
                .zip(&expected)
                .all(|(r, e)| (f64::from(*r) - e).abs() < 5e-6)
        );
        let found = document(&path(folder, "cross.json"));
        assert_eq!(found["best"][0]["neuron"], 5, "the negated copy");
        assert!((found["best"][0]["r"].as_f64().unwrap() + 1.0).abs() < 1e-6);
        assert_eq!(found["best_of_cross"][5]["neuron"], 0);
        assert_eq!(found["baseline"]["kind"], baseline);
        let [best, chance] = ["mean_best", "mean_best_by_chance"]
            .map(|key| found["baseline"][key].as_f64().unwrap());
        assert!(
            best > chance && chance > 0.0,
            "{baseline}: {best} and {chance}"
        );
        assert!(found["layers"]["cka"].is_null());
    }
}

#[test]
fn clusters_say_when_memory_made_them_others_than_asked_for() {
    let folder = models();
    let folder = folder.path();
    let (one, out) = (path(folder, "one.safetensors"), path(folder, "c.json"));
    let base = [
        "cluster",
        &one,
        "-o",
        &out,
        "--device",
        "cpu",
        "--threshold",
        "0.6,0.2",
    ];
    works(&base);
    let exact = document(&out);
    assert_eq!(exact["linkage"], "average");
    assert_eq!(exact["thresholds"][0]["threshold"], 0.2);
    assert_eq!(
        exact["thresholds"][1]["labels"][0],
        exact["thresholds"][1]["labels"][3]
    );
    let single = [&base[..], &["--linkage", "single"]].concat();
    works(&single);
    let expected = document(&out);
    let squeezed = [&base[..], &["--memory", "0.0000001"]].concat();
    let output = neurosieve(&squeezed);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(
        stderr(&output).contains("not those of average linkage"),
        "{}",
        stderr(&output)
    );
    let found = document(&out);
    assert_eq!(found["linkage"], "single");
    assert_eq!(found["linkage_asked"], "average");
    for cut in 0..2 {
        let labels = |document: &Value| document["thresholds"][cut]["labels"].clone();
        assert_eq!(labels(&found), labels(&expected));
    }
    assert_eq!(found["warnings"].as_array().unwrap().len(), 2);
}

#[test]
fn a_folder_of_shards_is_one_file() {
    let folder = models();
    let folder = folder.path();
    let shards = folder.join("shards");
    std::fs::create_dir(&shards).unwrap();
    let whole = Part::new(60, 2, 1);
    for (number, rows) in [(2, 0..25), (10, 25..60)] {
        let mut part = whole.clone();
        part.values = whole.values[rows.start * 6..rows.end * 6].to_vec();
        part.labels = whole.labels[rows].to_vec();
        part.write(&shards.join(format!("part-{number}.safetensors")));
    }
    std::fs::write(shards.join("notes.txt"), "no shard").unwrap();
    let single = path(folder, "single.safetensors");
    whole.write(Path::new(&single));
    let files = [path(folder, "a.npy"), path(folder, "b.npy")];
    for (data, out) in [shards.to_str().unwrap(), &single].iter().zip(&files) {
        works(&["correlate", data, "-o", out, "--device", "cpu"]);
    }
    assert_eq!(npy(&files[0]), npy(&files[1]));
    let inspected = |data: &str| {
        let said = works(&["inspect", data, "--json"]);
        let mut found: Value = serde_json::from_str(&said).unwrap();
        found["file"] = Value::Null;
        found
    };
    let shards = shards.to_str().unwrap();
    assert_eq!(
        inspected(shards),
        inspected(&single),
        "labels and layers too"
    );
    Part::new(5, 2, 3)
        .with_neurons(4)
        .write(&Path::new(shards).join("part-3.safetensors"));
    let refused = neurosieve(&["inspect", shards]);
    assert_fails(&refused, &["part-3", "4 neurons", "shards"]);
}

#[test]
fn outputs_and_flags_that_make_no_sense_are_refused() {
    let folder = models();
    let folder = folder.path();
    let one = path(folder, "one.safetensors");
    let refuse = |arguments: &[&str], parts: &[&str]| {
        let output = neurosieve(&[&["correlate", &one, "--device", "cpu"], arguments].concat());
        assert_fails(&output, parts);
    };
    let r = path(folder, "r.npy");
    refuse(&["-o", &path(folder, "r.csv")], &[".npy or .safetensors"]);
    refuse(
        &["-o", &path(folder, "r.npy"), "--top-k", "3"],
        &["no matrix"],
    );
    refuse(&["-o", &one], &["would be replaced"]);
    std::fs::create_dir(folder.join("taken.npy")).unwrap();
    refuse(&["-o", &path(folder, "taken.npy")], &["is a folder"]);
    let shards = folder.join("shards");
    std::fs::create_dir(&shards).unwrap();
    Part::new(9, 2, 3).write(&shards.join("a.safetensors"));
    let (shards, inside) = (path(folder, "shards"), path(&shards, "r.npy"));
    let among = neurosieve(&["correlate", &shards, "-o", &inside]);
    assert_fails(&among, &["folder of shards"]);
    let absent = neurosieve(&["correlate", &path(folder, "none"), "-o", &inside]);
    assert_fails(&absent, &["cannot read", "none"]);
    let many = [
        "-o",
        &path(folder, "k.safetensors"),
        "--top-k",
        "5",
        "--memory",
        "0.0000001",
    ];
    refuse(&many, &["number of partners", "allow more memory"]);
    let few = path(folder, "few.safetensors");
    Part::new(50, 2, 3).write(Path::new(&few));
    refuse(&["-o", &r, "--cross", &few], &["60 samples", "50"]);
    for usage in [
        vec!["--threshold", "1.5"],
        vec!["--threshold", "0.5", "--top-k", "3"],
        vec!["--baseline", "rotation"],
        vec!["--memory", "-1"],
    ] {
        let output = neurosieve(&[&["correlate", &one, "-o", &r], &usage[..]].concat());
        assert_eq!(code(&output), 2, "{usage:?}");
    }
    let output = neurosieve(&[
        "cluster",
        &one,
        "-o",
        &path(folder, "c.json"),
        "--threshold",
        "2.5",
    ]);
    assert_fails(&output, &["2.5 is not a distance"]);
    let everything = ["--threshold", "1", "--memory", "0.0000001"];
    let output = neurosieve(
        &[
            &["cluster", &one, "-o", &path(folder, "c.json")],
            &everything[..],
        ]
        .concat(),
    );
    assert_fails(
        &output,
        &["every pair is within 1", "lower the largest threshold"],
    );
    assert!(!Path::new(&r).exists());
}

/// Natively every class is f32, and says so; on a device each of them is as exact as its class.
#[test]
fn a_class_of_precision_is_a_permission_and_what_ran_is_said() {
    let folder = models();
    let folder = folder.path();
    let (one, file) = (path(folder, "one.safetensors"), path(folder, "r.npy"));
    let expected = reference(folder, "one.safetensors");
    let mut devices = vec!["cpu".to_owned()];
    devices.extend(
        neurosieve::gpu::adapters()
            .first()
            .map(|a| a.index.to_string()),
    );
    for device in &devices {
        for (class, most) in [("f32", 5e-6), ("split-f16", 5e-6), ("f16", 1e-3)] {
            let flags = ["--precision", class, "--device", device];
            let correlate = ["correlate", &one, "-o", &file];
            let said = works(&[&correlate[..], &flags[..]].concat());
            let told = said.contains(&format!("{class} was allowed; computed by"));
            assert_eq!(told, class != "f32", "{said}");
            for ((i, j), r) in npy(&file).indexed_iter().filter(|((i, j), _)| i != j) {
                let off = (f64::from(*r) - expected[(i, j)]).abs();
                assert!(off <= most, "{class} on {device}: {off:e}");
            }
            let ran = &document(&path(folder, "r.json"))["precision"];
            assert_eq!(ran["asked"], class);
            assert!(ran["tolerance"].as_f64().unwrap() <= most, "{ran}");
            let native = device == "cpu";
            assert_eq!(ran["kernel"] == "native, f32", native, "{ran}");
            assert_eq!(ran["reason"].is_string(), native && class != "f32", "{ran}");
            let clusters = path(folder, "clusters.json");
            let cluster = ["cluster", &one, "--threshold", "0.3", "-o", &clusters];
            let said = works(&[&cluster[..], &flags[..]].concat());
            assert_eq!(said.contains("was allowed"), class != "f32", "{said}");
            assert_eq!(document(&clusters)["precision"]["asked"], class);
        }
    }
    let wrong = ["correlate", &one, "-o", &file, "--precision", "bf16"];
    let output = neurosieve(&wrong);
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("split-f16"), "{}", stderr(&output));
}
