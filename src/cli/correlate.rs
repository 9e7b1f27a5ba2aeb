//! `neurosieve correlate`: every pair of neurons.

use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;

use clap::ValueEnum;

use super::output::{Destination, gibibytes};
use super::precision::{self, PrecisionName};
use super::progress::Bar;
use super::{answer, device, parse_layers_units};
use crate::data::ReadOptions;
use crate::error::{Error, Result};
use crate::report::matrix::MatrixFile;
use crate::report::{json, pairs};
use crate::study::pairs::results::CorrelationResults;
use crate::study::pairs::{Baseline, CorrelateJob, Correlated, correlate};

/// Correlate every pair of neurons, without holding the matrix or the samples.
///
/// FILE gets the whole matrix (.npy: square; .safetensors: the packed upper triangle), or the pairs that --threshold or
/// --top-k ask for (.safetensors: i, j, r). FILE.json beside it gets the distribution of r, each neuron's best match and, by
/// pair of layers, mean and largest |r| and linear CKA.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  neurosieve correlate train.safetensors -o r.npy
  neurosieve correlate train.safetensors --top-k 5 -o partners.safetensors
  neurosieve correlate base.npy --cross tuned.npy --threshold 0.9 -o pairs.safetensors")]
pub(super) struct Arguments {
    /// Activations: .safetensors, .npy, .npz, NeuroX .hdf5 or .json, or a folder of shards
    data: PathBuf,
    /// The file for the correlations, .npy or .safetensors; the document goes to the same name with .json
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Another model's activations over the same samples: correlate each neuron of DATA with each of its
    #[arg(long, value_name = "OTHER")]
    cross: Option<PathBuf>,
    /// Keep the pairs with |r| of at least this
    #[arg(long, value_name = "T", conflicts_with = "top_k", value_parser = parse_threshold)]
    threshold: Option<f32>,
    /// Keep the K partners of each neuron with the largest |r|
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..))]
    top_k: Option<u32>,
    /// Compare best matches with chance
    #[arg(long, value_name = "KIND", requires = "cross")]
    baseline: Option<BaselineName>,
    /// Seed of the baseline
    #[arg(long, value_name = "N", default_value_t = 0, requires = "baseline")]
    seed: u64,
    /// Memory for samples and sums in flight, and as much for the pairs that are kept; samples that do not fit are read again
    /// for every part of the matrix
    #[arg(long, visible_alias = "memory", value_name = "GIB", default_value = "2", value_parser = gibibytes)]
    max_memory: u64,
    /// How exact r has to be: the fastest kernel that is so exact is taken, as measured on the device
    #[arg(long, value_enum, value_name = "CLASS", default_value = "f32")]
    precision: PrecisionName,
    /// Layers × units of DATA, such as 7x384, where the file does not say
    #[arg(long, value_name = "LxU", value_parser = parse_layers_units)]
    layers_units: Option<(usize, usize)>,
    /// Layers × units of OTHER, where the file does not say
    #[arg(long, value_name = "LxU", value_parser = parse_layers_units, requires = "cross")]
    cross_layers_units: Option<(usize, usize)>,
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
enum BaselineName {
    /// The other model's layers rotated at random: 4 bytes and about 4·units FLOP for every pair of units of a layer
    Rotation,
    /// The other model's samples in a random order
    Permutation,
}

fn parse_threshold(text: &str) -> std::result::Result<f32, String> {
    match text.parse() {
        Ok(threshold) if (0.0..=1.0).contains(&threshold) => Ok(threshold),
        _ => Err("give a number from 0 to 1".to_owned()),
    }
}

