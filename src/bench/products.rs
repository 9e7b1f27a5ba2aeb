//! The two products of a pass over the activations: X·W and Xᵀ·R, by the columns of a batch of probes.
//!
//! Natively what a probe calls; on a GPU the kernels that it submits, on samples that are there. Shapes are whole numbers of
//! tiles, so nothing is padded.

use ndarray::{Array2, ArrayView2};

use super::Size;
use super::inputs::{activations, sampled};
use super::measure::{Bench, Outcome, Workload};
use super::roofs::worse;
use crate::error::{Error, Result};
use crate::gpu::{Dispatch, Gpu, Kernel, Slot};
use crate::ops::probe::{Tile, Way};
use crate::ops::{Backend, product};

/// Samples that one f32 sum of the backward pass covers, and slices of a block at most.
const CHUNK: usize = 1024;
const SLICES: usize = 8;

/// |Δ| against f64 as a multiple of the sum of the absolute values of an element's terms: f32 sums of K terms err by some
/// √K · 6e-8 of it, and K is at most ten thousand.
const TOLERANCE: f64 = 1e-5;

/// Rows and columns of the result that are compared with f64: enough to meet every row and column of a tile.
const SAMPLED: (usize, usize) = (96, 24);

/// Samples, neurons, and columns of W and R.
fn shapes(size: Size) -> (usize, usize, &'static [usize]) {
    match size {
        Size::Small => (1_024, 512, &[4, 64, 256]),
        Size::Standard => (16_384, 2_048, &[4, 64, 512, 4_096]),
        Size::Large => (32_768, 2_048, &[4, 64, 512, 4_096]),
    }
}

/// A product as a pass of probes takes it: a conversion would be timed with it.
enum Product {
    F32(Array2<f32>),
    F64(Array2<f64>),
}

pub(super) fn workloads(size: Size) -> Vec<Workload> {
    let (n, d, widths) = shapes(size);
    let ways = [
        (Way::Forward, "forward", "X W of a pass of probes"),
        (Way::Backward, "backward", "X^T R of a pass of probes"),
    ];
    let of = |(way, name, what): (Way, &str, &'static str)| {
        let name = name.to_owned();
        widths.iter().map(move |&k| Workload {
            name: format!("product.{name}.{k}"),
            shape: format!("{n} samples x {d} neurons, {k} columns"),
            what,
            run: Box::new(move |bench| run(bench, way, (n, d, k))),
        })
    };
    ways.into_iter().flat_map(of).collect()
}

fn run(bench: &Bench<'_>, way: Way, (n, d, k): (usize, usize, usize)) -> Result<Outcome> {
    let x = activations(n, d, 3);
    let right = activations(if way == Way::Forward { d } else { n }, k, 4);
    let ours = |name: &str| name.starts_with("probe/");
    let work = |backend: &Backend| match (backend.gpu(), way) {
        (None, Way::Forward) => product::forward(x.view(), right.view()).map(Product::F32),
        (None, Way::Backward) => product::backward(x.view(), right.view()).map(Product::F64),
        (Some(gpu), _) => on_device(gpu, way, x.view(), right.view()),
    };
    let (found, measured) = bench.measure(&ours, &work)?;
    let found = match found {
        Product::F32(values) => values.mapv(f64::from),
        Product::F64(values) => values,
    };
    let mut error = 0.0;
    for i in sampled(found.nrows(), SAMPLED.0) {
        for j in sampled(k, SAMPLED.1) {
            let left = match way {
                Way::Forward => x.row(i),
                Way::Backward => x.column(i),
            };
            let pairs = left.into_iter().zip(right.column(j));
            let terms: Vec<f64> = pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).collect();
            let size: f64 = terms.iter().map(|term| term.abs()).sum();
            let off = (found[[i, j]] - terms.iter().sum::<f64>()).abs();
            error = worse(error, off / size);
        }
    }
    let (n, d, k) = (n as f64, d as f64, k as f64);
    Ok(Outcome {
        error_is: "largest error of an element, as a share of the sum of its terms' sizes",
        error,
        tolerance: TOLERANCE,
        flop: Some(2.0 * n * d * k),
        bytes: Some(4.0 * (n * d + d * k + n * k)),
        units: None,
        measured,
    })
}

/// From host memory and back; partial sums of slices, which the backward pass has, are added in f64.
fn on_device(
    gpu: &Gpu,
    way: Way,
    x: ArrayView2<'_, f32>,
    right: ArrayView2<'_, f32>,
) -> Result<Product> {
    let ((n, d), k) = (x.dim(), right.ncols());
    let (rows, inner, slice) = match way {
        Way::Forward => (n, d, 0),
        Way::Backward => (d, n, n.div_ceil(SLICES).next_multiple_of(CHUNK)),
    };
    let slices = match way {
        Way::Forward => 1,
        Way::Backward => n.div_ceil(slice),
    };
    let tile = Tile::of(way, (rows, k), slices);
    let (down, across) = tile.grid(way, (rows, k));
    let groups = tile.groups(way, (rows, k), slices);
    let kernel = tile.kernel(way);
    let words = words(
        kernel,
        &[
            ("neurons4", d / 4),
            ("columns4", k / 4),
            ("inner", inner),
            ("tiles_across", across),
            ("tiles_down", down),
            ("slice", slice),
            ("groups", groups),
            ("first", 0),
        ],
    )?;
    let params = Slot::params(&words);
    let x = gpu.upload("samples", x.as_slice().expect("it was made in rows"))?;
    let right = gpu.upload("columns", right.as_slice().expect("it was made in rows"))?;
    let result = gpu.zeros::<f32>("result", slices * rows * k)?;
    let dispatch = Dispatch {
        kernel,
        constants: &tile.constants(),
        slots: vec![x.all(), right.all(), result.all(), params],
        groups,
    };
    gpu.submit("probe", &[dispatch])?;
    let result = gpu.download(&result)?;
    if way == Way::Forward {
        let values = Array2::from_shape_vec((rows, k), result);
        return Ok(Product::F32(values.expect("it is of one slice")));
    }
    let mut sums = Array2::zeros((rows, k));
    for part in result.chunks_exact(rows * k) {
        for (sum, value) in sums.iter_mut().zip(part) {
            *sum += f64::from(*value);
        }
    }
    Ok(Product::F64(sums))
}

/// A kernel's parameters, each at the place of its name.
fn words(kernel: &Kernel, values: &[(&str, usize)]) -> Result<[u32; 8]> {
    let layout = kernel.bindings.iter().find_map(|binding| binding.layout);
    let layout = layout.filter(|layout| layout.size == 32 && layout.fields.len() == values.len());
    let mut words = [0; 8];
    for (name, value) in values {
        let field = layout.and_then(|layout| layout.fields.iter().find(|field| field.0 == *name));
        let (_, offset) = field.ok_or_else(|| {
            Error::invalid(
                format!("kernel {}", kernel.entry),
                format!("its parameters are not those of the bench: {name}"),
                "This is a bug: report it",
            )
        })?;
        words[offset / 4] = *value as u32;
    }
    Ok(words)
}
