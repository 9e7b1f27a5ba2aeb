//! The engine's errors as the package's exceptions.

use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::error::Error;

/// The exception for an error: the package's class of its kind, with the whole message.
pub(super) fn to_python(py: Python<'_>, error: &Error) -> PyErr {
    let class = match error {
        Error::Io { .. } => "FileError",
        Error::File { .. } | Error::Invalid { .. } => "InvalidInputError",
        Error::Device { .. } | Error::Gpu { .. } | Error::Validation { .. } => "DeviceError",
        Error::Interrupted { .. } => "Error",
    };
    exception(py, class, &error.to_string(), error).unwrap_or_else(|failed| failed)
}

fn exception(py: Python<'_>, class: &str, message: &str, error: &Error) -> PyResult<PyErr> {
    let class = py.import("neurosieve._errors")?.getattr(class)?;
    let value = class.call1((message,))?;
    if let Error::Io { path, source, .. } = error {
        value.setattr("errno", source.raw_os_error())?;
        value.setattr("filename", path)?;
    }
    Ok(PyErr::from_value(value))
}

/// The exception for arguments that do not fit together, which the package's own checks let through.
pub(super) fn invalid(py: Python<'_>, what: &str, problem: &str, fix: &str) -> PyErr {
    to_python(py, &Error::invalid(what, problem, fix))
}

/// One of the names that an argument may have.
pub(super) fn one_of<T: Copy>(
    what: &str,
    given: &Bound<'_, PyString>,
    known: &[(&str, T)],
) -> PyResult<T> {
    let name = given.to_str()?;
    if let Some((_, value)) = known.iter().find(|(known, _)| *known == name) {
        return Ok(*value);
    }
    let names: Vec<String> = known.iter().map(|(name, _)| format!("{name:?}")).collect();
    Err(invalid(
        given.py(),
        what,
        &format!("it is {name:?}"),
        &format!("Allowed are {}", names.join(", ")),
    ))
}
