//! The two GEMMs of a pass over X, for the whole batch at once, on either back end.

use std::sync::{Mutex, PoisonError};
use std::thread;

use ndarray::{Array1, Array2, ArrayView2, s};

use super::beside::{apart, joined};
use super::oracle::Kept;
use super::slab::Slab;
use super::verify::{Sums, summed};
use super::{CURVATURE_LEAST, Curvature, Inner, cpu, gpu};
use crate::error::{Result, Trouble};
use crate::gpu::AdapterKind;
use crate::ops::curvature::{self, Terms};
use crate::ops::{Backend, verify};

/// Columns of one product: enough for X to be read seldom, and what the copies beside it are bounded by.
pub(super) const AT_ONCE: usize = 512;

/// Products of a device that are under way at once.
pub(super) const UNDER_WAY: usize = 3;

/// Runs passes over the slabs of a batch and counts nothing: problems count their own.
pub(super) struct Passes<'a> {
    pub(super) backend: &'a Backend,
    slabs: &'a [Slab<'a>],
    /// Each slab on the device, where there is one.
    pub(super) residents: Option<Vec<gpu::Resident<'a>>>,
    /// What its products are checked by.
    pub(super) sums: Vec<Sums>,
    /// What the device keeps for losses and gradients.
    pub(super) kept: Kept,
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
                kept: Kept::default(),
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
            kept: Kept::default(),
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
        let Some(residents) = &self.residents else {
            return self.by_slab(thetas, |slab, thetas| {
                cpu::forward(&self.slabs[slab], thetas)
            });
        };
        let product = |group: &Group| {
            let (slab, thetas) = (group.slab, group.views(thetas));
            let weights: Vec<_> = thetas.iter().map(|t| t.slice(s![1.., ..])).collect();
            let weights = joined(&weights);
            let pieces = residents[slab].forward(weights.view())?;
            Ok((weights, pieces))
        };
        let finish = |group: &Group, found: (Array2<f32>, Vec<_>)| {
            let (slab, (weights, pieces)) = (group.slab, found);
            self.trusted(slab, |sums| sums.of_forward(weights.view(), &pieces))?;
            let mut first = 0;
            let part = |theta: &ArrayView2<'_, f32>| {
                first += theta.ncols();
                let from = first - theta.ncols();
                apart(&pieces, self.slabs[slab].samples(), from, theta.row(0))
            };
            Ok(group.views(thetas).iter().map(part).collect())
        };
        self.on_device(thetas, AT_ONCE, product, finish)
    }

    /// Xᵀ·R for each problem: residuals N × C → gradient (d + 1) × C in f64, intercept (column sums of R) first.
    pub(super) fn backward(&self, residuals: &[Columns<'_>]) -> Result<Vec<Array2<f64>>> {
        let Some(residents) = &self.residents else {
            return self.by_slab(residuals, |slab, residuals| {
                cpu::backward(&self.slabs[slab], residuals)
            });
        };
        debug_assert!(residuals.iter().all(|(_, r)| r.is_standard_layout()));
        let product = |group: &Group| residents[group.slab].backward(&group.views(residuals));
        let finish = |group: &Group, g: Array2<f64>| {
            let residuals = group.views(residuals);
            self.trusted(group.slab, |sums| sums.of_backward(&residuals, g.view()))?;
            let mut first = 0;
            let part = |r: &ArrayView2<'_, f32>| {
                first += r.ncols();
                with_sums(r, g.slice(s![.., first - r.ncols()..first]))
            };
            Ok(residuals.iter().map(part).collect())
        };
        self.on_device(residuals, AT_ONCE, product, finish)
    }

    /// Nothing where a check finds nothing wrong with what the device gave back.
    pub(super) fn trusted(
        &self,
        slab: usize,
        wrong: impl FnOnce(&Sums) -> Option<String>,
    ) -> Result<()> {
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
        let mut results = Vec::with_capacity(columns.len());
        for group in self.groups(columns, AT_ONCE) {
            results.push(product(group.slab, &group.views(columns))?);
        }
        Ok(self.in_order(columns, AT_ONCE, results))
    }

    /// As [`Passes::by_slab`], of products that a device computes and of which `finish` makes results. Several are under way at
    /// once, each of at most so many columns: while one is computed, others are on their way there or back.
    pub(super) fn on_device<P: Send, T: Send>(
        &self,
        columns: &[Columns<'_>],
        most: usize,
        product: impl Fn(&Group) -> Result<P> + Sync,
        finish: impl Fn(&Group, P) -> Result<Vec<T>> + Sync,
    ) -> Result<Vec<T>> {
        let groups = self.groups(columns, most);
        let results = at_once(UNDER_WAY, groups.iter().collect(), |group| {
            product(group).and_then(|found| finish(group, found))
        })?;
        Ok(self.in_order(columns, most, results))
    }

    /// The results of all groups, by problem.
    fn in_order<T>(&self, columns: &[Columns<'_>], most: usize, results: Vec<Vec<T>>) -> Vec<T> {
        let mut out: Vec<Option<T>> = columns.iter().map(|_| None).collect();
        for (group, results) in self.groups(columns, most).into_iter().zip(results) {
            for (member, result) in group.members.into_iter().zip(results) {
                out[member] = Some(result);
            }
        }
        let found = |result: Option<T>| result.expect("every problem is in a group");
        out.into_iter().map(found).collect()
    }

    /// The members of each slab, in order, in groups of at most so many columns or of one member.
    pub(super) fn groups(&self, columns: &[Columns<'_>], most: usize) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        for slab in 0..self.slabs.len() {
            let mut room = 0;
            for member in (0..columns.len()).filter(|&p| columns[p].0 == slab) {
                let width = columns[member].1.ncols();
                match groups.last_mut() {
                    Some(group) if width <= room => {
                        group.members.push(member);
                        room -= width;
                    }
                    _ => {
                        let members = vec![member];
                        groups.push(Group { slab, members });
                        room = most.saturating_sub(width);
                    }
                }
            }
        }
        groups
    }
}

/// Does the work that has to wait for a device, so much of it at once, by threads of its own; the results come in order. Where one fails,
/// no other is begun.
pub(super) fn at_once<W: Send, T: Send>(
    most: usize,
    works: Vec<W>,
    work: impl Fn(W) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    // What goes there and comes back is made and gone through in the pool, too: a thread of it that waited for that would be missing there.
    let alone = rayon::current_thread_index().is_some();
    let threads = if alone { 1 } else { most.min(works.len()) };
    let done = Mutex::new(works.iter().map(|_| None).collect::<Vec<_>>());
    let next = Mutex::new(works.into_iter().enumerate());
    let lock = || next.lock().unwrap_or_else(PoisonError::into_inner);
    let worker = || {
        loop {
            let taken = lock().next();
            let Some((at, one)) = taken else {
                return;
            };
            let found = work(one);
            if found.is_err() {
                lock().by_ref().for_each(drop);
            }
            done.lock().unwrap_or_else(PoisonError::into_inner)[at] = Some(found);
        }
    };
    thread::scope(|scope| {
        (1..threads).for_each(|_| drop(scope.spawn(worker)));
        worker();
    });
    let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.into_iter().flatten().collect()
}

/// Problems that one product serves: their slab, and their places.
pub(super) struct Group {
    pub slab: usize,
    pub members: Vec<usize>,
}

impl Group {
    fn views<'c>(&self, columns: &[Columns<'c>]) -> Vec<ArrayView2<'c, f32>> {
        self.members.iter().map(|&p| columns[p].1.view()).collect()
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

/// A gradient with the sums of its residuals in front.
fn with_sums(residual: &ArrayView2<'_, f32>, g: ArrayView2<'_, f64>) -> Array2<f64> {
    let [sums] = summed(residual.view(), |_, values, [sums]| {
        for (sum, value) in sums.iter_mut().zip(values) {
            *sum += f64::from(*value);
        }
    });
    let mut gradient = Array2::zeros((g.nrows() + 1, g.ncols()));
    gradient.slice_mut(s![1.., ..]).assign(&g);
    gradient.row_mut(0).assign(&Array1::from(sums));
    gradient
}
