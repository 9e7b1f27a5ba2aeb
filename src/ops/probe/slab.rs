//! Slabs: the neurons of a design that some problems of a batch see. Problems of one slab share its products.

use std::ops::Range;

use ndarray::{Array1, Array2, ArrayView2, Axis, s};
use rayon::prelude::*;

use super::design::{Stream, Values, select};
use super::targets::penalty_rows;
use super::{ABSENT_CLASS_BIAS, Design, Fit, Neurons, PenaltyScale};
use crate::error::{Error, Result};
use crate::ops::curvature::gathered;

/// Neurons whose norms are summed together: 256 bytes of each sample.
const NORMS: usize = 64;
/// Where the bias of a class that a start's fit did not know starts.
const RARE: f64 = -30.0;

/// Some neurons of a design.
#[derive(Debug)]
pub(super) struct Slab<'a> {
    design: &'a Design,
    /// Positions in the design, in the problem's order.
    positions: Vec<usize>,
    /// Where the positions are a range, its start.
    from: Option<usize>,
    columns: Columns<'a>,
}

#[derive(Debug)]
enum Columns<'a> {
    /// Some columns of the design's copy, from one on.
    Range(&'a Array2<f32>, usize),
    /// A copy of their own.
    Copied(Array2<f32>),
    /// None here: they are read when asked for.
    Streamed(Stream<'a>),
}

impl<'a> Slab<'a> {
    /// # Errors
    /// When a position is out of range or named twice, or none is named.
    pub(super) fn new(design: &'a Design, neurons: Neurons<'_>) -> Result<Self> {
        let width = design.columns().len();
        let positions: Vec<usize> = match neurons {
            Neurons::All => (0..width).collect(),
            Neurons::Range { from, to } => (from..to.min(width + 1)).collect(),
            Neurons::These(these) => these.to_vec(),
        };
        let mut seen = vec![false; width];
        for &position in &positions {
            if position >= width || std::mem::replace(&mut seen[position], true) {
                return Err(Error::invalid(
                    "neurons of a probe",
                    format!(
                        "position {position} is named twice or is not one of the design's {width}"
                    ),
                    format!("Name each position once, from 0 to {}", width - 1),
                ));
            }
        }
        let Some(&first) = positions.first() else {
            return Err(Error::invalid(
                "neurons of a probe",
                "none is named",
                "Give every probe at least one neuron",
            ));
        };
        let contiguous = positions.iter().zip(first..).all(|(p, q)| *p == q);
        let columns = match design.values() {
            Values::Copied(z) if contiguous => Columns::Range(z, first),
            Values::Copied(z) => Columns::Copied(select(z, &positions)),
            Values::Streamed(rows) => {
                Columns::Streamed(Stream::new(design, rows.as_ref(), &positions))
            }
        };
        Ok(Self {
            design,
            positions,
            from: contiguous.then_some(first),
            columns,
        })
    }

    /// Whether these neurons are this slab's.
    pub(super) fn is(&self, neurons: Neurons<'_>) -> bool {
        match neurons {
            Neurons::All => {
                self.positions.len() == self.design.columns().len() && self.from == Some(0)
            }
            Neurons::Range { from, to } => {
                self.from == Some(from) && self.positions.len() == to.saturating_sub(from)
            }
            Neurons::These(these) => self.positions == these,
        }
    }

    /// Number of samples N.
    pub(super) fn samples(&self) -> usize {
        self.design.samples()
    }

    /// Number of neurons d.
    pub(super) fn width(&self) -> usize {
        self.positions.len()
    }

    /// The samples in blocks, each of which [`Slab::block`] hands out at once: one of a copy, several of a stream.
    pub(super) fn blocks(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let (samples, rows) = (self.samples(), self.design.block_rows(self.width()));
        (0..samples)
            .step_by(rows.max(1))
            .map(move |from| from..(from + rows).min(samples))
    }

    /// The standardised activations of a block of samples, |rows| × d; its rows are contiguous. A stream's block is made
    /// in `scratch`.
    ///
    /// # Errors
    /// When a stream cannot be read, or holds a value that is not finite.
    pub(super) fn block<'s>(
        &'s self,
        rows: Range<usize>,
        scratch: &'s mut Vec<f32>,
    ) -> Result<ArrayView2<'s, f32>> {
        match &self.columns {
            Columns::Range(z, start) => {
                let columns = *start..start + self.width();
                Ok(z.slice(s![rows, columns]))
            }
            Columns::Copied(z) => Ok(z.slice(s![rows, ..])),
            Columns::Streamed(stream) => {
                let shape = (rows.len(), self.width());
                scratch.resize(shape.0 * shape.1, 0.0);
                stream.fill(rows.start, scratch)?;
                let scratch: &'s [f32] = scratch;
                Ok(ArrayView2::from_shape(shape, scratch).expect("it was made that long"))
            }
        }
    }

    /// Entries of some samples, with the intercept's ones as row 0: |samples| × |rows|, the rows ascending.
    ///
    /// # Errors
    /// As [`Slab::block`].
    pub(super) fn gather(&self, samples: &[u32], rows: &[usize]) -> Result<Array2<f32>> {
        match &self.columns {
            Columns::Range(z, start) => {
                let columns = *start..start + self.width();
                Ok(gathered(z.slice(s![.., columns]), samples, rows))
            }
            Columns::Copied(z) => Ok(gathered(z.view(), samples, rows)),
            Columns::Streamed(stream) => {
                let mut out = Array2::zeros((samples.len(), rows.len()));
                stream.gather(samples, rows, &mut out)?;
                Ok(out)
            }
        }
    }

    /// √Σᵢ ωᵢ x_ij² for each row j of the coefficients; 1 for the intercept.
    ///
    /// # Errors
    /// As [`Slab::block`].
    pub(super) fn column_norms(&self, omega: &[f64]) -> Result<Vec<f64>> {
        let mut squares = vec![0.0; self.width()];
        let mut scratch = Vec::new();
        for rows in self.blocks() {
            let x = self.block(rows.clone(), &mut scratch)?;
            let omega = &omega[rows];
            // By strips of neurons: each sees the samples in their order, whatever the threads and blocks.
            let strips = squares.par_chunks_mut(NORMS).enumerate();
            strips.for_each(|(strip, squares)| {
                let from = strip * NORMS;
                let x = x.slice(s![.., from..from + squares.len()]);
                for (x, omega) in x.rows().into_iter().zip(omega) {
                    let x = x.to_slice().expect("rows are contiguous");
                    for (square, x) in squares.iter_mut().zip(x) {
                        *square += omega * f64::from(*x).powi(2);
                    }
                }
            });
        }
        let norms = squares.into_iter().map(f64::sqrt);
        Ok(std::iter::once(1.0).chain(norms).collect())
    }

    /// What λ1 is multiplied by for each row of the coefficients.
    pub(super) fn penalty_rows(&self, scale: PenaltyScale) -> Vec<f64> {
        let sd: Vec<f64> = self
            .positions
            .iter()
            .map(|&p| self.design.sd()[p])
            .collect();
        penalty_rows(scale, &sd)
    }

    /// Weights d × |classes| on standardised activations, and intercepts → C × D standardised, C × D raw and C biases; a class that
    /// is not in `classes` gets [`ABSENT_CLASS_BIAS`].
    pub(super) fn expand(
        &self,
        (of_neurons, intercepts): (ArrayView2<'_, f32>, &[f64]),
        classes: &[u32],
        all_classes: usize,
    ) -> (Array2<f32>, Array2<f32>, Array1<f32>) {
        let shape = (all_classes, self.design.neurons());
        let (mut standardised, mut raw) = (Array2::zeros(shape), Array2::zeros(shape));
        let mut bias = Array1::from_elem(all_classes, ABSENT_CLASS_BIAS);
        for (from, &class) in classes.iter().enumerate() {
            let class = class as usize;
            let mut b = intercepts[from];
            for (row, &position) in self.positions.iter().enumerate() {
                let column = self.design.columns()[position];
                let w = of_neurons[(row, from)];
                let w_raw = f64::from(w) / self.design.sd()[position];
                standardised[(class, column)] = w;
                raw[(class, column)] = w_raw as f32;
                b -= w_raw * self.design.mean()[position];
            }
            bias[class] = b as f32;
        }
        (standardised, raw, bias)
    }

    /// The inverse of [`Slab::expand`] for a start: (d + 1) × |classes| on standardised activations.
    pub(super) fn collapse(&self, fit: &Fit, classes: &[u32]) -> Array2<f32> {
        let mut theta = Array2::zeros((self.width() + 1, classes.len()));
        for (to, &class) in classes.iter().enumerate() {
            let weights = fit.standardised.index_axis(Axis(0), class as usize);
            let raw = fit.weights.index_axis(Axis(0), class as usize);
            // A class that the fit did not know starts as a rare one. Other biases stay: those of raw activations are any size.
            let mut b = match fit.bias[class as usize] {
                unknown if unknown <= ABSENT_CLASS_BIAS => RARE,
                known => f64::from(known),
            };
            for (row, &position) in self.positions.iter().enumerate() {
                let column = self.design.columns()[position];
                theta[(row + 1, to)] = weights[column];
                b += f64::from(raw[column]) * self.design.mean()[position];
            }
            theta[(0, to)] = b as f32;
        }
        theta
    }
}

/// The distinct slabs of a batch, and which of them each problem sees.
pub(super) fn slabs<'a, 'b>(
    design: &'a Design,
    neurons: impl Iterator<Item = Neurons<'b>>,
) -> Result<(Vec<Slab<'a>>, Vec<usize>)> {
    let mut slabs: Vec<Slab<'a>> = Vec::new();
    let mut places = Vec::new();
    for neurons in neurons {
        let place = match slabs.iter().position(|slab| slab.is(neurons)) {
            Some(place) => place,
            None => {
                slabs.push(Slab::new(design, neurons)?);
                slabs.len() - 1
            }
        };
        places.push(place);
    }
    Ok((slabs, places))
}
