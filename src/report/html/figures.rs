//! The charts of the report.

use serde::Serialize;

use super::values;
use crate::report::chart::{Axis, Chart, Course, Naming, Rule, Series, Style};
use crate::report::format;
use crate::study::results::{LayerPoint, StudyResults, SweepResult, TaskResults};

/// A chart with its heading and how to read it.
#[derive(Debug, Serialize)]
pub(super) struct Figure {
    /// Heading.
    pub(super) title: String,
    /// The drawing, already escaped.
    pub(super) svg: String,
    /// The same figures, for the script.
    pub(super) values: String,
    /// How to read it.
    pub(super) caption: String,
    /// Whether it takes the whole width.
    pub(super) wide: bool,
}

impl Figure {
    pub(super) fn of(title: &str, chart: &Chart, caption: String, wide: bool) -> Self {
        Self {
            title: title.to_owned(),
            svg: chart.svg(),
            values: values::lines(chart),
            caption,
            wide,
        }
    }
}

const WIDE: (f64, f64) = (820.0, 420.0);
const HALF: (f64, f64) = (560.0, 350.0);

/// Colours of the neuron orderings by their place among the names; 0 stays for random.
fn ranking_colour(task: &TaskResults, name: &str) -> usize {
    if name == "random" {
        return 0;
    }
    task.rankings
        .keys()
        .filter(|key| *key != "random")
        .position(|key| key == name)
        .map_or(6, |at| 1 + at % 6)
}

fn oracle_rule(task: &TaskResults) -> Rule {
    Rule {
        name: format!("oracle {}", format::percent(task.oracle.test_accuracy)),
        style: solid(0),
        at: task.oracle.test_accuracy,
        band: Some(task.oracle.test_interval),
    }
}

fn majority_rule(task: &TaskResults) -> Rule {
    Rule {
        name: format!("majority {}", format::percent(task.majority_accuracy)),
        style: solid(0),
        at: task.majority_accuracy,
        band: None,
    }
}

fn solid(colour: usize) -> Style {
    Style {
        colour,
        dashed: false,
    }
}

fn dashed(colour: usize) -> Style {
    Style {
        colour,
        dashed: true,
    }
}

/// Everything that an axis of accuracies has to hold.
fn heights<'a>(series: &'a [Series], rules: &'a [Rule]) -> impl Iterator<Item = f64> + 'a {
    let points = series.iter().flat_map(|s| {
        let ends = s.intervals.iter().flatten().copied();
        s.points.iter().map(|point| point.1).chain(ends)
    });
    let across = rules
        .iter()
        .flat_map(|r| std::iter::once(r.at).chain(r.band.into_iter().flatten()));
    points.chain(across)
}

/// Accuracy of each layer alone, and of the layers up to each, on dev and test.
pub(super) fn layers(results: &StudyResults, task: &TaskResults) -> Vec<Figure> {
    let alone =
        "One probe for each layer. Whiskers: 95 % intervals on test; grey band: the oracle's.";
    let up_to = "One probe for all layers up to each. Layer selection takes the lowest layer whose dev accuracy stays \
                 within δ of the oracle's.";
    [
        ("Each layer alone", alone, &task.layers.independent, "layer"),
        (
            "Layers up to each",
            up_to,
            &task.layers.cumulative,
            "last layer",
        ),
    ]
    .into_iter()
    .filter(|(_, _, points, _)| !points.is_empty())
    .map(|(title, caption, points, axis)| {
        let line = |name: &str, style, value: fn(&LayerPoint) -> f64| Series {
            name: name.to_owned(),
            style,
            points: points
                .iter()
                .map(|p| (f64::from(p.layer), value(p)))
                .collect(),
            intervals: Vec::new(),
            course: Course::Marked,
        };
        let mut series = vec![
            line("dev", dashed(2), |p| p.dev_accuracy),
            line("test", solid(1), |p| p.test_accuracy),
        ];
        series[1].intervals = points.iter().map(|p| p.test_interval).collect();
        if axis == "layer" && points.iter().all(|p| p.selectivity.is_some()) {
            series.push(line("selectivity", dashed(3), |p| {
                p.selectivity.unwrap_or(0.0)
            }));
        }
        let rules = vec![oracle_rule(task), majority_rule(task)];
        let chart = Chart {
            title: format!("{title}: accuracy of task {}", task.name),
            width: HALF.0,
            height: HALF.1,
            right: 126.0,
            x: Axis::layers(axis, &results.data.layers),
            y: Axis::shares("accuracy", heights(&series, &rules)),
            rules,
            mark: None,
            series,
            naming: Naming::AtEnd,
        };
        Figure::of(title, &chart, caption.to_owned(), false)
    })
    .collect()
}

