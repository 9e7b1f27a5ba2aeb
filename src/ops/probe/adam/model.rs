//! One problem's weights and Adam's moments, and a step on a batch of samples.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, ArrayView2, ArrayViewMut2, Axis, s};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::super::Response;
use super::lockstep::Columns;
use super::{ABSENT_CLASS_BIAS, Params, Problem, Start, Trained};
use crate::error::{Error, Result};

const BETA_1: f64 = 0.9;
const BETA_2: f64 = 0.999;
const EPSILON: f32 = 1e-8;

/// Adam's parameters: values, first and second moments, gradient of the last batch's loss.
#[derive(Debug)]
struct Weights {
    values: Vec<f32>,
    first: Vec<f32>,
    second: Vec<f32>,
    gradient: Vec<f32>,
}

#[derive(Debug)]
enum Targets {
    /// Index into the classes that occur for each sample.
    Classes(Vec<u32>),
    Values(Vec<f32>),
}

/// A problem on its way.
#[derive(Debug)]
pub(super) struct Model {
    /// Which columns it sees.
    pub place: usize,
    targets: Targets,
    /// Ids of the classes that occur; `[0]` for values.
    classes: Vec<u32>,
    /// Number of classes that the label set names.
    all_classes: usize,
    width: usize,
    /// d × C, a neuron's weights side by side: the backward product then writes rows.
    weights: Weights,
    bias: Weights,
    /// Predictions of a batch, then the derivative of its loss: batch × C.
    residual: Array2<f32>,
    l1: f32,
    l2: f64,
    steps: usize,
}

impl Weights {
    fn new(values: Vec<f32>) -> Self {
        let zeros = vec![0.0; values.len()];
        Self {
            values,
            first: zeros.clone(),
            second: zeros.clone(),
            gradient: zeros,
        }
    }

    /// One step along the gradient of loss + λ1·|w|₁ + pull/2·|w|².
    fn step(&mut self, rates: &Rates, l1: f32, pull: f32) {
        let parameters = self.values.iter_mut().zip(&mut self.first);
        let rest = self.second.iter_mut().zip(&self.gradient);
        for ((w, first), (second, gradient)) in parameters.zip(rest) {
            let sign = f32::from(u8::from(*w > 0.0)) - f32::from(u8::from(*w < 0.0));
            let g = gradient + l1 * sign + pull * *w;
            *first += rates.keep_first * (g - *first);
            *second = rates.decay_second * *second + rates.keep_second * (g * g);
            let size = second.sqrt() * rates.second_correction + EPSILON;
            *w -= rates.size * *first / size;
        }
    }
}

/// What is the same for all weights of a step, computed in f64 as PyTorch does.
struct Rates {
    keep_first: f32,
    decay_second: f32,
    keep_second: f32,
    /// 1/√(1 − β₂ᵗ).
    second_correction: f32,
    /// Learning rate / (1 − β₁ᵗ).
    size: f32,
}

impl Rates {
    fn new(learning_rate: f64, step: usize) -> Self {
        let t = step as f64;
        Self {
            keep_first: (1.0 - BETA_1) as f32,
            decay_second: BETA_2 as f32,
            keep_second: (1.0 - BETA_2) as f32,
            second_correction: (1.0 - BETA_2.powf(t)).sqrt().recip() as f32,
            size: (learning_rate / (1.0 - BETA_1.powf(t))) as f32,
        }
    }
}

impl Model {
    /// # Errors
    /// When the given start does not fit the problem.
    pub(super) fn new(
        problem: &Problem<'_>,
        place: usize,
        width: usize,
        params: &Params,
    ) -> Result<Self> {
        let (targets, classes, all_classes) = match problem.response {
            Response::Classes(labels) => {
                let present = labels.present();
                let index = |id: &u32| present.binary_search(id).expect("it occurs") as u32;
                let targets = Targets::Classes(labels.ids().iter().map(index).collect());
                (targets, present, labels.classes().len())
            }
            Response::Values(values) => (Targets::Values(values.to_vec()), vec![0], 1),
        };
        let (weights, bias) = start(problem.start, all_classes, &classes, width)?;
        Ok(Self {
            place,
            targets,
            all_classes,
            width,
            weights: Weights::new(weights),
            bias: Weights::new(bias),
            residual: Array2::zeros((params.batch, classes.len())),
            classes,
            l1: problem.l1 as f32,
            l2: problem.l2,
            steps: 0,
        })
    }

    /// Takes the steps of some whole batches: activations of the samples from `from` on, |rows| × d.
    pub(super) fn train(&mut self, x: ArrayView2<'_, f32>, from: usize, params: &Params) {
        let mut at = from;
        for x in x.axis_chunks_iter(Axis(0), params.batch) {
            self.step(x, at, params.learning_rate);
            at += x.nrows();
        }
    }

