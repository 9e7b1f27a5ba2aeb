//! neurosieve makes a whole neuron-probing study of a language model one fast, reproducible job on any GPU or CPU.
//!
//! # Architecture
//! Each layer may import only what stands above it (`tests/layout/` enforces this):
//!
//! | layer | knows |
//! |---|---|
//! | [`error`] | the one error type |
//! | [`activations`], [`labels`], [`split`] | value types whose invariants are checked once |
//! | [`data`] · [`gpu`] | files · devices; the only places that open input files, or name wgpu |
//! | [`ops`] | numerical operations on plain arrays, each on CPU and GPU |
//! | [`analysis`] | answers to research questions, composed of operations; no IO, no GPU |
//! | [`study`] | the specification, and the run from files to results |
//! | [`mod@bench`] | how fast all that is on a device, beside what the device can do at most |
//! | [`report`] | results to text, one format per file |
//! | `cli` (in the binary's module [`cli`]) | arguments → calls → report |
//! | `python` (feature `python`) | the extension module of the Python package: arrays → calls → arrays |
//!
//! # Example
//! Eight samples of two neurons, of which the first tells the classes apart:
//! ```
//! use ndarray::array;
//! use neurosieve::ops::moments::moments;
//! use neurosieve::ops::probe::{self, Design, Params, Problem};
//! use neurosieve::{Backend, Labels};
//!
//! let x = array![[1.0, 0.2], [1.3, 0.9], [0.9, 0.4], [1.1, 0.7], [-1.2, 0.3], [-0.8, 0.8], [-1.0, 0.5], [-1.1, 0.6f32]];
//! let labels = Labels::new(vec![0, 0, 0, 0, 1, 1, 1, 1], vec!["verb".into(), "noun".into()])?;
//! let moments = moments(&Backend::Cpu, x.view(), None)?;
//! let design = Design::new(&Backend::Cpu, x.view(), &moments, &[0, 1])?;
//! let problem = Problem::new(&labels, 0.05, 0.05);
//! let fits = probe::fit(&Backend::Cpu, &design, &[problem], &Params::default(), &mut |_| {})?;
//! assert!(fits[0].certificate.converged);
//! assert_eq!(fits[0].predict(x.view()), labels.ids());
//! assert_eq!(fits[0].neurons_used(), 1);
//! # Ok::<(), neurosieve::Error>(())
//! ```
//!
//! Deliberately absent: a back-end trait, macros of our own, a build script, a shader preprocessor, global state.

pub mod activations;
pub mod analysis;
pub mod bench;
pub mod cli;
pub mod data;
pub mod error;
pub mod gpu;
pub mod labels;
pub mod ops;
#[cfg(feature = "python")]
pub mod python;
pub mod report;
pub mod split;
pub mod study;

pub use activations::{Activations, LayerMap};
pub use error::{Error, Result};
pub use labels::Labels;
pub use ops::Backend;
pub use split::{Dataset, Split, Tokens};
