//! Work that keeps a device's clock up before its kernels are timed.
//!
//! What runs for milliseconds after the host has prepared its input for a tenth of a second would be timed at whatever clock
//! the device had fallen to: an H100 took six times as long. In a study, kernels follow one another. How long a clock takes to rise
//! differs: a call that takes as long as the shortest one so far says that it has.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::gpu::{Gpu, Wake};
use crate::ops::Backend;
use crate::ops::roofs::{self, Params, Precision};

/// How long a device is kept busy, at least and at most, and how long one call of that is to take at least.
const BUSY: (Duration, Duration) = (Duration::from_millis(150), Duration::from_millis(1500));
const CALL: Duration = Duration::from_millis(5);

/// How many times as long as the shortest call so far the last one may take.
const NEAR: f64 = 1.05;

/// Threads of a call: as many as fill a device, few enough that what each leaves comes back in no time, in which a device would be
/// idle. Their steps, at first and at most.
const THREADS: usize = 1 << 18;
const STEPS: (usize, usize) = (1 << 8, 1 << 18);

/// Chains of multiply-adds; nothing for a software adapter, which has no clock of its own.
pub(super) fn of(gpu: &Gpu) -> Result<Option<Wake>> {
    if !gpu.report().kind.is_real() {
        return Ok(None);
    }
    let backend = Backend::Gpu(gpu.clone());
    let mut params = Params {
        precision: Precision::F32,
        threads: THREADS,
        steps: STEPS.0,
        factor: 1.0,
        summand: 1.0,
    };
    roofs::fma(&backend, &params)?; // compiles it
    loop {
        let begun = Instant::now();
        roofs::fma(&backend, &params)?;
        if begun.elapsed() >= CALL || params.steps >= STEPS.1 {
            break;
        }
        params.steps *= 4;
    }
    let shortest = Mutex::new(Duration::MAX);
    Ok(Some(Wake::new(move || {
        let begun = Instant::now();
        loop {
            let call = Instant::now();
            roofs::fma(&backend, &params)?;
            let took = call.elapsed();
            let mut shortest = shortest.lock().unwrap_or_else(PoisonError::into_inner);
            *shortest = took.min(*shortest);
            let awake = took <= shortest.mul_f64(NEAR) && begun.elapsed() >= BUSY.0;
            if awake || begun.elapsed() >= BUSY.1 {
                return Ok(());
            }
        }
    })))
}
