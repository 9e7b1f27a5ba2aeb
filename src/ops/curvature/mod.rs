//! Curvature: the Hessian of a probe's loss on some of its weights, from the terms that were drawn of it.
//!
//! # Formula
//! With classes a, b, …, the rows R_a of a design that each class has in the working set (row 0 is the intercept, whose entry is
//! 1; row j is neuron j − 1), and terms T_ab of samples i with weights v ≥ 0: block (a, b) of H, |R_a| × |R_b|, is
//!
//! - `−Σ_{i ∈ T_ab} vᵢ x_i[R_a] x_i[R_b]ᵀ` for a ≠ b, 0 without terms,
//! - `Σ_b Σ_{i ∈ T_ab} vᵢ x_i[R_a] x_i[R_a]ᵀ` for a = b, over all b with which a has terms, itself included: with softmax a graph
//!   Laplacian over the classes; a loss of one column has terms of its one class alone.
//!
//! H is symmetric, n × n with n = Σ |R_a|, classes one after the other, and positive semidefinite: |h_jk| ≤ √(h_jj·h_kk).
//!
//! # Edge cases
//! A class without rows has no block. Terms may name a sample more than once. An H that does not fit one binding of the device
//! (n > 5,792 where bindings hold 128 MiB), or of which 1,024 terms of one block do not, is summed natively.
//!
//! # Cost
//! `2·|T_ab|·|R_a|·|R_b|` FLOP for a pair and half of that for a class; each reads |T|·(|R_a| + |R_b|) entries of the design, a class
//! |T|·|R_a|. A device gathers them once, from the design that it holds already, into panels of at most 256 MiB together; where
//! these are full it sums what is in them, all tiles of all blocks in the same dispatch, and goes on with the rest. 4·n² bytes
//! come back.
//!
//! On a device an entry is the sum, in the order of the terms, of runs of 1,024 of them (of each part of the samples where these
//! lie in several), each one f32 sum. No bit depends on tiles, or on how much is packed at once.

mod check;
mod cpu;
mod gpu;
mod plan;

use std::ops::Range;

use ndarray::{Array2, ArrayView2, Axis, s};
use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::gpu::blocks;
use crate::ops::Backend;

pub(in crate::ops) use cpu::{GATHERED, GATHERED_SAMPLES, Known, flop, gathered, sum};
pub use gpu::KERNELS;
pub(in crate::ops) use gpu::{Held, fits, on_device};

/// The terms of one pair of classes, or of one class (a = b).
#[derive(Debug, Clone)]
pub struct Terms {
    /// The class whose rows go down.
    pub a: usize,
    /// The class whose rows go across; not before `a`.
    pub b: usize,
    /// Samples, ascending.
    pub samples: Vec<u32>,
    /// A weight ≥ 0 for each.
    pub weights: Vec<f32>,
}

/// Largest |difference| of an entry h_jk from an f64 reference, as a multiple of √(h_jj·h_kk), which bounds every entry: terms
/// are summed in f32, at most 2,048 at a time (1,024 on a device), and all their roundings can go the same way, 2⁻²⁴ each; sums of up
/// to a hundred such runs, which are added in f32 as well, come near it only where that happens.
pub const TOLERANCE: f64 = 2048.0 / (1 << 24) as f64;

/// H, n × n, of the classes' `rows` (ascending) of X (N × D) by `terms`, at most one of each pair of classes.
///
/// # Errors
/// When a row, sample or class is out of range, rows are not ascending, or the GPU fails.
pub fn curvature(
    backend: &Backend,
    x: ArrayView2<'_, f32>,
    rows: &[Vec<usize>],
    terms: &[Terms],
) -> Result<Array2<f32>> {
    checked(x.dim(), rows, terms)?;
    let x = x.as_standard_layout();
    let gather = |samples: &[u32], rows: &[usize]| Ok(gathered(x.view(), samples, rows));
    let own = diagonal(terms, rows.len());
    let pairs = terms.iter().filter(|terms| terms.a != terms.b);
    let terms: Vec<&Terms> = pairs.chain(&own).collect();
    match backend.gpu() {
        Some(gpu) if fits(gpu, rows, &terms) => {
            let neurons = x.len_of(Axis(1));
            let part = |rows: Range<usize>| {
                let values = x.slice(s![rows.clone(), ..]);
                let values = values.to_slice().expect("it was made contiguous");
                Ok((rows, gpu.upload("activations", values)?))
            };
            let at_once = gpu.fit("activations", 4 * neurons, 1)?;
            let parts: Vec<_> = blocks(x.nrows(), at_once)
                .map(part)
                .collect::<Result<_>>()?;
            let held = Held {
                neurons,
                stride: neurons,
                blocks: &parts,
            };
            on_device(gpu, &held, rows, &terms, &gather)
        }
        _ => Ok(sum(&gather, rows, &terms, None)?.0),
    }
}

