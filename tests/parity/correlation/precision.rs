//! The classes of precision: each kernel of each within what the class promises, and what ran is said.

use std::io::Write;

use half::f16;
use ndarray::{Array2, ArrayView2};
use neurosieve::gpu::{Gpu, MatrixUnits};
use neurosieve::ops::Backend;
use neurosieve::ops::correlation::{
    Computed, Correlation, Kernels, Params, Precision, Side, TOLERANCE, TOLERANCE_F16, Wanted,
    has_matrix_kernel, packed, scan,
};
use neurosieve::ops::moments::{Moments, moments};
use neurosieve::{Activations, activations::LayerMap};
use rand::RngExt;

use super::{SHAPES, deviation};
use crate::support::{self, activations};

/// The plain kernels of the classes: under which name a choice is kept, and its numbers.
const PLAIN: [(Precision, &str, &[usize]); 2] = [
    (
        Precision::SplitF16,
        "correlation in split f16, plain",
        &[56],
    ),
    (Precision::F16, "correlation in f16, plain", &[32, 40]),
];

/// The largest |Δr| of columns that are as hostile as [`activations`], from so many samples on: roundings cancel.
const TYPICAL: (usize, f64) = (8192, 6e-5);

fn params(precision: Precision, kernels: Kernels) -> Params {
    Params {
        memory: u64::MAX,
        precision,
        kernels,
    }
}

fn with_moments(
    backend: &Backend,
    x: ArrayView2<'_, f32>,
    moments: &Moments,
    params: &Params,
) -> (Correlation, Computed) {
    let neurons = x.ncols();
    let map = LayerMap::new(vec![0; neurons], (0..neurons as u32).collect()).unwrap();
    let rows = Activations::new(x.to_owned(), map).unwrap();
    let side = Side {
        rows: &rows,
        moments,
    };
    packed(backend, side, params).unwrap()
}

fn of(backend: &Backend, x: ArrayView2<'_, f32>, params: &Params) -> (Correlation, Computed) {
    let moments = moments(&Backend::Cpu, x, None).unwrap();
    with_moments(backend, x, &moments, params)
}

/// The kernels that a device has of a class, each on its own, with what it is called.
fn each(gpu: &Gpu, precision: Precision, kernels: Kernels) -> Vec<(String, Gpu)> {
    match kernels {
        Kernels::Plain => {
            let of_class = PLAIN.iter().filter(|(class, ..)| *class == precision);
            of_class
                .flat_map(|(_, choice, numbers)| {
                    let one = move |number: &usize| {
                        (
                            format!("{choice} {number}"),
                            gpu.with_choice(choice, *number),
                        )
                    };
                    numbers.iter().map(one)
                })
                .collect()
        }
        _ => vec![("matrix units".to_owned(), gpu.clone())],
    }
}

/// Whether a device lacks the matrix units of a class; then the test's name goes to stderr as SKIPPED. No setting makes that
/// a failure: it is the device, not the machine's set-up.
fn lacks(gpu: &Gpu, precision: Precision, test: &str) -> bool {
    let has = has_matrix_kernel(gpu, precision);
    if !has {
        let report = gpu.report();
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED {test}: {report} has no matrix units for {precision}"
        );
    }
    !has
}

fn equals_the_reference_in_every_shape(gpu: &Gpu, precision: Precision, kernels: Kernels) {
    let params = params(precision, kernels);
    for (samples, neurons) in SHAPES {
        let x = activations(samples, neurons, 11);
        for (name, chosen) in each(gpu, precision, kernels) {
            // Also in blocks of samples and ranges of tiles.
            for limit in [u64::MAX, 3 << 16] {
                let backend = Backend::Gpu(chosen.with_binding_limit(limit));
                let (found, computed) = of(&backend, x.view(), &params);
                let off = deviation(x.view(), &found);
                assert!(
                    off <= precision.tolerance(),
                    "{name}: {samples} x {neurons}, bindings of {limit}: {off:e}"
                );
                assert_eq!(computed.computed, precision);
                assert_eq!(computed.reason, None);
            }
        }
    }
}

