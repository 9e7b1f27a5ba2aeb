//! A thin layer over wgpu: devices, buffers, kernels, budget. Knows nothing of neurons; the only place that names wgpu.
//!
//! Every call that can fail on the device runs inside error scopes and returns [`crate::Error::Gpu`]; what a device
//! wrote is handed out only after the scopes came back clean and the device was not lost. Nothing here is
//! asynchronous: work is submitted, and [`Gpu::download`] or [`Gpu::wait`] blocks.
//!
//! | file | what |
//! |---|---|
//! | `device` | which adapters there are, opening one, errors and loss |
//! | `choice` | which of them to take |
//! | `buffer` | typed buffers: upload, download, ranges to bind |
//! | `staging` | a ring of host buffers, written while the device works |
//! | `kernel` | a WGSL entry point with its bindings, the pipeline cache, dispatching |
//! | `source` | a shader's text as it is compiled: constants set, marked loops written out |
//! | `matrix` | matrix units: which there are, and opening a device with them |
//! | `meter` | how long kernels and uploads take, by the device's own clock where it has one |
//! | `tuning` | which variant of a kernel is fastest here, measured once |
//! | `recovery` | what becomes of work when the device is lost, or gives back what is wrong |
//! | `validation` | what a device computed beside what the native path does |
//! | `memory` | how much of a device's memory buffers take, and may take |
//! | `budget` | how much fits into one binding, cutting work into blocks, bounded submissions |

mod budget;
mod buffer;
mod choice;
mod device;
mod kernel;
mod matrix;
mod memory;
mod meter;
mod recovery;
mod source;
mod staging;
mod tuning;
mod validation;

pub use budget::{Pace, blocks};
pub use buffer::{Buffer, Reading, Slot};
pub use choice::{Choice, choose};
pub use device::{AdapterKind, AdapterReport, Gpu, Limits, adapters};
pub use kernel::{Access, Binding, Dispatch, Kernel, Layout};
pub use matrix::{MatrixShape, MatrixUnits};
pub use meter::{KernelTime, Metered, TimeSource, Wake};
pub use recovery::Corruption;
pub use staging::{Staged, Staging};
pub use tuning::{Variants, forget, variants};
pub use validation::Validated;
