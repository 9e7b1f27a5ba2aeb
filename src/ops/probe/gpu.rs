//! The host side of `shaders/probe.wgsl`: the design stays on the device, each pass sends coefficients or residuals and
//! fetches logits or gradients.
//!
//! What Newton's method does between the two products (softmax, line search, working set, drawing of Hessians) runs on the host: it
//! is element-wise, and both back ends then share one solver. Proximal L-BFGS has the device do what is between them
//! ([`super::oracle`]). Newton's Hessians and quadratic programmes are
//! [`crate::ops::curvature`]'s and [`crate::ops::quadratic`]'s, on the device where [`super::Curvature`] and [`super::Inner`] say so.

use std::mem::offset_of;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use bytemuck::{Pod, Zeroable};
use ndarray::parallel::prelude::*;
use ndarray::{Array2, ArrayView2, ArrayViewMut1, Axis, s};
use rayon::slice::ParallelSliceMut;

use super::beside::{Beside, Piece};
use super::slab::Slab;
use super::tile::{Tile, Way};
use crate::error::Result;
use crate::gpu::{Binding, Buffer, Dispatch, Gpu, Kernel, Layout, Slot, Staging, blocks};
use crate::ops::curvature::Held;

/// What samples are padded to, and neurons where there are many; few to half of it.
pub(super) const ROWS: usize = 128;
const MANY: usize = 512;
/// Samples that one f32 sum of the backward pass covers.
const CHUNK: usize = 1024;
/// Largest number of slices of a block, each a partial gradient that comes back to the host.
pub(super) const SLICES: usize = 8;
/// Samples on the device come in blocks of at most so many bytes and samples: large ones keep a device busy with few columns,
/// and those of many columns take memory.
const BLOCK: (usize, usize) = (1 << 30, 1 << 16);
/// Rows of a gradient that a thread adds up at a time, at least.
const LINES: usize = 64;
/// Bytes that the results and residuals of blocks which are multiplied together take, where one block takes no more: one wait
/// is then for all of them.
const TOGETHER: usize = 64 << 20;

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
    Kernel {
        shader: "probe",
        source: SOURCE,
        entry: "forward_few",
        bindings: BINDINGS,
    },
    Kernel {
        shader: "probe",
        source: SOURCE,
        entry: "backward_few",
        bindings: BINDINGS,
    },
];

/// A slab on a device, in blocks of samples, and what passes over it need: nothing is made anew for a pass.
pub(super) struct Resident<'a> {
    pub(super) gpu: &'a Gpu,
    pub(super) slab: &'a Slab<'a>,
    pub(super) room: Room,
    pub(super) blocks: Vec<Block>,
    /// Only one pass runs at a time.
    pass: Mutex<Pass>,
}

/// A block of samples, and where it lies on the device.
pub(super) type Block = (Range<usize>, Buffer<f32>);

/// How samples lie on a device, and what their products need there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// Padded neurons.
    pub(super) neurons: usize,
    /// Padded samples of the largest block.
    pub(super) rows: usize,
    blocks: usize,
    /// Bytes that a binding holds.
    pub(super) binding: u64,
}

impl Room {
    pub(super) fn of((samples, neurons): (usize, usize), binding: u64) -> Self {
        let tiles = if neurons < MANY { ROWS / 2 } else { ROWS };
        let neurons = neurons.next_multiple_of(tiles);
        let fits = binding / (4 * neurons as u64) / ROWS as u64 * ROWS as u64;
        let most = BLOCK
            .1
            .min((BLOCK.0 / (neurons * 4)).next_multiple_of(ROWS));
        let rows = (fits as usize).clamp(ROWS, most);
        Self {
            neurons,
            rows: rows.min(samples.next_multiple_of(ROWS)),
            blocks: samples.div_ceil(rows),
            binding,
        }
    }

    /// Values of a block's logits, or of its partial gradients, of so many columns.
    fn result(&self, width: usize) -> usize {
        width * self.rows.max(SLICES * self.neurons)
    }

    /// Columns that fit one binding as a block's result, in whole tiles.
    pub(super) fn at_once(&self) -> usize {
        let fits = (self.binding / (4 * self.result(1) as u64)) as usize;
        let whole = |tile: Tile| fits / tile.columns() * tile.columns();
        let wholes = [Tile::MIDDLE, Tile::NARROW].map(whole);
        let few = Tile::Few.columns();
        wholes.into_iter().find(|whole| *whole > 0).unwrap_or(few)
    }

