//! Manners: what every command's --help ends with, what a pipe gets, what a terminal gets.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;
use std::process::Output;

use super::{Study, code, neurosieve, stderr, stdout, text};

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/python-tokens");

/// The names of all commands, as `--help` lists them.
fn commands() -> BTreeSet<String> {
    let help = stdout(&neurosieve(&["--help"]));
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let listed = listed.take_while(|line| !line.is_empty());
    // Lines that go on with a description are indented further.
    let named = listed.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names = named.filter_map(|line| line.split_whitespace().next());
    names.map(str::to_owned).collect()
}

/// The examples at the end of a help text: lines after `Examples:`.
fn examples(help: &str) -> Vec<String> {
    let (_, after) = help.rsplit_once("\nExamples:\n").unwrap_or_default();
    let lines = after.lines().map(str::trim);
    let examples = lines.filter(|line| line.starts_with("neurosieve "));
    examples.map(str::to_owned).collect()
}

/// The arguments of an example, without what a shell would do with its output.
fn arguments(example: &str) -> Vec<OsString> {
    let command = example.split(['>', '|']).next().unwrap_or_default();
    let words = command.split_whitespace();
    words.map(|word| word.trim_matches('\'').into()).collect()
}

/// What nobody who reads from a pipe wants: everything that a terminal would obey.
fn obeyed(text: &str) -> Option<char> {
    text.chars()
        .find(|c| c.is_control() && *c != '\n' && *c != '\t')
}

#[track_caller]
fn assert_plain(what: &str, output: &Output) {
    for said in [stdout(output), stderr(output)] {
        assert_eq!(obeyed(&said), None, "{what}: {said:?}");
    }
}

#[test]
fn every_commands_help_ends_with_examples_that_can_be_typed() {
    let commands = commands();
    for known in ["study", "merge", "probe", "completions", "man", "bench"] {
        assert!(commands.contains(known), "{commands:?}");
    }
    let mut all = 0;
    for command in std::iter::once("").chain(commands.iter().map(|name| &**name)) {
        let mut typed = vec![command, "--help"];
        typed.retain(|word| !word.is_empty());
        // clap has a help of its own.
        if command == "help" {
            continue;
        }
        let output = neurosieve(&typed);
        assert_eq!(code(&output), 0, "{command}");
        let found = examples(&stdout(&output));
        assert!(!found.is_empty(), "{command} --help ends without examples");
        for example in found {
            let wrong = neurosieve::cli::usage_error(arguments(&example).into_iter());
            assert_eq!(wrong, None, "{command}: {example}");
            let own = example.split_whitespace().nth(1);
            assert!(
                command.is_empty() || own == Some(command),
                "{command}: {example}"
            );
            all += 1;
        }
    }
    assert!(all > 30, "{all} examples");
    // Another flag would be found out.
    let wrong = ["neurosieve", "study", "study.toml", "-o", "out", "--dry"];
    assert!(neurosieve::cli::usage_error(wrong.iter().map(Into::into)).is_some());
}

#[test]
fn a_pipe_gets_the_result_and_no_control_characters() {
    let mut helped = vec![vec!["--help".to_owned()], vec!["--version".to_owned()]];
    // clap's own takes no flag.
    for command in commands().into_iter().filter(|name| name != "help") {
        helped.push(vec![command.clone(), "--help".to_owned()]);
        helped.push(vec![command, "--nonsense".to_owned()]);
    }
    for typed in helped {
        let typed: Vec<&str> = typed.iter().map(|word| &**word).collect();
        let output = neurosieve(&typed);
        assert_plain(&typed.join(" "), &output);
        let wrong = typed.contains(&"--nonsense");
        assert_eq!(code(&output), if wrong { 2 } else { 0 }, "{typed:?}");
        assert_eq!(stdout(&output).is_empty(), wrong, "{typed:?}");
        assert_eq!(stderr(&output).is_empty(), !wrong, "{typed:?}");
    }
}

#[test]
fn commands_that_compute_say_nothing_but_their_result() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let part = |name: &str| format!("{FIXTURE}/{name}.safetensors");
    let (train, dev, test) = (part("train"), part("dev"), part("test"));
    let study = Study::new(&Study::usual(), "");
    let spec = text(&study.path("study.toml")).to_owned();
    let line = |words: &str| -> Vec<String> {
        let word = |word: &str| match word {
            "TRAIN" => train.clone(),
            "DEV" => dev.clone(),
            "TEST" => test.clone(),
            "SPEC" => spec.clone(),
            name if name.starts_with('@') => at(&name[1..]),
            other => other.to_owned(),
        };
        words.split_whitespace().map(word).collect()
    };
    let mut done = BTreeSet::new();
    for typed in [
        "init TRAIN DEV TEST -o @study.toml",
        "inspect TRAIN",
        "probe TRAIN --task coarse --dev DEV --test TEST --ratios 0.1 --device cpu -o @p.safetensors",
        "rank TRAIN --task coarse --method anova -o @r.json",
        "correlate TRAIN --top-k 2 --device cpu -o @c.safetensors",
        "cluster TRAIN --threshold 0.5 --device cpu -o @k.json",
        "sweep TEST --task coarse --probe @p.safetensors --rankings @r.json --device cpu -o @s.json",
        "concepts TRAIN --task coarse --neurons 1 -o @n.json",
        "study SPEC -o @out --dry-run --device cpu",
        "study SPEC -o @out --device cpu",
        "study SPEC -o @out2 --device cpu",
        "study SPEC -o @shards --shard 1/1 --device cpu",
        "merge SPEC @shards -o @merged --device cpu",
        "compare @out @out2 -o @compare.json",
        "report @out",
        "devices",
        "bench --list",
        "completions bash",
        "man study",
    ] {
        let words = line(typed);
        let words: Vec<&str> = words.iter().map(|word| &**word).collect();
        let output = neurosieve(&words);
        assert_eq!(code(&output), 0, "{typed}: {}", stderr(&output));
        assert_plain(typed, &output);
        assert!(!stdout(&output).is_empty(), "{typed}");
        // A study's warnings are for people; progress is for terminals alone.
        let said = stderr(&output);
        let told =
            |line: &str| line.starts_with("warning: ") || line.contains("were there already");
        assert!(said.lines().all(told), "{typed}: {said}");
        done.insert(words[0].to_owned());
    }
    let left: Vec<String> = commands().difference(&done).cloned().collect();
    assert_eq!(left, ["help"], "a new command joins this list");
}

