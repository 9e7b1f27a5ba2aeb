//! Moments, and correlations of all pairs: as a matrix, of samples in f32 and in f16, and reduced as they come ([`pairs`]).

use half::f16;
use ndarray::Array2;

use super::Size;
use super::inputs::{activations, sampled};
use super::measure::{Bench, Outcome, Workload};
use super::pairs;
use super::roofs::{largest, worse};
use crate::activations::Rows;
use crate::error::Result;
use crate::ops::Backend;
use crate::ops::correlation::{self, Correlation, Params, Side};
use crate::ops::moments::{self, Moments};

/// Neurons whose pairs are compared with f64.
const SAMPLED: usize = 48;

/// Samples and neurons.
pub(super) fn shape(size: Size) -> (usize, usize) {
    match size {
        Size::Small => (1_024, 512),
        Size::Standard => (16_384, 4_096),
        Size::Large => (65_536, 9_984),
    }
}

pub(super) fn workloads(size: Size) -> Vec<Workload> {
    let (n, d) = shape(size);
    let of = |name: &str, what, run: fn(&Bench<'_>) -> Result<Outcome>| Workload {
        name: name.to_owned(),
        shape: format!("{n} samples x {d} neurons"),
        what,
        run: Box::new(run),
    };
    vec![
        of("moments", "mean and sd of every neuron", of_moments),
        of("gram.f32", "r of every pair, samples in f32", of_f32),
        of("gram.f16", "r of every pair, samples stored in f16", of_f16),
        pairs::workload(size),
    ]
}

fn of_moments(bench: &Bench<'_>) -> Result<Outcome> {
    let (n, d) = shape(bench.options.size);
    let x = activations(n, d, 1);
    let ours = |name: &str| name.starts_with("moments/");
    let work = |backend: &Backend| moments::moments(backend, x.view(), None);
    let (found, measured) = bench.measure(&ours, &work)?;
    let values = n as f64 * d as f64;
    Ok(Outcome {
        error_is: "largest error of a mean or an sd, in sd",
        error: error_of_moments(&x, &found),
        tolerance: moments::TOLERANCE,
        flop: Some(4.0 * values),
        bytes: Some(4.0 * values),
        units: None,
        measured,
    })
}

/// The largest error of a mean or an sd, in sd.
fn error_of_moments(x: &Array2<f32>, found: &Moments) -> f64 {
    let off = |neuron: usize| {
        let (mean, sd) = moments_in_f64(&column(x, neuron));
        let off_mean = (found.mean[neuron] - mean).abs();
        worse(off_mean, (found.sd[neuron] - sd).abs()) / sd
    };
    largest(sampled(x.ncols(), SAMPLED).into_iter().map(off))
}

pub(super) fn column(x: &Array2<f32>, neuron: usize) -> Vec<f64> {
    x.column(neuron).iter().map(|x| f64::from(*x)).collect()
}

pub(super) fn moments_in_f64(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|x| (x - mean) * (x - mean)).sum();
    (mean, (squares / n).sqrt())
}

/// r of two columns in f64, by their deviations.
pub(super) fn exact(a: &[f64], b: &[f64]) -> f64 {
    let (of_a, of_b) = (moments_in_f64(a), moments_in_f64(b));
    let products = a.iter().zip(b).map(|(a, b)| (a - of_a.0) * (b - of_b.0));
    products.sum::<f64>() / (a.len() as f64 * of_a.1 * of_b.1)
}

pub(super) fn ours(name: &str) -> bool {
    name.starts_with("correlation")
}

/// What r of every pair costs: the triangle's FLOP; samples read once, r written once.
pub(super) fn outcome(
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
        units: None,
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
    let params = Params {
        memory: u64::MAX,
        ..Params::default()
    };
    let work = |backend: &Backend| {
        let (found, _) = correlation::packed(backend, side(&x, &known), &params)?;
        Ok(found)
    };
    let (found, measured) = bench.measure(&ours, &work)?;
    Ok(outcome(&x.mapv(f16::to_f32), 2.0, &found, measured))
}

pub(super) fn side<'a>(rows: &'a dyn Rows, moments: &'a Moments) -> Side<'a> {
    Side { rows, moments }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The negative control: either moment that is no number, or is off, shows.
    #[test]
    fn moments_that_are_no_numbers_are_noticed() {
        let x = activations(64, 12, 1);
        let found = moments::moments(&Backend::Cpu, x.view(), None).unwrap();
        assert!(error_of_moments(&x, &found) <= moments::TOLERANCE);
        for wrong in [f64::NAN, f64::INFINITY, 7.0] {
            let (mut mean, mut sd) = (found.clone(), found.clone());
            mean.mean[3] = wrong;
            sd.sd[3] = wrong;
            for broken in [mean, sd] {
                let error = error_of_moments(&x, &broken);
                assert_eq!(error.is_nan(), wrong.is_nan(), "{wrong}: {error}");
                assert!(
                    !crate::bench::gate(error, moments::TOLERANCE, ()).0,
                    "{wrong}: {error}"
                );
            }
        }
    }
}
