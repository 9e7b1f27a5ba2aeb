//! What a scan keeps of the pairs: on either back end what a plain loop over the whole matrix keeps.

use std::sync::Mutex;

use ndarray::{Array2, ArrayView2};
use neurosieve::activations::{LayerMap, Rows};
use neurosieve::ops::Backend;
use neurosieve::ops::correlation::{
    Edge, Findings, Matrix, Params, Partner, Side, TOLERANCE, Wanted, scan,
};
use neurosieve::ops::moments::{Moments, Spread, moments};
use neurosieve::{Activations, Result};

use crate::support::{self, activations};

pub(super) const THRESHOLD: f32 = 0.1;
pub(super) const PARTNERS: usize = 3;

/// All of r, as the tiles bring it; NaN where none did.
#[derive(Debug)]
struct Whole {
    r: Mutex<Array2<f32>>,
    same: bool,
}

impl Matrix for Whole {
    fn tile(&self, (top, left): (usize, usize), r: ArrayView2<'_, f32>) -> Result<()> {
        let mut whole = self.r.lock().unwrap();
        for ((i, j), r) in r.indexed_iter() {
            whole[(top + i, left + j)] = *r;
            if self.same {
                whole[(left + j, top + i)] = *r;
            }
        }
        Ok(())
    }
}

/// A model's activations.
pub(in crate::parity) struct Model {
    pub(super) x: Activations,
    moments: Moments,
}

impl Model {
    pub(in crate::parity) fn new(x: Array2<f32>, layers: u32) -> Self {
        let neurons = x.ncols();
        let layer = |neuron: usize| (neuron as u32 * layers) / neurons as u32;
        let map = LayerMap::new((0..neurons).map(layer).collect(), vec![0; neurons]).unwrap();
        let moments = moments(&Backend::Cpu, x.view(), None).unwrap();
        Self {
            x: Activations::new(x, map).unwrap(),
            moments,
        }
    }

    pub(super) fn side(&self) -> Side<'_> {
        Side {
            rows: &self.x,
            moments: &self.moments,
        }
    }
}

pub(in crate::parity) fn run(
    backend: &Backend,
    left: &Model,
    right: Option<&Model>,
    memory: u64,
) -> (Array2<f32>, Findings) {
    let other = right.unwrap_or(left);
    let shape = (left.x.neurons(), other.x.neurons());
    let whole = Whole {
        r: Mutex::new(Array2::from_elem(shape, f32::NAN)),
        same: right.is_none(),
    };
    let wanted = Wanted {
        at_least: Some(THRESHOLD),
        partners: PARTNERS,
        distribution: true,
        layers: Some([left.x.layers(), other.x.layers()]),
        matrix: Some(&whole),
        ..Wanted::default()
    };
    let side = right.map(Model::side);
    let params = Params {
        memory,
        ..Params::default()
    };
    let found = scan(backend, left.side(), side, &wanted, &params).unwrap();
    (whole.r.into_inner().unwrap(), found)
}

/// The largest |Δr| from r computed pair by pair in f64; infinite where r is missing.
fn deviation(left: &Model, right: Option<&Model>, r: &Array2<f32>) -> f64 {
    let deviations = |model: &Model| -> Vec<Vec<f64>> {
        let columns = model.x.view();
        let samples = columns.nrows() as f64;
        let column = |column: ndarray::ArrayView1<'_, f32>| {
            let mean = column.iter().map(|&v| f64::from(v)).sum::<f64>() / samples;
            column.iter().map(|&v| f64::from(v) - mean).collect()
        };
        columns.columns().into_iter().map(column).collect()
    };
    let other = right.unwrap_or(left);
    let (a, b) = (deviations(left), deviations(other));
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let mut worst: f64 = 0.0;
    for ((i, j), r) in r.indexed_iter() {
        let constant = left.moments.spread[i] == Spread::Constant
            || other.moments.spread[j] == Spread::Constant;
        let reference = if right.is_none() && i == j {
            1.0
        } else if constant {
            0.0
        } else {
            dot(&a[i], &b[j]) / (dot(&a[i], &a[i]) * dot(&b[j], &b[j])).sqrt()
        };
        let off = (f64::from(*r) - reference).abs();
        worst = worst.max(if off.is_nan() { f64::INFINITY } else { off });
    }
    worst
}

/// The pairs that count.
fn pairs(r: &Array2<f32>, same: bool) -> impl Iterator<Item = (usize, usize, f32)> + '_ {
    r.indexed_iter()
        .filter(move |((i, j), _)| !same || i < j)
        .map(|((i, j), r)| (i, j, *r))
}

