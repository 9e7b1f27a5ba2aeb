//! Parity of `ops::quadratic`: both back ends end at a KKT residual that an f64 evaluation confirms, at objectives that differ
//! by no more than those residuals allow.

use std::io::Write;

use ndarray::Array2;
use neurosieve::gpu::Gpu;
use neurosieve::ops::moments::moments;
use neurosieve::ops::probe::{self, Design, Inner, Params, Problem, Stop};
use neurosieve::ops::quadratic::{KERNELS, Programme, TOLERANCE, solve};
use neurosieve::{Backend, Result};
use rand::RngExt;

use crate::golden::fixture;
use crate::support::{gpu, normal, random};

/// A programme that owns its parts.
struct Case {
    name: String,
    h: Vec<f32>,
    g: Vec<f64>,
    w: Vec<f32>,
    l1: Vec<f64>,
    mu: Vec<f64>,
    scale: Vec<f64>,
    blocks: Vec<usize>,
    tolerance: f64,
}

impl Case {
    fn programme(&self) -> Programme<'_> {
        Programme {
            h: &self.h,
            g: &self.g,
            w: &self.w,
            l1: &self.l1,
            mu: &self.mu,
            scale: &self.scale,
            blocks: &self.blocks,
            tolerance: self.tolerance,
            steps: 3000,
        }
    }

    /// Gradient of the smooth part at u (μ included), in f64.
    fn gradient(&self, u: &[f32]) -> Vec<f64> {
        let d: Vec<f64> = u
            .iter()
            .zip(&self.w)
            .map(|(u, w)| f64::from(*u) - f64::from(*w))
            .collect();
        let rows = self.h.chunks_exact(u.len());
        let product = |row: &[f32]| {
            row.iter()
                .zip(&d)
                .map(|(h, d)| f64::from(*h) * d)
                .sum::<f64>()
        };
        let smooth = rows.map(product).zip(&self.g).map(|(hd, g)| hd + g);
        let mu = self.mu.iter().zip(u).map(|(mu, u)| mu * f64::from(*u));
        smooth.zip(mu).map(|(q, mu)| q + mu).collect()
    }

    /// Minimum-norm subgradient at u.
    fn subgradient(&self, u: &[f32]) -> Vec<f64> {
        let of = |((q, u), l1): ((f64, &f32), &f64)| match *u {
            0.0 => q.signum() * (q.abs() - l1).max(0.0),
            u => q + l1 * f64::from(u).signum(),
        };
        self.gradient(u)
            .into_iter()
            .zip(u)
            .zip(&self.l1)
            .map(of)
            .collect()
    }

    fn residual(&self, u: &[f32]) -> f64 {
        let scaled = self
            .subgradient(u)
            .into_iter()
            .zip(&self.scale)
            .map(|(s, by)| s.abs() / by);
        scaled.fold(
            0.0,
            |worst, s| if s.is_nan() { f64::NAN } else { worst.max(s) },
        )
    }

    fn objective(&self, u: &[f32]) -> f64 {
        let q = self.gradient(u);
        (0..u.len())
            .map(|j| {
                let (to, from, mu) = (f64::from(u[j]), f64::from(self.w[j]), self.mu[j]);
                // ½ dᵀH d + gᵀd = ½ dᵀ(q − mu u + g)
                0.5 * (to - from) * (q[j] - mu * to + self.g[j])
                    + self.l1[j] * to.abs()
                    + 0.5 * mu * to * to
            })
            .sum()
    }
}

/// A random programme: correlated entries, an intercept at the head of each block, blocks of uneven sizes and an empty one.
fn case(n: usize, blocks: usize, ratio: f64, seed: u64) -> Case {
    let mut random = random(seed);
    let terms = n + 20;
    let mut a = vec![0.0f64; terms * n];
    for row in a.chunks_exact_mut(n) {
        let common = normal(&mut random);
        row.fill_with(|| 0.7 * common + normal(&mut random));
    }
    let mut h = vec![0.0f32; n * n];
    for j in 0..n {
        for k in 0..=j {
            let product: f64 = a.chunks_exact(n).map(|row| row[j] * row[k]).sum();
            h[j * n + k] = (product / terms as f64 + if j == k { 1e-3 } else { 0.0 }) as f32;
            h[k * n + j] = h[j * n + k];
        }
    }
    let g: Vec<f64> = (0..n).map(|_| normal(&mut random)).collect();
    let mut starts: Vec<usize> = (1..blocks).map(|_| random.random_range(0..=n)).collect();
    starts.extend([0, 0, n]);
    starts.sort_unstable();
    let scale: Vec<f64> = (0..n).map(|_| random.random_range(0.5..2.0)).collect();
    let largest = g
        .iter()
        .zip(&scale)
        .map(|(g, s)| g.abs() / s)
        .fold(0.0, f64::max);
    let penalised = |j: usize| if starts.contains(&j) { 0.0 } else { scale[j] };
    let l1: Vec<f64> = (0..n).map(|j| ratio * largest * penalised(j)).collect();
    Case {
        name: format!("{n} entries, {blocks} blocks, {ratio} of the largest gradient"),
        w: l1
            .iter()
            .map(|l1| {
                if *l1 > 0.0 && random.random::<f64>() < 0.3 {
                    normal(&mut random) as f32
                } else {
                    0.0
                }
            })
            .collect(),
        mu: l1.iter().map(|l1| 0.1 * l1).collect(),
        h,
        g,
        l1,
        scale,
        blocks: starts,
        tolerance: 1e-4 * largest,
    }
}

