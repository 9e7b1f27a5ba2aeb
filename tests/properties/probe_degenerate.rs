//! Inputs of `ops::probe` at the edge: each has a defined answer.

use ndarray::{Array2, concatenate, s};
use neurosieve::Backend;
use neurosieve::labels::Labels;
use neurosieve::ops::moments::moments;
use neurosieve::ops::probe::{self, Design, Params, Problem, Response, Solver};

use crate::properties::probe::{design, exact, learnable, one};
use crate::support::{activations, assert_close, labels, normal, random};

#[test]
fn twin_neurons_share_a_weight_under_a_square_and_change_no_objective() {
    let (x, y) = learnable(200, 12, 41);
    let twin = x.slice(s![.., 4..5]);
    let twins = concatenate![ndarray::Axis(1), x, twin];
    for solver in [Solver::Newton, Solver::Fista, Solver::Lbfgs] {
        let params = Params { solver, ..exact() };
        let shared = one(&design(&twins), &y, 0.005, 0.01, &params);
        assert!(shared.certificate.converged);
        for class in shared.standardised.rows() {
            assert_close("twins", class[4].into(), class[12].into(), 2e-3);
        }
        // Under pure L1 the optimum is not unique, but its value is that of one of the twins.
        let both = one(&design(&twins), &y, 0.005, 0.0, &params);
        let single = one(&design(&x), &y, 0.005, 0.0, &params);
        assert!(both.certificate.converged);
        assert_close(
            "objective",
            both.objective,
            single.objective,
            2e-6 * single.objective,
        );
    }
}

#[test]
fn one_sample_of_each_class_is_enough() {
    let (x, _) = learnable(3, 10, 42);
    let y = Labels::new(vec![2, 0, 1], ["a", "b", "c"].map(String::from).to_vec()).unwrap();
    for solver in [Solver::Newton, Solver::Fista, Solver::Lbfgs] {
        let params = Params { solver, ..exact() };
        let fit = one(&design(&x), &y, 0.001, 0.001, &params);
        assert!(fit.certificate.converged);
        assert_eq!(fit.predict(x.view()), y.ids());
    }
}

#[test]
fn badly_conditioned_probes_come_to_their_optimum_in_some_hundred_passes() {
    let train = crate::golden::fixture().train();
    let x = train.activations.view();
    // Raw and nearly free weights of few neurons that many tokens share: a Hessian of too small a sample leads nowhere.
    for (neurons, penalty) in [(12, 1e-6), (24, 1e-6), (48, 1e-5)] {
        let x = x.slice(s![.., ..neurons]).as_standard_layout().into_owned();
        let problem = Problem {
            norm: probe::Norm::Frobenius,
            ..Problem::new(&train.labels[0], penalty, penalty)
        };
        let params = Params {
            scale: probe::PenaltyScale::Raw,
            stop: probe::Stop::Gap(1e-3),
            ..Params::default()
        };
        let fit = probe::fit(&Backend::Cpu, &design(&x), &[problem], &params, &mut |_| {});
        let certificate = fit.expect("it has an optimum").remove(0).certificate;
        assert!(
            certificate.converged && certificate.passes < 500.0,
            "{neurons}: {certificate:?}"
        );
    }
}

#[test]
fn separable_classes_and_more_neurons_than_samples_have_an_optimum_under_a_tiny_penalty() {
    let (x, y) = learnable(40, 90, 43);
    let design = design(&x);
    for (l1, l2) in [(1e-6, 1e-6), (1e-6, 0.0), (0.0, 1e-6)] {
        let params = Params {
            stop: probe::Stop::Gap(1e-3),
            ..exact()
        };
        let fit = one(&design, &y, l1, l2, &params);
        assert!(fit.certificate.converged, "l1 {l1}, l2 {l2}");
        assert!(fit.objective < 1e-3);
        assert_eq!(fit.predict(x.view()), y.ids());
    }
}

#[test]
fn values_that_do_not_vary_need_no_neuron() {
    let (x, _) = learnable(50, 8, 44);
    let same = vec![2.5; 50];
    let problem = Problem::of(Response::Values(&same), 0.01, 0.01);
    let fit = &probe::fit(
        &Backend::Cpu,
        &design(&x),
        &[problem],
        &exact(),
        &mut |_| {},
    )
    .unwrap()[0];
    assert!(fit.certificate.converged);
    assert_eq!(fit.nonzero_weights(), 0);
    assert_close("bias", fit.bias[0].into(), 2.5, 1e-6);
}

#[test]
fn neurons_that_are_not_finite_are_named() {
    let mut random = random(45);
    let mut x = Array2::from_shape_fn((30, 4), |_| normal(&mut random) as f32);
    for bad in [f32::NAN, f32::INFINITY] {
        x[(7, 2)] = bad;
        let found = moments(&Backend::Cpu, x.view(), None).unwrap();
        let error = Design::new(&Backend::Cpu, x.view(), &found, &[0, 1, 2, 3]).unwrap_err();
        assert!(error.to_string().contains("neuron 2"), "{error}");
        assert!(Design::new(&Backend::Cpu, x.view(), &found, &[0, 1, 3]).is_ok());
    }
}

#[test]
fn a_start_keeps_the_large_biases_of_neurons_far_from_zero() {
    // Means of 100 sd: biases of raw activations are in the hundreds, on either side of 0.
    let y = labels(60, 4, 2);
    let mut x = activations(60, 16, 3).select(ndarray::Axis(1), &[1, 9]);
    for (mut row, id) in x.rows_mut().into_iter().zip(y.ids()) {
        row[0] += 2.0 * *id as f32;
    }
    let moments = moments(&Backend::Cpu, x.view(), None).unwrap();
    let design = Design::new(&Backend::Cpu, x.view(), &moments, &[0, 1]).unwrap();
    for solver in [Solver::Newton, Solver::Fista, Solver::Lbfgs] {
        let params = Params {
            solver,
            stop: probe::Stop::Certified,
            ..Params::default()
        };
        let solve = |problem: Problem<'_>| {
            probe::fit(&Backend::Cpu, &design, &[problem], &params, &mut |_| {})
                .unwrap()
                .remove(0)
        };
        let first = solve(Problem::new(&y, 0.0, 1e-3));
        assert!(
            first.bias.iter().any(|b| *b < -30.0 && *b > -1e6),
            "{:?}",
            first.bias
        );
        let again = solve(Problem {
            start: Some(&first),
            ..Problem::new(&y, 0.0, 1e-3)
        });
        assert!((again.objective / first.objective - 1.0).abs() < 2e-6);
        assert!(again.certificate.passes < 0.5 * first.certificate.passes);
    }
}
