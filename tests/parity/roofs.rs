//! Roofs: GPU = CPU = a naive loop in f64, to the last bit; a kernel that leaves out a step is noticed.

use std::io::Write;

use ndarray::Array2;
use neurosieve::gpu::{Gpu, MatrixUnits};
use neurosieve::ops::Backend;
use neurosieve::ops::roofs::{
    Blocks, CHAINS, MOST_BLOCK_STEPS, MOST_GROUPS, MOST_STEPS, MOST_THREADS, Params, Precision,
    TOLERANCE, blocks, bytes, fma, launch, products, triad, triad_into,
};

use crate::support;

fn params(precision: Precision) -> Vec<Params> {
    let of = |threads, steps, factor, summand| Params {
        precision,
        threads,
        steps,
        factor,
        summand,
    };
    vec![
        of(256, 8, 1.0, 1.0),
        of(1024, 1024, 1.0, 1.0),
        of(512, 64, -1.0, 3.0),
        of(768, 72, 1.0, -5.0),
        of(256, 16, -1.0, 0.0),
    ]
}

/// One thread's chains, step by step.
fn naive(params: &Params, thread: usize) -> f64 {
    let mut sum = 0.0;
    for chain in 0..CHAINS {
        let mut x = (thread % 16 + chain) as f64;
        for _ in 0..params.steps {
            x = x * f64::from(params.factor) + f64::from(params.summand);
        }
        sum += x;
    }
    sum
}

/// The largest difference from the naive loop and from the formula.
fn off(backend: &Backend, params: &Params) -> f64 {
    let sums = fma(backend, params).unwrap();
    assert_eq!(sums.len(), params.threads);
    let mut most: f64 = 0.0;
    for (thread, sum) in sums.iter().enumerate() {
        let sum = f64::from(*sum);
        most = most.max((sum - naive(params, thread)).abs());
        most = most.max((sum - params.exact(thread)).abs());
    }
    most
}

/// A device with f16, where there is one.
fn device(test: &str) -> Option<Gpu> {
    let gpu = support::gpu(test)?;
    Some(gpu.for_measurements().expect("it opened once already"))
}

#[test]
fn chains_end_where_a_naive_loop_does() {
    for precision in [Precision::F32, Precision::F16] {
        for params in params(precision) {
            assert!(off(&Backend::Cpu, &params) <= TOLERANCE, "{params:?}");
            assert_eq!(bytes(&params), 4 * params.threads as u64);
        }
    }
    let Some(gpu) = device("chains_end_where_a_naive_loop_does") else {
        return;
    };
    let half = gpu.has_f16();
    let backend = Backend::Gpu(gpu);
    for params in params(Precision::F32) {
        assert!(off(&backend, &params) <= TOLERANCE, "{params:?}");
    }
    for params in params(Precision::F16) {
        if half {
            assert!(off(&backend, &params) <= TOLERANCE, "{params:?}");
        } else {
            let refused = fma(&backend, &params).unwrap_err().to_string();
            assert!(refused.contains("f16"), "{refused}");
        }
    }
}

/// The negative control: one of 64 operations of a step is left out.
#[test]
fn a_kernel_that_leaves_out_a_step_is_noticed() {
    let Some(gpu) = device("a_kernel_that_leaves_out_a_step_is_noticed") else {
        return;
    };
    let mut cases = vec![("roofs", Precision::F32)];
    if gpu.has_f16() {
        cases.push(("roofs_f16", Precision::F16));
    }
    for (shader, precision) in cases {
        let path = format!("{}/shaders/{shader}.wgsl", env!("CARGO_MANIFEST_DIR"));
        let source = std::fs::read_to_string(path).unwrap();
        let broken = source.replacen("c5 = fma(c5, m, a);", "", 1);
        assert_ne!(broken, source);
        let backend = Backend::Gpu(gpu.with_shader(shader, broken));
        // Where values alternate, a step less shows only if the others are an odd number.
        for params in params(precision).iter().filter(|p| p.factor > 0.0) {
            assert!(off(&backend, params) > TOLERANCE, "{shader}: {params:?}");
        }
    }
}

#[test]
fn a_device_that_was_not_opened_with_f16_says_so() {
    let Some(gpu) = support::gpu("a_device_that_was_not_opened_with_f16_says_so") else {
        return;
    };
    if gpu.has(MatrixUnits::HalfBy16) {
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: f16 comes with the matrix units of this device"
        );
        return;
    }
    assert!(!gpu.has_f16());
    assert_eq!(
        gpu.features(),
        ["immediates"],
        "nothing is taken that no kernel needs"
    );
    let refused = fma(&Backend::Gpu(gpu), &params(Precision::F16)[0]).unwrap_err();
    assert!(refused.to_string().contains("f16"), "{refused}");
}

#[test]
fn triads_are_exact_for_whole_numbers() {
    for length in [4, 1020, 1024, 70_000] {
        let b: Vec<f32> = (0..length).map(|i| (i % 1021) as f32).collect();
        let c: Vec<f32> = (0..length).map(|i| (i % 509) as f32 - 200.0).collect();
        let exact: Vec<f32> = b.iter().zip(&c).map(|(b, c)| b + 3.0 * c).collect();
        assert_eq!(triad(&Backend::Cpu, &b, &c, 3.0).unwrap(), exact);
        let mut a = vec![0.0; length];
        triad_into(&b, &c, 3.0, &mut a).unwrap();
        assert_eq!(a, exact);
        if let Some(gpu) = support::gpu("triads_are_exact_for_whole_numbers") {
            launch(&gpu).unwrap()().unwrap();
            let backend = Backend::Gpu(gpu);
            assert_eq!(triad(&backend, &b, &c, 3.0).unwrap(), exact, "{length}");
        }
    }
}

