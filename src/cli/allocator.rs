//! Memory that is not needed any more goes back to the system.
//!
//! The allocator of glibc (Linux) asks the system for each large block by itself, and gives it back when it is freed. What is
//! large it learns as a process runs: after some blocks of 32 MiB nothing smaller goes back, and each thread keeps what it
//! freed. A study whose live data were never more than 130 MB so took 259 MB. With a fixed bound of 1 MiB it takes little more
//! than what is live (`benches/results/2026-11-26_host-memory.json`). Of smaller blocks 4 MiB are kept: with the usual 128 KiB the
//! system gets more to do, and with 16 MiB less is given back. Other systems' allocators are left alone.

/// Bytes from which on a block goes back by itself, and bytes that are kept of smaller ones.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const BOUNDS: (i32, i32) = (1 << 20, 4 << 20);

/// Sets the allocator's bounds, where nobody has set up the allocator by a variable of the environment. To be called before there
/// are threads.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(
    unsafe_code,
    reason = "the allocator of the C library has no other way in"
)]
pub fn give_back_what_is_freed() {
    let set_up = |name: &std::ffi::OsStr| {
        let name = name.to_string_lossy();
        name.starts_with("MALLOC_") || name == "GLIBC_TUNABLES"
    };
    if std::env::vars_os().any(|(name, _)| set_up(&name)) {
        return;
    }
    // SAFETY: mallopt takes two numbers, locks the allocator, and touches no memory of ours. Where it refuses one it changes nothing.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, BOUNDS.0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, BOUNDS.1);
    }
}

/// As with glibc, where there is nothing to do.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn give_back_what_is_freed() {}
