//! The host side of `shaders/ablation.wgsl`: blocks of samples, and of masks.

use std::mem::offset_of;
use std::ops::Range;

use bytemuck::{Pod, Zeroable};
use ndarray::{Array2, ArrayView2, s};
use rayon::prelude::*;

use super::{Masks, Params, partial, weighty};
use crate::error::Result;
use crate::gpu::{Binding, Buffer, Dispatch, Gpu, Kernel, Layout, Slot, blocks};
use crate::labels::Labels;

/// Samples a workgroup.
const GROUP: usize = 64;

/// Classes whose logits fit the registers of a thread.
const TILE: usize = 16;

/// Neurons a word.
const BITS: usize = 32;

/// The logit of a class that does not exist.
const NEVER: f32 = -3e38;

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Uniform {
    samples: u32,
    width: u32,
    neurons: u32,
    classes: u32,
    count: u32,
    first: u32,
    padding: [u32; 2],
}

const UNIFORM: Layout = Layout {
    name: "Params",
    size: size_of::<Uniform>(),
    fields: &[
        ("samples", offset_of!(Uniform, samples)),
        ("width", offset_of!(Uniform, width)),
        ("neurons", offset_of!(Uniform, neurons)),
        ("classes", offset_of!(Uniform, classes)),
        ("count", offset_of!(Uniform, count)),
        ("first", offset_of!(Uniform, first)),
        ("padding0", offset_of!(Uniform, padding)),
        ("padding1", offset_of!(Uniform, padding) + 4),
    ],
};

const fn kernel(entry: &'static str, bindings: &'static [Binding]) -> Kernel {
    Kernel {
        shader: "ablation",
        source: include_str!("../../../shaders/ablation.wgsl"),
        entry,
        bindings,
    }
}

/// The kernels of `shaders/ablation.wgsl`.
pub const KERNELS: &[Kernel] = &[
    kernel(
        "everything",
        &[
            Binding::read("deviations"),
            Binding::read("weights"),
            Binding::read("initial"),
            Binding::read_write("whole"),
            Binding::params("p", UNIFORM),
        ],
    ),
    kernel(
        "count",
        &[
            Binding::read("deviations"),
            Binding::read("weights"),
            Binding::read("initial"),
            Binding::read_write("whole"),
            Binding::params("p", UNIFORM),
            Binding::read("labels"),
            Binding::read("masks"),
            Binding::read_write("counts"),
        ],
    ),
];
const EVERYTHING: &Kernel = &KERNELS[0];
const COUNT: &Kernel = &KERNELS[1];

/// Right samples of each class under each mask, M × C.
pub(super) fn counts(
    gpu: &Gpu,
    x: ArrayView2<'_, f32>,
    labels: &Labels,
    params: &Params<'_>,
) -> Result<Array2<u32>> {
    let masks = params.masks;
    let classes = params.weights.nrows();
    if masks.is_empty() {
        return Ok(Array2::zeros((0, classes)));
    }
    gpu.fitting(|gpu| {
        let mut counts = Array2::<u32>::zeros((masks.len(), classes));
        let probe = Probe::new(gpu, params)?;
        let words = probe.used.len().max(classes.next_multiple_of(TILE));
        let samples_at_once = gpu.fit("samples", words * 4, 1)?;
        let words = probe.used.len().div_ceil(BITS) + 1;
        // The kernel numbers its workgroups, one for each mask and group of samples, in 32 bits.
        let numbered = u32::MAX as usize / samples_at_once.min(x.nrows()).div_ceil(GROUP).max(1);
        let masks_at_once = gpu.fit("masks", words.max(classes) * 4, 1)?.min(numbered);
        for block in blocks(x.nrows(), samples_at_once) {
            let samples = Samples::new(&probe, x, labels, params, block)?;
            for some in blocks(masks.len(), masks_at_once) {
                let found = samples.count(&probe, masks, some.clone())?;
                let mut counts = counts.slice_mut(s![some, ..]);
                counts.iter_mut().zip(found).for_each(|(sum, n)| *sum += n);
            }
        }
        Ok(counts)
    })
}

/// What stays on the device from one block of samples to the next.
struct Probe<'a> {
    gpu: &'a Gpu,
    /// Neurons with any weight: only they go to the device.
    used: Vec<usize>,
    classes: usize,
    weights: Buffer<f32>,
    initial: Buffer<f32>,
}

