//! Greedy selections as brute force has them: SciPy's Gaussians and scikit-learn's probes, rebuilt for every candidate at every
//! step (`fixtures/generate_greedy.py`).

use neurosieve::Backend;
use neurosieve::analysis::forward;
use neurosieve::analysis::gaussian::{self, Convention};
use neurosieve::analysis::greedy::Labelled;
use neurosieve::ops::moments::moments;
use neurosieve::split::Split;
use serde::Deserialize;

use super::{fixture, json};
use crate::support::assert_close;

#[derive(Deserialize)]
struct Golden {
    gaussian: Vec<Gaussian>,
    forward: Vec<Forward>,
}

#[derive(Deserialize)]
struct Gaussian {
    task: String,
    scored_on: String,
    published: bool,
    candidates: Vec<usize>,
    neurons: Vec<usize>,
    log_likelihood: Vec<f64>,
    accuracy: Vec<f64>,
    least_lead: f64,
    /// The first neurons after the selected ones.
    next: Vec<usize>,
}

#[derive(Deserialize)]
struct Forward {
    task: String,
    l2: f64,
    shortlist: Option<usize>,
    candidates: Vec<usize>,
    neurons: Vec<usize>,
    objectives: Vec<f64>,
    least_lead: f64,
}

fn labelled<'a>(split: &'a Split, task: &str) -> Labelled<'a> {
    Labelled {
        x: split.activations.view(),
        labels: &split.labels[usize::from(task == "coarse")],
    }
}

#[test]
fn gaussians_select_what_brute_force_selects() {
    let golden: Golden = json("greedy.json");
    for run in &golden.gaussian {
        let train = labelled(fixture().train(), &run.task);
        let dev = labelled(fixture().dev(), &run.task);
        let moments = moments(&Backend::Cpu, train.x, None).unwrap();
        let params = gaussian::Params {
            select: run.neurons.len(),
            convention: match run.published {
                true => Convention::Published,
                false => Convention::Whole,
            },
        };
        let on = (run.scored_on == "dev").then_some(dev);
        let found = gaussian::select(train, &moments, on, &params, &mut |_| {}).unwrap();
        let what = format!(
            "{} on {}, published {}",
            run.task, run.scored_on, run.published
        );
        assert!(run.least_lead > 1e-6, "{what}: no near ties in the fixture");
        let chosen: Vec<usize> = found.steps.iter().map(|step| step.neuron).collect();
        assert_eq!(chosen, run.neurons, "{what}");
        for (step, (expected, accuracy)) in found
            .steps
            .iter()
            .zip(run.log_likelihood.iter().zip(&run.accuracy))
        {
            let what = format!("log-likelihood, {what}");
            assert_close(&what, step.log_likelihood, *expected, 1e-9 * expected.abs());
            assert_close("accuracy", step.accuracy, *accuracy, 1e-12);
        }
        let order = &found.ranking.order;
        assert_eq!(order[..chosen.len()], run.neurons, "{what}");
        assert_eq!(order[chosen.len()..][..run.next.len()], run.next, "{what}");
        let told = found.ranking.scores.iter().filter(|s| **s > 0.0).count();
        assert_eq!(
            told,
            run.candidates.len(),
            "{what}: candidates alone have places"
        );
        assert!(
            run.candidates
                .iter()
                .all(|n| found.ranking.scores[*n] > 0.0)
        );
    }
    // The two priors are not the same selection: the comparison can fail.
    let [_, _, published] = &golden.gaussian[..] else {
        panic!("three runs")
    };
    let train = labelled(fixture().train(), &published.task);
    let dev = labelled(fixture().dev(), &published.task);
    let moments = moments(&Backend::Cpu, train.x, None).unwrap();
    let params = gaussian::Params::default();
    let other = gaussian::select(train, &moments, Some(dev), &params, &mut |_| {}).unwrap();
    assert!((other.steps[0].log_likelihood / published.log_likelihood[0] - 1.0).abs() > 1e-3);
}

#[test]
fn probes_select_what_brute_force_selects() {
    let golden: Golden = json("greedy.json");
    for run in &golden.forward {
        let train = labelled(fixture().train(), &run.task);
        let whole = moments(&Backend::Cpu, train.x, None).unwrap();
        // The brute force knows some neurons only: so does the selection.
        let x = train.x.select(ndarray::Axis(1), &run.candidates);
        let some = moments(&Backend::Cpu, x.view(), None).unwrap();
        let of_some = run.shortlist.is_none();
        let (train, moments) = match of_some {
            true => (
                Labelled {
                    x: x.view(),
                    ..train
                },
                &some,
            ),
            false => (train, &whole),
        };
        let params = forward::Params {
            select: run.neurons.len(),
            l2: run.l2,
            shortlist: run.shortlist.unwrap_or(run.candidates.len()),
            gap: 1e-7,
        };
        let found =
            forward::select(&Backend::Cpu, train, moments, None, &params, &mut |_| {}).unwrap();
        let name = |neuron: usize| match of_some {
            true => run.candidates[neuron],
            false => neuron,
        };
        let chosen: Vec<usize> = found.steps.iter().map(|s| name(s.neuron)).collect();
        assert!(run.least_lead > 1e-5, "no near ties in the fixture");
        assert_eq!(chosen, run.neurons);
        for (step, expected) in found.steps.iter().zip(&run.objectives) {
            assert_close("objective", step.objective, *expected, 1e-6 * expected);
        }
        // Negative control: another penalty has other optima.
        let other = forward::Params { l2: 1e-2, ..params };
        let other =
            forward::select(&Backend::Cpu, train, moments, None, &other, &mut |_| {}).unwrap();
        assert!(other.steps[0].objective > run.objectives[0] * (1.0 + 1e-3));
    }
}
