//! The host side of `shaders/probe_loss.wgsl`: what a question takes on a device, and its way there and back.

use std::cell::RefCell;
use std::mem::offset_of;

use bytemuck::{Pod, Zeroable};

use super::{ASKING, Stretch, Wanted};
use crate::error::Result;
use crate::gpu::{Binding, Buffer, Dispatch, Gpu, Kernel, Layout, Slot};
use crate::ops::probe::gpu::{Block, Product, ROWS, Resident, Room, SLICES};
use crate::ops::probe::passes::AT_ONCE;
use crate::ops::probe::tile::{Tile, Way};

/// Samples of a workgroup of `loss`, whose losses are added there.
const PART: usize = 64;
/// Samples of a run of `columns`, and columns of a workgroup.
const RUN: usize = 2048;
const STRIP: usize = 64;
/// Words of four values that a workgroup of `add_up` adds.
const WORDS: usize = 64;

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct LossParams {
    width: u32,
    column: u32,
    classes: u32,
    problems: u32,
    samples: u32,
    sample: u32,
    parts: u32,
    part: u32,
    problem: u32,
    groups: u32,
    first: u32,
    padding: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct ColumnsParams {
    width: u32,
    samples: u32,
    sample: u32,
    run: u32,
    groups: u32,
    first: u32,
    padding: [u32; 2],
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct AddingParams {
    words: u32,
    slices: u32,
    accumulate: u32,
    groups: u32,
}

const SOURCE: &str = include_str!("../../../../shaders/probe_loss.wgsl");

/// The kernels of `shaders/probe_loss.wgsl`.
pub const KERNELS: &[Kernel] = &[
    Kernel {
        shader: "probe_loss",
        source: SOURCE,
        entry: "loss",
        bindings: &[
            Binding::read_write("z"),
            Binding::read("targets"),
            Binding::read("weights"),
            Binding::read("intercepts"),
            Binding::read_write("losses"),
            Binding::params(
                "p",
                Layout {
                    name: "Loss",
                    size: size_of::<LossParams>(),
                    fields: &[
                        ("width", offset_of!(LossParams, width)),
                        ("column", offset_of!(LossParams, column)),
                        ("classes", offset_of!(LossParams, classes)),
                        ("problems", offset_of!(LossParams, problems)),
                        ("samples", offset_of!(LossParams, samples)),
                        ("sample", offset_of!(LossParams, sample)),
                        ("parts", offset_of!(LossParams, parts)),
                        ("part", offset_of!(LossParams, part)),
                        ("problem", offset_of!(LossParams, problem)),
                        ("groups", offset_of!(LossParams, groups)),
                        ("first", offset_of!(LossParams, first)),
                        ("padding", offset_of!(LossParams, padding)),
                    ],
                },
            ),
        ],
    },
    Kernel {
        shader: "probe_loss",
        source: SOURCE,
        entry: "columns",
        bindings: &[
            Binding::read("summed"),
            Binding::read("of_samples"),
            Binding::read_write("sums"),
            Binding::params(
                "q",
                Layout {
                    name: "Columns",
                    size: size_of::<ColumnsParams>(),
                    fields: &[
                        ("width", offset_of!(ColumnsParams, width)),
                        ("samples", offset_of!(ColumnsParams, samples)),
                        ("sample", offset_of!(ColumnsParams, sample)),
                        ("run", offset_of!(ColumnsParams, run)),
                        ("groups", offset_of!(ColumnsParams, groups)),
                        ("first", offset_of!(ColumnsParams, first)),
                        ("padding", offset_of!(ColumnsParams, padding)),
                    ],
                },
            ),
        ],
    },
    Kernel {
        shader: "probe_loss",
        source: SOURCE,
        entry: "add_up",
        bindings: &[
            Binding::read("partials"),
            Binding::read_write("high"),
            Binding::read_write("low"),
            Binding::params(
                "a",
                Layout {
                    name: "Adding",
                    size: size_of::<AddingParams>(),
                    fields: &[
                        ("words", offset_of!(AddingParams, words)),
                        ("slices", offset_of!(AddingParams, slices)),
                        ("accumulate", offset_of!(AddingParams, accumulate)),
                        ("groups", offset_of!(AddingParams, groups)),
                    ],
                },
            ),
        ],
    },
];

/// What one question needs, as large as was needed so far: buffers on the device, and room on the host for what goes there and comes
/// back.
#[derive(Default)]
pub(super) struct Bench {
    buffers: [Option<Buffer<f32>>; BUFFERS],
    /// Coefficients side by side with their padding, row by row.
    pub(super) weights: Vec<f32>,
    /// As [`RETURNED`] says.
    pub(super) returned: Vec<Vec<f32>>,
}

/// What comes back of a question, in this order.
const RETURNED: [usize; 5] = [LOSSES, OF_PREDICTIONS, OF_RESIDUALS, TOTAL, LOST];

/// What the buffers hold: coefficients, intercepts, predictions and then residuals of a block, its partial gradients, the sum of all
/// blocks' and what it lost, losses, and sums of the columns of predictions and of residuals.
const RIGHT: usize = 0;
const INTERCEPTS: usize = 1;
const PREDICTIONS: usize = 2;
const PARTIALS: usize = 3;
const TOTAL: usize = 4;
const LOST: usize = 5;
const LOSSES: usize = 6;
const OF_PREDICTIONS: usize = 7;
const OF_RESIDUALS: usize = 8;
const BUFFERS: usize = 9;

/// Values of each buffer, for so many samples in all, and problems of so many padded columns together.
pub(super) fn sizes(
    room: &Room,
    samples: usize,
    (problems, width): (usize, usize),
) -> [usize; BUFFERS] {
    let gradient = room.neurons * width;
    let sums = 4 * samples.div_ceil(room.rows) * room.rows.div_ceil(RUN) * width;
    let mut sizes = [0; BUFFERS];
    sizes[RIGHT] = gradient;
    sizes[INTERCEPTS] = width;
    sizes[PREDICTIONS] = room.rows * width;
    sizes[PARTIALS] = SLICES * gradient;
    sizes[TOTAL] = gradient;
    sizes[LOST] = gradient;
    sizes[LOSSES] = problems * parts(samples);
    sizes[OF_PREDICTIONS] = sums;
    sizes[OF_RESIDUALS] = sums;
    sizes
}

/// Sums of losses of a problem.
pub(super) fn parts(samples: usize) -> usize {
    samples.next_multiple_of(ROWS) / PART
}

/// Columns that a question may have: a block's results have to fit one binding, and so have all samples' sums.
pub(super) fn at_once(room: &Room, samples: usize) -> usize {
    let sums = [LOSSES, OF_PREDICTIONS].map(|which| sizes(room, samples, (1, 1))[which]);
    let fits = |values: usize| (room.binding / (4 * values as u64)) as usize;
    room.at_once().min(fits(sums[0])).min(fits(sums[1]))
}

/// Bytes that losses and gradients of problems of so many columns together, of which the widest problem has `widest`, take on a
/// device beside the samples: what is under way at once, and targets of so many kinds.
pub fn oracle_bytes(
    shape: (usize, usize),
    (columns, widest): (usize, usize),
    kinds: usize,
    binding: u64,
) -> u64 {
    let room = Room::of(shape, binding);
    let most = columns
        .min(AT_ONCE.max(widest))
        .min(at_once(&room, shape.0));
    let bench: usize = sizes(&room, shape.0, (most, Tile::padded(most)))
        .iter()
        .sum();
    // Groups of wide problems are not full.
    let under_way = ASKING.min((2 * columns).div_ceil(most.max(1)));
    4 * (under_way * bench + 2 * shape.0 * (kinds + 1)) as u64
}

impl Bench {
    /// Sees to it that every buffer has room.
    pub(super) fn fit(&mut self, gpu: &Gpu, sizes: [usize; BUFFERS]) -> Result<()> {
        for (buffer, len) in self.buffers.iter_mut().zip(sizes) {
            if buffer.as_ref().is_none_or(|buffer| buffer.len() < len) {
                *buffer = None; // what is too small makes room first
                *buffer = Some(gpu.zeros("losses and gradients", len)?);
            }
        }
        Ok(())
    }

    /// Where coefficients go.
    pub(super) fn right(&self) -> &Buffer<f32> {
        self.at(RIGHT)
    }

    /// Where intercepts go.
    pub(super) fn intercepts(&self) -> &Buffer<f32> {
        self.at(INTERCEPTS)
    }

    fn at(&self, which: usize) -> &Buffer<f32> {
        self.buffers[which].as_ref().expect("there is room for all")
    }
}

/// A product of a block, and what follows it.
struct Stage<'p> {
    product: Product<'p>,
    then: Vec<Dispatch<'p>>,
}

/// A question on its way.
pub(super) struct Asked<'q> {
    pub resident: &'q Resident<'q>,
    pub bench: &'q Bench,
    /// Padded columns.
    pub width: usize,
    pub wanted: Wanted,
    pub stretches: &'q [Stretch],
    /// Σ x and Σ |x| of each sample, where sums are checked.
    pub of_samples: Option<&'q Buffer<f32>>,
}

