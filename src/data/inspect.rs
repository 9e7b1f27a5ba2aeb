//! What a file holds, in numbers: shape, layers, constant neurons, values that are not finite, classes.

use serde::Serialize;

use super::Source;
use super::labels;
use crate::activations::Spread;
use crate::error::{Error, Result};

/// How many values that are not finite are listed with their place.
const LISTED: usize = 10;

/// How many words of the first sentence are kept.
const WORDS: usize = 12;

/// What [`inspect`] finds in one file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Inspection {
    /// Number of samples N.
    pub samples: usize,
    /// Number of neurons D.
    pub neurons: usize,
    /// Type of the stored elements: `F16`, `BF16`, `F32`, `F64`.
    pub dtype: &'static str,
    /// The layers, ascending.
    pub layers: Vec<LayerSummary>,
    /// Neurons that are [`Spread::Constant`], ascending. Such a neuron carries no information, and its correlation with
    /// every other is 0.
    pub constant: Vec<ConstantNeuron>,
    /// Neurons that are [`Spread::NearlyConstant`], ascending.
    pub nearly_constant: Vec<usize>,
    /// Layers of which every neuron is constant, ascending.
    pub dead_layers: Vec<u32>,
    /// How many values are NaN or infinite (as `f32`).
    pub non_finite: usize,
    /// The first ten of them, by row and neuron.
    pub first_non_finite: Vec<NonFinite>,
    /// Tasks with their classes, the primary task first.
    pub tasks: Vec<TaskSummary>,
    /// Number of sentences; `None` when the words are not known.
    pub sentences: Option<usize>,
    /// The first words of the first sentence.
    pub first_words: Vec<String>,
}

/// One layer. Statistics are over all finite values of its neurons; 0 when there are none.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerSummary {
    /// Number of the layer in the model.
    pub layer: u32,
    /// Neurons of this layer in the file.
    pub units: usize,
    /// Mean value.
    pub mean: f64,
    /// Standard deviation of the values (population).
    pub sd: f64,
    /// Smallest value.
    pub minimum: f32,
    /// Largest value.
    pub maximum: f32,
    /// Neurons that are constant.
    pub constant: usize,
}

/// A neuron that never changes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ConstantNeuron {
    /// Column.
    pub neuron: usize,
    /// Layer in the model.
    pub layer: u32,
    /// Unit in the layer.
    pub unit: u32,
    /// Its value in every sample (the smallest, where they differ by no more than f32 rounds).
    pub value: f32,
}

/// A value that is NaN or infinite.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NonFinite {
    /// Row.
    pub sample: usize,
    /// Column.
    pub neuron: usize,
    /// `NaN`, `inf` or `-inf`.
    pub value: String,
}

/// One task.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TaskSummary {
    /// Name.
    pub name: String,
    /// Classes in id order.
    pub classes: Vec<ClassCount>,
}

/// One class.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassCount {
    /// Name.
    pub name: String,
    /// Samples that have it.
    pub samples: usize,
}

/// Reads a file once, by row blocks, and counts. `extra` are label files for tasks that the file does not hold, as
/// (task, labels); they come after the file's own.
///
/// # Errors
/// When the file cannot be read, or labels or words do not fit the samples. Values that are not finite are counted.
pub fn inspect(source: &Source, extra: &[(String, super::LabelColumn)]) -> Result<Inspection> {
    let mut tasks = Vec::new();
    for name in source.task_names()? {
        if let Some(column) = source.labels(&name)? {
            tasks.push(task(source, &name, &column)?);
        }
    }
    for (name, column) in extra {
        tasks.push(task(source, name, column)?);
    }
    let (mut sentences, mut first_words) = (None, Vec::new());
    if let Some(tokens) = source.tokens()? {
        let mut numbers = tokens.sentences;
        let of_first = numbers.iter().take_while(|s| **s == numbers[0]).count();
        let shown = of_first.min(WORDS);
        first_words = tokens.words.into_iter().take(shown).collect();
        numbers.dedup();
        sentences = Some(numbers.len());
    }
    let columns = Columns::read(source)?;
    let map = source.layers();
    let spread = &columns.spread();
    // A neuron with values that are not finite is no constant one, however few the others are.
    let with = |wanted: Spread| {
        let columns = &columns;
        (0..source.neurons())
            .filter(move |&n| spread[n] == wanted && columns.count[n] == source.samples())
    };
    let constant: Vec<ConstantNeuron> = with(Spread::Constant)
        .map(|neuron| ConstantNeuron {
            neuron,
            layer: map.layer(neuron),
            unit: map.unit(neuron),
            value: columns.minimum[neuron],
        })
        .collect();
    let layers: Vec<LayerSummary> = map
        .layers()
        .into_iter()
        .map(|layer| columns.summary(layer, map.columns(layer), &constant))
        .collect();
    let dead = layers.iter().filter(|layer| layer.constant == layer.units);
    Ok(Inspection {
        samples: source.samples(),
        neurons: source.neurons(),
        dtype: source.dtype().name(),
        dead_layers: dead.map(|layer| layer.layer).collect(),
        nearly_constant: with(Spread::NearlyConstant).collect(),
        layers,
        constant,
        non_finite: columns.non_finite,
        first_non_finite: columns.first_non_finite,
        tasks,
        sentences,
        first_words,
    })
}

