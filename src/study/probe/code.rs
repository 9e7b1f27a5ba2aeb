//! The description length of a job's task and of its control tasks.

use super::controls::Drawn;
use super::load::Loaded;
use super::results::{CodedPortion, DescriptionLengths, TaskLength};
use super::{Job, Labelled, record, samples};
use crate::analysis::description_length::{DescriptionLength, OnlineCode, Portion, Portions};
use crate::analysis::tuning::Tuning;
use crate::error::{Error, Result};
use crate::labels::Labels;
use crate::study::stream;

/// Stream of the job's seed that portions are drawn from.
const PORTIONS: u64 = 6;

/// Whether the job can be coded, before any work is done.
pub(super) fn prepare(job: &Job, data: &Loaded) -> Result<Option<Portions>> {
    if !job.description_length {
        return Ok(None);
    }
    let refused = |problem: &str| {
        Err(Error::invalid(
            "--description-length",
            problem,
            "Ask for it without --regression, --solver adam, --class-weight and --sample-weights",
        ))
    };
    if job.adam.is_some() {
        return refused("portions are weights of samples, which NeuroX's training does not know");
    }
    if job.balanced || job.sample_weights.is_some() {
        return refused("every label is sent, so every sample counts alike");
    }
    if matches!(data.train.labels, Labelled::Values(_)) {
        return refused("a code of labels is a code of classes");
    }
    let units = samples(&data.train).units()?;
    Portions::shuffled(&units, stream(job.params.seed, PORTIONS)).map(Some)
}

/// Codes the task and its control tasks.
pub(super) fn lengths(
    job: &Job,
    data: &Loaded,
    tuning: &Tuning<'_>,
    portions: &Portions,
    drawn: &[Drawn],
    progress: &mut dyn FnMut(f64),
) -> Result<DescriptionLengths> {
    let Labelled::Classes(own) = &data.train.labels else {
        unreachable!("values are refused before")
    };
    let tasks: Vec<&Labels> = std::iter::once(own)
        .chain(drawn.iter().map(|drawn| &drawn.train))
        .collect();
    let code = OnlineCode {
        backend: tuning.backend,
        moments: tuning.moments,
        train: data.train.activations.view(),
        columns: tuning.columns,
        penalties: &job.penalties,
        norm: job.norm,
        params: &job.params,
        portions,
    };
    let lengths = code.lengths(&tasks, progress)?;
    let mut lengths = lengths.iter().map(length);
    let task = lengths.next().expect("one length a task");
    let controls: Vec<TaskLength> = lengths.collect();
    let mean = |of: fn(&TaskLength) -> f64| {
        (!controls.is_empty()).then(|| controls.iter().map(of).sum::<f64>() / controls.len() as f64)
    };
    Ok(DescriptionLengths {
        shuffled: samples(&data.train).units()?.name(),
        control_bits: mean(|length| length.bits),
        control_compression: mean(|length| length.compression),
        task,
        controls,
    })
}

fn length(found: &DescriptionLength) -> TaskLength {
    let portion = |portion: &Portion| CodedPortion {
        before: portion.before,
        samples: portion.samples,
        bits: portion.bits,
        l1: portion.probe.map(|(l1, _, _)| l1),
        l2: portion.probe.map(|(_, l2, _)| l2),
        certificate: portion
            .probe
            .map(|(_, _, found)| record::certificate(&found)),
    };
    TaskLength {
        classes: found.classes,
        samples: found.samples,
        bits: found.bits,
        uniform_bits: found.uniform_bits,
        frequency_bits: found.frequency_bits,
        compression: found.compression,
        portions: found.portions.iter().map(portion).collect(),
    }
}

/// Portions whose probe has not converged.
pub(super) fn warnings(found: &DescriptionLengths) -> Option<String> {
    let all = std::iter::once(&found.task).chain(&found.controls);
    let open = all
        .flat_map(|task| &task.portions)
        .filter(|portion| portion.certificate.as_ref().is_some_and(|c| !c.converged))
        .count();
    (open > 0).then(|| {
        format!("{open} of the probes that the description length is of have not converged.")
    })
}
