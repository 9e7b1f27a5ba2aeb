//! GPU = CPU = naive f64, one module per operation.

mod ablation;
mod asked;
mod correlation;
mod curvature;
mod drivers;
mod fleet;
mod garbage;
mod given;
mod losses;
mod memory;
mod moments;
mod probe;
mod products;
mod quadratic;
mod recovery;
mod roofs;
mod sweep;
mod validation;