const CHECKED: &[(&str, f64)] = &[("CHECKED", 1.0)];
const UNCHECKED: &[(&str, f64)] = &[("CHECKED", 0.0)];

impl Asked<'_> {
    /// Computes all of it, of so many problems, in submissions of bounded time, and fetches what came of it into `returned`. The way back
    /// begins with the last submission: behind it there may be other questions.
    pub(super) fn answered(&self, problems: usize, returned: &mut Vec<Vec<f32>>) -> Result<()> {
        let each = self.resident.blocks.iter().enumerate();
        let stages: Vec<Stage<'_>> = each
            .flat_map(|(at, block)| self.stages(at, block))
            .collect();
        let groups = stages.iter().map(|stage| stage.product.groups).sum();
        let work = stages
            .iter()
            .map(|stage| stage.product.each)
            .fold(0.0, f64::max);
        let gpu = self.resident.gpu;
        let parts = self.parts(problems);
        let reading = RefCell::new(None);
        gpu.paced("loss", (groups, work), |some| {
            let mut begin = 0;
            let mut dispatches = Vec::new();
            for stage in &stages {
                let end = begin + stage.product.groups;
                let here = some.start.max(begin)..some.end.min(end);
                if !here.is_empty() {
                    let last = here.end == end;
                    dispatches.push(stage.product.dispatch(here.start - begin..here.end - begin));
                    dispatches.extend(stage.then.iter().filter(|_| last).cloned());
                }
                begin = end;
            }
            gpu.submit("loss", &dispatches)?;
            if some.end == groups {
                reading.replace(gpu.reading(&parts)?);
            }
            Ok(())
        })?;
        match reading.into_inner() {
            Some(reading) => gpu.read(reading, returned)?,
            None => *returned = gpu.download_each(&parts)?,
        }
        Ok(())
    }

    /// What comes back, and how many values of it.
    fn parts(&self, problems: usize) -> [(&Buffer<f32>, usize); RETURNED.len()] {
        let (room, samples) = (&self.resident.room, self.resident.slab.samples());
        let sizes = sizes(room, samples, (problems, self.width));
        let checked = self.of_samples.is_some();
        RETURNED.map(|which| {
            let wanted = checked || which != OF_PREDICTIONS;
            (self.bench.at(which), if wanted { sizes[which] } else { 0 })
        })
    }

    /// The two products of a block.
    fn stages<'p>(&'p self, at: usize, block: &'p Block) -> Vec<Stage<'p>> {
        let bench = self.bench;
        let z = bench.at(PREDICTIONS);
        let product = |right, result, way| {
            self.resident
                .product(block, (right, 0), result, (way, self.width))
        };
        let mut then = Vec::new();
        if self.of_samples.is_some() {
            then.push(self.columns(at, block, OF_PREDICTIONS));
        }
        then.extend(
            self.stretches
                .iter()
                .map(|stretch| self.losses(stretch, block)),
        );
        let forward = product(bench.at(RIGHT), z, Way::Forward);
        then.push(self.columns(at, block, OF_RESIDUALS));
        let mut backward = product(z, bench.at(PARTIALS), Way::Backward);
        if self.wanted == Wanted::Diagonal {
            backward.constants.push(("SQUARE", 1.0));
        }
        let words = self.resident.room.neurons * self.width / 4;
        let adding = AddingParams {
            words: words as u32,
            slices: (backward.values / (4 * words)) as u32,
            accumulate: u32::from(at > 0),
            groups: words.div_ceil(WORDS) as u32,
        };
        let [partials, total, lost] = [PARTIALS, TOTAL, LOST].map(|which| bench.at(which).all());
        let add_up = Dispatch {
            kernel: &KERNELS[2],
            constants: &[],
            slots: vec![partials, total, lost, Slot::params(&adding)],
            groups: words.div_ceil(WORDS),
        };
        let both = [(forward, then), (backward, vec![add_up])];
        both.map(|(product, then)| Stage { product, then }).into()
    }

    /// Losses of a stretch of problems, and what becomes of their predictions.
    fn losses<'p>(&'p self, stretch: &'p Stretch, (rows, _): &Block) -> Dispatch<'p> {
        let groups = rows.len().next_multiple_of(ROWS) / PART * stretch.problems;
        let params = LossParams {
            width: self.width as u32,
            column: stretch.column as u32,
            classes: stretch.classes as u32,
            problems: stretch.problems as u32,
            samples: rows.len() as u32,
            sample: rows.start as u32,
            parts: parts(self.resident.slab.samples()) as u32,
            part: (rows.start / PART) as u32,
            problem: stretch.problem as u32,
            groups: groups as u32,
            first: 0,
            padding: 0,
        };
        let [z, intercepts, losses] =
            [PREDICTIONS, INTERCEPTS, LOSSES].map(|which| self.bench.at(which).all());
        let (y, weights) = (stretch.aim.y.all(), stretch.aim.weights.all());
        Dispatch {
            kernel: &KERNELS[0],
            constants: &stretch.constants,
            slots: vec![z, y, weights, intercepts, losses, Slot::params(&params)],
            groups,
        }
    }

    /// Sums of the columns of what the predictions' buffer holds then.
    fn columns(&self, at: usize, (rows, _): &Block, sums: usize) -> Dispatch<'_> {
        let height = rows.len().next_multiple_of(ROWS);
        let groups = height.div_ceil(RUN) * self.width.div_ceil(STRIP);
        let params = ColumnsParams {
            width: self.width as u32,
            samples: rows.len() as u32,
            sample: rows.start as u32,
            run: (at * self.resident.room.rows.div_ceil(RUN)) as u32,
            groups: groups as u32,
            first: 0,
            padding: [0; 2],
        };
        // Where nothing is checked, nothing is read there.
        let (of_samples, constants) = match self.of_samples {
            Some(of_samples) => (of_samples, CHECKED),
            None => (self.bench.at(INTERCEPTS), UNCHECKED),
        };
        let z = self.bench.at(PREDICTIONS).all();
        Dispatch {
            kernel: &KERNELS[1],
            constants,
            slots: vec![
                z,
                of_samples.all(),
                self.bench.at(sums).all(),
                Slot::params(&params),
            ],
            groups,
        }
    }
}

/// The runs of samples whose sums each block has, among all.
pub(super) fn runs(resident: &Resident<'_>) -> impl Iterator<Item = usize> {
    let apart = resident.room.rows.div_ceil(RUN);
    let each = resident.blocks.iter().enumerate();
    each.flat_map(move |(at, (rows, _))| {
        let first = at * apart;
        first..first + rows.len().next_multiple_of(ROWS).div_ceil(RUN)
    })
}