#[test]
fn kernels_of_f16_without_matrix_units_equal_the_naive_reference_in_every_shape() {
    let name = "kernels_of_f16_without_matrix_units_equal_the_naive_reference_in_every_shape";
    let Some(gpu) = support::gpu(name) else {
        return;
    };
    for precision in [Precision::SplitF16, Precision::F16] {
        equals_the_reference_in_every_shape(&gpu, precision, Kernels::Plain);
    }
}

#[test]
fn kernels_on_matrix_units_equal_the_naive_reference_in_every_shape() {
    let name = "kernels_on_matrix_units_equal_the_naive_reference_in_every_shape";
    let Some(gpu) = support::gpu(name) else {
        return;
    };
    for precision in Precision::ALL {
        if !lacks(&gpu, precision, name) {
            equals_the_reference_in_every_shape(&gpu, precision, Kernels::Matrix);
        }
    }
}

/// Many samples: split f16 is as exact as f32, and f16 far more exact than it must be.
#[test]
fn roundings_of_many_samples_cancel() {
    let Some(gpu) = support::gpu("roundings_of_many_samples_cancel") else {
        return;
    };
    let (samples, typical) = TYPICAL;
    let x = activations(samples, 120, 17);
    for (precision, most) in [
        (Precision::SplitF16, TOLERANCE / 2.0),
        (Precision::F16, typical),
    ] {
        for (name, chosen) in each(&gpu, precision, Kernels::Plain) {
            let backend = Backend::Gpu(chosen);
            let (found, _) = of(&backend, x.view(), &params(precision, Kernels::Plain));
            let off = deviation(x.view(), &found);
            assert!(off <= most, "{name}: {off:e}");
            // The negative control: f16 is not as exact as f32.
            assert_eq!(
                off > TOLERANCE,
                precision == Precision::F16,
                "{name}: {off:e}"
            );
        }
    }
}

/// What the bound of the class is about: two samples in f16 are off as far as it says, so no tighter one would hold.
#[test]
fn few_samples_come_near_the_bound_of_f16() {
    let Some(gpu) = support::gpu("few_samples_come_near_the_bound_of_f16") else {
        return;
    };
    let mut random = support::random(18);
    let x = Array2::from_shape_fn((3, 400), |_| random.random::<f32>());
    let (found, _) = of(
        &Backend::Gpu(gpu),
        x.view(),
        &params(Precision::F16, Kernels::Plain),
    );
    let off = deviation(x.view(), &found);
    assert!(off > TOLERANCE_F16 / 5.0 && off <= TOLERANCE_F16, "{off:e}");
}

/// Sparse neurons repeat a product; a neuron whose mean f32 does not hold keeps its digits.
#[test]
fn sparse_and_far_neurons_keep_their_digits_in_split_f16() {
    let name = "sparse_and_far_neurons_keep_their_digits_in_split_f16";
    let Some(gpu) = support::gpu(name) else {
        return;
    };
    let mut random = support::random(16);
    let shares = [0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98];
    let x = Array2::from_shape_fn((4096, 98), |(_, j)| {
        if j % 7 == 6 {
            // One of two neighbouring f32, so that the mean lies between them.
            return 1e7 + f32::from(random.random_bool(0.01));
        }
        let fires = random.random_bool(shares[j % shares.len()]);
        if fires { 0.1 + (j as f32).sin() } else { 0.0 }
    });
    for (precision, most) in [(Precision::SplitF16, TOLERANCE), (Precision::F16, 1e-4)] {
        let backend = Backend::Gpu(gpu.clone());
        let (found, _) = of(&backend, x.view(), &params(precision, Kernels::Plain));
        let off = deviation(x.view(), &found);
        assert!(off <= most, "{precision}: {off:e}");
    }
}

