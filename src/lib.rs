//! neurosieve makes a whole neuron-probing study of a language model one fast, reproducible job on any GPU or CPU.
//!
//! # Architecture
//! Each layer may import only what stands above it (`tests/layout.rs` enforces this):
//!
//! | layer | knows |
//! |---|---|
//! | [`error`] | the one error type |
//! | [`activations`], [`labels`], [`split`] | value types whose invariants are checked once |
//! | [`data`] · [`gpu`] | files · devices; the only places that open input files, or name wgpu |
//! | [`ops`] | numerical operations on plain arrays, each on CPU and GPU |
//! | [`analysis`] | answers to research questions, composed of operations; no IO, no GPU |
//! | [`study`] | the specification, and the run from files to results |
//! | [`report`] | results to text, one format per file |
//! | `cli` (in the binary's module [`cli`]) | arguments → calls → report |
//!
//! Deliberately absent: a back-end trait, macros of our own, a build script, a shader preprocessor, global state.

pub mod activations;
pub mod analysis;
pub mod cli;
pub mod data;
pub mod error;
pub mod gpu;
pub mod labels;
pub mod ops;
pub mod report;
pub mod split;
pub mod study;

pub use activations::{Activations, LayerMap};
pub use error::{Error, Result};
pub use labels::Labels;
pub use ops::Backend;
pub use split::{Dataset, Split, Tokens};
