//! A scan on a device beside the same natively, where that was asked for ([`crate::ops::validate`]).

use std::sync::{Mutex, PoisonError};

use ndarray::{Array2, ArrayView2, Zip, s};

use super::columns::Columns;
use super::{Findings, Matrix, TOLERANCE, Wanted};
use crate::error::Result;
use crate::ops::Backend;
use crate::ops::validate::{self, Deviation};

/// All of r on its way to where it is wanted.
#[derive(Debug)]
struct Copied<'a> {
    to: &'a dyn Matrix,
    r: Mutex<Array2<f32>>,
}

impl Matrix for Copied<'_> {
    fn tile(&self, at: (usize, usize), r: ArrayView2<'_, f32>) -> Result<()> {
        self.to.tile(at, r)?;
        let mut copy = self.r.lock().unwrap_or_else(PoisonError::into_inner);
        copy.slice_mut(s![at.0..at.0 + r.nrows(), at.1..at.1 + r.ncols()])
            .assign(&r);
        Ok(())
    }
}

/// The largest difference from a copy.
#[derive(Debug)]
struct Beside {
    r: Array2<f32>,
    /// Of one model: there each pair was copied once, with its left neuron first.
    same: bool,
    allowed: f64,
    deviation: Mutex<Deviation>,
}

impl Matrix for Beside {
    fn tile(&self, at: (usize, usize), r: ArrayView2<'_, f32>) -> Result<()> {
        let inside = s![at.0..at.0 + r.nrows(), at.1..at.1 + r.ncols()];
        let copy = self.r.slice(inside);
        let mut largest = 0f64;
        let mut values = 0;
        Zip::indexed(&copy).and(&r).for_each(|(i, j), copy, r| {
            if self.same && at.0 + i > at.1 + j {
                return;
            }
            let off = f64::from((copy - r).abs());
            largest = largest.max(if off.is_nan() { f64::INFINITY } else { off });
            values += 1;
        });
        let deviation = self.deviation.lock();
        let mut deviation = deviation.unwrap_or_else(PoisonError::into_inner);
        deviation.take(largest, self.allowed);
        deviation.also(values - 1);
        Ok(())
    }
}

/// What `run` finds on a device, compared with what `native` does; a whole matrix is copied for it, 4 bytes a pair of neurons.
/// Where they differ by more than both may be off, everything is native.
///
/// # Errors
/// What either returns.
pub(super) fn validated(
    backend: &Backend,
    columns: &Columns<'_>,
    wanted: &Wanted<'_>,
    run: impl Fn(&Wanted<'_>) -> Result<Findings>,
    native: impl Fn(&Wanted<'_>) -> Result<Findings>,
) -> Result<Findings> {
    let [left, right] = columns.sides().map(|side| side.len());
    let copied = wanted.matrix.map(|to| Copied {
        to,
        r: Mutex::new(Array2::zeros((left, right))),
    });
    let matrix = copied.as_ref().map(|copied| copied as &dyn Matrix);
    let found = run(&Wanted { matrix, ..*wanted })?;
    // Each is within its own of r in f64.
    let allowed = found.computed.tolerance + TOLERANCE;
    let beside = copied.map(|copied| Beside {
        r: copied
            .r
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner),
        same: !columns.is_cross(),
        allowed,
        deviation: Mutex::new(Deviation::none()),
    });
    let matrix = beside.as_ref().map(|beside| beside as &dyn Matrix);
    let natively = || native(&Wanted { matrix, ..*wanted });
    let names = ("correlations", "r");
    let of = |found: &Findings, native: &Findings| {
        let mut deviation = match &beside {
            None => Deviation::none(),
            Some(beside) => {
                let deviation = beside.deviation.lock();
                let mut deviation = deviation.unwrap_or_else(PoisonError::into_inner);
                std::mem::replace(&mut *deviation, Deviation::none())
            }
        };
        compare(&mut deviation, wanted, (found, native), allowed);
        deviation
    };
    let (found, is_native) = validate::judged(names, backend, found, natively, of)?;
    match wanted.matrix {
        // Where all of r is wanted it is to be native, too.
        Some(_) if is_native => native(wanted),
        _ => Ok(found),
    }
}

/// Takes what the findings of two scans differ by.
fn compare(
    deviation: &mut Deviation,
    wanted: &Wanted<'_>,
    (found, native): (&Findings, &Findings),
    allowed: f64,
) {
    if let Some(least) = wanted.at_least {
        edges(deviation, f64::from(least), (found, native), allowed);
    }
    let lists = [
        (&found.partners, &native.partners),
        (&found.partners_of_right, &native.partners_of_right),
    ];
    for (found, native) in lists {
        for (found, native) in found.iter().zip(native) {
            // Rank by rank: of partners that are as near as roundings either may come first.
            for (a, b) in found.iter().zip(native) {
                deviation.take(f64::from(a.r.abs()) - f64::from(b.r.abs()), allowed);
            }
        }
    }
    if let (Some(a), Some(b)) = (&found.distribution, &native.distribution) {
        deviation.each(&[a.mean, a.mean_size], &[b.mean, b.mean_size], allowed);
        deviation.each(&[a.pairs as f64], &[b.pairs as f64], 0.5);
    }
    if let (Some(a), Some(b)) = (&found.layers, &native.layers) {
        let largest = |of: &Array2<f32>| of.iter().map(|r| f64::from(*r)).collect::<Vec<f64>>();
        let mean = |of: &Array2<f64>| of.iter().copied().collect::<Vec<f64>>();
        deviation.each(&mean(&a.mean), &mean(&b.mean), allowed);
        deviation.each(&largest(&a.largest), &largest(&b.largest), allowed);
    }
}

/// Of two ascending lists of edges: r of those in both, and how far those in one of them are above the threshold.
fn edges(
    deviation: &mut Deviation,
    least: f64,
    (found, native): (&Findings, &Findings),
    allowed: f64,
) {
    let (mut a, mut b) = (
        found.edges.iter().peekable(),
        native.edges.iter().peekable(),
    );
    loop {
        let order = match (a.peek(), b.peek()) {
            (None, None) => return,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(a), Some(b)) => (a.i, a.j).cmp(&(b.i, b.j)),
        };
        let of_a = a.next_if(|_| order.is_le()).map(|edge| f64::from(edge.r));
        let of_b = b.next_if(|_| order.is_ge()).map(|edge| f64::from(edge.r));
        match (of_a, of_b) {
            (Some(a), Some(b)) => deviation.take(a - b, allowed),
            (Some(r), None) | (None, Some(r)) => deviation.take(r.abs() - least, allowed),
            (None, None) => return,
        }
    }
}
