//! What a device computed is computed natively as well and compared, where that was asked for ([`crate::gpu::Gpu::validating`]):
//! by each operation's `TOLERANCE`. Where they differ by more the native result stands, and it is told.

use super::Backend;
use crate::error::Result;
use crate::gpu::{Gpu, Validated};

impl Backend {
    /// What was compared so far, by any of the devices; nothing natively.
    pub fn validated(&self) -> Vec<Validated> {
        match self {
            Self::Cpu => Vec::new(),
            Self::Gpu(gpu) => gpu.validated(),
            Self::Fleet(fleet) => fleet.devices().iter().flat_map(Gpu::validated).collect(),
        }
    }
}

/// The largest deviation of some values, with what is allowed of each.
#[derive(Debug)]
pub(super) struct Deviation {
    values: u64,
    deviation: f64,
    allowed: f64,
}

impl Deviation {
    /// Of no value yet.
    pub(super) fn none() -> Self {
        Self {
            values: 0,
            deviation: 0.0,
            allowed: f64::INFINITY,
        }
    }

    /// Takes a deviation and what is allowed.
    pub(super) fn take(&mut self, deviation: f64, allowed: f64) {
        self.values += 1;
        let deviation = match deviation {
            deviation if deviation.is_nan() => f64::INFINITY,
            deviation => deviation.abs(),
        };
        // What f64 cannot say would not be JSON.
        let [deviation, allowed] = [deviation, allowed].map(|value| value.min(f64::MAX));
        let worse = share(deviation, allowed) > share(self.deviation, self.allowed);
        if self.values == 1 || worse {
            (self.deviation, self.allowed) = (deviation, allowed);
        }
    }

    /// So many more values deviate less.
    pub(super) fn also(&mut self, values: u64) {
        self.values += values;
    }

    /// Takes what two lists of values differ by.
    pub(super) fn each(&mut self, found: &[f64], native: &[f64], allowed: f64) {
        if found.len() != native.len() {
            self.take(f64::INFINITY, allowed);
        }
        for (found, native) in found.iter().zip(native) {
            self.take(found - native, allowed);
        }
    }
}

/// A deviation as a share of what is allowed.
fn share(deviation: f64, allowed: f64) -> f64 {
    match deviation {
        0.0 => 0.0,
        deviation => deviation / allowed,
    }
}

/// What a device found; natively again and compared where that was asked for, and the native result where they differ.
///
/// # Errors
/// What `native` returns.
pub(super) fn validated<T>(
    (operation, of): (&str, &str),
    backend: &Backend,
    found: T,
    native: impl FnOnce() -> Result<T>,
    compare: impl FnOnce(&T, &T) -> Deviation,
) -> Result<T> {
    Ok(judged((operation, of), backend, found, native, compare)?.0)
}

/// As [`validated`]; and whether the native result stands.
///
/// # Errors
/// What `native` returns.
pub(super) fn judged<T>(
    (operation, of): (&str, &str),
    backend: &Backend,
    found: T,
    native: impl FnOnce() -> Result<T>,
    compare: impl FnOnce(&T, &T) -> Deviation,
) -> Result<(T, bool)> {
    let Some(gpu) = backend.gpu().filter(|gpu| gpu.is_validating()) else {
        return Ok((found, false));
    };
    let native = native()?;
    let Deviation {
        values,
        deviation,
        allowed,
    } = compare(&found, &native);
    let compared = Validated {
        operation: operation.to_owned(),
        of: of.to_owned(),
        runs: 1,
        values,
        deviation,
        allowed: if values == 0 { 0.0 } else { allowed },
    };
    let right = compared.is_right();
    gpu.validate(compared);
    if right {
        return Ok((found, false));
    }
    let name = &gpu.report().name;
    gpu.tell(format!(
        "{name}: {of} of {operation} deviates by {deviation:e} from the native path, {allowed:e} is allowed; the native result stands"
    ));
    Ok((native, true))
}
