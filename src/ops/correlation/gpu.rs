//! The host side of `shaders/correlation.wgsl`: blocks of samples, ranges of tiles, bounded submissions.

use std::mem::offset_of;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use bytemuck::{Pod, Zeroable};
use ndarray::ArrayView2;
use rayon::prelude::*;

use super::columns::{Columns, Placed};
use super::findings::{Leavings, Reduction, correlations};
use super::padded::Padded;
use super::reduce::{self, Reducer};
use super::{Findings, Wanted};
use crate::activations::Stored;
use crate::error::Result;
use crate::gpu::{Binding, Buffer, Dispatch, Gpu, Kernel, Layout, Pace, Staged, Staging, blocks};

/// Threads along a side of a workgroup; each computes eight by eight values of a tile. Which is faster depends on the
/// device: it is measured once.
const SIDES: [usize; 2] = [8, 16];

/// FLOP from which on it pays to measure.
const WORTH_MEASURING: f64 = 2e10;

/// Samples and neurons of the measurement.
const MEASURED: (usize, usize) = (2048, 1024);

/// Samples of one step of the kernel.
const STEP: usize = 16;

/// Samples of one dispatch.
const PARTIAL: usize = 2048;

/// Samples whose partial sums are added in f32 on the device; beyond them the host adds in f64.
const PLANE: usize = 32 * PARTIAL;

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct CentringParams {
    samples: u32,
    format: u32,
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
    accumulate: u32,
    padding: [u32; 2],
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
                        ("format", offset_of!(CentringParams, format)),
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

/// Hands every pair of left and right columns to the reduction, once.
pub(super) fn scan(
    gpu: &Gpu,
    columns: &Columns<'_>,
    wanted: &Wanted<'_>,
    memory: u64,
) -> Result<Findings> {
    gpu.fitting(|gpu| attempt(gpu, columns, wanted, memory))
}

fn attempt(gpu: &Gpu, columns: &Columns<'_>, wanted: &Wanted<'_>, memory: u64) -> Result<Findings> {
    let reduction = Reduction::new(wanted, columns);
    let side = side(gpu, columns)?;
    let padded = Padded::new(columns, 8 * side);
    let values = padded.tile * padded.tile;
    let mut run = Run::new(gpu, columns, &padded, memory)?;
    let mut norm = vec![0.0; columns.all().len()];
    let mut collected = reduction.nothing();
    let on_device = gpu.fit("tiles of the result", values * 4, 1)?.max(1);
    // On the host a value takes 8 bytes of sums and 4 of what is downloaded.
    let per_range = on_device.min(within(memory / 2, values * 12)).max(1);
    // The diagonal comes first, since it has the norms of all neurons.
    let diagonal = padded.diagonal();
    for range in blocks(diagonal.len(), per_range) {
        let tiles = &diagonal[range];
        let products = run.mean_products(tiles)?;
        for ([tile, _], products) in tiles.iter().zip(products.chunks_exact(values)) {
            for (at, column) in padded.columns[*tile as usize].clone().enumerate() {
                norm[column] = columns.norm(column, products[at * (padded.tile + 1)]);
            }
        }
        if !columns.is_cross() {
            let found = on_host(columns, &padded, &reduction, &norm, tiles, &products)?;
            collected.add(found);
        }
    }
    let (tiles, bands) = padded.tiles(columns.is_cross());
    if columns.samples() <= PLANE && reduce::is_possible(&reduction, &padded, &tiles) {
        let reducer = Reducer::new(gpu, columns, &padded, &reduction, &norm);
        for range in blocks(tiles.len(), on_device) {
            // The bands that end inside the range, and the part of one that it ends in.
            let inside = bands
                .iter()
                .filter(|end| range.start < **end && **end < range.end);
            let mut ends: Vec<usize> = inside.map(|end| end - range.start).collect();
            ends.push(range.len());
            let g = run.sums(&tiles[range.clone()])?;
            reducer.take(&tiles[range], &g, &ends, &mut collected)?;
        }
    } else {
        for range in blocks(tiles.len(), per_range) {
            let tiles = &tiles[range];
            let products = run.mean_products(tiles)?;
            let found = on_host(columns, &padded, &reduction, &norm, tiles, &products)?;
            collected.add(found);
        }
    }
    Ok(reduction.finish(collected))
}

/// What becomes of tiles whose products, divided by the number of samples, came back.
fn on_host(
    columns: &Columns<'_>,
    padded: &Padded,
    reduction: &Reduction<'_>,
    norm: &[f64],
    tiles: &[[u32; 2]],
    products: &[f64],
) -> Result<Vec<Leavings>> {
    let each: Vec<_> = tiles
        .iter()
        .zip(products.chunks_exact(padded.tile * padded.tile))
        .collect();
    let reduced = |([a, b], products): (&[u32; 2], &[f64])| {
        let (left, right) = (&padded.columns[*a as usize], &padded.columns[*b as usize]);
        let products =
            ArrayView2::from_shape((padded.tile, padded.tile), products).expect("a tile");
        let r = correlations(columns, left, right, products, norm);
        reduction.tile(left, right, r.view())
    };
    each.into_par_iter().map(reduced).collect()
}

/// The better side of a workgroup for this device.
fn side(gpu: &Gpu, columns: &Columns<'_>) -> Result<usize> {
    let work = columns.samples() as f64 * (columns.all().len() as f64).powi(2);
    gpu.tuned("correlation", &SIDES, work >= WORTH_MEASURING, &|side| {
        let tile = 8 * side;
        let z = gpu.zeros::<f32>("samples", MEASURED.0 * MEASURED.1)?;
        let tiles: Vec<[u32; 2]> = (0..MEASURED.1 / tile)
            .flat_map(|a| (a..MEASURED.1 / tile).map(move |b| [a as u32, b as u32]))
            .collect();
        let g = gpu.zeros::<f32>("tiles of the result", tiles.len() * tile * tile)?;
        let params = gpu.uniform(&Params {
            stride: (MEASURED.1 / 4) as u32,
            start: 0,
            end: MEASURED.0 as u32,
            count: tiles.len() as u32,
            first: 0,
            accumulate: 0,
            padding: [0; 2],
        })?;
        let groups = tiles.len();
        let tiles = gpu.upload("tiles", &tiles)?;
        let dispatch = Dispatch {
            kernel: GRAM,
            constants: &constants(side),
            slots: vec![z.all(), tiles.all(), g.all(), params.all()],
            groups,
        };
        gpu.submit("correlation", &[dispatch])?;
        gpu.wait("correlation")
    })
}

/// The constants of the kernel for a side.
fn constants(side: usize) -> [(&'static str, f64); 4] {
    let side = side as f64;
    [
        ("SIDE", side),
        ("THREADS", side * side),
        ("WORDS", 2.0 * side),
        ("PANEL", 32.0 * side),
    ]
}

/// How many items of so many bytes fit.
fn within(memory: u64, item: usize) -> usize {
    usize::try_from(memory / item as u64).unwrap_or(usize::MAX)
}

/// Reads samples as a device takes them.
struct Reader<'a> {
    samples: &'a Columns<'a>,
    placed: Vec<Placed>,
    /// Columns with the padding.
    columns: usize,
}

impl Reader<'_> {
    /// A block of samples with the padding of their columns, as they are stored: a word of 32 bits, or two halves in one.
    fn words(&self, block: Range<usize>) -> Result<Vec<u32>> {
        let (from, values) = (block.start, block.len() * self.columns);
        Ok(match self.samples.stored() {
            Stored::F32 => {
                let mut words = vec![0u32; values];
                let out = bytemuck::cast_slice_mut(&mut words);
                self.samples.read(from, &self.placed, self.columns, out)?;
                words
            }
            Stored::F16 | Stored::Bf16 => {
                // A row has a whole number of tiles, so an even number of values.
                let mut words = vec![0u32; values / 2];
                let out = bytemuck::cast_slice_mut(&mut words);
                self.samples
                    .read_bits(from, &self.placed, self.columns, out)?;
                words
            }
        })
    }
}

