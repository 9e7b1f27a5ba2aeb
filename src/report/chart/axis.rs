//! Axes: from values to places along a side of the drawing.

use crate::report::format;

/// How values are spread along an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Evenly.
    Linear,
    /// By their logarithm; only for values above 0.
    Log,
    /// By the logarithm of the value plus one: 0 is on the axis.
    LogPlusOne,
}

impl Scale {
    /// The name by which the page's script knows the scale.
    pub fn name(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::Log => "log",
            Self::LogPlusOne => "log1p",
        }
    }

    /// The value on an even scale.
    pub fn even(self, value: f64) -> f64 {
        match self {
            Self::Linear => value,
            Self::Log => value.max(f64::MIN_POSITIVE).ln(),
            Self::LogPlusOne => value.max(0.0).ln_1p(),
        }
    }
}

/// One axis.
#[derive(Debug, Clone)]
pub struct Axis {
    /// What is shown, with its unit.
    pub label: String,
    /// How values are spread.
    pub scale: Scale,
    /// The value at the left or lower end.
    pub low: f64,
    /// The value at the right or upper end; below `low` the axis runs backwards.
    pub high: f64,
    /// Where there are marks, and what stands at them.
    pub ticks: Vec<(f64, String)>,
    /// How the script reads a value out: `percent`, `count` or `number`.
    pub unit: &'static str,
}

impl Axis {
    /// Shares as percentages, with limits and ticks that hold all the values.
    pub fn shares(label: &str, values: impl Iterator<Item = f64>) -> Self {
        let (mut low, mut high) = limits(values).unwrap_or((0.0, 1.0));
        let pad = ((high - low) * 0.06).max(0.01);
        (low, high) = ((low - pad).max(0.0), (high + pad).min(1.0));
        let step = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2]
            .into_iter()
            .find(|step| (high - low) / step <= 6.0)
            .unwrap_or(0.25);
        Self {
            label: label.to_owned(),
            scale: Scale::Linear,
            low,
            high,
            ticks: multiples(step, low, high)
                .map(|at| (at, format!("{}%", format::plain(at * 100.0))))
                .collect(),
            unit: "percent",
        }
    }

    /// 0 … `most` neurons, wide where there are few.
    pub fn neurons(label: &str, most: usize) -> Self {
        let most = most.max(1);
        let mut ticks: Vec<usize> = std::iter::once(0)
            .chain((0..9).flat_map(|power| [1, 2, 5].map(|lead| lead * 10_usize.pow(power))))
            .take_while(|&at| at < most)
            .filter(|&at| at == 0 || (most as f64 / at as f64) > 1.5)
            .collect();
        ticks.push(most);
        Self {
            label: label.to_owned(),
            scale: Scale::LogPlusOne,
            low: 0.0,
            high: most as f64,
            ticks: ticks
                .into_iter()
                .map(|at| (at as f64, format::count(at)))
                .collect(),
            unit: "count",
        }
    }

    /// 0 … `most`, evenly.
    pub fn counts(label: &str, most: usize) -> Self {
        let high = most.max(1) as f64 * 1.05;
        let step = (0..12)
            .flat_map(|power| [1.0, 2.0, 5.0].map(|lead| lead * 10_f64.powi(power)))
            .find(|step| high / step <= 6.0)
            .unwrap_or(high);
        Self {
            label: label.to_owned(),
            scale: Scale::Linear,
            low: 0.0,
            high,
            ticks: multiples(step, 0.0, high)
                .map(|at| (at, format::count(at as usize)))
                .collect(),
            unit: "count",
        }
    }

    /// Layer numbers.
    pub fn layers(label: &str, layers: &[u32]) -> Self {
        let (low, high) = limits(layers.iter().map(|&l| f64::from(l))).unwrap_or((0.0, 1.0));
        let every = layers.len().div_ceil(14).max(1);
        let pad = if low < high { (high - low) * 0.03 } else { 0.5 };
        Self {
            label: label.to_owned(),
            scale: Scale::Linear,
            low: low - pad,
            high: high + pad,
            ticks: layers
                .iter()
                .step_by(every)
                .map(|&l| (f64::from(l), l.to_string()))
                .collect(),
            unit: "count",
        }
    }

    /// λ's, the strongest at the left.
    pub fn lambdas(label: &str, values: &[f64]) -> Self {
        let positive = values.iter().copied().filter(|&v| v > 0.0);
        let (weak, strong) = limits(positive).unwrap_or((1e-4, 1.0));
        let decades = (weak.log10().floor() as i32)..=(strong.log10().ceil() as i32);
        let leads: &[f64] = if strong / weak > 100.0 {
            &[1.0]
        } else {
            &[1.0, 2.0, 5.0]
        };
        Self {
            label: label.to_owned(),
            scale: Scale::Log,
            low: strong * 1.08,
            high: weak / 1.08,
            ticks: decades
                .flat_map(|power| leads.iter().map(move |lead| lead * 10_f64.powi(power)))
                .filter(|at| (weak / 1.08..=strong * 1.08).contains(at))
                .map(|at| (at, tick_number(at)))
                .collect(),
            unit: "number",
        }
    }

    /// Distances at which a dendrogram is cut.
    pub fn thresholds(label: &str, values: &[f64]) -> Self {
        let (low, high) = limits(values.iter().copied()).unwrap_or((0.0, 1.0));
        let pad = if low < high { (high - low) * 0.04 } else { 0.1 };
        let every = values.len().div_ceil(12).max(1);
        Self {
            label: label.to_owned(),
            scale: Scale::Linear,
            low: low - pad,
            high: high + pad,
            ticks: values
                .iter()
                .step_by(every)
                .map(|&v| (v, format::plain(v)))
                .collect(),
            unit: "number",
        }
    }

    /// Where a value is, from 0 (low end) to 1 (high end).
    pub fn share(&self, value: f64) -> f64 {
        let [low, high, at] = [self.low, self.high, value].map(|v| self.scale.even(v));
        if low == high {
            0.5
        } else {
            ((at - low) / (high - low)).clamp(0.0, 1.0)
        }
    }
}

fn tick_number(value: f64) -> String {
    if value >= 1e-3 {
        format::plain(value)
    } else {
        format!("{value:e}").replace('-', "−")
    }
}

fn limits(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values
        .filter(|v| v.is_finite())
        .fold(None, |limits, v| match limits {
            None => Some((v, v)),
            Some((low, high)) => Some((low.min(v), high.max(v))),
        })
}

fn multiples(step: f64, low: f64, high: f64) -> impl Iterator<Item = f64> {
    let first = (low / step).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    (first..=last).map(move |n| n as f64 * step)
}
