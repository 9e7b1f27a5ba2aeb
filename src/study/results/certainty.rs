//! How sure the findings are, and what test was used for.

use serde::{Deserialize, Serialize};

/// What test was used for: figures of probes that were frozen before, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestUse {
    /// What was evaluated, by task.
    pub evaluated: Vec<Evaluated>,
    /// Probes in all; ablations of a probe are not counted again.
    pub probes: usize,
    /// Choices (penalties, layers, sizes, neurons) that were made after test was first evaluated: always 0, since what
    /// chooses has no test data (`src/study/run.rs`).
    pub choices_after: usize,
}

/// One kind of probes of one task that was evaluated on test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evaluated {
    /// The task.
    pub task: String,
    /// What the probes are of: `oracle`, `layers`, `control tasks`, `minimal sets` and so on.
    pub what: String,
    /// How many probes.
    pub probes: usize,
    /// How often test was predicted: more than once a probe where neurons are taken from it.
    pub evaluations: usize,
}
