//! How sure the findings are, and what test was used for.

use super::{PAIRED, Sheet, ids, paired};
use crate::error::Result;
use crate::study::results::{Beside, Distribution, StudyResults};

pub(super) fn disjoint(results: &StudyResults) -> Result<Sheet> {
    let mut sheet = Sheet::new(
        "disjoint_sets.csv",
        &format!(
            "task ranking delta exhausted left set size dev_accuracy test_accuracy test_low test_high {PAIRED} neurons"
        ),
    )?;
    for task in &results.tasks {
        for found in &task.disjoint {
            for (number, set) in (1_usize..).zip(&found.sets) {
                sheet.row((
                    (&task.name, &found.ranking, found.delta),
                    (found.exhausted, found.left, number, set.size),
                    (set.dev_accuracy, set.test_accuracy, set.test_interval),
                    (paired(&set.against_oracle), ids(&set.neurons)),
                ))?;
            }
        }
    }
    Ok(sheet)
}

fn beside(figure: Beside) -> (f64, f64) {
    (figure.observed, figure.chance)
}

pub(super) fn stability(results: &StudyResults) -> Result<Sheet> {
    let mut sheet = Sheet::new(
        "stability.csv",
        "task ranking delta size draws units candidates threshold frequency frequency_by_chance equivalent_frequency \
         equivalent_frequency_by_chance overlap overlap_by_chance equivalent_overlap equivalent_overlap_by_chance jaccard \
         jaccard_by_chance",
    )?;
    for task in &results.tasks {
        for s in &task.stability {
            sheet.row((
                (&task.name, &s.ranking, s.delta, s.size),
                (s.draws, &s.units, s.candidates, s.threshold),
                beside(s.mean_frequency),
                beside(s.mean_equivalent_frequency),
                beside(s.overlap),
                beside(s.equivalent_overlap),
                beside(s.jaccard),
            ))?;
        }
    }
    Ok(sheet)
}

pub(super) fn frequencies(results: &StudyResults) -> Result<Sheet> {
    let mut sheet = Sheet::new(
        "selection_frequency.csv",
        "task ranking delta neuron frequency equivalent_frequency",
    )?;
    for task in &results.tasks {
        for s in &task.stability {
            let each = s.neurons.iter().zip(&s.frequency);
            for ((neuron, own), equivalent) in each.zip(&s.equivalent_frequency) {
                sheet.row((&task.name, &s.ranking, s.delta, neuron, own, equivalent))?;
            }
        }
    }
    Ok(sheet)
}

pub(super) fn random_sets(results: &StudyResults) -> Result<Sheet> {
    let mut sheet = Sheet::new(
        "random_sets.csv",
        "task ranking delta size draws p as_good sufficient set_dev dev_mean dev_lowest dev_highest set_test test_mean \
         test_lowest test_highest",
    )?;
    let of = |d: Distribution| (d.mean, d.lowest, d.highest);
    for task in &results.tasks {
        for r in &task.random_sets {
            sheet.row((
                (&task.name, &r.ranking, r.delta, r.size, r.draws),
                (r.p, r.as_good, r.sufficient),
                (r.set_dev_accuracy, of(r.dev)),
                (r.set_test_accuracy, of(r.test)),
            ))?;
        }
    }
    Ok(sheet)
}

pub(super) fn set_selectivity(results: &StudyResults) -> Result<Sheet> {
    let mut sheet = Sheet::new(
        "set_selectivity.csv",
        "task ranking delta size draws test_accuracy control_accuracy selectivity selectivity_low selectivity_high spread",
    )?;
    for task in &results.tasks {
        for set in &task.minimal_sets {
            let Some(found) = &set.selectivity else {
                continue;
            };
            let [low, high] = found.interval.map_or([None, None], |ends| ends.map(Some));
            sheet.row((
                (&task.name, &set.ranking, set.delta, set.size),
                (found.accuracies.len(), set.test_accuracy),
                (found.control_accuracy, found.value, low, high, found.spread),
            ))?;
        }
    }
    Ok(sheet)
}

pub(super) fn test_use(results: &StudyResults) -> Result<Sheet> {
    let mut sheet = Sheet::new("test_use.csv", "task what probes evaluations")?;
    for used in &results.test_use.evaluated {
        sheet.row((&used.task, &used.what, used.probes, used.evaluations))?;
    }
    Ok(sheet)
}
