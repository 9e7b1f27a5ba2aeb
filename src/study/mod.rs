//! A whole study: the specification, the run, the results.

pub mod results;
