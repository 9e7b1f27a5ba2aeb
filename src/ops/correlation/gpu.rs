//! The host side of `shaders/correlation.wgsl`: blocks of samples, ranges of tiles, bounded submissions.

use std::mem::offset_of;
use std::ops::Range;
use std::time::Instant;

use bytemuck::{Pod, Zeroable};
use ndarray::{ArrayView2, s};
use rayon::prelude::*;

use super::{Centring, PARTIAL, rows};
use crate::error::Result;
use crate::gpu::{Binding, Buffer, Dispatch, Gpu, Kernel, Layout, Pace, blocks};

/// Neurons along a side of a tile.
const TILE: usize = 64;

/// Samples of one step of the kernel.
const STEP: usize = 16;

/// Samples whose partial sums are added in f32 on the device; beyond them the host adds in f64.
const PLANE: usize = 32 * PARTIAL;

/// Tiles along a side of a square that is computed together, so that its columns stay in the cache.
const SQUARE: usize = 8;

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct CentringParams {
    samples: u32,
    neurons: u32,
    rows: u32,
    columns: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Params {
    stride: u32,
    start: u32,
    end: u32,
    count: u32,
    first: u32,
    base: u32,
    accumulate: u32,
    padding: u32,
}

/// The kernels of `shaders/correlation.wgsl`.
pub const KERNELS: &[Kernel] = &[
    Kernel {
        shader: "correlation",
        source: include_str!("../../../shaders/correlation.wgsl"),
        entry: "centre",
        bindings: &[
            Binding::read("x"),
            Binding::read("shift"),
            Binding::read("scale"),
            Binding::read_write("centred"),
            Binding::uniform(
                "c",
                Layout {
                    name: "Centring",
                    size: size_of::<CentringParams>(),
                    fields: &[
                        ("samples", offset_of!(CentringParams, samples)),
                        ("neurons", offset_of!(CentringParams, neurons)),
                        ("rows", offset_of!(CentringParams, rows)),
                        ("columns", offset_of!(CentringParams, columns)),
                    ],
                },
            ),
        ],
    },
    Kernel {
        shader: "correlation",
        source: include_str!("../../../shaders/correlation.wgsl"),
        entry: "gram",
        bindings: &[
            Binding::read("z"),
            Binding::read("tiles"),
            Binding::read_write("g"),
            Binding::uniform(
                "p",
                Layout {
                    name: "Params",
                    size: size_of::<Params>(),
                    fields: &[
                        ("stride", offset_of!(Params, stride)),
                        ("start", offset_of!(Params, start)),
                        ("end", offset_of!(Params, end)),
                        ("count", offset_of!(Params, count)),
                        ("first", offset_of!(Params, first)),
                        ("base", offset_of!(Params, base)),
                        ("accumulate", offset_of!(Params, accumulate)),
                        ("padding", offset_of!(Params, padding)),
                    ],
                },
            ),
        ],
    },
];
const CENTRE: &Kernel = &KERNELS[0];
const GRAM: &Kernel = &KERNELS[1];

/// The packed triangle of r.
pub(super) fn packed(gpu: &Gpu, x: ArrayView2<'_, f32>, centring: &Centring) -> Result<Vec<f32>> {
    gpu.fitting(|gpu| attempt(gpu, x, centring))
}

fn attempt(gpu: &Gpu, x: ArrayView2<'_, f32>, centring: &Centring) -> Result<Vec<f32>> {
    let neurons = x.ncols();
    let tiles = tile_list(neurons.div_ceil(TILE));
    let mut run = Run::new(gpu, x, centring, &tiles)?;
    let mut packed = vec![0f32; neurons * (neurons - 1) / 2];
    let mut norm = Vec::new();
    // The diagonal tiles come first, so that a later range finds the norms of all its neurons.
    let diagonal = neurons.div_ceil(TILE);
    let per_range = gpu.fit("tiles of the result", TILE * TILE * 4, 1)?;
    for range in blocks(diagonal, per_range) {
        let products = run.mean_products(range.clone())?;
        for (tile, products) in range.clone().zip(products.chunks_exact(TILE * TILE)) {
            let columns = tile * TILE..neurons.min(tile * TILE + TILE);
            norm.extend(
                columns
                    .enumerate()
                    .map(|(at, neuron)| centring.norm(neuron, products[at * (TILE + 1)])),
            );
        }
        store(&mut packed, &tiles[range], &products, centring, &norm);
    }
    for range in blocks(tiles.len() - diagonal, per_range) {
        let range = diagonal + range.start..diagonal + range.end;
        let products = run.mean_products(range.clone())?;
        store(&mut packed, &tiles[range], &products, centring, &norm);
    }
    Ok(packed)
}

/// The upper triangle of tiles: first those on the diagonal, then the others in squares.
fn tile_list(side: usize) -> Vec<[u32; 2]> {
    let mut tiles: Vec<[u32; 2]> = (0..side as u32).map(|at| [at, at]).collect();
    for left in blocks(side, SQUARE) {
        for right in blocks(side, SQUARE).filter(|right| right.start >= left.start) {
            for a in left.clone() {
                for b in right.clone().filter(|&b| b > a) {
                    tiles.push([a as u32, b as u32]);
                }
            }
        }
    }
    tiles
}

/// What stays on the device from one range of tiles to the next.
struct Run<'a> {
    gpu: &'a Gpu,
    x: ArrayView2<'a, f32>,
    shift: Buffer<f32>,
    scale: Buffer<f32>,
    tiles: Buffer<[u32; 2]>,
    /// D rounded up to whole tiles.
    columns: usize,
    /// Samples of one block.
    rows: usize,
    /// The centred samples, where they all fit one block.
    resident: Option<Buffer<f32>>,
    pace: Pace,
}

