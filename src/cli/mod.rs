//! The command line: one subcommand per file, arguments → calls → report. No numerics.
