//! Small problems in f64, to rounding.
//!
//! # Formula
//! That of [`super::fit`] for classes, of f64 activations, with or without the intercepts b.
//!
//! # Method
//! Proximal Newton: at every step the loss's own Hessian, formed whole, and the quadratic programme with it solved to its end
//! by coordinate descent, which finds the weights that are not zero, and Cholesky's factor of the Hessian among these. Newton
//! converges quadratically, so the last digits cost two more steps: there is no tolerance to choose. f64 data stay f64,
//! where [`super::fit`] computes on f32.
//!
//! # Edge cases
//! A neuron without spread gets weights of 0, unless there are no intercepts and it is not 0: then it stands for them. A class
//! without samples, or without weight, has weights 0 and [`super::ABSENT_CLASS_BIAS`].
//!
//! # Cost
//! e = (D + 1)·C entries, or D + 1 of two classes: N·e²/2 multiplications and additions a step and e³/3 for its factor; 16·e²
//! bytes. About ten steps. [`is_small`] says where that is no time at all.

mod programme;

use nalgebra::DMatrix;
use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, ArrayView2, Axis, s};

use self::programme::Programme;
use super::certificate::{GAP_FLOOR, refuse_separable};
use super::dual::intercepts;
use super::dual::softmax::{minus_labels, probabilities};
use super::targets::{Loss, Penalty, Targets, penalty_rows};
use super::{ABSENT_CLASS_BIAS, Certificate, Norm, PenaltyScale, Problem, Response, check, dual};
use crate::error::{Error, Result};

/// Multiplications and additions of a step, at most: a tenth of a second.
const STEP: u64 = 200_000_000;
/// Entries at most.
const ENTRIES: u64 = 600;
/// The least predicted decrease of the objective, as a share of it: less is rounding.
const LEAST_DECREASE: f64 = 1e-15;
/// Halvings of a step before it counts as none.
const HALVINGS: usize = 40;
/// A neuron has no spread when its sd is at most this times its largest value.
const CONSTANT: f64 = 1e-13;

/// Whether a problem is solved here in no time.
pub fn is_small(samples: usize, neurons: usize, classes: usize) -> bool {
    let columns = if classes == 2 { 1 } else { classes };
    let entries = ((neurons + 1) * columns) as u64;
    entries <= ENTRIES && samples as u64 * entries * entries / 2 <= STEP
}

/// How to fit.
///
/// | name | default | meaning | range |
/// |---|---|---|---|
/// | `scale` | Standardised | what the penalty acts on | |
/// | `intercepts` | true | whether b is fitted, or 0 | |
/// | `max_steps` | 100 | give up after so many Newton steps | ≥ 1 |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Params {
    /// What the penalty acts on.
    pub scale: PenaltyScale,
    /// Whether there are intercepts.
    pub intercepts: bool,
    /// Give up after so many steps.
    pub max_steps: usize,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            scale: PenaltyScale::Standardised,
            intercepts: true,
            max_steps: 100,
        }
    }
}

/// A probe in f64.
#[derive(Debug, Clone, PartialEq)]
pub struct Exact {
    /// Weights for the activations as they are, C × D. Two classes have opposite weights.
    pub weights: Array2<f64>,
    /// Biases, C: 0 without intercepts.
    pub bias: Array1<f64>,
    /// The value of the objective.
    pub objective: f64,
    /// How near to the optimum it is; a pass is a Newton step.
    pub certificate: Certificate,
}

