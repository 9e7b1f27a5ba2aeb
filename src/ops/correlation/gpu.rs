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
use super::precision::{Computed, Kernels, Precision};
use super::reduce::{self, Reducer};
use super::variants::{Form, Params as GramParams, Variant, fastest};
use super::{Findings, Params, Wanted};
use crate::activations::Stored;
use crate::error::{Error, Result};
use crate::gpu::{Binding, Buffer, Dispatch, Gpu, Kernel, Layout, Pace, Staged, Staging, blocks};

/// Samples of one step of the kernel.
const STEP: usize = 16;

/// Samples of one dispatch.
const PARTIAL: usize = 2048;

/// Samples whose partial sums are added in f32 on the device; beyond them the host adds in f64.
const PLANE: usize = 32 * PARTIAL;

/// The largest value that rounds to a finite f16, less what rounding does to its bound.
const LARGEST_HALF: f64 = 65_500.0;

/// Why f32 was taken instead.
const BEYOND: &str = "some values are further from their mean than f16 holds";

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct CentringParams {
    samples: u32,
    format: u32,
    rows: u32,
    columns: u32,
}

const X: Binding = Binding::read("x");
const SHIFT: Binding = Binding::read("shift");
const SCALE: Binding = Binding::read("scale");
const CENTRING: Binding = Binding::params(
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
);

/// The kernels that make z of samples.
pub const KERNELS: &[Kernel] = &[
    Kernel {
        shader: "correlation",
        source: include_str!("../../../shaders/correlation.wgsl"),
        entry: "centre",
        bindings: &[X, SHIFT, SCALE, Binding::read_write("centred"), CENTRING],
    },
    Kernel {
        shader: "correlation",
        source: include_str!("../../../shaders/correlation.wgsl"),
        entry: "centre_halves",
        bindings: &[
            X,
            SHIFT,
            SCALE,
            Binding::read("rest"),
            CENTRING,
            Binding::read_write("halves"),
        ],
    },
];

/// Hands every pair of left and right columns to the reduction, once.
pub(super) fn scan(
    gpu: &Gpu,
    columns: &Columns<'_>,
    wanted: &Wanted<'_>,
    params: &Params,
) -> Result<Findings> {
    let (asked, memory) = (params.precision, params.memory);
    let flop = columns.samples() as f64 * (columns.all().len() as f64).powi(2);
    let of = |columns: &Columns<'_>, variant: &Variant, reason: Option<&str>| {
        let computed = Computed::new(asked, variant.form.precision(), variant.name, reason);
        gpu.fitting(|gpu| attempt(gpu, columns, wanted, memory, (variant, &computed)))
    };
    let variant = fastest(gpu, (asked, params.kernels), flop)?;
    if variant.form == Form::Whole {
        return of(columns, variant, None)?.ok_or_else(|| unfinished(gpu));
    }
    if columns.largest() <= LARGEST_HALF {
        // What rounding the mean leaves would take digits that f16 does not have: the device subtracts it.
        let found = of(&columns.without_residual(), variant, None)?;
        if let Some(found) = found {
            return Ok(found);
        }
    }
    let whole = fastest(gpu, (Precision::F32, Kernels::Any), flop)?;
    of(columns, whole, Some(BEYOND))?.ok_or_else(|| unfinished(gpu))
}

