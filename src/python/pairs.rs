//! Correlations and clusters.

use std::sync::{Arc, Mutex, PoisonError};

use ndarray::{Array1, Array2, ArrayView2, s};
use numpy::{IntoPyArray, PyUntypedArray};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::array::NumpyRows;
use super::device::Device;
use super::error::one_of;
use super::work::{self, Watch};
use crate::activations::Spread;
use crate::analysis::redundancy::{self, Clusters, Dendrogram, Distance, Linkage};
use crate::error::Result;
use crate::ops::correlation::{self, Edge, Findings, Matrix, Params, Partner, Side, Wanted};
use crate::ops::moments::{self, Moments};

/// All of r, as the scan hands it out: each of its tiles is written once.
#[derive(Debug)]
struct Square {
    r: Mutex<Array2<f32>>,
    /// Whether a tile stands for its mirror image as well.
    symmetric: bool,
    watch: Arc<Watch>,
}

impl Matrix for Square {
    fn tile(&self, at: (usize, usize), tile: ArrayView2<'_, f32>) -> Result<()> {
        self.watch.check()?;
        let (rows, columns) = tile.dim();
        let mut r = self.r.lock().unwrap_or_else(PoisonError::into_inner);
        r.slice_mut(s![at.0..at.0 + rows, at.1..at.1 + columns])
            .assign(&tile);
        if self.symmetric && at.0 != at.1 {
            r.slice_mut(s![at.1..at.1 + columns, at.0..at.0 + rows])
                .assign(&tile.t());
        }
        Ok(())
    }
}

/// What a scan is asked for.
#[derive(Debug, Clone, Copy, FromPyObject)]
#[pyo3(from_item_all)]
pub(super) struct Asked {
    matrix: bool,
    at_least: Option<f32>,
    top_k: usize,
    memory: u64,
}

/// Correlations of the columns of `x`, or of each with each column of `y`.
#[pyfunction]
#[pyo3(signature = (device, x, y, asked, progress))]
pub(super) fn correlate<'py>(
    device: &Bound<'py, Device>,
    py: Python<'py>,
    x: &Bound<'py, PyUntypedArray>,
    y: Option<&Bound<'py, PyUntypedArray>>,
    asked: Asked,
    progress: Option<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    let watch = Arc::new(Watch::default());
    let left = NumpyRows::new(x, &watch)?;
    let right = y.map(|y| NumpyRows::new(y, &watch)).transpose()?;
    let (backend, inside) = (device.get().backend.clone(), watch.clone());
    let found = work::run(py, &watch, progress.as_ref(), move || {
        inside.reach("moments", 0.0);
        let moments = moments::streamed(&left, None)?;
        let right = match right {
            None => None,
            Some(rows) => Some((moments::streamed(&rows, None)?, rows)),
        };
        inside.reach("correlations", 0.0);
        let side = |rows, moments| Side { rows, moments };
        let shape = |rows: &dyn crate::activations::Rows| rows.shape().1;
        let columns = right.as_ref().map_or(shape(&left), |(_, rows)| shape(rows));
        let square = asked.matrix.then(|| Square {
            r: Mutex::new(Array2::zeros((shape(&left), columns))),
            symmetric: right.is_none(),
            watch: inside.clone(),
        });
        let wanted = Wanted {
            at_least: asked.at_least,
            most_edges: asked.memory / size_of::<Edge>() as u64,
            partners: asked.top_k,
            matrix: square.as_ref().map(|square| square as &dyn Matrix),
            ..Wanted::default()
        };
        let params = Params {
            memory: asked.memory,
            ..Params::default()
        };
        let other = right
            .as_ref()
            .map(|(moments, rows)| side(rows as _, moments));
        let left = side(&left as _, &moments);
        let findings = correlation::scan(&backend, left, other, &wanted, &params)?;
        let r = square.map(|s| s.r.into_inner().unwrap_or_else(PoisonError::into_inner));
        Ok((r, findings, moments))
    })?;
    let (r, findings, moments) = found;
    let out = PyDict::new(py);
    out.set_item("r", r.map(|r| r.into_pyarray(py)))?;
    describe(&out, findings)?;
    add_moments(&out, moments)?;
    Ok(out)
}

