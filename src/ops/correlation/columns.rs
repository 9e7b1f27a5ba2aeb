//! The columns that are correlated: the neurons of one side, or of two over the same samples, one side after the other.

use std::ops::Range;

use ndarray::ArrayView2;
use rayon::prelude::*;

use super::Side;
use crate::activations::{Rows, Stored, rows_of};
use crate::error::Result;
use crate::ops::moments::Spread;

/// Values that one thread reads at a time: they stay in its cache.
const READ: usize = 1 << 16;

/// The columns, and how each is centred and scaled: exactly in f32.
#[derive(Clone)]
pub(super) struct Columns<'a> {
    sides: Vec<&'a dyn Rows>,
    /// Where each side begins, and where the last one ends.
    starts: Vec<usize>,
    samples: usize,
    shift: Vec<f32>,
    /// 0 for a constant neuron.
    scale: Vec<f32>,
    /// Mean of z, in f64: what the rounding of the shift leaves.
    residual: Vec<f64>,
    /// As `residual`, whoever subtracts it.
    rest: Vec<f64>,
    /// Of the activations as they are.
    sd: Vec<f64>,
}

/// Some columns, and where the first of them goes in a row.
pub(super) struct Placed {
    pub columns: Range<usize>,
    pub to: usize,
}

/// How rows of a side are read, and what becomes of one row of some columns.
struct Access<'a, T> {
    read: &'a Read<T>,
    change: &'a Change<'a, T>,
}

type Read<T> = dyn Fn(&dyn Rows, usize, &mut [T]) -> Result<()> + Sync;
type Change<'a, T> = dyn Fn(Range<usize>, &[T], &mut [T]) + Sync + 'a;

