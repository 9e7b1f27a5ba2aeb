//! Parity of `ops::probe`: both back ends reach the optimum that an f64 evaluation from raw activations confirms.

use ndarray::Array2;
use neurosieve::gpu::Gpu;
use neurosieve::labels::Labels;
use neurosieve::ops::moments::moments;
use neurosieve::ops::probe::{
    self, Design, Fit, Neurons, Params, PenaltyScale, Problem, Progress, Stop,
};
use neurosieve::{Backend, Result};

use crate::support::{activations, assert_close, gpu, labels, own_gpu};

/// samples, neurons, classes: one tile and less, one more than a tile, primes, more than one 1,024-sample chunk.
const SHAPES: [(usize, usize, u32); 5] = [
    (63, 5, 2),
    (65, 64, 3),
    (131, 67, 4),
    (257, 129, 6),
    (2100, 33, 3),
];

pub(super) struct Case {
    x: Array2<f32>,
    y: Labels,
    design: Design,
}

pub(super) fn case(samples: usize, neurons: usize, classes: u32) -> Case {
    let x = activations(samples, neurons, 7);
    let y = labels(samples, classes, 8);
    let found = moments(&Backend::Cpu, x.view(), None).unwrap();
    let columns: Vec<usize> = (0..neurons).collect();
    let design = Design::new(&Backend::Cpu, x.view(), &found, &columns).unwrap();
    Case { x, y, design }
}

pub(super) fn fits(backend: &Backend, case: &Case, params: &Params) -> Result<Vec<Fit>> {
    solve(backend, case, params, &mut |_| {})
}

