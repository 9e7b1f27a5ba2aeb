//! Parity of `ops::curvature`: both back ends sum the Hessian that f64 sums, whatever the shapes of its blocks, and a probe whose
//! Hessians a device sums ends where the native one does.

use ndarray::Array2;
use neurosieve::Backend;
use neurosieve::error::Trouble;
use neurosieve::gpu::{Corruption, Gpu};
use neurosieve::ops::curvature::{KERNELS, TOLERANCE, Terms, bytes, curvature};
use neurosieve::ops::moments::moments;
use neurosieve::ops::probe::{self, Curvature, Design, Fit, Params, Problem, Stop};
use rand::RngExt;

use crate::golden::fixture;
use crate::support::{activations, gpu, own_gpu, random};

/// A Hessian to sum.
struct Case {
    x: Array2<f32>,
    rows: Vec<Vec<usize>>,
    terms: Vec<Terms>,
}

impl Case {
    /// Of so many samples and neurons: each class has the intercept and about so many rows, each pair of classes about so many
    /// terms, none where that is 0.
    fn new((n, d): (usize, usize), rows: &[usize], terms: &[(usize, usize, usize)]) -> Self {
        let mut random = random(7 + n as u64);
        let mut chosen = |count: usize| -> Vec<usize> {
            let share = count as f64 / d as f64;
            let of_neurons = (1..=d).filter(|_| random.random_bool(share.min(1.0)));
            std::iter::once(0).chain(of_neurons).collect()
        };
        let rows: Vec<Vec<usize>> = rows
            .iter()
            .map(|&count| {
                if count == 0 {
                    Vec::new()
                } else {
                    chosen(count)
                }
            })
            .collect();
        let drawn = |&(a, b, count): &(usize, usize, usize)| {
            let mut samples: Vec<u32> = (0..count)
                .map(|_| random.random_range(0..n as u32))
                .collect();
            samples.sort_unstable();
            let weights = samples
                .iter()
                .map(|_| random.random_range(0.0..0.3))
                .collect();
            Terms {
                a,
                b,
                samples,
                weights,
            }
        };
        Self {
            terms: terms.iter().map(drawn).collect(),
            x: activations(n, d, 3),
            rows,
        }
    }

    fn found(&self, backend: &Backend) -> neurosieve::Result<Array2<f32>> {
        curvature(backend, self.x.view(), &self.rows, &self.terms)
    }

    /// By its definition, in f64.
    fn reference(&self) -> Array2<f64> {
        let entries: Vec<(usize, usize)> = (self.rows.iter().enumerate())
            .flat_map(|(class, rows)| rows.iter().map(move |&row| (class, row)))
            .collect();
        let entry = |sample: u32, row: usize| match row {
            0 => 1.0,
            row => f64::from(self.x[(sample as usize, row - 1)]),
        };
        let mut h = Array2::zeros((entries.len(), entries.len()));
        for (j, &(a, down)) in entries.iter().enumerate() {
            for (k, &(b, across)) in entries.iter().enumerate().skip(j) {
                let part = |t: &&Terms| match a == b {
                    true => t.a == a || t.b == a,
                    false => (t.a, t.b) == (a, b),
                };
                let terms = self.terms.iter().filter(part);
                let each = terms.flat_map(|t| t.samples.iter().zip(&t.weights));
                let sum: f64 = each
                    .map(|(&i, &v)| f64::from(v) * entry(i, down) * entry(i, across))
                    .sum();
                h[(j, k)] = if a == b { sum } else { -sum };
                h[(k, j)] = h[(j, k)];
            }
        }
        h
    }
}

/// The largest difference from f64, in units of what the diagonal allows; infinite where something is not a number.
fn off(found: &Array2<f32>, reference: &Array2<f64>) -> f64 {
    assert_eq!(found.dim(), reference.dim());
    let each = found.indexed_iter().map(|((j, k), found)| {
        let size = (reference[(j, j)] * reference[(k, k)]).sqrt();
        let off = (f64::from(*found) - reference[(j, k)]).abs();
        match off.is_nan() {
            true => f64::INFINITY,
            false => off / (size + 1e-30),
        }
    });
    each.fold(0.0, f64::max)
}

