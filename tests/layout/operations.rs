//! Every operation is whole.

use std::collections::BTreeSet;

use super::{Files, none, repository, under};

/// What an operation lacks: one folder, one shader and one parity test of the same name, and the contract.
fn incomplete_operations(files: &Files) -> Vec<String> {
    let operations: BTreeSet<&str> = under(files, "src/ops")
        .filter_map(|(path, _)| path["src/ops/".len()..].split_once('/'))
        .map(|(operation, _)| operation)
        .collect();
    let mut lacking = Vec::new();
    for operation in &operations {
        let folder = format!("src/ops/{operation}");
        let needed = [
            format!("{folder}/mod.rs"),
            format!("{folder}/cpu.rs"),
            format!("{folder}/gpu.rs"),
            format!("shaders/{operation}.wgsl"),
            format!("tests/parity/{operation}.rs"),
        ];
        let absent = needed.iter().filter(|path| !files.contains_key(*path));
        lacking.extend(absent.map(|path| format!("operation {operation} lacks {path}")));
        let contract = files.get(&needed[0]).map_or("", |text| text);
        for item in ["pub const TOLERANCE", "pub fn bytes"] {
            if !contract.contains(item) {
                lacking.push(format!("{folder}/mod.rs: the contract lacks `{item}`"));
            }
        }
        let parity = files.get(&needed[4]).map_or("", |text| text);
        if !parity.contains("TOLERANCE") || !parity.contains("#[test]") {
            lacking.push(format!(
                "tests/parity/{operation}.rs does not test by the contract's TOLERANCE"
            ));
        }
    }
    for (path, _) in under(files, "shaders") {
        let stem = path["shaders/".len()..].trim_end_matches(".wgsl");
        // A second shader of an operation says after its name what it is for.
        let operation = stem
            .split_once('_')
            .map_or(stem, |(operation, _)| operation);
        if !operations.contains(operation) && stem != "common" {
            lacking.push(format!("{path} belongs to no operation"));
        }
    }
    lacking
}

#[test]
fn every_operation_has_its_contract_both_back_ends_a_shader_and_a_parity_test() {
    let files = repository();
    assert!(
        under(&files, "src/ops").count() > 4,
        "there are operations to check"
    );
    none(incomplete_operations(&files));
}

#[test]
fn an_incomplete_operation_is_caught() {
    let whole = [
        ("src/ops/mod.rs", ""),
        (
            "src/ops/sum/mod.rs",
            "pub const TOLERANCE: f64 = 0.0;\npub fn bytes() {}",
        ),
        ("src/ops/sum/cpu.rs", ""),
        ("src/ops/sum/gpu.rs", ""),
        ("shaders/sum.wgsl", ""),
        ("tests/parity/sum.rs", "#[test] fn f() { TOLERANCE }"),
    ];
    let tree = |entries: &[(&str, &str)]| -> Files {
        entries
            .iter()
            .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
            .collect()
    };
    assert_eq!(incomplete_operations(&tree(&whole)), Vec::<String>::new());
    for left_out in 1..whole.len() {
        let mut entries = whole.to_vec();
        entries.remove(left_out);
        assert!(
            !incomplete_operations(&tree(&entries)).is_empty(),
            "without {}",
            whole[left_out].0
        );
    }
    let mut stray = tree(&whole);
    stray.insert("shaders/product.wgsl".to_owned(), String::new());
    assert_eq!(
        incomplete_operations(&stray),
        ["shaders/product.wgsl belongs to no operation"]
    );
    let mut untold = tree(&whole);
    untold.insert(
        "src/ops/sum/mod.rs".to_owned(),
        "pub fn bytes() {}".to_owned(),
    );
    assert_eq!(incomplete_operations(&untold).len(), 1);
}
