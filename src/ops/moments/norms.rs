//! The norms of the samples inside each layer.

use ndarray::Array2;
use rayon::prelude::*;

use super::Moments;
use crate::activations::{LayerMap, Rows};
use crate::error::{Error, Result};

/// Values that a thread reads at a time.
const READ: usize = 1 << 16;
/// Blocks that are read between two additions.
const TOGETHER: usize = 64;

/// `k_na = Σ_{j in layer a} (x_nj − mean_j)²` of sample n, summed over the samples: what unbiased CKA needs beside the
/// covariances.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerNorms {
    /// Number of samples N.
    pub samples: usize,
    /// The layers, ascending.
    pub layers: Vec<u32>,
    /// `Σₙ k_na` of each layer.
    pub sums: Vec<f64>,
    /// `Σₙ k_na · k_nb`, L × L.
    pub products: Array2<f64>,
}

/// The norms of samples that are read block by block, once. f64 sums in the order of the samples: the number of threads
/// changes no bit.
///
/// # Errors
/// When the three are of other neurons, or the rows cannot be read.
pub fn layer_norms(rows: &dyn Rows, moments: &Moments, map: &LayerMap) -> Result<LayerNorms> {
    let (samples, neurons) = rows.shape();
    if moments.mean.len() != neurons || map.neurons() != neurons {
        return Err(Error::invalid(
            "norms of samples",
            format!(
                "activations of {neurons} neurons, moments of {} and a layer map of {}",
                moments.mean.len(),
                map.neurons()
            ),
            "Take all from the same activations",
        ));
    }
    let layers = map.layers();
    let spans: Vec<_> = layers.iter().map(|layer| map.columns(*layer)).collect();
    let at_once = (READ / neurons).max(1);
    let starts: Vec<usize> = (0..samples).step_by(at_once).collect();
    let block = |&from: &usize| {
        let count = at_once.min(samples - from);
        let mut values = vec![0.0; count * neurons];
        rows.read_rows(from, &mut values)?;
        let mut sums = vec![0.0; layers.len()];
        let mut products = Array2::<f64>::zeros((layers.len(), layers.len()));
        for row in values.chunks_exact(neurons) {
            let norm = |span: &std::ops::Range<usize>| {
                let each = row[span.clone()].iter().zip(&moments.mean[span.clone()]);
                let squares = each.map(|(x, mean)| (f64::from(*x) - mean).powi(2));
                squares.sum::<f64>()
            };
            let norms: Vec<f64> = spans.iter().map(norm).collect();
            for (a, one) in norms.iter().enumerate() {
                sums[a] += one;
                for (b, other) in norms.iter().enumerate() {
                    products[(a, b)] += one * other;
                }
            }
        }
        Ok((sums, products))
    };
    let mut sums = vec![0.0; layers.len()];
    let mut products = Array2::zeros((layers.len(), layers.len()));
    // Some blocks at a time, added in their order: what they leave would otherwise grow with the samples.
    for starts in starts.chunks(TOGETHER) {
        let blocks: Vec<(Vec<f64>, Array2<f64>)> =
            starts.par_iter().map(block).collect::<Result<_>>()?;
        for (of_block, products_of_block) in blocks {
            sums.iter_mut().zip(of_block).for_each(|(s, b)| *s += b);
            products += &products_of_block;
        }
    }
    Ok(LayerNorms {
        samples,
        layers,
        sums,
        products,
    })
}
