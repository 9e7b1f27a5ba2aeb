//! Extreme neurons in moments, correlation and probe, natively: a table of what is put in and what comes out.

use ndarray::{Array2, s};
use neurosieve::Backend;
use neurosieve::activations::{Activations, LayerMap, Spread};
use neurosieve::labels::Labels;
use neurosieve::ops::correlation::{self, correlation};
use neurosieve::ops::moments::moments;
use neurosieve::ops::probe::{self, Design, Params, Problem};

use super::sample;

const VARIES: Spread = Spread::Varies;

/// What is done to a plain matrix of four neurons, and how much each of them then varies.
type Case = (&'static str, fn(&mut Array2<f32>), [Spread; 4]);

fn scale_all(x: &mut Array2<f32>, by: f32) {
    x.mapv_inplace(|value| value * by);
}

fn scale_one(x: &mut Array2<f32>, by: f32) {
    x.column_mut(0).mapv_inplace(|value| value * by);
}

/// Large values of both signs, one rare: deviations from their mean are beyond f32.
fn largest(x: &mut Array2<f32>) {
    for (row, value) in x.column_mut(0).iter_mut().enumerate() {
        *value = if row % 10 == 0 { -f32::MAX } else { f32::MAX };
    }
}

const CASES: &[Case] = &[
    ("plain", |_| (), [VARIES; 4]),
    ("all times 1e30", |x| scale_all(x, 1e30), [VARIES; 4]),
    ("all times 1e-30", |x| scale_all(x, 1e-30), [VARIES; 4]),
    (
        "all subnormal",
        |x| scale_all(x, 1e-40),
        [Spread::Constant; 4],
    ),
    ("one times 1e30", |x| scale_one(x, 1e30), [VARIES; 4]),
    (
        "one times 1e-30",
        |x| scale_one(x, 1e-30),
        [Spread::NearlyConstant, VARIES, VARIES, VARIES],
    ),
    (
        "one subnormal",
        |x| scale_one(x, 1e-40),
        [Spread::Constant, VARIES, VARIES, VARIES],
    ),
    ("the largest f32 and its opposite", largest, [VARIES; 4]),
    (
        "one constant",
        |x| x.column_mut(0).fill(0.1),
        [Spread::Constant, VARIES, VARIES, VARIES],
    ),
    (
        "one constant and huge",
        |x| x.column_mut(0).fill(f32::MAX),
        [Spread::Constant, VARIES, VARIES, VARIES],
    ),
    (
        "two the same",
        |x| {
            let twin = x.column(0).to_owned();
            x.column_mut(1).assign(&twin);
        },
        [VARIES; 4],
    ),
    (
        "two opposite",
        |x| {
            let twin = -&x.column(0);
            x.column_mut(1).assign(&twin);
        },
        [VARIES; 4],
    ),
];

/// Pearson's r by its definition, in f64.
fn pearson(x: &Array2<f32>, i: usize, j: usize) -> f64 {
    let of = |neuron: usize| {
        let values: Vec<f64> = x.column(neuron).iter().map(|&v| v.into()).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        values.into_iter().map(move |v| v - mean)
    };
    let product: f64 = of(i).zip(of(j)).map(|(a, b)| a * b).sum();
    let square = |neuron| of(neuron).map(|a| a * a).sum::<f64>();
    product / (square(i) * square(j)).sqrt()
}

fn spoilt(case: &Case) -> (Array2<f32>, Labels) {
    let (mut x, labels) = sample(120, 4, 3, 5);
    case.1(&mut x);
    (x, labels)
}

#[test]
fn moments_are_finite_and_say_how_much_each_neuron_varies() {
    for case in CASES {
        let (x, _) = spoilt(case);
        let found = moments(&Backend::Cpu, x.view(), None).unwrap();
        assert_eq!(found.spread, case.2, "{}", case.0);
        let figures = found.mean.iter().chain(&found.sd);
        assert!(figures.into_iter().all(|v| v.is_finite()), "{}", case.0);
    }
}

#[test]
fn correlations_are_those_of_f64_and_0_with_a_constant_neuron() {
    for case in CASES {
        let (x, _) = spoilt(case);
        let found = moments(&Backend::Cpu, x.view(), None).unwrap();
        let r = correlation(&Backend::Cpu, x.view(), &found).unwrap();
        for (i, j) in [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)] {
            let still = [i, j].iter().any(|&n| found.spread[n] == Spread::Constant);
            let expected = if still { 0.0 } else { pearson(&x, i, j) };
            let got = f64::from(r.get(i, j));
            let close = (got - expected).abs() <= correlation::TOLERANCE;
            assert!(
                close,
                "{}: r of {i} and {j} is {got}, not {expected}",
                case.0
            );
        }
    }
}