/// Solves one problem over f64 activations (N × D). `problem.start` and `problem.goal` are not looked at.
///
/// # Errors
/// As [`super::fit`]; when the problem is of values, of some neurons only, or of a norm that is not squared; when a value is
/// not finite.
pub fn fit(x: ArrayView2<'_, f64>, problem: &Problem<'_>, params: &Params) -> Result<Exact> {
    let labels = match (problem.response, problem.norm, problem.neurons) {
        (Response::Classes(labels), Norm::Squared, super::Neurons::All) => labels,
        _ => {
            return Err(Error::invalid(
                "a probe in f64",
                "it is of values, of some neurons only, or of a norm that is not squared",
                "Only elastic nets of classes on all neurons are solved in f64",
            ));
        }
    };
    check::problem(x.nrows(), problem)?;
    check::finite(x)?;
    if params.max_steps == 0 {
        let fix = "Allow at least one step";
        return Err(Error::invalid(
            "max_steps",
            "it is 0, allowed is 1 or more",
            fix,
        ));
    }
    let targets = Targets::new(problem, x.nrows());
    let sample = Sample::new(x, params);
    let penalty = targets.penalty(problem, penalty_rows(params.scale, &sample.sd));
    let mut solver = Solver::new(&sample, &targets, &penalty, params.intercepts);
    solver.run(params.max_steps);
    let full = Penalty::new(problem, penalty.rows.clone());
    let (objective, certificate) = solver.certificate(&full)?;
    let (weights, bias) = sample.expand(&solver.theta, &targets, labels.classes().len());
    Ok(Exact {
        weights,
        bias,
        objective,
        certificate,
    })
}

/// The neurons that vary, standardised, with a column of ones first: 0 where there are no intercepts.
struct Sample {
    /// N × (d + 1).
    z: Array2<f64>,
    columns: Vec<usize>,
    mean: Vec<f64>,
    sd: Vec<f64>,
    neurons: usize,
}

impl Sample {
    /// Without intercepts values are not centred, and their root mean square stands for the sd.
    fn new(x: ArrayView2<'_, f64>, params: &Params) -> Self {
        let n = x.nrows() as f64;
        let (mut columns, mut means, mut sds) = (Vec::new(), Vec::new(), Vec::new());
        for (column, values) in x.columns().into_iter().enumerate() {
            let mean = match params.intercepts {
                true => values.sum() / n,
                false => 0.0,
            };
            let sd = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt();
            let largest = values.fold(0.0f64, |a, v| a.max(v.abs()));
            if sd > CONSTANT * largest {
                columns.push(column);
                means.push(mean);
                sds.push(sd);
            }
        }
        let mut z = Array2::zeros((x.nrows(), columns.len() + 1));
        z.column_mut(0).fill(f64::from(u8::from(params.intercepts)));
        for (place, &column) in columns.iter().enumerate() {
            let (mean, sd) = (means[place], sds[place]);
            z.column_mut(place + 1)
                .assign(&x.column(column).mapv(|v| (v - mean) / sd));
        }
        Self {
            z,
            columns,
            mean: means,
            sd: sds,
            neurons: x.ncols(),
        }
    }

    /// Coefficients ((d + 1) × columns) as weights (C × D) and biases of the activations as they are.
    fn expand(
        &self,
        theta: &Array2<f64>,
        targets: &Targets,
        classes: usize,
    ) -> (Array2<f64>, Array1<f64>) {
        let theta = targets.unfold(theta);
        let mut weights = Array2::zeros((classes, self.neurons));
        let mut bias = Array1::from_elem(classes, f64::from(ABSENT_CLASS_BIAS));
        for (from, &class) in targets.classes.iter().enumerate() {
            let mut b = theta[(0, from)];
            for (place, &column) in self.columns.iter().enumerate() {
                let w = theta[(place + 1, from)] / self.sd[place];
                weights[(class as usize, column)] = w;
                b -= w * self.mean[place];
            }
            bias[class as usize] = b;
        }
        // A softmax does not see their sum, which would hang on the means of all samples.
        let present = targets.classes.iter().map(|class| *class as usize);
        let mean = present.clone().map(|class| bias[class]).sum::<f64>() / present.len() as f64;
        present.for_each(|class| bias[class] -= mean);
        (weights, bias)
    }
}

/// One problem, and where it stands.
struct Solver<'a> {
    sample: &'a Sample,
    targets: &'a Targets,
    penalty: &'a Penalty,
    intercepts: bool,
    /// (d + 1) × columns.
    theta: Array2<f64>,
    steps: usize,
    /// Whether the last step found nothing left to gain.
    at_rest: bool,
}

