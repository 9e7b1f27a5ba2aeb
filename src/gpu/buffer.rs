//! Typed buffers on a device.

use std::marker::PhantomData;
use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::mpsc::Receiver;
use std::sync::{MutexGuard, PoisonError};

use bytemuck::Pod;

use super::device::Gpu;
use super::memory::Taken;
use super::staging::collect;
use crate::error::Result;

/// How long a callback may take that wgpu has already released: it needs a turn of another thread, no more.
pub(super) const ANSWER: std::time::Duration = std::time::Duration::from_secs(30);

/// Downloads go through staging buffers of at most this many bytes, of which so many are kept for the next ones.
const STAGING_BYTES: usize = 64 << 20;
const KEPT: usize = 4;

const READ: &str = "read a buffer";

/// Buffers of the ring for large uploads, and bytes of each.
const RING: (usize, usize) = (3, 16 << 20);

/// `len` values of type `T` in the memory of a GPU.
#[derive(Debug)]
pub struct Buffer<T> {
    pub(super) raw: wgpu::Buffer,
    len: usize,
    values: PhantomData<T>,
    /// Given back when it is dropped.
    _taken: Taken,
}

/// A range of a buffer, ready to be bound, or the parameters of a dispatch.
#[derive(Debug, Clone)]
pub struct Slot<'a>(Bound<'a>);

#[derive(Debug, Clone)]
enum Bound<'a> {
    Buffer(wgpu::BufferBinding<'a>),
    Params(Vec<u8>),
}

/// Values on their way to the host.
#[derive(Debug)]
#[must_use = "they are to be read"]
pub struct Reading {
    staging: wgpu::Buffer,
    /// Bytes of each part.
    parts: Vec<usize>,
    submission: wgpu::SubmissionIndex,
    mapped: Receiver<std::result::Result<(), wgpu::BufferAsyncError>>,
}

/// Where bytes come from, from which place on, and where they go.
type Fetched<'a> = (&'a wgpu::Buffer, u64, &'a mut [u8]);

impl<'a> Slot<'a> {
    /// Parameters of one dispatch. The struct's layout must be that of the shader's.
    pub fn params<T: Pod>(params: &T) -> Self {
        Self(Bound::Params(bytemuck::bytes_of(params).to_vec()))
    }

    pub(super) fn buffer(&self) -> Option<&wgpu::BufferBinding<'a>> {
        match &self.0 {
            Bound::Buffer(buffer) => Some(buffer),
            Bound::Params(_) => None,
        }
    }

    pub(super) fn bytes(&self) -> Option<&[u8]> {
        match &self.0 {
            Bound::Buffer(_) => None,
            Bound::Params(bytes) => Some(bytes),
        }
    }
}

impl<T: Pod> Buffer<T> {
    /// Number of values.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds no value.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The whole buffer.
    pub fn all(&self) -> Slot<'_> {
        Slot(Bound::Buffer(self.raw.as_entire_buffer_binding()))
    }

    /// A range of values. Its first byte must lie at a multiple of 256 bytes.
    pub fn range(&self, values: Range<usize>) -> Slot<'_> {
        let item = size_of::<T>() as u64;
        Slot(Bound::Buffer(wgpu::BufferBinding {
            buffer: &self.raw,
            offset: values.start as u64 * item,
            size: NonZeroU64::new(values.len() as u64 * item),
        }))
    }
}

/// Bytes that a buffer of `len` values takes: whole 4-byte words, and never empty since empty buffers cannot be bound.
fn buffer_bytes<T>(len: usize) -> u64 {
    (len as u64 * size_of::<T>() as u64)
        .next_multiple_of(4)
        .max(16)
}

/// Bytes as copies take them: whole words.
fn padded(bytes: usize) -> u64 {
    (bytes as u64).next_multiple_of(4)
}

