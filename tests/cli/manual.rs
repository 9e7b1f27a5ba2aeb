//! `completions` and `man`: every command is in them.

use super::{assert_fails, neurosieve};

fn said(arguments: &[&str]) -> String {
    let ended = neurosieve(arguments);
    assert!(ended.status.success(), "{arguments:?}");
    String::from_utf8(ended.stdout).unwrap()
}

/// The commands that `--help` lists.
fn commands() -> Vec<String> {
    let help = said(&["--help"]);
    let list = help.split("Commands:").nth(1).expect("a list of commands");
    let list = list
        .split("Options:")
        .next()
        .expect("what precedes the options");
    let begins = |line: &&str| line.starts_with("  ") && !line.starts_with("   ");
    let names = list.lines().filter(begins);
    names
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .collect()
}

#[test]
fn shells_complete_every_command() {
    let commands = commands();
    assert!(commands.len() > 12, "{commands:?}");
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let text = said(&["completions", shell]);
        for command in &commands {
            assert!(
                text.contains(command.as_str()),
                "{shell} does not know {command}"
            );
        }
        assert!(
            text.contains("resume"),
            "{shell} does not know the flags of study"
        );
    }
}

#[test]
fn there_is_a_manual_page_of_every_command() {
    let whole = said(&["man"]);
    assert!(
        whole.starts_with(".ie") || whole.contains(".TH neurosieve 1"),
        "{whole}"
    );
    for command in commands().iter().filter(|name| *name != "help") {
        assert!(whole.contains(command.as_str()), "{command}");
        let page = said(&["man", command]);
        assert!(page.contains(&format!("neurosieve\\-{command}")), "{page}");
    }
    let refused = neurosieve(&["man", "nothing"]);
    assert_fails(&refused, &["Choose among", "study"]);
}
