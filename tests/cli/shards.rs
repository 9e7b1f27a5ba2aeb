//! One study in shards: put together they have the bits of one run, and what is missing, damaged or another's is said.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::kill::{ends_within, found, specification, start};
use super::{assert_fails, code, neurosieve, stderr, stdout, text};
use crate::support::gpu;

const LONG: Duration = Duration::from_secs(600);

/// These arguments, and the CPU where they name no device.
fn natively<'a>(extra: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = extra.to_vec();
    if !extra.contains(&"--device") {
        arguments.extend(["--device", "cpu"]);
    }
    arguments
}

/// Runs one shard to its end, and gives its record.
fn shard(spec: &Path, out: &Path, which: &str, extra: &[&str]) -> Value {
    let mut arguments = vec!["study", text(spec), "-o", text(out), "--shard", which];
    arguments.push("--json");
    arguments.extend(natively(extra));
    let output = neurosieve(&arguments);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    serde_json::from_str(&stdout(&output)).expect("one JSON document")
}

fn merge(spec: &Path, shards: &[&Path], out: &Path, extra: &[&str]) -> std::process::Output {
    let mut arguments = vec!["merge", text(spec)];
    arguments.extend(shards.iter().map(|shard| text(shard)));
    arguments.extend(["-o", text(out)]);
    arguments.extend(natively(extra));
    neurosieve(&arguments)
}

/// Merges, and gives what was said on stderr.
fn merged(spec: &Path, shards: &[&Path], out: &Path, extra: &[&str]) -> String {
    let output = merge(spec, shards, out, extra);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    stderr(&output)
}

/// A folder with a specification, and the study in one run.
fn whole() -> (tempfile::TempDir, PathBuf, Value) {
    let folder = tempfile::tempdir().unwrap();
    let spec = specification(folder.path());
    // Two tasks: shards get parts of them, and their probes on all neurons are one batch in one run.
    let one = std::fs::read_to_string(&spec).unwrap();
    let two = one.replace("[\"coarse\"]", "[\"coarse\", \"fine\"]");
    assert_ne!(one, two);
    std::fs::write(&spec, two).unwrap();
    let out = folder.path().join("whole");
    assert!(ends_within(start(&spec, &out, false, &[]), LONG));
    let found = found(&out);
    (folder, spec, found)
}

fn units(shard: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(shard.join("units")).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|e| e == "unit"));
    files.sort();
    files
}

#[test]
fn shards_put_together_have_the_bits_of_one_run_and_nothing_is_left_to_compute() {
    let (folder, spec, whole) = whole();
    for of in [1, 2, 3, 9] {
        let shards = folder.path().join(format!("shards-{of}"));
        for number in 1..=of {
            let record = shard(&spec, &shards, &format!("{number}/{of}"), &[]);
            assert_eq!(record["schema_version"], 1);
            assert_eq!(
                (&record["shard"], &record["of"]),
                (&number.into(), &of.into())
            );
        }
        let out = folder.path().join(format!("merged-{of}"));
        let said = merged(&spec, &[&shards], &out, &[]);
        assert_eq!(found(&out), whole, "{of} shards");
        assert!(said.contains("; 0 computed now"), "{of}: {said}");
        assert!(out.join("report.html").exists() && out.join("tables").is_dir());
        if of == 2 {
            for number in 1..=of {
                let own = units(&shards.join(format!("shard-{number}-of-2")));
                assert!(own.len() > 10, "each has its share: {}", own.len());
            }
        }
    }
}

#[test]
fn shards_that_cannot_see_one_another_are_put_together_as_well() {
    let (folder, spec, whole) = whole();
    let apart = ["one", "two"].map(|name| folder.path().join(name));
    for (number, out) in (1..).zip(&apart) {
        let record = shard(&spec, out, &format!("{number}/2"), &[]);
        assert_eq!(record["found"], 0);
    }
    let out = folder.path().join("merged");
    // Twice the same folder is once, and one folder is named as a shard's, one as what holds it.
    let inner = apart[0].join("shard-1-of-2");
    let said = merged(&spec, &[&inner, &apart[0], &apart[1]], &out, &[]);
    assert!(said.contains("of 1/2") && said.contains("of 2/2"), "{said}");
    assert_eq!(said.matches("of 1/2").count(), 1, "{said}");
    assert_eq!(found(&out), whole);
    // The results are not written over a shard's units.
    let refused = merge(&spec, &[&apart[0], &apart[1]], &inner, &[]);
    assert_fails(&refused, &["output folder", "it is that of shard 1/2"]);
}

