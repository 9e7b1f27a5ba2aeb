//! How sure one can be of a minimal set, as far as train and dev tell: sets that share no neuron with it, what other samples
//! of train would have named, and random sets of its size.

use super::choices::{ChosenDisjoint, ChosenRandom, ChosenSet, Rankings, Retrained};
use super::records::Tally;
use super::results::{Beside, Stability};
use super::sets::{self, Goal, NEIGHBOURS};
use super::stream;
use super::task::Common;
use crate::analysis::bootstrap::Units;
use crate::analysis::disjoint::{Exclusion, Next};
use crate::analysis::layers::required;
use crate::analysis::random_sets::random_sets;
use crate::analysis::redundancy::Clusters;
use crate::analysis::search::Prober;
use crate::analysis::stability::{self, resamples, selected};
use crate::error::Result;
use crate::ops::moments::Spread;
use crate::ops::probe::Stop;

/// Sentences below which samples are drawn instead: a handful of them has too few resamples.
const FEWEST_SENTENCES: usize = 10;

/// What was found out about the minimal sets of one δ.
#[derive(Default)]
pub(super) struct Examined {
    /// Sets that share no neuron.
    pub disjoint: Vec<ChosenDisjoint>,
    /// What resamples select.
    pub stability: Vec<Stability>,
    /// Random sets.
    pub random_sets: Vec<ChosenRandom>,
}

/// What is examined, and where.
#[derive(Clone, Copy)]
struct Question<'a> {
    goal: Goal<'a>,
    rankings: &'a Rankings,
    set: &'a ChosenSet,
    /// Neurons that vary.
    varying: &'a [usize],
    /// Of the draws.
    seed: u64,
}

/// What may be asked of a minimal set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// Are there others, without a common neuron?
    Disjoint,
    /// Would other samples of train name the same neurons?
    Resamples,
    /// Do random neurons do as well?
    RandomSets,
}

impl<'a> Common<'a> {
    /// Examines the minimal sets of the δ nearest to `minimal_set.examined_delta`. `equivalent` are neurons that stand in for
    /// one another.
    ///
    /// # Errors
    /// When a fit fails.
    pub(super) fn examine(
        &self,
        task: usize,
        goal: Goal<'_>,
        (rankings, sets, equivalent): (&Rankings, &[ChosenSet], &Clusters),
        tally: &mut Tally,
        progress: &mut dyn FnMut(f64),
    ) -> Result<Examined> {
        let sets = self.examined(sets);
        let varying = self.varying();
        let quick = self.quick();
        let mut examined = Examined::default();
        for (at, &set) in sets.iter().enumerate() {
            let question = self.question(task, goal, rankings, set, &varying);
            let mut heard = |part: f64, share: f64| {
                progress((at as f64 + (part + share) / 3.0) / sets.len() as f64);
            };
            if self.is_asked(Asked::Disjoint, question) {
                let found = self.disjoint(question, tally, &mut |share| heard(0.0, share))?;
                examined.disjoint.push(found);
            }
            if self.is_asked(Asked::Resamples, question) {
                let share = &mut |share| heard(1.0, share);
                let found = self.stability(&quick, question, equivalent, tally, share)?;
                examined.stability.push(found);
            }
            if self.is_asked(Asked::RandomSets, question) {
                let share = &mut |share| heard(2.0, share);
                let found = self.random_sets(&quick, question, tally, share)?;
                examined.random_sets.push(found);
            }
        }
        Ok(examined)
    }

