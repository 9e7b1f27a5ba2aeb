//! The planner: what a batch will take, before it runs, and how much of it may be in flight at once.
//!
//! Letters: N samples, d neurons and c columns of a problem, e = (d + 1)·c entries, n ≤ [`WORKING_SET_MAX`] of them in the
//! working set, m = N·c predictions; in bytes:
//!
//! | part | Newton | L-BFGS without λ1 | FISTA | proximal L-BFGS |
//! |---|---|---|---|---|
//! | every problem | 4e of its start, 16N of its targets, then 8·C·D of its fit | the same | the same | the same |
//! | a problem in flight, all the time | 8m (predictions, residual), 77e (coefficients, gradients, pairs), 4n² (Hessian) | 8m, 176e | 8m, 20e | 104e |
//! | a problem in flight, in a pass | 4m, 16e | 4m, 16e | 12m, 12e | 16e; 8m of as many as share a product, where no device tells |
//! | as many as there are threads, once each | 4n² (H's blocks, or the face's copy), 4m, 48e, and their gathered samples | 8m, 24e | 8m, 16e | 96e, and 80e all the time |
//! | a problem in flight, in a step | 40n (its quadratic programme and its solution), 4e | 4e | 4e | 4e |
//! | quadratic programmes on the device | see [`quadratic::bytes`] | | | |
//! | a certificate (one problem, or narrow ones together) | 8m, panels of some samples, 60e | the same | the same | the same |
//! | a pass | a stream's block, and panels of up to 512 columns of what is multiplied; thrice those on a device | the same | the same | the same; 48 bytes an entry of as many on a device |
//!
//! The phases of a round follow one another, so their largest counts; certificates of proximal L-BFGS on a device are made beside them. n is not known before: the bound is taken.

use std::ops::Range;

use super::certificate::COLUMNS;
use super::oracle::{ASKING, is_asked};
use super::passes::{AT_ONCE, UNDER_WAY};
use super::{Design, Neurons, Params, Problem, Response, Solver, WORKING_SET_MAX};
use crate::gpu::Gpu;
use crate::ops::curvature::{GATHERED, GATHERED_SAMPLES};
use crate::ops::{Backend, Fleet, product, quadratic};

/// Bytes of a block of samples on its way to a device, and of the copies of samples that are made for some sets of neurons at once.
pub const TRANSFER: u64 = 256 << 20;

/// What one thread's products take: packed panels, and runs of X.
const PANELS: u64 = 6 << 20;
/// Columns of a panel of a product (at most): the last one is filled up.
const PANEL: usize = 16;
/// What a batch takes however small it is.
const LEAST: u64 = 1 << 20;

/// Memory of a batch, and its division.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// Problems.
    pub problems: usize,
    /// How many of them are solved at once; as one leaves the batch, the next enters.
    pub in_flight: usize,
    /// Bytes of the design itself: 0 for a stream.
    pub design: u64,
    /// Bytes that [`super::fit`] takes at most beside the design, its results and a stream's blocks included. More than
    /// `memory` where one problem alone needs more: it is solved all the same, by itself.
    pub solver: u64,
    /// FLOP of one pass over all problems.
    pub pass_flop: f64,
}

