//! What devices gave back of r, checked natively by one more pass over the samples ([`crate::ops::verify`]).

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use ndarray::linalg::general_mat_mul;
use ndarray::parallel::prelude::*;
use ndarray::{Array2, ArrayView2, Axis, s};
use rayon::slice::ParallelSliceMut;

use super::columns::{Columns, Placed};
use super::distribution::{BINS, Sums};
use super::findings::{Leavings, OfTile};
use super::kept::{Again, of_kept};
use super::padded::Padded;
use super::{Findings, Wanted};
use crate::error::Result;

/// Neurons of a strip.
const STRIP: usize = 8;
/// Values of a block of samples.
const BLOCK: usize = 1 << 20;
/// How far a norm may be off, as a share: one from values that were rounded to f16, or so small that some count as 0.
const NORM: f64 = 1e-2;

/// What came back so far.
pub(super) struct Observed<'a> {
    columns: &'a Columns<'a>,
    padded: &'a Padded,
    tolerance: f64,
    /// Neurons of a strip; a whole tile has so many strips.
    strip: usize,
    strips: usize,
    /// The first right tile.
    right: usize,
    /// Σ r of strips of left neurons and right tiles; NaN where it is not known.
    sums: Mutex<Array2<f64>>,
}

impl<'a> Observed<'a> {
    /// Nothing so far of r that is right within `tolerance`; of tiles that stay on their device whole sums are known.
    pub(super) fn new(
        columns: &'a Columns<'a>,
        padded: &'a Padded,
        tolerance: f64,
        stays: bool,
    ) -> Self {
        let strip = if stays { padded.tile } else { STRIP };
        let strips = padded.tile.div_ceil(strip);
        let (left, right) = padded.sides(columns.is_cross());
        let shape = (left.len() * strips, right.len());
        Self {
            columns,
            padded,
            tolerance,
            strip,
            strips,
            right: right.start,
            sums: Mutex::new(Array2::from_elem(shape, f64::NAN)),
        }
    }

    /// What is wrong with the norms.
    pub(super) fn of_norms(&self, norm: &[f64]) -> Option<String> {
        let native = self.norms();
        let right = |(norm, native): (&f64, &f64)| (norm - native).abs() <= NORM * native;
        let at = norm.iter().zip(&native).position(|pair| !right(pair))?;
        Some(format!(
            "1/sd of column {at} is {:e} instead of {:e}",
            norm[at], native[at]
        ))
    }

    /// 1/sd of z by the moments; 0 for a constant neuron.
    fn norms(&self) -> Vec<f64> {
        let each = self.columns.sd().iter().zip(self.columns.scale());
        let norm = |(sd, scale): (&f64, &f32)| match *scale {
            0.0 => 0.0,
            scale => (sd * f64::from(scale)).recip(),
        };
        each.map(norm).collect()
    }

    /// Takes a tile whose products, divided by the number of samples, came back; what is wrong with them.
    pub(super) fn tile(
        &self,
        tile: [u32; 2],
        products: ArrayView2<'_, f64>,
        norm: &[f64],
    ) -> Option<String> {
        let [left, right] = tile.map(|tile| self.padded.columns[tile as usize].clone());
        let mut sums = vec![0.0; left.len().div_ceil(self.strip)];
        let most = 1.0 + 2.0 * self.tolerance;
        for ((at, i), products) in left.clone().enumerate().zip(products.rows()) {
            let (rest, own) = (self.columns.residual(i), norm[i]);
            for (j, product) in right.clone().zip(products) {
                let r = (product - rest * self.columns.residual(j)) * (own * norm[j]);
                if i == j {
                    continue;
                }
                sums[at / self.strip] += r.clamp(-1.0, 1.0);
                // Not so of NaN either.
                let possible = r.abs() <= most;
                if !possible {
                    return Some(format!("r of columns {i} and {j} is {r:e}"));
                }
            }
        }
        let mut known = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        let (top, column) = (
            tile[0] as usize * self.strips,
            tile[1] as usize - self.right,
        );
        for (at, sum) in sums.into_iter().enumerate() {
            known[(top + at, column)] = sum;
        }
        None
    }

    /// Pairs of neurons of a tile off the diagonal.
    fn pairs(&self, tile: &[u32; 2]) -> f64 {
        let [left, right] = tile.map(|tile| self.padded.columns[tile as usize].len());
        (left * right) as f64
    }

