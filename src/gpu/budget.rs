//! How much fits: blocks of rows under the binding limit, bounded submissions, smaller blocks when memory runs out.

use std::ops::Range;
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

    /// Calls `submit` with consecutive ranges of `0..groups` workgroups and waits after each, so that no submission takes
    /// much longer than 100 ms.
    ///
    /// # Errors
    /// What `submit` returns; when there are more workgroups than the 32 bits of a kernel number, or the device was lost.
    pub fn paced(
        &self,
        operation: &str,
        groups: usize,
        submit: impl Fn(Range<usize>) -> Result<()>,
    ) -> Result<()> {
        self.paced_by(operation, groups, &mut Pace::starting_with(64), submit)
    }

    /// As [`Gpu::paced`], at a pace that was learned from workgroups of the same work.
    ///
    /// # Errors
    /// As [`Gpu::paced`].
    pub fn paced_by(
        &self,
        operation: &str,
        groups: usize,
        pace: &mut Pace,
        submit: impl Fn(Range<usize>) -> Result<()>,
    ) -> Result<()> {
        if u32::try_from(groups).is_err() {
            let problem = format!("{groups} workgroups are more than 32 bits number");
            return Err(self.error(operation, problem));
        }
        let mut first = 0;
        while first < groups {
            let some = first..groups.min(first + pace.groups());
            let begun = Instant::now();
            submit(some.clone())?;
            self.wait(operation)?;
            pace.took(some.len(), begun.elapsed());
            first = some.end;
        }
        Ok(())
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

/// How many workgroups to submit at once so that a submission takes about 100 ms whatever the device.
///
/// Only the grouping of independent workgroups depends on it, never a result.
#[derive(Debug, Clone)]
pub struct Pace {
    groups: usize,
}

impl Pace {
    /// Starts with `groups` workgroups a submission.
    pub fn starting_with(groups: usize) -> Self {
        Self {
            groups: groups.max(1),
        }
    }

    /// How many workgroups to submit next.
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// Learns from a submission of `groups` workgroups that took `elapsed`; grows at most fourfold a step.
    pub fn took(&mut self, groups: usize, elapsed: Duration) {
        if groups < self.groups && elapsed <= SUBMISSION {
            // The rest of something: how fast it went says nothing of more.
            return;
        }
        let ratio = SUBMISSION.as_secs_f64() / elapsed.as_secs_f64().max(1e-6);
        let target = groups as f64 * ratio.clamp(0.05, 4.0);
        self.groups = (target as usize).max(1);
    }
}
