//! Layers: what do single layers, and the layers up to one, know (layer selection of Dalvi et al. 2020, §6.1).

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
    let ahead = |layer: &u32| upto(*layer).len();
    let total = layers.neurons() + numbers[..last].iter().map(ahead).sum::<usize>();
    let mut done = 0;
    let mut probe = |layer: u32, columns: std::ops::Range<usize>| {
        let neurons = columns.len();
        let columns: Vec<usize> = columns.collect();
        let search = prober.search(&columns, target, penalties, &mut |share| {
            progress((done as f64 + share * neurons as f64) / total as f64);
        })?;
        done += neurons;
        Ok(LayerProbe {
            layer,
            neurons,
            search,
        })
    };
    let independent = numbers
        .iter()
        .map(|&layer| probe(layer, layers.columns(layer)))
        .collect::<Result<Vec<LayerProbe>>>()?;
    let mut cumulative = numbers[..last]
        .iter()
        .map(|&layer| probe(layer, upto(layer)))
        .collect::<Result<Vec<LayerProbe>>>()?;
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
