//! One study on several machines: each does its share and keeps it as units, and whoever merges them runs the study and finds them
//! there.
//!
//! What a run computes are fits, each of which depends on its own problem alone, to the bit: not on what was fitted beside it, nor
//! where. So a shard leads to the fits of its pieces by the same steps as a run, keeps each in a unit of its own, and
//! a run that finds the units of all shards ends with the bits of one that computed everything. A unit that is not found, for
//! whatever reason, is computed: merging cannot go wrong, only take longer.
//!
//! Which fits there are is decided by earlier ones (the penalty of a control task is that of its probe, a set of neurons that of a
//! ranking). A shard computes what its pieces depend on itself, unless it finds it in the folder of another shard: they never
//! wait for one another.

mod deal;

use std::cell::OnceCell;
use std::fmt;
use std::str::FromStr;

use super::choices::{ChosenLayer, ChosenSet, Rankings};
use super::clock::Clock;
use super::examine::Asked;
use super::memory::Room;
use super::records::Tally;
use super::results::DeviceUsed;
use super::sets::{self, Goal, Pipeline, size_search};
use super::spec::Spec;
use super::task::Common;
use super::units::shards::{Record, Shards};
use super::units::{Folder, Units};
use super::{Progress, layers, run};
use crate::analysis::frozen::Frozen;
use crate::analysis::layers::{Job, LayerProbe, jobs, probe_jobs};
use crate::analysis::search::Search;
use crate::analysis::selectivity::control_probes;
use crate::error::Result;
use crate::labels::Labels;
use crate::ops::Backend;
use crate::ops::correlation::Correlation;
use crate::ops::moments;
use crate::study::load;
use crate::study::results::StudyResults;
use deal::{Piece, deal, pieces};

/// More shards than this are a slip of the pen.
const MOST: usize = 10_000;

/// Which of how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shard {
    number: usize,
    of: usize,
}

impl Shard {
    /// Number `number` of `of`, from 1 on; `None` of others.
    pub fn new(number: usize, of: usize) -> Option<Self> {
        ((1..=MOST).contains(&of) && (1..=of).contains(&number)).then_some(Self { number, of })
    }

    /// Its number, from 1 on.
    pub fn number(self) -> usize {
        self.number
    }

    /// How many there are.
    pub fn of(self) -> usize {
        self.of
    }

    /// All of them.
    pub fn all(self) -> impl Iterator<Item = Self> {
        let of = self.of;
        (1..=of).map(move |number| Self { number, of })
    }

    /// The name of its folder.
    pub fn folder(self) -> String {
        format!("shard-{}-of-{}", self.number, self.of)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let numbers = text.split_once('/').and_then(|(number, of)| {
            Some((number.parse::<usize>().ok()?, of.parse::<usize>().ok()?))
        });
        let Some((number, of)) = numbers else {
            return Err("write 2/8 for the second of eight".to_owned());
        };
        Self::new(number, of).ok_or_else(|| match of {
            1..=MOST => format!("shards are numbered from 1 to {of}, and {number} is none of them"),
            _ => format!("there are 1 to {MOST} shards, not {of}"),
        })
    }
}

