//! The same search on several sets of neurons at once.

use std::ops::Range;

use super::{NO_SIGNAL, Penalties, Prober, Search, Target};
use crate::error::Result;
use crate::ops::probe::{self, Design, Neurons, Problem, TRANSFER};

impl Prober<'_> {
    /// As [`Prober::search`] for several sets of neurons of one task. As many as fit into 256 MiB, or into half of
    /// what probes may take where that is less, are one batch, each at shares of its own λ_max; what comes of a set depends on that set alone.
    ///
    /// # Errors
    /// As [`Prober::search`]; when no neuron of a set varies.
    pub fn search_sets(
        &self,
        sets: &[Vec<usize>],
        target: Target<'_>,
        penalties: &Penalties,
        progress: &mut dyn FnMut(f64),
    ) -> Result<Vec<Search>> {
        let mut all = sets.concat();
        all.sort_unstable();
        all.dedup();
        let Some(design) = self.design(&all)? else {
            return sets
                .iter()
                .map(|set| self.search(set, target, penalties, &mut |_| {}))
                .collect();
        };
        let place = |neuron: &usize| design.columns().binary_search(neuron).ok();
        let places: Vec<Vec<usize>> = sets
            .iter()
            .map(|set| set.iter().filter_map(place).collect())
            .collect();
        let mut searches = Vec::with_capacity(sets.len());
        for group in self.together(&places) {
            let batch = (&sets[group.clone()], &places[group.clone()]);
            let heard = &mut |share: f64| {
                progress((group.start as f64 + share * group.len() as f64) / sets.len() as f64);
            };
            searches.extend(self.search_batch(&design, batch, target, penalties, heard)?);
        }
        Ok(searches)
    }

    /// Which sets, one after the other, are one batch: as many as their copies of train fit for, and at least one.
    pub(in crate::analysis) fn together(&self, sets: &[Vec<usize>]) -> Vec<Range<usize>> {
        // A device gets as much at once.
        let room = TRANSFER.min(self.params.memory / 2);
        let copy = |set: &Vec<usize>| 4 * (set.len() * self.train.nrows()) as u64;
        let mut groups: Vec<Range<usize>> = Vec::new();
        let mut taken = 0;
        for (at, set) in sets.iter().enumerate() {
            match groups.last_mut() {
                Some(group) if taken + copy(set) <= room => group.end = at + 1,
                _ => {
                    groups.push(at..at + 1);
                    taken = 0;
                }
            }
            taken += copy(set);
        }
        groups
    }

    /// Sets of neurons with their places in the design.
    fn search_batch(
        &self,
        design: &Design,
        (sets, places): (&[Vec<usize>], &[Vec<usize>]),
        target: Target<'_>,
        penalties: &Penalties,
        progress: &mut dyn FnMut(f64),
    ) -> Result<Vec<Search>> {
        let seen = |places| Problem {
            neurons: Neurons::These(places),
            ..Problem::new(target.train, 0.0, 0.0)
        };
        let empty: Vec<Problem<'_>> = places.iter().map(|places| seen(places)).collect();
        let largest = probe::lambda_max(design, &empty, self.params.scale)?;
        let mut paths = Vec::with_capacity(sets.len());
        for (problem, &largest) in empty.iter().zip(&largest) {
            let largest = if largest > NO_SIGNAL { largest } else { 1.0 };
            let values = penalties.values(|| Ok(largest))?;
            let weighted = |(l1, l2)| Problem { l1, l2, ..*problem };
            paths.push(values.into_iter().map(weighted).collect());
        }
        let fits = self.fit_paths(Some(design), &paths, progress)?;
        let each = sets.iter().zip(fits);
        each.map(|(set, fits)| self.choose(set, fits, target))
            .collect()
    }
}