fn random_cases() -> Vec<Case> {
    [
        (1, 1, 0.1),
        (5, 2, 0.1),
        (33, 1, 0.01),
        (130, 4, 0.3),
        (257, 7, 0.03),
        (400, 3, 0.002),
    ]
    .into_iter()
    .zip(0..)
    .map(|((n, blocks, ratio), seed)| case(n, blocks, ratio, seed))
    .collect()
}

/// Gradient and exact Hessian of the softmax loss, class by class, from a design (samples × rows) and its logits.
fn derivatives(design: &Array2<f64>, logits: &Array2<f32>, labels: &[u32]) -> (Vec<f64>, Vec<f64>) {
    let (rows, classes) = (design.ncols(), logits.ncols());
    let n = rows * classes;
    let (mut g, mut h) = (vec![0.0; n], vec![0.0f64; n * n]);
    let share = 1.0 / design.nrows() as f64;
    for ((x, logits), &label) in design.rows().into_iter().zip(logits.rows()).zip(labels) {
        let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let exps: Vec<f64> = logits.iter().map(|z| f64::from(z - top).exp()).collect();
        let total: f64 = exps.iter().sum();
        for a in 0..classes {
            let p = exps[a] / total;
            let residual = p - f64::from(u8::from(label as usize == a));
            for j in 0..rows {
                g[a * rows + j] += share * residual * x[j];
            }
            for b in 0..classes {
                let weight = share * p * (f64::from(u8::from(a == b)) - exps[b] / total);
                if weight.abs() < 1e-9 {
                    continue;
                }
                for j in 0..rows {
                    let to = (a * rows + j) * n + b * rows;
                    for (h, x_k) in h[to..to + rows].iter_mut().zip(x) {
                        *h += weight * x[j] * x_k;
                    }
                }
            }
        }
    }
    for j in 0..n {
        h[j * n + j] = h[j * n + j] * (1.0 + 1e-6) + 1e-12;
    }
    (g, h)
}

/// The exact Newton programme of a probe on real activations: from the optimum of a strong penalty towards a weaker one.
fn real_case(neurons: usize) -> Case {
    let train = fixture().train();
    let (x, labels) = (train.activations.view(), &train.labels[0]);
    let columns: Vec<usize> = (0..neurons).map(|k| k * (x.ncols() / neurons)).collect();
    let found = moments(&Backend::Cpu, x, None).unwrap();
    let design = Design::new(&Backend::Cpu, x, &found, &columns).unwrap();
    let params = Params::default();
    let any = Problem::new(labels, 0.0, 0.0);
    let largest = probe::lambda_max(&Backend::Cpu, &design, &[any], params.scale).unwrap()[0];
    let strong = Problem::new(labels, 0.1 * largest, 0.005 * largest);
    let fits = probe::fit(&Backend::Cpu, &design, &[strong], &params, &mut |_| {});
    let fit = fits.unwrap().remove(0);
    let classes = fit.weights.nrows();
    let rows = neurons + 1;
    let z = Array2::from_shape_fn((x.nrows(), rows), |(i, row)| match row {
        0 => 1.0,
        row => {
            let column = columns[row - 1];
            (f64::from(x[(i, column)]) - found.mean[column]) / found.sd[column]
        }
    });
    let (g, h) = derivatives(&z, &fit.predictions(x), labels.ids());
    let n = rows * classes;
    let l1: Vec<f64> = (0..n)
        .map(|j| if j % rows == 0 { 0.0 } else { 0.02 * largest })
        .collect();
    let weight = |class: usize, row: usize| match row {
        0 => 0.0,
        row => fit.standardised[(class, columns[row - 1])],
    };
    Case {
        name: format!("{neurons} real neurons, {classes} classes"),
        h: h.into_iter().map(|h| h as f32).collect(),
        w: (0..n).map(|j| weight(j / rows, j % rows)).collect(),
        mu: l1.iter().map(|l1| 0.1 * l1).collect(),
        scale: vec![1.0; n],
        blocks: (0..=classes).map(|class| class * rows).collect(),
        tolerance: 2e-4 * largest,
        g,
        l1,
    }
}

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
    // Every shelf holds one or two programmes; 400 · 400 values still fit.
    let small = gpu.with_binding_limit(640_000);
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
    let small = gpu.with_binding_limit(64 << 10);
    let native = solve(&Backend::Cpu, &programme).unwrap();
    assert_eq!(solve(&Backend::Gpu(small), &programme).unwrap(), native);
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
    let cases = [case(130, 4, 0.02, 5)];
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
    let largest = probe::lambda_max(&Backend::Cpu, &design, &[any], params.scale).unwrap()[0];
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
    let native = path(&Backend::Cpu, Inner::Auto);
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

/// Seconds of both back ends, of one programme and of a batch; run it by name with `--ignored --nocapture`.
#[test]
#[ignore = "a measurement, not a check"]
fn seconds_of_both_back_ends() {
    let Some(gpu) = gpu("seconds_of_both_back_ends") else {
        return;
    };
    let device = Backend::Gpu(gpu);
    for (neurons, copies) in [(24, 1), (24, 6), (96, 1)] {
        let case = real_case(neurons);
        let programmes = vec![case.programme(); copies];
        for backend in [&Backend::Cpu, &device] {
            solve(backend, &programmes[..1]).unwrap();
            let started = std::time::Instant::now();
            let solutions = solve(backend, &programmes).unwrap();
            let seconds = started.elapsed().as_secs_f64();
            let (n, steps) = (solutions[0].u.len(), solutions[0].steps);
            let name = if matches!(backend, Backend::Cpu) {
                "native"
            } else {
                "device"
            };
            let _ = writeln!(
                std::io::stderr(),
                "{copies} x {n} entries, {name}: {seconds:.3} s, {steps} steps"
            );
        }
    }
}
