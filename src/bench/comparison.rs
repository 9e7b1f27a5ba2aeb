//! Two measurements beside each other: what is faster, what is slower, and what is within the noise of both.
//!
//! Medians m with median absolute deviations d differ when they are further apart than
//! `max(3 · 1.4826 · √(d_old² + d_new²), 2 % of m_old)`: 1.4826 d estimates the standard deviation of normal noise (Rousseeuw &
//! Croux 1993), and what moves a clock by 2 % between two runs does not move it within one.

use serde::{Deserialize, Serialize};

use super::asked;
use super::results::{BenchResults, SCHEMA_VERSION, Timing};
use crate::error::{Error, Result};

/// What the deviations of normal noise are multiplied by.
const NORMAL: f64 = 1.4826;
/// How many standard deviations, and which share of the old median, are within the noise.
const DEVIATIONS: f64 = 3.0;
const SHARE: f64 = 0.02;

/// Two runs, row by row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Device of the old run.
    pub old_device: String,
    /// Device of the new one.
    pub new_device: String,
    /// Whether processor, threads, adapter and driver are the same. Memory may differ: it bounds sizes, not speed.
    pub same_device: bool,
    /// Whether no row has changed.
    pub no_change: bool,
    /// Every row of either that was asked for.
    pub rows: Vec<Change>,
}

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The medians differ by no more than the noise.
    NoChange,
    /// It takes less time.
    Faster,
    /// It takes more.
    Slower,
    /// Only the new run has it.
    OnlyNew,
    /// Only the old one has it.
    OnlyOld,
    /// It was valid and is not.
    NowInvalid,
    /// It is valid and was not.
    NowValid,
    /// Neither has a time.
    Invalid,
    /// The shapes or the clocks differ.
    Incomparable,
}

/// One row of two runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Its name.
    pub name: String,
    /// What became of it.
    pub verdict: Verdict,
    /// New median ÷ old one, where both have one.
    pub ratio: Option<f64>,
    /// By how much the ratio may differ from 1 without meaning anything.
    pub noise: Option<f64>,
}

/// Reads the document of `bench --json`; `name` is named in errors.
///
/// # Errors
/// When it is no such document, or one of another version.
pub fn parse(text: &str, name: &str) -> Result<BenchResults> {
    #[derive(Deserialize)]
    struct Header {
        schema_version: Option<u32>,
    }
    const FIX: &str = "Give what `neurosieve bench --json` of this version printed";
    let refused = |problem: String| Error::invalid(name, problem, FIX);
    let header: Header = serde_json::from_str(text).map_err(|e| refused(e.to_string()))?;
    match header.schema_version {
        Some(SCHEMA_VERSION) => serde_json::from_str(text).map_err(|e| refused(e.to_string())),
        Some(other) => Err(refused(format!(
            "its schema_version is {other}, and this neurosieve reads {SCHEMA_VERSION}"
        ))),
        None => Err(refused("it has no schema_version".to_owned())),
    }
}

/// What a run has under a name: its shape, and its timing; of a roof, which may be measured with more or less work, by FLOP,
/// byte or launch.
struct Found<'a> {
    name: &'a str,
    shape: &'a str,
    timing: Option<Timing>,
}

fn rows<'a>(run: &'a BenchResults, only: &[String]) -> Vec<Found<'a>> {
    let roofs = run.roofs.iter().map(|roof| Found {
        name: &roof.name,
        shape: "",
        timing: roof.times.as_ref().map(|times| Timing {
            median_s: times.timing.median_s / times.work,
            min_s: times.timing.min_s / times.work,
            mad_s: times.timing.mad_s / times.work,
            ..times.timing
        }),
    });
    let wanted = run.workloads.iter().filter(|row| asked(&row.name, only));
    let workloads = wanted.map(|row| Found {
        name: &row.name,
        shape: &row.shape,
        timing: row.times.as_ref().map(|times| times.timing),
    });
    roofs.chain(workloads).collect()
}

/// Sets a new run beside an old one: the roofs, and the workloads that were asked for ([`asked`]).
pub fn compare(old: &BenchResults, new: &BenchResults, only: &[String]) -> Comparison {
    let (before, after) = (rows(old, only), rows(new, only));
    let same_name = |name: &str, among: &[Found<'_>]| among.iter().position(|r| r.name == name);
    let mut rows: Vec<Change> = after
        .iter()
        .map(|new| match same_name(new.name, &before) {
            Some(at) => change(&before[at], new),
            None => Change::without_ratio(new.name, Verdict::OnlyNew),
        })
        .collect();
    let gone = before
        .iter()
        .filter(|old| same_name(old.name, &after).is_none());
    rows.extend(gone.map(|old| Change::without_ratio(old.name, Verdict::OnlyOld)));
    let still = |row: &Change| matches!(row.verdict, Verdict::NoChange | Verdict::Invalid);
    Comparison {
        schema_version: SCHEMA_VERSION,
        old_device: old.system.device_name(),
        new_device: new.system.device_name(),
        same_device: old.system.same_but_for_memory(&new.system),
        no_change: rows.iter().all(still),
        rows,
    }
}

/// Whether a change of a median means anything.
fn change(old: &Found<'_>, new: &Found<'_>) -> Change {
    let (before, after) = match (old.timing, new.timing) {
        (Some(before), Some(after)) => (before, after),
        (Some(_), None) => return Change::without_ratio(new.name, Verdict::NowInvalid),
        (None, Some(_)) => return Change::without_ratio(new.name, Verdict::NowValid),
        (None, None) => return Change::without_ratio(new.name, Verdict::Invalid),
    };
    if old.shape != new.shape || before.clock != after.clock {
        return Change::without_ratio(new.name, Verdict::Incomparable);
    }
    let spread = NORMAL * before.mad_s.hypot(after.mad_s);
    let noise = (DEVIATIONS * spread).max(SHARE * before.median_s);
    let moved = after.median_s - before.median_s;
    Change {
        name: new.name.to_owned(),
        verdict: if moved.abs() <= noise {
            Verdict::NoChange
        } else if moved < 0.0 {
            Verdict::Faster
        } else {
            Verdict::Slower
        },
        ratio: Some(after.median_s / before.median_s),
        noise: Some(noise / before.median_s),
    }
}

impl Change {
    fn without_ratio(name: &str, verdict: Verdict) -> Self {
        Self {
            name: name.to_owned(),
            verdict,
            ratio: None,
            noise: None,
        }
    }
}
