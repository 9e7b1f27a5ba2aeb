//! The charts of the comparison: every run has its colour and its shape in all of them.

use super::Task;
use crate::report::chart::{Axis, Chart, Course, Naming, Scale, Series, Style};
use crate::report::html::figures::Figure;
use crate::study::compare::results::RunTask;

fn style(run: usize) -> Style {
    Style {
        colour: 1 + run % 6,
        dashed: (run / 6) % 2 == 1,
    }
}

fn drawn(title: &str, caption: &str, wide: bool, chart: &Chart) -> Figure {
    Figure::of(title, chart, caption.to_owned(), wide)
}

/// Test accuracy of each run.
pub(super) fn accuracy(task: &Task<'_>) -> Figure {
    let series: Vec<Series> = (task.runs.iter())
        .map(|&(number, run)| Series {
            name: format!("run {}", number + 1),
            style: style(number),
            points: vec![((number + 1) as f64, run.test_accuracy)],
            intervals: vec![run.test_interval],
            course: Course::Marked,
        })
        .collect();
    let values = task.runs.iter().flat_map(|(_, run)| {
        let [low, high] = run.test_interval;
        [run.test_accuracy, low, high]
    });
    let last = task.runs.last().map_or(1, |(number, _)| number + 1);
    let every = last.div_ceil(14);
    drawn(
        "Accuracy on test",
        "A probe on all neurons of each run. Whiskers: 95 % intervals.",
        false,
        &Chart {
            title: format!(
                "Test accuracy of the oracle of each run, task {}",
                task.name
            ),
            width: 560.0,
            height: 350.0,
            right: 90.0,
            x: Axis {
                label: "run".to_owned(),
                scale: Scale::Linear,
                low: 0.5,
                high: last as f64 + 0.5,
                ticks: (1..=last)
                    .step_by(every)
                    .map(|run| (run as f64, run.to_string()))
                    .collect(),
                unit: "count",
            },
            y: Axis::shares("accuracy on test", values),
            rules: Vec::new(),
            mark: None,
            series,
            naming: Naming::AtEnd,
        },
    )
}

/// What share of a run's salient neurons sits at each relative depth or below it; `None` of a run that has none.
fn below(run: &RunTask) -> Option<Vec<(f64, f64)>> {
    let all: usize = run.salient_by_layer.iter().sum();
    let last = run.salient_by_layer.len().saturating_sub(1).max(1) as f64;
    if all == 0 {
        return None;
    }
    let mut so_far = 0;
    let points = (0_u32..).zip(&run.salient_by_layer).map(|(layer, count)| {
        so_far += count;
        (f64::from(layer) / last, so_far as f64 / all as f64)
    });
    Some(points.collect())
}

/// Where the salient neurons of every run sit.
pub(super) fn depth(task: &Task<'_>) -> Option<Figure> {
    let series: Vec<Series> = (task.runs.iter())
        .filter_map(|&(number, run)| {
            Some(Series {
                name: format!("run {}", number + 1),
                style: style(number),
                points: below(run)?,
                intervals: Vec::new(),
                course: Course::Steps,
            })
        })
        .collect();
    if series.is_empty() {
        return None;
    }
    Some(drawn(
        "Salient neurons up to each depth",
        "A curve that rises early is of a run whose salient neurons sit low. The area between two curves is the distance of the \
         table below.",
        true,
        &Chart {
            title: format!(
                "Share of the salient neurons up to each relative depth, by run, task {}",
                task.name
            ),
            width: 820.0,
            height: 400.0,
            right: 40.0,
            x: Axis {
                label: "relative depth: 0 is the lowest layer, 1 the highest".to_owned(),
                scale: Scale::Linear,
                low: 0.0,
                high: 1.0,
                ticks: [0.0, 0.25, 0.5, 0.75, 1.0]
                    .map(|at| (at, crate::report::format::plain(at)))
                    .into(),
                unit: "number",
            },
            y: Axis::shares("salient neurons up to there", [0.0, 1.0].into_iter()),
            rules: Vec::new(),
            mark: None,
            series,
            naming: Naming::Inline,
        },
    ))
}
