//! The inner solver of probes: Hessians and quadratic programmes of Newton steps.

use std::iter::once;

use ndarray::Array2;
use rand::RngExt;

use super::Size;
use super::inputs::{activations, random, sampled};
use super::measure::{Bench, Outcome, Workload};
use super::roofs::{largest, worse};
use crate::error::Result;
use crate::ops::Backend;
use crate::ops::curvature::{self, Terms};
use crate::ops::quadratic::{self, Programme, Solution};

const BLOCKS: usize = 8;

/// KKT residual at which a programme is solved.
const RESIDUAL: f64 = 1e-3;

/// Programmes, and entries of each.
fn shape(size: Size) -> (usize, usize) {
    match size {
        Size::Small => (2, 256),
        Size::Standard => (8, 1_600),
        Size::Large => (16, 4_000),
    }
}

pub(super) fn workloads(size: Size) -> Vec<Workload> {
    let (count, entries) = shape(size);
    let (samples, neurons, weights) = hessian_shape(size);
    let hessian = |classes: usize| Workload {
        name: format!("inner.hessian.{classes}"),
        shape: format!(
            "{weights} weights, {classes} classes, {samples} samples x {neurons} neurons, {} terms",
            KAPPA * weights
        ),
        what: "the sampled Hessian of a Newton step of probes",
        run: Box::new(move |bench| run_hessian(bench, classes)),
    };
    let descent = Workload {
        name: "inner.descent".to_owned(),
        shape: format!("{count} programmes of {entries} entries in {BLOCKS} blocks"),
        what: "coordinate descent and conjugate gradients on a Newton step of probes",
        run: Box::new(run),
    };
    let hessians = CLASSES.into_iter().map(hessian);
    hessians.chain(once(descent)).collect()
}

/// Classes of the probes whose Hessians are summed.
const CLASSES: [usize; 2] = [2, 16];

/// Terms a weight.
const KAPPA: usize = 14;

/// Entries of a Hessian, each way, that are compared with f64.
const SAMPLED: usize = 24;

/// Samples, neurons, and weights of the working set.
fn hessian_shape(size: Size) -> (usize, usize, usize) {
    match size {
        Size::Small => (1_024, 512, 320),
        Size::Standard => (16_384, 2_048, 1_920),
        Size::Large => (32_768, 8_192, 4_800),
    }
}

/// A working set as Newton's steps have them: of two classes one column, else as many rows of each class; terms of every pair.
fn working_set(size: Size, classes: usize) -> (Vec<Vec<usize>>, Vec<Terms>) {
    let (samples, neurons, weights) = hessian_shape(size);
    let columns = if classes == 2 { 1 } else { classes };
    let rows = |class: usize| {
        let each = weights / columns;
        (0..each)
            .map(|row| class % (neurons / each) + row * (neurons / each))
            .collect()
    };
    let pairs: Vec<(usize, usize)> = match columns {
        1 => vec![(0, 0)],
        _ => (0..columns)
            .flat_map(|a| (a + 1..columns).map(move |b| (a, b)))
            .collect(),
    };
    let each = KAPPA * weights / pairs.len();
    let terms = |(place, &(a, b)): (usize, &(usize, usize))| {
        let mut random = random(8, place);
        let mut samples: Vec<u32> = (0..each)
            .map(|_| random.random_range(0..samples as u32))
            .collect();
        samples.sort_unstable();
        let weights = (0..each).map(|_| random.random_range(0.0..1.0)).collect();
        Terms {
            a,
            b,
            samples,
            weights,
        }
    };
    let terms = pairs.iter().enumerate().map(terms).collect();
    ((0..columns).map(rows).collect(), terms)
}

fn run_hessian(bench: &Bench<'_>, classes: usize) -> Result<Outcome> {
    let (samples, neurons, weights) = hessian_shape(bench.options.size);
    let (rows, terms) = working_set(bench.options.size, classes);
    let x = activations(samples, neurons, 7);
    let ours = |name: &str| name.starts_with("curvature/");
    let work = |backend: &Backend| curvature::curvature(backend, x.view(), &rows, &terms);
    let (h, measured) = bench.measure(&ours, &work)?;
    let entries: Vec<(usize, usize)> = (rows.iter().enumerate())
        .flat_map(|(class, rows)| rows.iter().map(move |&row| (class, row)))
        .collect();
    let places = sampled(entries.len(), SAMPLED);
    let off = |(j, k): (usize, usize)| {
        let expected = entry(&x, &terms, entries[j], entries[k]);
        let size = f64::from(h[(j, j)]).sqrt() * f64::from(h[(k, k)]).sqrt();
        (f64::from(h[(j, k)]) - expected).abs() / size
    };
    let pairs = places
        .iter()
        .flat_map(|&j| places.iter().map(move |&k| (j, k)));
    Ok(Outcome {
        error_is: "|error| of an entry, as a share of the root of its two diagonal entries",
        error: largest(pairs.map(off)),
        tolerance: curvature::TOLERANCE,
        flop: Some(curvature::cost(&rows, &terms)),
        bytes: Some(4.0 * (weights * weights + samples * neurons) as f64),
        units: None,
        measured,
    })
}

