//! Probes at given coefficients: loss and gradient as proximal L-BFGS asks for them ([`super::oracle`]), and certificates
//! ([`super::certificate`]), each by itself. Fits take neither from here: it is for who measures or checks them.

use ndarray::Array2;

use super::certificate::{self, Certified, Point};
use super::oracle::{Ask, Wanted};
use super::passes::Passes;
use super::slab::{self, Slab};
use super::statement::{self, Spent, Statement};
use super::stop::Rule;
use super::{Design, Params, Problem, check};
use crate::error::{Error, Result};
use crate::ops::Backend;

/// Problems on a design whose coefficients are given.
///
/// Coefficients of a problem are (d + 1) × K on standardised activations, for the d neurons that it sees: intercepts first, a column
/// for each class that occurs in ascending order, of two classes one for the logit of the second against the first, and one for values.
pub struct Given<'a> {
    slabs: Vec<Slab<'a>>,
    statements: Vec<Statement>,
    rule: Rule,
}

/// Loss of a problem at given coefficients, without the penalty, and its gradient, which has their shape.
#[derive(Debug, Clone, PartialEq)]
pub struct LossAt {
    /// Σᵢ ωᵢ·loss of sample i: nats, or half squared units of the values.
    pub loss: f64,
    /// With respect to the coefficients.
    pub gradient: Array2<f64>,
}

/// Problems whose samples are where they are multiplied.
pub struct Asking<'a> {
    given: &'a Given<'a>,
    passes: Passes<'a>,
}

impl<'a> Given<'a> {
    /// Takes λ_max of each problem natively; `params` says what the penalty acts on and when a fit counts as converged.
    ///
    /// # Errors
    /// As [`super::fit`], of what is wrong with problems or `params`.
    pub fn new(design: &'a Design, problems: &[Problem<'_>], params: &Params) -> Result<Self> {
        check::batch(design, problems, params)?;
        let (slabs, places) = slab::slabs(design, problems.iter().map(|p| p.neurons))?;
        let passes = Passes::new(&Backend::Cpu, &slabs)?;
        let statements = statement::statements(&passes, problems, &places, params.scale)?;
        drop(passes);
        Ok(Self {
            slabs,
            statements,
            rule: params.stop.rule(),
        })
    }

    /// Takes the samples to where they are multiplied: to the device (of several the first), or nowhere natively.
    ///
    /// # Errors
    /// When the samples cannot be read, or the device fails or has no room for them.
    pub fn on<'g>(&'g self, backend: &'g Backend) -> Result<Asking<'g>> {
        Ok(Asking {
            given: self,
            passes: Passes::new(backend, &self.slabs)?,
        })
    }

    /// Objective and certificate of each problem's weights, with the intercepts that are best for them, natively in f64. No passes are
    /// counted, and only this one's work.
    ///
    /// # Errors
    /// When there are not as many coefficients as problems, those of one are not finite or of another shape, the samples cannot be
    /// read, or the classes of a problem without a penalty are separable.
    pub fn certificates(&self, coefficients: &[Array2<f32>]) -> Result<Vec<Certified>> {
        self.checked(coefficients)?;
        let spent = Spent::default();
        let each = self.statements.iter().zip(coefficients);
        let points: Vec<Point<'_>> = each
            .map(|(statement, theta)| Point::new(statement, theta, &spent))
            .collect();
        certificate::certify(&self.slabs, &points, &self.rule)
    }

    fn checked(&self, coefficients: &[Array2<f32>]) -> Result<()> {
        if coefficients.len() != self.statements.len() {
            return Err(Error::invalid(
                "coefficients",
                format!(
                    "there are {} of them for {} problems",
                    coefficients.len(),
                    self.statements.len()
                ),
                "Give one matrix for every problem",
            ));
        }
        for (at, (theta, statement)) in coefficients.iter().zip(&self.statements).enumerate() {
            let (rows, columns) = statement.start.dim();
            if theta.dim() != (rows, columns) {
                return Err(Error::invalid(
                    format!("coefficients of problem {at}"),
                    format!("they are {} x {}", theta.nrows(), theta.ncols()),
                    format!("Give {rows} x {columns}: the intercepts, then a row for every neuron"),
                ));
            }
            if let Some(((row, column), value)) = theta.indexed_iter().find(|(_, v)| !v.is_finite())
            {
                return Err(Error::invalid(
                    format!("coefficients of problem {at}"),
                    format!("row {row}, column {column} is {value}"),
                    "Every coefficient must be a finite number",
                ));
            }
        }
        Ok(())
    }
}

impl Asking<'_> {
    /// Loss and gradient of each problem: a device that holds the samples tells both where their columns fit it, else by single
    /// products and a native loss. 4·N·d·K FLOP a problem.
    ///
    /// # Errors
    /// As [`Given::certificates`], of coefficients; when the device fails, or what it gave back is wrong.
    pub fn losses(&self, coefficients: &[Array2<f32>]) -> Result<Vec<LossAt>> {
        self.given.checked(coefficients)?;
        let each = self.given.statements.iter().zip(coefficients);
        let asks: Vec<Ask<'_>> = each.map(|(of, theta)| of.ask(theta)).collect();
        let answers = self.passes.ask(&asks, Wanted::Gradient)?;
        let told = answers.into_iter().map(|answer| LossAt {
            loss: answer.loss,
            gradient: answer.derivative,
        });
        Ok(told.collect())
    }
}

impl std::fmt::Debug for Given<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Given({} problems)", self.statements.len())
    }
}

impl std::fmt::Debug for Asking<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Asking({:?}, {:?})", self.given, self.passes.backend)
    }
}
