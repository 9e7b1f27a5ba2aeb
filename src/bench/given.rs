//! Probes at given coefficients: loss and gradient, as proximal L-BFGS asks a device that holds the samples for them, and
//! certificates, which are native whatever device there is.

use ndarray::{Array1, Array2, ArrayView1, Axis};
use rand::RngExt;
use rayon::prelude::*;

use super::Size;
use super::inputs::{activations, labels, random, sampled};
use super::measure::{Bench, Outcome, Session, Workload};
use super::roofs::worse;
use crate::error::Result;
use crate::labels::Labels;
use crate::ops::Backend;
use crate::ops::moments::{Moments, moments, standardise};
use crate::ops::probe::{self, Certified, Design, Given, LossAt, Params, Problem};

const CLASSES: usize = 16;

/// Weights of a class that are not zero, as of a sparse probe.
const TERMS: usize = 16;

/// Rows of a gradient that are compared with f64.
const SAMPLED: usize = 24;

/// Error of a loss or of a gradient's entry, as a share of the sum of its terms' sizes. A logit's 16 terms add up to about 6 in size:
/// 17 roundings are 6e-6 at most, and over samples hardly ever all one way. A residual errs by twice what its logits err by, as a share
/// of itself, and what adds residuals up errs by up to 1e-5, as the products do.
const TOLERANCE: f64 = 2e-5;

/// Certificates are f64: sums of ten thousand terms err by some 1e-13 of them.
const TOLERANCE_OF_CERTIFICATES: f64 = 1e-10;

/// λ1 of the probes that are certified, as shares of λ_max; λ2 is a tenth of it.
const PENALTIES: [f64; 2] = [0.5, 0.25];

/// Samples, neurons, and numbers of probes beside one another.
fn shapes(size: Size) -> (usize, usize, [usize; 2]) {
    match size {
        Size::Small => (1_024, 512, [1, 4]),
        Size::Standard => (16_384, 2_048, [1, 32]),
        Size::Large => (32_768, 2_048, [1, 32]),
    }
}

pub(super) fn workloads(size: Size) -> Vec<Workload> {
    let (n, d, counts) = shapes(size);
    let shape = |probes: usize| {
        format!("{n} samples x {d} neurons, {CLASSES} classes, probes at once: {probes}")
    };
    let losses = counts.into_iter().map(|probes| Workload {
        name: format!("probe.loss.{probes}"),
        shape: shape(probes),
        what: "loss and gradient of probes, the samples already on the device",
        run: Box::new(move |bench| of_losses(bench, probes)),
    });
    let certificate = Workload {
        name: "probe.certificate".to_owned(),
        shape: shape(PENALTIES.len()),
        what: "certificates of fitted probes, by the processor in f64",
        run: Box::new(of_certificates),
    };
    losses.chain([certificate]).collect()
}

/// What probes see and are to tell.
struct Input {
    y: Labels,
    moments: Moments,
    design: Design,
    /// The same values as the design.
    z: Array2<f32>,
}

impl Input {
    fn new(size: Size) -> Result<Self> {
        let (n, d, _) = shapes(size);
        let x = activations(n, d, 13);
        let moments = moments(&Backend::Cpu, x.view(), None)?;
        let all: Vec<usize> = (0..d).collect();
        Ok(Self {
            y: labels(n, CLASSES as u32, 14)?,
            design: Design::new(&Backend::Cpu, x.view(), &moments, &all)?,
            z: standardise(&Backend::Cpu, x.view(), &moments, &all)?,
            moments,
        })
    }

    /// FLOP of so many products with the samples, of so many probes.
    fn flop(&self, products: usize, probes: usize) -> f64 {
        2.0 * (products * self.z.len() * CLASSES * probes) as f64
    }

    /// Samples, coefficients and gradients once.
    fn bytes(&self, probes: usize) -> f64 {
        4.0 * (self.z.len() + 2 * (self.z.ncols() + 1) * CLASSES * probes) as f64
    }
}

/// Coefficients of a sparse probe: other neurons for each class and each probe.
fn sparse(neurons: usize, probe: usize) -> Array2<f32> {
    let step = neurons / TERMS;
    let mut random = random(15, probe);
    Array2::from_shape_fn((neurons + 1, CLASSES), |(row, class)| {
        let value = random.random_range(-1.0f32..1.0);
        let in_it = row == 0 || (row + 5 * class + 3 * probe).is_multiple_of(step);
        if in_it { value } else { 0.0 }
    })
}

