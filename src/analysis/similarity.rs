//! Similarity of whole layers: linear centred kernel alignment.

use ndarray::Array2;

use crate::error::{Error, Result};
use crate::ops::correlation::LayerPairs;
use crate::ops::moments::LayerNorms;

/// Linear CKA of every pair of layers, L × L.
#[derive(Debug, Clone, PartialEq)]
pub struct Cka {
    /// Kornblith et al. 2019: `‖X_aᵀX_b‖² / (‖X_aᵀX_a‖ ‖X_bᵀX_b‖)`. Large for layers of many neurons over few samples,
    /// whatever they say.
    pub biased: Array2<f64>,
    /// The same of the unbiased estimate of HSIC (Song et al. 2012), which is 0 on average for layers that share nothing.
    pub unbiased: Array2<f64>,
}

/// CKA from the sums of squared covariances and the samples' norms in each layer, of the same activations. NaN for a layer of
/// constant neurons; the unbiased one also where the estimate of a layer with itself is not positive.
///
/// # Errors
/// When the two are of other layers, or there are fewer than four samples.
pub fn linear_cka(pairs: &LayerPairs, norms: &LayerNorms) -> Result<Cka> {
    if pairs.left != norms.layers || pairs.right != norms.layers {
        return Err(Error::invalid(
            "CKA",
            format!(
                "sums of {} × {} layers with norms of {}",
                pairs.left.len(),
                pairs.right.len(),
                norms.layers.len()
            ),
            "Take both from the same activations",
        ));
    }
    if norms.samples < 4 {
        return Err(Error::invalid(
            "CKA",
            format!("there are {} samples", norms.samples),
            "The unbiased estimate needs at least 4",
        ));
    }
    let n = norms.samples as f64;
    let layers = norms.layers.len();
    let biased = &pairs.squares;
    // The kernels' rows sum to zero, so without their diagonals they sum to minus the norms.
    let unbiased = Array2::from_shape_fn((layers, layers), |(a, b)| {
        let shared = norms.products[(a, b)];
        let totals = norms.sums[a] * norms.sums[b];
        let estimate = n * n * pairs.squares[(a, b)] - shared + totals / ((n - 1.0) * (n - 2.0))
            - 2.0 * shared / (n - 2.0);
        estimate / (n * (n - 3.0))
    });
    let normalised = |hsic: &Array2<f64>| {
        Array2::from_shape_fn((layers, layers), |(a, b)| {
            let own = hsic[(a, a)] * hsic[(b, b)];
            if hsic[(a, a)] > 0.0 && own > 0.0 {
                hsic[(a, b)] / own.sqrt()
            } else {
                f64::NAN
            }
        })
    };
    Ok(Cka {
        biased: normalised(biased),
        unbiased: normalised(&unbiased),
    })
}