impl<'a> Solver<'a> {
    fn new(
        sample: &'a Sample,
        targets: &'a Targets,
        penalty: &'a Penalty,
        intercepts: bool,
    ) -> Self {
        let mut theta = targets.empty_model(sample.z.ncols()).mapv(f64::from);
        if !intercepts {
            theta.fill(0.0);
        }
        Self {
            sample,
            targets,
            penalty,
            intercepts,
            theta,
            steps: 0,
            at_rest: false,
        }
    }

    fn run(&mut self, most: usize) {
        let mut objective = self.objective(&self.theta);
        while self.steps < most && !self.at_rest {
            self.steps += 1;
            let programme = self.programme();
            let to = programme.solve();
            let predicted = programme.decrease(&to);
            let to = self.shaped(&to);
            self.at_rest = predicted <= LEAST_DECREASE * objective.abs();
            if let Some((theta, reached)) = self.search(&to, objective, predicted) {
                self.theta = theta;
                objective = reached;
            } else {
                self.at_rest = true;
            }
        }
    }

    /// The first of a step's halvings that lowers the objective enough; a last step's gain may be lost in rounding.
    fn search(
        &self,
        to: &Array2<f64>,
        objective: f64,
        predicted: f64,
    ) -> Option<(Array2<f64>, f64)> {
        let slack = 1e-14 * objective.abs();
        let mut share = 1.0;
        for _ in 0..HALVINGS {
            let theta = &self.theta + &((to - &self.theta) * share);
            let reached = self.objective(&theta);
            if reached <= objective - 1e-3 * share * predicted + slack {
                return Some((theta, reached));
            }
            share *= 0.5;
        }
        None
    }

    fn objective(&self, theta: &Array2<f64>) -> f64 {
        let mut logits = self.logits(theta);
        probabilities(&mut logits, self.targets) + self.penalty.value(theta)
    }

    /// N × classes.
    fn logits(&self, theta: &Array2<f64>) -> Array2<f64> {
        self.sample.z.dot(&self.targets.unfold(theta))
    }

    /// The objective's quadratic model at the coefficients, column by column.
    fn programme(&self) -> Programme {
        let mut p = self.logits(&self.theta);
        probabilities(&mut p, self.targets);
        let hessian = self.hessian(&p);
        minus_labels(&mut p, self.targets);
        let residual = match self.targets.loss {
            Loss::Sigmoid => p.slice(s![.., 1..2]).to_owned(),
            Loss::Softmax | Loss::Squared => p,
        };
        let gradient = self.sample.z.t().dot(&residual);
        let (rows, columns) = self.theta.dim();
        let entries = || (0..columns).flat_map(|column| (0..rows).map(move |row| (row, column)));
        let smooth = |at: (usize, usize)| gradient[at] + self.penalty.mu_row(at.0) * self.theta[at];
        Programme {
            gradient: entries().map(smooth).collect(),
            start: entries().map(|at| self.theta[at]).collect(),
            l1: entries().map(|(row, _)| self.penalty.l1_row(row)).collect(),
            hessian,
        }
    }

