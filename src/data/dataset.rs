//! A whole data set: train, dev and test from their files.

use std::path::PathBuf;

use super::classes::{self, LabelColumn};
use super::text;
use super::{ReadOptions, Source, labels, open};
use crate::activations::{Activations, LayerMap};
use crate::error::{Error, Result, meant};
use crate::labels::Labels;
use crate::split::{Dataset, Split, Tokens, one_class, other_layers};

/// The files of one part.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PartFiles {
    /// Samples × neurons, in any format that [`open`] reads.
    pub activations: PathBuf,
    /// Task → its labels, for formats without labels, or instead of those in the file.
    pub labels: Vec<(String, PathBuf)>,
    /// The words (`.word`, `.tsv`), instead of those in or beside the file of activations.
    pub words: Option<PathBuf>,
}

/// The files of a data set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DatasetFiles {
    /// The part that probes are fitted on.
    pub train: PartFiles,
    /// The part that choices are made on.
    pub dev: PartFiles,
    /// The part that final figures are taken on.
    pub test: PartFiles,
    /// The tasks to read. Empty: those of train's label files, without such files the primary task of train.
    pub tasks: Vec<String>,
    /// What the files do not say about themselves.
    pub options: ReadOptions,
}

/// Reads train, dev and test, and gives every task the same classes in all three.
///
/// Class lists that a file declares stand in their order; class names that were spelled out are sorted; integers beside
/// declared classes are ids into them.
///
/// # Errors
/// When a file cannot be read, a task has no labels in a part, counts or layers differ, or train holds fewer than two
/// classes of a task.
pub fn read_dataset(files: &DatasetFiles) -> Result<Dataset> {
    let parts = [&files.train, &files.dev, &files.test];
    let (tasks, splits) = read_splits(&parts, &files.tasks, &files.options)?;
    let [train, dev, test] = <[Split; 3]>::try_from(splits).expect("three parts");
    Dataset::new(tasks, train, dev, test)
}

/// As [`read_dataset`] for any number of parts, train first: the names of the tasks (as [`DatasetFiles::tasks`] says where
/// `tasks` is empty) and what each part holds. Whether the parts agree is not checked.
///
/// # Errors
/// When a file cannot be read, a task has no labels in a part, or counts differ.
pub fn read_splits(
    parts: &[&PartFiles],
    tasks: &[String],
    options: &ReadOptions,
) -> Result<(Vec<String>, Vec<Split>)> {
    let (tasks, parts) = described(parts, tasks, options)?;
    let mut splits = Vec::new();
    for part in parts {
        splits.push(Split {
            activations: part.source.activations()?,
            labels: part.labels,
            tokens: part.tokens,
        });
    }
    Ok((tasks, splits))
}

/// A part whose activations are not read yet.
struct Described {
    source: Source,
    labels: Vec<Labels>,
    tokens: Option<Tokens>,
}

/// Opens the parts, and reads what is said of their samples.
fn described(
    parts: &[&PartFiles],
    tasks: &[String],
    options: &ReadOptions,
) -> Result<(Vec<String>, Vec<Described>)> {
    let sources = parts
        .iter()
        .map(|part| open(&part.activations, options))
        .collect::<Result<Vec<Source>>>()?;
    let tasks = tasks_of(parts[0], tasks, &sources[0])?;
    let mut columns = Vec::new();
    let mut tokens = Vec::new();
    for (part, source) in parts.iter().zip(&sources) {
        let (part_columns, part_tokens) = annotations(part, source, &tasks)?;
        columns.push(part_columns);
        tokens.push(part_tokens);
    }
    let labels = by_part(&tasks, columns)?;
    let each = sources.into_iter().zip(labels).zip(tokens);
    let described = each.map(|((source, labels), tokens)| Described {
        source,
        labels,
        tokens,
    });
    Ok((tasks, described.collect()))
}

