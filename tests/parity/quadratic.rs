//! Parity of `ops::quadratic`: both back ends end at a KKT residual that an f64 evaluation confirms, at objectives that differ
//! by no more than those residuals allow.

mod cases;

use neurosieve::gpu::Gpu;
use neurosieve::ops::moments::moments;
use neurosieve::ops::probe::{self, Design, Inner, Params, Problem, Stop};
use neurosieve::ops::quadratic::{KERNELS, Programme, TOLERANCE, bytes, solve};
use neurosieve::{Backend, Result};

use self::cases::{Case, case, random_cases, real_case};
use crate::golden::fixture;
use crate::support::gpu;

/// What is wrong with the device's solutions, if anything.
fn disagreement(cases: &[Case], gpu: &Gpu) -> Option<String> {
    let programmes: Vec<Programme<'_>> = cases.iter().map(Case::programme).collect();
    let native = solve(&Backend::Cpu, &programmes).unwrap();
    let device = match solve(&Backend::Gpu(gpu.clone()), &programmes) {
        Ok(device) => device,
        Err(error) => return Some(error.to_string()),
    };
    for ((case, native), device) in cases.iter().zip(native).zip(device) {
        for (where_, solution) in [("native", &native), ("device", &device)] {
            let rounding = case.programme().rounding(&solution.u);
            if !rounding.le(&case.tolerance) {
                return Some(format!(
                    "{}: rounding alone may leave {rounding:e}, tolerance {:e}",
                    case.name, case.tolerance
                ));
            }
            let residual = case.residual(&solution.u);
            if !residual.le(&(TOLERANCE * case.tolerance)) {
                return Some(format!(
                    "{}: {where_} residual {residual:e} after {} steps, tolerance {:e}",
                    case.name, solution.steps, case.tolerance
                ));
            }
        }
        // By convexity F(a) − F(b) ≤ s·(a − b), s a subgradient at a.
        let bound = |s: Vec<f64>| -> f64 {
            let apart = native
                .u
                .iter()
                .zip(&device.u)
                .map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs());
            s.into_iter().zip(apart).map(|(s, d)| s.abs() * d).sum()
        };
        let allowed = bound(case.subgradient(&native.u)).max(bound(case.subgradient(&device.u)));
        let (a, b) = (case.objective(&native.u), case.objective(&device.u));
        if !(a - b).abs().le(&(allowed + 1e-12 * a.abs())) {
            return Some(format!(
                "{}: objective {b} on the device, {a} natively",
                case.name
            ));
        }
    }
    None
}

fn points(cases: &[Case], gpu: &Gpu) -> Result<Vec<Vec<u32>>> {
    let programmes: Vec<Programme<'_>> = cases.iter().map(Case::programme).collect();
    let solutions = solve(&Backend::Gpu(gpu.clone()), &programmes)?;
    Ok(solutions
        .into_iter()
        .map(|s| s.u.into_iter().map(f32::to_bits).collect())
        .collect())
}

#[test]
fn both_back_ends_solve_random_programmes() {
    let Some(gpu) = gpu("both_back_ends_solve_random_programmes") else {
        return;
    };
    assert_eq!(disagreement(&random_cases(), &gpu), None);
}

#[test]
fn both_back_ends_solve_the_newton_step_of_a_real_probe() {
    let Some(gpu) = gpu("both_back_ends_solve_the_newton_step_of_a_real_probe") else {
        return;
    };
    assert_eq!(disagreement(&[real_case(24)], &gpu), None);
}

#[test]
fn the_bits_of_a_solution_depend_neither_on_the_batch_nor_on_the_size_of_bindings() {
    let Some(gpu) =
        gpu("the_bits_of_a_solution_depend_neither_on_the_batch_nor_on_the_size_of_bindings")
    else {
        return;
    };
    let cases = random_cases();
    let together = points(&cases, &gpu).unwrap();
    // Several shelves; the largest programme, 150 · 152 values, still fits one.
    let small = gpu.with_binding_limit(100_000);
    assert_eq!(points(&cases, &small).unwrap(), together);
    for (case, bits) in cases.into_iter().zip(together) {
        assert_eq!(points(&[case], &gpu).unwrap(), [bits]);
    }
}

#[test]
fn a_programme_that_fits_no_binding_is_solved_natively() {
    let Some(gpu) = gpu("a_programme_that_fits_no_binding_is_solved_natively") else {
        return;
    };
    let cases = [case(130, 4, 0.3, 5)];
    let programme = [cases[0].programme()];
    // 130 · 132 values need 68,640 bytes.
    let small = gpu.with_binding_limit(64 << 10);
    let native = solve(&Backend::Cpu, &programme).unwrap();
    assert_eq!(solve(&Backend::Gpu(small), &programme).unwrap(), native);
}