    /// Values of the right factor of so many columns: coefficients, or residuals of blocks that are multiplied together.
    fn right(&self, width: usize) -> usize {
        width * self.neurons.max(self.together(width) * self.rows)
    }

    /// Blocks that are multiplied together: as few as one.
    fn together(&self, width: usize) -> usize {
        let room = self.binding.min(TOGETHER as u64) as usize;
        let each = 4 * (width * self.rows + self.result(width));
        (room / each).clamp(1, self.blocks)
    }
}

/// Bytes of standardised samples (N × d) on a device whose bindings hold so many bytes, and of what their products with up to so
/// many columns need there, of which the widest problem has `widest`: products take groups of at most 512 columns, or of one problem.
pub fn device_bytes(shape: (usize, usize), (columns, widest): (usize, usize), binding: u64) -> u64 {
    let room = Room::of(shape, binding);
    let most = columns
        .min(super::passes::AT_ONCE.max(widest))
        .min(room.at_once());
    // A batch has fewer columns as its problems leave it.
    let widths = || (1..=most).map(Tile::padded);
    let right = widths().map(|width| room.right(width)).max().unwrap_or(0);
    let result = |place: usize| {
        let these = widths().filter(|&width| place < room.together(width));
        these.map(|width| room.result(width)).max().unwrap_or(0)
    };
    let results: usize = (0..room.blocks).map(result).sum();
    let samples = shape.0.next_multiple_of(ROWS) * room.neurons;
    4 * (samples + right + results) as u64
}

/// What passes use one after the other: as large as was needed so far.
#[derive(Default)]
struct Pass {
    /// Coefficients or residuals, on their way and on the device.
    right: Option<(Staging, Buffer<f32>)>,
    /// Logits or gradients, of each block that is multiplied together with others: a device works on all of them at once. Each is as
    /// large as products with so many blocks needed it: many blocks are multiplied together only where their results are small.
    results: Vec<Option<Buffer<f32>>>,
}

/// Writes some values of a factor, of which it is given the place of the first.
type Fill<'f> = dyn Fn(usize, &mut [f32]) + Sync + 'f;

/// The product of one block.
pub(super) struct Product<'p> {
    x: &'p Buffer<f32>,
    /// Its part of the right factor.
    right: Slot<'p>,
    result: &'p Buffer<f32>,
    /// Values of the result, and how they are computed.
    pub(super) values: usize,
    pub(super) groups: usize,
    params: Params,
    kernel: &'static Kernel,
    pub(super) constants: Vec<(&'static str, f64)>,
    /// FLOP of a workgroup.
    pub(super) each: f64,
}

impl<'a> Resident<'a> {
    pub(super) fn new(gpu: &'a Gpu, slab: &'a Slab<'a>) -> Result<Self> {
        let room = Room::of((slab.samples(), slab.width()), gpu.binding_bytes());
        gpu.fit("samples", 4 * room.neurons, ROWS)?;
        let blocks = blocks(slab.samples(), room.rows)
            .map(|rows| Ok((rows.clone(), uploaded(gpu, slab, rows, room.neurons)?)))
            .collect::<Result<_>>()?;
        Ok(Self {
            gpu,
            slab,
            room,
            blocks,
            pass: Mutex::default(),
        })
    }

    /// The device, and the samples that it holds.
    pub(super) fn held(&self) -> (&'a Gpu, Held<'_>) {
        let held = Held {
            neurons: self.slab.width(),
            stride: self.room.neurons,
            blocks: &self.blocks,
        };
        (self.gpu, held)
    }

    /// X·W, in pieces: N × K.
    pub(super) fn forward(&self, w: ArrayView2<'_, f32>) -> Result<Vec<Piece>> {
        let k = w.ncols();
        let mut pieces = Vec::new();
        let mut pass = self.pass.lock().unwrap_or_else(PoisonError::into_inner);
        for columns in blocks(k, self.columns_at_once("logits")?) {
            let width = Tile::padded(columns.len());
            let right = padded(w.slice(s![.., columns.clone()]), self.room.neurons, width);
            let together = self.room.together(width);
            let fill = |start: usize, out: &mut [f32]| {
                out.copy_from_slice(&right[start..start + out.len()]);
            };
            let room = (self.room.result(width), together);
            pass.send(self, (right.len(), &fill), room)?;
            for blocks in self.blocks.chunks(together) {
                let found = pass.multiply(self, blocks, Way::Forward, width)?;
                let each = blocks.iter().zip(found).map(|((rows, _), values)| {
                    let shape = (rows.len().next_multiple_of(ROWS), width);
                    let values = Array2::from_shape_vec(shape, values);
                    Piece {
                        rows: rows.clone(),
                        columns: columns.clone(),
                        values: values.expect("it has that many values"),
                    }
                });
                pieces.extend(each);
            }
        }
        Ok(pieces)
    }

