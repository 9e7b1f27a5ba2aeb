//! Correlation: GPU = CPU = naive f64.

pub(super) mod device;
mod precision;
pub(super) mod scan;

use ndarray::{Array2, ArrayView2};
use neurosieve::gpu::Gpu;
use neurosieve::ops::Backend;
use neurosieve::ops::correlation::{Correlation, TOLERANCE, correlation};
use neurosieve::ops::moments::{Spread, moments};
use rand::RngExt;

use crate::support::{self, activations};

fn both(backend: &Backend, x: ArrayView2<'_, f32>) -> Correlation {
    let moments = moments(&Backend::Cpu, x, None).unwrap();
    correlation(backend, x, &moments).unwrap()
}

/// The largest |Δr| from r computed pair by pair in f64 with two passes each; infinite where a pair is missing or a
/// constant neuron correlates.
fn deviation(x: ArrayView2<'_, f32>, got: &Correlation) -> f64 {
    let (samples, neurons) = x.dim();
    let spread = moments(&Backend::Cpu, x, None).unwrap().spread;
    if got.neurons != neurons || got.packed.len() != neurons * (neurons - 1) / 2 {
        return f64::INFINITY;
    }
    let deviations: Vec<Vec<f64>> = x
        .columns()
        .into_iter()
        .map(|column| {
            let mean = column.iter().map(|&v| f64::from(v)).sum::<f64>() / samples as f64;
            column.iter().map(|&v| f64::from(v) - mean).collect()
        })
        .collect();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let mut worst: f64 = 0.0;
    let mut at = 0;
    for i in 0..neurons {
        for j in i + 1..neurons {
            let (a, b) = (&deviations[i], &deviations[j]);
            let constant = [i, j].iter().any(|&n| spread[n] == Spread::Constant);
            let reference = match constant {
                true => 0.0,
                false => dot(a, b) / (dot(a, a) * dot(b, b)).sqrt(),
            };
            let r = f64::from(got.packed[at]);
            assert_eq!(got.get(i, j), got.packed[at]);
            assert_eq!(got.get(j, i), got.packed[at]);
            let off = (r - reference).abs();
            worst = worst.max(if off.is_nan() { f64::INFINITY } else { off });
            at += 1;
        }
    }
    worst
}

const SHAPES: [(usize, usize); 10] = [
    (2, 1),
    (2, 3),
    (15, 63),
    (16, 64),
    (17, 65),
    (97, 131),
    (513, 200),
    (2047, 33),
    (2049, 67),
    (4099, 73),
];

#[test]
fn the_native_path_equals_the_naive_reference_in_every_shape() {
    for (samples, neurons) in SHAPES.into_iter().chain([(70, 521), (9, 1153)]) {
        let x = activations(samples, neurons, 11);
        let off = deviation(x.view(), &both(&Backend::Cpu, x.view()));
        assert!(off <= TOLERANCE, "{samples} x {neurons}: {off:e}");
    }
}

#[test]
fn the_gpu_equals_the_naive_reference_in_every_shape() {
    let Some(gpu) = support::gpu("the_gpu_equals_the_naive_reference_in_every_shape") else {
        return;
    };
    for (samples, neurons) in SHAPES {
        let x = activations(samples, neurons, 11);
        // Also in blocks of samples and ranges of tiles, as when they do not fit one binding; tiles of 64 and of 128.
        for (limit, side) in [(u64::MAX, 8), (3 << 14, 8), (u64::MAX, 16), (3 << 16, 16)] {
            let chosen = gpu.with_choice("correlation", side);
            let backend = Backend::Gpu(chosen.with_binding_limit(limit));
            let off = deviation(x.view(), &both(&backend, x.view()));
            assert!(
                off <= TOLERANCE,
                "{samples} x {neurons}, bindings of {limit}, side {side}: {off:e}"
            );
        }
    }
}

#[test]
fn sums_over_more_samples_than_one_plane_holds_stay_exact() {
    let x = activations(65_536 + 2_048 + 5, 24, 12);
    let mut backends = vec![Backend::Cpu];
    if let Some(gpu) = support::gpu("sums_over_more_samples_than_one_plane_holds_stay_exact") {
        backends.push(Backend::Gpu(gpu.with_binding_limit(4 << 20)));
        backends.push(Backend::Gpu(gpu));
    }
    for backend in backends {
        let off = deviation(x.view(), &both(&backend, x.view()));
        assert!(off <= TOLERANCE, "{backend:?}: {off:e}");
    }
}

