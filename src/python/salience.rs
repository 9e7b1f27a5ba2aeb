//! Orderings of neurons, and what a probe gets right without some of them.

use std::sync::Arc;

use numpy::{IntoPyArray, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArray};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::array::NumpyRows;
use super::device::Device;
use super::error::{one_of, to_python};
use super::pairs::ids;
use super::work::{self, Watch};
use crate::labels::Labels;
use crate::ops::moments;
use crate::ops::sweep::{Curve, Params, sweep};
use crate::study::rank::{Method, orderings};

/// Orderings of the columns of `x` for the classes `labels` (numbers below `classes`).
#[pyfunction]
#[pyo3(signature = (x, labels, classes, methods, weights, seed, progress))]
#[expect(
    clippy::too_many_arguments,
    reason = "the package's own function names them"
)]
pub(super) fn rank<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyUntypedArray>,
    labels: PyReadonlyArray1<'py, u32>,
    classes: usize,
    methods: Vec<Bound<'py, PyString>>,
    weights: Option<PyReadonlyArray2<'py, f32>>,
    seed: u64,
    progress: Option<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    let known = Method::ALL.map(|method| (method.name(), method));
    let known: Vec<_> = known.into_iter().filter(|(_, m)| !m.is_greedy()).collect();
    let methods = methods.iter().map(|name| one_of("method", name, &known));
    let methods: Vec<Method> = methods.collect::<PyResult<_>>()?;
    let labels = numbered(py, &labels, classes)?;
    let weights = weights.map(|weights| weights.as_array().to_owned());
    let watch = Arc::new(Watch::default());
    let rows = NumpyRows::new(x, &watch)?;
    let inside = watch.clone();
    let rankings = work::run(py, &watch, progress.as_ref(), move || {
        inside.reach("moments", 0.0);
        // It refuses what is not finite, and f64 sums are what F needs.
        let moments = moments::streamed(&rows, Some(&labels))?;
        inside.reach("rankings", 0.0);
        let values = rows.values()?;
        let sample = (values.view(), &labels, &moments);
        orderings(&methods, sample, weights.as_ref(), seed)
    })?;
    let out = PyDict::new(py);
    for (name, ranking) in rankings {
        let per_class = ranking.per_class.into_iter();
        let per_class: Vec<_> = per_class.map(|order| ids(order).into_pyarray(py)).collect();
        let order = ids(ranking.order).into_pyarray(py);
        let scores = ranking.scores.into_pyarray(py);
        out.set_item(name, (order, scores, per_class))?;
    }
    Ok(out)
}

/// What a probe gets right with the first k neurons of each ordering, at every k.
#[pyfunction]
#[pyo3(signature = (device, x, labels, weights, bias, ablated, orderings, by_class, progress))]
#[expect(
    clippy::too_many_arguments,
    reason = "the package's own function names them"
)]
pub(super) fn ablate<'py>(
    device: &Bound<'py, Device>,
    py: Python<'py>,
    x: &Bound<'py, PyUntypedArray>,
    labels: PyReadonlyArray1<'py, u32>,
    weights: PyReadonlyArray2<'py, f32>,
    bias: PyReadonlyArray1<'py, f32>,
    ablated: Option<PyReadonlyArray1<'py, f32>>,
    orderings: Vec<Vec<usize>>,
    by_class: bool,
    progress: Option<Bound<'py, PyAny>>,
) -> PyResult<Vec<Bound<'py, PyDict>>> {
    let labels = numbered(py, &labels, bias.as_array().len())?;
    let (weights, bias) = (weights.as_array().to_owned(), bias.as_array().to_owned());
    let ablated = ablated.map(|values| values.as_array().to_vec());
    let watch = Arc::new(Watch::default());
    let rows = NumpyRows::new(x, &watch)?;
    let (backend, inside) = (device.get().backend.clone(), watch.clone());
    let curves = work::run(py, &watch, progress.as_ref(), move || {
        inside.reach("moments", 0.0);
        let moments = moments::streamed(&rows, None)?;
        let means = || moments.mean.iter().map(|mean| *mean as f32).collect();
        let ablated: Vec<f32> = ablated.unwrap_or_else(means);
        inside.reach("sweep", 0.0);
        let params = Params {
            weights: weights.view(),
            bias: bias.view(),
            ablated: &ablated,
            orderings: &orderings,
            by_class,
        };
        sweep(&backend, rows.values()?.view(), &labels, &params)
    })?;
    let describe = |curve: Curve| {
        let out = PyDict::new(py);
        out.set_item("correct", curve.correct.into_pyarray(py))?;
        out.set_item("by_class", curve.by_class.map(|c| c.into_pyarray(py)))?;
        out.set_item("total", curve.total)?;
        Ok(out)
    };
    curves.into_iter().map(describe).collect()
}

/// Labels that the package has numbered.
pub(super) fn numbered(
    py: Python<'_>,
    labels: &PyReadonlyArray1<'_, u32>,
    classes: usize,
) -> PyResult<Labels> {
    let names = (0..classes).map(|class| class.to_string()).collect();
    let labels = Labels::new(labels.as_array().to_vec(), names);
    labels.map_err(|error| to_python(py, &error))
}
