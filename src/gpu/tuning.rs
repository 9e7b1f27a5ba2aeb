//! Which variant of a kernel a device runs fastest: measured once, remembered as long as the device is open.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::device::Gpu;
use crate::error::Result;

/// What was measured, by the name of the choice.
#[derive(Debug, Default)]
pub(super) struct Tuned(Mutex<HashMap<&'static str, usize>>);

/// Runs of a variant that are timed; the shortest counts.
const RUNS: usize = 3;

impl Gpu {
    /// The variant that takes the least time, of those in `candidates`: what was measured before, else measured now by
    /// `run` where that is `worth` it, else the first one.
    ///
    /// Only speed may depend on the choice, beyond the operation's tolerance.
    ///
    /// # Errors
    /// What `run` returns.
    pub fn tuned(
        &self,
        choice: &'static str,
        candidates: &[usize],
        worth: bool,
        run: &dyn Fn(usize) -> Result<()>,
    ) -> Result<usize> {
        let known = |tuned: &Tuned| {
            let made = tuned.0.lock().unwrap_or_else(PoisonError::into_inner);
            made.get(choice).copied()
        };
        if let Some(variant) = known(&self.tuned) {
            return Ok(variant);
        }
        if !worth {
            return Ok(candidates[0]);
        }
        let mut best = (Duration::MAX, candidates[0]);
        for &variant in candidates {
            run(variant)?; // compiles it
            for _ in 0..RUNS {
                let begun = Instant::now();
                run(variant)?;
                best = best.min((begun.elapsed(), variant));
            }
        }
        self.remember(choice, best.1);
        Ok(best.1)
    }

    /// A handle to the same device with this variant chosen, for tests and measurements.
    pub fn with_choice(&self, choice: &'static str, variant: usize) -> Self {
        let mut other = self.clone();
        other.tuned = Arc::default();
        other.remember(choice, variant);
        other
    }

    fn remember(&self, choice: &'static str, variant: usize) {
        let mut made = self.tuned.0.lock().unwrap_or_else(PoisonError::into_inner);
        made.insert(choice, variant);
    }
}
