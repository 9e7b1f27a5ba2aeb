//! Small probes in f64.

use std::sync::Arc;

use numpy::{IntoPyArray, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::probes::certificate;
use super::salience::numbered;
use super::work::{self, Watch};
use crate::ops::probe::exact::{self, Params};
use crate::ops::probe::{PenaltyScale, Problem};

/// Whether a probe is small enough to be fitted in f64 in no time.
#[pyfunction]
pub(super) fn is_small(samples: usize, neurons: usize, classes: usize) -> bool {
    exact::is_small(samples, neurons, classes)
}

/// Fits one probe of f64 activations to rounding.
#[pyfunction]
#[expect(
    clippy::too_many_arguments,
    reason = "the package's own function names them"
)]
pub(super) fn fit_exactly<'py>(
    py: Python<'py>,
    x: PyReadonlyArray2<'py, f64>,
    labels: PyReadonlyArray1<'py, u32>,
    classes: usize,
    weights: PyReadonlyArray1<'py, f64>,
    penalty: (f64, f64),
    standardize: bool,
    intercepts: bool,
    max_steps: usize,
) -> PyResult<Bound<'py, PyDict>> {
    // Small: a copy costs nothing, and the fit runs without the interpreter's lock.
    let x = x.as_array().to_owned();
    let labels = numbered(py, &labels, classes)?;
    let weights: Vec<f64> = weights.as_array().iter().copied().collect();
    let params = Params {
        scale: match standardize {
            true => PenaltyScale::Standardised,
            false => PenaltyScale::Raw,
        },
        intercepts,
        max_steps,
    };
    let watch = Arc::new(Watch::default());
    let fit = work::run(py, &watch, None, move || {
        let problem = Problem {
            weights: Some(&weights),
            ..Problem::new(&labels, penalty.0, penalty.1)
        };
        exact::fit(x.view(), &problem, &params)
    })?;
    let out = PyDict::new(py);
    out.set_item("weights", fit.weights.into_pyarray(py))?;
    out.set_item("bias", fit.bias.into_pyarray(py))?;
    out.set_item("objective", fit.objective)?;
    out.set_item("certificate", certificate(py, &fit.certificate)?)?;
    Ok(out)
}
