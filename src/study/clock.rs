//! The steps of a run: which one runs, how far it is, how long each took.

use std::time::Instant;

use super::Progress;
use super::results::Timing;

/// Tells the observer where the run is, and times its steps.
pub(super) struct Clock<'a> {
    observer: &'a mut dyn FnMut(&Progress<'_>),
    steps: usize,
    running: Option<(String, Instant)>,
    /// More about the running step.
    note: Option<String>,
    timings: Vec<Timing>,
}

impl<'a> Clock<'a> {
    /// For a run of `steps` steps.
    pub(super) fn new(steps: usize, observer: &'a mut dyn FnMut(&Progress<'_>)) -> Self {
        Self {
            observer,
            steps,
            running: None,
            note: None,
            timings: Vec::new(),
        }
    }

    /// The step before has ended and this one begins.
    pub(super) fn step(&mut self, name: impl Into<String>) {
        self.stop();
        self.note = None;
        self.running = Some((name.into(), Instant::now()));
        self.fraction(0.0);
    }

    /// More about the running step, shown with its name.
    pub(super) fn note(&mut self, note: String) {
        self.note = Some(note);
        self.fraction(0.0);
    }

    /// `done` (0 to 1) of the running step is done.
    pub(super) fn fraction(&mut self, done: f64) {
        if let Some((name, _)) = &self.running {
            let step = match &self.note {
                Some(note) => format!("{name}: {note}"),
                None => name.clone(),
            };
            (self.observer)(&Progress {
                step: &step,
                number: self.timings.len() + 1,
                of: self.steps,
                fraction: done,
            });
        }
    }

    /// The last step has ended.
    pub(super) fn finish(mut self) -> Vec<Timing> {
        self.stop();
        debug_assert_eq!(
            self.timings.len(),
            self.steps,
            "the number of steps was announced"
        );
        self.timings
    }

    fn stop(&mut self) {
        if let Some((step, started)) = self.running.take() {
            self.timings.push(Timing {
                step,
                seconds: started.elapsed().as_secs_f64(),
            });
        }
    }
}
