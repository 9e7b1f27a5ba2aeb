//! How long kernels and uploads take: by timestamps of the device where it has them, else by the host's clock around each
//! submission.
//!
//! Only a handle that [`Gpu::metered`] made pays for it; a submission of any other one is as it always was.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::buffer::Buffer;
use super::device::Gpu;
use crate::error::Result;

/// What a compute pass is to write where it begins and ends.
pub(super) type Timestamps<'a> = Option<wgpu::ComputePassTimestampWrites<'a>>;

const MEASURE: &str = "measure kernels";

/// Passes whose timestamps wait on the device at once.
const PASSES: usize = 1024;

/// Whose clock times a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TimeSource {
    /// Timestamps of the device, at the beginning and the end of a pass.
    Gpu,
    /// The host's, from before a submission until the device is idle again.
    Wall,
}

/// The submissions that begin with the same kernel.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct KernelTime {
    /// Seconds altogether.
    pub seconds: f64,
    /// How many submissions.
    pub submissions: usize,
}

/// What a meter has seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Metered {
    /// Whose clock timed the kernels.
    pub source: TimeSource,
    /// By `<shader>/<entry point>` of a submission's first kernel.
    pub kernels: BTreeMap<String, KernelTime>,
    /// Seconds that values took to the device, by the host's clock, waited for one by one.
    pub upload_seconds: f64,
    /// Seconds in which the device was woken, which are in none of the others.
    pub waking_seconds: f64,
}

impl Metered {
    /// Seconds of the kernels whose names `wanted` takes.
    pub fn seconds(&self, wanted: impl Fn(&str) -> bool) -> f64 {
        let of_wanted = self.kernels.iter().filter(|(name, _)| wanted(name));
        of_wanted.map(|(_, time)| time.seconds).sum()
    }
}

/// Work that keeps a device busy for a while, and waits for it.
#[derive(Clone)]
pub struct Wake(Arc<dyn Fn() -> Result<()> + Send + Sync>);

impl Wake {
    /// Does what `work` does.
    pub fn new(work: impl Fn() -> Result<()> + Send + Sync + 'static) -> Self {
        Self(Arc::new(work))
    }
}

impl std::fmt::Debug for Wake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Wake")
    }
}

/// A device that computed nothing for longer than this is woken: its clock may have fallen.
const DOZES: Duration = Duration::from_millis(1);

/// Whether a device computes, as far as the host knows. What it copies meanwhile keeps no clock up.
#[derive(Debug, Default)]
enum Busy {
    /// It never did.
    #[default]
    Never,
    /// Something was submitted that was not waited for.
    Still,
    /// Until then.
    Until(Instant),
}

/// Counts what submissions and uploads of a handle take.
#[derive(Debug)]
pub(super) struct Meter {
    queries: Option<Queries>,
    wake: Option<Wake>,
    /// Whether it computes.
    busy: Mutex<Busy>,
    seen: Mutex<Seen>,
}

/// Two timestamps a pass.
#[derive(Debug)]
struct Queries {
    set: wgpu::QuerySet,
    resolved: Buffer<u64>,
    /// Seconds a tick.
    tick: f64,
}

#[derive(Debug, Default)]
struct Seen {
    /// Names of the passes whose timestamps are still on the device, in their order.
    pending: Vec<String>,
    kernels: BTreeMap<String, KernelTime>,
    uploads: Duration,
    waking: Duration,
}

impl Seen {
    fn add(&mut self, name: String, seconds: f64) {
        let time = self.kernels.entry(name).or_default();
        time.seconds += seconds;
        time.submissions += 1;
    }
}

impl Meter {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn busy(&self) -> MutexGuard<'_, Busy> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dozes(&self) -> bool {
        match *self.busy() {
            Busy::Never => true,
            Busy::Still => false,
            Busy::Until(then) => then.elapsed() > DOZES,
        }
    }

    /// How long the device was woken so far.
    pub(super) fn waking(&self) -> Duration {
        self.seen().waking
    }

    /// Everything that was submitted is done.
    pub(super) fn is_done(&self) {
        let mut busy = self.busy();
        if matches!(*busy, Busy::Still) {
            *busy = Busy::Until(Instant::now());
        }
    }

    /// Submits a pass by `pass` and times it.
    pub(super) fn time(
        &self,
        gpu: &Gpu,
        operation: &str,
        name: String,
        pass: &dyn Fn(Timestamps<'_>) -> Result<()>,
    ) -> Result<()> {
        if let Some(Wake(wake)) = self.wake.as_ref().filter(|_| self.dozes()) {
            let begun = Instant::now();
            // Nothing is locked: it may wait for other work of this thread's.
            wake()?;
            let took = begun.elapsed();
            self.seen().waking += took;
        }
        let mut seen = self.seen();
        *self.busy() = Busy::Still;
        let Some(queries) = &self.queries else {
            gpu.wait(operation)?;
            let begun = Instant::now();
            pass(None)?;
            gpu.wait(operation)?;
            seen.add(name, begun.elapsed().as_secs_f64());
            return Ok(());
        };
        if seen.pending.len() == PASSES {
            queries.fetch(gpu, &mut seen)?;
        }
        let first = 2 * seen.pending.len() as u32;
        pass(Some(wgpu::ComputePassTimestampWrites {
            query_set: &queries.set,
            beginning_of_pass_write_index: Some(first),
            end_of_pass_write_index: Some(first + 1),
        }))?;
        seen.pending.push(name);
        Ok(())
    }
}

