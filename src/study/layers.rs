//! What single layers, and the layers up to one, know.

use super::probing::{Penalty, Probe, Prober, Target, accuracy, best, certificate, correct};
use super::results::{LayerCurves, LayerPoint, LayerSelection};
use crate::activations::LayerMap;
use crate::analysis::uncertainty;
use crate::error::Result;

/// One task as the layers see it.
pub(super) struct LayerTask<'a> {
    /// Its labels.
    pub target: Target<'a>,
    /// The penalties to choose from.
    pub penalties: &'a [Penalty],
    /// The probe on all neurons: that of all layers up to the last.
    pub oracle: &'a Probe,
    /// Its control tasks.
    pub controls: &'a [Target<'a>],
    /// Test accuracy of each control task on all neurons at the oracle's penalty.
    pub control_accuracies: &'a [f64],
}

/// Probes on each layer alone and on layers 0 … k, for every task; all tasks and penalties of a set of layers are one
/// batch.
///
/// # Errors
/// When a fit fails.
pub(super) fn curves(
    prober: &mut Prober<'_>,
    map: &LayerMap,
    tasks: &[LayerTask<'_>],
    progress: &mut dyn FnMut(f64),
) -> Result<Vec<LayerCurves>> {
    let layers = map.layers();
    let mut curves: Vec<LayerCurves> = tasks
        .iter()
        .map(|_| LayerCurves {
            independent: Vec::new(),
            cumulative: Vec::new(),
        })
        .collect();
    let total = 2 * layers.len();
    for (at, &layer) in layers.iter().enumerate() {
        let alone = map.columns(layer);
        let up_to: Vec<usize> = (0..alone.end).collect();
        let alone: Vec<usize> = alone.collect();
        for (place, point) in points(prober, layer, &alone, tasks, false)?
            .into_iter()
            .enumerate()
        {
            curves[place].independent.push(point);
        }
        progress((2 * at + 1) as f64 / total as f64);
        let last = at + 1 == layers.len();
        for (place, point) in points(prober, layer, &up_to, tasks, last)?
            .into_iter()
            .enumerate()
        {
            curves[place].cumulative.push(point);
        }
        progress((2 * at + 2) as f64 / total as f64);
    }
    Ok(curves)
}

/// One point for every task. All layers together are the oracle, which is not fitted again (`whole`).
fn points(
    prober: &mut Prober<'_>,
    layer: u32,
    columns: &[usize],
    tasks: &[LayerTask<'_>],
    whole: bool,
) -> Result<Vec<LayerPoint>> {
    if whole {
        let point = |task: &LayerTask<'_>| {
            point(
                prober,
                layer,
                columns.len(),
                task,
                task.oracle,
                task.control_accuracies,
            )
        };
        return Ok(tasks.iter().map(point).collect());
    }
    let design = prober.design(columns)?;
    let wanted: Vec<_> = tasks
        .iter()
        .flat_map(|task| task.penalties.iter().map(|&penalty| (task.target, penalty)))
        .collect();
    let mut probes = prober
        .fit(design.as_ref(), &wanted, &mut |_| {})?
        .into_iter();
    let of_task = |task: &LayerTask<'_>| best(probes.by_ref().take(task.penalties.len()).collect());
    let chosen: Vec<Probe> = tasks.iter().map(of_task).collect();
    let wanted: Vec<_> = tasks
        .iter()
        .zip(&chosen)
        .flat_map(|(task, probe)| {
            let penalty = (probe.fit.l1, probe.fit.l2);
            task.controls.iter().map(move |&control| (control, penalty))
        })
        .collect();
    let controls = prober.fit(design.as_ref(), &wanted, &mut |_| {})?;
    let mut accuracies = controls
        .iter()
        .zip(&wanted)
        .map(|(probe, (target, _))| accuracy(&prober.test_hits(probe, *target)));
    let points = tasks.iter().zip(&chosen).map(|(task, probe)| {
        let control: Vec<f64> = accuracies.by_ref().take(task.controls.len()).collect();
        point(prober, layer, columns.len(), task, probe, &control)
    });
    Ok(points.collect())
}

fn point(
    prober: &Prober<'_>,
    layer: u32,
    neurons: usize,
    task: &LayerTask<'_>,
    probe: &Probe,
    control: &[f64],
) -> LayerPoint {
    let hits = prober.test_hits(probe, task.target);
    let test_accuracy = accuracy(&hits);
    let mean = control.iter().sum::<f64>() / control.len() as f64;
    LayerPoint {
        layer,
        neurons,
        l1: probe.fit.l1,
        dev_accuracy: probe.dev_accuracy,
        test_accuracy,
        test_interval: uncertainty::wilson(correct(&hits), hits.len()),
        selectivity: (!control.is_empty()).then(|| test_accuracy - mean),
        certificate: certificate(&probe.fit.certificate),
    }
}

/// For each δ the lowest layer k such that layers 0 … k reach the oracle's dev accuracy
/// times 1 − δ.
pub(super) fn select(
    deltas: &[f64],
    cumulative: &[LayerPoint],
    oracle_dev: f64,
) -> Vec<LayerSelection> {
    let choose = |&delta: &f64| {
        let enough = |point: &&LayerPoint| reaches(point.dev_accuracy, oracle_dev, delta);
        // The last point is the oracle itself, so one always reaches.
        cumulative.iter().find(enough).map(|point| LayerSelection {
            delta,
            layer: point.layer,
            neurons: point.neurons,
            dev_accuracy: point.dev_accuracy,
            test_accuracy: point.test_accuracy,
        })
    };
    deltas.iter().filter_map(choose).collect()
}

/// Whether a dev accuracy is within δ of another one: at least that times 1 − δ.
pub(super) fn reaches(dev_accuracy: f64, of: f64, delta: f64) -> bool {
    // Both are counts over the same samples: rounding of the product must not decide.
    dev_accuracy >= of * (1.0 - delta) - 1e-12
}
