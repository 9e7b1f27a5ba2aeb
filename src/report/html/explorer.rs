//! Neurons one by one: what the script's explorer shows of each.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::values;
use crate::report::format;
use crate::study::results::{
    Explored, ExploredNeuron, NeuronOfTask, StudyResults, TaskResults, TopWord,
};

/// Members of a cluster that are named.
const MEMBERS: usize = 24;

/// Classes of a task whose histograms are shown one by one; where there are more, those of the largest weights.
const CLASSES: usize = 10;

/// Letters of a word that are shown.
const LETTERS: usize = 60;

/// The explorer as the template shows it.
#[derive(Debug, Serialize)]
pub(super) struct Explorer {
    /// The neurons by id, each with its place, in the order of the list: first those that matter to a task.
    neurons: Vec<(usize, String)>,
    /// How many of them matter to a task.
    wanted: usize,
    /// How many do in the whole study.
    all: usize,
    /// Everything that the script shows, as JSON.
    data: String,
}

#[derive(Debug, Serialize)]
struct Data<'a> {
    thresholds: Vec<f64>,
    tasks: Vec<TaskData<'a>>,
    neurons: Vec<NeuronData<'a>>,
}

#[derive(Debug, Serialize)]
struct TaskData<'a> {
    name: &'a str,
    classes: Vec<&'a str>,
    rankings: Vec<String>,
    sets: Vec<String>,
}

#[derive(Debug, Serialize)]
struct NeuronData<'a> {
    id: usize,
    layer: u32,
    unit: u32,
    mean: f64,
    sd: f64,
    low: f32,
    high: f32,
    /// Id, layer and r.
    partners: Vec<(usize, u32, f32)>,
    /// Word, mean z, share of the largest mean |z|, occurrences.
    words: Vec<(String, f64, f64, usize)>,
    /// At each threshold: size of its cluster, the representative, the first members.
    cuts: Vec<(usize, usize, Vec<usize>)>,
    excerpts: Vec<ExcerptData>,
    tasks: Vec<OfTask<'a>>,
}

#[derive(Debug, Serialize)]
struct ExcerptData {
    sentence: u32,
    cut: [bool; 2],
    words: Vec<String>,
    z: Vec<f64>,
}

#[derive(Debug, Serialize)]
struct OfTask<'a> {
    /// Its place in each ordering, from 1.
    ranks: Vec<usize>,
    /// Places of the classes that it is salient for.
    salient: Vec<usize>,
    /// Places of the sets that it is in.
    sets: Vec<usize>,
    /// Place of the class, weight, counts of the bins.
    classes: Vec<(usize, f32, &'a [u32])>,
    /// Counts of all other classes together.
    rest: Option<Vec<u32>>,
}

/// The neurons that the explorer has.
pub(super) fn explored(results: &StudyResults) -> BTreeSet<usize> {
    let neurons = results.explored.iter().flat_map(|found| &found.neurons);
    neurons.map(|neuron| neuron.neuron).collect()
}

/// The explorer; `None` where no neuron is described.
pub(super) fn explorer(results: &StudyResults) -> Option<Explorer> {
    let found: &Explored = results.explored.as_ref()?;
    if found.neurons.is_empty() {
        return None;
    }
    let clusters: Vec<_> = results
        .clusters
        .iter()
        .map(|cut| members(&cut.labels))
        .collect();
    let ranks: Vec<_> = results.tasks.iter().map(ranks).collect();
    let data = Data {
        thresholds: results.clusters.iter().map(|cut| cut.threshold).collect(),
        tasks: results.tasks.iter().map(task).collect(),
        neurons: found
            .neurons
            .iter()
            .map(|neuron| describe(results, neuron, &clusters, &ranks))
            .collect(),
    };
    let place = |n: &ExploredNeuron| format!("layer {}, unit {}", n.layer, n.unit);
    Some(Explorer {
        neurons: found.neurons.iter().map(|n| (n.neuron, place(n))).collect(),
        wanted: found.wanted.min(found.neurons.len()),
        all: found.wanted,
        data: values::in_script(&values::json(&data)),
    })
}

/// Neurons by cluster.
fn members(labels: &[u32]) -> BTreeMap<u32, Vec<usize>> {
    let mut members = BTreeMap::<u32, Vec<usize>>::new();
    for (neuron, &label) in labels.iter().enumerate() {
        members.entry(label).or_default().push(neuron);
    }
    members
}