/// What is known of a data set before its activations are read.
#[derive(Debug, Clone)]
pub struct Outline {
    /// Names of the tasks.
    pub tasks: Vec<String>,
    /// Samples of train, dev and test.
    pub samples: [usize; 3],
    /// How the elements of train, dev and test are stored.
    pub dtypes: [&'static str; 3],
    /// The layers of the neurons.
    pub layers: LayerMap,
    /// How many classes of each task occur in train.
    pub classes: Vec<usize>,
    /// Whether the words of all parts are known.
    pub words: bool,
    /// Bytes that compressed files take while they are read.
    pub inflated: u64,
}

/// Reads headers, labels and words of a data set, but no activations.
///
/// # Errors
/// As [`read_dataset`], but for what activations alone show.
pub fn outline(files: &DatasetFiles) -> Result<Outline> {
    let parts = [&files.train, &files.dev, &files.test];
    let (tasks, parts) = described(&parts, &files.tasks, &files.options)?;
    let [train, dev, test] = <[Described; 3]>::try_from(parts).ok().expect("three parts");
    for (name, part) in [("dev", &dev), ("test", &test)] {
        if part.source.layers() != train.source.layers() {
            let neurons = (part.source.neurons(), train.source.neurons());
            return Err(other_layers(name, neurons));
        }
    }
    let classes: Vec<usize> = train.labels.iter().map(|l| l.present().len()).collect();
    if let Some(at) = classes.iter().position(|&classes| classes < 2) {
        return Err(one_class(&tasks[at], train.source.samples()));
    }
    let parts = [&train, &dev, &test];
    Ok(Outline {
        tasks,
        samples: parts.map(|part| part.source.samples()),
        dtypes: parts.map(|part| part.source.dtype().name()),
        layers: train.source.layers().clone(),
        classes,
        words: parts.iter().all(|part| part.tokens.is_some()),
        inflated: parts.iter().map(|part| part.source.inflated()).sum(),
    })
}

/// One part with a number for every sample instead of classes.
#[derive(Debug, Clone)]
pub struct ValuedPart {
    /// Samples × neurons.
    pub activations: Activations,
    /// The label of every sample.
    pub values: Vec<f64>,
    /// The words, where the data have them.
    pub tokens: Option<Tokens>,
}

/// Reads a part whose labels are numbers, from the label file of its only task.
///
/// # Errors
/// When a file cannot be read, there is no label file, or labels and activations differ in number.
pub fn read_valued(part: &PartFiles, options: &ReadOptions) -> Result<ValuedPart> {
    let source = open(&part.activations, options)?;
    let Some((task, path)) = part.labels.first() else {
        return Err(Error::file(
            source.path(),
            "labels",
            "continuous labels are read from a file of their own, and none was given",
            "Give a label file with one number for every sample (.npy, .txt, .tsv)",
        ));
    };
    let values = labels::read_values(path, task)?;
    labels::check_rows(path, values.len(), task, source.path(), source.samples())?;
    Ok(ValuedPart {
        values,
        tokens: source.tokens()?,
        activations: source.activations()?,
    })
}

fn tasks_of(part: &PartFiles, named: &[String], train: &Source) -> Result<Vec<String>> {
    let mut tasks = named.to_vec();
    if tasks.is_empty() {
        tasks = part.labels.iter().map(|(t, _)| t.clone()).collect();
    }
    if tasks.is_empty() {
        tasks.extend(train.primary_task()?);
    }
    for (at, task) in tasks.iter().enumerate() {
        if tasks[..at].contains(task) {
            return Err(Error::invalid(
                "tasks",
                format!("\"{task}\" is named twice"),
                "Name every task once",
            ));
        }
    }
    if tasks.is_empty() {
        return Err(no_labels(train, None));
    }
    Ok(tasks)
}

fn no_labels(source: &Source, task: Option<&str>) -> Error {
    let held = source.task_names().unwrap_or_default();
    let near = task.map(|task| meant(task, held.iter().map(String::as_str)));
    Error::file(
        source.path(),
        "labels",
        match task {
            Some(task) => format!(
                "there are none of task \"{task}\"; tasks in the file: {}",
                super::quoted_list(&held)
            ),
            None => "the file holds none, and no label file was given".to_owned(),
        },
        near.unwrap_or_default()
            + "Give a label file (.label, .txt, .tsv, .npy) for the task, or name a task that the file holds",
    )
}

/// Labels of every task and the words of one part.
fn annotations(
    part: &PartFiles,
    source: &Source,
    tasks: &[String],
) -> Result<(Vec<LabelColumn>, Option<Tokens>)> {
    let given = match &part.words {
        Some(path) => {
            let words = text::read_words(path)?;
            words.check_rows(source.path(), source.samples())?;
            Some(words)
        }
        None => None,
    };
    let mut columns = Vec::new();
    let mut table_words = None;
    for task in tasks {
        let column = match part.labels.iter().find(|(name, _)| name == task) {
            Some((_, path)) => {
                let (column, words) = labels::read(path, task, given.as_ref())?;
                table_words = table_words.or(words);
                column
            }
            None => source
                .labels(task)?
                .ok_or_else(|| no_labels(source, Some(task)))?,
        };
        let count = column.ids.len();
        labels::check_rows(&column.path, count, task, source.path(), source.samples())?;
        columns.push(column);
    }
    let tokens = match given {
        Some(words) => Some(words.into_tokens()),
        None => match source.tokens()? {
            Some(tokens) => Some(tokens),
            None => table_words.map(text::Words::into_tokens),
        },
    };
    Ok((columns, tokens))
}

/// Classes made the same over the parts; the result is a list of labels (one a task) for each part.
fn by_part(tasks: &[String], columns: Vec<Vec<LabelColumn>>) -> Result<Vec<Vec<Labels>>> {
    let mut of_parts: Vec<Vec<Labels>> = columns.iter().map(|_| Vec::new()).collect();
    let mut columns: Vec<_> = columns.into_iter().map(Vec::into_iter).collect();
    for task in tasks {
        let of_task = columns
            .iter_mut()
            .map(|part| part.next().expect("one column a task"))
            .collect();
        for (part, labels) in of_parts.iter_mut().zip(classes::unify(task, of_task)?) {
            part.push(labels);
        }
    }
    Ok(of_parts)
}
