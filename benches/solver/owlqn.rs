//! OWL-QN (Andrew & Gao 2007) on the problem that [`Fit`]s solve, by a port of libLBFGS: a peer of Newton and FISTA.
//!
//! Everything is in f64: activations standardised by the same moments, products by `ndarray`. One evaluation of the
//! value and gradient is one pass over X, those of line searches included. The solver's parameters are the port's own:
//! six corrections, backtracking until the objective falls enough, and steps of a length of 1 at most, which libLBFGS
//! does not bound.

use ndarray::{Array1, Array2, ArrayView2, ArrayViewMut2, Axis, s};
use neurosieve::labels::Labels;
use neurosieve::ops::probe::{ABSENT_CLASS_BIAS, Certificate, Design, Fit, Step};
use rayon::prelude::*;

use crate::set::Set;

/// Samples whose logits one thread holds at a time: they stay in its cache.
const ROWS: usize = 512;

/// Mean softmax cross-entropy + λ1·‖W‖₁ + λ2·‖W‖²_F. Coefficients are one row of C intercepts, then d rows of C weights:
/// the intercepts come before the entries that the solver penalises.
pub struct Problem<'a> {
    set: &'a Set,
    columns: &'a [usize],
    /// Standardised, N × d.
    z: Array2<f64>,
    /// Number of classes, and the C that train has.
    classes: usize,
    present: Vec<u32>,
    /// Each sample's place in `present`.
    targets: Vec<usize>,
    l1: f64,
    l2: f64,
}

impl<'a> Problem<'a> {
    pub fn new(set: &'a Set, design: &'a Design, labels: &Labels, l1: f64, l2: f64) -> Self {
        let columns = design.columns();
        let mut z = set.train().select(Axis(1), columns).mapv(f64::from);
        for (mut values, &column) in z.columns_mut().into_iter().zip(columns) {
            let (mean, sd) = (set.moments.mean[column], set.moments.sd[column]);
            values.mapv_inplace(|x| (x - mean) / sd);
        }
        let present = labels.present();
        let place = |id: &u32| present.binary_search(id).expect("a class that occurs");
        Self {
            set,
            columns,
            z,
            classes: labels.classes().len(),
            targets: labels.ids().iter().map(place).collect(),
            present,
            l1,
            l2,
        }
    }

    /// Until the KKT residual is at most `goal`, or `most` passes are spent.
    pub fn solve(&self, goal: f64, largest: f64, most: usize) -> Fit {
        let mut theta = self.start();
        let mut trace: Vec<Step> = Vec::new();
        let report = liblbfgs::lbfgs()
            .with_orthantwise(self.l1, self.present.len(), theta.len())
            .with_epsilon(0.0) // only the KKT residual stops it
            .minimize(
                &mut theta,
                |theta, gradient| Ok(self.evaluate(theta, gradient)),
                |progress| {
                    if !progress.fx.is_finite() {
                        return true; // a comparison with NaN would pass for convergence
                    }
                    let kkt = self.kkt(progress.x, progress.gx);
                    trace.push(Step {
                        work: progress.neval as f64,
                        depth: progress.niter.saturating_sub(1), // its first only reports the start
                        kkt,
                        objective: progress.fx,
                    });
                    kkt <= goal || progress.neval >= most
                },
            )
            .expect("evaluations do not fail");
        let last = *trace.last().expect("the start is finite");
        let certificate = Certificate {
            kkt: last.kkt,
            kkt_relative: last.kkt / largest.max(self.l1),
            duality_gap: f64::INFINITY, // it has none
            relative_gap: f64::INFINITY,
            passes: last.work,
            work: last.work,
            depth: last.depth,
            converged: last.kkt <= goal,
            certified_zeros: 0,
            certified_nonzeros: 0,
        };
        self.fit(&theta, report.fx, certificate, trace)
    }

    /// No weights, and the intercepts that are best then.
    fn start(&self) -> Vec<f64> {
        let classes = self.present.len();
        let count = |class: usize| self.targets.iter().filter(|t| **t == class).count();
        let share = |class| count(class) as f64 / self.targets.len() as f64;
        let intercepts = (0..classes).map(|class| share(class).ln());
        let weights = std::iter::repeat_n(0.0, self.columns.len() * classes);
        intercepts.chain(weights).collect()
    }

