//! Sweep: GPU = CPU = naive f64.

use ndarray::{Array1, Array2, ArrayView2};
use neurosieve::labels::Labels;
use neurosieve::ops::Backend;
use neurosieve::ops::sweep::{Curve, Params, TOLERANCE, sweep};
use rand::RngExt;
use rand::seq::SliceRandom;

use crate::support::{self, labels, normal, random};

/// A probe, data and orderings.
pub(super) struct Case {
    pub x: Array2<f32>,
    pub y: Labels,
    pub weights: Array2<f32>,
    pub bias: Array1<f32>,
    pub ablated: Vec<f32>,
    pub orderings: Vec<Vec<usize>>,
}

impl Case {
    /// Real-valued, or (`integer`) with small integers only, so that ties abound and every term is exact in f32.
    pub fn new(samples: usize, neurons: usize, classes: u32, integer: bool) -> Self {
        let mut random = random(21 + samples as u64);
        let mut value = |scale: f64| {
            if integer {
                f32::from(random.random_range(-2i8..=2))
            } else {
                (scale * normal(&mut random)) as f32
            }
        };
        let c = classes as usize;
        let x = Array2::from_shape_simple_fn((samples, neurons), || 1.0 + value(1.0));
        let weights = Array2::from_shape_simple_fn((c, neurons), || value(0.3));
        let bias = Array1::from_shape_simple_fn(c, || value(1.0));
        let ablated: Vec<f32> = (0..neurons).map(|_| 1.0 + value(0.1)).collect();
        let mut all: Vec<usize> = (0..neurons).collect();
        let mut orderings = vec![all.clone(), Vec::new()];
        all.reverse();
        orderings.push(all.clone());
        all.shuffle(&mut support::random(5));
        orderings.push(all[..neurons / 2].to_vec());
        orderings.push(all);
        Self {
            x,
            y: labels(samples, classes, 22),
            weights,
            bias,
            ablated,
            orderings,
        }
    }

    pub fn run(&self, backend: &Backend) -> Vec<Curve> {
        let params = Params {
            weights: self.weights.view(),
            bias: self.bias.view(),
            ablated: &self.ablated,
            orderings: &self.orderings,
            by_class: true,
        };
        sweep(backend, self.x.view(), &self.y, &params).unwrap()
    }
}

/// At one point of one ordering, by class: samples that are right, and samples that rounding may put on either side.
pub(super) struct Decided {
    pub right: Vec<u32>,
    pub undecided: Vec<u32>,
}

/// Every point from scratch: what is kept is a mask, and all D terms are added again for each sample.
pub(super) fn naive(case: &Case, kept: &[bool], tolerance: f64) -> Decided {
    let mut found = Decided {
        right: vec![0; case.bias.len()],
        undecided: vec![0; case.bias.len()],
    };
    for (row, &label) in case.x.outer_iter().zip(case.y.ids()) {
        let mut size: f64 = 0.0;
        let logits: Vec<f64> = (0..case.bias.len())
            .map(|class| {
                let terms = (0..row.len()).map(|j| {
                    let value = if kept[j] { row[j] } else { case.ablated[j] };
                    f64::from(case.weights[(class, j)]) * f64::from(value)
                });
                // What is added on the way are the replacements first, then the differences to them.
                let sizes = (0..row.len()).map(|j| {
                    let (x, a) = (f64::from(row[j]), f64::from(case.ablated[j]));
                    f64::from(case.weights[(class, j)]).abs() * (a.abs() + (x - a).abs())
                });
                size = size.max(f64::from(case.bias[class]).abs() + sizes.sum::<f64>());
                f64::from(case.bias[class]) + terms.sum::<f64>()
            })
            .collect();
        let own = logits[label as usize];
        let (before, after) = logits.split_at(label as usize);
        let wins = before.iter().all(|&l| l < own) && after.iter().all(|&l| l <= own);
        let others = before.iter().chain(&after[1..]);
        let rival = others.copied().fold(f64::NEG_INFINITY, f64::max);
        if (own - rival).abs() < tolerance * size {
            found.undecided[label as usize] += 1;
        } else if wins {
            found.right[label as usize] += 1;
        }
    }
    found
}

