//! What a device keeps of tiles that stay there: what the host keeps of the same tiles when they come back.

use neurosieve::gpu::Gpu;
use neurosieve::ops::Backend;
use neurosieve::ops::correlation::{Distribution, Findings, LayerPairs, Params, Wanted, scan};

use super::scan::{Model, PARTNERS, SHAPES, THRESHOLD, run};
use crate::support::{self, activations};

/// By how much r in f32 may differ from r in f64 of the same sums.
const ROUNDING: f64 = 1e-6;

/// As [`run`], without the matrix, so that tiles stay on the device.
pub(in crate::parity) fn kept(
    backend: &Backend,
    left: &Model,
    right: Option<&Model>,
    partners: usize,
) -> Findings {
    let other = right.unwrap_or(left);
    let wanted = Wanted {
        at_least: Some(THRESHOLD),
        partners,
        distribution: true,
        layers: Some([left.x.layers(), other.x.layers()]),
        ..Wanted::default()
    };
    let side = right.map(Model::side);
    scan(
        backend,
        left.side(),
        side,
        &wanted,
        &Params {
            memory: u64::MAX,
            ..Params::default()
        },
    )
    .unwrap()
}

/// What is wrong with the findings of a device, by those of the host and the matrix that these are of.
fn faults(device: &Findings, host: &Findings, r: &[f64]) -> Vec<String> {
    let mut faults = Vec::new();
    if device.edges != host.edges {
        faults.push("edges".to_owned());
    }
    if (&device.partners, &device.partners_of_right) != (&host.partners, &host.partners_of_right) {
        faults.push("partners".to_owned());
    }
    let (ours, theirs) = (device.distribution.as_ref(), host.distribution.as_ref());
    faults.extend(of_distribution(ours.unwrap(), theirs.unwrap(), r));
    let (ours, theirs) = (device.layers.as_ref(), host.layers.as_ref());
    faults.extend(of_layers(ours.unwrap(), theirs.unwrap()));
    faults
}

fn of_distribution(device: &Distribution, host: &Distribution, r: &[f64]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut differ = |what: &str, off: f64, most: f64| {
        if off.is_nan() || off > most {
            faults.push(format!("{what}: {off:e}"));
        }
    };
    differ("pairs", device.pairs.abs_diff(host.pairs) as f64, 0.0);
    // A pair that lies on the edge of two bins may be in either.
    let mut below = 0;
    for (bin, count) in device.counts.iter().enumerate() {
        below += count;
        let edge = f64::from(bin as u32 + 1) / 100.0 - 1.0;
        let surely = r.iter().filter(|r| **r < edge - ROUNDING).count() as u64;
        let perhaps = r.iter().filter(|r| **r < edge + ROUNDING).count() as u64;
        let last = bin + 1 == device.counts.len();
        if !last && !(surely..=perhaps).contains(&below) {
            differ(&format!("pairs up to bin {bin}"), below as f64, 0.0);
        }
    }
    differ("mean", (device.mean - host.mean).abs(), ROUNDING);
    differ("size", (device.mean_size - host.mean_size).abs(), ROUNDING);
    differ("sd", (device.sd - host.sd).abs(), 10.0 * ROUNDING);
    // Of pairs that differ, and not by rounding alone.
    if host.sd > 0.01 {
        differ("skewness", (device.skewness - host.skewness).abs(), 1e-3);
        differ("kurtosis", (device.kurtosis - host.kurtosis).abs(), 1e-3);
    }
    faults
}

fn of_layers(device: &LayerPairs, host: &LayerPairs) -> Vec<String> {
    let mut faults = Vec::new();
    if (&device.left, &device.right, &device.pairs) != (&host.left, &host.right, &host.pairs) {
        faults.push("pairs of layers".to_owned());
    }
    if device.at_least != host.at_least {
        faults.push("strong pairs of layers".to_owned());
    }
    for (at, mean) in device.mean.indexed_iter() {
        let relative = (device.squares[at] - host.squares[at]).abs();
        let off = [
            (mean - host.mean[at]).abs(),
            f64::from((device.largest[at] - host.largest[at]).abs()),
            0.1 * relative / host.squares[at].max(f64::MIN_POSITIVE),
        ];
        if off.iter().any(|off| off.is_nan() || *off > ROUNDING) {
            faults.push(format!("layers {at:?}: {off:?}"));
        }
    }
    faults
}

/// Two models, and their pairs on a device as the host finds them.
fn models(samples: usize, neurons: usize) -> [Model; 2] {
    let others = neurons / 2 + 1;
    [
        Model::new(activations(samples, neurons, 31), 3.min(neurons as u32)),
        Model::new(activations(samples, others, 32), 2.min(others as u32)),
    ]
}

fn on_host(gpu: &Gpu, left: &Model, right: Option<&Model>) -> (Vec<f64>, Findings) {
    let (r, found) = run(&Backend::Gpu(gpu.clone()), left, right, u64::MAX);
    let counts = |(i, j): (usize, usize)| right.is_some() || i < j;
    let pairs = r.indexed_iter().filter(|(at, _)| counts(*at));
    (pairs.map(|(_, r)| f64::from(*r)).collect(), found)
}

