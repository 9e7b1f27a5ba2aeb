//! What lies between the two products of a pass where a device does all of it: the kernels of `shaders/probe_loss.wgsl` give what
//! f64 gives.

use ndarray::Array2;
use neurosieve::gpu::{Dispatch, Gpu, Slot};
use neurosieve::ops::probe::KERNELS_OF_LOSS;

use crate::support::{self, activations};

/// What the loss is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Softmax,
    Sigmoid,
    Squared,
}

/// Samples with their padding, those that count, and where the block begins among all.
const HEIGHT: usize = 256;
const SAMPLES: usize = 201;
const FIRST: usize = 71;

/// Roundings of a handful of f32 operations, as a share of a value.
const NEAR: f64 = 2e-6;

/// Problems next to one another with the same targets, and what lies in front of them and behind.
struct Block {
    kind: Kind,
    classes: usize,
    problems: usize,
    z: Array2<f32>,
    intercepts: Vec<f32>,
    targets: Vec<u32>,
    weights: Vec<f32>,
}

const BEFORE: usize = 3;

impl Block {
    fn new(kind: Kind, classes: usize, problems: usize) -> Self {
        let width = (BEFORE + classes * problems).next_multiple_of(4) + 4;
        let mut z = activations(HEIGHT, width, 5).mapv(|z| z % 30.0);
        // Confident ones, right and wrong, and ties.
        z.row_mut(7).fill(0.0);
        z.row_mut(8).mapv_inplace(|z| 40.0 * z);
        let noise = activations(width, 1, 6);
        let all = FIRST + SAMPLES;
        let targets = (0..all).map(|i| match kind {
            Kind::Softmax => (i * 7 % classes) as u32,
            Kind::Sigmoid => (i % 2) as u32,
            Kind::Squared => (i as f32 * 0.37).sin().to_bits(),
        });
        let targets: Vec<u32> = targets.collect();
        // A part of which all are right and sure of it.
        for row in (64..128).filter(|_| kind == Kind::Softmax) {
            z.row_mut(row).fill(0.0);
            let own = targets[FIRST + row] as usize;
            (0..problems).for_each(|problem| z[(row, BEFORE + problem * classes + own)] = 18.0);
        }
        let weights = (0..all).map(|i| {
            if i % 5 == 0 {
                0.0
            } else {
                0.5 + (i % 3) as f32
            }
        });
        Self {
            kind,
            classes,
            problems,
            z,
            intercepts: noise.iter().map(|v| v % 2.0).collect(),
            targets,
            weights: weights.collect(),
        }
    }

    /// What a device makes of the predictions, and its sums of losses.
    fn by_device(&self, gpu: &Gpu, wanted: usize) -> (Array2<f32>, Vec<f32>) {
        let width = self.z.ncols();
        let z = gpu.upload("z", self.z.as_slice().unwrap()).unwrap();
        let targets = gpu.upload("targets", &self.targets).unwrap();
        let weights = gpu.upload("weights", &self.weights).unwrap();
        let intercepts = gpu.upload("intercepts", &self.intercepts).unwrap();
        // A problem of somebody else's is in front, and a block as well.
        let parts = 2 + HEIGHT / 64;
        let losses = gpu
            .zeros::<f32>("losses", (1 + self.problems) * parts)
            .unwrap();
        let groups = HEIGHT / 64 * self.problems;
        let words = [
            width,
            BEFORE,
            self.classes,
            self.problems,
            SAMPLES,
            FIRST,
            parts,
            2,
            1,
            groups,
            0,
            0,
        ];
        let params = words.map(|word| word as u32);
        let constants = [
            ("KIND", self.kind as usize as f64),
            ("WANTED", wanted as f64),
        ];
        let dispatch = Dispatch {
            kernel: &KERNELS_OF_LOSS[0],
            constants: &constants,
            slots: vec![
                z.all(),
                targets.all(),
                weights.all(),
                intercepts.all(),
                losses.all(),
                Slot::params(&params),
            ],
            groups,
        };
        gpu.submit("loss", &[dispatch]).unwrap();
        let z = gpu.download(&z).unwrap();
        let losses = gpu.download(&losses).unwrap();
        (Array2::from_shape_vec((HEIGHT, width), z).unwrap(), losses)
    }

    /// Loss, and first or second derivatives, of a sample and a problem, in f64.
    fn exactly(&self, row: usize, problem: usize, second: bool) -> (f64, Vec<f64>) {
        let from = BEFORE + problem * self.classes;
        let (sample, weight) = (FIRST + row, f64::from(self.weights[FIRST + row]));
        let z: Vec<f64> = (from..from + self.classes)
            .map(|c| f64::from(self.z[(row, c)] + self.intercepts[c]))
            .collect();
        let (loss, first, curved) = match self.kind {
            Kind::Softmax => {
                let most = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let all: f64 = z.iter().map(|z| (z - most).exp()).sum();
                let own = self.targets[sample] as usize;
                let p: Vec<f64> = z.iter().map(|z| (z - most).exp() / all).collect();
                let but = |c: usize| -> f64 {
                    p.iter()
                        .enumerate()
                        .filter(|(k, _)| *k != c)
                        .map(|(_, p)| p)
                        .sum()
                };
                let residual = (0..p.len()).map(|c| if c == own { -but(c) } else { p[c] });
                let others = but(own);
                let loss = if z[own] == most {
                    (others / p[own]).ln_1p()
                } else {
                    all.ln() + most - z[own]
                };
                (
                    loss,
                    residual.collect(),
                    (0..p.len()).map(|c| p[c] * but(c)).collect::<Vec<f64>>(),
                )
            }
            Kind::Sigmoid => {
                let sign = if self.targets[sample] == 1 { -1.0 } else { 1.0 };
                let against = sign * z[0];
                let e = (-against.abs()).exp();
                let wrong = if against > 0.0 {
                    1.0 / (1.0 + e)
                } else {
                    e / (1.0 + e)
                };
                (
                    against.max(0.0) + e.ln_1p(),
                    vec![sign * wrong],
                    vec![e / (1.0 + e).powi(2)],
                )
            }
            Kind::Squared => {
                let error = z[0] - f64::from(f32::from_bits(self.targets[sample]));
                (0.5 * error * error, vec![error], vec![1.0])
            }
        };
        let of = if second { curved } else { first };
        (weight * loss, of.into_iter().map(|v| weight * v).collect())
    }

