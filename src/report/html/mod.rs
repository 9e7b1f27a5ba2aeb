//! `report.html`: one file for people, which needs nothing beside it and asks nothing of a network.
//!
//! The page is `template.html` filled by minijinja, which escapes every text: names of classes, words and files come
//! from the data and may hold anything. Style and script are in the page; a content-security policy in it forbids
//! everything else. What the script shows stands in the page as well: the figures of each drawing in `data-values` beside it,
//! all digits of a number of a table in `data-sort` and `data-more`, the explorer's neurons as JSON that no script runs.
//! [`comparison`] is another page in the same manner.

mod answer;
mod certainty;
mod comparison;
mod explorer;
mod figures;
mod neurons;
mod redundancy;
mod spans;
mod tables;
mod values;

use std::collections::BTreeSet;

use minijinja::{Environment, value::Serde};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::report::format;
use crate::study::results::{Clustering, StudyResults, TaskResults};
use answer::Answer;
use certainty::Certainty;
pub use comparison::comparison;
use explorer::Explorer;
use figures::Figure;
use neurons::{Heat, Stack};
use redundancy::{LayerTable, Map};
use spans::Span;
use tables::Table;

const MACROS: &str = include_str!("macros.html");
const TEMPLATE: &str = include_str!("template.html");
const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = concat!(
    include_str!("script.js"),
    include_str!("map.js"),
    include_str!("explorer.js")
);

/// What a browser allows the page: our script and our style sheet, by their hashes, and nothing else, so that a text that
/// escaping missed would not run either. Style attributes are widths and heights that the template writes from numbers; they
/// differ from page to page, and have no hash. The hashes are of what stands between the tags, with the line feed before it;
/// a test computes them anew.
const POLICY: &str = "default-src 'none'; \
    script-src 'sha256-H/M+H2hSIJNqyf5T33sk6R32Z5fSYBgm4W3rBsafGsU='; \
    style-src-elem 'sha256-XHVsJYRiIBJ6VrEa/2M2yhOjP6KwUqxREptS+uBsG6w='; \
    style-src-attr 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// A name and what is to be said about it.
type Fact = (&'static str, String);

/// One task as the template shows it.
#[derive(Debug, Serialize)]
struct TaskView {
    name: String,
    above_chance: bool,
    answers: Vec<Answer>,
    layers: Vec<Figure>,
    layer_selection: Table,
    path: Vec<Figure>,
    oracle: Vec<Fact>,
    sweeps: Vec<Figure>,
    ladders: Option<Figure>,
    minimal_sets: Table,
    set_neurons: Table,
    search: String,
    certainty: Option<Certainty>,
    combined: Table,
    mass: String,
    heat: Heat,
    salient: Table,
    salient_words: bool,
    control: Option<Table>,
    set_selectivity: Option<Table>,
    control_facts: Vec<Fact>,
    classes: Table,
    certificates: Table,
    unconverged: usize,
}

/// The page as the template shows it.
#[derive(Debug, Serialize)]
struct Page<'a> {
    policy: &'static str,
    style: &'static str,
    script: &'static str,
    name: &'a str,
    version: &'a str,
    device: String,
    subtitle: String,
    warnings: Vec<Vec<Span<'a>>>,
    overview: Table,
    orderings: String,
    tasks: Vec<TaskView>,
    clustering: &'a Clustering,
    pairs: Vec<(String, String)>,
    clusters: Option<Figure>,
    sizes: Stack,
    windows: Stack,
    cuts: Table,
    map: Option<Map>,
    layers: Vec<LayerTable>,
    explorer: Option<Explorer>,
    data: Vec<Fact>,
    test_use: Table,
    test_probes: String,
    choices_after: usize,
    family: String,
    reproduce: Vec<Fact>,
    timings: Vec<(String, String, f64)>,
    seconds: String,
}

/// The report of a study as one HTML document.
///
/// # Errors
/// When the template cannot be filled, which is a bug of ours.
pub fn render(results: &StudyResults) -> Result<String> {
    let explored = explorer::explored(results);
    let page = Page {
        policy: POLICY,
        style: STYLE,
        script: SCRIPT,
        name: &results.name,
        version: &results.neurosieve_version,
        device: device(results),
        subtitle: subtitle(results),
        warnings: spans::all(&results.warnings),
        overview: tables::overview(results),
        orderings: orderings(results),
        tasks: results
            .tasks
            .iter()
            .map(|task| view(results, task, &explored))
            .collect(),
        clustering: &results.clustering,
        pairs: pairs(results),
        clusters: figures::clusters(results),
        sizes: neurons::cluster_sizes(&results.clusters),
        windows: neurons::cluster_windows(&results.clusters),
        cuts: neurons::cuts(results),
        map: redundancy::map(results),
        layers: redundancy::layers(results),
        explorer: explorer::explorer(results),
        data: data(results),
        test_use: certainty::test_use(results),
        test_probes: format::counted(results.test_use.probes, "probe"),
        family: format::counted(results.loss_claims.family, "comparison"),
        choices_after: results.test_use.choices_after,
        reproduce: reproduce(results),
        timings: timings(results),
        seconds: values::rows(
            &["step", "seconds"],
            results.timings.iter().map(|t| (&t.step, t.seconds)),
        ),
    };
    filled("report.html", TEMPLATE, &page)
}

