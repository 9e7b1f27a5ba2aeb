//! Devices that give back garbage in the middle of an operation: it is noticed, the result is what it would have been, and it is
//! said what happened.

use std::fmt::Debug;
use std::sync::atomic::{AtomicUsize, Ordering};

use ndarray::array;
use neurosieve::gpu::Corruption;
use neurosieve::labels::Labels;
use neurosieve::ops::Backend;
use neurosieve::ops::correlation::Findings;
use neurosieve::ops::moments::{Moments, TOLERANCE, moments};
use neurosieve::ops::probe::{Curvature, Inner, Params};

use super::correlation::device::kept;
use super::correlation::scan::{self, Model};
use super::{ablation, probe, sweep};
use crate::support::{activations, own_gpu};

/// Corrupted downloads that were noticed.
static COUNTED: AtomicUsize = AtomicUsize::new(0);

/// Runs an operation on a device whose downloads are corrupted, each of the first ones in turn: what comes out is what a sound
/// device finds, and it is told where that took another device. Of every kind of garbage some must be noticed.
fn corrupted<T: Debug>(
    test: &str,
    run: impl Fn(&Backend) -> T,
    same: impl Fn(&T, &T) -> bool,
    near: impl Fn(&T, &T) -> bool,
) {
    let Some(gpu) = own_gpu(test) else { return };
    let sound = Backend::Gpu(gpu.again().unwrap());
    let whole = run(&sound);
    // Nothing was wrong, so nothing is told.
    assert_eq!(sound.told(), [""; 0], "{test}");
    let kinds = [
        Corruption::FlippedBit,
        Corruption::Zeros,
        Corruption::NotANumber,
    ];
    for what in kinds {
        let mut noticed = 0;
        for download in 0..6 {
            let device = gpu.again().unwrap();
            let backend = Backend::Gpu(device.corrupting(download, what, false));
            let found = run(&backend);
            let told = backend.told();
            let right = match told.is_empty() {
                true => near(&whole, &found),
                false => same(&whole, &found),
            };
            assert!(
                right,
                "{test}, {what:?} {download}: {told:?}\n{whole:?}\n{found:?}"
            );
            let anew = |line: &String| line.contains("wrong") && line.contains("opened anew");
            assert!(told.iter().all(anew), "{told:?}");
            noticed += usize::from(!told.is_empty());
            COUNTED.fetch_add(usize::from(!told.is_empty()), Ordering::Relaxed);
        }
        assert!(noticed > 0, "{test}: {what:?} was never noticed");
        // A driver that is broken for good: natively.
        let device = gpu.again().unwrap();
        let backend = Backend::Gpu(device.corrupting(0, what, true));
        assert!(near(&whole, &run(&backend)), "{test}, {what:?}");
        let told = backend.told().concat();
        assert!(
            told.contains("wrong") && told.contains("natively"),
            "{test}, {what:?}: {told}"
        );
        COUNTED.fetch_add(1, Ordering::Relaxed);
    }
    let _ = std::io::Write::write_fmt(
        &mut std::io::stderr(),
        format_args!(
            "{} corrupted downloads noticed so far\n",
            COUNTED.load(Ordering::Relaxed)
        ),
    );
}

/// Who does not check does not notice: the garbage gets through.
fn unchecked<T>(test: &str, run: impl Fn(&Backend) -> T, near: impl Fn(&T, &T) -> bool) {
    let Some(gpu) = own_gpu(test) else { return };
    let whole = run(&Backend::Gpu(gpu.clone()));
    let broken = gpu
        .checked(false)
        .corrupting(0, Corruption::NotANumber, true);
    let backend = Backend::Gpu(broken);
    let through = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(&backend)));
    assert!(!through.is_ok_and(|found| near(&whole, &found)), "{test}");
    assert_eq!(backend.told(), [""; 0], "{test}");
}

fn alike(a: &Moments, b: &Moments) -> bool {
    let each = a.mean.iter().zip(&b.mean).zip(a.sd.iter().zip(&b.sd));
    let near = |((mean, other), (sd, other_sd)): ((&f64, &f64), (&f64, &f64))| {
        (mean - other).abs().max((sd - other_sd).abs()) <= 2.0 * TOLERANCE * sd + 1e-37
    };
    each.into_iter().all(near)
}

#[test]
fn garbage_is_noticed_in_moments() {
    let x = activations(300, 200, 2);
    corrupted(
        "garbage in moments",
        |b| moments(b, x.view(), None).unwrap(),
        |a, b| a.mean == b.mean && a.sd == b.sd,
        alike,
    );
    unchecked(
        "unchecked moments",
        |b| moments(b, x.view(), None).unwrap(),
        alike,
    );
}

