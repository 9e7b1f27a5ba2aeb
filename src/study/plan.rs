//! What a run would do: its steps, how many fits each has, what a pass over them costs, and the memory for it. Known from the
//! specification, headers and labels; activations are not read and nothing is computed.
//!
//! A step's number of fits is exact where no choice decides it. Where one does it is the most that there can be:
//!
//! | step | decided by |
//! |---|---|
//! | minimal sets | the first size of the ladder that suffices, and whether three or, at an end of the path, two penalties are near the oracle's |
//! | control tasks on minimal sets | how many of the sets differ |
//! | how sure they are | the same of disjoint sets; how many of them there are |
//! | combined | how many different layers are selected, and the sizes as above |
//!
//! Time is an estimate, not a promise: fits × passes × FLOP of a pass ÷ a rate that is assumed, [`PASSES`] and
//! [`RATE`], and [`EACH`] for every fit. Of a study of 336 neurons and one of 2,688 they are right within a factor of three on two
//! cores. No rate is assumed of a GPU.

use serde::Serialize;

use super::load::outline;
use super::memory::{self, Host, Limit};
use super::sets::{NEIGHBOURS, size_search};
use super::spec::{RankingSpec, Spec};
use crate::analysis::layers::{Job, jobs};
use crate::analysis::minimal_set::{Ladder, RUNGS, SizeSearch};
use crate::data::Outline;
use crate::error::Result;
use crate::ops::Backend;

/// Passes over the activations that a fit is assumed to take, a path's warm starts counted in.
pub const PASSES: f64 = 15.0;

/// FLOP/s that a thread is assumed to reach in them.
pub const RATE: f64 = 1e10;

/// Seconds that a fit is assumed to take however small it is, on one thread.
pub const EACH: f64 = 0.01;

/// What a run would do.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    /// Layout of this document.
    pub schema_version: u32,
    /// Title of the study.
    pub name: String,
    /// Samples of train, dev and test.
    pub samples: [usize; 3],
    /// How the elements of train, dev and test are stored.
    pub dtypes: [&'static str; 3],
    /// Neurons D.
    pub neurons: usize,
    /// Layers.
    pub layers: usize,
    /// The tasks, and how many of their classes occur in train.
    pub tasks: Vec<(String, usize)>,
    /// Whether the words of all parts are known: without them there are no control tasks.
    pub words: bool,
    /// The steps that fit probes, in order.
    pub steps: Vec<Step>,
    /// Fits of all steps.
    pub fits: usize,
    /// Whether their number is exact; else it is the most that there can be.
    pub exact: bool,
    /// FLOP of one pass of every fit.
    pub pass_flop: f64,
    /// FLOP of the correlations of all pairs.
    pub correlation_flop: f64,
    /// Bytes on the host.
    pub host: Host,
    /// Bytes that buffers of a GPU take at their peak, at most. None natively.
    pub device_bytes: Option<u64>,
    /// Seconds, estimated from assumed rates; none on a GPU.
    pub estimated_seconds: Option<f64>,
}

/// One step.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    /// As the run names it.
    pub step: String,
    /// Fits, a penalty each.
    pub fits: usize,
    /// Whether their number is exact; else it is the most that there can be.
    pub exact: bool,
    /// FLOP of one pass of every fit.
    pub pass_flop: f64,
}

/// What a run of this specification would do on `backend`.
///
/// `limit` and `process` are as for [`memory::divide`].
///
/// # Errors
/// When the data cannot be opened, their headers and labels are contradictory, or the host has not enough memory.
pub fn plan(spec: &Spec, backend: &Backend, limit: Option<Limit>, process: u64) -> Result<Plan> {
    let data = outline(spec)?;
    let (host, _) = memory::of_outline(spec, &data, backend, limit, process)?;
    let neurons = data.layers.neurons();
    let steps = Counter { spec, data: &data }.steps();
    let fits = steps.iter().map(|step| step.fits).sum();
    let pass_flop: f64 = steps.iter().map(|step| step.pass_flop).sum();
    let correlation_flop = data.samples[0] as f64 * neurons as f64 * (neurons + 1) as f64;
    let threads = rayon::current_num_threads() as f64;
    let seconds =
        (PASSES * pass_flop + correlation_flop) / (RATE * threads) + EACH * fits as f64 / threads;
    Ok(Plan {
        schema_version: 1,
        name: spec.name.clone(),
        samples: data.samples,
        dtypes: data.dtypes,
        neurons,
        layers: data.layers.layers().len(),
        words: data.words,
        exact: steps.iter().all(|step| step.exact),
        steps,
        fits,
        pass_flop,
        correlation_flop,
        host,
        device_bytes: backend.gpu().map(|gpu| memory::device(spec, &data, gpu)),
        estimated_seconds: backend.gpu().is_none().then_some(seconds),
        tasks: data.tasks.into_iter().zip(data.classes).collect(),
    })
}

/// Counts fits.
struct Counter<'a> {
    spec: &'a Spec,
    data: &'a Outline,
}

/// Fits, and FLOP of a pass over them.
#[derive(Clone, Copy, Default)]
struct Count {
    fits: usize,
    flop: f64,
}

impl Count {
    fn and(self, other: Self) -> Self {
        Self {
            fits: self.fits + other.fits,
            flop: self.flop + other.flop,
        }
    }

    fn times(self, number: usize) -> Self {
        Self {
            fits: self.fits * number,
            flop: self.flop * number as f64,
        }
    }
}

