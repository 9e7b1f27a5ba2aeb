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

/// What a file of activations takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::study) struct Shape {
    pub samples: u64,
    pub neurons: u64,
    /// Bytes that are inflated as it is opened, and held until it is read.
    pub inflated: u64,
}

impl Allowed {
    /// What is left beside the activations of some files and so many bytes `more`.
    ///
    /// # Errors
    /// When it is nothing, then or while the files are read; `holds` says what the bytes are for.
    pub(in crate::study) fn beside(self, files: &[Shape], more: u64, holds: &str) -> Result<u64> {
        let read = activations(files);
        let inflated: u64 = files.iter().map(|file| file.inflated).sum();
        if inflated > 0 {
            let reading =
                "activations of all files, and compressed ones once more while they are read";
            self.left(read + inflated, reading)?;
        }
        self.left(read + more, holds)
    }

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
) -> Result<Vec<Shape>> {
    let shape = |part: &PartFiles| {
        let source = data::open(&part.activations, options)?;
        Ok(Shape {
            samples: source.samples() as u64,
            neurons: source.neurons() as u64,
            inflated: source.inflated(),
        })
    };
    parts.into_iter().map(shape).collect()
}

/// Bytes of activations in memory.
fn activations(files: &[Shape]) -> u64 {
    let each = files.iter();
    each.map(|file| file.samples * (4 * file.neurons + super::SAID))
        .sum()
}
