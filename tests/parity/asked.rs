//! Probes of which a device tells loss and gradient are those that are found natively, and what it tells is checked.

use neurosieve::Backend;
use neurosieve::labels::Labels;
use neurosieve::ops::moments::moments;
use neurosieve::ops::probe::{
    self, Design, Fit, KERNELS_OF_LOSS, Neurons, Norm, Params, Problem, Response, Solver, Stop,
};

use crate::support::{self, activations, labels};

/// Where fits stop: what a proof asks for.
const GAP: f64 = 1e-6;

/// Samples, neurons and classes of the fits.
const SHAPE: (usize, usize, u32) = (2311, 67, 5);

/// Problems of several kinds on two slabs: classes that share targets, weights with zeros, two classes, values, another norm.
fn fits(backend: &Backend, solver: Solver) -> neurosieve::Result<Vec<Fit>> {
    some_fits(backend, solver, None)
}

/// All of them, or one.
fn some_fits(
    backend: &Backend,
    solver: Solver,
    only: Option<usize>,
) -> neurosieve::Result<Vec<Fit>> {
    let (n, d, classes) = SHAPE;
    let x = activations(n, d, 7);
    let (many, two) = (labels(n, classes, 8), labels(n, 2, 9));
    let values: Vec<f32> = x
        .column(3)
        .iter()
        .zip(x.column(8))
        .map(|(a, b)| a - 0.5 * b)
        .collect();
    let weights: Vec<f64> = (0..n).map(|i| f64::from(u8::from(i % 4 != 0))).collect();
    let found = moments(&Backend::Cpu, x.view(), None)?;
    let all: Vec<usize> = (0..d).collect();
    let design = Design::new(&Backend::Cpu, x.view(), &found, &all)?;
    let of = |labels: &Labels| {
        let any = Problem::new(labels, 0.0, 0.0);
        probe::lambda_max(&design, &[any], Params::default().scale).map(|all| all[0])
    };
    let (of_many, of_two) = (of(&many)?, of(&two)?);
    let half = Neurons::Range {
        from: 10,
        to: design.columns().len(),
    };
    let problems = [
        Problem::new(&many, 0.3 * of_many, 0.1 * of_many),
        Problem::new(&many, 0.05 * of_many, 0.05 * of_many),
        Problem {
            weights: Some(&weights),
            ..Problem::new(&many, 0.1 * of_many, 0.02 * of_many)
        },
        Problem {
            neurons: half,
            ..Problem::new(&two, 0.05 * of_two, 0.05 * of_two)
        },
        Problem::of(Response::Values(&values), 0.02, 0.02),
        Problem {
            norm: Norm::Frobenius,
            ..Problem::new(&many, 0.1 * of_many, 0.1 * of_many)
        },
        Problem {
            neurons: half,
            ..Problem::new(&many, 0.1 * of_many, 0.0)
        },
    ];
    let params = Params {
        solver,
        stop: Stop::Gap(GAP),
        ..Params::default()
    };
    let problems = match only {
        Some(at) => &problems[at..=at],
        None => &problems[..],
    };
    probe::fit(backend, &design, problems, &params, &mut |_| {})
}

#[test]
fn probes_by_a_devices_losses_and_gradients_are_the_native_ones() {
    let Some(gpu) = support::gpu("probes_by_a_devices_losses_and_gradients") else {
        return;
    };
    let native = fits(&Backend::Cpu, Solver::Newton).unwrap();
    let same = |backend: &Backend| {
        let found = fits(backend, Solver::Lbfgs).unwrap();
        assert_eq!(backend.told(), [""; 0]);
        for (at, (native, found)) in native.iter().zip(&found).enumerate() {
            assert!(found.certificate.converged, "{at}: {:?}", found.certificate);
            let allowed = probe::TOLERANCE * GAP * native.objective;
            let apart = (native.objective - found.objective).abs();
            assert!(apart <= allowed, "{at}: {apart:e} of {}", native.objective);
        }
        found
            .iter()
            .map(|fit| fit.certificate.passes)
            .collect::<Vec<f64>>()
    };
    // Natively, on a device as it is, and with blocks of a few hundred samples.
    let passes = same(&Backend::Cpu);
    for gpu in [gpu.clone(), gpu.with_binding_limit(256 << 10)] {
        // Roundings are others, and the way is the same.
        let device = same(&Backend::Gpu(gpu));
        let far = passes
            .iter()
            .zip(&device)
            .map(|(a, b)| (a - b).abs() / a.max(10.0));
        assert!(far.fold(0.0, f64::max) < 0.5, "{passes:?} {device:?}");
    }
}

