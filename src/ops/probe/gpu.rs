//! The host side of `shaders/probe.wgsl`: the design stays on the device, each pass sends coefficients or residuals and
//! fetches logits or gradients.
//!
//! What lies between the two products (softmax, line search, working set, sampled Hessian) runs on the host: it is
//! element-wise or gathers few samples, and both back ends then share one solver. Newton's quadratic programmes are
//! [`crate::ops::quadratic`]'s, on the device where [`super::Inner`] says so.

use std::mem::offset_of;
use std::ops::Range;

use bytemuck::{Pod, Zeroable};
use ndarray::{Array2, ArrayView2, s};

use super::slab::Slab;
use crate::error::Result;
use crate::gpu::{Binding, Buffer, Dispatch, Gpu, Kernel, Layout, blocks};

/// Rows and neurons of a tile; what samples and neurons are padded to.
const TILE: usize = 64;
/// Columns of a tile; what the batch's columns are padded to.
const TILE_COLUMNS: usize = 32;
/// Samples that one f32 sum of the backward pass covers.
const CHUNK: usize = 1024;
/// Largest number of slices of a block, each a partial gradient that comes back to the host.
const SLICES: usize = 8;
/// Samples on the device come in blocks of at most this many bytes, so that no dispatch runs for long.
const BLOCK_BYTES: usize = 256 << 20;

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Params {
    neurons4: u32,
    columns4: u32,
    inner: u32,
    tiles_across: u32,
    tiles_down: u32,
    slice: u32,
    groups: u32,
    unused: u32,
}

const BINDINGS: &[Binding] = &[
    Binding::read("x"),
    Binding::read("right"),
    Binding::read_write("result"),
    Binding::uniform(
        "p",
        Layout {
            name: "Params",
            size: size_of::<Params>(),
            fields: &[
                ("neurons4", offset_of!(Params, neurons4)),
                ("columns4", offset_of!(Params, columns4)),
                ("inner", offset_of!(Params, inner)),
                ("tiles_across", offset_of!(Params, tiles_across)),
                ("tiles_down", offset_of!(Params, tiles_down)),
                ("slice", offset_of!(Params, slice)),
                ("groups", offset_of!(Params, groups)),
                ("unused", offset_of!(Params, unused)),
            ],
        },
    ),
];

const SOURCE: &str = include_str!("../../../shaders/probe.wgsl");

/// The kernels of `shaders/probe.wgsl`.
pub const KERNELS: &[Kernel] = &[
    Kernel {
        shader: "probe",
        source: SOURCE,
        entry: "forward",
        bindings: BINDINGS,
    },
    Kernel {
        shader: "probe",
        source: SOURCE,
        entry: "backward",
        bindings: BINDINGS,
    },
];

/// A slab on a device, in blocks of samples.
pub(super) struct Resident<'a> {
    gpu: &'a Gpu,
    slab: &'a Slab<'a>,
    /// Padded neurons.
    neurons: usize,
    blocks: Vec<(Range<usize>, Buffer<f32>)>,
}

impl<'a> Resident<'a> {
    pub(super) fn new(gpu: &'a Gpu, slab: &'a Slab<'a>) -> Result<Self> {
        let neurons = slab.width().next_multiple_of(TILE);
        let rows = gpu
            .fit("samples", neurons * 4, TILE)?
            .min((BLOCK_BYTES / (neurons * 4)).next_multiple_of(TILE));
        let mut scratch = Vec::new();
        let blocks = blocks(slab.samples(), rows)
            .map(|rows| {
                let values = padded(
                    slab.block(rows.clone(), &mut scratch)?,
                    rows.len().next_multiple_of(TILE),
                    neurons,
                );
                let buffer = gpu.upload(
                    "standardised activations",
                    values.as_slice().expect("it is contiguous"),
                )?;
                Ok((rows, buffer))
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            gpu,
            slab,
            neurons,
            blocks,
        })
    }