/// The partners of each row.
fn partners(r: ArrayView2<'_, f32>, same: bool) -> Vec<Vec<Partner>> {
    let of_row = |(i, row): (usize, ndarray::ArrayView1<'_, f32>)| {
        let others = row.iter().enumerate().filter(|(j, _)| !same || *j != i);
        let mut all: Vec<Partner> = others
            .map(|(j, r)| Partner {
                neuron: j as u32,
                r: *r,
            })
            .collect();
        all.sort_by(|a, b| {
            b.r.abs()
                .total_cmp(&a.r.abs())
                .then(a.neuron.cmp(&b.neuron))
        });
        all.truncate(PARTNERS);
        all
    };
    r.outer_iter().enumerate().map(of_row).collect()
}

/// Fails unless the findings are those of the matrix.
#[track_caller]
fn assert_found(found: &Findings, r: &Array2<f32>, left: &Model, right: Option<&Model>, at: &str) {
    let same = right.is_none();
    let edges: Vec<Edge> = pairs(r, same)
        .filter(|(_, _, r)| r.abs() >= THRESHOLD)
        .map(|(i, j, r)| Edge {
            i: i as u32,
            j: j as u32,
            r,
        })
        .collect();
    assert_eq!(found.edges, edges, "{at}");
    assert_eq!(found.partners, partners(r.view(), same), "{at}");
    if !same {
        assert_eq!(found.partners_of_right, partners(r.t(), same), "{at}");
    }
    let all: Vec<f64> = pairs(r, same).map(|(_, _, r)| f64::from(r)).collect();
    let distribution = found.distribution.as_ref().unwrap();
    assert_eq!(distribution.pairs as usize, all.len(), "{at}");
    let mut counts = vec![0; 200];
    all.iter().for_each(|r| {
        let bin = (0..200).rfind(|bin| *r >= f64::from(*bin) / 100.0 - 1.0);
        counts[bin.unwrap() as usize] += 1;
    });
    assert_eq!(distribution.counts, counts, "{at}");
    let mean =
        |of: &dyn Fn(f64) -> f64| all.iter().map(|r| of(*r)).sum::<f64>() / all.len().max(1) as f64;
    let (centre, size) = (mean(&|r| r), mean(&f64::abs));
    let sd = mean(&|r| (r - centre).powi(2)).sqrt();
    let standardised = |order| match sd > 1e-6 {
        true => mean(&|r| ((r - centre) / sd).powi(order)),
        false => 0.0,
    };
    for (name, got, expected) in [
        ("mean", distribution.mean, centre),
        ("mean |r|", distribution.mean_size, size),
        ("sd", distribution.sd, sd),
        ("skewness", distribution.skewness, standardised(3)),
        ("kurtosis", distribution.kurtosis, standardised(4)),
    ] {
        if all.len() > 2 {
            support::assert_close(&format!("{name}, {at}"), got, expected, 1e-6);
        }
    }
    assert_layers(found, r, left, right, at);
}

#[track_caller]
fn assert_layers(found: &Findings, r: &Array2<f32>, left: &Model, right: Option<&Model>, at: &str) {
    let other = right.unwrap_or(left);
    let layers = found.layers.as_ref().unwrap();
    assert_eq!(layers.left, left.x.layers().layers());
    assert_eq!(layers.right, other.x.layers().layers());
    for (a, la) in layers.left.iter().enumerate() {
        for (b, lb) in layers.right.iter().enumerate() {
            let (mut count, mut size, mut largest, mut strong, mut squares) =
                (0u64, 0.0, 0f32, 0u64, 0.0);
            for ((i, j), r) in r.indexed_iter() {
                if left.x.layers().layer(i) != *la || other.x.layers().layer(j) != *lb {
                    continue;
                }
                let covariance = f64::from(*r) * left.moments.sd[i] * other.moments.sd[j];
                squares += covariance.powi(2);
                if right.is_none() && a == b && i >= j {
                    continue;
                }
                count += 1;
                size += f64::from(r.abs());
                largest = largest.max(r.abs());
                strong += u64::from(r.abs() >= THRESHOLD);
            }
            assert_eq!(layers.pairs[(a, b)], count, "{at}");
            assert_eq!(layers.largest[(a, b)], largest, "{at}");
            assert_eq!(layers.at_least.as_ref().unwrap()[(a, b)], strong, "{at}");
            let mean = size / count.max(1) as f64;
            support::assert_close(at, layers.mean[(a, b)], mean, 1e-9);
            let relative = layers.squares[(a, b)] / squares.max(f64::MIN_POSITIVE);
            assert!(squares == 0.0 || (relative - 1.0).abs() < 1e-9, "{at}");
        }
    }
}

