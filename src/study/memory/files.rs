//! The same for commands that read whole files: probes, sweeps and rankings.

use super::Limit;
use crate::data::{self, PartFiles, ReadOptions};
use crate::error::{Error, Result};

/// What a command may take, and what its process takes already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowed {
    /// How much, all in all.
    pub limit: Limit,
    /// Bytes that the process takes before it reads anything.
    pub process: u64,
}

impl Allowed {
    /// What is left where so many bytes are held beside the process.
    ///
    /// # Errors
    /// When it is nothing; `holds` says what the bytes are for.
    pub(in crate::study) fn left(self, bytes: u64, holds: &str) -> Result<u64> {
        let all = bytes.saturating_add(self.process);
        match self.limit.bytes.checked_sub(all) {
            Some(left) => Ok(left),
            None => Err(refused(all, holds, self.limit)),
        }
    }
}

pub(super) fn refused(bytes: u64, holds: &str, limit: Limit) -> Error {
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    let (source, fix) = match limit.asked {
        true => ("allowed", "Allow more by --max-memory"),
        false => (
            "allowed, 80 % of what is free",
            "Free memory, allow more by --max-memory",
        ),
    };
    Error::invalid(
        "memory of the host",
        format!(
            "{} MiB are needed at least ({holds}), and {} MiB are {source}",
            mib(bytes),
            mib(limit.bytes)
        ),
        format!("{fix}, or take fewer samples or layers"),
    )
}

/// Samples and neurons of files of activations, from their headers.
///
/// # Errors
/// When one cannot be opened.
pub(in crate::study) fn shapes<'a>(
    parts: impl IntoIterator<Item = &'a PartFiles>,
    options: &ReadOptions,
) -> Result<Vec<(u64, u64)>> {
    let shape = |part: &PartFiles| {
        let source = data::open(&part.activations, options)?;
        Ok((source.samples() as u64, source.neurons() as u64))
    };
    parts.into_iter().map(shape).collect()
}

/// Bytes of activations in memory.
pub(in crate::study) fn activations(shapes: &[(u64, u64)]) -> u64 {
    let each = shapes
        .iter()
        .map(|(samples, neurons)| samples * (4 * neurons + super::SAID));
    each.sum()
}