#[test]
fn two_models_and_samples_stored_in_f16_are_as_exact() {
    let name = "two_models_and_samples_stored_in_f16_are_as_exact";
    let Some(gpu) = support::gpu(name) else {
        return;
    };
    let [left, right] = [(130, 21), (70, 22)].map(|(neurons, seed)| {
        activations(515, neurons, seed).mapv(|v| f16::from_f32(v.clamp(-6e4, 6e4)))
    });
    let of_side = |x: &Array2<f16>| moments(&Backend::Cpu, x.mapv(f16::to_f32).view(), None);
    let known = [&left, &right].map(|x| of_side(x).unwrap());
    let sides = [
        Side {
            rows: &left,
            moments: &known[0],
        },
        Side {
            rows: &right,
            moments: &known[1],
        },
    ];
    let wanted = Wanted {
        at_least: Some(0.0),
        ..Wanted::default()
    };
    let all = |backend: &Backend, params: &Params| {
        scan(backend, sides[0], Some(sides[1]), &wanted, params).unwrap()
    };
    let native = all(&Backend::Cpu, &Params::default());
    assert_eq!(native.edges.len(), 130 * 70);
    for precision in [Precision::SplitF16, Precision::F16] {
        for (name, chosen) in each(&gpu, precision, Kernels::Plain) {
            let found = all(&Backend::Gpu(chosen), &params(precision, Kernels::Plain));
            assert_eq!(found.edges.len(), native.edges.len());
            for (ours, theirs) in found.edges.iter().zip(&native.edges) {
                assert_eq!((ours.i, ours.j), (theirs.i, theirs.j));
                let off = f64::from((ours.r - theirs.r).abs());
                let most = precision.tolerance() + TOLERANCE;
                assert!(off <= most, "{name}: {ours:?} and {theirs:?}");
            }
        }
    }
}

/// Values that f16 does not hold: f32 is taken, and that is said. With right moments no fewer than 10⁹ samples have such.
#[test]
fn what_f16_does_not_hold_is_computed_in_f32() {
    let Some(gpu) = support::gpu("what_f16_does_not_hold_is_computed_in_f32") else {
        return;
    };
    // Checks would notice that r and the moments do not belong together.
    let backend = Backend::Gpu(gpu.checked(false));
    let x = activations(600, 40, 23);
    let right = moments(&Backend::Cpu, x.view(), None).unwrap();
    // As if values were a million times as far from the mean, in the sd that are told; and sd beyond all that f32 holds.
    for (factor, told) in [
        (1e-6, "the sums are not finite"),
        (1e45, "sd beyond the scale"),
    ] {
        let mut wrong = right.clone();
        wrong.sd[5] *= factor;
        for precision in [Precision::SplitF16, Precision::F16] {
            let params = params(precision, Kernels::Plain);
            let (found, computed) = with_moments(&backend, x.view(), &wrong, &params);
            assert_eq!(
                (computed.asked, computed.computed),
                (precision, Precision::F32)
            );
            assert_eq!(computed.tolerance, TOLERANCE);
            assert!(computed.kernel.starts_with("f32"), "{}", computed.kernel);
            let reason = computed.reason.unwrap();
            assert!(reason.contains("f16 holds"), "{told}: {reason}");
            if factor < 1.0 {
                let off = deviation(x.view(), &found);
                assert!(off <= TOLERANCE, "{told}: {off:e}");
            }
            // Other neurons need nothing of the kind.
            let (_, computed) = with_moments(&backend, x.view(), &right, &params);
            assert_eq!(computed.computed, precision);
        }
    }
}

/// What of which shader is broken how, and in which classes that shows.
type Break = (
    &'static str,
    &'static [Precision],
    &'static str,
    &'static str,
);

const BOTH: &[Precision] = &[Precision::SplitF16, Precision::F16];
const SPLIT: &[Precision] = &[Precision::SplitF16];

const BREAKS: [Break; 12] = [
    ("correlation", BOTH, "first & 0xffffu", "first & 0xfff0u"),
    ("correlation", BOTH, "second << 16u", "second << 15u"),
    ("correlation", SPLIT, "(first >> 16u)", "(first >> 17u)"),
    ("correlation", SPLIT, "* 2048.0", "* 1024.0"),
    (
        "correlation",
        SPLIT,
        "value - of_bits(hi)",
        "of_bits(hi) - value",
    ),
    (
        "correlation_halves",
        BOTH,
        "fraction << 13u",
        "fraction << 12u",
    ),
    ("correlation_halves", BOTH, "word.y >> 16u", "word.y >> 17u"),
    (
        "correlation_halves",
        BOTH,
        "s15 = fma(vec4(a1.w), b1, s15);",
        "s15 = fma(vec4(a1.w), b0, s15);",
    ),
    (
        "correlation_halves",
        BOTH,
        "start > p.start",
        "start < p.start",
    ),
    (
        "correlation_halves",
        BOTH,
        "row + 3u * WORDS + tx",
        "row + 2u * WORDS + tx",
    ),
    (
        "correlation_halves",
        SPLIT,
        "t13 = fma(vec4(a1.z), d1, fma(vec4(c1.z), b1, t13));",
        "t13 = fma(vec4(a1.z), d1, t13);",
    ),
    ("correlation_halves", SPLIT, "s3 += t3 * 0.00048828125;", ""),
];

