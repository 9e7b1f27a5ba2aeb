//! `neurosieve inspect`: what a file of activations holds.

use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{parse_layers_units, say, say_json};
use crate::data::{self, Inspection, LabelColumn, ReadOptions};
use crate::error::Result;

/// Show what a file holds: shape, type, layers, constant neurons, non-finite values, classes.
#[derive(Debug, clap::Args)]
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
        "{file}: {} samples × {} neurons, {}",
        found.samples, found.neurons, found.dtype
    )?;
    for layer in &found.layers {
        write!(text, "  layer {}: {} neurons", layer.layer, layer.units)?;
        match layer.constant {
            constant if constant == layer.units => writeln!(text, ", all constant")?,
            0 => writeln!(text)?,
            constant => writeln!(text, ", {constant} constant")?,
        }
    }
    writeln!(text, "  non-finite values: {}", found.non_finite)?;
    for at in &found.first_non_finite {
        writeln!(
            text,
            "    row {}, neuron {}: {}",
            at.sample, at.neuron, at.value
        )?;
    }
    let constant: Vec<usize> = found.constant.iter().map(|c| c.neuron).collect();
    writeln!(text, "  constant neurons: {}", list(&constant))?;
    writeln!(text, "  nearly constant: {}", list(&found.nearly_constant))?;
    match found.sentences {
        Some(sentences) => writeln!(text, "  words: yes, in {sentences} sentences")?,
        None => writeln!(text, "  words: no")?,
    }
    for task in &found.tasks {
        writeln!(text, "  task {}: {} classes", task.name, task.classes.len())?;
        for class in &task.classes {
            writeln!(text, "    {:<20} {:>8}", class.name, class.samples)?;
        }
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
