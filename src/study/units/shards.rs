//! Folders of shards: what each holds, whether they are those of one study, and which are missing.
//!
//! A shard's folder has its units, in `units`, and from the moment it is done a record of what it is a share of, `shard.json`.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Folder, UNFINISHED, instructions};
use crate::error::{Error, Result};
use crate::split::Dataset;
use crate::study::fingerprint;
use crate::study::results::DeviceUsed;
use crate::study::shard::Shard;
use crate::study::spec::Spec;

/// The record of a shard that is done.
pub const RECORD: &str = "shard.json";

/// Units of a run, in its folder.
pub const UNITS: &str = "units";

/// What a shard is a share of, and what it left.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// Layout of this document.
    pub schema_version: u32,
    /// What wrote it.
    pub neurosieve_version: String,
    /// Number of the shard, from 1 on.
    pub shard: usize,
    /// Of so many.
    pub of: usize,
    /// The specification.
    pub spec: Spec,
    /// Its tasks.
    pub tasks: Vec<String>,
    /// Hash of the activations of train.
    pub train: String,
    /// Of those of dev.
    pub dev: String,
    /// Of the labels and sentences of both.
    pub labels: String,
    /// Where it was computed.
    pub device: DeviceUsed,
    /// The processor's kind, which decides how the native path rounds.
    pub processor: String,
    /// Units that its work consists of.
    pub units: usize,
    /// Those of them that were there already, in its folder or another shard's.
    pub found: usize,
    /// How long it took.
    pub seconds: f64,
}

impl Record {
    /// Of a shard whose units are in the folder.
    pub(in crate::study) fn new(
        spec: &Spec,
        data: &Dataset,
        shard: Shard,
        device: DeviceUsed,
        seconds: f64,
        folder: &Folder,
    ) -> Self {
        let (found, units) = folder.found();
        let [train, dev, labels] = fingerprints(data);
        Self {
            schema_version: 1,
            neurosieve_version: env!("CARGO_PKG_VERSION").to_owned(),
            shard: shard.number(),
            of: shard.of(),
            spec: spec.clone(),
            tasks: data.tasks().to_vec(),
            train,
            dev,
            labels,
            device,
            processor: processor(),
            units,
            found,
            seconds,
        }
    }
}

fn processor() -> String {
    let (arch, os) = (std::env::consts::ARCH, std::env::consts::OS);
    format!("{arch} ({}) under {os}", instructions())
}

/// Hashes of the activations of train, of those of dev, and of what is said of their samples.
fn fingerprints(data: &Dataset) -> [String; 3] {
    let mut hasher = blake3::Hasher::new();
    fingerprint::layers(&mut hasher, data.train());
    for part in [data.train(), data.dev()] {
        fingerprint::said(&mut hasher, part, data.tasks());
    }
    let labels = hasher.finalize().to_hex().to_string();
    let [train, dev] = [data.train(), data.dev()].map(fingerprint::activations);
    [train, dev, labels]
}

/// A shard's folder that is not done.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Unfinished {
    shard: Shard,
    folder: PathBuf,
    running: bool,
}

/// The shards that were found, of one study.
#[derive(Debug)]
pub struct Shards {
    done: Vec<(PathBuf, Record)>,
    unfinished: Vec<Unfinished>,
}

impl Shards {
    /// Looks for shards in these folders: each is the folder of one, or holds those of several.
    ///
    /// # Errors
    /// When a folder holds none, or a record cannot be read.
    pub fn find(folders: &[PathBuf]) -> Result<Self> {
        let mut found = Self {
            done: Vec::new(),
            unfinished: Vec::new(),
        };
        let mut seen = BTreeSet::new();
        for folder in folders {
            let one = named(folder).map(|shard| vec![(shard, folder.clone())]);
            let shards = match one {
                Some(one) => one,
                None => below(folder)?,
            };
            if shards.is_empty() {
                return Err(Error::invalid(
                    format!("folder {}", folder.display()),
                    "it holds no shard of a study",
                    "Name the folders that `neurosieve study SPEC -o DIR --shard i/n` wrote to",
                ));
            }
            for (shard, folder) in shards {
                let real = folder.canonicalize();
                if seen.insert(real.unwrap_or_else(|_| folder.clone())) {
                    found.add(shard, folder)?;
                }
            }
        }
        Ok(found)
    }

