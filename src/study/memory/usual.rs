//! What a study takes about: as [`super`] says what it takes at most, but with working sets of a usual size.
//!
//! | part | how large it is taken to be | known before |
//! |---|---|---|
//! | process | what it takes now, and [`GROWN`] for code that is still to be run, stacks of threads and what the allocator keeps | yes |
//! | data, correlations, dendrogram, standardised copy, copies for layers | by their shapes | yes |
//! | layers | as many at once as there are threads: one of the widest, the others [`OTHERS`] as wide | about |
//! | sets of neurons that suffice | [`SUFFICE`] neurons, or the ladder's largest size | no |
//! | non-zero weights at λ1 = r·λ_max | √(N·C)·(2 + 3.5·log₁₀(0.1/r)) ([`NONZERO`]) | no |
//! | working set n | so many and [`GROWTH`] more, at least [`ENTERING`] | no |
//! | a problem | 4n² for its Hessian, 8N + 77 bytes and more a column and a weight | no |
//! | a thread at work on one | 4n² for a block or a face of it, and gathered samples | no |
//! | a thread that judges one on train | twice its neurons in use, N samples, 4 bytes | no |
//!
//! The steps follow one another, and the largest counts. Constants come from what a counting allocator said of the first six studies
//! of `benches/results/2026-11-26_host-memory.json`; the studies behind them there were held out.

use super::{Spec, drawn, path};
use crate::data::Outline;
use crate::ops::correlation;
use crate::ops::probe::{TRANSFER, WORKING_SET_MAX};

/// Bytes by which a process grows whatever it does, until pairs are correlated and until probes are fitted: by 2 to 4 MB and by 8 to
/// 14 MB in those studies, the peak of the process less what it took before and less the peak of what was allocated; and half of the 4 MiB of small blocks
/// that the allocator keeps.
const GROWN: (u64, u64) = (3 << 20, 12 << 20);

/// Non-zero weights as a multiple of √(N·C): at λ1 = 0.1·λ_max, and how many more at a tenth of that. Of two classes one is
/// solved for, and has about half of them.
const NONZERO: (f64, f64) = (2.0, 3.5);

/// By how much of the non-zeros a working set is larger, and by how many entries at least (`iterate.rs`).
const GROWTH: f64 = 0.2;
const ENTERING: f64 = 100.0;

/// Neurons of a set that suffices: 157 to 256 in four of the six studies, fewer than 63 in one, 512 in one.
const SUFFICE: usize = 200;

/// Layers beside the widest that are probed at the same time, as a share of its width.
const OTHERS: (usize, usize) = (1, 3);

/// λ1 as a share of λ_max where a specification names λ1 itself: λ_max is not known before.
const FIXED: f64 = 0.01;

/// Bytes of a thread's scratch while pairs are correlated, and neurons of a tile (`correlation/cpu.rs`).
const SCRATCH: u64 = 3 << 20;
const TILE: usize = 384;

/// Samples and values that are gathered at once for a block of a Hessian (`ops/curvature/cpu.rs`).
const GATHERED: (f64, f64) = (2048.0, 2_097_152.0);

/// What correlating so many neurons takes: as planned, but for the scratch of the threads, of which no more are at work than there
/// are tiles.
pub(super) fn correlating(planned: u64, neurons: usize) -> u64 {
    let across = neurons.div_ceil(TILE) as u64;
    let threads = (rayon::current_num_threads() as u64).min(across * (across + 1) / 2);
    planned - correlation::bytes(1, 1).min(planned) + SCRATCH * threads
}

/// The sizes that everything follows from.
pub(super) struct Usual<'a> {
    pub spec: &'a Spec,
    pub data: &'a Outline,
    pub native: bool,
    /// Held from the data on, and while probes are fitted: a standardised copy, or a stream's block.
    pub always: u64,
    pub standardised: u64,
    /// Whether there is no copy, of some neurons neither.
    pub streamed: bool,
    /// The largest of what pairs take.
    pub pairs: u64,
    /// Without what data and penalties decide: no working sets, and no sets that suffice.
    pub bare: bool,
}

/// How many problems of a kind there are, their neurons and classes, and λ1 as a share of λ_max.
type Kind = (usize, usize, usize, f64);

