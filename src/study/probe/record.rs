//! From what the analysis returns to what results hold.

use super::Job;
use super::load::{Labelled, Loaded, Part};
use super::results::{
    Certificate, ClassFigures, Estimate, Figures, Fitted, Metrics, PartMetrics, PartSummary, Parts,
    PlanSummary, ProbeResults, SCHEMA_VERSION, Score, Selection, Tried, Weighting,
};
use crate::analysis::bootstrap::Units;
use crate::analysis::selectivity::Selectivity;
use crate::analysis::tuning::{self, Tuned};
use crate::analysis::{metrics, selection};
use crate::data::PartFiles;
use crate::ops::probe::{self, Norm, PenaltyScale};
use crate::study::results::{DeviceUsed, Timing};

pub(super) fn results(
    job: &Job,
    data: &Loaded,
    columns: &[usize],
    tuned: &Tuned,
    metrics: Metrics,
    (device, timings): (DeviceUsed, Vec<Timing>),
) -> ProbeResults {
    let fit = &tuned.fit;
    let neurons = data.train.activations.neurons();
    let summary = |files: &PartFiles, part: &Part| PartSummary {
        file: files.activations.display().to_string(),
        samples: part.activations.samples(),
    };
    let optional = |files: &Option<PartFiles>, part: &Option<Part>| {
        Some(summary(files.as_ref()?, part.as_ref()?))
    };
    ProbeResults {
        schema_version: SCHEMA_VERSION,
        neurosieve_version: env!("CARGO_PKG_VERSION").to_owned(),
        seed: job.params.seed,
        device,
        data: Parts {
            train: summary(&job.train, &data.train),
            dev: optional(&job.dev, &data.dev),
            test: optional(&job.test, &data.test),
        },
        task: data.task.clone(),
        classes: match &data.train.labels {
            Labelled::Classes(labels) => Some(labels.classes().to_vec()),
            Labelled::Values(_) => None,
        },
        neurons,
        columns: (columns.len() < neurons).then(|| columns.to_vec()),
        l1: fit.l1,
        l2: fit.l2,
        penalty: match job.norm {
            Norm::Squared => "elastic-net",
            Norm::Frobenius => "neurox",
        },
        standardize: job.params.scale == PenaltyScale::Standardised,
        method: if job.adam.is_some() { "adam" } else { "exact" },
        weighting: Weighting {
            balanced: job.balanced,
            file: job.sample_weights.as_ref().map(|p| p.display().to_string()),
        },
        objective: fit.objective,
        nonzero_weights: fit.nonzero_weights(),
        neurons_used: fit.neurons_used(),
        certificate: certificate(&fit.certificate),
        plan: tuned.plan.map(|plan| PlanSummary {
            problems: plan.problems,
            in_flight: plan.in_flight,
            design_bytes: plan.design,
            solver_bytes: plan.solver,
            pass_flop: plan.pass_flop,
        }),
        selection: selection(job, data, tuned),
        metrics,
        control: None,
        label_shuffles: None,
        description_length: None,
        warnings: warnings(job, data, tuned),
        timings,
    }
}

fn selection(job: &Job, data: &Loaded, tuned: &Tuned) -> Selection {
    let by = match (&data.dev, job.folds) {
        (Some(_), _) => "dev",
        (None, Some(_)) => "folds",
        (None, None) => "given",
    };
    let values = matches!(data.train.labels, Labelled::Values(_));
    Selection {
        by,
        folds: job.folds.filter(|_| data.dev.is_none()),
        rule: (tuned.path.len() > 1).then_some(job.rule),
        chosen: tuned.chosen,
        path: tuned.path.iter().map(|t| tried(t, values)).collect(),
    }
}

fn tried(tried: &tuning::Tried, values: bool) -> Tried {
    let score = |wanted: bool, of: fn(&selection::Scores) -> selection::Score| {
        let score = tried.scores.as_ref().filter(|_| wanted).map(of)?;
        Some(Score {
            value: score.value,
            se: score.se,
        })
    };
    Tried {
        l1: tried.l1,
        l2: tried.l2,
        accuracy: score(!values, |s| s.accuracy),
        log_loss: score(!values, |s| s.log_loss),
        mse: score(values, |s| s.log_loss),
        lca_score: tried.lca_score,
        fits: tried
            .fits
            .iter()
            .map(|(nonzero_weights, found)| Fitted {
                nonzero_weights: *nonzero_weights,
                certificate: certificate(found),
            })
            .collect(),
    }
}

