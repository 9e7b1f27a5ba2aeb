//! Commands of a page in a folder of their own, the binary first among the programs, and what they print beside what the page
//! quotes.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::root;

/// What a command printed.
pub(super) struct Printed {
    pub(super) out: String,
    pub(super) err: String,
}

/// A folder with copies of the fixtures that pages name, in which commands run one after the other.
pub(super) struct Shell {
    folder: tempfile::TempDir,
    path: OsString,
}

impl Shell {
    pub(super) fn with_fixtures(names: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for name in names {
            let below = Path::new("fixtures").join(name);
            copy(&root().join(&below), &folder.path().join(&below));
        }
        let binary = PathBuf::from(env!("CARGO_BIN_EXE_neurosieve"));
        let own = binary
            .parent()
            .expect("a binary lies in a folder")
            .to_owned();
        let others = std::env::var_os("PATH").unwrap_or_default();
        let all = std::iter::once(own).chain(std::env::split_paths(&others));
        let path = std::env::join_paths(all).expect("folders of programs");
        Self { folder, path }
    }

    /// Runs a script, which must succeed in each of its lines.
    #[track_caller]
    pub(super) fn run(&self, script: &str) -> Printed {
        let output = Command::new("sh")
            .args(["-e", "-c", script])
            .current_dir(self.folder.path())
            .env("PATH", &self.path)
            .stdin(Stdio::null())
            .output()
            .expect("there is a shell");
        let printed = Printed {
            out: String::from_utf8(output.stdout).expect("stdout is UTF-8"),
            err: String::from_utf8(output.stderr).expect("stderr is UTF-8"),
        };
        assert!(
            output.status.success(),
            "{script}\n{}\n{}",
            printed.out,
            printed.err
        );
        printed
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a fixture") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("a copy");
        }
    }
}

/// A command of a `console` block and the lines that the page quotes below it.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Step {
    pub(super) command: String,
    pub(super) quoted: Vec<String>,
}

/// The steps of a `console` block: commands stand after `$ `, and go on in the next line after a backslash.
pub(super) fn steps(block: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut goes_on = false;
    for line in block.lines() {
        let starts = line.strip_prefix("$ ");
        if let Some(command) = starts {
            steps.push(Step {
                command: format!("{command}\n"),
                quoted: Vec::new(),
            });
        } else {
            let step = steps
                .last_mut()
                .expect("a console block starts with a command");
            if goes_on {
                step.command.push_str(line);
                step.command.push('\n');
            } else {
                step.quoted.push(line.to_owned());
            }
        }
        goes_on = (starts.is_some() || goes_on) && line.ends_with('\\');
    }
    steps
}

/// What of the quoted lines was not printed. A quoted line `...` stands for any lines, `…` inside a line for any letters. Lines
/// that begin with `warning:` are looked for in stderr, in any order; the others are all of stdout.
pub(super) fn differences(quoted: &[String], printed: &Printed) -> Vec<String> {
    let (warnings, answer): (Vec<&str>, Vec<&str>) = quoted
        .iter()
        .map(|line| line.trim_end())
        .partition(|line| line.starts_with("warning:"));
    let mut found: Vec<String> = warnings
        .into_iter()
        .filter(|warning| !printed.err.lines().any(|line| fits(warning, line)))
        .map(|warning| format!("not in stderr: {warning}\n{}", printed.err))
        .collect();
    let out: Vec<&str> = printed.out.lines().map(str::trim_end).collect();
    if !answer.is_empty() && !follow(&answer, &out) {
        found.push(format!(
            "quoted:\n{}\nprinted:\n{}",
            answer.join("\n"),
            printed.out
        ));
    }
    found
}

/// Whether the printed lines are those quoted.
fn follow(quoted: &[&str], printed: &[&str]) -> bool {
    match quoted.split_first() {
        None => printed.is_empty(),
        Some((&"...", rest)) => (0..=printed.len()).any(|skip| follow(rest, &printed[skip..])),
        Some((first, rest)) => printed
            .split_first()
            .is_some_and(|(line, left)| fits(first, line) && follow(rest, left)),
    }
}

/// Whether a line is the quoted one, where `…` stands for any letters.
fn fits(quoted: &str, line: &str) -> bool {
    let mut pieces = quoted.split('…');
    let first = pieces.next().unwrap_or_default();
    let Some(mut left) = line.strip_prefix(first) else {
        return false;
    };
    let mut pieces: Vec<&str> = pieces.collect();
    let Some(last) = pieces.pop() else {
        return left.is_empty();
    };
    for piece in pieces {
        match left.split_once(piece) {
            Some((_, after)) => left = after,
            None => return false,
        }
    }
    left.ends_with(last)
}

#[test]
fn what_is_not_printed_is_caught() {
    let printed = Printed {
        out: "one\ntwo: 3.5 s \nfour\n".to_owned(),
        err: "noise\nwarning: few samples\n".to_owned(),
    };
    let differs = |quoted: &[&str]| {
        let quoted: Vec<String> = quoted.iter().map(|line| (*line).to_owned()).collect();
        !differences(&quoted, &printed).is_empty()
    };
    for fine in [
        &["one", "two: 3.5 s", "four"][..],
        &["...", "four"],
        &["one", "..."],
        &["...", "two: … s", "..."],
        &["one", "...", "four", "warning: few …"],
        &["warning: few samples"],
    ] {
        assert!(!differs(fine), "{fine:?}");
    }
    for wrong in [
        &["one", "four"][..],
        &["two: 3.5 s", "four"],
        &["one"],
        &["...", "two: 3.6 s", "..."],
        &["...", "five"],
        &["one", "...", "warning: no samples"],
    ] {
        assert!(differs(wrong), "{wrong:?}");
    }
}

#[test]
fn steps_are_commands_and_what_follows_them() {
    let found = steps("$ a \\\n  b\nx\n\n$ c\n");
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].command, "a \\\n  b\n");
    assert_eq!(found[0].quoted, ["x", ""]);
    assert_eq!(
        found[1],
        Step {
            command: "c\n".to_owned(),
            quoted: Vec::new()
        }
    );
}
