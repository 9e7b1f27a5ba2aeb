//! Golden files of probe.
