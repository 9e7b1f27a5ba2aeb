//! 10,000 damaged copies of small good files of every format. Each ends in a value or in one error: no panic, no memory
//! beyond what the file can hold, no time to speak of. The draws are seeded: what fails once fails always.
//!
//! - `entry`   what reading a file touches, shared with the fuzz targets in `fuzz/`
//! - `mutate`  the damage
//! - `seeds`   the good files

pub mod entry;
mod mutate;
mod seeds;

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use neurosieve::Result;

use crate::support::allocations;
pub use entry::activations;
use mutate::Mutator;

/// Inputs of each format; the README's table says as many.
const INPUTS: usize = 10_000;
/// A reader that needs longer for a file of a few kilobytes hangs. Generous: tests run beside one another.
const LONGEST: Duration = Duration::from_secs(5);
/// DEFLATE makes at most this of a byte, and a reader may hold it twice.
const INFLATED: usize = 2 * 1032;

/// One kind of file.
struct Format {
    /// Its fuzz target.
    target: &'static str,
    /// Its file's name, whose extension says what it is.
    file: &'static str,
    seeds: Vec<Vec<u8>>,
    read: fn(&Path) -> Result<()>,
    /// Makes lengths and checksums fit the damage, so that it is not found out at once.
    mend: fn(&mut [u8], &[u8]),
    /// Bytes that may be allocated for each byte of the file, beside 2 MiB.
    memory: usize,
}

impl Format {
    fn new(
        target: &'static str,
        file: &'static str,
        seeds: Vec<Vec<u8>>,
        read: fn(&Path) -> Result<()>,
    ) -> Self {
        Self {
            target,
            file,
            seeds,
            read,
            mend: |_, _| {},
            memory: 256,
        }
    }

    /// Reads 10,000 damaged files; panics with a list of those that were not answered as they should be.
    fn survives(&self) {
        let folder = in_memory();
        let path = folder.path().join(self.file);
        for seed in &self.seeds {
            std::fs::write(&path, seed).unwrap();
            (self.read)(&path).expect("the file is good before it is damaged");
        }
        self.hand_out_seeds();
        let mut mutator = Mutator::new(8);
        let (mut wrong, mut refused, mut most) = (Vec::new(), 0, 0);
        for number in 0..INPUTS {
            let whole = &self.seeds[number % self.seeds.len()];
            let mut bytes = whole.clone();
            mutator.damage(&mut bytes);
            if mutator.below(4) > 0 {
                (self.mend)(&mut bytes, whole);
            }
            std::fs::write(&path, &bytes).unwrap();
            let start = Instant::now();
            let (outcome, peak) =
                allocations::peak(|| catch_unwind(AssertUnwindSafe(|| (self.read)(&path))));
            most = most.max(peak);
            let fault = match outcome {
                Err(_) => Some("panicked".to_owned()),
                _ if peak > (2 << 20) + self.memory * bytes.len() => {
                    Some(format!("{peak} bytes for a file of {}", bytes.len()))
                }
                _ if start.elapsed() > LONGEST => Some(format!("{:?}", start.elapsed())),
                Ok(Err(error)) => {
                    refused += 1;
                    unclear(&error.to_string(), &path)
                }
                Ok(Ok(())) => None,
            };
            wrong.extend(fault.map(|fault| format!("input {number}: {fault}")));
        }
        let _ = writeln!(
            std::io::stderr(),
            "{}: {refused} of {INPUTS} refused, at most {most} bytes",
            self.target
        );
        let few = &wrong[..wrong.len().min(20)];
        assert!(
            wrong.is_empty(),
            "{}, {} wrong:\n{}",
            self.target,
            wrong.len(),
            few.join("\n")
        );
        assert!(
            (500..INPUTS - 50).contains(&refused),
            "{}: {refused} refused",
            self.target
        );
    }

    /// Writes the good files for `cargo fuzz`, where a folder is named for its corpora.
    fn hand_out_seeds(&self) {
        let Some(folder) = std::env::var_os("NEUROSIEVE_CORPUS") else {
            return;
        };
        let folder = Path::new(&folder).join(self.target);
        std::fs::create_dir_all(&folder).unwrap();
        for (number, seed) in self.seeds.iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{number}")), seed).unwrap();
        }
    }
}

/// A folder that is not on a disk, where the system has such: a hundred thousand files come and go in it.
fn in_memory() -> tempfile::TempDir {
    match tempfile::tempdir_in("/dev/shm") {
        Ok(folder) => folder,
        Err(_) => tempfile::tempdir().unwrap(),
    }
}

