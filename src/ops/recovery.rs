//! Work that a device leaves undone is done all the same: once more on the device opened anew where it was lost or what it
//! gave back is wrong ([`super::verify`]), and natively where that happens again, or its memory is used up however small the
//! blocks are. A line for the results says so.

use super::Backend;
use crate::error::{Error, Result, Trouble};
use crate::gpu::Gpu;

impl Backend {
    /// With devices that stand in for those that were lost before.
    fn current(&self) -> Self {
        self.each(|gpu| Ok(gpu.current())).unwrap_or(Self::Cpu)
    }

    /// With every device that is lost opened anew.
    fn recovered(&self) -> Result<Self> {
        self.each(Gpu::recovered)
    }

    fn each(&self, of: impl Fn(&Gpu) -> Result<Gpu>) -> Result<Self> {
        Ok(match self {
            Self::Cpu => Self::Cpu,
            Self::Gpu(gpu) => Self::Gpu(of(gpu)?),
            Self::Fleet(fleet) => Self::Fleet(fleet.replaced(of)?),
        })
    }

    /// What was told so far of trouble that did not end the work.
    pub fn told(&self) -> Vec<String> {
        match self {
            Self::Cpu => Vec::new(),
            Self::Gpu(gpu) => gpu.told(),
            Self::Fleet(fleet) => fleet.devices().iter().flat_map(Gpu::told).collect(),
        }
    }
}

/// Runs `work`, or what can be done instead.
///
/// # Errors
/// What the last attempt returned. What a device refuses is not tried again: it would be refused again, or is our own bug.
pub(super) fn surely<T>(
    operation: &str,
    backend: &Backend,
    mut work: impl FnMut(&Backend) -> Result<T>,
) -> Result<T> {
    let first = work(&backend.current());
    let mut error = match first {
        Err(error) => error,
        done => return done,
    };
    let Some(lead) = backend.gpu() else {
        return Err(error);
    };
    if matches!(error.trouble(), Some(Trouble::Lost | Trouble::Wrong)) {
        let again = backend.recovered().and_then(|new| work(&new));
        match again {
            Err(next) if is_overcome_natively(&next) => error = next,
            done => {
                let why = format!("{}; it was opened anew for {operation}", told(&error));
                lead.tell(why);
                return done;
            }
        }
    }
    if !is_overcome_natively(&error) {
        return Err(error);
    }
    lead.tell(format!("{}; {operation} ran natively", told(&error)));
    work(&Backend::Cpu)
}

fn is_overcome_natively(error: &Error) -> bool {
    // A device that cannot be opened again is gone, too.
    matches!(
        error.trouble(),
        Some(Trouble::Lost | Trouble::Wrong | Trouble::Memory)
    ) || matches!(error, Error::Device { .. })
}

fn told(error: &Error) -> String {
    match error {
        Error::Gpu {
            adapter, problem, ..
        } => format!("{adapter}: {problem}"),
        other => other.to_string(),
    }
}
