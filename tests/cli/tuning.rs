//! What was measured of a device's kernels: shown, cleared, and not heeded.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use super::{assert_fails, code, stderr, stdout};

fn devices(cache: &Path, tuning: &str, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_neurosieve"))
        .arg("devices")
        .args(arguments)
        .env("NEUROSIEVE_CACHE", cache)
        .env("NEUROSIEVE_TUNING", tuning)
        .output()
        .expect("the binary was built for this test")
}

#[test]
fn what_was_measured_is_shown_and_cleared() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tuning.json");
    let show = |arguments: &[&str]| stdout(&devices(folder.path(), "", arguments));
    assert!(show(&["--tuning"]).contains("nothing was measured yet"));
    assert!(show(&["--clear-tuning"]).contains("there was no "));
    std::fs::write(
        &file,
        r#"{"A card | vulkan | driver 7": {"correlation": 16}}"#,
    )
    .unwrap();
    let said = show(&["--tuning"]);
    for part in [
        "tuning.json",
        "A card | vulkan | driver 7",
        "correlation: 16",
    ] {
        assert!(said.contains(part), "{said}");
    }
    let document: Value = serde_json::from_str(&show(&["--tuning", "--json"])).unwrap();
    assert_eq!(
        document["devices"]["A card | vulkan | driver 7"]["correlation"],
        16
    );
    assert_eq!(document["schema_version"], 1);
    assert!(show(&["--clear-tuning"]).contains("removed "));
    assert!(!file.exists());
    // What is no such file is named, and can be cleared all the same.
    std::fs::write(&file, "[1, 2").unwrap();
    let broken = devices(folder.path(), "", &["--tuning"]);
    assert_fails(&broken, &["tuning.json", "line 1", "Clear it"]);
    assert_eq!(code(&devices(folder.path(), "", &["--clear-tuning"])), 0);
    assert!(!file.exists());
}

#[test]
fn nothing_is_kept_where_the_cache_is_named_empty() {
    for arguments in [&["--tuning"][..], &["--clear-tuning"]] {
        let output = devices(Path::new(""), "", arguments);
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        assert!(stdout(&output).contains("nothing is kept"));
    }
}

#[test]
fn the_switch_is_on_off_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    // Only a GPU has kernels to choose among.
    let adapters = neurosieve::gpu::adapters();
    let Some(adapter) = adapters.first() else {
        return;
    };
    let bench = |tuning: &str| {
        Command::new(env!("CARGO_BIN_EXE_neurosieve"))
            .args(["bench", "--list", "--device", &adapter.index.to_string()])
            .env("NEUROSIEVE_CACHE", folder.path())
            .env("NEUROSIEVE_TUNING", tuning)
            .output()
            .expect("the binary was built for this test")
    };
    for fine in ["", "on", "off"] {
        assert_eq!(code(&bench(fine)), 0, "{}", stderr(&bench(fine)));
    }
    assert_fails(&bench("perhaps"), &["NEUROSIEVE_TUNING", "perhaps", "off"]);
}
