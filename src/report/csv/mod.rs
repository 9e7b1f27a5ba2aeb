//! `tables/*.csv`: every figure of a study in long form, one row a figure, for spreadsheets, pandas and R.
//!
//! | file | one row for each |
//! |---|---|
//! | `oracle.csv` | task: the probe on all neurons |
//! | `classes.csv` | task and class |
//! | `lambda_path.csv` | task and λ |
//! | `layers.csv` | task, kind (`independent`, `cumulative`) and layer |
//! | `layer_selection.csv` | task and δ |
//! | `rankings.csv`, `class_rankings.csv` | task, ordering and neuron; the same for each class |
//! | `sweeps.csv` | task, ordering, direction, ablation and number of neurons kept |
//! | `minimal_sets.csv`, `ladders.csv` | task, ordering and δ; each size that the search tried |
//! | `disjoint_sets.csv` | task, ordering and set of those that share no neuron |
//! | `stability.csv`, `selection_frequency.csv` | task and ordering; with neuron of the minimal set |
//! | `random_sets.csv` | task and ordering: the minimal set beside random ones |
//! | `combined.csv` | task, layer δ, set δ and threshold |
//! | `control.csv` | task and draw |
//! | `set_selectivity.csv` | task, ordering and δ: the minimal set beside control tasks on its neurons |
//! | `salient_layers.csv` | task, class and layer |
//! | `salient_neurons.csv`, `top_words.csv` | task, neuron and class; task, neuron and word |
//! | `certificates.csv` | task and fit |
//! | `clusters.csv`, `cluster_sizes.csv`, `cluster_windows.csv` | threshold; with size; with layers spanned |
//! | `cluster_labels.csv` | threshold and neuron |
//! | `layer_redundancy.csv` | two layers: \|r\| between their neurons |
//! | `correlation_map.csv`, `dendrogram_order.csv` | two groups of neurons: mean \|r\|; neuron, in the dendrogram's order |
//! | `neurons.csv`, `neuron_partners.csv`, `neuron_words.csv` | neuron of the explorer; with partner; with word |
//! | `neuron_weights.csv`, `neuron_histograms.csv` | task, neuron and class; with bin of its values in train |
//! | `neuron_excerpts.csv` | neuron, sentence of train and token |
//! | `test_use.csv` | task and kind of probe that was evaluated on test |
//! | `timings.csv` | step |
//!
//! Accuracies are shares and numbers have all their digits; lists of neuron ids are separated by spaces; what does not
//! exist is an empty field. Words and names are as in the data, quoted where CSV needs it; an apostrophe stands before those
//! that a spreadsheet would run as a formula (`=HYPERLINK(…)`, `-LRB-`).

mod certainty;
mod explored;
mod formula;
mod neurons;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::study::results::{CertificateRecord, Paired, StudyResults, TaskResults};

/// All tables: file name and contents (UTF-8, comma, header line).
///
/// # Errors
/// When a record cannot be written as CSV, which is a bug of ours.
pub fn tables(results: &StudyResults) -> Result<Vec<(String, Vec<u8>)>> {
    [
        oracle(results),
        classes(results),
        lambda_path(results),
        layers(results),
        layer_selection(results),
        neurons::rankings(results),
        neurons::class_rankings(results),
        sweeps(results),
        minimal_sets(results),
        ladders(results),
        certainty::disjoint(results),
        certainty::stability(results),
        certainty::frequencies(results),
        certainty::random_sets(results),
        combined(results),
        control(results),
        certainty::set_selectivity(results),
        neurons::salient_layers(results),
        neurons::salient_neurons(results),
        neurons::top_words(results),
        certificates(results),
        neurons::clusters(results),
        neurons::cluster_sizes(results),
        neurons::cluster_windows(results),
        neurons::cluster_labels(results),
        explored::layers(results),
        explored::map(results),
        explored::order(results),
        explored::described(results),
        explored::partners(results),
        explored::words(results),
        explored::weights(results),
        explored::histograms(results),
        explored::excerpts(results),
        certainty::test_use(results),
        timings(results),
    ]
    .into_iter()
    .map(|sheet| sheet.and_then(Sheet::finish))
    .collect()
}

/// A table that is being written.
struct Sheet {
    name: &'static str,
    writer: ::csv::Writer<Vec<u8>>,
}

impl Sheet {
    /// `columns` is the header line, separated by spaces.
    fn new(name: &'static str, columns: &str) -> Result<Self> {
        let mut writer = ::csv::WriterBuilder::new()
            .has_headers(false)
            .from_writer(Vec::new());
        writer
            .write_record(columns.split_whitespace())
            .map_err(|e| broken(name, &e))?;
        Ok(Self { name, writer })
    }

    /// One row; nested tuples are flattened.
    fn row(&mut self, row: impl Serialize) -> Result<()> {
        self.writer
            .serialize(row)
            .map_err(|e| broken(self.name, &e))
    }

    fn finish(self) -> Result<(String, Vec<u8>)> {
        let bytes = self
            .writer
            .into_inner()
            .map_err(|e| broken(self.name, e.error()))?;
        Ok((self.name.to_owned(), formula::without(self.name, bytes)?))
    }
}

