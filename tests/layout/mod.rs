//! The architecture, read from the source tree: who imports whom, what stands where, how long it is.
//!
//! Every check is a function from text to violations. One test runs it over the repository, one shows on a made-up text
//! that it catches what it is for.

mod operations;
mod sizes;
mod texts;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Path from the repository's root (with `/`) → contents of a text file.
type Files = BTreeMap<String, String>;

/// Every text file of the repository that people write (data of fixtures are not).
fn repository() -> Files {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Files::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of the repository") {
            let path = entry.expect("an entry").path();
            let below = path.strip_prefix(root).expect("below the root");
            let name = below.to_str().expect("names are UTF-8").replace('\\', "/");
            if path.is_dir() {
                let hidden = name.starts_with('.') && !matches!(&*name, ".ci" | ".github");
                if !hidden && !matches!(&*name, "target" | "out" | "fuzz/target") {
                    folders.push(path);
                }
            } else if written_by_people(&name) {
                let text = std::fs::read_to_string(&path).expect("a text file");
                files.insert(name, text);
            }
        }
    }
    files
}

fn written_by_people(name: &str) -> bool {
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    matches!(
        extension,
        "rs" | "wgsl" | "md" | "py" | "html" | "css" | "js" | "yml"
    ) || (matches!(extension, "toml" | "sh") && name != "Cargo.lock")
        || name == ".ci/run"
        || name.starts_with("LICENSE")
}

fn under<'a>(files: &'a Files, folder: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let folder = format!("{folder}/");
    files
        .iter()
        .filter(move |(path, _)| path.starts_with(&folder))
        .map(|(path, text)| (&**path, &**text))
}

fn none(violations: Vec<String>) {
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

/// Lines of code with their numbers from 1: no comments, no documentation.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..)
        .zip(text.lines())
        .map(|(number, line)| (number, line.split("//").next().unwrap_or(line)))
        .filter(|(_, line)| !line.trim().is_empty())
}

/// The modules of the crate's root, lowest first: each may import what stands before it.
const LAYERS: [&str; 13] = [
    "error",
    "activations",
    "labels",
    "split",
    "data",
    "gpu",
    "ops",
    "analysis",
    "study",
    "bench",
    "report",
    "cli",
    "python",
];

/// Imports that go down but are still not allowed: files and devices do not know each other, operations take plain
/// arrays, analysis is pure.
const APART: [(&str, &str); 5] = [
    ("gpu", "data"),
    ("ops", "data"),
    ("analysis", "data"),
    ("analysis", "gpu"),
    ("gpu", "activations"),
];

/// The modules that follow `crate::` in a text: of `crate::a::b` a, of `crate::{a::b, c}` a and c.
fn imported(line: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        text.trim_start()
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect()
    };
    let mut found = Vec::new();
    for after in line.split("crate::").skip(1) {
        let Some(group) = after.strip_prefix('{') else {
            found.push(name(after));
            continue;
        };
        let mut depth = 0;
        let mut start = 0;
        for (at, letter) in group.char_indices() {
            match letter {
                '{' => depth += 1,
                '}' if depth > 0 => depth -= 1,
                ',' if depth > 0 => {}
                ',' | '}' => {
                    found.push(name(&group[start..at]));
                    start = at + 1;
                    if letter == '}' {
                        break;
                    }
                }
                _ => {}
            }
        }
    }
    found.retain(|module| !module.is_empty());
    found
}

fn wrong_imports(path: &str, text: &str) -> Vec<String> {
    let inside = path.trim_start_matches("src/").trim_end_matches(".rs");
    let own = inside.split('/').next().unwrap_or(inside);
    let Some(rank) = LAYERS.iter().position(|layer| *layer == own) else {
        return Vec::new(); // lib.rs and main.rs, which name every module.
    };
    let depth = inside.trim_end_matches("/mod").split('/').count();
    let mut wrong = Vec::new();
    // A group may run over several lines: look at the text as one, and at single lines for their number.
    let whole: String = code(text).map(|(_, line)| line.trim()).collect();
    for module in imported(&whole) {
        let target = LAYERS.iter().position(|layer| *layer == module);
        if target.is_some_and(|target| target > rank) || APART.contains(&(own, &module)) {
            wrong.push(format!("{path}: {own} may not import {module}"));
        }
    }
    for (number, line) in code(text) {
        if line.contains(&"super::".repeat(depth)) {
            wrong.push(format!(
                "{path}:{number}: climbs to the root by super::, say crate::"
            ));
        }
    }
    wrong
}

#[test]
fn imports_go_downward_only() {
    let files = repository();
    let found = under(&files, "src").flat_map(|(path, text)| wrong_imports(path, text));
    none(found.collect());
    let lib = &files["src/lib.rs"];
    let declared: BTreeSet<&str> = code(lib)
        .filter_map(|(_, line)| line.trim().strip_prefix("pub mod ")?.strip_suffix(';'))
        .collect();
    assert_eq!(
        declared,
        BTreeSet::from(LAYERS),
        "every module of the root has its layer"
    );
}

