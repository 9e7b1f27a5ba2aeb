//! The two GEMMs of a pass over X, for the whole batch at once, on either back end.

use ndarray::{Array2, ArrayView2, Zip, s};
use rayon::prelude::*;

use super::slab::Slab;
use super::verify::Sums;
use super::{CURVATURE_LEAST, Curvature, Inner, cpu, gpu};
use crate::error::{Result, Trouble};
use crate::gpu::AdapterKind;
use crate::ops::curvature::{self, Terms};
use crate::ops::{Backend, verify};

/// Columns of one product: enough for X to be read seldom, and what the copies beside it are bounded by.
pub(super) const AT_ONCE: usize = 512;

/// Runs passes over the slabs of a batch and counts nothing: problems count their own.
pub(super) struct Passes<'a> {
    backend: &'a Backend,
    slabs: &'a [Slab<'a>],
    /// Each slab on the device, where there is one.
    residents: Option<Vec<gpu::Resident<'a>>>,
    /// What its products are checked by.
    sums: Vec<Sums>,
}

/// A problem's slab, and its coefficients or residuals.
pub(super) type Columns<'a> = (usize, &'a Array2<f32>);

impl<'a> Passes<'a> {
    pub(super) fn new(backend: &'a Backend, slabs: &'a [Slab<'a>]) -> Result<Self> {
        let Some(gpu) = backend.gpu() else {
            return Ok(Self {
                backend,
                slabs,
                residents: None,
                sums: Vec::new(),
            });
        };
        let mut sums = Ok(Vec::new());
        // Both read all samples, and the way to the device has pauses. This thread waits for it, none of the pool's.
        let residents: Result<Vec<_>> = rayon::in_place_scope(|scope| {
            scope.spawn(|_| {
                let checked = slabs.iter().filter(|_| gpu.is_checked());
                sums = checked.map(Sums::new).collect();
            });
            let each = slabs.iter().map(|slab| gpu::Resident::new(gpu, slab));
            each.collect()
        });
        Ok(Self {
            backend,
            slabs,
            residents: Some(residents?),
            sums: sums?,
        })
    }

    /// Where quadratic programmes are solved.
    pub(super) fn inner(&self, inner: Inner) -> Backend {
        inner.backend(self.backend)
    }

    /// Whether Hessians are summed on a device, where they are large enough.
    fn curves_on_a_device(&self, curvature: Curvature) -> bool {
        match (curvature, self.backend.gpu()) {
            (Curvature::Native, _) | (_, None) => false,
            (Curvature::Auto, Some(gpu)) => gpu.report().kind == AdapterKind::Discrete,
            (Curvature::Device, Some(_)) => true,
        }
    }

    /// Where the Hessians of problems on one of the slabs are summed.
    pub(super) fn curved(&self, slab: usize, curvature: Curvature) -> Curved<'_> {
        let residents = self.residents.as_ref();
        let here = residents.filter(|_| self.curves_on_a_device(curvature));
        Curved {
            slab: &self.slabs[slab],
            resident: here.map(|residents| &residents[slab]),
            least: match curvature {
                Curvature::Device => 0.0,
                _ => CURVATURE_LEAST,
            },
        }
    }

    /// One of the slabs.
    pub(super) fn slab(&self, place: usize) -> &'a Slab<'a> {
        &self.slabs[place]
    }