/// Bytes that H of n entries of so many classes, and so many terms, those of classes included, take at most on a device whose
/// bindings hold so many, beside the design that lies there: H, terms, and packed entries of some of them.
pub fn bytes(n: usize, classes: usize, terms: usize, binding: u64) -> u64 {
    let blocks = classes * (classes + 1) / 2;
    let summed = 4 * (n as u64).pow(2) + 4 * n as u64 + 8 * terms as u64;
    summed + plan::bytes(n, (terms, blocks), binding)
}

/// The FLOP that [`curvature`] takes.
pub fn cost(rows: &[Vec<usize>], terms: &[Terms]) -> f64 {
    let own = diagonal(terms, rows.len());
    let pairs = terms.iter().filter(|terms| terms.a != terms.b);
    let terms: Vec<&Terms> = pairs.chain(&own).collect();
    flop(rows, &terms, None)
}

/// What each class's own block sums: all terms that it has a part in.
pub(in crate::ops) fn diagonal(terms: &[Terms], classes: usize) -> Vec<Terms> {
    let mut of_class: Vec<Vec<&Terms>> = vec![Vec::new(); classes];
    for terms in terms {
        of_class[terms.a].push(terms);
        if terms.b != terms.a {
            of_class[terms.b].push(terms);
        }
    }
    let of = |(class, terms): (usize, Vec<&Terms>)| {
        let mut all: Vec<(u32, f32)> = Vec::new();
        for terms in terms {
            let weights = terms.weights.iter().copied();
            all.extend(terms.samples.iter().copied().zip(weights));
        }
        // Stable: a sample's weights are added in the order of the pairs.
        all.sort_by_key(|(sample, _)| *sample);
        let (mut samples, mut weights): (Vec<u32>, Vec<f32>) = (Vec::new(), Vec::new());
        for (sample, weight) in all.into_iter().filter(|(_, weight)| *weight > 0.0) {
            match (samples.last(), weights.last_mut()) {
                (Some(last), Some(sum)) if *last == sample => *sum += weight,
                _ => {
                    samples.push(sample);
                    weights.push(weight);
                }
            }
        }
        Terms {
            a: class,
            b: class,
            samples,
            weights,
        }
    };
    of_class.into_par_iter().enumerate().map(of).collect()
}

fn checked((n, d): (usize, usize), rows: &[Vec<usize>], terms: &[Terms]) -> Result<()> {
    let wrong = |problem: String| {
        let fix = "Give ascending rows of 0 to D for each class, and terms of samples that there are, one list a pair";
        Err(Error::invalid("terms of a Hessian", problem, fix))
    };
    for (class, rows) in rows.iter().enumerate() {
        let ascending = rows.windows(2).all(|pair| pair[0] < pair[1]);
        if !ascending || rows.last().is_some_and(|&last| last > d) {
            return wrong(format!(
                "the rows of class {class} are not ascending, or not all of 0 to {d}"
            ));
        }
    }
    let mut seen = vec![false; rows.len() * rows.len()];
    for Terms {
        a,
        b,
        samples,
        weights,
    } in terms
    {
        let known = a <= b && *b < rows.len();
        if !known || std::mem::replace(&mut seen[a * rows.len() + b], true) {
            return wrong(format!(
                "classes {a} and {b} of {} are named twice, or are not in order",
                rows.len()
            ));
        }
        if samples.len() != weights.len() {
            return wrong(format!(
                "{} samples have {} weights",
                samples.len(),
                weights.len()
            ));
        }
        if let Some(weight) = weights
            .iter()
            .find(|weight| !(0.0..f32::INFINITY).contains(*weight))
        {
            return wrong(format!(
                "a weight of classes {a} and {b} is {weight}, and has to be finite and at least 0"
            ));
        }
        if !samples.is_sorted() || samples.last().is_some_and(|&last| last as usize >= n) {
            return wrong(format!(
                "samples of classes {a} and {b} are not ascending, or not all below {n}"
            ));
        }
    }
    Ok(())
}
