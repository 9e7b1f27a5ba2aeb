//! From a job's files to its parts.

use super::Job;
use crate::activations::Activations;
use crate::data::{self, PartFiles};
use crate::error::{Error, Result};
use crate::labels::Labels;
use crate::ops::probe::balanced_weights;
use crate::split::{Split, Tokens, check_parts};
use crate::study::memory;

/// What is to be predicted.
#[derive(Debug)]
pub(super) enum Labelled {
    Classes(Labels),
    Values(Vec<f32>),
}

/// Train, dev or test.
#[derive(Debug)]
pub(super) struct Part {
    pub activations: Activations,
    pub tokens: Option<Tokens>,
    pub labels: Labelled,
}

/// What a job reads.
#[derive(Debug)]
pub(super) struct Loaded {
    pub task: String,
    pub train: Part,
    pub dev: Option<Part>,
    pub test: Option<Part>,
}

/// What the activations leave of the host's memory, where it is bounded: from the files' headers.
///
/// # Errors
/// When they do not fit.
pub(super) fn room(job: &Job) -> Result<Option<u64>> {
    let Some(allowed) = job.memory else {
        return Ok(None);
    };
    let parts = std::iter::once(&job.train).chain(&job.dev).chain(&job.test);
    let shapes = memory::shapes(parts, &job.options)?;
    let left = allowed.beside(&shapes, 0, "activations of all files")?;
    Ok(Some(left))
}

pub(super) fn load(job: &Job) -> Result<Loaded> {
    let named = [
        ("train", Some(&job.train)),
        ("dev", job.dev.as_ref()),
        ("test", job.test.as_ref()),
    ];
    let given: Vec<(&str, &PartFiles)> = named
        .into_iter()
        .filter_map(|(name, files)| Some((name, files?)))
        .collect();
    let (task, parts) = if job.continuous {
        values(job, &given)?
    } else {
        classes(job, &given)?
    };
    let mut parts = parts.into_iter();
    let mut next = |is_given: bool| if is_given { parts.next() } else { None };
    Ok(Loaded {
        task,
        train: next(true).expect("train is always read"),
        dev: next(job.dev.is_some()),
        test: next(job.test.is_some()),
    })
}

fn classes(job: &Job, given: &[(&str, &PartFiles)]) -> Result<(String, Vec<Part>)> {
    let files: Vec<&PartFiles> = given.iter().map(|(_, files)| *files).collect();
    let wanted: Vec<String> = job.task.iter().cloned().collect();
    let (tasks, splits) = data::read_splits(&files, &wanted, &job.options)?;
    let names = given.iter().map(|(name, _)| *name);
    let named: Vec<(&str, &Split)> = names.zip(&splits).collect();
    check_parts(&tasks, &named)?;
    let part = |mut split: Split| Part {
        labels: Labelled::Classes(split.labels.remove(0)),
        activations: split.activations,
        tokens: split.tokens,
    };
    let parts = splits.into_iter().map(part).collect();
    let task = tasks.into_iter().next().expect("at least one task");
    Ok((task, parts))
}

fn values(job: &Job, given: &[(&str, &PartFiles)]) -> Result<(String, Vec<Part>)> {
    let mut parts: Vec<Part> = Vec::new();
    for (name, files) in given {
        let part = data::read_valued(files, &job.options)?;
        if let Some(train) = parts.first()
            && train.activations.layers() != part.activations.layers()
        {
            return Err(Error::invalid(
                *name,
                format!(
                    "it has {} neurons, train has {}, or their layers differ",
                    part.activations.neurons(),
                    train.activations.neurons()
                ),
                "Dump all parts from the same layers and units of the same model",
            ));
        }
        parts.push(Part {
            activations: part.activations,
            tokens: part.tokens,
            labels: Labelled::Values(part.values.iter().map(|&v| v as f32).collect()),
        });
    }
    let task = job.train.labels.first().map(|(task, _)| task.clone());
    Ok((task.unwrap_or_default(), parts))
}

/// Weight of every sample of train: that of the file times that which balances the classes.
pub(super) fn weights(job: &Job, train: &Part) -> Result<Option<Vec<f64>>> {
    let own = file_weights(job, train)?;
    Ok(match &train.labels {
        Labelled::Classes(labels) => balance(job, own, labels),
        Labelled::Values(_) => own,
    })
}

/// The weights of the job's file.
pub(super) fn file_weights(job: &Job, train: &Part) -> Result<Option<Vec<f64>>> {
    let Some(path) = &job.sample_weights else {
        return Ok(None);
    };
    let weights = data::read_values(path, "weight")?;
    let samples = train.activations.samples();
    if weights.len() != samples {
        return Err(Error::file(
            path,
            "weights",
            format!(
                "there are {} weights for {samples} rows of activations",
                weights.len()
            ),
            "Give exactly one weight for every row of train, in the same order",
        ));
    }
    Ok(Some(weights))
}

/// Weights times those that balance the classes of `labels`, where the job asks for that.
pub(super) fn balance(job: &Job, own: Option<Vec<f64>>, labels: &Labels) -> Option<Vec<f64>> {
    if !job.balanced {
        return own;
    }
    let balanced = balanced_weights(labels);
    Some(match own {
        None => balanced,
        Some(own) => own.iter().zip(&balanced).map(|(a, b)| a * b).collect(),
    })
}