    /// The largest differences: of values and of sums of losses, as shares of them.
    fn off(&self, gpu: &Gpu, wanted: usize) -> f64 {
        let (found, losses) = self.by_device(gpu, wanted);
        let mut off = 0.0f64;
        let mut apart = |found: f32, exact: f64, size: f64| {
            let share = (f64::from(found) - exact).abs() / size;
            off = if share.is_nan() {
                f64::INFINITY
            } else {
                off.max(share)
            };
        };
        for problem in 0..self.problems {
            for part in 0..HEIGHT / 64 {
                let mut sum = 0.0;
                for row in 64 * part..64 * (part + 1) {
                    let to = BEFORE + problem * self.classes;
                    let counts = row < SAMPLES;
                    let (loss, values) = if counts {
                        self.exactly(row, problem, wanted == 1)
                    } else {
                        (0.0, vec![0.0; self.classes])
                    };
                    sum += loss;
                    for (column, exact) in (to..).zip(values) {
                        let here = found[(row, column)];
                        // Logits of tens cost exponentials a few digits, as natively in f32.
                        let spread =
                            1.0 + self.z.row(row).iter().fold(0.0f32, |a, z| a.max(z.abs()));
                        // The second derivative of what is nearly certain is a difference.
                        let weight = f64::from(self.weights[FIRST + row.min(SAMPLES - 1)]);
                        let size = if wanted == 1 { weight } else { exact.abs() };
                        apart(here, exact, size.max(1e-30) * f64::from(spread));
                    }
                }
                let parts = 2 + HEIGHT / 64;
                apart(
                    losses[(1 + problem) * parts + 2 + part],
                    sum,
                    sum.abs().max(1e-9),
                );
            }
        }
        // What is not these problems' is as it was.
        let beside =
            |column: usize| column < BEFORE || column >= BEFORE + self.classes * self.problems;
        let touched = (0..found.ncols())
            .filter(|&column| beside(column))
            .any(|c| found.column(c) != self.z.column(c));
        if touched { f64::INFINITY } else { off }
    }
}

/// One column, fewer than the threads that share a sample, as many, and more.
const BLOCKS: [(Kind, usize, usize); 6] = [
    (Kind::Softmax, 3, 4),
    (Kind::Softmax, 16, 2),
    (Kind::Softmax, 45, 3),
    (Kind::Softmax, 130, 1),
    (Kind::Sigmoid, 1, 5),
    (Kind::Squared, 1, 3),
];

#[test]
fn losses_and_their_derivatives_are_those_of_f64() {
    let Some(gpu) = support::gpu("losses_and_their_derivatives_are_those_of_f64") else {
        return;
    };
    for (kind, classes, problems) in BLOCKS {
        let block = Block::new(kind, classes, problems);
        for wanted in 0..2 {
            let off = block.off(&gpu, wanted);
            assert!(
                off < NEAR,
                "{kind:?}, {classes} × {problems}, wanted {wanted}: {off:e}"
            );
        }
    }
}

#[test]
fn a_loss_that_leaves_out_something_is_noticed() {
    let Some(gpu) = support::gpu("a_loss_that_leaves_out_something_is_noticed") else {
        return;
    };
    let source = KERNELS_OF_LOSS[0].source;
    for (sound, broken) in [
        (
            "value = -others * scale;",
            "value = (likely - all) * scale * 1.001;",
        ),
        ("others += select(e, 0.0, c == own);", "others += e;"),
        ("c += LANES) {\n        let e", "c += 17u) {\n        let e"),
        (
            "let above_one = select(all - 1.0, others, behind == 0.0);",
            "let above_one = all - 1.0;",
        ),
        ("series = fma(r, series, 1.0 / 24.0);", ""),
        ("      m = 0.5 * m;\n", ""),
        ("fma(n, -0.693359375, within)", "fma(n, -0.6933, within)"),
        ("select(0.0, weights[sample], counts)", "weights[sample]"),
        ("let sample = p.sample + select", "let sample = select"),
        (
            "let sign = select(1.0, -1.0,",
            "let sign = select(-1.0, 1.0,",
        ),
        ("vec2(0.5 * error * error,", "vec2(error * error,"),
        ("own_values[t] = row_losses[four] +", "own_values[t] ="),
    ] {
        assert!(source.contains(sound), "the kernel no longer says {sound}");
        let gpu = gpu.with_shader("probe_loss", source.replacen(sound, broken, 1));
        let noticed = BLOCKS.iter().any(|&(kind, classes, problems)| {
            let block = Block::new(kind, classes, problems);
            (0..2).any(|wanted| block.off(&gpu, wanted) > 10.0 * NEAR)
        });
        assert!(noticed, "{broken} was not noticed");
    }
}
