//! Probe: multinomial logistic regression with an elastic net, solved to a certified optimum.
//!
//! # Formula
//! For samples x_i (rows of X, N × D) with classes y_i (C of them), over W (C × D) and b (C):
//!
//! `F(W, b) = (1/N) Σᵢ CE(softmax(W xᵢ + b), yᵢ) + λ1·‖W‖₁ + λ2·‖W‖²_F`, b unpenalised
//!
//! (Dalvi et al. 2019, eq. 1, with the squared norm that the paper states). X is always standardised inside, so
//! conditioning does not depend on raw scales; [`PenaltyScale`] says which coefficients the penalty acts on. Two
//! classes are two softmax columns: the same optimum as one sigmoid column with the penalty mapping
//! softmax (λ1, λ2) ⇔ sigmoid (λ1, λ2/2).
//!
//! # Method
//! [`Solver::Newton`]: sampled-Hessian working-set proximal Newton. Gradient, objective and line search are exact; the
//! Hessian is an unbiased importance sample of its (sample, class pair) terms, formed on the working set only, with BFGS
//! corrections near the end, and only a metric. [`Solver::Fista`]: accelerated proximal gradient (Beck & Teboulle 2009)
//! with a per-class metric, backtracking and adaptive restart (O'Donoghue & Candès 2015), the plain second route that
//! checks the first. Both stop on the duality gap and share nothing but the two GEMMs of a pass.
//!
//! All problems of one call share X: their columns are concatenated into one forward GEMM X·W and one backward GEMM
//! Xᵀ·R a pass. A problem that has converged leaves the batch.
//!
//! # Edge cases
//! Constant and nearly constant neurons are left out ([`Design::new`]); their weights are exactly 0. A class without
//! training samples is left out, keeps weights 0 and gets [`ABSENT_CLASS_BIAS`]. λ1 = λ2 = 0 is refused: on separable
//! data it has no optimum. Not converged within `max_passes` is returned as such.
//!
//! # Cost
//! One pass is 4·N·D·C FLOP a problem and reads X twice; Newton takes 10 to 40 passes, plus n² bytes · 4 for a working
//! set of n entries, n ≤ [`WORKING_SET_MAX`].

mod certificate;
mod cpu;
mod design;
mod fista;
mod gpu;
mod hessian;
mod inner;
mod newton;
mod objective;
mod passes;
mod statement;

use ndarray::{Array1, Array2, ArrayView2};

pub use design::Design;
pub use gpu::KERNELS;

use crate::error::{Error, Result};
use crate::labels::Labels;
use crate::ops::Backend;

/// Which coefficients the penalty acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PenaltyScale {
    /// Those of standardised activations: every neuron is penalised alike.
    #[default]
    Standardised,
    /// Those of raw activations, as NeuroX does: neurons of small scale are penalised more.
    Raw,
}

/// How the optimum is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Solver {
    /// Sampled-Hessian working-set proximal Newton. λ1 = 0 has no working set and goes to FISTA.
    #[default]
    Newton,
    /// Accelerated proximal gradient with restart.
    Fista,
}

/// How to fit.
///
/// | name | default | meaning | range |
/// |---|---|---|---|
/// | `solver` | Newton | how the optimum is found | |
/// | `scale` | Standardised | what the penalty acts on | |
/// | `relative_gap` | 1e-6 | stop when duality gap ≤ this · objective | 1e-7 … 1 |
/// | `max_passes` | 3000 | give up after so many passes over X | ≥ 1 |
/// | `seed` | 0 | of the Hessian's sampling | |
#[derive(Debug, Clone, PartialEq)]
pub struct Params {
    /// How the optimum is found.
    pub solver: Solver,
    /// What the penalty acts on.
    pub scale: PenaltyScale,
    /// Stop when the duality gap is at most this share of the objective.
    pub relative_gap: f64,
    /// Give up after so many passes over X.
    pub max_passes: f64,
    /// Seed of the Hessian's sampling.
    pub seed: u64,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            solver: Solver::Newton,
            scale: PenaltyScale::Standardised,
            relative_gap: 1e-6,
            max_passes: 3000.0,
            seed: 0,
        }
    }
}

