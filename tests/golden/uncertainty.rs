//! Golden files of uncertainty.
