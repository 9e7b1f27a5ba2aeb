//! What a metered handle counts.

use neurosieve::Backend;
use neurosieve::gpu::{Gpu, TimeSource};
use neurosieve::ops::moments::moments;
use neurosieve::ops::roofs::launch;

use super::device;
use crate::support::{activations, gpu};

/// More submissions than timestamps wait at once.
const LAUNCHES: usize = 1100;

fn assert_counts(gpu: &Gpu, source: TimeSource) {
    let metered = gpu.metered().unwrap();
    let before = metered.metering().unwrap();
    assert!(before.kernels.is_empty() && before.source == source);
    let once = launch(&metered).unwrap();
    for _ in 0..LAUNCHES {
        once().unwrap();
    }
    let x = activations(300, 40, 1);
    moments(&Backend::Gpu(metered.clone()), x.view(), None).unwrap();
    let seen = metered.metering().unwrap();
    assert_eq!(seen.kernels["roofs/triad"].submissions, LAUNCHES);
    let of_moments = seen.seconds(|name| name.starts_with("moments/"));
    assert!(of_moments > 0.0, "{seen:?}");
    assert!(seen.seconds(|_| true) >= of_moments);
    assert!(seen.upload_seconds > 0.0);
    assert_eq!(seen.kernels.len(), 2, "{seen:?}");
    // Another meter starts from zero, and the handle that was there before sees nothing.
    assert!(
        gpu.metered()
            .unwrap()
            .metering()
            .unwrap()
            .kernels
            .is_empty()
    );
    assert!(gpu.metering().unwrap().kernels.is_empty());
}

#[test]
fn a_meter_counts_by_timestamps_of_the_device_where_it_has_them() {
    let Some(gpu) = device("a_meter_counts_by_timestamps_of_the_device_where_it_has_them") else {
        return;
    };
    let stamped = gpu.features().iter().any(|name| name == "timestamp_query");
    let source = if stamped {
        TimeSource::Gpu
    } else {
        TimeSource::Wall
    };
    assert_counts(&gpu, source);
}

#[test]
fn and_by_the_hosts_clock_where_it_has_none() {
    let Some(gpu) = gpu("and_by_the_hosts_clock_where_it_has_none") else {
        return;
    };
    assert_counts(&gpu, TimeSource::Wall);
}

#[test]
fn a_metered_device_computes_the_same_bits() {
    let Some(gpu) = device("a_metered_device_computes_the_same_bits") else {
        return;
    };
    let x = activations(3000, 130, 2);
    let plain = moments(&Backend::Gpu(gpu.clone()), x.view(), None).unwrap();
    let metered = moments(&Backend::Gpu(gpu.metered().unwrap()), x.view(), None).unwrap();
    assert_eq!(plain.mean, metered.mean);
    assert_eq!(plain.sd, metered.sd);
}
