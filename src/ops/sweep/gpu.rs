//! The host side of `shaders/sweep.wgsl`: blocks of samples, all orderings at once.

use std::mem::offset_of;
use std::ops::Range;

use bytemuck::{Pod, Zeroable};
use ndarray::{Array2, ArrayView2, s};
use rayon::prelude::*;

use super::plan::{PIECES, Piece, Plan, SPAN, Span};
use super::{Params, partial};
use crate::error::Result;
use crate::gpu::{Binding, Buffer, Dispatch, Gpu, Kernel, Layout, Slot, blocks};
use crate::labels::Labels;
use crate::ops::partial::Groups;

/// Samples a workgroup.
const GROUP: usize = 64;

/// Neurons whose activations are turned at once: a line of the cache.
const BESIDE: usize = 16;

/// Points and shares of the samples that a workgroup counts.
const COUNTERS: usize = 256;

/// The logit of a class that does not exist.
const NEVER: f32 = -3e38;

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Uniform {
    samples: u32,
    width: u32,
    classes: u32,
    count: u32,
    first: u32,
    groups: u32,
    points: u32,
    padding: u32,
}

const UNIFORM: Layout = Layout {
    name: "Params",
    size: size_of::<Uniform>(),
    fields: &[
        ("samples", offset_of!(Uniform, samples)),
        ("width", offset_of!(Uniform, width)),
        ("classes", offset_of!(Uniform, classes)),
        ("count", offset_of!(Uniform, count)),
        ("first", offset_of!(Uniform, first)),
        ("groups", offset_of!(Uniform, groups)),
        ("points", offset_of!(Uniform, points)),
        ("padding", offset_of!(Uniform, padding)),
    ],
};

const fn kernel(entry: &'static str, bindings: &'static [Binding]) -> Kernel {
    Kernel {
        shader: "sweep",
        source: include_str!("../../../shaders/sweep.wgsl"),
        entry,
        bindings,
    }
}

/// The kernels of `shaders/sweep.wgsl`.
pub const KERNELS: &[Kernel] = &[
    kernel(
        "few",
        &[
            Binding::read("deviations"),
            Binding::read("weights4"),
            Binding::read("initial4"),
            Binding::read("orders"),
            Binding::read_structs("parts", PIECES),
            Binding::read("labels"),
            Binding::read_write("hits"),
            Binding::read("starts_from"),
            Binding::params("p", UNIFORM),
        ],
    ),
    kernel(
        "many",
        &[
            Binding::read("deviations"),
            Binding::read("weights"),
            Binding::read("initial"),
            Binding::read("orders"),
            Binding::read_structs("spans", SPAN),
            Binding::read("labels"),
            Binding::read_write("hits"),
            Binding::read_write("logits"),
            Binding::params("p", UNIFORM),
        ],
    ),
    kernel(
        "sums",
        &[
            Binding::read("deviations"),
            Binding::read("weights4"),
            Binding::read("order"),
            Binding::read_structs("pieces", PIECES),
            Binding::read_write("added"),
            Binding::params("p", UNIFORM),
        ],
    ),
    kernel(
        "carry",
        &[
            Binding::read("begins"),
            Binding::read_structs("paths", SPAN),
            Binding::read_write("carried"),
            Binding::params("p", UNIFORM),
        ],
    ),
    kernel(
        "count",
        &[
            Binding::read("marks"),
            Binding::read_structs("walks", SPAN),
            Binding::read("starts"),
            Binding::read_write("counts"),
            Binding::params("q", UNIFORM),
        ],
    ),
];
const FEW: &Kernel = &KERNELS[0];
const MANY: &Kernel = &KERNELS[1];
const SUMS: &Kernel = &KERNELS[2];
const CARRY: &Kernel = &KERNELS[3];
const COUNT: &Kernel = &KERNELS[4];