/// A template with its values; the name of the page is for the error.
fn filled(name: &str, template: &str, page: &impl Serialize) -> Result<String> {
    let mut templates = Environment::new();
    templates
        .add_template("macros.html", MACROS)
        .and_then(|()| templates.add_template(name, template))
        .and_then(|()| templates.get_template(name))
        .and_then(|template| template.render(Serde(page)))
        .map_err(|e| Error::invalid(name, format!("{e:#}"), "This is a bug: report it"))
}

fn view(results: &StudyResults, task: &TaskResults, explored: &BTreeSet<usize>) -> TaskView {
    TaskView {
        name: task.name.clone(),
        above_chance: task.above_chance,
        answers: answer::answers(results, task),
        layers: figures::layers(results, task),
        layer_selection: tables::layer_selection(task),
        path: figures::lambda_path(task),
        oracle: oracle(results, task),
        sweeps: figures::sweeps(results, task),
        ladders: figures::ladders(results, task),
        minimal_sets: tables::minimal_sets(results, task),
        set_neurons: tables::set_neurons(task, explored),
        search: task
            .minimal_sets
            .first()
            .map_or_else(String::new, |set| set.search.clone()),
        certainty: certainty::certainty(task),
        combined: tables::combined(results, task),
        mass: format::delta(task.salient.mass),
        heat: neurons::heat(results, task),
        salient: neurons::salient(task, explored),
        salient_words: neurons::have_words(task),
        control: tables::control(task),
        set_selectivity: tables::set_selectivity(results, task),
        control_facts: control(task),
        classes: tables::classes(task),
        certificates: tables::certificates(task),
        unconverged: tables::unconverged(task),
    }
}

fn device(results: &StudyResults) -> String {
    let device = &results.device;
    let driver = if device.driver.is_empty() {
        String::new()
    } else {
        format!(", {}", device.driver)
    };
    format!("{}: {}{driver}", device.kind.to_uppercase(), device.name)
}

/// What the orderings of the minimal sets go by.
fn orderings(results: &StudyResults) -> String {
    let sets = results.tasks.iter().flat_map(|task| &task.minimal_sets);
    let used: BTreeSet<&str> = sets.map(|set| set.ranking.as_str()).collect();
    let known = used.into_iter().filter_map(|name| {
        let by = format::goes_by(name)?;
        Some((format::ranking(name), by))
    });
    let each = known.enumerate().map(|(place, (name, by))| {
        let orders = if place == 0 { " orders neurons" } else { "" };
        format!("{name}{orders} by {by}")
    });
    match each.collect::<Vec<_>>().join(", ") {
        none if none.is_empty() => none,
        said => format!("{said}."),
    }
}

fn subtitle(results: &StudyResults) -> String {
    let samples = &results.data.samples;
    format!(
        "{} of {} · {} train, {} dev, {} test samples · {}",
        format::counted(results.data.neurons, "neuron"),
        format::counted(results.data.layers.len(), "layer"),
        format::count(samples.train),
        format::count(samples.dev),
        format::count(samples.test),
        format::counted(results.tasks.len(), "task"),
    )
}

fn oracle(results: &StudyResults, task: &TaskResults) -> Vec<Fact> {
    let oracle = &task.oracle;
    vec![
        ("λ1", format::number(oracle.l1)),
        ("λ2", format::number(oracle.l2)),
        ("objective", format!("{:.6}", oracle.objective)),
        ("train", format::percent(oracle.train_accuracy)),
        ("dev", format::percent(oracle.dev_accuracy)),
        (
            "test",
            format!(
                "{} ({})",
                format::percent(oracle.test_accuracy),
                format::interval(oracle.test_interval)
            ),
        ),
        ("weights not zero", format::count(oracle.nonzero_weights)),
        (
            "neurons used",
            format!(
                "{} of {}",
                format::count(oracle.neurons_used),
                format::count(results.data.neurons)
            ),
        ),
    ]
}

