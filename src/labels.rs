//! Labels: one class per sample.

use crate::error::{Error, Result};

/// One class id per sample and the names of the classes.
///
/// A class may be absent from the samples (a class missing from train is legal and reported).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels {
    ids: Vec<u32>,
    classes: Vec<String>,
}

impl Labels {
    /// From class ids (0-based, one a sample) and class names.
    ///
    /// # Errors
    /// When there are no samples, or an id has no name.
    pub fn new(ids: Vec<u32>, classes: Vec<String>) -> Result<Self> {
        if ids.is_empty() {
            return Err(Error::invalid(
                "labels",
                "there are none",
                "Give one label for every sample",
            ));
        }
        if let Some((row, id)) = ids
            .iter()
            .enumerate()
            .find(|(_, id)| **id as usize >= classes.len())
        {
            return Err(Error::invalid(
                "labels",
                format!(
                    "row {row} has class {id}, but there are {} class names",
                    classes.len()
                ),
                "Number the classes from 0 and name each of them",
            ));
        }
        Ok(Self { ids, classes })
    }

    /// The labels of some consecutive samples, at least one of them: ids and names stay.
    ///
    /// # Panics
    /// When there are no such samples: our own bug.
    pub fn part(&self, samples: std::ops::Range<usize>) -> Self {
        assert!(!samples.is_empty(), "no labels in {samples:?}");
        Self {
            ids: self.ids[samples].to_vec(),
            classes: self.classes.clone(),
        }
    }

    /// Class id of every sample.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Class names in id order.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Number of samples N.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Never true: [`Labels::new`] refuses an empty list.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Samples per class, in id order.
    pub fn counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes.len()];
        for &id in &self.ids {
            counts[id as usize] += 1;
        }
        counts
    }

    /// Ids of the classes that occur.
    pub fn present(&self) -> Vec<u32> {
        (0u32..)
            .zip(self.counts())
            .filter(|&(_, count)| count > 0)
            .map(|(class, _)| class)
            .collect()
    }
}
