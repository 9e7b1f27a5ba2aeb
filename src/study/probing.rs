//! Probes on chosen neurons: fitted on train, chosen on dev, judged on test at the end.

use ndarray::{Array1, Array2};

use super::results::CertificateRecord;
use super::spec::{ProbeSpec, SolverSpec};
use crate::error::Result;
use crate::labels::Labels;
use crate::ops::Backend;
use crate::ops::moments::{Moments, Spread};
use crate::ops::probe::{
    self, ABSENT_CLASS_BIAS, Certificate, Design, Fit, Params, PenaltyScale, Problem, Solver,
};
use crate::split::{Dataset, Split};

/// The labels of one task, or of one draw of a control task.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'a> {
    /// Of train.
    pub train: &'a Labels,
    /// Of dev.
    pub dev: &'a Labels,
    /// Of test.
    pub test: &'a Labels,
}

/// λ1 and λ2.
pub(super) type Penalty = (f64, f64);

/// A solved probe and how well it does on dev.
#[derive(Debug, Clone)]
pub(super) struct Probe {
    /// The solution.
    pub fit: Fit,
    /// Accuracy on dev.
    pub dev_accuracy: f64,
}

/// Fits probes, and keeps count of those that did not converge.
pub(super) struct Prober<'a> {
    backend: &'a Backend,
    data: &'a Dataset,
    moments: &'a Moments,
    params: Params,
    /// Fits so far.
    pub fits: usize,
    /// Those whose stopping rule was not met.
    pub unconverged: usize,
    /// Their largest relative gap.
    pub worst_gap: f64,
}

impl<'a> Prober<'a> {
    /// For the neurons of a data set; `moments` are train's.
    pub(super) fn new(
        backend: &'a Backend,
        data: &'a Dataset,
        moments: &'a Moments,
        spec: &ProbeSpec,
        seed: u64,
    ) -> Self {
        let params = Params {
            solver: match spec.solver {
                SolverSpec::Newton => Solver::Newton,
                SolverSpec::Fista => Solver::Fista,
            },
            scale: if spec.standardize {
                PenaltyScale::Standardised
            } else {
                PenaltyScale::Raw
            },
            relative_gap: spec.relative_gap,
            #[expect(clippy::cast_precision_loss, reason = "at most a million passes")]
            max_passes: spec.max_passes as f64,
            seed,
        };
        Self {
            backend,
            data,
            moments,
            params,
            fits: 0,
            unconverged: 0,
            worst_gap: 0.0,
        }
    }

    /// The chosen neurons, standardised; `None` where none of them varies.
    pub(super) fn design(&self, columns: &[usize]) -> Result<Option<Design>> {
        if !columns
            .iter()
            .any(|&n| self.moments.spread[n] == Spread::Varies)
        {
            return Ok(None);
        }
        let x = self.data.train().activations.view();
        Design::new(self.backend, x, self.moments, columns).map(Some)
    }

    /// The penalties that a specification tries for a task, strongest first.
    pub(super) fn penalties(
        &self,
        spec: &ProbeSpec,
        design: Option<&Design>,
        labels: &Labels,
    ) -> Result<Vec<Penalty>> {
        if let Some(l1) = spec.l1 {
            return Ok(vec![(l1, spec.l2.unwrap_or(spec.l2_per_l1 * l1))]);
        }
        let largest = match design {
            Some(design) => probe::lambda_max(self.backend, design, labels, self.params.scale)?,
            // Nothing varies: every penalty gives the same probe.
            None => 1.0,
        };
        let mut ratios = spec.lambda_ratios.clone();
        ratios.sort_by(|a, b| b.total_cmp(a));
        let penalty = |ratio: f64| (ratio * largest, ratio * largest * spec.l2_per_l1);
        Ok(ratios.into_iter().map(penalty).collect())
    }