impl<'a> Run<'a> {
    fn new(
        gpu: &'a Gpu,
        x: ArrayView2<'a, f32>,
        centring: &Centring,
        tiles: &[[u32; 2]],
    ) -> Result<Self> {
        let columns = x.ncols().next_multiple_of(TILE);
        let padded = |values: &[f32]| {
            let mut values = values.to_vec();
            values.resize(columns, 0.0);
            values
        };
        Ok(Self {
            gpu,
            x,
            shift: gpu.upload("shift", &padded(&centring.shift))?,
            scale: gpu.upload("scale", &padded(&centring.scale))?,
            tiles: gpu.upload("tiles", tiles)?,
            columns,
            rows: gpu.fit("samples", columns * 4, STEP)?.min(PLANE),
            resident: None,
            // A tile's partial sum is 17 MFLOP: 0.1 s on a device of 10 GFLOP/s, and the pace adapts from there.
            pace: Pace::starting_with(64),
        })
    }

    /// G/N of a range of tiles, tile after tile.
    fn mean_products(&mut self, range: Range<usize>) -> Result<Vec<f64>> {
        let samples = self.x.nrows();
        let g = self
            .gpu
            .zeros::<f32>("tiles of the result", range.len() * TILE * TILE)?;
        let mut sums = vec![0f64; g.len()];
        for plane in blocks(samples, PLANE) {
            for block in blocks(plane.len(), self.rows) {
                let first = block.start == 0;
                let block = plane.start + block.start..plane.start + block.end;
                let z = match self.resident.take() {
                    Some(z) => z,
                    None => self.centred(block.clone())?,
                };
                self.add(&z, &g, range.clone(), first)?;
                if block.len() == samples {
                    self.resident = Some(z);
                }
            }
            let g = self.gpu.download(&g)?;
            sums.par_iter_mut()
                .zip(g)
                .for_each(|(sum, g)| *sum += f64::from(g));
        }
        let n = samples as f64;
        sums.par_iter_mut().for_each(|sum| *sum /= n);
        Ok(sums)
    }

    /// z of a block of samples, padded to whole steps and tiles.
    fn centred(&self, block: Range<usize>) -> Result<Buffer<f32>> {
        let rows = block.len().next_multiple_of(STEP);
        let samples = self.x.slice(s![block, ..]);
        let values = samples.as_slice().expect("the caller made it contiguous");
        let x = self.gpu.upload("samples", values)?;
        let z = self.gpu.zeros("centred samples", rows * self.columns)?;
        let params = self.gpu.uniform(&CentringParams {
            samples: samples.nrows() as u32,
            neurons: samples.ncols() as u32,
            rows: rows as u32,
            columns: self.columns as u32,
        })?;
        let dispatch = Dispatch {
            kernel: CENTRE,
            constants: &[],
            slots: vec![
                x.all(),
                self.shift.all(),
                self.scale.all(),
                z.all(),
                params.all(),
            ],
            groups: z.len().div_ceil(256),
        };
        self.gpu.submit("correlation", &[dispatch])?;
        self.gpu.wait("correlation")?;
        Ok(z)
    }

    /// Adds the products of a block of samples to the tiles of `range`; `fresh` overwrites what was there.
    fn add(
        &mut self,
        z: &Buffer<f32>,
        g: &Buffer<f32>,
        range: Range<usize>,
        fresh: bool,
    ) -> Result<()> {
        let partials: Vec<_> = blocks(z.len() / self.columns, PARTIAL).collect();
        let mut first = range.start;
        while first < range.end {
            let count = (self.pace.groups() / partials.len()).clamp(1, range.end - first);
            let params = partials
                .iter()
                .enumerate()
                .map(|(at, samples)| {
                    self.gpu.uniform(&Params {
                        stride: (self.columns / 4) as u32,
                        start: samples.start as u32,
                        end: samples.end as u32,
                        count: count as u32,
                        first: first as u32,
                        base: range.start as u32,
                        accumulate: u32::from(!fresh || at > 0),
                        padding: 0,
                    })
                })
                .collect::<Result<Vec<_>>>()?;
            let dispatches: Vec<_> = params
                .iter()
                .map(|params| Dispatch {
                    kernel: GRAM,
                    constants: &[],
                    slots: vec![z.all(), self.tiles.all(), g.all(), params.all()],
                    groups: count,
                })
                .collect();
            let begun = Instant::now();
            self.gpu.submit("correlation", &dispatches)?;
            self.gpu.wait("correlation")?;
            self.pace.took(count * partials.len(), begun.elapsed());
            first += count;
        }
        Ok(())
    }
}

/// Turns mean products into r and stores those above the diagonal.
fn store(
    packed: &mut [f32],
    tiles: &[[u32; 2]],
    products: &[f64],
    centring: &Centring,
    norm: &[f64],
) {
    let neurons = centring.shift.len();
    let mut of_row = vec![Vec::new(); neurons.div_ceil(TILE)];
    for (slot, [a, b]) in tiles.iter().enumerate() {
        of_row[*a as usize].push((slot, *b as usize));
    }
    rows(neurons, packed)
        .par_iter_mut()
        .enumerate()
        .for_each(|(i, row)| {
            for &(slot, b) in &of_row[i / TILE] {
                let from = (slot * TILE + i % TILE) * TILE;
                for (at, product) in products[from..from + TILE].iter().enumerate() {
                    let j = b * TILE + at;
                    if i < j && j < neurons {
                        row[j - i - 1] = centring.r((i, j), *product, norm);
                    }
                }
            }
        });
}