    /// X·W: N × K.
    pub(super) fn forward(&self, w: ArrayView2<'_, f32>) -> Result<Array2<f32>> {
        let k = w.ncols();
        let mut z = Array2::zeros((self.slab.samples(), k));
        for columns in blocks(k, self.columns_at_once("logits")?) {
            let width = columns.len().next_multiple_of(TILE_COLUMNS);
            let right = padded(w.slice(s![.., columns.clone()]), self.neurons, width);
            let right = self
                .gpu
                .upload("coefficients", right.as_slice().expect("it is contiguous"))?;
            for (rows, x) in &self.blocks {
                let height = rows.len().next_multiple_of(TILE);
                let result = self.gpu.zeros::<f32>("logits", height * width)?;
                let tiles = (height / TILE, width / TILE_COLUMNS);
                self.run(
                    &KERNELS[0],
                    x,
                    &right,
                    &result,
                    width,
                    self.neurons,
                    tiles,
                    (tiles.0 * tiles.1, 0),
                )?;
                let values = self.gpu.download(&result)?;
                let block = ArrayView2::from_shape((height, width), &values)
                    .expect("it has that many values");
                z.slice_mut(s![rows.clone(), columns.clone()])
                    .assign(&block.slice(s![..rows.len(), ..columns.len()]));
            }
        }
        Ok(z)
    }

    /// Xᵀ·R: d × K.
    pub(super) fn backward(&self, r: ArrayView2<'_, f32>) -> Result<Array2<f64>> {
        let (d, k) = (self.slab.width(), r.ncols());
        let mut g = Array2::<f64>::zeros((d, k));
        for columns in blocks(k, self.columns_at_once("gradients")?) {
            let width = columns.len().next_multiple_of(TILE_COLUMNS);
            for (rows, x) in &self.blocks {
                let height = rows.len().next_multiple_of(TILE);
                let right = padded(r.slice(s![rows.clone(), columns.clone()]), height, width);
                let right = self
                    .gpu
                    .upload("residuals", right.as_slice().expect("it is contiguous"))?;
                let slice = height.div_ceil(SLICES).next_multiple_of(CHUNK);
                let slices = height.div_ceil(slice);
                let result = self
                    .gpu
                    .zeros::<f32>("gradients", slices * self.neurons * width)?;
                let tiles = (self.neurons / TILE, width / TILE_COLUMNS);
                let groups = tiles.0 * tiles.1 * slices;
                self.run(
                    &KERNELS[1],
                    x,
                    &right,
                    &result,
                    width,
                    height,
                    tiles,
                    (groups, slice),
                )?;
                let values = self.gpu.download(&result)?;
                for partial in values.chunks_exact(self.neurons * width) {
                    let partial = ArrayView2::from_shape((self.neurons, width), partial)
                        .expect("it has that many values");
                    g.slice_mut(s![.., columns.clone()]).zip_mut_with(
                        &partial.slice(s![..d, ..columns.len()]),
                        |sum, value| {
                            *sum += f64::from(*value);
                        },
                    );
                }
            }
        }
        Ok(g)
    }

    /// Columns that fit one binding, as coefficients, as a block's logits or residuals, and as its partial gradients.
    fn columns_at_once(&self, what: &str) -> Result<usize> {
        let rows = self
            .blocks
            .iter()
            .map(|(rows, _)| rows.len().next_multiple_of(TILE))
            .max()
            .unwrap_or(TILE);
        self.gpu
            .fit(what, 4 * rows.max(SLICES * self.neurons), TILE_COLUMNS)
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the two kernels share one parameter block"
    )]
    fn run(
        &self,
        kernel: &Kernel,
        x: &Buffer<f32>,
        right: &Buffer<f32>,
        result: &Buffer<f32>,
        width: usize,
        inner: usize,
        (tiles_down, tiles_across): (usize, usize),
        (groups, slice): (usize, usize),
    ) -> Result<()> {
        let params = self.gpu.uniform(&Params {
            neurons4: (self.neurons / 4) as u32,
            columns4: (width / 4) as u32,
            inner: inner as u32,
            tiles_across: tiles_across as u32,
            tiles_down: tiles_down as u32,
            slice: slice as u32,
            groups: groups as u32,
            unused: 0,
        })?;
        let slots = vec![x.all(), right.all(), result.all(), params.all()];
        self.gpu.submit(
            "probe",
            &[Dispatch {
                kernel,
                constants: &[],
                slots,
                groups,
            }],
        )
    }
}

/// A copy with zeros below and to the right.
fn padded(values: ArrayView2<'_, f32>, rows: usize, columns: usize) -> Array2<f32> {
    let mut out = Array2::zeros((rows, columns));
    out.slice_mut(s![..values.nrows(), ..values.ncols()])
        .assign(&values);
    out
}
