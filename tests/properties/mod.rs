//! Laws over generated inputs.

mod analysis;
mod ops;
mod probe;