/// Sides of one entry and of a little more than one tile, small and large; classes without rows, pairs without terms, more terms
/// than one f32 sum covers, no multiple of a panel.
fn cases() -> Vec<Case> {
    vec![
        Case::new((9, 1), &[1], &[(0, 0, 3)]),
        Case::new(
            (40, 30),
            &[0, 12, 0, 3],
            &[(1, 1, 17), (1, 3, 16), (3, 3, 1)],
        ),
        Case::new(
            (300, 90),
            &[70, 3, 64, 20],
            &[
                (0, 0, 150),
                (0, 1, 33),
                (0, 2, 48),
                (1, 1, 7),
                (2, 2, 90),
                (2, 3, 15),
                (3, 3, 2),
            ],
        ),
        Case::new((700, 500), &[440], &[(0, 0, 2_600)]),
        Case::new((2_500, 90), &[70], &[(0, 0, 9_000)]),
        Case::new(
            (500, 480),
            &[470, 395],
            &[(0, 0, 700), (0, 1, 1_030), (1, 1, 64)],
        ),
    ]
}

fn disagreement(gpu: &Gpu, cases: &[Case]) -> Option<String> {
    for (place, case) in cases.iter().enumerate() {
        let reference = case.reference();
        let native = off(&case.found(&Backend::Cpu).unwrap(), &reference);
        assert!(native <= TOLERANCE, "case {place}: {native:e} natively");
        match case.found(&Backend::Gpu(gpu.clone())) {
            Ok(found) => {
                let device = off(&found, &reference);
                if device > TOLERANCE {
                    return Some(format!("case {place}: {device:e} on the device"));
                }
            }
            Err(error) => return Some(error.to_string()),
        }
    }
    None
}

#[test]
fn both_back_ends_sum_the_hessian_that_f64_sums() {
    let Some(gpu) = gpu("both_back_ends_sum_the_hessian_that_f64_sums") else {
        return;
    };
    assert_eq!(disagreement(&gpu, &cases()), None);
}

#[test]
fn samples_in_several_parts_make_the_same_hessian() {
    let Some(gpu) = gpu("samples_in_several_parts_make_the_same_hessian") else {
        return;
    };
    let case = Case::new(
        (5_000, 120),
        &[60, 0, 40],
        &[(0, 0, 3_000), (0, 2, 900), (2, 2, 40)],
    );
    // Two parts and a bit; 105 entries' H needs 44,100 bytes.
    let small = gpu.with_binding_limit(1 << 20);
    assert_eq!(disagreement(&small, &[case]), None);
}

#[test]
fn a_hessian_that_fits_no_binding_is_summed_natively() {
    let Some(gpu) = gpu("a_hessian_that_fits_no_binding_is_summed_natively") else {
        return;
    };
    let beside = |case: &Case, bytes: usize| {
        let native = case.found(&Backend::Cpu).unwrap();
        let found = |bytes: usize| {
            let small = gpu.with_binding_limit(bytes as u64);
            case.found(&Backend::Gpu(small)).unwrap()
        };
        assert_eq!(found(bytes - 4), native);
        assert_ne!(found(bytes), native, "a device adds in another order");
    };
    // H is the largest.
    let case = Case::new((300, 200), &[150], &[(0, 0, 60)]);
    beside(&case, 4 * case.rows[0].len().pow(2));
    // A run of packed entries is, of one panel and of two.
    let case = Case::new((1_500, 200), &[150], &[(0, 0, 9_000)]);
    beside(&case, 4 * 192 * 1024);
    let case = Case::new((300, 200), &[50, 50], &[(0, 1, 1_100)]);
    beside(&case, 4 * (64 + 64) * 1024);
}

/// One run of the widest block at a time, some, and all: of one class and of three, tiles small and large.
#[test]
fn no_bit_of_a_hessian_depends_on_how_much_is_packed_at_once() {
    let Some(gpu) = gpu("no_bit_of_a_hessian_depends_on_how_much_is_packed_at_once") else {
        return;
    };
    // Most samples are drawn, and a class's own terms name each once.
    let pairs = [(0, 0, 3_000), (0, 1, 1_500), (0, 2, 9_000), (1, 2, 1_024)];
    let cases = [
        (Case::new((2_000, 64), &[64], &[(0, 0, 20_000)]), 128),
        (Case::new((4_000, 64), &[64, 20, 64], &pairs), 2 * 128),
        (Case::new((1_365, 384), &[384], &[(0, 0, 9_000)]), 512),
    ];
    for (case, width) in cases {
        let found = |gpu: &Gpu| case.found(&Backend::Gpu(gpu.clone())).unwrap();
        let (whole, native) = (found(&gpu), case.found(&Backend::Cpu).unwrap());
        assert!(off(&whole, &case.reference()) <= TOLERANCE);
        let within = |bytes: usize| found(&gpu.with_binding_limit(bytes as u64));
        let run = 4 * 1024 * width;
        // The samples stay in one part.
        assert!(4 * case.x.len() <= run);
        for bytes in [run, run + 100_000, 2 * run, 7 * run / 2] {
            assert_eq!(within(bytes), whole, "{bytes} bytes");
        }
        assert_eq!(within(run - 4), native);
        assert_ne!(whole, native);
    }
}

