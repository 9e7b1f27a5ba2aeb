//! Progress on stderr: a bar for the step that runs, only on a terminal and only for what takes over a second.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::study::Progress;

/// How long a run is silent before the bar appears.
const SILENT: Duration = Duration::from_secs(1);

/// How long a step has to run before its end is guessed at.
const GUESSED: Duration = Duration::from_secs(3);

/// Steps of the bar.
const LENGTH: u64 = 1000;

/// Shows a run's progress.
#[derive(Debug)]
pub(super) struct Bar {
    started: Instant,
    /// Number of the step that runs, and since when.
    step: (usize, Instant),
    bar: Option<ProgressBar>,
    terminal: bool,
}

impl Bar {
    /// A bar that has not appeared yet.
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self {
            started: now,
            step: (0, now),
            bar: None,
            terminal: std::io::stderr().is_terminal(),
        }
    }

    /// Shows where the run is.
    pub(super) fn show(&mut self, progress: &Progress<'_>) {
        self.show_with(progress, None);
    }

    /// Shows where the run is, and how many fits are behind it.
    pub(super) fn show_fits(&mut self, progress: &Progress<'_>, fits: usize) {
        self.show_with(progress, Some(fits));
    }

    fn show_with(&mut self, progress: &Progress<'_>, fits: Option<usize>) {
        if self.step.0 != progress.number {
            self.step = (progress.number, Instant::now());
        }
        if !self.terminal || self.started.elapsed() < SILENT {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::with_draw_target(Some(LENGTH), ProgressDrawTarget::stderr());
            // What does not fit the terminal's width is cut, so that a line stays one.
            if let Ok(style) = ProgressStyle::with_template("{elapsed_precise} {bar:30} {wide_msg}")
            {
                bar.set_style(style);
            }
            bar
        });
        let fits = fits.map_or_else(String::new, |fits| format!(", {fits} fits"));
        let left = left(self.step.1.elapsed(), progress.fraction);
        let left = left.map_or_else(String::new, |left| format!(", step ends in about {left}"));
        bar.set_message(format!(
            "{}/{} {}{fits}{left}",
            progress.number, progress.of, progress.step
        ));
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a fraction of 0 to 1 times 1000"
        )]
        bar.set_position((progress.fraction.clamp(0.0, 1.0) * LENGTH as f64) as u64);
    }

    /// Removes the bar.
    pub(super) fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// How long the rest of a step takes if it goes on as it did; none of one that has hardly begun.
fn left(elapsed: Duration, fraction: f64) -> Option<String> {
    if elapsed < GUESSED || !(0.05..1.0).contains(&fraction) {
        return None;
    }
    let seconds = elapsed.as_secs_f64() * (1.0 - fraction) / fraction;
    Some(match seconds {
        s if s >= 5400.0 => format!("{:.1} hours", s / 3600.0),
        s if s >= 90.0 => format!("{:.0} minutes", s / 60.0),
        s => format!("{s:.0} s"),
    })
}