#[test]
fn probes_converge_to_finite_weights_on_the_neurons_that_vary_and_refuse_where_none_does() {
    for case in CASES {
        let (x, labels) = spoilt(case);
        let found = moments(&Backend::Cpu, x.view(), None).unwrap();
        let design = Design::new(&Backend::Cpu, x.view(), &found, &[0, 1, 2, 3]);
        if !case.2.contains(&VARIES) {
            let error = design.unwrap_err().to_string();
            assert!(error.contains("none of them varies"), "{error}");
            continue;
        }
        let problem = Problem::new(&labels, 0.01, 0.01);
        let params = Params::default();
        let fits = probe::fit(
            &Backend::Cpu,
            &design.unwrap(),
            &[problem],
            &params,
            &mut |_| {},
        );
        let fit = &fits.unwrap()[0];
        assert!(fit.certificate.converged, "{}", case.0);
        let numbers = fit.weights.iter().chain(&fit.standardised).chain(&fit.bias);
        assert!(numbers.into_iter().all(|w| w.is_finite()), "{}", case.0);
        for (neuron, spread) in case.2.iter().enumerate() {
            let weights = fit.standardised.column(neuron);
            assert!(
                *spread == VARIES || weights.iter().all(|w| *w == 0.0),
                "{}",
                case.0
            );
        }
        let predicted = fit.predict(x.view());
        let right = predicted.iter().zip(labels.ids()).filter(|(a, b)| a == b);
        assert!(right.count() > 60, "{}: better than guessing", case.0);
    }
}

#[test]
fn values_that_are_not_finite_are_refused_with_their_place() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let (mut x, _) = sample(20, 4, 2, 6);
        x[(7, 3)] = bad;
        let map = LayerMap::uniform(2, 2).unwrap();
        let error = Activations::new(x, map).unwrap_err().to_string();
        for piece in ["row 7", "neuron 3", &bad.to_string()] {
            assert!(error.contains(piece), "{error}");
        }
    }
}

#[test]
fn one_sample_varies_in_no_neuron_and_one_neuron_has_no_pair() {
    let (x, labels) = sample(40, 4, 2, 7);
    let row = x.slice(s![..1, ..]);
    let found = moments(&Backend::Cpu, row, None).unwrap();
    assert_eq!(found.spread, [Spread::Constant; 4]);
    let r = correlation(&Backend::Cpu, row, &found).unwrap();
    assert_eq!(r.packed, [0.0; 6]);
    assert!(Design::new(&Backend::Cpu, row, &found, &[0, 1, 2, 3]).is_err());
    let column = x.slice(s![.., ..1]).to_owned();
    let found = moments(&Backend::Cpu, column.view(), None).unwrap();
    let r = correlation(&Backend::Cpu, column.view(), &found).unwrap();
    assert!(r.packed.is_empty());
    let design = Design::new(&Backend::Cpu, column.view(), &found, &[0]).unwrap();
    let problem = Problem::new(&labels, 0.01, 0.01);
    let fits = probe::fit(
        &Backend::Cpu,
        &design,
        &[problem],
        &Params::default(),
        &mut |_| {},
    );
    assert!(fits.unwrap()[0].certificate.converged);
}

fn fitted(x: &Array2<f32>, labels: &Labels) -> neurosieve::Result<probe::Fit> {
    let found = moments(&Backend::Cpu, x.view(), None)?;
    let columns: Vec<usize> = (0..x.ncols()).collect();
    let design = Design::new(&Backend::Cpu, x.view(), &found, &columns)?;
    let problem = Problem::new(labels, 1e-3, 1e-3);
    let params = Params::default();
    Ok(probe::fit(&Backend::Cpu, &design, &[problem], &params, &mut |_| {})?.remove(0))
}

#[test]
fn one_class_is_refused_and_a_thousand_are_told_apart() {
    let (x, labels) = sample(40, 4, 2, 8);
    let same = Labels::new(vec![1; 40], labels.classes().to_vec()).unwrap();
    let error = fitted(&x, &same).unwrap_err().to_string();
    assert!(error.contains("at least two classes"), "{error}");
    let (x, labels) = sample(1200, 10, 1000, 9);
    let fit = fitted(&x, &labels).unwrap();
    assert!(fit.certificate.converged);
    assert_eq!(fit.weights.dim(), (1000, 10));
    let right = fit
        .predict(x.view())
        .iter()
        .zip(labels.ids())
        .filter(|(a, b)| a == b)
        .count();
    assert!(right > 12, "{right} of 1200, 1 by guessing");
}

#[test]
fn labels_of_no_samples_are_refused_and_a_class_that_train_lacks_is_never_predicted() {
    let error = Labels::new(Vec::new(), vec!["a".into()])
        .unwrap_err()
        .to_string();
    assert!(error.contains("there are none"), "{error}");
    let (x, labels) = sample(60, 4, 2, 10);
    let mut names = labels.classes().to_vec();
    names.insert(1, "absent".into());
    let ids = labels.ids().iter().map(|id| 2 * id).collect();
    let fit = fitted(&x, &Labels::new(ids, names).unwrap()).unwrap();
    assert_eq!(fit.bias[1], probe::ABSENT_CLASS_BIAS);
    assert!(fit.predict(x.view()).iter().all(|class| *class != 1));
}
