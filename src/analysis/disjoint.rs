//! Disjoint sets: how many sets of neurons suffice that share no neuron. Where there are several, none of them is *the* set
//! that knows the task; iterative exclusion counts them.

use super::minimal_set::{Prefixes, SizeSearch};
use super::ranking::{Ranking, lca};
use super::search::{Penalties, Prober, Search, Target};
use crate::error::Result;
use crate::ops::moments::Spread;
use crate::ops::probe::Certificate;

/// How the neurons that are left are ordered.
#[derive(Debug, Clone, Copy)]
pub enum Next<'a> {
    /// By LCA of a new probe on them.
    Refit,
    /// As this ordering has them: it depends on no probe.
    GoOn(&'a Ranking),
}

/// What to look for.
#[derive(Debug, Clone, Copy)]
pub struct Exclusion<'a, 'p> {
    /// Fits and judges.
    pub prober: &'a Prober<'p>,
    /// The task.
    pub target: Target<'a>,
    /// Penalties that every probe tries.
    pub penalties: &'a Penalties,
    /// How sizes are looked for.
    pub sizes: &'a SizeSearch,
    /// How what is left is ordered.
    pub next: Next<'a>,
    /// The dev accuracy that a set must exceed.
    pub required: f64,
    /// Sets to look for, the first included.
    pub most: usize,
}

/// Sets that share no neuron.
#[derive(Debug, Clone)]
pub struct Disjoint {
    /// Those after the first: the neurons, most salient first, and the probe on them.
    pub further: Vec<(Vec<usize>, Search)>,
    /// Whether the search ended because no prefix of what was left sufficed, not because it had found enough.
    pub exhausted: bool,
    /// Neurons that vary and are in no set.
    pub left: usize,
    /// The best dev accuracy that any prefix of what was left reached, where the search is exhausted and neurons were left.
    pub best_left: Option<f64>,
    /// Of every fit.
    pub certificates: Vec<Certificate>,
}

impl Exclusion<'_, '_> {
    /// Takes the neurons of `first` away, orders what is left, takes its smallest sufficient prefix away, and so on.
    ///
    /// Exhausted means: no size that the search tried suffices. It is a fact about this ordering and these sizes; another
    /// choice of the neurons left may still do.
    ///
    /// Cost: for each further set one probe on what is left (with [`Next::Refit`]) and the search for a size; the last,
    /// which finds nothing, climbs the whole ladder.
    ///
    /// # Errors
    /// As [`Prober::search`].
    pub fn run(&self, first: &[usize], progress: &mut dyn FnMut(f64)) -> Result<Disjoint> {
        let mut free: Vec<bool> = (self.prober.moments.spread.iter())
            .map(|spread| *spread == Spread::Varies)
            .collect();
        first.iter().for_each(|&neuron| free[neuron] = false);
        let mut found = Disjoint {
            further: Vec::new(),
            exhausted: false,
            left: 0,
            best_left: None,
            certificates: Vec::new(),
        };
        while 1 + found.further.len() < self.most && !found.exhausted {
            let left: Vec<usize> = (0..free.len()).filter(|&n| free[n]).collect();
            if left.is_empty() {
                found.exhausted = true;
                break;
            }
            let done = found.further.len() as f64;
            let rounds = (self.most - 1) as f64;
            self.round(&left, &mut found, &mut |share| {
                progress((done + share) / rounds);
            })?;
            if let Some((neurons, _)) = found.further.last() {
                neurons.iter().for_each(|&neuron| free[neuron] = false);
            }
        }
        found.left = free.iter().filter(|free| **free).count();
        Ok(found)
    }

    /// Looks for one more set.
    fn round(
        &self,
        left: &[usize],
        found: &mut Disjoint,
        progress: &mut dyn FnMut(f64),
    ) -> Result<()> {
        let (order, whole) = match self.next {
            Next::GoOn(ranking) => (ranking.only(left), None),
            Next::Refit => {
                let whole = self
                    .prober
                    .search(left, self.target, self.penalties, &mut |_| {})?;
                found.certificates.extend(whole.certificates());
                let ranking = lca(whole.fit.standardised.view())?;
                (ranking.only(left), Some(whole))
            }
        };
        let prefixes = Prefixes {
            prober: self.prober,
            target: self.target,
            order: &order,
            penalties: self.penalties,
            whole: whole.as_ref(),
        };
        let rungs = prefixes.find(self.sizes, &[self.required], progress)?;
        let own = rungs
            .iter()
            .filter(|rung| whole.is_none() || rung.size < order.len());
        own.for_each(|rung| found.certificates.extend(rung.search.certificates()));
        let enough = |accuracy: f64| accuracy > self.required;
        let best = rungs.iter().map(|rung| rung.search.dev_accuracy);
        found.best_left = best.reduce(f64::max);
        let mut rungs = rungs.into_iter();
        match rungs.find(|rung| enough(rung.search.dev_accuracy)) {
            Some(rung) => {
                found.best_left = None;
                let neurons = order[..rung.size].to_vec();
                found.further.push((neurons, rung.search));
            }
            None => found.exhausted = true,
        }
        Ok(())
    }
}
