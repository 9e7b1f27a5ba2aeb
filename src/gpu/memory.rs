//! How much of a device's memory buffers take, and may take.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::device::Gpu;
use crate::error::{Result, Trouble};

/// Bindings that operations have at once, and some room beside them.
const BINDINGS: u64 = 5;

/// Bytes of the buffers that kernels use, of all handles that share it. Buffers on the way from and to the host are not of the
/// device's memory.
#[derive(Debug)]
pub(super) struct Memory {
    allowed: u64,
    taken: AtomicU64,
    most: AtomicU64,
}

impl Memory {
    /// Nothing taken yet.
    pub(super) fn of(allowed: u64) -> Arc<Self> {
        Arc::new(Self {
            allowed,
            taken: AtomicU64::new(0),
            most: AtomicU64::new(0),
        })
    }

    /// As much may be taken, of another device.
    pub(super) fn again(&self) -> Arc<Self> {
        Self::of(self.allowed)
    }
}

/// Bytes that a buffer takes until it is dropped.
#[derive(Debug)]
pub(super) struct Taken {
    bytes: u64,
    memory: Arc<Memory>,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.memory.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Gpu {
    /// A handle to the same device whose buffers take at most so many bytes: what would be more is out of memory, so that
    /// blocks become smaller, and what cannot do with less runs natively. Buffers of other handles are not counted.
    pub fn with_memory(&self, bytes: u64) -> Self {
        let mut other = self.with_binding_limit(bytes / BINDINGS);
        other.memory = Memory::of(bytes);
        other
    }

    /// The most bytes that buffers of this handle and its clones took at once.
    pub fn peak_bytes(&self) -> u64 {
        self.memory.most.load(Ordering::Relaxed)
    }

    /// Takes so many bytes for a buffer of that name.
    pub(super) fn take(&self, label: &str, bytes: u64) -> Result<Taken> {
        let memory = &self.memory;
        let before = memory.taken.fetch_add(bytes, Ordering::Relaxed);
        // Given back when it is dropped, whatever happens.
        let taken = Taken {
            bytes,
            memory: Arc::clone(memory),
        };
        if before + bytes > memory.allowed {
            let problem = format!(
                "out of GPU memory ({bytes} bytes beside {before} are more than the {} that are allowed)",
                memory.allowed
            );
            return Err(self.trouble(label, problem, Trouble::Memory));
        }
        memory.most.fetch_max(before + bytes, Ordering::Relaxed);
        Ok(taken)
    }
}