#[test]
fn what_is_asked_of_a_device_is_checked() {
    let Some(gpu) = support::own_gpu("what_is_asked_of_a_device_is_checked") else {
        return;
    };
    let probe = ("probe", probe::KERNELS[0].source);
    let loss = ("probe_loss", KERNELS_OF_LOSS[0].source);
    for ((shader, source), sound, broken) in [
        (probe, "c3 = fma(vec4(a0.w), b0, c3);", ""),
        (probe, "s2 += c2;", "s2 += 1.01 * c2;"),
        (loss, "for (var slice = 0u;", "for (var slice = 1u;"),
        (
            loss,
            "lost += (sum - (both - taken))",
            "lost += 1e-3 * sum + (sum - (both - taken))",
        ),
    ] {
        assert!(source.contains(sound), "the kernel no longer says {sound}");
        let gpu = gpu
            .again()
            .unwrap()
            .with_shader(shader, source.replace(sound, broken));
        let backend = Backend::Gpu(gpu.checked(true));
        let found = fits(&backend, Solver::Lbfgs).unwrap();
        // It is noticed, and what comes out is right all the same.
        assert!(
            found.iter().all(|fit| fit.certificate.converged),
            "{broken}"
        );
        let told = backend.told().concat();
        assert!(told.contains("wrong"), "{broken}: {told}");
    }
}

#[test]
fn asking_takes_no_more_of_a_device_than_is_said() {
    let Some(gpu) = support::own_gpu("asking_takes_no_more_of_a_device_than_is_said") else {
        return;
    };
    const BINDING: u64 = 256 << 10;
    let (samples, neurons, classes) = (4500, 33, 3);
    let (x, y) = (
        activations(samples, neurons, 7),
        labels(samples, classes, 8),
    );
    let found = moments(&Backend::Cpu, x.view(), None).unwrap();
    let all: Vec<usize> = (0..neurons).collect();
    let design = Design::new(&Backend::Cpu, x.view(), &found, &all).unwrap();
    let params = Params {
        solver: Solver::Lbfgs,
        ..Params::default()
    };
    let any = Problem::new(&y, 0.0, 0.0);
    let largest = probe::lambda_max(&design, &[any], params.scale).unwrap()[0];
    // 240 columns: several questions are under way at once, of which the last ones are done long after the first.
    let at = |place: i32| {
        let l1 = 0.96f64.powi(place) * largest;
        Problem::new(&y, l1, 0.1 * l1)
    };
    let problems: Vec<Problem<'_>> = (0..80).map(at).collect();
    let counted = gpu.with_memory(1 << 40).with_binding_limit(BINDING);
    let backend = Backend::Gpu(counted.clone());
    probe::fit(&backend, &design, &problems, &params, &mut |_| {}).unwrap();
    assert_eq!(backend.told(), [""; 0]);
    let shape = (samples, neurons);
    let said = |columns: usize| {
        probe::device_bytes(shape, (3, 3), BINDING)
            + probe::oracle_bytes(shape, (columns, 3), 1, BINDING)
    };
    let (peak, said, of_few) = (counted.peak_bytes(), said(240), said(3));
    assert!(
        peak <= said && peak > of_few,
        "{peak}: {said} for 240, {of_few} for 3"
    );
}

#[test]
fn a_problem_has_the_same_bits_alone_and_beside_others() {
    let Some(gpu) = support::gpu("a_problem_has_the_same_bits_alone_and_beside_others") else {
        return;
    };
    let backend = Backend::Gpu(gpu);
    let together = fits(&backend, Solver::Lbfgs).unwrap();
    for at in [1, 2, 4] {
        let alone = &some_fits(&backend, Solver::Lbfgs, Some(at)).unwrap()[0];
        let other = &together[at];
        assert_eq!(alone.standardised, other.standardised, "{at}");
        assert_eq!(alone.certificate.passes, other.certificate.passes, "{at}");
    }
}

#[test]
fn a_batch_in_a_thread_of_the_pool_ends() {
    let Some(gpu) = support::gpu("a_batch_in_a_thread_of_the_pool_ends") else {
        return;
    };
    let backend = Backend::Gpu(gpu);
    let one = rayon::ThreadPoolBuilder::new().num_threads(1);
    let pool = one.build().unwrap();
    let inside = pool.install(|| fits(&backend, Solver::Lbfgs).unwrap());
    let outside = fits(&backend, Solver::Lbfgs).unwrap();
    for (inside, outside) in inside.iter().zip(&outside) {
        assert_eq!(inside.standardised, outside.standardised);
    }
}
