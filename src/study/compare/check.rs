//! What is taken for granted of results that were read, which anybody may have changed.

use crate::activations::beyond_or_again;
use crate::error::{Error, Result};
use crate::study::results::{StudyResults, TaskResults};

/// Refuses results whose parts contradict each other.
///
/// # Errors
/// Names the first part that does.
pub(super) fn check(file: &str, results: &StudyResults) -> Result<()> {
    let data = &results.data;
    let neurons = data.neurons;
    let refused = |place: &str, problem: String| {
        let fix = "Give the unchanged results.json of a finished study, or run the study again";
        Err(Error::file(file.as_ref(), place, problem, fix))
    };
    if neurons == 0 || data.layer_of.len() != neurons || data.unit_of.len() != neurons {
        let problem = format!(
            "{} layers and {} units of {neurons} neurons",
            data.layer_of.len(),
            data.unit_of.len()
        );
        return refused("data", problem);
    }
    if data.samples.test == 0 || data.layers.is_empty() {
        return refused("data", "there are no test samples, or no layers".into());
    }
    for task in &results.tasks {
        if let Some(problem) = contradiction(task, neurons, data.layers.len()) {
            return refused(&format!("task \"{}\"", task.name), problem);
        }
    }
    Ok(())
}

fn contradiction(task: &TaskResults, neurons: usize, layers: usize) -> Option<String> {
    let salient = &task.salient;
    let classes = task.classes.len();
    let rows = salient.by_class_layer.iter().chain([&salient.by_layer]);
    if salient.by_class_layer.len() != classes
        || salient.per_class.len() != classes
        || rows.clone().any(|row| row.len() != layers)
    {
        return Some(format!(
            "its salient neurons are not those of {classes} classes in {layers} layers"
        ));
    }
    // Counts that no D neurons make would be dealt out one by one.
    if rows.flatten().any(|count| *count > neurons) {
        return Some(format!("a layer has more salient neurons than {neurons}"));
    }
    let once = |ids: &[usize]| beyond_or_again(ids, neurons).is_none();
    for (name, ranking) in &task.rankings {
        if ranking.order.len() != neurons || !once(&ranking.order) {
            return Some(format!("its ordering {name} is not of {neurons} neurons"));
        }
        if ranking.scores.len() != neurons {
            return Some(format!(
                "its ordering {name} has {} scores",
                ranking.scores.len()
            ));
        }
    }
    for set in &task.minimal_sets {
        if set.size != set.neurons.len() || !once(&set.neurons) {
            return Some(format!(
                "its minimal set by {} is not {} of {neurons} neurons",
                set.ranking, set.size
            ));
        }
    }
    let accuracy = task.oracle.test_accuracy;
    (!(0.0..=1.0).contains(&accuracy)).then(|| format!("its oracle's accuracy is {accuracy}"))
}