/// Cuts of one dendrogram of the columns of `x`, with the dendrogram as SciPy's linkage matrix.
#[pyfunction]
#[pyo3(signature = (device, x, thresholds, linkage, distance, seed, memory, progress))]
#[expect(
    clippy::too_many_arguments,
    reason = "the package's own function names them"
)]
pub(super) fn clusters<'py>(
    device: &Bound<'py, Device>,
    py: Python<'py>,
    x: &Bound<'py, PyUntypedArray>,
    thresholds: Vec<f64>,
    linkage: &Bound<'py, PyString>,
    distance: &Bound<'py, PyString>,
    seed: Option<u64>,
    memory: u64,
    progress: Option<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    let linkage = one_of("linkage", linkage, &LINKAGES)?;
    let distance = one_of("distance", distance, &DISTANCES)?;
    let watch = Arc::new(Watch::default());
    let rows = NumpyRows::new(x, &watch)?;
    let (backend, inside) = (device.get().backend.clone(), watch.clone());
    let found = work::run(py, &watch, progress.as_ref(), move || {
        inside.reach("moments", 0.0);
        let moments = moments::streamed(&rows, None)?;
        inside.reach("correlations", 0.0);
        let side = Side {
            rows: &rows,
            moments: &moments,
        };
        let params = Params {
            memory,
            ..Params::default()
        };
        let (correlation, _) = correlation::packed(&backend, side, &params)?;
        inside.reach("clusters", 0.0);
        let dendrogram = redundancy::dendrogram(&correlation, linkage, distance)?;
        let cut = |(at, threshold): (usize, &f64)| {
            inside.reach("clusters", at as f64 / thresholds.len() as f64);
            let clusters = dendrogram.cut(*threshold);
            let representatives = match seed {
                None => redundancy::medoids(&clusters, &correlation)?,
                Some(seed) => redundancy::random_representatives(&clusters, seed),
            };
            Ok((clusters, representatives))
        };
        let cuts: Result<Vec<_>> = thresholds.iter().enumerate().map(cut).collect();
        let linkage = linkage_matrix(&dendrogram, correlation.neurons);
        Ok((cuts?, linkage, moments))
    })?;
    let (cuts, linkage, moments) = found;
    let array = |(clusters, representatives): (Clusters, Vec<usize>)| {
        let labels = clusters.labels.into_pyarray(py);
        (labels, ids(representatives).into_pyarray(py))
    };
    let out = PyDict::new(py);
    let cuts: Vec<_> = cuts.into_iter().map(array).collect();
    out.set_item("cuts", cuts)?;
    out.set_item("linkage", linkage.into_pyarray(py))?;
    add_moments(&out, moments)?;
    Ok(out)
}

const LINKAGES: [(&str, Linkage); 3] = [
    ("average", Linkage::Average),
    ("complete", Linkage::Complete),
    ("single", Linkage::Single),
];

const DISTANCES: [(&str, Distance); 2] = [
    ("absolute", Distance::OneMinusAbs),
    ("signed", Distance::OneMinus),
];

/// The dendrogram in SciPy's form: two clusters, their distance, and the neurons in both, a row a merge.
fn linkage_matrix(dendrogram: &Dendrogram, neurons: usize) -> Array2<f64> {
    let mut sizes = vec![1.0; neurons];
    let mut matrix = Array2::zeros((dendrogram.merges().len(), 4));
    for (mut row, merge) in matrix.rows_mut().into_iter().zip(dendrogram.merges()) {
        let [a, b] = merge.clusters;
        let size = sizes[a] + sizes[b];
        sizes.push(size);
        let (first, second) = (a.min(b) as f64, a.max(b) as f64);
        row.assign(&Array1::from(vec![first, second, merge.distance, size]));
    }
    matrix
}

/// Neuron ids as NumPy's usual integers.
pub(super) fn ids(neurons: impl IntoIterator<Item = usize>) -> Array1<i64> {
    neurons.into_iter().map(|neuron| neuron as i64).collect()
}

fn describe(out: &Bound<'_, PyDict>, findings: Findings) -> PyResult<()> {
    let py = out.py();
    let edges = &findings.edges;
    let i: Array1<i64> = edges.iter().map(|edge| i64::from(edge.i)).collect();
    let j: Array1<i64> = edges.iter().map(|edge| i64::from(edge.j)).collect();
    let r: Array1<f32> = edges.iter().map(|edge| edge.r).collect();
    let edges = (i.into_pyarray(py), j.into_pyarray(py), r.into_pyarray(py));
    out.set_item("edges", edges)?;
    for (name, partners) in [
        ("partners", &findings.partners),
        ("partners_of_right", &findings.partners_of_right),
    ] {
        let width = partners.first().map_or(0, Vec::len);
        let table = |of: fn(&Partner) -> f32| {
            Array2::from_shape_fn((partners.len(), width), |(n, k)| of(&partners[n][k]))
        };
        let neurons = Array2::from_shape_fn((partners.len(), width), |(n, k)| {
            i64::from(partners[n][k].neuron)
        });
        let pair = (neurons.into_pyarray(py), table(|p| p.r).into_pyarray(py));
        out.set_item(name, pair)?;
    }
    Ok(())
}

/// Mean, sd and the neurons that do not vary.
pub(super) fn add_moments(out: &Bound<'_, PyDict>, moments: Moments) -> PyResult<()> {
    let py = out.py();
    let spread = moments.spread.iter().enumerate();
    let of_kind = |kind| {
        let neurons = spread.clone().filter(move |(_, s)| **s == kind);
        ids(neurons.map(|(neuron, _)| neuron)).into_pyarray(py)
    };
    out.set_item("constant", of_kind(Spread::Constant))?;
    out.set_item("nearly_constant", of_kind(Spread::NearlyConstant))?;
    out.set_item("mean", moments.mean.into_pyarray(py))?;
    out.set_item("sd", moments.sd.into_pyarray(py))
}
