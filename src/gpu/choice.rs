//! Which device to take: by name, by place in the list, or the best there is.

use super::device::{AdapterReport, Gpu, enumerate, open};
use crate::error::{Error, Result};

/// Where to compute, and why.
#[derive(Debug, Clone)]
pub enum Choice {
    /// The native CPU path.
    Cpu {
        /// Why, as a sentence.
        reason: String,
    },
    /// A GPU.
    Gpu {
        /// The opened device.
        gpu: Gpu,
        /// Why, as a sentence.
        reason: String,
    },
    /// Several GPUs.
    Fleet {
        /// The opened devices, at least two.
        gpus: Vec<Gpu>,
        /// Why, as a sentence.
        reason: String,
    },
}

/// Chooses a device: `auto`, `cpu`, `gpu`, `all`, the index of an adapter, several of them with commas between, or any part of
/// a name in any case.
///
/// `auto` takes the best real GPU (discrete, then integrated, then virtual) that can be opened, else the native CPU
/// path, and never a software adapter. `gpu` insists on a real one, `all` takes every real one. An index or a name takes any
/// adapter; an adapter that is listed twice is opened twice.
///
/// # Errors
/// [`Error::Device`], with the list of adapters, when nothing fits or the adapter that was asked for cannot be opened.
pub fn choose(asked: &str) -> Result<Choice> {
    if asked.eq_ignore_ascii_case("cpu") {
        return Ok(Choice::Cpu {
            reason: "The native CPU path was asked for.".into(),
        });
    }
    let found = enumerate();
    if asked.eq_ignore_ascii_case("auto") {
        return Ok(automatic(&found));
    }
    if asked.eq_ignore_ascii_case("gpu") {
        return any_gpu(asked, &found);
    }
    if asked.eq_ignore_ascii_case("all") {
        return every_gpu(asked, &found);
    }
    // Names may have commas, too.
    if asked.contains(',') && named(asked, asked, &found).is_err() {
        let listed = asked.split(',').map(|one| named(asked, one.trim(), &found));
        let listed = listed.collect::<Result<_>>()?;
        return several(asked, listed, "were asked for");
    }
    let (adapter, report) = named(asked, asked, &found)?;
    let gpu = opened(asked, adapter, report)?;
    Ok(Choice::Gpu {
        reason: format!("{report} was asked for."),
        gpu,
    })
}

/// The adapter of an index or a name.
fn named<'a>(
    asked: &str,
    one: &str,
    found: &'a Found,
) -> Result<&'a (wgpu::Adapter, AdapterReport)> {
    // Digits alone are an index: "1" is also part of many a name.
    let index = !one.is_empty() && one.bytes().all(|byte| byte.is_ascii_digit());
    let by_index = one.parse().ok().and_then(|index: usize| found.get(index));
    let part = one.to_lowercase();
    let by_name = || {
        found
            .iter()
            .filter(|(_, report)| {
                !index && !one.is_empty() && report.name.to_lowercase().contains(&part)
            })
            .min_by_key(|(_, report)| report.kind.preference())
    };
    by_index.or_else(by_name).ok_or_else(|| {
        let problem = format!(
            "no adapter has the index or name \"{one}\". {}",
            listed(found)
        );
        let fix = "Ask for auto, cpu, gpu, all, an index of that list or a part of a name, or several of these with commas between";
        device_error(asked, problem, fix)
    })
}

/// Opens an adapter that was asked for.
fn opened(asked: &str, adapter: &wgpu::Adapter, report: &AdapterReport) -> Result<Gpu> {
    open(adapter, report).map_err(|problem| {
        let fix = "Ask for another adapter, or for cpu (the native path)";
        device_error(asked, format!("{report}: {problem}"), fix)
    })
}

/// Opens all of some adapters.
fn several(
    asked: &str,
    adapters: Vec<&(wgpu::Adapter, AdapterReport)>,
    why: &str,
) -> Result<Choice> {
    let names: Vec<String> = adapters.iter().map(|(_, r)| r.to_string()).collect();
    let open = |(adapter, report): &&(wgpu::Adapter, AdapterReport)| opened(asked, adapter, report);
    Ok(Choice::Fleet {
        gpus: adapters.iter().map(open).collect::<Result<_>>()?,
        reason: format!("{} {why}.", names.join(" and ")),
    })
}

/// Every real GPU.
fn every_gpu(asked: &str, found: &Found) -> Result<Choice> {
    match *real(found) {
        [] | [_] => any_gpu(asked, found),
        ref several_real => several(asked, several_real.to_vec(), "are all GPUs of this machine"),
    }
}

type Found = [(wgpu::Adapter, AdapterReport)];

fn real(found: &Found) -> Vec<&(wgpu::Adapter, AdapterReport)> {
    let mut real: Vec<_> = found.iter().filter(|(_, r)| r.kind.is_real()).collect();
    real.sort_by_key(|(_, report)| report.kind.preference());
    real
}

fn automatic(found: &Found) -> Choice {
    let mut refused = Vec::new();
    for (adapter, report) in real(found) {
        match open(adapter, report) {
            Ok(gpu) => {
                return Choice::Gpu {
                    reason: format!("{report} is the best GPU of this machine."),
                    gpu,
                };
            }
            Err(problem) => refused.push(format!("{report} cannot be used: {problem}.")),
        }
    }
    let reason = if !refused.is_empty() {
        format!("{} So the native CPU path runs.", refused.join(" "))
    } else if found.is_empty() {
        "There is no GPU adapter, so the native CPU path runs.".into()
    } else {
        format!(
            "There is no real GPU, only {}; the native CPU path is faster than a software adapter.",
            names(found)
        )
    };
    Choice::Cpu { reason }
}

fn any_gpu(asked: &str, found: &Found) -> Result<Choice> {
    let mut problem = "this machine has no real GPU".to_owned();
    for (adapter, report) in real(found) {
        match open(adapter, report) {
            Ok(gpu) => {
                return Ok(Choice::Gpu {
                    reason: format!(
                        "A GPU was asked for and {report} is the best of this machine."
                    ),
                    gpu,
                });
            }
            Err(refused) => problem = format!("{report} cannot be used: {refused}"),
        }
    }
    Err(device_error(
        asked,
        format!("{problem}. {}", listed(found)),
        "Ask for cpu (the native path), or for a software adapter by its index or a part of its name: it is slow and meant for tests",
    ))
}

fn names(found: &Found) -> String {
    found
        .iter()
        .map(|(_, report)| report.to_string())
        .collect::<Vec<_>>()
        .join(", ")
}

fn listed(found: &Found) -> String {
    if found.is_empty() {
        return "There are no adapters at all: no Vulkan, Metal or DX12 driver answered".into();
    }
    let lines: Vec<_> = found
        .iter()
        .map(|(_, report)| format!("{}: {report}", report.index))
        .collect();
    format!("The adapters are {}", lines.join("; "))
}

fn device_error(asked: &str, problem: String, fix: &str) -> Error {
    Error::Device {
        asked: asked.to_owned(),
        problem,
        fix: fix.to_owned(),
    }
}