/// An entry of the Hessian, by its definition in f64.
fn entry(
    x: &Array2<f32>,
    terms: &[Terms],
    (a, row): (usize, usize),
    (b, column): (usize, usize),
) -> f64 {
    let value = |sample: u32, row: usize| match row {
        0 => 1.0,
        row => f64::from(x[(sample as usize, row - 1)]),
    };
    let has = |terms: &&Terms| match a == b {
        true => terms.a == a || terms.b == a,
        false => (terms.a, terms.b) == (a.min(b), a.max(b)),
    };
    let each = terms.iter().filter(has);
    let each = each.flat_map(|terms| terms.samples.iter().zip(&terms.weights));
    let sum: f64 = each
        .map(|(&i, &v)| f64::from(v) * value(i, row) * value(i, column))
        .sum();
    if a == b { sum } else { -sum }
}

/// What programmes share.
struct Input {
    h: Array2<f32>,
    g: Vec<Vec<f64>>,
    zero: Vec<f32>,
    l1: Vec<f64>,
    mu: Vec<f64>,
    scale: Vec<f64>,
    blocks: Vec<usize>,
}

impl Input {
    /// H of twice as many terms as entries; about a third of the entries end away from zero.
    fn new(count: usize, entries: usize) -> Self {
        let rows = activations(2 * entries, entries, 5);
        let h = rows.t().dot(&rows) / rows.nrows() as f32;
        let gradient = |seed: usize| {
            let mut random = random(6, seed);
            (0..entries)
                .map(|_| random.random_range(-1.0..1.0))
                .collect()
        };
        Self {
            h: h.as_standard_layout().into_owned(),
            g: (0..count).map(gradient).collect(),
            zero: vec![0.0; entries],
            l1: vec![0.5; entries],
            mu: vec![0.05; entries],
            scale: vec![1.0; entries],
            blocks: (0..=BLOCKS).map(|b| b * entries / BLOCKS).collect(),
        }
    }

    fn programmes(&self) -> Vec<Programme<'_>> {
        let one = |g| Programme {
            h: self.h.as_slice().expect("it was made in rows"),
            g,
            w: &self.zero,
            l1: &self.l1,
            mu: &self.mu,
            scale: &self.scale,
            blocks: &self.blocks,
            tolerance: RESIDUAL,
            steps: 1_000,
        };
        self.g.iter().map(|g| one(g)).collect()
    }
}

fn run(bench: &Bench<'_>) -> Result<Outcome> {
    let (count, entries) = shape(bench.options.size);
    let input = Input::new(count, entries);
    let programmes = input.programmes();
    let ours = |name: &str| name.starts_with("quadratic/");
    let work = |backend: &Backend| quadratic::solve(backend, &programmes);
    let (found, measured) = bench.measure(&ours, &work)?;
    let off = |(programme, solution): (&Programme<'_>, &Solution)| {
        residual(programme, &solution.u) / programme.tolerance
    };
    Ok(Outcome {
        error_is: "largest KKT residual, as a multiple of the one asked for",
        error: largest(programmes.iter().zip(&found).map(off)),
        tolerance: quadratic::TOLERANCE,
        flop: Some(found.iter().map(|solution| solution.flop).sum()),
        bytes: Some(4.0 * (count * entries * entries) as f64),
        units: None,
        measured,
    })
}

/// The largest minimum-norm subgradient in f64, on its scale.
fn residual(programme: &Programme<'_>, u: &[f32]) -> f64 {
    let n = programme.len();
    let moved = |k: usize| f64::from(u[k]) - f64::from(programme.w[k]);
    let of = |j: usize| {
        let row = &programme.h[j * n..(j + 1) * n];
        let products = row
            .iter()
            .enumerate()
            .map(|(k, h)| f64::from(*h) * moved(k));
        let at = f64::from(u[j]);
        let smooth = programme.g[j] + products.sum::<f64>() + programme.mu[j] * at;
        let left = if at == 0.0 {
            worse(smooth.abs() - programme.l1[j], 0.0)
        } else {
            (smooth + programme.l1[j] * at.signum()).abs()
        };
        left / programme.scale[j]
    };
    largest((0..n).map(of))
}
