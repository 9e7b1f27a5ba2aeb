//! Parity of `ops::probe`.
