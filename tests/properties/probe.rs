//! Laws of `ops::probe`.

use ndarray::Array2;
use neurosieve::Backend;
use neurosieve::labels::Labels;
use neurosieve::ops::moments::moments;
use neurosieve::ops::probe::{self, Design, Fit, Params, PenaltyScale, Problem, Solver, Stop};

use crate::support::{activations, assert_close, labels, normal, random};

pub fn design(x: &Array2<f32>) -> Design {
    let found = moments(&Backend::Cpu, x.view(), None).unwrap();
    let columns: Vec<usize> = (0..x.ncols()).collect();
    Design::new(&Backend::Cpu, x.view(), &found, &columns).unwrap()
}

/// Correlated neurons that carry three overlapping classes.
/// Parameters that leave no doubt about the optimum.
pub fn exact() -> Params {
    Params {
        stop: Stop::Certified,
        ..Params::default()
    }
}

pub fn learnable(samples: usize, neurons: usize, seed: u64) -> (Array2<f32>, Labels) {
    let mut random = random(seed);
    let ids: Vec<u32> = (0..samples).map(|i| (i * 7 % 3) as u32).collect();
    let x = Array2::from_shape_fn((samples, neurons), |_| normal(&mut random));
    let x = Array2::from_shape_fn((samples, neurons), |(i, j)| {
        let before = if j > 0 { 0.6 * x[(i, j - 1)] } else { 0.0 };
        let signal = if j % 5 == ids[i] as usize { 0.8 } else { 0.0 };
        (x[(i, j)] + before + signal) as f32
    });
    let classes = ["a", "b", "c"].map(String::from).to_vec();
    (x, Labels::new(ids, classes).unwrap())
}

pub fn one(design: &Design, labels: &Labels, l1: f64, l2: f64, params: &Params) -> Fit {
    let problem = Problem::new(labels, l1, l2);
    probe::fit(&Backend::Cpu, design, &[problem], params, &mut |_| {})
        .unwrap()
        .remove(0)
}

fn lambda_max(design: &Design, labels: &Labels, scale: PenaltyScale) -> neurosieve::Result<f64> {
    let problem = Problem::new(labels, 0.0, 0.0);
    Ok(probe::lambda_max(design, &[problem], scale)?[0])
}

#[test]
fn above_lambda_max_every_weight_is_zero_and_below_it_one_is_not() {
    let (x, y) = learnable(150, 20, 1);
    let design = design(&x);
    for scale in [PenaltyScale::Standardised, PenaltyScale::Raw] {
        let params = Params { scale, ..exact() };
        let largest = lambda_max(&design, &y, scale).unwrap();
        let above = one(&design, &y, 1.001 * largest, 0.1 * largest, &params);
        let below = one(&design, &y, 0.99 * largest, 0.1 * largest, &params);
        assert_eq!(above.nonzero_weights(), 0, "{scale:?}");
        assert!(below.nonzero_weights() > 0, "{scale:?}");
    }
}

#[test]
fn newton_and_fista_reach_the_same_optimum() {
    let (x, y) = learnable(300, 40, 2);
    let design = design(&x);
    for scale in [PenaltyScale::Standardised, PenaltyScale::Raw] {
        let largest = lambda_max(&design, &y, scale).unwrap();
        for (ratio, l2_per_l1) in [(0.3, 1.0), (0.03, 0.05), (0.003, 1.0)] {
            let (l1, l2) = (ratio * largest, l2_per_l1 * ratio * largest);
            let fitted = |solver| {
                let params = Params {
                    solver,
                    scale,
                    ..exact()
                };
                one(&design, &y, l1, l2, &params)
            };
            let (newton, fista) = (fitted(Solver::Newton), fitted(Solver::Fista));
            assert!(newton.certificate.converged && fista.certificate.converged);
            assert_close(
                "objective",
                newton.objective,
                fista.objective,
                1e-6 * fista.objective,
            );
            // ‖W − W*‖ ≤ √(2 gap / μ) for each, μ = 2 l2 on the scale that is penalised.
            let radius = |fit: &Fit| (fit.certificate.duality_gap / l2).sqrt();
            let penalised = |fit: &Fit| match scale {
                PenaltyScale::Standardised => fit.standardised.clone(),
                PenaltyScale::Raw => fit.weights.clone(),
            };
            let distance = (penalised(&newton) - penalised(&fista))
                .iter()
                .map(|d| f64::from(*d).powi(2))
                .sum::<f64>()
                .sqrt();
            assert!(
                distance <= radius(&newton) + radius(&fista) + 1e-5,
                "{scale:?}, ratio {ratio}: weights are {distance} apart"
            );
        }
    }
}

