//! What a problem's loss compares: classes or values, with the weight of every sample.

use ndarray::Array2;

use super::{Norm, PenaltyScale, Problem, Response};
use crate::labels::Labels;

/// The loss of a problem, and so the shape of its coefficients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loss {
    /// Cross-entropy of a softmax: one column for each class that occurs.
    Softmax,
    /// Cross-entropy of two classes: one column, the logit of the second of them. Same optimum as two softmax columns
    /// (−v/2, v/2).
    Sigmoid,
    /// Half the squared error: one column.
    Squared,
}

/// Labels or values of the samples, and their weights.
#[derive(Debug, Clone)]
pub(super) struct Targets {
    pub loss: Loss,
    /// Class ids that occur, ascending; `[0]` for values.
    pub classes: Vec<u32>,
    /// Index into `classes` for each sample; 0 where the sample has no weight.
    pub y: Vec<u32>,
    /// Values to regress on; empty for classes.
    pub values: Vec<f32>,
    /// Weights ωᵢ, of sum 1.
    pub omega: Vec<f64>,
    /// Weight of each class in `classes`.
    pub share: Vec<f64>,
    /// Number of classes that the label set names, and so of rows of the fit.
    pub all_classes: usize,
}

impl Targets {
    pub(super) fn new(problem: &Problem<'_>, samples: usize) -> Self {
        let omega = match problem.weights {
            Some(weights) => {
                let total: f64 = weights.iter().sum();
                weights.iter().map(|w| w / total).collect()
            }
            None => vec![1.0 / samples as f64; samples],
        };
        match problem.response {
            Response::Classes(labels) => Self::classes(labels, omega),
            Response::Values(values) => Self {
                loss: Loss::Squared,
                classes: vec![0],
                y: vec![0; samples],
                values: values.to_vec(),
                omega,
                share: vec![1.0],
                all_classes: 1,
            },
        }
    }

    fn classes(labels: &Labels, omega: Vec<f64>) -> Self {
        let classes = present(labels, &omega);
        let mut index = vec![0; labels.classes().len()];
        for (place, &class) in (0u32..).zip(&classes) {
            index[class as usize] = place;
        }
        let y: Vec<u32> = labels.ids().iter().map(|&id| index[id as usize]).collect();
        // Compensated (Neumaier 1974): plain sums of 100,000 equal terms are off by 1e-12, and certificates ask for less.
        let mut sums = vec![(0.0f64, 0.0); classes.len()];
        for (&y, &omega) in y.iter().zip(&omega) {
            let (sum, lost) = &mut sums[y as usize];
            let all = *sum + omega;
            *lost += if *sum >= omega {
                (*sum - all) + omega
            } else {
                (omega - all) + *sum
            };
            *sum = all;
        }
        let share = sums.into_iter().map(|(sum, lost)| sum + lost).collect();
        Self {
            loss: if classes.len() == 2 {
                Loss::Sigmoid
            } else {
                Loss::Softmax
            },
            all_classes: labels.classes().len(),
            classes,
            y,
            values: Vec::new(),
            omega,
            share,
        }
    }

    /// Number of samples N.
    pub(super) fn samples(&self) -> usize {
        self.omega.len()
    }

    /// Columns of the coefficients.
    pub(super) fn columns(&self) -> usize {
        match self.loss {
            Loss::Softmax => self.classes.len(),
            Loss::Sigmoid | Loss::Squared => 1,
        }
    }

    /// Coefficients of the empty model: zero weights and the intercepts that are best without them.
    pub(super) fn empty_model(&self, rows: usize) -> Array2<f32> {
        let mut theta = Array2::zeros((rows, self.columns()));
        match self.loss {
            Loss::Softmax => {
                let logs: Vec<f64> = self.share.iter().map(|p| p.ln()).collect();
                let mean = logs.iter().sum::<f64>() / logs.len() as f64;
                for (b, log) in theta.row_mut(0).iter_mut().zip(&logs) {
                    *b = (log - mean) as f32;
                }
            }
            Loss::Sigmoid => theta[(0, 0)] = (self.share[1] / self.share[0]).ln() as f32,
            Loss::Squared => theta[(0, 0)] = self.mean_value() as f32,
        }
        theta
    }

    /// The weighted mean of the values.
    pub(super) fn mean_value(&self) -> f64 {
        let products = self.values.iter().zip(&self.omega);
        products.map(|(v, omega)| f64::from(*v) * omega).sum()
    }

    /// The gradient of the loss with respect to the empty model's predictions, N × columns.
    pub(super) fn empty_residual(&self) -> Array2<f32> {
        let mean = self.mean_value();
        Array2::from_shape_fn((self.samples(), self.columns()), |(i, c)| {
            let error = match self.loss {
                Loss::Softmax => self.share[c] - f64::from(u8::from(self.y[i] as usize == c)),
                Loss::Sigmoid => self.share[1] - f64::from(self.y[i]),
                Loss::Squared => mean - f64::from(self.values[i]),
            };
            (error * self.omega[i]) as f32
        })
    }

    /// The penalty on this problem's columns that equals `(λ1, λ2)` on all classes' weights.
    pub(super) fn penalty(&self, problem: &Problem<'_>, rows: Vec<f64>) -> Penalty {
        let full = Penalty::new(problem, rows);
        match self.loss {
            Loss::Sigmoid => full.of_one_column(),
            Loss::Softmax | Loss::Squared => full,
        }
    }

    /// Coefficients with a column for each class that occurs (or the one of values), whatever they were solved as.
    pub(super) fn unfold<T>(&self, theta: &Array2<T>) -> Array2<T>
    where
        T: Copy + From<f32> + std::ops::Mul<Output = T>,
    {
        match self.loss {
            Loss::Sigmoid => Array2::from_shape_fn((theta.nrows(), 2), |(row, class)| {
                theta[(row, 0)] * T::from(if class == 0 { -0.5 } else { 0.5 })
            }),
            Loss::Softmax | Loss::Squared => theta.clone(),
        }
    }

