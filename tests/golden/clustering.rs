//! Golden files of clustering.
