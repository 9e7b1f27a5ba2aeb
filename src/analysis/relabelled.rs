//! Other labels on the same samples: would a probe of labels that mean nothing be as good?
//!
//! # Permutation test
//! The labels of train are shuffled over all its samples and the probe is fitted again, N times; with S the number of
//! fits at least as accurate as the probe, `p = (1 + S) / (N + 1)` (Phipson & Smyth 2010; Ojala & Garriga 2010, test 1). The
//! null hypothesis is that labels have nothing to do with activations. Labels are shuffled over all samples, not within
//! sentences: what a sentence as a whole says about its labels is something that a probe may know. Where labels of
//! neighbours are alike and so are their activations, samples are not quite exchangeable, and p is then somewhat too small.
//! Every shuffle is fitted at the probe's own penalty, the search for which is not repeated: judged on
//! the samples that chose this penalty among several, the probe has an advantage over them and p is too small.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::tuning::{Heard, Tuning};
use crate::error::Result;
use crate::labels::Labels;
use crate::ops::probe::{Design, Fit, Problem};

/// Labels of train that a probe is fitted on instead of its own.
#[derive(Debug, Clone, Copy)]
pub struct Relabelled<'a> {
    /// One a sample of train.
    pub labels: &'a Labels,
    /// Weight of every sample; `None` weighs all alike.
    pub weights: Option<&'a [f64]>,
}

impl Tuning<'_> {
    /// Fits other labels on the same samples and neurons, at one penalty (λ1, λ2) and otherwise as the probe itself: equal
    /// means for equal capacity. All are one batch.
    ///
    /// # Errors
    /// As [`Tuning::run`].
    pub fn relabelled(
        &self,
        others: &[Relabelled<'_>],
        (l1, l2): (f64, f64),
        progress: &mut dyn FnMut(Heard),
    ) -> Result<Vec<Fit>> {
        let design = Design::new(self.backend, self.train.x, self.moments, self.columns)?;
        let problems: Vec<Problem<'_>> = others
            .iter()
            .map(|other| Problem {
                weights: other.weights,
                norm: self.norm,
                ..Problem::new(other.labels, l1, l2)
            })
            .collect();
        self.fit(&design, &problems, progress)
    }
}

/// The same labels in another order, each order alike likely. Same seed, same order, on every machine.
pub fn shuffled(labels: &Labels, seed: u64) -> Labels {
    let mut ids = labels.ids().to_vec();
    ids.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    Labels::new(ids, labels.classes().to_vec()).expect("the ids are those of valid labels")
}
