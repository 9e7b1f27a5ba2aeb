//! What buffers of a GPU take at the peak of a study, at most: what operations put there, by the sizes that they pad to. Without
//! minimal sets it is what they take, within 10 % (`tests/study/memory.rs`); how many neurons these have is not known before.

use crate::data::Outline;
use crate::gpu::{AdapterKind, Gpu};
use crate::ops::probe::{WORKING_SET_MAX, device_bytes, oracle_bytes};
use crate::ops::{curvature, sweep};
use crate::study::spec::{SolverSpec, Spec};

use super::{TRANSFER, drawn, near, path};

/// What samples and neurons are padded to.
const PAD: u64 = 128;

/// Terms of a Hessian, an entry, at most: 16 near the optimum, and 64 times as many of a poor sample.
const TERMS: u64 = 16 * 64;

/// Samples whose sums stay on the device.
const PLANE: u64 = 65_536;

/// The largest step's bytes.
pub(in crate::study) fn device(spec: &Spec, data: &Outline, gpu: &Gpu) -> u64 {
    let (n, d) = (data.samples[0] as u64, data.layers.neurons() as u64);
    let columns = |classes: usize| if classes == 2 { 1 } else { classes as u64 };
    let all: u64 = data.classes.iter().map(|&classes| columns(classes)).sum();
    let widest = data.classes.iter().copied().max().unwrap_or(2);
    let (own, path) = (columns(widest), path(spec) as u64);
    let [resamples, random] = drawn(spec);
    let together = (path * all).max(own * (spec.control.draws.max(resamples) as u64));
    let on_device = |neurons: u64, columns: u64| {
        let samples = (n as usize, neurons as usize);
        device_bytes(
            samples,
            (columns as usize, own as usize),
            gpu.binding_bytes(),
        )
    };
    let whole = on_device(d, together);
    let near = near(spec, false) as u64;
    let of_sets = random as u64 * on_device(d, near * own);
    let discrete = gpu.report().kind == AdapterKind::Discrete;
    let hessian = match discrete {
        true => hessian(n, d, own, gpu.binding_bytes()),
        false => 0,
    };
    // Every draw of a control and every resample has targets or weights of its own.
    let kinds = data.classes.len() + spec.control.draws.max(resamples);
    let asks = match spec.probe.solver {
        SolverSpec::Auto | SolverSpec::Newton => discrete,
        SolverSpec::Fista => false,
        SolverSpec::Lbfgs => true,
    };
    let asked = |neurons: u64, columns: u64| match asks {
        true => {
            let shape = (n as usize, neurons as usize);
            let columns = (columns as usize, own as usize);
            oracle_bytes(shape, columns, kinds, gpu.binding_bytes())
        }
        false => 0,
    };
    // Copies of so many sets are one batch, and one set is in any case.
    let of_sets = of_sets.min(TRANSFER.max(whole));
    correlations(n, d, gpu.binding_bytes())
        .max(whole + hessian.max(asked(d, together)))
        .max(of_sets + hessian.max(asked(d, near * own)))
        .max(sweeps(spec, data, widest))
}

/// The Hessian of a working set on so many neurons, with as many terms as a poor sample grows to, but for every pair of classes no more
/// than there are samples.
fn hessian(samples: u64, neurons: u64, columns: u64, binding: u64) -> u64 {
    let entries = ((neurons + 1) * columns).min(WORKING_SET_MAX as u64);
    let pairs = columns * (columns + 1) / 2;
    let terms = (2 * TERMS * entries).min(samples * pairs);
    curvature::bytes(entries as usize, columns as usize, terms as usize, binding)
}

/// Samples as they are and centred, and tiles of sums.
fn correlations(samples: u64, neurons: u64, binding: u64) -> u64 {
    let d = neurons.next_multiple_of(PAD);
    let rows = samples.min(PLANE).min(binding / (4 * d));
    let tiles = d / PAD * (d / PAD + 1) / 2;
    8 * rows * d + (4 * tiles * PAD * PAD).min(binding)
}

/// Every ordering from both ends, and the random ones.
fn sweeps(spec: &Spec, data: &Outline, classes: usize) -> u64 {
    let neurons = data.layers.neurons();
    let orderings = 2 * spec.minimal_set.rankings.len() + spec.sweep.random_draws;
    let points = orderings * neurons;
    sweep::bytes(data.samples[2], neurons, classes, points)
}