/// Plans a batch: as many problems in flight as `params.memory` holds, and at least one. Quadratic programmes that are
/// solved on the device ([`super::Inner`]) count with what they take there.
/// Several devices have a batch each, and their share of the memory.
pub fn plan(backend: &Backend, design: &Design, problems: &[Problem<'_>], params: &Params) -> Plan {
    if let Backend::Fleet(fleet) = backend {
        return of_fleet(fleet, design, problems, params);
    }
    let mut shapes: Vec<Shape> = problems
        .iter()
        .map(|p| Shape::of(backend, design, p, params))
        .collect();
    let pass_flop = shapes.iter().map(Shape::pass_flop).sum();
    let copies = copies(design, problems);
    // Whichever problems are in flight together, they take no more than the largest.
    shapes.sort_by_key(|shape| std::cmp::Reverse(shape.flying()));
    let inner = params.inner.backend(backend);
    let binding = inner.gpu().map(Gpu::binding_bytes);
    let products = match backend.gpu() {
        Some(_) => UNDER_WAY as u64,
        None => 1,
    };
    let taken = |in_flight| copies + batch(design, &shapes, in_flight, (binding, products));
    let mut in_flight = 1.min(shapes.len());
    while in_flight < shapes.len() && taken(in_flight + 1) <= params.memory {
        in_flight += 1;
    }
    Plan {
        problems: problems.len(),
        in_flight,
        design: design.bytes(),
        solver: taken(in_flight),
        pass_flop,
    }
}

/// What the batches of several devices take together.
fn of_fleet(fleet: &Fleet, design: &Design, problems: &[Problem<'_>], params: &Params) -> Plan {
    let params = params.dealt(fleet);
    let part = |(gpu, part): (&Gpu, Range<usize>)| {
        plan(&Backend::Gpu(gpu.clone()), design, &problems[part], &params)
    };
    let parts = fleet.devices().iter().zip(fleet.deal(problems.len()));
    parts.map(part).fold(
        Plan {
            problems: 0,
            in_flight: 0,
            design: design.bytes(),
            solver: 0,
            pass_flop: 0.0,
        },
        |all, part| Plan {
            problems: all.problems + part.problems,
            in_flight: all.in_flight + part.in_flight,
            design: all.design,
            solver: all.solver + part.solver,
            pass_flop: all.pass_flop + part.pass_flop,
        },
    )
}

/// Bytes of the copies that problems with scattered neurons need: one for each distinct set. A stream makes none.
fn copies(design: &Design, problems: &[Problem<'_>]) -> u64 {
    let mut sets: Vec<&[usize]> = Vec::new();
    for problem in problems {
        if let Neurons::These(these) = problem.neurons
            && !sets.contains(&these)
        {
            sets.push(these);
        }
    }
    if design.is_streamed() {
        return 0;
    }
    sets.iter()
        .map(|set| 4 * (design.samples() * set.len()) as u64)
        .sum()
}

/// Bytes of a batch of which the first `in_flight` are in flight, its quadratic programmes on a device whose bindings hold
/// `binding` bytes, where there is one, and so many products at once.
fn batch(
    design: &Design,
    shapes: &[Shape],
    in_flight: usize,
    (binding, products): (Option<u64>, u64),
) -> u64 {
    let threads = rayon::current_num_threads();
    let flying = &shapes[..in_flight];
    let sum = |of: fn(&Shape) -> u64| flying.iter().map(of).sum::<u64>();
    let largest = |of: fn(&Shape) -> u64| shapes.iter().map(of).max().unwrap_or(0);
    let kept: u64 = shapes.iter().map(|s| s.statement().max(s.fit())).sum();
    let columns = AT_ONCE
        .min(shapes.iter().map(|s| s.columns).sum())
        .max(largest(|s| s.columns as u64) as usize)
        .next_multiple_of(PANEL);
    let product = largest(|s| 4 * s.samples as u64 + 16 * s.rows as u64) * columns as u64;
    let gathered = largest(Shape::gathered) + 8 * design.neurons() as u64;
    let asked = largest(Shape::asked) * columns as u64;
    let pass = sum(Shape::in_pass) + products * product + asked;
    let steps: u64 = flying.iter().take(threads).map(Shape::step).sum();
    let programmes: Vec<usize> = flying.iter().map(Shape::programme).collect();
    let device = binding.map_or(0, |binding| quadratic::bytes(&programmes, binding));
    let step = sum(|s| 4 * s.entries() + 40 * s.programme() as u64)
        + (steps + threads as u64 * gathered).max(device);
    let certified: usize = shapes.iter().map(|s| s.certified).sum();
    let certificate = shapes.iter().map(|s| s.certificate(certified)).max();
    let certificate = certificate.unwrap_or(0);
    let rows = largest(|s| s.rows as u64) as usize;
    let read =
        4 * (threads * ((1 << 16) + design.neurons()) + design.block_rows(rows) * rows) as u64;
    let block = if design.is_streamed() { read } else { 0 };
    // Proximal L-BFGS goes on beside certificates where it asks a device, and solves programmes of some problems beside the questions of
    // others.
    let beside = products > 1 && shapes.iter().any(|shape| shape.lbfgs);
    let questions = 12 * (ASKING * rows * columns) as u64;
    let phases = match beside {
        true => pass + questions + step + certificate + 2 * block,
        false => (pass + block).max(step).max(certificate + block),
    };
    let of_threads = largest(Shape::room) + if beside { 2 * PANELS } else { PANELS };
    kept + sum(Shape::held) + phases + threads as u64 * of_threads + LEAST
}

/// Bytes that one problem on all of so many neurons takes at most in flight, by Newton's method: samples, neurons, classes that
/// occur. Known before there is a design.
pub fn in_flight_bytes(samples: usize, neurons: usize, classes: usize) -> u64 {
    let columns = if classes == 2 { 1 } else { classes };
    let shape = Shape {
        samples,
        neurons,
        rows: neurons + 1,
        columns,
        classes,
        certified: classes,
        newton: true,
        smooth: false,
        fista: (neurons + 1) * columns > WORKING_SET_MAX,
        lbfgs: false,
    };
    shape.flying() + shape.statement().max(shape.fit()) + shape.certificate(columns)
}

/// The size of a problem.
struct Shape {
    samples: usize,
    /// Neurons of the activations, for the fit.
    neurons: usize,
    /// Rows of the coefficients.
    rows: usize,
    /// Columns that are solved for.
    columns: usize,
    /// Rows of the fit.
    classes: usize,
    /// Columns that are certified.
    certified: usize,
    /// The solvers that it may go to.
    newton: bool,
    smooth: bool,
    fista: bool,
    lbfgs: bool,
}

impl Shape {
    fn of(backend: &Backend, design: &Design, problem: &Problem<'_>, params: &Params) -> Self {
        let (columns, certified, classes) = match problem.response {
            Response::Values(_) => (1, 1, 1),
            Response::Classes(labels) => {
                let present = labels.present().len();
                let columns = if present == 2 { 1 } else { present };
                (columns, present, labels.classes().len())
            }
        };
        let width = match problem.neurons {
            Neurons::All => design.columns().len(),
            Neurons::Range { from, to } => to.saturating_sub(from),
            Neurons::These(these) => these.len(),
        };
        let rows = width + 1;
        let small = rows * columns <= WORKING_SET_MAX;
        let asked = |gpu| is_asked(gpu, (design.samples(), width), columns);
        let asked = backend.gpu().is_some_and(asked);
        let lbfgs = match params.solver {
            Solver::Lbfgs => true,
            Solver::Auto => asked && columns > 1,
            Solver::Newton | Solver::Fista => false,
        };
        let other = !lbfgs && params.solver != Solver::Fista;
        let newton = other && (problem.l1 > 0.0 || small);
        let wide = newton && !small;
        Self {
            samples: design.samples(),
            neurons: design.neurons(),
            rows,
            columns,
            classes,
            certified,
            newton,
            smooth: other && !newton,
            fista: params.solver == Solver::Fista || (wide && !asked),
            lbfgs: lbfgs || (wide && asked),
        }
    }

    fn entries(&self) -> u64 {
        (self.rows * self.columns) as u64
    }

    fn predictions(&self) -> u64 {
        (self.samples * self.columns) as u64
    }

    /// Entries of a quadratic programme at most.
    fn programme(&self) -> usize {
        let n = (self.rows * self.columns).min(WORKING_SET_MAX);
        if self.newton { n } else { 0 }
    }

    /// Bytes of a Hessian.
    fn hessian(&self) -> u64 {
        4 * (self.programme() as u64).pow(2)
    }

    /// The most of what the solvers that it may go to take.
    fn most(&self, newton: u64, smooth: u64, fista: u64, lbfgs: u64) -> u64 {
        [
            (self.newton, newton),
            (self.smooth, smooth),
            (self.fista, fista),
            (self.lbfgs, lbfgs),
        ]
        .into_iter()
        .filter_map(|(goes, bytes)| goes.then_some(bytes))
        .max()
        .unwrap_or(0)
    }

    fn statement(&self) -> u64 {
        4 * self.entries() + (32 * self.rows + 16 * self.samples) as u64
    }

    fn fit(&self) -> u64 {
        (8 * self.classes * self.neurons) as u64
    }

    /// In flight, all the time.
    fn held(&self) -> u64 {
        let (m, e) = (self.predictions(), self.entries());
        let both = self.statement().min(self.fit());
        both + self.most(
            8 * m + 77 * e + self.hessian(),
            8 * m + 176 * e,
            8 * m + 20 * e,
            104 * e,
        )
    }

    /// In flight, while a pass is made.
    fn in_pass(&self) -> u64 {
        let (m, e) = (self.predictions(), self.entries());
        self.most(4 * m + 16 * e, 4 * m + 16 * e, 12 * m + 12 * e, 16 * e)
    }

    /// A column of what is asked natively: predictions and residual.
    fn asked(&self) -> u64 {
        if self.lbfgs {
            8 * self.samples as u64
        } else {
            0
        }
    }

    /// While its own step is made.
    fn step(&self) -> u64 {
        let (m, e) = (self.predictions(), self.entries());
        self.most(
            self.hessian() + 4 * m + 48 * e,
            8 * m + 24 * e,
            8 * m + 16 * e,
            96 * e,
        )
    }

    /// What a thread keeps from one step to the next.
    fn room(&self) -> u64 {
        if self.lbfgs { 80 * self.entries() } else { 0 }
    }

    /// In flight, all in all: by this the largest are found.
    fn flying(&self) -> u64 {
        self.held() + self.in_pass() + self.step()
    }

    /// A thread's gathered samples.
    fn gathered(&self) -> u64 {
        if !self.newton {
            return 0;
        }
        let (least, most) = GATHERED_SAMPLES;
        let width = 2 * self.rows.min(WORKING_SET_MAX);
        4 * (width * (GATHERED / width).clamp(least, most).min(self.samples)) as u64
    }

    /// A certificate, alone or, in a batch of so many columns, together with others: a residual in f64, and some samples of it
    /// again in panels.
    fn certificate(&self, batch: usize) -> u64 {
        let together = self.certified.max(COLUMNS.min(batch));
        let (m, e) = (self.samples * together, self.rows * together);
        let columns = together.next_multiple_of(PANEL / 2);
        let samples = product::together::<f64>(together).min(self.samples);
        let panels = 8 * (samples + self.rows) * columns;
        (8 * m + 44 * e + panels) as u64
    }

    fn pass_flop(&self) -> f64 {
        4.0 * self.samples as f64 * self.entries() as f64
    }
}
