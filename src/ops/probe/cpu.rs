//! Native passes: f32 GEMMs over blocks of X, rayon over the blocks, f64 sums over row chunks.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, s};
use rayon::prelude::*;

use super::Fit;
use super::slab::Slab;
use crate::error::Result;

/// Rows that a forward task takes.
const FORWARD_ROWS: usize = 256;
/// The same in f64, where it makes a copy of them.
const FORWARD_ROWS_F64: usize = 64;
/// Rows that one f32 partial of the backward GEMM covers; partials are added in f64.
const BACKWARD_ROWS: usize = super::design::BLOCK_ROWS;
/// Neurons that a backward task takes.
const BACKWARD_COLUMNS: usize = 128;

/// C = A·B in f32, single-threaded, for any strides.
pub(super) fn gemm(a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>, mut c: ArrayViewMut2<'_, f32>) {
    general_mat_mul(1.0, &a, &b, 0.0, &mut c);
}

/// X·W: N × d times d × K.
pub(super) fn forward(slab: &Slab<'_>, w: ArrayView2<'_, f32>) -> Result<Array2<f32>> {
    let mut z = Array2::zeros((slab.samples(), w.ncols()));
    let mut scratch = Vec::new();
    for rows in slab.blocks() {
        let x = slab.block(rows.clone(), &mut scratch)?;
        product(x, w, z.slice_mut(s![rows, ..]));
    }
    Ok(z)
}

/// X·W of a matrix at hand.
fn product(x: ArrayView2<'_, f32>, w: ArrayView2<'_, f32>, mut z: ArrayViewMut2<'_, f32>) {
    z.axis_chunks_iter_mut(Axis(0), FORWARD_ROWS)
        .into_par_iter()
        .enumerate()
        .for_each(|(chunk, out)| {
            let from = chunk * FORWARD_ROWS;
            gemm(x.slice(s![from..from + out.nrows(), ..]), w, out);
        });
}

/// Xᵀ·R: d × N times N × K, in f32 over chunks of rows, the chunks added in f64 in order.
pub(super) fn backward(slab: &Slab<'_>, r: ArrayView2<'_, f32>) -> Result<Array2<f64>> {
    let mut g = Array2::<f64>::zeros((slab.width(), r.ncols()));
    let mut scratch = Vec::new();
    for rows in slab.blocks() {
        let x = slab.block(rows.clone(), &mut scratch)?;
        let r = r.slice(s![rows, ..]);
        g.axis_chunks_iter_mut(Axis(0), BACKWARD_COLUMNS)
            .into_par_iter()
            .enumerate()
            .for_each(|(strip, mut sum)| {
                let left = strip * BACKWARD_COLUMNS;
                let mut partial = Array2::zeros(sum.dim());
                for from in (0..r.nrows()).step_by(BACKWARD_ROWS) {
                    let rows = from..(from + BACKWARD_ROWS).min(r.nrows());
                    let a = x.slice(s![rows.clone(), left..left + sum.nrows()]);
                    gemm(a.t(), r.slice(s![rows, ..]), partial.view_mut());
                    sum.zip_mut_with(&partial, |s, p| *s += f64::from(*p));
                }
            });
    }
    Ok(g)
}

/// (X∘X)ᵀ·V: d × N times N × K. The diagonal of a Hessian, for V the loss's second derivatives.
pub(super) fn squares(slab: &Slab<'_>, v: ArrayView2<'_, f32>) -> Result<Array2<f64>> {
    let mut g = Array2::<f64>::zeros((slab.width(), v.ncols()));
    let mut scratch = Vec::new();
    for rows in slab.blocks() {
        let x = slab.block(rows.clone(), &mut scratch)?;
        let v = v.slice(s![rows, ..]);
        g.axis_chunks_iter_mut(Axis(0), BACKWARD_COLUMNS)
            .into_par_iter()
            .enumerate()
            .for_each(|(strip, mut sum)| {
                let left = strip * BACKWARD_COLUMNS;
                let mut partial = Array2::zeros(sum.dim());
                for from in (0..v.nrows()).step_by(BACKWARD_ROWS) {
                    let rows = from..(from + BACKWARD_ROWS).min(v.nrows());
                    let a = x.slice(s![rows.clone(), left..left + sum.nrows()]);
                    let squared = a.mapv(|x| x * x);
                    gemm(squared.t(), v.slice(s![rows, ..]), partial.view_mut());
                    sum.zip_mut_with(&partial, |s, p| *s += f64::from(*p));
                }
            });
    }
    Ok(g)
}

