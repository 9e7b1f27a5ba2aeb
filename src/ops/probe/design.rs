//! The design: the standardised neurons that a batch of probes sees, as a copy or as a stream of blocks.

use std::sync::Arc;

use ndarray::parallel::prelude::*;
use ndarray::{Array2, ArrayView2, Axis};
use rayon::prelude::*;

use crate::activations::Rows;
use crate::error::{Error, Result};
use crate::ops::Backend;
use crate::ops::moments::{self, Moments, Spread};

/// Values of one block of a stream: 8 MiB, or 1,024 samples where those are more.
const BLOCK: usize = 1 << 21;
/// Samples of one block of a stream are a multiple of this, so that sums over runs of samples are the same as over a copy.
pub(super) const BLOCK_ROWS: usize = 4 * crate::ops::tiles::RUN;
/// Values that one thread reads of a stream at a time: they stay in its cache.
const READ: usize = 1 << 16;

/// Standardised activations of the chosen neurons, N × d.
///
/// Either a copy ([`Design::new`], [`Design::read`]: 4·N·d bytes), or a stream ([`Design::streamed`]): the samples stay where they are, as
/// they are stored, and are converted and standardised again for every pass. Fits are the same bit for bit.
///
/// Neurons that are constant or nearly constant are left out: their weight would be 0 at any λ1, or noise. The moments are to be those of
/// the samples themselves: certificates of problems whose samples weigh alike take every neuron's sd for 1.
#[derive(Debug, Clone)]
pub struct Design {
    values: Values,
    samples: usize,
    columns: Vec<usize>,
    mean: Vec<f64>,
    sd: Vec<f64>,
    neurons: usize,
}

/// Where the values are.
#[derive(Debug, Clone)]
pub(super) enum Values {
    /// Standardised, N × d, contiguous by row.
    Copied(Array2<f32>),
    /// As stored, N × D.
    Streamed(Arc<dyn Rows>),
}

impl Design {
    /// Standardises the neurons `columns` of X (N × D) by `moments` (of train).
    ///
    /// # Errors
    /// When a column is out of range or named twice, or no chosen neuron varies.
    pub fn new(
        backend: &Backend,
        x: ArrayView2<'_, f32>,
        moments: &Moments,
        columns: &[usize],
    ) -> Result<Self> {
        let columns = varying(x.ncols(), moments, columns)?;
        let z = moments::standardise(backend, x, moments, &columns)?;
        Ok(Self::of(Values::Copied(z), x.dim(), moments, columns))
    }

    /// As [`Design::new`], of samples that stay where they are: a pass reads them block by block. For the native path; a
    /// GPU reads them once and keeps them.
    ///
    /// # Errors
    /// As [`Design::new`]; when `moments` are of another number of neurons.
    pub fn streamed(rows: Arc<dyn Rows>, moments: &Moments, columns: &[usize]) -> Result<Self> {
        let shape = rows.shape();
        check_neurons(moments, shape.1)?;
        let columns = varying(shape.1, moments, columns)?;
        Ok(Self::of(Values::Streamed(rows), shape, moments, columns))
    }

    /// As [`Design::new`], of samples that are read once, in whatever type they are stored.
    ///
    /// # Errors
    /// As [`Design::streamed`]; when a value is not finite, or the rows cannot be read.
    pub fn read(rows: &dyn Rows, moments: &Moments, columns: &[usize]) -> Result<Self> {
        let shape = rows.shape();
        check_neurons(moments, shape.1)?;
        let columns = varying(shape.1, moments, columns)?;
        let mut z = Array2::zeros((shape.0, columns.len()));
        let design = Self::of(
            Values::Copied(Array2::zeros((0, 0))),
            shape,
            moments,
            columns,
        );
        let all: Vec<usize> = (0..design.columns.len()).collect();
        let out = z.as_slice_mut().expect("it is contiguous");
        Stream::new(&design, rows, &all).fill(0, out)?;
        Ok(Self {
            values: Values::Copied(z),
            ..design
        })
    }

