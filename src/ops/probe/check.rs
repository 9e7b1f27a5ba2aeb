//! What a batch must be, checked once before it is solved.

use ndarray::ArrayView2;

use super::{Design, Params, Problem, Response, targets};
use crate::error::{Error, Result};

pub(super) fn batch(design: &Design, problems: &[Problem<'_>], params: &Params) -> Result<()> {
    if let Some(value) = params.stop.out_of_range() {
        return Err(Error::invalid(
            "stop",
            format!("it is {value}, allowed is 1e-7 to 1"),
            "f32 data cannot prove a smaller gap than 1e-7",
        ));
    }
    if params.max_passes.is_nan() || params.max_passes < 1.0 {
        return Err(Error::invalid(
            "max_passes",
            format!("it is {}, allowed is 1 or more", params.max_passes),
            "Allow at least one pass",
        ));
    }
    for one in problems {
        problem(design.samples(), one)?;
    }
    Ok(())
}

pub(super) fn problem(samples: usize, problem: &Problem<'_>) -> Result<()> {
    response(samples, problem)?;
    for (name, value) in [("l1", problem.l1), ("l2", problem.l2)] {
        if !(value.is_finite() && value >= 0.0) {
            return Err(Error::invalid(
                name,
                format!("it is {value}, allowed is 0 or more"),
                "Give a finite penalty",
            ));
        }
    }
    Ok(())
}

/// Values at hand, which nothing else has looked at.
pub(super) fn finite(x: ArrayView2<'_, f64>) -> Result<()> {
    match x.indexed_iter().find(|(_, value)| !value.is_finite()) {
        None => Ok(()),
        Some(((row, neuron), value)) => Err(Error::invalid(
            "activations",
            format!("row {row}, neuron {neuron} is {value}"),
            "Every activation must be a finite number",
        )),
    }
}

pub(super) fn response(samples: usize, problem: &Problem<'_>) -> Result<()> {
    let (what, given) = match problem.response {
        Response::Classes(labels) => ("labels", labels.len()),
        Response::Values(values) => ("values", values.len()),
    };
    if given != samples {
        return Err(Error::invalid(
            what,
            format!("{given} {what} for {samples} rows of activations"),
            "Give exactly one for every row",
        ));
    }
    weights(problem, samples)?;
    match problem.response {
        Response::Classes(labels) => {
            let one = [1.0];
            let every = one.iter().cycle().take(samples).copied();
            let omega: Vec<f64> = problem
                .weights
                .map_or_else(|| every.collect(), <[f64]>::to_vec);
            if targets::present(labels, &omega).len() < 2 {
                return Err(Error::invalid(
                    "labels",
                    "all samples are of one class",
                    "A probe needs at least two classes in train",
                ));
            }
        }
        Response::Values(values) => {
            if let Some(row) = values.iter().position(|v| !v.is_finite()) {
                return Err(Error::invalid(
                    "values",
                    format!("row {row} is {}", values[row]),
                    "Every value must be a finite number",
                ));
            }
        }
    }
    Ok(())
}

fn weights(problem: &Problem<'_>, samples: usize) -> Result<()> {
    let Some(weights) = problem.weights else {
        return Ok(());
    };
    if weights.len() != samples {
        return Err(Error::invalid(
            "sample weights",
            format!(
                "{} weights for {samples} rows of activations",
                weights.len()
            ),
            "Give exactly one weight for every row",
        ));
    }
    if let Some(row) = weights.iter().position(|w| !(w.is_finite() && *w >= 0.0)) {
        return Err(Error::invalid(
            "sample weights",
            format!("row {row} has {}, allowed is 0 or more", weights[row]),
            "Give finite weights",
        ));
    }
    let total: f64 = weights.iter().sum();
    if total <= 0.0 {
        return Err(Error::invalid(
            "sample weights",
            "all of them are 0",
            "Give at least one sample a positive weight",
        ));
    }
    if !total.is_finite() {
        return Err(Error::invalid(
            "sample weights",
            format!("their sum is {total}, more than a number can hold"),
            "Only their ratios count: divide them all by the largest",
        ));
    }
    Ok(())
}
