//! How exact r has to be, and what computed it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::TOLERANCE;

/// How far r may be off: a permission. Of the kernels that keep it, the one that a device runs fastest computes r, as measured
/// on that device where the work is worth a measurement; what that was is said ([`Computed`]).
///
/// | class | what may be multiplied | \|Δr\| |
/// |---|---|---|
/// | `f32` | z in f32 | [`TOLERANCE`] |
/// | `split-f16` | z as the sum of two f16, the second 2¹¹ times as fine: hi·hi + hi·lo + lo·hi (Ootomo & Yokota 2022) | [`TOLERANCE`] |
/// | `f16` | z rounded to f16 | [`TOLERANCE_F16`] |
///
/// Products are added in f32 in every class, and the native path computes each of them in f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Precision {
    /// As exact as f32 sums are.
    #[default]
    #[serde(rename = "f32")]
    F32,
    /// As exact, and two f16 may stand for one f32.
    #[serde(rename = "split-f16")]
    SplitF16,
    /// Values may be rounded to f16.
    #[serde(rename = "f16")]
    F16,
}

/// |Δr| against f64 in the class `f16`, whatever the data: rounding z to f16 changes each value by at most 2⁻¹¹ of itself, so
/// the vector of a neuron's deviations turns by at most 2⁻¹¹ rad and r of two of them changes by at most 2⁻¹⁰; sums in f32 add
/// [`TOLERANCE`]. Roundings of many samples cancel: the parity tests hold pairs of hostile columns to 6e-5 at 8,192 samples.
pub const TOLERANCE_F16: f64 = 1e-3;

impl Precision {
    /// All classes, the most exact one first.
    pub const ALL: [Self; 3] = [Self::F32, Self::SplitF16, Self::F16];

    /// Its name: `f32`, `split-f16` or `f16`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::SplitF16 => "split-f16",
            Self::F16 => "f16",
        }
    }

    /// |Δr| against f64 that it allows.
    pub fn tolerance(self) -> f64 {
        match self {
            Self::F32 | Self::SplitF16 => TOLERANCE,
            Self::F16 => TOLERANCE_F16,
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which kernels of a class a GPU may choose among.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kernels {
    /// All that the class allows.
    #[default]
    Any,
    /// Those of the class's own numbers that need no matrix units.
    Plain,
    /// Those on matrix units; an error where the device has none for the class's own numbers.
    Matrix,
}

/// What computed r.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Computed {
    /// The class that was asked for.
    pub asked: Precision,
    /// The numbers that were multiplied: those of the class, or of a more exact one.
    pub computed: Precision,
    /// The kernel, in words.
    pub kernel: String,
    /// |Δr| against f64 that is promised.
    pub tolerance: f64,
    /// Why it is not the class's own kernel, where the data or the device forbid that.
    pub reason: Option<String>,
}

impl Computed {
    pub(super) fn new(
        asked: Precision,
        computed: Precision,
        kernel: &str,
        reason: Option<&str>,
    ) -> Self {
        Self {
            asked,
            computed,
            kernel: kernel.to_owned(),
            tolerance: computed.tolerance(),
            reason: reason.map(str::to_owned),
        }
    }

    /// By the native path.
    pub(super) fn natively(asked: Precision) -> Self {
        let reason = "the native path computes every class in f32";
        let reason = (asked != Precision::F32).then_some(reason);
        Self::new(asked, Precision::F32, "native, f32", reason)
    }
}