    /// Fits every target at its penalty, all in one batch; `progress` hears the share that is done.
    pub(super) fn fit(
        &mut self,
        design: Option<&Design>,
        wanted: &[(Target<'_>, Penalty)],
        progress: &mut dyn FnMut(f64),
    ) -> Result<Vec<Probe>> {
        let problems: Vec<Problem<'_>> = wanted
            .iter()
            .map(|(target, (l1, l2))| Problem {
                labels: target.train,
                l1: *l1,
                l2: *l2,
                start: None,
            })
            .collect();
        let fits = match design {
            Some(design) => probe::fit(self.backend, design, &problems, &self.params, &mut |p| {
                progress(p.finished as f64 / p.problems as f64);
            })?,
            None => problems
                .iter()
                .map(|problem| intercept_only(problem, self.moments.mean.len()))
                .collect(),
        };
        let dev = self.data.dev();
        let probes = fits.into_iter().zip(wanted).map(|(fit, (target, _))| {
            self.fits += 1;
            if !fit.certificate.converged {
                self.unconverged += 1;
                self.worst_gap = self.worst_gap.max(fit.certificate.relative_gap);
            }
            Probe {
                dev_accuracy: accuracy(&hits(&fit, dev, target.dev)),
                fit,
            }
        });
        Ok(probes.collect())
    }

    /// The best of several penalties on dev.
    pub(super) fn best(
        &mut self,
        columns: &[usize],
        target: Target<'_>,
        penalties: &[Penalty],
    ) -> Result<Probe> {
        let design = self.design(columns)?;
        let wanted: Vec<_> = penalties.iter().map(|&penalty| (target, penalty)).collect();
        Ok(best(self.fit(design.as_ref(), &wanted, &mut |_| {})?))
    }

    /// Which samples of test a probe gets right.
    pub(super) fn test_hits(&self, probe: &Probe, target: Target<'_>) -> Vec<bool> {
        hits(&probe.fit, self.data.test(), target.test)
    }
}

/// The place of the probe that is best on dev, of equals the first: the most strongly penalised.
pub(super) fn best_place(probes: &[Probe]) -> usize {
    let mut best = 0;
    for at in 1..probes.len() {
        if probes[at].dev_accuracy > probes[best].dev_accuracy {
            best = at;
        }
    }
    best
}

/// The probe that [`best_place`] finds; there must be one.
pub(super) fn best(mut probes: Vec<Probe>) -> Probe {
    probes.swap_remove(best_place(&probes))
}

/// Which samples a probe gets right.
pub(super) fn hits(fit: &Fit, part: &Split, labels: &Labels) -> Vec<bool> {
    let predicted = fit.predict(part.activations.view());
    predicted
        .iter()
        .zip(labels.ids())
        .map(|(p, y)| p == y)
        .collect()
}

/// Number of samples that are right.
pub(super) fn correct(hits: &[bool]) -> usize {
    hits.iter().filter(|hit| **hit).count()
}

/// Share of the samples that are right.
pub(super) fn accuracy(hits: &[bool]) -> f64 {
    correct(hits) as f64 / hits.len() as f64
}

/// A certificate as results hold it.
pub(super) fn certificate(certificate: &Certificate) -> CertificateRecord {
    CertificateRecord {
        kkt: certificate.kkt,
        kkt_relative: certificate.kkt_relative,
        duality_gap: certificate.duality_gap,
        relative_gap: certificate.relative_gap,
        passes: certificate.passes,
        converged: certificate.converged,
        certified_zeros: certificate.certified_zeros,
        certified_nonzeros: certificate.certified_nonzeros,
    }
}

/// The optimum where no neuron varies: no weights, and the log class shares of train as bias.
fn intercept_only(problem: &Problem<'_>, neurons: usize) -> Fit {
    let counts = problem.labels.counts();
    let samples = problem.labels.len() as f64;
    let shares = counts.iter().map(|&count| count as f64 / samples);
    #[expect(clippy::cast_possible_truncation, reason = "a bias is f32")]
    let bias: Array1<f32> = shares
        .clone()
        .map(|share| {
            if share > 0.0 {
                share.ln() as f32
            } else {
                ABSENT_CLASS_BIAS
            }
        })
        .collect();
    Fit {
        l1: problem.l1,
        l2: problem.l2,
        standardised: Array2::zeros((counts.len(), neurons)),
        weights: Array2::zeros((counts.len(), neurons)),
        bias,
        objective: shares.filter(|s| *s > 0.0).map(|s| -s * s.ln()).sum(),
        certificate: Certificate {
            kkt: 0.0,
            kkt_relative: 0.0,
            duality_gap: 0.0,
            relative_gap: 0.0,
            passes: 0.0,
            converged: true,
            certified_zeros: counts.len() * neurons,
            certified_nonzeros: 0,
        },
    }
}
