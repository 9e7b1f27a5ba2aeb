//! Laws of `ops::probe::exact`, by a naive f64 reference that shares nothing with it.

use ndarray::{Array1, Array2};
use neurosieve::labels::Labels;
use neurosieve::ops::probe::exact::{Exact, Params, fit, is_small};
use neurosieve::ops::probe::{ABSENT_CLASS_BIAS, Norm, PenaltyScale, Problem, Response};

use crate::properties::probe::{design, learnable, one};
use crate::support::assert_close;

const RAW: Params = Params {
    scale: PenaltyScale::Raw,
    intercepts: true,
    max_steps: 100,
};

/// Three classes, or two of them, in f64 with neurons of unlike scales and means.
fn sample(classes: u32, seed: u64) -> (Array2<f64>, Labels) {
    let (x, y) = learnable(240, 9, seed);
    let mut x = x.mapv(f64::from);
    for (j, mut column) in x.columns_mut().into_iter().enumerate() {
        column.mapv_inplace(|v| 3f64.powi(j as i32 - 4) * v + 0.3 * j as f64);
    }
    let ids = y.ids().iter().map(|id| id % classes).collect();
    let names = (0..classes).map(|class| class.to_string()).collect();
    (x, Labels::new(ids, names).unwrap())
}

/// Probabilities of a probe, N × C.
fn probabilities(x: &Array2<f64>, weights: &Array2<f64>, bias: &Array1<f64>) -> Array2<f64> {
    let mut p = x.dot(&weights.t()) + bias;
    for mut row in p.rows_mut() {
        let top = row.fold(f64::NEG_INFINITY, |a, b| a.max(*b));
        row.mapv_inplace(|v| (v - top).exp());
        let sum = row.sum();
        row /= sum;
    }
    p
}

/// The objective on raw coefficients, and its largest smallest subgradient, by the book.
fn optimality(
    x: &Array2<f64>,
    y: &Labels,
    omega: &[f64],
    fit: &Exact,
    (l1, l2): (f64, f64),
    intercepts: bool,
) -> (f64, f64) {
    let total: f64 = omega.iter().sum();
    let p = probabilities(x, &fit.weights, &fit.bias);
    let mut objective = 0.0;
    let mut worst = 0.0f64;
    for (class, w) in fit.weights.rows().into_iter().enumerate() {
        let residual = |i: usize| {
            let own = f64::from(u8::from(y.ids()[i] as usize == class));
            omega[i] / total * (p[(i, class)] - own)
        };
        let slope: f64 = (0..x.nrows()).map(residual).sum();
        worst = worst.max(if intercepts { slope.abs() } else { 0.0 });
        for (neuron, w) in w.iter().enumerate() {
            let g: f64 = (0..x.nrows()).map(|i| residual(i) * x[(i, neuron)]).sum();
            let smooth = g + 2.0 * l2 * w;
            worst = worst.max(match *w {
                0.0 => (smooth.abs() - l1).max(0.0),
                w => (smooth + l1 * w.signum()).abs(),
            });
            objective += l1 * w.abs() + l2 * w * w;
        }
    }
    for (i, row) in p.rows().into_iter().enumerate() {
        objective -= omega[i] / total * row[y.ids()[i] as usize].ln();
    }
    (objective, worst)
}

#[test]
fn the_subgradient_vanishes_to_rounding() {
    for classes in [2, 3] {
        let (x, y) = sample(classes, 5);
        let weights: Vec<f64> = (0..x.nrows()).map(|i| (i % 4) as f64).collect();
        for (l1, l2) in [
            (0.02, 0.01),
            (0.001, 1e-6),
            (0.05, 0.0),
            (0.0, 0.003),
            (0.3, 0.3),
        ] {
            for intercepts in [true, false] {
                let problem = Problem {
                    weights: Some(&weights),
                    ..Problem::new(&y, l1, l2)
                };
                let params = Params { intercepts, ..RAW };
                let found = fit(x.view(), &problem, &params).unwrap();
                let what = format!("{classes} classes, l1 {l1}, l2 {l2}, intercepts {intercepts}");
                let (objective, worst) = optimality(&x, &y, &weights, &found, (l1, l2), intercepts);
                assert!(worst < 1e-10, "{what}: a subgradient of {worst:e}");
                assert_close(&what, found.objective, objective, 1e-12);
                assert!(found.certificate.converged, "{what}");
                assert!(found.certificate.kkt < 1e-10, "{what}");
                let gap = found.certificate.relative_gap;
                assert!(gap < 1e-8, "{what}: a gap of {gap:e}");
                assert!(intercepts || found.bias.iter().all(|b| *b == 0.0), "{what}");
            }
        }
    }
}

#[test]
fn another_point_has_a_subgradient_that_does_not_vanish() {
    let (x, y) = sample(3, 6);
    let omega = vec![1.0; x.nrows()];
    let mut found = fit(x.view(), &Problem::new(&y, 0.02, 0.01), &RAW).unwrap();
    let (best, _) = optimality(&x, &y, &omega, &found, (0.02, 0.01), true);
    found.weights[(0, 4)] += 1e-4;
    let (other, worst) = optimality(&x, &y, &omega, &found, (0.02, 0.01), true);
    assert!(worst > 1e-6 && other > best);
}

