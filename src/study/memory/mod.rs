//! How much of the host's memory a study takes, known before it runs, and how what is allowed is divided. No result depends on it.
//!
//! Letters: N samples of train, D neurons, p = D·(D − 1)/2 pairs, C classes; bytes:
//!
//! | what | when | how much |
//! |---|---|---|
//! | process | always | what it takes before the study begins: program, threads, drivers |
//! | data | always | 4·D a sample of train, dev and test, with labels and words |
//! | inflated | reading | the elements of compressed files, until all are read |
//! | correlations | from then on | 4·p |
//! | correlating | first | blocks of samples or sums of tiles ([`correlation::bytes`]), less where less is allowed |
//! | dendrogram | then | 8·p |
//! | standardised | probes | 4·N·D; 0 where memory does not hold it: natively it is made again for every pass |
//! | fits | probes | 8·C·D each of those that dev has not chosen from |
//! | judging | probes | N·D a thread: the neurons in use of a probe that has few |
//! | transfers | probes, with a GPU | a block of samples on its way, as it is and padded; buffers of a device without memory of its own |
//! | solver | probes | see [`crate::ops::probe::plan()`], with copies of sets and the correlations of single layers |
//!
//! What adapts is the solver: how many problems, layers, resamples and sets are side by side. A study fits as soon as one
//! problem on all neurons does.
//!
//! # How near
//! The sum is what a study takes at most: how large working sets become is decided by data and penalties, and each is taken to be
//! as large as it can be. [`Host::expected`] takes them to be of a usual size (`usual.rs`), and [`Host::decided`] is their share
//! of it. `benches/results/2026-11-26_host-memory.json` has all beside peaks of processes: of eight studies seven took what was
//! expected within 10 %, the eighth, whose sets that suffice are small, less than half. What is certain of it is
//! [`Host::expected`] less [`Host::decided`].
//!
//! A process takes so much where what is freed goes back to the system, as the command sees to on Linux (`src/cli/allocator.rs`).
//! Elsewhere, and in Python, the allocator may keep as much again of what was freed.

mod device;
mod files;
mod usual;

use serde::Serialize;

pub(super) use self::device::device;
pub use self::files::Allowed;
pub(super) use self::files::shapes;
use self::usual::Usual;
use super::load::outline;
use super::sets::NEIGHBOURS;
use super::spec::Spec;
use crate::analysis::layers::jobs;
use crate::data::Outline;
use crate::error::{Error, Result};
use crate::gpu::{AdapterKind, Gpu};
use crate::ops::probe::{Params, TRANSFER, in_flight_bytes};
use crate::ops::{Backend, correlation};

/// Bytes of one sample's labels and word, beside 4 for each task and control task.
const SAID: u64 = 80;

/// Bytes that writing results takes.
const WRITING: u64 = 16 << 20;

/// How much of the host's memory may be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Bytes, all in all.
    pub bytes: u64,
    /// Whether somebody asked for this; else it is a share of what is free.
    pub asked: bool,
}

/// How a study divides what it may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Bytes for fitting probes beside train and its standardised copy.
    pub solver: u64,
    /// Whether probes do without that copy. A GPU has one of its own in any case.
    pub streamed: bool,
    /// Bytes for samples and sums while pairs are correlated.
    pub correlating: u64,
}

impl Room {
    /// No limit but what makes no study faster.
    pub fn enough(backend: &Backend) -> Self {
        Self {
            solver: enough(backend),
            streamed: false,
            correlating: u64::MAX,
        }
    }
}

/// What a study takes of the host, in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Host {
    /// The process before the study.
    pub process: u64,
    /// Activations, labels and words.
    pub data: u64,
    /// Correlations of all pairs.
    pub correlations: u64,
    /// Train standardised; 0 where there is no such copy.
    pub standardised: u64,
    /// Fits of probes, at most.
    pub solver: u64,
    /// At the peak, at most.
    pub most: u64,
    /// At the peak, about: of working sets of a usual size.
    pub expected: u64,
    /// How much of that is for working sets and sets that suffice, whose sizes data and penalties decide.
    pub decided: u64,
    /// What the same study takes at most with nothing side by side: it cannot do with less.
    pub least: u64,
    /// What is allowed; null where nothing says.
    pub allowed: Option<u64>,
}

/// What a study of this specification takes on `backend` of what is allowed, where the process takes `process` bytes already, and
/// how it is divided.
///
/// # Errors
/// When the data cannot be opened, or the least it takes is more than is allowed.
pub fn divide(
    spec: &Spec,
    backend: &Backend,
    limit: Option<Limit>,
    process: u64,
) -> Result<(Host, Room)> {
    of_outline(spec, &outline(spec)?, backend, limit, process)
}

