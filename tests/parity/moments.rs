//! Moments: GPU = CPU = naive f64.

use ndarray::{Array2, ArrayView2};
use neurosieve::labels::Labels;
use neurosieve::ops::Backend;
use neurosieve::ops::moments::{Moments, Spread, TOLERANCE, moments, standardise};

use crate::support::{self, activations, assert_close, labels};

/// One neuron at a time: the mean, then the squares around it, then every class by itself.
struct Naive {
    mean: f64,
    sd: f64,
    group_mean: Vec<f64>,
}

fn naive(x: ArrayView2<'_, f32>, neuron: usize, labels: &Labels) -> Naive {
    let values: Vec<f64> = x.column(neuron).iter().map(|&v| f64::from(v)).collect();
    let mean_of = |chosen: &[f64]| match chosen.len() {
        0 => 0.0,
        n => chosen.iter().sum::<f64>() / n as f64,
    };
    let mean = mean_of(&values);
    let squares: Vec<f64> = values.iter().map(|v| (v - mean).powi(2)).collect();
    let group_mean = (0..labels.classes().len())
        .map(|class| {
            let of_class: Vec<f64> = values
                .iter()
                .zip(labels.ids())
                .filter(|(_, id)| **id as usize == class)
                .map(|(v, _)| *v)
                .collect();
            mean_of(&of_class)
        })
        .collect();
    Naive {
        mean,
        sd: mean_of(&squares).sqrt(),
        group_mean,
    }
}

/// The largest deviation from the naive reference, in units of what the contract allows.
fn excess(x: ArrayView2<'_, f32>, groups: &Labels, got: &Moments, tolerance: f64) -> f64 {
    let mut worst: f64 = 0.0;
    let mut allow = |got: f64, reference: f64, scale: f64| {
        // Where the spread is zero, the last bit of the mean is allowed.
        let allowed = tolerance * scale + 1e-15 * reference.abs();
        let excess = if got == reference {
            0.0
        } else {
            (got - reference).abs() / allowed
        };
        worst = worst.max(if excess.is_nan() {
            f64::INFINITY
        } else {
            excess
        });
    };
    let group_mean = got.group_mean.as_ref().expect("groups were given");
    let counts = groups.counts();
    for j in 0..x.ncols() {
        let reference = naive(x, j, groups);
        allow(got.mean[j], reference.mean, reference.sd);
        allow(got.sd[j], reference.sd, reference.sd);
        for (class, &mean) in reference.group_mean.iter().enumerate() {
            let off = if counts[class] == 0 {
                0.0
            } else {
                (mean - reference.mean).abs()
            };
            allow(group_mean[(class, j)], mean, reference.sd + off);
        }
    }
    worst
}

const SHAPES: [(usize, usize, u32); 9] = [
    (1, 1, 2),
    (2, 8, 2),
    (63, 64, 3),
    (64, 65, 5),
    (65, 63, 1),
    (257, 131, 16),
    (1023, 17, 7),
    (2049, 24, 3),
    (4801, 40, 40),
];

#[test]
fn the_native_path_equals_the_naive_reference_in_every_shape() {
    for (samples, neurons, classes) in SHAPES {
        let x = activations(samples, neurons, 1);
        let y = labels(samples, classes, 2);
        let got = moments(&Backend::Cpu, x.view(), Some(&y)).unwrap();
        let excess = excess(x.view(), &y, &got, 1e-9);
        assert!(
            excess <= 1.0,
            "{samples} x {neurons}, {classes} classes: {excess}"
        );
    }
}

#[test]
fn the_gpu_equals_the_naive_reference_in_every_shape() {
    let Some(gpu) = support::gpu("the_gpu_equals_the_naive_reference_in_every_shape") else {
        return;
    };
    for (samples, neurons, classes) in SHAPES {
        let x = activations(samples, neurons, 1);
        let y = labels(samples, classes, 2);
        // Also in blocks of samples, as when they do not fit one binding.
        for limit in [u64::MAX, (neurons * 4 * 100).max(4096) as u64] {
            let backend = Backend::Gpu(gpu.with_binding_limit(limit));
            let got = moments(&backend, x.view(), Some(&y)).unwrap();
            let excess = excess(x.view(), &y, &got, TOLERANCE);
            assert!(
                excess <= 1.0,
                "{samples} x {neurons}, {classes} classes, bindings of {limit}: {excess}"
            );
            let native = moments(&Backend::Cpu, x.view(), Some(&y)).unwrap();
            assert_eq!(got.spread, native.spread, "{samples} x {neurons}");
        }
    }
}