#[test]
fn a_plan_counts_what_the_device_takes() {
    let Some(gpu) = gpu("a_plan_counts_what_the_device_takes") else {
        return;
    };
    let train = fixture().train();
    let (x, labels) = (train.activations.view(), &train.labels[0]);
    let found = moments(&Backend::Cpu, x, None).unwrap();
    let columns: Vec<usize> = (0..95).collect();
    let design = Design::new(&Backend::Cpu, x, &found, &columns).unwrap();
    let binding = gpu.binding_bytes();
    let backend = Backend::Gpu(gpu);
    let problems = [Problem::new(labels, 0.01, 0.0); 2];
    let solver = |inner| {
        let params = Params {
            inner,
            ..Params::default()
        };
        probe::plan(&backend, &design, &problems, &params).solver
    };
    let n = 96 * labels.present().len();
    let device = bytes(&[n, n], binding);
    // Both matrices, there and under way, and one on the host.
    assert!(device >= 5 * 4 * (n * n) as u64, "{device}");
    assert!(solver(Inner::Device) >= device, "{device}");
    assert!(solver(Inner::Device) > solver(Inner::Native));
}

#[test]
fn vectors_that_do_not_fit_their_matrix_are_refused() {
    let mut broken = case(5, 2, 0.1, 1);
    broken.mu.pop();
    let error = solve(&Backend::Cpu, &[broken.programme()])
        .unwrap_err()
        .to_string();
    assert!(error.contains("mu has 4 values for 5 entries"), "{error}");
    let mut broken = case(5, 2, 0.1, 1);
    broken.blocks = vec![0, 4];
    assert!(solve(&Backend::Cpu, &[broken.programme()]).is_err());
}

#[test]
fn breaking_the_quadratic_kernels_is_noticed() {
    let Some(gpu) = gpu("breaking_the_quadratic_kernels_is_noticed") else {
        return;
    };
    let mut cases = [case(70, 3, 0.02, 5), case(70, 3, 0.3, 6)];
    // The sound kernels end before these; a broken one that would never end stops there.
    cases[0].steps = 120;
    cases[1].steps = 120;
    assert_eq!(disagreement(&cases, &gpu), None, "the sound kernels");
    let source = KERNELS[0].source;
    for (sound, broken) in [
        (
            "sums = fma(h4[row4 + k], v4[d4 + k], sums);",
            "sums = h4[row4 + k] * v4[d4 + k];",
        ),
        ("s.residual = worst.x;", "worst = vec2<f32>();"),
        (
            "v[HD * params.plane + k] += length * v[Y * params.plane + k];",
            "",
        ),
        (
            "sign(pull) * max(abs(pull) - tile_limit[a], 0.0) / stiffness",
            "pull / stiffness",
        ),
        (
            // Entries never leave zero.
            "sign(pull) * max(abs(pull) - tile_limit[a], 0.0) / stiffness",
            "tile_start[a]",
        ),
    ] {
        assert!(
            source.contains(sound),
            "the control no longer fits the shader: {sound}"
        );
        let gpu = gpu.with_shader("quadratic", source.replace(sound, broken));
        assert!(
            disagreement(&cases, &gpu).is_some(),
            "without `{sound}` the back ends still agree"
        );
    }
}

/// Probes of real activations over a path of penalties, each Newton step solved where `inner` says.
fn path(backend: &Backend, inner: Inner) -> Vec<probe::Fit> {
    let train = fixture().train();
    let (x, labels) = (train.activations.view(), &train.labels[0]);
    let found = moments(&Backend::Cpu, x, None).unwrap();
    let columns: Vec<usize> = (0..48).collect();
    let design = Design::new(&Backend::Cpu, x, &found, &columns).unwrap();
    let params = Params {
        stop: Stop::Gap(1e-5),
        inner,
        ..Params::default()
    };
    let any = Problem::new(labels, 0.0, 0.0);
    let largest = probe::lambda_max(&design, &[any], params.scale).unwrap()[0];
    let problems: Vec<Problem<'_>> = [0.3, 0.03, 0.003]
        .map(|ratio| Problem::new(labels, ratio * largest, 0.05 * ratio * largest))
        .to_vec();
    probe::fit(backend, &design, &problems, &params, &mut |_| {}).unwrap()
}

#[test]
fn newton_reaches_the_same_optimum_where_the_device_solves_its_programmes() {
    let Some(gpu) = gpu("newton_reaches_the_same_optimum_where_the_device_solves_its_programmes")
    else {
        return;
    };
    let backend = Backend::Gpu(gpu);
    let native = path(&Backend::Cpu, Inner::Native);
    let device = path(&backend, Inner::Device);
    for (native, device) in native.iter().zip(&device) {
        assert!(device.certificate.converged, "λ1 = {:e}", native.l1);
        let apart = (device.objective - native.objective).abs();
        let allowed = probe::TOLERANCE * 1e-5 * native.objective;
        assert!(
            apart <= allowed,
            "λ1 = {:e}: {apart:e} apart, {allowed:e} allowed",
            native.l1
        );
        let depths = (device.certificate.depth, native.certificate.depth);
        assert!(depths.0 <= depths.1 + depths.1 / 2 + 3, "rounds {depths:?}");
    }
    for (first, second) in device.iter().zip(path(&backend, Inner::Device)) {
        assert_eq!(first.weights, second.weights, "the same bits again");
    }
}
