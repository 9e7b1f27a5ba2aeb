//! Several studies at once, on one processor and on one device.

use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::kill::{found, specification};
use crate::support;

fn study(folder: &std::path::Path, name: &str, device: &str) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_neurosieve"));
    command.arg("study").arg(folder.join("study.toml"));
    command.arg("-o").arg(folder.join(name));
    command.args(["--device", device]);
    let silent = command.stdout(Stdio::null()).stderr(Stdio::piped());
    silent.spawn().expect("the binary was built for this test")
}

#[test]
fn studies_that_run_at_once_find_what_each_finds_alone() {
    let folder = tempfile::tempdir().unwrap();
    specification(folder.path());
    let finish = |child: Child, name: &str| -> Value {
        let ended = child.wait_with_output().unwrap();
        assert!(
            ended.status.success(),
            "{}",
            String::from_utf8_lossy(&ended.stderr)
        );
        found(&folder.path().join(name))
    };
    let gpu = support::gpu("studies_that_run_at_once_find_what_each_finds_alone");
    let index = gpu.map(|gpu| gpu.report().index.to_string());
    let devices = std::iter::once("cpu").chain(index.as_deref());
    for device in devices {
        let name = |run: &str| format!("{device}-{run}");
        let alone = finish(study(folder.path(), &name("alone"), device), &name("alone"));
        let names = ["first", "second", "third"].map(name);
        let together: Vec<(Child, &String)> = names
            .iter()
            .map(|name| (study(folder.path(), name, device), name))
            .collect();
        for (child, name) in together {
            assert_eq!(finish(child, name), alone, "{name}");
        }
    }
}
