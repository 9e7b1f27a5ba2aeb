//! A thin layer over wgpu: devices, buffers, kernels, budget. Knows nothing of neurons; the only place that names wgpu.

/// An opened GPU.
#[derive(Debug, Clone)]
pub struct Gpu {}