fn broken(name: &str, problem: &dyn std::error::Error) -> Error {
    Error::invalid(name, problem.to_string(), "This is a bug: report it")
}

fn ids(neurons: &[usize]) -> String {
    let ids: Vec<String> = neurons.iter().map(usize::to_string).collect();
    ids.join(" ")
}

/// Columns of [`optimality`].
const OPTIMALITY: &str =
    "kkt kkt_relative duality_gap relative_gap passes converged certified_zeros certified_nonzeros";

fn optimality(c: &CertificateRecord) -> impl Serialize {
    (
        (c.kkt, c.kkt_relative, c.duality_gap, c.relative_gap),
        (
            c.passes,
            c.converged,
            c.certified_zeros,
            c.certified_nonzeros,
        ),
    )
}

/// Columns of [`paired`].
const PAIRED: &str = "only_oracle only_other difference difference_low difference_high p p_holm";

fn paired(p: &Paired) -> impl Serialize {
    let counts = (p.only_oracle, p.only_other);
    (counts, p.difference, p.interval, (p.p, p.p_holm))
}

fn oracle(results: &StudyResults) -> Result<Sheet> {
    let mut sheet = Sheet::new(
        "oracle.csv",
        "task l1 l2 train_accuracy dev_accuracy test_accuracy test_low test_high majority_accuracy above_chance objective \
         nonzero_weights neurons_used",
    )?;
    for task in &results.tasks {
        let o = &task.oracle;
        sheet.row((
            (
                &task.name,
                o.l1,
                o.l2,
                o.train_accuracy,
                o.dev_accuracy,
                o.test_accuracy,
            ),
            (
                o.test_interval,
                task.majority_accuracy,
                task.above_chance,
                o.objective,
            ),
            (o.nonzero_weights, o.neurons_used),
        ))?;
    }
    Ok(sheet)
}

fn classes(results: &StudyResults) -> Result<Sheet> {
    let mut sheet = Sheet::new("classes.csv", "task class train dev test test_recall")?;
    for task in &results.tasks {
        for class in &task.classes {
            let samples = &class.samples;
            sheet.row((
                &task.name,
                &class.name,
                samples.train,
                samples.dev,
                samples.test,
                class.test_recall,
            ))?;
        }
    }
    Ok(sheet)
}

fn lambda_path(results: &StudyResults) -> Result<Sheet> {
    let mut sheet = Sheet::new(
        "lambda_path.csv",
        "task l1 l2 train_accuracy dev_accuracy dev_log_loss nonzero_weights",
    )?;
    for task in &results.tasks {
        for p in &task.lambda_path {
            sheet.row((
                &task.name,
                p.l1,
                p.l2,
                p.train_accuracy,
                p.dev_accuracy,
                p.dev_log_loss,
                p.nonzero_weights,
            ))?;
        }
    }
    Ok(sheet)
}

fn layers(results: &StudyResults) -> Result<Sheet> {
    let mut sheet = Sheet::new(
        "layers.csv",
        "task kind layer neurons l1 dev_accuracy test_accuracy test_low test_high selectivity",
    )?;
    for task in &results.tasks {
        for (kind, points) in [
            ("independent", &task.layers.independent),
            ("cumulative", &task.layers.cumulative),
        ] {
            for p in points {
                sheet.row((
                    (&task.name, kind, p.layer, p.neurons, p.l1),
                    (
                        p.dev_accuracy,
                        p.test_accuracy,
                        p.test_interval,
                        p.selectivity,
                    ),
                ))?;
            }
        }
    }
    Ok(sheet)
}

fn layer_selection(results: &StudyResults) -> Result<Sheet> {
    let mut sheet = Sheet::new(
        "layer_selection.csv",
        "task delta layer neurons dev_accuracy test_accuracy",
    )?;
    for task in &results.tasks {
        for c in &task.layer_selection {
            sheet.row((
                &task.name,
                c.delta,
                c.layer,
                c.neurons,
                c.dev_accuracy,
                c.test_accuracy,
            ))?;
        }
    }
    Ok(sheet)
}

fn sweeps(results: &StudyResults) -> Result<Sheet> {
    let mut sheet = Sheet::new(
        "sweeps.csv",
        "task ranking direction ablation k correct accuracy total draws",
    )?;
    for task in &results.tasks {
        for sweep in &task.sweeps {
            let points = sweep.k.iter().zip(&sweep.correct).zip(&sweep.accuracy);
            for ((k, correct), accuracy) in points {
                sheet.row((
                    (
                        &task.name,
                        &sweep.ranking,
                        &sweep.direction,
                        &sweep.ablation,
                    ),
                    (k, correct, accuracy, sweep.total, sweep.draws),
                ))?;
            }
        }
    }
    Ok(sheet)
}