/// Accuracy and sparsity along the λ path.
pub(super) fn lambda_path(task: &TaskResults) -> Vec<Figure> {
    let path = &task.lambda_path;
    if path.is_empty() {
        return Vec::new();
    }
    let lambdas: Vec<f64> = path.iter().map(|p| p.l1).filter(|&l1| l1 > 0.0).collect();
    let line = |name: &str, style, value: &dyn Fn(usize) -> f64| Series {
        name: name.to_owned(),
        style,
        points: path
            .iter()
            .enumerate()
            .filter(|(_, p)| p.l1 > 0.0)
            .map(|(at, p)| (p.l1, value(at)))
            .collect(),
        intervals: Vec::new(),
        course: Course::Marked,
    };
    let chart = |title: &str, caption: &str, y: Axis, series: Vec<Series>| {
        let chart = Chart {
            title: format!("{title} of task {}", task.name),
            width: HALF.0,
            height: HALF.1,
            right: 90.0,
            x: Axis::lambdas("λ1 (weaker to the right)", &lambdas),
            y,
            rules: Vec::new(),
            mark: Some((
                task.oracle.l1,
                format!("chosen on dev: {}", format::number(task.oracle.l1)),
            )),
            series,
            naming: Naming::AtEnd,
        };
        Figure::of(title, &chart, caption.to_owned(), false)
    };
    let accuracies = vec![
        line("train", dashed(3), &|at| path[at].train_accuracy),
        line("dev", solid(2), &|at| path[at].dev_accuracy),
    ];
    let most = path.iter().map(|p| p.nonzero_weights).max().unwrap_or(0);
    vec![
        chart(
            "Accuracy along the λ path",
            "Where train keeps rising and dev does not, the probe learns the training samples by heart.",
            Axis::shares("accuracy", heights(&accuracies, &[])),
            accuracies,
        ),
        chart(
            "Weights that are not zero",
            "The L1 penalty makes weights exactly zero; this many are left.",
            Axis::counts("weights", most),
            vec![line("non-zero", solid(1), &|at| {
                path[at].nonzero_weights as f64
            })],
        ),
    ]
}

fn sweep_name(sweep: &SweepResult) -> String {
    let name = format::ranking(&sweep.ranking);
    match sweep.direction.as_str() {
        _ if sweep.ranking == "random" => format!("random (mean of {})", sweep.draws),
        "keep-bottom" => format!("{name}, bottom"),
        _ => format!("{name}, top"),
    }
}

/// One chart for each way of ablation: accuracy on test against the number of neurons kept.
pub(super) fn sweeps(results: &StudyResults, task: &TaskResults) -> Vec<Figure> {
    let mut ablations: Vec<&str> = task.sweeps.iter().map(|s| s.ablation.as_str()).collect();
    ablations.sort_unstable();
    ablations.dedup();
    let ablations = ablations.into_iter();
    ablations
        .map(|ablation| {
            let shown = task.sweeps.iter().filter(|s| s.ablation == ablation);
            let shown: Vec<&SweepResult> = shown.collect();
            let series: Vec<Series> = shown
                .iter()
                .map(|sweep| Series {
                    name: sweep_name(sweep),
                    style: Style {
                        colour: ranking_colour(task, &sweep.ranking),
                        dashed: sweep.direction == "keep-bottom",
                    },
                    points: sweep
                        .k
                        .iter()
                        .zip(&sweep.accuracy)
                        .map(|(&k, &accuracy)| (k as f64, accuracy))
                        .collect(),
                    intervals: Vec::new(),
                    course: Course::Straight,
                })
                .collect();
            let rules = vec![oracle_rule(task), majority_rule(task)];
            let (title, effect) = match ablation {
                "mean" => (
                    "The others replaced by their train mean",
                    "Replacing by the mean takes a neuron's information away and leaves the rest of the probe as it was.",
                ),
                "zero" => (
                    "The others replaced by zero",
                    "Zero is a value far from usual for many neurons, so part of the fall is the shift and not the loss of \
                     information.",
                ),
                other => (other, ""),
            };
            let chart = Chart {
                title: format!("Accuracy by neurons kept, {title}, task {}", task.name),
                width: WIDE.0,
                height: WIDE.1,
                right: 124.0,
                x: Axis::neurons("neurons kept", results.data.neurons),
                y: Axis::shares("accuracy on test", heights(&series, &rules)),
                rules,
                mark: None,
                series,
                naming: Naming::Inline,
            };
            let caption = format!(
                "The same probe at every number of neurons kept, not retrained: the first k of an ordering (solid) or the \
                 last k (dashed). {effect} Grey band: 95 % interval of the oracle."
            );
            Figure {
                values: values::sweeps(&chart, &shown),
                ..Figure::of(title, &chart, caption, true)
            }
        })
        .collect()
}