/// Right samples of each group (rows) at every point of every ordering; `samples` are those of all devices.
pub(super) fn counts(
    gpu: &Gpu,
    x: ArrayView2<'_, f32>,
    labels: &Labels,
    params: &Params<'_>,
    (groups, samples): (&Groups, usize),
) -> Result<Vec<Array2<u32>>> {
    if params.orderings.is_empty() {
        return Ok(Vec::new());
    }
    gpu.fitting(|gpu| {
        let plan = Plan::new(params, samples);
        let mut counts = Array2::<u32>::zeros((groups.len(), plan.points));
        let fixed = Fixed::new(gpu, &plan, params)?;
        for block in blocks(x.nrows(), samples_at_once(&plan, gpu)?) {
            let rows = &groups.samples[block.clone()];
            let on_device = fixed.block(&plan, x, labels, rows)?;
            fixed.hits(&plan, &on_device)?;
            fixed.count(&plan, groups, &block, &on_device.hits, &mut counts)?;
        }
        let of_ordering = |span: &Span| {
            let first = span.point as usize;
            let points = first..=first + span.length as usize;
            counts.slice(s![.., points]).to_owned()
        };
        Ok(plan.spans.iter().map(of_ordering).collect())
    })
}

/// The largest block of samples whose activations, hits and logits each fit a binding.
fn samples_at_once(plan: &Plan, gpu: &Gpu) -> Result<usize> {
    let words = plan.used.len().max(plan.rows).max(plan.logits());
    gpu.fit("samples", words * 4, 1)
}

/// What stays on the device from one block of samples to the next.
struct Fixed<'a, 'p> {
    gpu: &'a Gpu,
    ablated: &'p [f32],
    weights: Buffer<f32>,
    initial: Buffer<f32>,
    orders: Buffer<u32>,
    spans: Buffer<Span>,
    pieces: Buffer<Piece>,
}

/// A block of samples on the device.
struct Block {
    samples: usize,
    deviations: Buffer<f32>,
    labels: Buffer<u32>,
    hits: Buffer<u32>,
    logits: Buffer<f32>,
}

impl<'a, 'p> Fixed<'a, 'p> {
    fn new(gpu: &'a Gpu, plan: &Plan, params: &Params<'p>) -> Result<Self> {
        let initial = partial(params).initial();
        let mut initial: Vec<f32> = initial.iter().map(|&logit| logit as f32).collect();
        let width = plan.quads().map_or(plan.classes, |quads| 4 * quads);
        initial.resize(width, NEVER);
        // Where orderings list no neuron, kernels name the first all the same.
        let mut weights = vec![0f32; plan.used.len().max(1) * width];
        for (row, &neuron) in weights.chunks_exact_mut(width).zip(&plan.used) {
            for (to, weight) in row.iter_mut().zip(params.weights.column(neuron)) {
                *to = *weight;
            }
        }
        Ok(Self {
            gpu,
            ablated: params.ablated,
            weights: gpu.upload("weights", &weights)?,
            initial: gpu.upload("biases", &initial)?,
            orders: gpu.upload("orderings", &plan.orders)?,
            spans: gpu.upload("spans", &plan.spans)?,
            pieces: gpu.upload("pieces", &plan.pieces)?,
        })
    }

    /// Takes a block of samples, the rows of X, to the device.
    fn block(
        &self,
        plan: &Plan,
        x: ArrayView2<'_, f32>,
        labels: &Labels,
        rows: &[u32],
    ) -> Result<Block> {
        let (gpu, samples) = (self.gpu, rows.len());
        let mut deviations = vec![0f32; plan.used.len() * samples];
        // Neuron by neuron, so that neighbouring threads of the device read neighbouring words; a few neurons at once, so
        // that a line of X in the cache is used for all of its values.
        deviations
            .par_chunks_mut(BESIDE * samples)
            .zip(plan.used.par_chunks(BESIDE))
            .for_each(|(to, neurons)| {
                for (at, &row) in rows.iter().enumerate() {
                    let x = x.row(row as usize);
                    for (place, &neuron) in neurons.iter().enumerate() {
                        to[place * samples + at] = x[neuron] - self.ablated[neuron];
                    }
                }
            });
        let labels: Vec<u32> = rows.iter().map(|&row| labels.ids()[row as usize]).collect();
        Ok(Block {
            samples,
            deviations: gpu.upload("samples", &deviations)?,
            labels: gpu.upload("labels", &labels)?,
            hits: gpu.zeros("hits", plan.rows * samples)?,
            logits: gpu.zeros("logits", (plan.logits() * samples).max(4))?,
        })
    }

