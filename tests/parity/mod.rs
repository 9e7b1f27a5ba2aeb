//! GPU = CPU = naive f64, one module per operation.

mod correlation;
mod moments;
mod probe;
mod quadratic;
mod sweep;
