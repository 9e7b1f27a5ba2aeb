//! The host's memory: no bit depends on how much there is, a plan keeps to what is allowed, and what does not fit is refused.

use std::sync::atomic::AtomicBool;

use neurosieve::study::memory::{Limit, Room, divide};
use neurosieve::study::units::Folder;
use neurosieve::study::{self, Spec};
use neurosieve::{Backend, Error};

use super::{device, quick, run, spec};
use crate::support::own_gpu;

static GOES_ON: AtomicBool = AtomicBool::new(false);

/// What a study finds with so much room.
fn within(spec: &Spec, room: Room) -> serde_json::Value {
    let folder = tempfile::tempdir().unwrap();
    let folder = Folder::open(folder.path(), false, &GOES_ON).unwrap();
    let kept = (&folder, room);
    document(study::resume(spec, &Backend::Cpu, device("cpu"), kept, &mut |_| {}).unwrap())
}

fn document(results: study::results::StudyResults) -> serde_json::Value {
    let mut value = serde_json::to_value(results).unwrap();
    value.as_object_mut().unwrap().remove("timings");
    value
}

#[test]
fn no_bit_of_a_study_depends_on_how_much_memory_there_is() {
    let spec = quick();
    let free = document(run(&spec, &Backend::Cpu));
    let tight = Room {
        solver: 1,
        streamed: true,
        correlating: 1,
    };
    assert_eq!(within(&spec, tight), free);
    let copied = Room {
        solver: 20 << 20,
        streamed: false,
        correlating: 1 << 20,
    };
    assert_eq!(within(&spec, copied), free);
}

#[test]
fn a_plan_keeps_to_what_is_allowed_and_refuses_what_does_not_fit() {
    let (spec, process) = (spec(), 11 << 20);
    let plan = |bytes: Option<u64>| {
        let limit = bytes.map(|bytes| Limit { bytes, asked: true });
        divide(&spec, &Backend::Cpu, limit, process)
    };
    let (free, room) = plan(None).unwrap();
    assert_eq!((free.allowed, room), (None, Room::enough(&Backend::Cpu)));
    // All activations in f32 and all pairs are in it.
    let pairs = 336 * 335 / 2;
    assert!(free.data > 4 * 336 * 1190 && free.correlations == 4 * pairs);
    assert!(free.least > process + free.data + free.correlations + 8 * pairs);
    assert!(free.least < free.most && free.expected <= free.most);
    for bytes in [free.least, 2 * free.least, free.most, 64 << 30] {
        let (host, room) = plan(Some(bytes)).unwrap();
        assert_eq!(host.allowed, Some(bytes));
        assert!(host.most <= bytes && host.least == free.least, "{host:?}");
        assert_eq!(room.streamed, host.standardised == 0);
        assert!(room.solver >= host.solver && host.expected <= host.most);
    }
    let (host, room) = plan(Some(64 << 30)).unwrap();
    assert!(!room.streamed && host.standardised == 4 * 336 * 800);
    let Err(refused @ Error::Invalid { .. }) = plan(Some(free.least - 1)) else {
        panic!("it fits");
    };
    let refused = refused.to_string();
    let mib = free.least.div_ceil(1 << 20).to_string();
    for part in [&*mib, "at least", "activations", "--max-memory", "fewer"] {
        assert!(refused.contains(part), "\"{part}\" is not in: {refused}");
    }
    let limit = Limit {
        bytes: 1 << 20,
        asked: false,
    };
    // Nobody asked for that: it takes what it must.
    let (host, _) = divide(&spec, &Backend::Cpu, Some(limit), process).unwrap();
    assert_eq!([host.allowed, Some(host.least)], [Some(free.least); 2]);
    assert!(host.most <= free.least, "{host:?}");
}

#[test]
fn what_a_device_is_planned_to_take_is_what_its_buffers_take() {
    let Some(gpu) = own_gpu("what_a_device_is_planned_to_take_is_what_its_buffers_take") else {
        return;
    };
    let share = |spec: &Spec| {
        let counted = gpu.with_memory(1 << 40);
        let backend = Backend::Gpu(counted.clone());
        let plan = study::plan(spec, &backend, None, 0).unwrap();
        let planned = plan.device_bytes.expect("there is a device");
        run(spec, &backend);
        counted.peak_bytes() as f64 / planned as f64
    };
    let with_sets = quick();
    let mut without = quick();
    without.minimal_set.deltas.clear();
    without.combined.deltas.clear();
    let found = [share(&without), share(&with_sets)];
    assert!((0.9..=1.1).contains(&found[0]), "{found:?}");
    // How many neurons suffice is not known before.
    assert!(found[1] > 0.05 && found[1] <= 1.1, "{found:?}");
}
