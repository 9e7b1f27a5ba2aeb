//! Shared by the tests: one GPU for the whole binary, generators of data, comparisons.

pub mod allocations;

use std::io::Write;
use std::sync::OnceLock;

use ndarray::Array2;
use neurosieve::gpu::{Choice, Gpu, adapters, choose};
use neurosieve::labels::Labels;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Set to 1 where a GPU (or a software adapter) must be there: then its absence fails the tests.
const REQUIRE: &str = "NEUROSIEVE_REQUIRE_GPU";

/// The adapter that the GPU tests run on: the best real GPU, else the first adapter of any kind, software included.
///
/// `None` only where there is no adapter at all; the test's name then goes to stderr as SKIPPED, past the capture of
/// the test harness, unless `NEUROSIEVE_REQUIRE_GPU=1` makes it a failure.
pub fn gpu(test: &str) -> Option<Gpu> {
    static OPENED: OnceLock<Result<Gpu, String>> = OnceLock::new();
    match OPENED.get_or_init(open_any) {
        Ok(gpu) => Some(gpu.clone()),
        Err(reason) => {
            assert!(
                std::env::var_os(REQUIRE).is_none_or(|value| value == "0"),
                "{REQUIRE} is set, but {reason}"
            );
            let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {reason}");
            None
        }
    }
}

/// As [`gpu`], but a device of its own, for tests that break it.
pub fn own_gpu(test: &str) -> Option<Gpu> {
    gpu(test).map(|_| open_any().expect("the shared GPU opened, so a second device does"))
}

fn open_any() -> Result<Gpu, String> {
    let first_of_any_kind = || {
        let index = adapters()
            .first()
            .ok_or("there is no adapter: no Vulkan, Metal or DX12 driver answered")?
            .index;
        choose(&index.to_string()).map_err(|error| error.to_string())
    };
    match choose("gpu").or_else(|_| first_of_any_kind())? {
        Choice::Gpu { gpu, .. } => Ok(gpu),
        Choice::Cpu { reason } | Choice::Fleet { reason, .. } => Err(reason),
    }
}

#[test]
fn a_gpu_was_tested() {
    if let Some(gpu) = gpu("a_gpu_was_tested") {
        let report = gpu.report();
        let _ = writeln!(
            std::io::stderr(),
            "GPU tests run on {report}, {} {}",
            report.driver,
            report.driver_info
        );
    }
}

/// The seeded generator of all test data.
pub fn random(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

/// A standard normal deviate (Box and Muller 1958).
pub fn normal(random: &mut ChaCha8Rng) -> f64 {
    let radius = (-2.0 * (1.0 - random.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * random.random::<f64>()).cos()
}

/// Activations with the oddities of real ones, by column modulo 8: plain; mean = 100 sd; sparse (nine in ten are 0);
/// constant at a non-zero value; an f16 subnormal that flips between neighbours; a near-duplicate of the plain one;
/// huge scale with outliers; tiny scale.
pub fn activations(samples: usize, neurons: usize, seed: u64) -> Array2<f32> {
    let mut random = random(seed);
    let mut x = Array2::zeros((samples, neurons));
    for mut row in x.rows_mut() {
        let mut plain = 0.0;
        for (column, value) in row.iter_mut().enumerate() {
            let z = normal(&mut random);
            let kind = column % 8;
            let exact = match kind {
                0 => z,
                1 => 100.0 + z,
                2 => {
                    if random.random_bool(0.1) {
                        z
                    } else {
                        0.0
                    }
                }
                3 => 0.1,
                4 => {
                    if z > 0.0 {
                        5.960_464_5e-8
                    } else {
                        1.192_092_9e-7
                    }
                }
                5 => plain + 1e-3 * z,
                6 => {
                    if random.random_bool(0.002) {
                        60e4 * z
                    } else {
                        1e4 * z
                    }
                }
                _ => 1e-12 * z,
            };
            if kind == 0 {
                plain = z;
            }
            *value = exact as f32;
        }
    }
    x
}

/// Labels drawn uniformly; class `classes − 1` never occurs when there are more than two classes.
pub fn labels(samples: usize, classes: u32, seed: u64) -> Labels {
    let mut random = random(seed);
    let occurring = if classes > 2 { classes - 1 } else { classes };
    let ids = (0..samples)
        .map(|_| random.random_range(0..occurring))
        .collect();
    let names = (0..classes).map(|class| format!("class {class}")).collect();
    Labels::new(ids, names).expect("every id has a name")
}

/// Fails with the place when a value and its reference differ by more than `tolerance`, or either is not finite.
#[track_caller]
pub fn assert_close(what: &str, got: f64, reference: f64, tolerance: f64) {
    assert!(
        (got - reference).abs() <= tolerance,
        "{what}: {got:e} differs from {reference:e} by {:e}, more than {tolerance:e}",
        (got - reference).abs()
    );
}

/// A pipe that nobody writes to.
#[cfg(unix)]
pub fn fifo(path: &std::path::Path) {
    let made = std::process::Command::new("mkfifo").arg(path).status();
    assert!(made.expect("mkfifo is there").success());
}
