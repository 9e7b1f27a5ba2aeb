//! Laws of ops.
