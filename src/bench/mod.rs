//! How fast this machine is: what its device can do at most, measured, and what share of that the operations reach.
//!
//! | module | what |
//! |---|---|
//! | [`results`] | what is measured, in the form of `bench --json` |
//! | [`comparison`] | two measurements beside each other |
//! | `repeat` | repetitions, median and MAD; the only place that decides how often something runs |
//! | `measure` | one workload on one device: kernels, end to end, natively beside it, and its gate |
//! | `roofs` | arithmetic, memory, transfers, launches |
//! | `correlations`, `pairs`, `precisions`, `products`, `given`, `probes`, `sweeps`, `studies` | the workloads, by family |
//! | `inputs` | synthetic data, seeded |
//! | `wake` | work that keeps a GPU's clock up before its kernels are timed |
//! | `system` | the machine |
//!
//! A row counts only if its answer is right, else it shows no time ([`gate`]). A sample of the answer is compared with a
//! reference in f64, by the operation's tolerance or by one that the workload states: of moments and of r some neurons, of the
//! pairs some neurons' edges and partners and all bins, of products and Hessians some elements, of losses two probes' and some
//! derivatives of each, of certificates objective and KKT residual, and that the gap is no smaller than two points show it to be, of the
//! inner solver every entry's residual, of sweeps one ordering, of ablations some masks. The study is gated by its own certificates
//! of optimality alone. The seconds of a row come from `repeat` or from a [metered](crate::gpu::Gpu::metered) device, and from nowhere
//! else.

pub mod comparison;
mod correlations;
mod given;
mod inputs;
mod measure;
mod pairs;
mod precisions;
mod probes;
mod products;
mod repeat;
pub mod results;
mod roofs;
mod studies;
mod sweeps;
mod system;
mod wake;

use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::ops::Backend;
use crate::study::Progress;

pub use measure::gate;
pub use repeat::Effort;

use measure::{Bench, Workload};
use results::{BenchResults, SCHEMA_VERSION};

/// How large the workloads are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Size {
    /// Under two minutes on any machine, software adapters included; a real GPU is not busy enough to show what it can do.
    Small,
    /// What a GPU with 4 GB is meant for.
    Standard,
    /// What a GPU with 12 GB or more is meant for.
    Large,
}

impl Size {
    /// Host memory that it takes at most, in bytes.
    pub fn memory(self) -> u64 {
        match self {
            Self::Small => 1 << 30,
            Self::Standard => 4 << 30,
            Self::Large => 16 << 30,
        }
    }
}

/// What to measure.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// How large.
    pub size: Size,
    /// Only workloads whose names begin with one of these; all where there are none. Roofs are always measured.
    pub only: Vec<String>,
    /// How often.
    pub effort: Effort,
}

/// A workload by its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// Its name in the results.
    pub name: String,
    /// Its shape.
    pub shape: String,
    /// What it is.
    pub what: String,
}

/// What would be measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct List {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Roofs, then workloads, in order.
    pub rows: Vec<Listed>,
}

/// The roofs and workloads that a run on this back end has, in order.
///
/// # Errors
/// When `only` names none of them.
pub fn list(backend: &Backend, options: &Options) -> Result<List> {
    let listed = |name: &str, shape: &str, what: &str| Listed {
        name: name.to_owned(),
        shape: shape.to_owned(),
        what: what.to_owned(),
    };
    let roofs = roofs::list(backend).into_iter();
    let mut rows: Vec<Listed> = roofs.map(|(name, what)| listed(name, "", what)).collect();
    let workloads = chosen(backend, options)?;
    rows.extend(workloads.iter().map(|w| listed(&w.name, &w.shape, w.what)));
    Ok(List {
        schema_version: SCHEMA_VERSION,
        rows,
    })
}

/// Measures the roofs of a device and what its workloads reach.
///
/// A GPU is to be one that was opened [for measurements](crate::gpu::Gpu::for_measurements): else it has neither timestamps
/// nor f16. A workload that the device cannot run is a row that says why.
///
/// # Errors
/// When there are several devices, `only` names no workload, the machine has too little memory for the size, or the device
/// is lost.
pub fn run(
    backend: &Backend,
    options: &Options,
    observer: &mut dyn FnMut(&Progress<'_>),
) -> Result<BenchResults> {
    let begun = Instant::now();
    if let Backend::Fleet(_) = backend {
        return Err(Error::invalid(
            "device of the bench",
            "several were given",
            "Give one at a time: each has its own roofs",
        ));
    }
    let workloads = chosen(backend, options)?;
    let system = system::describe(backend);
    if let Some(has) = system.memory_bytes.filter(|m| *m < options.size.memory()) {
        return Err(Error::invalid(
            "size of the bench",
            format!(
                "it takes up to {} GiB of memory, and this machine has {:.1}",
                options.size.memory() >> 30,
                has as f64 / f64::from(1 << 30)
            ),
            "Ask for a smaller --size",
        ));
    }
    let names = roofs::list(backend);
    let steps = names.len() + workloads.len();
    let mut step = |number: usize, name: &str| {
        observer(&Progress {
            step: name,
            number: number + 1,
            of: steps,
            fraction: 0.0,
        });
    };
    let mut bench = Bench::new(backend, options);
    if let Some(gpu) = backend.gpu() {
        bench.wake = wake::of(gpu)?;
    }
    let mut found = Vec::new();
    for (number, (name, what)) in names.iter().enumerate() {
        step(number, name);
        found.push(roofs::measure(&bench, name, what)?);
    }
    bench.roofs = roofs::ceilings(&found);
    let mut rows = Vec::new();
    for (number, workload) in workloads.iter().enumerate() {
        step(names.len() + number, &workload.name);
        rows.push(workload.row(&bench)?);
    }
    Ok(BenchResults {
        schema_version: SCHEMA_VERSION,
        neurosieve_version: env!("CARGO_PKG_VERSION").to_owned(),
        size: options.size,
        system,
        roofs: found,
        workloads: rows,
        seconds: begun.elapsed().as_secs_f64(),
        comparison: None,
    })
}

/// The workloads that were asked for.
fn chosen(backend: &Backend, options: &Options) -> Result<Vec<Workload>> {
    let mut all = correlations::workloads(options.size);
    if let Backend::Gpu(gpu) = backend {
        all.extend(precisions::workloads(options.size, gpu));
    }
    let families = [
        products::workloads,
        given::workloads,
        probes::workloads,
        sweeps::workloads,
        studies::workloads,
    ];
    all.extend(families.iter().flat_map(|of| of(options.size)));
    let names: Vec<String> = all.iter().map(|w| w.name.clone()).collect();
    for only in &options.only {
        if !names.iter().any(|name| name.starts_with(only)) {
            return Err(Error::invalid(
                format!("workload \"{only}\""),
                "no name begins with it".to_owned(),
                format!("Choose among {}", names.join(", ")),
            ));
        }
    }
    let wanted = |w: &Workload| asked(&w.name, &options.only);
    Ok(all.into_iter().filter(wanted).collect())
}

/// Whether a workload's name begins with one of `only`; every name does where there are none.
pub fn asked(name: &str, only: &[String]) -> bool {
    only.is_empty() || only.iter().any(|only| name.starts_with(only))
}
