//! Laws over generated inputs.

mod analysis;
mod choices;
mod memory;
mod ops;
mod probe;
mod probe_degenerate;
mod probe_problems;
mod selection;
mod similarity;
mod stream;
mod tuning;