pub(super) const SHAPES: [(usize, usize); 10] = [
    (1, 1),
    (2, 2),
    (63, 65),
    (64, 64),
    (65, 63),
    (127, 129),
    (128, 128),
    (500, 127),
    (1999, 500),
    (2, 500),
];

#[test]
fn a_scan_keeps_what_a_loop_over_the_whole_matrix_keeps() {
    let mut backends = vec![Backend::Cpu];
    let name = "a_scan_keeps_what_a_loop_over_the_whole_matrix_keeps";
    if let Some(gpu) = support::gpu(name) {
        backends.push(Backend::Gpu(gpu.with_binding_limit(3 << 15)));
        backends.push(Backend::Gpu(gpu.with_choice("correlation", 16)));
    }
    for (samples, neurons) in SHAPES {
        let model = Model::new(activations(samples, neurons, 21), 3.min(neurons as u32));
        let others = neurons / 2 + 1;
        let mixed = activations(samples, others, 22);
        let other = Model::new(mixed, 2.min(others as u32));
        for backend in &backends {
            for right in [None, Some(&other)] {
                let at = format!(
                    "{samples} x {neurons}, cross {}, {backend:?}",
                    right.is_some()
                );
                let (r, found) = run(backend, &model, right, u64::MAX);
                let off = deviation(&model, right, &r);
                assert!(off <= TOLERANCE, "{at}: {off:e}");
                assert_found(&found, &r, &model, right, &at);
            }
        }
    }
}

#[test]
fn samples_that_do_not_fit_the_memory_give_the_same_bits() {
    // Three blocks of neurons; so many samples that all sums are held, and so few that the samples are.
    let many = [(900, 4), (500, 2)].map(|(d, layers)| Model::new(activations(4500, d, 23), layers));
    let few = [(900, 4), (500, 2)].map(|(d, layers)| Model::new(activations(300, d, 24), layers));
    for ([model, other], cross) in [(&many, false), (&many, true), (&few, false), (&few, true)] {
        let right = cross.then_some(other);
        let (held, found) = run(&Backend::Cpu, model, right, u64::MAX);
        for memory in [0, 13 << 20] {
            let (streamed, again) = run(&Backend::Cpu, model, right, memory);
            assert_eq!(held, streamed, "{memory} bytes");
            assert_eq!(found.edges, again.edges);
            assert_eq!(found.partners, again.partners);
            assert_eq!(found.partners_of_right, again.partners_of_right);
            let (a, b) = (found.distribution.as_ref(), again.distribution.as_ref());
            assert_eq!(a.unwrap().counts, b.unwrap().counts);
            support::assert_close("mean", b.unwrap().mean, a.unwrap().mean, 1e-12);
        }
    }
}

/// r of rows that are stored in some type, on a back end.
fn stored(backend: &Backend, rows: &dyn Rows) -> Result<Array2<f32>> {
    let moments = neurosieve::ops::moments::streamed(rows, None).unwrap();
    let neurons = rows.shape().1;
    let whole = Whole {
        r: Mutex::new(Array2::from_elem((neurons, neurons), f32::NAN)),
        same: true,
    };
    let wanted = Wanted {
        matrix: Some(&whole),
        ..Wanted::default()
    };
    let side = Side {
        rows,
        moments: &moments,
    };
    scan(backend, side, None, &wanted, &Params::default())?;
    Ok(whole.r.into_inner().unwrap())
}

