//! `neurosieve cluster`: neurons that say the same.

use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;

use clap::ValueEnum;

use super::output::{Destination, gibibytes};
use super::precision::{self, PrecisionName};
use super::progress::Bar;
use super::{answer, device, parse_layers_units};
use crate::analysis::redundancy::{Distance, Linkage};
use crate::data::ReadOptions;
use crate::error::Result;
use crate::report::json;
use crate::study::pairs::results::ClusterResults;
use crate::study::pairs::{ClusterJob, cluster};

/// Cluster neurons by their correlations; one representative stands for each cluster.
///
/// All pairs are needed for average and complete linkage. Where they do not fit --max-memory the clusters are the connected
/// components of the near pairs (single linkage), and the result says so.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  neurosieve cluster train.safetensors --threshold 0.3,0.5 -o clusters.json
  neurosieve cluster train.npy --threshold 0.5 --linkage complete --device cpu -o clusters.json")]
pub(super) struct Arguments {
    /// Activations: .safetensors, .npy, .npz, NeuroX .hdf5 or .json, or a folder of shards
    data: PathBuf,
    /// Distances to cut at, such as 0.3,0.5: neurons of a cluster are at most that far apart by the linkage
    #[arg(long, value_name = "T,T…", value_delimiter = ',', required = true)]
    threshold: Vec<f64>,
    /// The file for the clusters, .json
    #[arg(short, long, value_name = "FILE.json")]
    output: PathBuf,
    /// How the distance of two clusters follows from their members'
    #[arg(long, value_name = "NAME", default_value = "average")]
    linkage: LinkageName,
    /// How far apart two neurons are
    #[arg(long, value_name = "NAME", default_value = "absolute")]
    distance: DistanceName,
    /// Memory for pairs (12 bytes each), and as much again for samples in flight
    #[arg(long, visible_alias = "memory", value_name = "GIB", default_value = "2", value_parser = gibibytes)]
    max_memory: u64,
    /// How exact r has to be: the fastest kernel that is so exact is taken, as measured on the device
    #[arg(long, value_enum, value_name = "CLASS", default_value = "f32")]
    precision: PrecisionName,
    /// Layers × units, such as 7x384, where the file does not say
    #[arg(long, value_name = "LxU", value_parser = parse_layers_units)]
    layers_units: Option<(usize, usize)>,
    /// Where to compute: auto, cpu, gpu, all (every GPU), the index of an adapter or a part of its name, or several of these with commas between
    #[arg(long, value_name = "D", default_value = "auto")]
    device: String,
    /// Memory of each GPU that its buffers may take; what cannot do with so much runs natively [default: what the device has]
    #[arg(long, value_name = "GIB", value_parser = gibibytes)]
    max_device_memory: Option<u64>,
    /// Compute everything natively as well and compare it by each operation's tolerance; what is further apart is taken from
    /// the native path, and the exit code is 3. Takes the native path's time beside the device's
    #[arg(long)]
    validate: bool,
    /// Print the JSON document to stdout instead of a summary
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LinkageName {
    /// Mean over all pairs
    Average,
    /// Largest of all pairs
    Complete,
    /// Smallest of all pairs
    Single,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum DistanceName {
    /// 1 − |r|
    Absolute,
    /// 1 − r
    Signed,
}

pub(super) fn run(
    arguments: &Arguments,
    open: device::Open<'_>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<()> {
    let job = ClusterJob {
        data: arguments.data.clone(),
        options: ReadOptions {
            layers_units: arguments.layers_units,
        },
        linkage: match arguments.linkage {
            LinkageName::Average => Linkage::Average,
            LinkageName::Complete => Linkage::Complete,
            LinkageName::Single => Linkage::Single,
        },
        distance: match arguments.distance {
            DistanceName::Absolute => Distance::OneMinusAbs,
            DistanceName::Signed => Distance::OneMinus,
        },
        thresholds: arguments.threshold.clone(),
        precision: arguments.precision.into(),
        memory: arguments.max_memory,
    };
    let file = Destination::new(&arguments.output, &["json"])?;
    file.spare(&job.inputs())?;
    let (backend, device) = device::choose_as(
        open,
        &arguments.device,
        arguments.validate,
        arguments.max_device_memory,
    )?;
    let mut bar = Bar::new();
    let finished = cluster(&job, &backend, device, &mut |p| bar.show(p));
    bar.clear();
    let mut results = finished?;
    device::take_validation(&backend, &mut results.device);
    let document = json::document(&results)?;
    file.write(&document)?;
    for warning in &results.warnings {
        // A closed stderr must not cost the results; the warnings are in them as well.
        drop(writeln!(err, "warning: {warning}"));
    }
    answer(out, &document, arguments.json, |text| {
        summary(text, &results)
    })?;
    device::validation(&results.device, err)
}

fn summary(text: &mut String, results: &ClusterResults) -> std::fmt::Result {
    writeln!(
        text,
        "{} neurons, {} linkage on {}, on {} ({})",
        results.neurons,
        results.linkage,
        results.distance,
        results.device.kind,
        results.device.name
    )?;
    precision::summary(text, &results.precision)?;
    for cut in &results.thresholds {
        let sizes: Vec<String> = cut
            .sizes
            .iter()
            .filter(|bin| bin.clusters > 0)
            .map(|bin| format!("{} of {}", bin.clusters, bin.size))
            .collect();
        let across: usize = cut.windows.iter().skip(1).sum();
        writeln!(
            text,
            "  at {}: {} clusters ({}), {across} of them across layers",
            cut.threshold,
            cut.count,
            sizes.join(", ")
        )?;
    }
    Ok(())
}
