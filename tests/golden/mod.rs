//! Equal to other people's software, one module per subject.

mod clustering;
mod correlation;
mod probe;
mod ranking;
mod uncertainty;