/// Does the share of one shard of a study and keeps it in the folder. What it kept, for whoever merges the shards.
///
/// # Errors
/// As [`super::resume`].
pub fn share(
    spec: &Spec,
    (backend, device): (&Backend, DeviceUsed),
    (folder, room): (&Folder, Room),
    shard: Shard,
    observer: &mut dyn FnMut(&Progress<'_>),
) -> Result<Record> {
    let data = load(spec)?;
    let train = &data.train().activations;
    let moments = moments::moments(&Backend::Cpu, train.view(), None)?;
    let units = Units::new(folder, train.view(), &moments, (backend, &device)).apart();
    let controls = run::draw_controls(spec, &data)?;
    let draws = controls.iter().map(Vec::len).max().unwrap_or(0);
    let native = backend.gpu().is_none();
    let labels = data.train().labels.iter();
    let classes: Vec<usize> = labels.map(|labels| labels.present().len()).collect();
    let all = pieces(spec, train.layers(), &classes, draws, native);
    let mine = deal(&all, shard);
    let labels: Vec<Vec<&Labels>> = controls
        .iter()
        .map(|draws| draws.iter().map(|draw| &draw.train).collect())
        .collect();
    let mut worker = Worker {
        common: run::common(spec, &data, backend, &moments, (Some(&units), room)),
        draws: &labels,
        units: &units,
        correlation: OnceCell::new(),
        clock: Clock::new(steps(&mine), observer),
    };
    worker.all(&mine)?;
    let seconds = worker.clock.finish().iter().map(|t| t.seconds).sum();
    Ok(Record::new(spec, &data, shard, device, seconds, folder))
}

/// Runs a study with the units of its shards, which the folder [reads](Folder::reading).
///
/// # Errors
/// When a shard is of other data or was computed elsewhere; as [`super::resume`].
pub fn merge(
    spec: &Spec,
    (backend, device): (&Backend, DeviceUsed),
    (folder, room): (&Folder, Room),
    shards: &Shards,
    observer: &mut dyn FnMut(&Progress<'_>),
) -> Result<StudyResults> {
    run::read_and_run(
        spec,
        (backend, device),
        (Some(folder), room),
        observer,
        |data, device| shards.fit(data, device),
    )
}

/// Steps of these pieces, as [`Worker::all`] takes them.
fn steps(mine: &[Piece]) -> usize {
    let tasks = tasks(mine);
    let of = |task: &usize| Work::of(mine, *task).steps();
    usize::from(mine.contains(&Piece::Correlations)) + tasks.iter().map(of).sum::<usize>()
}

fn tasks(mine: &[Piece]) -> Vec<usize> {
    let mut tasks: Vec<usize> = mine.iter().filter_map(|piece| piece.task()).collect();
    tasks.dedup(); // They are in the order of the tasks.
    tasks
}

/// The pieces of one task, in the order in which they are done.
#[derive(Default)]
struct Work {
    layers: Vec<Job>,
    controls: bool,
    sets: Vec<usize>,
    examined: Vec<(usize, Asked)>,
    combined: Vec<(usize, usize)>,
}

impl Work {
    fn of(mine: &[Piece], task: usize) -> Self {
        let mut work = Self::default();
        for piece in mine.iter().filter(|piece| piece.task() == Some(task)) {
            match *piece {
                Piece::Correlations => {}
                Piece::Layers(_, job) => work.layers.push(job),
                Piece::Controls(_) => work.controls = true,
                Piece::Sets(_, ranking) => work.sets.push(ranking),
                Piece::Examined(_, ranking, asked) => work.examined.push((ranking, asked)),
                Piece::Combined(_, layer, threshold) => work.combined.push((layer, threshold)),
            }
        }
        work
    }

    /// Whether any of it depends on the probe on all neurons.
    fn needs_oracle(&self) -> bool {
        self.controls || !self.rankings().is_empty() || !self.combined.is_empty()
    }

    /// The orderings whose minimal sets are needed.
    fn rankings(&self) -> Vec<usize> {
        let mut rankings = self.sets.clone();
        rankings.extend(self.examined.iter().map(|(ranking, _)| ranking));
        rankings.sort_unstable();
        rankings.dedup();
        rankings
    }

    fn steps(&self) -> usize {
        usize::from(!self.layers.is_empty())
            + usize::from(self.needs_oracle())
            + usize::from(self.controls)
            + self.rankings().len()
            + self.examined.len()
            + 2 * usize::from(!self.combined.is_empty())
    }
}

/// Does pieces.
struct Worker<'a, 'o> {
    common: Common<'a>,
    /// Of each task, the labels of train of its control tasks.
    draws: &'a [Vec<&'a Labels>],
    units: &'a Units<'a>,
    /// Computed for whoever asks first.
    correlation: OnceCell<Correlation>,
    clock: Clock<'o>,
}

impl Worker<'_, '_> {
    fn all(&mut self, mine: &[Piece]) -> Result<()> {
        if mine.contains(&Piece::Correlations) {
            self.clock.step("correlation");
            self.correlation()?;
        }
        let tasks = tasks(mine);
        let mut oracles = Vec::with_capacity(tasks.len());
        for &task in &tasks {
            oracles.push(self.one(task, &Work::of(mine, task))?);
        }
        // The others have most likely probed the layers by now.
        for (&task, oracle) in tasks.iter().zip(&oracles) {
            let work = Work::of(mine, task);
            if let Some(oracle) = oracle.as_ref().filter(|_| !work.combined.is_empty()) {
                self.combined(task, oracle, &work.combined)?;
            }
        }
        Ok(())
    }

    fn name(&self, task: usize, step: &str) -> String {
        format!("{}: {step}", self.common.tasks[task])
    }

    /// Everything but what needs the layers; the probe on all neurons, where it was needed.
    fn one(&mut self, task: usize, work: &Work) -> Result<Option<Search>> {
        if !work.layers.is_empty() {
            self.layers(task, &work.layers)?;
        }
        if !work.needs_oracle() {
            return Ok(None);
        }
        self.clock.step(self.name(task, "probes on all neurons"));
        let (common, clock) = (&self.common, &mut self.clock);
        let (all, target) = (common.all(), common.target(task));
        let heard = &mut |done| clock.fraction(done);
        let oracle = common
            .prober
            .search(&all, target, &common.penalties, heard)?;
        if work.controls {
            self.clock.step(self.name(task, "control tasks"));
            let (common, clock) = (&self.common, &mut self.clock);
            let penalty = (oracle.fit.l1, oracle.fit.l2);
            let heard = &mut |done| clock.fraction(done);
            control_probes(
                &common.control_prober,
                &all,
                &self.draws[task],
                penalty,
                heard,
            )?;
        }
        self.rankings(task, &oracle, work)?;
        Ok(Some(oracle))
    }

    fn layers(&mut self, task: usize, jobs: &[Job]) -> Result<()> {
        self.clock.step(self.name(task, "probes on layers"));
        let (common, clock) = (&self.common, &mut self.clock);
        let (map, target) = (common.train.activations.layers(), common.target(task));
        let heard = &mut |done: f64| clock.fraction(done);
        let probes = probe_jobs(&common.prober, map, jobs, target, &common.penalties, heard)?;
        let draws = &self.draws[task];
        for (job, probe) in jobs.iter().zip(&probes) {
            if matches!(job, Job::Alone(_)) && !draws.is_empty() {
                let columns: Vec<usize> = job.columns(map).collect();
                let penalty = (probe.search.fit.l1, probe.search.fit.l2);
                let nobody = &mut |_| {};
                control_probes(&common.control_prober, &columns, draws, penalty, nobody)?;
            }
        }
        Ok(())
    }

    /// Minimal sets, their control tasks, and what is asked of them.
    fn rankings(&mut self, task: usize, oracle: &Search, work: &Work) -> Result<()> {
        let wanted = work.rankings();
        if wanted.is_empty() {
            return Ok(());
        }
        let rankings = self
            .common
            .rankings(oracle, self.common.target(task).train)?;
        for at in wanted {
            let with_controls = work.sets.contains(&at);
            let sets = self.sets(task, oracle, (&rankings, at), with_controls)?;
            let asked = work.examined.iter().filter(|(of, _)| *of == at);
            for &(_, asked) in asked {
                self.clock
                    .step(self.name(task, "how sure the minimal sets are"));
                let (common, clock) = (&self.common, &mut self.clock);
                let goal = goal(common, task, oracle);
                let heard = &mut |done| clock.fraction(done);
                common.prepare(asked, task, goal, (&rankings, &sets), heard)?;
            }
        }
        Ok(())
    }

    /// The minimal sets of one ordering.
    fn sets(
        &mut self,
        task: usize,
        oracle: &Search,
        (rankings, at): (&Rankings, usize),
        with_controls: bool,
    ) -> Result<Vec<ChosenSet>> {
        self.clock.step(self.name(task, "minimal sets"));
        let (common, clock) = (&self.common, &mut self.clock);
        let spec = &common.spec.minimal_set;
        let ranking = spec.rankings[at].name();
        let ordering = (ranking, &*rankings[ranking].order);
        let (goal, mut tally) = (goal(common, task, oracle), Tally::default());
        let heard = &mut |done| clock.fraction(done);
        let mut sets = sets::minimal_sets(&common.prober, spec, ordering, goal, &mut tally, heard)?;
        if with_controls {
            // Of a set of all neurons there is nothing to fit: it has those of the oracle.
            let on_all: &[Frozen] = &[];
            let controls = (&*self.draws[task], on_all);
            sets::control(
                &common.control_prober,
                &mut sets,
                controls,
                &mut tally,
                heard,
            )?;
        }
        Ok(sets)
    }

    /// Layers, clusters and ranking combined: these places among the selected layers, and thresholds.
    fn combined(&mut self, task: usize, oracle: &Search, mine: &[(usize, usize)]) -> Result<()> {
        let cumulative = self.cumulative(task, oracle)?;
        let step = self.name(task, "layers, clusters and ranking combined");
        self.clock.step(step);
        self.correlation()?;
        let (common, clock) = (&self.common, &mut self.clock);
        let correlation = self.correlation.get().expect("it is computed");
        let spec = &common.spec.combined;
        let pipeline = Pipeline {
            prober: &common.prober,
            spec,
            clusters: &common.spec.clusters,
            sizes: &size_search(&common.spec.minimal_set),
            map: common.train.activations.layers(),
            goal: goal(common, task, oracle),
        };
        let selected = layers::select(&spec.deltas, &cumulative, oracle.dev_accuracy);
        let places = pipeline.places(&selected, &cumulative);
        for (done, &(layer, threshold)) in mine.iter().enumerate() {
            // Several δ often select the same layer: there may be fewer of them.
            if let Some(&place) = places.get(layer) {
                let thresholds = &spec.thresholds[threshold..=threshold];
                let upto = cumulative[place].layer;
                pipeline.upto(&common.prober, upto, thresholds, correlation)?;
            }
            clock.fraction((done + 1) as f64 / mine.len() as f64);
        }
        Ok(())
    }

    /// Probes on the layers up to each.
    fn cumulative(&mut self, task: usize, oracle: &Search) -> Result<Vec<ChosenLayer>> {
        self.clock
            .step(self.name(task, "probes on layers up to each"));
        let (common, clock) = (&self.common, &mut self.clock);
        let (map, target) = (common.train.activations.layers(), common.target(task));
        let numbers = map.layers();
        let ahead = jobs(map)
            .into_iter()
            .filter(|job| matches!(job, Job::UpTo(_)));
        // The first layer alone, where it is not the last.
        let first = numbers.iter().take(1).filter(|_| numbers.len() > 1);
        let wanted: Vec<Job> = first.map(|&layer| Job::Alone(layer)).chain(ahead).collect();
        let heard = &mut |done: f64| clock.fraction(done);
        let mut probes = probe_jobs(
            &common.prober,
            map,
            &wanted,
            target,
            &common.penalties,
            heard,
        )?;
        probes.push(LayerProbe {
            layer: numbers[numbers.len() - 1],
            neurons: map.neurons(),
            search: oracle.clone(),
        });
        Ok(probes.iter().map(layers::freeze).collect())
    }

    fn correlation(&self) -> Result<&Correlation> {
        if let Some(known) = self.correlation.get() {
            return Ok(known);
        }
        let (found, _) = self.common.correlations(Some(self.units))?;
        Ok(self.correlation.get_or_init(|| found))
    }
}

/// What smaller sets of neurons of a task are measured against.
fn goal<'g>(common: &'g Common<'_>, task: usize, oracle: &'g Search) -> Goal<'g> {
    Goal {
        target: common.target(task),
        penalties: &common.penalties,
        oracle,
    }
}
