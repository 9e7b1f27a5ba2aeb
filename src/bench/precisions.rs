//! Correlations of all pairs by the kernels of each class of precision, with and without matrix units: on a GPU alone.

use half::f16;

use super::Size;
use super::correlations::{ours, outcome, shape, side};
use super::inputs::activations;
use super::measure::{Bench, Outcome, Workload};
use crate::error::Result;
use crate::gpu::{Gpu, MatrixUnits};
use crate::ops::Backend;
use crate::ops::correlation::{Kernels, Params, Precision, has_matrix_kernel, packed};
use crate::ops::moments;

/// Name, what it is, and which kernels.
const ROWS: [(&str, &str, Precision, Kernels); 5] = [
    (
        "gram.f16-in",
        "r of every pair, values rounded to f16 on the device",
        Precision::F16,
        Kernels::Plain,
    ),
    (
        "gram.split-f16",
        "r of every pair, values split into two f16 on the device, three products",
        Precision::SplitF16,
        Kernels::Plain,
    ),
    (
        "gram.matrix-f32",
        "r of every pair, in f32 on matrix units",
        Precision::F32,
        Kernels::Matrix,
    ),
    (
        "gram.matrix-f16",
        "r of every pair, values rounded to f16 on matrix units",
        Precision::F16,
        Kernels::Matrix,
    ),
    (
        "gram.matrix-split-f16",
        "r of every pair, values split into two f16 on matrix units, three products",
        Precision::SplitF16,
        Kernels::Matrix,
    ),
];

/// Those that a device can run.
pub(super) fn workloads(size: Size, gpu: &Gpu) -> Vec<Workload> {
    let (n, d) = shape(size);
    let runs = |row: &&(&str, &str, Precision, Kernels)| {
        row.3 == Kernels::Plain || has_matrix_kernel(gpu, row.2)
    };
    let workload = |(name, what, precision, kernels): &(&str, &'static str, _, _)| {
        let params = Params {
            memory: u64::MAX,
            precision: *precision,
            kernels: *kernels,
        };
        Workload {
            name: (*name).to_owned(),
            shape: format!("{n} samples x {d} neurons"),
            what,
            run: Box::new(move |bench| run(bench, &params)),
        }
    };
    ROWS.iter().filter(runs).map(workload).collect()
}

fn run(bench: &Bench<'_>, params: &Params) -> Result<Outcome> {
    let (n, d) = shape(bench.options.size);
    let x = activations(n, d, 1).mapv(f16::from_f32);
    let known = moments::streamed(&x, None)?;
    let work = |backend: &Backend| packed(backend, side(&x, &known), params);
    let ((found, computed), measured) = bench.measure(&ours, &work)?;
    let units = match (params.kernels, params.precision) {
        (Kernels::Matrix, Precision::F32) => Some(MatrixUnits::SingleBy8),
        (Kernels::Matrix, _) => Some(MatrixUnits::HalfBy16),
        _ => None,
    };
    let outcome = outcome(&x.mapv(f16::to_f32), 2.0, &found, measured);
    // What another class computed would say nothing of this one.
    let own = computed.computed == params.precision;
    Ok(Outcome {
        error: if own { outcome.error } else { f64::INFINITY },
        tolerance: params.precision.tolerance(),
        units,
        ..outcome
    })
}
