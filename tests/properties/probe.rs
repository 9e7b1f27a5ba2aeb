//! Laws of probe.
