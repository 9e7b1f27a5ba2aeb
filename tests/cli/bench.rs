//! `bench`: one document, lists, and two files beside each other. What it measures is tested as a library.

use serde_json::Value;

use super::{assert_fails, code, neurosieve, stderr, stdout, text};

#[test]
fn bench_measures_what_is_asked_for_and_compares_it() {
    let folder = tempfile::tempdir().unwrap();
    let some = [
        "bench",
        "--device",
        "cpu",
        "--only",
        "moments,inner",
        "--json",
    ];
    let measured = neurosieve(&some);
    assert_eq!(code(&measured), 0, "{}", stderr(&measured));
    let document: Value = serde_json::from_str(&stdout(&measured)).expect("one JSON document");
    let names = |document: &Value, list: &str| -> Vec<String> {
        let rows = document[list].as_array().expect("a list").iter();
        rows.map(|row| row["name"].as_str().expect("a name").to_owned())
            .collect()
    };
    assert_eq!(
        names(&document, "workloads"),
        [
            "moments",
            "inner.hessian.2",
            "inner.hessian.16",
            "inner.descent"
        ]
    );
    let list = neurosieve(&[&some[..], &["--list"]].concat());
    let list: Value = serde_json::from_str(&stdout(&list)).expect("one JSON document");
    let mut all = names(&document, "roofs");
    all.extend(names(&document, "workloads"));
    assert_eq!(names(&list, "rows"), all);

    let file = folder.path().join("run.json");
    std::fs::write(&file, stdout(&measured)).unwrap();
    let same = neurosieve(&["bench", "--compare", text(&file), text(&file)]);
    assert_eq!(code(&same), 0, "{}", stderr(&same));
    assert!(stdout(&same).ends_with("no change\n"), "{}", stdout(&same));
    let same = neurosieve(&["bench", "--compare", text(&file), text(&file), "--json"]);
    let same: Value = serde_json::from_str(&stdout(&same)).expect("one JSON document");
    assert_eq!(same["no_change"], true);
    assert_eq!(same["schema_version"], 1);

    // A run beside a file: whatever the clock says, every row has a verdict.
    let again = neurosieve(&[
        "bench",
        "--device",
        "cpu",
        "--only",
        "moments",
        "--compare",
        text(&file),
        "--markdown",
    ]);
    assert_eq!(code(&again), 0, "{}", stderr(&again));
    let said = stdout(&again);
    assert!(
        said.starts_with("### neurosieve ") && said.contains("| moments |"),
        "{said}"
    );
    // The solver was not asked for, so it is not missing.
    assert!(!said.contains("only in the old run"), "{said}");
    assert!(!said.contains("inner.descent"), "{said}");
}

#[test]
fn two_files_take_what_needs_no_measuring() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.json");
    let workloads = [
        "bench",
        "--device",
        "cpu",
        "--only",
        "moments,inner",
        "--json",
    ];
    let measured = neurosieve(&workloads);
    std::fs::write(&file, stdout(&measured)).unwrap();
    let only = |name: &str| {
        let files = [
            "bench",
            "--compare",
            text(&file),
            text(&file),
            "--markdown",
            "--only",
            name,
        ];
        neurosieve(&files)
    };
    let some = only("inner");
    assert_eq!(code(&some), 0, "{}", stderr(&some));
    let said = stdout(&some);
    assert!(
        said.starts_with("```\n") && said.ends_with("no change\n```\n"),
        "{said}"
    );
    assert!(
        said.contains("inner.descent") && !said.contains("moments"),
        "{said}"
    );
    assert_fails(&only("warp"), &["warp", "in either file"]);
    for (flag, value) in [("--device", "cpu"), ("--size", "small")] {
        let both = neurosieve(&["bench", "--compare", text(&file), text(&file), flag, value]);
        assert_fails(&both, &[flag, "without measuring"]);
    }
}

#[test]
fn bench_lists_every_workload_without_measuring() {
    let output = neurosieve(&["bench", "--list", "--device", "cpu", "--size", "large"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    for name in ["roof.f32", "gram.f16", "product.backward.4096", "study"] {
        let said = stdout(&output);
        assert!(said.lines().any(|line| line.starts_with(name)), "{said}");
    }
}

#[test]
fn bench_says_what_it_cannot_take() {
    let folder = tempfile::tempdir().unwrap();
    let gone = folder.path().join("gone.json");
    let output = neurosieve(&["bench", "--compare", text(&gone), text(&gone)]);
    assert_fails(&output, &["cannot read", "gone.json"]);
    let old = folder.path().join("old.json");
    std::fs::write(&old, "{\"schema_version\": 99}").unwrap();
    let output = neurosieve(&["bench", "--compare", text(&old), text(&old)]);
    assert_fails(&output, &["old.json", "schema_version is 99", "reads 1"]);
    let output = neurosieve(&["bench", "--device", "cpu", "--only", "warp"]);
    assert_fails(&output, &["warp", "gram.f32"]);
    for arguments in [
        &["bench", "--json", "--markdown"][..],
        &["bench", "--size", "huge"],
        &["bench", "--list", "--compare", "old.json"],
        &["bench", "--list", "--markdown"],
    ] {
        assert_eq!(code(&neurosieve(arguments)), 2, "{arguments:?}");
    }
}
