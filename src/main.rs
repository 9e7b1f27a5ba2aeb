//! The `neurosieve` command.

fn main() {}