/// Dev accuracy of retrained prefixes of every ordering.
pub(super) fn ladders(results: &StudyResults, task: &TaskResults) -> Option<Figure> {
    let mut series: Vec<Series> = Vec::new();
    for set in &task.minimal_sets {
        let name = format::ranking(&set.ranking);
        let at = series.iter().position(|s| s.name == name);
        let line = match at {
            Some(at) => &mut series[at],
            None => {
                series.push(Series {
                    name,
                    style: solid(ranking_colour(task, &set.ranking)),
                    points: Vec::new(),
                    intervals: Vec::new(),
                    course: Course::Marked,
                });
                series.last_mut()?
            }
        };
        line.points.extend(
            set.ladder
                .iter()
                .map(|rung| (rung.size as f64, rung.dev_accuracy)),
        );
    }
    for line in &mut series {
        line.points
            .sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        line.points.dedup_by(|a, b| a.0 == b.0);
    }
    if series.iter().all(|line| line.points.is_empty()) {
        return None;
    }
    let mut deltas: Vec<f64> = task.minimal_sets.iter().map(|set| set.delta).collect();
    deltas.sort_by(f64::total_cmp);
    deltas.dedup();
    let dev = task.oracle.dev_accuracy;
    let mut rules = vec![Rule {
        name: format!("oracle {}", format::percent(dev)),
        style: solid(0),
        at: dev,
        band: None,
    }];
    rules.extend(deltas.iter().map(|delta| Rule {
        name: format!("− {}", format::delta(*delta)),
        style: solid(0),
        at: dev * (1.0 - delta),
        band: None,
    }));
    let chart = Chart {
        title: format!("Dev accuracy of retrained neuron sets, task {}", task.name),
        width: WIDE.0,
        height: WIDE.1,
        right: 124.0,
        x: Axis::neurons("neurons, a new probe at each size", results.data.neurons),
        y: Axis::shares("accuracy on dev", heights(&series, &rules)),
        rules,
        mark: None,
        series,
        naming: Naming::Inline,
    };
    let caption = "Sizes that the search tried. A set is minimal when it is the first to reach the line of its δ.";
    Some(Figure::of(
        "Retrained sets",
        &chart,
        caption.to_owned(),
        true,
    ))
}

/// Clusters against the threshold.
pub(super) fn clusters(results: &StudyResults) -> Option<Figure> {
    let neurons = results.data.neurons.max(1) as f64;
    let mut points: Vec<(f64, f64)> = results
        .clusters
        .iter()
        .map(|cut| (cut.threshold, cut.count as f64 / neurons))
        .collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    if points.is_empty() {
        return None;
    }
    let thresholds: Vec<f64> = points.iter().map(|point| point.0).collect();
    let chart = Chart {
        title: "Number of clusters as a share of the neurons, by threshold".to_owned(),
        width: HALF.0,
        height: HALF.1,
        right: 90.0,
        x: Axis::thresholds("threshold: largest distance inside a cluster", &thresholds),
        y: Axis::shares(
            "clusters as a share of neurons",
            points.iter().map(|p| p.1).chain([0.0, 1.0]),
        ),
        rules: Vec::new(),
        mark: None,
        series: vec![Series {
            name: "clusters".to_owned(),
            style: solid(1),
            points,
            intervals: Vec::new(),
            course: Course::Marked,
        }],
        naming: Naming::AtEnd,
    };
    let caption = "One dendrogram, cut at every threshold. At 100 % no two neurons were merged.";
    Some(Figure::of(
        "Clusters against the threshold",
        &chart,
        caption.to_owned(),
        false,
    ))
}