impl Usual<'_> {
    /// Bytes at the peak, but for what the process took before.
    pub(super) fn peak(&self) -> u64 {
        let steps = [self.oracles(), self.layers(), self.examined()];
        let probes = steps.into_iter().max().unwrap_or(0);
        self.always + (GROWN.0 + self.pairs).max(GROWN.1 + probes)
    }

    fn threads(&self) -> usize {
        match self.native {
            true => rayon::current_num_threads(),
            false => 1,
        }
    }

    fn neurons(&self) -> usize {
        self.data.layers.neurons()
    }

    /// Classes of the task that takes most.
    fn classes(&self) -> usize {
        self.data.classes.iter().copied().max().unwrap_or(2)
    }

    /// λ1 as shares of λ_max, the weakest last.
    fn ratios(&self) -> Vec<f64> {
        let probe = &self.spec.probe;
        let mut ratios = match probe.l1 {
            Some(_) => vec![FIXED],
            None => probe.lambda_ratios.clone(),
        };
        ratios.sort_by(|a, b| b.total_cmp(a));
        ratios
    }

    /// The penalties of a path that are solved at once: natively one after the other, and the last takes most.
    fn at_once(&self) -> Vec<f64> {
        let ratios = self.ratios();
        match self.native {
            true => ratios[ratios.len() - 1..].to_vec(),
            false => ratios,
        }
    }

    /// The one that dev may prefer.
    fn chosen(&self) -> f64 {
        let ratios = self.ratios();
        ratios[ratios.len() / 2]
    }

    fn oracles(&self) -> u64 {
        let kind = |classes: &usize| (1, self.neurons(), *classes);
        let kinds: Vec<Kind> = (self.data.classes.iter().map(kind))
            .flat_map(|(number, width, classes)| {
                let each = self.at_once().into_iter();
                each.map(move |ratio| (number, width, classes, ratio))
            })
            .collect();
        let fits = (path(self.spec) * self.data.tasks.len()) as u64 * self.fit();
        self.standardised + fits + self.side_by_side(&kinds)
    }

    fn layers(&self) -> u64 {
        let map = &self.data.layers;
        let jobs = crate::analysis::layers::jobs(map);
        let widths = jobs.iter().map(|job| job.columns(map).len());
        let Some(widest) = widths.max() else { return 0 };
        let others = self.threads().min(jobs.len()) - 1;
        let narrower = (widest * OTHERS.0 / OTHERS.1).max(1);
        let classes = self.classes();
        let kinds: Vec<Kind> = (self.at_once().into_iter())
            .flat_map(|r| [(1, widest, classes, r), (others, narrower, classes, r)])
            .collect();
        let fits = (jobs.len() * path(self.spec)) as u64 * self.fit();
        self.copy(widest + others * narrower) + fits + self.side_by_side(&kinds)
    }

    /// Control tasks, resamples and random sets.
    fn examined(&self) -> u64 {
        let (neurons, classes, chosen) = (self.neurons(), self.classes(), self.chosen());
        let draws = if self.data.words {
            self.spec.control.draws
        } else {
            0
        };
        let [resamples, random] = drawn(self.spec);
        let number = draws.max(resamples);
        let whole = self.standardised + number as u64 * self.fit();
        let whole = whole + self.side_by_side(&[(number, neurons, classes, chosen)]);
        let largest = self.spec.minimal_set.ladder.largest();
        let suffice = match self.bare {
            true => 0,
            false => SUFFICE.min(neurons / 2).min(largest),
        };
        let copies = self.copy(random * suffice).min(TRANSFER);
        let of_sets = copies + random as u64 * self.fit();
        whole.max(of_sets + self.side_by_side(&[(random, suffice, classes, chosen)]))
    }

    /// Problems side by side, and what threads take for as many as they are at work on.
    fn side_by_side(&self, kinds: &[Kind]) -> u64 {
        let held: f64 = (kinds.iter())
            .map(|&(number, width, classes, ratio)| {
                number as f64 * self.problem(width, classes, ratio)
            })
            .sum();
        let mut free = self.threads();
        let (mut steps, mut judging) = (0.0, 0.0f64);
        for &(number, width, classes, ratio) in kinds {
            let busy = number.min(free);
            free -= busy;
            steps += busy as f64 * self.step(width, classes, ratio);
            judging = judging.max(self.judge(width, classes, ratio));
        }
        (held + steps.max(judging)) as u64
    }

    fn copy(&self, columns: usize) -> u64 {
        if self.streamed {
            return self.standardised;
        }
        4 * (self.data.samples[0] * columns) as u64
    }

    fn fit(&self) -> u64 {
        8 * (self.classes() * self.neurons()) as u64
    }

    /// Weights, and those of them that are not zero.
    fn nonzero(&self, width: usize, classes: usize, ratio: f64) -> [f64; 2] {
        let columns = if classes == 2 { 1 } else { classes };
        let weights = ((width + 1) * columns) as f64;
        let samples = self.data.samples[0] as f64;
        if self.bare {
            return [weights, 0.0];
        }
        let strength = NONZERO.0 + NONZERO.1 * (0.1 / ratio).log10();
        let usual = (samples * classes as f64).sqrt() * strength.max(0.0);
        [weights, usual.min(weights)]
    }

    fn entries(&self, width: usize, classes: usize, ratio: f64) -> f64 {
        if self.bare {
            return 0.0;
        }
        let [weights, nonzero] = self.nonzero(width, classes, ratio);
        let grown = nonzero + (GROWTH * nonzero).max(ENTERING);
        grown.min(weights).min(WORKING_SET_MAX as f64)
    }

    /// In flight, all the time.
    fn problem(&self, width: usize, classes: usize, ratio: f64) -> f64 {
        let [weights, _] = self.nonzero(width, classes, ratio);
        let n = self.entries(width, classes, ratio);
        let predictions = self.data.samples[0] as f64 * weights / (width + 1) as f64;
        4.0 * n * n + 8.0 * predictions + 81.0 * weights
    }

    /// A thread's, at work on one: of one column the Hessian is one block; of several the face of the quadratic programme is
    /// larger than any block.
    fn step(&self, width: usize, classes: usize, ratio: f64) -> f64 {
        let [weights, nonzero] = self.nonzero(width, classes, ratio);
        let n = self.entries(width, classes, ratio);
        let columns = weights / (width + 1) as f64;
        let samples = self.data.samples[0] as f64;
        let square = if columns > 1.0 { nonzero.min(n) } else { n };
        let gathered = (2.0 * n / columns * samples.min(GATHERED.0)).min(GATHERED.1);
        4.0 * (square * square + gathered + samples * columns) + 48.0 * weights
    }

    /// A thread's, that picks the neurons in use out of train and packs them: where they are fewer than a quarter
    /// (`predictions.rs`).
    fn judge(&self, width: usize, classes: usize, ratio: f64) -> f64 {
        let [_, nonzero] = self.nonzero(width, classes, ratio);
        let used = width as f64 * (1.0 - (-nonzero / width.max(1) as f64).exp());
        let picked = used.min(self.neurons() as f64 / 4.0);
        8.0 * self.data.samples[0] as f64 * picked
    }
}
