//! The numerical operations, each with a contract, a fast CPU path and a GPU path.
//!
//! One operation is one folder: `mod.rs` is the contract, `cpu.rs` the native path, `gpu.rs` the host side of
//! `shaders/<op>.wgsl`. What a GPU gave back is checked (`verify.rs`), and done again where it is wrong or a device was lost
//! (`recovery.rs`). An operation takes plain arrays, never reads files and knows nothing of studies. Only `probe` calls
//! others: `curvature` and `quadratic`, for its Newton steps.

pub mod ablation;
pub mod correlation;
pub mod curvature;
mod fleet;
pub mod moments;
mod panels;
mod partial;
pub mod probe;
pub mod product;
pub mod quadratic;
mod recovery;
pub mod roofs;
pub mod sweep;
mod tiles;
mod validate;
pub(crate) mod vector;
mod verify;

pub use fleet::Fleet;

/// Where an operation runs.
#[derive(Debug, Clone)]
pub enum Backend {
    /// The native path: own kernels or a GEMM crate, and rayon; f32 data, f64 sums.
    Cpu,
    /// A GPU through wgpu.
    Gpu(crate::gpu::Gpu),
    /// Several GPUs: operations with parts that do not depend on one another deal them out, what is left runs on the lead.
    Fleet(Fleet),
}

impl Backend {
    /// The GPU; of several the lead, which does what is not dealt out; none natively.
    pub fn gpu(&self) -> Option<&crate::gpu::Gpu> {
        match self {
            Self::Cpu => None,
            Self::Gpu(gpu) => Some(gpu),
            Self::Fleet(fleet) => Some(fleet.lead()),
        }
    }
}

/// Every kernel of every operation: tests compare them with the shaders without a GPU.
pub const KERNELS: &[&[crate::gpu::Kernel]] = &[
    ablation::KERNELS,
    correlation::KERNELS,
    correlation::KERNELS_OF_PRODUCTS,
    correlation::KERNELS_OF_TILES,
    curvature::KERNELS,
    moments::KERNELS,
    probe::KERNELS,
    probe::KERNELS_OF_LOSS,
    quadratic::KERNELS,
    roofs::KERNELS,
    roofs::KERNELS_OF_F16,
    roofs::KERNELS_OF_UNITS,
    sweep::KERNELS,
];
