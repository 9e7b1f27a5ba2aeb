//! Weights of up to 64 classes, and the two products of a step: each fused with what needs it, in registers.
//!
//! A product of 32 samples and some classes is too narrow for a GEMM, which copies both factors first. Here a neuron's weights
//! of all classes are a few vector registers wide; the gradient of four neurons never leaves the registers before Adam's step has
//! used it. Every sum runs in one order, over neurons or samples ascending, whatever the instructions.

use multiversion::{multiversion, target::target_cfg_f};

/// Samples, or neurons, that are summed side by side.
const BESIDE: usize = 4;

/// The widest panel.
pub(super) const WIDEST: usize = 64;

const EPSILON: f32 = 1e-8;

/// Adam's parameters: values, first and second moments. Classes side by side for each neuron, padded with zeros, which stay.
#[derive(Debug)]
pub(super) struct Panel {
    /// Classes with their padding: what a neuron has side by side.
    width: usize,
    values: Vec<f32>,
    first: Vec<f32>,
    second: Vec<f32>,
}

/// What is the same for all weights of a step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rates {
    pub keep_first: f32,
    pub decay_second: f32,
    pub keep_second: f32,
    /// 1/√(1 − β₂ᵗ).
    pub second_correction: f32,
    /// Learning rate / (1 − β₁ᵗ).
    pub size: f32,
    /// λ1, and what the gradient of the other penalty is as a multiple of the weight.
    pub l1: f32,
    pub pull: f32,
}

impl Rates {
    /// The weight and its moments after a step along gradient + λ1·sign(w) + pull·w.
    #[inline(always)]
    pub(super) fn step(&self, gradient: f32, w: &mut f32, first: &mut f32, second: &mut f32) {
        let sign = f32::from(u8::from(*w > 0.0)) - f32::from(u8::from(*w < 0.0));
        let g = gradient + self.l1 * sign + self.pull * *w;
        *first += self.keep_first * (g - *first);
        *second = self.decay_second * *second + self.keep_second * (g * g);
        let size = second.sqrt() * self.second_correction + EPSILON;
        *w -= self.size * *first / size;
    }
}

impl Panel {
    /// Of `classes` ≤ [`WIDEST`] and d neurons; `weight` says where each (neuron, class) starts.
    pub(super) fn new(
        neurons: usize,
        classes: usize,
        weight: impl Fn(usize, usize) -> f32,
    ) -> Self {
        let width = Self::padded(classes);
        let mut values = vec![0.0; neurons * width];
        for (neuron, values) in values.chunks_exact_mut(width).enumerate() {
            for (class, value) in values[..classes].iter_mut().enumerate() {
                *value = weight(neuron, class);
            }
        }
        Self {
            width,
            first: vec![0.0; values.len()],
            second: vec![0.0; values.len()],
            values,
        }
    }

    fn padded(classes: usize) -> usize {
        match classes {
            0..=8 => 8,
            9..=16 => 16,
            17..=32 => 32,
            _ => WIDEST,
        }
    }

    /// Classes with their padding.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// Weights of neuron after neuron, padded.
    pub(super) fn values(&self) -> &[f32] {
        &self.values
    }

    /// Logits without biases of some samples, each a slice of d values: |samples| × width.
    pub(super) fn logits(&self, samples: &[&[f32]], out: &mut [f32]) {
        let kernel = match self.width {
            8 => logits_8,
            16 => logits_16,
            32 => logits_32,
            _ => logits_64,
        };
        kernel(samples, &self.values, out);
    }

    /// Adam's step by the derivatives of the loss by the logits, |samples| × width, 0 where there is no class.
    pub(super) fn step(&mut self, samples: &[&[f32]], residual: &[f32], rates: &Rates) {
        let kernel = match self.width {
            8 => step_8,
            16 => step_16,
            32 => step_32,
            _ => step_64,
        };
        let parameters = (&mut *self.values, &mut *self.first, &mut *self.second);
        kernel(samples, residual, parameters, rates);
    }
}