    /// Takes what a device says of some tiles that stay there: counts over all of them, and of each the sums of r, r², r³,
    /// r⁴ and |r|; what is wrong with that.
    pub(super) fn reduced(
        &self,
        tiles: &[[u32; 2]],
        bins: &[u32],
        powers: &[f32],
    ) -> Option<String> {
        let pairs: f64 = tiles.iter().map(|tile| self.pairs(tile)).sum();
        let counted: f64 = bins.iter().map(|count| f64::from(*count)).sum();
        if (counted - pairs).abs() > 0.5 {
            return Some(format!("{counted} of {pairs} pairs are in the histogram"));
        }
        let mut total = Sums::default();
        for (total, count) in total.counts.iter_mut().zip(bins) {
            *total = u64::from(*count);
        }
        let mut known = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        for (tile, of_tile) in tiles.iter().zip(powers.chunks_exact(5)) {
            let pairs = self.pairs(tile);
            let [one, two, three, four, size] = [0, 1, 2, 3, 4].map(|at| f64::from(of_tile[at]));
            // As sums of numbers from −1 to 1 are, and by Cauchy and Schwarz.
            let slack = 1e-4 * pairs;
            let holds = |low: f64, high: f64| low <= high + slack;
            let agree = holds(one.abs(), size)
                && holds(two, size)
                && holds(three.abs(), two)
                && holds(four, two)
                && holds(size, pairs)
                && holds(size * size, pairs * two * (1.0 + 1e-3))
                && holds(two * two, pairs * four * (1.0 + 1e-3))
                && holds(two * two, size * three.abs().max(size));
            if !agree {
                return Some(format!(
                    "sums of powers {of_tile:?} of {pairs} pairs do not fit one another"
                ));
            }
            total.add(&Sums {
                powers: [one, two, three, four],
                size,
                ..Sums::default()
            });
            known[(tile[0] as usize, tile[1] as usize - self.right)] = one;
        }
        drop(known);
        of_histogram(&total)
    }

    /// What is wrong with pairs that a device tells of: places among the values of all tiles, and Σ of products.
    pub(super) fn told(
        &self,
        tiles: &[[u32; 2]],
        part: &Range<usize>,
        told: &[[u32; 2]],
    ) -> Option<String> {
        let edge = self.padded.tile;
        let outside = |[place, bits]: &[u32; 2]| {
            let place = *place as usize;
            let (tile, row, column) = (place / (edge * edge), place / edge % edge, place % edge);
            let inside = part.contains(&tile) && {
                let [left, right] =
                    tiles[tile].map(|tile| self.padded.columns[tile as usize].len());
                row < left && column < right
            };
            !(inside && f32::from_bits(*bits).is_finite())
        };
        let wrong = told.par_iter().find_any(|pair| outside(pair))?;
        Some(format!(
            "a pair at {} of sum {:#x} is none",
            wrong[0], wrong[1]
        ))
    }

    /// What is wrong with the sums by pair of layers of one tile: of |r|, of squares of shares, and the largest |r|.
    pub(super) fn layers(&self, tile: &[u32; 2], found: &OfTile) -> Option<String> {
        let mut all = 0.0;
        for (rectangle, sums) in &found.rectangles {
            let pairs = (rectangle.rows.len() * rectangle.columns.len()) as f64;
            let [sum, squares, largest] = sums.map(f64::from);
            let slack = 1e-4 * pairs;
            let fits = largest <= 1.0 + 2.0 * self.tolerance
                && sum <= pairs * largest + slack
                && largest <= sum + slack
                && (0.0..=sum * largest + slack).contains(&squares);
            if !fits {
                return Some(format!(
                    "sums of layers {sums:?} of {pairs} pairs do not fit one another"
                ));
            }
            all += sum;
        }
        let size = found.leavings.iter().find_map(Leavings::size);
        let same = size.is_none_or(|size| (size - all).abs() <= 2e-4 * self.pairs(tile));
        (!same).then(|| format!("|r| of a tile adds up to {all} by layers and to {size:?}"))
    }

    /// Compares what came back, and what was kept of it, with the samples; what is wrong.
    ///
    /// # Errors
    /// When samples cannot be read.
    pub(super) fn compare(
        self,
        wanted: &Wanted<'_>,
        findings: &Findings,
    ) -> Result<Option<String>> {
        if let Some(problem) = of_kept(wanted, findings, self.columns) {
            return Ok(Some(problem));
        }
        let mut again = Again::new(self.columns, wanted, findings);
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        self.pass(&mut sums, &mut again)?;
        if let Some(problem) = self.of_strips(&sums) {
            return Ok(Some(problem));
        }
        let [_, right] = self.columns.sides();
        Ok(again.wrong(wanted, findings, right.start, 2.0 * self.tolerance))
    }