#[test]
fn breaking_the_kernels_of_f16_is_noticed() {
    let Some(gpu) = support::gpu("breaking_the_kernels_of_f16_is_noticed") else {
        return;
    };
    let x = activations(2100, 150, 13);
    let off = |gpu: Gpu, precision: Precision| {
        let params = params(precision, Kernels::Plain);
        deviation(x.view(), &of(&Backend::Gpu(gpu), x.view(), &params).0)
    };
    // The bound of f16 is far above what is usual: three times that is noticed.
    let usual = |precision| TOLERANCE.max(3.0 * off(gpu.clone(), precision));
    let usual = Precision::ALL.map(|precision| (precision, usual(precision)));
    for (shader, classes, right, wrong) in BREAKS {
        let source = match shader {
            "correlation" => include_str!("../../../shaders/correlation.wgsl"),
            _ => include_str!("../../../shaders/correlation_halves.wgsl"),
        };
        assert!(source.contains(right), "{shader} no longer says {right}");
        let broken = gpu.with_shader(shader, source.replace(right, wrong));
        for (precision, most) in usual.into_iter().filter(|(p, _)| classes.contains(p)) {
            for (name, chosen) in each(&broken, precision, Kernels::Plain) {
                let off = off(chosen, precision);
                assert!(
                    off > most,
                    "{wrong} instead of {right}, {name}: only {off:e} off"
                );
            }
        }
    }
}

#[test]
fn what_ran_is_said_and_the_native_path_computes_every_class_in_f32() {
    let x = activations(300, 30, 24);
    let (exact, computed) = of(&Backend::Cpu, x.view(), &Params::default());
    assert_eq!(computed.kernel, "native, f32");
    assert_eq!(computed.reason, None);
    for precision in [Precision::SplitF16, Precision::F16] {
        let (found, computed) = of(&Backend::Cpu, x.view(), &params(precision, Kernels::Any));
        assert_eq!(found.packed, exact.packed);
        assert_eq!(
            (computed.asked, computed.computed),
            (precision, Precision::F32)
        );
        assert!(computed.reason.unwrap().contains("native path"));
    }
    let name = "what_ran_is_said_and_the_native_path_computes_every_class_in_f32";
    let Some(gpu) = support::gpu(name) else {
        return;
    };
    for precision in Precision::ALL {
        // Too little work to measure: the first kernel, which is exact.
        let backend = Backend::Gpu(gpu.untuned());
        let (_, computed) = of(&backend, x.view(), &params(precision, Kernels::Any));
        assert_eq!(computed.kernel, "f32, tiles of 64");
        assert_eq!(computed.computed, Precision::F32);
        assert_eq!(computed.reason, None);
    }
    // A measurement, or whoever made it, chose another one.
    let chosen = gpu.with_choice("correlation in f16", 40);
    let backend = Backend::Gpu(chosen);
    let (_, computed) = of(&backend, x.view(), &params(Precision::F16, Kernels::Any));
    assert_eq!(computed.kernel, "f16, tiles of 128");
    // A class that forbids it does not take it.
    let (_, computed) = of(
        &backend,
        x.view(),
        &params(Precision::SplitF16, Kernels::Any),
    );
    assert_eq!(computed.computed, Precision::F32);
    if !gpu.has(MatrixUnits::HalfBy16) {
        let params = params(Precision::F16, Kernels::Matrix);
        let x = x.view();
        let moments = moments(&Backend::Cpu, x, None).unwrap();
        let rows = Array2::from_shape_fn(x.dim(), |at| f16::from_f32(x[at]));
        let side = Side {
            rows: &rows,
            moments: &moments,
        };
        let refused = packed(&Backend::Gpu(gpu), side, &params).unwrap_err();
        assert!(refused.to_string().contains("no matrix units"), "{refused}");
    }
}
