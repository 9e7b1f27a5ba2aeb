//! The native path: blocks of the triangle in parallel, a GEMM crate for the f32 partial sums, f64 between them.

use std::ops::Range;

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, Axis, s};
use rayon::prelude::*;

use super::{Centring, PARTIAL, rows};

/// Neurons of one block: wide enough for the GEMM to run at full speed, narrow enough for little of the square blocks on
/// the diagonal to be computed twice.
const BLOCK: usize = 256;

/// Blocks that are computed before their results are stored.
const BATCH: usize = 64;

/// Scratch memory: a batch of results, and of sums in f32 and f64.
pub(super) const SCRATCH_BYTES: u64 = (BATCH * BLOCK * BLOCK * (4 + 4 + 8)) as u64;

/// The packed triangle of r. A block is computed by one thread, so the number of threads does not matter.
pub(super) fn packed(x: ArrayView2<'_, f32>, centring: &Centring) -> Vec<f32> {
    let neurons = x.ncols();
    let z = centred(x, centring);
    let blocks: Vec<Range<usize>> = (0..neurons)
        .step_by(BLOCK)
        .map(|start| start..neurons.min(start + BLOCK))
        .collect();
    let on_diagonal: Vec<Array2<f64>> = blocks
        .par_iter()
        .map(|block| mean_products(z.view(), block, block))
        .collect();
    let norm: Vec<f64> = blocks
        .iter()
        .zip(&on_diagonal)
        .flat_map(|(block, products)| block.clone().zip(products.diag()))
        .map(|(neuron, mean_square)| centring.norm(neuron, *mean_square))
        .collect();
    let correlated = |left: &Range<usize>, right: &Range<usize>, products: &Array2<f64>| {
        Array2::from_shape_fn(products.dim(), |(i, j)| {
            centring.r((left.start + i, right.start + j), products[(i, j)], &norm)
        })
    };
    let mut packed = vec![0f32; neurons * (neurons - 1) / 2];
    let mut rows = rows(neurons, &mut packed);
    for (block, products) in blocks.iter().zip(&on_diagonal) {
        store(&mut rows, block, block, correlated(block, block, products));
    }
    let pairs: Vec<(&Range<usize>, &Range<usize>)> = blocks
        .iter()
        .enumerate()
        .flat_map(|(at, left)| blocks[at + 1..].iter().map(move |right| (left, right)))
        .collect();
    for batch in pairs.chunks(BATCH) {
        let computed: Vec<Array2<f32>> = batch
            .par_iter()
            .map(|(left, right)| correlated(left, right, &mean_products(z.view(), left, right)))
            .collect();
        for ((left, right), r) in batch.iter().zip(computed) {
            store(&mut rows, left, right, r);
        }
    }
    packed
}

fn centred(x: ArrayView2<'_, f32>, centring: &Centring) -> Array2<f32> {
    let mut z = x.to_owned();
    z.outer_iter_mut().into_par_iter().for_each(|mut row| {
        for ((value, shift), scale) in row.iter_mut().zip(&centring.shift).zip(&centring.scale) {
            *value = (*value - shift) * scale;
        }
    });
    z
}

/// Mean over the samples of z_i · z_j, for i in `left` and j in `right`.
fn mean_products(z: ArrayView2<'_, f32>, left: &Range<usize>, right: &Range<usize>) -> Array2<f64> {
    let mut sums = Array2::<f64>::zeros((left.len(), right.len()));
    let mut partial = Array2::<f32>::zeros(sums.dim());
    for samples in z.axis_chunks_iter(Axis(0), PARTIAL) {
        let (a, b) = (
            samples.slice(s![.., left.clone()]),
            samples.slice(s![.., right.clone()]),
        );
        general_mat_mul(1.0, &a.t(), &b, 0.0, &mut partial);
        sums.zip_mut_with(&partial, |sum, partial| *sum += f64::from(*partial));
    }
    let samples = z.nrows() as f64;
    sums.mapv_inplace(|sum| sum / samples);
    sums
}

/// Stores the r of a block that lie above the diagonal.
fn store(rows: &mut [&mut [f32]], left: &Range<usize>, right: &Range<usize>, r: Array2<f32>) {
    for (i, values) in left.clone().zip(r.outer_iter()) {
        // On the diagonal block the row begins inside the block.
        let first = right.start.max(i + 1);
        let values = values.slice(s![first - right.start..]);
        for (to, value) in rows[i][first - i - 1..].iter_mut().zip(values) {
            *to = *value;
        }
    }
}
