//! Native passes over the blocks of X, in f32 or, for certificates, which must not inherit the solvers' rounding, in f64.

use ndarray::{Array2, ArrayView2, s};

use super::Fit;
use super::slab::Slab;
use crate::error::Result;
use crate::ops::product::{self, Entry, Panels};

/// X·W: N × d times d × K.
pub(super) fn forward<T: Entry>(slab: &Slab<'_>, w: ArrayView2<'_, T>) -> Result<Array2<T>> {
    let panels = Panels::of(w);
    let mut z = Array2::default((slab.samples(), w.ncols()));
    let mut scratch = Vec::new();
    for rows in slab.blocks() {
        let x = slab.block(rows.clone(), &mut scratch)?;
        product::times(x, &panels, z.slice_mut(s![rows, ..]));
    }
    Ok(z)
}

/// Xᵀ·R: d × N times N × K. Runs of samples are added in f64.
pub(super) fn backward<T: Entry>(slab: &Slab<'_>, r: ArrayView2<'_, T>) -> Result<Array2<f64>> {
    transposed(slab, false, r)
}

/// (X∘X)ᵀ·V: d × N times N × K. The diagonal of a Hessian, for V the loss's second derivatives.
pub(super) fn squares(slab: &Slab<'_>, v: ArrayView2<'_, f32>) -> Result<Array2<f64>> {
    transposed(slab, true, v)
}

fn transposed<T: Entry>(
    slab: &Slab<'_>,
    square: bool,
    r: ArrayView2<'_, T>,
) -> Result<Array2<f64>> {
    let panels = Panels::of(r);
    let mut g = Array2::zeros((slab.width(), r.ncols()));
    let mut scratch = Vec::new();
    for rows in slab.blocks() {
        let from = rows.start;
        let x = slab.block(rows, &mut scratch)?;
        product::add_transposed(x, square, &panels, from, g.view_mut());
    }
    Ok(g)
}

/// W·x + b for each row of raw activations: N × C.
pub(super) fn predictions(fit: &Fit, x: ArrayView2<'_, f32>) -> Array2<f32> {
    let mut z = Array2::zeros((x.nrows(), fit.weights.nrows()));
    let x = x.as_standard_layout();
    product::times(x.view(), &Panels::of(fit.weights.t()), z.view_mut());
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
