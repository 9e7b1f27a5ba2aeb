//! The family of "a loss" claims: every retrained set against its task's oracle, corrected together (Holm 1979).

use std::collections::BTreeMap;

use super::results::{LossClaims, Paired, TaskResults};
use crate::analysis::holm::holm;
use crate::error::Result;

/// The comparisons of a task, each with the neurons of its set.
fn comparisons(task: &mut TaskResults) -> Vec<(&[usize], &mut Paired)> {
    let mut all: Vec<(&[usize], &mut Paired)> = Vec::new();
    let minimal = task.minimal_sets.iter_mut();
    all.extend(minimal.map(|set| (&*set.neurons, &mut set.against_oracle)));
    let disjoint = task.disjoint.iter_mut().flat_map(|found| &mut found.sets);
    all.extend(disjoint.map(|set| (&*set.neurons, &mut set.against_oracle)));
    let combined = task.combined.iter_mut();
    all.extend(combined.map(|set| (&*set.neurons, &mut set.against_oracle)));
    all
}

/// Puts the corrected p into every comparison. Several δ often give the same set: the same neurons of the same task, with
/// the same samples lost and gained, are one hypothesis.
///
/// # Errors
/// When a p is none, which is a bug of ours.
pub(super) fn correct(tasks: &mut [TaskResults]) -> Result<LossClaims> {
    let mut hypotheses: BTreeMap<(usize, Vec<usize>, usize, usize), Vec<&mut Paired>> =
        BTreeMap::new();
    for (at, task) in tasks.iter_mut().enumerate() {
        for (neurons, paired) in comparisons(task) {
            let mut neurons = neurons.to_vec();
            neurons.sort_unstable();
            let key = (at, neurons, paired.only_oracle, paired.only_other);
            hypotheses.entry(key).or_default().push(paired);
        }
    }
    let p: Vec<f64> = hypotheses.values().map(|rows| rows[0].p).collect();
    let corrected = holm(&p)?;
    let family = p.len();
    let mut rows = 0;
    for (paired, p) in hypotheses.into_values().zip(corrected) {
        rows += paired.len();
        paired.into_iter().for_each(|paired| paired.p_holm = p);
    }
    Ok(LossClaims { family, rows })
}
