//! Pearson correlation of every pair of neurons.

/// Correlations of all pairs of D neurons: the upper triangle without the diagonal, row by row.
#[derive(Debug, Clone)]
pub struct Correlation {
    /// Number of neurons D.
    pub neurons: usize,
    /// r of the pairs (0,1), (0,2) … (D−2,D−1): D·(D−1)/2 values in [−1, 1]; 0 where either neuron is constant.
    pub packed: Vec<f32>,
}
