//! Golden files of ranking.
