//! Several devices of one machine as one back end: an operation deals its independent parts to them.

use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::mpsc::channel;
use std::time::Instant;

use super::Backend;
use super::roofs::{self, Params, Precision};
use crate::error::{Error, Result};
use crate::gpu::Gpu;

/// Chains are made longer until a device needs so many seconds for them.
const LONG_ENOUGH: f64 = 0.01;

/// Steps of a chain, and the most threads that run them.
const STEPS: usize = 4096;
const MOST_THREADS: usize = 1 << 20;

/// Devices that work beside one another, each on its share of the parts of an operation.
///
/// Shares are proportional to how fast a device runs chains of fma, measured when the devices are first used together and
/// kept with what else was measured of them ([`Gpu::remembering`]), so that the next run deals alike. Which device computes
/// a part never depends on how busy the others are: where devices and shares are the same, so are all bits of the result,
/// and of devices that compute alike the result has the bits that one of them alone gives.
#[derive(Debug, Clone)]
pub struct Fleet {
    /// The place of the lead.
    lead: usize,
    devices: Vec<Gpu>,
    speeds: Vec<usize>,
}

impl Fleet {
    /// What a device's speed is kept under, beside the variants of kernels that it runs fastest.
    pub const SPEED: &str = "chains of fma, MFLOP/s";

    /// Of at least one device.
    ///
    /// # Errors
    /// When there is none, or one fails while its speed is measured.
    pub fn new(devices: Vec<Gpu>) -> Result<Self> {
        let speeds: Vec<usize> = devices.iter().map(speed).collect::<Result<_>>()?;
        let fastest = (0..devices.len()).rev().max_by_key(|&at| speeds[at]);
        let Some(fastest) = fastest else {
            return Err(Error::invalid(
                "devices",
                "there are none",
                "Give at least one",
            ));
        };
        Ok(Self {
            lead: fastest,
            devices,
            speeds,
        })
    }

    /// The device that does what is not dealt: the fastest, of equals the first.
    pub fn lead(&self) -> &Gpu {
        &self.devices[self.lead]
    }

    /// One device, which does everything.
    pub(in crate::ops) fn of(gpu: &Gpu) -> Self {
        Self {
            lead: 0,
            devices: vec![gpu.clone()],
            speeds: vec![1],
        }
    }

    pub(in crate::ops) fn is_lead(&self, place: usize) -> bool {
        place == self.lead
    }

    /// The devices, in the order in which parts are dealt.
    pub fn devices(&self) -> &[Gpu] {
        &self.devices
    }

    /// Consecutive parts of `0..items`, one for each device, as long as the device is fast; some may be empty.
    pub fn deal(&self, items: usize) -> Vec<Range<usize>> {
        let all: u128 = self.speeds.iter().map(|&speed| speed as u128).sum();
        let mut before = 0u128;
        let mut from = 0;
        let part = |speed: &usize| {
            before += *speed as u128;
            // Half up, so that equal devices get parts that differ by one at most.
            let to = ((2 * items as u128 * before + all) / (2 * all)) as usize;
            let part = from..to;
            from = to;
            part
        };
        self.speeds.iter().map(part).collect()
    }

    /// The place of the device that would be done first with so many `more` items beside those that each `has`; of equals the
    /// first.
    pub(in crate::ops) fn first_done(&self, has: &[usize], more: usize) -> usize {
        let time = |at: &usize| (has[*at] + more) as f64 / self.speeds[*at] as f64;
        let places = 0..self.devices.len();
        let first = places.min_by(|a, b| time(a).total_cmp(&time(b)));
        first.expect("a fleet has a device")
    }

    /// Works on all devices at the same time, each of which gets its place and tells what is heard on the calling thread; the
    /// results come in order.
    ///
    /// # Errors
    /// What the first of the devices that fail returns.
    pub(in crate::ops) fn each<R: Send, M: Send>(
        &self,
        work: impl Fn(usize, &Gpu, &mut dyn FnMut(M)) -> Result<R> + Sync,
        hear: &mut dyn FnMut(usize, M),
    ) -> Result<Vec<R>> {
        if let [gpu] = &*self.devices {
            return Ok(vec![work(0, gpu, &mut |message| hear(0, message))?]);
        }
        std::thread::scope(|scope| {
            let (tell, heard) = channel();
            let begin = |(at, gpu): (usize, &'_ Gpu)| {
                let (tell, work, gpu) = (tell.clone(), &work, gpu.clone());
                scope.spawn(move || {
                    work(at, &gpu, &mut |message| {
                        // Nobody listens only when the calling thread panics.
                        let _ = tell.send((at, message));
                    })
                })
            };
            let begun: Vec<_> = self.devices.iter().enumerate().map(begin).collect();
            drop(tell);
            for (at, message) in heard {
                hear(at, message);
            }
            begun
                .into_iter()
                .map(|part| part.join().unwrap_or_else(|panic| resume_unwind(panic)))
                .collect()
        })
    }

    /// The fleet with other devices in the places of these, as fast.
    pub(in crate::ops) fn replaced(&self, of: impl Fn(&Gpu) -> Result<Gpu>) -> Result<Self> {
        Ok(Self {
            devices: self.devices.iter().map(of).collect::<Result<_>>()?,
            ..self.clone()
        })
    }

    /// Other handles to the same devices.
    pub fn with(&self, of: impl Fn(&Gpu) -> Gpu) -> Self {
        Self {
            devices: self.devices.iter().map(of).collect(),
            ..self.clone()
        }
    }

    /// As [`Gpu::fitting`]: where one device is out of memory, all go on with smaller bindings.
    ///
    /// # Errors
    /// What the last attempt returned.
    pub(in crate::ops) fn fitting<T>(&self, attempt: impl Fn(&Self) -> Result<T>) -> Result<T> {
        self.lead().fitting(|lead| {
            let limit = lead.binding_bytes();
            attempt(&self.replaced(|gpu| Ok(gpu.with_binding_limit(limit)))?)
        })
    }
}

/// How fast a device runs chains of fma, in MFLOP/s.
fn speed(gpu: &Gpu) -> Result<usize> {
    gpu.figure(Fleet::SPEED, &|| {
        let backend = Backend::Gpu(gpu.clone());
        let mut params = Params {
            precision: Precision::F32,
            threads: 1 << 12,
            steps: STEPS,
            factor: 1.0,
            summand: 1.0,
        };
        roofs::fma(&backend, &params)?; // compiles it
        loop {
            let begun = Instant::now();
            roofs::fma(&backend, &params)?;
            let seconds = begun.elapsed().as_secs_f64();
            if seconds >= LONG_ENOUGH || params.threads >= MOST_THREADS {
                return Ok((params.flop() / seconds / 1e6) as usize);
            }
            params.threads *= 4;
        }
    })
}
