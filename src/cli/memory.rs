//! `--max-memory`: how much of the host's memory a command may take, and what the system says of it.

use std::fs::read_to_string;
use std::path::Path;

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
/// or a job of Slurm where that has less.
fn free() -> Option<u64> {
    let machine = kibibytes(&read_to_string("/proc/meminfo").ok()?, "MemAvailable:")?;
    let own = read_to_string("/proc/self/cgroup").unwrap_or_default();
    let job = of_slurm(|name| std::env::var(name).ok());
    let bounds = left_in_groups(&own, Path::new("/sys/fs/cgroup"));
    Some(bounds.chain(job).fold(machine, u64::min))
}

/// What each control group of a process has left, from its own up to all there is; `own` is what the system says of them, `all`
/// the folder that they are in. Version 1 has a folder for memory alone.
fn left_in_groups(own: &str, all: &Path) -> impl Iterator<Item = u64> {
    let mut left = Vec::new();
    for line in own.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        let (root, version) = match controllers {
            "" => (all.to_owned(), &SECOND),
            some if some.split(',').any(|name| name == "memory") => (all.join("memory"), &FIRST),
            _ => continue,
        };
        let group = root.join(path.trim_start_matches('/'));
        // In a container the path may be the host's, and the folder the container's own group.
        let groups = group
            .ancestors()
            .take_while(|group| group.starts_with(&root));
        left.extend(groups.filter_map(|group| version.left(group)));
    }
    left.into_iter()
}

/// How a version of control groups names what is read of them.
struct Version {
    most: &'static str,
    taken: &'static str,
    /// Lines of `memory.stat`: pages of files, which are given back when memory is needed.
    pages: [&'static str; 2],
}

const FIRST: Version = Version {
    most: "memory.limit_in_bytes",
    taken: "memory.usage_in_bytes",
    pages: ["total_inactive_file ", "total_active_file "],
};

const SECOND: Version = Version {
    most: "memory.max",
    taken: "memory.current",
    pages: ["inactive_file ", "active_file "],
};

impl Version {
    /// What a control group has left of what it may take; `None` where nothing bounds it.
    fn left(&self, group: &Path) -> Option<u64> {
        let number = |name: &str| -> Option<u64> {
            let text = read_to_string(group.join(name)).ok()?;
            text.trim().parse().ok()
        };
        let (most, taken) = (number(self.most)?, number(self.taken)?);
        let statistics = read_to_string(group.join("memory.stat")).unwrap_or_default();
        let pages = self.pages.map(|name| {
            let line = statistics.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.trim().parse::<u64>().ok())
        });
        let pages: u64 = pages.into_iter().flatten().sum();
        Some(most.saturating_sub(taken.saturating_sub(pages)))
    }
}

/// What a job of Slurm may take of one machine: `SLURM_MEM_PER_NODE`, or `SLURM_MEM_PER_CPU` for each of `SLURM_CPUS_ON_NODE`,
/// in MiB; 0 is all there is.
fn of_slurm(variable: impl Fn(&str) -> Option<String>) -> Option<u64> {
    let number = |name: &str| -> Option<u64> { variable(name)?.trim().parse().ok() };
    let mebibytes = number("SLURM_MEM_PER_NODE").or_else(|| {
        let processors = number("SLURM_CPUS_ON_NODE").or_else(|| number("SLURM_CPUS_PER_TASK"));
        number("SLURM_MEM_PER_CPU")?.checked_mul(processors.unwrap_or(1))
    })?;
    let bytes = mebibytes.checked_mul(1 << 20)?;
    (bytes > 0).then_some(bytes)
}

/// The number of KiB in the line of that name, in bytes.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use std::fs::{create_dir_all, write};

    use super::*;

    /// A control group with so much allowed and taken, and so many bytes of files' pages of each kind.
    fn group(folder: &Path, version: &Version, most: &str, taken: u64, pages: u64) {
        create_dir_all(folder).unwrap();
        write(folder.join(version.most), format!("{most}\n")).unwrap();
        write(folder.join(version.taken), format!("{taken}\n")).unwrap();
        let lines = version.pages.map(|name| format!("{name}{pages}\n"));
        write(
            folder.join("memory.stat"),
            format!("anon 7\n{}", lines.concat()),
        )
        .unwrap();
    }

    fn least(own: &str, all: &Path) -> Option<u64> {
        left_in_groups(own, all).min()
    }

    #[test]
    fn what_is_free_is_what_the_control_groups_of_either_version_leave() {
        let folder = tempfile::tempdir().unwrap();
        let all = folder.path();
        let own = "0::/jobs/mine\n";
        assert_eq!(least(own, all), None);
        group(&all.join("jobs/mine"), &SECOND, "max", 500, 10);
        assert_eq!(least(own, all), None);
        group(&all.join("jobs"), &SECOND, "10000", 4000, 100);
        assert_eq!(least(own, all), Some(10_000 - (4000 - 200)));
        group(&all.join("jobs/mine"), &SECOND, "3000", 500, 0);
        assert_eq!(least(own, all), Some(2500));
        // Version 1: the controllers are in folders of their own.
        let own = "5:cpu,cpuacct:/cpus\n4:memory:/slurm/job_7\n0::/other\n";
        let memory = all.join("memory");
        group(&memory, &FIRST, "9223372036854771712", 1 << 30, 0);
        assert_eq!(least(own, all), Some(9_223_372_036_854_771_712 - (1 << 30)));
        group(&memory.join("slurm/job_7"), &FIRST, "8000", 5000, 1000);
        assert_eq!(least(own, all), Some(5000));
        // Beyond what is allowed nothing is left, and the group of another controller says nothing.
        group(&memory.join("slurm"), &FIRST, "100", 5000, 0);
        group(&all.join("cpus"), &SECOND, "1", 1, 0);
        assert_eq!(least(own, all), Some(0));
    }

    #[test]
    fn a_job_of_slurm_has_what_was_asked_for_it() {
        let job = |variables: &[(&str, &str)]| {
            of_slurm(|name| {
                let found = variables.iter().find(|(named, _)| *named == name);
                found.map(|(_, value)| (*value).to_owned())
            })
        };
        let mib = |number: u64| Some(number << 20);
        assert_eq!(job(&[]), None);
        assert_eq!(job(&[("SLURM_MEM_PER_NODE", "4096")]), mib(4096));
        assert_eq!(job(&[("SLURM_MEM_PER_NODE", "0")]), None);
        assert_eq!(job(&[("SLURM_MEM_PER_NODE", "much")]), None);
        let each = ("SLURM_MEM_PER_CPU", "1000");
        assert_eq!(job(&[each]), mib(1000));
        assert_eq!(job(&[each, ("SLURM_CPUS_PER_TASK", "3")]), mib(3000));
        let on_node = [
            each,
            ("SLURM_CPUS_PER_TASK", "3"),
            ("SLURM_CPUS_ON_NODE", "6"),
        ];
        assert_eq!(job(&on_node), mib(6000));
    }
}
