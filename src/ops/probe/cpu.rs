//! Native passes over the blocks of X, in f32 or, for certificates, which must not inherit the solvers' rounding, in f64.

use ndarray::{Array2, ArrayView1, ArrayView2, CowArray, s};

use super::Fit;
use super::slab::Slab;
use crate::error::Result;
use crate::ops::panels::Panels;
use crate::ops::product;
use crate::ops::tiles::Entry;

/// X·W + b for each of some coefficients (d + 1) × C, intercepts first: N × C.
pub(super) fn forward<T: Entry>(
    slab: &Slab<'_>,
    thetas: &[ArrayView2<'_, T>],
) -> Result<Vec<Array2<T>>> {
    let panels = Panels::of(thetas);
    let zeros = |theta: &ArrayView2<'_, T>| Array2::default((slab.samples(), theta.ncols()));
    let mut z: Vec<Array2<T>> = thetas.iter().map(zeros).collect();
    let mut scratch = Vec::new();
    for rows in slab.blocks() {
        let x = slab.block(rows.clone(), &mut scratch)?;
        let mut out: Vec<&mut [T]> = z
            .iter_mut()
            .map(|z| {
                let columns = z.ncols();
                &mut whole(z)[rows.start * columns..rows.end * columns]
            })
            .collect();
        product::times(x, &panels, &mut out);
    }
    Ok(z)
}

/// Xᵀ·R for each of some residuals N × C: (d + 1) × C, the sums of R first. Runs of samples are added in f64.
pub(super) fn backward<T: Entry>(
    slab: &Slab<'_>,
    residuals: &[ArrayView2<'_, T>],
) -> Result<Vec<Array2<f64>>> {
    transposed(slab, false, residuals)
}

/// (X∘X)ᵀ·V: N × C → (d + 1) × C, the sums of V first. The diagonal of a Hessian, for V the loss's second derivatives.
pub(super) fn squares(slab: &Slab<'_>, v: ArrayView2<'_, f32>) -> Result<Array2<f64>> {
    Ok(transposed(slab, true, &[v])?.swap_remove(0))
}

fn transposed<T: Entry>(
    slab: &Slab<'_>,
    square: bool,
    residuals: &[ArrayView2<'_, T>],
) -> Result<Vec<Array2<f64>>> {
    let zeros = |r: &ArrayView2<'_, T>| Array2::zeros((slab.width() + 1, r.ncols()));
    let mut gradients: Vec<Array2<f64>> = residuals.iter().map(zeros).collect();
    let mut sums: Vec<Vec<f64>> = residuals.iter().map(|r| vec![0.0; r.ncols()]).collect();
    let together = product::together::<T>(sums.iter().map(Vec::len).sum());
    let mut scratch = Vec::new();
    for block in slab.blocks() {
        let x = slab.block(block.clone(), &mut scratch)?;
        for from in block.clone().step_by(together) {
            let rows = from..block.end.min(from + together);
            let some = residuals.iter().map(|r| r.slice(s![rows.clone(), ..]));
            let panels = Panels::of(&some.collect::<Vec<_>>());
            panels.add_sums(&mut sums);
            let x = x.slice(s![rows.start - block.start..rows.end - block.start, ..]);
            let mut out: Vec<&mut [f64]> = gradients
                .iter_mut()
                .map(|g| {
                    let columns = g.ncols();
                    &mut whole(g)[columns..]
                })
                .collect();
            product::add_transposed(x, square, &panels, &mut out);
        }
    }
    for (gradient, sums) in gradients.iter_mut().zip(sums) {
        gradient.row_mut(0).assign(&ArrayView1::from(&sums));
    }
    Ok(gradients)
}

fn whole<T>(matrix: &mut Array2<T>) -> &mut [T] {
    matrix.as_slice_mut().expect("it was made here, row by row")
}

/// W·x + b for each row of raw activations: N × C.
pub(super) fn predictions(fit: &Fit, x: ArrayView2<'_, f32>) -> Array2<f32> {
    let mut theta = Array2::zeros((x.ncols() + 1, fit.weights.nrows()));
    theta.row_mut(0).assign(&fit.bias);
    theta.slice_mut(s![1.., ..]).assign(&fit.weights.t());
    let mut z = Array2::zeros((x.nrows(), fit.weights.nrows()));
    let x = match x.strides()[1] {
        1 => CowArray::from(x),
        _ => x.as_standard_layout(), // a product reads whole rows
    };
    product::times(x.view(), &Panels::of(&[theta.view()]), &mut [whole(&mut z)]);
    z
}

/// First maximum of W·x + b for each row.
pub(super) fn predict(fit: &Fit, x: ArrayView2<'_, f32>) -> Vec<u32> {
    let logits = predictions(fit, x);
    let first_max = |row: ArrayView1<'_, f32>| {
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
