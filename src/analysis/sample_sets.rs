//! Sets of samples, one bit a sample: what a concept covers, where a neuron fires.

use multiversion::multiversion;

use crate::error::{Error, Result};

/// Sets of the same N samples, 64 samples a word.
#[derive(Debug, Clone)]
pub struct SampleSets {
    samples: usize,
    words_each: usize,
    words: Vec<u64>,
    sizes: Vec<u32>,
}

impl SampleSets {
    /// No sets yet, of `samples` samples.
    ///
    /// # Errors
    /// When there are no samples, or more than 32 bits count.
    pub fn new(samples: usize) -> Result<Self> {
        if samples == 0 || u32::try_from(samples).is_err() {
            return Err(Error::invalid(
                "sets of samples",
                format!("of {samples} samples"),
                "Give 1 to 4,294,967,295 samples",
            ));
        }
        Ok(Self {
            samples,
            words_each: samples.div_ceil(64),
            words: Vec::new(),
            sizes: Vec::new(),
        })
    }

    /// Adds the set of the samples that `holds` is true of.
    pub fn push(&mut self, holds: impl Fn(usize) -> bool) {
        let mut size = 0;
        for start in (0..self.samples).step_by(64) {
            let end = self.samples.min(start + 64);
            let word = (start..end).fold(0u64, |word, sample| {
                word | u64::from(holds(sample)) << (sample - start)
            });
            size += word.count_ones();
            self.words.push(word);
        }
        self.sizes.push(size);
    }

    /// Number of samples N.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// Number of sets.
    pub fn len(&self) -> usize {
        self.sizes.len()
    }

    /// Whether there is no set.
    pub fn is_empty(&self) -> bool {
        self.sizes.is_empty()
    }

    /// Samples of a set.
    pub fn size(&self, set: usize) -> u32 {
        self.sizes[set]
    }

    /// The bits of a set.
    pub fn bits(&self, set: usize) -> &[u64] {
        &self.words[set * self.words_each..][..self.words_each]
    }

    /// Forgets the sets, and keeps their memory for others.
    pub(super) fn clear(&mut self) {
        self.words.clear();
        self.sizes.clear();
    }

    /// Samples that each set here shares with each of `others`: `shared[here · others.len() + there]`.
    ///
    /// One AND and one population count a word. In blocks of 256 words and 64 sets, so that 64 sets of either side stay
    /// in the nearest caches. Cost: `len · others.len() · N / 64` words.
    pub(super) fn shared(&self, others: &Self) -> Vec<u32> {
        const WORDS: usize = 256;
        const SETS: usize = 64;
        let mut shared = vec![0; self.len() * others.len()];
        for start in (0..self.words_each).step_by(WORDS) {
            let part = start..self.words_each.min(start + WORDS);
            for first in (0..others.len()).step_by(SETS) {
                let block = first..others.len().min(first + SETS);
                for here in 0..self.len() {
                    let bits = &self.bits(here)[part.clone()];
                    let row = &mut shared[here * others.len()..][..others.len()];
                    for there in block.clone() {
                        row[there] += both(bits, &others.bits(there)[part.clone()]);
                    }
                }
            }
        }
        shared
    }
}

/// Bits that are set in both.
#[multiversion(targets(
    "x86_64+avx512f+avx512vpopcntdq+popcnt",
    "x86_64+avx2+popcnt",
    "x86_64+popcnt"
))]
fn both(a: &[u64], b: &[u64]) -> u32 {
    a.iter().zip(b).map(|(a, b)| (a & b).count_ones()).sum()
}
