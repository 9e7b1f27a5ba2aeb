//! One problem's weights and Adam's moments, and a step on a batch of samples.

use ndarray::{Array1, Array2, ArrayView2, Axis};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::super::Response;
use super::lockstep::Columns;
use super::panel::{Panel, Rates, WIDEST};
use super::{ABSENT_CLASS_BIAS, Params, Problem, Start, Trained};
use crate::error::{Error, Result};

const BETA_1: f64 = 0.9;
const BETA_2: f64 = 0.999;

/// Biases and their moments, and the gradient of the last batch's loss.
#[derive(Debug)]
struct Biases {
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
    /// d × C, a neuron's weights side by side, 64 classes a panel.
    panels: Vec<Panel>,
    bias: Biases,
    /// Predictions of a sample, then the derivatives of its loss: C.
    row: Vec<f32>,
    /// The same of a batch, panel by panel: batch × width.
    residual: Vec<f32>,
    l1: f32,
    l2: f64,
    steps: usize,
}

impl Biases {
    fn new(values: Vec<f32>) -> Self {
        let zeros = vec![0.0; values.len()];
        Self {
            values,
            first: zeros.clone(),
            second: zeros.clone(),
            gradient: zeros,
        }
    }

    fn step(&mut self, rates: &Rates) {
        let parameters = self.values.iter_mut().zip(&mut self.first);
        let rest = self.second.iter_mut().zip(&self.gradient);
        for ((b, first), (second, gradient)) in parameters.zip(rest) {
            rates.step(*gradient, b, first, second);
        }
    }
}

/// Rates without penalties, computed in f64 as PyTorch does.
fn rates(learning_rate: f64, step: usize) -> Rates {
    let t = step as f64;
    Rates {
        keep_first: (1.0 - BETA_1) as f32,
        decay_second: BETA_2 as f32,
        keep_second: (1.0 - BETA_2) as f32,
        second_correction: (1.0 - BETA_2.powf(t)).sqrt().recip() as f32,
        size: (learning_rate / (1.0 - BETA_1.powf(t))) as f32,
        l1: 0.0,
        pull: 0.0,
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
        let panel = |(at, classes): (usize, &[u32])| {
            let weight = |neuron, class| weights[(neuron, at * WIDEST + class)];
            Panel::new(width, classes.len(), weight)
        };
        let panels: Vec<Panel> = classes.chunks(WIDEST).enumerate().map(panel).collect();
        let widths: usize = panels.iter().map(Panel::width).sum();
        Ok(Self {
            place,
            targets,
            all_classes,
            width,
            panels,
            bias: Biases::new(bias),
            row: vec![0.0; classes.len()],
            residual: vec![0.0; params.batch * widths],
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
        let samples: Vec<&[f32]> = x
            .rows()
            .into_iter()
            .map(|row| row.to_slice().expect("rows are contiguous"))
            .collect();
        let mut rest = &mut *self.residual;
        let mut residuals = Vec::with_capacity(self.panels.len());
        for panel in &self.panels {
            let (own, others) = rest.split_at_mut(samples.len() * panel.width());
            panel.logits(&samples, own);
            residuals.push(own);
            rest = others;
        }
        self.bias.gradient.fill(0.0);
        for i in 0..samples.len() {
            let parts = self.row.chunks_mut(WIDEST).zip(&residuals);
            for (row, part) in parts {
                let width = part.len() / samples.len();
                row.copy_from_slice(&part[i * width..][..row.len()]);
            }
            for (z, b) in self.row.iter_mut().zip(&self.bias.values) {
                *z += b;
            }
            let rows = samples.len();
            match &self.targets {
                Targets::Classes(y) => {
                    softmax_residual(&mut self.row, y[from + i] as usize, rows);
                }
                Targets::Values(y) => {
                    self.row[0] = 2.0 * (self.row[0] - y[from + i]) / rows as f32;
                }
            }
            for (sum, r) in self.bias.gradient.iter_mut().zip(&self.row) {
                *sum += *r;
            }
            // The padding has weights of zero, so its logits are zero already.
            let parts = self.row.chunks(WIDEST).zip(&mut residuals);
            for (row, part) in parts {
                let width = part.len() / samples.len();
                part[i * width..][..row.len()].copy_from_slice(row);
            }
        }
        self.steps += 1;
        let of_bias = rates(learning_rate, self.steps);
        let norm = match self.l2 > 0.0 {
            true => frobenius(self.panels.iter().map(Panel::values)),
            false => 0.0,
        };
        let pull = if norm > 0.0 { self.l2 / norm } else { 0.0 };
        let of_weights = Rates {
            l1: self.l1,
            pull: pull as f32,
            ..of_bias
        };
        for (panel, residual) in self.panels.iter_mut().zip(&residuals) {
            panel.step(&samples, residual, &of_weights);
        }
        self.bias.step(&of_bias);
    }

    pub(super) fn is_finite(&self) -> bool {
        let weights = self.panels.iter().flat_map(Panel::values);
        let mut all = weights.chain(&self.bias.values).copied();
        all.all(f32::is_finite)
    }

    /// Weights of the neurons that it sees (d × C) and biases (C), of the classes that occur.
    pub(super) fn parameters(&self) -> (Array2<f32>, &[f32]) {
        let weight = |(neuron, class): (usize, usize)| {
            let panel = &self.panels[class / WIDEST];
            panel.values()[neuron * panel.width() + class % WIDEST]
        };
        let shape = (self.width, self.classes.len());
        (Array2::from_shape_fn(shape, weight), &self.bias.values)
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
fn frobenius<'a>(parts: impl Iterator<Item = &'a [f32]>) -> f64 {
    const LANES: usize = 8;
    const RUN: usize = 64 * LANES;
    let mut sum = 0.0;
    for run in parts.flat_map(|w| w.chunks(RUN)) {
        let mut lanes = [0.0f32; LANES];
        let (eights, rest) = run.as_chunks::<LANES>();
        debug_assert!(rest.is_empty(), "panels are multiples of eight wide");
        for eight in eights {
            for (lane, w) in lanes.iter_mut().zip(eight) {
                *lane += w * w;
            }
        }
        sum += lanes.iter().map(|l| f64::from(*l)).sum::<f64>();
    }
    sum.sqrt()
}

/// Weights d × C and biases C of the classes that occur.
fn start(
    start: Start<'_>,
    all_classes: usize,
    classes: &[u32],
    width: usize,
) -> Result<(Array2<f32>, Vec<f32>)> {
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
    let weight = |(neuron, at): (usize, usize)| weights[(classes[at] as usize, neuron)];
    let biases = classes.iter().map(|&c| bias[c as usize]).collect();
    Ok((
        Array2::from_shape_fn((width, classes.len()), weight),
        biases,
    ))
}

fn drawn(seed: u64, classes: usize, width: usize) -> (Array2<f32>, Array1<f32>) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let bound = (width as f64).sqrt().recip();
    let mut draw = || (bound * (2.0 * random.random::<f64>() - 1.0)) as f32;
    let weights = Array2::from_shape_simple_fn((classes, width), &mut draw);
    let bias = Array1::from_shape_simple_fn(classes, &mut draw);
    (weights, bias)
}
