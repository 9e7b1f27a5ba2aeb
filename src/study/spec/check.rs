//! The range of every value.

use std::ops::RangeInclusive;

use super::{DataSpec, LadderSpec, MinimalSetSpec, ProbeSpec, Spec};

/// A value outside its range.
#[derive(Debug)]
pub(super) struct Fault {
    /// The path of its key.
    pub(super) key: Vec<&'static str>,
    /// The value and the allowed range.
    pub(super) problem: String,
    /// What to do.
    pub(super) fix: String,
}

type Checked = Result<(), Fault>;

fn fault(key: &[&'static str], problem: impl Into<String>, fix: impl Into<String>) -> Checked {
    Err(Fault {
        key: key.to_vec(),
        problem: problem.into(),
        fix: fix.into(),
    })
}

/// Checks every value, in the order of the module's table.
pub(super) fn check(spec: &Spec) -> Checked {
    if spec.name.trim().is_empty() {
        return fault(&["name"], "the name is empty", "Give the study a name");
    }
    data(&spec.data)?;
    probe(&spec.probe)?;
    let (deltas, distances) = (Range::below(0.0, 1.0), Range::closed(0.0, 2.0));
    let thresholds = &spec.clusters.thresholds;
    numbers(&["clusters", "thresholds"], thresholds, 1..=99, distances)?;
    numbers(&["layers", "deltas"], &spec.layers.deltas, 1..=20, deltas)?;
    minimal_set(&spec.minimal_set, (deltas, distances))?;
    let combined = &spec.combined;
    numbers(&["combined", "deltas"], &combined.deltas, 0..=20, deltas)?;
    number(&["combined", "set_delta"], combined.set_delta, deltas)?;
    let thresholds = &combined.thresholds;
    numbers(&["combined", "thresholds"], thresholds, 0..=99, distances)?;
    counts(spec)
}

fn minimal_set(spec: &MinimalSetSpec, (deltas, distances): (Range, Range)) -> Checked {
    numbers(&["minimal_set", "deltas"], &spec.deltas, 0..=20, deltas)?;
    let rankings: Vec<_> = spec.rankings.iter().map(|r| r.name()).collect();
    distinct(&["minimal_set", "rankings"], &rankings)?;
    if let LadderSpec::Sizes(sizes) = &spec.ladder
        && (sizes.is_empty() || sizes.contains(&0))
    {
        return fault(
            &["minimal_set", "ladder"],
            "the list is empty or holds a size of 0; sizes are 1 or more",
            "Give sizes of 1 or more, or the name of a ladder",
        );
    }
    let examined = spec.examined_delta;
    number(&["minimal_set", "examined_delta"], examined, deltas)?;
    count(&["minimal_set", "disjoint"], spec.disjoint, 0..=100)?;
    if spec.bootstrap == 1 {
        return fault(
            &["minimal_set", "bootstrap"],
            "1 resample has none to agree with",
            "Give 0 for none, or 2 to 1000",
        );
    }
    count(&["minimal_set", "bootstrap"], spec.bootstrap, 0..=1000)?;
    number(&["minimal_set", "equivalent"], spec.equivalent, distances)?;
    let sets = spec.random_sets;
    count(&["minimal_set", "random_sets"], sets, 0..=10_000)?;
    let (key, gap) = (&["minimal_set", "relative_gap"], spec.relative_gap);
    number(key, gap, Range::closed(1e-7, 0.1))
}

fn data(data: &DataSpec) -> Checked {
    for (name, part) in [
        ("train", &data.train),
        ("dev", &data.dev),
        ("test", &data.test),
    ] {
        if part.activations.as_os_str().is_empty() {
            return fault(
                &["data", name],
                "the file name is empty",
                "Name the file of activations",
            );
        }
    }
    distinct(&["data", "tasks"], &data.tasks)?;
    match &data.layers_units {
        Some(text) if layers_units(text).is_none() => fault(
            &["data", "layers_units"],
            format!("\"{text}\" is not of the form LAYERSxUNITS"),
            "Write \"7x384\" for 7 layers of 384 units",
        ),
        _ => Ok(()),
    }
}

/// Everything that is counted, and the share of mass.
fn counts(spec: &Spec) -> Checked {
    count(&["control", "draws"], spec.control.draws, 0..=100)?;
    let gap = spec.control.relative_gap;
    number(&["control", "relative_gap"], gap, Range::closed(1e-7, 0.1))?;
    let ablation: Vec<_> = spec.sweep.ablation.iter().map(|a| a.name()).collect();
    distinct(&["sweep", "ablation"], &ablation)?;
    let draws = spec.sweep.random_draws;
    count(&["sweep", "random_draws"], draws, 0..=1000)?;
    let concepts = &spec.concepts;
    number(&["concepts", "mass"], concepts.mass, Range::above(0.0, 1.0))?;
    count(
        &["concepts", "min_count"],
        concepts.min_count,
        1..=1_000_000,
    )?;
    count(&["concepts", "top_words"], concepts.top_words, 1..=1000)?;
    count(&["concepts", "neurons"], concepts.neurons, 0..=100_000)?;
    count(&["concepts", "explored"], concepts.explored, 0..=10_000)
}

fn probe(probe: &ProbeSpec) -> Checked {
    numbers(
        &["probe", "lambda_ratios"],
        &probe.lambda_ratios,
        1..=32,
        Range::above(0.0, 1.0),
    )?;
    for (key, value) in [("l1", probe.l1), ("l2", probe.l2)] {
        if let Some(value) = value {
            number(&["probe", key], value, Range::closed(0.0, 1e6))?;
        }
    }
    if probe.l2.is_some() && probe.l1.is_none() {
        return fault(
            &["probe", "l2"],
            "`l2` is fixed but `l1` is not",
            "Give `l1` as well, or `l2_per_l1` instead of `l2`",
        );
    }
    if probe.l1 == Some(0.0) && probe.l2.unwrap_or(0.0) == 0.0 {
        return fault(
            &["probe", "l1"],
            "`l1` and `l2` are both 0: separable data then have no optimum",
            "Give `l1` or `l2` a small positive value",
        );
    }
    number(
        &["probe", "l2_per_l1"],
        probe.l2_per_l1,
        Range::closed(0.0, 1000.0),
    )?;
    number(
        &["probe", "relative_gap"],
        probe.relative_gap,
        Range::closed(1e-7, 0.1),
    )?;
    count(&["probe", "max_passes"], probe.max_passes, 1..=1_000_000)
}

/// Layers and units of `7x384`; `None` where the text is not of that form or a number is 0.
pub fn layers_units(text: &str) -> Option<(usize, usize)> {
    let (layers, units) = text.split_once(['x', '×'])?;
    let positive = |s: &str| s.trim().parse::<usize>().ok().filter(|&n| n > 0);
    Some((positive(layers)?, positive(units)?))
}

/// An interval of numbers.
#[derive(Clone, Copy)]
struct Range {
    low: f64,
    high: f64,
    open_low: bool,
    open_high: bool,
}

impl Range {
    /// [low, high]
    fn closed(low: f64, high: f64) -> Self {
        Self {
            low,
            high,
            open_low: false,
            open_high: false,
        }
    }
    /// (low, high]
    fn above(low: f64, high: f64) -> Self {
        Self {
            open_low: true,
            ..Self::closed(low, high)
        }
    }
    /// [low, high)
    fn below(low: f64, high: f64) -> Self {
        Self {
            open_high: true,
            ..Self::closed(low, high)
        }
    }
    fn holds(self, value: f64) -> bool {
        (value > self.low || (value == self.low && !self.open_low))
            && (value < self.high || (value == self.high && !self.open_high))
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (open, close) = (
            if self.open_low { '(' } else { '[' },
            if self.open_high { ')' } else { ']' },
        );
        write!(f, "{open}{}, {}{close}", self.low, self.high)
    }
}

fn number(key: &[&'static str], value: f64, range: Range) -> Checked {
    if range.holds(value) {
        return Ok(());
    }
    fault(
        key,
        format!("{value} is outside {range}"),
        format!("Give a number in {range}"),
    )
}

fn numbers(
    key: &[&'static str],
    values: &[f64],
    lengths: RangeInclusive<usize>,
    range: Range,
) -> Checked {
    if !lengths.contains(&values.len()) {
        return fault(
            key,
            format!(
                "{} values; {} to {} are allowed",
                values.len(),
                lengths.start(),
                lengths.end()
            ),
            "Change the length of the list",
        );
    }
    for (at, &value) in values.iter().enumerate() {
        number(key, value, range)?;
        if values[..at].contains(&value) {
            return fault(
                key,
                format!("{value} stands there twice"),
                "Leave one of them out",
            );
        }
    }
    Ok(())
}

fn count(key: &[&'static str], value: usize, range: RangeInclusive<usize>) -> Checked {
    if range.contains(&value) {
        return Ok(());
    }
    let (low, high) = (range.start(), range.end());
    fault(
        key,
        format!("{value} is outside {low} to {high}"),
        format!("Give a whole number from {low} to {high}"),
    )
}

fn distinct<T: PartialEq + std::fmt::Display>(key: &[&'static str], values: &[T]) -> Checked {
    for (at, value) in values.iter().enumerate() {
        if values[..at].contains(value) {
            return fault(
                key,
                format!("\"{value}\" stands there twice"),
                "Leave one of them out",
            );
        }
    }
    Ok(())
}
