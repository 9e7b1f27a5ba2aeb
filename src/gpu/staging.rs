//! A ring of host buffers that a device copies from: the next block is written while the device works on the last one, and
//! no buffer is made for it.

use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, PoisonError};

use bytemuck::Pod;
use rayon::prelude::*;

use super::buffer::{ANSWER, Buffer};
use super::device::Gpu;
use crate::error::Result;

const STAGE: &str = "stage samples";

/// Bytes that one thread copies at a time.
const PART: usize = 1 << 20;

/// Buffers that the host writes and the device copies from, in turn.
#[derive(Debug)]
pub struct Staging {
    slots: Vec<Slot>,
    next: Mutex<usize>,
    bytes: usize,
}

/// One of them.
#[derive(Debug)]
struct Slot {
    raw: wgpu::Buffer,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    Free,
    /// Written, and not yet sent.
    Staged,
    /// With the device; hears when it has given the buffer back.
    Lent(Receiver<std::result::Result<(), wgpu::BufferAsyncError>>),
}

/// Values that wait in a ring for the device to copy them.
#[derive(Debug)]
#[must_use = "they are to be sent to the device"]
pub struct Staged {
    slot: usize,
    bytes: usize,
}

impl Gpu {
    /// A ring of so many buffers of so many bytes each.
    ///
    /// # Errors
    /// When memory is out, or the device is lost.
    pub fn staging(&self, slots: usize, bytes: usize) -> Result<Staging> {
        let bytes = bytes.next_multiple_of(16).max(16);
        let slot = |_| {
            self.scoped(STAGE, || Slot {
                raw: self.device.create_buffer(&wgpu::BufferDescriptor {
                    label: Some("staging"),
                    size: bytes as u64,
                    usage: wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC,
                    mapped_at_creation: true,
                }),
                state: Mutex::new(State::Free),
            })
        };
        Ok(Staging {
            slots: (0..slots.max(1)).map(slot).collect::<Result<_>>()?,
            next: Mutex::new(0),
            bytes,
        })
    }

    /// Writes values into the next buffer of a ring. May run beside submissions of another thread; waits where the device
    /// has not yet copied what was staged a whole turn before.
    ///
    /// # Errors
    /// When the values are more than a buffer holds, no buffer is free, or the device is lost.
    pub fn stage<T: Pod>(&self, staging: &Staging, values: &[T]) -> Result<Staged> {
        let bytes: &[u8] = bytemuck::cast_slice(values);
        self.staged(staging, bytes.len(), &|to| spread(to, bytes))
    }

    /// As [`Gpu::stage`], of so many values that are nowhere yet: `fill` is given the place of the first of some of them and
    /// writes these, by all threads at once. The size of a value has to divide 1 MiB, else it does not compile.
    ///
    /// # Errors
    /// As [`Gpu::stage`].
    pub fn stage_by<T: Pod>(
        &self,
        staging: &Staging,
        values: usize,
        fill: &(dyn Fn(usize, &mut [T]) + Sync),
    ) -> Result<Staged> {
        const { assert!(PART.is_multiple_of(size_of::<T>())) }
        self.staged(staging, values * size_of::<T>(), &|to| made(to, fill))
    }