    /// The inverse of [`Targets::unfold`].
    pub(super) fn fold(&self, theta: Array2<f32>) -> Array2<f32> {
        match self.loss {
            Loss::Sigmoid => Array2::from_shape_fn((theta.nrows(), 1), |(row, _)| {
                theta[(row, 1)] - theta[(row, 0)]
            }),
            Loss::Softmax | Loss::Squared => theta,
        }
    }
}

/// Ids of the classes that have weight, ascending.
pub(super) fn present(labels: &Labels, omega: &[f64]) -> Vec<u32> {
    let mut weight = vec![0.0; labels.classes().len()];
    for (&id, omega) in labels.ids().iter().zip(omega) {
        weight[id as usize] += omega;
    }
    (0u32..)
        .zip(weight)
        .filter(|(_, w)| *w > 0.0)
        .map(|(id, _)| id)
        .collect()
}

/// Penalty of a problem, `λ1·Σ s_j|w| + μ/2·Σ s_j²w²`, and what each row of the coefficients multiplies it by.
///
/// NeuroX's norm λ2·‖S W‖_F enters as the quadratic that touches it where the solver stands and lies above it
/// elsewhere, `μ = λ2/‖S W‖_F`: a step that lowers the one lowers the other.
#[derive(Debug, Clone)]
pub(super) struct Penalty {
    pub l1: f64,
    pub mu: f64,
    /// λ2 of the norm that is not squared.
    pub norm: Option<f64>,
    /// s_j: 0 for the intercept.
    pub rows: Vec<f64>,
}

/// Where all weights vanish, μ = λ2/‖S W‖_F is taken as if the norm were this times the mean of S: finite, and so large
/// that the first step is short.
const FIRST_NORM: f64 = 1e-3;

impl Penalty {
    /// Of all classes' weights.
    pub(super) fn new(problem: &Problem<'_>, rows: Vec<f64>) -> Self {
        let (mu, norm) = match problem.norm {
            Norm::Squared => (2.0 * problem.l2, None),
            Norm::Frobenius if problem.l2 > 0.0 => (0.0, Some(problem.l2)),
            Norm::Frobenius => (0.0, None),
        };
        let mut penalty = Self {
            l1: problem.l1,
            mu,
            norm,
            rows,
        };
        penalty.touch(&Array2::zeros((0, 0)));
        penalty
    }

    /// The same on the one column v of two classes with weights (−v/2, v/2).
    fn of_one_column(self) -> Self {
        Self {
            mu: self.mu / 2.0,
            norm: self.norm.map(|l2| l2 / f64::sqrt(2.0)),
            ..self
        }
    }

    /// The same penalty with λ1 and λ2 times `factor`.
    pub(super) fn scaled(&self, factor: f64) -> Self {
        Self {
            l1: self.l1 * factor,
            mu: self.mu * factor,
            norm: self.norm.map(|l2| l2 * factor),
            rows: self.rows.clone(),
        }
    }

    /// λ1 of row j.
    pub(super) fn l1_row(&self, row: usize) -> f64 {
        self.l1 * self.rows[row]
    }

    /// μ of row j.
    pub(super) fn mu_row(&self, row: usize) -> f64 {
        self.mu * self.rows[row] * self.rows[row]
    }

    /// Sets μ to the quadratic that touches the norm at these weights.
    pub(super) fn touch(&mut self, theta: &Array2<f32>) {
        if let Some(l2) = self.norm {
            let norm = self.frobenius(theta);
            let neurons = (self.rows.len() - 1).max(1) as f64;
            let mean = self.rows.iter().sum::<f64>() / neurons;
            self.mu = l2 / if norm > 0.0 { norm } else { FIRST_NORM * mean };
        }
    }

    /// ‖S W‖_F.
    fn frobenius(&self, theta: &Array2<f32>) -> f64 {
        let row = |(j, weights): (usize, ndarray::ArrayView1<'_, f32>)| {
            let square: f64 = weights.iter().map(|w| f64::from(*w).powi(2)).sum();
            square * self.rows[j] * self.rows[j]
        };
        theta
            .rows()
            .into_iter()
            .enumerate()
            .map(row)
            .sum::<f64>()
            .sqrt()
    }

    /// The penalty's value.
    pub(super) fn value<T: Copy>(&self, theta: &Array2<T>) -> f64
    where
        f64: From<T>,
    {
        let (mut one, mut two) = (0.0, 0.0);
        for (j, weights) in theta.rows().into_iter().enumerate().skip(1) {
            let (mut row_one, mut row_two) = (0.0, 0.0);
            for &w in weights {
                let w = f64::from(w);
                row_one += w.abs();
                row_two += w * w;
            }
            one += self.l1_row(j) * row_one;
            two += self.rows[j] * self.rows[j] * row_two;
        }
        one + match self.norm {
            Some(l2) => l2 * two.sqrt(),
            None => 0.5 * self.mu * two,
        }
    }
}

/// What λ1 is multiplied by for each row of the coefficients (0 for the intercept): 1, or 1/sd for a penalty on raw
/// coefficients, since w_raw = w / sd. λ2 takes the square.
pub(super) fn penalty_rows(scale: PenaltyScale, sd: &[f64]) -> Vec<f64> {
    let row = |sd: &f64| match scale {
        PenaltyScale::Standardised => 1.0,
        PenaltyScale::Raw => 1.0 / sd,
    };
    std::iter::once(0.0).chain(sd.iter().map(row)).collect()
}
