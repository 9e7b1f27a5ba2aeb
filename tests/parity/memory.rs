//! Devices whose memory is bounded: buffers never take more, and what an operation finds is the same.

use neurosieve::ops::Backend;
use neurosieve::ops::correlation::TOLERANCE;
use neurosieve::ops::moments::moments;
use neurosieve::ops::probe::Params;

use super::correlation::scan::{self, Model};
use super::{probe, sweep};
use crate::support::{activations, own_gpu};

#[test]
fn buffers_take_no_more_than_is_allowed() {
    let Some(gpu) = own_gpu("buffers_take_no_more_than_is_allowed") else {
        return;
    };
    let model = Model::new(activations(2048, 1100, 1), 4);
    let x = activations(12_000, 700, 2);
    let sweeps = sweep::Case::new(131, 63, 5, true);
    // Moments need 34 MB of samples at once where they may.
    let free = gpu.with_memory(1 << 40);
    let whole = moments(&Backend::Gpu(free.clone()), x.view(), None).unwrap();
    assert!(free.peak_bytes() > 33_000_000, "{}", free.peak_bytes());
    let (r, _) = scan::run(&Backend::Gpu(free.clone()), &model, None, u64::MAX);
    let counts = sweeps.run(&Backend::Gpu(free));
    for allowed in [64 << 20, 20 << 20] {
        let bounded = gpu.with_memory(allowed);
        let backend = Backend::Gpu(bounded.clone());
        let found = moments(&backend, x.view(), None).unwrap();
        let near = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-5 * b.abs().max(1e-6);
        assert!(whole.sd.iter().zip(&found.sd).all(near));
        let (ours, _) = scan::run(&backend, &model, None, u64::MAX);
        let off = |(a, b): (&f32, &f32)| f64::from((a - b).abs());
        let off = ours.iter().zip(&r).map(off).fold(0.0, f64::max);
        assert!(off <= 2.0 * TOLERANCE, "{off:e}");
        assert!(sweeps.run(&backend) == counts);
        let peak = bounded.peak_bytes();
        // On the device, in smaller blocks.
        assert_eq!(backend.told(), [""; 0], "{allowed}");
        assert!(peak <= allowed && peak > allowed / 8, "{peak} of {allowed}");
    }
}

#[test]
fn what_does_not_fit_the_memory_that_is_allowed_runs_natively_and_says_so() {
    let Some(gpu) = own_gpu("what_does_not_fit_the_memory_that_is_allowed") else {
        return;
    };
    // Eight blocks of 128 samples of 128 neurons, with the padding, and five may be there.
    let allowed = 5 * 128 * 128 * 4;
    let case = probe::case(1000, 67, 4);
    let bounded = gpu.with_memory(allowed);
    let backend = Backend::Gpu(bounded.clone());
    let found = probe::fits(&backend, &case, &Params::default()).unwrap();
    let native = probe::fits(&Backend::Cpu, &case, &Params::default()).unwrap();
    assert!(found == native);
    let told = backend.told().concat();
    assert!(
        told.contains("natively") && told.contains("allowed"),
        "{told}"
    );
    assert!(bounded.peak_bytes() <= allowed);
    // Where not even one block fits, it is said how much one takes.
    let least = Backend::Gpu(gpu.with_memory(20_000));
    let refused = probe::fits(&least, &case, &Params::default()).unwrap_err();
    assert!(
        refused.to_string().contains("are needed at once"),
        "{refused}"
    );
}
