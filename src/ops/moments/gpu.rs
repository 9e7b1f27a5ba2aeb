//! The host side of `shaders/moments.wgsl`: two passes over blocks of samples, partial sums added in f64.

use std::mem::offset_of;
use std::ops::Range;

use bytemuck::{Pod, Zeroable};
use ndarray::{Array2, ArrayView2};

use super::Sums;
use crate::error::Result;
use crate::gpu::{Binding, Buffer, Dispatch, Gpu, Kernel, Layout, Slot, blocks};
use crate::labels::Labels;

/// Samples whose deviations are added in f32.
pub(super) const RUN: usize = 256;

/// Neurons a workgroup.
const GROUP: usize = 64;

/// Samples whose mean is the provisional shift.
const PROVISIONAL: usize = 1024;

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Params {
    neurons: u32,
    count: u32,
    first: u32,
    width: u32,
}

/// The kernels of `shaders/moments.wgsl`.
pub const KERNELS: &[Kernel] = &[Kernel {
    shader: "moments",
    source: include_str!("../../../shaders/moments.wgsl"),
    entry: "partial_sums",
    bindings: &[
        Binding::read("x"),
        Binding::read("order"),
        Binding::read("runs"),
        Binding::read("shift"),
        Binding::read("scale"),
        Binding::read_write("partials"),
        Binding::params(
            "p",
            Layout {
                name: "Params",
                size: size_of::<Params>(),
                fields: &[
                    ("neurons", offset_of!(Params, neurons)),
                    ("count", offset_of!(Params, count)),
                    ("first", offset_of!(Params, first)),
                    ("width", offset_of!(Params, width)),
                ],
            },
        ),
    ],
}];

/// Sums around the mean.
pub(super) fn sums(gpu: &Gpu, x: ArrayView2<'_, f32>, groups: Option<&Labels>) -> Result<Sums> {
    gpu.fitting(|gpu| attempt(gpu, x, groups))
}

fn attempt(gpu: &Gpu, x: ArrayView2<'_, f32>, groups: Option<&Labels>) -> Result<Sums> {
    let mut pass = Pass::new(gpu, x, groups)?;
    let shift = provisional(x);
    let first = pass.run(&shift, &vec![1.0; shift.len()])?;
    let n = x.nrows() as f64;
    let mean: Vec<f32> = first
        .sums
        .sum_axis(ndarray::Axis(0))
        .iter()
        .zip(&shift)
        .map(|(sum, shift)| (f64::from(*shift) + sum / n) as f32)
        .collect();
    let scale: Vec<f32> = first.largest.iter().map(|&range| to_one(range)).collect();
    let second = pass.run(&mean, &scale)?;
    let mut deviation = second.sums;
    for mut row in deviation.outer_iter_mut() {
        for (sum, scale) in row.iter_mut().zip(&scale) {
            *sum /= f64::from(*scale);
        }
    }
    let square: Vec<f64> = second
        .squares
        .iter()
        .zip(&scale)
        .map(|(sum, scale)| sum / f64::from(*scale) / f64::from(*scale))
        .collect();
    if !deviation.iter().chain(&square).all(|sum| sum.is_finite()) {
        return Err(gpu.error("moments", "the values overflow 32-bit sums".into()));
    }
    let shift = mean.into_iter().map(f64::from).collect();
    Ok(Sums {
        shift,
        deviation,
        square,
    })
}

/// Mean of the first samples: near enough to the mean for f32 sums around it to be exact to the spread.
fn provisional(x: ArrayView2<'_, f32>) -> Vec<f32> {
    let rows = x.nrows().min(PROVISIONAL);
    let mut sums = vec![0f64; x.ncols()];
    for row in x.outer_iter().take(rows) {
        for (sum, value) in sums.iter_mut().zip(row) {
            *sum += f64::from(*value);
        }
    }
    sums.iter().map(|sum| (sum / rows as f64) as f32).collect()
}

/// A power of two that brings `range` near 1, so that squares neither overflow nor vanish; 1 where there is no range.
fn to_one(range: f32) -> f32 {
    if range == 0.0 {
        return 1.0;
    }
    2f32.powi(-(range.log2().ceil() as i32).clamp(-126, 126))
}

/// A pass over all samples.
struct Pass<'a> {
    gpu: &'a Gpu,
    x: ArrayView2<'a, f32>,
    classes: usize,
    blocks: Vec<Block>,
    /// The samples on the device, where they all fit one binding.
    resident: Option<Buffer<f32>>,
}

