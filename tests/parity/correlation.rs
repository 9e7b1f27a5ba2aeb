//! Parity of `ops::correlation`.