pub(super) fn run(
    arguments: &Arguments,
    open: device::Open<'_>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<()> {
    let job = CorrelateJob {
        data: arguments.data.clone(),
        cross: arguments.cross.clone(),
        options: ReadOptions {
            layers_units: arguments.layers_units,
        },
        cross_options: ReadOptions {
            layers_units: arguments.cross_layers_units,
        },
        threshold: arguments.threshold,
        top: arguments.top_k.unwrap_or(0) as usize,
        baseline: arguments.baseline.map(|name| match name {
            BaselineName::Rotation => Baseline::Rotation,
            BaselineName::Permutation => Baseline::Permutation,
        }),
        seed: arguments.seed,
        precision: arguments.precision.into(),
        memory: arguments.max_memory,
    };
    // Whatever can fail fails before the work starts.
    let file = Destination::new(&arguments.output, &["npy", "safetensors"])?;
    file.spare(&job.inputs())?;
    let chosen = job.threshold.is_some() || job.top > 0;
    if chosen && file.extension() != "safetensors" {
        return Err(Error::invalid(
            format!("output file {}", arguments.output.display()),
            "a list of pairs is no matrix",
            "Name a .safetensors file for --threshold and --top-k",
        ));
    }
    let (backend, device) = device::choose_as(
        open,
        &arguments.device,
        arguments.validate,
        arguments.max_device_memory,
    )?;
    let mut bar = Bar::new();
    let same = job.cross.is_none();
    let mut make =
        |left: usize, right: usize| MatrixFile::new(&arguments.output, left, right, same);
    let matrix: Option<&mut dyn FnMut(usize, usize) -> Result<MatrixFile>> =
        (!chosen).then_some(&mut make);
    let finished = correlate(&job, &backend, device, matrix, &mut |p| bar.show(p));
    bar.clear();
    let (mut correlated, matrix) = finished?;
    device::take_validation(&backend, &mut correlated.results.device);
    let Correlated { results, findings } = correlated;
    let document = json::document(&results)?;
    if let Some(matrix) = matrix {
        matrix.finish()?;
    } else if job.threshold.is_some() {
        file.write(&pairs::edges(&findings.edges)?)?;
    } else {
        let other = (!same).then_some(findings.partners_of_right.as_slice());
        file.write(&pairs::partners(&findings.partners, other)?)?;
    }
    file.write_beside("json", &document)?;
    answer(out, &document, arguments.json, |text| {
        summary(text, &results)
    })?;
    device::validation(&results.device, err)
}

fn summary(text: &mut String, results: &CorrelationResults) -> std::fmt::Result {
    let (data, found) = (&results.data, &results.distribution);
    write!(text, "{} samples × {} neurons", data.samples, data.neurons)?;
    if let Some(cross) = &results.cross {
        write!(text, " with {} neurons", cross.neurons)?;
    }
    writeln!(
        text,
        ", {} pairs, on {} ({})",
        found.pairs, results.device.kind, results.device.name
    )?;
    precision::summary(text, &results.precision)?;
    writeln!(
        text,
        "  r: mean {:.4}, sd {:.4}, mean |r| {:.4}, skewness {:.2}, kurtosis {:.1}",
        found.mean, found.sd, found.mean_abs, found.skewness, found.kurtosis
    )?;
    if let (Some(threshold), Some(pairs)) = (results.threshold, results.pairs_at_least) {
        writeln!(text, "  |r| ≥ {threshold}: {pairs} pairs")?;
    }
    if !data.constant.is_empty() {
        writeln!(
            text,
            "  {} constant neurons correlate with none",
            data.constant.len()
        )?;
    }
    if let Some(baseline) = &results.baseline {
        writeln!(
            text,
            "  best |r| of a neuron: {:.4} on average, {:.4} after a {} of the other model, {:.4} above chance",
            baseline.mean_best, baseline.mean_best_by_chance, baseline.kind, baseline.mean_excess
        )?;
    }
    let layers = &results.layers;
    let values = layers.cka_unbiased.as_ref();
    match values {
        Some(_) => writeln!(text, "  linear CKA of layers (unbiased):")?,
        None => writeln!(text, "  mean |r| by pair of layers:")?,
    }
    let heads: String = layers.columns.iter().map(|l| format!("{l:>7}")).collect();
    writeln!(text, "         {heads}")?;
    for (row, layer) in layers.rows.iter().enumerate() {
        write!(text, "  {layer:>7}")?;
        for column in 0..layers.columns.len() {
            match values {
                Some(cka) => match cka[row][column] {
                    Some(value) => write!(text, "{value:>7.3}")?,
                    None => write!(text, "{:>7}", "–")?,
                },
                None => write!(text, "{:>7.3}", layers.mean_abs[row][column])?,
            }
        }
        writeln!(text)?;
    }
    Ok(())
}
