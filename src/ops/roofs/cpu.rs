//! The native path.

use half::f16;
use ndarray::Array2;
use ndarray::linalg::general_mat_mul;
use rayon::prelude::*;

use super::{CHAINS, Params, Precision};

/// Values of one task of a triad: large enough to hide the task, small enough that all threads end together.
const TASK: usize = 1 << 16;

pub(super) fn fma(params: &Params) -> Vec<f32> {
    let threads = (0..params.threads).into_par_iter();
    threads
        .map(|thread| {
            let mut chains: [f32; CHAINS] = std::array::from_fn(|j| (thread % 16 + j) as f32);
            for _ in 0..params.steps {
                for x in &mut chains {
                    let next = *x * params.factor + params.summand;
                    *x = match params.precision {
                        Precision::F32 => next,
                        Precision::F16 => f16::from_f32(next).to_f32(),
                    };
                }
            }
            chains.iter().sum()
        })
        .collect()
}

pub(super) fn triad(b: &[f32], c: &[f32], s: f32, a: &mut [f32]) {
    let parts = a.par_chunks_mut(TASK).zip(b.par_chunks(TASK));
    parts.zip(c.par_chunks(TASK)).for_each(|((a, b), c)| {
        for ((a, b), c) in a.iter_mut().zip(b).zip(c) {
            *a = b + s * c;
        }
    });
}

pub(super) fn products(pairs: &[(Array2<f32>, Array2<f32>)]) -> Vec<Array2<f32>> {
    let product = |(a, b): &(Array2<f32>, Array2<f32>)| {
        let mut c = Array2::zeros((a.ncols(), b.ncols()));
        general_mat_mul(1.0, &a.t(), b, 0.0, &mut c);
        c
    };
    pairs.par_iter().map(product).collect()
}
