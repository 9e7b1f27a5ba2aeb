//! What accuracy as a function of the number of neurons says: how few suffice, and how far random orderings differ.

use crate::error::{Error, Result};

/// The smallest k at which at least (1 − `loss`) of the samples are right that are right at the last point, where all
/// neurons are kept; `None` of an empty curve.
///
/// A curve need not rise everywhere: at a larger k less may be right again.
pub fn smallest_within(correct: &[f64], loss: f64) -> Option<usize> {
    let needed = (1.0 - loss) * correct.last()?;
    correct.iter().position(|correct| *correct >= needed)
}

/// Several curves over the same points.
#[derive(Debug, Clone, PartialEq)]
pub struct Draws {
    /// Mean of right samples at each point.
    pub mean: Vec<f64>,
    /// Of the draw that has the fewest there.
    pub least: Vec<u32>,
    /// Of the draw that has the most there.
    pub most: Vec<u32>,
}

/// Mean and range of right samples over draws.
///
/// # Errors
/// When there is no draw, or they differ in length.
pub fn draws(curves: &[&[u32]]) -> Result<Draws> {
    let points = curves.first().map_or(0, |curve| curve.len());
    if curves.is_empty() || curves.iter().any(|curve| curve.len() != points) {
        let lengths: Vec<usize> = curves.iter().map(|curve| curve.len()).collect();
        return Err(Error::invalid(
            "draws of a curve",
            format!("their lengths are {lengths:?}"),
            "Give at least one draw, and all over the same points",
        ));
    }
    let at = |k: usize| curves.iter().map(move |curve| curve[k]);
    let mean = |k: usize| at(k).map(f64::from).sum::<f64>() / curves.len() as f64;
    Ok(Draws {
        mean: (0..points).map(mean).collect(),
        least: (0..points).filter_map(|k| at(k).min()).collect(),
        most: (0..points).filter_map(|k| at(k).max()).collect(),
    })
}
