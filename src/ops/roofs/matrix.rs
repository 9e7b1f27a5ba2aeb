//! The host side of `shaders/roofs_matrix_f16.wgsl` and `shaders/roofs_matrix_f32.wgsl`.

use std::mem::offset_of;

use bytemuck::{Pod, Zeroable};

use crate::error::{Error, Result};
use crate::gpu::{Binding, Dispatch, Gpu, Kernel, Layout, MatrixUnits, Slot};

/// Subgroups of a workgroup at most, and blocks that each of them adds to.
const SUBGROUPS: usize = 8;
const CHAINS: usize = 8;

/// Workgroups at most: 64 MiB of results.
pub const MOST_GROUPS: usize = 1 << 13;

/// Steps at most: sums of 8 · 16 · 2¹⁵ are whole numbers that f32 holds, however they are rounded.
pub const MOST_BLOCK_STEPS: usize = 1 << 15;

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct BlockParams {
    steps: u32,
    groups: u32,
    factor: f32,
    summand: f32,
}

const BINDINGS: &[Binding] = &[
    Binding::read_write("sums"),
    Binding::params(
        "p",
        Layout {
            name: "Blocks",
            size: size_of::<BlockParams>(),
            fields: &[
                ("steps", offset_of!(BlockParams, steps)),
                ("groups", offset_of!(BlockParams, groups)),
                ("factor", offset_of!(BlockParams, factor)),
                ("summand", offset_of!(BlockParams, summand)),
            ],
        },
    ),
];

/// The kernels of both shaders, for devices that have such units.
pub const KERNELS: &[Kernel] = &[
    Kernel {
        shader: "roofs_matrix_f16",
        source: include_str!("../../../shaders/roofs_matrix_f16.wgsl"),
        entry: "blocks_f16",
        bindings: BINDINGS,
    },
    Kernel {
        shader: "roofs_matrix_f32",
        source: include_str!("../../../shaders/roofs_matrix_f32.wgsl"),
        entry: "blocks_f32",
        bindings: BINDINGS,
    },
];

/// How much [`blocks`] does.
///
/// | name | meaning | range |
/// |---|---|---|
/// | `units` | what multiplies | those that the device has |
/// | `groups` | workgroups | 1 to 2¹³ |
/// | `steps` | products added to each block | 1 to 2¹⁵ |
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Blocks {
    /// What multiplies.
    pub units: MatrixUnits,
    /// Workgroups.
    pub groups: usize,
    /// Products added to each block.
    pub steps: usize,
}

impl Blocks {
    /// Every value of a block that was computed, exactly.
    pub fn exact(&self) -> f64 {
        (CHAINS * self.steps * self.units.edge()) as f64
    }

    /// FLOP behind some results: as many subgroups as there were wrote theirs.
    pub fn flop(&self, sums: &[f32]) -> f64 {
        let edge = self.units.edge();
        let blocks = sums.chunks_exact(edge * edge);
        let computed = blocks.filter(|block| written(block)).count();
        2.0 * (computed * CHAINS * self.steps) as f64 * (edge as f64).powi(3)
    }

    /// The largest difference from [`Blocks::exact`] of any value of a block that was computed; endless where none was.
    pub fn error(&self, sums: &[f32]) -> f64 {
        let edge = self.units.edge();
        let blocks = sums.chunks_exact(edge * edge);
        let off = |sum: &f32| (f64::from(*sum) - self.exact()).abs();
        let values = blocks.filter(|block| written(block)).flatten().map(off);
        // A NaN is larger than anything.
        let larger = |a: f64, b: f64| if a.is_nan() || a > b { a } else { b };
        values.reduce(larger).unwrap_or(f64::INFINITY)
    }
}

/// What was not is zero everywhere.
fn written(block: &[f32]) -> bool {
    block.iter().any(|sum| *sum != 0.0)
}

/// Adds products of blocks on matrix units, all of ones: the sums of each subgroup, in one submission however long. GPUs alone
/// have such units.
///
/// # Errors
/// When a parameter is out of its range, the device has no such units, or it fails.
pub fn blocks(gpu: &Gpu, params: &Blocks) -> Result<Vec<f32>> {
    let within = (1..=MOST_GROUPS).contains(&params.groups)
        && (1..=MOST_BLOCK_STEPS).contains(&params.steps);
    if !within {
        return Err(Error::invalid(
            "blocks on matrix units",
            format!("{} workgroups and {} steps", params.groups, params.steps),
            "Give 1 to 8,192 workgroups and 1 to 32,768 steps",
        ));
    }
    let threads = SUBGROUPS * gpu.report().subgroup_threads as usize;
    if !gpu.has(params.units) || threads > gpu.report().limits.workgroup_threads as usize {
        let problem = "the device has no such matrix units".to_owned();
        return Err(gpu.error("blocks on matrix units", problem));
    }
    let kernel = match params.units {
        MatrixUnits::HalfBy16 => &KERNELS[0],
        MatrixUnits::SingleBy8 => &KERNELS[1],
    };
    let values = params.groups * SUBGROUPS * params.units.edge().pow(2);
    let sums = gpu.zeros::<f32>("sums", values)?;
    let uniform = Slot::params(&BlockParams {
        steps: params.steps as u32,
        groups: params.groups as u32,
        factor: 1.0,
        summand: 1.0,
    });
    let dispatch = Dispatch {
        kernel,
        constants: &[("THREADS", threads as f64)],
        slots: vec![sums.all(), uniform],
        groups: params.groups,
    };
    gpu.submit("blocks on matrix units", &[dispatch])?;
    gpu.download(&sums)
}