/// What stays on the device from one range of tiles to the next.
struct Run<'a> {
    gpu: &'a Gpu,
    reader: Arc<Reader<'a>>,
    /// Threads along a side of a workgroup.
    side: usize,
    shift: Buffer<f32>,
    scale: Buffer<f32>,
    /// Columns with the padding.
    columns: usize,
    /// Samples of one block.
    rows: usize,
    /// Host buffers for blocks on their way.
    staging: Staging,
    /// A block as it is stored, and centred.
    x: Buffer<u32>,
    z: Buffer<f32>,
    /// Whether z holds all samples.
    resident: bool,
    pace: Pace,
}

impl<'a> Run<'a> {
    fn new(gpu: &'a Gpu, samples: &'a Columns<'a>, padded: &Padded, memory: u64) -> Result<Self> {
        let columns = padded.width();
        let stored = match samples.stored() {
            Stored::F32 => 4,
            Stored::F16 | Stored::Bf16 => 2,
        };
        let rows = gpu.fit("samples", columns * 4, STEP)?.min(PLANE);
        // On the host a block is read and staged, while the last one is on its way.
        let rows = rows.min(within(memory / 2, 3 * columns * stored) / STEP * STEP);
        let all = samples.samples().next_multiple_of(STEP);
        let rows = rows.max(STEP).min(all);
        let values = rows * columns;
        Ok(Self {
            gpu,
            side: padded.tile / 8,
            reader: Arc::new(Reader {
                samples,
                placed: padded.placed(),
                columns,
            }),
            shift: gpu.upload("shift", &padded.spread(samples.shift()))?,
            scale: gpu.upload("scale", &padded.spread(samples.scale()))?,
            columns,
            rows,
            staging: gpu.staging(if rows < all { 2 } else { 1 }, values * stored)?,
            x: gpu.zeros("samples", (values * stored).div_ceil(4))?,
            z: gpu.zeros("centred samples", values)?,
            resident: false,
            // A tile's partial sum is 17 MFLOP: 0.1 s on a device of 10 GFLOP/s, and the pace adapts from there.
            pace: Pace::starting_with(64),
        })
    }

