//! A computation beside the interpreter.
//!
//! The engine runs on a thread of its own; the caller's waits without the interpreter's lock, looks for Ctrl-C and hands on
//! progress about twenty times a second: every step, and of each how far it is last. After Ctrl-C, or when the progress callback raises, the exception is raised at once
//! and the computation stops where it next reads rows or tells how far it is; what it borrows it keeps alive until then.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use pyo3::prelude::*;

use super::error::to_python;
use crate::error::{Error, Result};

/// How often the caller's thread looks for Ctrl-C.
const INTERVAL: Duration = Duration::from_millis(50);

/// What the two threads tell each other.
#[derive(Debug, Default)]
pub(super) struct Watch {
    stopped: AtomicBool,
    /// Steps that nobody has heard of, each as far as it is.
    reached: Mutex<Vec<(String, f64)>>,
}

/// What a computation that was stopped unwinds with.
struct Stopped;

impl Watch {
    /// Tells how far the computation is, and ends it here where it was stopped.
    pub(super) fn reach(&self, step: &str, fraction: f64) {
        if self.stopped.load(Ordering::Relaxed) {
            // The engine's progress callbacks have no way to say "stop", and nobody waits for what it would return.
            resume_unwind(Box::new(Stopped));
        }
        let mut reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        match reached.last_mut() {
            Some((last, so_far)) if last == step => *so_far = fraction,
            _ => reached.push((step.to_owned(), fraction)),
        }
    }

    /// Fails where the computation was stopped.
    pub(super) fn check(&self) -> Result<()> {
        if self.stopped.load(Ordering::Relaxed) {
            let fix = "Run it again";
            return Err(Error::invalid("computation", "it was interrupted", fix));
        }
        Ok(())
    }

    /// Hands on what was told since the last time.
    fn hand_on(&self, progress: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let mut reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        let told = std::mem::take(&mut *reached);
        drop(reached); // The callback may take its time.
        for told in told {
            if let Some(progress) = progress {
                progress.call1(told)?;
            }
        }
        Ok(())
    }
}

/// Runs `work` on a thread of its own and waits for it.
///
/// # Errors
/// The exception for the engine's error, KeyboardInterrupt, or what `progress(step, fraction)` raised.
pub(super) fn run<T: Send + 'static>(
    py: Python<'_>,
    watch: &Arc<Watch>,
    progress: Option<&Bound<'_, PyAny>>,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> PyResult<T> {
    let (sender, mut receiver) = sync_channel(1);
    let thread = thread::spawn(move || drop(sender.send(work())));
    loop {
        let (received, waited) = py.detach(move || (receiver.recv_timeout(INTERVAL), receiver));
        receiver = waited;
        match received {
            Ok(result) => {
                watch.hand_on(progress)?;
                return result.map_err(|error| to_python(py, &error));
            }
            Err(RecvTimeoutError::Timeout) => {
                let heard = py.check_signals().and_then(|()| watch.hand_on(progress));
                if let Err(raised) = heard {
                    watch.stopped.store(true, Ordering::Relaxed);
                    return Err(raised);
                }
            }
            Err(RecvTimeoutError::Disconnected) => match thread.join() {
                Err(panic) => resume_unwind(panic),
                Ok(()) => unreachable!("it ends by sending its result"),
            },
        }
    }
}
