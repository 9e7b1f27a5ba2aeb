//! The one integration test binary: a map of the evidence.
//!
//! - `support`     shared GPU, generators, `assert_close`
//! - `kernels`     no GPU: every shader parses and validates; bindings and struct layouts equal the host's
//! - `parity`      GPU = CPU = naive f64 within each contract's tolerance, each with a negative control
//! - `golden`      CPU = files made by NumPy, SciPy, scikit-learn and NeuroX (`fixtures/generate.py`)
//! - `properties`  laws over generated inputs
//! - `readers`     every format, good and broken files
//! - `extremes`    values, shapes and words at the edge: each has a defined answer
//! - `failures`    bad input and broken devices end in a clear error, never in zeros
//! - `study`       a whole study on the fixture
//! - `report`      results as JSON, CSV and HTML: complete, escaped, self-contained, honest; every number of the page is theirs
//! - `cli`         arguments, exit codes, stdout and stderr
//! - `docs`        the guide and the pages: commands run, quotes are printed, links lead somewhere, figures are the files'
//! - `bench`       measurements: valid or without a time, the document's fields, one run beside another
//! - `layout`      the architecture: who imports whom, names, sizes

#![allow(missing_docs, reason = "tests document themselves by their names")]

mod bench;
mod cli;
mod docs;
mod extremes;
mod failures;
mod golden;
mod kernels;
mod layout;
mod parity;
mod properties;
mod readers;
mod report;
mod study;
mod support;
