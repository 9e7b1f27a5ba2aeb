//! Probes, to their optimum or as NeuroX trains them.

use std::sync::Arc;

use ndarray::{Array1, Array2};
use numpy::{IntoPyArray, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArray};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::array::NumpyRows;
use super::device::Device;
use super::error::{invalid, one_of};
use super::salience::numbered;
use super::work::{self, Watch};
use crate::activations::Rows;
use crate::error::{Error, Result};
use crate::labels::Labels;
use crate::ops::moments;
use crate::ops::probe::{
    self, Certificate, Design, Fit, Neurons, Norm, Params, PenaltyScale, Problem, Progress,
    Response, Solver, Stop, adam,
};

/// What probes learn to predict: class numbers and the number of classes, or values.
#[derive(FromPyObject)]
pub(super) enum Target<'py> {
    Classes(PyReadonlyArray1<'py, u32>, usize),
    Values(PyReadonlyArray1<'py, f32>),
}

/// The same, of our own.
enum Learnt {
    Classes(Labels),
    Values(Vec<f32>),
}

impl Learnt {
    fn response(&self) -> Response<'_> {
        match self {
            Self::Classes(labels) => Response::Classes(labels),
            Self::Values(values) => Response::Values(values),
        }
    }
}

/// One probe; targets and weights by their place in the lists beside it.
#[derive(Debug, FromPyObject)]
#[pyo3(from_item_all)]
pub(super) struct Asked {
    target: usize,
    weights: Option<usize>,
    neurons: Option<Vec<usize>>,
    l1: f64,
    l2: f64,
    frobenius: bool,
}

/// How to fit.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(super) struct How<'py> {
    standardize: bool,
    stop: Bound<'py, PyString>,
    tolerance: Option<f64>,
    solver: Bound<'py, PyString>,
    max_passes: f64,
    memory: u64,
    seed: u64,
}

impl How<'_> {
    fn params(&self) -> PyResult<Params> {
        let tolerance = self.tolerance.unwrap_or(1.0);
        let stops = [
            ("screening", Stop::Screening),
            ("certified", Stop::Certified),
            ("gap", Stop::Gap(tolerance)),
            ("kkt", Stop::Kkt(tolerance)),
        ];
        Ok(Params {
            solver: one_of("solver", &self.solver, &SOLVERS)?,
            scale: match self.standardize {
                true => PenaltyScale::Standardised,
                false => PenaltyScale::Raw,
            },
            stop: one_of("stop", &self.stop, &stops)?,
            max_passes: self.max_passes,
            memory: self.memory,
            seed: self.seed,
            ..Params::default()
        })
    }
}

const SOLVERS: [(&str, Solver); 4] = [
    ("auto", Solver::Auto),
    ("newton", Solver::Newton),
    ("fista", Solver::Fista),
    ("lbfgs", Solver::Lbfgs),
];

/// A batch that no longer needs the interpreter.
struct Batch {
    rows: Arc<NumpyRows>,
    targets: Vec<Learnt>,
    weights: Vec<Vec<f64>>,
    asked: Vec<Asked>,
    params: Params,
}

impl Batch {
    fn new(
        py: Python<'_>,
        x: &Bound<'_, PyUntypedArray>,
        (targets, weights, asked): (Vec<Target<'_>>, Vec<PyReadonlyArray1<'_, f64>>, Vec<Asked>),
        params: Params,
        watch: &Arc<Watch>,
    ) -> PyResult<Self> {
        let there = |asked: &Asked| {
            asked.target < targets.len() && asked.weights.is_none_or(|at| at < weights.len())
        };
        if !asked.iter().all(there) {
            let fix = "Name targets and weights that are in the lists";
            return Err(invalid(py, "probes", "one names what is not there", fix));
        }
        Ok(Self {
            rows: Arc::new(NumpyRows::new(x, watch)?),
            targets: targets
                .into_iter()
                .map(|target| learnt(py, target))
                .collect::<PyResult<_>>()?,
            weights: weights
                .iter()
                .map(|w| w.as_array().iter().copied().collect())
                .collect(),
            asked,
            params,
        })
    }

    /// Standardised activations: a copy where memory holds it beside the solver, else read again in every pass.
    fn design(&self) -> Result<Design> {
        let moments = moments::streamed(&*self.rows, None)?;
        let (samples, neurons) = self.rows.shape();
        let all: Vec<usize> = (0..neurons).collect();
        if 4 * (samples * neurons) as u64 > self.params.memory / 2 {
            return Design::streamed(self.rows.clone(), &moments, &all);
        }
        Design::read(&*self.rows, &moments, &all)
    }

