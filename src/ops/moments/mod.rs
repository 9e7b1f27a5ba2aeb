//! Moments and standardisation of every neuron.
//!
//! Formula, for column j of X (N × D) and, where groups are given, each class c with n_c samples:
//! `mean_j = Σᵢ x_ij / N`, `sd_j = √(Σᵢ (x_ij − mean_j)² / N)` (population), `group_mean_cj = Σ_{i: yᵢ=c} x_ij / n_c`,
//! `z_ij = (x_ij − mean_j) / sd_j`.
//!
//! Edge cases: a neuron that does not vary is [`Spread::Constant`] and its z is 0; one that varies a million times
//! less than the median neuron is [`Spread::NearlyConstant`] (an f16 subnormal that flips, say): scaling it would
//! amplify rounding noise, so probes leave it out, and it is reported. A class without samples has mean 0.
//!
//! Cost: 3·N·D FLOP over N·D·4 bytes read once: memory bound.

use ndarray::{Array2, ArrayView2};

use crate::error::Result;
use crate::labels::Labels;
use crate::ops::Backend;

/// How much a neuron varies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    /// It varies.
    Varies,
    /// Its sd is under [`NEARLY_CONSTANT`] of the median sd.
    NearlyConstant,
    /// Its sd is at most [`CONSTANT`] of its |mean|, or 0.
    Constant,
}

/// A neuron is constant when sd ≤ this · |mean|: f32 holds about 7 digits.
pub const CONSTANT: f64 = 1e-7;

/// A neuron is nearly constant when its sd is under this share of the median sd of those that vary.
pub const NEARLY_CONSTANT: f64 = 1e-6;

/// The first two moments of every neuron.
#[derive(Debug, Clone)]
pub struct Moments {
    /// Number of samples N.
    pub samples: usize,
    /// Mean of each neuron.
    pub mean: Vec<f64>,
    /// Population standard deviation of each neuron.
    pub sd: Vec<f64>,
    /// How much each neuron varies.
    pub spread: Vec<Spread>,
    /// Mean of each neuron in each class, C × D, where groups were given.
    pub group_mean: Option<Array2<f64>>,
}