    /// G/N of some tiles, tile after tile.
    fn mean_products(&mut self, tiles: &[[u32; 2]]) -> Result<Vec<f64>> {
        let n = self.reader.samples.samples() as f64;
        let gpu = self.gpu;
        let mut sums = vec![0f64; tiles.len() * 64 * self.side * self.side];
        self.planes(tiles, &mut |g| {
            let each = sums.par_iter_mut().zip(gpu.download(g)?);
            each.for_each(|(sum, g)| *sum += f64::from(g));
            Ok(())
        })?;
        sums.par_iter_mut().for_each(|sum| *sum /= n);
        Ok(sums)
    }

    /// G of some tiles, tile after tile, on the device; of no more samples than one plane holds.
    fn sums(&mut self, tiles: &[[u32; 2]]) -> Result<Buffer<f32>> {
        debug_assert!(self.reader.samples.samples() <= PLANE);
        self.planes(tiles, &mut |_| Ok(()))
    }

    /// Sums of the products of some tiles, plane after plane; `each` sees those of every plane, and the last ones are the
    /// result.
    fn planes(
        &mut self,
        tiles: &[[u32; 2]],
        each: &mut dyn FnMut(&Buffer<f32>) -> Result<()>,
    ) -> Result<Buffer<f32>> {
        let samples = self.reader.samples.samples();
        let values = tiles.len() * 64 * self.side * self.side;
        let g = self.gpu.zeros::<f32>("tiles of the result", values)?;
        let tiles = self.gpu.upload("tiles", tiles)?;
        let all: Vec<(Range<usize>, Range<usize>)> = blocks(samples, PLANE)
            .flat_map(|plane| {
                let start = plane.start;
                let inside = blocks(plane.len(), self.rows);
                inside.map(move |block| (plane.clone(), start + block.start..start + block.end))
            })
            .collect();
        let reader = Arc::clone(&self.reader);
        let mut ahead: Option<Staged> = None;
        for (at, (plane, block)) in all.iter().enumerate() {
            if !self.resident {
                let staged = match ahead.take() {
                    Some(staged) => staged,
                    None => self
                        .gpu
                        .stage(&self.staging, &reader.words(block.clone())?)?,
                };
                self.centre(block.len(), staged)?;
                self.resident = block.len() == samples;
            }
            let first = block.start == plane.start;
            // The next block is read and staged while the device computes.
            let next = all.get(at + 1).map(|(_, block)| block.clone());
            let (gpu, staging, pace) = (self.gpu, &self.staging, self.pace.clone());
            let (pace, staged) = rayon::join(
                || self.add(block.len(), &tiles, &g, first, pace),
                || {
                    next.map(|block| gpu.stage(staging, &reader.words(block)?))
                        .transpose()
                },
            );
            self.pace = pace?;
            ahead = staged?;
            if block.end == plane.end {
                each(&g)?;
            }
        }
        Ok(g)
    }

    /// z of a block of so many samples, padded to whole steps and tiles.
    fn centre(&self, samples: usize, staged: Staged) -> Result<()> {
        let rows = samples.next_multiple_of(STEP);
        self.gpu.send(&self.staging, staged, &self.x)?;
        let params = self.gpu.uniform(&CentringParams {
            samples: samples as u32,
            format: match self.reader.samples.stored() {
                Stored::F32 => 0,
                Stored::F16 => 1,
                Stored::Bf16 => 2,
            },
            rows: rows as u32,
            columns: self.columns as u32,
        })?;
        let dispatch = Dispatch {
            kernel: CENTRE,
            constants: &[],
            slots: vec![
                self.x.all(),
                self.shift.all(),
                self.scale.all(),
                self.z.all(),
                params.all(),
            ],
            groups: (rows * self.columns).div_ceil(256),
        };
        self.gpu.submit("correlation", &[dispatch])?;
        self.gpu.wait("correlation")
    }

    /// Adds the products of the block of so many samples that z holds to the tiles; `fresh` overwrites what was there. Gives
    /// the pace back.
    fn add(
        &self,
        samples: usize,
        tiles: &Buffer<[u32; 2]>,
        g: &Buffer<f32>,
        fresh: bool,
        mut pace: Pace,
    ) -> Result<Pace> {
        let partials: Vec<_> = blocks(samples.next_multiple_of(STEP), PARTIAL).collect();
        let mut first = 0;
        while first < tiles.len() {
            let count = (pace.groups() / partials.len()).clamp(1, tiles.len() - first);
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
                        accumulate: u32::from(!fresh || at > 0),
                        padding: [0; 2],
                    })
                })
                .collect::<Result<Vec<_>>>()?;
            let constants = constants(self.side);
            let dispatches: Vec<_> = params
                .iter()
                .map(|params| Dispatch {
                    kernel: GRAM,
                    constants: &constants,
                    slots: vec![self.z.all(), tiles.all(), g.all(), params.all()],
                    groups: count,
                })
                .collect();
            let begun = Instant::now();
            self.gpu.submit("correlation", &dispatches)?;
            self.gpu.wait("correlation")?;
            pace.took(count * partials.len(), begun.elapsed());
            first += count;
        }
        Ok(pace)
    }
}