#[test]
fn breaking_the_moments_kernel_is_noticed() {
    let Some(gpu) = support::gpu("breaking_the_moments_kernel_is_noticed") else {
        return;
    };
    let source = include_str!("../../shaders/moments.wgsl");
    let (x, y) = (activations(300, 24, 1), labels(300, 3, 2));
    for (right, wrong) in [
        ("i < end", "i + 1u < end"),
        ("fma(d, d, short_square)", "fma(d, abs(d), short_square)"),
        ("runs[p.first + run]", "runs[p.first]"),
        ("- c) * s", ") * s"),
    ] {
        assert!(source.contains(right), "the kernel no longer says {right}");
        let broken = Backend::Gpu(gpu.with_shader("moments", source.replace(right, wrong)));
        let noticed = match moments(&broken, x.view(), Some(&y)) {
            Ok(got) => excess(x.view(), &y, &got, TOLERANCE) > 1.0,
            Err(_) => true,
        };
        assert!(noticed, "{wrong} instead of {right} was not noticed");
    }
}

/// Tokens repeat, so the roundings of a class all go the same way: the sums must be short enough for that.
#[test]
fn a_class_of_equal_values_has_an_exact_mean() {
    let Some(gpu) = support::gpu("a_class_of_equal_values_has_an_exact_mean") else {
        return;
    };
    let y = labels(6000, 4, 7);
    let values = activations(4, 48, 6);
    let x = Array2::from_shape_fn((6000, 48), |(i, j)| values[(y.ids()[i] as usize, j)]);
    let got = moments(&Backend::Gpu(gpu), x.view(), Some(&y)).unwrap();
    let excess = excess(x.view(), &y, &got, TOLERANCE / 2.0);
    assert!(excess <= 1.0, "{excess}");
}

#[test]
fn the_oddities_of_real_neurons_are_classified() {
    let mut x = activations(512, 16, 3);
    // In double precision it varies, but by less than f32 can hold next to its mean.
    x.column_mut(0).fill(1e6);
    x[(7, 0)] = 1_000_000.1;
    let got = moments(&Backend::Cpu, x.view(), None).unwrap();
    use Spread::{Constant, NearlyConstant, Varies};
    // The median sd is near 1: an f16 subnormal that flips (4, 12) and a scale of 1e-12 (7, 15) are a million times less.
    let expected = [
        Constant,
        Varies,
        Varies,
        Constant,
        NearlyConstant,
        Varies,
        Varies,
        NearlyConstant,
        Varies,
        Varies,
        Varies,
        Constant,
        NearlyConstant,
        Varies,
        Varies,
        NearlyConstant,
    ];
    assert_eq!(got.spread, expected);
    assert!(got.group_mean.is_none());
}

#[test]
fn standardised_neurons_have_mean_0_and_sd_1_and_constant_ones_are_0() {
    let x = activations(777, 24, 4);
    let got = moments(&Backend::Cpu, x.view(), None).unwrap();
    let columns = [17, 3, 1, 0, 12, 23, 1];
    let z = standardise(&Backend::Cpu, x.view(), &got, &columns).unwrap();
    assert_eq!(z.dim(), (777, columns.len()));
    assert!(z.is_standard_layout());
    for (at, &column) in columns.iter().enumerate() {
        let values: Vec<f64> = z.column(at).iter().map(|&v| f64::from(v)).collect();
        let mean = values.iter().sum::<f64>() / 777.0;
        let square = values.iter().map(|v| v * v).sum::<f64>() / 777.0;
        assert_close("mean of z", mean, 0.0, 1e-6);
        let expected = if got.spread[column] == Spread::Constant {
            0.0
        } else {
            1.0
        };
        assert_close("mean square of z", square, expected, 1e-6);
        for (i, value) in values.iter().enumerate() {
            let by_hand = (f64::from(x[(i, column)]) - got.mean[column]) / got.sd[column];
            assert!(expected == 0.0 || (value - by_hand).abs() <= 1e-6 * by_hand.abs().max(1e-3));
        }
    }
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let x = activations(10, 4, 5);
    let y = labels(9, 2, 5);
    let message = moments(&Backend::Cpu, x.view(), Some(&y))
        .unwrap_err()
        .to_string();
    assert!(message.contains("10 samples but 9 labels"), "{message}");
    let none = Array2::<f32>::zeros((0, 4));
    assert!(moments(&Backend::Cpu, none.view(), None).is_err());
    let got = moments(&Backend::Cpu, x.view(), None).unwrap();
    assert!(standardise(&Backend::Cpu, x.view(), &got, &[4]).is_err());
    let fewer = x.slice(ndarray::s![.., ..3]);
    assert!(standardise(&Backend::Cpu, fewer, &got, &[0]).is_err());
}