/// As [`divide`], of data that were looked at.
pub(super) fn of_outline(
    spec: &Spec,
    data: &Outline,
    backend: &Backend,
    limit: Option<Limit>,
    process: u64,
) -> Result<(Host, Room)> {
    let native = backend.gpu().is_none();
    let parts = Parts::of(spec, data, backend, process);
    let with = |streamed: bool| parts.peak(streamed, parts.one(streamed), 0);
    // Of few samples the blocks of a stream take more than a copy.
    let least = match native {
        true => with(true).min(with(false)),
        false => with(false),
    };
    // What somebody asked for is kept. A share of what is free is a guess, and so is `least`, from above.
    let limit = limit.map(|limit| match limit.asked {
        true => limit,
        false => Limit {
            bytes: limit.bytes.max(least),
            ..limit
        },
    });
    let room = match limit {
        None => Room::enough(backend),
        Some(limit) if least > limit.bytes => return Err(parts.refused(least, limit)),
        Some(limit) => {
            // Copied once rather than standardised again and again, where that fits.
            let streamed = with(false) > limit.bytes;
            Room {
                solver: enough(backend).min(limit.bytes - parts.beside_solver(streamed)),
                streamed,
                correlating: limit.bytes - parts.always() - parts.scratch,
            }
        }
    };
    Ok((parts.host(&room, least, limit), room))
}

/// Bytes for fitting probes of which more would not make a study faster: natively threads have work enough.
pub(super) fn enough(backend: &Backend) -> u64 {
    let threads = match backend.gpu() {
        None => rayon::current_num_threads(),
        Some(_) => 0,
    };
    Params::default().memory.max((threads as u64) << 30)
}

/// Bytes of what a study is made of.
struct Parts {
    process: u64,
    data: u64,
    inflated: u64,
    correlations: u64,
    dendrogram: u64,
    correlating: u64,
    /// Of the threads, while pairs are correlated.
    scratch: u64,
    standardised: u64,
    fits: u64,
    judging: u64,
    transfers: u64,
    /// A problem on all neurons.
    problem: u64,
    /// What layers, clusters and ranking combined hold beside problems.
    combined: u64,
    /// A block of a stream, and the rows that threads read.
    block: u64,
    /// The solver's, with everything side by side that can be.
    wanted: u64,
    /// What is held about, but for what the process takes before, with a standardised copy and without; and all that but for working sets.
    usual: [[u64; 2]; 2],
}

impl Parts {
    fn of(spec: &Spec, data: &Outline, backend: &Backend, process: u64) -> Self {
        let native = backend.gpu().is_none();
        let (train, neurons) = (data.samples[0], data.layers.neurons());
        let threads = rayon::current_num_threads() as u64;
        let (n, d) = (train as u64, neurons as u64);
        let samples: u64 = data.samples.iter().map(|&samples| samples as u64).sum();
        let pairs = d * d.saturating_sub(1) / 2;
        let said = SAID + 4 * (data.tasks.len() * (1 + spec.control.draws)) as u64;
        let widest = data.classes.iter().copied().max().unwrap_or(2);
        let all_jobs = jobs(&data.layers).len().max(data.tasks.len());
        let alive = (all_jobs * (path(spec) + 1)) as u64;
        let most = |(width, classes)| in_flight_bytes(train, width, classes);
        let sum = |side: Side| -> u64 {
            let each = side.problems.iter();
            let problems =
                each.map(|&(number, width, classes)| number as u64 * most((width, classes)));
            problems.sum::<u64>() + side.copied
        };
        let wanted = sides(spec, data, native).into_iter().map(sum).max();
        let mut parts = Self {
            process,
            data: samples * (4 * d + said),
            inflated: data.inflated,
            correlations: 4 * pairs,
            dendrogram: 8 * pairs,
            correlating: match backend.gpu().is_some_and(Gpu::is_validating) {
                // Once more, natively.
                true => correlation::bytes(train, neurons),
                false => correlation::bytes(train, neurons) - 4 * pairs,
            },
            scratch: correlation::bytes(1, 1) + (8 << 20),
            standardised: 4 * n * d,
            fits: 8 * widest as u64 * d * alive,
            judging: n * d * threads,
            transfers: backend.gpu().map_or(0, |gpu| {
                let block = TRANSFER.min(4 * n * d);
                match gpu.report().kind {
                    // Its buffers are in the host's memory.
                    AdapterKind::Software | AdapterKind::Integrated => {
                        2 * block + device(spec, data, gpu)
                    }
                    _ => 2 * block,
                }
            }),
            problem: most((neurons, widest)),
            combined: match &*spec.combined.deltas {
                [] => 0,
                _ => 12 * pairs,
            },
            block: 4 * ((2 << 20).max((256 * threads + 1024) * d) + threads * (65_536 + d)),
            wanted: wanted.unwrap_or(0),
            usual: [[0; 2]; 2],
        };
        parts.usual = parts.usual(spec, data, native);
        parts
    }

