//! The sweep over the samples that all problems of a batch share.

use std::ops::Range;

use ndarray::{Array2, ArrayView2, Axis, CowArray, Ix2, s};
use rayon::prelude::*;

use super::super::{Neurons, Progress};
use super::Params;
use super::model::Model;
use crate::error::{Error, Result};

/// Samples that every problem goes through before any goes on: they stay in the cache meanwhile.
const SAMPLES: usize = 1024;

/// The columns of X that a problem sees.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Columns {
    /// Consecutive ones: no copy.
    Range(Range<usize>),
    /// These.
    These(Vec<usize>),
}

impl Columns {
    /// # Errors
    /// When a neuron is out of range or named twice, or none is named.
    pub(super) fn new(neurons: usize, asked: Neurons<'_>) -> Result<Self> {
        let columns = match asked {
            Neurons::All => Self::Range(0..neurons),
            Neurons::Range { from, to } => Self::Range(from..to),
            Neurons::These(these) => Self::These(these.to_vec()),
        };
        let wrong = match &columns {
            Self::Range(range) => (range.end > neurons).then_some(range.end),
            Self::These(these) => {
                let mut seen = vec![false; neurons];
                let again = |&&c: &&usize| c >= neurons || std::mem::replace(&mut seen[c], true);
                these.iter().find(again).copied()
            }
        };
        if let Some(neuron) = wrong {
            return Err(Error::invalid(
                "neurons of a probe",
                format!("neuron {neuron} is named twice or is not one of the {neurons}"),
                format!("Name each neuron once, below {neurons}"),
            ));
        }
        if columns.width() == 0 {
            return Err(Error::invalid(
                "neurons of a probe",
                "none is named",
                "Give every probe at least one neuron",
            ));
        }
        Ok(columns)
    }

    /// Number of neurons d.
    pub(super) fn width(&self) -> usize {
        match self {
            Self::Range(range) => range.len(),
            Self::These(these) => these.len(),
        }
    }

    /// Ids of the neurons.
    pub(super) fn ids(&self) -> Vec<usize> {
        match self {
            Self::Range(range) => range.clone().collect(),
            Self::These(these) => these.clone(),
        }
    }

    /// What the problem sees of some samples, |rows| × d; each row is contiguous.
    pub(super) fn block<'a>(
        &self,
        x: ArrayView2<'a, f32>,
        rows: Range<usize>,
    ) -> CowArray<'a, f32, Ix2> {
        let x = x.slice_move(s![rows, ..]);
        let seen: CowArray<'a, f32, Ix2> = match self {
            Self::Range(range) => x.slice_move(s![.., range.clone()]).into(),
            Self::These(these) => x.select(Axis(1), these).into(),
        };
        if seen.rows().into_iter().all(|row| row.to_slice().is_some()) {
            seen
        } else {
            Array2::from_shape_fn(seen.dim(), |at| seen[at]).into()
        }
    }
}

/// All epochs of all problems.
pub(super) fn sweep(
    x: ArrayView2<'_, f32>,
    columns: &[Columns],
    models: &mut [Model],
    params: &Params,
    progress: &mut dyn FnMut(&Progress),
) {
    // Whole batches, so that where the samples are cut changes nothing.
    let at_once = params.batch * (SAMPLES / params.batch).max(1);
    for epoch in 1..=params.epochs {
        for from in (0..x.nrows()).step_by(at_once) {
            let rows = from..(from + at_once).min(x.nrows());
            let blocks: Vec<_> = columns.iter().map(|c| c.block(x, rows.clone())).collect();
            models.par_iter_mut().for_each(|model| {
                let block = blocks[model.place].view();
                model.train(block, from, params);
            });
        }
        let last = epoch == params.epochs;
        progress(&Progress {
            finished: if last { models.len() } else { 0 },
            problems: models.len(),
            passes: epoch as f64,
        });
    }
}
