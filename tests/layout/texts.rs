//! The texts: no place on one machine; the guide names what exists.

use std::path::Path;

use super::{none, repository};

/// Places on one person's machine. Written in halves, so that this list is none of them.
fn machine_paths(path: &str, text: &str) -> Vec<String> {
    let places = [
        ("/ho", "me/"),
        ("/ro", "ot/"),
        ("/wo", "rk/"),
        ("/Use", "rs/"),
        ("/tm", "p/"),
        ("C:", "\\"),
    ];
    let places = places.map(|(a, b)| format!("{a}{b}"));
    let before = |line: &str, at: usize| line[..at].chars().next_back();
    let names = |line: &str, place: &str| {
        line.match_indices(place).any(|(at, _)| {
            // `x/home/y` is a path below something else.
            !before(line, at)
                .is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '}'))
        })
    };
    (1..)
        .zip(text.lines())
        .filter_map(|(number, line)| {
            Some((number, places.iter().find(|place| names(line, place))?))
        })
        .map(|(number, place)| format!("{path}:{number}: {place} is a place on one machine"))
        .collect::<Vec<String>>()
}

#[test]
fn no_text_names_a_place_on_one_machine() {
    let files = repository();
    assert!(files.contains_key("README.md") && files.contains_key(".ci/run"));
    none(
        files
            .iter()
            .flat_map(|(path, text)| machine_paths(path, text))
            .collect(),
    );
}

#[test]
fn a_place_on_one_machine_is_caught() {
    let line = format!("see {}me/someone/notes", "/ho");
    assert_eq!(
        machine_paths("README.md", &format!("fine\n{line}")).len(),
        1
    );
    assert!(machine_paths("README.md", "out/report.html and src/ops/probe/mod.rs").is_empty());
}

/// What runs the tests.
const COMMANDS: [&str; 4] = [
    "cargo test --release",
    "python3 -m venv .venv",
    ".venv/bin/pip install '.[test]'",
    ".venv/bin/python -m pytest",
];

/// Paths that the guide names in back quotes and that do not exist; and commands that continuous integration should run
/// just as the guide has them.
fn broken_guide(readme: &str, ci: &str, exists: &dyn Fn(&str) -> bool) -> Vec<String> {
    let mut broken = Vec::new();
    for quoted in readme.split('`').skip(1).step_by(2) {
        let path = quoted.trim();
        let starts = [
            "src/",
            "tests/",
            "shaders/",
            "benches/",
            "python/",
            "fixtures/",
            ".ci/",
            ".github/",
        ];
        let general = path.contains(['<', '*', '{', ' ', '…']);
        if starts.iter().any(|start| path.starts_with(start)) && !general && !exists(path) {
            broken.push(format!("README.md: there is no {path}"));
        }
    }
    for (name, text) in [("README.md", readme), (".ci/run", ci)] {
        for command in COMMANDS {
            if !text.lines().any(|line| line.trim() == command) {
                broken.push(format!("{name} has no line `{command}`"));
            }
        }
    }
    broken
}

#[test]
fn the_guide_names_what_exists_and_continuous_integration_runs_its_command() {
    let files = repository();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    none(broken_guide(
        &files["README.md"],
        &files[".ci/run"],
        &|path| root.join(path).exists(),
    ));
}

#[test]
fn a_broken_guide_is_caught() {
    let commands = COMMANDS.join("\n");
    let fine = format!("```\n{commands}\n```\n`src/lib.rs` and `src/ops/<op>/mod.rs`");
    let exists = |path: &str| path == "src/lib.rs";
    assert!(broken_guide(&fine, &commands, &exists).is_empty());
    for command in COMMANDS {
        let otherwise = commands.replace(command, "cargo test");
        assert_eq!(broken_guide(&fine, &otherwise, &exists).len(), 1);
    }
    let nothing = fine.replace("lib", "nothing");
    assert_eq!(broken_guide(&nothing, &commands, &exists).len(), 1);
}
