//! The host side of `shaders/roofs.wgsl` and `shaders/roofs_f16.wgsl`.

use std::mem::offset_of;

use bytemuck::{Pod, Zeroable};

use super::{Params, Precision};
use crate::error::Result;
use crate::gpu::{Binding, Buffer, Dispatch, Gpu, Kernel, Layout, Slot};

/// Threads of a workgroup.
const THREADS: usize = 256;

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct ChainParams {
    steps: u32,
    groups: u32,
    factor: f32,
    summand: f32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Stream {
    length4: u32,
    groups: u32,
    scale: f32,
    unused: u32,
}

const CHAIN_BINDINGS: &[Binding] = &[
    Binding::read_write("sums"),
    Binding::params(
        "p",
        Layout {
            name: "Params",
            size: size_of::<ChainParams>(),
            fields: &[
                ("steps", offset_of!(ChainParams, steps)),
                ("groups", offset_of!(ChainParams, groups)),
                ("factor", offset_of!(ChainParams, factor)),
                ("summand", offset_of!(ChainParams, summand)),
            ],
        },
    ),
];

const SOURCE: &str = include_str!("../../../shaders/roofs.wgsl");

/// The kernels of `shaders/roofs.wgsl`.
pub const KERNELS: &[Kernel] = &[
    Kernel {
        shader: "roofs",
        source: SOURCE,
        entry: "fma_f32",
        bindings: CHAIN_BINDINGS,
    },
    Kernel {
        shader: "roofs",
        source: SOURCE,
        entry: "triad",
        bindings: &[
            Binding::read("b"),
            Binding::read("c"),
            Binding::read_write("a"),
            Binding::params(
                "t",
                Layout {
                    name: "Stream",
                    size: size_of::<Stream>(),
                    fields: &[
                        ("length4", offset_of!(Stream, length4)),
                        ("groups", offset_of!(Stream, groups)),
                        ("scale", offset_of!(Stream, scale)),
                        ("unused", offset_of!(Stream, unused)),
                    ],
                },
            ),
        ],
    },
];

/// The kernel of `shaders/roofs_f16.wgsl`, for devices that have f16.
pub const KERNELS_OF_F16: &[Kernel] = &[Kernel {
    shader: "roofs_f16",
    source: include_str!("../../../shaders/roofs_f16.wgsl"),
    entry: "fma_f16",
    bindings: CHAIN_BINDINGS,
}];

pub(super) fn fma(gpu: &Gpu, params: &Params) -> Result<Vec<f32>> {
    let kernel = match params.precision {
        Precision::F32 => &KERNELS[0],
        Precision::F16 if gpu.has_f16() => &KERNELS_OF_F16[0],
        Precision::F16 => {
            let problem = "the device was not opened with f16, or has none".to_owned();
            return Err(gpu.error("chains of fma", problem));
        }
    };
    let sums = gpu.zeros::<f32>("sums", params.threads)?;
    let groups = params.threads / THREADS;
    let uniform = Slot::params(&ChainParams {
        steps: params.steps as u32,
        groups: groups as u32,
        factor: params.factor,
        summand: params.summand,
    });
    let dispatch = Dispatch {
        kernel,
        constants: &[],
        slots: vec![sums.all(), uniform],
        groups,
    };
    gpu.submit("chains of fma", &[dispatch])?;
    gpu.download(&sums)
}

pub(super) fn triad(gpu: &Gpu, b: &[f32], c: &[f32], s: f32) -> Result<Vec<f32>> {
    let (b, c) = (gpu.upload("b", b)?, gpu.upload("c", c)?);
    let a = gpu.zeros::<f32>("a", b.len())?;
    stream(gpu, &b, &c, s, &a)?;
    gpu.download(&a)
}

fn stream(gpu: &Gpu, b: &Buffer<f32>, c: &Buffer<f32>, scale: f32, a: &Buffer<f32>) -> Result<()> {
    let groups = (b.len() / 4).div_ceil(THREADS);
    let uniform = Slot::params(&Stream {
        length4: (b.len() / 4) as u32,
        groups: groups as u32,
        scale,
        unused: 0,
    });
    let dispatch = Dispatch {
        kernel: &KERNELS[1],
        constants: &[],
        slots: vec![b.all(), c.all(), a.all(), uniform],
        groups,
    };
    gpu.submit("triad", &[dispatch])
}

/// Work that takes a device no time: calling it submits one workgroup and waits for it.
///
/// # Errors
/// When memory is out, or the device is lost; likewise each call.
pub fn launch(gpu: &Gpu) -> Result<impl Fn() -> Result<()>> {
    let (b, c) = (gpu.upload("b", &[0f32; 4])?, gpu.upload("c", &[0f32; 4])?);
    let a = gpu.zeros::<f32>("a", 4)?;
    let uniform = Slot::params(&Stream {
        length4: 1,
        groups: 1,
        scale: 1.0,
        unused: 0,
    });
    Ok(move || {
        let dispatch = Dispatch {
            kernel: &KERNELS[1],
            constants: &[],
            slots: vec![b.all(), c.all(), a.all(), uniform.clone()],
            groups: 1,
        };
        gpu.submit("launch", &[dispatch])?;
        gpu.wait("launch")
    })
}
