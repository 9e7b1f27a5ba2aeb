//! `neurosieve inspect`: what a file of activations holds.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;

use ndarray::ArrayView2;
use serde::Serialize;

use super::{say, say_json};
use crate::data::{self, LabelColumn, ReadOptions, Source};
use crate::error::{Error, Result};
use crate::ops::Backend;
use crate::ops::moments::{self, Spread};
use crate::study::spec::layers_units;

/// Show what a file holds: shape, type, layers, constant neurons, non-finite values, classes.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Activations: .safetensors, .npy, .npz, NeuroX .hdf5 or .json
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

fn parse_layers_units(text: &str) -> std::result::Result<(usize, usize), String> {
    layers_units(text).ok_or_else(|| "write 7x384 for 7 layers of 384 units".to_owned())
}

/// Positions of non-finite values that are listed.
const LISTED: usize = 10;

/// What `--json` prints.
#[derive(Serialize)]
struct Inspection {
    schema_version: u32,
    file: String,
    samples: usize,
    neurons: usize,
    dtype: String,
    layers: Vec<LayerSummary>,
    non_finite: NonFinite,
    /// Absent where values are not finite: moments are not defined then.
    spread: Option<SpreadSummary>,
    words: bool,
    tasks: Vec<TaskSummary>,
}

#[derive(Serialize)]
struct LayerSummary {
    layer: u32,
    neurons: usize,
    constant: Option<usize>,
}

#[derive(Serialize)]
struct NonFinite {
    count: usize,
    first: Vec<Position>,
}

#[derive(Serialize)]
struct Position {
    row: usize,
    neuron: usize,
    value: String,
}

#[derive(Serialize)]
struct SpreadSummary {
    constant: Vec<usize>,
    nearly_constant: Vec<usize>,
    dead_layers: Vec<u32>,
}

#[derive(Serialize)]
struct TaskSummary {
    name: String,
    classes: BTreeMap<String, usize>,
}

pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<()> {
    let options = ReadOptions {
        layers_units: arguments.layers_units,
    };
    let source = data::open(&arguments.data, &options)?;
    let (samples, neurons) = (source.samples(), source.neurons());
    let mut values = vec![0.0; samples * neurons];
    source.read_rows(0, &mut values)?;
    let non_finite = find_non_finite(&values, neurons);
    let spread = if non_finite.count == 0 {
        let x = ArrayView2::from_shape((samples, neurons), &values)
            .expect("allocated for exactly this shape");
        Some(moments::moments(&Backend::Cpu, x, None)?.spread)
    } else {
        None
    };
    let layers = summarise_layers(&source, spread.as_deref());
    let inspection = Inspection {
        schema_version: 1,
        file: arguments.data.display().to_string(),
        samples,
        neurons,
        dtype: source.dtype().to_string(),
        spread: spread.as_ref().map(|spread| SpreadSummary {
            constant: ids(spread, Spread::Constant),
            nearly_constant: ids(spread, Spread::NearlyConstant),
            dead_layers: layers
                .iter()
                .filter(|layer| layer.constant == Some(layer.neurons))
                .map(|layer| layer.layer)
                .collect(),
        }),
        layers,
        non_finite,
        words: source.tokens()?.is_some(),
        tasks: tasks(arguments, &source)?,
    };
    if arguments.json {
        return say_json(out, &inspection);
    }
    let mut text = String::new();
    describe(&mut text, &inspection).expect("writing to a String cannot fail");
    say(out, &text)
}

fn ids(spread: &[Spread], wanted: Spread) -> Vec<usize> {
    (0..spread.len()).filter(|&n| spread[n] == wanted).collect()
}

fn find_non_finite(values: &[f32], neurons: usize) -> NonFinite {
    let mut found = values.iter().enumerate().filter(|(_, v)| !v.is_finite());
    let first: Vec<Position> = found
        .by_ref()
        .take(LISTED)
        .map(|(at, value)| Position {
            row: at / neurons,
            neuron: at % neurons,
            value: value.to_string(),
        })
        .collect();
    NonFinite {
        count: first.len() + found.count(),
        first,
    }
}

fn summarise_layers(source: &Source, spread: Option<&[Spread]>) -> Vec<LayerSummary> {
    let map = source.layers();
    map.layers()
        .into_iter()
        .map(|layer| {
            let columns = map.columns(layer);
            LayerSummary {
                layer,
                neurons: columns.len(),
                constant: spread.map(|s| ids(&s[columns], Spread::Constant).len()),
            }
        })
        .collect()
}

/// The tasks of the file and, where one was named, the label file's.
fn tasks(arguments: &Arguments, source: &Source) -> Result<Vec<TaskSummary>> {
    let mut tasks = Vec::new();
    for name in source.task_names()? {
        if let Some(column) = source.labels(&name)? {
            tasks.push(summarise_task(name, column)?);
        }
    }
    if let Some(path) = &arguments.labels {
        let name = path
            .file_stem()
            .map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        let column = data::read_labels(path, &name, None)?;
        if column.ids.len() != source.samples() {
            return Err(Error::file(
                path,
                "labels",
                format!(
                    "{} labels for {} rows of {}",
                    column.ids.len(),
                    source.samples(),
                    source.path().display()
                ),
                "Give exactly one label for every row of activations, in the same order",
            ));
        }
        tasks.push(summarise_task(name, column)?);
    }
    Ok(tasks)
}

fn summarise_task(name: String, column: LabelColumn) -> Result<TaskSummary> {
    let labels = column.into_labels()?;
    let classes = labels.classes().iter().cloned().zip(labels.counts());
    Ok(TaskSummary {
        name,
        classes: classes.collect(),
    })
}

fn describe(text: &mut String, inspection: &Inspection) -> std::fmt::Result {
    writeln!(
        text,
        "{}: {} samples × {} neurons, {}",
        inspection.file, inspection.samples, inspection.neurons, inspection.dtype
    )?;
    for layer in &inspection.layers {
        write!(text, "  layer {}: {} neurons", layer.layer, layer.neurons)?;
        match layer.constant {
            Some(constant) if constant == layer.neurons => writeln!(text, ", all constant")?,
            Some(constant) if constant > 0 => writeln!(text, ", {constant} constant")?,
            _ => writeln!(text)?,
        }
    }
    writeln!(text, "  non-finite values: {}", inspection.non_finite.count)?;
    for at in &inspection.non_finite.first {
        writeln!(
            text,
            "    row {}, neuron {}: {}",
            at.row, at.neuron, at.value
        )?;
    }
    if let Some(spread) = &inspection.spread {
        writeln!(text, "  constant neurons: {}", list(&spread.constant))?;
        writeln!(text, "  nearly constant: {}", list(&spread.nearly_constant))?;
    }
    writeln!(
        text,
        "  words: {}",
        if inspection.words { "yes" } else { "no" }
    )?;
    for task in &inspection.tasks {
        writeln!(text, "  task {}: {} classes", task.name, task.classes.len())?;
        for (class, samples) in &task.classes {
            writeln!(text, "    {class:<20} {samples:>8}")?;
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
