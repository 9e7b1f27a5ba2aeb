//! Moments, and correlations of all pairs: as a matrix, of samples in f32 and in f16, and reduced as they come.

use half::f16;
use ndarray::Array2;

use super::Size;
use super::inputs::{activations, sampled};
use super::measure::{Bench, Outcome, Workload};
use super::roofs::{largest, worse};
use crate::activations::Rows;
use crate::error::Result;
use crate::ops::Backend;
use crate::ops::correlation::{self, Correlation, Findings, Params, Side, Wanted};
use crate::ops::moments::{self, Moments};

/// Neurons whose pairs are compared with f64.
const SAMPLED: usize = 48;

/// What a pair is worth telling from on, and how many partners of a neuron.
const THRESHOLD: f32 = 0.5;
const PARTNERS: usize = 10;

/// Samples and neurons.
fn shape(size: Size) -> (usize, usize) {
    match size {
        Size::Small => (1_024, 512),
        Size::Standard => (16_384, 4_096),
        Size::Large => (65_536, 9_984),
    }
}

/// Of few samples, so that what becomes of r weighs more than r.
fn shape_of_pairs(size: Size) -> (usize, usize) {
    match size {
        Size::Small => (256, 1_024),
        Size::Standard => (1_024, 8_192),
        Size::Large => (1_024, 32_768),
    }
}

pub(super) fn workloads(size: Size) -> Vec<Workload> {
    let text = |(n, d): (usize, usize)| format!("{n} samples x {d} neurons");
    let of = |name: &str, what, shape: (usize, usize), run: fn(&Bench<'_>) -> Result<Outcome>| {
        Workload {
            name: name.to_owned(),
            shape: text(shape),
            what,
            run: Box::new(run),
        }
    };
    vec![
        of(
            "moments",
            "mean and sd of every neuron",
            shape(size),
            of_moments,
        ),
        of(
            "gram.f32",
            "r of every pair, samples in f32",
            shape(size),
            of_f32,
        ),
        of(
            "gram.f16",
            "r of every pair, samples stored in f16",
            shape(size),
            of_f16,
        ),
        of(
            "epilogue.pairs",
            "pairs with |r| >= 0.5, 10 best partners and distribution; on a GPU those kernels alone",
            shape_of_pairs(size),
            of_pairs,
        ),
    ]
}

fn of_moments(bench: &Bench<'_>) -> Result<Outcome> {
    let (n, d) = shape(bench.options.size);
    let x = activations(n, d, 1);
    let ours = |name: &str| name.starts_with("moments/");
    let work = |backend: &Backend| moments::moments(backend, x.view(), None);
    let (found, measured) = bench.measure(&ours, &work)?;
    let off = |neuron: usize| {
        let exact = moments_in_f64(&column(&x, neuron));
        let mean = (found.mean[neuron] - exact.0).abs();
        mean.max((found.sd[neuron] - exact.1).abs()) / exact.1
    };
    let values = n as f64 * d as f64;
    Ok(Outcome {
        error_is: "largest error of a mean or an sd, in sd",
        error: largest(sampled(d, SAMPLED).into_iter().map(off)),
        tolerance: moments::TOLERANCE,
        flop: Some(4.0 * values),
        bytes: Some(4.0 * values),
        measured,
    })
}

fn column(x: &Array2<f32>, neuron: usize) -> Vec<f64> {
    x.column(neuron).iter().map(|x| f64::from(*x)).collect()
}

fn moments_in_f64(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|x| (x - mean) * (x - mean)).sum();
    (mean, (squares / n).sqrt())
}

/// r of two columns in f64, by their deviations.
fn exact(a: &[f64], b: &[f64]) -> f64 {
    let (of_a, of_b) = (moments_in_f64(a), moments_in_f64(b));
    let products = a.iter().zip(b).map(|(a, b)| (a - of_a.0) * (b - of_b.0));
    products.sum::<f64>() / (a.len() as f64 * of_a.1 * of_b.1)
}

fn ours(name: &str) -> bool {
    name.starts_with("correlation")
}

