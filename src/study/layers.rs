//! What single layers, and the layers up to one, know.

use super::records::{Tally, certificate, judge};
use super::results::{LayerCurves, LayerPoint, LayerSelection};
use super::sets::Goal;
use crate::activations::LayerMap;
use crate::analysis::layers::{LayerProbe, probe_layers, select_layer};
use crate::analysis::search::Prober;
use crate::analysis::selectivity::{ControlProbe, ControlTask, control_accuracies};
use crate::error::Result;

/// Probes on each layer alone, with the selectivity of each, and on layers 0 … k, judged on test. `draws` are those of the
/// control task, which the second prober fits.
///
/// # Errors
/// When a fit fails.
pub(super) fn curves(
    (prober, control_prober): (&Prober<'_>, &Prober<'_>),
    map: &LayerMap,
    goal: Goal<'_>,
    draws: &[ControlTask],
    tally: &mut Tally,
    progress: &mut dyn FnMut(f64),
) -> Result<LayerCurves> {
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
        let penalty = (probe.search.fit.l1, probe.search.fit.l2);
        let controls = if draws.is_empty() {
            Vec::new()
        } else {
            let columns: Vec<usize> = map.columns(probe.layer).collect();
            let test = goal.test.0.activations.view();
            control_accuracies(control_prober, &columns, draws, penalty, test, &mut |_| {})?
        };
        controls
            .iter()
            .for_each(|control| tally.count(&control.certificate));
        independent.push(point(probe, goal, &controls)?);
        progress(0.5 + 0.5 * (at + 1) as f64 / probes.independent.len() as f64);
    }
    let mut cumulative = Vec::with_capacity(probes.cumulative.len());
    for probe in &probes.cumulative {
        tally.add(&probe.search);
        cumulative.push(point(probe, goal, &[])?);
    }
    Ok(LayerCurves {
        independent,
        cumulative,
    })
}

fn point(probe: &LayerProbe, goal: Goal<'_>, controls: &[ControlProbe]) -> Result<LayerPoint> {
    let judged = judge(&probe.search, goal.test.0, goal.test.1)?;
    let mean = controls.iter().map(|c| c.accuracy).sum::<f64>() / controls.len() as f64;
    Ok(LayerPoint {
        layer: probe.layer,
        neurons: probe.neurons,
        l1: probe.search.fit.l1,
        dev_accuracy: probe.search.dev_accuracy,
        test_accuracy: judged.accuracy,
        test_interval: judged.interval,
        selectivity: (!controls.is_empty()).then_some(judged.accuracy - mean),
        certificate: certificate(&probe.search.fit.certificate),
    })
}

/// For each δ the lowest layer k whose layers 0 … k lose at most δ of the oracle's dev accuracy.
pub(super) fn select(
    deltas: &[f64],
    cumulative: &[LayerPoint],
    oracle_dev: f64,
) -> Vec<LayerSelection> {
    let dev: Vec<f64> = cumulative.iter().map(|point| point.dev_accuracy).collect();
    let choose = |&delta: &f64| {
        let point = &cumulative[select_layer(&dev, oracle_dev, delta)];
        LayerSelection {
            delta,
            layer: point.layer,
            neurons: point.neurons,
            dev_accuracy: point.dev_accuracy,
            test_accuracy: point.test_accuracy,
        }
    };
    deltas.iter().map(choose).collect()
}