#[test]
fn products_are_those_of_f64() {
    let whole = |seed: usize| {
        Array2::from_shape_fn((37, 11), |(i, j)| {
            ((i * 31 + j * 7 + seed * 5) % 17) as f32 - 8.0
        })
    };
    let pairs = [(whole(1), whole(2)), (whole(3), whole(4))];
    let found = products(&pairs).unwrap();
    for ((a, b), c) in pairs.iter().zip(&found) {
        let (a, b) = (a.mapv(f64::from), b.mapv(f64::from));
        let naive = Array2::from_shape_fn((11, 11), |(i, j)| {
            (0..37).map(|k| a[[k, i]] * b[[k, j]]).sum::<f64>()
        });
        assert_eq!(c.mapv(f64::from), naive);
    }
}

#[test]
fn what_would_not_be_exact_is_refused() {
    let fine = params(Precision::F16)[1];
    for (broken, says) in [
        (Params { threads: 0, ..fine }, "threads"),
        (
            Params {
                threads: 100,
                ..fine
            },
            "threads",
        ),
        (Params { steps: 0, ..fine }, "steps"),
        (Params { steps: 12, ..fine }, "steps"),
        (
            Params {
                factor: 0.5,
                ..fine
            },
            "factor",
        ),
        (
            Params {
                summand: 0.5,
                ..fine
            },
            "summand",
        ),
        (
            Params {
                summand: f32::NAN,
                ..fine
            },
            "summand",
        ),
        (
            Params {
                summand: 2.0,
                ..fine
            },
            "2048",
        ),
    ] {
        let refused = fma(&Backend::Cpu, &broken).unwrap_err().to_string();
        assert!(refused.contains(says), "{refused}");
    }
    let wide = Params {
        precision: Precision::F32,
        summand: 2.0,
        ..fine
    };
    assert!(fma(&Backend::Cpu, &wide).is_ok(), "f32 holds more");
    for (b, c) in [(0, 0), (4, 8), (6, 6)] {
        assert!(triad(&Backend::Cpu, &vec![0.0; b], &vec![0.0; c], 1.0).is_err());
    }
    assert!(triad_into(&[0.0; 4], &[0.0; 4], 1.0, &mut [0.0; 8]).is_err());
    let pair = (Array2::zeros((3, 2)), Array2::zeros((4, 2)));
    assert!(products(&[pair]).is_err());
}

#[test]
fn more_than_the_most_is_refused() {
    let fine = params(Precision::F32)[1];
    let threads = Params {
        threads: 2 * MOST_THREADS,
        ..fine
    };
    let steps = Params {
        steps: 2 * MOST_STEPS,
        summand: 0.0,
        ..fine
    };
    for (broken, says) in [(threads, "67,108,864"), (steps, "1,048,576")] {
        let refused = fma(&Backend::Cpu, &broken).unwrap_err().to_string();
        assert!(refused.contains(says), "{refused}");
    }
}

/// Whether a device lacks units; then the test's name goes to stderr as SKIPPED. No setting makes that a failure: it is the
/// device, not the machine's set-up.
fn lacks(gpu: &Gpu, units: MatrixUnits, test: &str) -> bool {
    if !gpu.has(units) {
        let report = gpu.report();
        let said = writeln!(
            std::io::stderr(),
            "SKIPPED {test}: {report} has no {units:?}"
        );
        drop(said);
    }
    !gpu.has(units)
}

#[test]
fn blocks_on_matrix_units_end_where_they_must() {
    let name = "blocks_on_matrix_units_end_where_they_must";
    let Some(gpu) = support::gpu(name) else {
        return;
    };
    for units in MatrixUnits::ALL {
        let of = |groups, steps| Blocks {
            units,
            groups,
            steps,
        };
        for wrong in [
            of(0, 8),
            of(MOST_GROUPS + 1, 8),
            of(1, 0),
            of(1, MOST_BLOCK_STEPS + 1),
        ] {
            let refused = blocks(&gpu, &wrong).unwrap_err().to_string();
            assert!(refused.contains("32,768 steps"), "{refused}");
        }
        if lacks(&gpu, units, name) {
            let refused = blocks(&gpu, &of(1, 8)).unwrap_err().to_string();
            assert!(refused.contains("no such matrix units"), "{refused}");
            continue;
        }
        for params in [of(1, 1), of(5, 1000)] {
            let sums = blocks(&gpu, &params).unwrap();
            assert!(params.error(&sums) <= TOLERANCE, "{params:?}");
            assert!(params.flop(&sums) > 0.0);
        }
    }
}

/// What is counted and compared: blocks of subgroups that were there, and nothing where none was.
#[test]
fn only_blocks_that_were_computed_count() {
    let params = Blocks {
        units: MatrixUnits::HalfBy16,
        groups: 1,
        steps: 3,
    };
    let exact = 8.0 * 3.0 * 16.0;
    assert_eq!(params.exact(), exact);
    let mut sums = vec![0f32; 8 * 256];
    assert_eq!(params.error(&sums), f64::INFINITY);
    assert_eq!(params.flop(&sums), 0.0);
    sums[..512].fill(exact as f32);
    assert_eq!(params.error(&sums), 0.0);
    assert_eq!(params.flop(&sums), 2.0 * 2.0 * 8.0 * 3.0 * 4096.0);
    sums[300] = 0.0;
    assert_eq!(params.error(&sums), exact);
    sums[300] = f32::NAN;
    assert!(params.error(&sums).is_nan());
}
