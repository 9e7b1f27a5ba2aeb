//! Which variant of a kernel a device runs fastest, and how fast it is: measured once, remembered as long as the device is
//! open, and from one run to the next where a file is given for it.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::device::Gpu;
use crate::error::{Error, Result, Trouble};

/// What was measured, by the name of the choice, and where it is kept.
#[derive(Debug, Default)]
pub(super) struct Tuned {
    made: Mutex<HashMap<&'static str, usize>>,
    file: Option<PathBuf>,
    /// Nothing is measured, and nothing that was is heeded.
    off: bool,
}

/// The file: variants and figures by name, by device (name, back end, driver, its version, and version of neurosieve).
pub type Variants = BTreeMap<String, BTreeMap<String, usize>>;

/// What a file holds of what was measured; nothing where there is no such file.
///
/// # Errors
/// When the file cannot be read, or holds something else.
pub fn variants(file: &Path) -> Result<Variants> {
    let text = match std::fs::read(file) {
        Ok(text) => text,
        Err(gone) if gone.kind() == std::io::ErrorKind::NotFound => return Ok(Variants::new()),
        Err(source) => return Err(Error::io("read", file, source)),
    };
    serde_json::from_slice(&text).map_err(|problem| Error::File {
        path: file.to_owned(),
        place: format!("line {}, column {}", problem.line(), problem.column()),
        problem: problem.to_string(),
        fix: "Clear it with `neurosieve devices --clear-tuning`; what it held is measured again"
            .to_owned(),
    })
}

/// Removes the file; says whether there was one.
///
/// # Errors
/// When it cannot be removed.
pub fn forget(file: &Path) -> Result<bool> {
    match std::fs::remove_file(file) {
        Ok(()) => Ok(true),
        Err(gone) if gone.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(Error::io("remove", file, source)),
    }
}

/// Runs of a variant that are timed; the shortest counts.
const RUNS: usize = 3;

impl Gpu {
    /// The variant that takes the least time, of those in `candidates`: what was measured before, else measured now by
    /// `run` where that is `worth` it, else the first one.
    ///
    /// Only speed may depend on the choice, beyond the operation's tolerance. One that the device refuses is not chosen, but for
    /// the first.
    ///
    /// # Errors
    /// What `run` returns of the first one, and of any that the device is lost or out of memory in.
    pub fn tuned(
        &self,
        choice: &'static str,
        candidates: &[usize],
        worth: bool,
        run: &dyn Fn(usize) -> Result<()>,
    ) -> Result<usize> {
        if self.tuned.off {
            return Ok(candidates[0]);
        }
        let known = self.known(choice);
        if let Some(variant) = known.filter(|variant| candidates.contains(variant)) {
            return Ok(variant);
        }
        if !worth {
            return Ok(candidates[0]);
        }
        let mut best = (Duration::MAX, candidates[0]);
        for &variant in candidates {
            // Compiles it. Matrix units may be listed by a driver whose compiler fails, or computes something else.
            match run(variant) {
                Err(problem)
                    if variant == candidates[0] || problem.trouble() != Some(Trouble::Refused) =>
                {
                    return Err(problem);
                }
                Err(_) => continue,
                Ok(()) => {}
            }
            for _ in 0..RUNS {
                let begun = Instant::now();
                run(variant)?;
                best = best.min((begun.elapsed(), variant));
            }
        }
        self.remember(choice, best.1);
        self.keep(choice, best.1);
        Ok(best.1)
    }

    /// A figure of this device, at least 1: what was measured before, else what `measure` gives now. 1 where nothing is to be
    /// measured.
    ///
    /// # Errors
    /// What `measure` returns.
    pub fn figure(&self, name: &'static str, measure: &dyn Fn() -> Result<usize>) -> Result<usize> {
        if self.tuned.off {
            return Ok(1);
        }
        if let Some(figure) = self.known(name) {
            return Ok(figure.max(1));
        }
        let figure = measure()?.max(1);
        self.remember(name, figure);
        self.keep(name, figure);
        Ok(figure)
    }

    /// A handle to the same device with this variant chosen, for tests and measurements.
    pub fn with_choice(&self, choice: &'static str, variant: usize) -> Self {
        let mut other = self.clone();
        other.tuned = Arc::default();
        other.remember(choice, variant);
        other
    }

    /// A handle to the same device that keeps what is measured in a file, a JSON object, and takes it from there the next
    /// time: by adapter, backend, driver and version of neurosieve, so that another driver is measured anew. A file that
    /// cannot be read or written costs the time of a measurement and nothing else.
    pub fn remembering(&self, file: &Path) -> Self {
        let mut other = self.clone();
        other.tuned = Arc::new(Tuned {
            file: Some(file.to_owned()),
            ..Tuned::default()
        });
        other
    }

    /// A handle to the same device that always takes the first variant: nothing is measured, read or kept.
    pub fn untuned(&self) -> Self {
        let mut other = self.clone();
        other.tuned = Arc::new(Tuned {
            off: true,
            ..Tuned::default()
        });
        other
    }

    /// What was measured before, by this process or as the file says.
    fn known(&self, choice: &'static str) -> Option<usize> {
        let made = self.tuned.made.lock();
        let made = made.unwrap_or_else(PoisonError::into_inner);
        let known = made.get(choice).copied();
        drop(made);
        known.or_else(|| self.kept(choice))
    }

    fn remember(&self, choice: &'static str, variant: usize) {
        let made = self.tuned.made.lock();
        let mut made = made.unwrap_or_else(PoisonError::into_inner);
        made.insert(choice, variant);
    }

    /// What measurements of this device are kept under.
    fn identity(&self) -> String {
        let report = self.report();
        [
            &*report.name,
            &*report.backend,
            &*report.driver,
            &*report.driver_info,
            env!("CARGO_PKG_VERSION"),
        ]
        .join(" | ")
    }

    /// What the file says of this device.
    fn kept(&self, choice: &str) -> Option<usize> {
        let kept = read(self.tuned.file.as_deref()?)?;
        kept.get(&self.identity())?.get(choice).copied()
    }

    fn keep(&self, choice: &str, variant: usize) {
        let Some(file) = &self.tuned.file else {
            return;
        };
        let mut kept = read(file).unwrap_or_default();
        let of_device = kept.entry(self.identity()).or_default();
        of_device.insert(choice.to_owned(), variant);
        // Best effort: what is not kept is measured again.
        drop(write(file, &kept));
    }
}

fn read(file: &Path) -> Option<Variants> {
    variants(file).ok()
}

/// Under another name first: a reader, or a run that is stopped here, never sees half a file.
fn write(file: &Path, kept: &Variants) -> std::io::Result<()> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let part = file.with_extension(format!("{}.part", std::process::id()));
    std::fs::write(&part, serde_json::to_vec_pretty(kept)?)?;
    std::fs::rename(part, file)
}