    /// Fits what [`Common::examine`] will ask for in this respect, so that units hold it.
    ///
    /// # Errors
    /// When a fit fails.
    pub(super) fn prepare(
        &self,
        asked: Asked,
        task: usize,
        goal: Goal<'_>,
        (rankings, sets): (&Rankings, &[ChosenSet]),
        progress: &mut dyn FnMut(f64),
    ) -> Result<()> {
        let (varying, quick, tally) = (self.varying(), self.quick(), &mut Tally::default());
        for set in self.examined(sets) {
            let question = self.question(task, goal, rankings, set, &varying);
            if !self.is_asked(asked, question) {
                continue;
            }
            match asked {
                Asked::Disjoint => drop(self.disjoint(question, tally, progress)?),
                Asked::Resamples => drop(self.selections(&quick, question, tally, progress)?),
                Asked::RandomSets => drop(self.random_sets(&quick, question, tally, progress)?),
            }
        }
        Ok(())
    }

    /// The sets of the δ that is examined.
    fn examined<'s>(&self, sets: &'s [ChosenSet]) -> Vec<&'s ChosenSet> {
        let spec = &self.spec.minimal_set;
        let far = |delta: f64| (delta - spec.examined_delta).abs();
        let deltas = spec.deltas.iter().copied();
        let delta = deltas.min_by(|a, b| far(*a).total_cmp(&far(*b)));
        sets.iter().filter(|s| Some(s.delta) == delta).collect()
    }

    fn varying(&self) -> Vec<usize> {
        let spread = &self.prober.moments.spread;
        let varies = |&n: &usize| spread[n] == Spread::Varies;
        (0..spread.len()).filter(varies).collect()
    }

    /// Fits resamples and random sets.
    fn quick(&self) -> Prober<'a> {
        let mut quick = self.prober.clone();
        quick.params.stop = Stop::Gap(self.spec.minimal_set.relative_gap);
        quick
    }

    fn question<'q>(
        &self,
        task: usize,
        goal: Goal<'q>,
        rankings: &'q Rankings,
        set: &'q ChosenSet,
        varying: &'q [usize],
    ) -> Question<'q> {
        Question {
            goal,
            rankings,
            set,
            varying,
            seed: stream(stream(self.spec.seed, u64::MAX), task as u64),
        }
    }

    fn is_asked(&self, asked: Asked, q: Question<'_>) -> bool {
        let (spec, set) = (&self.spec.minimal_set, &q.set.set.neurons);
        match asked {
            Asked::Disjoint => spec.disjoint > 0,
            // Of a probe without weights the first neurons may all be constant.
            Asked::Resamples => {
                spec.bootstrap > 0 && set.iter().any(|n| q.varying.binary_search(n).is_ok())
            }
            // As many neurons as vary: every random set is the set.
            Asked::RandomSets => spec.random_sets > 0 && set.len() < q.varying.len(),
        }
    }

    fn disjoint(
        &self,
        q: Question<'_>,
        tally: &mut Tally,
        progress: &mut dyn FnMut(f64),
    ) -> Result<ChosenDisjoint> {
        let (first, spec) = (&q.set.set, &self.spec.minimal_set);
        let required = required(q.goal.oracle.dev_accuracy, q.set.delta);
        let mut chosen = ChosenDisjoint {
            ranking: q.set.ranking.clone(),
            delta: q.set.delta,
            required,
            sets: Vec::new(),
            exhausted: true,
            left: q.varying.len(),
            best_left: Some(first.dev_accuracy),
        };
        if first.dev_accuracy <= required {
            return Ok(chosen); // Not even all neurons suffice.
        }
        let ranking = &q.rankings[&*q.set.ranking];
        let exclusion = Exclusion {
            prober: &self.prober,
            target: q.goal.target,
            penalties: &q.goal.penalties.near(q.goal.oracle, NEIGHBOURS),
            sizes: &sets::size_search(spec),
            next: match &*q.set.ranking {
                "lca" => Next::Refit,
                _ => Next::GoOn(ranking),
            },
            required,
            most: spec.disjoint,
        };
        let found = exclusion.run(&first.neurons, progress)?;
        found.certificates.iter().for_each(|c| tally.count(c));
        chosen.sets.push(first.clone());
        let further = found.further.iter();
        let further = further.map(|(neurons, search)| Retrained::of(neurons, search));
        chosen.sets.extend(further);
        (chosen.exhausted, chosen.left) = (found.exhausted, found.left);
        chosen.best_left = found.best_left;
        Ok(chosen)
    }

    fn stability(
        &self,
        prober: &Prober<'_>,
        q: Question<'_>,
        equivalent: &Clusters,
        tally: &mut Tally,
        progress: &mut dyn FnMut(f64),
    ) -> Result<Stability> {
        let spec = &self.spec.minimal_set;
        let (units, selections) = self.selections(prober, q, tally, progress)?;
        let in_set = q.set.set.neurons.iter().copied();
        let neurons: Vec<usize> = in_set
            .filter(|n| q.varying.binary_search(n).is_ok())
            .collect();
        let found = stability::stability(&neurons, &selections, q.varying, equivalent)?;
        let beside = |b: stability::Beside| Beside {
            observed: b.observed,
            chance: b.chance,
        };
        Ok(Stability {
            ranking: q.set.ranking.clone(),
            delta: q.set.delta,
            size: q.set.set.neurons.len(),
            draws: spec.bootstrap,
            units: units.name().to_owned(),
            candidates: q.varying.len(),
            threshold: spec.equivalent,
            neurons,
            mean_frequency: beside(found.mean_frequency),
            mean_equivalent_frequency: beside(found.mean_equivalent_frequency),
            overlap: beside(found.overlap),
            equivalent_overlap: beside(found.equivalent_overlap),
            jaccard: beside(found.jaccard),
            frequency: found.frequency,
            equivalent_frequency: found.equivalent_frequency,
        })
    }

    /// The neurons that each resample selects, and what was drawn.
    fn selections(
        &self,
        prober: &Prober<'_>,
        q: Question<'_>,
        tally: &mut Tally,
        progress: &mut dyn FnMut(f64),
    ) -> Result<(Units, Vec<Vec<usize>>)> {
        let (train, labels) = (self.train.activations.view(), q.goal.target.train);
        let sentences = self.train.tokens.as_ref().map(|t| &*t.sentences);
        let by_sentence = sentences.map(Units::sentences).transpose()?;
        let units = by_sentence
            .filter(|units| units.count() >= FEWEST_SENTENCES)
            .unwrap_or_else(|| Units::samples(labels.len()));
        let draws = self.spec.minimal_set.bootstrap;
        let drawn = resamples(&units, labels, draws, stream(q.seed, 0))?;
        let size = q.set.set.neurons.len();
        let selections = if q.set.ranking == "lca" {
            let fit = &q.goal.oracle.fit;
            let (rankings, certificates) =
                stability::lca_of_resamples(prober, &self.all(), labels, fit, &drawn, progress)?;
            certificates.iter().for_each(|c| tally.count(c));
            rankings.iter().map(|r| selected(r, size)).collect()
        } else {
            stability::probeless_of_resamples(train, prober.moments, labels, &drawn, size)?
        };
        Ok((units, selections))
    }

    fn random_sets(
        &self,
        prober: &Prober<'_>,
        q: Question<'_>,
        tally: &mut Tally,
        progress: &mut dyn FnMut(f64),
    ) -> Result<ChosenRandom> {
        let (size, draws) = (q.set.set.neurons.len(), self.spec.minimal_set.random_sets);
        let drawn = random_sets(q.varying, size, draws, stream(q.seed, 1))?;
        let penalties = q.goal.penalties.near(q.goal.oracle, NEIGHBOURS);
        let found = prober.search_sets(&drawn, q.goal.target, &penalties, progress)?;
        found.iter().for_each(|search| tally.add(search));
        let sets = drawn.iter().zip(&found);
        Ok(ChosenRandom {
            ranking: q.set.ranking.clone(),
            delta: q.set.delta,
            required: required(q.goal.oracle.dev_accuracy, q.set.delta),
            set: q.set.set.clone(),
            random: sets
                .map(|(neurons, search)| Retrained::of(neurons, search))
                .collect(),
        })
    }
}
