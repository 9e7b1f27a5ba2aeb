//! A whole study: the specification, the run, the results.
//!
//! | module | what |
//! |---|---|
//! | [`spec`] | the TOML specification, its defaults and ranges |
//! | [`run`](run()) | the steps, from files to results |
//! | [`probe`] | one probe, from its files to its weights and metrics |
//! | [`pairs`] | all pairs of neurons, from files to correlations and clusters |
//! | [`rank`] | orderings of a file's neurons for a task |
//! | [`sweep`] | what probes get right with some neurons alone |
//! | [`concepts`] | what neurons fire on |
//! | [`compare`] | studies beside each other |
//! | [`units`] | what a run that was stopped need not compute again |
//! | [`plan`](plan()) | what a run would do, before it does |
//! | [`memory`] | what a run takes of the host, and how that is divided |
//! | [`shard`] | one study on several machines |
//! | [`results`] | what a study finds, in the form of `results.json` |

mod choices;
mod claims;
mod clock;
pub mod compare;
pub mod concepts;
mod curves;
mod evaluate;
mod examine;
mod explore;
mod fingerprint;
mod judge;
mod judged_sets;
mod layers;
mod load;
pub mod memory;
pub mod pairs;
pub mod plan;
pub mod probe;
pub mod rank;
mod records;
pub mod results;
mod run;
mod salient;
mod sets;
pub mod shard;
pub mod spec;
mod survey;
pub mod sweep;
mod task;
pub mod units;
mod warnings;

pub use load::load;
pub use plan::plan;
pub use run::{resume, run, run_on};
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

/// The seed of the `number`-th stream of random draws under a seed (splitmix64's finaliser: neighbouring seeds share none).
fn stream(seed: u64, number: u64) -> u64 {
    let mut mixed = seed ^ number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