    /// ∇² of loss and ridge, e × e. Directions that a softmax does not see are filled in where no penalty does.
    fn hessian(&self, p: &Array2<f64>) -> DMatrix<f64> {
        let (rows, columns) = self.theta.dim();
        let mut hessian = DMatrix::zeros(rows * columns, rows * columns);
        let mut block = Array2::zeros((rows, rows));
        for a in 0..columns {
            for b in 0..=a {
                let weighted = self.weighted(p, a, b);
                general_mat_mul(1.0, &weighted.t(), &self.sample.z, 0.0, &mut block);
                for ((j, k), value) in block.indexed_iter() {
                    hessian[(a * rows + j, b * rows + k)] = *value;
                    hessian[(b * rows + k, a * rows + j)] = *value;
                }
            }
        }
        let mean = hessian.diagonal().mean();
        for row in 0..rows {
            // Along equal coefficients of all classes the loss is flat. The intercepts' sum is ours to choose, and without λ1
            // that of any neuron's weights: the penalty's optimum has it at 0.
            let free = match row {
                0 => self.intercepts,
                _ => self.penalty.l1 == 0.0,
            };
            let flat = columns > 1 && free;
            let fill = if flat { mean / columns as f64 } else { 0.0 };
            for (a, b) in (0..columns).flat_map(|a| (0..columns).map(move |b| (a, b))) {
                hessian[(a * rows + row, b * rows + row)] += fill;
            }
            for a in 0..columns {
                let at = a * rows + row;
                hessian[(at, at)] += self.penalty.mu_row(row);
            }
        }
        hessian
    }

    /// Z with each row times the second derivative of its loss by the logits a and b.
    fn weighted(&self, p: &Array2<f64>, a: usize, b: usize) -> Array2<f64> {
        let mut weighted = self.sample.z.clone();
        let rows = weighted.axis_iter_mut(Axis(0)).zip(p.rows());
        for ((mut row, p), omega) in rows.zip(&self.targets.omega) {
            let curvature = match self.targets.loss {
                Loss::Sigmoid => p[0] * p[1],
                _ if a == b => p[a] * (1.0 - p[a]),
                _ => -p[a] * p[b],
            };
            row *= omega * curvature;
        }
        weighted
    }

    fn shaped(&self, entries: &[f64]) -> Array2<f64> {
        let rows = self.theta.nrows();
        Array2::from_shape_fn(self.theta.dim(), |(row, column)| {
            entries[column * rows + row]
        })
    }

    /// The largest subgradient that is left, on the scale that the penalty acts on.
    fn kkt(&self, programme: &Programme) -> f64 {
        let rows = self.theta.nrows();
        let scaled = |(at, v): (usize, f64)| match at % rows {
            0 => v,
            row => v / self.penalty.rows[row],
        };
        let violations = programme.violations(&programme.gradient, &programme.start);
        violations.enumerate().map(scaled).fold(0.0, f64::max)
    }

    /// λ_max: the gradient's largest entry where all weights are 0.
    fn lambda_max(&self) -> f64 {
        let empty = Solver::new(self.sample, self.targets, self.penalty, self.intercepts);
        let rows = empty.theta.nrows();
        let entries = empty.programme().gradient.into_iter().enumerate();
        let weights = entries.filter(|(at, _)| at % rows > 0);
        weights
            .map(|(at, g)| g.abs() / self.penalty.rows[at % rows])
            .fold(0.0, f64::max)
    }

    /// Objective and certificate; `full` is the penalty on a column for each class.
    fn certificate(&self, full: &Penalty) -> Result<(f64, Certificate)> {
        let z = self.logits(&self.theta);
        refuse_separable(&z, self.targets, full)?;
        let mut dual = match self.intercepts {
            true => intercepts::feasible(&z, self.targets),
            false => {
                let mut p = z.clone();
                probabilities(&mut p, self.targets);
                p
            }
        };
        minus_labels(&mut dual, self.targets);
        let v = self.sample.z.t().dot(&dual);
        let (value, _) = dual::value(&dual, &v, 0.0, full, self.targets);
        let objective = self.objective(&self.theta);
        let gap = (objective - value).max(GAP_FLOOR * objective);
        let kkt = self.kkt(&self.programme());
        let passes = self.steps as f64;
        let certificate = Certificate {
            kkt,
            kkt_relative: kkt / self.lambda_max().max(full.l1),
            duality_gap: gap,
            relative_gap: gap / objective.max(f64::MIN_POSITIVE),
            passes,
            work: passes,
            depth: self.steps,
            converged: self.at_rest,
            certified_zeros: 0,
            certified_nonzeros: 0,
        };
        Ok((objective, certificate))
    }
}
