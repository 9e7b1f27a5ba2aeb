//! How often something runs, and what is said of the seconds.

use std::time::Instant;

use super::results::Timing;
use crate::error::Result;
use crate::gpu::TimeSource;

/// How often something runs, after a run that does not count.
///
/// At least `wanted` times and until `seconds` are spent, but where that would take longer than `patience`, `least`
/// times.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Effort {
    /// Repetitions of something long.
    pub least: usize,
    /// Repetitions of anything else at least.
    pub wanted: usize,
    /// What repetitions of something short take together.
    pub seconds: f64,
    /// From how many seconds together on something is long.
    pub patience: f64,
}

impl Default for Effort {
    fn default() -> Self {
        Self {
            least: 3,
            wanted: 5,
            seconds: 0.3,
            patience: 1.0,
        }
    }
}

/// More tell nothing.
const MOST: usize = 200;

impl Effort {
    /// One repetition of everything, for tests.
    pub fn once() -> Self {
        Self {
            least: 1,
            wanted: 1,
            seconds: 0.0,
            patience: 0.0,
        }
    }

    /// Whether to go on after so many repetitions that took so many seconds.
    fn goes_on(&self, repetitions: usize, seconds: f64) -> bool {
        repetitions < self.least
            || (repetitions < self.wanted && seconds < self.patience)
            || (repetitions < MOST && seconds < self.seconds)
    }

    /// What `work` returns, time after time. What it answers counts as it is; how long it takes decides how often.
    pub(super) fn repeat<T>(&self, mut work: impl FnMut() -> Result<T>) -> Result<Vec<T>> {
        let begun = Instant::now();
        let mut found = Vec::new();
        while self.goes_on(found.len(), begun.elapsed().as_secs_f64()) {
            found.push(work()?);
        }
        Ok(found)
    }
}

/// Seconds of one call, and what it answered.
pub(super) fn clocked<T>(work: impl FnOnce() -> Result<T>) -> Result<(f64, T)> {
    let begun = Instant::now();
    let found = work()?;
    Ok((begun.elapsed().as_secs_f64(), found))
}

/// Median of some values; 0 of none.
pub(super) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        n if n % 2 == 1 => sorted[n / 2],
        n => 0.5 * (sorted[n / 2 - 1] + sorted[n / 2]),
    }
}

/// What is said of some seconds.
pub(super) fn timing(clock: TimeSource, seconds: &[f64]) -> Timing {
    let middle = median(seconds);
    let off: Vec<f64> = seconds.iter().map(|s| (s - middle).abs()).collect();
    Timing {
        clock,
        repetitions: seconds.len(),
        median_s: middle,
        min_s: seconds.iter().copied().fold(f64::INFINITY, f64::min),
        mad_s: median(&off),
    }
}
