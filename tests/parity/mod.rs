//! GPU = CPU = naive f64, one module per operation.

mod ablation;
mod correlation;
mod fleet;
mod moments;
mod probe;
mod products;
mod quadratic;
mod recovery;
mod roofs;
mod sweep;