    fn add(&mut self, shard: Shard, folder: PathBuf) -> Result<()> {
        let file = folder.join(RECORD);
        let units = folder.join(UNITS);
        if units.join(UNFINISHED).exists() || !file.is_file() {
            let running = is_running(&units.join("lock"));
            self.unfinished.push(Unfinished {
                shard,
                folder,
                running,
            });
            return Ok(());
        }
        let text = fs::read_to_string(&file).map_err(|e| Error::io("read", &file, e))?;
        let record: Record = serde_json::from_str(&text).map_err(|error| {
            let place = format!("line {}, column {}", error.line(), error.column());
            let fix = format!("Run shard {shard} again");
            Error::file(&file, place, format!("no record of a shard: {error}"), fix)
        })?;
        if Shard::new(record.shard, record.of) != Some(shard) {
            return Err(Error::file(
                &file,
                "shard",
                format!(
                    "it is of shard {}/{}, and its folder of {shard}",
                    record.shard, record.of
                ),
                "Give the folder its name back",
            ));
        }
        self.done.push((folder, record));
        Ok(())
    }

    /// The folders of the units, those of shards that are not done last.
    pub fn folders(&self) -> Vec<PathBuf> {
        let done = self.done.iter().map(|(folder, _)| folder);
        let unfinished = self.unfinished.iter().map(|shard| &shard.folder);
        done.chain(unfinished)
            .map(|folder| folder.join(UNITS))
            .collect()
    }

    /// What is known of each folder, in the order of [`Shards::folders`]: the shard, its folder and how many units its work
    /// consists of, where it is done.
    pub fn each(&self) -> Vec<(Shard, &Path, Option<usize>)> {
        let done = self.done.iter().filter_map(|(folder, record)| {
            let shard = Shard::new(record.shard, record.of)?;
            Some((shard, &**folder, Some(record.units)))
        });
        let unfinished = self.unfinished.iter();
        done.chain(unfinished.map(|u| (u.shard, &*u.folder, None)))
            .collect()
    }

    /// Whether they are shards of this study: of this version, of one division, of this specification but for its title and the
    /// names of its files.
    ///
    /// # Errors
    /// When one is not.
    pub fn of(&self, spec: &Spec) -> Result<()> {
        let mut of: Vec<usize> = self.each().iter().map(|(shard, ..)| shard.of()).collect();
        of.sort_unstable();
        of.dedup();
        if let [one, .., other] = *of {
            return Err(Error::invalid(
                "shards",
                format!("some are of {one} and some of {other}"),
                "Name the folders of one division alone, each as DIR/shard-i-of-n",
            ));
        }
        for (folder, record) in &self.done {
            let here = env!("CARGO_PKG_VERSION");
            if record.neurosieve_version != here {
                return Err(foreign(
                    folder,
                    format!(
                        "it is of neurosieve {}, this is {here}",
                        record.neurosieve_version
                    ),
                    "Merge with the version that computed it, or run the shard again",
                ));
            }
            let (there, here) = (stripped(&record.spec), stripped(spec));
            if let Some(differs) = difference("", &there, &here) {
                return Err(foreign(
                    folder,
                    format!("it is of another specification: {differs}"),
                    "Merge with the specification that the shards were given, or run them again",
                ));
            }
        }
        Ok(())
    }

    /// Whether all of them are here and done; `spec` is how the specification is called.
    ///
    /// # Errors
    /// When one is not, with what to run.
    pub fn complete(&self, spec: &Path) -> Result<()> {
        let here: BTreeSet<Shard> = self.each().iter().map(|(shard, ..)| *shard).collect();
        let missing: Vec<Shard> = (here.iter().next().into_iter())
            .flat_map(|shard| shard.all())
            .filter(|shard| !here.contains(shard))
            .collect();
        let done = |shard: Shard| self.done.iter().any(|(_, r)| r.shard == shard.number());
        let open: Vec<&Unfinished> = self.unfinished.iter().filter(|u| !done(u.shard)).collect();
        let mut problems = Vec::new();
        if !missing.is_empty() {
            let names: Vec<String> = missing.iter().map(ToString::to_string).collect();
            let are = if missing.len() == 1 { "is" } else { "are" };
            problems.push(format!("{} {are} missing", names.join(", ")));
        }
        for shard in &open {
            let what = if shard.running {
                "is still running"
            } else {
                "did not come to its end"
            };
            problems.push(format!(
                "{} {what} ({})",
                shard.shard,
                shard.folder.display()
            ));
        }
        let Some(first) = missing.first().copied().or(open.first().map(|u| u.shard)) else {
            return Ok(());
        };
        Err(Error::invalid(
            "shards",
            problems.join("; "),
            format!(
                "Run `neurosieve study {} -o DIR --shard {first} --resume`{}, or let merge compute what is not there by \
                 --compute-missing",
                spec.display(),
                if missing.len() + open.len() > 1 {
                    " and so on"
                } else {
                    ""
                },
            ),
        ))
    }