    fn of(
        values: Values,
        (samples, neurons): (usize, usize),
        moments: &Moments,
        columns: Vec<usize>,
    ) -> Self {
        Self {
            values,
            samples,
            mean: columns.iter().map(|&c| moments.mean[c]).collect(),
            sd: columns.iter().map(|&c| moments.sd[c]).collect(),
            columns,
            neurons,
        }
    }

    /// Where the values are.
    pub(super) fn values(&self) -> &Values {
        &self.values
    }

    /// Whether the samples stay where they are.
    pub fn is_streamed(&self) -> bool {
        matches!(self.values, Values::Streamed(_))
    }

    /// Samples of the blocks that some of the neurons are handed out in: all of a copy.
    pub(super) fn block_rows(&self, width: usize) -> usize {
        match self.values {
            Values::Copied(_) => self.samples,
            Values::Streamed(_) => {
                // Enough for a block of that size, and for every thread to have a share of it.
                let share = 256 * rayon::current_num_threads();
                let rows = (BLOCK / width).max(share).next_multiple_of(BLOCK_ROWS);
                rows.min(self.samples)
            }
        }
    }

    /// Ids of the d neurons that are in.
    pub fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// Number of samples N.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// Number of neurons D of the activations that the design was taken from.
    pub fn neurons(&self) -> usize {
        self.neurons
    }

    /// Bytes of memory that the standardised activations take: none for a stream, whose blocks are the solver's.
    pub fn bytes(&self) -> u64 {
        match &self.values {
            Values::Copied(z) => 4 * z.len() as u64,
            Values::Streamed(_) => 0,
        }
    }

    /// Mean of each neuron that is in, on train.
    pub(super) fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// Standard deviation of each neuron that is in, on train.
    pub(super) fn sd(&self) -> &[f64] {
        &self.sd
    }
}

fn check_neurons(moments: &Moments, neurons: usize) -> Result<()> {
    if moments.mean.len() == neurons {
        return Ok(());
    }
    Err(Error::invalid(
        "moments of a design",
        format!(
            "the activations have {neurons} neurons but the moments {}",
            moments.mean.len()
        ),
        "Take the moments of the same neurons",
    ))
}

/// The chosen neurons that vary.
fn varying(neurons: usize, moments: &Moments, columns: &[usize]) -> Result<Vec<usize>> {
    let mut seen = vec![false; neurons];
    for &column in columns {
        if column >= neurons || std::mem::replace(&mut seen[column], true) {
            return Err(Error::invalid(
                "neurons of a probe",
                format!("neuron {column} is named twice or is not one of the {neurons}"),
                format!("Name each neuron once, from 0 to {}", neurons - 1),
            ));
        }
        if !(moments.mean[column].is_finite() && moments.sd[column].is_finite()) {
            return Err(Error::invalid(
                "neurons of a probe",
                format!("neuron {column} has a mean of {}", moments.mean[column]),
                "Every activation must be a finite number",
            ));
        }
    }
    let columns: Vec<usize> = columns
        .iter()
        .copied()
        .filter(|&c| moments.spread[c] == Spread::Varies)
        .collect();
    if columns.is_empty() {
        return Err(Error::invalid(
            "neurons of a probe",
            "none of them varies over the training samples",
            "Choose neurons that are not constant; `neurosieve inspect` lists those that are",
        ));
    }
    Ok(columns)
}

/// Some neurons of a stream: what turns stored rows into standardised ones.
#[derive(Debug)]
pub(super) struct Stream<'a> {
    rows: &'a dyn Rows,
    /// Ids of the neurons, their means, and 1/sd.
    ids: Vec<usize>,
    mean: Vec<f64>,
    scale: Vec<f64>,
    /// Whether the ids are consecutive.
    contiguous: bool,
}

