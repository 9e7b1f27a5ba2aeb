//! Probes judged on test, with account of how many.

use super::records::paired;
use super::results::{Evaluated, Paired};
use crate::analysis::frozen::Frozen;
use crate::analysis::search;
use crate::analysis::uncertainty;
use crate::error::Result;
use crate::labels::Labels;
use crate::split::Split;

/// Judges probes of one task, and keeps account.
pub(super) struct Judge<'a> {
    /// The task's name.
    pub task: &'a str,
    /// Test.
    pub test: &'a Split,
    /// Its labels of the task.
    pub labels: &'a Labels,
    /// What the oracle gets right; empty until it was judged.
    pub oracle: Vec<bool>,
    /// The account.
    pub evaluated: Vec<Evaluated>,
}

/// How a probe does on test.
pub(super) struct Judged {
    /// Which samples it gets right.
    pub hits: Vec<bool>,
    /// Its accuracy.
    pub accuracy: f64,
    /// The 95 % interval of that.
    pub interval: [f64; 2],
}

impl Judge<'_> {
    /// Judges one probe that is one of `what`.
    pub(super) fn judge(&mut self, what: &str, probe: &Frozen) -> Result<Judged> {
        let hits = self.hits(what, probe, self.labels)?;
        Ok(Judged {
            accuracy: search::accuracy(&hits),
            interval: uncertainty::wilson(search::count(&hits), hits.len()),
            hits,
        })
    }

    /// The same against the oracle.
    pub(super) fn against_oracle(
        &mut self,
        what: &str,
        probe: &Frozen,
    ) -> Result<(Judged, Paired)> {
        let judged = self.judge(what, probe)?;
        let paired = paired(&self.oracle, &judged.hits)?;
        Ok((judged, paired))
    }

    /// Which samples a probe gets right, by other labels of test.
    pub(super) fn hits(
        &mut self,
        what: &str,
        probe: &Frozen,
        labels: &Labels,
    ) -> Result<Vec<bool>> {
        self.count(what, 1, 1);
        probe.hits(self.test.activations.view(), labels)
    }

    /// Counts probes that are `what`, and how often test was predicted by them.
    pub(super) fn count(&mut self, what: &str, probes: usize, evaluations: usize) {
        match self.evaluated.iter_mut().find(|known| known.what == what) {
            Some(known) => {
                known.probes += probes;
                known.evaluations += evaluations;
            }
            None => self.evaluated.push(Evaluated {
                task: self.task.to_owned(),
                what: what.to_owned(),
                probes,
                evaluations,
            }),
        }
    }
}