/// What r of every pair costs: the triangle's FLOP; samples read once, r written once.
fn outcome(
    x: &Array2<f32>,
    stored: f64,
    found: &Correlation,
    measured: super::measure::Measured,
) -> Outcome {
    let (n, d) = x.dim();
    let chosen = sampled(d, SAMPLED);
    let columns: Vec<Vec<f64>> = chosen.iter().map(|&neuron| column(x, neuron)).collect();
    let mut error = 0.0;
    for (a, i) in chosen.iter().enumerate() {
        for (b, j) in chosen.iter().enumerate().skip(a + 1) {
            let r = f64::from(found.get(*i, *j));
            error = worse(error, (r - exact(&columns[a], &columns[b])).abs());
        }
    }
    let (n, d) = (n as f64, d as f64);
    Outcome {
        error_is: "largest error of r",
        error,
        tolerance: correlation::TOLERANCE,
        flop: Some(n * d * (d + 1.0)),
        bytes: Some(stored * n * d + 2.0 * d * (d - 1.0)),
        measured,
    }
}

fn of_f32(bench: &Bench<'_>) -> Result<Outcome> {
    let (n, d) = shape(bench.options.size);
    let x = activations(n, d, 1);
    let known = moments::moments(&Backend::Cpu, x.view(), None)?;
    let work = |backend: &Backend| correlation::correlation(backend, x.view(), &known);
    let (found, measured) = bench.measure(&ours, &work)?;
    Ok(outcome(&x, 4.0, &found, measured))
}

fn of_f16(bench: &Bench<'_>) -> Result<Outcome> {
    let (n, d) = shape(bench.options.size);
    let x = activations(n, d, 1).mapv(f16::from_f32);
    let known = moments::streamed(&x, None)?;
    let params = Params { memory: u64::MAX };
    let work = |backend: &Backend| correlation::packed(backend, side(&x, &known), &params);
    let (found, measured) = bench.measure(&ours, &work)?;
    Ok(outcome(&x.mapv(f16::to_f32), 2.0, &found, measured))
}

fn side<'a>(rows: &'a dyn Rows, moments: &'a Moments) -> Side<'a> {
    Side { rows, moments }
}

fn of_pairs(bench: &Bench<'_>) -> Result<Outcome> {
    let (n, d) = shape_of_pairs(bench.options.size);
    let x = activations(n, d, 2).mapv(f16::from_f32);
    let known = moments::streamed(&x, None)?;
    let params = Params { memory: u64::MAX };
    let wanted = Wanted {
        at_least: Some(THRESHOLD),
        partners: PARTNERS,
        distribution: true,
        ..Wanted::default()
    };
    let tiles = |name: &str| name.starts_with("correlation_tiles/");
    let work =
        |backend: &Backend| correlation::scan(backend, side(&x, &known), None, &wanted, &params);
    let (found, measured) = bench.measure(&tiles, &work)?;
    let x = x.mapv(f16::to_f32);
    let (n, d) = (n as f64, d as f64);
    let native = matches!(bench.backend, Backend::Cpu);
    Ok(Outcome {
        error_is: "largest error of r of a best partner",
        error: error_of_partners(&x, &found),
        tolerance: correlation::TOLERANCE,
        // Natively r is reduced where it is made; on a GPU its tiles are read again.
        flop: native.then_some(n * d * (d + 1.0)),
        bytes: Some(if native {
            2.0 * n * d
        } else {
            2.0 * d * (d + 1.0)
        }),
        measured,
    })
}

/// Of a few neurons: whether their best partners have the r that they should, and are the best; endless where pairs are
/// missing.
fn error_of_partners(x: &Array2<f32>, found: &Findings) -> f64 {
    let d = x.ncols();
    let pairs = found.distribution.as_ref().map_or(0, |all| all.pairs);
    if pairs != (d * (d - 1) / 2) as u64 || found.partners.len() != d {
        return f64::INFINITY;
    }
    let mut error = 0.0;
    for neuron in sampled(d, 8) {
        let own = column(x, neuron);
        let of = |other: usize| exact(&own, &column(x, other));
        let mut sizes: Vec<f64> = (0..d)
            .filter(|other| *other != neuron)
            .map(|other| of(other).abs())
            .collect();
        sizes.sort_by(|a, b| b.total_cmp(a));
        for (partner, best) in found.partners[neuron].iter().zip(&sizes) {
            let r = f64::from(partner.r);
            let off = (r - of(partner.neuron as usize)).abs();
            error = worse(error, off.max((r.abs() - best).abs()));
        }
    }
    error
}