impl<'a> Stream<'a> {
    pub(super) fn new(design: &Design, rows: &'a dyn Rows, positions: &[usize]) -> Self {
        let ids: Vec<usize> = positions.iter().map(|&p| design.columns[p]).collect();
        Self {
            rows,
            contiguous: ids.iter().zip(ids[0]..).all(|(id, next)| *id == next),
            ids,
            mean: positions.iter().map(|&p| design.mean[p]).collect(),
            scale: positions.iter().map(|&p| design.sd[p].recip()).collect(),
        }
    }

    /// Fills `out` with standardised rows from `start` on, row by row.
    pub(super) fn fill(&self, start: usize, out: &mut [f32]) -> Result<()> {
        let (neurons, width) = (self.rows.shape().1, self.ids.len());
        let at_once = (READ / neurons).max(1);
        out.par_chunks_mut(at_once * width)
            .enumerate()
            .try_for_each_init(
                || vec![0.0; at_once * neurons],
                |stored, (chunk, out)| {
                    let from = start + chunk * at_once;
                    let stored = &mut stored[..out.len() / width * neurons];
                    self.rows.read_rows(from, stored)?;
                    let rows = out
                        .chunks_exact_mut(width)
                        .zip(stored.chunks_exact(neurons));
                    for (row, (out, stored)) in rows.enumerate() {
                        self.standardise(from + row, stored, out)?;
                    }
                    Ok(())
                },
            )
    }

    fn standardise(&self, row: usize, stored: &[f32], out: &mut [f32]) -> Result<()> {
        let scaling = self.mean.iter().zip(&self.scale);
        if self.contiguous {
            let stored = &stored[self.ids[0]..][..out.len()];
            for ((out, x), (mean, scale)) in out.iter_mut().zip(stored).zip(scaling) {
                *out = moments::standardised(*x, *mean, *scale);
            }
        } else {
            for ((out, id), (mean, scale)) in out.iter_mut().zip(&self.ids).zip(scaling) {
                *out = moments::standardised(stored[*id], *mean, *scale);
            }
        }
        match out.iter().position(|z| !z.is_finite()) {
            None => Ok(()),
            Some(at) => Err(self.not_finite(row, at, stored[self.ids[at]])),
        }
    }

    /// Standardised entries of some samples, with the intercept's ones as row 0, into |samples| × |rows|.
    pub(super) fn gather(
        &self,
        samples: &[u32],
        rows: &[usize],
        out: &mut Array2<f32>,
    ) -> Result<()> {
        let neurons = self.rows.shape().1;
        let each = out.axis_iter_mut(Axis(0)).into_par_iter().zip(samples);
        each.try_for_each_init(
            || vec![0.0; neurons],
            |stored, (mut out, &i)| {
                self.rows.read_rows(i as usize, stored)?;
                for (out, &row) in out.iter_mut().zip(rows) {
                    *out = match row.checked_sub(1) {
                        None => 1.0,
                        Some(at) => {
                            let x = stored[self.ids[at]];
                            moments::standardised(x, self.mean[at], self.scale[at])
                        }
                    };
                }
                Ok(())
            },
        )
    }

    fn not_finite(&self, row: usize, at: usize, value: f32) -> Error {
        Error::invalid(
            "activations",
            format!("row {row}, neuron {} is {value}", self.ids[at]),
            "Every activation must be a finite number: drop that sample or dump it again in a wider format",
        )
    }
}

/// A copy of the columns of standardised activations at some positions, contiguous by row.
pub(super) fn select(z: &Array2<f32>, positions: &[usize]) -> Array2<f32> {
    let mut out = Array2::zeros((z.nrows(), positions.len()));
    for (mut out, z) in out.rows_mut().into_iter().zip(z.rows()) {
        for (out, &position) in out.iter_mut().zip(positions) {
            *out = z[position];
        }
    }
    out
}
