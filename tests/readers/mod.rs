//! Good and broken files of every format.
