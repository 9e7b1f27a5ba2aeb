//! Quadratic programmes to solve, with their f64 residual and objective.

use ndarray::Array2;
use neurosieve::Backend;
use neurosieve::ops::moments::moments;
use neurosieve::ops::probe::{self, Design, Params, Problem};
use neurosieve::ops::quadratic::Programme;
use rand::RngExt;

use crate::golden::fixture;
use crate::support::{normal, random};

/// A programme that owns its parts.
pub(super) struct Case {
    pub(super) name: String,
    pub(super) h: Vec<f32>,
    pub(super) g: Vec<f64>,
    pub(super) w: Vec<f32>,
    pub(super) l1: Vec<f64>,
    pub(super) mu: Vec<f64>,
    pub(super) scale: Vec<f64>,
    pub(super) blocks: Vec<usize>,
    pub(super) tolerance: f64,
    pub(super) steps: usize,
}

impl Case {
    pub(super) fn programme(&self) -> Programme<'_> {
        Programme {
            h: &self.h,
            g: &self.g,
            w: &self.w,
            l1: &self.l1,
            mu: &self.mu,
            scale: &self.scale,
            blocks: &self.blocks,
            tolerance: self.tolerance,
            steps: self.steps,
        }
    }

    /// Gradient of the smooth part at u (μ included), in f64.
    fn gradient(&self, u: &[f32]) -> Vec<f64> {
        let d: Vec<f64> = u
            .iter()
            .zip(&self.w)
            .map(|(u, w)| f64::from(*u) - f64::from(*w))
            .collect();
        let rows = self.h.chunks_exact(u.len());
        let product = |row: &[f32]| {
            row.iter()
                .zip(&d)
                .map(|(h, d)| f64::from(*h) * d)
                .sum::<f64>()
        };
        let smooth = rows.map(product).zip(&self.g).map(|(hd, g)| hd + g);
        let mu = self.mu.iter().zip(u).map(|(mu, u)| mu * f64::from(*u));
        smooth.zip(mu).map(|(q, mu)| q + mu).collect()
    }

    /// Minimum-norm subgradient at u.
    pub(super) fn subgradient(&self, u: &[f32]) -> Vec<f64> {
        let of = |((q, u), l1): ((f64, &f32), &f64)| match *u {
            0.0 => q.signum() * (q.abs() - l1).max(0.0),
            u => q + l1 * f64::from(u).signum(),
        };
        self.gradient(u)
            .into_iter()
            .zip(u)
            .zip(&self.l1)
            .map(of)
            .collect()
    }

    pub(super) fn residual(&self, u: &[f32]) -> f64 {
        let scaled = self
            .subgradient(u)
            .into_iter()
            .zip(&self.scale)
            .map(|(s, by)| s.abs() / by);
        scaled.fold(
            0.0,
            |worst, s| if s.is_nan() { f64::NAN } else { worst.max(s) },
        )
    }

    pub(super) fn objective(&self, u: &[f32]) -> f64 {
        let q = self.gradient(u);
        (0..u.len())
            .map(|j| {
                let (to, from, mu) = (f64::from(u[j]), f64::from(self.w[j]), self.mu[j]);
                // ½ dᵀH d + gᵀd = ½ dᵀ(q − mu u + g)
                0.5 * (to - from) * (q[j] - mu * to + self.g[j])
                    + self.l1[j] * to.abs()
                    + 0.5 * mu * to * to
            })
            .sum()
    }
}

/// A random programme: correlated entries, an intercept at the head of each block, blocks of uneven sizes and an empty one.
///
/// H is a mean over twice as many terms as entries. Over hardly more terms than entries its least eigenvalue nears 0, the
/// solution moves far from w, and f32 cannot hold the tolerance, which [`super::disagreement`] would refuse.
pub(super) fn case(n: usize, blocks: usize, ratio: f64, seed: u64) -> Case {
    let mut random = random(seed);
    let terms = 2 * n + 20;
    let mut a = vec![0.0f64; terms * n];
    for row in a.chunks_exact_mut(n) {
        let common = normal(&mut random);
        row.fill_with(|| 0.7 * common + normal(&mut random));
    }
    let mut h = vec![0.0f32; n * n];
    for j in 0..n {
        for k in 0..=j {
            let product: f64 = a.chunks_exact(n).map(|row| row[j] * row[k]).sum();
            h[j * n + k] = (product / terms as f64 + if j == k { 1e-3 } else { 0.0 }) as f32;
            h[k * n + j] = h[j * n + k];
        }
    }
    let g: Vec<f64> = (0..n).map(|_| normal(&mut random)).collect();
    let mut starts: Vec<usize> = (1..blocks).map(|_| random.random_range(0..=n)).collect();
    starts.extend([0, 0, n]);
    starts.sort_unstable();
    let scale: Vec<f64> = (0..n).map(|_| random.random_range(0.5..2.0)).collect();
    let largest = g
        .iter()
        .zip(&scale)
        .map(|(g, s)| g.abs() / s)
        .fold(0.0, f64::max);
    let penalised = |j: usize| if starts.contains(&j) { 0.0 } else { scale[j] };
    let l1: Vec<f64> = (0..n).map(|j| ratio * largest * penalised(j)).collect();
    Case {
        name: format!("{n} entries, {blocks} blocks, {ratio} of the largest gradient"),
        w: l1
            .iter()
            .map(|l1| {
                if *l1 > 0.0 && random.random::<f64>() < 0.3 {
                    normal(&mut random) as f32
                } else {
                    0.0
                }
            })
            .collect(),
        mu: l1.iter().map(|l1| 0.1 * l1).collect(),
        h,
        g,
        l1,
        scale,
        blocks: starts,
        tolerance: 1e-4 * largest,
        steps: 500,
    }
}

