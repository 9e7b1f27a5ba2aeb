//! `neurosieve devices`: the adapters, and which one `auto` takes.

use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;

use serde::Serialize;

use super::{device, say, say_json};
use crate::error::Result;
use crate::gpu::{self, AdapterReport, Variants};
use crate::study::results::DeviceUsed;

/// List the compute devices, their limits, and which one `auto` takes and why; or what was measured of their kernels.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  neurosieve devices
  neurosieve devices --json
  neurosieve devices --tuning")]
pub(super) struct Arguments {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    /// Show which variants of kernels were measured to be fastest, how fast devices were found to be for `--device all`, and
    /// where that is kept
    #[arg(long)]
    tuning: bool,
    /// Forget them: the next run measures again
    #[arg(long, conflicts_with_all = ["tuning", "json"])]
    clear_tuning: bool,
}

/// What `--tuning --json` prints.
#[derive(Serialize)]
struct Tuning {
    schema_version: u32,
    /// Null where nothing is kept.
    file: Option<PathBuf>,
    devices: Variants,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Devices {
    schema_version: u32,
    adapters: Vec<AdapterReport>,
    auto: DeviceUsed,
}

pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<()> {
    if arguments.clear_tuning {
        return clear(out);
    }
    if arguments.tuning {
        return tuning(arguments.json, out);
    }
    let (_, auto) = device::choose("auto")?;
    let devices = Devices {
        schema_version: 1,
        adapters: gpu::adapters(),
        auto,
    };
    if arguments.json {
        return say_json(out, &devices);
    }
    let mut text = String::new();
    for adapter in &devices.adapters {
        describe(&mut text, adapter).expect("writing to a String cannot fail");
    }
    text.push_str(&format!(
        "auto: {} ({}). {}\n",
        devices.auto.kind, devices.auto.name, devices.auto.reason
    ));
    say(out, &text)
}

const NOWHERE: &str = "nothing is kept: NEUROSIEVE_CACHE is empty, or there is no cache folder\n";

fn clear(out: &mut dyn Write) -> Result<()> {
    let Some(file) = device::tuning_file() else {
        return say(out, NOWHERE);
    };
    let text = match gpu::forget(&file)? {
        true => format!("removed {}\n", file.display()),
        false => format!("there was no {}\n", file.display()),
    };
    say(out, &text)
}

fn tuning(as_json: bool, out: &mut dyn Write) -> Result<()> {
    let file = device::tuning_file();
    let devices = file.as_deref().map(gpu::variants).transpose()?;
    let tuning = Tuning {
        schema_version: 1,
        devices: devices.unwrap_or_default(),
        file,
    };
    if as_json {
        return say_json(out, &tuning);
    }
    let Some(file) = &tuning.file else {
        return say(out, NOWHERE);
    };
    let mut text = format!("{}\n", file.display());
    for (device, figures) in &tuning.devices {
        text.push_str(&format!("{device}\n"));
        for (name, figure) in figures {
            text.push_str(&format!("   {name}: {figure}\n"));
        }
    }
    if tuning.devices.is_empty() {
        text.push_str("nothing was measured yet\n");
    }
    say(out, &text)
}

fn describe(text: &mut String, adapter: &AdapterReport) -> std::fmt::Result {
    const MIB: u64 = 1 << 20;
    let limits = &adapter.limits;
    writeln!(text, "{}: {adapter}", adapter.index)?;
    writeln!(
        text,
        "   driver {} {}; buffers to {} MiB, bindings to {} MiB, {} KiB workgroup memory, {} threads",
        adapter.driver,
        adapter.driver_info,
        limits.buffer_bytes / MIB,
        limits.binding_bytes / MIB,
        limits.workgroup_memory_bytes / 1024,
        limits.workgroup_threads,
    )?;
    let shapes: Vec<String> = adapter
        .matrix_units
        .iter()
        .map(ToString::to_string)
        .collect();
    match &*shapes {
        [] => writeln!(text, "   no matrix units"),
        _ => writeln!(text, "   matrix units: {}", shapes.join(", ")),
    }
}