type Parameters<'a> = (&'a mut [f32], &'a mut [f32], &'a mut [f32]);

#[inline(always)]
fn added(fused: bool, a: f32, b: f32, sum: f32) -> f32 {
    if fused {
        a.mul_add(b, sum)
    } else {
        a * b + sum
    }
}

#[inline(always)]
fn logits<const WIDTH: usize>(fused: bool, samples: &[&[f32]], w: &[f32], out: &mut [f32]) {
    for (samples, out) in samples.chunks(BESIDE).zip(out.chunks_mut(BESIDE * WIDTH)) {
        // Where there are fewer than four the last one is summed again.
        let x: [&[f32]; BESIDE] = std::array::from_fn(|s| samples[s.min(samples.len() - 1)]);
        let mut sums = [[0.0f32; WIDTH]; BESIDE];
        for (j, w) in w.as_chunks::<WIDTH>().0.iter().enumerate() {
            for s in 0..BESIDE {
                let x = x[s][j];
                for c in 0..WIDTH {
                    sums[s][c] = added(fused, x, w[c], sums[s][c]);
                }
            }
        }
        for (out, sums) in out.chunks_exact_mut(WIDTH).zip(&sums) {
            out.copy_from_slice(sums);
        }
    }
}

#[inline(always)]
fn step<const WIDTH: usize>(
    fused: bool,
    samples: &[&[f32]],
    residual: &[f32],
    (w, first, second): Parameters<'_>,
    rates: &Rates,
) {
    let residual = residual.as_chunks::<WIDTH>().0;
    let parameters = w
        .chunks_mut(BESIDE * WIDTH)
        .zip(first.chunks_mut(BESIDE * WIDTH))
        .zip(second.chunks_mut(BESIDE * WIDTH));
    for (at, ((w, first), second)) in parameters.enumerate() {
        let (from, neurons) = (at * BESIDE, w.len() / WIDTH);
        let mut gradients = [[0.0f32; WIDTH]; BESIDE];
        for (x, r) in samples.iter().zip(residual) {
            // Of fewer than four neurons the last one stands for those that are not there.
            let x = &x[from..from + neurons];
            let x: [f32; BESIDE] = match x.first_chunk() {
                Some(four) => *four,
                None => std::array::from_fn(|s| x[s.min(neurons - 1)]),
            };
            for s in 0..BESIDE {
                for c in 0..WIDTH {
                    gradients[s][c] = added(fused, x[s], r[c], gradients[s][c]);
                }
            }
        }
        for (s, gradients) in gradients[..neurons].iter().enumerate() {
            let own = s * WIDTH..(s + 1) * WIDTH;
            let (w, first) = (&mut w[own.clone()], &mut first[own.clone()]);
            let second = &mut second[own];
            for c in 0..WIDTH {
                rates.step(gradients[c], &mut w[c], &mut first[c], &mut second[c]);
            }
        }
    }
}

/// The kernels of one width.
macro_rules! kernels {
    ($width:literal, $logits:ident, $step:ident) => {
        #[multiversion(targets("x86_64+avx2+fma"))]
        fn $logits(samples: &[&[f32]], w: &[f32], out: &mut [f32]) {
            let fused = target_cfg_f!(target_feature = "fma");
            logits::<$width>(fused, samples, w, out);
        }

        #[multiversion(targets("x86_64+avx2+fma"))]
        fn $step(samples: &[&[f32]], residual: &[f32], all: Parameters<'_>, rates: &Rates) {
            let fused = target_cfg_f!(target_feature = "fma");
            step::<$width>(fused, samples, residual, all, rates);
        }
    };
}
kernels!(8, logits_8, step_8);
kernels!(16, logits_16, step_16);
kernels!(32, logits_32, step_32);
kernels!(64, logits_64, step_64);
