//! What a certificate says of a probe is what f64 says of its weights, and the intercepts are the best ones for them.

use ndarray::Array2;
use neurosieve::Backend;
use neurosieve::labels::Labels;
use neurosieve::ops::moments::moments;
use neurosieve::ops::probe::{self, Fit, Given, Norm, Params, Problem, Response, Solver, Stop};
use rand::seq::SliceRandom;

use crate::properties::probe::design;
use crate::support::{normal, random};

const SAMPLES: usize = 400;
const NEURONS: usize = 12;

/// Neurons that are 1 in half of the samples and −1 in the others: their mean is 0 without rounding, so that raw and standardised
/// activations have the same intercepts.
fn signs(seed: u64) -> Array2<f32> {
    let mut random = random(seed);
    let mut x = Array2::from_shape_fn(
        (SAMPLES, NEURONS),
        |(i, _)| if i % 2 == 0 { 1.0 } else { -1.0 },
    );
    for mut column in x.columns_mut() {
        let mut values = column.to_vec();
        values.shuffle(&mut random);
        column
            .iter_mut()
            .zip(values)
            .for_each(|(to, value)| *to = value);
    }
    x
}

/// Class ids of unequal shares that a mixture of neurons and noise makes.
fn classes(x: &Array2<f32>, count: u32) -> Labels {
    let mut random = random(71);
    let ids = x.rows().into_iter().map(|row| {
        let score =
            0.8 * f64::from(row[0] - row[3]) + 0.5 * f64::from(row[5]) + normal(&mut random);
        (0..count - 1)
            .filter(|class| score > 1.0 + f64::from(*class))
            .count() as u32
    });
    let names = (0..count).map(|class| class.to_string());
    Labels::new(ids.collect(), names.collect()).unwrap()
}

/// Objective and gradient of the loss ((1 + d) × columns) by definition, of standardised activations.
fn defined(x: &Array2<f32>, problem: &Problem<'_>, fit: &Fit) -> (f64, Array2<f64>) {
    let columns = fit.bias.len();
    let total: f64 = problem.weights.map_or(SAMPLES as f64, |w| w.iter().sum());
    let (mut loss, mut gradient) = (0.0, Array2::zeros((1 + NEURONS, columns)));
    for (i, row) in x.rows().into_iter().enumerate() {
        let omega = problem.weights.map_or(1.0, |w| w[i]) / total;
        let z: Vec<f64> = (0..columns)
            .map(|c| {
                let terms = row.iter().zip(fit.standardised.row(c));
                let sum: f64 = terms.map(|(x, w)| f64::from(*x) * f64::from(*w)).sum();
                f64::from(fit.bias[c]) + sum
            })
            .collect();
        let residual: Vec<f64> = match problem.response {
            Response::Values(y) => {
                let error = z[0] - f64::from(y[i]);
                loss += 0.5 * omega * error * error;
                vec![omega * error]
            }
            Response::Classes(labels) => {
                let own = labels.ids()[i] as usize;
                let all: f64 = z.iter().map(|z| z.exp()).sum();
                loss += omega * (all.ln() - z[own]);
                let each = z.iter().enumerate();
                each.map(|(c, z)| omega * (z.exp() / all - f64::from(u8::from(c == own))))
                    .collect()
            }
        };
        for (c, r) in residual.into_iter().enumerate() {
            gradient[(0, c)] += r;
            for (j, x) in row.iter().enumerate() {
                gradient[(j + 1, c)] += f64::from(*x) * r;
            }
        }
    }
    let weights = || fit.standardised.iter().map(|w| f64::from(*w));
    let square: f64 = weights().map(|w| w * w).sum();
    let two = match problem.norm {
        Norm::Squared => problem.l2 * square,
        Norm::Frobenius => problem.l2 * square.sqrt(),
    };
    (
        loss + problem.l1 * weights().map(f64::abs).sum::<f64>() + two,
        gradient,
    )
}

/// The largest violation, of the intercepts and of the weights (some of which are not zero).
fn violations(gradient: &Array2<f64>, problem: &Problem<'_>, fit: &Fit) -> (f64, f64) {
    let norm: f64 = fit.standardised.iter().map(|w| f64::from(*w).powi(2)).sum();
    let mu = match problem.norm {
        Norm::Squared => 2.0 * problem.l2,
        Norm::Frobenius => problem.l2 / norm.sqrt(),
    };
    let (mut intercepts, mut weights) = (0.0f64, 0.0f64);
    for ((row, c), g) in gradient.indexed_iter() {
        if row == 0 {
            intercepts = intercepts.max(g.abs());
            continue;
        }
        let w = f64::from(fit.standardised[(c, row - 1)]);
        let q = g + mu * w;
        weights = weights.max(match w {
            0.0 => (q.abs() - problem.l1).max(0.0),
            _ => (q + problem.l1 * w.signum()).abs(),
        });
    }
    (intercepts, weights)
}