#[test]
fn a_device_reads_f16_and_bf16_as_they_are_stored() {
    use half::{bf16, f16};
    let Some(gpu) = support::gpu("a_device_reads_f16_and_bf16_as_they_are_stored") else {
        return;
    };
    // Neuron 4 flips between two subnormal f16; samples in several blocks.
    let x = activations(700, 75, 28).mapv(|v| v.clamp(-6e4, 6e4));
    let (halves, brains) = (x.mapv(f16::from_f32), x.mapv(bf16::from_f32));
    assert!(halves.column(4).iter().all(|v| !v.is_normal()));
    for limit in [u64::MAX, 3 << 15] {
        let backend = Backend::Gpu(gpu.with_binding_limit(limit));
        for (name, rows) in [
            ("f16", &halves as &dyn Rows),
            ("bf16", &brains),
            ("f32", &Held(x.clone())),
        ] {
            let native = stored(&Backend::Cpu, rows).unwrap();
            let device = stored(&backend, rows).unwrap();
            let apart = native
                .iter()
                .zip(&device)
                .map(|(a, b)| f64::from((a - b).abs()));
            let worst = apart.fold(0.0, f64::max);
            assert!(worst <= TOLERANCE, "{name}, bindings of {limit}: {worst:e}");
        }
    }
    let source = include_str!("../../../shaders/correlation.wgsl");
    for (right, wrong, rows) in [
        ("exponent + 112u", "exponent + 111u", &halves as &dyn Rows),
        ("exponent == 0u", "exponent == 99u", &halves),
        ("at % 2u == 1u", "at % 2u == 0u", &halves),
        ("bits << 16u", "bits << 15u", &brains),
    ] {
        assert!(source.contains(right), "the kernel no longer says {right}");
        let broken = gpu.with_shader("correlation", source.replace(right, wrong));
        let native = stored(&Backend::Cpu, rows).unwrap();
        let far = |device: Array2<f32>| {
            let pairs = native.iter().zip(&device);
            let apart = pairs.map(|(a, b)| f64::from((a - b).abs()));
            apart.fold(0.0, f64::max) > TOLERANCE
        };
        // Values that are read so wrong that their squares are endless are refused.
        let noticed = stored(&Backend::Gpu(broken), rows).map_or(true, far);
        assert!(noticed, "{wrong} was not noticed");
    }
}

/// A matrix in f32.
#[derive(Debug)]
struct Held(Array2<f32>);

impl Rows for Held {
    fn shape(&self) -> (usize, usize) {
        self.0.dim()
    }

    fn read_rows(&self, start: usize, out: &mut [f32]) -> Result<()> {
        let neurons = self.0.ncols();
        let values = self.0.as_slice().unwrap();
        out.copy_from_slice(&values[start * neurons..start * neurons + out.len()]);
        Ok(())
    }
}

#[test]
fn a_model_with_itself_matches_each_neuron_with_itself() {
    let model = Model::new(activations(300, 70, 25), 2);
    let again = Model::new(activations(300, 70, 25), 2);
    let (r, found) = run(&Backend::Cpu, &model, Some(&again), u64::MAX);
    for (neuron, best) in found.partners.iter().enumerate() {
        if model.moments.spread[neuron] == Spread::Constant {
            continue;
        }
        support::assert_close("r", f64::from(r[(neuron, neuron)]), 1.0, 1e-6);
        support::assert_close("best", f64::from(best[0].r.abs()), 1.0, 1e-6);
    }
}

#[test]
fn more_edges_than_wanted_are_refused() {
    let model = Model::new(activations(50, 40, 26), 2);
    let wanted = Wanted {
        at_least: Some(0.0),
        most_edges: 40 * 39 / 2 - 1,
        ..Wanted::default()
    };
    let refused = scan(
        &Backend::Cpu,
        model.side(),
        None,
        &wanted,
        &Params::default(),
    );
    let message = refused.unwrap_err().to_string();
    assert!(message.contains("more than 779"), "{message}");
    let all = Wanted {
        most_edges: 40 * 39 / 2,
        ..wanted
    };
    let found = scan(&Backend::Cpu, model.side(), None, &all, &Params::default()).unwrap();
    assert_eq!(found.edges.len(), 780);
}

#[test]
fn sides_that_do_not_belong_together_are_refused() {
    let (model, shorter) = (
        Model::new(activations(50, 40, 27), 2),
        Model::new(activations(49, 40, 27), 2),
    );
    let refuse = |right: Option<&Model>, wanted: &Wanted<'_>| {
        let right = right.map(Model::side);
        let refused = scan(
            &Backend::Cpu,
            model.side(),
            right,
            wanted,
            &Params::default(),
        );
        refused.unwrap_err().to_string()
    };
    let message = refuse(Some(&shorter), &Wanted::default());
    assert!(message.contains("50 samples and the other 49"), "{message}");
    let map = LayerMap::uniform(2, 3).unwrap();
    let layers = Wanted {
        layers: Some([&map, &map]),
        ..Wanted::default()
    };
    assert!(refuse(None, &layers).contains("6 neurons for 40"));
    let beyond = Wanted {
        at_least: Some(1.5),
        ..Wanted::default()
    };
    assert!(refuse(None, &beyond).contains("1.5 is not from 0 to 1"));
}
