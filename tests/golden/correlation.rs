//! Golden files of correlation.