#[test]
fn garbage_is_noticed_in_correlations() {
    let model = Model::new(activations(300, 200, 1), 4);
    let near = |a: f32, b: f32| (a - b).abs() <= 2e-5;
    let layers = |found: &Findings| found.layers.as_ref().unwrap().mean.clone();
    corrupted(
        "garbage in pairs",
        |b| kept(b, &model, None, 3),
        |a, b| a == b,
        |a, b| {
            let partners = a.partners.iter().zip(&b.partners);
            let distributions = [a, b].map(|found| found.distribution.clone().unwrap());
            let [counts, others] = distributions.each_ref().map(|found| &found.counts);
            a.edges.len() == b.edges.len()
                && a.edges.iter().zip(&b.edges).all(|(a, b)| near(a.r, b.r))
                && partners
                    .flat_map(|(a, b)| a.iter().zip(b))
                    .all(|(a, b)| near(a.r, b.r))
                && counts.iter().zip(others).all(|(a, b)| a.abs_diff(*b) <= 2)
                && (distributions[0].mean - distributions[1].mean).abs() <= 1e-3
                && layers(a)
                    .iter()
                    .zip(&layers(b))
                    .all(|(a, b)| (a - b).abs() <= 1e-3)
        },
    );
    corrupted(
        "garbage in a matrix",
        |b| scan::run(b, &model, None, u64::MAX).0,
        |a, b| a == b,
        |a, b| a.iter().zip(b).all(|(a, b)| near(*a, *b)),
    );
}

#[test]
fn garbage_is_noticed_in_probes() {
    let case = probe::case(131, 67, 4);
    // Within a few of the relative gaps that both are proven to have.
    let near = |a: f64, b: f64| (a - b).abs() <= 4e-3 * a.abs();
    let ways = [
        (Inner::Native, Curvature::Native),
        (Inner::Device, Curvature::Native),
        (Inner::Native, Curvature::Device),
    ];
    for (inner, curvature) in ways {
        let params = Params {
            inner,
            curvature,
            ..Params::default()
        };
        corrupted(
            "garbage in probes",
            |b| probe::fits(b, &case, &params).unwrap(),
            |a, b| a == b,
            |a, b| {
                let each = a.iter().zip(b);
                each.into_iter()
                    .all(|(a, b)| b.certificate.converged && near(a.objective, b.objective))
            },
        );
    }
}

#[test]
fn garbage_is_noticed_in_counts() {
    let sweeps = sweep::Case::new(131, 63, 5, true);
    corrupted(
        "garbage in sweeps",
        |b| sweeps.run(b),
        |a, b| a == b,
        |a, b| a == b,
    );
    unchecked("unchecked sweeps", |b| sweeps.run(b), |a, b| a == b);
    let ablations = ablation::case(131, 63, 5, true);
    let masks = ablation::masks(63);
    let run = |b: &Backend| ablation::run(&ablations, &masks, b);
    corrupted("garbage in ablations", run, |a, b| a == b, |a, b| a == b);
}

#[test]
fn garbage_of_one_of_several_devices_is_noticed() {
    let test = "garbage_of_one_of_several_devices_is_noticed";
    let (Some(first), Some(second)) = (own_gpu(test), own_gpu(test)) else {
        return;
    };
    let with_speed = |gpu: &neurosieve::gpu::Gpu| gpu.with_choice(neurosieve::ops::Fleet::SPEED, 1);
    let case = probe::case(65, 64, 3);
    let sweeps = sweep::Case::new(131, 63, 5, true);
    let model = Model::new(activations(70, 903, 1), 4);
    let run = |backend: &Backend| {
        let fits = probe::fits(backend, &case, &Params::default()).unwrap();
        (fits, sweeps.run(backend), kept(backend, &model, None, 3))
    };
    let fleet = |second| {
        let devices = vec![with_speed(&first.again().unwrap()), second];
        Backend::Fleet(neurosieve::ops::Fleet::new(devices).unwrap())
    };
    let sound = fleet(with_speed(&second));
    let whole = run(&sound);
    assert_eq!(sound.told(), [""; 0]);
    let broken = with_speed(&second.again().unwrap());
    let backend = fleet(broken.corrupting(0, Corruption::NotANumber, false));
    assert!(whole == run(&backend));
    let told = backend.told().concat();
    assert!(
        told.contains("wrong") && told.contains("opened anew"),
        "{told}"
    );
}

#[test]
fn a_kernel_that_computes_something_else_is_noticed() {
    let Some(gpu) = own_gpu("a_kernel_that_computes_something_else_is_noticed") else {
        return;
    };
    let source = include_str!("../../shaders/moments.wgsl").replace("fma(d, d,", "fma(1.1 * d, d,");
    let broken = gpu.with_shader("moments", source).checked(true);
    let x = activations(300, 64, 2);
    let native = moments(&Backend::Cpu, x.view(), None).unwrap();
    let backend = Backend::Gpu(broken);
    let found = moments(&backend, x.view(), None).unwrap();
    assert_eq!((found.mean, found.sd), (native.mean, native.sd));
    assert!(
        backend.told().concat().contains("natively"),
        "{:?}",
        backend.told()
    );
}

/// All samples share the decision without neurons, and f32 cannot tell the two logits apart.
#[test]
fn ties_that_rounding_decides_are_not_taken_for_garbage() {
    let Some(gpu) = own_gpu("ties_that_rounding_decides_are_not_taken_for_garbage") else {
        return;
    };
    let ids = (0..200).map(|sample| u32::from(sample >= 20)).collect();
    let case = sweep::Case {
        x: activations(200, 1, 3),
        y: Labels::new(ids, vec!["few".into(), "many".into()]).unwrap(),
        weights: array![[1e-3], [1.0001e-3]],
        bias: array![0.1, 0.1],
        ablated: vec![1e-3],
        orderings: vec![vec![0]],
    };
    let backend = Backend::Gpu(gpu);
    let (found, native) = (case.run(&backend), case.run(&Backend::Cpu));
    assert_eq!((found[0].correct[0], native[0].correct[0]), (20, 180));
    assert_eq!(backend.told(), [""; 0]);
}
