//! Quadratic: elastic-net quadratic programmes, a batch at a time; each is one Newton step of a probe.
//!
//! # Formula
//! `min_u gᵀ(u − w) + ½ (u − w)ᵀ H (u − w) + Σ_j l1_j |u_j| + ½ mu_j u_j²`, H symmetric positive definite (n × n), solved
//! from w until the largest `|minimum-norm subgradient_j| / scale_j` is at most `tolerance`, or `steps` are spent.
//!
//! # Method
//! Find the face (which entries are zero), then solve on it, until both agree. The native path finds it by coordinate
//! descent over all entries, one after the other. The GPU finds it with one workgroup descending in each class block, all
//! blocks at once; an exact step along the sum of their moves makes up for what they ignore of each other. On the face
//! both run conjugate gradients, preconditioned by the diagonal, and step as far as the objective falls, entries that
//! would change sign stopping at zero (Moré & Toraldo 1991).
//!
//! All programmes of a batch advance in the same dispatches, each in a phase of its own that the device chooses; the host
//! asks now and then which are done. What happens to a programme depends on itself alone: neither the batch nor the pace
//! changes a bit of it.
//!
//! # Edge cases
//! A programme whose H does not fit one binding of the device (n > 5,792 where bindings hold 128 MiB) is solved natively.
//! An entry of `l1` 0 (an intercept) always belongs to the face.
//!
//! # Cost
//! A step is 2n² FLOP (a descent on the GPU 4 Σ m² more, for class blocks of m entries) and reads H about once.

mod cpu;
mod gpu;

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::ops::Backend;

pub use gpu::KERNELS;

/// One quadratic programme of n entries.
#[derive(Debug, Clone)]
pub struct Programme<'a> {
    /// n · n values, row by row: symmetric, positive definite.
    pub h: &'a [f32],
    /// Gradient of the smooth loss at `w`.
    pub g: &'a [f64],
    /// Where to start, and where `g` and `h` were taken.
    pub w: &'a [f32],
    /// λ1 of each entry; 0 for intercepts.
    pub l1: &'a [f64],
    /// μ of each entry; 0 for intercepts.
    pub mu: &'a [f64],
    /// What a violation is divided by, > 0: the scale that the entry's penalty acts on.
    pub scale: &'a [f64],
    /// Where each class block starts, ascending from 0, and n at the end.
    pub blocks: &'a [usize],
    /// KKT residual at which it is solved.
    pub tolerance: f64,
    /// Most sweeps and iterations.
    pub steps: usize,
}

/// What became of a programme.
#[derive(Debug, Clone, PartialEq)]
pub struct Solution {
    /// n values.
    pub u: Vec<f32>,
    /// Sweeps and iterations that it took.
    pub steps: usize,
    /// FLOP that it took.
    pub flop: f64,
}

/// Largest KKT residual of a solution, evaluated in f64, as a multiple of the `tolerance` asked for, where that is at
/// least [`Programme::rounding`] of the solution: below it the rounding of u and of H (u − w) to f32 counts.
pub const TOLERANCE: f64 = 1.5;

/// Solves each programme.
///
/// # Errors
/// When the lengths of a programme do not fit one another, or the GPU fails.
pub fn solve(backend: &Backend, programmes: &[Programme<'_>]) -> Result<Vec<Solution>> {
    for (place, programme) in programmes.iter().enumerate() {
        programme.check(place)?;
    }
    match backend.gpu() {
        None => {
            let mut solutions = Vec::with_capacity(programmes.len());
            // No more at once than there are threads: each copies its face's part of H.
            for some in programmes.chunks(rayon::current_num_threads()) {
                solutions.par_extend(some.par_iter().map(cpu::solve));
            }
            Ok(solutions)
        }
        Some(gpu) => gpu::solve(gpu, programmes),
    }
}

/// Bytes that [`solve`] takes on a GPU at most, whose bindings hold `binding` bytes, for programmes of so many entries each:
/// one shelf of matrices with its vectors on the device, the writes under way to it, and one matrix on the host.
pub fn bytes(entries: &[usize], binding: u64) -> u64 {
    gpu::bytes(entries, binding)
}

impl Programme<'_> {
    /// Number of entries n.
    pub fn len(&self) -> usize {
        self.w.len()
    }

    /// Whether it has no entries.
    pub fn is_empty(&self) -> bool {
        self.w.is_empty()
    }

    /// KKT residual that the rounding of u and of H (u − w) to f32 can bring about at u:
    /// `2⁻²⁴ max_j Σ_k |h_jk| |u_k − w_k| / scale_j`. No back end can promise less.
    pub fn rounding(&self, u: &[f32]) -> f64 {
        let rows = self.h.chunks_exact(self.len().max(1)).zip(self.scale);
        let sum = |row: &[f32]| -> f64 {
            let moves = u.iter().zip(self.w).map(|(u, w)| f64::from((u - w).abs()));
            row.iter()
                .zip(moves)
                .map(|(h, d)| f64::from(h.abs()) * d)
                .sum()
        };
        rows.map(|(row, scale)| f64::from(f32::EPSILON) / 2.0 * sum(row) / scale)
            .fold(0.0, f64::max)
    }

    fn check(&self, place: usize) -> Result<()> {
        let n = self.len();
        let wrong = |problem: String| {
            Err(Error::invalid(
                format!("quadratic programme {place}"),
                problem,
                "Give H in rows, one value of each vector an entry, and blocks that cover the entries",
            ))
        };
        if self.h.len() != n * n {
            return wrong(format!("H has {} values for {n} entries", self.h.len()));
        }
        for (name, len) in [
            ("g", self.g.len()),
            ("l1", self.l1.len()),
            ("mu", self.mu.len()),
            ("scale", self.scale.len()),
        ] {
            if len != n {
                return wrong(format!("{name} has {len} values for {n} entries"));
            }
        }
        let ascending = self.blocks.windows(2).all(|pair| pair[0] <= pair[1]);
        if self.blocks.first() != Some(&0) || self.blocks.last() != Some(&n) || !ascending {
            return wrong(format!("blocks {:?} do not cover {n} entries", self.blocks));
        }
        Ok(())
    }
}
