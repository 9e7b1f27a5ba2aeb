//! The numerical operations, each with a contract, a fast CPU path and a GPU path.
//!
//! One operation is one folder: `mod.rs` is the contract, `cpu.rs` the native path, `gpu.rs` the host side of
//! `shaders/<op>.wgsl`. An operation takes plain arrays, never reads files and knows nothing of studies. Only `probe` calls
//! another one: `quadratic`, for its Newton steps.

pub mod ablation;
pub mod correlation;
pub mod moments;
mod partial;
pub mod probe;
pub mod product;
pub mod quadratic;
pub mod roofs;
pub mod sweep;
pub(crate) mod vector;

/// Where an operation runs.
#[derive(Debug, Clone)]
pub enum Backend {
    /// The native path: own kernels or a GEMM crate, and rayon; f32 data, f64 sums.
    Cpu,
    /// A GPU through wgpu.
    Gpu(crate::gpu::Gpu),
}

/// Every kernel of every operation: tests compare them with the shaders without a GPU.
pub const KERNELS: &[&[crate::gpu::Kernel]] = &[
    ablation::KERNELS,
    correlation::KERNELS,
    correlation::KERNELS_OF_PRODUCTS,
    correlation::KERNELS_OF_TILES,
    moments::KERNELS,
    probe::KERNELS,
    quadratic::KERNELS,
    roofs::KERNELS,
    roofs::KERNELS_OF_F16,
    roofs::KERNELS_OF_UNITS,
    sweep::KERNELS,
];
