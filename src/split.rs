//! Train, dev and test: the parts of a data set, with their invariants.

use crate::activations::Activations;
use crate::error::{Error, Result};
use crate::labels::Labels;

/// The word of every sample, and the sentence it stands in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tokens {
    /// The word, one a sample.
    pub words: Vec<String>,
    /// The number of its sentence, ascending, one a sample.
    pub sentences: Vec<u32>,
}

/// One part of a data set: activations, one label set a task, and the words where they are known.
#[derive(Debug, Clone)]
pub struct Split {
    /// Samples × neurons.
    pub activations: Activations,
    /// One label set for each task, in the order of [`Dataset::tasks`].
    pub labels: Vec<Labels>,
    /// The words, where the data have them.
    pub tokens: Option<Tokens>,
}

/// Train, dev and test of the same neurons and the same tasks.
#[derive(Debug, Clone)]
pub struct Dataset {
    tasks: Vec<String>,
    train: Split,
    dev: Split,
    test: Split,
}

impl Dataset {
    /// Checks that the three parts agree.
    ///
    /// # Errors
    /// When labels or words and activations differ in length, the parts differ in neurons, layers or class names, or
    /// train holds fewer than two classes of a task.
    pub fn new(tasks: Vec<String>, train: Split, dev: Split, test: Split) -> Result<Self> {
        check_parts(&tasks, &[("train", &train), ("dev", &dev), ("test", &test)])?;
        Ok(Self {
            tasks,
            train,
            dev,
            test,
        })
    }

    /// Names of the tasks.
    pub fn tasks(&self) -> &[String] {
        &self.tasks
    }

    /// The part that probes are fitted on.
    pub fn train(&self) -> &Split {
        &self.train
    }

    /// The part that choices are made on.
    pub fn dev(&self) -> &Split {
        &self.dev
    }

    /// The part that final figures are taken on.
    pub fn test(&self) -> &Split {
        &self.test
    }
}

/// Checks that named parts agree, train first.
///
/// # Errors
/// As [`Dataset::new`].
pub fn check_parts(tasks: &[String], parts: &[(&str, &Split)]) -> Result<()> {
    let Some((_, train)) = parts.first() else {
        return Ok(());
    };
    for (name, part) in parts {
        check_part(name, part, tasks)?;
        if part.activations.layers() != train.activations.layers() {
            let neurons = (part.activations.neurons(), train.activations.neurons());
            return Err(other_layers(name, neurons));
        }
        for (task, (ours, theirs)) in tasks.iter().zip(part.labels.iter().zip(&train.labels)) {
            if ours.classes() != theirs.classes() {
                return Err(Error::invalid(
                    format!("{name}, task \"{task}\""),
                    format!(
                        "its classes {:?} are not train's {:?}",
                        ours.classes(),
                        theirs.classes()
                    ),
                    "Use the same class names in the same order everywhere",
                ));
            }
        }
    }
    for (task, labels) in tasks.iter().zip(&train.labels) {
        if labels.present().len() < 2 {
            return Err(one_class(task, labels.len()));
        }
    }
    Ok(())
}

/// A part has other layers than train: so many neurons here, so many there.
pub(crate) fn other_layers(part: &str, (here, train): (usize, usize)) -> Error {
    Error::invalid(
        part,
        format!("it has {here} neurons, train has {train}, or their layers differ"),
        "Dump all parts from the same layers and units of the same model",
    )
}

/// Train has one class of a task.
pub(crate) fn one_class(task: &str, samples: usize) -> Error {
    Error::invalid(
        format!("train, task \"{task}\""),
        format!("all {samples} samples are of one class"),
        "A probe needs at least two classes in train",
    )
}

fn check_part(name: &str, part: &Split, tasks: &[String]) -> Result<()> {
    let samples = part.activations.samples();
    if part.labels.len() != tasks.len() {
        return Err(Error::invalid(
            name,
            format!("{} label sets for {} tasks", part.labels.len(), tasks.len()),
            "Give one label set for every task",
        ));
    }
    for (task, labels) in tasks.iter().zip(&part.labels) {
        if labels.len() != samples {
            return Err(Error::invalid(
                format!("{name}, task \"{task}\""),
                format!("{} labels for {samples} rows of activations", labels.len()),
                "Give exactly one label for every row of activations, in the same order",
            ));
        }
    }
    if let Some(tokens) = &part.tokens
        && (tokens.words.len() != samples || tokens.sentences.len() != samples)
    {
        return Err(Error::invalid(
            format!("{name}, tokens"),
            format!(
                "{} words for {samples} rows of activations",
                tokens.words.len()
            ),
            "Give exactly one word for every row of activations, in the same order",
        ));
    }
    Ok(())
}
