//! `neurosieve completions` and `neurosieve man`: what shells and manual readers take, made of the same text as `--help`.

use std::io::Write;
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_complete::Shell;

use super::say;
use crate::error::{Error, Result};

/// Print what a shell completes commands, flags and values by.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  neurosieve completions bash > ~/.local/share/bash-completion/completions/neurosieve
  neurosieve completions zsh > ~/.zfunc/_neurosieve
  neurosieve completions fish > ~/.config/fish/completions/neurosieve.fish")]
pub(super) struct CompletionArguments {
    /// The shell
    shell: Shell,
}

/// Print a manual page, for man.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  neurosieve man > ~/.local/share/man/man1/neurosieve.1
  neurosieve man study | man -l -")]
pub(super) struct ManArguments {
    /// Of this command; of them all together where it is left out
    command: Option<String>,
}

pub(super) fn completions(arguments: &CompletionArguments, out: &mut dyn Write) -> Result<()> {
    let mut text = Vec::new();
    let mut command = super::Arguments::command();
    clap_complete::generate(arguments.shell, &mut command, "neurosieve", &mut text);
    say(out, &String::from_utf8_lossy(&text))
}

pub(super) fn man(arguments: &ManArguments, out: &mut dyn Write) -> Result<()> {
    let mut all = super::Arguments::command();
    // Names of subcommands in full, and what clap adds itself.
    all.build();
    let command = match &arguments.command {
        None => all,
        Some(name) => found(&all, name)?,
    };
    let mut page = Vec::new();
    let failed = |source| Error::io("write", Path::new("manual page"), source);
    clap_mangen::Man::new(command)
        .render(&mut page)
        .map_err(failed)?;
    say(out, &String::from_utf8_lossy(&page))
}

fn found(all: &Command, name: &str) -> Result<Command> {
    if let Some(command) = all.find_subcommand(name) {
        return Ok(command.clone());
    }
    let names: Vec<&str> = all.get_subcommands().map(Command::get_name).collect();
    Err(Error::invalid(
        format!("command \"{name}\""),
        "there is none of that name",
        format!("Choose among {}", names.join(", ")),
    ))
}
