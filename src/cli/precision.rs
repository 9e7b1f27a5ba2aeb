//! `--precision`: how exact correlations have to be, and how a summary says what computed them.

use std::fmt::Write as _;

use clap::ValueEnum;

use crate::ops::correlation::{Computed, Precision};

/// Of correlations on a GPU; the native path computes them in f32.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum PrecisionName {
    /// r within 5e-6
    F32,
    /// r within 5e-6 as well, and matrix units may multiply each value as the sum of two f16
    SplitF16,
    /// r within 1e-3, and within 6e-5 in tests of 8,192 samples: values may be rounded to f16
    F16,
}

impl From<PrecisionName> for Precision {
    fn from(name: PrecisionName) -> Self {
        match name {
            PrecisionName::F32 => Self::F32,
            PrecisionName::SplitF16 => Self::SplitF16,
            PrecisionName::F16 => Self::F16,
        }
    }
}

/// One line, where another class than f32 was asked for.
pub(super) fn summary(text: &mut String, computed: &Computed) -> std::fmt::Result {
    if computed.asked == Precision::F32 {
        return Ok(());
    }
    write!(
        text,
        "  {} was allowed; computed by {}, r within {:e}",
        computed.asked, computed.kernel, computed.tolerance
    )?;
    match &computed.reason {
        Some(reason) => writeln!(text, ": {reason}"),
        None => writeln!(text),
    }
}
