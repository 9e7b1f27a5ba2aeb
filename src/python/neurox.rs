//! What `neurosieve.neurox` asks for beside the package's own functions: orderings as NeuroX's functions define them.

use std::sync::Arc;

use ndarray::{ArrayView2, Axis};
use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArray};
use pyo3::prelude::*;

use super::array::NumpyRows;
use super::error::to_python;
use super::pairs::ids;
use super::salience::numbered;
use super::work::{self, Watch};
use crate::analysis::gaussian::{self, Convention};
use crate::analysis::greedy::Labelled;
use crate::analysis::{concepts, metrics, ranking, single};
use crate::error::Result;
use crate::labels::Labels;
use crate::ops::moments;

type Ids<'py> = Bound<'py, PyArray1<i64>>;

fn arrays(py: Python<'_>, lists: Vec<Vec<usize>>) -> Vec<Ids<'_>> {
    let array = |list| ids(list).into_pyarray(py);
    lists.into_iter().map(array).collect()
}

/// The LCA ordering of weights, and how many neurons it holds at each of `steps` + 1 shares of the weight mass.
#[pyfunction]
pub(super) fn lca<'py>(
    py: Python<'py>,
    weights: PyReadonlyArray2<'py, f32>,
    steps: usize,
) -> PyResult<(Ids<'py>, Vec<usize>)> {
    let found = ranking::lca(weights.as_array()).map_err(|error| to_python(py, &error))?;
    let cutoffs = ranking::lca_cutoffs(&found, steps);
    Ok((ids(found.order).into_pyarray(py), cutoffs))
}

/// For every class the heaviest neurons, or the lightest, that hold a share of its weight mass.
#[pyfunction]
pub(super) fn by_mass<'py>(
    py: Python<'py>,
    weights: PyReadonlyArray2<'py, f32>,
    share: f64,
    heaviest: bool,
) -> PyResult<Vec<Ids<'py>>> {
    let chosen = match heaviest {
        true => ranking::salient(weights.as_array(), share),
        false => ranking::negligible(weights.as_array(), share),
    };
    let chosen = chosen.map_err(|error| to_python(py, &error))?;
    Ok(arrays(py, chosen))
}

/// The probeless ordering of raw class means, overall and of each class that occurs.
#[pyfunction]
pub(super) fn probeless<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyUntypedArray>,
    labels: PyReadonlyArray1<'py, u32>,
    classes: usize,
) -> PyResult<(Ids<'py>, Vec<Ids<'py>>)> {
    let labels = numbered(py, &labels, classes)?;
    let watch = Arc::new(Watch::default());
    let rows = NumpyRows::new(x, &watch)?;
    let found = work::run(py, &watch, None, move || {
        let moments = moments::streamed(&rows, Some(&labels))?;
        let means = moments.group_mean.expect("they were asked for");
        ranking::probeless(means.view(), &labels.present())
    })?;
    Ok((
        ids(found.order).into_pyarray(py),
        arrays(py, found.per_class),
    ))
}

/// Average precision of every neuron for class 1 of two, with values below a threshold as 0.
#[pyfunction]
pub(super) fn thresholded_precision<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyUntypedArray>,
    labels: PyReadonlyArray1<'py, u32>,
    threshold: f32,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let labels = numbered(py, &labels, 2)?;
    let watch = Arc::new(Watch::default());
    let rows = NumpyRows::new(x, &watch)?;
    let scores = work::run(py, &watch, None, move || {
        moments::streamed(&rows, None)?; // It refuses what is not finite.
        single::thresholded_precision(rows.values()?.view(), &labels, threshold)
    })?;
    Ok(scores.into_pyarray(py))
}

/// The first neurons that Gaussians of the classes select.
#[pyfunction]
pub(super) fn gaussian_selection<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyUntypedArray>,
    labels: PyReadonlyArray1<'py, u32>,
    classes: usize,
    select: usize,
) -> PyResult<Ids<'py>> {
    let labels = numbered(py, &labels, classes)?;
    let watch = Arc::new(Watch::default());
    let rows = NumpyRows::new(x, &watch)?;
    let inside = watch.clone();
    let found = work::run(py, &watch, None, move || {
        let moments = moments::streamed(&rows, None)?;
        let values = rows.values()?;
        let train = Labelled {
            x: values.view(),
            labels: &labels,
        };
        let params = gaussian::Params {
            select,
            convention: Convention::Neurox,
        };
        let mut heard = |done: f64| inside.reach("selection", done);
        gaussian::select(train, &moments, None, &params, &mut heard)
    })?;
    let neurons = found.steps.iter().map(|step| step.neuron);
    Ok(ids(neurons).into_pyarray(py))
}

/// The classes of `asked` by Gaussians of the classes over some neurons of `x`.
#[pyfunction]
pub(super) fn gaussian_predict<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyUntypedArray>,
    labels: PyReadonlyArray1<'py, u32>,
    classes: usize,
    neurons: Vec<usize>,
    asked: &Bound<'py, PyUntypedArray>,
) -> PyResult<Bound<'py, PyArray1<u32>>> {
    let labels = numbered(py, &labels, classes)?;
    let watch = Arc::new(Watch::default());
    let (rows, asked) = (NumpyRows::new(x, &watch)?, NumpyRows::new(asked, &watch)?);
    let predicted = work::run(py, &watch, None, move || {
        let (train, asked) = (rows.values()?, asked.values()?);
        predictions(train.view(), &labels, &neurons, asked.view())
    })?;
    Ok(predicted.into_pyarray(py))
}

fn predictions(
    train: ArrayView2<'_, f32>,
    labels: &Labels,
    neurons: &[usize],
    asked: ArrayView2<'_, f32>,
) -> Result<Vec<u32>> {
    let of = train.ncols();
    let (x, asked) = (
        train.select(Axis(1), neurons),
        asked.select(Axis(1), neurons),
    );
    let moments = moments::moments(&crate::Backend::Cpu, x.view(), None)?;
    let train = Labelled {
        x: x.view(),
        labels,
    };
    gaussian::predict(train, &moments, asked.view(), Convention::Neurox, of)
}

/// The words that one neuron fires on, the strongest first, with their mean |z| over the largest.
#[pyfunction]
pub(super) fn top_words<'py>(
    py: Python<'py>,
    values: &Bound<'py, PyUntypedArray>,
    words: Vec<String>,
) -> PyResult<Vec<(String, f64)>> {
    let watch = Arc::new(Watch::default());
    let rows = NumpyRows::new(values, &watch)?;
    let found = work::run(py, &watch, None, move || {
        let moments = moments::streamed(&rows, None)?;
        let values = rows.values()?;
        concepts::top_words(values.view(), &moments, &words, &[0], usize::MAX, 1)
    })?;
    let words = found.into_iter().flatten();
    Ok(words.map(|top| (top.word, top.score)).collect())
}

/// Pearson's and Spearman's correlation; `None` where a list does not vary.
#[pyfunction]
pub(super) fn correlations<'py>(
    py: Python<'py>,
    labels: PyReadonlyArray1<'py, f64>,
    predicted: PyReadonlyArray1<'py, f64>,
) -> PyResult<[Option<f64>; 2]> {
    let [labels, predicted] = [labels, predicted].map(|values| values.as_array().to_vec());
    metrics::correlations(&labels, &predicted).map_err(|error| to_python(py, &error))
}