/// The first adapter may be any, a software one too.
#[test]
fn shards_on_a_gpu_have_the_bits_of_one_run() {
    if gpu("shards_on_a_gpu_have_the_bits_of_one_run").is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let spec = specification(folder.path());
    let few = std::fs::read_to_string(&spec).unwrap();
    let few = few.replace(
        "bootstrap = 4",
        "bootstrap = 2\nrandom_sets = 3\ndisjoint = 2",
    );
    std::fs::write(&spec, few).unwrap();
    let device = ["--device", "0"];
    let whole = folder.path().join("whole");
    let output = neurosieve(&[&["study", text(&spec), "-o", text(&whole)], &device[..]].concat());
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let (shards, out) = (folder.path().join("shards"), folder.path().join("out"));
    for which in ["1/2", "2/2"] {
        shard(&spec, &shards, which, &device);
    }
    let said = merged(&spec, &[&shards], &out, &device);
    assert!(said.contains("; 0 computed now"), "{said}");
    assert_eq!(found(&out), found(&whole));
    // Natively the bits are others.
    let refused = merge(&spec, &[&shards], &folder.path().join("no"), &[]);
    assert_fails(&refused, &["it was computed on", "its bits are others"]);
}

#[test]
fn a_missing_shard_is_named_and_computed_when_that_is_asked_for() {
    let (folder, spec, whole) = whole();
    let (shards, out) = (folder.path().join("shards"), folder.path().join("out"));
    shard(&spec, &shards, "1/3", &[]);
    shard(&spec, &shards, "3/3", &[]);
    let refused = merge(&spec, &[&shards], &out, &[]);
    assert_fails(
        &refused,
        &[
            "2/3 is missing",
            "--shard 2/3",
            "--compute-missing",
            "study.toml",
        ],
    );
    assert!(!out.exists(), "nothing is written before");
    let said = merged(&spec, &[&shards], &out, &["--compute-missing"]);
    assert!(!said.contains("; 0 computed now"), "{said}");
    assert_eq!(found(&out), whole);
    // A second merge finds what the first one computed.
    assert!(merged(&spec, &[&shards], &out, &["--compute-missing"]).contains("; 0 computed now"));
}

#[test]
fn damaged_units_are_computed_again() {
    let (folder, spec, whole) = whole();
    let (shards, out) = (folder.path().join("shards"), folder.path().join("out"));
    for which in ["1/2", "2/2"] {
        shard(&spec, &shards, which, &[]);
    }
    let second = shards.join("shard-2-of-2");
    let files = units(&second);
    let mut bytes = std::fs::read(&files[0]).unwrap();
    *bytes.last_mut().unwrap() ^= 4;
    std::fs::write(&files[0], &bytes).unwrap();
    std::fs::write(&files[1], b"not a unit").unwrap();
    // Some units are in both shards, and some are not asked for where what they led to is there.
    for file in &files[2..10] {
        std::fs::remove_file(file).unwrap();
    }
    let said = merged(&spec, &[&shards], &out, &[]);
    assert!(
        said.contains("2 units were damaged and computed again"),
        "{said}"
    );
    let computed = said
        .split("; ")
        .find_map(|part| part.split_once(" computed now"));
    let computed: usize = computed.unwrap().0.parse().unwrap();
    assert!((3..=10).contains(&computed), "{said}");
    assert_eq!(found(&out), whole);
}

/// Two shards that are done, with their specification.
fn two() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let spec = specification(folder.path());
    let shards = folder.path().join("shards");
    for which in ["1/2", "2/2"] {
        shard(&spec, &shards, which, &[]);
    }
    (folder, spec, shards)
}

#[test]
fn shards_of_another_specification_or_of_other_data_are_refused() {
    let (folder, spec, shards) = two();
    let plain = std::fs::read_to_string(&spec).unwrap();
    let other = folder.path().join("other.toml");
    let against = |from: &str, to: &str, parts: &[&str]| {
        assert!(plain.contains(from), "{plain}");
        std::fs::write(&other, plain.replace(from, to)).unwrap();
        assert_fails(
            &merge(&other, &[&shards], &folder.path().join("no"), &[]),
            parts,
        );
    };
    against(
        "[control]",
        "[clusters]\nlinkage = \"single\"\n[control]",
        &[
            "another specification",
            "clusters.linkage is \"average\" there and \"single\" here",
        ],
    );
    against(
        "dev.safetensors",
        "test.safetensors",
        &["other activations of dev", "shard-1-of-2"],
    );
    against(
        "tasks = [\"coarse\"]",
        "tasks = [\"fine\"]",
        &["tasks, labels or words"],
    );
    // Another title is no other study.
    std::fs::write(&other, plain.replace("\"killed\"", "\"renamed\"")).unwrap();
    merged(&other, &[&shards], &folder.path().join("renamed"), &[]);
}

