//! The host side of `shaders/probe.wgsl`: the design stays on the device, each pass sends coefficients or residuals and
//! fetches logits or gradients.
//!
//! What lies between the two products (softmax, line search, working set, drawing of Hessians) runs on the host: it
//! is element-wise, and both back ends then share one solver. Newton's Hessians and quadratic programmes are
//! [`crate::ops::curvature`]'s and [`crate::ops::quadratic`]'s, on the device where [`super::Curvature`] and [`super::Inner`] say so.

use std::mem::offset_of;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use bytemuck::{Pod, Zeroable};
use ndarray::parallel::prelude::*;
use ndarray::{Array2, ArrayView2, ArrayViewMut1, Axis, Zip, s};
use rayon::slice::ParallelSliceMut;

use super::slab::Slab;
use super::tile::Tile;
use crate::error::Result;
use crate::gpu::{Binding, Buffer, Dispatch, Gpu, Kernel, Layout, Slot, Staging, blocks};
use crate::ops::curvature::Held;

/// What samples are padded to, and neurons where there are many; few to half of it.
const ROWS: usize = 128;
const MANY: usize = 512;
/// Samples that one f32 sum of the backward pass covers.
const CHUNK: usize = 1024;
/// Largest number of slices of a block, each a partial gradient that comes back to the host.
const SLICES: usize = 8;
/// Samples on the device come in blocks of at most this many bytes, so that no dispatch runs for long.
const BLOCK_BYTES: usize = super::TRANSFER as usize;

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
}

/// One product: right factor and result, in padded rows and columns.
struct Product {
    /// Which of [`KERNELS`].
    kernel: usize,
    inner: usize,
    rows: usize,
    width: usize,
    /// Samples of a slice, and how many there are; 0 and 1 where there are none.
    slice: usize,
    slices: usize,
}

impl<'a> Resident<'a> {
    pub(super) fn new(gpu: &'a Gpu, slab: &'a Slab<'a>) -> Result<Self> {
        let tiles = if slab.width() < MANY { ROWS / 2 } else { ROWS };
        let neurons = slab.width().next_multiple_of(tiles);
        let rows = gpu
            .fit("samples", neurons * 4, ROWS)?
            .min((BLOCK_BYTES / (neurons * 4)).next_multiple_of(ROWS));
        let mut scratch = Vec::new();
        let blocks = blocks(slab.samples(), rows)
            .map(|rows| {
                let block = slab.block(rows.clone(), &mut scratch)?;
                let height = rows.len().next_multiple_of(ROWS);
                const WHAT: &str = "standardised activations";
                let buffer = match block.as_slice() {
                    Some(whole) if whole.len() == height * neurons => gpu.upload(WHAT, whole)?,
                    _ => gpu.upload(WHAT, &padded(block, height, neurons))?,
                };
                Ok((rows, buffer))
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            gpu,
            slab,
            neurons,
            rows: rows.min(slab.samples().next_multiple_of(ROWS)),
            blocks,
            pass: Mutex::new(Pass { buffers: None }),
        })
    }

    /// The device, and the samples that it holds.
    pub(super) fn held(&self) -> (&'a Gpu, Held<'_>) {
        let held = Held {
            neurons: self.slab.width(),
            stride: self.neurons,
            blocks: &self.blocks,
        };
        (self.gpu, held)
    }

