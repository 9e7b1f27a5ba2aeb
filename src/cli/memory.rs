//! `--max-memory`: how much of the host's memory a command may take, and what the system says of it.

use std::fs::read_to_string;
use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::ops::Backend;
use crate::study::Spec;
use crate::study::memory::{self, Allowed, Limit, Room};

/// Of what is free a command takes so much where it is not told.
const SHARE: f64 = 0.8;

/// What the process takes where the system does not say: the program and its threads.
const PROCESS: u64 = 32 << 20;

/// What was asked for, or [`SHARE`] of what is free; `None` where the system does not say how much that is (elsewhere than on
/// Linux).
pub(super) fn limit(asked: Option<u64>) -> Option<Limit> {
    match asked {
        Some(bytes) => Some(Limit { bytes, asked: true }),
        None => free().map(|free| Limit {
            // What the process takes already is not free any more, and counts.
            bytes: (SHARE * free as f64) as u64 + process(),
            asked: false,
        }),
    }
}

/// How a study divides what it may take.
///
/// # Errors
/// When it takes more, or its data cannot be opened.
pub(super) fn room(spec: &Spec, backend: &Backend, asked: Option<u64>) -> Result<Room> {
    let (_, room) = memory::divide(spec, backend, limit(asked), process())?;
    Ok(room)
}

/// What a command may take and what its process takes now, where that is bounded.
pub(super) fn allowed(asked: Option<u64>) -> Option<Allowed> {
    let process = process();
    limit(asked).map(|limit| Allowed { limit, process })
}

/// Bytes of memory that the process takes now.
pub(super) fn process() -> u64 {
    let status = read_to_string("/proc/self/status").ok();
    let resident = status.and_then(|text| kibibytes(&text, "VmRSS:"));
    resident.unwrap_or(PROCESS)
}

/// Bytes that nobody uses, files' pages counted as free: of the machine, or of a control group (a container, a job of a cluster)
/// where that has less.
fn free() -> Option<u64> {
    let machine = kibibytes(&read_to_string("/proc/meminfo").ok()?, "MemAvailable:")?;
    let own = read_to_string("/proc/self/cgroup").unwrap_or_default();
    let groups = groups(&own).filter_map(|group| left(&group));
    Some(groups.fold(machine, u64::min))
}

/// The folders of a process's control groups (version 2), from its own up to all there is.
fn groups(own: &str) -> impl Iterator<Item = PathBuf> + use<> {
    let all = Path::new("/sys/fs/cgroup");
    let path = own.lines().find_map(|line| line.strip_prefix("0::/"));
    let own = all.join(path.unwrap_or_default());
    let groups: Vec<PathBuf> = own.ancestors().map(Path::to_owned).collect();
    groups
        .into_iter()
        .filter(move |group| group.starts_with(all))
}

/// What a control group has left of what it may take; `None` where nothing bounds it.
fn left(group: &Path) -> Option<u64> {
    let number = |name: &str| -> Option<u64> {
        let text = read_to_string(group.join(name)).ok()?;
        text.trim().parse().ok()
    };
    let (most, taken) = (number("memory.max")?, number("memory.current")?);
    let statistics = read_to_string(group.join("memory.stat")).unwrap_or_default();
    let pages = ["inactive_file ", "active_file "].map(|name| {
        let line = statistics.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.trim().parse::<u64>().ok())
    });
    let pages: u64 = pages.into_iter().flatten().sum();
    Some(most.saturating_sub(taken.saturating_sub(pages)))
}

/// The number of KiB in the line of that name, in bytes.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}
