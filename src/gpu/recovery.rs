//! What to do when a device is lost in the middle of something, or gives back what is wrong: the adapter is opened anew, and
//! whoever used the device goes on with the new one. What happened is told.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::device::{Gpu, enumerate};
use super::matrix::open_with_units;
use crate::error::{Error, Result, Trouble};

/// Who is told of trouble.
type Listener = Arc<dyn Fn(&str) + Send + Sync>;

/// What all handles to a device share.
#[derive(Debug, Default)]
pub(super) struct Recovery {
    /// The device that stands in for this one.
    instead: Mutex<Option<Gpu>>,
    /// Its stand-ins tell it here, too.
    told: Arc<Told>,
    /// What it gave back was wrong.
    distrusted: AtomicBool,
}

/// What happened.
#[derive(Default)]
struct Told {
    lines: Mutex<Vec<String>>,
    listener: Mutex<Option<Listener>>,
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Told({:?})", self.lines.lock())
    }
}

/// Trouble on purpose.
#[derive(Debug)]
pub(super) struct Failing {
    /// Submissions until then.
    left: AtomicIsize,
    trouble: Trouble,
}

/// What becomes of values on their way from a device, on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Corruption {
    /// Of the 32-bit word in the middle the highest bit of the exponent is another.
    FlippedBit,
    /// The first half is 0.
    Zeros,
    /// The middle half is no number, word by word.
    NotANumber,
}

/// Values that are corrupted on purpose.
#[derive(Debug)]
pub(super) struct Corrupting {
    /// Downloads until then.
    left: AtomicIsize,
    what: Corruption,
    /// Whether later downloads are corrupted, too, of the device opened anew as well.
    lasting: bool,
}

impl Gpu {
    /// The same adapter opened once more, with the same features, limits and choices of variants.
    ///
    /// # Errors
    /// [`Error::Device`] when it can no longer be opened.
    pub fn again(&self) -> Result<Self> {
        self.opened_with(self.device.features())
    }

    /// The same adapter opened once more, with those of these features that it has.
    pub(super) fn opened_with(&self, wanted: wgpu::Features) -> Result<Self> {
        let refused = |problem: String| Error::Device {
            asked: self.report().name.clone(),
            problem,
            fix: "Ask for another adapter, or for cpu (the native path)".to_owned(),
        };
        let found = enumerate();
        let same = found.iter().find(|(_, report)| report == self.report());
        let (adapter, report) = same.ok_or_else(|| refused("it is no longer there".to_owned()))?;
        let mut opened =
            open_with_units(adapter, report, wanted & adapter.features()).map_err(refused)?;
        opened.binding_limit = self.binding_limit;
        opened.tuned = self.tuned.clone();
        opened.shaders = self.shaders.clone();
        opened.checked = self.checked;
        opened.memory = self.memory.again();
        opened.ledger = self.ledger.clone();
        let lasts = |corrupting: &&Arc<Corrupting>| corrupting.lasting;
        opened.corrupting = self.corrupting.as_ref().filter(lasts).cloned();
        Ok(opened)
    }

    /// The device itself, or the one that was opened when it was lost.
    pub fn current(&self) -> Self {
        let instead = self.recovery.instead.lock();
        let instead = instead.unwrap_or_else(PoisonError::into_inner).clone();
        instead.map_or_else(
            || self.clone(),
            |gpu| gpu.with_binding_limit(self.binding_limit),
        )
    }

    /// The [current](Self::current) device, opened anew where it is lost, for all handles.
    ///
    /// # Errors
    /// As [`Gpu::again`].
    pub fn recovered(&self) -> Result<Self> {
        let current = self.current();
        if !current.is_lost() {
            return Ok(current);
        }
        let mut new = current.again()?;
        new.recovery = Arc::new(Recovery {
            told: Arc::clone(&self.recovery.told),
            ..Recovery::default()
        });
        let instead = self.recovery.instead.lock();
        *instead.unwrap_or_else(PoisonError::into_inner) = Some(new.clone());
        Ok(new)
    }

    /// Whether operations check what this handle's device gives back, as they do by default ([`crate::ops`] says what).
    pub fn checked(&self, checked: bool) -> Self {
        let mut other = self.clone();
        other.checked = checked;
        other
    }

