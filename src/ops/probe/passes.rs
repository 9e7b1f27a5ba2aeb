//! The two GEMMs of a pass over X, for the whole batch at once, on either back end.

use ndarray::{Array2, ArrayView2, s};

use super::slab::Slab;
use super::{Inner, cpu, gpu};
use crate::error::Result;
use crate::ops::Backend;

/// Columns of one product: enough for a GEMM to be at its best, and what the copies beside it are bounded by.
pub(super) const AT_ONCE: usize = 256;

/// Runs passes over the slabs of a batch and counts nothing: problems count their own.
pub(super) struct Passes<'a> {
    backend: &'a Backend,
    slabs: &'a [Slab<'a>],
    /// Each slab on the device, where there is one.
    residents: Option<Vec<gpu::Resident<'a>>>,
}

/// A problem's slab, and its coefficients or residuals.
pub(super) type Columns<'a> = (usize, &'a Array2<f32>);

impl<'a> Passes<'a> {
    pub(super) fn new(backend: &'a Backend, slabs: &'a [Slab<'a>]) -> Result<Self> {
        let residents = match backend {
            Backend::Cpu => None,
            Backend::Gpu(gpu) => Some(
                slabs
                    .iter()
                    .map(|slab| gpu::Resident::new(gpu, slab))
                    .collect::<Result<_>>()?,
            ),
        };
        Ok(Self {
            backend,
            slabs,
            residents,
        })
    }

    /// Where quadratic programmes are solved.
    pub(super) fn inner(&self, inner: Inner) -> Backend {
        inner.backend(self.backend)
    }

    /// One of the slabs.
    pub(super) fn slab(&self, place: usize) -> &'a Slab<'a> {
        &self.slabs[place]
    }

    /// X·W for each problem: coefficients (d + 1) × C, intercept first → predictions N × C, intercept added.
    pub(super) fn forward(&self, thetas: &[Columns<'_>]) -> Result<Vec<Array2<f32>>> {
        let mut out: Vec<Option<Array2<f32>>> = vec![None; thetas.len()];
        for (slab, members) in self.groups(thetas) {
            if let [only] = members[..] {
                let theta = thetas[only].1;
                let mut predictions = self.predictions(slab, theta.slice(s![1.., ..]))?;
                predictions += &theta.row(0);
                out[only] = Some(predictions);
                continue;
            }
            let d = self.slabs[slab].width();
            let mut w = Array2::<f32>::zeros((d, total(thetas, &members)));
            let mut at = 0;
            for &member in &members {
                let theta = thetas[member].1;
                w.slice_mut(s![.., at..at + theta.ncols()])
                    .assign(&theta.slice(s![1.., ..]));
                at += theta.ncols();
            }
            let z = self.predictions(slab, w.view())?;
            at = 0;
            for &member in &members {
                let theta = thetas[member].1;
                let mut predictions = z.slice(s![.., at..at + theta.ncols()]).to_owned();
                predictions += &theta.row(0);
                out[member] = Some(predictions);
                at += theta.ncols();
            }
        }
        Ok(out
            .into_iter()
            .map(|z| z.expect("every problem is in a group"))
            .collect())
    }

    /// Xᵀ·R for each problem: residuals N × C → gradient (d + 1) × C in f64, intercept (column sums of R) first.
    pub(super) fn backward(&self, residuals: &[Columns<'_>]) -> Result<Vec<Array2<f64>>> {
        let mut out: Vec<Option<Array2<f64>>> = vec![None; residuals.len()];
        for (slab, members) in self.groups(residuals) {
            let g = if let [only] = members[..] {
                self.gradients(slab, residuals[only].1.view())?
            } else {
                let samples = self.slabs[slab].samples();
                let mut r = Array2::<f32>::zeros((samples, total(residuals, &members)));
                let mut at = 0;
                for &member in &members {
                    let residual = residuals[member].1;
                    r.slice_mut(s![.., at..at + residual.ncols()])
                        .assign(residual);
                    at += residual.ncols();
                }
                self.gradients(slab, r.view())?
            };
            let mut at = 0;
            for &member in &members {
                let residual = residuals[member].1;
                let c = residual.ncols();
                let mut gradient = Array2::zeros((g.nrows() + 1, c));
                gradient
                    .slice_mut(s![1.., ..])
                    .assign(&g.slice(s![.., at..at + c]));
                for row in residual.rows() {
                    for (sum, value) in gradient.row_mut(0).iter_mut().zip(row) {
                        *sum += f64::from(*value);
                    }
                }
                out[member] = Some(gradient);
                at += c;
            }
        }
        Ok(out
            .into_iter()
            .map(|g| g.expect("every problem is in a group"))
            .collect())
    }

    fn predictions(&self, slab: usize, w: ArrayView2<'_, f32>) -> Result<Array2<f32>> {
        match &self.residents {
            None => cpu::forward(&self.slabs[slab], w),
            Some(residents) => residents[slab].forward(w),
        }
    }

    fn gradients(&self, slab: usize, r: ArrayView2<'_, f32>) -> Result<Array2<f64>> {
        match &self.residents {
            None => cpu::backward(&self.slabs[slab], r),
            Some(residents) => residents[slab].backward(r),
        }
    }

    /// The members of each slab, in order, in groups of at most [`AT_ONCE`] columns or of one member.
    fn groups(&self, columns: &[Columns<'_>]) -> Vec<(usize, Vec<usize>)> {
        let mut groups: Vec<(usize, Vec<usize>)> = Vec::new();
        for slab in 0..self.slabs.len() {
            let mut room = 0;
            for member in (0..columns.len()).filter(|&p| columns[p].0 == slab) {
                let width = columns[member].1.ncols();
                match groups.last_mut() {
                    Some((_, members)) if width <= room => {
                        members.push(member);
                        room -= width;
                    }
                    _ => {
                        groups.push((slab, vec![member]));
                        room = AT_ONCE.saturating_sub(width);
                    }
                }
            }
        }
        groups
    }
}

fn total(columns: &[Columns<'_>], members: &[usize]) -> usize {
    members.iter().map(|&p| columns[p].1.ncols()).sum()
}
