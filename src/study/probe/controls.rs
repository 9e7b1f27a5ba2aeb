//! Does the probe know more than memory? The same probe of other labels: control tasks, and shuffled labels of train.

use super::load::{self, Labelled, Loaded, Part};
use super::results::{ControlProbeFigures, ControlTasks, Fitted, LabelShuffles};
use super::{Job, record, samples};
use crate::analysis::relabelled::{Relabelled, shuffled};
use crate::analysis::search::{count, hits};
use crate::analysis::selectivity::{
    ControlProbe, SEEN_ENOUGH, Selectivity, control_labels, seen_in_train,
};
use crate::analysis::tuning::{Heard, Tuned, Tuning};
use crate::analysis::uncertainty::permutation_p;
use crate::error::{Error, Result};
use crate::labels::Labels;
use crate::ops::probe::Fit;
use crate::study::stream;

/// Streams of the job's seed; 1 to 3 are those of the parts' metrics.
const CONTROLS: u64 = 4;
const SHUFFLES: u64 = 5;

/// Labels of a control task.
pub(super) struct Drawn {
    pub train: Labels,
    /// Of the part that the probe is judged on.
    judged: Labels,
}

/// What [`others`] finds.
#[derive(Default)]
pub(super) struct Others {
    pub control: Option<ControlTasks>,
    pub shuffles: Option<LabelShuffles>,
    pub warnings: Vec<String>,
}

/// The part that the probe is judged on, and its name: test, or dev where there is no test.
pub(super) fn judged_on<'a>(data: &'a Loaded, flag: &str) -> Result<(&'static str, &'a Part)> {
    let test = data.test.as_ref().map(|part| ("test", part));
    let dev = data.dev.as_ref().map(|part| ("dev", part));
    test.or(dev).ok_or_else(|| {
        Error::invalid(
            flag,
            "there is nothing to judge the probe on",
            "Give --test, or --dev",
        )
    })
}

fn classes(part: &Part) -> Result<&Labels> {
    match &part.labels {
        Labelled::Classes(labels) => Ok(labels),
        Labelled::Values(_) => Err(Error::invalid(
            "--regression",
            "control tasks, shuffled labels and description lengths are of classes",
            "Leave one of the two out",
        )),
    }
}

/// Whether the data have what the job asks for, before any work is done; the labels of control tasks.
pub(super) fn prepare(job: &Job, data: &Loaded) -> Result<Vec<Drawn>> {
    if job.label_shuffles > 0 {
        judged_on(data, "--label-shuffles")?;
        classes(&data.train)?;
    }
    if job.control.draws == 0 {
        return Ok(Vec::new());
    }
    let (name, judged) = judged_on(data, "--control")?;
    let labels = classes(&data.train)?;
    let words = |name: &str, part: &'_ Part| {
        part.tokens.as_ref().map(|t| t.words.clone()).ok_or_else(|| {
            Error::invalid(
                "--control",
                format!("the words of {name} are not known, and a control task is a class for every word"),
                "Put them beside the activations, as STEM.word (one sentence a line) or STEM.tokens.tsv (column token)",
            )
        })
    };
    let (train, judged) = (words("train", &data.train)?, words(name, judged)?);
    let draw = |number: usize| {
        let seed = stream(stream(job.params.seed, CONTROLS), number as u64);
        let mut parts = control_labels(&[&train, &judged], labels, job.control.from, seed)?;
        Ok(Drawn {
            judged: parts.remove(1),
            train: parts.remove(0),
        })
    };
    (0..job.control.draws).map(draw).collect()
}