    /// The problems over the design, whose columns are `columns`.
    fn problems<'a>(&'a self, seen: &'a [Option<Vec<usize>>]) -> Vec<Problem<'a>> {
        let problem = |(asked, seen): (&'a Asked, &'a Option<Vec<usize>>)| Problem {
            weights: asked.weights.map(|at| &*self.weights[at]),
            neurons: seen.as_ref().map_or(Neurons::All, |s| Neurons::These(s)),
            norm: match asked.frobenius {
                true => Norm::Frobenius,
                false => Norm::Squared,
            },
            ..Problem::of(self.targets[asked.target].response(), asked.l1, asked.l2)
        };
        self.asked.iter().zip(seen).map(problem).collect()
    }

    /// The neurons that each problem sees, by their place in the design; constant ones are not in it.
    ///
    /// # Errors
    /// When a problem sees none that varies.
    fn seen(&self, design: &Design) -> Result<Vec<Option<Vec<usize>>>> {
        let place = |neuron: &usize| design.columns().binary_search(neuron).ok();
        let of_problem = |asked: &Asked| {
            let neurons = asked.neurons.iter().flatten();
            let seen: Vec<usize> = neurons.filter_map(place).collect();
            if asked.neurons.is_some() && seen.is_empty() {
                return Err(Error::invalid(
                    "neurons of a probe",
                    "none of them varies over the training samples",
                    "Choose neurons that are not constant",
                ));
            }
            Ok(asked.neurons.as_ref().map(|_| seen))
        };
        self.asked.iter().map(of_problem).collect()
    }
}

impl Batch {
    /// One probe to train; its neurons are columns of the activations themselves.
    fn to_train<'a>(&'a self, asked: &'a Asked, start: &'a Begin) -> adam::Problem<'a> {
        let neurons = asked.neurons.as_ref();
        adam::Problem {
            response: self.targets[asked.target].response(),
            neurons: neurons.map_or(Neurons::All, |these| Neurons::These(these)),
            l1: asked.l1,
            l2: asked.l2,
            start: match start {
                Begin::Seeded(seed) => adam::Start::Seeded(*seed),
                Begin::Given(weights, bias) => adam::Start::Given {
                    weights: weights.view(),
                    bias: bias.view(),
                },
            },
        }
    }
}

/// Where a training starts.
#[derive(FromPyObject)]
pub(super) enum Start<'py> {
    Seeded(u64),
    Given(PyReadonlyArray2<'py, f32>, PyReadonlyArray1<'py, f32>),
}

/// The same, of our own.
enum Begin {
    Seeded(u64),
    Given(Array2<f32>, Array1<f32>),
}

impl From<Start<'_>> for Begin {
    fn from(start: Start<'_>) -> Self {
        match start {
            Start::Seeded(seed) => Self::Seeded(seed),
            Start::Given(weights, bias) => {
                Self::Given(weights.as_array().to_owned(), bias.as_array().to_owned())
            }
        }
    }
}

/// How much of a batch is done.
fn share(told: &Progress) -> f64 {
    told.finished as f64 / told.problems.max(1) as f64
}

/// A fit as a dictionary of arrays and numbers.
fn describe(py: Python<'_>, fit: Fit) -> PyResult<Bound<'_, PyDict>> {
    let out = PyDict::new(py);
    out.set_item("l1", fit.l1)?;
    out.set_item("l2", fit.l2)?;
    out.set_item("weights", fit.weights.into_pyarray(py))?;
    out.set_item("bias", fit.bias.into_pyarray(py))?;
    out.set_item("standardised", fit.standardised.into_pyarray(py))?;
    out.set_item("objective", fit.objective)?;
    out.set_item("certificate", certificate(py, &fit.certificate)?)?;
    Ok(out)
}

/// A certificate as a dictionary.
pub(super) fn certificate<'py>(
    py: Python<'py>,
    proof: &Certificate,
) -> PyResult<Bound<'py, PyDict>> {
    let out = PyDict::new(py);
    out.set_item("kkt", proof.kkt)?;
    out.set_item("kkt_relative", proof.kkt_relative)?;
    out.set_item("duality_gap", proof.duality_gap)?;
    out.set_item("relative_gap", proof.relative_gap)?;
    out.set_item("passes", proof.passes)?;
    out.set_item("converged", proof.converged)?;
    out.set_item("certified_zeros", proof.certified_zeros)?;
    out.set_item("certified_nonzeros", proof.certified_nonzeros)?;
    Ok(out)
}

