//! A whole study: the specification, the run, the results.

pub mod results;
pub mod spec;

pub use spec::Spec;

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress<'a> {
    /// The step that runs.
    pub step: &'a str,
    /// Its number, from 1.
    pub number: usize,
    /// Number of steps.
    pub of: usize,
    /// How much of the step is done, 0 to 1.
    pub fraction: f64,
}