fn of_losses(bench: &Bench<'_>, probes: usize) -> Result<Outcome> {
    let input = Input::new(bench.options.size)?;
    let problems = vec![Problem::new(&input.y, 0.0, 1.0); probes];
    let given = Given::new(&input.design, &problems, &Params::default())?;
    let coefficients: Vec<Array2<f32>> = (0..probes)
        .map(|probe| sparse(input.z.ncols(), probe))
        .collect();
    let session = |backend: &Backend, measure: Session<'_, Vec<LossAt>>| {
        let asking = given.on(backend)?;
        measure(&|| asking.losses(&coefficients))
    };
    let ours = |name: &str| name.starts_with("probe");
    let (found, measured) = bench.measure_within(&ours, &session)?;
    let mut error = 0.0;
    for probe in sampled(probes, 2) {
        let theta = &coefficients[probe];
        let intercepts = theta.row(0).mapv(f64::from).to_vec();
        let exact = Exact::new(&input, theta, &intercepts);
        error = worse(error, (found[probe].loss - exact.loss).abs() / exact.loss);
        for row in sampled(input.z.ncols() + 1, SAMPLED) {
            let values = exact.derivative(&input, row);
            for (found, (sum, sizes)) in found[probe].gradient.row(row).iter().zip(values) {
                error = worse(error, (found - sum).abs() / sizes);
            }
        }
    }
    Ok(Outcome {
        error_is: "largest error of a loss or of a derivative, as a share of the sum of its terms' sizes",
        error,
        tolerance: TOLERANCE,
        flop: Some(input.flop(2, probes)),
        bytes: Some(input.bytes(probes)),
        units: None,
        measured,
    })
}

fn of_certificates(bench: &Bench<'_>) -> Result<Outcome> {
    let input = Input::new(bench.options.size)?;
    let params = Params::default();
    let any = [Problem::new(&input.y, 0.0, 0.0)];
    let largest = probe::lambda_max(&input.design, &any, params.scale)?[0];
    let problems =
        PENALTIES.map(|share| Problem::new(&input.y, share * largest, 0.1 * share * largest));
    let fits = probe::fit(
        &Backend::Cpu,
        &input.design,
        &problems,
        &params,
        &mut |_| {},
    )?;
    let given = Given::new(&input.design, &problems, &params)?;
    let coefficients: Vec<Array2<f32>> = fits
        .iter()
        .map(|fit| standardised(fit, &input.moments))
        .collect();
    let (found, measured) = bench.measure_natively(&|| given.certificates(&coefficients))?;
    // Farther from the optimum, where the gap has to be larger by at least as much as the objective is.
    let far: Vec<Array2<f32>> = coefficients.iter().map(|theta| 0.5 * theta).collect();
    let of_far = given.certificates(&far)?;
    let mut error = 0.0;
    let each = problems
        .iter()
        .zip(&coefficients)
        .zip(found.iter().zip(&of_far));
    for ((problem, theta), (near, far)) in each {
        error = worse(error, off(&input, problem, theta, near));
        let short = far.objective - near.objective - far.certificate.duality_gap;
        error = worse(error, short.max(0.0) / near.objective);
        // Where `short` is no number, neither is this.
        error = worse(error, 0.0 * short);
    }
    Ok(Outcome {
        error_is: "largest error of an objective, as a share of it, and of a KKT residual, as a share of l1; what gaps lack of what is \
                   known of them, as a share of the objective",
        error,
        tolerance: TOLERANCE_OF_CERTIFICATES,
        flop: Some(input.flop(2, PENALTIES.len())),
        bytes: Some(input.bytes(PENALTIES.len())),
        units: None,
        measured,
    })
}

