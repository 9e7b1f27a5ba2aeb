//! Work that keeps a device's clock up before its kernels are timed.
//!
//! What runs for milliseconds after the host has prepared its input for a tenth of a second would be timed at whatever clock
//! the device had fallen to: an H100 took six times as long. In a study, kernels follow one another.

use std::time::{Duration, Instant};

use crate::error::Result;
use crate::gpu::{Gpu, Wake};
use crate::ops::Backend;
use crate::ops::roofs::{self, Params, Precision};

/// How long a device is kept busy, and how long one call of that is to take at least.
const BUSY: Duration = Duration::from_millis(150);
const CALL: Duration = Duration::from_millis(5);

/// Threads of a call, at first and at most, and steps of each.
const THREADS: (usize, usize) = (1 << 16, 1 << 24);
const STEPS: usize = 1024;

/// Chains of multiply-adds; nothing for a software adapter, which has no clock of its own.
pub(super) fn of(gpu: &Gpu) -> Result<Option<Wake>> {
    if !gpu.report().kind.is_real() {
        return Ok(None);
    }
    let backend = Backend::Gpu(gpu.clone());
    let mut params = Params {
        precision: Precision::F32,
        threads: THREADS.0,
        steps: STEPS,
        factor: 1.0,
        summand: 1.0,
    };
    roofs::fma(&backend, &params)?; // compiles it
    loop {
        let begun = Instant::now();
        roofs::fma(&backend, &params)?;
        if begun.elapsed() >= CALL || params.threads >= THREADS.1 {
            break;
        }
        params.threads *= 4;
    }
    Ok(Some(Wake::new(move || {
        let begun = Instant::now();
        while begun.elapsed() < BUSY {
            roofs::fma(&backend, &params)?;
        }
        Ok(())
    })))
}
