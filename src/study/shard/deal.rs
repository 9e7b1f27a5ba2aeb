//! What of a study can be dealt out, and who gets it.
//!
//! A piece is what can be fitted without knowing what the others find, but for probes on all neurons and minimal sets, which
//! whoever needs them computes, or finds in the folder of another shard. Pieces stand in the order of the study; each shard gets
//! a run of them of about the same weight, so that it has to do with few tasks.

use crate::activations::LayerMap;
use crate::analysis::layers::{Job, jobs};
use crate::study::examine::Asked;
use crate::study::spec::{RankingSpec, Spec};

use super::Shard;

/// Something that one shard does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::study) enum Piece {
    /// The correlations of all pairs.
    Correlations,
    /// A probe on layers of a task; with its control tasks where it is one layer alone.
    Layers(usize, Job),
    /// The control tasks of a task on all neurons.
    Controls(usize),
    /// The minimal sets of a task's ordering (its place in the specification), and their control tasks.
    Sets(usize, usize),
    /// What is asked of them.
    Examined(usize, usize, Asked),
    /// Layers up to the one at this place among those that are selected, at the threshold of this place: clusters and minimal
    /// set.
    Combined(usize, usize, usize),
}

impl Piece {
    /// The task that it belongs to.
    pub(in crate::study) fn task(self) -> Option<usize> {
        match self {
            Self::Correlations => None,
            Self::Layers(task, _)
            | Self::Controls(task)
            | Self::Sets(task, _)
            | Self::Examined(task, ..)
            | Self::Combined(task, ..) => Some(task),
        }
    }
}

/// The weight of a control task's probe: its stopping rule is wider.
const CONTROL: f64 = 0.3;
/// Of the search for a size, whose probes are mostly small.
const SIZES: f64 = 0.75;
/// Of a probe that starts from the oracle.
const RESAMPLE: f64 = 0.3;
/// Of a probe on random neurons.
const RANDOM: f64 = 0.05;
/// Of layers, clusters and ranking combined.
const COMBINED: f64 = 0.5;

/// What a probe takes besides its classes, in classes.
const BESIDES: f64 = 3.0;

/// All pieces of a study, with their weights; `classes` of each task occur in train. Natively the correlations are one of them.
pub(in crate::study) fn pieces(
    spec: &Spec,
    map: &LayerMap,
    classes: &[usize],
    draws: usize,
    native: bool,
) -> Vec<(Piece, f64)> {
    let mut found = Vec::new();
    if native {
        // A piece of its own only in name: it takes far less than a probe.
        found.push((Piece::Correlations, 0.5));
    }
    for (task, &classes) in classes.iter().enumerate() {
        let probe = BESIDES + classes as f64;
        let pieces = of_task(spec, map, task, draws as f64);
        found.extend(
            pieces
                .into_iter()
                .map(|(piece, weight)| (piece, probe * weight)),
        );
    }
    found
}

/// The pieces of one task, with their weights: 1 is a path of probes on all neurons.
fn of_task(spec: &Spec, map: &LayerMap, task: usize, draws: f64) -> Vec<(Piece, f64)> {
    let set = &spec.minimal_set;
    let share = |job: &Job| job.columns(map).len() as f64 / map.neurons() as f64;
    let mut found = Vec::new();
    for job in jobs(map) {
        let controls = match job {
            Job::Alone(_) => CONTROL * draws,
            Job::UpTo(_) => 0.0,
        };
        found.push((Piece::Layers(task, job), share(&job) * (1.0 + controls)));
    }
    if draws > 0.0 {
        found.push((Piece::Controls(task), CONTROL * draws));
    }
    for (at, ranking) in set
        .rankings
        .iter()
        .enumerate()
        .filter(|_| !set.deltas.is_empty())
    {
        let refits = matches!(ranking, RankingSpec::Lca);
        let whole = if refits { 1.0 } else { 0.0 };
        let sets = SIZES + 0.5 * CONTROL * draws;
        let further = set.disjoint.saturating_sub(1) as f64;
        let disjoint = further * (whole + SIZES);
        let resamples = set.bootstrap as f64 * RESAMPLE * whole;
        let random = set.random_sets as f64 * RANDOM;
        found.push((Piece::Sets(task, at), sets));
        let asked = [
            (Asked::Disjoint, disjoint),
            (Asked::Resamples, resamples),
            (Asked::RandomSets, random),
        ];
        let asked = asked.into_iter().filter(|(_, weight)| *weight > 0.0);
        found.extend(asked.map(|(what, weight)| (Piece::Examined(task, at, what), weight)));
    }
    for layer in 0..spec.combined.deltas.len() {
        let thresholds = 0..spec.combined.thresholds.len();
        found.extend(thresholds.map(|at| (Piece::Combined(task, layer, at), COMBINED)));
    }
    found
}

/// The pieces of one shard: every piece is in exactly one.
pub(in crate::study) fn deal(pieces: &[(Piece, f64)], shard: Shard) -> Vec<Piece> {
    let total: f64 = pieces.iter().map(|(_, weight)| weight).sum();
    let mut before = 0.0;
    let mut mine = Vec::new();
    for &(piece, weight) in pieces {
        // By the middle of the piece, which lies within one share alone.
        let share = (before + 0.5 * weight) / total * shard.of() as f64;
        if (share as usize).min(shard.of() - 1) == shard.number() - 1 {
            mine.push(piece);
        }
        before += weight;
    }
    mine
}