/// Runs a command line on a terminal of its own; what it showed, with what the terminal obeyed. `None` where that cannot be had.
#[cfg(target_os = "linux")]
fn on_a_terminal(line: &str, environment: &[(&str, &str)]) -> Option<String> {
    let mut command = std::process::Command::new("script");
    command.args(["-qec", line, "/dev/null"]);
    command
        .stdin(std::process::Stdio::null())
        .env("TERM", "xterm-256color");
    command.env_remove("NO_COLOR");
    command.envs(environment.iter().copied());
    let output = command.output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(target_os = "linux")]
/// How many of the sets that a study tells of lose more on dev than they may.
fn missed(results: &serde_json::Value) -> usize {
    let list = |value: &serde_json::Value| value.as_array().cloned().unwrap_or_default();
    let mut missed = 0;
    for task in list(&results["tasks"]) {
        let oracle = task["oracle"]["dev_accuracy"].as_f64().unwrap();
        let loses = |set: &serde_json::Value, delta: &str| {
            set["dev_accuracy"].as_f64().unwrap()
                < oracle * (1.0 - set[delta].as_f64().unwrap()) - 1e-9
        };
        let sets = [list(&task["layer_selection"]), list(&task["minimal_sets"])].concat();
        missed += sets.iter().filter(|set| loses(set, "delta")).count();
        // Told once of each layer and threshold.
        let mut told = BTreeSet::new();
        for set in list(&task["combined"]) {
            let first = told.insert([set["layer"].to_string(), set["threshold"].to_string()]);
            missed += usize::from(first && loses(&set, "set_delta"));
        }
    }
    missed
}

#[test]
fn a_terminal_gets_colours_unless_they_are_not_wanted_and_a_bar_that_is_gone_at_the_end() {
    use super::kill::specification;
    let binary = env!("CARGO_BIN_EXE_neurosieve");
    let help = format!("{binary} study --help");
    let (Some(coloured), Some(plain)) = (
        on_a_terminal(&help, &[]),
        on_a_terminal(&help, &[("NO_COLOR", "1")]),
    ) else {
        let _ = std::io::Write::write_all(
            &mut std::io::stderr(),
            b"SKIPPED a terminal: there is no `script`\n",
        );
        return;
    };
    assert!(coloured.contains("\u{1b}["), "{coloured:?}");
    assert!(
        !plain.contains('\u{1b}') && plain.contains("Examples:"),
        "{plain:?}"
    );
    let folder = tempfile::tempdir().unwrap();
    let spec = specification(folder.path());
    // A bar is for what takes more than a second: this one takes several.
    let long = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/fixtures/python-tokens/study.toml"
    );
    let line = |spec: &Path, out: &str, quiet: &str| {
        let out: &Path = &folder.path().join(out);
        format!(
            "{binary} study {} -o {} --device cpu{quiet}",
            spec.display(),
            out.display()
        )
    };
    let line_of_long = line(Path::new(long), "out", "");
    let shown = on_a_terminal(&line_of_long, &[("NO_COLOR", "1")]).unwrap();
    assert!(shown.contains(" fits"), "{shown:?}");
    assert!(
        shown.contains("/21 ") && shown.contains("coarse: "),
        "steps: {shown:?}"
    );
    // Moving the cursor is no colour.
    assert!(
        !shown.contains("\u{1b}[3") && !shown.contains("\u{1b}[1m"),
        "{shown:?}"
    );
    let result = shown.rsplit('\r').next().unwrap_or_default();
    assert!(
        !result.contains('█') && !result.contains('░'),
        "the bar is gone: {result:?}"
    );
    let document = std::fs::read_to_string(folder.path().join("out/results.json")).unwrap();
    let missed = missed(&serde_json::from_str(&document).unwrap());
    let marked = shown.lines().filter(|line| line.trim().ends_with('✗'));
    assert!(missed > 0, "a set of the fixture loses too much");
    assert_eq!(marked.count(), missed, "{shown}");
    let piped = on_a_terminal(&line(&spec, "again", " 2>/dev/null | cat"), &[]).unwrap();
    assert_eq!(obeyed(&piped.replace('\r', "")), None, "{piped:?}");
}
