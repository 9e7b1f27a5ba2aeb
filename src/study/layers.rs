//! What single layers, and the layers up to one, know.

use super::choices::{ChosenLayer, ChosenLayers, SelectedLayer};
use super::records::Tally;
use super::sets::Goal;
use crate::activations::LayerMap;
use crate::analysis::frozen::Frozen;
use crate::analysis::layers::{LayerProbe, probe_layers, select_layer};
use crate::analysis::search::Prober;
use crate::analysis::selectivity::control_probes;
use crate::error::Result;
use crate::labels::Labels;

/// Probes on each layer alone, with the control tasks of each, and on layers 0 … k. `draws` are the labels of train of the
/// control tasks, which the second prober fits.
///
/// # Errors
/// When a fit fails.
pub(super) fn curves(
    (prober, control_prober): (&Prober<'_>, &Prober<'_>),
    map: &LayerMap,
    goal: Goal<'_>,
    draws: &[&Labels],
    tally: &mut Tally,
    progress: &mut dyn FnMut(f64),
) -> Result<ChosenLayers> {
    let search = &mut |done: f64| progress(0.5 * done);
    let probes = probe_layers(
        prober,
        map,
        goal.target,
        goal.penalties,
        goal.oracle,
        search,
    )?;
    let mut independent = Vec::with_capacity(probes.independent.len());
    for (at, probe) in probes.independent.iter().enumerate() {
        tally.add(&probe.search);
        let mut chosen = freeze(probe);
        if !draws.is_empty() {
            let penalty = chosen.probe.penalty();
            let columns: Vec<usize> = map.columns(probe.layer).collect();
            chosen.controls =
                control_probes(control_prober, &columns, draws, penalty, &mut |_| {})?;
        }
        let controls = chosen.controls.iter();
        controls.for_each(|control| tally.count(control.certificate()));
        independent.push(chosen);
        progress(0.5 + 0.5 * (at + 1) as f64 / probes.independent.len() as f64);
    }
    // Of several layers the first one alone is the first of these as well, and counted already; the last is the oracle.
    let counted = usize::from(probes.cumulative.len() > 1);
    let others = probes.cumulative.iter().skip(counted);
    others.for_each(|probe| tally.add(&probe.search));
    Ok(ChosenLayers {
        independent,
        cumulative: probes.cumulative.iter().map(freeze).collect(),
    })
}

pub(super) fn freeze(probe: &LayerProbe) -> ChosenLayer {
    ChosenLayer {
        layer: probe.layer,
        neurons: probe.neurons,
        dev_accuracy: probe.search.dev_accuracy,
        probe: Frozen::of(&probe.search.fit),
        controls: Vec::new(),
    }
}

/// For each δ the lowest layer k whose layers 0 … k lose at most δ of the oracle's dev accuracy.
pub(super) fn select(
    deltas: &[f64],
    cumulative: &[ChosenLayer],
    oracle_dev: f64,
) -> Vec<SelectedLayer> {
    let dev: Vec<f64> = cumulative.iter().map(|point| point.dev_accuracy).collect();
    let choose = |&delta: &f64| SelectedLayer {
        delta,
        place: select_layer(&dev, oracle_dev, delta),
    };
    deltas.iter().map(choose).collect()
}
