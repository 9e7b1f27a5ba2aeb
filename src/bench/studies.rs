//! A whole study, from activations in memory to results.

use std::path::Path;

use rand::RngExt;

use super::Size;
use super::inputs::random;
use super::measure::{Bench, Outcome, Workload};
use super::roofs::largest;
use crate::activations::{Activations, LayerMap};
use crate::error::Result;
use crate::labels::Labels;
use crate::ops::Backend;
use crate::split::{Dataset, Split, Tokens};
use crate::study::results::DeviceUsed;
use crate::study::{self, Spec};

/// Layers, units of each, samples of train (dev and test have a third each) and classes.
#[derive(Debug, Clone, Copy)]
struct Shape {
    layers: usize,
    units: usize,
    samples: usize,
    classes: usize,
}

fn shape(size: Size) -> Shape {
    let shape = |layers, units, samples, classes| Shape {
        layers,
        units,
        samples,
        classes,
    };
    match size {
        Size::Small => shape(3, 24, 600, 4),
        Size::Standard => shape(6, 128, 6_000, 8),
        Size::Large => shape(12, 128, 12_000, 16),
    }
}

/// A study with everything in it, once.
const SPEC: &str = r#"
name = "bench"
[data]
train = "train"
dev = "dev"
test = "test"
tasks = ["class"]
[probe]
lambda_ratios = [0.1, 0.01]
[clusters]
thresholds = [0.3, 0.5]
[layers]
deltas = [0.02]
[minimal_set]
deltas = [0.02]
ladder = [4, 16, 64]
disjoint = 1
bootstrap = 2
random_sets = 2
[combined]
deltas = [0.02]
thresholds = [0.5]
[control]
draws = 1
[sweep]
random_draws = 1
"#;

pub(super) fn workloads(size: Size) -> Vec<Workload> {
    let Shape {
        layers,
        units,
        samples,
        classes,
    } = shape(size);
    vec![Workload {
        name: "study".to_owned(),
        shape: format!("{samples} samples x {layers} layers of {units} units, {classes} classes"),
        what: "a whole study, from activations in memory to results",
        run: Box::new(run),
    }]
}

fn run(bench: &Bench<'_>) -> Result<Outcome> {
    let spec = Spec::parse(SPEC, Path::new("the study of the bench"))?;
    let data = data(shape(bench.options.size))?;
    let work = |backend: &Backend| {
        let device = DeviceUsed {
            kind: String::new(),
            name: String::new(),
            driver: String::new(),
            validation: Vec::new(),
            reason: String::new(),
        };
        study::run_on(&spec, &data, backend, device, &mut |_| {})
    };
    let (found, measured) = bench.measure_whole(&work)?;
    let gaps = found
        .tasks
        .iter()
        .map(|task| task.oracle.certificate.relative_gap);
    Ok(Outcome {
        error_is: "relative duality gap of the oracle, certified in f64",
        error: largest(gaps),
        tolerance: spec.probe.relative_gap,
        flop: None,
        bytes: None,
        units: None,
        measured,
    })
}

/// Every class shifts some units of every layer, the later layers' more.
fn data(shape: Shape) -> Result<Dataset> {
    let third = shape.samples / 3;
    let train = part(shape, shape.samples, 20)?;
    let (dev, test) = (part(shape, third, 21)?, part(shape, third, 22)?);
    Dataset::new(vec!["class".to_owned()], train, dev, test)
}

fn part(shape: Shape, samples: usize, seed: u64) -> Result<Split> {
    const WORDS: u32 = 60;
    const SENTENCE: usize = 12;
    let neurons = shape.layers * shape.units;
    let mut values = ndarray::Array2::zeros((samples, neurons));
    let (mut ids, mut words) = (Vec::new(), Vec::new());
    for (sample, mut row) in values.rows_mut().into_iter().enumerate() {
        let mut random = random(seed, sample);
        let class = random.random_range(0..shape.classes);
        let own_words = WORDS / shape.classes as u32;
        let word = class as u32 * own_words + random.random_range(0..own_words);
        ids.push(class as u32);
        words.push(format!("word {word}"));
        for (neuron, value) in row.iter_mut().enumerate() {
            let (layer, unit) = (neuron / shape.units, neuron % shape.units);
            let told = unit % shape.classes == class && unit % 4 == 0;
            let shift = if told { 0.4 * (layer + 1) as f32 } else { 0.0 };
            *value = shift + random.random_range(-1.0f32..1.0);
        }
    }
    let classes = (0..shape.classes).map(|class| format!("class {class}"));
    Ok(Split {
        activations: Activations::new(values, LayerMap::uniform(shape.layers, shape.units)?)?,
        labels: vec![Labels::new(ids, classes.collect())?],
        tokens: Some(Tokens {
            words,
            sentences: (0..samples)
                .map(|sample| (sample / SENTENCE) as u32)
                .collect(),
        }),
    })
}
