//! See the map in `main.rs`.