#[test]
fn certified_zeros_and_nonzeros_hold_at_a_much_tighter_optimum() {
    let (x, y) = learnable(300, 40, 3);
    let design = design(&x);
    let largest = lambda_max(&design, &y, PenaltyScale::Standardised).unwrap();
    let loose = Params {
        stop: Stop::Gap(1e-3),
        ..exact()
    };
    let tight = Params {
        stop: Stop::Gap(1e-7),
        ..exact()
    };
    let (l1, l2) = (0.05 * largest, 0.05 * largest);
    let rough = one(&design, &y, l1, l2, &loose).certificate;
    let exact = one(&design, &y, l1, l2, &tight);
    let zeros = exact.standardised.len() - exact.nonzero_weights();
    assert!(
        rough.certified_zeros <= zeros,
        "{} > {zeros}",
        rough.certified_zeros
    );
    assert!(rough.certified_nonzeros <= exact.nonzero_weights());
    assert!(exact.certificate.certified_zeros > zeros * 9 / 10);
    assert!(exact.certificate.certified_nonzeros > exact.nonzero_weights() / 2);
}

#[test]
fn a_batch_gives_what_its_problems_give_alone() {
    let (x, y) = learnable(200, 30, 4);
    let design = design(&x);
    let params = exact();
    let penalties = [(0.02, 0.01), (0.005, 0.02), (0.001, 0.0005)];
    let problems: Vec<Problem<'_>> = penalties
        .iter()
        .map(|&(l1, l2)| Problem::new(&y, l1, l2))
        .collect();
    let batch = probe::fit(&Backend::Cpu, &design, &problems, &params, &mut |_| {}).unwrap();
    for (fit, (l1, l2)) in batch.iter().zip(penalties) {
        let alone = one(&design, &y, l1, l2, &params);
        assert_close(
            "objective",
            fit.objective,
            alone.objective,
            1e-6 * alone.objective,
        );
    }
}

#[test]
fn the_same_seed_gives_the_same_bits_whatever_the_number_of_threads() {
    let (x, y) = learnable(600, 40, 5);
    let design = design(&x);
    let fitted = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| one(&design, &y, 0.003, 0.001, &exact()))
    };
    let (a, b, c) = (fitted(1), fitted(2), fitted(5));
    assert_eq!(a.weights, b.weights);
    assert_eq!(a.weights, c.weights);
    assert_eq!(a.objective.to_bits(), c.objective.to_bits());
}

#[test]
fn shift_and_scale_of_a_neuron_change_nothing_when_standardised_weights_are_penalised() {
    let (x, y) = learnable(200, 12, 6);
    let mut moved = x.clone();
    for (j, mut column) in moved.columns_mut().into_iter().enumerate() {
        column.mapv_inplace(|v| v * 2f32.powi(j as i32 - 6) + 3.0);
    }
    let plain = one(&design(&x), &y, 0.01, 0.01, &exact());
    let other = one(&design(&moved), &y, 0.01, 0.01, &exact());
    assert_close(
        "objective",
        other.objective,
        plain.objective,
        3e-6 * plain.objective,
    );
    assert_eq!(plain.predict(x.view()), other.predict(moved.view()));
}

#[test]
fn a_warm_start_ends_at_the_same_optimum_in_fewer_passes() {
    let (x, y) = learnable(300, 40, 7);
    let design = design(&x);
    let params = exact();
    let near = one(&design, &y, 0.0021, 0.001, &params);
    let problem = |start| Problem {
        start,
        ..Problem::new(&y, 0.002, 0.001)
    };
    let run = |start| {
        probe::fit(
            &Backend::Cpu,
            &design,
            &[problem(start)],
            &params,
            &mut |_| {},
        )
        .unwrap()
        .remove(0)
    };
    let (cold, warm) = (run(None), run(Some(&near)));
    assert_close(
        "objective",
        warm.objective,
        cold.objective,
        2e-6 * cold.objective,
    );
    assert!(warm.certificate.passes < cold.certificate.passes);
}

#[test]
fn constant_neurons_get_weight_zero_and_absent_classes_are_never_predicted() {
    let x = activations(300, 24, 9);
    let y = labels(300, 4, 10); // class 3 never occurs
    let fit = one(&design(&x), &y, 0.002, 0.002, &exact());
    for column in [3, 11, 19] {
        assert!(
            fit.weights.column(column).iter().all(|w| *w == 0.0),
            "neuron {column} is constant"
        );
    }
    assert!(fit.weights.row(3).iter().all(|w| *w == 0.0));
    assert_eq!(fit.bias[3], probe::ABSENT_CLASS_BIAS);
    assert!(!fit.predict(x.view()).contains(&3));
}

