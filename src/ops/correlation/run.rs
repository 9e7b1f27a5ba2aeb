//! Sums of products on one device: blocks of samples go there, ranges of tiles stay there, submissions are bounded.

use std::mem::offset_of;
use std::ops::Range;
use std::sync::Arc;

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use super::columns::{Columns, Placed};
use super::padded::Padded;
use super::variants::{Form, Params as GramParams, Variant};
use crate::activations::Stored;
use crate::error::Result;
use crate::gpu::{Binding, Buffer, Dispatch, Gpu, Kernel, Layout, Slot, Staged, Staging, blocks};

/// Samples of one step of the kernel.
const STEP: usize = 16;

/// Samples of one dispatch: between two of them a device waits for the last of its workgroups.
const PARTIAL: usize = 1 << 14;

/// Samples whose partial sums are added in f32 on the device; beyond them the host adds in f64.
pub(super) const PLANE: usize = 4 * PARTIAL;

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

/// How many items of so many bytes fit.
pub(super) fn within(memory: u64, item: usize) -> usize {
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
pub(super) struct Run<'a> {
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
}

impl<'a> Run<'a> {
    pub(super) fn new(
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
        // On the host a block is read and staged, while the last one is on its way. Blocks of whole runs change no bit of the
        // sums, so they have one at least, however little memory there is.
        let run = variant.run();
        let allowed = within(memory / 2, 3 * columns * stored).max(run);
        let rows = match rows.min(allowed) {
            rows if rows >= run => rows / run * run,
            rows => rows,
        };
        let all = samples.samples().next_multiple_of(STEP);
        let rows = rows.min(all);
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
        })
    }

    /// G/N of some tiles, tile after tile.
    pub(super) fn mean_products(&mut self, tiles: &[[u32; 2]]) -> Result<Vec<f64>> {
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
    pub(super) fn sums(&mut self, tiles: &[[u32; 2]]) -> Result<Buffer<f32>> {
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
            let (gpu, staging) = (self.gpu, &self.staging);
            let (added, staged) = rayon::join(
                || self.add(block.len(), &tiles, &g, first),
                || {
                    next.map(|block| gpu.stage(staging, &reader.words(block)?))
                        .transpose()
                },
            );
            added?;
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
        let params = Slot::params(&CentringParams {
            samples: samples as u32,
            format: match self.reader.samples.stored() {
                Stored::F32 => 0,
                Stored::F16 => 1,
                Stored::Bf16 => 2,
            },
            rows: rows as u32,
            columns: self.columns as u32,
        });
        let mut slots = vec![self.x.all(), self.shift.all(), self.scale.all()];
        let values = rows * self.columns;
        let (kernel, parts, threads) = match self.variant.form {
            Form::Whole => {
                slots.extend([self.z.all(), params]);
                (&KERNELS[0], None, values)
            }
            Form::Halves(parts) => {
                slots.extend([self.rest.all(), params, self.z.all()]);
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

    /// Adds the products of the block of so many samples that z holds to the tiles; `fresh` overwrites what was there.
    fn add(
        &self,
        samples: usize,
        tiles: &Buffer<[u32; 2]>,
        g: &Buffer<f32>,
        fresh: bool,
    ) -> Result<()> {
        let partials: Vec<_> = blocks(samples.next_multiple_of(STEP), PARTIAL).collect();
        let mut pace = self.gpu.pace(self.variant.name);
        let each = 2.0 * (samples * self.variant.tile.pow(2)) as f64;
        let mut first = 0;
        while first < tiles.len() {
            let count = pace.groups(each).min(tiles.len() - first);
            let params = |(at, samples): (usize, &Range<usize>)| GramParams {
                stride: self.variant.stride(self.columns),
                start: samples.start as u32,
                end: samples.end as u32,
                count: count as u32,
                first: first as u32,
                accumulate: u32::from(!fresh || at > 0),
                padding: [0; 2],
            };
            let (z, g) = ((&self.z, tiles), g);
            let dispatch = |partial| {
                let run = (&params(partial), count);
                self.variant.dispatch(&self.constants, z, g, run)
            };
            let dispatches: Vec<_> = partials.iter().enumerate().map(dispatch).collect();
            let submit = || self.gpu.submit("correlation", &dispatches);
            if let Some(elapsed) = self.gpu.clocked("correlation", submit)? {
                pace.took((count, each), elapsed);
            }
            first += count;
        }
        self.gpu.keep_pace(self.variant.name, pace);
        Ok(())
    }
}
