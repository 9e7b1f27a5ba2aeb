//! `--validate`: what a device computes beside the native path.

use std::ffi::OsString;

use neurosieve::cli;
use neurosieve::gpu::{Choice, Gpu};

use super::kill::specification;
use super::{Part, assert_fails, code, neurosieve, stderr, stdout};

/// Types a command into a process whose device is this one: its exit code, stdout and stderr.
fn typed_on(gpu: &Gpu, arguments: &[&str]) -> (u8, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let open = |_: &str| {
        Ok(Choice::Gpu {
            gpu: gpu.clone(),
            reason: "The test gave it.".into(),
        })
    };
    let typed = std::iter::once("neurosieve").chain(arguments.iter().copied());
    let code = cli::main_on(&open, typed.map(OsString::from), &mut out, &mut err);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (code, text(out), text(err))
}

#[test]
fn a_device_that_computes_wrongly_ends_with_3_and_what_the_native_path_found() {
    let test = "a_device_that_computes_wrongly_ends_with_3_and_what_the_native_path_found";
    let Some(gpu) = crate::support::own_gpu(test) else {
        return;
    };
    let source = include_str!("../../shaders/correlation.wgsl");
    let wrong = source.replace("- shift[column]", "- 1.01 * shift[column]");
    assert_ne!(source, wrong);
    let broken = gpu.with_shader("correlation", wrong);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (spec, one) = (specification(folder.path()), path("one.safetensors"));
    Part::new(60, 2, 1).write(&folder.path().join("one.safetensors"));
    let (r, native, clusters) = (path("r.npy"), path("native.npy"), path("c.json"));
    let correlate = ["correlate", &one, "-o", &r, "--validate"];
    let cluster = [
        "cluster",
        &one,
        "-o",
        &clusters,
        "--threshold",
        "0.3",
        "--validate",
    ];
    let (spec, out) = (spec.to_str().unwrap().to_owned(), path("out"));
    let study = ["study", &spec, "-o", &out, "--validate"];
    for (typed, written) in [(&correlate[..], &r), (&cluster, &clusters), (&study, &out)] {
        let (code, _, said) = typed_on(&broken, typed);
        assert_eq!(code, 3, "{typed:?}: {said}");
        assert!(
            said.contains("error: ") && said.contains("correlations"),
            "{said}"
        );
        assert!(said.contains("is allowed"), "{said}");
        // What is further apart is taken from the native path, and everything is written.
        assert!(std::path::Path::new(written).exists(), "{written}");
        let (code, _, said) = typed_on(&gpu, typed);
        assert_eq!(code, 0, "{typed:?}: {said}");
    }
    assert_eq!(
        code(&neurosieve(&[
            "correlate",
            &one,
            "-o",
            &native,
            "--device",
            "cpu"
        ])),
        0
    );
    assert_eq!(typed_on(&broken, &correlate).0, 3);
    assert!(std::fs::read(&r).unwrap() == std::fs::read(&native).unwrap());
}

#[test]
fn validation_compares_a_device_with_the_native_path_and_is_refused_without_one() {
    let folder = tempfile::tempdir().unwrap();
    Part::new(60, 2, 1).write(&folder.path().join("one.safetensors"));
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (one, file) = (path("one.safetensors"), path("r.npy"));
    let arguments = ["correlate", &one, "-o", &file, "--validate", "--device"];
    let refused = neurosieve(&[&arguments[..], &["cpu"]].concat());
    assert_fails(&refused, &["--validate", "nothing to compare", "--device"]);
    let Some(gpu) = crate::support::gpu("validation_compares_a_device_with_the_native_path") else {
        return;
    };
    let index = gpu.report().index.to_string();
    let output = neurosieve(&[&arguments[..], &[&index]].concat());
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(stderr(&output).contains("validated correlations: r deviates by at most"));
    let bytes = std::fs::read(path("r.json")).unwrap();
    let document: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    let validated = &document["device"]["validation"][0];
    assert_eq!(validated["operation"], "correlations");
    let [deviation, allowed] = ["deviation", "allowed"].map(|key| validated[key].as_f64().unwrap());
    assert!(deviation <= allowed && allowed > 0.0, "{validated}");
    let clusters = path("c.json");
    let base = [
        "cluster",
        &one,
        "-o",
        &clusters,
        "--threshold",
        "0.3",
        "--json",
    ];
    let said = stdout(&neurosieve(
        &[&base[..], &["--device", &index, "--validate"]].concat(),
    ));
    assert!(said.contains("\"validation\""), "{said}");
    let said = stdout(&neurosieve(&[&base[..], &["--device", &index]].concat()));
    assert!(!said.contains("\"validation\""), "{said}");
}