    /// Whether they are of these data, computed on such a device.
    ///
    /// # Errors
    /// When one is not.
    pub(in crate::study) fn fit(&self, data: &Dataset, device: &DeviceUsed) -> Result<()> {
        let [train, dev, labels] = fingerprints(data);
        for (folder, record) in &self.done {
            let parts = [
                ("activations of train", &record.train, &train),
                ("activations of dev", &record.dev, &dev),
                ("tasks, labels or words", &record.labels, &labels),
            ];
            if let Some((what, ..)) = parts.into_iter().find(|(_, there, here)| there != here) {
                return Err(foreign(
                    folder,
                    format!("it was computed from other {what}"),
                    "Merge with the data that the shards were given, or run them again",
                ));
            }
            let native = |device: &DeviceUsed| device.kind == "cpu";
            let there = &record.device;
            // Natively the number of threads changes no bit.
            let same = match (native(there), native(device)) {
                (true, true) => record.processor == processor(),
                (false, false) => there.name == device.name && there.driver == device.driver,
                _ => false,
            };
            if !same {
                let here = if native(device) {
                    processor()
                } else {
                    name(device)
                };
                let there = if native(there) {
                    record.processor.clone()
                } else {
                    name(there)
                };
                return Err(foreign(
                    folder,
                    format!("it was computed on {there}, this is {here}: its bits are others"),
                    "Merge where such a device is, and choose it by --device",
                ));
            }
        }
        Ok(())
    }
}

fn name(device: &DeviceUsed) -> String {
    format!("{} ({})", device.name, device.driver)
}

fn foreign(folder: &Path, problem: String, fix: &str) -> Error {
    Error::invalid(format!("shard {}", folder.display()), problem, fix)
}

/// The shard that a folder is named for, where its units are in it.
fn named(folder: &Path) -> Option<Shard> {
    let name = match folder.file_name() {
        Some(name) => name.to_owned(),
        None => folder.canonicalize().ok()?.file_name()?.to_owned(), // `.`
    };
    let (number, of) = name.to_str()?.strip_prefix("shard-")?.split_once("-of-")?;
    let shard = Shard::new(number.parse().ok()?, of.parse().ok()?)?;
    folder.join(UNITS).is_dir().then_some(shard)
}

/// The shards in a folder, in order.
fn below(folder: &Path) -> Result<Vec<(Shard, PathBuf)>> {
    let failed = |source| Error::io("read", folder, source);
    let mut shards = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        shards.extend(named(&path).map(|shard| (shard, path)));
    }
    shards.sort();
    Ok(shards)
}

/// Whether somebody holds the lock.
fn is_running(lock: &Path) -> bool {
    let held = |file: File| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock));
    lock.is_file() && File::open(lock).is_ok_and(held)
}

/// What of a specification decides the results but the data, which are compared themselves.
fn stripped(spec: &Spec) -> Value {
    let mut value = serde_json::to_value(spec).expect("plain data is JSON");
    if let Some(keys) = value.as_object_mut() {
        keys.remove("name");
        keys.remove("data");
    }
    value
}

/// The first value that differs.
fn difference(key: &str, there: &Value, here: &Value) -> Option<String> {
    if let (Some(first), Some(second)) = (there.as_object(), here.as_object()) {
        let nothing = &Value::Null;
        return first.iter().find_map(|(name, value)| {
            let dot = if key.is_empty() { "" } else { "." };
            difference(
                &format!("{key}{dot}{name}"),
                value,
                second.get(name).unwrap_or(nothing),
            )
        });
    }
    (there != here).then(|| format!("{key} is {there} there and {here} here"))
}
