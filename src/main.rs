//! The `neurosieve` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    neurosieve::cli::give_back_what_is_freed();
    let (mut out, mut err) = (std::io::stdout().lock(), std::io::stderr());
    ExitCode::from(neurosieve::cli::main(
        std::env::args_os(),
        &mut out,
        &mut err,
    ))
}
