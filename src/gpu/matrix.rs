//! Matrix units: which shapes a driver lists, which of them our kernels use, and opening a device with them.
//!
//! wgpu calls them cooperative matrices, and an experimental feature: Vulkan and Metal have them, DX12 does not. The shader
//! compiler does not compare a kernel's shapes with those of the device, so [`Gpu::has`] has to be asked first. Some drivers
//! list units that are slower than their other arithmetic: only measurements choose such kernels.

use serde::{Deserialize, Serialize};

use super::device::{AdapterReport, Gpu, open_with};

/// A product that the matrix units of an adapter do as one: m × k by k × n, added to m × n.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MatrixShape {
    /// Rows of the product.
    pub m: u32,
    /// Its columns.
    pub n: u32,
    /// Columns of the first factor.
    pub k: u32,
    /// Type of the factors: `f16`, `f32`, `i32` or `u32`.
    pub factors: String,
    /// Type of what is added.
    pub sums: String,
}

impl std::fmt::Display for MatrixShape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            m,
            n,
            k,
            factors,
            sums,
        } = self;
        write!(f, "{m}x{n}x{k} {factors} into {sums}")
    }
}

/// The matrix units that we have kernels for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MatrixUnits {
    /// 16 × 16 × 16, f16 added in f32: most Vulkan devices that have any.
    HalfBy16,
    /// 8 × 8 × 8 in f32: Apple.
    SingleBy8,
}

impl MatrixUnits {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::HalfBy16, Self::SingleBy8];

    /// Values along a side of a block.
    pub fn edge(self) -> usize {
        match self {
            Self::HalfBy16 => 16,
            Self::SingleBy8 => 8,
        }
    }

    /// Whether these are units of such a shape.
    fn are(self, shape: &MatrixShape) -> bool {
        let edge = self.edge() as u32;
        let factors = match self {
            Self::HalfBy16 => "f16",
            Self::SingleBy8 => "f32",
        };
        [shape.m, shape.n, shape.k] == [edge; 3]
            && (&*shape.factors, &*shape.sums) == (factors, "f32")
    }

    /// What a shader that uses them needs.
    fn features(self) -> wgpu::Features {
        let all = wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX | wgpu::Features::SUBGROUP;
        match self {
            Self::HalfBy16 => all | wgpu::Features::SHADER_F16,
            Self::SingleBy8 => all,
        }
    }
}

/// The shapes that a driver lists.
pub(super) fn shapes(adapter: &wgpu::Adapter) -> Vec<MatrixShape> {
    let name = |scalar| {
        match scalar {
            wgpu::CooperativeScalarType::F16 => "f16",
            wgpu::CooperativeScalarType::F32 => "f32",
            wgpu::CooperativeScalarType::I32 => "i32",
            wgpu::CooperativeScalarType::U32 => "u32",
        }
        .to_owned()
    };
    let listed = adapter.cooperative_matrix_properties().into_iter();
    listed
        .map(|shape| MatrixShape {
            m: shape.m_size,
            n: shape.n_size,
            k: shape.k_size,
            factors: name(shape.ab_type),
            sums: name(shape.cr_type),
        })
        .collect()
}

/// Opens an adapter with the features that its matrix units need, where it has such that we have kernels for, and with
/// `others`; without those of the units where that fails.
pub(super) fn open_with_units(
    adapter: &wgpu::Adapter,
    report: &AdapterReport,
    others: wgpu::Features,
) -> Result<Gpu, String> {
    let has = adapter.features();
    let usable = |units: &MatrixUnits| {
        report.matrix_units.iter().any(|shape| units.are(shape)) && has.contains(units.features())
    };
    let needed = MatrixUnits::ALL.into_iter().filter(usable);
    let needed = needed.fold(wgpu::Features::empty(), |all, units| all | units.features());
    if !needed.is_empty()
        && let Ok(gpu) = open_with(adapter, report, others | needed, experimental())
    {
        return Ok(gpu);
    }
    let none = wgpu::ExperimentalFeatures::disabled();
    open_with(adapter, report, others, none)
}

#[allow(
    unsafe_code,
    reason = "wgpu's only way to ask for matrix units: whoever asks accepts that they are experimental"
)]
fn experimental() -> wgpu::ExperimentalFeatures {
    // SAFETY: what is accepted is that wgpu may have faults there. Kernels that use the units pass its validation, bind as
    // many values as they read and write, and are compared with exact results on a device before they are chosen.
    unsafe { wgpu::ExperimentalFeatures::enabled() }
}

impl Gpu {
    /// Whether kernels may use these units: the adapter lists them, and the device was opened with them.
    pub fn has(&self, units: MatrixUnits) -> bool {
        let listed = self.report().matrix_units.iter();
        self.device.features().contains(units.features())
            && listed.clone().any(|shape| units.are(shape))
    }
}
