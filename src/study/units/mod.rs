//! Units of a run: what was computed, kept in files, so that a run that was stopped, or killed, goes on where it was.
//!
//! A unit is a batch of fits or, natively, the correlations of all pairs. Its file is named by a hash (BLAKE3) of everything that
//! its bits depend on: the activations of train and their moments, labels, penalties, starts, parameters and seed, the processor
//! and its instructions, the device and its driver, and the version of neurosieve. What ran elsewhere than asked, since a device
//! failed, is no unit. So a unit is found again exactly where it would come out the same, and a run that finds some
//! of its units ends with the bits of one that found none: what is chosen from them is computed anew.
//!
//! Files are written under another name, synced and renamed, and hold a hash of their own: half a file, or one with a
//! flipped bit, is no unit. It is computed again, and counted as damaged. One run at a time has the folder.

mod file;
mod fits;
pub mod shards;

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ndarray::ArrayView2;

use super::results::DeviceUsed;
use crate::analysis::search::{Batch, Keeper};
use crate::error::{Error, Result};
use crate::ops::Backend;
use crate::ops::correlation::{Computed, Correlation, Precision};
use crate::ops::moments::Moments;
use crate::ops::probe::{Fit, Neurons, Params, Problem, Response};

/// The file that is there as long as a run has not come to its end.
const UNFINISHED: &str = "unfinished";

/// How long a lock is waited for, and how long until it is tried again.
const PATIENCE: Duration = Duration::from_secs(1);
const AGAIN: Duration = Duration::from_millis(20);

/// The folder of a run's units, which this process alone has.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Folders of other runs: their units are read, and left as they are.
    others: Vec<PathBuf>,
    /// Locked until it is dropped.
    _lock: File,
    /// Told to stop: no unit is begun any more.
    stopped: &'static AtomicBool,
    /// The files that this run found or made.
    touched: Mutex<HashSet<String>>,
    /// How many units were found in each of the other folders.
    elsewhere: Mutex<Vec<usize>>,
    found: AtomicUsize,
    /// Files whose hash is not that of what they hold.
    damaged: Mutex<BTreeSet<String>>,
    /// Fits that were asked for.
    fits: AtomicUsize,
    /// Files that were begun.
    parts: AtomicUsize,
}

/// Locks a file, and tries again for a second while it is locked: whoever looks whether a run is at work (`merge`, and shards
/// beside it) holds the lock for that instant.
fn patiently(file: &File) -> std::result::Result<(), TryLockError> {
    let began = Instant::now();
    loop {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if began.elapsed() < PATIENCE => thread::sleep(AGAIN),
            tried => return tried,
        }
    }
}