#[test]
fn an_upward_import_is_caught() {
    for (path, text) in [
        ("src/ops/sweep/mod.rs", "use crate::data::open;"),
        (
            "src/ops/sweep/cpu.rs",
            "use crate::error::Error;\nfn f() { crate::study::run() }",
        ),
        (
            "src/analysis/ranking.rs",
            "use crate::{\n    error::{Error, Result},\n    gpu,\n};",
        ),
        ("src/analysis/ranking.rs", "use super::super::gpu;"),
        ("src/gpu/mod.rs", "use crate::ops::Backend;"),
        ("src/data/mod.rs", "use crate::gpu::Gpu;"),
        ("src/labels.rs", "use crate::split::Split;"),
    ] {
        assert_eq!(wrong_imports(path, text).len(), 1, "{path}: {text}");
    }
    let fine =
        "// use crate::cli;\nuse crate::ops::{probe, sweep::{Curve, Params}};\nuse super::ranking;";
    assert_eq!(
        wrong_imports("src/analysis/layers.rs", fine),
        Vec::<String>::new()
    );
}

/// Lines outside `allowed` (files, or folders that end in `/`) that hold one of the words.
fn misplaced(path: &str, text: &str, words: &[&str], allowed: &[&str]) -> Vec<String> {
    let at_home = |home: &&str| path == *home || (home.ends_with('/') && path.starts_with(*home));
    if allowed.iter().any(at_home) {
        return Vec::new();
    }
    let holds = |line: &str| words.iter().find(|word| line.contains(**word)).copied();
    code(text)
        .filter_map(|(number, line)| Some((number, holds(line)?)))
        .map(|(number, word)| {
            format!(
                "{path}:{number}: {word} belongs into {}",
                allowed.join(", ")
            )
        })
        .collect()
}

/// The GPU library's name; only its thin layer may say it.
const GPU_WORDS: &[&str] = &["wgpu"];
const GPU_HOME: &[&str] = &["src/gpu/"];

/// Opening a file to read it. Beside the readers only documents of our own are read: a study's specification, its units, the
/// results from which `report` is made again, an earlier run of `bench`, and what was measured of a GPU's kernels; and what
/// the system says of the machine.
const READ_WORDS: &[&str] = &["File::open", "fs::read", "OpenOptions", "Mmap"];
const READ_HOME: &[&str] = &[
    "src/data/",
    "src/study/spec/",
    "src/cli/report.rs",
    "src/cli/bench.rs",
    "src/cli/memory.rs",
    "src/bench/system.rs",
    "src/gpu/tuning.rs",
    "src/study/units/",
];

/// What the compiler cannot check: mapping a file, reading NumPy's arrays where they are, and asking for a GPU's matrix units,
/// which are experimental.
const UNSAFE_WORDS: &[&str] = &["unsafe {", "unsafe_code"];
const UNSAFE_HOME: &[&str] = &[
    "src/cli/allocator.rs",
    "src/data/mapped.rs",
    "src/gpu/matrix.rs",
    "src/python/array.rs",
];

/// Making files and folders.
const WRITE_WORDS: &[&str] = &["File::create", "fs::write", "fs::rename", "fs::create_dir"];
const WRITE_HOME: &[&str] = &[
    "src/report/mod.rs",
    "src/report/matrix.rs",
    "src/gpu/tuning.rs",
    "src/study/units/",
    "src/cli/output.rs",
];

/// The test part of a study's data. Beside its evaluation only counts of samples and the words of control tasks are taken
/// from it, and a set that another study chose is judged; what makes choices must not be able to.
const TEST_WORDS: &[&str] = &[".test()"];
const TEST_HOME: &[&str] = &[
    "src/study/compare/transfer.rs",
    "src/study/evaluate.rs",
    "src/study/run.rs",
    "src/study/survey.rs",
];

#[test]
fn only_the_gpu_layer_names_wgpu_and_only_readers_open_files() {
    let files = repository();
    let mut found = Vec::new();
    for (path, text) in under(&files, "src") {
        found.extend(misplaced(path, text, GPU_WORDS, GPU_HOME));
        found.extend(misplaced(path, text, READ_WORDS, READ_HOME));
        found.extend(misplaced(path, text, UNSAFE_WORDS, UNSAFE_HOME));
        found.extend(misplaced(path, text, WRITE_WORDS, WRITE_HOME));
        found.extend(misplaced(path, text, TEST_WORDS, TEST_HOME));
    }
    none(found);
}

#[test]
fn a_misplaced_device_or_file_is_caught() {
    let text = "fn f() {\n    let b: wgpu::Buffer;\n    std::fs::read(\"x\"); // wgpu\n}";
    let chooses = "let labels = data.test().labels;";
    let task = "src/study/task.rs";
    assert_eq!(misplaced(task, chooses, TEST_WORDS, TEST_HOME).len(), 1);
    let path = "src/ops/sweep/gpu.rs";
    assert_eq!(misplaced(path, text, GPU_WORDS, GPU_HOME).len(), 1);
    let opened = misplaced(path, text, READ_WORDS, READ_HOME);
    assert!(
        opened[0].starts_with("src/ops/sweep/gpu.rs:3"),
        "{opened:?}"
    );
    assert!(misplaced("src/gpu/mod.rs", text, GPU_WORDS, GPU_HOME).is_empty());
    let unchecked = "fn f() {\n    unsafe { g() }\n}";
    let in_device = misplaced("src/gpu/device.rs", unchecked, UNSAFE_WORDS, UNSAFE_HOME);
    assert_eq!(in_device.len(), 1);
    assert_eq!(
        misplaced(
            "src/report/html/mod.rs",
            "File::create(p)",
            WRITE_WORDS,
            WRITE_HOME
        )
        .len(),
        1
    );
}
