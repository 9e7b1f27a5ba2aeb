//! The host side of `shaders/probe.wgsl`: the design stays on the device, each pass sends coefficients or residuals and
//! fetches logits or gradients.
//!
//! What lies between the two products (softmax, line search, working set, sampled Hessian) runs on the host: it is
//! element-wise or gathers few samples, and both back ends then share one solver. Newton's quadratic programmes are
//! [`crate::ops::quadratic`]'s, on the device where [`super::Inner`] says so.

use std::mem::offset_of;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use bytemuck::{Pod, Zeroable};
use ndarray::{Array2, ArrayView2, s};

use super::slab::Slab;
use crate::error::Result;
use crate::gpu::{Binding, Buffer, Dispatch, Gpu, Kernel, Layout, Pace, Slot, Staging, blocks};

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
    first: u32,
}

const BINDINGS: &[Binding] = &[
    Binding::read("x"),
    Binding::read("right"),
    Binding::read_write("result"),
    Binding::params(
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
                ("first", offset_of!(Params, first)),
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

/// A slab on a device, in blocks of samples, and what passes over it need: nothing is made anew for a pass.
pub(super) struct Resident<'a> {
    gpu: &'a Gpu,
    slab: &'a Slab<'a>,
    /// Padded neurons, and padded samples of the largest block.
    neurons: usize,
    rows: usize,
    blocks: Vec<(Range<usize>, Buffer<f32>)>,
    /// Only one pass runs at a time.
    pass: Mutex<Pass>,
}

/// What passes use one after the other.
struct Pass {
    /// Coefficients or residuals, on their way and on the device, and logits or gradients; as large as was needed so far.
    buffers: Option<(Staging, Buffer<f32>, Buffer<f32>)>,
    /// Workgroups of each kernel that take the time of a submission.
    paces: [Pace; 2],
}

/// One product: right factor and result, in padded rows and columns.
struct Product {
    /// Which of [`KERNELS`].
    kernel: usize,
    inner: usize,
    width: usize,
    tiles_down: usize,
    /// Samples of a slice, and how many there are; 0 and 1 where there are none.
    slice: usize,
    slices: usize,
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
                let buffer = gpu.upload("standardised activations", &values)?;
                Ok((rows, buffer))
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            gpu,
            slab,
            neurons,
            rows: rows.min(slab.samples().next_multiple_of(TILE)),
            blocks,
            pass: Mutex::new(Pass {
                buffers: None,
                paces: [Pace::starting_with(64), Pace::starting_with(64)],
            }),
        })
    }

    /// X·W: N × K.
    pub(super) fn forward(&self, w: ArrayView2<'_, f32>) -> Result<Array2<f32>> {
        let k = w.ncols();
        let mut z = Array2::zeros((self.slab.samples(), k));
        let mut pass = self.pass.lock().unwrap_or_else(PoisonError::into_inner);
        for columns in blocks(k, self.columns_at_once("logits")?) {
            let width = columns.len().next_multiple_of(TILE_COLUMNS);
            let right = padded(w.slice(s![.., columns.clone()]), self.neurons, width);
            pass.send(self, &right, self.rows * width)?;
            for (rows, x) in &self.blocks {
                let height = rows.len().next_multiple_of(TILE);
                let values = pass.multiply(
                    self,
                    x,
                    &Product {
                        kernel: 0,
                        inner: self.neurons,
                        width,
                        tiles_down: height / TILE,
                        slice: 0,
                        slices: 1,
                    },
                )?;
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
        let mut pass = self.pass.lock().unwrap_or_else(PoisonError::into_inner);
        for columns in blocks(k, self.columns_at_once("gradients")?) {
            let width = columns.len().next_multiple_of(TILE_COLUMNS);
            for (rows, x) in &self.blocks {
                let height = rows.len().next_multiple_of(TILE);
                let right = padded(r.slice(s![rows.clone(), columns.clone()]), height, width);
                let slice = height.div_ceil(SLICES).next_multiple_of(CHUNK);
                let product = Product {
                    kernel: 1,
                    inner: height,
                    width,
                    tiles_down: self.neurons / TILE,
                    slice,
                    slices: height.div_ceil(slice),
                };
                pass.send(self, &right, SLICES * self.neurons * width)?;
                let values = pass.multiply(self, x, &product)?;
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
        let values = self.rows.max(SLICES * self.neurons);
        self.gpu.fit(what, 4 * values, TILE_COLUMNS)
    }
}

impl Pass {
    /// Takes the right factor to the device, and sees to it that there is room for a result.
    fn send(&mut self, resident: &Resident<'_>, right: &[f32], result: usize) -> Result<()> {
        let gpu = resident.gpu;
        let has = self.buffers.as_ref();
        let has = has.map_or((0, 0), |(_, right, result)| (right.len(), result.len()));
        let needed = (has.0.max(right.len()), has.1.max(result));
        if has != needed {
            // What is too small makes room first. A pass has two products, and both are to find room in the next one.
            self.buffers = None;
        }
        let buffers = match self.buffers.take() {
            Some(buffers) => buffers,
            None => (
                gpu.staging(1, 4 * needed.0)?,
                gpu.zeros("right factor", needed.0)?,
                gpu.zeros("result", needed.1)?,
            ),
        };
        let staged = gpu.stage(&buffers.0, right)?;
        gpu.send(&buffers.0, staged, &buffers.1)?;
        self.buffers = Some(buffers);
        Ok(())
    }

    /// The product of a block of samples with what was sent last, in submissions of bounded time.
    fn multiply(
        &mut self,
        resident: &Resident<'_>,
        x: &Buffer<f32>,
        product: &Product,
    ) -> Result<Vec<f32>> {
        let gpu = resident.gpu;
        let (_, right, result) = self.buffers.as_ref().expect("something was sent");
        let tiles_across = product.width / TILE_COLUMNS;
        let groups = product.tiles_down * tiles_across * product.slices;
        let pace = &mut self.paces[product.kernel];
        gpu.paced_by("probe", groups, pace, |some| {
            let params = Slot::params(&Params {
                neurons4: (resident.neurons / 4) as u32,
                columns4: (product.width / 4) as u32,
                inner: product.inner as u32,
                tiles_across: tiles_across as u32,
                tiles_down: product.tiles_down as u32,
                slice: product.slice as u32,
                groups: some.end as u32,
                first: some.start as u32,
            });
            let dispatch = Dispatch {
                kernel: &KERNELS[product.kernel],
                constants: &[],
                slots: vec![x.all(), right.all(), result.all(), params],
                groups: some.len(),
            };
            gpu.submit("probe", &[dispatch])
        })?;
        let values = TILE * product.tiles_down * product.width * product.slices;
        gpu.download_range(result, 0..values)
    }
}

/// A copy with zeros below and to the right, row by row.
fn padded(values: ArrayView2<'_, f32>, rows: usize, columns: usize) -> Vec<f32> {
    let mut out = Array2::zeros((rows, columns));
    out.slice_mut(s![..values.nrows(), ..values.ncols()])
        .assign(&values);
    out.into_raw_vec_and_offset().0
}