    /// Lets `write` write so many bytes into the next buffer of a ring.
    fn staged(
        &self,
        staging: &Staging,
        bytes: usize,
        write: &dyn Fn(wgpu::WriteOnly<'_, [u8]>),
    ) -> Result<Staged> {
        if bytes > staging.bytes {
            return Err(self.error(
                STAGE,
                format!("{bytes} bytes for a buffer of {}", staging.bytes),
            ));
        }
        let mut next = staging.next.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = *next;
        *next = (slot + 1) % staging.slots.len();
        drop(next);
        let Slot { raw, state } = &staging.slots[slot];
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        match &*state {
            State::Free => {}
            State::Staged => {
                let problem = "every buffer of the ring waits to be sent".to_owned();
                return Err(self.error(STAGE, problem));
            }
            State::Lent(back) => {
                let answer = match back.try_recv() {
                    Ok(answer) => answer,
                    Err(_) => {
                        self.wait(STAGE)?;
                        let late = back.recv_timeout(ANSWER);
                        late.map_err(|_| self.error(STAGE, "the device never answered".into()))?
                    }
                };
                answer.map_err(|problem| self.error(STAGE, problem.to_string()))?;
            }
        }
        self.copying(|| -> Result<()> {
            let mut view = raw
                .get_mapped_range_mut(..)
                .map_err(|problem| self.error(STAGE, problem.to_string()))?;
            write(view.slice(..bytes));
            Ok(())
        })?;
        *state = State::Staged;
        Ok(Staged { slot, bytes })
    }

    /// Copies staged values to the beginning of a buffer. Ordered after what was submitted before, and before what comes
    /// later; does not wait.
    ///
    /// # Errors
    /// When the buffer is smaller, or the device is lost.
    pub fn send<T: Pod>(&self, staging: &Staging, staged: Staged, to: &Buffer<T>) -> Result<()> {
        self.send_to(staging, staged, &to.raw, 0)
    }

    /// As [`Gpu::send`], to a place of the buffer in bytes.
    pub(super) fn send_to(
        &self,
        staging: &Staging,
        staged: Staged,
        to: &wgpu::Buffer,
        at: u64,
    ) -> Result<()> {
        let slot = &staging.slots[staged.slot];
        let (sender, receiver) = channel();
        let copy = || {
            slot.raw.unmap();
            let mut encoder = self.device.create_command_encoder(&Default::default());
            let bytes = staged.bytes.next_multiple_of(4) as u64;
            encoder.copy_buffer_to_buffer(&slot.raw, 0, to, at, bytes);
            self.queue.submit([encoder.finish()]);
            slot.raw.map_async(wgpu::MapMode::Write, .., move |mapped| {
                // The receiver is gone only when the ring is.
                let _ = sender.send(mapped);
            });
        };
        self.sending(STAGE, || self.scoped(STAGE, copy))?;
        *slot.state.lock().unwrap_or_else(PoisonError::into_inner) = State::Lent(receiver);
        Ok(())
    }
}

/// Copies bytes to memory of a device's, by all threads: one alone is slower than the way to the device.
fn spread(to: wgpu::WriteOnly<'_, [u8]>, from: &[u8]) {
    let (parts, mut rest) = to.into_chunks::<PART>();
    let parts: Vec<wgpu::WriteOnly<'_, [u8; PART]>> = parts.into_iter().collect();
    let (whole, last) = from.split_at(parts.len() * PART);
    let each = parts.into_par_iter().zip(whole.par_chunks_exact(PART));
    each.for_each(|(to, from)| {
        let mut to: wgpu::WriteOnly<'_, [u8]> = to.into();
        to.copy_from_slice(from);
    });
    rest.copy_from_slice(last);
}

/// Writes values as `fill` makes them, part by part, by all threads.
fn made<T: Pod>(to: wgpu::WriteOnly<'_, [u8]>, fill: &(dyn Fn(usize, &mut [T]) + Sync)) {
    let each = PART / size_of::<T>();
    let (parts, mut rest) = to.into_chunks::<PART>();
    let parts: Vec<wgpu::WriteOnly<'_, [u8; PART]>> = parts.into_iter().collect();
    let whole = parts.len();
    parts.into_par_iter().enumerate().for_each_init(
        || vec![T::zeroed(); each],
        |values, (at, to)| {
            fill(at * each, values);
            let mut to: wgpu::WriteOnly<'_, [u8]> = to.into();
            to.copy_from_slice(bytemuck::cast_slice(values));
        },
    );
    let mut last = vec![T::zeroed(); rest.len() / size_of::<T>()];
    fill(whole * each, &mut last);
    rest.copy_from_slice(bytemuck::cast_slice(&last));
}

/// The other way.
pub(super) fn collect(to: &mut [u8], from: &[u8]) {
    let parts = to.par_chunks_mut(PART).zip(from.par_chunks(PART));
    parts.for_each(|(to, from)| to.copy_from_slice(from));
}