pub(super) fn solve(
    backend: &Backend,
    case: &Case,
    params: &Params,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Vec<Fit>> {
    let largest = probe::lambda_max(
        &case.design,
        &[Problem::new(&case.y, 0.0, 0.0)],
        params.scale,
    )?[0];
    let problems: Vec<Problem<'_>> = [0.5, 0.1, 0.02]
        .map(|ratio| Problem::new(&case.y, ratio * largest, 0.3 * ratio * largest))
        .to_vec();
    probe::fit(backend, &case.design, &problems, params, progress)
}

/// The objective from raw activations and raw weights, sample by sample in f64.
fn objective(case: &Case, fit: &Fit, scale: PenaltyScale) -> f64 {
    let mut loss = 0.0;
    for (row, &own) in case.x.rows().into_iter().zip(case.y.ids()) {
        let logits: Vec<f64> = fit
            .weights
            .rows()
            .into_iter()
            .zip(&fit.bias)
            .map(|(w, b)| {
                let product: f64 = w
                    .iter()
                    .zip(row)
                    .map(|(w, x)| f64::from(*w) * f64::from(*x))
                    .sum();
                product + f64::from(*b)
            })
            .collect();
        let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = logits.iter().map(|z| (z - largest).exp()).sum();
        loss += total.ln() + largest - logits[own as usize];
    }
    let penalised = match scale {
        PenaltyScale::Standardised => &fit.standardised,
        PenaltyScale::Raw => &fit.weights,
    };
    let penalty: f64 = penalised
        .iter()
        .map(|w| fit.l1 * f64::from(*w).abs() + fit.l2 * f64::from(*w).powi(2))
        .sum();
    loss / case.y.len() as f64 + penalty
}

/// Where every fit stops: relative duality gap.
const GAP: f64 = 1e-5;

/// What differs between the back ends, if anything.
fn disagreement(case: &Case, gpu: Gpu, params: &Params) -> Option<String> {
    let native = fits(&Backend::Cpu, case, params).unwrap();
    let device = match fits(&Backend::Gpu(gpu), case, params) {
        Ok(fits) => fits,
        Err(error) => return Some(error.to_string()),
    };
    for (native, device) in native.iter().zip(&device) {
        let allowed = probe::TOLERANCE * GAP * native.objective;
        if !(device.objective - native.objective).abs().le(&allowed) {
            return Some(format!(
                "λ1 = {:e}: objective {} on the device, {} natively",
                native.l1, device.objective, native.objective
            ));
        }
        if !device.certificate.converged {
            return Some(format!("λ1 = {:e} did not converge", native.l1));
        }
    }
    None
}

#[test]
fn both_back_ends_reach_the_same_certified_objective() {
    let Some(gpu) = gpu("both_back_ends_reach_the_same_certified_objective") else {
        return;
    };
    for (samples, neurons, classes) in SHAPES {
        for scale in [PenaltyScale::Standardised, PenaltyScale::Raw] {
            let params = Params {
                scale,
                stop: Stop::Gap(GAP),
                ..Params::default()
            };
            let case = case(samples, neurons, classes);
            if let Some(problem) = disagreement(&case, gpu.clone(), &params) {
                panic!("{samples} x {neurons}, {classes} classes, {scale:?}: {problem}");
            }
        }
    }
}

#[test]
fn a_small_binding_limit_changes_blocks_but_not_the_optimum() {
    let Some(gpu) = gpu("a_small_binding_limit_changes_blocks_but_not_the_optimum") else {
        return;
    };
    let params = Params {
        stop: Stop::Gap(GAP),
        ..Params::default()
    };
    // Nine blocks: of one column five are multiplied together, of nine columns one after the other. Half of that holds 16
    // columns, so that nine go four by four.
    for (classes, bytes) in [(2, 64 << 10), (3, 64 << 10), (3, 32 << 10)] {
        let small = gpu.with_binding_limit(bytes);
        let found = disagreement(&case(2100, 33, classes), small, &params);
        assert_eq!(found, None, "{classes} classes, {bytes} bytes");
    }
}

#[test]
fn a_probe_has_the_same_bits_alone_and_in_a_batch_of_many_columns() {
    let Some(gpu) = gpu("a_probe_has_the_same_bits_alone_and_in_a_batch_of_many_columns") else {
        return;
    };
    // Neurons that fill neither a tile of few columns nor one of many, and two chunks of samples; nine blocks of them as well.
    for (neurons, bytes) in [(67, 1 << 27), (600, 1 << 27), (33, 64 << 10)] {
        let backend = Backend::Gpu(gpu.with_binding_limit(bytes));
        let case = case(2100, neurons, 2);
        let params = Params::default();
        let any = Problem::new(&case.y, 0.0, 0.0);
        let largest = probe::lambda_max(&case.design, &[any], params.scale).unwrap()[0];
        let at = |ratio: f64| Problem::new(&case.y, ratio * largest, ratio * largest);
        // One column each: alone a kernel of few columns, six of them a tile of 32.
        let problems = [0.5, 0.3, 0.2, 0.1, 0.05, 0.02].map(at);
        let solved = |problems: &[Problem<'_>]| {
            probe::fit(&backend, &case.design, problems, &params, &mut |_| {}).unwrap()
        };
        let together = solved(&problems);
        for (problem, found) in problems.iter().zip(&together) {
            let alone = &solved(&[*problem])[0];
            assert_eq!(alone.standardised, found.standardised, "{neurons} neurons");
            assert_eq!(alone.bias, found.bias, "{neurons} neurons");
        }
    }
}

/// Four sets of neurons are four products, of which several are under way at once; not so where a thread of the pool waits for them,
/// which may be the only one.
#[test]
fn products_of_several_sets_have_the_same_bits_at_once_and_in_a_pool_of_one_thread() {
    let name = "products_of_several_sets_have_the_same_bits_at_once_and_in_a_pool_of_one_thread";
    let Some(gpu) = gpu(name) else {
        return;
    };
    let backend = Backend::Gpu(gpu);
    // Residuals and logits of more than 1 MiB, which several threads write.
    let case = case(40_000, 48, 9);
    let params = Params {
        stop: Stop::Gap(GAP),
        ..Params::default()
    };
    let width = case.design.columns().len();
    let problems = [0, 1, 2, 3].map(|set| Problem {
        neurons: Neurons::Range {
            from: set * width / 4,
            to: (set + 1) * width / 4,
        },
        ..Problem::new(&case.y, 1e-3, 1e-3)
    });
    let solved = |problems: &[Problem<'_>]| {
        let fits = probe::fit(&backend, &case.design, problems, &params, &mut |_| {});
        fits.unwrap()
    };
    let together = solved(&problems);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    let in_pool = pool.unwrap().install(|| solved(&problems));
    for (at, (found, other)) in together.iter().zip(&in_pool).enumerate() {
        assert!(found.certificate.converged, "set {at}");
        let alone = &solved(&problems[at..=at])[0];
        for other in [other, alone] {
            assert_eq!(found.standardised, other.standardised, "set {at}");
            assert_eq!(found.bias, other.bias, "set {at}");
        }
    }
}

#[test]
fn the_objective_is_that_of_the_raw_weights_on_raw_activations() {
    for scale in [PenaltyScale::Standardised, PenaltyScale::Raw] {
        let params = Params {
            scale,
            ..Params::default()
        };
        // Columns that a raw-scale evaluation in f64 resolves: huge and tiny scales included, subnormals are left out.
        let case = case(257, 16, 3);
        for fit in fits(&Backend::Cpu, &case, &params).unwrap() {
            assert!(fit.certificate.converged);
            // Raw weights and biases are f32: on neurons with mean = 100 sd that costs a few digits.
            let reference = objective(&case, &fit, scale);
            assert_close("objective", fit.objective, reference, 2e-5 * reference);
        }
    }
}

#[test]
fn products_take_no_more_of_a_device_than_is_said_while_a_batch_shrinks() {
    let Some(gpu) = own_gpu("products_take_no_more_of_a_device_than_is_said") else {
        return;
    };
    const BINDING: u64 = 256 << 10;
    let counted = gpu.with_memory(1 << 40).with_binding_limit(BINDING);
    let (samples, neurons, classes) = (4500, 33, 3);
    let case = case(samples, neurons, classes);
    let params = Params::default();
    let any = Problem::new(&case.y, 0.0, 0.0);
    let largest = probe::lambda_max(&case.design, &[any], params.scale).unwrap()[0];
    // 45 columns, of which the last ones are done long after the first: blocks are multiplied one by one, then together.
    let at = |place: i32| {
        let l1 = 0.6f64.powi(place) * largest;
        Problem::new(&case.y, l1, 0.1 * l1)
    };
    let problems: Vec<Problem<'_>> = (0..15).map(at).collect();
    let backend = Backend::Gpu(counted.clone());
    probe::fit(&backend, &case.design, &problems, &params, &mut |_| {}).unwrap();
    let said = |columns: usize| {
        probe::device_bytes((samples, neurons), (columns, classes as usize), BINDING)
    };
    let (peak, said, of_few) = (counted.peak_bytes(), said(45), said(3));
    assert_eq!(backend.told(), [""; 0]);
    assert!(
        peak <= said && peak > of_few,
        "{peak}: {said} for 45, {of_few} for 3"
    );
}

#[test]
fn breaking_the_probe_kernels_is_noticed() {
    let Some(gpu) = gpu("breaking_the_probe_kernels_is_noticed") else {
        return;
    };
    let case = case(131, 67, 4);
    let params = Params {
        stop: Stop::Gap(GAP),
        max_passes: 60.0,
        ..Params::default()
    };
    let source = probe::KERNELS[0].source;
    for (sound, broken) in [
        ("c3 = fma(vec4(a0.w), b0, c3);", ""),
        ("result[low + 1u * p.columns4] = s5;", ""),
        ("k0 += 16u", "k0 += 32u"),
    ] {
        assert!(
            source.contains(sound),
            "the control no longer fits the shader: {sound}"
        );
        let gpu = gpu.with_shader("probe", source.replace(sound, broken));
        assert!(
            disagreement(&case, gpu, &params).is_some(),
            "without `{sound}` the back ends still agree"
        );
    }
}