impl Counter<'_> {
    fn steps(&self) -> Vec<Step> {
        let tasks = self.data.tasks.iter().zip(&self.data.classes);
        let all = self.data.layers.neurons();
        let sum = |of: &dyn Fn(usize) -> Count| {
            let each = self.data.classes.iter().map(|&classes| of(classes));
            each.fold(Count::default(), Count::and)
        };
        let mut steps = vec![
            step(
                "probes on all neurons",
                sum(&|c| self.fit(all, c).times(self.path())),
                true,
            ),
            step(
                "control tasks",
                sum(&|c| self.fit(all, c).times(self.draws())),
                true,
            ),
        ];
        for (task, &classes) in tasks {
            let mut add = |what: &str, count: Count, exact: bool| {
                steps.push(step(
                    &format!("{task}: {what}"),
                    count,
                    exact || count.fits == 0,
                ));
            };
            add("probes on layers", self.layers(classes), true);
            add("minimal sets", self.minimal_sets(classes), false);
            add(
                "control tasks on minimal sets",
                self.set_controls(classes),
                false,
            );
            add(
                "how sure the minimal sets are",
                self.examined(classes),
                false,
            );
            add(
                "layers, clusters and ranking combined",
                self.combined(classes),
                false,
            );
        }
        steps
    }

    /// One fit of so many neurons and classes.
    fn fit(&self, neurons: usize, classes: usize) -> Count {
        let columns = if classes == 2 { 1 } else { classes };
        Count {
            fits: 1,
            flop: 4.0 * self.data.samples[0] as f64 * (neurons + 1) as f64 * columns as f64,
        }
    }

    /// Penalties that a search tries.
    fn path(&self) -> usize {
        match self.spec.probe.l1 {
            Some(_) => 1,
            None => self.spec.probe.lambda_ratios.len(),
        }
    }

    /// Penalties near the oracle's, at most.
    fn near(&self) -> usize {
        self.path().min(2 * NEIGHBOURS + 1)
    }

    fn draws(&self) -> usize {
        if self.data.words {
            self.spec.control.draws
        } else {
            0
        }
    }

    fn layers(&self, classes: usize) -> Count {
        let map = &self.data.layers;
        let of = |job: Job| {
            let controls = match job {
                Job::Alone(_) => self.draws(),
                Job::UpTo(_) => 0,
            };
            let one = self.fit(job.columns(map).len(), classes);
            one.times(self.path() + controls)
        };
        jobs(map)
            .into_iter()
            .map(of)
            .fold(Count::default(), Count::and)
    }

    /// A search for a size among at most so many neurons that ends nowhere: every size but all of them. `answers` is for how many
    /// losses bisection looks.
    fn sizes(&self, neurons: usize, answers: usize, classes: usize) -> Count {
        let sizes: Vec<usize> = match size_search(&self.spec.minimal_set) {
            SizeSearch::Bisection => {
                let deepest = deepest(0, neurons);
                return self
                    .fit(neurons, classes)
                    .times(deepest * answers * self.near());
            }
            // Of fewer neurons it may have as many rungs.
            SizeSearch::Ladder(Ladder::Geometric) => {
                let sizes = Ladder::Geometric.sizes(neurons);
                let missing = (RUNGS - 1).min(neurons - 1).saturating_sub(sizes.len() - 1);
                sizes
                    .iter()
                    .copied()
                    .chain(std::iter::repeat_n(1, missing))
                    .collect()
            }
            SizeSearch::Ladder(ladder) => ladder.sizes(neurons),
        };
        let below = sizes.into_iter().filter(|&size| size < neurons);
        let each = below.map(|size| self.fit(size, classes).times(self.near()));
        each.fold(Count::default(), Count::and)
    }

    fn minimal_sets(&self, classes: usize) -> Count {
        let spec = &self.spec.minimal_set;
        match spec.deltas.len() {
            0 => Count::default(),
            deltas => {
                let one = self.sizes(self.data.layers.neurons(), deltas, classes);
                one.times(spec.rankings.len())
            }
        }
    }

    fn set_controls(&self, classes: usize) -> Count {
        let spec = &self.spec.minimal_set;
        let sets = spec.rankings.len() * spec.deltas.len();
        self.fit(self.data.layers.neurons(), classes)
            .times(sets * self.draws())
    }

    fn examined(&self, classes: usize) -> Count {
        let (spec, all) = (&self.spec.minimal_set, self.data.layers.neurons());
        if spec.deltas.is_empty() {
            return Count::default();
        }
        let whole = self.fit(all, classes).times(self.near());
        let round = self.sizes(all, 1, classes).and(whole);
        let disjoint = round.times(spec.disjoint.saturating_sub(1));
        let random = self.fit(all, classes).times(self.near() * spec.random_sets);
        let of = |ranking: &RankingSpec| {
            let resamples = match ranking {
                RankingSpec::Lca => self.fit(all, classes).times(spec.bootstrap),
                RankingSpec::Probeless => Count::default(),
            };
            disjoint.and(random).and(resamples)
        };
        spec.rankings
            .iter()
            .map(of)
            .fold(Count::default(), Count::and)
    }

    fn combined(&self, classes: usize) -> Count {
        let (spec, map) = (&self.spec.combined, &self.data.layers);
        let layers = spec.deltas.len().min(map.layers().len());
        let whole = self.fit(map.neurons(), classes).times(self.path());
        let one = whole.and(self.sizes(map.neurons(), 1, classes));
        one.times(layers * spec.thresholds.len())
    }
}

fn step(name: &str, count: Count, exact: bool) -> Step {
    Step {
        step: name.to_owned(),
        fits: count.fits,
        exact,
        pass_flop: count.flop,
    }
}

/// The most steps that bisection on a logarithmic scale takes between two sizes.
fn deepest(low: usize, high: usize) -> usize {
    if high - low <= 1 {
        return 0;
    }
    let middle = (low.max(1) as f64 * high as f64).sqrt() as usize;
    let middle = middle.clamp(low + 1, high - 1);
    1 + deepest(low, middle).max(deepest(middle, high))
}
