//! Where to compute.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::error::to_python;
use crate::ops::Backend;
use crate::study::results::DeviceUsed;
use crate::{cli, gpu};

/// An opened device: what `neurosieve.Engine` computes on.
#[pyclass(frozen, module = "neurosieve._core")]
#[derive(Debug)]
pub(super) struct Device {
    pub(super) backend: Backend,
    pub(super) used: DeviceUsed,
}

#[pymethods]
impl Device {
    /// Opens what `--device` of the command line would: `auto`, `cpu`, `gpu`, an index or a part of a name.
    #[new]
    fn new(py: Python<'_>, asked: &str) -> PyResult<Self> {
        let chosen = py.detach(|| cli::device::choose(asked));
        let (backend, used) = chosen.map_err(|error| to_python(py, &error))?;
        Ok(Self { backend, used })
    }

    /// `cpu` or `gpu`.
    #[getter]
    fn kind(&self) -> &str {
        &self.used.kind
    }

    /// Adapter name, or the number of threads.
    #[getter]
    fn name(&self) -> &str {
        &self.used.name
    }

    /// Driver and its version; empty for the CPU.
    #[getter]
    fn driver(&self) -> &str {
        &self.used.driver
    }

    /// Why it was taken.
    #[getter]
    fn reason(&self) -> &str {
        &self.used.reason
    }
}

/// The adapters that there are.
#[pyfunction]
pub(super) fn devices(py: Python<'_>) -> PyResult<Vec<Bound<'_, PyDict>>> {
    let adapters = py.detach(gpu::adapters);
    let described = adapters.into_iter().map(|adapter| {
        let fields = PyDict::new(py);
        fields.set_item("index", adapter.index)?;
        fields.set_item("name", adapter.name)?;
        fields.set_item("kind", adapter.kind.to_string())?;
        fields.set_item("is_real", adapter.kind.is_real())?;
        fields.set_item("backend", adapter.backend)?;
        fields.set_item("driver", adapter.driver)?;
        fields.set_item("driver_info", adapter.driver_info)?;
        Ok(fields)
    });
    described.collect()
}