#[test]
fn a_hessian_takes_no_more_of_a_device_than_was_said() {
    let Some(gpu) = own_gpu("a_hessian_takes_no_more_of_a_device_than_was_said") else {
        return;
    };
    for case in cases() {
        let all = |terms: &Terms| terms.samples.len() * if terms.a == terms.b { 1 } else { 3 };
        let terms = case.terms.iter().map(all).sum();
        let n = case.rows.iter().map(Vec::len).sum();
        for binding in [128 << 20, 1 << 20, 3 << 20] {
            let counted = gpu.with_memory(1 << 40).with_binding_limit(binding);
            case.found(&Backend::Gpu(counted.clone())).unwrap();
            let design = 4 * case.x.len() as u64;
            let said = bytes(n, case.rows.len(), terms, binding);
            assert!(counted.peak_bytes() <= design + said, "{n} entries");
        }
    }
}

#[test]
fn a_hessian_is_symmetric_to_the_last_bit() {
    let Some(gpu) = gpu("a_hessian_is_symmetric_to_the_last_bit") else {
        return;
    };
    for case in cases() {
        for backend in [Backend::Cpu, Backend::Gpu(gpu.clone())] {
            let found = case.found(&backend).unwrap();
            assert_eq!(found, found.t());
        }
    }
}

#[test]
fn breaking_the_curvature_kernels_is_noticed() {
    let Some(gpu) = gpu("breaking_the_curvature_kernels_is_noticed") else {
        return;
    };
    let cases = || {
        let parts = Case::new(
            (5_000, 120),
            &[60, 40],
            &[(0, 0, 3_000), (0, 1, 900), (1, 1, 40)],
        );
        vec![parts]
    };
    let small = gpu.with_binding_limit(1 << 20);
    assert_eq!(disagreement(&small, &cases()), None, "the sound kernels");
    let source = KERNELS[0].source;
    for (sound, broken) in [
        // pack
        ("select(0.0, 1.0, neuron == ONE)", "0.0"),
        ("if (entry < slice.entries) {", "if (entry > 64u) {"),
        (
            "min(neuron, p.neurons - 1u)",
            "min(neuron + 1u, p.neurons - 1u)",
        ),
        ("terms[at + 8u].sample", "terms[at].sample"),
        ("to += 4u * jump;", "to += 2u * jump;"),
        (
            "slice.to + t / 64u * slice.stride + entry",
            "t / 64u * slice.stride + entry",
        ),
        // sum
        (
            "panels[at_left + left_jump] * terms[at_term + jump].weight",
            "panels[at_left + left_jump] * terms[at_term].weight",
        ),
        ("at_term += 16u;", "at_term += 0u;"),
        ("at_right += 16u * right_width;", "at_right += right_width;"),
        ("var at_right = block.right", "var at_right = block.left"),
        ("if (at + 16u < block.end) {", "if (at + 16u < end) {"),
        ("select(-1.0, 1.0, block.down == block.across)", "1.0"),
        (
            "put(block, row + 1u, far, held3 + sign * s3);",
            "put(block, row + 1u, far, sign * s3);",
        ),
        (
            "if (column + i < block.acrosses) {",
            "if (column + i < block.acrosses - 1u) {",
        ),
        ("vec2(near, near + SIDE * 4u)", "vec2(near, near)"),
        (
            "let end = min(run + RUN, block.end);",
            "let end = run + 16u;",
        ),
        // mirror
        (
            "whole[at] = whole[column * p.entries + row];",
            "whole[at] = whole[at];",
        ),
    ] {
        assert!(source.contains(sound), "{sound}");
        let broken = small.with_shader("curvature", source.replace(sound, broken));
        assert!(disagreement(&broken, &cases()).is_some(), "{sound}");
    }
}

