//! `--device`: a choice to a back end, and how results name it.

use std::io::Write;
use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::gpu::{self, AdapterReport, Choice, Gpu};
use crate::ops::{Backend, Fleet};
use crate::study::results::DeviceUsed;

/// Opens the device that was asked for.
pub(crate) fn choose(asked: &str) -> Result<(Backend, DeviceUsed)> {
    Ok(match gpu::choose(asked)? {
        Choice::Cpu { reason } => (
            Backend::Cpu,
            DeviceUsed {
                kind: "cpu".into(),
                name: threads(),
                driver: String::new(),
                reason,
            },
        ),
        Choice::Gpu { gpu, reason } => {
            let report = gpu.report();
            let device = DeviceUsed {
                kind: "gpu".into(),
                name: report.name.clone(),
                driver: driver(report),
                reason,
            };
            (Backend::Gpu(tuned(gpu)?), device)
        }
        Choice::Fleet { gpus, reason } => {
            let names = gpus.iter().map(|gpu| gpu.report().name.clone());
            let drivers = gpus.iter().map(|gpu| driver(gpu.report()));
            let device = DeviceUsed {
                kind: "gpu".into(),
                name: names.collect::<Vec<_>>().join(" + "),
                driver: drivers.collect::<Vec<_>>().join(" + "),
                reason,
            };
            let gpus = gpus.into_iter().map(tuned).collect::<Result<_>>()?;
            (Backend::Fleet(Fleet::new(gpus)?), device)
        }
    })
}

fn driver(report: &AdapterReport) -> String {
    let driver = format!("{} {}", report.driver, report.driver_info);
    driver.trim().to_owned()
}

/// With what was measured of it before, and a place for what will be.
fn tuned(gpu: Gpu) -> Result<Gpu> {
    // Nobody may be there to read it.
    gpu.listening(|trouble| drop(writeln!(std::io::stderr(), "warning: {trouble}")));
    Ok(match tuning_file() {
        _ if !is_tuned()? => gpu.untuned(),
        Some(file) => gpu.remembering(&file),
        None => gpu,
    })
}

/// The file in the user's cache folder that holds which variants of kernels are fastest; none where there is no such folder,
/// or `NEUROSIEVE_CACHE` is empty.
pub(super) fn tuning_file() -> Option<PathBuf> {
    let folder = match std::env::var_os("NEUROSIEVE_CACHE") {
        Some(folder) => Some(PathBuf::from(folder)).filter(|f| !f.as_os_str().is_empty()),
        None => cache_folder().map(|folder| folder.join("neurosieve")),
    };
    folder.map(|folder| folder.join("tuning.json"))
}

/// Whether variants of kernels are measured at all: not where `NEUROSIEVE_TUNING` is `off`.
fn is_tuned() -> Result<bool> {
    match std::env::var("NEUROSIEVE_TUNING").as_deref() {
        Err(std::env::VarError::NotPresent) | Ok("" | "on") => Ok(true),
        Ok("off") => Ok(false),
        other => Err(Error::invalid(
            "environment variable NEUROSIEVE_TUNING",
            format!("{other:?} is neither on nor off"),
            "Set it to off to take each kernel's first variant, or remove it",
        )),
    }
}

fn cache_folder() -> Option<PathBuf> {
    let of = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let folder = if cfg!(windows) {
        of("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        of("HOME").map(|home| home.join("Library/Caches"))
    } else {
        of("XDG_CACHE_HOME").or_else(|| of("HOME").map(|home| home.join(".cache")))
    };
    folder.filter(|folder| folder.is_absolute())
}

fn threads() -> String {
    match rayon::current_num_threads() {
        1 => "1 thread".into(),
        threads => format!("{threads} threads"),
    }
}