impl Gpu {
    /// Copies values to the device. `label` names them in error messages.
    ///
    /// # Errors
    /// When they do not fit one binding, or the device is out of memory or lost.
    pub fn upload<T: Pod>(&self, label: &str, values: &[T]) -> Result<Buffer<T>> {
        if size_of_val(values) > RING.1 {
            let buffer = self.zeros(label, values.len())?;
            self.through_ring(&buffer, 0, values)?;
            return Ok(buffer);
        }
        self.sending(label, || {
            self.filled(label, values, wgpu::BufferUsages::STORAGE)
        })
    }

    /// Copies many values to a place of a buffer, in bytes, part by part: memory that the host and the device share is slow to
    /// come by.
    fn through_ring<T: Pod>(&self, buffer: &Buffer<T>, at: u64, values: &[T]) -> Result<()> {
        // Taken, not locked: a thread that copies may do other work of this device's in between.
        let kept = self
            .ring
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let ring = match kept {
            Some(ring) => ring,
            None => self.staging(RING.0, RING.1)?,
        };
        let bytes: &[u8] = bytemuck::cast_slice(values);
        for (part, bytes) in bytes.chunks(RING.1).enumerate() {
            let staged = self.stage(&ring, bytes)?;
            self.send_to(&ring, staged, &buffer.raw, at + (part * RING.1) as u64)?;
        }
        *self.ring.lock().unwrap_or_else(PoisonError::into_inner) = Some(ring);
        Ok(())
    }

    /// Room for `len` values, all bytes zero.
    ///
    /// # Errors
    /// When they do not fit one binding, or the device is out of memory or lost.
    pub fn zeros<T: Pod>(&self, label: &str, len: usize) -> Result<Buffer<T>> {
        self.created(label, len, wgpu::BufferUsages::STORAGE, false)
    }

    /// Overwrites values from index `start` on. Ordered after what was submitted before, and before what comes later.
    ///
    /// # Errors
    /// When the range does not lie inside the buffer, or the device is lost.
    pub fn write<T: Pod>(&self, buffer: &Buffer<T>, start: usize, values: &[T]) -> Result<()> {
        if start + values.len() > buffer.len {
            return Err(self.error(
                "write a buffer",
                format!(
                    "values {start}..{} of a buffer of {}",
                    start + values.len(),
                    buffer.len
                ),
            ));
        }
        const WRITE: &str = "write a buffer";
        let to = (start * size_of::<T>()) as u64;
        if size_of_val(values) > RING.1 {
            return self.through_ring(buffer, to, values);
        }
        self.sending(WRITE, || {
            self.scoped(WRITE, || {
                let values = bytemuck::cast_slice(values);
                self.queue.write_buffer(&buffer.raw, to, values);
            })
        })
    }

    /// Waits for everything submitted and copies the whole buffer to the host.
    ///
    /// # Errors
    /// When anything submitted before failed, or the device is out of memory or lost: never returns doubtful values.
    pub fn download<T: Pod>(&self, buffer: &Buffer<T>) -> Result<Vec<T>> {
        self.download_range(buffer, 0..buffer.len)
    }

    /// As [`Gpu::download`], for a range of values that starts at a multiple of 4 bytes.
    ///
    /// # Errors
    /// As [`Gpu::download`]; also when the range does not lie inside the buffer.
    pub fn download_range<T: Pod>(
        &self,
        buffer: &Buffer<T>,
        values: Range<usize>,
    ) -> Result<Vec<T>> {
        if values.end > buffer.len {
            return Err(self.error(
                "read a buffer",
                format!("values {values:?} of a buffer of {}", buffer.len),
            ));
        }
        let mut out = vec![T::zeroed(); values.len()];
        let item = size_of::<T>();
        let step = (STAGING_BYTES / item.max(1)).max(1).next_multiple_of(4);
        for (index, part) in out.chunks_mut(step).enumerate() {
            let offset = (values.start + index * step) * item;
            let part = bytemuck::cast_slice_mut(part);
            self.fetch(&mut [(&buffer.raw, offset as u64, part)])?;
        }
        Ok(out)
    }

