//! Layers: what do single layers, and the layers up to one, know (layer selection of Dalvi et al. 2020, §6.1).

use std::collections::BTreeMap;
use std::ops::Range;

use super::search::{Penalties, Prober, Search, Target};
use crate::activations::LayerMap;
use crate::error::Result;

/// A probe on a layer, or on all layers up to it.
#[derive(Debug, Clone)]
pub struct LayerProbe {
    /// The layer, or the last of the layers.
    pub layer: u32,
    /// Number of neurons that the probe was offered.
    pub neurons: usize,
    /// The probe.
    pub search: Search,
}

/// Probes on each layer alone and on layers 0 … k.
#[derive(Debug, Clone)]
pub struct LayerProbes {
    /// Each layer alone, ascending.
    pub independent: Vec<LayerProbe>,
    /// Layers 0 … k, ascending. The last one is the oracle.
    pub cumulative: Vec<LayerProbe>,
}

/// Fits a probe on each layer alone and on layers 0 … k, each at the penalty that dev prefers there. The last cumulative
/// one sees all neurons: it is the `oracle`, not fitted again.
///
/// `progress` hears the share that is done, 0 to 1, counting a probe by its neurons.
///
/// # Errors
/// As [`Prober::search`].
pub fn probe_layers(
    prober: &Prober<'_>,
    layers: &LayerMap,
    target: Target<'_>,
    penalties: &Penalties,
    oracle: &Search,
    progress: &mut dyn FnMut(f64),
) -> Result<LayerProbes> {
    let numbers = layers.layers();
    let last = numbers.len() - 1;
    let upto = |layer: u32| 0..layers.columns(layer).end;
    let alone: Vec<_> = numbers.iter().map(|&l| (l, layers.columns(l))).collect();
    // Of the first layer they are the layer alone.
    let ahead: Vec<_> = (1..last)
        .map(|at| (numbers[at], upto(numbers[at])))
        .collect();
    let neurons = |jobs: &[Job]| jobs.iter().map(|(_, columns)| columns.len()).sum::<usize>();
    let total = neurons(&alone) + neurons(&ahead);
    let mut found = BTreeMap::new();
    let mut done = 0;
    // Half of what probes may take is for copies of the activations: as much as the activations where that is more.
    let mut prober = prober.clone();
    prober.params.memory /= 2;
    let copies = prober.params.memory / (4 * prober.train.nrows().max(1) as u64);
    let room = layers.neurons().max(copies as usize);
    for group in groups(&alone, &ahead, room) {
        let probes = prober.each(
            &group,
            |prober, (layer, columns)| probe(prober, *layer, columns, target, penalties),
            &mut |at| {
                done += group[at].1.len();
                progress(done as f64 / total as f64);
            },
        )?;
        found.extend(group.into_iter().map(key).zip(probes));
    }
    let mut take = |job: Job| found.remove(&key(job)).expect("each was in a group");
    let independent: Vec<LayerProbe> = alone.into_iter().map(&mut take).collect();
    let mut cumulative: Vec<LayerProbe> = independent[..last.min(1)].to_vec();
    cumulative.extend(ahead.into_iter().map(&mut take));
    cumulative.push(LayerProbe {
        layer: numbers[last],
        neurons: layers.neurons(),
        search: oracle.clone(),
    });
    Ok(LayerProbes {
        independent,
        cumulative,
    })
}

/// A layer, or the last of those up to it, and its neurons.
type Job = (u32, Range<usize>);

fn key((layer, columns): Job) -> (u32, usize) {
    (layer, columns.start)
}

/// What is fitted at once: probes that have no more neurons together than there is room for; the largest first, so that
/// none of them is left to run by itself at the end.
fn groups(alone: &[Job], ahead: &[Job], room: usize) -> Vec<Vec<Job>> {
    let mut jobs: Vec<&Job> = alone.iter().chain(ahead).collect();
    jobs.sort_by_key(|(_, columns)| std::cmp::Reverse(columns.len()));
    let mut groups: Vec<(usize, Vec<Job>)> = Vec::new();
    for job in jobs {
        let neurons = job.1.len();
        match groups.iter_mut().find(|(taken, _)| taken + neurons <= room) {
            Some((taken, group)) => {
                *taken += neurons;
                group.push(job.clone());
            }
            None => groups.push((neurons, vec![job.clone()])),
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

fn probe(
    prober: &Prober<'_>,
    layer: u32,
    columns: &Range<usize>,
    target: Target<'_>,
    penalties: &Penalties,
) -> Result<LayerProbe> {
    let columns: Vec<usize> = columns.clone().collect();
    Ok(LayerProbe {
        layer,
        neurons: columns.len(),
        search: prober.search(&columns, target, penalties, &mut |_| {})?,
    })
}

/// The place of the lowest layer k whose layers 0 … k stay within δ of the oracle on dev: the first accuracy above
/// `(1 − delta) · oracle`; the last where there is none. `dev_accuracies` are those of the cumulative probes, at least one.
pub fn select_layer(dev_accuracies: &[f64], oracle: f64, delta: f64) -> usize {
    dev_accuracies
        .iter()
        .position(|&accuracy| accuracy > required(oracle, delta))
        .unwrap_or(dev_accuracies.len() - 1)
}

/// The accuracy that a probe within δ of `accuracy` must exceed.
pub fn required(accuracy: f64, delta: f64) -> f64 {
    (1.0 - delta) * accuracy
}
