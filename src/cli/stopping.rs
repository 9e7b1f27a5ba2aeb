//! Ctrl-C: the first one lets a study finish what is under way, which is kept; the second one ends it at once.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

/// What the shell expects of a program that was interrupted.
pub(super) const CODE: u8 = 130;

static STOPPED: AtomicBool = AtomicBool::new(false);

/// What is set by the first Ctrl-C from now on.
pub(super) fn heed() -> &'static AtomicBool {
    let heard = || {
        if STOPPED.swap(true, Ordering::Relaxed) {
            std::process::exit(CODE.into());
        }
        // Nobody may be there to read it.
        drop(writeln!(
            std::io::stderr(),
            "stopping as soon as what is under way is done; Ctrl-C again stops at once"
        ));
    };
    // Where it cannot be heard, Ctrl-C ends the process at once, and finished units are kept all the same.
    drop(ctrlc::set_handler(heard));
    &STOPPED
}
