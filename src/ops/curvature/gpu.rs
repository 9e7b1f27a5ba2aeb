//! The host side of `shaders/curvature.wgsl`: every tile of every block of H in the same dispatches, from samples that lie on
//! the device already, part by part.

use std::mem::offset_of;
use std::ops::Range;

use bytemuck::{Pod, Zeroable};
use ndarray::Array2;

use super::{Terms, check};
use crate::error::Result;
use crate::gpu::{Binding, Buffer, Dispatch, Gpu, Kernel, Layout, Slot};
use crate::ops::verify;

/// Entries of a tile's side, small and large: a large one reads each entry of the design half as often.
const SMALL: usize = 64;
const LARGE: usize = 128;
/// Large tiles are taken where blocks have so many rows on average: else most of a tile would lie outside of its block.
const WIDE: usize = 384;
/// What the intercept's entries are called on the device.
const ONE: u32 = u32::MAX;
/// Entries that a workgroup of `mirror` copies.
const COPIED: usize = 256;

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Params {
    neurons: u32,
    stride: u32,
    entries: u32,
    add: u32,
    groups: u32,
    first: u32,
    unused0: u32,
    unused1: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Block {
    begin: u32,
    end: u32,
    down: u32,
    downs: u32,
    across: u32,
    acrosses: u32,
    unused0: u32,
    unused1: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Term {
    sample: u32,
    weight: f32,
}

const PARAMS: Binding = Binding::params(
    "p",
    Layout {
        name: "Params",
        size: size_of::<Params>(),
        fields: &[
            ("neurons", offset_of!(Params, neurons)),
            ("stride", offset_of!(Params, stride)),
            ("entries", offset_of!(Params, entries)),
            ("add", offset_of!(Params, add)),
            ("groups", offset_of!(Params, groups)),
            ("first", offset_of!(Params, first)),
            ("unused0", offset_of!(Params, unused0)),
            ("unused1", offset_of!(Params, unused1)),
        ],
    },
);

const BLOCKS: Layout = Layout {
    name: "Block",
    size: size_of::<Block>(),
    fields: &[
        ("begin", offset_of!(Block, begin)),
        ("end", offset_of!(Block, end)),
        ("down", offset_of!(Block, down)),
        ("downs", offset_of!(Block, downs)),
        ("across", offset_of!(Block, across)),
        ("acrosses", offset_of!(Block, acrosses)),
        ("unused0", offset_of!(Block, unused0)),
        ("unused1", offset_of!(Block, unused1)),
    ],
};

const TERMS: Layout = Layout {
    name: "Term",
    size: size_of::<Term>(),
    fields: &[
        ("sample", offset_of!(Term, sample)),
        ("weight", offset_of!(Term, weight)),
    ],
};

const BINDINGS: &[Binding] = &[
    Binding::read("x"),
    Binding::read("columns"),
    Binding::read_structs("terms", TERMS),
    Binding::read_structs("blocks", BLOCKS),
    Binding::read("tiles"),
    Binding::read_write("h"),
    PARAMS,
];

const SOURCE: &str = include_str!("../../../shaders/curvature.wgsl");

/// The kernels of `shaders/curvature.wgsl`, in the order in which they run.
pub const KERNELS: &[Kernel] = &[
    Kernel {
        shader: "curvature",
        source: SOURCE,
        entry: "sum",
        bindings: BINDINGS,
    },
    Kernel {
        shader: "curvature",
        source: SOURCE,
        entry: "mirror",
        bindings: BINDINGS,
    },
];

/// A design that lies on a device.
pub(in crate::ops) struct Held<'a> {
    /// Neurons, and values from one sample to the next.
    pub neurons: usize,
    pub stride: usize,
    /// Parts of the samples, one after the other.
    pub blocks: &'a [(Range<usize>, Buffer<f32>)],
}

/// Whether an H of these rows, and what is uploaded to sum it, fit bindings of the device.
pub(in crate::ops) fn fits(gpu: &Gpu, rows: &[Vec<usize>], terms: &[&Terms]) -> bool {
    let n: usize = rows.iter().map(Vec::len).sum();
    let across = |rows: &Vec<usize>| rows.len().div_ceil(SMALL);
    let side: usize = rows.iter().map(across).sum();
    let kept: usize = terms.iter().map(|terms| terms.samples.len()).sum();
    let largest = (4 * n * n)
        .max(size_of::<Term>() * kept)
        .max(size_of::<Block>() * rows.len().pow(2))
        .max(size_of::<[u32; 4]>() * side * side);
    n > 0 && largest as u64 <= gpu.binding_bytes()
}

/// H on the rows of each class, n × n. `gather` gives the entries of some samples and rows, to check what comes back.
///
/// # Errors
/// When the device fails, or what it gives back is wrong.
pub(in crate::ops) fn on_device(
    gpu: &Gpu,
    held: &Held<'_>,
    rows: &[Vec<usize>],
    terms: &[&Terms],
    gather: &impl Fn(&[u32], &[usize]) -> Result<Array2<f32>>,
) -> Result<Array2<f32>> {
    let job = Job::new(gpu, held, rows, terms)?;
    for part in 0..held.blocks.len() {
        job.sum(gpu, held, part)?;
    }
    let values = gpu.download(&job.h)?;
    let n = job.columns.len();
    let h = Array2::from_shape_vec((n, n), values).expect("it has that many values");
    verify::trusted(std::slice::from_ref(gpu), "the Hessian of a probe", || {
        check::wrong(&h, rows, terms, gather)
    })?;
    Ok(h)
}

/// What all parts of the samples have in common.
struct Job<'a> {
    /// Pairs of classes that have a block: first row and rows of each, and their terms, where there are any.
    pairs: Vec<([usize; 4], Option<&'a Terms>)>,
    columns: Buffer<u32>,
    h: Buffer<f32>,
    /// Entries of a tile's side.
    side: usize,
}

/// What there is to do for some of the samples.
struct Part {
    terms: Buffer<Term>,
    blocks: Buffer<Block>,
    tiles: Buffer<[u32; 4]>,
    /// FLOP of a tile, on average.
    flop: f64,
}

impl<'a> Job<'a> {
    fn new(gpu: &Gpu, held: &Held<'_>, rows: &[Vec<usize>], terms: &[&'a Terms]) -> Result<Self> {
        let mut of_pair = vec![None; rows.len() * rows.len()];
        for terms in terms {
            of_pair[terms.a * rows.len() + terms.b] = Some(*terms);
        }
        let mut start = 0;
        let side = |rows: &Vec<usize>| {
            start += rows.len();
            (start - rows.len(), rows.len())
        };
        let sides: Vec<(usize, usize)> = rows.iter().map(side).collect();
        let mut pairs = Vec::new();
        for (a, &(down, downs)) in sides.iter().enumerate() {
            for (b, &(across, acrosses)) in sides.iter().enumerate().skip(a) {
                if downs > 0 && acrosses > 0 {
                    let terms = of_pair[a * rows.len() + b];
                    pairs.push(([down, downs, across, acrosses], terms));
                }
            }
        }
        let column = |&row: &usize| row.checked_sub(1).map_or(ONE, |neuron| neuron as u32);
        debug_assert!(rows.iter().flatten().all(|&row| row <= held.neurons));
        let columns: Vec<u32> = rows.iter().flatten().map(column).collect();
        let present = rows.iter().filter(|rows| !rows.is_empty()).count();
        let n = columns.len();
        Ok(Self {
            pairs,
            columns: gpu.upload("entries of a Hessian", &columns)?,
            h: gpu.zeros("Hessian", n * n)?,
            side: if n / present.max(1) >= WIDE {
                LARGE
            } else {
                SMALL
            },
        })
    }

    /// Adds the terms of one part of the samples; after the last part H is whole.
    fn sum(&self, gpu: &Gpu, held: &Held<'_>, at: usize) -> Result<()> {
        let (samples, x) = &held.blocks[at];
        let part = self.part(gpu, samples, at == 0)?;
        let constants = self.constants();
        let submit = |kernel: &Kernel, constants: &[(&'static str, f64)], some: Range<usize>| {
            let params = Slot::params(&Params {
                neurons: held.neurons as u32,
                stride: held.stride as u32,
                entries: self.columns.len() as u32,
                add: u32::from(at > 0),
                groups: some.end as u32,
                first: some.start as u32,
                unused0: 0,
                unused1: 0,
            });
            let dispatch = Dispatch {
                kernel,
                constants,
                slots: vec![
                    x.all(),
                    self.columns.all(),
                    part.terms.all(),
                    part.blocks.all(),
                    part.tiles.all(),
                    self.h.all(),
                    params,
                ],
                groups: some.len(),
            };
            gpu.submit("curvature", &[dispatch])
        };
        gpu.paced("curvature", (part.tiles.len(), part.flop), |some| {
            submit(&KERNELS[0], &constants, some)
        })?;
        if at + 1 < held.blocks.len() {
            return Ok(());
        }
        let copied = self.columns.len().pow(2).div_ceil(COPIED);
        submit(&KERNELS[1], &[], 0..copied)
    }

    /// What there is to do for some of the samples.
    fn part(&self, gpu: &Gpu, samples: &Range<usize>, first: bool) -> Result<Part> {
        let within = |terms: &Terms| {
            let before = |bound: usize| terms.samples.partition_point(|&i| (i as usize) < bound);
            before(samples.start)..before(samples.end)
        };
        let (mut kept, mut blocks, mut tiles) = (Vec::new(), Vec::new(), Vec::<[u32; 4]>::new());
        for (sides, terms) in &self.pairs {
            let begin = kept.len();
            if let Some(terms) = terms {
                let some = within(terms);
                let each = terms.samples[some.clone()].iter().zip(&terms.weights[some]);
                kept.extend(each.map(|(&sample, &weight)| Term {
                    sample: sample - samples.start as u32,
                    weight,
                }));
            }
            // The first part overwrites whatever was there.
            if first || kept.len() > begin {
                let block = blocks.len() as u32;
                let tile = |(down, across): (usize, usize)| [block, down as u32, across as u32, 0];
                tiles.extend(self.tiles(sides).map(tile));
                let [down, downs, across, acrosses] = sides.map(|value| value as u32);
                blocks.push(Block {
                    begin: begin as u32,
                    end: kept.len() as u32,
                    down,
                    downs,
                    across,
                    acrosses,
                    unused0: 0,
                    unused1: 0,
                });
            }
        }
        let terms = kept.len() as f64 / blocks.len().max(1) as f64;
        Ok(Part {
            terms: gpu.upload("terms of a Hessian", &kept)?,
            blocks: gpu.upload("blocks of a Hessian", &blocks)?,
            tiles: gpu.upload("tiles of a Hessian", &tiles)?,
            flop: 2.0 * (self.side * self.side) as f64 * terms,
        })
    }

    /// The tiles of a block: of a class's own those on and above its diagonal.
    fn tiles(
        &self,
        &[down, downs, across, acrosses]: &[usize; 4],
    ) -> impl Iterator<Item = (usize, usize)> + use<> {
        let (down_to, across_to) = (downs.div_ceil(self.side), acrosses.div_ceil(self.side));
        let own = down == across;
        (0..down_to).flat_map(move |i| (if own { i } else { 0 }..across_to).map(move |j| (i, j)))
    }

    /// What `sum` is compiled with.
    fn constants(&self) -> [(&'static str, f64); 3] {
        let side = self.side / 8;
        [
            ("SIDE", side),
            ("THREADS", side * side),
            ("WORDS", 2 * side),
        ]
        .map(|(name, value)| (name, value as f64))
    }
}