#[test]
fn a_hessian_of_garbage_is_not_believed() {
    let Some(gpu) = own_gpu("a_hessian_of_garbage_is_not_believed") else {
        return;
    };
    let case = Case::new((300, 90), &[70, 20], &[(0, 1, 150)]);
    for what in [Corruption::Zeros, Corruption::NotANumber] {
        let broken = |gpu: Gpu| case.found(&Backend::Gpu(gpu.corrupting(0, what, true)));
        let error = broken(gpu.again().unwrap()).unwrap_err();
        assert_eq!(error.trouble(), Some(Trouble::Wrong), "{what:?}: {error}");
        // Who does not check believes it.
        assert!(broken(gpu.again().unwrap().checked(false)).is_ok());
    }
}

#[test]
fn terms_that_do_not_fit_the_design_are_refused() {
    let whole = || Case::new((20, 5), &[4, 4], &[(0, 1, 6)]);
    let refused = |change: &dyn Fn(&mut Case)| {
        let mut case = whole();
        change(&mut case);
        case.found(&Backend::Cpu).unwrap_err().to_string()
    };
    assert!(whole().found(&Backend::Cpu).is_ok());
    let text = refused(&|case| case.rows[1].push(6));
    assert!(
        text.contains("rows of class 1 are not ascending, or not all of 0 to 5"),
        "{text}"
    );
    let text = refused(&|case| case.rows[0].reverse());
    assert!(text.contains("rows of class 0"), "{text}");
    let text = refused(&|case| case.terms[0].samples[5] = 20);
    assert!(text.contains("not all below 20"), "{text}");
    let text = refused(&|case| case.terms[0].weights.truncate(5));
    assert!(text.contains("6 samples have 5 weights"), "{text}");
    let text = refused(&|case| case.terms[0].weights[2] = -0.5);
    assert!(
        text.contains("a weight of classes 0 and 1 is -0.5"),
        "{text}"
    );
    let text = refused(&|case| case.terms.push(case.terms[0].clone()));
    assert!(
        text.contains("classes 0 and 1 of 2 are named twice"),
        "{text}"
    );
    let text = refused(&|case| case.terms[0].b = 2);
    assert!(text.contains("classes 0 and 2 of 2"), "{text}");
}

/// Probes of the fixture, two in flight.
fn fits(backend: &Backend, curvature: Curvature) -> Vec<Fit> {
    let train = fixture().train();
    let x = train.activations.view();
    let found = moments(&Backend::Cpu, x, None).unwrap();
    let columns: Vec<usize> = (0..x.ncols()).collect();
    let design = Design::new(&Backend::Cpu, x, &found, &columns).unwrap();
    let labels = &train.labels[0];
    let problems = [0.02, 0.005].map(|l1| Problem::new(labels, l1, 0.001));
    let params = Params {
        curvature,
        stop: Stop::Gap(1e-4),
        ..Params::default()
    };
    probe::fit(backend, &design, &problems, &params, &mut |_| ()).unwrap()
}

#[test]
fn probes_whose_hessians_a_device_sums_end_at_the_same_optimum() {
    let Some(gpu) = gpu("probes_whose_hessians_a_device_sums_end_at_the_same_optimum") else {
        return;
    };
    let backend = Backend::Gpu(gpu);
    let (native, device) = (
        fits(&backend, Curvature::Native),
        fits(&backend, Curvature::Device),
    );
    for (native, device) in native.iter().zip(&device) {
        assert!(native.certificate.converged && device.certificate.converged);
        let apart = (native.objective - device.objective).abs() / native.objective;
        assert!(apart <= probe::TOLERANCE * 1e-4, "{apart:e}");
        // It is another sum of the same terms: the way there is about as long, and not the same to the bit.
        assert!(device.certificate.passes <= 1.5 * native.certificate.passes);
        assert_ne!(native.standardised, device.standardised);
    }
    for (first, second) in device.iter().zip(fits(&backend, Curvature::Device)) {
        assert_eq!(first.weights, second.weights, "the same bits each time");
    }
    // This adapter has no memory of its own.
    for (native, auto) in native.iter().zip(fits(&backend, Curvature::Auto)) {
        assert_eq!(native.weights, auto.weights);
    }
}
