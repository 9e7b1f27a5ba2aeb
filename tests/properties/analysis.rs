//! Laws of analysis.