    fn usual(&self, spec: &Spec, data: &Outline, native: bool) -> [[u64; 2]; 2] {
        let correlating = usual::correlating(self.correlating, data.layers.neurons());
        let reading = self.inflated.saturating_sub(self.correlations);
        [false, true].map(|bare| {
            [Some(self.standardised), None].map(|copy| {
                let usual = Usual {
                    spec,
                    data,
                    native,
                    always: self.data + self.correlations,
                    standardised: copy.unwrap_or(self.block),
                    streamed: copy.is_none(),
                    pairs: correlating.max(self.dendrogram).max(reading),
                    bare,
                };
                usual.peak() + self.transfers
            })
        })
    }

    /// What is held from the data on.
    fn always(&self) -> u64 {
        self.process + self.data + self.correlations
    }

    /// What is held while probes are fitted, but for the solver.
    fn beside_solver(&self, streamed: bool) -> u64 {
        let standardised = if streamed { 0 } else { self.standardised };
        self.always() + standardised + self.fits + self.judging + self.transfers
    }

    /// The solver's bytes with one problem at a time.
    fn one(&self, streamed: bool) -> u64 {
        let beside = if streamed {
            self.block
        } else {
            self.standardised
        };
        self.problem + beside + self.combined
    }

    fn peak(&self, streamed: bool, solver: u64, correlating: u64) -> u64 {
        let probes = self.beside_solver(streamed) + solver;
        let pairs = self.always() + self.dendrogram.max(self.scratch + correlating);
        let reading = self.process + self.data + self.inflated;
        probes.max(pairs).max(reading).max(self.process + WRITING)
    }

    fn host(&self, room: &Room, least: u64, limit: Option<Limit>) -> Host {
        let correlating = self.correlating.min(room.correlating);
        let solver = self.wanted.min(room.solver.max(self.one(room.streamed)));
        let most = self.peak(room.streamed, solver, correlating);
        let [expected, certain] = self.usual.map(|usual| {
            let held = usual[usize::from(room.streamed)];
            (self.process + held).min(most)
        });
        Host {
            process: self.process,
            data: self.data,
            correlations: self.correlations,
            standardised: if room.streamed { 0 } else { self.standardised },
            solver,
            most,
            expected,
            decided: expected - certain,
            least,
            allowed: limit.map(|limit| limit.bytes),
        }
    }

    fn refused(&self, least: u64, limit: Limit) -> Error {
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        let holds = format!(
            "with nothing side by side: {} MiB of activations, {} MiB of correlations and their dendrogram, {} MiB for a probe on all neurons",
            mib(self.data),
            mib(self.correlations + self.dendrogram),
            mib(self.problem),
        );
        files::refused(least, &holds, limit)
    }
}

/// What is side by side in one step: so many problems on so many neurons of so many classes each, and bytes of copies.
struct Side {
    problems: Vec<(usize, usize, usize)>,
    copied: u64,
}

/// The steps that have the most side by side.
fn sides(spec: &Spec, data: &Outline, native: bool) -> Vec<Side> {
    let (neurons, sets) = (data.layers.neurons(), &spec.minimal_set);
    // Natively a path goes step by step.
    let path = if native { 1 } else { path(spec) };
    let copy = |columns: usize| 4 * (data.samples[0] * columns) as u64;
    // As many sets are one batch as their copies fit for, and one is in any case.
    let most = TRANSFER.max(copy(neurons));
    let each = |number: usize, width: usize, classes: usize, copied: usize| Side {
        problems: vec![(number, width, classes)],
        copied: copy(copied).min(most),
    };
    let oracles = data.classes.iter().map(|&c| (path, neurons, c));
    let mut sides = vec![Side {
        problems: oracles.collect(),
        copied: 0,
    }];
    for &classes in &data.classes {
        let widths: Vec<usize> = (jobs(&data.layers).into_iter())
            .map(|job| job.columns(&data.layers).len())
            .collect();
        sides.push(Side {
            copied: copy(widths.iter().sum()),
            problems: widths.into_iter().map(|w| (path, w, classes)).collect(),
        });
        let draws = if data.words { spec.control.draws } else { 0 };
        let minimal = sets.rankings.len() * sets.deltas.len();
        sides.push(each(draws, neurons, classes, 0));
        sides.push(each(draws * minimal, neurons, classes, minimal * neurons));
        let [resamples, random] = drawn(spec);
        sides.push(each(resamples, neurons, classes, 0));
        let number = random * near(spec, native);
        sides.push(each(number, neurons, classes, random * neurons));
    }
    sides
}

/// Resamples of train and random sets that minimal sets are held against.
fn drawn(spec: &Spec) -> [usize; 2] {
    match &spec.minimal_set {
        none if none.deltas.is_empty() => [0, 0],
        sets => [sets.bootstrap, sets.random_sets],
    }
}

/// Penalties of a path.
fn path(spec: &Spec) -> usize {
    match spec.probe.l1 {
        Some(_) => 1,
        None => spec.probe.lambda_ratios.len(),
    }
}

/// Penalties that smaller sets try at once.
fn near(spec: &Spec, native: bool) -> usize {
    match native {
        true => 1,
        false => path(spec).min(2 * NEIGHBOURS + 1),
    }
}