/// One probe of a batch.
#[derive(Debug, Clone, Copy)]
pub struct Problem<'a> {
    /// The class of every sample of the design.
    pub labels: &'a Labels,
    /// λ1 ≥ 0.
    pub l1: f64,
    /// λ2 ≥ 0; λ1 + λ2 > 0.
    pub l2: f64,
    /// Start from this fit (of the same label set) instead of from zero.
    pub start: Option<&'a Fit>,
}

/// How far a batch is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Problems that have left the batch.
    pub finished: usize,
    /// Problems in all.
    pub problems: usize,
    /// Passes over X so far.
    pub passes: f64,
}

/// How near to the optimum a fit provably is. Not converged is data, not an error.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Certificate {
    /// ∞-norm of the minimum-norm subgradient, in units of λ1 (each coordinate on the scale its penalty acts on).
    pub kkt: f64,
    /// `kkt` divided by λ_max, the smallest λ1 at which every weight is zero (by λ1 where that is larger).
    pub kkt_relative: f64,
    /// Objective minus a dual feasible value: the objective is at most this far above the optimum.
    pub duality_gap: f64,
    /// `duality_gap` divided by the objective.
    pub relative_gap: f64,
    /// Passes over X: one pass is a forward and a backward GEMM.
    pub passes: f64,
    /// Whether the stopping rule was met.
    pub converged: bool,
    /// Weights that are provably zero at the optimum (gap-safe rule, Ndiaye et al. 2017).
    pub certified_zeros: usize,
    /// Weights that are provably not zero at the optimum.
    pub certified_nonzeros: usize,
}

/// One solved probe.
#[derive(Debug, Clone)]
pub struct Fit {
    /// λ1, as asked for.
    pub l1: f64,
    /// λ2, as asked for.
    pub l2: f64,
    /// Weights for standardised activations, C × D; 0 for neurons that were left out.
    pub standardised: Array2<f32>,
    /// Weights for raw activations, C × D.
    pub weights: Array2<f32>,
    /// Bias for raw activations, C. A class that train lacks has [`ABSENT_CLASS_BIAS`].
    pub bias: Array1<f32>,
    /// The value of the objective.
    pub objective: f64,
    /// How near to the optimum it is.
    pub certificate: Certificate,
}

/// Bias of a class without training samples: it is never predicted.
pub const ABSENT_CLASS_BIAS: f32 = -1e30;

/// Largest working set of the Newton solver, in (neuron, class) entries: its Hessian takes 4 · n² bytes. A problem with
/// more non-zeros (a control task at a weak λ, say) goes on with FISTA from where it is.
pub const WORKING_SET_MAX: usize = 6000;

/// Largest relative difference of the two back ends' objectives, as a multiple of the `relative_gap` asked for: each is
/// within one gap of the optimum.
pub const TOLERANCE: f64 = 2.0;

impl Fit {
    /// Logits' first maximum for each row of raw activations (N × D): the predicted class ids.
    pub fn predict(&self, x: ArrayView2<'_, f32>) -> Vec<u32> {
        cpu::predict(self, x)
    }

    /// Weights that are not zero.
    pub fn nonzero_weights(&self) -> usize {
        self.standardised.iter().filter(|w| **w != 0.0).count()
    }

    /// Neurons with any weight that is not zero.
    pub fn neurons_used(&self) -> usize {
        let used = |column: ndarray::ArrayView1<'_, f32>| column.iter().any(|w| *w != 0.0);
        self.standardised
            .columns()
            .into_iter()
            .filter(|c| used(*c))
            .count()
    }
}