impl Folder {
    /// Opens the folder, or makes it. Without `resume` what is in it is removed, but not units of a run that did not come to
    /// its end. `stopped` is heeded before every unit.
    ///
    /// # Errors
    /// When another run has it, it holds units of a run that did not finish, or it cannot be written.
    pub fn open(path: &Path, resume: bool, stopped: &'static AtomicBool) -> Result<Self> {
        fs::create_dir_all(path).map_err(|source| Error::io("create", path, source))?;
        let lock = path.join("lock");
        let file = File::create(&lock).map_err(|source| Error::io("create", &lock, source))?;
        match patiently(&file) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::invalid(
                    format!("folder {}", path.display()),
                    "another run is using it",
                    "Wait for that run, or give another output folder",
                ));
            }
            // Some network file systems have no locks.
            Err(TryLockError::Error(e)) if e.kind() == ErrorKind::Unsupported => {}
            Err(TryLockError::Error(source)) => return Err(Error::io("lock", &lock, source)),
        }
        let folder = Self {
            path: path.to_owned(),
            others: Vec::new(),
            _lock: file,
            stopped,
            touched: Mutex::default(),
            elsewhere: Mutex::default(),
            found: AtomicUsize::new(0),
            damaged: Mutex::default(),
            fits: AtomicUsize::new(0),
            parts: AtomicUsize::new(0),
        };
        let there = folder.files()?;
        let units = there.iter().filter(|name| name.ends_with(".unit")).count();
        let unfinished = folder.path.join(UNFINISHED);
        if !resume && unfinished.exists() && units > 0 {
            return Err(Error::invalid(
                format!("folder {}", path.display()),
                format!("it holds {units} units of a run that did not finish"),
                "Go on with that run by --resume, or remove the folder to begin anew",
            ));
        }
        for name in there {
            // What a killed run was writing is of no use to anyone.
            if !resume || name.ends_with(".part") {
                folder.remove(&name)?;
            }
        }
        File::create(&unfinished).map_err(|source| Error::io("create", &unfinished, source))?;
        Ok(folder)
    }

    /// Units are looked for in these folders as well, which other runs may be writing to: a unit is there whole or not at all.
    #[must_use]
    pub fn reading(mut self, others: Vec<PathBuf>) -> Self {
        self.elsewhere = Mutex::new(vec![0; others.len()]);
        self.others = others;
        self
    }

    /// How many different units this run found in each of the folders that it was [reading](Self::reading).
    pub fn found_elsewhere(&self) -> Vec<usize> {
        let found = self.elsewhere.lock();
        found.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many fits this run asked for, those of units included.
    pub fn fits(&self) -> usize {
        self.fits.load(Ordering::Relaxed)
    }

    /// How many units are in a folder, whosever they are; 0 where there is no such folder.
    pub fn units_in(path: &Path) -> usize {
        let unit = |entry: &fs::DirEntry| {
            let name = entry.file_name();
            name.to_str().is_some_and(|name| name.ends_with(".unit"))
        };
        let entries = fs::read_dir(path).into_iter().flatten();
        entries
            .filter(|entry| entry.as_ref().is_ok_and(unit))
            .count()
    }

    /// How many units this run found, of how many that it had.
    pub fn found(&self) -> (usize, usize) {
        let touched = self.touched.lock().unwrap_or_else(PoisonError::into_inner);
        (self.found.load(Ordering::Relaxed), touched.len())
    }

    /// Names of the files that this run asked for and that were not whole, ascending: their units were computed again.
    pub fn damaged(&self) -> Vec<String> {
        let damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        damaged.iter().cloned().collect()
    }

    /// The run has ended well: units that it did not have are of another specification or other data, and are removed.
    ///
    /// # Errors
    /// When one cannot be removed.
    pub fn finish(&self) -> Result<()> {
        let touched = self.touched.lock().unwrap_or_else(PoisonError::into_inner);
        for name in self.files()? {
            if !touched.contains(&name) {
                self.remove(&name)?;
            }
        }
        match self.path.join(UNFINISHED).exists() {
            true => self.remove(UNFINISHED),
            false => Ok(()),
        }
    }

    /// Names of the files of ours but the lock.
    fn files(&self) -> Result<Vec<String>> {
        let failed = |source| Error::io("read", &self.path, source);
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let ours = |name: &&str| name.ends_with(".unit") || name.ends_with(".part");
            names.extend(name.to_str().filter(ours).map(str::to_owned));
        }
        Ok(names)
    }

    fn remove(&self, name: &str) -> Result<()> {
        let file = self.path.join(name);
        fs::remove_file(&file).map_err(|source| Error::io("remove", &file, source))
    }

    /// The contents of a unit, where it is there and whole, here or in another folder; and in which of these.
    fn read(&self, name: &str) -> Result<Option<(Place, Vec<u8>)>> {
        if self.stopped.load(Ordering::Relaxed) {
            return Err(Error::Interrupted {
                kept: self.path.clone(),
            });
        }
        let others = (0..).zip(&self.others).map(|(at, path)| (Some(at), path));
        let mut is_damaged = false;
        for (place, folder) in std::iter::once((None, &self.path)).chain(others) {
            match file::kept(&folder.join(name)) {
                file::Kept::Whole(contents) => return Ok(Some((place, contents))),
                file::Kept::Damaged => is_damaged = true,
                file::Kept::Not => (),
            }
        }
        if is_damaged {
            let damaged = self.damaged.lock();
            let mut damaged = damaged.unwrap_or_else(PoisonError::into_inner);
            damaged.insert(name.to_owned());
        }
        Ok(None)
    }

    /// Writes a unit; its contents come in parts, since they may be large.
    fn write(&self, name: &str, parts: &[&[u8]]) -> Result<()> {
        let path = self.path.join(name);
        // The same unit may be written by two threads at once.
        let number = self.parts.fetch_add(1, Ordering::Relaxed);
        let part = path.with_extension(format!("{number}.part"));
        let written = File::create(&part)
            .and_then(|mut out| file::write(&mut out, parts))
            .and_then(|()| fs::rename(&part, &path));
        written.map_err(|source| {
            // That it could not be removed either would hide the first error.
            drop(fs::remove_file(&part));
            Error::io("write", &path, source)
        })?;
        self.touch(name);
        Ok(())
    }

    /// A unit was found at this place and could be used.
    fn use_found(&self, name: &str, place: Place) {
        // What this run asks for again, or made itself, it did not find.
        if !self.touch(name) {
            return;
        }
        self.found.fetch_add(1, Ordering::Relaxed);
        if let Some(at) = place {
            let elsewhere = self.elsewhere.lock();
            elsewhere.unwrap_or_else(PoisonError::into_inner)[at] += 1;
        }
    }

    /// Whether it is the first time.
    fn touch(&self, name: &str) -> bool {
        let mut touched = self.touched.lock().unwrap_or_else(PoisonError::into_inner);
        touched.insert(name.to_owned())
    }
}

