//! Parity of `ops::moments`.
