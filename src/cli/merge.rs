//! `neurosieve merge`: the shards of one study to its results.

use std::io::Write;
use std::path::PathBuf;

use super::output::{OutputFolder, gibibytes};
use super::progress::Bar;
use super::{device, memory, stopping, study};
use crate::error::{Error, Result};
use crate::study::Spec;
use crate::study::shard;
use crate::study::units::Folder;
use crate::study::units::shards::{Shards, UNITS};

/// Put the shards of a study together: results, report and tables, with the bits of one run.
///
/// What `study SPEC -o DIR --shard i/n` computed is taken from its folders, which stay as they are; the rest, which is little, is
/// computed. OUT gets what `study` writes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  neurosieve merge study.toml shards -o out
  neurosieve merge study.toml shards/shard-*-of-8 -o out --compute-missing")]
pub(super) struct Arguments {
    /// The specification that the shards were given (TOML)
    spec: PathBuf,
    /// Folders of shards, or folders that hold them
    #[arg(required = true, value_name = "DIR")]
    shards: Vec<PathBuf>,
    /// The folder for the results; created where there is none
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    /// Compute what shards that are missing, or did not come to their end, would have
    #[arg(long)]
    compute_missing: bool,
    /// Where to compute; the shards' device: others round otherwise
    #[arg(long, value_name = "D", default_value = "auto")]
    device: String,
    /// Memory of each GPU that its buffers may take; what cannot do with so much runs natively [default: what the device has]
    #[arg(long, value_name = "GIB", value_parser = gibibytes)]
    max_device_memory: Option<u64>,
    /// Memory of the host that may be taken, all in all; what is planned to take more is refused. No result depends on it
    /// [default: on Linux 80 % of what is free]
    #[arg(long, value_name = "GIB", value_parser = gibibytes)]
    max_memory: Option<u64>,
    /// Print results.json to stdout instead of a table
    #[arg(long)]
    json: bool,
}

pub(super) fn run(
    arguments: &Arguments,
    open: device::Open<'_>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<()> {
    let spec = Spec::read(&arguments.spec)?;
    let shards = Shards::find(&arguments.shards)?;
    shards.of(&spec)?;
    if !arguments.compute_missing {
        shards.complete(&arguments.spec)?;
    }
    let folder = OutputFolder::open(&arguments.output)?;
    apart(&folder, &shards)?;
    let (backend, device) =
        device::choose_as(open, &arguments.device, false, arguments.max_device_memory)?;
    let room = memory::room(&spec, &backend, arguments.max_memory)?;
    // What an earlier merge computed is as good as what a shard did.
    let units =
        Folder::open(&folder.path().join(UNITS), true, stopping::heed())?.reading(shards.folders());
    folder.tidy()?;
    let mut bar = Bar::new();
    let finished = shard::merge(
        &spec,
        (&backend, device),
        (&units, room),
        &shards,
        &mut |progress| {
            bar.show_fits(progress, units.fits());
        },
    );
    bar.clear();
    let results = finished?;
    study::keep(&results, &folder, &units)?;
    // Nobody may be there to read it.
    drop(writeln!(err, "{}", found(&shards, &units)));
    study::warn_of_damage(&units, err);
    study::tell(
        &results,
        (folder.path(), units.fits()),
        arguments.json,
        out,
        err,
    )
}

/// Refuses to write into a shard's folder: its units would be taken for the results' own, and removed.
fn apart(folder: &OutputFolder, shards: &Shards) -> Result<()> {
    let here = folder.path().canonicalize().ok();
    for (shard, path, _) in shards.each() {
        if path.canonicalize().ok() == here {
            return Err(Error::invalid(
                format!("output folder {}", folder.path().display()),
                format!("it is that of shard {shard}"),
                "Name another folder for the results",
            ));
        }
    }
    Ok(())
}

/// How many units came from where.
fn found(shards: &Shards, units: &Folder) -> String {
    let (there, all) = units.found();
    let each = shards.each();
    let elsewhere = units.found_elsewhere();
    let counted = each.iter().zip(&elsewhere);
    let of = |((shard, _, units), found): (&(shard::Shard, _, Option<usize>), &usize)| match units {
        Some(units) => format!("{found} of the {units} of {shard}"),
        None => format!("{found} of {shard}, which is not done"),
    };
    let each: Vec<String> = counted.map(of).collect();
    format!(
        "{there} of {all} units were there already: {}; {} computed now",
        each.join(", "),
        all - there
    )
}