/// Place of each neuron in each ordering of a task, from 1.
fn ranks(task: &TaskResults) -> Vec<BTreeMap<usize, usize>> {
    let of = |order: &Vec<usize>| (1..).zip(order).map(|(rank, &n)| (n, rank)).collect();
    task.rankings.values().map(|r| of(&r.order)).collect()
}

fn task(task: &TaskResults) -> TaskData<'_> {
    let set = |ranking: &str, delta| {
        let (ranking, delta) = (format::ranking(ranking), format::delta(delta));
        format!("{ranking}, δ {delta}")
    };
    TaskData {
        name: &task.name,
        classes: task.classes.iter().map(|class| &*class.name).collect(),
        rankings: task
            .rankings
            .keys()
            .map(|key| format::ranking(key))
            .collect(),
        sets: task
            .minimal_sets
            .iter()
            .map(|found| set(&found.ranking, found.delta))
            .collect(),
    }
}

fn describe<'a>(
    results: &'a StudyResults,
    neuron: &'a ExploredNeuron,
    clusters: &[BTreeMap<u32, Vec<usize>>],
    ranks: &[Vec<BTreeMap<usize, usize>>],
) -> NeuronData<'a> {
    let id = neuron.neuron;
    let layer_of = |id: usize| results.data.layer_of.get(id).copied().unwrap_or_default();
    let cuts = results.clusters.iter().zip(clusters);
    let cuts = cuts.filter_map(|(cut, members)| {
        let label = *cut.labels.get(id)?;
        let members = members.get(&label)?;
        let medoid = *cut.representatives.get(label as usize)?;
        let first = members.iter().take(MEMBERS).copied();
        Some((members.len(), medoid, first.collect()))
    });
    let word = |word: &TopWord| (short(&word.word), word.z, word.score, word.count);
    let tasks = results.tasks.iter().zip(&neuron.tasks).zip(ranks);
    NeuronData {
        id,
        layer: neuron.layer,
        unit: neuron.unit,
        mean: neuron.mean,
        sd: neuron.sd,
        low: neuron.low,
        high: neuron.high,
        partners: neuron
            .partners
            .iter()
            .map(|other| (other.neuron, layer_of(other.neuron), other.r))
            .collect(),
        words: neuron.top_words.iter().map(word).collect(),
        cuts: cuts.collect(),
        excerpts: neuron
            .excerpts
            .iter()
            .map(|e| ExcerptData {
                sentence: e.sentence,
                cut: [e.cut_before, e.cut_after],
                words: e.words.iter().map(|word| short(word)).collect(),
                z: e.z.clone(),
            })
            .collect(),
        tasks: tasks
            .map(|((task, of), ranks)| of_task(id, task, of, ranks))
            .collect(),
    }
}

fn of_task<'a>(
    id: usize,
    task: &TaskResults,
    of: &'a NeuronOfTask,
    ranks: &[BTreeMap<usize, usize>],
) -> OfTask<'a> {
    let mut classes: Vec<(usize, f32, &[u32])> = of
        .weights
        .iter()
        .zip(&of.counts)
        .enumerate()
        .map(|(class, (&weight, counts))| (class, weight, &**counts))
        .collect();
    let mut rest = None;
    if classes.len() > CLASSES {
        classes.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()).then(a.0.cmp(&b.0)));
        let bins = classes.iter().map(|class| class.2.len()).max().unwrap_or(0);
        let mut sums = vec![0; bins];
        for (_, _, counts) in classes.drain(CLASSES..) {
            sums.iter_mut().zip(counts).for_each(|(sum, n)| *sum += n);
        }
        rest = Some(sums);
    }
    let salient = task.salient.per_class.iter().enumerate();
    let sets = task.minimal_sets.iter().enumerate();
    OfTask {
        ranks: ranks
            .iter()
            .map(|ranks| ranks.get(&id).copied().unwrap_or_default())
            .collect(),
        salient: salient
            .filter(|(_, neurons)| neurons.contains(&id))
            .map(|(class, _)| class)
            .collect(),
        sets: sets
            .filter(|(_, set)| set.neurons.contains(&id))
            .map(|(at, _)| at)
            .collect(),
        classes,
        rest,
    }
}

/// A word as far as it is shown.
fn short(word: &str) -> String {
    match word.char_indices().nth(LETTERS) {
        Some((end, _)) => format!("{}…", &word[..end]),
        None => word.to_owned(),
    }
}
