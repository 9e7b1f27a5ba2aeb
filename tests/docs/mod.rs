//! The guide and the pages under `docs/`: what they say to type is typed, what they say is printed is printed, what they
//! link to is there, and their figures are those of the files that they name.
//!
//! - `shell`      runs commands and compares what they print with what a page quotes
//! - `commands`   the tutorial's and the README's commands, in order
//! - `links`      links, paths and anchors; every page can be reached from the index
//! - `benchmarks` every figure of the tables is the one in its file
//! - `citation`   version and licence of `CITATION.cff` are the crate's

mod benchmarks;
mod citation;
mod commands;
mod links;
mod shell;

use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    let path = root().join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every page under `docs/`, as a path from the root with `/`, in order.
fn pages() -> Vec<String> {
    let mut pages = Vec::new();
    let mut folders = vec![PathBuf::from("docs")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(root().join(&folder)).expect("a folder of docs") {
            let entry = entry.expect("an entry");
            let path = folder.join(entry.file_name());
            if entry.path().is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                let name = path.to_str().expect("names are UTF-8");
                pages.push(name.replace('\\', "/"));
            }
        }
    }
    pages.sort();
    assert!(pages.len() >= 10, "{pages:?}");
    pages
}

/// A fenced block of code.
#[derive(Debug, PartialEq)]
struct Block {
    /// What follows the fence: `sh`, `python`; empty for none.
    language: String,
    /// Its lines, each ended by a line feed.
    text: String,
    /// The line of its fence, from 1.
    line: usize,
}

impl Block {
    fn first_line(&self) -> &str {
        self.text.lines().next().unwrap_or_default()
    }
}

/// The fenced blocks of a page.
fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (line, content) in (1..).zip(text.lines()) {
        match (content.strip_prefix("```"), &mut open) {
            (Some(language), None) => {
                open = Some(Block {
                    language: language.trim().to_owned(),
                    text: String::new(),
                    line,
                });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some(block)) => {
                block.text.push_str(content);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a fence is not closed: {open:?}");
    blocks
}

/// Languages of blocks, and who runs those of the README and the tutorial.
const LANGUAGES: [(&str, &str); 7] = [
    ("sh", "tests/docs/commands.rs"),
    ("console", "tests/docs/commands.rs"),
    ("toml", "tests/docs/commands.rs reads it as a specification"),
    (
        "python",
        "python/tests/test_readme.py runs it, in every page",
    ),
    (
        "py",
        "python/tests/test_readme.py compiles it: it needs what is not here",
    ),
    (
        "bash",
        "tests/docs/commands.rs runs the job scripts of docs/slurm.md",
    ),
    ("text", "nobody: it is not code"),
];

fn unknown_languages(page: &str, text: &str) -> Vec<String> {
    blocks(text)
        .iter()
        .filter(|block| {
            !LANGUAGES
                .iter()
                .any(|(language, _)| *language == block.language)
        })
        .map(|block| {
            format!(
                "{page}:{}: nothing runs a block of \"{}\"; tests/docs/mod.rs lists what there is",
                block.line, block.language
            )
        })
        .collect()
}

#[test]
fn every_block_has_a_language_that_something_runs() {
    let mut found = unknown_languages("README.md", &read("README.md"));
    for page in pages() {
        found.extend(unknown_languages(&page, &read(&page)));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_block_that_nothing_runs_is_caught() {
    let page = "text\n```sh\na\nb\n```\n\n```rust\nfn f() {}\n```\n```\n?\n```\n";
    let found = blocks(page);
    let lines: Vec<usize> = found.iter().map(|block| block.line).collect();
    assert_eq!(lines, [2, 7, 10]);
    assert_eq!(found[0].text, "a\nb\n");
    assert_eq!(found[0].first_line(), "a");
    assert_eq!(unknown_languages("page.md", page).len(), 2);
}