/// Solves a batch of probes over the same standardised activations.
///
/// Returns one fit for each problem, in order. `progress` is called after every pass.
///
/// # Errors
/// When a label set and the design differ in samples, fewer than two classes occur, a penalty or parameter is out of
/// range, or the GPU fails.
pub fn fit(
    backend: &Backend,
    design: &Design,
    problems: &[Problem<'_>],
    params: &Params,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Vec<Fit>> {
    check(design, problems, params)?;
    let mut passes = passes::Passes::new(backend, design)?;
    let statements = statement::statements(&mut passes, design, problems, params.scale)?;
    let mut fits: Vec<Option<Fit>> = vec![None; problems.len()];
    let (mut newton, mut fista) = (Vec::new(), Vec::new());
    for (place, statement) in statements.into_iter().enumerate() {
        match params.solver {
            Solver::Newton if statement.penalty.l1 > 0.0 => newton.push((place, statement)),
            _ => fista.push((place, statement)),
        }
    }
    let all = problems.len();
    let mut report = |step: &Progress| {
        progress(&Progress {
            problems: all,
            ..*step
        });
    };
    for (place, outcome) in newton::solve(&mut passes, design, newton, params, &mut report)? {
        match outcome {
            newton::Outcome::Solved(fit) => fits[place] = Some(*fit),
            newton::Outcome::Wide(statement) => fista.push((place, *statement)),
        }
    }
    let solved = all - fista.len();
    let mut report = |step: &Progress| {
        progress(&Progress {
            finished: solved + step.finished,
            problems: all,
            ..*step
        });
    };
    for (place, fit) in fista::solve(&mut passes, design, fista, params, &mut report)? {
        fits[place] = Some(fit);
    }
    let solved = |fit: Option<Fit>| fit.expect("every problem went to one of the solvers");
    Ok(fits.into_iter().map(solved).collect())
}

/// λ_max: the smallest λ1 at which every weight of the optimum is zero, `max_jc |Σᵢ z_ij (p0_c − [yᵢ = c])| / N` on the
/// scale that the penalty acts on.
///
/// # Errors
/// As [`fit`].
pub fn lambda_max(
    backend: &Backend,
    design: &Design,
    labels: &Labels,
    scale: PenaltyScale,
) -> Result<f64> {
    check_labels(design, labels)?;
    let mut passes = passes::Passes::new(backend, design)?;
    statement::lambda_max(&mut passes, design, labels, scale)
}

/// Bytes that [`fit`] needs beside the design: gradients, logits and probabilities of every problem, and one working-set
/// Hessian for each at its largest.
pub fn bytes(samples: usize, neurons: usize, classes: &[usize]) -> u64 {
    let problem = |c: &usize| {
        let entries = (neurons + 1) * c;
        entries * (4 * 4 + 8 * 2)
            + samples * c * 4 * 4
            + 2 * 4 * entries.min(WORKING_SET_MAX).pow(2)
    };
    classes.iter().map(|c| problem(c) as u64).sum()
}

fn check(design: &Design, problems: &[Problem<'_>], params: &Params) -> Result<()> {
    if !(1e-7..=1.0).contains(&params.relative_gap) {
        return Err(Error::invalid(
            "relative_gap",
            format!("it is {}, allowed is 1e-7 to 1", params.relative_gap),
            "f32 data cannot prove a smaller gap than 1e-7",
        ));
    }
    if params.max_passes.is_nan() || params.max_passes < 1.0 {
        return Err(Error::invalid(
            "max_passes",
            format!("it is {}, allowed is 1 or more", params.max_passes),
            "Allow at least one pass",
        ));
    }
    for problem in problems {
        check_labels(design, problem.labels)?;
        for (name, value) in [("l1", problem.l1), ("l2", problem.l2)] {
            if !(value.is_finite() && value >= 0.0) {
                return Err(Error::invalid(
                    name,
                    format!("it is {value}, allowed is 0 or more"),
                    "Give a finite penalty",
                ));
            }
        }
        if problem.l1 + problem.l2 <= 0.0 {
            return Err(Error::invalid(
                "l1 and l2",
                "both are 0",
                "Without a penalty separable data have no optimum: give l1 or l2 a small positive value",
            ));
        }
    }
    Ok(())
}

fn check_labels(design: &Design, labels: &Labels) -> Result<()> {
    if labels.len() != design.samples() {
        return Err(Error::invalid(
            "labels",
            format!(
                "{} labels for {} rows of activations",
                labels.len(),
                design.samples()
            ),
            "Give exactly one label for every row",
        ));
    }
    if labels.present().len() < 2 {
        return Err(Error::invalid(
            "labels",
            "all samples are of one class",
            "A probe needs at least two classes in train",
        ));
    }
    Ok(())
}
