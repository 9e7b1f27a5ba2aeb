//! Searches beside one another.

use std::ops::Range;
use std::sync::mpsc;
use std::time::Duration;

use rayon::prelude::*;

use super::Prober;
use crate::error::Result;
use crate::ops::Backend;

/// How long a thread that gave out jobs waits for news of them before it lends a hand.
const LISTENING: Duration = Duration::from_millis(50);

/// Bytes that a job needs at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// To fit one probe.
    pub probe: u64,
    /// For what it holds beside.
    pub beside: u64,
}

impl Need {
    fn all(self) -> u64 {
        self.probe.saturating_add(self.beside)
    }
}

impl Prober<'_> {
    /// Does jobs beside one another, natively on all threads: as many at once as the memory holds what each needs, and each with
    /// its share of the rest. A GPU, which one job keeps busy, gets one after the other. `progress` hears the place of each job
    /// that is done, on the calling thread.
    ///
    /// # Errors
    /// What the first of the jobs that fail returns.
    pub fn each<J: Sync, R: Send>(
        &self,
        jobs: &[J],
        need: impl Fn(&J) -> Need,
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
        let needs: Vec<Need> = jobs.iter().map(need).collect();
        let mut found = Vec::with_capacity(jobs.len());
        for group in groups(&needs, self.params.memory) {
            let probers = self.shared(&needs[group.clone()]);
            let some: Vec<(Self, &J)> = probers.into_iter().zip(&jobs[group.clone()]).collect();
            let mut done = |at: usize| progress(group.start + at);
            found.extend(beside(&some, &work, &mut done)?);
        }
        Ok(found)
    }

    /// A prober for each of some jobs that are done at once: what it needs, and an equal share of what is left.
    fn shared(&self, needs: &[Need]) -> Vec<Self> {
        let all: u64 = needs.iter().map(|need| need.all()).sum();
        let rest = self.params.memory.saturating_sub(all) / needs.len().max(1) as u64;
        let each = needs.iter().map(|need| {
            let mut prober = self.clone();
            prober.params.memory = need.probe + rest;
            prober
        });
        each.collect()
    }
}

/// Which jobs, one after the other, are done at once: as many as fit together, and at least one.
fn groups(needs: &[Need], memory: u64) -> Vec<Range<usize>> {
    let mut groups: Vec<Range<usize>> = Vec::new();
    let mut taken = 0;
    for (at, need) in needs.iter().enumerate() {
        match groups.last_mut() {
            Some(group) if need.all().saturating_add(taken) <= memory => group.end = at + 1,
            _ => {
                groups.push(at..at + 1);
                taken = 0;
            }
        }
        taken += need.all();
    }
    groups
}

/// Does jobs beside one another, each with its prober. A thread that waits inside one job may begin another: all of them can be
/// under way at once.
fn beside<P: Sync, J: Sync, R: Send>(
    jobs: &[(P, &J)],
    work: &(impl Fn(&P, &J) -> Result<R> + Sync),
    progress: &mut dyn FnMut(usize),
) -> Result<Vec<R>> {
    let (done, heard) = mpsc::channel();
    let mut found: Vec<Result<R>> = Vec::new();
    rayon::in_place_scope(|scope| {
        scope.spawn(|_| {
            let jobs = jobs.par_iter().enumerate().with_max_len(1);
            let one = |done: &mut mpsc::Sender<usize>, (at, (prober, job)): (usize, &(P, &J))| {
                let result = work(prober, job);
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
