//! The extension module `neurosieve._core` of the Python package: conversion only, no numerics.
//!
//! `python/neurosieve/` is the package that users see: it checks types, hands NumPy arrays to this module, and makes
//! dataclasses of what comes back. Here arrays become rows that the engine reads where they are (`array`), the engine runs
//! on a thread of its own while the interpreter goes on (`work`), and errors become exceptions (`error`).
//!
//! | module | what |
//! |---|---|
//! | `array` | NumPy arrays as rows of activations, without a copy |
//! | `work` | a computation beside the interpreter: Ctrl-C, progress |
//! | `error` | the engine's errors as the package's exceptions |
//! | `device` | where to compute |
//! | `pairs` | correlations and clusters |
//! | `probes` | probes, to their optimum or as NeuroX trains them |
//! | `exact` | small probes in f64 |
//! | `salience` | orderings and ablations |
//! | `neurox` | orderings as NeuroX defines them |
//! | `studies` | whole studies, and the command line |

mod array;
mod device;
mod error;
mod exact;
mod neurox;
mod pairs;
mod probes;
mod salience;
mod studies;
mod work;

use pyo3::prelude::*;

/// The engine of the package `neurosieve`, which is what to import.
#[pymodule]
mod _core {
    #[pymodule_export]
    use crate::python::device::{Device, devices};
    #[pymodule_export]
    use crate::python::exact::{fit_exactly, is_small};
    #[pymodule_export]
    use crate::python::neurox::{
        by_mass, correlations, gaussian_predict, gaussian_selection, lca, probeless,
        thresholded_precision, top_words,
    };
    #[pymodule_export]
    use crate::python::pairs::{clusters, correlate};
    #[pymodule_export]
    use crate::python::probes::{fit_probes, lambda_max, train_adam};
    #[pymodule_export]
    use crate::python::salience::{ablate, rank};
    #[pymodule_export]
    use crate::python::studies::{command, report, run_study, write};

    #[pymodule_export]
    const VERSION: &str = env!("CARGO_PKG_VERSION");
}