fn learnt(py: Python<'_>, target: Target<'_>) -> PyResult<Learnt> {
    Ok(match target {
        Target::Values(values) => Learnt::Values(values.as_array().to_vec()),
        Target::Classes(ids, classes) => Learnt::Classes(numbered(py, &ids, classes)?),
    })
}

/// Fits a batch of probes over the same activations.
#[pyfunction]
#[pyo3(signature = (device, x, targets, weights, problems, how, progress))]
#[expect(
    clippy::too_many_arguments,
    reason = "the package's own function names them"
)]
pub(super) fn fit_probes<'py>(
    device: &Bound<'py, Device>,
    py: Python<'py>,
    x: &Bound<'py, PyUntypedArray>,
    targets: Vec<Target<'py>>,
    weights: Vec<PyReadonlyArray1<'py, f64>>,
    problems: Vec<Asked>,
    how: How<'py>,
    progress: Option<Bound<'py, PyAny>>,
) -> PyResult<Vec<Bound<'py, PyDict>>> {
    let watch = Arc::new(Watch::default());
    let parts = (targets, weights, problems);
    let batch = Batch::new(py, x, parts, how.params()?, &watch)?;
    let (backend, inside) = (device.get().backend.clone(), watch.clone());
    let fits = work::run(py, &watch, progress.as_ref(), move || {
        inside.reach("moments", 0.0);
        let design = batch.design()?;
        let seen = batch.seen(&design)?;
        let mut heard = |told: &Progress| inside.reach("probes", share(told));
        let problems = batch.problems(&seen);
        probe::fit(&backend, &design, &problems, &batch.params, &mut heard)
    })?;
    fits.into_iter().map(|fit| describe(py, fit)).collect()
}

/// The smallest λ1 at which every weight of the optimum is zero, of each problem.
#[pyfunction]
pub(super) fn lambda_max<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyUntypedArray>,
    targets: Vec<Target<'py>>,
    weights: Vec<PyReadonlyArray1<'py, f64>>,
    problems: Vec<Asked>,
    how: How<'py>,
) -> PyResult<Vec<f64>> {
    let watch = Arc::new(Watch::default());
    let parts = (targets, weights, problems);
    let batch = Batch::new(py, x, parts, how.params()?, &watch)?;
    work::run(py, &watch, None, move || {
        let design = batch.design()?;
        let seen = batch.seen(&design)?;
        let problems = batch.problems(&seen);
        probe::lambda_max(&design, &problems, batch.params.scale)
    })
}

/// Trains probes as NeuroX does: `starts` are weights and biases, or a seed.
#[pyfunction]
#[pyo3(signature = (x, targets, problems, starts, epochs, batch_size, learning_rate, progress))]
#[expect(
    clippy::too_many_arguments,
    reason = "the package's own function names them"
)]
pub(super) fn train_adam<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyUntypedArray>,
    targets: Vec<Target<'py>>,
    problems: Vec<Asked>,
    starts: Vec<Start<'py>>,
    epochs: usize,
    batch_size: usize,
    learning_rate: f64,
    progress: Option<Bound<'py, PyAny>>,
) -> PyResult<Vec<Bound<'py, PyDict>>> {
    let watch = Arc::new(Watch::default());
    if starts.len() != problems.len() {
        let fix = "Give one start a problem";
        return Err(invalid(
            py,
            "starts",
            &format!("there are {}", starts.len()),
            fix,
        ));
    }
    let parts = (targets, Vec::new(), problems);
    let batch = Batch::new(py, x, parts, Params::default(), &watch)?;
    let starts: Vec<Begin> = starts.into_iter().map(Begin::from).collect();
    let params = adam::Params {
        epochs,
        batch: batch_size,
        learning_rate,
    };
    let inside = watch.clone();
    let fits = work::run(py, &watch, progress.as_ref(), move || {
        inside.reach("moments", 0.0);
        let moments = moments::streamed(&*batch.rows, None)?;
        let values = batch.rows.values()?;
        let asked = batch.asked.iter().zip(&starts);
        let problems: Vec<_> = asked.map(|(a, start)| batch.to_train(a, start)).collect();
        let mut heard = |told: &Progress| inside.reach("epochs", told.passes / epochs as f64);
        adam::fits(values.view(), &moments, &problems, &params, &mut heard)
    })?;
    fits.into_iter().map(|fit| describe(py, fit)).collect()
}
