//! From what an analysis returns to what results hold.

use super::results::{self, CertificateRecord, ExcerptRecord, LambdaPoint};
use crate::analysis::excerpts::Excerpt;
use crate::analysis::search::{Candidate, Search};
use crate::analysis::uncertainty;
use crate::error::Result;
use crate::ops::probe::Certificate;

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

/// An excerpt as results hold it; `words` are those of all samples.
pub(super) fn excerpt(excerpt: Excerpt, words: &[String]) -> ExcerptRecord {
    let [cut_before, cut_after] = excerpt.cut;
    ExcerptRecord {
        sentence: excerpt.sentence,
        cut_before,
        cut_after,
        words: words[excerpt.rows].to_vec(),
        z: excerpt.z.iter().map(|z| (z * 1e2).round() / 1e2).collect(),
    }
}

/// One λ of a search as results hold it.
pub(super) fn lambda_point(candidate: &Candidate) -> LambdaPoint {
    LambdaPoint {
        l1: candidate.l1,
        l2: candidate.l2,
        dev_accuracy: candidate.dev_accuracy,
        dev_log_loss: candidate.scores.log_loss.value,
        lca_score: candidate.lca_score,
        train_accuracy: candidate.train_accuracy,
        nonzero_weights: candidate.nonzero_weights,
        certificate: certificate(&candidate.certificate),
    }
}

/// What the oracle and another probe get right on the same test samples; its p is not corrected yet.
pub(super) fn paired(oracle: &[bool], other: &[bool]) -> Result<results::Paired> {
    let paired = uncertainty::paired(oracle, other)?;
    Ok(results::Paired {
        only_oracle: paired.only_first,
        only_other: paired.only_second,
        difference: paired.difference,
        interval: paired.interval,
        p: paired.p,
        p_holm: paired.p,
    })
}

/// How many fits there were, and how many of them did not converge.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// All fits.
    pub fits: usize,
    /// Those whose stopping rule was not met.
    pub unconverged: usize,
    /// Their largest relative gap.
    pub worst_gap: f64,
}

impl Tally {
    /// Counts these fits.
    pub(super) fn of<'a>(certificates: impl Iterator<Item = &'a Certificate>) -> Self {
        let mut tally = Self::default();
        certificates.for_each(|certificate| tally.count(certificate));
        tally
    }

    /// Counts all fits of a search.
    pub(super) fn add(&mut self, search: &Search) {
        search.certificates().for_each(|fit| self.count(fit));
    }

    /// Counts one fit.
    pub(super) fn count(&mut self, certificate: &Certificate) {
        self.fits += 1;
        if !certificate.converged {
            self.unconverged += 1;
            self.worst_gap = self.worst_gap.max(certificate.relative_gap);
        }
    }
}