    /// As [`Gpu::download`], for the first values of several buffers: where they are few, they come together.
    ///
    /// # Errors
    /// As [`Gpu::download_range`].
    pub fn download_each<T: Pod>(&self, parts: &[(&Buffer<T>, usize)]) -> Result<Vec<Vec<T>>> {
        let all: usize = parts.iter().map(|(_, len)| len * size_of::<T>()).sum();
        if all > STAGING_BYTES || parts.iter().any(|(buffer, len)| *len > buffer.len) {
            let each = parts.iter();
            return each
                .map(|(buffer, len)| self.download_range(buffer, 0..*len))
                .collect();
        }
        let zeros = |(_, len): &(&Buffer<T>, usize)| vec![T::zeroed(); *len];
        let mut out: Vec<Vec<T>> = parts.iter().map(zeros).collect();
        let mut copies = Vec::with_capacity(parts.len());
        for (out, (buffer, _)) in out.iter_mut().zip(parts) {
            copies.push((&buffer.raw, 0, bytemuck::cast_slice_mut(out)));
        }
        self.fetch(&mut copies)?;
        Ok(out)
    }

    /// Begins to copy the first values of several buffers to the host, behind what was submitted so far and before what is submitted
    /// later, by whichever thread. `None` where they are more than come together.
    ///
    /// # Errors
    /// As [`Gpu::download_range`].
    pub fn reading<T: Pod>(&self, parts: &[(&Buffer<T>, usize)]) -> Result<Option<Reading>> {
        let all: usize = parts.iter().map(|(_, len)| len * size_of::<T>()).sum();
        if all == 0 || all > STAGING_BYTES || parts.iter().any(|(buffer, len)| *len > buffer.len) {
            return Ok(None);
        }
        let each = parts.iter();
        let parts = each.map(|(buffer, len)| (&buffer.raw, 0, len * size_of::<T>()));
        self.begun(&parts.collect::<Vec<_>>()).map(Some)
    }

    /// Waits for what [`Gpu::reading`] began, and for nothing that was submitted later. Each part's values come into a vector of its
    /// own, whose room is used again; this thread alone copies them, as those of the pool may be busy for long.
    ///
    /// # Errors
    /// As [`Gpu::download`].
    pub fn read<T: Pod>(&self, reading: Reading, out: &mut Vec<Vec<T>>) -> Result<()> {
        out.resize_with(reading.parts.len(), Vec::new);
        let mut bytes: Vec<&mut [u8]> = Vec::with_capacity(out.len());
        for (out, part) in out.iter_mut().zip(&reading.parts) {
            out.resize(part / size_of::<T>(), T::zeroed());
            bytes.push(bytemuck::cast_slice_mut(out));
        }
        self.landed(reading, bytes, <[u8]>::copy_from_slice)
    }

