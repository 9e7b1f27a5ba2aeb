//! `--max-memory`: a limit is kept to and changes nothing, and what does not fit is refused before the work.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::kill::{found, specification, start};
use super::{Part, assert_fails, code, neurosieve, stderr, stdout, text};

/// What a study of the fixture is planned to take, in bytes.
fn planned(spec: &Path, extra: &[&str]) -> Value {
    let typed = [
        "study",
        text(spec),
        "-o",
        "out",
        "--device",
        "cpu",
        "--dry-run",
        "--json",
    ];
    let output = neurosieve(&[&typed[..], extra].concat());
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let plan: Value = serde_json::from_str(&stdout(&output)).expect("one JSON document");
    plan["host"].clone()
}

/// Runs a study, and says how many bytes it took at the peak, where the system tells.
fn peak_of(spec: &Path, out: &Path, extra: &[&str]) -> Option<u64> {
    let mut child = start(spec, out, false, extra);
    let status = format!("/proc/{}/status", child.id());
    let mut peak = None;
    let ended = loop {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        peak = kib.map(|kib| 1024 * kib).or(peak);
        if let Some(ended) = child.try_wait().unwrap() {
            break ended;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    assert!(ended.success(), "{ended}");
    peak
}

#[test]
fn a_study_keeps_to_the_memory_that_is_allowed_and_finds_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let spec = specification(folder.path());
    let free = planned(&spec, &[]);
    let least = free["least"].as_u64().unwrap();
    let gib = |bytes: u64| format!("{:.6}", (bytes as f64 + 1e4) / f64::from(1 << 30));
    // The process takes a little more or less at each start.
    let tight = gib(least + (4 << 20));
    let plan = planned(&spec, &["--max-memory", &tight]);
    let allowed = plan["allowed"].as_u64().unwrap();
    assert!(plan["most"].as_u64().unwrap() <= allowed, "{plan}");
    let (usual, bounded) = (folder.path().join("usual"), folder.path().join("bounded"));
    let taken = peak_of(&spec, &usual, &[]);
    let within = peak_of(&spec, &bounded, &["--max-memory", &tight]);
    assert_eq!(found(&usual), found(&bounded));
    if let (Some(taken), Some(within)) = (taken, within) {
        assert!(within <= allowed, "{within} of {allowed}");
        assert!(taken <= free["most"].as_u64().unwrap(), "{taken}: {free}");
        assert!(within > free["data"].as_u64().unwrap());
    }
    let out = folder.path().join("refused");
    let typed = ["study", text(&spec), "-o", text(&out), "--device", "cpu"];
    let refused = neurosieve(&[&typed[..], &["--max-memory", "0.02"]].concat());
    assert_fails(
        &refused,
        &["memory of the host", "21 MiB are allowed", "--max-memory"],
    );
    assert!(!out.join("results.json").exists());
    let refused = neurosieve(&[&typed[..], &["--dry-run", "--max-memory", "0.02"]].concat());
    assert_fails(&refused, &["memory of the host"]);
    let usage = neurosieve(&[&typed[..], &["--max-memory", "none"]].concat());
    assert_eq!(code(&usage), 2);
}

#[test]
fn commands_that_read_whole_files_have_the_limit_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("train.safetensors");
    Part::new(60, 2, 1).write(&file);
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (probe, ranks, json) = (path("p.safetensors"), path("r.json"), path("o.json"));
    let train = text(&file).to_owned();
    let run = |typed: &[&str], memory: &str| {
        let limit = ["--max-memory", memory];
        neurosieve(&[typed, &limit[..]].concat())
    };
    let probed = [
        "probe", &train, "-o", &probe, "--l1", "0.01", "--l2", "0.01", "--device", "cpu",
    ];
    let ranked = ["rank", &train, "-o", &ranks];
    let swept = [
        "sweep",
        &train,
        "--probe",
        &probe,
        "--rankings",
        &ranks,
        "-o",
        &json,
        "--device",
        "cpu",
    ];
    let clustered = [
        "cluster",
        &train,
        "-o",
        &json,
        "--threshold",
        "0.3",
        "--device",
        "cpu",
    ];
    for typed in [&probed[..], &ranked, &swept, &clustered] {
        let output = run(typed, "0.5");
        assert_eq!(code(&output), 0, "{}", stderr(&output));
    }
    let weights = std::fs::read(&probe).unwrap();
    for typed in [&probed[..], &ranked, &swept] {
        let refused = run(typed, "0.0001");
        assert_fails(
            &refused,
            &["memory of the host", "1 MiB are allowed", "--max-memory"],
        );
    }
    // A limit that holds one problem at a time: the same probe.
    let output = run(&probed, "0.04");
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(std::fs::read(&probe).unwrap() == weights);
    // The name that correlations and clusters had for it goes on to mean it.
    let output = neurosieve(&[&clustered[..], &["--memory", "1"]].concat());
    assert_eq!(code(&output), 0, "{}", stderr(&output));
}
