//! Layers: what do single layers, and the layers up to one, know (layer selection of Dalvi et al. 2020, §6.1).

use std::collections::BTreeMap;
use std::ops::Range;

use super::search::{Need, Penalties, Prober, Search, Target};
use crate::activations::LayerMap;
use crate::error::Result;
use crate::ops::probe::in_flight_bytes;

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
    let (numbers, jobs) = (layers.layers(), jobs(layers));
    let last = numbers.len() - 1;
    let mut found: BTreeMap<Job, LayerProbe> = (jobs.iter().copied())
        .zip(probe_jobs(
            prober, layers, &jobs, target, penalties, progress,
        )?)
        .collect();
    let mut take = |job: &Job| found.remove(job).expect("each was probed");
    let (alone, ahead) = jobs.split_at(numbers.len());
    let independent: Vec<LayerProbe> = alone.iter().map(&mut take).collect();
    let mut cumulative: Vec<LayerProbe> = independent[..last.min(1)].to_vec();
    cumulative.extend(ahead.iter().map(&mut take));
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

/// The layers that one probe sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Job {
    /// This one.
    Alone(u32),
    /// All up to this one.
    UpTo(u32),
}

impl Job {
    /// The layer, or the last of them.
    pub fn layer(self) -> u32 {
        match self {
            Self::Alone(layer) | Self::UpTo(layer) => layer,
        }
    }

    /// The neurons of the layers.
    pub fn columns(self, layers: &LayerMap) -> Range<usize> {
        match self {
            Self::Alone(layer) => layers.columns(layer),
            Self::UpTo(layer) => 0..layers.columns(layer).end,
        }
    }
}

/// The probes that are fitted: each layer alone, then the layers up to each but the first, which is a layer alone, and the
/// last, which is the oracle.
pub fn jobs(layers: &LayerMap) -> Vec<Job> {
    let numbers = layers.layers();
    let alone = numbers.iter().copied().map(Job::Alone);
    let ahead = (1..numbers.len().max(1) - 1).map(|at| Job::UpTo(numbers[at]));
    alone.chain(ahead).collect()
}

/// Fits some of the probes, each at the penalty that dev prefers there. `progress` hears the share that is done, 0 to 1,
/// counting a probe by its neurons.
///
/// # Errors
/// As [`Prober::search`].
pub fn probe_jobs(
    prober: &Prober<'_>,
    layers: &LayerMap,
    jobs: &[Job],
    target: Target<'_>,
    penalties: &Penalties,
    progress: &mut dyn FnMut(f64),
) -> Result<Vec<LayerProbe>> {
    let width = |job: &Job| job.columns(layers).len();
    let total: usize = jobs.iter().map(width).sum();
    let mut found = BTreeMap::new();
    let mut done = 0;
    // Half of what probes may take is for copies of the activations: as much as the activations where that is more.
    let mut prober = prober.clone();
    prober.params.memory = (prober.params.memory / 2).max(1);
    let copies = prober.params.memory / (4 * prober.train.nrows().max(1) as u64);
    let room = layers.neurons().max(copies as usize);
    let classes = target.train.present().len();
    let need = |job: &Job| Need {
        probe: in_flight_bytes(prober.train.nrows(), width(job), classes),
        beside: 0,
    };
    for group in groups(jobs, width, room) {
        let probes = prober.each(
            &group,
            need,
            |prober, job| probe(prober, *job, layers, target, penalties),
            &mut |at| {
                done += width(&group[at]);
                progress(done as f64 / total as f64);
            },
        )?;
        found.extend(group.into_iter().zip(probes));
    }
    let each = jobs.iter().filter_map(|job| found.remove(job));
    Ok(each.collect())
}

/// What is fitted at once: probes that have no more neurons together than there is room for; the largest first, so that
/// none of them is left to run by itself at the end.
fn groups(jobs: &[Job], width: impl Fn(&Job) -> usize, room: usize) -> Vec<Vec<Job>> {
    let mut jobs = jobs.to_vec();
    jobs.sort_by_key(|job| std::cmp::Reverse(width(job)));
    let mut groups: Vec<(usize, Vec<Job>)> = Vec::new();
    for job in jobs {
        let neurons = width(&job);
        match groups.iter_mut().find(|(taken, _)| taken + neurons <= room) {
            Some((taken, group)) => {
                *taken += neurons;
                group.push(job);
            }
            None => groups.push((neurons, vec![job])),
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

fn probe(
    prober: &Prober<'_>,
    job: Job,
    layers: &LayerMap,
    target: Target<'_>,
    penalties: &Penalties,
) -> Result<LayerProbe> {
    let columns: Vec<usize> = job.columns(layers).collect();
    Ok(LayerProbe {
        layer: job.layer(),
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