    /// Copies bytes of buffers to the host, through a staging buffer.
    fn fetch(&self, parts: &mut [Fetched<'_>]) -> Result<()> {
        if parts.iter().all(|(_, _, out)| out.is_empty()) {
            return self.wait(READ);
        }
        let each = parts.iter();
        let from: Vec<_> = each
            .map(|(from, at, out)| (*from, *at, out.len()))
            .collect();
        let reading = self.begun(&from)?;
        let out = parts.iter_mut().map(|(_, _, out)| &mut **out);
        self.landed(reading, out.collect(), collect)
    }

    /// Submits copies of bytes of buffers, each from a place on, to a staging buffer.
    fn begun(&self, parts: &[(&wgpu::Buffer, u64, usize)]) -> Result<Reading> {
        let bytes = parts.iter().map(|(_, _, bytes)| padded(*bytes)).sum();
        let last = self.kept_staging().pop();
        // One that is too small is replaced.
        let staging = match last.filter(|last| last.size() >= bytes) {
            Some(kept) => kept,
            None => self.scoped(READ, || {
                self.device.create_buffer(&wgpu::BufferDescriptor {
                    label: Some("staging"),
                    size: bytes,
                    usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                    mapped_at_creation: false,
                })
            })?,
        };
        let (sender, mapped) = std::sync::mpsc::channel();
        let submission = self.scoped(READ, || {
            let mut encoder = self.device.create_command_encoder(&Default::default());
            let mut at = 0;
            for (from, offset, bytes) in parts {
                encoder.copy_buffer_to_buffer(from, *offset, &staging, at, padded(*bytes));
                at += padded(*bytes);
            }
            let submission = self.queue.submit([encoder.finish()]);
            staging.map_async(wgpu::MapMode::Read, ..bytes, move |mapped| {
                // The receiver is gone only when this function has already returned an error.
                let _ = sender.send(mapped);
            });
            submission
        })?;
        Ok(Reading {
            staging,
            parts: parts.iter().map(|(_, _, bytes)| *bytes).collect(),
            submission,
            mapped,
        })
    }

    /// Waits for bytes that were sent for, and lets `copy` copy each part to where it goes.
    fn landed(
        &self,
        reading: Reading,
        out: Vec<&mut [u8]>,
        copy: impl Fn(&mut [u8], &[u8]),
    ) -> Result<()> {
        self.wait_for(READ, reading.submission)?;
        // Another thread that polls the same device may have taken our callback from wgpu and not yet have called it.
        match reading.mapped.recv_timeout(ANSWER) {
            Ok(Ok(())) => {}
            Ok(Err(problem)) => return Err(self.error(READ, problem.to_string())),
            Err(_) => return Err(self.error(READ, "the device never answered".into())),
        }
        let staging = reading.staging;
        let bytes = reading
            .parts
            .iter()
            .map(|bytes| padded(*bytes))
            .sum::<u64>();
        let view = staging
            .get_mapped_range(..bytes)
            .map_err(|problem| self.error(READ, problem.to_string()))?;
        let mut at = 0;
        for out in out {
            copy(out, &view[at..at + out.len()]);
            at += padded(out.len()) as usize;
            self.corrupt_on_purpose(out);
        }
        drop(view);
        staging.unmap();
        let mut kept = self.kept_staging();
        if kept.len() < KEPT {
            kept.push(staging);
        }
        drop(kept);
        self.healthy(READ)
    }

    fn kept_staging(&self) -> MutexGuard<'_, Vec<wgpu::Buffer>> {
        self.readback.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn filled<T: Pod>(
        &self,
        label: &str,
        values: &[T],
        usage: wgpu::BufferUsages,
    ) -> Result<Buffer<T>> {
        let buffer = self.created(label, values.len(), usage, true)?;
        let bytes: &[u8] = bytemuck::cast_slice(values);
        self.scoped(label, || -> std::result::Result<(), wgpu::MapRangeError> {
            let mut view = buffer.raw.get_mapped_range_mut(..)?;
            view.slice(..bytes.len()).copy_from_slice(bytes);
            drop(view);
            buffer.raw.unmap();
            Ok(())
        })?
        .map_err(|problem| self.error(label, problem.to_string()))?;
        Ok(buffer)
    }

    pub(super) fn created<T: Pod>(
        &self,
        label: &str,
        len: usize,
        usage: wgpu::BufferUsages,
        mapped: bool,
    ) -> Result<Buffer<T>> {
        let bytes = buffer_bytes::<T>(len);
        if bytes > self.binding_limit {
            return Err(self.error(
                label,
                format!(
                    "{bytes} bytes do not fit one binding of this device, which holds {}",
                    self.binding_limit
                ),
            ));
        }
        let taken = self.take(label, bytes)?;
        let raw = self.scoped(label, || {
            self.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size: bytes,
                usage: usage | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: mapped,
            })
        })?;
        Ok(Buffer {
            raw,
            len,
            values: PhantomData,
            _taken: taken,
        })
    }
}
