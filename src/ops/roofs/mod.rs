//! Roofs: what a device can do at most, by work that does nothing else. What a kernel reaches is told as a share of them.
//!
//! # Formulas
//! - [`fma`]: thread t has 32 values that start at `t mod 16 + 0 … 31`; each goes `x ← x · factor + summand` so many steps, and
//!   the result is the sum of the 32. 64 FLOP a step and thread.
//! - [`triad`]: `a = b + s·c` (STREAM, McCalpin 1995). 12 bytes and 2 FLOP a value.
//! - [`products`]: AᵀB of pairs of matrices, one a thread, by the GEMM crate. Native alone: what a processor is known to
//!   reach, since no kernel of ours is faster than that everywhere. 2·k·m·n FLOP a product.
//!
//! - [`blocks`]: each subgroup of a GPU adds products of two blocks of ones to eight blocks on its matrix units, so many steps,
//!   and the result is the sum of the eight. 2·e³ FLOP a product of blocks of e × e.
//!
//! # Edge cases
//! `factor` is 1 or −1 and `summand` a whole number, so that every value on the way is a whole number, which has to be one that
//! the precision holds exactly (2,048 in f16). Any difference is then a fault, and so is a compiler that left out a step.
//! f16 needs a device that was opened with it ([`crate::gpu::Gpu::for_measurements`]); natively it is f32, rounded.
//!
//! # Cost
//! Compute bound and memory bound by design.

mod cpu;
mod gpu;
mod matrix;

use ndarray::Array2;

use crate::error::{Error, Result};
use crate::ops::Backend;

pub use gpu::{KERNELS, KERNELS_OF_F16, launch};
pub use matrix::{Blocks, KERNELS as KERNELS_OF_UNITS, MOST_BLOCK_STEPS, MOST_GROUPS, blocks};

/// Values that a thread of [`fma`] advances.
pub const CHAINS: usize = 32;

/// Largest difference from the formulas: none. All values are whole numbers that their type holds.
pub const TOLERANCE: f64 = 0.0;

/// Threads of [`fma`] at most: 256 MiB of results.
pub const MOST_THREADS: usize = 1 << 26;

/// Steps of [`fma`] at most, which matters where the summand is 0.
pub const MOST_STEPS: usize = 1 << 20;

/// What values are computed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
}

/// How much [`fma`] does.
///
/// | name | meaning | range |
/// |---|---|---|
/// | `precision` | of the chains | |
/// | `threads` | results | a multiple of 256 from 256 to 2²⁶ |
/// | `steps` | of every chain | a multiple of 8 from 8 to 2²⁰ |
/// | `factor` | | 1 or −1 |
/// | `summand` | | a whole number; 47 + steps · its size is at most 2,048 in f16 and 2¹⁹ in f32 |
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Params {
    /// Of the chains.
    pub precision: Precision,
    /// Number of results.
    pub threads: usize,
    /// Of every chain.
    pub steps: usize,
    /// What a value is multiplied by.
    pub factor: f32,
    /// What is added then.
    pub summand: f32,
}

impl Params {
    /// FLOP of all threads: a multiplication and an addition a step and value.
    pub fn flop(&self) -> f64 {
        2.0 * (CHAINS * self.threads) as f64 * self.steps as f64
    }

    /// The result of a thread, exactly. Steps are even, as their range says: an alternating value is back at its start.
    pub fn exact(&self, thread: usize) -> f64 {
        let first = (thread % 16) as f64;
        let start = CHAINS as f64 * first + (CHAINS * (CHAINS - 1) / 2) as f64;
        if self.factor > 0.0 {
            start + CHAINS as f64 * f64::from(self.summand) * self.steps as f64
        } else {
            start
        }
    }

    fn check(&self) -> Result<()> {
        let wrong = |problem: String, fix: &str| Err(Error::invalid("chains of fma", problem, fix));
        if !(1..=MOST_THREADS).contains(&self.threads) || !self.threads.is_multiple_of(256) {
            let problem = format!("{} threads", self.threads);
            return wrong(
                problem,
                "Give a multiple of 256 threads from 256 to 67,108,864",
            );
        }
        if !(1..=MOST_STEPS).contains(&self.steps) || !self.steps.is_multiple_of(8) {
            let problem = format!("{} steps", self.steps);
            return wrong(problem, "Give a multiple of 8 steps from 8 to 1,048,576");
        }
        if self.factor.abs() != 1.0 || self.summand.fract() != 0.0 {
            let problem = format!("factor {}, summand {}", self.factor, self.summand);
            return wrong(problem, "Give a factor of 1 or -1 and a whole summand");
        }
        let largest = 47.0 + self.steps as f64 * f64::from(self.summand.abs());
        let most = match self.precision {
            Precision::F32 => 524_288.0, // the sum of 32 of them is exact in f32
            Precision::F16 => 2_048.0,
        };
        // A NaN is not below either.
        if largest <= most {
            return Ok(());
        }
        let problem = format!("values reach {largest}, and {most} is allowed");
        wrong(problem, "Give fewer steps or a smaller summand")
    }
}

/// The sum of each thread's chains. On a GPU it is one submission, however long: whoever measures begins with few threads.
///
/// # Errors
/// When a parameter is out of its range, the device was not opened with f16, or the GPU fails.
pub fn fma(backend: &Backend, params: &Params) -> Result<Vec<f32>> {
    params.check()?;
    match backend.gpu() {
        None => Ok(cpu::fma(params)),
        Some(gpu) => gpu::fma(gpu, params),
    }
}

/// `b + s·c`.
///
/// # Errors
/// When b and c are not of the same length, a multiple of 4 above 0, or the GPU fails.
pub fn triad(backend: &Backend, b: &[f32], c: &[f32], s: f32) -> Result<Vec<f32>> {
    if b.len() != c.len() || b.is_empty() || !b.len().is_multiple_of(4) {
        return Err(Error::invalid(
            "triad",
            format!("{} and {} values", b.len(), c.len()),
            "Give as many of both, a multiple of 4",
        ));
    }
    match backend.gpu() {
        None => {
            let mut a = vec![0.0; b.len()];
            cpu::triad(b, c, s, &mut a);
            Ok(a)
        }
        Some(gpu) => gpu::triad(gpu, b, c, s),
    }
}

/// As [`triad`] natively, into values that are there: no page is new to the process.
///
/// # Errors
/// As [`triad`], and when `a` has another length.
pub fn triad_into(b: &[f32], c: &[f32], s: f32, a: &mut [f32]) -> Result<()> {
    if a.len() != b.len() || a.len() != c.len() {
        return Err(Error::invalid(
            "triad",
            format!("{}, {} and {} values", a.len(), b.len(), c.len()),
            "Give as many of each",
        ));
    }
    cpu::triad(b, c, s, a);
    Ok(())
}

/// AᵀB of each pair, k × m and k × n, natively: one pair a thread.
///
/// # Errors
/// When the matrices of a pair differ in rows.
pub fn products(pairs: &[(Array2<f32>, Array2<f32>)]) -> Result<Vec<Array2<f32>>> {
    if let Some((a, b)) = pairs.iter().find(|(a, b)| a.nrows() != b.nrows()) {
        return Err(Error::invalid(
            "products",
            format!("{} rows with {}", a.nrows(), b.nrows()),
            "Give two matrices of as many rows",
        ));
    }
    Ok(cpu::products(pairs))
}

/// Bytes of memory that [`fma`] takes.
pub fn bytes(params: &Params) -> u64 {
    4 * params.threads as u64
}