/// Samples that are on the device at once.
struct Block {
    rows: Range<usize>,
    /// The samples of the block, counted from its first, sorted by class.
    order: Vec<u32>,
    /// Runs of `order` of at most [`RUN`] samples, and their class.
    runs: Vec<[u32; 2]>,
    class: Vec<usize>,
}

/// What a pass finds.
struct Found {
    /// Σ d of each class and neuron.
    sums: Array2<f64>,
    /// Σ d² of each neuron.
    squares: Vec<f64>,
    /// Largest |d| of each neuron.
    largest: Vec<f32>,
}

impl<'a> Pass<'a> {
    fn new(gpu: &'a Gpu, x: ArrayView2<'a, f32>, groups: Option<&Labels>) -> Result<Self> {
        let rows = gpu.fit("samples", x.ncols() * 4, 1)?;
        Ok(Self {
            gpu,
            x,
            classes: groups.map_or(1, |labels| labels.classes().len()),
            blocks: blocks(x.nrows(), rows)
                .map(|rows| Block::new(rows, groups))
                .collect(),
            resident: None,
        })
    }

    /// Sums of d = (x − shift) · scale.
    fn run(&mut self, shift: &[f32], scale: &[f32]) -> Result<Found> {
        let neurons = self.x.ncols();
        let mut found = Found {
            sums: Array2::zeros((self.classes, neurons)),
            squares: vec![0.0; neurons],
            largest: vec![0.0; neurons],
        };
        let shift = self.gpu.upload("shift", shift)?;
        let scale = self.gpu.upload("scale", scale)?;
        for block in &self.blocks {
            let x = match self.resident.take() {
                Some(x) => x,
                None => {
                    let rows = self.x.slice(ndarray::s![block.rows.clone(), ..]);
                    let values = rows.as_slice().expect("the caller made it contiguous");
                    self.gpu.upload("samples", values)?
                }
            };
            block.add(self.gpu, &x, &shift, &scale, &mut found)?;
            if self.blocks.len() == 1 {
                self.resident = Some(x);
            }
        }
        Ok(found)
    }
}

impl Block {
    fn new(rows: Range<usize>, groups: Option<&Labels>) -> Self {
        let mut order: Vec<u32> = (0..rows.len() as u32).collect();
        let class_of = |row: u32| groups.map_or(0, |l| l.ids()[rows.start + row as usize] as usize);
        order.sort_by_key(|&row| class_of(row));
        let (mut runs, mut class) = (Vec::new(), Vec::new());
        let mut start = 0;
        for same in order.chunk_by(|&a, &b| class_of(a) == class_of(b)) {
            for run in blocks(same.len(), RUN) {
                runs.push([(start + run.start) as u32, (start + run.end) as u32]);
                class.push(class_of(same[0]));
            }
            start += same.len();
        }
        Self {
            order,
            runs,
            class,
            rows,
        }
    }

    fn add(
        &self,
        gpu: &Gpu,
        x: &Buffer<f32>,
        shift: &Buffer<f32>,
        scale: &Buffer<f32>,
        found: &mut Found,
    ) -> Result<()> {
        let neurons = shift.len();
        let width = neurons.div_ceil(GROUP);
        let order = gpu.upload("order", &self.order)?;
        let runs = gpu.upload("runs", &self.runs)?;
        let at_once = gpu
            .fit("partial sums", neurons * 16, 1)?
            .min(self.runs.len());
        let partials = gpu.zeros::<[f32; 4]>("partial sums", at_once * neurons)?;
        for part in blocks(self.runs.len(), at_once) {
            let params = Slot::params(&Params {
                neurons: neurons as u32,
                count: part.len() as u32,
                first: part.start as u32,
                width: width as u32,
            });
            let dispatch = Dispatch {
                kernel: &KERNELS[0],
                constants: &[],
                slots: vec![
                    x.all(),
                    order.all(),
                    runs.all(),
                    shift.all(),
                    scale.all(),
                    partials.all(),
                    params,
                ],
                groups: part.len() * width,
            };
            gpu.submit("moments", &[dispatch])?;
            let values = gpu.download_range(&partials, 0..part.len() * neurons)?;
            for (run, values) in part.zip(values.chunks_exact(neurons)) {
                found.add(self.class[run], values);
            }
        }
        Ok(())
    }
}

impl Found {
    fn add(&mut self, class: usize, partials: &[[f32; 4]]) {
        let mut sums = self.sums.row_mut(class);
        for (j, [sum, square, largest, _]) in partials.iter().enumerate() {
            sums[j] += f64::from(*sum);
            self.squares[j] += f64::from(*square);
            self.largest[j] = self.largest[j].max(*largest);
        }
    }
}