    /// X·W: N × K.
    pub(super) fn forward(&self, w: ArrayView2<'_, f32>) -> Result<Array2<f32>> {
        let k = w.ncols();
        let mut z = Array2::zeros((self.slab.samples(), k));
        let mut pass = self.pass.lock().unwrap_or_else(PoisonError::into_inner);
        for columns in blocks(k, self.columns_at_once("logits")?) {
            let width = Tile::padded(columns.len());
            let right = padded(w.slice(s![.., columns.clone()]), self.neurons, width);
            pass.send(self, &right, self.rows * width)?;
            for (rows, x) in &self.blocks {
                let height = rows.len().next_multiple_of(ROWS);
                let values = pass.multiply(
                    self,
                    x,
                    &Product {
                        kernel: 0,
                        inner: self.neurons,
                        rows: height,
                        width,
                        slice: 0,
                        slices: 1,
                    },
                )?;
                let block = ArrayView2::from_shape((height, width), &values)
                    .expect("it has that many values");
                Zip::from(z.slice_mut(s![rows.clone(), columns.clone()]).rows_mut())
                    .and(block.slice(s![..rows.len(), ..columns.len()]).rows())
                    .par_for_each(|mut to, from| to.assign(&from));
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
            let width = Tile::padded(columns.len());
            for (rows, x) in &self.blocks {
                let height = rows.len().next_multiple_of(ROWS);
                let right = padded(r.slice(s![rows.clone(), columns.clone()]), height, width);
                let slice = height.div_ceil(SLICES).next_multiple_of(CHUNK);
                let product = Product {
                    kernel: 1,
                    inner: height,
                    rows: self.neurons,
                    width,
                    slice,
                    slices: height.div_ceil(slice),
                };
                pass.send(self, &right, SLICES * self.neurons * width)?;
                let values = pass.multiply(self, x, &product)?;
                for partial in values.chunks_exact(self.neurons * width) {
                    let partial = ArrayView2::from_shape((self.neurons, width), partial)
                        .expect("it has that many values");
                    Zip::from(g.slice_mut(s![.., columns.clone()]).rows_mut())
                        .and(partial.slice(s![..d, ..columns.len()]).rows())
                        .par_for_each(|mut sums, values| {
                            sums.zip_mut_with(&values, |sum, value| *sum += f64::from(*value));
                        });
                }
            }
        }
        Ok(g)
    }

    /// Columns that fit one binding, as coefficients, as a block's logits or residuals, and as its partial gradients.
    fn columns_at_once(&self, what: &str) -> Result<usize> {
        let values = self.rows.max(SLICES * self.neurons);
        let fits = self.gpu.fit(what, 4 * values, Tile::NARROW.columns())?;
        let whole = fits / Tile::MIDDLE.columns() * Tile::MIDDLE.columns();
        Ok(if whole == 0 { fits } else { whole })
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
        let shape = (product.rows, product.width);
        let tile = Tile::of(shape, product.slices);
        let (kernel, constants) = (&KERNELS[product.kernel], tile.constants());
        let inner = if product.slice > 0 {
            product.slice
        } else {
            product.inner
        };
        let each = 2.0 * (tile.rows() * tile.columns() * inner) as f64;
        let work = (tile.groups(shape, product.slices), each);
        gpu.paced(kernel.entry, work, |some| {
            let params = Slot::params(&Params {
                neurons4: (resident.neurons / 4) as u32,
                columns4: (product.width / 4) as u32,
                inner: product.inner as u32,
                tiles_across: (product.width / tile.columns()) as u32,
                tiles_down: (product.rows / tile.rows()) as u32,
                slice: product.slice as u32,
                groups: some.end as u32,
                first: some.start as u32,
            });
            let dispatch = Dispatch {
                kernel,
                constants: &constants,
                slots: vec![x.all(), right.all(), result.all(), params],
                groups: some.len(),
            };
            gpu.submit("probe", &[dispatch])
        })?;
        gpu.download_range(result, 0..product.rows * product.width * product.slices)
    }
}

/// A copy with zeros below and to the right, row by row.
fn padded(values: ArrayView2<'_, f32>, rows: usize, columns: usize) -> Vec<f32> {
    let mut out = vec![0f32; rows * columns];
    let each = out
        .par_chunks_exact_mut(columns)
        .zip(values.axis_iter(Axis(0)).into_par_iter());
    each.for_each(|(out, row)| {
        let mut out = ArrayViewMut1::from(&mut out[..row.len()]);
        out.assign(&row);
    });
    out
}