/// A fit's coefficients on standardised activations, intercepts first.
fn standardised(fit: &probe::Fit, moments: &Moments) -> Array2<f32> {
    let intercept = |class: usize| {
        let raw = fit.weights.row(class);
        let shift: f64 = raw
            .iter()
            .zip(&moments.mean)
            .map(|(w, m)| f64::from(*w) * m)
            .sum();
        (f64::from(fit.bias[class]) + shift) as f32
    };
    let shape = (fit.weights.ncols() + 1, fit.weights.nrows());
    Array2::from_shape_fn(shape, |(row, class)| match row {
        0 => intercept(class),
        row => fit.standardised[(class, row - 1)],
    })
}

/// How far objective and KKT residual are from f64 by their definitions.
fn off(input: &Input, problem: &Problem<'_>, theta: &Array2<f32>, found: &Certified) -> f64 {
    let exact = Exact::new(input, theta, &found.intercepts);
    let weights = || theta.iter().skip(CLASSES).map(|w| f64::from(*w));
    let ones: f64 = weights().map(f64::abs).sum();
    let squares: f64 = weights().map(|w| w * w).sum();
    let expected = exact.loss + problem.l1 * ones + problem.l2 * squares;
    let of_row = |row: usize| {
        let each = exact.derivative(input, row).into_iter().zip(theta.row(row));
        let subgradient = |((slope, _), w): ((f64, f64), &f32)| match (row, f64::from(*w)) {
            (0, _) => slope.abs(),
            (_, 0.0) => (slope.abs() - problem.l1).max(0.0),
            (_, w) => (slope + 2.0 * problem.l2 * w + problem.l1 * w.signum()).abs(),
        };
        each.map(subgradient).fold(0.0, worse)
    };
    let rows: Vec<f64> = (0..theta.nrows()).into_par_iter().map(of_row).collect();
    let kkt = rows.into_iter().fold(0.0, worse);
    worse(
        (found.objective - expected).abs() / expected,
        (found.certificate.kkt - kkt).abs() / problem.l1,
    )
}

/// A probe at some coefficients, by its definition in f64.
struct Exact {
    loss: f64,
    /// Of each class and sample: its share of the loss's derivative with respect to the logit.
    residuals: Array2<f64>,
}

impl Exact {
    fn new(input: &Input, theta: &Array2<f32>, intercepts: &[f64]) -> Self {
        let samples = input.z.nrows();
        let omega = (samples as f64).recip();
        let taken: Vec<Vec<(usize, f64)>> = theta
            .columns()
            .into_iter()
            .map(|column| weights(column))
            .collect();
        let mut residuals = Array2::zeros((CLASSES, samples));
        let mut loss = 0.0;
        for (sample, (z, &own)) in input.z.rows().into_iter().zip(input.y.ids()).enumerate() {
            let logits = (0..CLASSES).map(|class| {
                let terms = taken[class].iter().map(|(j, w)| w * f64::from(z[*j]));
                intercepts[class] + terms.sum::<f64>()
            });
            let logits: Array1<f64> = logits.collect();
            let most = logits.fold(f64::NEG_INFINITY, |a, b| a.max(*b));
            let all: f64 = logits.iter().map(|z| (z - most).exp()).sum();
            loss += omega * (all.ln() + most - logits[own as usize]);
            for (class, z) in logits.iter().enumerate() {
                let hit = f64::from(u8::from(class == own as usize));
                residuals[(class, sample)] = omega * ((z - most).exp() / all - hit);
            }
        }
        Self { loss, residuals }
    }

    /// The derivative with respect to a row of the coefficients, of each class, and the sum of its terms' sizes.
    fn derivative(&self, input: &Input, row: usize) -> Vec<(f64, f64)> {
        let x: Vec<f64> = match row {
            0 => vec![1.0; input.z.nrows()],
            row => input.z.column(row - 1).mapv(f64::from).to_vec(),
        };
        let of_class = |residuals: ArrayView1<'_, f64>| {
            let terms = || residuals.into_iter().zip(&x).map(|(r, x)| r * x);
            (terms().sum(), terms().map(f64::abs).sum())
        };
        let classes = self.residuals.axis_iter(Axis(0));
        classes.map(of_class).collect()
    }
}

/// A class's weights that are not zero, with their neurons.
fn weights(column: ArrayView1<'_, f32>) -> Vec<(usize, f64)> {
    let each = column.iter().skip(1).enumerate();
    each.filter(|(_, w)| **w != 0.0)
        .map(|(neuron, w)| (neuron, f64::from(*w)))
        .collect()
}
