//! The host side of `shaders/curvature.wgsl`: every tile of every block of H in the same dispatches, from samples that lie on
//! the device already, part by part.

use std::mem::offset_of;
use std::ops::Range;

use bytemuck::{Pod, Zeroable};
use ndarray::Array2;

use super::plan::{Block, Plan, Sides, Slice, Term};
use super::{Terms, check, plan};
use crate::error::Result;
use crate::gpu::{Binding, Buffer, Dispatch, Gpu, Kernel, Layout, Slot};
use crate::ops::verify;

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
    groups: u32,
    first: u32,
    unused0: u32,
    unused1: u32,
    unused2: u32,
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
            ("groups", offset_of!(Params, groups)),
            ("first", offset_of!(Params, first)),
            ("unused0", offset_of!(Params, unused0)),
            ("unused1", offset_of!(Params, unused1)),
            ("unused2", offset_of!(Params, unused2)),
        ],
    },
);

const SLICES: Layout = Layout {
    name: "Slice",
    size: size_of::<Slice>(),
    fields: &[
        ("begin", offset_of!(Slice, begin)),
        ("end", offset_of!(Slice, end)),
        ("entry", offset_of!(Slice, entry)),
        ("entries", offset_of!(Slice, entries)),
        ("to", offset_of!(Slice, to)),
        ("stride", offset_of!(Slice, stride)),
        ("unused0", offset_of!(Slice, unused0)),
        ("unused1", offset_of!(Slice, unused1)),
    ],
};

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
        ("left", offset_of!(Block, left)),
        ("right", offset_of!(Block, right)),
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

const TO_PACK: &[Binding] = &[
    Binding::read("x"),
    Binding::read("columns"),
    Binding::read_structs("slices", SLICES),
    Binding::read_structs("terms", TERMS),
    Binding::read_write("packed"),
    PARAMS,
];

const TO_SUM: &[Binding] = &[
    Binding::read("panels"),
    Binding::read_structs("blocks", BLOCKS),
    Binding::read("tiles"),
    Binding::read_structs("terms", TERMS),
    Binding::read_write("h"),
    PARAMS,
];

const TO_MIRROR: &[Binding] = &[Binding::read_write("whole"), PARAMS];

const SOURCE: &str = include_str!("../../../shaders/curvature.wgsl");

const fn kernel(entry: &'static str, bindings: &'static [Binding]) -> Kernel {
    Kernel {
        shader: "curvature",
        source: SOURCE,
        entry,
        bindings,
    }
}

/// The kernels of `shaders/curvature.wgsl`, in the order in which they run.
pub const KERNELS: &[Kernel] = &[
    kernel("pack", TO_PACK),
    kernel("sum", TO_SUM),
    kernel("mirror", TO_MIRROR),
];

/// A design that lies on a device.
pub(in crate::ops) struct Held<'a> {
    /// Neurons, and values from one sample to the next.
    pub neurons: usize,
    pub stride: usize,
    /// Parts of the samples, one after the other.
    pub blocks: &'a [(Range<usize>, Buffer<f32>)],
}

/// A tile's side, and words of packed entries at once.
fn sizes(gpu: &Gpu, rows: &[Vec<usize>]) -> (usize, usize) {
    let words = plan::room(gpu.binding_bytes()) / size_of::<Word>() as u64;
    (plan::side(rows), words as usize)
}

/// Whether an H of these rows, a run of packed entries, and what is uploaded to sum it, fit bindings of the device.
pub(in crate::ops) fn fits(gpu: &Gpu, rows: &[Vec<usize>], terms: &[&Terms]) -> bool {
    let n: usize = rows.iter().map(Vec::len).sum();
    let largest = plan::largest(&Sides::of(rows, terms), sizes(gpu, rows));
    n > 0 && largest.is_some_and(|largest| largest.max(4 * n * n) as u64 <= gpu.binding_bytes())
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
    let pairs = Sides::of(rows, terms);
    let sizes = sizes(gpu, rows);
    let parts = held.blocks.iter();
    let plans: Vec<Plan> = parts
        .map(|(samples, _)| Plan::new(&pairs, samples, sizes))
        .collect();
    let job = Job::new(gpu, held, rows, &plans)?;
    for ((_, x), plan) in held.blocks.iter().zip(&plans) {
        job.sum(gpu, x, plan)?;
    }
    job.mirror(gpu)?;
    let values = gpu.download(&job.h)?;
    let n = job.entries();
    let h = Array2::from_shape_vec((n, n), values).expect("it has that many values");
    verify::trusted(std::slice::from_ref(gpu), "the Hessian of a probe", || {
        check::wrong(&h, rows, terms, gather)
    })?;
    Ok(h)
}