/// The largest number of samples by which a curve is outside of what the reference allows, and the share undecided.
fn excess(case: &Case, curves: &[Curve], tolerance: f64) -> (i64, f64) {
    assert_eq!(curves.len(), case.orderings.len());
    let (mut worst, mut undecided, mut all) = (0, 0.0, 0.0);
    for (curve, ordering) in curves.iter().zip(&case.orderings) {
        assert_eq!(curve.total as usize, case.x.nrows());
        assert_eq!(curve.correct.len(), ordering.len() + 1);
        let mut kept = vec![false; case.x.ncols()];
        for (k, &correct) in curve.correct.iter().enumerate() {
            if k > 0 {
                kept[ordering[k - 1]] = true;
            }
            let reference = naive(case, &kept, tolerance);
            let by_class = curve.by_class.as_ref().expect("it was asked for");
            assert_eq!(by_class.column(k).sum(), correct);
            let of_class = reference.right.iter().zip(&reference.undecided);
            for (correct, (right, either)) in by_class.column(k).iter().zip(of_class) {
                let (correct, right) = (i64::from(*correct), i64::from(*right));
                worst = worst
                    .max(right - correct)
                    .max(correct - right - i64::from(*either));
                undecided += f64::from(*either);
            }
            all += case.x.nrows() as f64;
        }
    }
    (worst, undecided / all)
}

/// Samples, neurons, classes: every kernel (up to 16, 32, 64 classes, and more), word ends at 31 to 33 points, pieces' ends at
/// 255 to 257, more classes than samples.
const SHAPES: [(usize, usize, u32); 18] = [
    (1, 1, 1),
    (63, 31, 2),
    (64, 32, 16),
    (65, 33, 17),
    (131, 64, 5),
    (7, 97, 3),
    (200, 17, 40),
    (2049, 5, 4),
    (65, 127, 2),
    (2, 128, 3),
    (129, 129, 9),
    (5, 2, 19),
    (70, 33, 65),
    (5, 254, 3),
    (5, 255, 3),
    (70, 256, 2),
    (3, 257, 20),
    (2, 600, 33),
];

#[test]
fn the_native_path_equals_the_naive_reference_in_every_shape() {
    for (samples, neurons, classes) in SHAPES {
        let case = Case::new(samples, neurons, classes, false);
        let (worst, undecided) = excess(&case, &case.run(&Backend::Cpu), 1e-12);
        assert_eq!(
            (worst, undecided),
            (0, 0.0),
            "{samples} x {neurons}, {classes} classes"
        );
    }
}

#[test]
fn the_gpu_equals_the_naive_reference_in_every_shape() {
    let Some(gpu) = support::gpu("the_gpu_equals_the_naive_reference_in_every_shape") else {
        return;
    };
    for (samples, neurons, classes) in SHAPES {
        let case = Case::new(samples, neurons, classes, false);
        // Also in blocks of samples, as when they do not fit one binding.
        for limit in [u64::MAX, (16 << 10).max(256 * neurons as u64)] {
            let curves = case.run(&Backend::Gpu(gpu.with_binding_limit(limit)));
            let (worst, undecided) = excess(&case, &curves, TOLERANCE);
            let place = format!("{samples} x {neurons}, {classes} classes, bindings of {limit}");
            assert_eq!(worst, 0, "{place}");
            assert!(
                undecided < 0.01,
                "{place}: {undecided} of the test decides nothing"
            );
        }
    }
}

#[test]
fn equal_logits_go_to_the_first_class_on_every_back_end() {
    let mut backends = vec![Backend::Cpu];
    let name = "equal_logits_go_to_the_first_class_on_every_back_end";
    backends.extend(support::gpu(name).map(Backend::Gpu));
    for (samples, neurons, classes) in SHAPES {
        let case = Case::new(samples, neurons, classes, true);
        for backend in &backends {
            let (worst, undecided) = excess(&case, &case.run(backend), 0.0);
            assert_eq!(
                (worst, undecided),
                (0, 0.0),
                "{backend:?}: {samples} x {neurons}"
            );
        }
    }
}

#[test]
fn orderings_that_stay_whole_count_as_those_that_are_cut() {
    let name = "orderings_that_stay_whole_count_as_those_that_are_cut";
    let Some(gpu) = support::gpu(name).map(Backend::Gpu) else {
        return;
    };
    // So many walks that a device is busy without cuts, then a tenth of them.
    for (samples, orderings) in [(13_200, 10), (13_200, 1)] {
        let mut case = Case::new(samples, 300, 3, true);
        let shuffled = |seed| {
            let mut ordering: Vec<usize> = (0..300).collect();
            ordering.shuffle(&mut random(seed));
            ordering
        };
        case.orderings = (0..orderings).map(shuffled).collect();
        assert_eq!(case.run(&gpu), case.run(&Backend::Cpu), "{orderings}");
    }
}