/// X·W in f64: N × d times d × K. For certificates: they must not inherit the solvers' rounding.
pub(super) fn forward_f64(slab: &Slab<'_>, w: ArrayView2<'_, f64>) -> Result<Array2<f64>> {
    let mut z = Array2::zeros((slab.samples(), w.ncols()));
    let mut scratch = Vec::new();
    for rows in slab.blocks() {
        let x = slab.block(rows.clone(), &mut scratch)?;
        z.slice_mut(s![rows, ..])
            .axis_chunks_iter_mut(Axis(0), FORWARD_ROWS_F64)
            .into_par_iter()
            .enumerate()
            .for_each(|(chunk, mut out)| {
                let from = chunk * FORWARD_ROWS_F64;
                let block = x.slice(s![from..from + out.nrows(), ..]).mapv(f64::from);
                general_mat_mul(1.0, &block, &w, 0.0, &mut out);
            });
    }
    Ok(z)
}

/// Xᵀ·R in f64, for each of some R: d × N times N × K.
pub(super) fn backward_f64(slab: &Slab<'_>, parts: &[Array2<f64>]) -> Result<Vec<Array2<f64>>> {
    let zeros = |r: &Array2<f64>| Array2::zeros((slab.width(), r.ncols()));
    let mut sums: Vec<Array2<f64>> = parts.iter().map(zeros).collect();
    let mut scratch = Vec::new();
    for rows in slab.blocks() {
        let x = slab.block(rows.clone(), &mut scratch)?;
        // Each strip of neurons, with its part of every sum.
        let mut strips: Vec<Vec<ArrayViewMut2<'_, f64>>> = Vec::new();
        for sum in &mut sums {
            let chunks = sum.axis_chunks_iter_mut(Axis(0), BACKWARD_COLUMNS);
            for (strip, chunk) in chunks.enumerate() {
                match strips.get_mut(strip) {
                    Some(strip) => strip.push(chunk),
                    None => strips.push(vec![chunk]),
                }
            }
        }
        strips
            .into_par_iter()
            .enumerate()
            .for_each(|(strip, mut sums)| {
                let left = strip * BACKWARD_COLUMNS;
                let right = left + sums[0].nrows();
                for from in (0..rows.len()).step_by(BACKWARD_ROWS) {
                    let to = (from + BACKWARD_ROWS).min(rows.len());
                    let columns = x.slice(s![from..to, left..right]).mapv(f64::from);
                    for (sum, r) in sums.iter_mut().zip(parts) {
                        let r = r.slice(s![rows.start + from..rows.start + to, ..]);
                        general_mat_mul(1.0, &columns.t(), &r, 1.0, sum);
                    }
                }
            });
    }
    Ok(sums)
}

/// W·x + b for each row of raw activations: N × C.
pub(super) fn predictions(fit: &Fit, x: ArrayView2<'_, f32>) -> Array2<f32> {
    let mut z = Array2::zeros((x.nrows(), fit.weights.nrows()));
    product(x, fit.weights.t(), z.view_mut());
    z += &fit.bias;
    z
}

/// First maximum of W·x + b for each row.
pub(super) fn predict(fit: &Fit, x: ArrayView2<'_, f32>) -> Vec<u32> {
    let logits = predictions(fit, x);
    let first_max = |row: ndarray::ArrayView1<'_, f32>| {
        let mut best = 0;
        for (class, value) in row.iter().enumerate() {
            if *value > row[best] {
                best = class;
            }
        }
        best as u32
    };
    logits.rows().into_iter().map(first_max).collect()
}