#[test]
fn records_that_are_damaged_or_of_another_machine_are_refused() {
    let (folder, spec, shards) = two();
    let (second, out) = (shards.join("shard-2-of-2"), folder.path().join("out"));
    let file = second.join("shard.json");
    let record = std::fs::read_to_string(&file).unwrap();
    let altered = |change: &dyn Fn(&mut Value), parts: &[&str]| {
        let mut value: Value = serde_json::from_str(&record).unwrap();
        change(&mut value);
        std::fs::write(&file, value.to_string()).unwrap();
        assert_fails(
            &merge(&spec, &[&shards], &folder.path().join("no"), &[]),
            parts,
        );
    };
    altered(
        &|r| r["neurosieve_version"] = "0.0.1".into(),
        &["it is of neurosieve 0.0.1"],
    );
    altered(
        &|r| r["processor"] = "another".into(),
        &["it was computed on another", "--device"],
    );
    altered(
        &|r| r["device"]["kind"] = "gpu".into(),
        &["its bits are others"],
    );
    altered(
        &|r| r["shard"] = 1.into(),
        &["it is of shard 1/2, and its folder of 2/2"],
    );
    altered(
        &|r| drop(r.as_object_mut().unwrap().remove("train")),
        &["no record of a shard"],
    );
    std::fs::write(&file, &record[..50]).unwrap();
    let refused = merge(&spec, &[&shards], &folder.path().join("no"), &[]);
    assert_fails(&refused, &["shard.json", "line ", "no record of a shard"]);
    std::fs::write(&file, &record).unwrap();

    // Nothing there, or of two divisions.
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    assert_fails(
        &merge(&spec, &[&empty], &out, &[]),
        &["holds no shard", "--shard i/n"],
    );
    shard(&spec, &shards, "1/1", &[]);
    assert_fails(
        &merge(&spec, &[&shards], &out, &[]),
        &["some are of 1 and some of 2"],
    );
}

#[test]
fn a_shard_that_was_killed_goes_on() {
    let (folder, spec, whole) = whole();
    let (shards, out) = (folder.path().join("shards"), folder.path().join("out"));
    let own = shards.join("shard-1-of-2");
    let mut child = start(&spec, &shards, false, &["--shard", "1/2"]);
    let there = || own.join("units").is_dir() && units(&own).len() > 3;
    while !there() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    // The same shard twice at once is refused.
    let twice = [
        "study",
        text(&spec),
        "-o",
        text(&shards),
        "--shard",
        "1/2",
        "--resume",
    ];
    let refused = neurosieve(&twice);
    if child.try_wait().unwrap().is_none() {
        assert_fails(&refused, &["another run is using it"]);
    }
    shard(&spec, &shards, "2/2", &[]);
    let ended = child.try_wait().unwrap().is_some();
    if !ended {
        let refused = merge(&spec, &[&shards], &out, &[]);
        if child.try_wait().unwrap().is_none() {
            assert_fails(&refused, &["1/2 is still running"]);
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    if own.join("units/unfinished").exists() {
        let refused = merge(&spec, &[&shards], &out, &[]);
        assert_fails(
            &refused,
            &["1/2 did not come to its end", "--shard 1/2 --resume"],
        );
    }
    let record = shard(&spec, &shards, "1/2", &["--resume"]);
    assert!(record["found"].as_u64().unwrap() > 3, "{record}");
    merged(&spec, &[&shards], &out, &[]);
    assert_eq!(found(&out), whole);
}

#[test]
fn a_number_that_is_no_shard_is_a_usage_error() {
    for (which, part) in [
        ("0/3", "from 1 to 3"),
        ("4/3", "from 1 to 3"),
        ("1/0", "1 to 10000 shards, not 0"),
        ("1/20000", "not 20000"),
        ("2", "write 2/8"),
        ("a/b", "write 2/8"),
        ("-1/2", "write 2/8"),
        ("1/2/3", "write 2/8"),
    ] {
        let which = format!("--shard={which}");
        let output = neurosieve(&["study", "study.toml", "-o", "out", &which]);
        assert_eq!(code(&output), 2, "{which}");
        assert!(
            stderr(&output).contains(part),
            "{which}: {}",
            stderr(&output)
        );
        assert_eq!(stdout(&output), "");
    }
}
