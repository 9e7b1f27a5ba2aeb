//! Losses, gradients and certificates at given coefficients: the device's are the native ones, the certificates are the fits', and what
//! does not fit the problems is refused.

use ndarray::Array2;
use neurosieve::Backend;
use neurosieve::gpu::Gpu;
use neurosieve::labels::Labels;
use neurosieve::ops::moments::moments;
use neurosieve::ops::probe::{
    self, Design, Fit, Given, KERNELS_OF_LOSS, LossAt, Params, Problem, Response,
};
use rand::RngExt;

use crate::support::{self, activations, labels, random};

/// Samples, neurons and classes.
const SHAPE: (usize, usize, u32) = (1_311, 67, 5);

/// |Δ| of a loss and of a gradient's entry: f32 sums of some forty terms of about 1 in a logit, and of residuals a run at a time.
const NEAR: f64 = 2e-5;

struct Study {
    many: Labels,
    two: Labels,
    values: Vec<f32>,
    design: Design,
    mean: Vec<f64>,
}

impl Study {
    fn new() -> Self {
        let (n, d, classes) = SHAPE;
        let x = activations(n, d, 7);
        let found = moments(&Backend::Cpu, x.view(), None).unwrap();
        let all: Vec<usize> = (0..d).collect();
        let design = Design::new(&Backend::Cpu, x.view(), &found, &all).unwrap();
        Self {
            many: labels(n, classes, 8),
            two: labels(n, 2, 9),
            values: x.column(8).to_vec(),
            design,
            mean: found.mean,
        }
    }

    /// One of each loss; the first two learn the same.
    fn problems(&self) -> [Problem<'_>; 4] {
        [
            Problem::new(&self.many, 0.01, 0.01),
            Problem::new(&self.many, 0.005, 0.01),
            Problem::new(&self.two, 0.01, 0.01),
            Problem::of(Response::Values(&self.values), 0.02, 0.02),
        ]
    }

    fn given(&self) -> Given<'_> {
        Given::new(&self.design, &self.problems(), &Params::default()).unwrap()
    }

    /// Coefficients that are not small.
    fn coefficients(&self) -> Vec<Array2<f32>> {
        let mut random = random(10);
        let rows = self.design.columns().len() + 1;
        let mut of =
            |columns| Array2::from_shape_fn((rows, columns), |_| random.random_range(-0.2f32..0.2));
        // The last of five classes does not occur.
        [4, 4, 1, 1].map(&mut of).into()
    }
}