#[test]
fn breaking_the_sweep_kernels_is_noticed() {
    let Some(gpu) = support::gpu("breaking_the_sweep_kernels_is_noticed") else {
        return;
    };
    let source = include_str!("../../shaders/sweep.wgsl");
    let few = Case::new(131, 64, 5, true);
    let many = Case::new(65, 33, 70, true);
    let cut = Case::new(67, 600, 40, true);
    for (case, right, wrong) in [
        (
            &few,
            "initial4[i];",
            "initial4[i] - select(vec4(0.0), vec4(3e38), i == 3u);",
        ),
        (
            &few,
            "min(min(first.x, first.y), min(first.z, first.w))",
            "max(0u, min(first.y, first.z))",
        ),
        (&few, "weights4[neurons[j]][i], now[i]", "now[i], now[i]"),
        (&few, "hits[to] = word", "hits[to] = word << 1u"),
        (&cut, "part.place > 0u", "part.place > 1u"),
        (&cut, "weights4[neurons[j]][i], sum[i]", "sum[i], sum[i]"),
        (&cut, "order[part.start + k0 + j]", "order[part.start + k0]"),
        (&cut, "now += more", "now = more"),
        (&many, "logit > best", "logit >= best"),
        (&many, "span.start + k - 1u", "span.start + k - 2u"),
        (&many, "k % 32u == 0u", "k % 64u == 0u"),
        (&few, "at += 8u", "at += 9u"),
        (&few, "first = starts[counted]", "first = starts[0]"),
        (&many, "place / q.groups", "place % q.groups"),
        (&few, "counts[counted * q.points", "counts[0u * q.points"),
    ] {
        assert!(source.contains(right), "the kernel no longer says {right}");
        let broken = gpu.with_shader("sweep", source.replace(right, wrong));
        let (worst, _) = excess(case, &case.run(&Backend::Gpu(broken)), 0.0);
        // With five classes, what is done to the logits of classes 12 to 15 must not matter.
        let matters = !right.starts_with("initial4");
        assert_eq!(worst > 0, matters, "{wrong} instead of {right}");
    }
}

#[test]
fn the_last_point_of_a_complete_ordering_is_the_accuracy_of_the_probe() {
    let case = Case::new(333, 50, 6, false);
    let logits = |x: ArrayView2<'_, f32>| x.dot(&case.weights.t()) + &case.bias;
    let right = logits(case.x.view())
        .outer_iter()
        .zip(case.y.ids())
        .filter(|(row, label)| {
            let own = row[**label as usize];
            row.iter().all(|&logit| logit <= own)
        })
        .count();
    let curves = case.run(&Backend::Cpu);
    for (curve, ordering) in curves.iter().zip(&case.orderings) {
        // All orderings start from the same point, where everything is replaced.
        assert_eq!(curve.correct[0], curves[0].correct[0]);
        if ordering.len() == 50 {
            assert_eq!(*curve.correct.last().unwrap() as usize, right);
        }
    }
}

#[test]
fn counting_by_class_changes_no_count() {
    let name = "counting_by_class_changes_no_count";
    let mut backends = vec![Backend::Cpu];
    if let Some(gpu) = support::gpu(name) {
        // So small that groups take several dispatches.
        backends.push(Backend::Gpu(gpu.with_binding_limit(5 << 10)));
        backends.push(Backend::Gpu(gpu));
    }
    for classes in [1, 3, 16, 17] {
        let case = Case::new(70, 33, classes, true);
        for backend in &backends {
            let params = Params {
                weights: case.weights.view(),
                bias: case.bias.view(),
                ablated: &case.ablated,
                orderings: &case.orderings,
                by_class: false,
            };
            let whole = sweep(backend, case.x.view(), &case.y, &params).unwrap();
            for (whole, parts) in whole.iter().zip(case.run(backend)) {
                assert_eq!(whole.by_class, None);
                assert_eq!(
                    whole.correct, parts.correct,
                    "{classes} classes, {backend:?}"
                );
                assert_eq!(parts.by_class.unwrap().nrows(), classes as usize);
            }
        }
    }
}

#[test]
fn inputs_that_do_not_fit_are_refused() {
    let good = Case::new(10, 4, 3, false);
    let refused = |change: &dyn Fn(&mut Case), says: &str| {
        let mut case = Case::new(10, 4, 3, false);
        change(&mut case);
        let params = Params {
            weights: case.weights.view(),
            bias: case.bias.view(),
            ablated: &case.ablated,
            orderings: &case.orderings,
            by_class: false,
        };
        let message = sweep(&Backend::Cpu, case.x.view(), &case.y, &params)
            .unwrap_err()
            .to_string();
        assert!(message.contains(says), "{message}");
    };
    assert_eq!(good.run(&Backend::Cpu).len(), 5);
    refused(
        &|case| case.orderings[0][0] = 3,
        "ordering 0 lists neuron 3 twice",
    );
    refused(&|case| case.orderings[1].push(4), "neuron 4");
    refused(&|case| case.ablated.push(0.0), "5 replacements");
    refused(&|case| case.y = labels(9, 3, 1), "10 samples but 9 labels");
    refused(&|case| case.y = labels(10, 4, 1), "4 classes");
    refused(&|case| case.weights[(2, 3)] = f32::NAN, "NaN");
    refused(&|case| case.bias[0] = f32::INFINITY, "inf");
}
