//! What a device gave back as a Hessian, checked natively: no entry is larger than the diagonal allows, and some of them are
//! summed again. A wrong Hessian makes a step poor and no fit wrong, since gradients, line searches and certificates do not
//! depend on it: the check need not find what is off by little.

use ndarray::Array2;
use ndarray::parallel::prelude::*;
use ndarray::{ArrayView1, Axis};

use super::Terms;
use crate::error::Result;

/// Entries that are summed again.
const AGAIN: usize = 8;

/// How far an entry h_jk may be off, as a multiple of √(h_jj·h_kk).
const ALLOWED: f64 = 1e-3;

/// What is wrong with H, if anything. `gather` gives the entries of some samples and rows.
///
/// # Errors
/// What `gather` returns.
pub(super) fn wrong(
    h: &Array2<f32>,
    rows: &[Vec<usize>],
    terms: &[&Terms],
    gather: &impl Fn(&[u32], &[usize]) -> Result<Array2<f32>>,
) -> Result<Option<String>> {
    let sizes: Vec<f64> = h.diag().iter().map(|h| f64::from(*h).sqrt()).collect();
    // What is not a number is not within anything.
    let within = |h: f64, expected: f64, allowed: f64| (h - expected).abs() <= allowed + 1e-30;
    let strange = |(j, row): (usize, ArrayView1<'_, f32>)| {
        let bounds = sizes.iter().map(|size| (1.0 + ALLOWED) * sizes[j] * size);
        let mut each = row.iter().zip(bounds);
        each.any(|(h, bound)| !within(f64::from(*h), 0.0, bound))
    };
    let each = h.axis_iter(Axis(0)).into_par_iter().enumerate();
    if let Some(j) = each.filter_map(|row| strange(row).then_some(row.0)).min() {
        return Ok(Some(format!(
            "an entry of row {j} is larger than its diagonal allows"
        )));
    }
    let n = h.nrows();
    for at in 0..AGAIN.min(n) {
        // One place in each eighth of the rows, with one of any class.
        let (j, k) = (
            (2 * at + 1) * n / (2 * AGAIN.min(n)),
            (5 * at + 3) * n / (5 * AGAIN + 3),
        );
        let (j, k) = (j.min(k), j.max(k));
        let expected = entry(rows, terms, (j, k), gather)?;
        let found = f64::from(h[(j, k)]);
        if !within(found, expected, ALLOWED * sizes[j] * sizes[k]) {
            return Ok(Some(format!(
                "entry {j}, {k} is {found:e} instead of {expected:e}"
            )));
        }
    }
    Ok(None)
}

/// One entry of H, j ≤ k, in f64.
fn entry(
    rows: &[Vec<usize>],
    terms: &[&Terms],
    (j, k): (usize, usize),
    gather: &impl Fn(&[u32], &[usize]) -> Result<Array2<f32>>,
) -> Result<f64> {
    let named = |place: usize| {
        let mut left = place;
        for (class, rows) in rows.iter().enumerate() {
            match rows.get(left) {
                Some(&row) => return (class, row),
                None => left -= rows.len(),
            }
        }
        unreachable!("H has as many entries as there are rows")
    };
    let ((a, down), (b, across)) = (named(j), named(k));
    let Some(terms) = terms.iter().find(|terms| (terms.a, terms.b) == (a, b)) else {
        return Ok(0.0);
    };
    let sides = [
        gather(&terms.samples, &[down])?,
        gather(&terms.samples, &[across])?,
    ];
    let products = sides[0].iter().zip(&sides[1]).zip(&terms.weights);
    let sum: f64 = products
        .map(|((x, y), weight)| f64::from(*weight) * f64::from(*x) * f64::from(*y))
        .sum();
    Ok(if a == b { sum } else { -sum })
}
