//! `neurosieve init`: a specification that fits the data that is there.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::output::Destination;
use super::{parse_layers_units, say};
use crate::data::{self, ReadOptions, Source};
use crate::error::{Error, Result};
use crate::study::Spec;

/// Write a commented study.toml for the files of a train, a dev and a test part.
///
/// The parts are told by the files' names (train; dev, valid or val; test), what a file is by its extension: activations
/// (.safetensors, .npy, .npz, .hdf5, .h5, .json, .jsonl), labels (.label, .tsv, .txt, and .npy with label in its name), words (.word).
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  neurosieve init data/
  neurosieve init bert/*.hdf5 labels/*.label -o bert.toml")]
pub(super) struct Arguments {
    /// A folder, or the files
    #[arg(required = true)]
    data: Vec<PathBuf>,
    /// The specification to write; never one that is there already
    #[arg(short, long, value_name = "FILE.toml", default_value = "study.toml")]
    output: PathBuf,
    /// Layers × units, such as 7x384, where the files do not say
    #[arg(long, value_name = "LxU", value_parser = parse_layers_units)]
    layers_units: Option<(usize, usize)>,
}

/// The files of one part.
#[derive(Debug, Default)]
struct Part {
    activations: Vec<PathBuf>,
    labels: Vec<PathBuf>,
    words: Vec<PathBuf>,
}

/// The parts, and the words in a file's name that say so.
const PARTS: [(&str, &[&str]); 3] = [
    ("train", &["train", "training"]),
    ("dev", &["dev", "valid", "validation", "val"]),
    ("test", &["test"]),
];

pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<()> {
    let file = &arguments.output;
    if file.exists() {
        return Err(Error::invalid(
            format!("specification {}", file.display()),
            "it is there already",
            "Name another one with --output, or remove it",
        ));
    }
    let destination = Destination::new(file, &["toml"])?;
    let parts = parts(&arguments.data)?;
    let text = specification(&parts, file, arguments.layers_units)?;
    Spec::parse(&text, file)?;
    destination.write(text.as_bytes())?;
    let name = file.display();
    say(
        out,
        &format!("{name}\nRun it with: neurosieve study {name} -o out\n"),
    )
}

/// What belongs to train, dev and test.
fn parts(data: &[PathBuf]) -> Result<[Part; 3]> {
    let mut parts: [Part; 3] = Default::default();
    for file in listed(data)? {
        let stem = file
            .file_stem()
            .map_or_else(String::new, |stem| stem.to_string_lossy().to_lowercase());
        let words: Vec<&str> = stem.split(|c: char| !c.is_ascii_alphanumeric()).collect();
        let says = |names: &[&str]| words.iter().any(|word| names.contains(word));
        let Some(place) = PARTS.iter().position(|(_, names)| says(names)) else {
            continue;
        };
        let extension = file
            .extension()
            .map_or_else(String::new, |end| end.to_string_lossy().to_lowercase());
        let part = &mut parts[place];
        match extension.as_str() {
            "npy" if stem.contains("label") => part.labels.push(file),
            "safetensors" | "npy" | "npz" | "hdf5" | "h5" | "json" | "jsonl" => {
                part.activations.push(file);
            }
            "label" | "txt" => part.labels.push(file),
            // Beside activations this is their words.
            "tsv" if !stem.ends_with(".tokens") => part.labels.push(file),
            "word" => part.words.push(file),
            _ => {}
        }
    }
    for ((name, said), part) in PARTS.iter().zip(&parts) {
        if part.activations.len() != 1 {
            let names: Vec<String> = part
                .activations
                .iter()
                .map(|file| file.display().to_string())
                .collect();
            let problem = match names.len() {
                0 => format!(
                    "no file of activations has {} in its name",
                    said.join(" or ")
                ),
                _ => format!("several files could be it: {}", names.join(", ")),
            };
            let fix =
                format!("Name one file of activations for each part, such as {name}.safetensors");
            return Err(Error::invalid(format!("{name} part"), problem, fix));
        }
    }
    Ok(parts)
}

/// The files, those of folders in the order of their names.
fn listed(data: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in data {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let failed = |source| Error::io("read", path, source);
        let mut inside = Vec::new();
        for entry in path.read_dir().map_err(failed)? {
            inside.push(entry.map_err(failed)?.path());
        }
        inside.sort();
        files.extend(inside.into_iter().filter(|file| file.is_file()));
    }
    Ok(files)
}

fn specification(
    parts: &[Part; 3],
    file: &Path,
    layers_units: Option<(usize, usize)>,
) -> Result<String> {
    let options = ReadOptions { layers_units };
    let sources = parts
        .iter()
        .map(|part| data::open(&part.activations[0], &options))
        .collect::<Result<Vec<Source>>>()?;
    let (tasks, own_labels) = tasks(parts, &sources)?;
    let name = file
        .file_stem()
        .map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    let mut text = String::new();
    let mut line = |said: &str| text.push_str(&format!("{said}\n"));
    line("# A study of neurosieve. Run it with: neurosieve study FILE -o FOLDER");
    line(&format!("name = {}", quoted(&name)));
    line("seed = 0 # of every random draw");
    line("");
    line("[data] # paths are relative to this file");
    let said = [
        "probes are fitted on it",
        "every choice is made on it",
        "figures are taken on it, nothing is chosen",
    ];
    for (place, (part, source)) in parts.iter().zip(&sources).enumerate() {
        let paths = described(part, file, (!own_labels).then_some(&*tasks));
        let shape = format!("{} × {}", source.samples(), source.neurons());
        line(&format!(
            "{} = {paths} # {shape}; {}",
            PARTS[place].0, said[place]
        ));
    }
    line(&format!("tasks = {}", toml::Value::from(tasks.clone())));
    let layers = sources[0].layers().layers().len();
    match layers_units {
        Some((layers, units)) => line(&format!("layers_units = \"{layers}x{units}\"")),
        None if layers == 1 => {
            line("# layers_units = \"13x768\" # the files do not say what belongs to which layer");
        }
        None => line(&format!("# {layers} layers, as the files say")),
    }
    text.push_str(DEFAULTS);
    Ok(text)
}

/// What has a default, for whoever wants to change it.
const DEFAULTS: &str = r#"
# What follows are the defaults: remove a # to change one.

[probe]
# lambda_ratios = [0.1, 0.03, 0.01, 0.003, 0.001, 0.0003] # shares of the smallest penalty that makes every weight zero
# rule = "accuracy" # how dev chooses: accuracy, accuracy-1se, log-loss, log-loss-1se, lca

[clusters]
# thresholds = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9] # distances at which the dendrogram is cut

[layers]
# deltas = [0.03, 0.02, 0.01] # loss of dev accuracy that is allowed

[minimal_set]
# deltas = [0.03, 0.02, 0.01]
# search = "ladder" # or "bisection"
# bootstrap = 10 # resamples of train that rank again; 0: none
# random_sets = 20 # random sets of the same size to compare with

[control]
# draws = 3 # control tasks with random classes; 0: none

[sweep]
# random_draws = 5 # random orderings to compare with
"#;

/// The tasks, and whether the activations' files hold their labels.
fn tasks(parts: &[Part; 3], sources: &[Source]) -> Result<(Vec<String>, bool)> {
    let mut held = sources[0].task_names()?;
    for source in &sources[1..] {
        let others = source.task_names()?;
        held.retain(|task| others.contains(task));
    }
    if !held.is_empty() {
        return Ok((held, true));
    }
    for ((name, _), part) in PARTS.iter().zip(parts) {
        if part.labels.len() != 1 {
            return Err(Error::invalid(
                format!("labels of the {name} part"),
                format!(
                    "the activations hold none, and there are {} files of labels",
                    part.labels.len()
                ),
                format!("Give one, such as {name}.label"),
            ));
        }
    }
    Ok((vec!["labels".to_owned()], false))
}

/// A part as TOML: a file name, or a table with files of its own for labels and words.
fn described(part: &Part, file: &Path, tasks: Option<&[String]>) -> String {
    let activations = relative(&part.activations[0], file);
    let words = part.words.first().map(|words| relative(words, file));
    let labels = tasks.map(|tasks| (&tasks[0], relative(&part.labels[0], file)));
    if labels.is_none() && words.is_none() {
        return activations;
    }
    let mut table = format!("{{ activations = {activations}");
    if let Some((task, labels)) = labels {
        table += &format!(", labels = {{ {task} = {labels} }}");
    }
    if let Some(words) = words {
        table += &format!(", words = {words}");
    }
    table + " }"
}

/// A path as seen from the folder of the specification, a whole one where it lies elsewhere; quoted.
fn relative(path: &Path, file: &Path) -> String {
    let whole = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => whole(folder),
        _ => whole(Path::new(".")),
    };
    let path = whole(path);
    let path = path.strip_prefix(&folder).unwrap_or(&path);
    quoted(&path.display().to_string())
}

/// A string as TOML has it.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}