/// Where a unit was found: here, or in one of the other folders.
type Place = Option<usize>;

/// The fits in the file of a unit, of data of so many neurons; `None` where the file is not whole, or is something else.
pub fn fits_of(file: &[u8], neurons: usize) -> Option<Vec<Fit>> {
    fits::decode(file::contents(file)?, neurons)
}

/// The units of one run: of these data on this device.
#[derive(Debug)]
pub(super) struct Units<'a> {
    folder: &'a Folder,
    /// Hash of what all units of the run depend on.
    common: blake3::Hash,
    /// Of the data.
    neurons: usize,
    /// Whether each fit is a unit of its own.
    apart: bool,
}

impl<'a> Units<'a> {
    pub(super) fn new(
        folder: &'a Folder,
        train: ArrayView2<'_, f32>,
        moments: &Moments,
        (backend, device): (&Backend, &DeviceUsed),
    ) -> Self {
        let mut hasher = blake3::Hasher::new();
        text(&mut hasher, env!("CARGO_PKG_VERSION"));
        for part in [std::env::consts::ARCH, std::env::consts::OS, instructions()] {
            text(&mut hasher, part);
        }
        // Natively neither the number of threads nor what is said of it changes a bit.
        if backend.gpu().is_some() {
            text(&mut hasher, &device.name);
        }
        text(&mut hasher, &device.driver);
        if let Backend::Fleet(fleet) = backend {
            text(&mut hasher, &format!("{:?}", fleet.deal(1 << 20)));
        }
        values(&mut hasher, &moments.mean);
        values(&mut hasher, &moments.sd);
        values(&mut hasher, &[train.nrows() as u64, train.ncols() as u64]);
        let standard = train.as_standard_layout();
        let contiguous = standard.as_slice().expect("it has the standard layout");
        hasher.update(bytemuck::cast_slice(contiguous));
        Self {
            folder,
            common: hasher.finalize(),
            neurons: train.ncols(),
            apart: false,
        }
    }

    /// Each fit is kept by itself from now on: another run may ask for it in another batch.
    pub(super) fn apart(mut self) -> Self {
        self.apart = true;
        self
    }

    /// The correlations of all pairs of so many neurons, and what computed them: those of the unit, or computed now and kept.
    ///
    /// # Errors
    /// What `compute` returns; when the unit cannot be written.
    pub(super) fn correlations(
        &self,
        (neurons, precision): (usize, Precision),
        compute: impl FnOnce() -> Result<(Correlation, Computed)>,
    ) -> Result<(Correlation, Computed)> {
        let name = self.name("correlations", |hasher| text(hasher, precision.name()));
        let pairs = neurons * neurons.saturating_sub(1) / 2;
        let found = self.folder.read(&name)?;
        // The values first: they are as many as there are pairs.
        let parts = found
            .as_ref()
            .and_then(|(_, found)| found.split_at_checked(4 * pairs));
        let known = parts.and_then(|(values, computed)| {
            let packed = bytemuck::pod_collect_to_vec(values);
            let computed = serde_json::from_slice(computed).ok()?;
            Some((Correlation { neurons, packed }, computed))
        });
        if let (Some(known), Some((place, _))) = (known, &found) {
            self.folder.use_found(&name, *place);
            return Ok(known);
        }
        let (correlation, computed) = compute()?;
        let text = serde_json::to_vec(&computed).expect("plain data is JSON");
        let values = bytemuck::cast_slice(&correlation.packed);
        self.folder.write(&name, &[values, &text])?;
        Ok((correlation, computed))
    }

