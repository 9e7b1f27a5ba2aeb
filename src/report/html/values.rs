//! The figures behind a drawing, with all their digits: the script reads them out beside the pointer and offers them as CSV.

use serde::Serialize;

use crate::report::chart::{Chart, Course, Series};
use crate::study::results::SweepResult;

/// A line chart: what its axes are, and its lines.
#[derive(Debug, Serialize)]
struct Lines<'a> {
    x: &'a str,
    y: &'a str,
    lines: Vec<Line<'a>>,
}

/// One line.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Line<'a> {
    Points {
        name: &'a str,
        x: Vec<f64>,
        y: Vec<f64>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        low: Vec<f64>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        high: Vec<f64>,
        /// Whether a value holds up to the next point.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        held: bool,
    },
    /// x = 0, 1 …; y is the sum of the steps up to there ÷ `draws` ÷ `of`. A fifth of the bytes of the same as points.
    Counts {
        name: &'a str,
        steps: Vec<i64>,
        draws: usize,
        of: usize,
    },
}

fn points(series: &Series) -> Line<'_> {
    Line::Points {
        name: &series.name,
        x: series.points.iter().map(|p| p.0).collect(),
        y: series.points.iter().map(|p| p.1).collect(),
        low: series.intervals.iter().map(|ends| ends[0]).collect(),
        high: series.intervals.iter().map(|ends| ends[1]).collect(),
        held: series.course == Course::Steps,
    }
}

/// A sweep as counts, where these give its accuracies to the last bit.
fn counts<'a>(name: &'a str, sweep: &SweepResult) -> Option<Line<'a>> {
    let (draws, of) = (sweep.draws, sweep.total);
    let mut before = 0_i64;
    let mut steps = Vec::with_capacity(sweep.correct.len());
    for (at, correct) in sweep.correct.iter().enumerate() {
        let sum = (correct * draws as f64).round();
        let same = sum / draws as f64 / of as f64 == *sweep.accuracy.get(at)?;
        if sweep.k.get(at) != Some(&at) || !same || sum.abs() > 1e15 {
            return None;
        }
        steps.push(sum as i64 - before);
        before = sum as i64;
    }
    Some(Line::Counts {
        name,
        steps,
        draws,
        of,
    })
}

/// The lines of a chart.
pub(super) fn lines(chart: &Chart) -> String {
    json(&Lines {
        x: &chart.x.label,
        y: &chart.y.label,
        lines: chart.series.iter().map(points).collect(),
    })
}

/// The lines of a chart of sweeps, one each.
pub(super) fn sweeps(chart: &Chart, sweeps: &[&SweepResult]) -> String {
    let each = chart.series.iter().zip(sweeps);
    let counted = each.map(|(series, sweep)| counts(&series.name, sweep));
    match counted.collect::<Option<Vec<Line<'_>>>>() {
        Some(counted) => json(&Lines {
            x: &chart.x.label,
            y: &chart.y.label,
            lines: counted,
        }),
        None => lines(chart),
    }
}

/// A table: the names of its columns, then its rows.
pub(super) fn rows<R: Serialize>(columns: &[&str], rows: impl Iterator<Item = R>) -> String {
    let rows: Vec<R> = rows.collect();
    json(&(columns, rows))
}

/// As JSON.
pub(super) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("plain data are JSON")
}

/// JSON that may stand between the tags of a script: no character is left that HTML or a script could take for anything else.
pub(super) fn in_script(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for letter in json.chars() {
        match letter {
            '<' => out.push_str("\\u003c"),
            '>' => out.push_str("\\u003e"),
            '&' => out.push_str("\\u0026"),
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            other => out.push(other),
        }
    }
    out
}