    /// X·W for each problem: coefficients (d + 1) × C, intercept first → predictions N × C, intercept added.
    pub(super) fn forward(&self, thetas: &[Columns<'_>]) -> Result<Vec<Array2<f32>>> {
        self.by_slab(thetas, |slab, thetas| match &self.residents {
            None => cpu::forward(&self.slabs[slab], thetas),
            Some(residents) => {
                let weights: Vec<_> = thetas.iter().map(|t| t.slice(s![1.., ..])).collect();
                let weights = joined(&weights);
                let z = residents[slab].forward(weights.view())?;
                self.trusted(slab, |sums| sums.of_forward(weights.view(), z.view()))?;
                let mut parts = split(&z, thetas);
                let each = parts.par_iter_mut().zip(thetas);
                each.for_each(|(z, theta)| *z += &theta.row(0));
                Ok(parts)
            }
        })
    }

    /// Xᵀ·R for each problem: residuals N × C → gradient (d + 1) × C in f64, intercept (column sums of R) first.
    pub(super) fn backward(&self, residuals: &[Columns<'_>]) -> Result<Vec<Array2<f64>>> {
        self.by_slab(residuals, |slab, residuals| match &self.residents {
            None => cpu::backward(&self.slabs[slab], residuals),
            Some(residents) => {
                let r = joined(residuals);
                let g = residents[slab].backward(r.view())?;
                self.trusted(slab, |sums| sums.of_backward(r.view(), g.view()))?;
                let parts = split(&g, residuals);
                let each = residuals.par_iter().zip(parts);
                Ok(each.map(|(r, g)| with_sums(r, &g)).collect())
            }
        })
    }

    /// Nothing where a check finds nothing wrong with what the device gave back.
    fn trusted(&self, slab: usize, wrong: impl FnOnce(&Sums) -> Option<String>) -> Result<()> {
        let gpu = self.backend.gpu().map_or(&[][..], std::slice::from_ref);
        let wrong = || Ok(self.sums.get(slab).and_then(wrong));
        verify::trusted(gpu, "a batch of probes", wrong)
    }

    /// One result for each problem, from products of those that see the same slab.
    fn by_slab<T>(
        &self,
        columns: &[Columns<'_>],
        product: impl Fn(usize, &[ArrayView2<'_, f32>]) -> Result<Vec<T>>,
    ) -> Result<Vec<T>> {
        let mut out: Vec<Option<T>> = columns.iter().map(|_| None).collect();
        for (slab, members) in self.groups(columns) {
            let views: Vec<_> = members.iter().map(|&p| columns[p].1.view()).collect();
            for (member, result) in members.iter().zip(product(slab, &views)?) {
                out[*member] = Some(result);
            }
        }
        let found = |result: Option<T>| result.expect("every problem is in a group");
        Ok(out.into_iter().map(found).collect())
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

/// Where the Hessians of some problems are summed.
pub(super) struct Curved<'a> {
    slab: &'a Slab<'a>,
    /// The slab on a device, where that is to do it.
    resident: Option<&'a gpu::Resident<'a>>,
    /// FLOP from which on.
    least: f64,
}

impl Curved<'_> {
    /// Whether the device sums this Hessian, rather than what is not `known` of it natively.
    pub(super) fn takes(
        &self,
        rows: &[Vec<usize>],
        terms: &[&Terms],
        known: Option<&[Vec<usize>]>,
    ) -> bool {
        let fits = |resident: &gpu::Resident<'_>| curvature::fits(resident.held().0, rows, terms);
        self.resident
            .is_some_and(|it| curvature::flop(rows, terms, known) >= self.least && fits(it))
    }

    /// H on the rows of each class, by the device; natively where its memory is used up.
    pub(super) fn on_device(
        &self,
        rows: &[Vec<usize>],
        terms: &[&Terms],
    ) -> Result<(Array2<f32>, f64)> {
        let Some(resident) = self.resident else {
            return self.natively(rows, terms, None);
        };
        let (gpu, held) = resident.held();
        let gather = |samples: &[u32], rows: &[usize]| self.slab.gather(samples, rows);
        match curvature::on_device(gpu, &held, rows, terms, &gather) {
            Err(error) if error.trouble() == Some(Trouble::Memory) => {
                self.natively(rows, terms, None)
            }
            done => Ok((done?, curvature::flop(rows, terms, None))),
        }
    }

    /// H on the rows of each class; what is `known` is kept, and the rest computed.
    pub(super) fn natively(
        &self,
        rows: &[Vec<usize>],
        terms: &[&Terms],
        known: Option<curvature::Known<'_>>,
    ) -> Result<(Array2<f32>, f64)> {
        let gather = |samples: &[u32], rows: &[usize]| self.slab.gather(samples, rows);
        curvature::sum(&gather, rows, terms, known)
    }
}

/// Matrices side by side.
fn joined(parts: &[ArrayView2<'_, f32>]) -> Array2<f32> {
    let rows = parts.first().map_or(0, |part| part.nrows());
    let mut all = Array2::zeros((rows, parts.iter().map(|part| part.ncols()).sum()));
    let mut at = 0;
    for part in parts {
        let columns = at..at + part.ncols();
        at = columns.end;
        let to = all.slice_mut(s![.., columns]);
        Zip::from(to).and(part).par_for_each(|to, from| *to = *from);
    }
    all
}

/// A result's columns, each part as wide as `like`.
fn split<T: Copy + Send + Sync>(whole: &Array2<T>, like: &[ArrayView2<'_, f32>]) -> Vec<Array2<T>> {
    let mut at = 0;
    let part = |like: &ArrayView2<'_, f32>| {
        at += like.ncols();
        let part = whole.slice(s![.., at - like.ncols()..at]);
        Zip::from(part).par_map_collect(|value| *value)
    };
    like.iter().map(part).collect()
}

/// A gradient with the sums of its residuals in front.
fn with_sums(residual: &ArrayView2<'_, f32>, g: &Array2<f64>) -> Array2<f64> {
    let mut gradient = Array2::zeros((g.nrows() + 1, g.ncols()));
    gradient.slice_mut(s![1.., ..]).assign(g);
    for row in residual.rows() {
        for (sum, value) in gradient.row_mut(0).iter_mut().zip(row) {
            *sum += f64::from(*value);
        }
    }
    gradient
}
