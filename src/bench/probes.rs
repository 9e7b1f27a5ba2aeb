//! The inner solver of probes: quadratic programmes of Newton steps.

use ndarray::Array2;
use rand::RngExt;

use super::Size;
use super::inputs::{activations, random};
use super::measure::{Bench, Outcome, Workload};
use super::roofs::{largest, worse};
use crate::error::Result;
use crate::ops::Backend;
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
    vec![Workload {
        name: "inner.descent".to_owned(),
        shape: format!("{count} programmes of {entries} entries in {BLOCKS} blocks"),
        what: "coordinate descent and conjugate gradients on a Newton step of probes",
        run: Box::new(run),
    }]
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