/// Fits the probe again for every draw of a control task and every shuffle of train's labels, in one batch.
pub(super) fn others(
    job: &Job,
    data: &Loaded,
    (tuning, tuned): (&Tuning<'_>, &Tuned),
    drawn: &[Drawn],
    progress: &mut dyn FnMut(Heard),
) -> Result<Others> {
    if drawn.is_empty() && job.label_shuffles == 0 {
        return Ok(Others::default());
    }
    let labels = classes(&data.train)?;
    let shuffles: Vec<Labels> = (0..job.label_shuffles as u64)
        .map(|number| shuffled(labels, stream(stream(job.params.seed, SHUFFLES), number)))
        .collect();
    let all: Vec<&Labels> = (drawn.iter().map(|drawn| &drawn.train))
        .chain(&shuffles)
        .collect();
    let own = load::file_weights(job, &data.train)?;
    let weights: Vec<Option<Vec<f64>>> = all
        .iter()
        .map(|labels| load::balance(job, own.clone(), labels))
        .collect();
    let relabelled: Vec<Relabelled<'_>> = (all.iter().zip(&weights))
        .map(|(labels, weights)| Relabelled {
            labels,
            weights: weights.as_deref(),
        })
        .collect();
    let fits = tuning.relabelled(&relabelled, (tuned.fit.l1, tuned.fit.l2), progress)?;
    let (controls, shuffles) = fits.split_at(drawn.len());
    let mut found = Others::default();
    if !controls.is_empty() {
        found.control = Some(control(job, data, &tuned.fit, controls, drawn)?);
    }
    if !shuffles.is_empty() {
        found.shuffles = Some(shuffles_of(data, &tuned.fit, shuffles)?);
    }
    let (judged_on, _) = judged_on(data, "--control")?;
    if judged_on == "dev" && tuned.path.len() > 1 {
        found.warnings.push(
            "Control tasks and shuffled labels were judged on dev, which chose the probe's penalty but not theirs: selectivity is too \
             large and p too small. Give --test, or one penalty."
                .to_owned(),
        );
    }
    found.warn(fits.iter().filter(|fit| !fit.certificate.converged).count());
    Ok(found)
}

fn control(
    job: &Job,
    data: &Loaded,
    own: &Fit,
    fits: &[Fit],
    drawn: &[Drawn],
) -> Result<ControlTasks> {
    let (name, part) = judged_on(data, "--control")?;
    let x = part.activations.view();
    let probes = (fits.iter().zip(drawn))
        .map(|(fit, drawn)| ControlProbe::of(fit, x, &drawn.judged))
        .collect::<Result<Vec<_>>>()?;
    let units = samples(part).units()?;
    let right: Vec<&[bool]> = probes.iter().map(|probe| &*probe.hits).collect();
    let found = Selectivity::of(&hits(own, x, classes(part)?)?, &right, &units)?;
    let words = |part: &Part| part.tokens.as_ref().map(|t| t.words.clone());
    let (train, judged) = (words(&data.train), words(part));
    Ok(ControlTasks {
        from: job.control.from,
        judged_on: name,
        resampled: units.name(),
        draws: (fits.iter().zip(&probes))
            .map(|(fit, probe)| ControlProbeFigures {
                accuracy: probe.accuracy,
                fit: fitted(fit),
            })
            .collect(),
        accuracy: found.control,
        selectivity: record::selectivity(&found),
        spread: found.spread,
        seen_in_train: seen_in_train(&train.unwrap_or_default(), &judged.unwrap_or_default()),
    })
}

fn shuffles_of(data: &Loaded, own: &Fit, fits: &[Fit]) -> Result<LabelShuffles> {
    let (name, part) = judged_on(data, "--label-shuffles")?;
    let labels = classes(part)?;
    let right = |fit: &Fit| Ok(count(&hits(fit, part.activations.view(), labels)?));
    let observed = right(own)?;
    let null = fits.iter().map(right).collect::<Result<Vec<usize>>>()?;
    let share = |right: usize| right as f64 / labels.len() as f64;
    Ok(LabelShuffles {
        judged_on: name,
        accuracy: share(observed),
        accuracies: null.iter().copied().map(share).collect(),
        p: permutation_p(observed, &null),
        unconverged: fits.iter().filter(|f| !f.certificate.converged).count(),
    })
}

fn fitted(fit: &Fit) -> Fitted {
    Fitted {
        nonzero_weights: fit.nonzero_weights(),
        certificate: record::certificate(&fit.certificate),
    }
}

impl Others {
    fn warn(&mut self, unconverged: usize) {
        if let Some(control) = &self.control
            && control.seen_in_train < SEEN_ENOUGH
        {
            self.warnings.push(format!(
                "Only {:.0} % of the words of {} occur in train, so no probe can learn the control task and selectivity is accuracy minus chance.",
                100.0 * control.seen_in_train,
                control.judged_on
            ));
        }
        if unconverged > 0 {
            self.warnings.push(format!(
                "{unconverged} of the probes of control tasks and shuffled labels have not converged."
            ));
        }
    }
}