fn control(task: &TaskResults) -> Vec<Fact> {
    task.control.as_ref().map_or_else(Vec::new, |control| {
        vec![
            ("oracle, test", format::percent(task.oracle.test_accuracy)),
            ("control, mean", format::percent(control.accuracy)),
            (
                "selectivity",
                format!("{} points", format::points(control.selectivity)),
            ),
            (
                "its 95 % interval",
                control
                    .interval
                    .map_or_else(|| "–".to_owned(), format::points_interval),
            ),
            (
                "half-range of the draws",
                format!(
                    "{} points",
                    format::points(control.spread).trim_start_matches('+')
                ),
            ),
            (
                "test words seen in train",
                format::percent(control.seen_in_train),
            ),
        ]
    })
}

fn pairs(results: &StudyResults) -> Vec<(String, String)> {
    let neurons = results.data.neurons as f64;
    let all = (neurons * (neurons - 1.0) / 2.0).max(1.0);
    results
        .clustering
        .pairs_at_least
        .iter()
        .map(|found| {
            (
                format!("pairs with |r| ≥ {}", format::plain(found.r)),
                format!(
                    "{} ({})",
                    format::count(usize::try_from(found.pairs).unwrap_or(usize::MAX)),
                    format::percent(found.pairs as f64 / all)
                ),
            )
        })
        .collect()
}

/// Neurons by id with their place, at most the first dozen.
fn named(results: &StudyResults, ids: &[usize]) -> String {
    if ids.is_empty() {
        return "none".to_owned();
    }
    let data = &results.data;
    let mut names: Vec<String> = ids
        .iter()
        .take(12)
        .map(|&id| match (data.layer_of.get(id), data.unit_of.get(id)) {
            (Some(layer), Some(unit)) => format!("{id} (layer {layer}, unit {unit})"),
            _ => id.to_string(),
        })
        .collect();
    if ids.len() > names.len() {
        names.push(format!(
            "and {} more",
            format::count(ids.len() - names.len())
        ));
    }
    names.join(", ")
}

fn data(results: &StudyResults) -> Vec<Fact> {
    let data = &results.data;
    let layers: Vec<String> = data.layers.iter().map(u32::to_string).collect();
    let dead: Vec<String> = data.dead_layers.iter().map(u32::to_string).collect();
    let part =
        |samples: usize, file: &str| format!("{} · {file}", format::counted(samples, "sample"));
    vec![
        ("Train", part(data.samples.train, &data.files.train)),
        ("Dev", part(data.samples.dev, &data.files.dev)),
        ("Test", part(data.samples.test, &data.files.test)),
        ("Neurons", format::count(data.neurons)),
        ("Layers", layers.join(", ")),
        ("Constant neurons", named(results, &data.constant)),
        (
            "Nearly constant neurons",
            named(results, &data.nearly_constant),
        ),
        (
            "Layers without a varying neuron",
            if dead.is_empty() {
                "none".to_owned()
            } else {
                dead.join(", ")
            },
        ),
        ("Device", device(results)),
        ("Why this device", results.device.reason.clone()),
    ]
}

fn reproduce(results: &StudyResults) -> Vec<Fact> {
    let mut facts = vec![
        ("Study", results.name.clone()),
        ("neurosieve", results.neurosieve_version.clone()),
        ("Seed", results.seed.to_string()),
        ("Device", device(results)),
        ("Train", results.data.files.train.clone()),
        ("Dev", results.data.files.dev.clone()),
        ("Test", results.data.files.test.clone()),
        ("Layout of results.json", results.schema_version.to_string()),
    ];
    if let Some(hashes) = &results.data.hashes {
        // Whole in results.json; so many digits tell any two files apart, and stay on one line.
        let short = |hash: &String| hash.chars().take(16).collect();
        facts.extend([
            ("BLAKE3 of train begins", short(&hashes.train)),
            ("BLAKE3 of dev begins", short(&hashes.dev)),
            ("BLAKE3 of test begins", short(&hashes.test)),
        ]);
    }
    facts
}

/// Steps with their seconds, and their share of the longest in percent.
fn timings(results: &StudyResults) -> Vec<(String, String, f64)> {
    let longest = results
        .timings
        .iter()
        .map(|t| t.seconds)
        .fold(1e-9, f64::max);
    results
        .timings
        .iter()
        .map(|t| {
            (
                t.step.clone(),
                format::seconds(t.seconds),
                t.seconds / longest * 100.0,
            )
        })
        .collect()
}