/// Nothing where values do not fit the variant's numbers, so that sums of squares are not finite.
fn attempt(
    gpu: &Gpu,
    columns: &Columns<'_>,
    wanted: &Wanted<'_>,
    memory: u64,
    (variant, computed): (&Variant, &Computed),
) -> Result<Option<Findings>> {
    let reduction = Reduction::new(wanted, columns);
    let padded = Padded::new(columns, variant.tile);
    let values = padded.tile * padded.tile;
    let mut run = Run::new(gpu, columns, &padded, memory, variant)?;
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
                let square = products[at * (padded.tile + 1)];
                if !square.is_finite() {
                    return Ok(None);
                }
                norm[column] = columns.norm(column, square);
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
    Ok(Some(reduction.finish(collected, computed.clone())))
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

/// f32 holds the square of every z, so that the moments are at fault.
fn unfinished(gpu: &Gpu) -> Error {
    let problem = "sums of squares are not finite: the moments are not those of these samples";
    gpu.error("correlation", problem.to_owned())
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
    variant: &'a Variant,
    constants: Vec<(&'static str, f64)>,
    shift: Buffer<f32>,
    scale: Buffer<f32>,
    rest: Buffer<f32>,
    /// Columns with the padding.
    columns: usize,
    /// Samples of one block.
    rows: usize,
    /// Host buffers for blocks on their way.
    staging: Staging,
    /// A block as it is stored, and centred.
    x: Buffer<u32>,
    z: Buffer<u32>,
    /// Whether z holds all samples.
    resident: bool,
    pace: Pace,
}

impl<'a> Run<'a> {
    fn new(
        gpu: &'a Gpu,
        samples: &'a Columns<'a>,
        padded: &Padded,
        memory: u64,
        variant: &'a Variant,
    ) -> Result<Self> {
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
        let rest: Vec<f32> = samples.rest().iter().map(|rest| *rest as f32).collect();
        Ok(Self {
            gpu,
            variant,
            constants: variant.constants(gpu),
            reader: Arc::new(Reader {
                samples,
                placed: padded.placed(),
                columns,
            }),
            shift: gpu.upload("shift", &padded.spread(samples.shift()))?,
            scale: gpu.upload("scale", &padded.spread(samples.scale()))?,
            rest: gpu.upload("rest of the mean", &padded.spread(&rest))?,
            columns,
            rows,
            staging: gpu.staging(if rows < all { 2 } else { 1 }, values * stored)?,
            x: gpu.zeros("samples", (values * stored).div_ceil(4))?,
            z: gpu.zeros("centred samples", values * variant.form.bytes() / 4)?,
            resident: false,
            // A tile's partial sum is 17 MFLOP: 0.1 s on a device of 10 GFLOP/s, and the pace adapts from there.
            pace: Pace::starting_with(64),
        })
    }

    /// G/N of some tiles, tile after tile.
    fn mean_products(&mut self, tiles: &[[u32; 2]]) -> Result<Vec<f64>> {
        let n = self.reader.samples.samples() as f64;
        let gpu = self.gpu;
        let mut sums = vec![0f64; tiles.len() * self.variant.tile.pow(2)];
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
        let values = tiles.len() * self.variant.tile.pow(2);
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
        let mut slots = vec![self.x.all(), self.shift.all(), self.scale.all()];
        let values = rows * self.columns;
        let (kernel, parts, threads) = match self.variant.form {
            Form::Whole => {
                slots.extend([self.z.all(), params.all()]);
                (&KERNELS[0], None, values)
            }
            Form::Halves(parts) => {
                slots.extend([self.rest.all(), params.all(), self.z.all()]);
                (&KERNELS[1], Some(("PARTS", parts as f64)), values / 2)
            }
        };
        let dispatch = Dispatch {
            kernel,
            constants: parts.as_slice(),
            slots,
            groups: threads.div_ceil(256),
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
                    self.gpu.uniform(&GramParams {
                        stride: self.variant.stride(self.columns),
                        start: samples.start as u32,
                        end: samples.end as u32,
                        count: count as u32,
                        first: first as u32,
                        accumulate: u32::from(!fresh || at > 0),
                        padding: [0; 2],
                    })
                })
                .collect::<Result<Vec<_>>>()?;
            let (z, g) = ((&self.z, tiles), g);
            let dispatch = |params| {
                let run = (params, count);
                self.variant.dispatch(&self.constants, z, g, run)
            };
            let dispatches: Vec<_> = params.iter().map(dispatch).collect();
            let begun = Instant::now();
            self.gpu.submit("correlation", &dispatches)?;
            self.gpu.wait("correlation")?;
            pace.took(count * partials.len(), begun.elapsed());
            first += count;
        }
        Ok(pace)
    }
}
