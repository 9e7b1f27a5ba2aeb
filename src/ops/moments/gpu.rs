//! The host side of `shaders/moments.wgsl`: two passes over blocks of samples, partial sums added in f64.

use std::mem::offset_of;
use std::ops::Range;

use bytemuck::{Pod, Zeroable};
use ndarray::{Array2, ArrayView2};

use super::{Sums, TOLERANCE};
use crate::error::Result;
use crate::gpu::{Binding, Buffer, Dispatch, Gpu, Kernel, Layout, Slot, blocks};
use crate::labels::Labels;
use crate::ops::verify;

/// Samples whose deviations are added in f32.
pub(super) const RUN: usize = 256;

/// Neurons a workgroup.
const GROUP: usize = 64;

/// Neurons that are summed natively as well.
const SUMMED: usize = 16;

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
    let finite = deviation.iter().chain(&square).all(|sum| sum.is_finite());
    if !finite && overflows(x) {
        return Err(gpu.error("moments", "the values overflow 32-bit sums".into()));
    }
    let sums = Sums {
        shift: mean.into_iter().map(f64::from).collect(),
        deviation,
        square,
    };
    verify::trusted(std::slice::from_ref(gpu), "moments", || {
        Ok(wrong(x, (&shift, &first), &sums))
    })?;
    Ok(sums)
}

/// Whether the range of any neuron, or a run of values so far apart, is more than f32 holds.
fn overflows(x: ArrayView2<'_, f32>) -> bool {
    x.columns().into_iter().any(|column| {
        let range = |(low, high): (f32, f32), value: &f32| (low.min(*value), high.max(*value));
        let (low, high) = column.iter().fold((f32::MAX, f32::MIN), range);
        !((high - low) * RUN as f32).is_finite()
    })
}

/// What is wrong with sums around the mean, by those around the provisional shift, which came back before, and by some
/// neurons that are summed natively.
fn wrong(x: ArrayView2<'_, f32>, (shift, first): (&[f32], &Found), sums: &Sums) -> Option<String> {
    let (samples, neurons) = x.dim();
    let n = samples as f64;
    for (j, mean) in sums.shift.iter().enumerate() {
        let rest = sums.deviation.column(j).sum();
        let around = 1e-6 * f64::from(first.largest[j]) + 1.2e-7 * mean.abs() + 1e-37;
        let (before, after) = (first.squares[j], sums.square[j]);
        let expected = after + n * (mean - f64::from(shift[j])).powi(2);
        // Squares that f32 does not hold are no evidence.
        let known = before.is_finite() && before > 1e-30 * n;
        let fits = rest.abs() <= n * around
            && after.is_finite()
            && (!known || (before - expected).abs() <= 1e-4 * before);
        if !fits {
            return Some(format!("sums of neuron {j} do not fit one another"));
        }
    }
    let from = neurons.saturating_sub(SUMMED) / 2;
    let some = x.slice(ndarray::s![.., from..neurons.min(from + SUMMED)]);
    for (at, column) in some.columns().into_iter().enumerate() {
        let j = from + at;
        let mean = column.iter().map(|value| f64::from(*value)).sum::<f64>() / n;
        let squares = column
            .iter()
            .map(|value| (f64::from(*value) - mean).powi(2));
        let sd = (squares.sum::<f64>() / n).sqrt();
        let residual = sums.deviation.column(j).sum() / n;
        let found = sums.shift[j] + residual;
        let spread = (sums.square[j] / n - residual * residual).max(0.0).sqrt();
        let allowed = 10.0 * TOLERANCE * sd + 1e-37;
        if (found - mean).abs() > allowed || (spread - sd).abs() > allowed {
            return Some(format!(
                "mean and sd of neuron {j} are {found:e} and {spread:e} instead of {mean:e} and {sd:e}"
            ));
        }
    }
    None
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
