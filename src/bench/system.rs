//! The machine, as far as its system says without asking another program.

use std::fs::read_to_string;

use super::results::System;
use crate::gpu::AdapterKind;
use crate::ops::Backend;

/// What is measured, and on what.
pub(super) fn describe(backend: &Backend) -> System {
    let (device, adapter, features_used) = match backend.gpu() {
        None => ("cpu", None, Vec::new()),
        Some(gpu) => ("gpu", Some(gpu.report().clone()), gpu.features()),
    };
    System {
        os: std::env::consts::OS.to_owned(),
        arch: std::env::consts::ARCH.to_owned(),
        cpu: cpu(),
        threads: rayon::current_num_threads(),
        memory_bytes: memory(),
        device: device.to_owned(),
        ranked: adapter
            .as_ref()
            .is_none_or(|report| report.kind != AdapterKind::Software),
        adapter,
        features_used,
    }
}

/// Linux tells in a file, Windows in a variable.
fn cpu() -> Option<String> {
    let told = read_to_string("/proc/cpuinfo").ok();
    let told = told.and_then(|text| field(&text, "model name"));
    told.or_else(|| std::env::var("PROCESSOR_IDENTIFIER").ok())
}

fn memory() -> Option<u64> {
    let total = field(&read_to_string("/proc/meminfo").ok()?, "MemTotal")?;
    let kib: u64 = total.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

/// What follows the colon of the first line that begins with `name`.
fn field(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