    /// Whether operations check what comes back.
    pub fn is_checked(&self) -> bool {
        self.checked
    }

    /// Nothing that the device computes is trusted any more, since what it gave back is wrong: the error that says so.
    pub fn distrust(&self, operation: &str, problem: &str) -> Error {
        self.recovery.distrusted.store(true, Ordering::Relaxed);
        let problem = format!("what it gave back is wrong ({problem})");
        self.trouble(operation, problem, Trouble::Wrong)
    }

    pub(super) fn is_distrusted(&self) -> bool {
        self.recovery.distrusted.load(Ordering::Relaxed)
    }

    /// Tells of trouble that did not end the work. Who listens hears of the same trouble once.
    pub fn tell(&self, what: String) {
        let told = &self.recovery.told;
        let mut lines = told.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let listener = told.listener.lock();
        let listener = listener.unwrap_or_else(PoisonError::into_inner);
        if let Some(listener) = listener.as_ref().filter(|_| !lines.contains(&what)) {
            listener(&what);
        }
        lines.push(what);
    }

    /// What was told so far of this device and its stand-ins, by any handle.
    pub fn told(&self) -> Vec<String> {
        let lines = self.recovery.told.lines.lock();
        lines.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on `listener` hears of trouble when it happens.
    pub fn listening(&self, listener: impl Fn(&str) + Send + Sync + 'static) {
        let place = self.recovery.told.listener.lock();
        *place.unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(listener));
    }

    /// A handle to the same device that has this trouble at its submission of this number, counted from 0: a lost device is
    /// lost for all handles, memory is out for every submission of this one from then on. For tests of what becomes of it.
    pub fn failing(&self, submission: usize, trouble: Trouble) -> Self {
        let mut other = self.clone();
        other.failing = Some(Arc::new(Failing {
            left: AtomicIsize::new(submission.try_into().unwrap_or(isize::MAX)),
            trouble,
        }));
        other.recovery = Arc::default();
        other
    }

    /// A handle to the same device whose download of this number, counted from 0, comes back corrupted; where it is `lasting`
    /// so do all later ones, those of the device opened anew as well. For tests of whether it is noticed.
    pub fn corrupting(&self, download: usize, what: Corruption, lasting: bool) -> Self {
        let mut other = self.clone();
        other.corrupting = Some(Arc::new(Corrupting {
            left: AtomicIsize::new(download.try_into().unwrap_or(isize::MAX)),
            what,
            lasting,
        }));
        other.recovery = Arc::default();
        other
    }

    /// Corrupts what was downloaded, where it is time.
    pub(super) fn corrupt_on_purpose(&self, bytes: &mut [u8]) {
        let Some(corrupting) = &self.corrupting else {
            return;
        };
        let left = corrupting.left.fetch_sub(1, Ordering::Relaxed);
        if left > 0 || (left < 0 && !corrupting.lasting) {
            return;
        }
        let words = bytes.len() / 4;
        let mut set = |word: usize, change: &dyn Fn(u32) -> u32| {
            let at = 4 * word..4 * word + 4;
            let old = u32::from_le_bytes(bytes[at.clone()].try_into().expect("four bytes"));
            bytes[at].copy_from_slice(&change(old).to_le_bytes());
        };
        match corrupting.what {
            Corruption::FlippedBit => set(words / 2, &|word| word ^ (1 << 30)),
            Corruption::Zeros => (0..words / 2).for_each(|word| set(word, &|_| 0)),
            Corruption::NotANumber => {
                (words / 4..words - words / 4).for_each(|word| set(word, &|_| f32::NAN.to_bits()));
            }
        }
    }

    /// The trouble on purpose, where it is time.
    pub(super) fn trouble_on_purpose(&self, operation: &str) -> Result<()> {
        let Some(failing) = &self.failing else {
            return Ok(());
        };
        let left = failing.left.fetch_sub(1, Ordering::Relaxed);
        match failing.trouble {
            Trouble::Lost if left == 0 => self.destroy(),
            Trouble::Lost => {}
            _ if left > 0 => {}
            trouble => {
                let problem = "out of GPU memory (on purpose)".to_owned();
                return Err(self.trouble(operation, problem, trouble));
            }
        }
        Ok(())
    }
}
