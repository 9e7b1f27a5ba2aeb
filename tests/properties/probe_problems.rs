//! Laws of `ops::probe`'s batch: weights, subsets, losses and penalties agree with what they are defined by.

use ndarray::{Array1, Array2, Axis};
use neurosieve::Backend;
use neurosieve::labels::Labels;
use neurosieve::ops::moments::moments;
use neurosieve::ops::probe::{
    self, Design, Fit, Neurons, Norm, Params, PenaltyScale, Problem, Response, Solver, Stop,
    balanced_weights,
};

use crate::properties::probe::{design, exact, learnable, one};
use crate::support::{assert_close, normal, random};

fn solve(design: &Design, problems: &[Problem<'_>], params: &Params) -> Vec<Fit> {
    probe::fit(&Backend::Cpu, design, problems, params, &mut |_| {}).unwrap()
}

fn two_classes(labels: &Labels) -> Labels {
    let ids = labels.ids().iter().map(|id| *id.min(&1)).collect();
    Labels::new(ids, vec!["a".into(), "b".into()]).unwrap()
}

/// Values that two neurons and some noise make.
fn values(x: &Array2<f32>, seed: u64) -> Vec<f32> {
    let mut random = random(seed);
    x.rows()
        .into_iter()
        .map(|row| (3.0 + 0.7 * f64::from(row[0] - row[3]) + 0.2 * normal(&mut random)) as f32)
        .collect()
}

#[test]
fn bits_depend_neither_on_the_batch_nor_on_the_memory_that_divides_it() {
    let (x, y) = learnable(300, 40, 21);
    let (two, values) = (two_classes(&y), values(&x, 22));
    let (weights, scattered) = (balanced_weights(&y), [31, 4, 7, 12, 0, 22]);
    let plain = Problem::new(&y, 0.003, 0.001);
    let problems = [
        plain,
        Problem::new(&y, 0.02, 0.0),
        Problem::new(&two, 0.004, 0.001),
        Problem::new(&two, 0.0, 0.01),
        Problem::of(Response::Values(&values), 0.01, 0.02),
        Problem {
            weights: Some(&weights),
            ..plain
        },
        Problem {
            neurons: Neurons::Range { from: 5, to: 33 },
            ..plain
        },
        Problem {
            neurons: Neurons::These(&scattered),
            ..plain
        },
        Problem {
            norm: Norm::Frobenius,
            ..plain
        },
    ];
    for solver in [Solver::Newton, Solver::Fista, Solver::Lbfgs] {
        let params = Params {
            solver,
            stop: Stop::Gap(1e-4),
            ..exact()
        };
        let design = design(&x);
        let together = solve(&design, &problems, &params);
        let frugal = Params {
            memory: 1,
            ..params.clone()
        };
        assert_eq!(
            probe::plan(&Backend::Cpu, &design, &problems, &frugal).in_flight,
            1
        );
        assert_eq!(
            probe::plan(&Backend::Cpu, &design, &problems, &params).in_flight,
            problems.len()
        );
        for (place, (fit, one_by_one)) in together
            .iter()
            .zip(solve(&design, &problems, &frugal))
            .enumerate()
        {
            assert!(fit.certificate.converged, "{solver:?}, problem {place}");
            let alone = &solve(&design, &problems[place..=place], &params)[0];
            for other in [alone, &one_by_one] {
                assert_eq!(fit.weights, other.weights, "{solver:?}, problem {place}");
                assert_eq!(fit.objective.to_bits(), other.objective.to_bits());
                assert_eq!(fit.certificate, other.certificate);
                assert_eq!(fit.trace, other.trace);
            }
        }
    }
}

#[test]
fn a_goal_ends_a_fit_as_soon_as_its_objective_is_there() {
    let (x, y) = learnable(300, 40, 51);
    let design = design(&x);
    let plain = Problem::new(&y, 0.002, 0.0);
    let ridge = Problem::new(&y, 0.0, 0.002);
    for (solver, plain) in [
        (Solver::Newton, plain),
        (Solver::Fista, plain),
        (Solver::Auto, ridge),
    ] {
        let params = Params { solver, ..exact() };
        let exact = &solve(&design, &[plain], &params)[0];
        let goal = Some(1.05 * exact.objective);
        let early = &solve(&design, &[Problem { goal, ..plain }], &params)[0];
        assert!(early.certificate.converged, "{solver:?}");
        assert!(Some(early.objective) <= goal, "{solver:?}");
        assert!(early.certificate.passes < exact.certificate.passes);
        // A goal below the optimum changes nothing.
        let goal = Some(0.99 * exact.objective);
        let other = &solve(&design, &[Problem { goal, ..plain }], &params)[0];
        assert_eq!(other.weights, exact.weights, "{solver:?}");
    }
}

#[test]
fn a_weight_of_two_is_a_sample_given_twice_and_a_weight_of_zero_one_left_out() {
    let (x, y) = learnable(200, 25, 23);
    let whole = [0.0, 1.0, 2.0, 1.0];
    let weights: Vec<f64> = (0..200).map(|i| whole[i % 4]).collect();
    let rows: Vec<usize> = (0..200)
        .flat_map(|i| std::iter::repeat_n(i, weights[i] as usize))
        .collect();
    let values = values(&x, 24);
    let repeated_values: Vec<f32> = rows.iter().map(|&i| values[i]).collect();
    let ids = rows.iter().map(|&i| y.ids()[i]).collect();
    let repeated_labels = Labels::new(ids, y.classes().to_vec()).unwrap();
    let found = moments(&Backend::Cpu, x.view(), None).unwrap();
    let columns: Vec<usize> = (0..25).collect();
    // Both designs are scaled by the same moments: the penalty then means the same.
    let once = Design::new(&Backend::Cpu, x.view(), &found, &columns).unwrap();
    let repeated = x.select(Axis(0), &rows);
    let twice = Design::new(&Backend::Cpu, repeated.view(), &found, &columns).unwrap();
    for solver in [Solver::Newton, Solver::Fista, Solver::Lbfgs] {
        for (response, copied) in [
            (Response::Classes(&y), Response::Classes(&repeated_labels)),
            (
                Response::Values(&values),
                Response::Values(&repeated_values),
            ),
        ] {
            let params = Params { solver, ..exact() };
            let weighted = Problem {
                weights: Some(&weights),
                ..Problem::of(response, 0.01, 0.005)
            };
            let fit = &solve(&once, &[weighted], &params)[0];
            let reference = &solve(&twice, &[Problem::of(copied, 0.01, 0.005)], &params)[0];
            let allowed = 2e-6 * reference.objective;
            assert!(fit.certificate.converged);
            assert_close("objective", fit.objective, reference.objective, allowed);
            let unweighted = &solve(&once, &[Problem::of(response, 0.01, 0.005)], &params)[0];
            assert!((unweighted.objective - reference.objective).abs() > 100.0 * allowed);
        }
    }
}

#[test]
fn a_subset_in_a_batch_is_a_design_of_that_subset() {
    let (x, y) = learnable(250, 30, 25);
    let all = design(&x);
    let found = moments(&Backend::Cpu, x.view(), None).unwrap();
    let scattered = [17, 3, 29, 8, 9];
    let range: Vec<usize> = (10..24).collect();
    let problems = [
        Problem {
            neurons: Neurons::These(&scattered),
            ..Problem::new(&y, 0.004, 0.002)
        },
        Problem {
            neurons: Neurons::Range { from: 10, to: 24 },
            ..Problem::new(&y, 0.004, 0.002)
        },
    ];
    let fits = solve(&all, &problems, &exact());
    for (fit, columns) in fits.iter().zip([&scattered[..], &range[..]]) {
        let own = Design::new(&Backend::Cpu, x.view(), &found, columns).unwrap();
        let alone = one(&own, &y, 0.004, 0.002, &exact());
        assert_eq!(fit.weights, alone.weights);
        for (neuron, column) in fit.weights.columns().into_iter().enumerate() {
            assert!(columns.contains(&neuron) || column.iter().all(|w| *w == 0.0));
        }
    }
    for (neurons, complaint) in [
        (Neurons::These(&[1, 1]), "named twice"),
        (Neurons::These(&[30]), "not one of the design's 30"),
        (Neurons::Range { from: 3, to: 3 }, "at least one neuron"),
    ] {
        let problem = Problem {
            neurons,
            ..problems[0]
        };
        let error = probe::fit(&Backend::Cpu, &all, &[problem], &exact(), &mut |_| {});
        assert!(error.unwrap_err().to_string().contains(complaint));
    }
}

#[test]
fn two_classes_solved_as_one_column_have_the_softmax_optimum() {
    let (x, y) = learnable(200, 20, 26);
    let two = two_classes(&y);
    let fit = one(&design(&x), &two, 0.01, 0.02, &exact());
    assert!(fit.certificate.converged);
    let found = moments(&Backend::Cpu, x.view(), None).unwrap();
    // The softmax objective of both classes' weights, in f64 and from its definition.
    let objective = |weights: &Array2<f32>, bias: &Array1<f32>| {
        let mut loss = 0.0;
        for (row, &own) in x.rows().into_iter().zip(two.ids()) {
            let logit = |class: usize| {
                let products = row.iter().zip(weights.row(class));
                products
                    .map(|(x, w)| f64::from(*x) * f64::from(*w))
                    .sum::<f64>()
                    + f64::from(bias[class])
            };
            let (a, b) = (logit(0), logit(1));
            loss += (a.exp() + b.exp()).ln() - if own == 0 { a } else { b };
        }
        let penalty = weights.indexed_iter().map(|((_, j), w)| {
            let w = f64::from(*w) * found.sd[j];
            0.01 * w.abs() + 0.02 * w * w
        });
        loss / 200.0 + penalty.sum::<f64>()
    };
    let reached = objective(&fit.weights, &fit.bias);
    assert_close("objective", fit.objective, reached, 1e-5 * reached);
    assert_eq!(fit.weights.row(0), -&fit.weights.row(1));
    // Any other split of the same logit, and any other step, costs more.
    let mut lopsided = fit.weights.clone();
    lopsided.row_mut(0).fill(0.0);
    lopsided.row_mut(1).mapv_inplace(|w| 2.0 * w);
    assert!(objective(&lopsided, &fit.bias) > reached);
    for scale in [0.95, 1.05] {
        assert!(objective(&(&fit.weights * scale), &fit.bias) > reached);
    }
}

#[test]
fn least_squares_without_a_penalty_solves_the_normal_equations() {
    let (x, _) = learnable(120, 6, 27);
    let y = values(&x, 28);
    for solver in [Solver::Newton, Solver::Fista, Solver::Lbfgs] {
        let params = Params { solver, ..exact() };
        let problem = Problem::of(Response::Values(&y), 0.0, 0.0);
        let fit = &solve(&design(&x), &[problem], &params)[0];
        assert!(fit.certificate.converged && fit.certificate.relative_gap == f64::INFINITY);
        let errors: Vec<f64> = fit
            .values(x.view())
            .iter()
            .zip(&y)
            .map(|(p, y)| f64::from(*p) - f64::from(*y))
            .collect();
        assert!(errors.iter().sum::<f64>().abs() < 1e-3);
        for column in x.columns() {
            let product: f64 = column
                .iter()
                .zip(&errors)
                .map(|(x, e)| f64::from(*x) * e)
                .sum();
            assert!(product.abs() < 1e-3, "{solver:?}: {product}");
        }
    }
}

#[test]
fn ridge_and_lasso_of_values_meet_their_certificates() {
    let (x, _) = learnable(150, 40, 29);
    let y = values(&x, 30);
    let design = design(&x);
    let lasso = |l1| Problem::of(Response::Values(&y), l1, 0.0);
    let largest = probe::lambda_max(&design, &[lasso(0.0)], PenaltyScale::Standardised).unwrap()[0];
    let problems = [
        lasso(1.01 * largest),
        lasso(0.1 * largest),
        Problem::of(Response::Values(&y), 0.0, 0.3),
    ];
    let newton = solve(&design, &problems, &exact());
    let fista = solve(
        &design,
        &problems,
        &Params {
            solver: Solver::Fista,
            ..exact()
        },
    );
    assert_eq!(newton[0].nonzero_weights(), 0);
    assert!((1..40).contains(&newton[1].nonzero_weights()));
    assert_eq!(newton[2].nonzero_weights(), 40);
    for (a, b) in newton.iter().zip(&fista) {
        assert!(a.certificate.converged && b.certificate.converged);
        assert_close("objective", a.objective, b.objective, 2e-6 * b.objective);
    }
}

#[test]
fn an_unpenalised_probe_is_solved_where_it_has_an_optimum_and_refused_where_it_has_none() {
    let (x, y) = learnable(300, 8, 31);
    for solver in [Solver::Newton, Solver::Fista, Solver::Lbfgs] {
        let params = Params { solver, ..exact() };
        let fit = one(&design(&x), &y, 0.0, 0.0, &params);
        assert!(fit.certificate.converged, "{solver:?}");
        assert!(fit.certificate.kkt_relative <= 1e-6);
        // As many neurons as samples separate any labels.
        let (wide, labels) = learnable(30, 40, 32);
        let error = probe::fit(
            &Backend::Cpu,
            &design(&wide),
            &[Problem::new(&labels, 0.0, 0.0)],
            &params,
            &mut |_| {},
        )
        .unwrap_err()
        .to_string();
        assert!(
            error.contains("give l1 or l2 a small positive value"),
            "{error}"
        );
    }
}

#[test]
fn the_norm_that_is_not_squared_is_a_square_whose_factor_fits_the_solution() {
    let (x, y) = learnable(250, 30, 33);
    let two = two_classes(&y);
    let design = design(&x);
    for labels in [&y, &two] {
        for (l1, l2) in [(0.004, 0.01), (0.0, 0.02)] {
            let own = Problem {
                norm: Norm::Frobenius,
                ..Problem::new(labels, l1, l2)
            };
            let params = exact();
            let fit = &solve(&design, &[own], &params)[0];
            assert!(fit.certificate.converged, "{l1} {l2}");
            let square: f64 = fit.standardised.iter().map(|w| f64::from(*w).powi(2)).sum();
            // λ2‖W‖ and (λ2/2‖W*‖)‖W‖² + λ2‖W*‖/2 touch at W*, with the same gradient: the same optimum.
            let touching = Problem::new(labels, l1, l2 / (2.0 * square.sqrt()));
            let other = &solve(&design, &[touching], &params)[0];
            let offset = l2 * square.sqrt() / 2.0;
            assert_close(
                "objective",
                fit.objective,
                other.objective + offset,
                4e-6 * fit.objective,
            );
        }
    }
    // Neurons of any scale: activations times s with λ divided by s have the same objective.
    let params = |solver| Params {
        scale: PenaltyScale::Raw,
        solver,
        stop: Stop::Gap(1e-5),
        ..exact()
    };
    let raw = |s: f64, solver| {
        let scaled = super::probe::design(&x.mapv(|v| v * s as f32));
        let own = Problem {
            norm: Norm::Frobenius,
            ..Problem::new(&y, 0.004 * s, 0.01 * s)
        };
        solve(&scaled, &[own], &params(solver)).remove(0)
    };
    let plain = raw(1.0, Solver::Newton);
    for solver in [Solver::Newton, Solver::Fista, Solver::Lbfgs] {
        for s in [1e5, 1e-5] {
            let other = raw(s, solver);
            assert!(other.certificate.converged, "{solver:?}, {s:e}");
            assert_close(
                "objective",
                other.objective,
                plain.objective,
                2e-5 * plain.objective,
            );
        }
    }
    let strong = Problem {
        norm: Norm::Frobenius,
        ..Problem::new(&y, 0.01, 1.0)
    };
    let empty = &solve(&design, &[strong], &exact())[0];
    assert!(empty.certificate.converged);
    assert_eq!(empty.nonzero_weights(), 0);
}

#[test]
fn responses_and_weights_that_do_not_fit_the_design_are_refused() {
    let (x, y) = learnable(40, 5, 34);
    let design = design(&x);
    let complaint = |problem: Problem<'_>| {
        probe::fit(&Backend::Cpu, &design, &[problem], &exact(), &mut |_| {})
            .unwrap_err()
            .to_string()
    };
    let plain = Problem::new(&y, 0.1, 0.1);
    let with = |weights| Problem {
        weights: Some(weights),
        ..plain
    };
    let mut values = values(&x, 35);
    assert!(complaint(with(&[1.0; 3])).contains("3 weights for 40 rows"));
    assert!(complaint(with(&[0.0; 40])).contains("all of them are 0"));
    assert!(complaint(with(&[1e308; 40])).contains("their sum is inf"));
    let mut weights = vec![1.0; 40];
    weights[7] = -1.0;
    assert!(complaint(with(&weights)).contains("row 7 has -1"));
    let one_class: Vec<f64> = y
        .ids()
        .iter()
        .map(|id| f64::from(u8::from(*id == 1)))
        .collect();
    assert!(complaint(with(&one_class)).contains("one class"));
    values[3] = f32::NAN;
    let problem = Problem::of(Response::Values(&values), 0.1, 0.1);
    assert!(complaint(problem).contains("row 3 is NaN"));
    let problem = Problem::of(Response::Values(&values[..7]), 0.1, 0.1);
    assert!(complaint(problem).contains("7 values for 40 rows"));
}

#[test]
fn ridge_beyond_a_working_set_has_the_optimum_that_fista_finds() {
    let (x, y) = learnable(60, 2100, 36);
    const { assert!(2101 * 3 > probe::WORKING_SET_MAX) };
    let design = design(&x);
    let problems = [
        Problem::new(&y, 0.0, 0.05),
        Problem {
            norm: Norm::Frobenius,
            ..Problem::new(&y, 0.0, 0.05)
        },
    ];
    let solver = |solver| Params {
        solver,
        stop: Stop::Gap(1e-5),
        ..exact()
    };
    let fits = solve(&design, &problems, &solver(Solver::Auto));
    let checks = solve(&design, &problems, &solver(Solver::Fista));
    for (fit, check) in fits.iter().zip(&checks) {
        assert!(fit.certificate.converged && check.certificate.converged);
        assert!(fit.certificate.depth < check.certificate.depth);
        assert_close(
            "objective",
            fit.objective,
            check.objective,
            2e-5 * check.objective,
        );
    }
}
