//! Sets of neurons, one bit a neuron.

use crate::error::{Error, Result};

/// Neurons a word.
const BITS: usize = 32;

/// Masks of the same neurons: each says which are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Masks {
    neurons: usize,
    count: usize,
    /// Mask after mask, each in whole words.
    words: Vec<u32>,
}

impl Masks {
    /// No mask yet, of `neurons` neurons D.
    pub fn new(neurons: usize) -> Self {
        Self {
            neurons,
            count: 0,
            words: Vec::new(),
        }
    }

    /// Adds a mask that keeps these neurons, in any order.
    ///
    /// # Errors
    /// When a neuron does not exist or is listed twice: nothing is added then.
    pub fn push(&mut self, kept: &[usize]) -> Result<()> {
        let first = self.words.len();
        self.words.resize(first + self.neurons.div_ceil(BITS), 0);
        for &neuron in kept {
            let bit = 1 << (neuron % BITS);
            let problem = match self.words.get_mut(first + neuron / BITS) {
                Some(word) if neuron < self.neurons && *word & bit == 0 => {
                    *word |= bit;
                    continue;
                }
                Some(_) if neuron < self.neurons => format!("it lists neuron {neuron} twice"),
                _ => format!("it lists neuron {neuron}, but there are {}", self.neurons),
            };
            self.words.truncate(first);
            return Err(Error::invalid(
                format!("mask {}", self.count),
                problem,
                "List distinct neurons from 0 to one less than their number",
            ));
        }
        self.count += 1;
        Ok(())
    }

    /// Number of neurons D.
    pub fn neurons(&self) -> usize {
        self.neurons
    }

    /// Number of masks M.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether a mask keeps a neuron.
    ///
    /// # Panics
    /// When there is no such mask or neuron.
    pub fn keeps(&self, mask: usize, neuron: usize) -> bool {
        assert!(neuron < self.neurons, "neuron {neuron} of {}", self.neurons);
        self.words(mask)[neuron / BITS] >> (neuron % BITS) & 1 == 1
    }

    /// How many neurons a mask keeps.
    ///
    /// # Panics
    /// When there is no such mask.
    pub fn size(&self, mask: usize) -> usize {
        let ones = |word: &u32| word.count_ones() as usize;
        self.words(mask).iter().map(ones).sum()
    }

    fn words(&self, mask: usize) -> &[u32] {
        assert!(mask < self.count, "mask {mask} of {}", self.count);
        let width = self.neurons.div_ceil(BITS);
        &self.words[mask * width..(mask + 1) * width]
    }

    /// From which logits a mask is reached with fewer terms, and the neurons that they are of, as places in `of`.
    pub(super) fn terms(&self, mask: usize, of: &[usize]) -> Terms {
        let kept: Vec<bool> = of.iter().map(|&neuron| self.keeps(mask, neuron)).collect();
        let number = kept.iter().filter(|kept| **kept).count();
        let from_whole = number > of.len() - number;
        let places = (0u32..).zip(&kept);
        let listed = places.filter(|(_, kept)| **kept != from_whole);
        Terms {
            from_whole,
            places: listed.map(|(place, _)| place).collect(),
        }
    }
}

/// What a mask adds to the logits of nothing kept, or takes from those of everything kept.
#[derive(Debug)]
pub(super) struct Terms {
    pub from_whole: bool,
    /// Ascending.
    pub places: Vec<u32>,
}
