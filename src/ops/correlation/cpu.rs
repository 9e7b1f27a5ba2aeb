//! The native path: blocks of the triangle in parallel, a GEMM crate for the f32 partial sums, f64 between them.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, Axis, Zip, s};
use rayon::prelude::*;

use super::{Centring, PARTIAL, rows};

/// Neurons of one block at most: wide enough for the GEMM to run at full speed.
const BLOCK: usize = 384;

/// Scratch memory of one thread: a block of sums in f32 and one in f64.
pub(super) const SCRATCH_BYTES: u64 = (BLOCK * BLOCK * (4 + 8)) as u64;

/// The packed triangle of r. A block is computed by one thread, so the number of threads does not matter.
pub(super) fn packed(x: ArrayView2<'_, f32>, centring: &Centring) -> Vec<f32> {
    let neurons = x.ncols();
    let z = centred(x, centring);
    let all = Range {
        start: 0,
        end: neurons,
    };
    let blocks = divided(&all, neurons.div_ceil(BLOCK));
    // Halves on the diagonal: only a quarter of what is computed there is computed twice.
    let near: Vec<_> = blocks
        .iter()
        .flat_map(|block| pairs(&divided(block, 2), true))
        .collect();
    let near: Vec<_> = near
        .into_par_iter()
        .map(|(left, right)| {
            let products = mean_products(z.view(), &left, &right);
            (left, right, products)
        })
        .collect();
    let norm: Vec<f64> = near
        .iter()
        .filter(|(left, right, _)| left == right)
        .flat_map(|(left, _, products)| left.clone().zip(products.diag()))
        .map(|(neuron, mean_square)| centring.norm(neuron, *mean_square))
        .collect();
    let mut packed = vec![0f32; neurons * (neurons - 1) / 2];
    let triangle = Triangle::new(&mut packed, neurons, &blocks);
    near.into_par_iter().for_each(|(left, right, products)| {
        triangle.store(&left, &right, &products, centring, &norm);
    });
    pairs(&blocks, false)
        .into_par_iter()
        .for_each(|(left, right)| {
            let products = mean_products(z.view(), &left, &right);
            triangle.store(&left, &right, &products, centring, &norm);
        });
    packed
}

/// `parts` consecutive ranges of nearly equal length; fewer where there is not enough to divide.
fn divided(range: &Range<usize>, parts: usize) -> Vec<Range<usize>> {
    let each = range.len().div_ceil(parts).max(1);
    range
        .clone()
        .step_by(each)
        .map(|start| start..range.end.min(start + each))
        .collect()
}

/// Every pair of ranges, the earlier one first; a range with itself where `same` is set.
fn pairs(ranges: &[Range<usize>], same: bool) -> Vec<(Range<usize>, Range<usize>)> {
    let skip = usize::from(!same);
    ranges
        .iter()
        .enumerate()
        .flat_map(|(at, left)| {
            ranges[at + skip..]
                .iter()
                .map(|right| (left.clone(), right.clone()))
        })
        .collect()
}

fn centred(x: ArrayView2<'_, f32>, centring: &Centring) -> Array2<f32> {
    let mut z = Array2::zeros(x.dim());
    Zip::from(z.rows_mut())
        .and(x.rows())
        .par_for_each(|mut z, x| {
            let centring = centring.shift.iter().zip(&centring.scale);
            for ((z, x), (shift, scale)) in z.iter_mut().zip(x).zip(centring) {
                *z = (x - shift) * scale;
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

/// The packed triangle, open for writing by block of rows.
struct Triangle<'a> {
    /// The first row of each block, ascending.
    starts: Vec<usize>,
    blocks: Vec<Mutex<Vec<&'a mut [f32]>>>,
}

impl<'a> Triangle<'a> {
    fn new(packed: &'a mut [f32], neurons: usize, blocks: &[Range<usize>]) -> Self {
        let mut rows = rows(neurons, packed).into_iter();
        Self {
            starts: blocks.iter().map(|block| block.start).collect(),
            blocks: blocks
                .iter()
                .map(|block| Mutex::new(rows.by_ref().take(block.len()).collect()))
                .collect(),
        }
    }

    /// Stores the r of those pairs that lie above the diagonal; `left` lies inside one block.
    fn store(
        &self,
        left: &Range<usize>,
        right: &Range<usize>,
        mean_products: &Array2<f64>,
        centring: &Centring,
        norm: &[f64],
    ) {
        let block = self.starts.partition_point(|&start| start <= left.start) - 1;
        let mut rows = self.blocks[block]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for (i, products) in left.clone().zip(mean_products.outer_iter()) {
            // On the diagonal the row begins inside the range.
            let first = right.start.max(i + 1);
            let row = &mut rows[i - self.starts[block]][first - i - 1..];
            let products = products.slice_move(s![first - right.start..]);
            for ((j, to), product) in (first..).zip(row).zip(products) {
                *to = centring.r((i, j), *product, norm);
            }
        }
    }
}