    fn name(&self, kind: &str, depends: impl FnOnce(&mut blake3::Hasher)) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.common.as_bytes());
        text(&mut hasher, kind);
        depends(&mut hasher);
        format!("{}.unit", hasher.finalize().to_hex())
    }

    /// The name of the unit of these problems together.
    fn name_of(&self, problems: &[blake3::Hash]) -> String {
        self.name("fits", |hasher| {
            for problem in problems {
                hasher.update(problem.as_bytes());
            }
        })
    }

    /// The fits of a unit, where it is there.
    fn fits(&self, problems: &[blake3::Hash]) -> Result<Option<Vec<Fit>>> {
        let name = self.name_of(problems);
        let Some((place, bytes)) = self.folder.read(&name)? else {
            return Ok(None);
        };
        let fits = fits::decode(&bytes, self.neurons).filter(|fits| fits.len() == problems.len());
        if fits.is_some() {
            self.folder.use_found(&name, place);
        }
        Ok(fits)
    }
}

/// Hashes of all that the bits of each problem's fit depend on beside the run's data and device. Its neurons are named by their
/// ids: neither the other neurons of its design nor the other problems of its batch change a bit of it.
fn problems_of(batch: &Batch<'_>) -> Vec<blake3::Hash> {
    // How much memory there is decides how many are in flight, and no bit.
    let params = Params {
        memory: 0,
        ..batch.params.clone()
    };
    let params = format!("{params:?}");
    let one = |problem: &Problem<'_>| {
        let mut hasher = blake3::Hasher::new();
        text(&mut hasher, &params);
        // A place that is none is refused when the problem is stated.
        let id = |place: usize| batch.columns.get(place).map_or(u64::MAX, |&c| c as u64);
        let neurons: Vec<u64> = match problem.neurons {
            Neurons::All => (0..batch.columns.len()).map(id).collect(),
            Neurons::Range { from, to } => (from..to).map(id).collect(),
            Neurons::These(places) => places.iter().copied().map(id).collect(),
        };
        values(&mut hasher, &neurons);
        match problem.response {
            Response::Classes(labels) => {
                values(&mut hasher, labels.ids());
                values(&mut hasher, &[labels.classes().len() as u64]);
            }
            Response::Values(numbers) => values(&mut hasher, numbers),
        }
        values(&mut hasher, problem.weights.unwrap_or_default());
        let start = problem.start.map(std::slice::from_ref).unwrap_or_default();
        values(&mut hasher, &fits::encode(start));
        let (norm, goal) = (problem.norm, problem.goal);
        let l1_l2 = (problem.l1, problem.l2);
        let weighed = problem.weights.is_some();
        text(
            &mut hasher,
            &format!("{l1_l2:?} {norm:?} {goal:?} {weighed}"),
        );
        hasher.finalize()
    };
    batch.problems.iter().map(one).collect()
}

impl Keeper for Units<'_> {
    fn recall(&self, batch: &Batch<'_>) -> Result<Vec<Option<Fit>>> {
        let problems = problems_of(batch);
        self.folder
            .fits
            .fetch_add(problems.len(), Ordering::Relaxed);
        if let Some(fits) = self.fits(&problems)? {
            return Ok(fits.into_iter().map(Some).collect());
        }
        if problems.len() == 1 {
            return Ok(vec![None]);
        }
        // Runs that share the work keep parts of a batch.
        let alone = |problem: &blake3::Hash| {
            let fits = self.fits(std::slice::from_ref(problem))?;
            Ok(fits.and_then(|mut fits| fits.pop()))
        };
        problems.iter().map(alone).collect()
    }

    fn keep(&self, batch: &Batch<'_>, fits: &[Fit]) -> Result<()> {
        let problems = problems_of(batch);
        let together = if self.apart { 1 } else { problems.len().max(1) };
        for (problems, fits) in problems.chunks(together).zip(fits.chunks(together)) {
            let name = self.name_of(problems);
            self.folder.write(&name, &[&fits::encode(fits)])?;
        }
        Ok(())
    }
}

/// Which of the instructions the processor has that the native path is compiled for: others round otherwise.
fn instructions() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") {
        return "avx512";
    } else if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        return "avx2";
    }
    "basic"
}

/// Hashes a text with its length, so that two after one another are not taken for another two.
pub(super) fn text(hasher: &mut blake3::Hasher, text: &str) {
    values(hasher, text.as_bytes());
}

/// Hashes values with their number.
pub(super) fn values<T: bytemuck::Pod>(hasher: &mut blake3::Hasher, values: &[T]) {
    hasher.update(&(values.len() as u64).to_le_bytes());
    hasher.update(bytemuck::cast_slice(values));
}