    /// The value and gradient of what is smooth.
    fn evaluate(&self, theta: &[f64], gradient: &mut [f64]) -> f64 {
        let (samples, classes) = (self.targets.len(), self.present.len());
        let shape = (1 + self.columns.len(), classes);
        let theta = ArrayView2::from_shape(shape, theta).expect("the solver keeps its length");
        let starts: Vec<usize> = (0..samples).step_by(ROWS).collect();
        let parts: Vec<(f64, Array2<f64>)> = starts
            .par_iter()
            .map(|&from| self.part(theta, from, (from + ROWS).min(samples)))
            .collect();
        // Added in the samples' order, so that every run is the same.
        let mut loss = 0.0;
        let mut sum = ArrayViewMut2::from_shape(shape, gradient).expect("the same length");
        sum.fill(0.0);
        for (value, part) in &parts {
            loss += value;
            sum += part;
        }
        sum /= samples as f64;
        let weights = theta.slice(s![1.., ..]);
        let mut inner = sum.slice_mut(s![1.., ..]);
        inner.scaled_add(2.0 * self.l2, &weights);
        loss / samples as f64 + self.l2 * weights.iter().map(|w| w * w).sum::<f64>()
    }

    /// Cross-entropy of some samples, summed, and its gradient.
    fn part(&self, theta: ArrayView2<'_, f64>, from: usize, to: usize) -> (f64, Array2<f64>) {
        let z = self.z.slice(s![from..to, ..]);
        let mut residual = z.dot(&theta.slice(s![1.., ..])) + theta.row(0);
        let mut loss = 0.0;
        for (mut row, &target) in residual.rows_mut().into_iter().zip(&self.targets[from..to]) {
            let top = row.fold(f64::NEG_INFINITY, |a, b| a.max(*b));
            let logit = row[target];
            row.mapv_inplace(|logit| (logit - top).exp());
            let total = row.sum();
            row /= total;
            row[target] -= 1.0;
            loss += total.ln() + top - logit;
        }
        let mut gradient = Array2::zeros(theta.dim());
        gradient.row_mut(0).assign(&residual.sum_axis(Axis(0)));
        let mut weights = gradient.slice_mut(s![1.., ..]);
        weights.assign(&z.t().dot(&residual));
        (loss, gradient)
    }

    /// ∞-norm of the minimum-norm subgradient; `gradient` is of what is smooth.
    fn kkt(&self, theta: &[f64], gradient: &[f64]) -> f64 {
        let classes = self.present.len();
        let entries = theta.iter().zip(gradient).enumerate();
        let violations = entries.map(|(place, (&w, &g))| match w {
            _ if place < classes => g.abs(),
            0.0 => (g.abs() - self.l1).max(0.0),
            w => (g + self.l1 * w.signum()).abs(),
        });
        violations.fold(0.0, f64::max)
    }

    /// The coefficients as a fit has them.
    fn fit(
        &self,
        theta: &[f64],
        objective: f64,
        certificate: Certificate,
        trace: Vec<Step>,
    ) -> Fit {
        let shape = (self.classes, self.set.train().ncols());
        let mut standardised = Array2::zeros(shape);
        let mut weights = Array2::zeros(shape);
        let mut bias = Array1::from_elem(self.classes, ABSENT_CLASS_BIAS);
        for (place, &class) in self.present.iter().enumerate() {
            let class = class as usize;
            let mut intercept = theta[place];
            for (row, &column) in (1..).zip(self.columns) {
                let weight = theta[row * self.present.len() + place];
                let (mean, sd) = (self.set.moments.mean[column], self.set.moments.sd[column]);
                standardised[(class, column)] = weight as f32;
                weights[(class, column)] = (weight / sd) as f32;
                intercept -= weight / sd * mean;
            }
            bias[class] = intercept as f32;
        }
        Fit {
            l1: self.l1,
            l2: self.l2,
            standardised,
            weights,
            bias,
            objective,
            certificate,
            trace,
        }
    }
}
