//! The host side of `shaders/sweep.wgsl`: blocks of samples, all orderings at once.

use std::mem::offset_of;
use std::ops::Range;

use bytemuck::{Pod, Zeroable};
use ndarray::{Array2, ArrayView2, s};
use rayon::prelude::*;

use super::{Params, partial};
use crate::error::Result;
use crate::gpu::{Binding, Buffer, Dispatch, Gpu, Kernel, Layout, Slot, blocks};
use crate::labels::Labels;
use crate::ops::partial::Groups;

/// Samples, or points, a workgroup.
const GROUP: usize = 64;

/// Classes whose logits fit the registers of a thread.
const FEW: usize = 16;

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

/// Where an ordering's numbers lie.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Span {
    start: u32,
    length: u32,
    row: u32,
    point: u32,
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

const SPAN: Layout = Layout {
    name: "Span",
    size: size_of::<Span>(),
    fields: &[
        ("start", offset_of!(Span, start)),
        ("length", offset_of!(Span, length)),
        ("row", offset_of!(Span, row)),
        ("point", offset_of!(Span, point)),
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
            Binding::read("initial"),
            Binding::read("orders"),
            Binding::read_structs("spans", SPAN),
            Binding::read("labels"),
            Binding::read_write("hits"),
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
            Binding::params("p", UNIFORM),
            Binding::read_write("logits"),
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
const FEW_CLASSES: &Kernel = &KERNELS[0];
const MANY_CLASSES: &Kernel = &KERNELS[1];
const COUNT: &Kernel = &KERNELS[2];

/// Right samples of each group (rows) at every point of every ordering.
pub(super) fn counts(
    gpu: &Gpu,
    x: ArrayView2<'_, f32>,
    labels: &Labels,
    params: &Params<'_>,
    groups: &Groups,
) -> Result<Vec<Array2<u32>>> {
    if params.orderings.is_empty() {
        return Ok(Vec::new());
    }
    gpu.fitting(|gpu| {
        let plan = Plan::new(params);
        let mut counts = Array2::<u32>::zeros((groups.len(), plan.points));
        let on_device = Fixed::new(gpu, &plan, params)?;
        for block in blocks(x.nrows(), plan.samples_at_once(gpu)?) {
            let hits = on_device.hits(&plan, x, labels, &groups.samples[block.clone()])?;
            on_device.count(&plan, groups, &block, &hits, &mut counts)?;
        }
        let of_ordering = |span: &Span| {
            let first = span.point as usize;
            let points = first..=first + span.length as usize;
            counts.slice(s![.., points]).to_owned()
        };
        Ok(plan.spans.iter().map(of_ordering).collect())
    })
}

/// What is where, for any block of samples.
struct Plan {
    classes: usize,
    /// The neurons that any ordering lists, ascending: only they go to the device.
    used: Vec<usize>,
    /// All orderings one after another, as places in `used`.
    orders: Vec<u32>,
    spans: Vec<Span>,
    /// Rows of hits, and points, of all orderings.
    rows: usize,
    points: usize,
    longest: usize,
}

impl Plan {
    fn new(params: &Params<'_>) -> Self {
        let mut used: Vec<usize> = params.orderings.iter().flatten().copied().collect();
        used.sort_unstable();
        used.dedup();
        let mut place = vec![0u32; params.weights.ncols()];
        for (at, &neuron) in (0u32..).zip(&used) {
            place[neuron] = at;
        }
        let mut plan = Self {
            classes: params.weights.nrows(),
            used,
            orders: Vec::new(),
            spans: Vec::new(),
            rows: 0,
            points: 0,
            longest: 0,
        };
        for ordering in params.orderings {
            plan.spans.push(Span {
                start: plan.orders.len() as u32,
                length: ordering.len() as u32,
                row: plan.rows as u32,
                point: plan.points as u32,
            });
            plan.orders
                .extend(ordering.iter().map(|&neuron| place[neuron]));
            plan.rows += ordering.len() / 32 + 1;
            plan.points += ordering.len() + 1;
            plan.longest = plan.longest.max(ordering.len());
        }
        plan
    }

    fn few(&self) -> bool {
        self.classes <= FEW
    }

    /// The largest block of samples whose activations, hits and logits each fit a binding.
    fn samples_at_once(&self, gpu: &Gpu) -> Result<usize> {
        let logits = match self.few() {
            true => 0,
            false => self.spans.len() * self.classes,
        };
        let words = self.used.len().max(self.rows).max(logits);
        gpu.fit("samples", words * 4, 1)
    }
}

/// What stays on the device from one block of samples to the next.
struct Fixed<'a, 'p> {
    gpu: &'a Gpu,
    ablated: &'p [f32],
    weights: Buffer<f32>,
    initial: Buffer<f32>,
    orders: Buffer<u32>,
    spans: Buffer<Span>,
}

impl<'a, 'p> Fixed<'a, 'p> {
    fn new(gpu: &'a Gpu, plan: &Plan, params: &Params<'p>) -> Result<Self> {
        let initial = partial(params).initial();
        let mut initial: Vec<f32> = initial.iter().map(|&logit| logit as f32).collect();
        let width = if plan.few() { FEW } else { plan.classes };
        initial.resize(width, NEVER);
        let mut weights = vec![0f32; plan.used.len() * width];
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
        })
    }

    /// One bit a point of every ordering and sample: whether it is right. `rows` are the samples.
    fn hits(
        &self,
        plan: &Plan,
        x: ArrayView2<'_, f32>,
        labels: &Labels,
        rows: &[u32],
    ) -> Result<Buffer<u32>> {
        let (gpu, samples) = (self.gpu, rows.len());
        // Neuron by neuron, so that neighbouring threads read neighbouring words.
        let mut deviations = vec![0f32; plan.used.len() * samples];
        deviations
            .par_chunks_exact_mut(samples)
            .zip(&plan.used)
            .for_each(|(to, &neuron)| {
                let replaced = self.ablated[neuron];
                let column = x.column(neuron);
                for (to, &row) in to.iter_mut().zip(rows) {
                    *to = column[row as usize] - replaced;
                }
            });
        let deviations = gpu.upload("samples", &deviations)?;
        let labels: Vec<u32> = rows.iter().map(|&row| labels.ids()[row as usize]).collect();
        let labels = gpu.upload("labels", &labels)?;
        let hits = gpu.zeros::<u32>("hits", plan.rows * samples)?;
        let logits = match plan.few() {
            true => None,
            false => Some(gpu.zeros::<f32>("logits", plan.spans.len() * plan.classes * samples)?),
        };
        let slots = vec![
            deviations.all(),
            self.weights.all(),
            self.initial.all(),
            self.orders.all(),
            self.spans.all(),
            labels.all(),
            hits.all(),
        ];
        let uniform = Uniform {
            samples: samples as u32,
            width: samples.div_ceil(GROUP) as u32,
            classes: plan.classes as u32,
            ..Uniform::zeroed()
        };
        let kernel = if plan.few() {
            FEW_CLASSES
        } else {
            MANY_CLASSES
        };
        let after: Vec<_> = logits.iter().map(Buffer::all).collect();
        // As many classes as the registers hold are computed, whether they are there or not.
        let classes = if plan.few() { FEW } else { plan.classes };
        let each = (2 * GROUP * plan.longest * classes) as f64;
        paced(
            gpu,
            kernel,
            (&slots, &after),
            uniform,
            (plan.spans.len(), each),
        )?;
        Ok(hits)
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
            let slots = vec![hits.all(), self.spans.all(), starts.all(), found.all()];
            let uniform = Uniform {
                samples: block.len() as u32,
                width: (plan.longest + 1).div_ceil(GROUP) as u32,
                groups: some.len() as u32,
                points: plan.points as u32,
                ..Uniform::zeroed()
            };
            let each = (GROUP * block.len()) as f64 / groups.len() as f64;
            let times = plan.spans.len() * some.len();
            paced(gpu, COUNT, (&slots, &[]), uniform, (times, each))?;
            let found = gpu.download(&found)?;
            let mut counts = counts.slice_mut(s![some, ..]);
            counts.iter_mut().zip(found).for_each(|(sum, n)| *sum += n);
        }
        Ok(())
    }
}

/// Runs `width` workgroups for each of `times`, each of so much work, in submissions of bounded time. The parameters are bound
/// between the two lists of slots.
fn paced<'a>(
    gpu: &Gpu,
    kernel: &Kernel,
    (slots, after): (&[Slot<'a>], &[Slot<'a>]),
    uniform: Uniform,
    (times, each): (usize, f64),
) -> Result<()> {
    let work = (uniform.width as usize * times, each);
    let key = match kernel.entry {
        "few" => "sweep, few classes",
        "many" => "sweep, many classes",
        _ => "sweep, counts",
    };
    gpu.paced(key, work, |groups| {
        let uniform = Slot::params(&Uniform {
            count: groups.len() as u32,
            first: groups.start as u32,
            ..uniform
        });
        let mut bound = slots.to_vec();
        bound.push(uniform);
        bound.extend(after.iter().cloned());
        let dispatch = Dispatch {
            kernel,
            constants: &[],
            slots: bound,
            groups: groups.len(),
        };
        gpu.submit("sweep", &[dispatch])
    })
}
