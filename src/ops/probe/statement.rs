//! What a batch of problems is: targets, penalties, λ_max and starts, fixed during a solve.

use ndarray::Array2;

use super::certificate::Point;
use super::objective::{Penalty, Targets};
use super::passes::Passes;
use super::{ABSENT_CLASS_BIAS, Certificate, Design, Fit, PenaltyScale, Problem};
use crate::error::Result;
use crate::labels::Labels;

/// What one problem is: fixed during a solve.
pub(super) struct Statement {
    pub targets: Targets,
    pub all_classes: usize,
    pub penalty: Penalty,
    pub lambda_max: f64,
    pub start: Array2<f32>,
    /// Whether the start is a given fit rather than the empty model.
    pub warm: bool,
    /// Passes that it took to get to the start.
    pub passes: f64,
}

/// The problems' statements; λ_max takes one backward GEMM for the whole batch.
pub(super) fn statements(
    passes: &mut Passes<'_>,
    design: &Design,
    problems: &[Problem<'_>],
    scale: PenaltyScale,
) -> Result<Vec<Statement>> {
    let rows = design.penalty_rows(scale);
    let targets: Vec<Targets> = problems.iter().map(|p| Targets::new(p.labels)).collect();
    let maxima = lambda_maxima(passes, &targets, &rows)?;
    Ok(targets
        .into_iter()
        .zip(problems)
        .zip(maxima)
        .map(|((targets, problem), lambda_max)| Statement {
            all_classes: problem.labels.classes().len(),
            penalty: Penalty {
                l1: problem.l1,
                mu: 2.0 * problem.l2,
                rows: rows.clone(),
            },
            lambda_max,
            start: match problem.start {
                Some(fit) => design.collapse(fit, &targets.classes),
                None => targets.empty_model(rows.len()),
            },
            warm: problem.start.is_some(),
            passes: 0.0,
            targets,
        })
        .collect())
}

pub(super) fn lambda_max(
    passes: &mut Passes<'_>,
    design: &Design,
    labels: &Labels,
    scale: PenaltyScale,
) -> Result<f64> {
    let maxima = lambda_maxima(passes, &[Targets::new(labels)], &design.penalty_rows(scale))?;
    Ok(maxima[0])
}

fn lambda_maxima(passes: &mut Passes<'_>, targets: &[Targets], rows: &[f64]) -> Result<Vec<f64>> {
    let residuals: Vec<Array2<f32>> = targets
        .iter()
        .map(|t| {
            let n = t.y.len() as f64;
            Array2::from_shape_fn((t.y.len(), t.share.len()), |(i, c)| {
                ((t.share[c] - f64::from(u8::from(t.y[i] as usize == c))) / n) as f32
            })
        })
        .collect();
    let gradients = passes.backward(&residuals.iter().collect::<Vec<_>>())?;
    let largest = |g: &Array2<f64>| {
        g.indexed_iter()
            .filter(|((row, _), _)| *row > 0)
            .map(|((row, _), g)| g.abs() / rows[row])
            .fold(0.0, f64::max)
    };
    Ok(gradients.iter().map(largest).collect())
}

impl Statement {
    /// What the certificate needs to know of these coefficients.
    pub(super) fn point<'a>(&'a self, theta: &'a Array2<f32>, passes: f64) -> Point<'a> {
        Point {
            targets: &self.targets,
            penalty: &self.penalty,
            theta,
            lambda_max: self.lambda_max,
            passes,
        }
    }

    /// The fit at these coefficients.
    pub(super) fn fit(
        &self,
        design: &Design,
        theta: &Array2<f32>,
        objective: f64,
        certificate: Certificate,
    ) -> Fit {
        let (standardised, weights, bias) = design.expand(
            theta.view(),
            &self.targets.classes,
            self.all_classes,
            ABSENT_CLASS_BIAS,
        );
        let Penalty { l1, mu, .. } = self.penalty;
        Fit {
            l1,
            l2: mu / 2.0,
            standardised,
            weights,
            bias,
            objective,
            certificate,
        }
    }
}
