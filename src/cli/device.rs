//! `--device`: a choice to a back end, and how results name it.

use std::io::Write;
use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::gpu::{self, AdapterReport, Choice, Gpu, Validated};
use crate::ops::{Backend, Fleet};
use crate::study::results::DeviceUsed;

/// What opens the device that is asked for: [`gpu::choose`], but in tests of devices that compute wrongly.
pub(super) type Open<'a> = &'a dyn Fn(&str) -> Result<Choice>;

/// Opens the device that was asked for.
pub(crate) fn choose(asked: &str) -> Result<(Backend, DeviceUsed)> {
    named(gpu::choose(asked)?)
}

fn named(chosen: Choice) -> Result<(Backend, DeviceUsed)> {
    Ok(match chosen {
        Choice::Cpu { reason } => (
            Backend::Cpu,
            DeviceUsed {
                kind: "cpu".into(),
                name: threads(),
                driver: String::new(),
                reason,
                validation: Vec::new(),
            },
        ),
        Choice::Gpu { gpu, reason } => {
            let report = gpu.report();
            let device = DeviceUsed {
                kind: "gpu".into(),
                name: report.name.clone(),
                driver: driver(report),
                reason,
                validation: Vec::new(),
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
                validation: Vec::new(),
            };
            let gpus = gpus.into_iter().map(tuned).collect::<Result<_>>()?;
            (Backend::Fleet(Fleet::new(gpus)?), device)
        }
    })
}

/// As [`choose`], by `open`; where it is `validated` everything that the device computes is computed natively as well, and buffers of each
/// GPU take no more than `memory` bytes, where that is given.
///
/// # Errors
/// As [`choose`]; when there is nothing to validate.
pub(super) fn choose_as(
    open: Open<'_>,
    asked: &str,
    validated: bool,
    memory: Option<u64>,
) -> Result<(Backend, DeviceUsed)> {
    let (backend, device) = named(open(asked)?)?;
    let within = |gpu: &Gpu| memory.map_or_else(|| gpu.clone(), |bytes| gpu.with_memory(bytes));
    let backend = match backend {
        Backend::Cpu => Backend::Cpu,
        Backend::Gpu(gpu) => Backend::Gpu(within(&gpu)),
        Backend::Fleet(fleet) => Backend::Fleet(fleet.with(within)),
    };
    let backend = match backend {
        backend if !validated => backend,
        Backend::Gpu(gpu) => Backend::Gpu(gpu.validating()),
        Backend::Fleet(fleet) => Backend::Fleet(fleet.with(Gpu::validating)),
        Backend::Cpu => {
            return Err(Error::invalid(
                "--validate",
                format!(
                    "everything is computed natively ({}), so there is nothing to compare with that",
                    device.reason
                ),
                "Leave it out, or choose a GPU by --device",
            ));
        }
    };
    Ok((backend, device))
}

/// Takes down what was compared.
pub(super) fn take_validation(backend: &Backend, device: &mut DeviceUsed) {
    device.validation = backend.validated();
}

/// Says how far a device was off, and fails where that was too far: after everything is written.
///
/// # Errors
/// [`Error::Validation`].
pub(super) fn validation(device: &DeviceUsed, err: &mut dyn Write) -> Result<()> {
    let mut off = Vec::new();
    for compared in &device.validation {
        let Validated {
            operation,
            of,
            runs,
            values,
            deviation,
            allowed,
        } = compared;
        let line = format!(
            "{operation}: {of} deviates by at most {deviation:.1e} in {values} values of {runs} runs, {allowed:.1e} is allowed"
        );
        drop(writeln!(err, "validated {line}"));
        if !compared.is_right() {
            off.push(line);
        }
    }
    match off.is_empty() {
        true => Ok(()),
        false => Err(Error::Validation {
            what: off.join("; "),
        }),
    }
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
