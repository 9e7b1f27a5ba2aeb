//! Laws over generated inputs.

mod analysis;
mod certainty;
mod certificate;
mod choices;
mod comparison;
mod dissection;
mod explored;
mod greedy;
mod memory;
mod ops;
mod path;
mod probe;
mod probe_degenerate;
mod probe_exact;
mod probe_problems;
mod selection;
mod similarity;
mod stream;
mod tuning;
