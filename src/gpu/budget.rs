//! How much fits: blocks of rows under the binding limit, bounded submissions, smaller blocks when memory runs out.

use std::ops::Range;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::device::Gpu;
use crate::error::{Result, Trouble};

/// Blocks under this many bytes are not made any smaller: then it is not the block that is too large.
const SMALLEST_BINDING: u64 = 8 << 20;

/// The time that one submission should take: long enough to hide its overhead, far below the 2 s after which Windows
/// resets a GPU.
const SUBMISSION: Duration = Duration::from_millis(100);

/// Cuts `0..total` into consecutive ranges of at most `block` items; the last one may be shorter.
///
/// # Panics
/// When `block` is zero: our own bug.
pub fn blocks(total: usize, block: usize) -> impl Iterator<Item = Range<usize>> {
    assert!(block > 0, "a block holds at least one item");
    (0..total)
        .step_by(block)
        .map(move |start| start..total.min(start + block))
}

impl Gpu {
    /// The largest number of bytes that we give one binding of this device.
    pub fn binding_bytes(&self) -> u64 {
        self.binding_limit
    }

    /// The largest count of items of `item_bytes` each that fits one binding, rounded down to a multiple of `multiple`.
    ///
    /// # Errors
    /// When not even `multiple` of them fit: `what` names the items in the message.
    pub fn fit(&self, what: &str, item_bytes: usize, multiple: usize) -> Result<usize> {
        let limit = usize::try_from(self.binding_limit).unwrap_or(usize::MAX);
        let fits = limit / item_bytes.max(1) / multiple * multiple;
        if fits == 0 {
            return Err(self.error(
                what,
                format!(
                    "{multiple} of {item_bytes} bytes each are needed at once, but a binding of this device holds {limit} bytes"
                ),
            ));
        }
        Ok(fits)
    }

    /// A handle to the same device that takes bindings of at most `bytes`, for smaller blocks.
    pub fn with_binding_limit(&self, bytes: u64) -> Self {
        let mut smaller = self.clone();
        smaller.binding_limit = self.binding_limit.min(bytes);
        smaller
    }

    /// Calls `submit` with consecutive ranges of `0..groups` workgroups, each of which takes about `each` FLOP (or reads as
    /// many values), and waits after each, so that no submission takes much longer than 100 ms.
    ///
    /// # Errors
    /// What `submit` returns; when there are more workgroups than the 32 bits of a kernel number, or the device was lost.
    pub fn paced(
        &self,
        operation: &'static str,
        (groups, each): (usize, f64),
        submit: impl Fn(Range<usize>) -> Result<()>,
    ) -> Result<()> {
        if u32::try_from(groups).is_err() {
            let problem = format!("{groups} workgroups are more than 32 bits number");
            return Err(self.error(operation, problem));
        }
        let mut pace = self.pace(operation);
        let mut first = 0;
        while first < groups {
            let some = first..groups.min(first + pace.groups(each));
            if let Some(elapsed) = self.clocked(operation, || submit(some.clone()))? {
                pace.took((some.len(), each), elapsed);
            }
            first = some.end;
        }
        self.keep_pace(operation, pace);
        Ok(())
    }

    /// Submits, and waits until it is done. How long that took, but where kernels were compiled for it, or the device was woken.
    ///
    /// # Errors
    /// What `submit` returns; when the device was lost.
    pub fn clocked(
        &self,
        operation: &str,
        submit: impl FnOnce() -> Result<()>,
    ) -> Result<Option<Duration>> {
        let woken = || self.meter.as_ref().map(|meter| meter.waking());
        let before = (self.pipelines.count(), woken());
        let begun = Instant::now();
        submit()?;
        self.wait(operation)?;
        let took = begun.elapsed();
        Ok(((self.pipelines.count(), woken()) == before).then_some(took))
    }

    /// The pace that this device has shown at an operation so far, beginning with a quarter of it: work that is named alike is
    /// not quite alike.
    pub fn pace(&self, operation: &'static str) -> Pace {
        let paces = self.paces.lock().unwrap_or_else(PoisonError::into_inner);
        let known = paces.get(operation);
        known.map_or_else(Pace::default, |pace| Pace::starting_with(0.25 * pace.work))
    }

    /// Keeps a pace for the next time, for all handles to the device, where it has learned something.
    pub fn keep_pace(&self, operation: &'static str, pace: Pace) {
        if !pace.learned {
            return;
        }
        let mut paces = self.paces.lock().unwrap_or_else(PoisonError::into_inner);
        paces.insert(operation, pace);
    }

    /// Runs `attempt`; whenever the device is out of memory, runs it again with bindings a quarter as large, down to
    /// a few MiB. The result must not depend on the size of the blocks beyond the operation's tolerance.
    ///
    /// # Errors
    /// What the last attempt returned.
    pub fn fitting<T>(&self, attempt: impl Fn(&Self) -> Result<T>) -> Result<T> {
        let mut gpu = self.clone();
        loop {
            match attempt(&gpu) {
                Err(error)
                    if error.trouble() == Some(Trouble::Memory)
                        && gpu.binding_limit / 4 >= SMALLEST_BINDING =>
                {
                    gpu = gpu.with_binding_limit(gpu.binding_limit / 4);
                }
                done => return done,
            }
        }
    }
}

/// How much to submit at once so that a submission takes about 100 ms whatever the device.
///
/// Only the grouping of independent workgroups depends on it, never a result.
#[derive(Debug, Clone)]
pub struct Pace {
    /// FLOP, or values, of a submission.
    work: f64,
    /// Whether a submission has told it something.
    learned: bool,
}

/// What takes 0.1 s at 10 GFLOP/s, slower than any device that would be used.
impl Default for Pace {
    fn default() -> Self {
        Self::starting_with(1e9)
    }
}

impl Pace {
    /// Starts with so much work a submission.
    pub fn starting_with(work: f64) -> Self {
        Self {
            work,
            learned: false,
        }
    }

    /// How many workgroups to submit next, each of which is so much work.
    pub fn groups(&self, each: f64) -> usize {
        ((self.work / each.max(1.0)) as usize).max(1)
    }

    /// Learns from a submission of so many workgroups, each of so much work, that took `elapsed`. Small ones leave a device idle
    /// in part, so the next one can be as much larger as the time says, and at most 64 times.
    pub fn took(&mut self, (groups, each): (usize, f64), elapsed: Duration) {
        if groups < self.groups(each) && elapsed <= SUBMISSION {
            // The rest of something: how fast it went says nothing of more.
            return;
        }
        let ratio = SUBMISSION.as_secs_f64() / elapsed.as_secs_f64().max(1e-6);
        self.work = (groups as f64 * each * ratio.clamp(0.05, 64.0)).max(1.0);
        self.learned = true;
    }
}