impl<'a> Columns<'a> {
    /// The sides have moments of as many samples and neurons: the caller has checked it.
    pub(super) fn new(sides: &[Side<'a>]) -> Self {
        let mut columns = Self {
            sides: Vec::new(),
            starts: vec![0],
            samples: sides[0].rows.shape().0,
            shift: Vec::new(),
            scale: Vec::new(),
            residual: Vec::new(),
            rest: Vec::new(),
            sd: Vec::new(),
        };
        for side in sides {
            columns.sides.push(side.rows);
            let moments = side.moments;
            columns.sd.extend(&moments.sd);
            let each = moments.mean.iter().zip(&moments.sd).zip(&moments.spread);
            for ((&mean, sd), spread) in each {
                let shift = mean as f32;
                let scale = match spread {
                    Spread::Constant => 0.0,
                    _ => 2f32.powi(-(sd.log2().round() as i32).clamp(-126, 126)),
                };
                columns.shift.push(shift);
                columns.scale.push(scale);
                let left = (mean - f64::from(shift)) * f64::from(scale);
                columns.residual.push(left);
            }
            columns.starts.push(columns.shift.len());
        }
        columns.rest.clone_from(&columns.residual);
        columns
    }

    /// The same columns, where whoever centres them subtracts the [`Columns::rest`] as well: then z has no mean.
    pub(super) fn without_residual(&self) -> Self {
        let mut other = self.clone();
        other.residual.fill(0.0);
        other
    }

    /// The largest size that a centred and scaled value may have: no value is further from the mean than √(N − 1) sd
    /// (Samuelson 1968).
    pub(super) fn largest(&self) -> f64 {
        let each = self.sd.iter().zip(&self.scale);
        let largest = each.fold(0.0, |most: f64, (sd, scale)| {
            most.max(sd * f64::from(*scale))
        });
        largest * (self.samples as f64).sqrt()
    }

    /// What the rounding of the shift leaves of the mean of z.
    pub(super) fn rest(&self) -> &[f64] {
        &self.rest
    }

    /// All of them.
    pub(super) fn all(&self) -> Range<usize> {
        0..self.shift.len()
    }

    pub(super) fn samples(&self) -> usize {
        self.samples
    }

    /// Whether there are two sides, so that only pairs of one with the other count.
    pub(super) fn is_cross(&self) -> bool {
        self.sides.len() == 2
    }

    /// The columns of the left neurons of pairs, and of the right ones.
    pub(super) fn sides(&self) -> [Range<usize>; 2] {
        let side = |at: usize| self.starts[at]..self.starts[at + 1];
        [side(0), side(self.sides.len() - 1)]
    }

    /// All columns, a span for each side.
    pub(super) fn spans(&self) -> Vec<Range<usize>> {
        self.split(std::iter::once(self.all()).collect())
    }

    /// The parts of ascending spans that lie in one side each.
    pub(super) fn split(&self, spans: Vec<Range<usize>>) -> Vec<Range<usize>> {
        let of_side = |span: Range<usize>| {
            let sides = self.starts.windows(2);
            sides.map(move |side| span.start.max(side[0])..span.end.min(side[1]))
        };
        let parts = spans.into_iter().flat_map(of_side);
        parts.filter(|part| !part.is_empty()).collect()
    }

    pub(super) fn shift(&self) -> &[f32] {
        &self.shift
    }

    pub(super) fn scale(&self) -> &[f32] {
        &self.scale
    }

    /// Mean of z of a column: what the rounding of the shift leaves.
    pub(super) fn residual(&self, column: usize) -> f64 {
        self.residual[column]
    }

    /// Standard deviation of each column, in the unit of the activations.
    pub(super) fn sd(&self) -> &[f64] {
        &self.sd
    }

    /// 1/sd of z from the diagonal of G/N; 0 for a constant neuron.
    pub(super) fn norm(&self, column: usize, mean_square: f64) -> f64 {
        let variance = mean_square - self.residual[column].powi(2);
        if variance > 0.0 {
            variance.sqrt().recip()
        } else {
            0.0
        }
    }

    /// r of two columns from G_ij/N and the norms; 1 of one with itself.
    pub(super) fn r(&self, (i, j): (usize, usize), mean_product: f64, norm: &[f64]) -> f32 {
        if i == j {
            return 1.0;
        }
        let covariance = mean_product - self.residual[i] * self.residual[j];
        (covariance * (norm[i] * norm[j])).clamp(-1.0, 1.0) as f32
    }

    /// The type that all sides are stored in; F32 where they differ.
    pub(super) fn stored(&self) -> Stored {
        let first = self.sides[0].stored();
        let same = self.sides.iter().all(|side| side.stored() == first);
        if same { first } else { Stored::F32 }
    }

    /// Rows from `from` on, `width` values each, of which `placed` says what they hold. The others stay.
    pub(super) fn read(
        &self,
        from: usize,
        placed: &[Placed],
        width: usize,
        out: &mut [f32],
    ) -> Result<()> {
        self.each(
            from,
            placed,
            width,
            out,
            &Access {
                read: &|rows, from, out| rows.read_rows(from, out),
                change: &|_, stored, out| out.copy_from_slice(stored),
            },
        )
    }

    /// As [`Columns::read`], the bits of values that are [`Columns::stored`] in 16 bits.
    pub(super) fn read_bits(
        &self,
        from: usize,
        placed: &[Placed],
        width: usize,
        out: &mut [u16],
    ) -> Result<()> {
        self.each(
            from,
            placed,
            width,
            out,
            &Access {
                read: &|rows, from, out| rows.read_bits(from, out),
                change: &|_, stored, out| out.copy_from_slice(stored),
            },
        )
    }

    /// As [`Columns::read`], centred and scaled.
    pub(super) fn centred(
        &self,
        from: usize,
        placed: &[Placed],
        width: usize,
        out: &mut [f32],
    ) -> Result<()> {
        self.each(
            from,
            placed,
            width,
            out,
            &Access {
                read: &|rows, from, out| rows.read_rows(from, out),
                change: &|columns, stored, out| {
                    let centring = self.shift[columns.clone()].iter().zip(&self.scale[columns]);
                    for ((out, stored), (shift, scale)) in out.iter_mut().zip(stored).zip(centring)
                    {
                        // The scale is a power of two, so this rounds as (stored − shift) · scale does, and cannot overflow.
                        *out = stored * scale - shift * scale;
                    }
                },
            },
        )
    }

    fn each<T: Copy + Default + Send>(
        &self,
        from: usize,
        placed: &[Placed],
        width: usize,
        out: &mut [T],
        access: &Access<'_, T>,
    ) -> Result<()> {
        let rows = (READ / self.shift.len()).max(1);
        out.par_chunks_mut(rows * width)
            .enumerate()
            .try_for_each(|(chunk, out)| {
                let from = from + chunk * rows;
                for (side, start) in self.sides.iter().zip(self.starts.windows(2)) {
                    let inside = |span: &Placed| {
                        let columns = &span.columns;
                        columns.start.max(start[0])..columns.end.min(start[1])
                    };
                    if placed.iter().all(|span| inside(span).is_empty()) {
                        continue;
                    }
                    let neurons = start[1] - start[0];
                    let mut stored = vec![T::default(); out.len() / width * neurons];
                    (access.read)(*side, from, &mut stored)?;
                    for span in placed {
                        let columns = inside(span);
                        if columns.is_empty() {
                            continue;
                        }
                        let to = span.to + columns.start - span.columns.start;
                        let rows = out.chunks_exact_mut(width);
                        for (out, stored) in rows.zip(stored.chunks_exact(neurons)) {
                            let stored = &stored[columns.start - start[0]..columns.end - start[0]];
                            let out = &mut out[to..to + columns.len()];
                            (access.change)(columns.clone(), stored, out);
                        }
                    }
                }
                Ok(())
            })
    }
}

/// Samples in memory.
#[derive(Debug)]
pub(super) struct Held<'a>(pub ArrayView2<'a, f32>);

impl Rows for Held<'_> {
    fn shape(&self) -> (usize, usize) {
        self.0.dim()
    }

    fn read_rows(&self, start: usize, out: &mut [f32]) -> Result<()> {
        let rows = rows_of(self.shape(), start, out.len())?;
        let from = self.0.slice(ndarray::s![rows, ..]);
        for (out, row) in out.chunks_exact_mut(self.0.ncols()).zip(from.rows()) {
            match row.as_slice() {
                Some(row) => out.copy_from_slice(row),
                None => out
                    .iter_mut()
                    .zip(row)
                    .for_each(|(out, value)| *out = *value),
            }
        }
        Ok(())
    }
}
