//! What a device computes, computed natively as well where that is asked for: as near as each operation's tolerance, or said
//! and replaced.

use neurosieve::gpu::Gpu;
use neurosieve::ops::moments::moments;
use neurosieve::ops::probe::Params;
use neurosieve::ops::{Backend, Fleet};

use super::correlation::device::kept;
use super::correlation::scan::{self, Model};
use super::{ablation, probe, sweep};
use crate::support::{activations, own_gpu};

#[test]
fn every_operation_is_compared_with_the_native_path_where_that_is_asked_for() {
    let test = "every_operation_is_compared_with_the_native_path_where_that_is_asked_for";
    let Some(gpu) = own_gpu(test) else { return };
    let case = probe::case(131, 67, 4);
    let sweeps = sweep::Case::new(131, 63, 5, false);
    let ablations = ablation::case(131, 63, 5, false);
    let masks = ablation::masks(63);
    let model = Model::new(activations(300, 200, 1), 4);
    let x = activations(300, 200, 2);
    let run = |backend: &Backend| {
        let fits = probe::fits(backend, &case, &Params::default()).unwrap();
        let counts = ablation::run(&ablations, &masks, backend);
        let pairs = kept(backend, &model, None, 3);
        let (r, _) = scan::run(backend, &model, None, u64::MAX);
        let mean = moments(backend, x.view(), None).unwrap().mean;
        (fits, sweeps.run(backend), counts, pairs, r, mean)
    };
    let plain = Backend::Gpu(gpu.clone());
    let found = run(&plain);
    assert_eq!(plain.validated(), []);
    let validating = Backend::Gpu(gpu.validating());
    let again = run(&validating);
    let compared = validating.validated();
    let names: Vec<&str> = compared.iter().map(|one| &*one.operation).collect();
    assert_eq!(
        names,
        [
            "a batch of probes",
            "an ablation",
            "correlations",
            "moments",
            "a sweep"
        ]
    );
    for one in &compared {
        assert!(one.is_right() && one.values > 0, "{one:?}");
    }
    // What is compared is not changed.
    assert!(found == again);
    assert_eq!(compared[2].runs, 2);
    // All of r twice over, and more.
    assert!(compared[2].values > 200 * 199 / 2, "{:?}", compared[2]);
    // f32 sums are not f64 ones.
    assert!(compared[2].deviation > 0.0 && compared[3].deviation > 0.0);
    let one = |gpu: &Gpu| gpu.with_choice(Fleet::SPEED, 1);
    let fleet = Fleet::new(vec![one(&gpu), one(&gpu)]).unwrap();
    let fleet = fleet.with(Gpu::validating);
    let fleet = Backend::Fleet(fleet);
    let fits = probe::fits(&fleet, &case, &Params::default()).unwrap();
    assert!(fits == found.0);
    assert!(!fleet.validated().is_empty());
}

#[test]
fn what_deviates_is_said_and_replaced() {
    let Some(gpu) = own_gpu("what_deviates_is_said_and_replaced") else {
        return;
    };
    let x = activations(300, 64, 2);
    let source = include_str!("../../shaders/moments.wgsl").replace("fma(d, d,", "fma(1.1 * d, d,");
    let broken = Backend::Gpu(gpu.with_shader("moments", source).validating());
    let native = moments(&Backend::Cpu, x.view(), None).unwrap();
    let found = moments(&broken, x.view(), None).unwrap();
    assert_eq!((found.mean, found.sd), (native.mean, native.sd));
    let compared = broken.validated();
    assert!(!compared[0].is_right(), "{compared:?}");
    let told = broken.told().concat();
    assert!(told.contains("the native result stands"), "{told}");
    // A matrix of r is replaced wherever it was put.
    let text = include_str!("../../shaders/correlation.wgsl");
    let wrong = text.replace("- shift[column]", "- 1.01 * shift[column]");
    assert_ne!(text, wrong);
    let broken = gpu.with_shader("correlation", wrong).validating();
    let model = Model::new(activations(300, 200, 1), 4);
    let (r, findings) = scan::run(&Backend::Gpu(broken.clone()), &model, None, u64::MAX);
    let (native_r, native) = scan::run(&Backend::Cpu, &model, None, u64::MAX);
    assert!(
        !broken.validated()[0].is_right(),
        "{:?}",
        broken.validated()
    );
    assert!(r == native_r && findings.edges == native.edges);
}
