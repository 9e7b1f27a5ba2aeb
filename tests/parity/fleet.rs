//! Several devices: to the bit what one of them gives, however the parts are dealt.

use neurosieve::gpu::Gpu;
use neurosieve::ops::probe::{Params, Progress};
use neurosieve::ops::{Backend, Fleet};

use super::correlation::device::kept;
use super::correlation::scan::{Model, run};
use super::{ablation, probe, sweep};
use crate::support::{activations, gpu, own_gpu};

/// Devices of these speeds: the shared one, and others of their own.
fn fleet(test: &str, speeds: &[usize]) -> Option<(Gpu, Fleet)> {
    let one = gpu(test)?;
    let others = speeds[1..].iter().map(|_| own_gpu(test).unwrap());
    let all = std::iter::once(one.clone()).chain(others).zip(speeds);
    let all = all.map(|(gpu, &speed)| gpu.with_choice(Fleet::SPEED, speed));
    Some((one, Fleet::new(all.collect()).unwrap()))
}

#[test]
fn parts_are_as_long_as_devices_are_fast_and_every_item_is_dealt_once() {
    let Some((_, fleet)) = fleet("parts", &[1, 3, 2]) else {
        return;
    };
    assert_eq!(fleet.devices().len(), 3);
    for items in [0, 1, 2, 3, 5, 6, 600, 601, 1 << 40] {
        let parts = fleet.deal(items);
        let mut from = 0;
        for (part, speed) in parts.iter().zip([1.0, 3.0, 2.0]) {
            assert_eq!(part.start, from);
            from = part.end;
            let share = items as f64 * speed / 6.0;
            assert!(
                (part.len() as f64 - share).abs() <= 1.0,
                "{items}: {parts:?}"
            );
        }
        assert_eq!(from, items);
    }
    assert!(Fleet::new(Vec::new()).is_err());
}

#[test]
fn a_speed_is_measured_once_and_kept() {
    let Some(one) = gpu("speed") else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tuning.json");
    let dealt = |gpu: Gpu| Fleet::new(vec![gpu.clone(), gpu]).unwrap().deal(1 << 20);
    // Without measurements all devices are alike.
    assert_eq!(dealt(one.untuned())[0], 0..1 << 19);
    assert_eq!(dealt(one.remembering(&file))[0], 0..1 << 19);
    let kept = neurosieve::gpu::variants(&file).unwrap();
    let speed = kept.values().next().unwrap()[Fleet::SPEED];
    assert!(speed > 10, "{speed} MFLOP/s");
    // A second run takes it from there.
    let slow = std::fs::read_to_string(&file)
        .unwrap()
        .replace(&speed.to_string(), "1");
    std::fs::write(&file, slow).unwrap();
    let fleet = Fleet::new(vec![
        one.remembering(&file),
        one.with_choice(Fleet::SPEED, 3),
    ]);
    assert_eq!(fleet.unwrap().deal(400)[0], 0..100);
}

#[test]
fn probes_have_the_bits_that_one_device_gives() {
    let Some((one, fleet)) = fleet("probes", &[2, 1]) else {
        return;
    };
    let params = Params::default();
    for (samples, neurons, classes) in [(65, 64, 3), (257, 129, 6)] {
        let case = probe::case(samples, neurons, classes);
        let alone = probe::fits(&Backend::Gpu(one.clone()), &case, &params).unwrap();
        let together = probe::fits(&Backend::Fleet(fleet.clone()), &case, &params).unwrap();
        assert_eq!(alone, together);
    }
}

#[test]
fn correlations_have_the_bits_that_one_device_gives() {
    let Some((one, fleet)) = fleet("correlations", &[3, 1]) else {
        return;
    };
    let (one, all) = (Backend::Gpu(one), Backend::Fleet(fleet));
    // More tiles than are dealt at once, few samples; both sides of two models ragged.
    let (left, right) = (activations(70, 903, 1), activations(70, 333, 2));
    let (left, right) = (Model::new(left, 4), Model::new(right, 3));
    for right in [None, Some(&right)] {
        // Tiles that come back, and all of the samples read again for each part.
        for memory in [u64::MAX, 1 << 20] {
            let alone = run(&one, &left, right, memory);
            assert_eq!(alone, run(&all, &left, right, memory));
        }
        // Tiles that stay, with partners and without.
        for partners in [3, 0] {
            let alone = kept(&one, &left, right, partners);
            assert_eq!(alone, kept(&all, &left, right, partners));
        }
    }
}

#[test]
fn counts_of_sweeps_and_ablations_are_those_of_one_device() {
    let Some((one, fleet)) = fleet("counts", &[1, 2, 4]) else {
        return;
    };
    let (one, all) = (Backend::Gpu(one), Backend::Fleet(fleet));
    // Fewer samples than devices; parts that end within a word; more classes than a thread holds.
    for (samples, neurons, classes) in [(1, 1, 1), (2, 5, 3), (65, 33, 17), (131, 63, 5)] {
        let case = sweep::Case::new(samples, neurons, classes, false);
        assert_eq!(case.run(&one), case.run(&all));
        let case = ablation::case(samples, neurons, classes, false);
        let masks = ablation::masks(neurons);
        let run = |backend| ablation::run(&case, &masks, backend);
        assert_eq!(run(&one), run(&all));
    }
}

#[test]
fn progress_counts_the_problems_of_all_devices() {
    let Some((_, fleet)) = fleet("progress", &[1, 1]) else {
        return;
    };
    let case = probe::case(131, 67, 4);
    let mut seen: Vec<Progress> = Vec::new();
    probe::solve(
        &Backend::Fleet(fleet),
        &case,
        &Params::default(),
        &mut |step| {
            seen.push(*step);
        },
    )
    .unwrap();
    let last = seen.last().unwrap();
    assert_eq!((last.finished, last.problems), (3, 3));
    assert!(seen.is_sorted_by_key(|step| step.finished), "{seen:?}");
}
