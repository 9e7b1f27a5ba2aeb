//! Memory that is not needed any more goes back to the system at once.
//!
//! The allocator of glibc (Linux) asks the system for each large block by itself, and gives it back when it is freed. What is
//! large it learns as a process runs: after some blocks of 32 MiB nothing smaller goes back, and each thread keeps what it
//! freed. A study whose live data were never more than 130 MB so took 259 MB. With a fixed bound of 1 MiB it takes little more
//! than what is live (`benches/results/2026-11-26_host-memory.json`). Of smaller blocks it then keeps 16 MiB: with the usual 128 KiB
//! the system took 2.5 s of a probe of 4,992 × 2,688 instead of 1.4 s (1.1 s with nothing fixed). The bounds are read when a process
//! begins, from its environment, so that the command begins again with them. Other systems' allocators are left alone.

#[cfg(all(target_os = "linux", target_env = "gnu"))]
use std::ffi::OsStr;

/// The variables that set the bounds (`man mallopt`), in bytes: from which on a block goes back by itself, and how much of smaller
/// ones is kept.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const BOUNDS: [(&str, &str); 2] = [
    ("MALLOC_MMAP_THRESHOLD_", "1048576"),
    ("MALLOC_TRIM_THRESHOLD_", "16777216"),
];

/// Begins this process again, in place, with an allocator that gives back what is freed. Returns where it does that already,
/// where somebody has set one of its variables, and where it cannot be begun again: more memory is taken then, and nothing
/// else changes.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn give_back_what_is_freed() {
    use std::os::unix::process::CommandExt;

    if std::env::vars_os().any(|(name, _)| is_of_the_allocator(&name)) {
        return;
    }
    let Ok(program) = std::env::current_exe() else {
        return;
    };
    let mut arguments = std::env::args_os();
    let mut again = std::process::Command::new(program);
    if let Some(name) = arguments.next() {
        again.arg0(name);
    }
    // It returns only where it failed, and then this process goes on as it is.
    drop(again.args(arguments).envs(BOUNDS).exec());
}

/// As on Linux, where there is nothing to do.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn give_back_what_is_freed() {}

/// Whether a variable of the environment sets up the allocator.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn is_of_the_allocator(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name.starts_with("MALLOC_") || name == "GLIBC_TUNABLES" || name == "LD_PRELOAD"
}
