//! What a task's choices leave: frozen probes and the neurons, layers and sizes that train and dev decided. Test is not
//! known here; [`super::evaluate`] judges all of it afterwards.

use std::collections::BTreeMap;

use super::results::{Rung, Salient, Stability};
use crate::analysis::frozen::Frozen;
use crate::analysis::ranking::Ranking;
use crate::analysis::search::Search;

/// Orderings by name.
pub(super) type Rankings = BTreeMap<&'static str, Ranking>;

/// Everything that was chosen for one task.
pub(super) struct Choices<'a> {
    /// The probe on all neurons.
    pub oracle: &'a Search,
    /// Probes on layers.
    pub layers: ChosenLayers,
    /// Layer selection of `layers.deltas`.
    pub layer_selection: Vec<SelectedLayer>,
    /// Orderings.
    pub rankings: Rankings,
    /// Minimal sets.
    pub minimal_sets: Vec<ChosenSet>,
    /// Sets that share no neuron.
    pub disjoint: Vec<ChosenDisjoint>,
    /// What resamples of train select.
    pub stability: Vec<Stability>,
    /// Random sets.
    pub random_sets: Vec<ChosenRandom>,
    /// Layers, clusters and ranking combined.
    pub combined: Vec<ChosenCombined>,
    /// Probes of the control tasks on all neurons, one a draw.
    pub controls: &'a [Frozen],
    /// Salient neurons.
    pub salient: Salient,
}

/// Probes on layers.
pub(super) struct ChosenLayers {
    /// Each layer alone.
    pub independent: Vec<ChosenLayer>,
    /// Layers 0 … k.
    pub cumulative: Vec<ChosenLayer>,
}

/// A probe on a layer, or on the layers up to it.
pub(super) struct ChosenLayer {
    /// The layer, or the last of them.
    pub layer: u32,
    /// Neurons that the probe saw.
    pub neurons: usize,
    /// Accuracy on dev.
    pub dev_accuracy: f64,
    /// The probe.
    pub probe: Frozen,
    /// Probes of the control tasks on the same neurons; none for several layers.
    pub controls: Vec<Frozen>,
}

/// The layer that suffices for one δ.
#[derive(Debug, Clone, Copy)]
pub(super) struct SelectedLayer {
    /// δ.
    pub delta: f64,
    /// Its place among the cumulative layers.
    pub place: usize,
}

/// A set of neurons and the probe that was retrained on it.
#[derive(Clone)]
pub(super) struct Retrained {
    /// The neurons, most salient first.
    pub neurons: Vec<usize>,
    /// Accuracy on dev.
    pub dev_accuracy: f64,
    /// The probe.
    pub probe: Frozen,
}

impl Retrained {
    /// Freezes what a search found on these neurons.
    pub(super) fn of(neurons: &[usize], search: &Search) -> Self {
        Self {
            neurons: neurons.to_vec(),
            dev_accuracy: search.dev_accuracy,
            probe: Frozen::of(&search.fit),
        }
    }
}

/// A minimal set.
pub(super) struct ChosenSet {
    /// The ordering's name.
    pub ranking: String,
    /// δ.
    pub delta: f64,
    /// How the size was looked for.
    pub search: String,
    /// The set.
    pub set: Retrained,
    /// Probes of the control tasks on the same neurons, one a draw.
    pub controls: Vec<Frozen>,
    /// Sizes tried.
    pub ladder: Vec<Rung>,
}

/// The result of layer selection, clustering and ranking.
#[derive(Clone)]
pub(super) struct ChosenCombined {
    /// δ of the layer selection.
    pub delta: f64,
    /// Clustering threshold.
    pub threshold: f64,
    /// Layers 0 … this.
    pub layer: u32,
    /// Neurons of those layers.
    pub layer_neurons: usize,
    /// Representatives.
    pub clusters: usize,
    /// Dev accuracy of the probe on them.
    pub clusters_dev_accuracy: f64,
    /// The minimal set among them.
    pub set: Retrained,
}

/// Minimal sets that share no neuron.
pub(super) struct ChosenDisjoint {
    /// The ordering's name.
    pub ranking: String,
    /// δ.
    pub delta: f64,
    /// The dev accuracy that every set exceeds.
    pub required: f64,
    /// The sets, the minimal set first.
    pub sets: Vec<Retrained>,
    /// Whether what was left holds none.
    pub exhausted: bool,
    /// Neurons that vary and are in no set.
    pub left: usize,
    /// The best dev accuracy of what was left.
    pub best_left: Option<f64>,
}

/// A minimal set and random ones of its size.
pub(super) struct ChosenRandom {
    /// The ordering's name.
    pub ranking: String,
    /// δ.
    pub delta: f64,
    /// The dev accuracy that a set within δ exceeds.
    pub required: f64,
    /// The minimal set.
    pub set: Retrained,
    /// The random ones.
    pub random: Vec<Retrained>,
}