#[test]
fn a_certificate_says_what_f64_says_of_the_weights() {
    let x = signs(70);
    let design = design(&x);
    let standardised = moments(&Backend::Cpu, x.view(), None).unwrap().sd[0];
    let standardised = x.mapv(|x| (f64::from(x) / standardised) as f32);
    let (three, two) = (classes(&x, 3), classes(&x, 2));
    let values: Vec<f32> = x
        .rows()
        .into_iter()
        .map(|row| 500.0 + row[0] - 0.3 * row[2] * row[4])
        .collect();
    let weights: Vec<f64> = (0..SAMPLES).map(|i| f64::from(i as u32 % 4)).collect();
    for (at, response) in [
        Response::Classes(&three),
        Response::Classes(&two),
        Response::Values(&values),
    ]
    .into_iter()
    .enumerate()
    {
        for norm in [Norm::Squared, Norm::Frobenius] {
            for weights in [None, Some(&weights[..])] {
                for solver in [Solver::Newton, Solver::Fista, Solver::Lbfgs] {
                    let problem = Problem {
                        norm,
                        weights,
                        ..Problem::of(response, 0.01, 0.02)
                    };
                    // Far from the optimum, where a solver's own intercepts are not the best ones.
                    let params = Params {
                        solver,
                        stop: Stop::Kkt(0.05),
                        ..Params::default()
                    };
                    let found =
                        probe::fit(&Backend::Cpu, &design, &[problem], &params, &mut |_| {});
                    let fit = &found.unwrap()[0];
                    let case = format!(
                        "response {at}, {norm:?}, {solver:?}, weights {}",
                        weights.is_some()
                    );
                    assert!(fit.nonzero_weights() > 0, "{case}");
                    let (objective, gradient) = defined(&standardised, &problem, fit);
                    let (intercepts, largest) = violations(&gradient, &problem, fit);
                    // A bias is handed out in f32: near 500 to 1.6e-5, near 1 to 6e-8.
                    let rounding = if at == 2 { 1.6e-5 } else { 1e-7 };
                    let off = (fit.objective - objective).abs();
                    let second_order = rounding * rounding;
                    assert!(off < 1e-12 * objective + second_order, "{case}: {off:e}");
                    assert!(intercepts < 2.0 * rounding, "{case}: {intercepts}");
                    let off = (fit.certificate.kkt - largest).abs();
                    assert!(off < 2.0 * rounding, "{case}: {off:e} of {largest}");
                    assert!(fit.certificate.duality_gap >= 0.0, "{case}");
                }
            }
        }
    }
}

#[test]
fn a_gap_holds_where_no_intercepts_make_the_shares_right() {
    let x = signs(72);
    let design = design(&x);
    let rare = |i: usize| match i % 50 {
        0 => 0,
        1..5 => 2,
        _ => 1,
    };
    let names = (0..3).map(|class| class.to_string()).collect();
    let rare = Labels::new((0..SAMPLES).map(rare).collect(), names).unwrap();
    let mut compared = 0;
    for (columns, labels) in [(3, classes(&x, 3)), (1, classes(&x, 2)), (3, rare)] {
        for l2 in [0.0, 0.02] {
            let problem = Problem::new(&labels, 0.01, l2);
            let exact = Params {
                stop: Stop::Gap(1e-6),
                ..Params::default()
            };
            let best = probe::fit(&Backend::Cpu, &design, &[problem], &exact, &mut |_| {});
            let best = best.unwrap()[0].objective;
            let given = Given::new(&design, &[problem], &exact).unwrap();
            // A class that is certain in half of the samples, and out of the question in the others; one that is so in all.
            for (row, size) in [(1, 30.0f32), (1, 1e3), (1, 1e5), (0, -1e3), (0, -1e6)] {
                let mut theta = Array2::zeros((1 + NEURONS, columns));
                theta[(row, 0)] = size;
                let found = given.certificates(&[theta]).unwrap().remove(0);
                let case = format!("{columns} columns, l2 {l2}, row {row}, {size}: {found:?}");
                let gap = found.certificate.duality_gap;
                assert!(gap.is_finite(), "{case}");
                assert!(found.objective - best <= gap * (1.0 + 1e-12), "{case}");
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 30);
}