#[test]
fn it_is_the_optimum_of_the_engine_on_either_scale() {
    let (x, y) = learnable(300, 12, 7);
    let design = design(&x);
    for scale in [PenaltyScale::Standardised, PenaltyScale::Raw] {
        let theirs = crate::properties::probe::exact();
        let theirs = one(
            &design,
            &y,
            0.02,
            0.01,
            &neurosieve::ops::probe::Params { scale, ..theirs },
        );
        let params = Params { scale, ..RAW };
        let ours = fit(
            x.mapv(f64::from).view(),
            &Problem::new(&y, 0.02, 0.01),
            &params,
        )
        .unwrap();
        // The engine standardises in f32, which moves every logit by up to 6e-8 of its terms.
        let above = theirs.objective - ours.objective;
        assert!(above >= -1e-7, "{scale:?}: {above:e} below the optimum");
        assert!(
            above <= theirs.certificate.duality_gap + 1e-7,
            "{scale:?}: {above:e}"
        );
        assert_close(
            "λ_max",
            ours.certificate.kkt / ours.certificate.kkt_relative,
            theirs.certificate.kkt / theirs.certificate.kkt_relative,
            1e-4,
        );
    }
}

#[test]
fn samples_of_weight_zero_are_not_seen_and_copies_are_weights() {
    let (x, y) = sample(3, 8);
    let weights: Vec<f64> = (0..x.nrows()).map(|i| ((i * i) % 3) as f64).collect();
    let copies: Vec<usize> = (0..x.nrows())
        .flat_map(|i| std::iter::repeat_n(i, weights[i] as usize))
        .collect();
    let repeated = x.select(ndarray::Axis(0), &copies);
    let ids = copies.iter().map(|i| y.ids()[*i]).collect();
    let labels = Labels::new(ids, y.classes().to_vec()).unwrap();
    let weighted = Problem {
        weights: Some(&weights),
        ..Problem::new(&y, 0.01, 0.02)
    };
    let a = fit(x.view(), &weighted, &RAW).unwrap();
    let b = fit(repeated.view(), &Problem::new(&labels, 0.01, 0.02), &RAW).unwrap();
    let both = a.weights.iter().zip(&b.weights);
    for (a, b) in both.chain(a.bias.iter().zip(&b.bias)) {
        assert_close("coefficient", *a, *b, 1e-10);
    }
}

#[test]
fn what_does_not_vary_and_who_is_absent_have_no_weight() {
    let (mut x, y) = sample(3, 9);
    x.column_mut(2).fill(1.7);
    let names = ["a", "b", "c", "nobody"].map(String::from).to_vec();
    let y = Labels::new(y.ids().to_vec(), names).unwrap();
    let found = fit(x.view(), &Problem::new(&y, 0.001, 0.001), &RAW).unwrap();
    assert!(found.weights.column(2).iter().all(|w| *w == 0.0));
    assert!(found.weights.row(3).iter().all(|w| *w == 0.0));
    assert_close("bias", found.bias[3], f64::from(ABSENT_CLASS_BIAS), 1e21);
}

#[test]
fn what_is_not_solved_is_refused() {
    let (x, y) = sample(2, 10);
    let values = vec![0.5f32; x.nrows()];
    let refused = |problem: &Problem<'_>, params: &Params| {
        fit(x.view(), problem, params).unwrap_err().to_string()
    };
    let plain = Problem::new(&y, 0.1, 0.1);
    let of_values = Problem::of(Response::Values(&values), 0.1, 0.1);
    assert!(refused(&of_values, &RAW).contains("of values"));
    let norm = Norm::Frobenius;
    assert!(refused(&Problem { norm, ..plain }, &RAW).contains("not squared"));
    assert!(refused(&Problem { l1: -1.0, ..plain }, &RAW).contains("l1: it is -1"));
    let params = Params {
        max_steps: 0,
        ..RAW
    };
    assert!(refused(&plain, &params).contains("max_steps"));
    let mut bad = x.clone();
    bad[(3, 4)] = f64::NAN;
    let error = fit(bad.view(), &plain, &RAW).unwrap_err().to_string();
    assert!(error.contains("row 3, neuron 4"), "{error}");
    // Classes that a line tells apart have no optimum without a penalty.
    let line = Array2::from_shape_fn((40, 1), |(i, _)| i as f64);
    let ids = (0..40).map(|i| u32::from(i >= 20)).collect();
    let apart = Labels::new(ids, vec!["a".into(), "b".into()]).unwrap();
    let error = fit(line.view(), &Problem::new(&apart, 0.0, 0.0), &RAW).unwrap_err();
    assert!(error.to_string().contains("no optimum"), "{error}");
}

#[test]
fn a_fit_that_is_stopped_says_so() {
    let (x, y) = sample(3, 11);
    let params = Params {
        max_steps: 1,
        ..RAW
    };
    let found = fit(x.view(), &Problem::new(&y, 1e-4, 1e-4), &params).unwrap();
    assert!(!found.certificate.converged && found.certificate.relative_gap > 1e-6);
}

#[test]
fn small_is_what_takes_no_time() {
    assert!(is_small(150, 4, 3) && is_small(1000, 100, 2));
    assert!(!is_small(1_000_000, 100, 2) && !is_small(100, 300, 3));
    assert_eq!(Params::default().scale, PenaltyScale::Standardised);
}