/// What an error lacks to be a clear one.
fn unclear(text: &str, path: &Path) -> Option<String> {
    if !text.contains(&path.display().to_string()) && !text.contains("results.json") {
        return Some(format!("{text:?} does not name the file"));
    }
    if text.chars().count() > 2000
        || text
            .chars()
            .any(|c| c.is_control() && !matches!(c, '\n' | '\t'))
    {
        return Some(format!("{text:?} is no message"));
    }
    None
}

/// The length of a safetensors header for what lies between it and the tensors.
fn mend_header(bytes: &mut [u8], whole: &[u8]) {
    let Some((length, _)) = whole.split_first_chunk::<8>() else {
        return;
    };
    let tensors = whole.len() - 8 - u64::from_le_bytes(*length) as usize;
    if let Some(header) = bytes.len().checked_sub(8 + tensors) {
        bytes[..8].copy_from_slice(&(header as u64).to_le_bytes());
    }
}

/// The hash of a unit, behind `neurosieve unit 1` and a line feed.
fn mend_hash(bytes: &mut [u8], _: &[u8]) {
    if let Some((hash, contents)) = bytes
        .get_mut(18..)
        .and_then(|rest| rest.split_at_mut_checked(32))
    {
        hash.copy_from_slice(blake3::hash(contents).as_bytes());
    }
}

#[test]
fn damaged_safetensors() {
    let mut seeds = seeds::native();
    seeds.extend(seeds::of_fixtures(&["bf16.safetensors"]));
    Format {
        mend: mend_header,
        ..Format::new("safetensors", "x.safetensors", seeds, activations)
    }
    .survives();
}

#[test]
fn damaged_npy() {
    Format::new("npy", "x.npy", seeds::arrays(), activations).survives();
}

#[test]
fn damaged_npz() {
    Format {
        memory: INFLATED,
        ..Format::new("npz", "x.npz", seeds::archives(), activations)
    }
    .survives();
}

#[test]
fn damaged_hdf5() {
    Format {
        memory: INFLATED,
        ..Format::new("hdf5", "x.hdf5", seeds::hierarchies(), activations)
    }
    .survives();
}

#[test]
fn damaged_json_lines() {
    Format::new("json_lines", "x.json", seeds::lines(), activations).survives();
}

#[test]
fn damaged_labels() {
    let parallel = seeds::texts(&["DET NOUN\n\nVERB\n", "0.5 1\n2e-3\n"]);
    Format::new("labels_parallel", "x.label", parallel, entry::labels).survives();
    let table = seeds::texts(&[
        "the\tDET\ncat\tNOUN\n\nis\tVERB\n",
        "token\tcolour\tsentence\na\t1\t0\nb\t2\t1\n",
    ]);
    Format::new("labels_table", "x.tsv", table, entry::labels).survives();
    let lines = seeds::texts(&["red\nblue\nlight red\n", "0.5\n-1e-3\n4\n"]);
    Format::new("labels_lines", "x.txt", lines, entry::labels).survives();
    Format::new(
        "labels_array",
        "x.npy",
        seeds::array_of_labels(),
        entry::labels,
    )
    .survives();
}

#[test]
fn damaged_masks() {
    let lists = seeds::texts(&[r#"[[0, 5], {"name": "é", "keep": [1]}, {"remove": [2, 3]}]"#]);
    Format::new("masks_lists", "x.json", lists, entry::masks).survives();
    Format::new(
        "masks_array",
        "x.npy",
        seeds::array_of_masks(),
        entry::masks,
    )
    .survives();
}

#[test]
fn damaged_rankings() {
    let text = r#"{"schema_version": 1, "rankings": {"lca": {"order": [2, 0, 1]}, "é": {"order": [0, 1], "scores": [1.5]}}}"#;
    Format::new("rankings", "x.json", seeds::texts(&[text]), entry::rankings).survives();
}

#[test]
fn damaged_probes() {
    Format {
        mend: mend_header,
        ..Format::new("probe", "x.safetensors", seeds::probe(), entry::probe)
    }
    .survives();
}

#[test]
fn damaged_specifications() {
    let text = std::fs::read(super::fixture("python-tokens/study.toml")).unwrap();
    Format::new("specification", "x.toml", vec![text], entry::specification).survives();
}

#[test]
fn damaged_results() {
    Format::new("results", "results.json", seeds::results(), entry::results).survives();
}

#[test]
fn damaged_units() {
    Format {
        mend: mend_hash,
        ..Format::new("unit", "x.unit", seeds::units(), entry::unit)
    }
    .survives();
}