#[test]
fn pure_l1_and_pure_l2_are_solved_and_certified() {
    let (x, y) = learnable(300, 15, 11);
    let design = design(&x);
    let params = Params {
        stop: Stop::Gap(1e-5),
        ..exact()
    };
    let lasso = one(&design, &y, 0.02, 0.0, &params);
    let ridge = one(&design, &y, 0.0, 0.02, &params);
    assert!(lasso.certificate.converged, "{:?}", lasso.certificate);
    assert!(ridge.certificate.converged, "{:?}", ridge.certificate);
    assert!(lasso.nonzero_weights() < lasso.standardised.len());
    assert_eq!(ridge.nonzero_weights(), ridge.standardised.len());
}

#[test]
fn running_out_of_passes_is_reported_not_hidden() {
    let (x, y) = learnable(300, 40, 12);
    let params = Params {
        max_passes: 3.0,
        ..exact()
    };
    let fit = one(&design(&x), &y, 1e-4, 1e-4, &params);
    assert!(!fit.certificate.converged);
    assert!(fit.certificate.relative_gap > 1e-6);
}

#[test]
fn impossible_requests_say_what_to_change() {
    let (x, y) = learnable(60, 8, 13);
    let design = design(&x);
    let attempt = |labels: &Labels, l1, l2, params: &Params| {
        let problem = Problem::new(labels, l1, l2);
        probe::fit(&Backend::Cpu, &design, &[problem], params, &mut |_| {})
            .unwrap_err()
            .to_string()
    };
    let fine = exact();
    assert!(attempt(&y, -1.0, 0.1, &fine).contains("l1: it is -1"));
    assert!(attempt(&y, f64::NAN, 0.1, &fine).contains("NaN"));
    let short = Labels::new(vec![0, 1], vec!["a".into(), "b".into()]).unwrap();
    assert!(attempt(&short, 0.1, 0.1, &fine).contains("2 labels for 60 rows"));
    let single = Labels::new(vec![1; 60], vec!["a".into(), "b".into()]).unwrap();
    assert!(attempt(&single, 0.1, 0.1, &fine).contains("one class"));
    let greedy = Params {
        stop: Stop::Gap(1e-12),
        ..exact()
    };
    assert!(attempt(&y, 0.1, 0.1, &greedy).contains("1e-7"));
}

#[test]
fn a_problem_too_wide_for_a_working_set_goes_on_with_fista_and_is_certified() {
    let mut random = random(14);
    let x = Array2::from_shape_fn((500, 450), |_| normal(&mut random) as f32);
    // Random classes of as many neurons as samples: at a weak penalty nearly every weight is in use.
    let y = labels(500, 17, 15);
    let design = design(&x);
    let params = Params {
        stop: Stop::Gap(1e-2),
        ..exact()
    };
    let largest = lambda_max(&design, &y, params.scale).unwrap();
    let fit = one(&design, &y, 2e-3 * largest, 0.2 * largest, &params);
    assert!(
        fit.nonzero_weights() > probe::WORKING_SET_MAX,
        "{} non-zero weights fit a working set: the case tests nothing",
        fit.nonzero_weights()
    );
    assert!(fit.certificate.converged, "{:?}", fit.certificate);
}

#[test]
fn no_gap_promises_more_than_the_true_distance_to_the_optimum() {
    // Real tokens and easy classes at weak penalties: most probabilities are nearly one-hot, and scaling rows and
    // columns in turn does not make a dual point feasible there. FISTA stops far enough away for that to show.
    let train = crate::golden::fixture().train();
    let x = train.activations.view().to_owned();
    let (y, design) = (&train.labels[1], design(&x));
    let largest = lambda_max(&design, y, PenaltyScale::Standardised).unwrap();
    for ratio in [1e-2, 1e-3, 1e-4] {
        let at = |solver, relative_gap| {
            let params = Params {
                solver,
                stop: Stop::Gap(relative_gap),
                max_passes: 1500.0,
                ..exact()
            };
            one(&design, y, ratio * largest, ratio * largest, &params)
        };
        let best = at(Solver::Newton, 1e-7).objective;
        for solver in [Solver::Newton, Solver::Fista, Solver::Lbfgs] {
            for relative_gap in [1e-2, 1e-4] {
                let rough = at(solver, relative_gap);
                let distance = rough.objective - best;
                assert!(
                    distance <= rough.certificate.duality_gap * (1.0 + 1e-9),
                    "{solver:?}, ratio {ratio}, gap {relative_gap}: {distance:e} above the optimum, {:e} promised",
                    rough.certificate.duality_gap
                );
            }
        }
    }
}