pub(super) fn random_cases() -> Vec<Case> {
    [
        (1, 1, 0.1),
        (5, 2, 0.1),
        (33, 1, 0.01),
        (130, 4, 0.3),
        (150, 3, 0.002),
    ]
    .into_iter()
    .zip(0..)
    .map(|((n, blocks, ratio), seed)| case(n, blocks, ratio, seed))
    .collect()
}

/// Gradient and exact Hessian of the softmax loss, class by class, from a design (samples × rows) and its logits.
fn derivatives(design: &Array2<f64>, logits: &Array2<f32>, labels: &[u32]) -> (Vec<f64>, Vec<f64>) {
    let (rows, classes) = (design.ncols(), logits.ncols());
    let n = rows * classes;
    let (mut g, mut h) = (vec![0.0; n], vec![0.0f64; n * n]);
    let share = 1.0 / design.nrows() as f64;
    for ((x, logits), &label) in design.rows().into_iter().zip(logits.rows()).zip(labels) {
        let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let exps: Vec<f64> = logits.iter().map(|z| f64::from(z - top).exp()).collect();
        let total: f64 = exps.iter().sum();
        for a in 0..classes {
            let p = exps[a] / total;
            let residual = p - f64::from(u8::from(label as usize == a));
            for j in 0..rows {
                g[a * rows + j] += share * residual * x[j];
            }
            for (b, exp) in exps.iter().enumerate() {
                let weight = share * p * (f64::from(u8::from(a == b)) - exp / total);
                if weight.abs() < 1e-9 {
                    continue;
                }
                for j in 0..rows {
                    let to = (a * rows + j) * n + b * rows;
                    for (h, x_k) in h[to..to + rows].iter_mut().zip(x) {
                        *h += weight * x[j] * x_k;
                    }
                }
            }
        }
    }
    for j in 0..n {
        h[j * n + j] = h[j * n + j] * (1.0 + 1e-6) + 1e-12;
    }
    (g, h)
}

/// The exact Newton programme of a probe on real activations: from the optimum of a strong penalty towards a weaker one.
pub(super) fn real_case(neurons: usize) -> Case {
    let train = fixture().train();
    let (x, labels) = (train.activations.view(), &train.labels[0]);
    let columns: Vec<usize> = (0..neurons).map(|k| k * (x.ncols() / neurons)).collect();
    let found = moments(&Backend::Cpu, x, None).unwrap();
    let design = Design::new(&Backend::Cpu, x, &found, &columns).unwrap();
    let params = Params::default();
    let any = Problem::new(labels, 0.0, 0.0);
    let largest = probe::lambda_max(&design, &[any], params.scale).unwrap()[0];
    let strong = Problem::new(labels, 0.1 * largest, 0.005 * largest);
    let fits = probe::fit(&Backend::Cpu, &design, &[strong], &params, &mut |_| {});
    let fit = fits.unwrap().remove(0);
    let classes = fit.weights.nrows();
    let rows = neurons + 1;
    let z = Array2::from_shape_fn((x.nrows(), rows), |(i, row)| match row {
        0 => 1.0,
        row => {
            let column = columns[row - 1];
            (f64::from(x[(i, column)]) - found.mean[column]) / found.sd[column]
        }
    });
    let (g, h) = derivatives(&z, &fit.predictions(x), labels.ids());
    let n = rows * classes;
    let l1: Vec<f64> = (0..n)
        .map(|j| if j % rows == 0 { 0.0 } else { 0.02 * largest })
        .collect();
    let weight = |class: usize, row: usize| match row {
        0 => 0.0,
        row => fit.standardised[(class, columns[row - 1])],
    };
    Case {
        name: format!("{neurons} real neurons, {classes} classes"),
        h: h.into_iter().map(|h| h as f32).collect(),
        w: (0..n).map(|j| weight(j / rows, j % rows)).collect(),
        mu: l1.iter().map(|l1| 0.1 * l1).collect(),
        scale: vec![1.0; n],
        blocks: (0..=classes).map(|class| class * rows).collect(),
        tolerance: 2e-4 * largest,
        steps: 500,
        g,
        l1,
    }
}
