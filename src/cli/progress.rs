//! Progress on stderr: a bar for the step that runs, only on a terminal and only for what takes over a second.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::study::Progress;

/// How long a run is silent before the bar appears.
const SILENT: Duration = Duration::from_secs(1);

/// Steps of the bar.
const LENGTH: u64 = 1000;

/// Shows a run's progress.
#[derive(Debug)]
pub(super) struct Bar {
    started: Instant,
    bar: Option<ProgressBar>,
    terminal: bool,
}

impl Bar {
    /// A bar that has not appeared yet.
    pub(super) fn new() -> Self {
        Self {
            started: Instant::now(),
            bar: None,
            terminal: std::io::stderr().is_terminal(),
        }
    }

    /// Shows where the run is.
    pub(super) fn show(&mut self, progress: &Progress<'_>) {
        if !self.terminal || self.started.elapsed() < SILENT {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::with_draw_target(Some(LENGTH), ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("{elapsed_precise} {bar:30} {msg}") {
                bar.set_style(style);
            }
            bar
        });
        bar.set_message(format!(
            "{}/{} {}",
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
