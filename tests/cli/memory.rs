//! `--max-memory`: a limit is kept to and changes nothing, and what does not fit is refused before the work.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rand::RngExt;
use serde_json::Value;
use zip::CompressionMethod;
use zip::write::SimpleFileOptions;

use super::kill::{found, specification, start};
use super::{Part, assert_fails, code, neurosieve, stderr, stdout, text};
use crate::support::{normal, random};

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
    peak(start(spec, out, false, extra))
}

fn peak(mut child: Child) -> Option<u64> {
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
        // What is held whatever data and penalties decide is in the peak.
        let bytes = |name: &str| plan[name].as_u64().unwrap() as f64;
        let certain = bytes("expected") - bytes("decided");
        assert!(within as f64 > 0.8 * certain, "{within}: {plan}");
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

/// A study most of whose memory is for what shapes tell: many samples of many neurons, two penalties that leave few weights, and
/// no sets.
fn of_known_size(folder: &Path) -> PathBuf {
    const NEURONS: usize = 1200;
    let mut lines = "name = \"wide\"\n[data]\n".to_owned();
    for (seed, (name, samples)) in (1..).zip([("train", 3000), ("dev", 600), ("test", 600)]) {
        let mut generator = random(seed);
        let labels: Vec<i32> = (0..samples).map(|_| generator.random_range(0..3)).collect();
        let row = |class: &i32| -> Vec<f32> {
            let value = |neuron: usize| {
                let shift = if neuron.is_multiple_of(100) {
                    *class
                } else {
                    0
                };
                normal(&mut generator) as f32 + shift as f32
            };
            (0..NEURONS).map(value).collect()
        };
        let part = Part {
            values: labels.iter().flat_map(row).collect(),
            labels,
            neurons: NEURONS,
            classes: 3,
        };
        let file = folder.join(format!("{name}.safetensors"));
        part.write(&file);
        lines += &format!("{name} = {:?}\n", text(&file));
    }
    lines += "[probe]\nlambda_ratios = [0.5, 0.3]\n[minimal_set]\ndeltas = []\n[combined]\ndeltas = []\n\
             [sweep]\nrandom_draws = 0\n";
    let file = folder.join("wide.toml");
    std::fs::write(&file, lines).unwrap();
    file
}

#[test]
fn a_study_takes_what_is_expected_within_a_tenth() {
    let folder = tempfile::tempdir().unwrap();
    let spec = of_known_size(folder.path());
    let out = folder.path().join("out");
    // On any machine the same: each thread has scratch of its own, and what more threads than processors have is not all used.
    let command = |extra: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_neurosieve"));
        command.args(["study", text(&spec), "-o", text(&out), "--device", "cpu"]);
        command.args(extra).env("RAYON_NUM_THREADS", "2");
        command.stderr(Stdio::null());
        command
    };
    let output = command(&["--dry-run", "--json"]).output().unwrap();
    let plan: Value = serde_json::from_str(&stdout(&output)).expect("one JSON document");
    let plan = &plan["host"];
    let bytes = |name: &str| plan[name].as_u64().unwrap() as f64;
    assert!(bytes("decided") < 0.1 * bytes("expected"), "{plan}");
    let Some(taken) = peak(command(&[]).stdout(Stdio::null()).spawn().unwrap()) else {
        return;
    };
    // Other allocators keep what is freed.
    if cfg!(all(target_os = "linux", target_env = "gnu")) {
        let share = taken as f64 / bytes("expected");
        assert!((0.9..=1.1).contains(&share), "{taken}: {share} of {plan}");
    }
}

/// A NumPy archive of one matrix that repeats itself, with labels beside.
fn archive(
    folder: &Path,
    (samples, neurons): (usize, usize),
    method: CompressionMethod,
) -> PathBuf {
    let mut array = b"\x93NUMPY\x01\x00".to_vec();
    let shape = format!("({samples}, {neurons})");
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
    let header = format!("{header:<117}\n");
    array.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
    array.extend(header.as_bytes());
    let values: Vec<f32> = (0..samples * neurons).map(|at| (at % 7) as f32).collect();
    array.extend_from_slice(bytemuck::cast_slice(&values));
    let file = folder.join(format!("{method}.npz"));
    let mut archive = zip::ZipWriter::new(std::fs::File::create(&file).unwrap());
    let options = SimpleFileOptions::default().compression_method(method);
    archive.start_file("activations.npy", options).unwrap();
    archive.write_all(&array).unwrap();
    archive.finish().unwrap();
    file
}

#[test]
fn what_is_inflated_counts_while_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let shape = (4000, 2500);
    let labels = folder.path().join("labels.txt");
    let lines: Vec<&str> = (0..shape.0).map(|at| ["a", "b"][at % 2]).collect();
    std::fs::write(&labels, lines.join("\n")).unwrap();
    let out = folder.path().join("ranks.json");
    let rank = |file: &Path| {
        let typed = [
            "rank",
            text(file),
            "--labels",
            text(&labels),
            "-o",
            text(&out),
        ];
        // 40 MB of activations, or twice as many, and the process.
        neurosieve(
            &[
                &typed[..],
                &["--layers-units", "1x2500", "--max-memory", "0.065"],
            ]
            .concat(),
        )
    };
    let mapped = rank(&archive(folder.path(), shape, CompressionMethod::Stored));
    assert_eq!(code(&mapped), 0, "{}", stderr(&mapped));
    let inflated = rank(&archive(folder.path(), shape, CompressionMethod::Deflated));
    assert_fails(
        &inflated,
        &[
            "memory of the host",
            "compressed ones once more",
            "--max-memory",
        ],
    );
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