    /// Xᵀ·R, of residuals side by side: d × K.
    pub(super) fn backward(&self, residuals: &[ArrayView2<'_, f32>]) -> Result<Array2<f64>> {
        let d = self.slab.width();
        let k = residuals.iter().map(|part| part.ncols()).sum();
        let mut g = Array2::<f64>::zeros((d, k));
        let mut pass = self.pass.lock().unwrap_or_else(PoisonError::into_inner);
        for columns in blocks(k, self.columns_at_once("gradients")?) {
            let width = Tile::padded(columns.len());
            let together = self.room.together(width);
            for blocks in self.blocks.chunks(together) {
                let rows = blocks[0].0.start..blocks[blocks.len() - 1].0.end;
                let height = rows.len().next_multiple_of(ROWS);
                let beside = Beside {
                    parts: residuals,
                    rows,
                    columns: columns.clone(),
                    width,
                };
                let fill = |start: usize, out: &mut [f32]| beside.fill(start, out);
                let room = (self.room.result(width), together);
                pass.send(self, (height * width, &fill), room)?;
                let found = pass.multiply(self, blocks, Way::Backward, width)?;
                let each = found.iter();
                let partials: Vec<&[f32]> = each
                    .flat_map(|values| values.chunks_exact(self.room.neurons * width))
                    .collect();
                let mut sums = g.slice_mut(s![.., columns.clone()]);
                let rows = sums.axis_iter_mut(Axis(0)).into_par_iter().enumerate();
                rows.with_min_len(LINES).for_each(|(row, mut sums)| {
                    for partial in &partials {
                        let values = &partial[row * width..];
                        let each = sums.iter_mut().zip(values);
                        each.for_each(|(sum, value)| *sum += f64::from(*value));
                    }
                });
            }
        }
        Ok(g)
    }

    /// Columns that fit one binding, as coefficients, as a block's logits or residuals, and as its partial gradients.
    fn columns_at_once(&self, what: &str) -> Result<usize> {
        let each = 4 * self.room.result(1);
        self.gpu.fit(what, each, Tile::Few.columns())?;
        Ok(self.room.at_once())
    }

    /// What is multiplied of a block, and how: its samples of the right factor begin at row `from` (backward).
    pub(super) fn product<'p>(
        &self,
        (rows, x): &'p Block,
        (right, from): (&'p Buffer<f32>, usize),
        result: &'p Buffer<f32>,
        (way, width): (Way, usize),
    ) -> Product<'p> {
        let height = rows.len().next_multiple_of(ROWS);
        let (shape, inner, slice) = match way {
            Way::Forward => ((height, width), self.room.neurons, 0),
            Way::Backward => {
                let slice = height.div_ceil(SLICES).next_multiple_of(CHUNK);
                ((self.room.neurons, width), height, slice)
            }
        };
        let (slices, right) = match way {
            Way::Forward => (1, right.range(0..self.room.neurons * width)),
            Way::Backward => {
                let values = from * width..(from + height) * width;
                (height.div_ceil(slice), right.range(values))
            }
        };
        let tile = Tile::of(way, shape, slices);
        let (down, across) = tile.grid(way, shape);
        let terms = if slice > 0 { slice } else { inner };
        Product {
            x,
            right,
            result,
            values: shape.0 * width * slices,
            groups: tile.groups(way, shape, slices),
            params: Params {
                neurons4: (self.room.neurons / 4) as u32,
                columns4: (width / 4) as u32,
                inner: inner as u32,
                tiles_across: across as u32,
                tiles_down: down as u32,
                slice: slice as u32,
                groups: 0,
                first: 0,
            },
            kernel: tile.kernel(way),
            constants: tile.constants(),
            each: 2.0 * (tile.rows(way) * tile.columns() * terms) as f64,
        }
    }
}

