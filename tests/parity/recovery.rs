//! Devices that are lost, or out of memory, in the middle of an operation: the result is what it would have been, and it is said
//! what happened.

use std::fmt::Debug;

use neurosieve::error::Trouble;
use neurosieve::gpu::Gpu;
use neurosieve::ops::moments::moments;
use neurosieve::ops::probe::Params;
use neurosieve::ops::{Backend, Fleet};

use super::correlation::device::kept;
use super::correlation::scan::Model;
use super::{ablation, probe, sweep};
use crate::support::{activations, own_gpu};

/// Runs an operation with trouble at each of its first submissions, and once far beyond the last one; counts the troubles that
/// were overcome.
fn troubled<T: Debug>(
    test: &str,
    trouble: Trouble,
    run: impl Fn(&Backend) -> T,
    alike: impl Fn(&T, &T) -> bool,
) -> usize {
    let Some(gpu) = own_gpu(test) else { return 0 };
    let whole = run(&Backend::Gpu(gpu.clone()));
    let mut overcome = 0;
    for submission in [0, 1, 2, 3, 5, 8, 1 << 30] {
        // A device that is lost stays lost, for every handle.
        let device = gpu.again().unwrap();
        let backend = Backend::Gpu(device.failing(submission, trouble));
        let found = run(&backend);
        assert!(
            alike(&whole, &found),
            "{test}, {submission}: {whole:?} and {found:?}"
        );
        let told = backend.told();
        let happened = usize::from(!told.is_empty());
        assert!(submission < 100 || happened == 0, "{told:?}");
        let word = match trouble {
            Trouble::Lost => "opened anew",
            _ => "natively",
        };
        assert!(told.iter().all(|line| line.contains(word)), "{told:?}");
        overcome += happened;
    }
    assert!(overcome > 0, "{test}: there was no trouble");
    overcome
}

#[test]
fn a_device_that_is_lost_is_opened_anew_and_gives_the_same_bits() {
    let case = probe::case(131, 67, 4);
    let sweeps = sweep::Case::new(131, 63, 5, false);
    let ablations = ablation::case(131, 63, 5, false);
    let masks = ablation::masks(63);
    let model = Model::new(activations(300, 200, 1), 4);
    let x = activations(300, 200, 2);
    let mut overcome = 0;
    let lost = Trouble::Lost;
    overcome += troubled(
        "probes",
        lost,
        |b| probe::fits(b, &case, &Params::default()).unwrap(),
        |a, b| a == b,
    );
    overcome += troubled("sweeps", lost, |b| sweeps.run(b), |a, b| a == b);
    let run = |b: &Backend| ablation::run(&ablations, &masks, b);
    overcome += troubled("ablations", lost, run, |a, b| a == b);
    let run = |b: &Backend| kept(b, &model, None, 3);
    overcome += troubled("correlations", lost, run, |a, b| a == b);
    let run = |b: &Backend| moments(b, x.view(), None).unwrap();
    overcome += troubled("moments", lost, run, |a, b| {
        a.mean == b.mean && a.sd == b.sd
    });
    let _ = std::io::Write::write_fmt(
        &mut std::io::stderr(),
        format_args!("{overcome} devices lost on purpose, all overcome\n"),
    );
}

#[test]
fn what_does_not_fit_a_device_is_done_natively() {
    let case = probe::case(131, 67, 4);
    let near = |a: &f64, b: &f64| (a - b).abs() <= 1e-2 * a.abs();
    troubled(
        "probes out of memory",
        Trouble::Memory,
        |b| probe::fits(b, &case, &Params::default()).unwrap(),
        |a, b| {
            a.iter()
                .zip(b)
                .all(|(a, b)| near(&a.objective, &b.objective))
        },
    );
    let sweeps = sweep::Case::new(131, 63, 5, true);
    let memory = Trouble::Memory;
    // Whole numbers: both back ends count the same.
    troubled(
        "sweeps out of memory",
        memory,
        |b| sweeps.run(b),
        |a, b| a == b,
    );
}

#[test]
fn of_several_devices_the_lost_one_is_opened_anew() {
    let test = "of_several_devices_the_lost_one_is_opened_anew";
    let (Some(first), Some(second)) = (own_gpu(test), own_gpu(test)) else {
        return;
    };
    let with_speed = |gpu: &Gpu| gpu.with_choice(Fleet::SPEED, 1);
    let fleet = Fleet::new(vec![with_speed(&first), with_speed(&second)]).unwrap();
    let backend = Backend::Fleet(fleet);
    let case = probe::case(65, 64, 3);
    let sweeps = sweep::Case::new(131, 63, 5, false);
    let model = Model::new(activations(70, 903, 1), 4);
    let run = || {
        let fits = probe::fits(&backend, &case, &Params::default()).unwrap();
        (fits, sweeps.run(&backend), kept(&backend, &model, None, 3))
    };
    let whole = run();
    assert!(backend.told().is_empty());
    second.destroy();
    assert!(whole == run());
    assert!(
        backend.told().concat().contains("opened anew"),
        "{:?}",
        backend.told()
    );
    // Later work finds the new device at once.
    let lines = backend.told().len();
    assert!(whole == run());
    assert_eq!(backend.told().len(), lines);
}

#[test]
fn what_a_device_refuses_is_an_error_and_not_hidden_by_the_native_path() {
    let Some(gpu) = own_gpu("refused") else {
        return;
    };
    let broken = gpu.with_shader("probe", "not a shader".into());
    let case = probe::case(65, 64, 3);
    let refused = probe::fits(&Backend::Gpu(broken), &case, &Params::default());
    assert_eq!(refused.unwrap_err().trouble(), Some(Trouble::Refused));
}
