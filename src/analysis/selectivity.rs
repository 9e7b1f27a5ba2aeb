//! Control tasks (Hewitt & Liang 2019): would the probe have learned a task without meaning as well? Every word type gets a
//! random class; a probe that learns that too owes its accuracy to memory, not to what the neurons encode.

use std::collections::{HashMap, HashSet};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::frozen::Frozen;
use super::search::Prober;
use crate::error::{Error, Result};
use crate::labels::Labels;
use crate::ops::probe::Problem;

/// The words of the three parts, one a sample.
#[derive(Debug, Clone, Copy)]
pub struct Words<'a> {
    /// Of train.
    pub train: &'a [String],
    /// Of dev.
    pub dev: &'a [String],
    /// Of test.
    pub test: &'a [String],
}

/// One draw of a control task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlTask {
    /// Labels of train.
    pub train: Labels,
    /// Labels of dev.
    pub dev: Labels,
    /// Labels of test.
    pub test: Labels,
}

/// Draws a control task for the task whose train labels are `labels`: every word type, in order of first appearance in
/// train, dev, test, gets a class drawn from train's label distribution (`sample_from="same"` of NeuroX); the same type has
/// the same class in all parts. The same for the same seed on every machine. A draw that gives all of train one class is
/// drawn again.
///
/// # Errors
/// When words and labels of train differ in number, a part has no words, or train has fewer than two word types or classes.
pub fn control_task(words: &Words<'_>, labels: &Labels, seed: u64) -> Result<ControlTask> {
    let types: HashSet<&String> = words.train.iter().collect();
    if words.train.len() != labels.len() || types.len() < 2 || labels.present().len() < 2 {
        return Err(Error::invalid(
            "control task",
            format!(
                "train has {} words of {} types and {} labels of {} classes",
                words.train.len(),
                types.len(),
                labels.len(),
                labels.present().len()
            ),
            "It needs one word for every label, and at least two word types and classes",
        ));
    }
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    loop {
        let task = draw(words, labels, &mut random)?;
        if task.train.present().len() >= 2 {
            return Ok(task);
        }
    }
}

fn draw(words: &Words<'_>, labels: &Labels, random: &mut ChaCha8Rng) -> Result<ControlTask> {
    let mut class_of: HashMap<String, u32> = HashMap::new();
    let mut part = |words: &[String]| {
        let mut ids = Vec::with_capacity(words.len());
        for word in words {
            let id = match class_of.get(word) {
                Some(&id) => id,
                None => {
                    // The class of a random sample of train is a draw from train's label distribution.
                    let id = labels.ids()[random.random_range(0..labels.len())];
                    class_of.insert(word.clone(), id);
                    id
                }
            };
            ids.push(id);
        }
        Labels::new(ids, labels.classes().to_vec())
    };
    Ok(ControlTask {
        train: part(words.train)?,
        dev: part(words.dev)?,
        test: part(words.test)?,
    })
}

/// Share of the words of test that occur in train. Near 0 a control task cannot be learned by memory, so selectivity says
/// nothing; 0 when test has no words.
pub fn seen_in_train(train: &[String], test: &[String]) -> f64 {
    let known: HashSet<&String> = train.iter().collect();
    let seen = test.iter().filter(|word| known.contains(word)).count();
    if test.is_empty() {
        0.0
    } else {
        seen as f64 / test.len() as f64
    }
}

/// The probe of each draw of a control task, whose labels of train are `draws`, learned from the neurons `columns` at the
/// penalty (λ1, λ2) of the probe that it is a control of: equal means for equal capacity. All draws are one batch over the
/// same activations. Selectivity is the probe's own accuracy minus the mean of these.
///
/// # Errors
/// As [`Prober::search`].
pub fn control_probes(
    prober: &Prober<'_>,
    columns: &[usize],
    draws: &[&Labels],
    (l1, l2): (f64, f64),
    progress: &mut dyn FnMut(f64),
) -> Result<Vec<Frozen>> {
    let problems: Vec<Problem<'_>> = draws
        .iter()
        .map(|labels| Problem::new(labels, l1, l2))
        .collect();
    let fits = prober.fit_on(columns, &problems, progress)?;
    Ok(fits.iter().map(Frozen::of).collect())
}
