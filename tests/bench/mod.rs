//! The bench: every row is right or has no time, the document has the fields that it should, two runs are told apart only
//! where they differ. Nothing is timed here.
//!
//! - `schema`     every field of the document, its type and range, and rows without times
//! - `comparison` one run beside another
//! - `meter`      what a metered handle counts

mod comparison;
mod meter;
mod schema;

use std::sync::OnceLock;

use neurosieve::Backend;
use neurosieve::bench::results::BenchResults;
use neurosieve::bench::{Effort, Options, Size, list, run};
use neurosieve::gpu::Gpu;

use crate::support;

fn options(only: &[&str]) -> Options {
    Options {
        size: Size::Small,
        only: only.iter().map(|name| (*name).to_owned()).collect(),
        effort: Effort::once(),
    }
}

fn measured(backend: &Backend, only: &[&str]) -> BenchResults {
    run(backend, &options(only), &mut |_| {}).expect("the bench runs")
}

/// Everything natively, once for all tests.
fn native() -> &'static BenchResults {
    static RUN: OnceLock<BenchResults> = OnceLock::new();
    RUN.get_or_init(|| measured(&Backend::Cpu, &[]))
}

/// A device that was opened for measurements, where there is one.
fn device(test: &str) -> Option<Gpu> {
    let gpu = support::gpu(test)?;
    Some(gpu.for_measurements().expect("it opened once already"))
}

/// The names that `list` has, in its order.
fn listed(backend: &Backend, only: &[&str]) -> Vec<String> {
    let list = list(backend, &options(only)).expect("the names are right");
    list.rows.into_iter().map(|row| row.name).collect()
}

fn names(results: &BenchResults) -> Vec<String> {
    let roofs = results.roofs.iter().map(|roof| roof.name.clone());
    roofs
        .chain(results.workloads.iter().map(|row| row.name.clone()))
        .collect()
}

#[test]
fn natively_every_row_is_valid_and_listed() {
    let results = native();
    for roof in &results.roofs {
        assert!(roof.valid && roof.times.is_some(), "{roof:?}");
    }
    for row in &results.workloads {
        assert!(row.valid && row.times.is_some(), "{row:?}");
    }
    assert_eq!(names(results), listed(&Backend::Cpu, &[]));
    assert!(results.system.ranked && results.system.adapter.is_none());
}

#[test]
fn on_a_device_every_row_is_valid_and_listed() {
    let Some(gpu) = device("on_a_device_every_row_is_valid_and_listed") else {
        return;
    };
    let software = !gpu.report().kind.is_real();
    let backend = Backend::Gpu(gpu);
    let results = measured(&backend, &[]);
    for roof in &results.roofs {
        assert!(roof.valid, "{roof:?}");
    }
    for row in &results.workloads {
        assert!(row.valid, "{row:?}");
        let times = row.times.as_ref().expect("a valid row has times");
        let native = row.name == "probe.certificate";
        assert_eq!(times.cpu_median_s.is_some(), !native, "{}", row.name);
        assert_eq!(times.speed_up_over_cpu.is_some(), !native, "{}", row.name);
        let kernels = !native && row.name != "study";
        assert_eq!(times.end_to_end.is_some(), kernels, "{}", row.name);
        assert_eq!(times.share_of_roof.is_some(), kernels, "{}", row.name);
    }
    assert_eq!(names(&results), listed(&backend, &[]));
    assert_eq!(results.system.ranked, !software);
    let value = serde_json::to_value(&results).unwrap();
    assert_eq!(schema::faults(&value), Vec::<String>::new());
}

/// The negative control of the gates: each family's kernel is broken, and its row has no time.
#[test]
fn a_broken_kernel_makes_its_row_invalid() {
    let Some(gpu) = device("a_broken_kernel_makes_its_row_invalid") else {
        return;
    };
    for (shader, rows, from, to) in [
        ("sweep", "sweep", "fma(", "0.5 * fma("),
        (
            "probe",
            "product.forward.64",
            "c3 = fma(",
            "c3 = 0.99 * fma(",
        ),
        ("probe", "product.backward.64", "fma(", "0.99 * fma("),
        (
            "probe_loss",
            "probe.loss.4",
            "value = -others * scale;",
            "value = -1.001 * others * scale;",
        ),
        (
            "probe_loss",
            "probe.loss.4",
            "for (var slice = 0u;",
            "for (var slice = 1u;",
        ),
        ("correlation", "gram.f32", "fma(", "0.99 * fma("),
        (
            "correlation_halves",
            "gram.f16-in",
            "s0 = fma(",
            "s0 = 0.99 * fma(",
        ),
        (
            "correlation_halves",
            "gram.split-f16",
            "t0 = fma(",
            "t0 = 0.9 * fma(",
        ),
        (
            "correlation_tiles",
            "epilogue.pairs",
            "(r + 1.0) * 100.0",
            "(r + 1.0) * 99.0",
        ),
        // Edges that are among no neuron's best partners are not told of.
        (
            "correlation_tiles",
            "epilogue.pairs",
            "min(p.least, min(",
            "min(3.0 * p.least, min(",
        ),
    ] {
        let path = format!("{}/shaders/{shader}.wgsl", env!("CARGO_MANIFEST_DIR"));
        let source = std::fs::read_to_string(path).unwrap();
        let broken = source.replace(from, to);
        assert_ne!(broken, source, "{shader}");
        let backend = Backend::Gpu(gpu.with_shader(shader, broken));
        let results = measured(&backend, &[rows]);
        let [row] = results.workloads.as_slice() else {
            panic!("one row was asked for: {:?}", names(&results));
        };
        assert!(!row.valid && row.times.is_none(), "{shader}, {to}: {row:?}");
        let value = serde_json::to_value(&results).unwrap();
        assert_eq!(schema::faults(&value), Vec::<String>::new());
        let text = neurosieve::report::bench::text(&results);
        let line = text.lines().find(|line| line.starts_with(rows)).unwrap();
        assert!(line.contains("INVALID"), "{line}");
        assert!(!line.contains(" ms") && !line.contains(" us"), "{line}");
    }
}

#[test]
fn a_device_that_refuses_leaves_a_row_that_says_why() {
    let Some(gpu) = device("a_device_that_refuses_leaves_a_row_that_says_why") else {
        return;
    };
    let backend = Backend::Gpu(gpu.with_shader("moments", "not a shader".to_owned()));
    let results = measured(&backend, &["moments"]);
    let row = &results.workloads[0];
    assert!(!row.valid && row.times.is_none() && row.error.is_none());
    assert!(
        row.problem
            .as_ref()
            .is_some_and(|problem| !problem.is_empty())
    );
}

#[test]
fn a_name_that_begins_no_workload_is_refused() {
    let refused = list(&Backend::Cpu, &options(&["gram", "warp"])).unwrap_err();
    let said = refused.to_string();
    assert!(said.contains("warp") && said.contains("gram.f32"), "{said}");
    assert_eq!(
        listed(&Backend::Cpu, &["gram", "inner"]),
        [
            "roof.f32",
            "roof.memory",
            "gram.f32",
            "gram.f16",
            "inner.hessian.2",
            "inner.hessian.16",
            "inner.descent"
        ]
    );
}
