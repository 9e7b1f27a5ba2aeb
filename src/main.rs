//! The `neurosieve` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    neurosieve::cli::main(
        std::env::args_os(),
        &mut std::io::stdout().lock(),
        &mut std::io::stderr(),
    )
}