    /// Takes what the samples say from the sums, and adds it to what is computed again.
    fn pass(&self, sums: &mut Array2<f64>, again: &mut Again) -> Result<()> {
        let columns = self.columns;
        let width = columns.all().len();
        let samples = columns.samples();
        let rows = (BLOCK / width).clamp(16, 256);
        let placed = [Placed {
            columns: columns.all(),
            to: 0,
        }];
        let norms = self.norms();
        let [_, right] = columns.sides();
        let (strips, tiles) = (self.strips_of_left(), self.tiles_of_right());
        let mut z = vec![0f32; rows * width];
        for from in (0..samples).step_by(rows) {
            let z = &mut z[..rows.min(samples - from) * width];
            columns.centred(from, &placed, width, z)?;
            z.par_chunks_exact_mut(width).for_each(|row| {
                for ((z, rest), norm) in row.iter_mut().zip(columns.rest()).zip(&norms) {
                    *z = ((f64::from(*z) - rest) * norm) as f32;
                }
            });
            let z = ArrayView2::from_shape((z.len() / width, width), z).expect("whole rows");
            let (left, others) = (summed(z, &strips), summed(z, &tiles));
            let each = sums.axis_chunks_iter_mut(Axis(0), 32).into_par_iter();
            each.enumerate().for_each(|(at, mut sums)| {
                let some = left.slice(s![.., at * 32..at * 32 + sums.nrows()]);
                let share = -(samples as f64).recip();
                general_mat_mul(share, &some.t(), &others, 1.0, &mut sums);
            });
            again.add(z, &right);
        }
        Ok(())
    }

    fn strips_of_left(&self) -> Vec<Range<usize>> {
        let (left, _) = self.padded.sides(self.columns.is_cross());
        let of_tile = |tile: &Range<usize>| {
            let (start, end) = (tile.start, tile.end);
            let strip = move |at| end.min(start + at * self.strip);
            (0..self.strips).map(move |at| strip(at)..strip(at + 1))
        };
        self.padded.columns[left].iter().flat_map(of_tile).collect()
    }

    fn tiles_of_right(&self) -> Vec<Range<usize>> {
        let (_, right) = self.padded.sides(self.columns.is_cross());
        self.padded.columns[right].to_vec()
    }

    /// What is wrong with the sums, of which those of the samples were taken.
    fn of_strips(&self, sums: &Array2<f64>) -> Option<String> {
        let (strips, tiles) = (self.strips_of_left(), self.tiles_of_right());
        let varies = |column: usize| usize::from(self.columns.scale()[column] > 0.0);
        let wrong = sums.indexed_iter().find(|((strip, tile), off)| {
            let (strip, tile) = (&strips[*strip], &tiles[*tile]);
            // A neuron's r with itself was left out.
            let own = strip.start.max(tile.start)..strip.end.min(tile.end);
            let own: usize = own.map(varies).sum();
            let pairs = (strip.len() * tile.len()) as f64;
            let allowed = self.tolerance * pairs + 1e-5 * own as f64;
            (*off + own as f64).abs() > allowed
        });
        let ((strip, tile), off) = wrong?;
        let (strip, tile) = (&strips[strip], &tiles[tile]);
        Some(format!(
            "r of columns {strip:?} with {tile:?} adds up to {off:e} more than by the samples"
        ))
    }
}

/// Sums of the columns of each range, row by row.
fn summed(z: ArrayView2<'_, f32>, ranges: &[Range<usize>]) -> Array2<f64> {
    let mut sums = Array2::zeros((z.nrows(), ranges.len()));
    let each = sums.axis_iter_mut(Axis(0)).into_par_iter();
    each.zip(z.axis_iter(Axis(0))).for_each(|(mut sums, z)| {
        let z = z.to_slice().expect("rows are contiguous");
        for (sum, range) in sums.iter_mut().zip(ranges) {
            *sum = z[range.clone()].iter().map(|z| f64::from(*z)).sum();
        }
    });
    sums
}

/// What is wrong with sums over all pairs, beside the histogram of the same.
fn of_histogram(sums: &Sums) -> Option<String> {
    let width = 2.0 / BINS as f64;
    let pairs: u64 = sums.counts.iter().sum();
    let slack = 1e-4 * pairs as f64 + 1e-3;
    let functions: [(f64, &dyn Fn(f64) -> f64); 5] = [
        (sums.powers[0], &|r| r),
        (sums.powers[1], &|r| r * r),
        (sums.powers[2], &|r| r * r * r),
        (sums.powers[3], &|r| r.powi(4)),
        (sums.size, &f64::abs),
    ];
    functions.iter().find_map(|(sum, of)| {
        let (mut low, mut high) = (-slack, slack);
        for (bin, count) in sums.counts.iter().enumerate() {
            // None of them turns inside a bin.
            let ends = [bin, bin + 1].map(|edge| of(edge as f64 * width - 1.0));
            low += *count as f64 * ends[0].min(ends[1]);
            high += *count as f64 * ends[0].max(ends[1]);
        }
        let fits = (low..=high).contains(sum);
        (!fits).then(|| format!("a sum of powers is {sum:e}, by the histogram {low:e} to {high:e}"))
    })
}
