//! `neurosieve devices`: the adapters, and which one `auto` takes.

use std::fmt::Write as _;
use std::io::Write;

use serde::Serialize;

use super::{device, say, say_json};
use crate::error::Result;
use crate::gpu::{self, AdapterReport};
use crate::study::results::DeviceUsed;

/// List the compute devices, their limits, and which one `auto` takes and why.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Devices {
    schema_version: u32,
    adapters: Vec<AdapterReport>,
    auto: DeviceUsed,
}

pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<()> {
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
    )
}
