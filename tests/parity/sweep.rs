//! Parity of `ops::sweep`.
