//! Searches beside one another.

use std::sync::mpsc;
use std::time::Duration;

use rayon::prelude::*;

use super::Prober;
use crate::error::Result;
use crate::ops::Backend;

/// How long a thread that gave out jobs waits for news of them before it lends a hand.
const LISTENING: Duration = Duration::from_millis(50);

impl Prober<'_> {
    /// Does jobs beside one another, each with a prober that takes its share of the memory: natively on all threads. A GPU,
    /// which one job keeps busy, gets one after the other. `progress` hears the place of each job that is done, on the
    /// calling thread.
    ///
    /// # Errors
    /// What the first of the jobs that fail returns.
    pub fn each<J: Sync, R: Send>(
        &self,
        jobs: &[J],
        work: impl Fn(&Self, &J) -> Result<R> + Sync,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Vec<R>> {
        if !matches!(self.backend, Backend::Cpu) {
            let mut found = Vec::with_capacity(jobs.len());
            for (at, job) in jobs.iter().enumerate() {
                found.push(work(self, job)?);
                progress(at);
            }
            return Ok(found);
        }
        // A thread that waits inside one job may begin another: all of them can be under way at once.
        let mut prober = self.clone();
        prober.params.memory /= jobs.len().max(1) as u64;
        let (done, heard) = mpsc::channel();
        let mut found: Vec<Result<R>> = Vec::new();
        rayon::in_place_scope(|scope| {
            scope.spawn(|_| {
                let jobs = jobs.par_iter().enumerate().with_max_len(1);
                let one = |done: &mut mpsc::Sender<usize>, (at, job): (usize, &J)| {
                    let result = work(&prober, job);
                    // Nobody listens only when the calling thread panics, and then nothing is left to be told.
                    let _ = done.send(at);
                    result
                };
                found = jobs.map_with(done, one).collect();
            });
            loop {
                match heard.recv_timeout(LISTENING) {
                    Ok(at) => progress(at),
                    // A thread of the pool that only listened would be missing there.
                    Err(mpsc::RecvTimeoutError::Timeout) => drop(rayon::yield_now()),
                    Err(mpsc::RecvTimeoutError::Disconnected) => break,
                }
            }
        });
        found.into_iter().collect()
    }
}