impl<'a> Probe<'a> {
    fn new(gpu: &'a Gpu, params: &Params<'_>) -> Result<Self> {
        let classes = params.weights.nrows();
        let used = weighty(params);
        let initial = partial(params).initial();
        let mut initial: Vec<f32> = initial.iter().map(|&logit| logit as f32).collect();
        initial.resize(classes.next_multiple_of(TILE), NEVER);
        let mut weights = Vec::with_capacity(used.len() * initial.len());
        for first in (0..classes).step_by(TILE) {
            for &neuron in &used {
                let column = params.weights.column(neuron);
                let padded = (first..first + TILE).map(|class| column.get(class).copied());
                weights.extend(padded.map(|weight| weight.unwrap_or(0.0)));
            }
        }
        Ok(Self {
            gpu,
            used,
            classes,
            weights: gpu.upload("weights", &weights)?,
            initial: gpu.upload("biases", &initial)?,
        })
    }
}

/// A block of samples on the device.
struct Samples {
    count: usize,
    deviations: Buffer<f32>,
    labels: Buffer<u32>,
    /// Logits of the complete probe.
    whole: Buffer<f32>,
}

impl Samples {
    fn new(
        probe: &Probe<'_>,
        x: ArrayView2<'_, f32>,
        labels: &Labels,
        params: &Params<'_>,
        block: Range<usize>,
    ) -> Result<Self> {
        let (gpu, count) = (probe.gpu, block.len());
        // Neuron by neuron, so that neighbouring threads read neighbouring words.
        let mut deviations = vec![0f32; probe.used.len() * count];
        deviations
            .par_chunks_exact_mut(count)
            .zip(&probe.used)
            .for_each(|(row, &neuron)| {
                let replaced = params.ablated[neuron];
                let column = x.column(neuron);
                for (to, sample) in row.iter_mut().zip(block.clone()) {
                    *to = column[sample] - replaced;
                }
            });
        let padded = probe.classes.next_multiple_of(TILE);
        let samples = Self {
            count,
            deviations: gpu.upload("samples", &deviations)?,
            labels: gpu.upload("labels", &labels.ids()[block])?,
            whole: gpu.zeros("logits", padded * count)?,
        };
        samples.paced(probe, EVERYTHING, &[], padded / TILE)?;
        Ok(samples)
    }

    /// Right samples of each class under some masks, mask by mask.
    fn count(&self, probe: &Probe<'_>, masks: &Masks, some: Range<usize>) -> Result<Vec<u32>> {
        let gpu = probe.gpu;
        let words = probe.used.len().div_ceil(BITS) + 1;
        let mut rows = vec![0u32; some.len() * words];
        rows.par_chunks_exact_mut(words)
            .zip(some.clone())
            .for_each(|(row, mask)| {
                let terms = masks.terms(mask, &probe.used);
                row[0] = u32::from(terms.from_whole);
                for place in terms.places {
                    row[1 + place as usize / BITS] |= 1 << (place as usize % BITS);
                }
            });
        let rows = gpu.upload("masks", &rows)?;
        let counts = gpu.zeros::<u32>("counts", some.len() * probe.classes)?;
        let after = [self.labels.all(), rows.all(), counts.all()];
        self.paced(probe, COUNT, &after, some.len())?;
        gpu.download(&counts)
    }

    /// Runs as many workgroups as the samples take for each of `times`, in submissions of bounded time.
    fn paced<'a>(
        &'a self,
        probe: &'a Probe<'_>,
        kernel: &Kernel,
        after: &[Slot<'a>],
        times: usize,
    ) -> Result<()> {
        let (gpu, width) = (probe.gpu, self.count.div_ceil(GROUP));
        // A workgroup of a mask goes through all classes, one of everything through a tile of them.
        let (key, classes) = match kernel.entry {
            "count" => ("ablation, masks", probe.classes.next_multiple_of(TILE)),
            _ => ("ablation, everything", TILE),
        };
        let each = (2 * GROUP * classes * probe.used.len()) as f64;
        gpu.paced(key, (width * times, each), |groups| {
            let uniform = Slot::params(&Uniform {
                samples: self.count as u32,
                width: width as u32,
                neurons: probe.used.len() as u32,
                classes: probe.classes as u32,
                count: groups.len() as u32,
                first: groups.start as u32,
                padding: [0; 2],
            });
            let mut slots = vec![
                self.deviations.all(),
                probe.weights.all(),
                probe.initial.all(),
                self.whole.all(),
                uniform,
            ];
            slots.extend(after.iter().cloned());
            let dispatch = Dispatch {
                kernel,
                constants: &[],
                slots,
                groups: groups.len(),
            };
            gpu.submit("ablation", &[dispatch])
        })
    }
}