/// The largest difference of losses and gradients.
fn apart(a: &[LossAt], b: &[LossAt]) -> f64 {
    assert_eq!(a.len(), b.len());
    let each = a.iter().zip(b).flat_map(|(a, b)| {
        let gradients = a.gradient.iter().zip(&b.gradient);
        std::iter::once((&a.loss, &b.loss)).chain(gradients)
    });
    each.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

fn on(gpu: Gpu, study: &Study) -> Vec<LossAt> {
    let backend = Backend::Gpu(gpu);
    let given = study.given();
    let asking = given.on(&backend).unwrap();
    // What was asked before changes nothing.
    asking.losses(&study.coefficients()).unwrap();
    asking.losses(&study.coefficients()).unwrap()
}

#[test]
fn a_device_tells_the_native_losses_and_gradients() {
    let Some(gpu) = support::gpu("a_device_tells_the_native_losses_and_gradients") else {
        return;
    };
    let study = Study::new();
    let given = study.given();
    let native = given.on(&Backend::Cpu).unwrap();
    let native = native.losses(&study.coefficients()).unwrap();
    for gpu in [gpu.clone(), gpu.with_binding_limit(256 << 10)] {
        let off = apart(&native, &on(gpu, &study));
        assert!(off < NEAR, "{off:e}");
    }
    let source = KERNELS_OF_LOSS[0].source;
    let (sound, broken) = (
        "value = -others * scale;",
        "value = -1.01 * others * scale;",
    );
    assert!(source.contains(sound), "the kernel no longer says {sound}");
    let gpu = gpu.with_shader("probe_loss", source.replacen(sound, broken, 1));
    assert!(apart(&native, &on(gpu, &study)) > 10.0 * NEAR);
}

/// The gradient is the slope of the losses, and along it they fall.
#[test]
fn the_native_gradient_is_the_slope_of_the_loss() {
    const STEP: f32 = 0.01;
    let study = Study::new();
    let given = study.given();
    let native = given.on(&Backend::Cpu).unwrap();
    let here = study.coefficients();
    let found = native.losses(&here).unwrap();
    let beside = |sign: f32| -> Vec<f64> {
        let moved: Vec<Array2<f32>> = here
            .iter()
            .zip(&found)
            .map(|(theta, at)| theta + &at.gradient.mapv(|g| sign * STEP * g as f32))
            .collect();
        let there = native.losses(&moved).unwrap();
        there.iter().map(|at| at.loss).collect()
    };
    let (above, below) = (beside(1.0), beside(-1.0));
    for (problem, at) in found.iter().enumerate() {
        let squares: f64 = at.gradient.iter().map(|g| g * g).sum();
        let slope = (above[problem] - below[problem]) / (2.0 * f64::from(STEP));
        let off = (slope / squares - 1.0).abs();
        assert!(off < 1e-3, "problem {problem}: {slope} is not {squares}");
    }
}

impl Study {
    /// A fit's coefficients on standardised activations, a column for each class that occurs.
    fn standardised(&self, fit: &Fit, classes: &[u32]) -> Array2<f32> {
        let columns = self.design.columns();
        let shape = (columns.len() + 1, classes.len());
        Array2::from_shape_fn(shape, |(row, column)| {
            let class = classes[column] as usize;
            if row > 0 {
                return fit.standardised[(class, columns[row - 1])];
            }
            let raw = fit.weights.row(class);
            let each = raw.iter().zip(&self.mean);
            let shift: f64 = each.map(|(w, mean)| f64::from(*w) * mean).sum();
            (f64::from(fit.bias[class]) + shift) as f32
        })
    }
}

#[test]
fn certificates_of_a_fit_s_coefficients_are_the_fit_s() {
    let study = Study::new();
    let (problems, params) = (study.problems(), Params::default());
    let fits = probe::fit(
        &Backend::Cpu,
        &study.design,
        &problems,
        &params,
        &mut |_| {},
    )
    .unwrap();
    let of = |at: usize, classes: &[u32]| study.standardised(&fits[at], classes);
    let two = of(2, &[0, 1]);
    let coefficients = vec![
        of(0, &study.many.present()),
        of(1, &study.many.present()),
        // Two classes are one column, the second's logit.
        Array2::from_shape_fn((two.nrows(), 1), |(j, _)| two[(j, 1)] - two[(j, 0)]),
        of(3, &[0]),
    ];
    let given = study.given();
    let found = given.certificates(&coefficients).unwrap();
    let far: Vec<Array2<f32>> = coefficients.iter().map(|theta| 0.5 * theta).collect();
    let far = given.certificates(&far).unwrap();
    for (at, fit) in fits.iter().enumerate() {
        let (objective, certificate) = (found[at].objective, found[at].certificate);
        let expected = fit.certificate;
        // Weights are the same.
        assert!(
            (objective - fit.objective).abs() < 1e-12 * fit.objective,
            "{at}"
        );
        assert!((certificate.kkt - expected.kkt).abs() < 1e-12, "{at}");
        assert!(
            (certificate.duality_gap - expected.duality_gap).abs() < 1e-12 * fit.objective,
            "{at}: {certificate:?}, {expected:?}"
        );
        assert_eq!(certificate.converged, expected.converged, "{at}");
        assert_eq!(certificate.passes, 0.0);
        let (objective, certificate) = (far[at].objective, far[at].certificate);
        assert!(!certificate.converged && certificate.duality_gap >= objective - fit.objective);
    }
}

#[test]
fn a_certificate_finds_the_intercepts_wherever_they_are_given() {
    let study = Study::new();
    let given = study.given();
    let right = study.coefficients();
    let found = given.certificates(&right).unwrap();
    for by in [-30.0, -5.0, -2.0, 2.0, 5.0, 30.0] {
        let mut off = right.clone();
        off.iter_mut().for_each(|theta| theta[(0, 0)] += by);
        for (at, (off, right)) in given
            .certificates(&off)
            .unwrap()
            .iter()
            .zip(&found)
            .enumerate()
        {
            let apart = (off.objective - right.objective).abs();
            assert!(apart < 1e-10 * right.objective, "{at}, {by}: {apart:e}");
            assert!(off.objective.is_finite() && off.certificate.duality_gap >= 0.0);
        }
    }
}

#[test]
fn coefficients_that_do_not_fit_are_refused() {
    let study = Study::new();
    let given = study.given();
    let asking = given.on(&Backend::Cpu).unwrap();
    let refused = |coefficients: &[Array2<f32>]| -> String {
        let by_loss = asking.losses(coefficients).unwrap_err().to_string();
        let by_certificate = given.certificates(coefficients).unwrap_err().to_string();
        assert_eq!(by_loss, by_certificate);
        by_loss
    };
    let right = study.coefficients();
    let said = refused(&right[..3]);
    assert!(said.contains("3 of them for 4 problems"), "{said}");
    let mut wide = right.clone();
    let rows = wide[2].nrows();
    wide[2] = Array2::zeros((rows, 2));
    let said = refused(&wide);
    let (what, fix) = (format!("{rows} x 2"), format!("Give {rows} x 1"));
    assert!(said.contains("problem 2") && said.contains(&what), "{said}");
    assert!(said.contains(&fix), "{said}");
    let mut broken = right;
    broken[1][(4, 2)] = f32::NAN;
    let said = refused(&broken);
    assert!(said.contains("row 4, column 2 is NaN"), "{said}");
}