/// Four packed entries.
type Word = [f32; 4];

/// What all parts of the samples have in common.
struct Job<'a> {
    held: &'a Held<'a>,
    columns: Buffer<u32>,
    /// What each chunk overwrites.
    packed: Buffer<Word>,
    /// Zeros at first: terms are added to it.
    h: Buffer<f32>,
    /// What `sum` is compiled with.
    constants: [(&'static str, f64); 3],
}

/// What a part of the samples needs on the device.
struct Tables {
    terms: Buffer<Term>,
    slices: Buffer<Slice>,
    blocks: Buffer<Block>,
    tiles: Buffer<[u32; 4]>,
}

impl<'a> Job<'a> {
    fn new(gpu: &Gpu, held: &'a Held<'a>, rows: &[Vec<usize>], plans: &[Plan]) -> Result<Self> {
        let column = |&row: &usize| row.checked_sub(1).map_or(ONE, |neuron| neuron as u32);
        debug_assert!(rows.iter().flatten().all(|&row| row <= held.neurons));
        let columns: Vec<u32> = rows.iter().flatten().map(column).collect();
        let words = plans.iter().map(|plan| plan.words).max();
        let side = plan::side(rows) / 8;
        let constants = [
            ("SIDE", side),
            ("THREADS", side * side),
            ("WORDS", 2 * side),
        ];
        Ok(Self {
            held,
            columns: gpu.upload("entries of a Hessian", &columns)?,
            packed: gpu.zeros("packed entries of a Hessian", words.unwrap_or(0))?,
            h: gpu.zeros("Hessian", columns.len().pow(2))?,
            constants: constants.map(|(name, value)| (name, value as f64)),
        })
    }

    fn entries(&self) -> usize {
        self.columns.len()
    }

    /// Adds the terms of one part of the samples, chunk by chunk: what is above H's diagonal.
    fn sum(&self, gpu: &Gpu, x: &Buffer<f32>, plan: &Plan) -> Result<()> {
        if plan.chunks.is_empty() {
            return Ok(());
        }
        let tables = Tables {
            terms: gpu.upload("terms of a Hessian", &plan.terms)?,
            slices: gpu.upload("slices of a Hessian", &plan.slices)?,
            blocks: gpu.upload("blocks of a Hessian", &plan.blocks)?,
            tiles: gpu.upload("tiles of a Hessian", &plan.tiles)?,
        };
        for chunk in &plan.chunks {
            gpu.paced("curvature", (chunk.tiles.len(), chunk.flop), |some| {
                let mut dispatches = Vec::new();
                if some.start == 0 {
                    dispatches.push(self.pack(x, &tables, &chunk.slices));
                }
                let first = chunk.tiles.start;
                dispatches.push(self.tiles(&tables, first + some.start..first + some.end));
                gpu.submit("curvature", &dispatches)
            })?;
        }
        Ok(())
    }

    fn pack<'s>(
        &'s self,
        x: &'s Buffer<f32>,
        tables: &'s Tables,
        slices: &Range<usize>,
    ) -> Dispatch<'s> {
        Dispatch {
            kernel: &KERNELS[0],
            constants: &[],
            slots: vec![
                x.all(),
                self.columns.all(),
                tables.slices.all(),
                tables.terms.all(),
                self.packed.all(),
                self.params(slices),
            ],
            groups: slices.len(),
        }
    }

    fn tiles<'s>(&'s self, tables: &'s Tables, tiles: Range<usize>) -> Dispatch<'s> {
        Dispatch {
            kernel: &KERNELS[1],
            constants: &self.constants,
            slots: vec![
                self.packed.all(),
                tables.blocks.all(),
                tables.tiles.all(),
                tables.terms.all(),
                self.h.all(),
                self.params(&tiles),
            ],
            groups: tiles.len(),
        }
    }

    /// What is above H's diagonal, below it.
    fn mirror(&self, gpu: &Gpu) -> Result<()> {
        let copied = self.entries().pow(2).div_ceil(COPIED);
        let mirror = Dispatch {
            kernel: &KERNELS[2],
            constants: &[],
            slots: vec![self.h.all(), self.params(&(0..copied))],
            groups: copied,
        };
        gpu.submit("curvature", &[mirror])
    }

    fn params(&self, groups: &Range<usize>) -> Slot<'static> {
        Slot::params(&Params {
            neurons: self.held.neurons as u32,
            stride: self.held.stride as u32,
            entries: self.entries() as u32,
            groups: groups.end as u32,
            first: groups.start as u32,
            unused0: 0,
            unused1: 0,
            unused2: 0,
        })
    }
}