impl Pass {
    /// Takes the right factor to the device, so many values as `fill` makes them, and sees to it that there is room for
    /// results: so many values for each of so many blocks.
    fn send(
        &mut self,
        resident: &Resident<'_>,
        (len, fill): (usize, &Fill<'_>),
        (values, results): (usize, usize),
    ) -> Result<()> {
        let gpu = resident.gpu;
        // What is too small makes room first.
        let has = self.right.as_ref().map_or(0, |(_, buffer)| buffer.len());
        if has < len {
            self.right = None;
        }
        let (staging, buffer) = match self.right.take() {
            Some(right) => right,
            None => (gpu.staging(1, 4 * len)?, gpu.zeros("right factor", len)?),
        };
        let staged = gpu.stage_by(&staging, len, fill)?;
        gpu.send(&staging, staged, &buffer)?;
        self.right = Some((staging, buffer));
        let all = self.results.len().max(results);
        self.results.resize_with(all, || None);
        for result in &mut self.results[..results] {
            if result.as_ref().is_none_or(|result| result.len() < values) {
                *result = None;
                *result = Some(gpu.zeros("result", values)?);
            }
        }
        Ok(())
    }

    /// The products of blocks of samples with what was sent last, in submissions of bounded time.
    fn multiply(
        &self,
        resident: &Resident<'_>,
        blocks: &[Block],
        way: Way,
        width: usize,
    ) -> Result<Vec<Vec<f32>>> {
        let gpu = resident.gpu;
        let (_, right) = self.right.as_ref().expect("something was sent");
        let first = blocks.first().map_or(0, |(rows, _)| rows.start);
        let products: Vec<Product<'_>> = blocks
            .iter()
            .zip(self.results.iter().flatten())
            .map(|(block, result)| {
                let right = (right, block.0.start - first);
                resident.product(block, right, result, (way, width))
            })
            .collect();
        let groups = products.iter().map(|product| product.groups).sum();
        let each = products.iter().map(|product| product.each);
        let work = (groups, each.fold(0.0, f64::max));
        gpu.paced(products[0].kernel.entry, work, |some| {
            let mut begin = 0;
            let mut dispatches = Vec::new();
            for product in &products {
                let end = begin + product.groups;
                let here = some.start.max(begin)..some.end.min(end);
                if !here.is_empty() {
                    dispatches.push(product.dispatch(here.start - begin..here.end - begin));
                }
                begin = end;
            }
            gpu.submit("probe", &dispatches)
        })?;
        let results: Vec<_> = products.iter().map(|p| (p.result, p.values)).collect();
        gpu.download_each(&results)
    }
}

impl Product<'_> {
    /// Some of its workgroups.
    pub(super) fn dispatch(&self, some: Range<usize>) -> Dispatch<'_> {
        let params = Slot::params(&Params {
            groups: some.end as u32,
            first: some.start as u32,
            ..self.params
        });
        Dispatch {
            kernel: self.kernel,
            constants: &self.constants,
            slots: vec![self.x.all(), self.right.clone(), self.result.all(), params],
            groups: some.len(),
        }
    }
}

/// A block of samples on the device, with zeros beside and below it. What has to be copied on the way there is copied a part at a time.
fn uploaded(gpu: &Gpu, slab: &Slab<'_>, rows: Range<usize>, neurons: usize) -> Result<Buffer<f32>> {
    const WHAT: &str = "standardised activations";
    let height = rows.len().next_multiple_of(ROWS);
    let buffer = gpu.zeros(WHAT, height * neurons)?;
    let mut scratch = Vec::new();
    let part = (super::TRANSFER as usize / (4 * neurons)).next_multiple_of(ROWS);
    for some in blocks(rows.len(), part) {
        let values = slab.block(rows.start + some.start..rows.start + some.end, &mut scratch)?;
        let (at, lines) = (some.start * neurons, some.len().next_multiple_of(ROWS));
        match values.as_slice() {
            Some(whole) if whole.len() == lines * neurons => gpu.write(&buffer, at, whole)?,
            _ => gpu.write(&buffer, at, &padded(values, lines, neurons))?,
        }
    }
    Ok(buffer)
}

/// A copy with zeros below and to the right, row by row.
pub(super) fn padded(values: ArrayView2<'_, f32>, rows: usize, columns: usize) -> Vec<f32> {
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
