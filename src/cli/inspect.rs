//! `neurosieve inspect`: what a file of activations holds.

use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{parse_layers_units, say, say_json};
use crate::data::{self, ClassCount, Inspection, LabelColumn, ReadOptions, TaskSummary};
use crate::error::{Result, printable};
use crate::report::format::{count, number};

/// Classes of a task that are shown.
const CLASSES: usize = 30;

/// Show what a file holds: shape, type, layers, constant neurons, non-finite values, classes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  neurosieve inspect train.safetensors
  neurosieve inspect train.hdf5 --labels train.label
  neurosieve inspect matrix.npy --layers-units 13x768 --json")]
pub(super) struct Arguments {
    /// Activations: .safetensors, .npy, .npz, NeuroX .hdf5 or .json, or a folder of shards
    data: PathBuf,
    /// A label file, for activations without labels
    #[arg(long, value_name = "L")]
    labels: Option<PathBuf>,
    /// Layers × units, such as 7x384, where the file does not say
    #[arg(long, value_name = "LxU", value_parser = parse_layers_units)]
    layers_units: Option<(usize, usize)>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// What `--json` prints: where it comes from, and the fields of [`Inspection`].
#[derive(Serialize)]
struct Document<'a> {
    schema_version: u32,
    file: String,
    #[serde(flatten)]
    inspection: &'a Inspection,
}

pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<()> {
    let options = ReadOptions {
        layers_units: arguments.layers_units,
    };
    let labels = arguments.labels.as_deref().map(read_labels).transpose()?;
    let source = data::open(&arguments.data, &options)?;
    let inspection = data::inspect(&source, labels.as_slice())?;
    let file = arguments.data.display().to_string();
    if arguments.json {
        let document = Document {
            schema_version: 1,
            file,
            inspection: &inspection,
        };
        return say_json(out, &document);
    }
    let mut text = String::new();
    describe(&mut text, &file, &inspection).expect("writing to a String cannot fail");
    say(out, &text)
}

/// The task of a label file, by the name of the file.
fn read_labels(path: &Path) -> Result<(String, LabelColumn)> {
    let name = path
        .file_stem()
        .map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    let column = data::read_labels(path, &name, None)?;
    Ok((name, column))
}

fn describe(text: &mut String, file: &str, found: &Inspection) -> std::fmt::Result {
    writeln!(
        text,
        "{}: {} samples × {} neurons, {}",
        printable(file.to_owned()),
        count(found.samples),
        count(found.neurons),
        found.dtype
    )?;
    layers(text, found)?;
    writeln!(text, "  non-finite values: {}", count(found.non_finite))?;
    for at in &found.first_non_finite {
        writeln!(
            text,
            "    row {}, neuron {}: {}",
            at.sample, at.neuron, at.value
        )?;
    }
    if found.non_finite > found.first_non_finite.len() {
        writeln!(text, "    …")?;
    }
    let constant: Vec<usize> = found.constant.iter().map(|c| c.neuron).collect();
    writeln!(text, "  constant neurons: {}", list(&constant))?;
    writeln!(text, "  nearly constant: {}", list(&found.nearly_constant))?;
    match found.sentences {
        Some(sentences) => writeln!(
            text,
            "  words: in {} sentences, the first: {}",
            count(sentences),
            printable(found.first_words.join(" "))
        )?,
        None => writeln!(text, "  words: none in the file or beside it")?,
    }
    if found.tasks.is_empty() {
        writeln!(
            text,
            "  labels: none in the file; --labels counts those of a file"
        )?;
    }
    for task in &found.tasks {
        classes(text, task, found.samples)?;
    }
    Ok(())
}

/// A line a layer.
fn layers(text: &mut String, found: &Inspection) -> std::fmt::Result {
    writeln!(
        text,
        "  layer  neurons       mean         sd   smallest    largest"
    )?;
    for layer in &found.layers {
        write!(
            text,
            "  {:>5} {:>8} {:>10} {:>10} {:>10} {:>10}",
            layer.layer,
            count(layer.units),
            number(layer.mean),
            number(layer.sd),
            number(layer.minimum.into()),
            number(layer.maximum.into()),
        )?;
        match layer.constant {
            constant if constant == layer.units => writeln!(text, "  all constant")?,
            0 => writeln!(text)?,
            constant => writeln!(text, "  {} constant", count(constant))?,
        }
    }
    if let [only] = &*found.layers
        && only.layer == 0
    {
        writeln!(
            text,
            "  where the neurons are of several layers, say so by --layers-units"
        )?;
    }
    Ok(())
}

/// A line a class, the most frequent first.
fn classes(text: &mut String, task: &TaskSummary, samples: usize) -> std::fmt::Result {
    let name = printable(task.name.clone());
    writeln!(text, "  task {name}: {} classes", count(task.classes.len()))?;
    let mut classes: Vec<&ClassCount> = task.classes.iter().collect();
    classes.sort_by_key(|class| std::cmp::Reverse(class.samples));
    for class in classes.iter().take(CLASSES) {
        let share = 100.0 * class.samples as f64 / samples.max(1) as f64;
        let name = printable(class.name.clone());
        writeln!(
            text,
            "    {name:<20} {:>8} {share:>6.1} %",
            count(class.samples)
        )?;
    }
    if let Some(rest) = classes.get(CLASSES..).filter(|rest| !rest.is_empty()) {
        let samples = rest.iter().map(|class| class.samples).sum();
        writeln!(
            text,
            "    and {} more, of {} samples together; --json has them all",
            count(rest.len()),
            count(samples)
        )?;
    }
    Ok(())
}

/// The number of neurons and the first of them.
fn list(neurons: &[usize]) -> String {
    if neurons.is_empty() {
        return "none".into();
    }
    let first: Vec<String> = neurons.iter().take(20).map(ToString::to_string).collect();
    let more = if neurons.len() > first.len() {
        ", …"
    } else {
        ""
    };
    format!("{} ({}{more})", neurons.len(), first.join(", "))
}