pub(super) fn certificate(found: &probe::Certificate) -> Certificate {
    let bounded = |gap: f64| gap.is_finite().then_some(gap);
    Certificate {
        kkt: found.kkt,
        kkt_relative: found.kkt_relative,
        duality_gap: bounded(found.duality_gap),
        relative_gap: bounded(found.relative_gap),
        passes: found.passes,
        work: found.work,
        depth: found.depth,
        converged: found.converged,
        certified_zeros: found.certified_zeros,
        certified_nonzeros: found.certified_nonzeros,
    }
}

fn warnings(job: &Job, data: &Loaded, tuned: &Tuned) -> Vec<String> {
    let mut warnings = if job.adam.is_some() {
        let gap = tuned.fit.certificate.relative_gap;
        vec![format!(
            "NeuroX's training ends after its epochs, not at an optimum: the objective is up to {gap:.1e} of itself above it."
        )]
    } else {
        unconverged(tuned)
    };
    if tuned.path.len() > 1 && tuned.chosen + 1 == tuned.path.len() {
        warnings.push(
            "The weakest penalty that was tried was chosen; a weaker one may do better: add a smaller ratio."
                .to_owned(),
        );
    }
    if let Labelled::Classes(labels) = &data.train.labels {
        let absent: Vec<&str> = (labels.counts().iter().zip(labels.classes()))
            .filter(|(count, _)| **count == 0)
            .map(|(_, name)| name.as_str())
            .collect();
        if !absent.is_empty() {
            warnings.push(format!(
                "Train has no sample of {}, so the probe never answers that.",
                absent.join(", ")
            ));
        }
    }
    warnings
}

fn unconverged(tuned: &Tuned) -> Vec<String> {
    let mut warnings = Vec::new();
    if !tuned.fit.certificate.converged {
        warnings.push(
            "The probe has not converged: allow more passes, or a stopping rule that is met sooner.".to_owned(),
        );
    }
    let others = tuned.path.iter().flat_map(|tried| &tried.fits);
    let open = others.filter(|(_, found)| !found.converged).count();
    if open > 0 {
        warnings.push(format!(
            "{open} of the fits that were tried have not converged."
        ));
    }
    warnings
}

fn estimate(found: metrics::Estimate) -> Estimate {
    Estimate {
        value: found.value,
        interval: found.interval,
    }
}

pub(super) fn selectivity(found: &Selectivity) -> Estimate {
    Estimate {
        value: found.value,
        interval: found.interval,
    }
}

pub(super) fn classification(
    found: &metrics::Classification,
    classes: &[String],
    units: &Units,
) -> PartMetrics {
    let class = |(name, of): (&String, &metrics::ClassMetrics)| ClassFigures {
        name: name.clone(),
        support: of.support,
        precision: of.precision.map(estimate),
        recall: of.recall.map(estimate),
        f1: of.f1.map(estimate),
    };
    PartMetrics {
        samples: found.samples,
        resampled: units.name(),
        figures: Figures::Classes {
            accuracy: estimate(found.accuracy),
            macro_f1: estimate(found.macro_f1),
            mcc: estimate(found.mcc),
            log_loss: estimate(found.log_loss),
            per_class: classes.iter().zip(&found.per_class).map(class).collect(),
            confusion: found
                .confusion
                .rows()
                .into_iter()
                .map(|r| r.to_vec())
                .collect(),
        },
    }
}

pub(super) fn regression(found: &metrics::Regression, units: &Units) -> PartMetrics {
    PartMetrics {
        samples: found.samples,
        resampled: units.name(),
        figures: Figures::Values {
            mse: estimate(found.mse),
            r2: found.r2.map(estimate),
            pearson: found.pearson.map(estimate),
            spearman: found.spearman.map(estimate),
        },
    }
}
