//! The two GEMMs of a pass over X, for the whole batch at once, on either back end.

use ndarray::Array2;

use super::{Design, cpu, gpu};
use crate::error::Result;
use crate::ops::Backend;

/// Runs passes over one design and counts nothing: problems count their own.
pub(super) enum Passes<'a> {
    Cpu(&'a Design),
    Gpu(gpu::Resident<'a>),
}

impl<'a> Passes<'a> {
    pub(super) fn new(backend: &'a Backend, design: &'a Design) -> Result<Self> {
        Ok(match backend {
            Backend::Cpu => Self::Cpu(design),
            Backend::Gpu(gpu) => Self::Gpu(gpu::Resident::new(gpu, design)?),
        })
    }

    /// X·W for each problem: coefficients (d + 1) × C, intercept first → logits N × C, intercept added.
    pub(super) fn forward(&mut self, thetas: &[&Array2<f32>]) -> Result<Vec<Array2<f32>>> {
        let (d, classes) = (thetas[0].nrows() - 1, widths(thetas));
        let k: usize = classes.iter().sum();
        let mut w = Array2::<f32>::zeros((d, k));
        let mut at = 0;
        for theta in thetas {
            w.slice_mut(ndarray::s![.., at..at + theta.ncols()])
                .assign(&theta.slice(ndarray::s![1.., ..]));
            at += theta.ncols();
        }
        let z = match self {
            Self::Cpu(design) => cpu::forward(design.z(), w.view()),
            Self::Gpu(resident) => resident.forward(w.view())?,
        };
        let mut out = Vec::with_capacity(thetas.len());
        at = 0;
        for theta in thetas {
            let mut logits = z.slice(ndarray::s![.., at..at + theta.ncols()]).to_owned();
            logits += &theta.row(0);
            out.push(logits);
            at += theta.ncols();
        }
        Ok(out)
    }

    /// Xᵀ·R for each problem: residuals N × C → gradient (d + 1) × C in f64, intercept (column sums of R) first.
    pub(super) fn backward(&mut self, residuals: &[&Array2<f32>]) -> Result<Vec<Array2<f64>>> {
        let (n, classes) = (residuals[0].nrows(), widths(residuals));
        let k: usize = classes.iter().sum();
        let mut r = Array2::<f32>::zeros((n, k));
        let mut at = 0;
        for residual in residuals {
            r.slice_mut(ndarray::s![.., at..at + residual.ncols()])
                .assign(residual);
            at += residual.ncols();
        }
        let g = match self {
            Self::Cpu(design) => cpu::backward(design.z(), r.view()),
            Self::Gpu(resident) => resident.backward(r.view())?,
        };
        let mut out = Vec::with_capacity(residuals.len());
        at = 0;
        for residual in residuals {
            let c = residual.ncols();
            let mut gradient = Array2::zeros((g.nrows() + 1, c));
            gradient
                .slice_mut(ndarray::s![1.., ..])
                .assign(&g.slice(ndarray::s![.., at..at + c]));
            for row in residual.rows() {
                for (sum, value) in gradient.row_mut(0).iter_mut().zip(row) {
                    *sum += f64::from(*value);
                }
            }
            out.push(gradient);
            at += c;
        }
        Ok(out)
    }
}

fn widths(arrays: &[&Array2<f32>]) -> Vec<usize> {
    arrays.iter().map(|a| a.ncols()).collect()
}