impl Queries {
    fn new(gpu: &Gpu) -> Result<Self> {
        let count = 2 * PASSES;
        let usage = wgpu::BufferUsages::QUERY_RESOLVE;
        Ok(Self {
            set: gpu.scoped(MEASURE, || {
                gpu.device.create_query_set(&wgpu::QuerySetDescriptor {
                    label: Some("timestamps"),
                    ty: wgpu::QueryType::Timestamp,
                    count: count as u32,
                })
            })?,
            resolved: gpu.created("timestamps", count, usage, false)?,
            tick: f64::from(gpu.queue.get_timestamp_period()) * 1e-9,
        })
    }

    /// Takes the timestamps of the pending passes from the device.
    fn fetch(&self, gpu: &Gpu, seen: &mut Seen) -> Result<()> {
        if seen.pending.is_empty() {
            return Ok(());
        }
        let count = 2 * seen.pending.len();
        gpu.scoped(MEASURE, || {
            let mut encoder = gpu.device.create_command_encoder(&Default::default());
            encoder.resolve_query_set(&self.set, 0..count as u32, &self.resolved.raw, 0);
            gpu.queue.submit([encoder.finish()]);
        })?;
        let ticks = gpu.download_range(&self.resolved, 0..count)?;
        let names = std::mem::take(&mut seen.pending);
        for (name, pair) in names.into_iter().zip(ticks.chunks_exact(2)) {
            // Some drivers give the two out of order where hardly anything lies between them.
            let passed = pair[1].saturating_sub(pair[0]);
            seen.add(name, passed as f64 * self.tick);
        }
        Ok(())
    }
}

impl Gpu {
    /// The same adapter opened once more, with the optional features that measurements use, where it has them: timestamps,
    /// and f16 in shaders; and with matrix units, as ever.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) when it can no longer be opened.
    pub fn for_measurements(&self) -> Result<Self> {
        self.opened_with(wgpu::Features::TIMESTAMP_QUERY | wgpu::Features::SHADER_F16)
    }

    /// Names of the optional features that are in use.
    pub fn features(&self) -> Vec<String> {
        let names = self.device.features().iter_names();
        names.map(|(name, _)| name.to_lowercase()).collect()
    }

    /// Whether shaders may use f16.
    pub fn has_f16(&self) -> bool {
        self.device.features().contains(wgpu::Features::SHADER_F16)
    }

    /// A handle to the same device that counts how long its kernels and uploads take, from zero. Uploads are waited for one
    /// by one, and without timestamps submissions as well: what overlaps otherwise does not.
    ///
    /// # Errors
    /// When memory is out, or the device is lost.
    pub fn metered(&self) -> Result<Self> {
        self.metered_awake(None)
    }

    /// As [`Gpu::metered`]; a submission after a pause comes after `wake`, which submits to another handle. Devices lower their
    /// clock while they are idle, to a sixth of it and less, and take long to raise it again.
    ///
    /// # Errors
    /// As [`Gpu::metered`].
    pub fn metered_awake(&self, wake: Option<Wake>) -> Result<Self> {
        let has = self.device.features();
        let queries = has
            .contains(wgpu::Features::TIMESTAMP_QUERY)
            .then(|| Queries::new(self))
            .transpose()?;
        let mut other = self.clone();
        other.meter = Some(Arc::new(Meter {
            queries,
            wake,
            busy: Mutex::default(),
            seen: Mutex::default(),
        }));
        Ok(other)
    }

    /// What a metered handle and its clones have seen so far; nothing of any other one.
    ///
    /// # Errors
    /// When something submitted before failed, or the device is lost.
    pub fn metering(&self) -> Result<Metered> {
        self.wait(MEASURE)?;
        let Some(meter) = &self.meter else {
            return Ok(Metered {
                source: TimeSource::Wall,
                kernels: BTreeMap::new(),
                upload_seconds: 0.0,
                waking_seconds: 0.0,
            });
        };
        let mut seen = meter.seen();
        if let Some(queries) = &meter.queries {
            queries.fetch(self, &mut seen)?;
        }
        Ok(Metered {
            source: match &meter.queries {
                Some(_) => TimeSource::Gpu,
                None => TimeSource::Wall,
            },
            kernels: seen.kernels.clone(),
            upload_seconds: seen.uploads.as_secs_f64(),
            waking_seconds: seen.waking.as_secs_f64(),
        })
    }

    /// Sends values to the device by `send`; a metered handle waits until they are there.
    pub(super) fn sending<T>(
        &self,
        operation: &str,
        send: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let Some(meter) = &self.meter else {
            return send();
        };
        self.wait(operation)?;
        let begun = Instant::now();
        let sent = send()?;
        // Copies are recorded before the next submission, which may be an empty one.
        self.scoped(operation, || self.queue.submit([]))?;
        self.wait(operation)?;
        let took = begun.elapsed();
        meter.seen().uploads += took;
        Ok(sent)
    }

    /// Copies values on the host, on their way to the device.
    pub(super) fn copying<T>(&self, copy: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let copied = copy();
        let took = begun.elapsed();
        if let Some(meter) = &self.meter {
            meter.seen().uploads += took;
        }
        copied
    }
}
