//! Bootstrap: 95 % intervals of statistics that have no formula of their own (Efron & Tibshirani 1993, ch. 13).
//!
//! A draw takes as many units as there are, with replacement, and repeats the statistic; the interval is from the 2.5 %
//! to the 97.5 % quantile of all draws (percentile interval, quantiles interpolated linearly). A unit is one sample, or
//! one sentence with all its samples: words of a sentence are not independent, and intervals over single words are then
//! too narrow (cluster bootstrap, Davison & Hinkley 1997, §3.8).
//!
//! Same seed, same bits: the numbers of a draw depend on the seed and on the draw alone, not on threads.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::error::{Error, Result};

/// Draws of every interval: the ends then move by about a twentieth of the interval's width from seed to seed.
pub const DRAWS: usize = 1000;

/// Below this share of draws in which a statistic is defined it gets no interval.
const DEFINED: f64 = 0.5;

/// What is drawn with replacement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Units {
    samples: usize,
    /// First sample of every sentence, and one past the last at the end; `None`: samples are units.
    starts: Option<Vec<usize>>,
}

impl Units {
    /// Single samples.
    pub fn samples(samples: usize) -> Self {
        Self {
            samples,
            starts: None,
        }
    }

    /// Sentences, from the number of the sentence of each sample, ascending ([`crate::split::Tokens::sentences`]).
    ///
    /// # Errors
    /// When a number goes down from one sample to the next.
    pub fn sentences(sentences: &[u32]) -> Result<Self> {
        if let Some(at) = sentences.windows(2).position(|pair| pair[0] > pair[1]) {
            return Err(Error::invalid(
                "sentences",
                format!(
                    "sample {} is of sentence {}, sample {at} before it of {}",
                    at + 1,
                    sentences[at + 1],
                    sentences[at]
                ),
                "Number the sentences in the order of the samples",
            ));
        }
        let new = |&at: &usize| at == 0 || sentences[at - 1] != sentences[at];
        let mut starts: Vec<usize> = (0..sentences.len()).filter(new).collect();
        starts.push(sentences.len());
        Ok(Self {
            samples: sentences.len(),
            starts: Some(starts),
        })
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.samples
    }

    /// Whether there are no samples.
    pub fn is_empty(&self) -> bool {
        self.samples == 0
    }

    /// Number of units.
    pub fn count(&self) -> usize {
        match &self.starts {
            Some(starts) => starts.len() - 1,
            None => self.samples,
        }
    }

    /// The samples of a unit.
    pub(super) fn members(&self, unit: usize) -> std::ops::Range<usize> {
        match &self.starts {
            Some(starts) => starts[unit]..starts[unit + 1],
            None => unit..unit + 1,
        }
    }

    /// `samples` or `sentences`.
    pub fn name(&self) -> &'static str {
        match self.starts {
            Some(_) => "sentences",
            None => "samples",
        }
    }

    /// Standard error of the mean of one value a sample: of independent units, each the sum of its samples' deviations
    /// (the cluster-robust form, which for single samples is sd/√N with N − 1). 0 of fewer than two units.
    pub fn standard_error(&self, values: &[f64]) -> f64 {
        let (n, units) = (self.samples as f64, self.count() as f64);
        if self.count() < 2 {
            return 0.0;
        }
        let mean = values.iter().sum::<f64>() / n;
        let deviation = |unit: &[f64]| unit.iter().map(|v| v - mean).sum::<f64>().powi(2);
        let squares: f64 = match &self.starts {
            Some(starts) => starts
                .windows(2)
                .map(|bounds| deviation(&values[bounds[0]..bounds[1]]))
                .sum(),
            None => values.iter().map(|v| (v - mean).powi(2)).sum(),
        };
        (squares * units / (units - 1.0)).sqrt() / n
    }

    /// How often each sample is in the draw of this number.
    pub(super) fn draw(&self, seed: u64, number: usize) -> Vec<u32> {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        generator.set_stream(number as u64);
        let mut times = vec![0; self.samples];
        let units = self.count();
        for _ in 0..units {
            let unit = generator.random_range(0..units);
            match &self.starts {
                Some(starts) => times[starts[unit]..starts[unit + 1]]
                    .iter_mut()
                    .for_each(|t| *t += 1),
                None => times[unit] += 1,
            }
        }
        times
    }
}

/// The 95 % interval of each number that `statistics` gives, which takes how often every sample counts.
///
/// A statistic may be undefined (`None`) in a draw, such as the correlation of values all of which are the same; such draws
/// are left out. No interval where that leaves fewer than half of them, or there are fewer than two units.
///
/// `statistics` must always give as many numbers. Cost: [`DRAWS`] times that of `statistics`, over all threads.
pub fn intervals<F>(units: &Units, seed: u64, statistics: F) -> Vec<Option<[f64; 2]>>
where
    F: Fn(&[u32]) -> Vec<Option<f64>> + Sync,
{
    let draws: Vec<Vec<Option<f64>>> = (0..DRAWS)
        .into_par_iter()
        .map(|number| statistics(&units.draw(seed, number)))
        .collect();
    let interval = |which: usize| {
        let mut values: Vec<f64> = draws.iter().filter_map(|draw| draw[which]).collect();
        if units.count() < 2 || (values.len() as f64) < DEFINED * DRAWS as f64 {
            return None;
        }
        values.sort_by(f64::total_cmp);
        Some([quantile(&values, 0.025), quantile(&values, 0.975)])
    };
    (0..draws[0].len()).map(interval).collect()
}

/// Quantile of sorted values, linear between neighbours (type 7 of Hyndman & Fan 1996).
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let below = place.floor();
    let at = below as usize;
    match sorted.get(at + 1) {
        Some(next) => sorted[at] + (place - below) * (next - sorted[at]),
        None => sorted[at],
    }
}