fn task(source: &Source, name: &str, column: &super::LabelColumn) -> Result<TaskSummary> {
    let count = column.ids.len();
    labels::check_rows(&column.path, count, name, source.path(), source.samples())?;
    let mut counts = vec![0; column.classes.len()];
    for &id in &column.ids {
        let count = counts.get_mut(id as usize).ok_or_else(|| {
            Error::invalid(
                format!("labels of task \"{name}\""),
                format!("class {id} of {}", column.classes.len()),
                "Give a name for every class id",
            )
        })?;
        *count += 1;
    }
    let classes = column.classes.iter().zip(counts);
    Ok(TaskSummary {
        name: name.to_owned(),
        classes: classes
            .map(|(name, samples)| ClassCount {
                name: name.clone(),
                samples,
            })
            .collect(),
    })
}

/// Running figures of every column, over its finite values.
struct Columns {
    minimum: Vec<f32>,
    maximum: Vec<f32>,
    count: Vec<usize>,
    /// Welford's running mean and sum of squared deviations.
    mean: Vec<f64>,
    squares: Vec<f64>,
    non_finite: usize,
    first_non_finite: Vec<NonFinite>,
}

impl Columns {
    fn read(source: &Source) -> Result<Self> {
        let (samples, neurons) = (source.samples(), source.neurons());
        let mut columns = Self {
            minimum: vec![f32::INFINITY; neurons],
            maximum: vec![f32::NEG_INFINITY; neurons],
            count: vec![0; neurons],
            mean: vec![0.0; neurons],
            squares: vec![0.0; neurons],
            non_finite: 0,
            first_non_finite: Vec::new(),
        };
        let rows = super::block_rows(neurons).min(samples);
        let mut block = vec![0.0; rows * neurons];
        for start in (0..samples).step_by(rows) {
            let block = &mut block[..rows.min(samples - start) * neurons];
            source.read_rows(start, block)?;
            for (row, values) in block.chunks_exact(neurons).enumerate() {
                for (neuron, &value) in values.iter().enumerate() {
                    columns.add(start + row, neuron, value);
                }
            }
        }
        Ok(columns)
    }

    fn add(&mut self, sample: usize, neuron: usize, value: f32) {
        if !value.is_finite() {
            self.non_finite += 1;
            if self.first_non_finite.len() < LISTED {
                self.first_non_finite.push(NonFinite {
                    sample,
                    neuron,
                    value: value.to_string(),
                });
            }
            return;
        }
        self.minimum[neuron] = self.minimum[neuron].min(value);
        self.maximum[neuron] = self.maximum[neuron].max(value);
        self.count[neuron] += 1;
        let deviation = f64::from(value) - self.mean[neuron];
        self.mean[neuron] += deviation / self.count[neuron] as f64;
        self.squares[neuron] += deviation * (f64::from(value) - self.mean[neuron]);
    }

    /// How much the finite values of every neuron vary.
    fn spread(&self) -> Vec<Spread> {
        let sd = self.squares.iter().zip(&self.count);
        let sd: Vec<f64> = sd
            .map(|(squares, &count)| (squares / count.max(1) as f64).sqrt())
            .collect();
        Spread::of_neurons(&self.mean, &sd)
    }

    fn summary(
        &self,
        layer: u32,
        columns: std::ops::Range<usize>,
        constant: &[ConstantNeuron],
    ) -> LayerSummary {
        let count: usize = self.count[columns.clone()].iter().sum();
        let share = |neuron: usize| self.count[neuron] as f64 / count.max(1) as f64;
        let mean: f64 = columns.clone().map(|n| share(n) * self.mean[n]).sum();
        // Within and between the columns (law of total variance).
        let variance: f64 = columns
            .clone()
            .filter(|&n| self.count[n] > 0)
            .map(|n| {
                let within = self.squares[n] / self.count[n] as f64;
                share(n) * (within + (self.mean[n] - mean).powi(2))
            })
            .sum();
        let or_zero = |value: f32| if count == 0 { 0.0 } else { value };
        let minimum = &self.minimum[columns.clone()];
        let maximum = &self.maximum[columns.clone()];
        LayerSummary {
            layer,
            units: columns.len(),
            mean,
            sd: variance.sqrt(),
            minimum: or_zero(minimum.iter().copied().fold(f32::INFINITY, f32::min)),
            maximum: or_zero(maximum.iter().copied().fold(f32::NEG_INFINITY, f32::max)),
            constant: constant.iter().filter(|c| c.layer == layer).count(),
        }
    }
}