#[test]
fn tiles_that_stay_on_the_device_leave_what_those_that_come_back_do() {
    let name = "tiles_that_stay_on_the_device_leave_what_those_that_come_back_do";
    let Some(gpu) = support::gpu(name) else {
        return;
    };
    let devices = [
        gpu.with_choice("correlation", 8),
        gpu.with_choice("correlation", 16),
        // Several ranges of tiles.
        gpu.with_choice("correlation", 8)
            .with_binding_limit(3 << 15),
    ];
    for (samples, neurons) in SHAPES {
        let [model, other] = models(samples, neurons);
        for gpu in &devices {
            for right in [None, Some(&other)] {
                let (r, host) = on_host(gpu, &model, right);
                let device = kept(&Backend::Gpu(gpu.clone()), &model, right, PARTNERS);
                let none = Vec::<String>::new();
                assert_eq!(faults(&device, &host, &r), none, "{samples} x {neurons}");
            }
        }
    }
}

#[test]
fn more_pairs_than_there_is_room_for_are_found_all_the_same() {
    let name = "more_pairs_than_there_is_room_for_are_found_all_the_same";
    let Some(gpu) = support::gpu(name) else {
        return;
    };
    let gpu = gpu.with_choice("correlation", 8);
    let [model, other] = models(300, 500);
    for right in [None, Some(&other)] {
        // All others of a neuron are its partners.
        let all = kept(&Backend::Gpu(gpu.clone()), &model, right, 500);
        let native = {
            let wanted = Wanted {
                partners: 500,
                ..Wanted::default()
            };
            let side = right.map(Model::side);
            scan(
                &Backend::Cpu,
                model.side(),
                side,
                &wanted,
                &Params::default(),
            )
            .unwrap()
        };
        let sides = [
            (&all.partners, &native.partners),
            (&all.partners_of_right, &native.partners_of_right),
        ];
        for (ours, theirs) in sides.iter().flat_map(|(ours, theirs)| {
            assert_eq!(ours.len(), theirs.len());
            ours.iter().zip(*theirs)
        }) {
            let ids = |partners: &[neurosieve::ops::correlation::Partner]| {
                let mut ids: Vec<u32> = partners.iter().map(|p| p.neuron).collect();
                ids.sort_unstable();
                ids
            };
            assert_eq!(ids(ours), ids(theirs));
        }
    }
}

#[test]
fn a_broken_kernel_of_tiles_is_noticed() {
    let Some(gpu) = support::gpu("a_broken_kernel_of_tiles_is_noticed") else {
        return;
    };
    let gpu = gpu.with_choice("correlation", 8);
    let [plain, _] = models(127, 300);
    // Means so far from 0 that their rounding to f32 leaves something.
    let far = Model::new(activations(127, 300, 31).mapv(|v| v + 3e3), 3);
    let source = include_str!("../../../shaders/correlation_tiles.wgsl");
    for (right, wrong, fault) in [
        (
            "- left.residual * right.residual",
            "+ left.residual",
            "layers",
        ),
        ("row < tile.rows", "row < tile.rows - 1u", "pairs"),
        (
            "min(p.least, min(left.cut",
            "max(p.least, max(left.cut",
            "edges",
        ),
        ("min(left.cut, right.cut)", "left.cut", "partners"),
        ("(r + 1.0) * 100.0", "(r + 1.0) * 99.0", "pairs up to bin"),
        ("vec4(r, square", "vec4(r, r", "sd"),
        ("size_of_run += abs(r);", "size_of_run += r;", "size"),
        ("mine.xy + other.xy", "mine.xy", "layers"),
        ("max(mine.z, other.z)", "mine.z", "layers"),
        ("left.size * right.size", "left.size", "layers"),
        ("rectangle.first + at % width", "rectangle.first", "layers"),
    ] {
        assert!(source.contains(right), "the kernel no longer says {right}");
        let model = if wrong.contains("residual") {
            &far
        } else {
            &plain
        };
        let (r, host) = on_host(&gpu, model, None);
        // What is looked for may be the edges alone: a threshold hides partners.
        let broken = gpu.with_shader("correlation_tiles", source.replace(right, wrong));
        let found = match fault {
            "partners" => partners_alone(&broken, model, &gpu),
            _ => faults(
                &kept(&Backend::Gpu(broken.clone()), model, None, PARTNERS),
                &host,
                &r,
            ),
        };
        let noticed = found.iter().any(|found| found.starts_with(fault));
        assert!(noticed, "{wrong} was not noticed: {found:?}");
    }
    let none = Vec::<String>::new();
    assert_eq!(partners_alone(&gpu, &plain, &gpu), none);
    let (r, host) = on_host(&gpu, &far, None);
    assert_eq!(
        faults(
            &kept(&Backend::Gpu(gpu.clone()), &far, None, PARTNERS),
            &host,
            &r
        ),
        none
    );
}

/// Whether two devices find the same partners where no edges are wanted.
fn partners_alone(one: &Gpu, model: &Model, other: &Gpu) -> Vec<String> {
    let partners = |gpu: &Gpu| {
        let wanted = Wanted {
            partners: PARTNERS,
            ..Wanted::default()
        };
        let backend = Backend::Gpu(gpu.clone());
        scan(&backend, model.side(), None, &wanted, &Params::default()).unwrap()
    };
    match partners(one).partners == partners(other).partners {
        true => Vec::new(),
        false => vec!["partners".to_owned()],
    }
}
