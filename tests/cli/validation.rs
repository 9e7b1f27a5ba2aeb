//! `--validate`: what a device computes beside the native path.

use super::{Part, assert_fails, code, neurosieve, stderr, stdout};

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