fn minimal_sets(results: &StudyResults) -> Result<Sheet> {
    let mut sheet = Sheet::new(
        "minimal_sets.csv",
        &format!(
            "task ranking delta search size dev_accuracy test_accuracy test_low test_high {PAIRED} neurons"
        ),
    )?;
    for task in &results.tasks {
        for set in &task.minimal_sets {
            sheet.row((
                (&task.name, &set.ranking, set.delta, &set.search, set.size),
                (set.dev_accuracy, set.test_accuracy, set.test_interval),
                (paired(&set.against_oracle), ids(&set.neurons)),
            ))?;
        }
    }
    Ok(sheet)
}

fn ladders(results: &StudyResults) -> Result<Sheet> {
    let mut sheet = Sheet::new("ladders.csv", "task ranking delta size dev_accuracy")?;
    for task in &results.tasks {
        for set in &task.minimal_sets {
            for rung in &set.ladder {
                sheet.row((
                    &task.name,
                    &set.ranking,
                    set.delta,
                    rung.size,
                    rung.dev_accuracy,
                ))?;
            }
        }
    }
    Ok(sheet)
}

fn combined(results: &StudyResults) -> Result<Sheet> {
    let mut sheet = Sheet::new(
        "combined.csv",
        &format!(
            "task delta set_delta threshold layer layer_neurons clusters clusters_dev_accuracy size dev_accuracy \
             test_accuracy test_low test_high {PAIRED} neurons"
        ),
    )?;
    for task in &results.tasks {
        for c in &task.combined {
            sheet.row((
                (&task.name, c.delta, c.set_delta, c.threshold, c.layer),
                (c.layer_neurons, c.clusters, c.clusters_dev_accuracy, c.size),
                (c.dev_accuracy, c.test_accuracy, c.test_interval),
                (paired(&c.against_oracle), ids(&c.neurons)),
            ))?;
        }
    }
    Ok(sheet)
}

fn control(results: &StudyResults) -> Result<Sheet> {
    let mut sheet = Sheet::new(
        "control.csv",
        "task draw accuracy selectivity seen_in_train",
    )?;
    for task in &results.tasks {
        let Some(control) = &task.control else {
            continue;
        };
        for (draw, accuracy) in (1..).zip(&control.accuracies) {
            sheet.row((
                &task.name,
                draw as usize,
                accuracy,
                task.oracle.test_accuracy - accuracy,
                control.seen_in_train,
            ))?;
        }
    }
    Ok(sheet)
}

/// Every fit of a task whose certificate the results hold, with its name.
pub(super) fn fits(task: &TaskResults) -> Vec<(String, &CertificateRecord)> {
    use super::format;
    let mut fits = vec![("oracle".to_owned(), &task.oracle.certificate)];
    fits.extend(task.lambda_path.iter().map(|p| {
        let name = format!("path, λ1 {}", format::number(p.l1));
        (name, &p.certificate)
    }));
    for (kind, points) in [
        ("layer", &task.layers.independent),
        ("layers up to", &task.layers.cumulative),
    ] {
        fits.extend(
            points
                .iter()
                .map(|p| (format!("{kind} {}", p.layer), &p.certificate)),
        );
    }
    fits.extend(task.minimal_sets.iter().map(|set| {
        let (ranking, delta) = (format::ranking(&set.ranking), format::delta(set.delta));
        (
            format!("minimal set, {ranking}, δ {delta}"),
            &set.certificate,
        )
    }));
    for set in &task.minimal_sets {
        let draws = set.selectivity.iter().flat_map(|s| &s.certificates);
        fits.extend(draws.enumerate().map(|(draw, fit)| {
            let (ranking, delta) = (format::ranking(&set.ranking), format::delta(set.delta));
            let name = format!("control task, draw {}, {ranking}, δ {delta}", draw + 1);
            (name, fit)
        }));
    }
    for found in &task.disjoint {
        // The first is the minimal set.
        for (at, set) in found.sets.iter().enumerate().skip(1) {
            let (ranking, delta) = (format::ranking(&found.ranking), format::delta(found.delta));
            let name = format!("disjoint set {}, {ranking}, δ {delta}", at + 1);
            fits.push((name, &set.certificate));
        }
    }
    fits.extend(task.combined.iter().map(|set| {
        let (layers, set_delta) = (format::delta(set.delta), format::delta(set.set_delta));
        let threshold = format::number(set.threshold);
        let name = format!("layers at δ {layers}, clusters at {threshold}, set at δ {set_delta}");
        (name, &set.certificate)
    }));
    fits.extend(task.control.iter().flat_map(|control| {
        let draws = control.certificates.iter().enumerate();
        draws.map(|(draw, fit)| (format!("control task, draw {}", draw + 1), fit))
    }));
    fits
}

fn certificates(results: &StudyResults) -> Result<Sheet> {
    let mut sheet = Sheet::new("certificates.csv", &format!("task fit {OPTIMALITY}"))?;
    for task in &results.tasks {
        for (name, certificate) in fits(task) {
            sheet.row((&task.name, name, optimality(certificate)))?;
        }
    }
    Ok(sheet)
}

fn timings(results: &StudyResults) -> Result<Sheet> {
    let mut sheet = Sheet::new("timings.csv", "step seconds")?;
    for timing in &results.timings {
        sheet.row((&timing.step, timing.seconds))?;
    }
    Ok(sheet)
}
