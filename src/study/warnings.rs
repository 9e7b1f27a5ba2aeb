//! What the reader of the figures should know, in plain words.

use super::records::Tally;
use super::results::{Clustering, DataSummary, TaskResults};
use crate::analysis::selectivity::SEEN_ENOUGH;
use crate::ops::correlation::{Computed, Precision};

/// Most names that a warning lists.
const LISTED: usize = 8;

/// About the activations and their correlations.
pub(super) fn of_data(data: &DataSummary, clustering: &Clustering) -> Vec<String> {
    let mut warnings = Vec::new();
    if !data.constant.is_empty() {
        warnings.push(format!(
            "{} of {} neurons are constant in train ({}): their correlation counts as 0 and probes leave them out.",
            data.constant.len(),
            data.neurons,
            list(&data.constant)
        ));
    }
    if !data.nearly_constant.is_empty() {
        warnings.push(format!(
            "{} of {} neurons vary a million times less than the median one ({}): that is rounding noise, probes leave them out.",
            data.nearly_constant.len(),
            data.neurons,
            list(&data.nearly_constant)
        ));
    }
    if !data.dead_layers.is_empty() {
        warnings.push(format!(
            "All neurons of layer {} are constant in train: a probe on such a layer can only guess the most frequent class.",
            list(&data.dead_layers)
        ));
    }
    warnings.extend(clustering.precision.as_ref().and_then(of_precision));
    warnings
}

/// About correlations that need not be as exact as f32.
fn of_precision(computed: &Computed) -> Option<String> {
    let Computed {
        asked,
        kernel,
        tolerance,
        reason,
        ..
    } = computed;
    (*asked != Precision::F32).then(|| {
        let why = reason.as_ref().map_or(String::new(), |why| format!(": {why}"));
        format!("Correlations were allowed the precision {asked} and computed by {kernel}, r within {tolerance:e}{why}.")
    })
}

/// About one task.
pub(super) fn of_task(task: &TaskResults, asked_controls: bool) -> Vec<String> {
    let name = &task.name;
    let mut warnings = Vec::new();
    let classes = |holds: &dyn Fn(&super::results::ClassSummary) -> bool| -> Vec<String> {
        let found = task.classes.iter().filter(|class| holds(class));
        found.map(|class| class.name.clone()).collect()
    };
    let unseen = classes(&|c| c.samples.train == 0 && c.samples.dev + c.samples.test > 0);
    if !unseen.is_empty() {
        warnings.push(format!(
            "{name}: train has no sample of {}; every probe gets those of dev and test wrong.",
            list(&unseen)
        ));
    }
    let nowhere = classes(&|c| c.samples.train + c.samples.dev + c.samples.test == 0);
    if !nowhere.is_empty() {
        warnings.push(format!(
            "{name}: no part has a sample of {}.",
            list(&nowhere)
        ));
    }
    for (part, lacking) in [
        (
            "dev",
            classes(&|c| c.samples.train > 0 && c.samples.dev == 0),
        ),
        (
            "test",
            classes(&|c| c.samples.train > 0 && c.samples.test == 0),
        ),
    ] {
        if !lacking.is_empty() {
            warnings.push(format!(
                "{name}: {part} has no sample of {}, so its accuracy says nothing about that.",
                list(&lacking)
            ));
        }
    }
    certainty(task, &mut warnings);
    if let [_, .., weakest] = &*task.lambda_path
        && weakest.l1.total_cmp(&task.oracle.l1).is_eq()
    {
        warnings.push(format!(
            "{name}: dev prefers the weakest penalty that was tried; a weaker one may do better. Add a smaller share to `probe.lambda_ratios`."
        ));
    }
    match &task.control {
        Some(control) if control.seen_in_train < SEEN_ENOUGH => warnings.push(format!(
            "{name}: only {:.0} % of the test words occur in train, so no probe can learn the control task and selectivity is accuracy minus chance.",
            100.0 * control.seen_in_train
        )),
        None if asked_controls => warnings.push(format!(
            "{name}: the words are not known, so there are no control tasks and no selectivity. Where a sample is a word, give `words` in the specification; where it is a whole sentence, `control.draws = 0` says that none are expected."
        )),
        _ => {}
    }
    warnings
}

/// Whether the figures can bear what is concluded from them.
fn certainty(task: &TaskResults, warnings: &mut Vec<String>) {
    let (name, oracle) = (&task.name, &task.oracle);
    if !task.above_chance {
        warnings.push(format!(
            "{name}: the probe on all neurons ({:.1} %) is not above always answering the most frequent class ({:.1} %) beyond chance; \"no loss\" means nothing here.",
            100.0 * oracle.test_accuracy,
            100.0 * task.majority_accuracy
        ));
    }
    let half = (oracle.test_interval[1] - oracle.test_interval[0]) / 2.0;
    let deltas = task.layer_selection.iter().map(|s| s.delta);
    let deltas = deltas.chain(task.minimal_sets.iter().map(|s| s.delta));
    let mut below: Vec<f64> = deltas.filter(|&d| d * oracle.dev_accuracy < half).collect();
    below.sort_by(|a, b| b.total_cmp(a));
    below.dedup();
    if !below.is_empty() {
        let below: Vec<String> = below
            .iter()
            .map(|d| format!("{} %", round(100.0 * d)))
            .collect();
        warnings.push(format!(
            "{name}: the test accuracy is known to ± {:.1} points only, so accuracies alone can hardly tell a loss of {} from none; read the paired intervals.",
            100.0 * half,
            list(&below)
        ));
    }
}

/// About fits that did not converge.
pub(super) fn of_fits(tally: &Tally, asked: f64) -> Option<String> {
    (tally.unconverged > 0).then(|| {
        format!(
            "{} of {} fits did not reach the relative gap asked for ({asked:e} for most; `control.relative_gap` and `minimal_set.relative_gap` for theirs); the largest is {:.1e}. Raise `probe.max_passes` or leave out the weakest of `probe.lambda_ratios`.",
            tally.unconverged, tally.fits, tally.worst_gap
        )
    })
}

/// Two decimals at most.
fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

fn list<T: std::fmt::Display>(items: &[T]) -> String {
    let mut text: Vec<String> = items.iter().take(LISTED).map(ToString::to_string).collect();
    if items.len() > LISTED {
        text.push("…".into());
    }
    text.join(", ")
}