/// Sparse neurons repeat a product, and its roundings all go the same way: the sums must be short enough for that.
#[test]
fn neurons_that_are_mostly_zero_keep_their_digits() {
    let mut random = support::random(16);
    let shares = [0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98];
    let values: Vec<f32> = (0..98)
        .map(|_| support::normal(&mut random) as f32)
        .collect();
    let x = Array2::from_shape_fn((8192, 98), |(_, j)| {
        let fires = random.random_bool(shares[j % shares.len()]);
        if fires { values[j] } else { 0.0 }
    });
    let mut backends = vec![Backend::Cpu];
    let name = "neurons_that_are_mostly_zero_keep_their_digits";
    backends.extend(support::gpu(name).map(Backend::Gpu));
    for backend in backends {
        let off = deviation(x.view(), &both(&backend, x.view()));
        assert!(off <= TOLERANCE / 5.0, "{backend:?}: {off:e}");
    }
}

#[test]
fn breaking_the_correlation_kernels_is_noticed() {
    let Some(gpu) = support::gpu("breaking_the_correlation_kernels_is_noticed") else {
        return;
    };
    let source = include_str!("../../shaders/correlation.wgsl");
    // More samples than one dispatch takes.
    let x = activations((1 << 14) + 52, 150, 13);
    for (right, wrong) in [
        ("row < c.samples", "row + 1u < c.samples"),
        ("- shift[column] * scale[column]", ""),
        (
            "s15 = fma(vec4(a1.w), b1, s15);",
            "s15 = fma(vec4(a1.w), b0, s15);",
        ),
        ("p.accumulate != 0u", "p.accumulate == 2u"),
        ("k < 16u", "k < 15u"),
        ("step + 16u < p.end", "step + 32u < p.end"),
        ("at_right = corner + tile.y", "at_right = corner + tile.x"),
    ] {
        assert!(source.contains(right), "the kernel no longer says {right}");
        let broken = gpu.with_shader("correlation", source.replace(right, wrong));
        for side in [8, 16] {
            assert_noticed(&broken, side, x.view(), wrong);
        }
    }
    let source = include_str!("../../shaders/correlation_wide.wgsl");
    for (right, wrong) in [
        (
            "s15 = fma(vec4(a1.w), b1, s15);",
            "s15 = fma(vec4(a1.w), b0, s15);",
        ),
        ("p.accumulate != 0u", "p.accumulate == 2u"),
        ("k < 16u", "k < 15u"),
        ("step + 16u < p.end", "step + 32u < p.end"),
        ("at = 1u - at", "at = 0u"),
        ("t9 += s9;", "t9 = s9;"),
        ("at_right = corner + tile.y", "at_right = corner + tile.x"),
    ] {
        assert!(source.contains(right), "the kernel no longer says {right}");
        let broken = gpu.with_shader("correlation_wide", source.replace(right, wrong));
        assert_noticed(&broken, 17, x.view(), wrong);
    }
}

fn assert_noticed(broken: &Gpu, variant: usize, x: ArrayView2<'_, f32>, wrong: &str) {
    let broken = broken.with_choice("correlation", variant);
    let off = deviation(x, &both(&Backend::Gpu(broken), x));
    assert!(
        off > TOLERANCE,
        "{wrong}, variant {variant}: only {off:e} off"
    );
}