    /// One bit a point of every ordering and sample of a block: whether it is right.
    fn hits(&self, plan: &Plan, block: &Block) -> Result<()> {
        let (weights, initial) = (self.weights.all(), self.initial.all());
        let (deviations, logits) = (block.deviations.all(), block.logits.all());
        let uniform = Uniform {
            samples: block.samples as u32,
            width: block.samples.div_ceil(GROUP) as u32,
            classes: plan.classes as u32,
            ..Uniform::zeroed()
        };
        let run = |kernel, quads: usize, slots: &[Slot<'_>], (times, each): (usize, usize)| {
            let work = (times, (GROUP * each) as f64);
            paced(self.gpu, kernel, quads, slots, uniform, work)
        };
        let Some(quads) = plan.quads() else {
            let slots = [
                deviations,
                weights,
                initial,
                self.orders.all(),
                self.spans.all(),
                block.labels.all(),
                block.hits.all(),
                logits,
            ];
            let each = 2 * plan.longest * plan.classes;
            return run(MANY, 0, &slots, (plan.spans.len(), each));
        };
        // As many classes as the registers hold are computed, whether they are there or not.
        let each = 2 * plan.piece() * 4 * quads;
        let (orders, pieces) = (self.orders.all(), self.pieces.all());
        if plan.is_cut() {
            let slots = [
                deviations.clone(),
                weights.clone(),
                orders.clone(),
                pieces.clone(),
                logits.clone(),
            ];
            run(SUMS, quads, &slots, (plan.pieces.len(), each))?;
            let slots = [initial.clone(), self.spans.all(), logits.clone()];
            let each = 4 * plan.pieces.len().div_ceil(plan.spans.len());
            run(CARRY, quads, &slots, (plan.spans.len() * quads, each))?;
        }
        let slots = [
            deviations,
            weights,
            initial,
            orders,
            pieces,
            block.labels.all(),
            block.hits.all(),
            logits,
        ];
        run(FEW, quads, &slots, (plan.pieces.len(), each))
    }

    /// Adds the bits of a block's samples up: `counts` has a row a group.
    fn count(
        &self,
        plan: &Plan,
        groups: &Groups,
        block: &Range<usize>,
        hits: &Buffer<u32>,
        counts: &mut Array2<u32>,
    ) -> Result<()> {
        let gpu = self.gpu;
        let at_once = gpu.fit("counts", plan.points * 4, 1)?;
        for some in blocks(groups.len(), at_once) {
            let mut starts: Vec<u32> = some
                .clone()
                .map(|group| groups.inside(group, block).start as u32)
                .collect();
            starts.push(groups.inside(some.end - 1, block).end as u32);
            let starts = gpu.upload("starts of groups", &starts)?;
            let found = gpu.zeros::<u32>("counts", some.len() * plan.points)?;
            let slots = [hits.all(), self.spans.all(), starts.all(), found.all()];
            let uniform = Uniform {
                samples: block.len() as u32,
                width: plan.words() as u32,
                groups: some.len() as u32,
                points: plan.points as u32,
                ..Uniform::zeroed()
            };
            let each = (COUNTERS * block.len()) as f64 / groups.len() as f64;
            let work = (plan.spans.len() * some.len(), each);
            paced(gpu, COUNT, 0, &slots, uniform, work)?;
            let found = gpu.download(&found)?;
            let mut counts = counts.slice_mut(s![some, ..]);
            counts.iter_mut().zip(found).for_each(|(sum, n)| *sum += n);
        }
        Ok(())
    }
}

/// Runs `width` workgroups for each of `times`, each of so much work, in submissions of bounded time. `quads` are what the kernel
/// is compiled for, 0 where it does not matter.
fn paced(
    gpu: &Gpu,
    kernel: &Kernel,
    quads: usize,
    slots: &[Slot<'_>],
    uniform: Uniform,
    (times, each): (usize, f64),
) -> Result<()> {
    let work = (uniform.width as usize * times, each);
    let key = match kernel.entry {
        "few" => "sweep, few classes",
        "many" => "sweep, many classes",
        "sums" => "sweep, sums",
        "carry" => "sweep, carry",
        _ => "sweep, counts",
    };
    let constants = [("QUADS", quads as f64)];
    gpu.paced(key, work, |groups| {
        let uniform = Slot::params(&Uniform {
            count: groups.len() as u32,
            first: groups.start as u32,
            ..uniform
        });
        let mut bound = slots.to_vec();
        bound.push(uniform);
        let dispatch = Dispatch {
            kernel,
            constants: if quads > 0 { &constants } else { &[] },
            slots: bound,
            groups: groups.len(),
        };
        gpu.submit("sweep", &[dispatch])
    })
}