    fn step(&mut self, x: ArrayView2<'_, f32>, from: usize, learning_rate: f64) {
        let (rows, shape) = (x.nrows(), (self.width, self.classes.len()));
        let mut residual = self.residual.slice_mut(s![..rows, ..]);
        let weights = ArrayView2::from_shape(shape, &self.weights.values).expect("d × C");
        general_mat_mul(1.0, &x, &weights, 0.0, &mut residual);
        self.bias.gradient.fill(0.0);
        for (i, mut row) in residual.rows_mut().into_iter().enumerate() {
            let row = row.as_slice_mut().expect("rows are contiguous");
            for (z, b) in row.iter_mut().zip(&self.bias.values) {
                *z += b;
            }
            match &self.targets {
                Targets::Classes(y) => softmax_residual(row, y[from + i] as usize, rows),
                Targets::Values(y) => row[0] = 2.0 * (row[0] - y[from + i]) / rows as f32,
            }
            for (sum, r) in self.bias.gradient.iter_mut().zip(&*row) {
                *sum += *r;
            }
        }
        let mut gradient =
            ArrayViewMut2::from_shape(shape, &mut self.weights.gradient).expect("d × C");
        general_mat_mul(1.0, &x.t(), &residual, 0.0, &mut gradient);
        self.steps += 1;
        let rates = Rates::new(learning_rate, self.steps);
        let norm = if self.l2 > 0.0 {
            frobenius(&self.weights.values)
        } else {
            0.0
        };
        let pull = if norm > 0.0 { self.l2 / norm } else { 0.0 };
        self.weights.step(&rates, self.l1, pull as f32);
        self.bias.step(&rates, 0.0, 0.0);
    }

    pub(super) fn is_finite(&self) -> bool {
        let weights = self.weights.values.iter().chain(&self.bias.values);
        weights.copied().all(f32::is_finite)
    }

    /// Weights of the neurons that it sees (d × C) and biases (C), of the classes that occur.
    pub(super) fn parameters(&self) -> (ArrayView2<'_, f32>, &[f32]) {
        let shape = (self.width, self.classes.len());
        let weights = ArrayView2::from_shape(shape, &self.weights.values).expect("d × C");
        (weights, &self.bias.values)
    }

    /// Steps that Adam took.
    pub(super) fn steps(&self) -> usize {
        self.steps
    }

    /// The probe on all of X's neurons and all classes.
    pub(super) fn trained(&self, seen: &Columns, neurons: usize) -> Trained {
        let mut weights = Array2::zeros((self.all_classes, neurons));
        let mut bias = Array1::from_elem(self.all_classes, ABSENT_CLASS_BIAS);
        let (values, biases) = self.parameters();
        for (from, &class) in self.classes.iter().enumerate() {
            bias[class as usize] = biases[from];
            for (value, id) in values.column(from).iter().zip(seen.ids()) {
                weights[(class as usize, id)] = *value;
            }
        }
        Trained {
            weights,
            bias,
            steps: self.steps,
        }
    }
}

/// Logits → (softmax − one-hot) / samples of the batch, in place.
fn softmax_residual(z: &mut [f32], own: usize, samples: usize) {
    let max = z.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut total = 0.0;
    for z in &mut *z {
        *z = (*z - max).exp();
        total += *z;
    }
    for z in &mut *z {
        *z /= total;
    }
    z[own] -= 1.0;
    for z in z {
        *z /= samples as f32;
    }
}

/// ‖W‖_F: squares in f32 over short runs, the runs in f64.
fn frobenius(w: &[f32]) -> f64 {
    const LANES: usize = 8;
    const RUN: usize = 64 * LANES;
    let mut sum = 0.0;
    for run in w.chunks(RUN) {
        let mut lanes = [0.0f32; LANES];
        let (eights, rest) = run.as_chunks::<LANES>();
        for eight in eights {
            for (lane, w) in lanes.iter_mut().zip(eight) {
                *lane += w * w;
            }
        }
        sum += lanes.iter().map(|l| f64::from(*l)).sum::<f64>();
        sum += rest.iter().map(|w| f64::from(*w).powi(2)).sum::<f64>();
    }
    sum.sqrt()
}

/// Weights d × C and biases C of the classes that occur.
fn start(
    start: Start<'_>,
    all_classes: usize,
    classes: &[u32],
    width: usize,
) -> Result<(Vec<f32>, Vec<f32>)> {
    let (weights, bias) = match start {
        Start::Given { weights, bias } => (weights.to_owned(), bias.to_owned()),
        Start::Seeded(seed) => drawn(seed, all_classes, width),
    };
    if weights.dim() != (all_classes, width) || bias.len() != all_classes {
        return Err(Error::invalid(
            "start",
            format!(
                "it has {:?} weights and {} biases for {all_classes} classes and {width} neurons",
                weights.dim(),
                bias.len()
            ),
            "Give classes × neurons weights and as many biases as classes",
        ));
    }
    if let Some(value) = weights.iter().chain(&bias).find(|v| !v.is_finite()) {
        return Err(Error::invalid(
            "start",
            format!("it has the value {value}"),
            "Every weight and bias must be a finite number",
        ));
    }
    let values = (0..width).flat_map(|j| classes.iter().map(move |&c| (c as usize, j)));
    let biases = classes.iter().map(|&c| bias[c as usize]).collect();
    Ok((values.map(|place| weights[place]).collect(), biases))
}

fn drawn(seed: u64, classes: usize, width: usize) -> (Array2<f32>, Array1<f32>) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let bound = (width as f64).sqrt().recip();
    let mut draw = || (bound * (2.0 * random.random::<f64>() - 1.0)) as f32;
    let weights = Array2::from_shape_simple_fn((classes, width), &mut draw);
    let bias = Array1::from_shape_simple_fn(classes, &mut draw);
    (weights, bias)
}
