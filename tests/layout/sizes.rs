//! Files and functions stay short, and their names say something.

use super::{none, repository, under};

const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 70;
const MAIN_LINES: usize = 60;

/// Functions of a rustfmt-ed text with their first line and length: from the line of `fn` to the closing brace of the
/// same indentation.
fn functions(text: &str) -> Vec<(usize, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let body = line.trim_start();
        let indent = &line[..line.len() - body.len()];
        let words: Vec<&str> = body.split_whitespace().take(6).collect();
        let before = words.iter().take_while(|word| **word != "fn");
        let modifier = |word: &&str| {
            word.starts_with("pub")
                || matches!(*word, "const" | "async" | "unsafe" | "extern" | "in")
        };
        let is_function = words.contains(&"fn") && before.clone().all(modifier);
        if !is_function || line.ends_with(';') || line.ends_with("{}") {
            continue;
        }
        let close = format!("{indent}}}");
        let ends = |line: &&str| {
            **line == *close || line.starts_with(&format!("{indent}) -> ")) && line.ends_with(';')
        };
        if let Some(length) = lines[at + 1..].iter().position(ends) {
            found.push((at + 1, length + 2));
        }
    }
    found
}

fn too_long(path: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let most = if path == "src/main.rs" {
        MAIN_LINES
    } else {
        FILE_LINES
    };
    let lines = text.lines().count();
    if lines > most {
        found.push(format!(
            "{path}: {lines} lines; {most} are allowed, split it by what its parts are about"
        ));
    }
    if path.ends_with(".rs") {
        for (line, length) in functions(text) {
            if length > FUNCTION_LINES {
                found.push(format!(
                    "{path}:{line}: a function of {length} lines; {FUNCTION_LINES} are allowed"
                ));
            }
        }
    }
    found
}

/// A module that is named as NeuroX names it.
const OF_NEUROX: &str = "python/neurosieve/neurox/interpretation/utils.py";

fn nameless(path: &str) -> Option<String> {
    if path == OF_NEUROX {
        return None;
    }
    let parts = path.split(['/', '.']);
    let empty = |part: &&str| {
        matches!(
            *part,
            "util" | "utils" | "helper" | "helpers" | "misc" | "base"
        )
    };
    let part = parts.into_iter().find(empty)?;
    Some(format!(
        "{path}: \"{part}\" says nothing; name it by what it is about"
    ))
}

#[test]
fn files_and_functions_stay_short_and_names_say_something() {
    let files = repository();
    let mut found = Vec::new();
    for folder in ["src", "python", "tests", "shaders", "benches"] {
        for (path, text) in under(&files, folder) {
            found.extend(too_long(path, text));
            found.extend(nameless(path));
        }
    }
    none(found);
}

#[test]
fn a_long_file_a_long_function_and_an_empty_name_are_caught() {
    let long = |lines: usize| "x\n".repeat(lines);
    assert!(too_long("src/a.rs", &long(500)).is_empty());
    assert_eq!(too_long("src/a.rs", &long(501)).len(), 1);
    assert_eq!(too_long("src/main.rs", &long(61)).len(), 1);
    assert_eq!(too_long("shaders/a.wgsl", &long(501)).len(), 1);
    let function = |body: usize| {
        format!(
            "impl A {{\n    pub(super) fn f(\n        a: u8,\n    ) -> u8 {{\n{}    }}\n\n    fn g() {{}}\n}}\n",
            "        {\n        }\n".repeat(body / 2)
        )
    };
    assert_eq!(functions(&function(10)), [(2, 14)]);
    assert!(
        too_long("src/a.rs", &function(66)).is_empty(),
        "70 lines are allowed"
    );
    let found = too_long("src/a.rs", &function(68));
    assert_eq!(
        found,
        ["src/a.rs:2: a function of 72 lines; 70 are allowed"]
    );
    assert!(nameless("src/ops/utils.rs").is_some());
    assert!(nameless("src/helpers/mod.rs").is_some());
    assert!(nameless("src/ops/probe/hessian.rs").is_none());
}