#[test]
fn the_variant_is_measured_once_and_only_where_it_pays() {
    use std::cell::Cell;
    let Some(gpu) = support::own_gpu("the_variant_is_measured_once_and_only_where_it_pays") else {
        return;
    };
    let runs = Cell::new(0);
    let run = |variant: usize| {
        runs.set(runs.get() + 1);
        if variant == 1 {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        Ok(())
    };
    assert_eq!(gpu.tuned("test", &[1, 2], false, &run).unwrap(), 1);
    assert_eq!(runs.get(), 0, "a small job takes the first one");
    assert_eq!(gpu.tuned("test", &[1, 2], true, &run).unwrap(), 2);
    let measured = runs.get();
    assert_eq!(gpu.clone().tuned("test", &[1, 2], true, &run).unwrap(), 2);
    assert_eq!(runs.get(), measured, "what was measured is remembered");
    assert_eq!(
        gpu.with_choice("test", 1)
            .tuned("test", &[1, 2], true, &run)
            .unwrap(),
        1
    );
}

/// Matrix units may be listed by a driver that does not run their kernels.
#[test]
fn a_variant_that_fails_is_not_chosen() {
    let Some(gpu) = support::own_gpu("a_variant_that_fails_is_not_chosen") else {
        return;
    };
    let failing = |broken: usize| {
        let gpu = &gpu;
        move |variant: usize| match variant == broken {
            true => Err(gpu.error("test", format!("variant {variant} is broken"))),
            false => Ok(()),
        }
    };
    let chosen = gpu.tuned("second fails", &[1, 2, 3], true, &failing(2));
    assert!([1, 3].contains(&chosen.unwrap()));
    let refused = gpu.tuned("first fails", &[1, 2], true, &failing(1));
    assert!(refused.unwrap_err().to_string().contains("variant 1"));
}

#[test]
fn what_was_measured_is_kept_in_a_file_by_device() {
    use std::cell::Cell;
    let Some(gpu) = support::own_gpu("what_was_measured_is_kept_in_a_file_by_device") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cache/tuning.json");
    let runs = Cell::new(0);
    let run = |_: usize| {
        runs.set(runs.get() + 1);
        Ok(())
    };
    let first = gpu.remembering(&file).tuned("kept", &[3, 4], true, &run);
    let measured = runs.get();
    assert!(measured > 0);
    // Another run of the program opens the device anew.
    let again = gpu.remembering(&file).tuned("kept", &[3, 4], true, &run);
    assert_eq!(again.unwrap(), first.unwrap());
    assert_eq!(runs.get(), measured, "it was read from the file");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains(&gpu.report().name), "{text}");
    // A choice that is no longer there, another device's, and half a file: all are measured anew.
    let other = gpu.remembering(&file).tuned("kept", &[5, 6], true, &run);
    assert!([5, 6].contains(&other.unwrap()) && runs.get() > measured);
    for spoilt in [
        text.replace(&gpu.report().name, "another"),
        text[..20].to_owned(),
    ] {
        std::fs::write(&file, spoilt).unwrap();
        let before = runs.get();
        let variant = gpu.remembering(&file).tuned("kept", &[3, 4], true, &run);
        assert!([3, 4].contains(&variant.unwrap()) && runs.get() > before);
    }
    // Switched off, nothing is measured, read or written.
    std::fs::write(&file, &text).unwrap();
    let before = runs.get();
    let off = gpu.remembering(&file).untuned();
    assert_eq!(off.tuned("kept", &[4, 3], true, &run).unwrap(), 4);
    assert_eq!(off.tuned("other", &[7, 8], true, &run).unwrap(), 7);
    assert_eq!(runs.get(), before);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    // A place that cannot be written is no error.
    let nowhere = gpu.remembering(&file.join("inside/a/file"));
    assert!(nowhere.tuned("kept", &[3, 4], true, &run).is_ok());
}

#[test]
fn the_same_input_gives_the_same_bits() {
    let x = activations(3000, 300, 14);
    let mut backends = vec![Backend::Cpu];
    backends.extend(support::gpu("the_same_input_gives_the_same_bits").map(Backend::Gpu));
    for backend in backends {
        let once = both(&backend, x.view());
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(3)
            .build()
            .unwrap();
        let again = pool.install(|| both(&backend, x.view()));
        assert_eq!(once.packed, again.packed, "{backend:?}");
    }
}

#[test]
fn half_a_million_neurons_of_a_billion_samples_are_counted_without_overflow() {
    use neurosieve::ops::correlation::bytes;
    let (samples, neurons) = (1_000_000_000, 500_000);
    let triangle = 4 * (neurons as u64) * (neurons as u64 - 1) / 2;
    let planned = bytes(samples, neurons);
    // The sums of all pairs in f64 are what is held beside r: the samples would take 2 PB.
    assert!(
        planned > 3 * triangle && planned < 4 * triangle,
        "{planned}"
    );
}

#[test]
fn moments_of_other_activations_are_refused() {
    let x = activations(10, 4, 15);
    let fewer = moments(&Backend::Cpu, x.slice(ndarray::s![..9, ..]), None).unwrap();
    let message = correlation(&Backend::Cpu, x.view(), &fewer)
        .unwrap_err()
        .to_string();
    assert!(message.contains("10 samples of 4 neurons"), "{message}");
}
