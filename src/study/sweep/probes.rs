//! Probes brought together with the data that they are swept on.

use std::path::{Path, PathBuf};

use ndarray::{Array1, Array2, Axis};

use super::SweepJob;
use crate::activations::Activations;
use crate::data::{self, ProbeFile};
use crate::error::{Error, Result};
use crate::labels::Labels;
use crate::ops::Backend;
use crate::ops::moments::moments;
use crate::ops::probe::ABSENT_CLASS_BIAS;
use crate::study::spec::AblationSpec;

/// A probe with its own classes, and the labels in them.
pub(super) struct Probe {
    pub file: PathBuf,
    /// The probe's classes, then those of the data that it does not know.
    pub labels: Labels,
    /// C × D, for raw activations.
    pub weights: Array2<f32>,
    pub bias: Array1<f32>,
    /// What mean ablation replaces neurons by.
    pub mean: Vec<f32>,
    /// Samples of classes that it does not know.
    pub unknown: usize,
}

impl Probe {
    /// What stands for a neuron that is not kept.
    pub(super) fn ablated(&self, ablation: AblationSpec) -> Vec<f32> {
        match ablation {
            AblationSpec::Mean => self.mean.clone(),
            AblationSpec::Zero => vec![0.0; self.mean.len()],
        }
    }
}

/// Reads the probes, and the means of other activations where these are asked for.
pub(super) fn read(job: &SweepJob, x: &Activations, labels: &Labels) -> Result<Vec<Probe>> {
    let mean = match &job.mean_from {
        Some(path) => Some(means(job, path, x.neurons())?),
        None => None,
    };
    job.probes
        .iter()
        .map(|path| aligned(path, data::read_probe(path)?, x, labels, mean.as_deref()))
        .collect()
}

#[expect(clippy::cast_possible_truncation, reason = "activations are f32")]
fn to_f32(mean: &[f64]) -> Vec<f32> {
    mean.iter().map(|&m| m as f32).collect()
}

fn means(job: &SweepJob, path: &Path, neurons: usize) -> Result<Vec<f32>> {
    let other = data::open(path, &job.options)?.activations()?;
    if other.neurons() != neurons {
        return Err(Error::invalid(
            format!("means of {}", path.display()),
            format!(
                "they are of {} neurons, the data of {neurons}",
                other.neurons()
            ),
            "Give activations of the same neurons",
        ));
    }
    Ok(to_f32(&moments(&Backend::Cpu, other.view(), None)?.mean))
}

fn aligned(
    path: &Path,
    probe: ProbeFile,
    x: &Activations,
    labels: &Labels,
    mean: Option<&[f32]>,
) -> Result<Probe> {
    let refused = |problem: String| {
        let what = format!("probe {}", path.display());
        let fix = "Give a probe that was fitted on the same neurons and task";
        Err(Error::invalid(what, problem, fix))
    };
    let (theirs, ours) = (probe.raw.ncols(), x.neurons());
    if theirs != ours {
        return refused(format!("it is of {theirs} neurons, the data of {ours}"));
    }
    let Some(mut classes) = probe.classes else {
        return refused("it predicts values, not classes".into());
    };
    let known = classes.len();
    let mut to = vec![0u32; labels.classes().len()];
    let mut unknown = 0;
    for (id, count) in labels.counts().into_iter().enumerate() {
        let name = &labels.classes()[id];
        let place = classes.iter().position(|class| class == name);
        // A class without samples needs no place.
        if count > 0 && place.is_none_or(|place| place >= known) {
            unknown += count;
            classes.push(name.clone());
        }
        to[id] = place.unwrap_or(classes.len() - 1) as u32;
    }
    if unknown == labels.len() {
        let example = &labels.classes()[labels.ids()[0] as usize];
        return refused(format!(
            "it knows none of the classes of the data, such as \"{example}\""
        ));
    }
    let ids = labels.ids().iter().map(|&id| to[id as usize]).collect();
    let mut weights = Array2::zeros((classes.len(), ours));
    weights
        .slice_axis_mut(Axis(0), (..known).into())
        .assign(&probe.raw);
    let mut bias = Array1::from_elem(classes.len(), ABSENT_CLASS_BIAS);
    bias.slice_axis_mut(Axis(0), (..known).into())
        .assign(&probe.bias);
    Ok(Probe {
        file: path.to_owned(),
        labels: Labels::new(ids, classes)?,
        weights,
        bias,
        mean: mean.map_or_else(|| to_f32(&probe.mean), <[f32]>::to_vec),
        unknown,
    })
}
