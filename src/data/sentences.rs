//! Which rows of the matrix each sentence of a NeuroX file holds.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::Result;

/// First row of each sentence, and one past the last row at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SentenceRows {
    starts: Vec<usize>,
}

/// The rows of one sentence that a block of rows takes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Overlap {
    pub sentence: usize,
    /// Tokens of the sentence.
    pub tokens: Range<usize>,
    /// Row in the block of the first of them.
    pub row: usize,
    /// Whether the sentence has others that the block does not take in.
    pub part: bool,
}

impl SentenceRows {
    /// From the number of tokens of each sentence; `None` when their sum overflows.
    pub fn new(tokens: impl IntoIterator<Item = usize>) -> Option<Self> {
        let mut starts = vec![0usize];
        let mut total = 0usize;
        for count in tokens {
            total = total.checked_add(count)?;
            starts.push(total);
        }
        Some(Self { starts })
    }

    /// Rows of all sentences together.
    pub fn total(&self) -> usize {
        *self.starts.last().expect("never empty")
    }

    /// The sentences that the rows `start..start + rows` belong to.
    pub fn overlaps(&self, start: usize, rows: usize) -> impl Iterator<Item = Overlap> + '_ {
        let end = start + rows;
        let first = self
            .starts
            .partition_point(|&s| s <= start)
            .saturating_sub(1);
        self.starts
            .windows(2)
            .enumerate()
            .skip(first)
            .take_while(move |(_, bounds)| bounds[0] < end)
            .map(move |(sentence, bounds)| {
                let (from, to) = (bounds[0].max(start), bounds[1].min(end));
                Overlap {
                    sentence,
                    tokens: from - bounds[0]..to - bounds[0],
                    row: from - start,
                    part: (from, to) != (bounds[0], bounds[1]),
                }
            })
            .filter(|overlap| !overlap.tokens.is_empty())
    }

    /// Rows of each sentence.
    pub fn lengths(&self) -> impl Iterator<Item = usize> + '_ {
        self.starts.windows(2).map(|bounds| bounds[1] - bounds[0])
    }

    /// The sentence of every row; sentences without tokens are not counted.
    pub fn numbers(&self) -> Vec<u32> {
        self.lengths()
            .filter(|&tokens| tokens > 0)
            .zip(0..)
            .flat_map(|(tokens, number)| std::iter::repeat_n(number, tokens))
            .collect()
    }
}

/// The values of the sentence that a block of rows ended in. One that is longer than a block is decoded once, not for every
/// block that it reaches into.
#[derive(Debug, Default)]
pub(super) struct LastSentence(Mutex<Option<(usize, Arc<Vec<f32>>)>>);

impl LastSentence {
    /// The values of a sentence, of which `part` says that a block takes in some rows only.
    pub fn values(
        &self,
        sentence: usize,
        part: bool,
        decode: impl FnOnce() -> Result<Vec<f32>>,
    ) -> Result<Arc<Vec<f32>>> {
        if !part {
            return decode().map(Arc::new);
        }
        let last = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((kept, values)) = last().as_ref()
            && *kept == sentence
        {
            return Ok(values.clone());
        }
        // Room for the next one before it is there.
        *last() = None;
        let values = Arc::new(decode()?);
        *last() = Some((sentence, values.clone()));
        Ok(values)
    }
}
