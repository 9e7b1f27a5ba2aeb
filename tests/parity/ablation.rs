//! Ablation: GPU = CPU = naive f64, and equal to a sweep where masks nest.

use ndarray::Array2;
use neurosieve::ops::Backend;
use neurosieve::ops::ablation::{Counts, Masks, Params, TOLERANCE, ablation};
use neurosieve::ops::sweep::{self, sweep};
use rand::RngExt;

use super::sweep::{Case, naive};
use crate::support::{self, labels, random};

/// Nothing, everything, single neurons and all but one, and a fifth, a half and four fifths at random.
pub(super) fn masks(neurons: usize) -> Masks {
    let mut masks = Masks::new(neurons);
    let mut add = |keeps: &mut dyn FnMut(usize) -> bool| {
        let kept: Vec<usize> = (0..neurons).filter(|&neuron| keeps(neuron)).collect();
        masks.push(&kept).unwrap();
    };
    add(&mut |_| false);
    add(&mut |_| true);
    for one in [0, neurons / 2, neurons - 1] {
        add(&mut |neuron| neuron == one);
        add(&mut |neuron| neuron != one);
    }
    let mut random = random(neurons as u64);
    for share in [0.2, 0.5, 0.8] {
        for _ in 0..3 {
            add(&mut |_| random.random_bool(share));
        }
    }
    masks
}

/// As [`Case::new`], with neurons that no class weighs among the others.
pub(super) fn case(samples: usize, neurons: usize, classes: u32, integer: bool) -> Case {
    let mut case = Case::new(samples, neurons, classes, integer);
    for neuron in (2..neurons).step_by(5) {
        case.weights.column_mut(neuron).fill(0.0);
    }
    case
}

pub(super) fn run(case: &Case, masks: &Masks, backend: &Backend) -> Counts {
    let params = Params {
        weights: case.weights.view(),
        bias: case.bias.view(),
        ablated: &case.ablated,
        masks,
    };
    ablation(backend, case.x.view(), &case.y, &params).unwrap()
}

/// The largest number of samples of a class by which a count is outside of what the reference allows, and the share
/// undecided.
fn excess(case: &Case, masks: &Masks, counts: &Counts, tolerance: f64) -> (i64, f64) {
    assert_eq!(counts.total as usize, case.x.nrows());
    assert_eq!(counts.by_class.dim(), (masks.len(), case.bias.len()));
    let (mut worst, mut undecided) = (0, 0.0);
    for (mask, (by_class, &correct)) in counts
        .by_class
        .outer_iter()
        .zip(&counts.correct)
        .enumerate()
    {
        assert_eq!(by_class.sum(), correct);
        let kept: Vec<bool> = (0..case.x.ncols()).map(|n| masks.keeps(mask, n)).collect();
        let reference = naive(case, &kept, tolerance);
        let of_class = reference.right.iter().zip(&reference.undecided);
        for (correct, (right, either)) in by_class.iter().zip(of_class) {
            let (correct, right) = (i64::from(*correct), i64::from(*right));
            worst = worst
                .max(right - correct)
                .max(correct - right - i64::from(*either));
            undecided += f64::from(*either);
        }
    }
    (worst, undecided / (case.x.nrows() * masks.len()) as f64)
}

/// Samples, neurons, classes: up to one tile of 16 classes and more, words that end within 32 neurons and beyond.
const SHAPES: [(usize, usize, u32); 14] = [
    (1, 1, 1),
    (2, 2, 3),
    (9, 1, 2),
    (63, 31, 2),
    (64, 32, 16),
    (65, 33, 17),
    (131, 63, 5),
    (7, 64, 4),
    (17, 65, 3),
    (200, 17, 40),
    (128, 127, 6),
    (5, 128, 33),
    (129, 129, 9),
    (1025, 5, 4),
];

#[test]
fn the_native_path_equals_the_naive_reference_in_every_shape() {
    for (samples, neurons, classes) in SHAPES {
        let case = case(samples, neurons, classes, false);
        let masks = masks(neurons);
        let counts = run(&case, &masks, &Backend::Cpu);
        let (worst, undecided) = excess(&case, &masks, &counts, 1e-12);
        let place = format!("{samples} x {neurons}, {classes} classes");
        assert_eq!((worst, undecided), (0, 0.0), "{place}");
    }
}

#[test]
fn the_gpu_equals_the_naive_reference_in_every_shape() {
    let Some(gpu) = support::gpu("ablation: the_gpu_equals_the_naive_reference_in_every_shape")
    else {
        return;
    };
    for (samples, neurons, classes) in SHAPES {
        let case = case(samples, neurons, classes, false);
        let masks = masks(neurons);
        // Also in blocks of samples and of masks, as when they do not fit one binding.
        for limit in [u64::MAX, 24 << 10] {
            let backend = Backend::Gpu(gpu.with_binding_limit(limit));
            let counts = run(&case, &masks, &backend);
            let (worst, undecided) = excess(&case, &masks, &counts, TOLERANCE);
            let place = format!("{samples} x {neurons}, {classes} classes, bindings of {limit}");
            assert_eq!(worst, 0, "{place}");
            assert!(undecided < 0.01, "{place}: {undecided} decides nothing");
        }
    }
}

#[test]
fn masks_that_do_not_fit_one_binding_take_several_dispatches() {
    let Some(gpu) = support::gpu("masks_that_do_not_fit_one_binding_take_several_dispatches")
    else {
        return;
    };
    let case = case(40, 33, 3, true);
    let mut many = Masks::new(33);
    let mut random = random(8);
    for _ in 0..1000 {
        let kept: Vec<usize> = (0..33).filter(|_| random.random_bool(0.4)).collect();
        many.push(&kept).unwrap();
    }
    // Two words and a flag a mask: 12,000 bytes, of which 4,096 fit.
    let counts = run(&case, &many, &Backend::Gpu(gpu.with_binding_limit(4 << 10)));
    assert_eq!(counts, run(&case, &many, &Backend::Cpu));
    assert_eq!(excess(&case, &many, &counts, 0.0), (0, 0.0));
}

#[test]
fn equal_logits_go_to_the_first_class_on_every_back_end() {
    let mut backends = vec![Backend::Cpu];
    let name = "ablation: equal_logits_go_to_the_first_class_on_every_back_end";
    backends.extend(support::gpu(name).map(Backend::Gpu));
    for (samples, neurons, classes) in SHAPES {
        let case = case(samples, neurons, classes, true);
        let masks = masks(neurons);
        for backend in &backends {
            let counts = run(&case, &masks, backend);
            let found = excess(&case, &masks, &counts, 0.0);
            assert_eq!(
                found,
                (0, 0.0),
                "{backend:?}: {samples} x {neurons}, {classes}"
            );
        }
    }
}

#[test]
fn breaking_the_ablation_kernels_is_noticed() {
    let Some(gpu) = support::gpu("breaking_the_ablation_kernels_is_noticed") else {
        return;
    };
    let source = include_str!("../../shaders/ablation.wgsl");
    let few = case(131, 64, 5, true);
    let many = case(65, 33, 40, true);
    for (case, right, wrong) in [
        (&few, "select(1.0, -1.0, from_whole)", "1.0"),
        (&few, "masks[row + 1u + word]", "masks[row + word]"),
        (
            &few,
            "word * 32u + firstTrailingBit",
            "word * 31u + firstTrailingBit",
        ),
        (&few, "bits &= bits - 1u", "bits = 0u"),
        (&few, "fma(d, weights[at], to.a)", "d * weights[at]"),
        (&few, "whole[to] = logits.a;", "whole[to] = logits.b;"),
        (
            &few,
            "counts[mask * p.classes + label]",
            "counts[mask * p.classes]",
        ),
        (
            &few,
            "min(min(first.x, first.y), min(first.z, first.w))",
            "max(first.x, first.y)",
        ),
        (
            &many,
            "best.logit > winner.logit",
            "best.logit >= winner.logit",
        ),
        (&many, "tile * 16u < p.classes", "tile < 1u"),
        (&many, "tile * 16u + best.place", "best.place"),
        (&many, "(tile * p.neurons + neuron) * 4u", "neuron * 4u"),
    ] {
        assert!(source.contains(right), "the kernel no longer says {right}");
        let broken = gpu.with_shader("ablation", source.replace(right, wrong));
        let masks = masks(case.x.ncols());
        let counts = run(case, &masks, &Backend::Gpu(broken));
        // Both sums of a class must agree, or there is no count to compare.
        let (worst, _) = excess(case, &masks, &counts, 0.0);
        assert!(worst > 0, "{wrong} instead of {right}");
    }
}

#[test]
fn nested_masks_are_a_sweep() {
    let mut backends = vec![Backend::Cpu];
    backends.extend(support::gpu("nested_masks_are_a_sweep").map(Backend::Gpu));
    for (samples, neurons, classes, integer) in
        [(131, 65, 5, true), (64, 33, 17, true), (150, 40, 6, false)]
    {
        let case = case(samples, neurons, classes, integer);
        for ordering in &case.orderings {
            let mut nested = Masks::new(neurons);
            for k in 0..=ordering.len() {
                nested.push(&ordering[..k]).unwrap();
            }
            let params = sweep::Params {
                weights: case.weights.view(),
                bias: case.bias.view(),
                ablated: &case.ablated,
                orderings: std::slice::from_ref(ordering),
                by_class: true,
            };
            // Where terms are not exact in f32 only the native path counts the same.
            for backend in backends.iter().take(if integer { 2 } else { 1 }) {
                let curve = &sweep(backend, case.x.view(), &case.y, &params).unwrap()[0];
                let counts = run(&case, &nested, backend);
                assert_eq!(counts.correct, curve.correct, "{backend:?}");
                let by_class = curve.by_class.as_ref().expect("it was asked for");
                assert_eq!(counts.by_class.t(), by_class, "{backend:?}");
            }
        }
    }
}

#[test]
fn a_class_that_train_lacked_is_never_predicted_and_the_full_mask_is_the_probe() {
    let mut backends = vec![Backend::Cpu];
    let name = "a_class_that_train_lacked_is_never_predicted_and_the_full_mask_is_the_probe";
    backends.extend(support::gpu(name).map(Backend::Gpu));
    let mut case = case(300, 40, 6, false);
    case.bias[2] = -1e30;
    case.weights.row_mut(2).fill(0.0);
    let masks = masks(40);
    let logits = case.x.dot(&case.weights.t()) + &case.bias;
    let is_right = |(row, label): (ndarray::ArrayView1<'_, f32>, &u32)| {
        row.iter().all(|&logit| logit <= row[*label as usize])
    };
    let right = logits
        .outer_iter()
        .zip(case.y.ids())
        .filter(|both| is_right(*both))
        .count();
    for backend in &backends {
        let counts = run(&case, &masks, backend);
        assert_eq!(counts.correct[1] as usize, right, "{backend:?}");
        assert_eq!(counts.by_class.column(2).sum(), 0, "{backend:?}");
        // Without any neuron every sample gets one class.
        let predicted = counts.by_class.row(0).iter().filter(|n| **n > 0).count();
        assert!(predicted <= 1, "{backend:?}");
        assert_eq!(
            excess(&case, &masks, &counts, TOLERANCE).0,
            0,
            "{backend:?}"
        );
    }
}

#[test]
fn no_masks_and_weightless_probes_are_legal() {
    let mut backends = vec![Backend::Cpu];
    backends.extend(support::gpu("no_masks_and_weightless_probes_are_legal").map(Backend::Gpu));
    let mut case = case(10, 6, 3, true);
    for backend in &backends {
        let none = run(&case, &Masks::new(6), backend);
        assert_eq!((none.correct.len(), none.by_class.dim()), (0, (0, 3)));
    }
    case.weights = Array2::zeros((3, 6));
    for backend in &backends {
        let counts = run(&case, &masks(6), backend);
        assert!(
            counts.correct.iter().all(|n| *n == counts.correct[0]),
            "{backend:?}"
        );
    }
}

#[test]
fn inputs_that_do_not_fit_are_refused() {
    let mut masks = Masks::new(4);
    let says = |result: neurosieve::Result<()>, part: &str| {
        let message = result.unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    };
    masks.push(&[3, 0]).unwrap();
    says(masks.push(&[1, 2, 1]), "mask 1: it lists neuron 1 twice");
    says(masks.push(&[4]), "neuron 4, but there are 4");
    says(masks.push(&[usize::MAX]), "but there are 4");
    assert_eq!(masks.len(), 1, "what was refused is not there");
    assert_eq!(
        (masks.size(0), masks.keeps(0, 3), masks.keeps(0, 1)),
        (2, true, false)
    );
    let refused = |change: &dyn Fn(&mut Case), part: &str| {
        let mut case = Case::new(10, 4, 3, false);
        change(&mut case);
        let params = Params {
            weights: case.weights.view(),
            bias: case.bias.view(),
            ablated: &case.ablated,
            masks: &masks,
        };
        says(
            ablation(&Backend::Cpu, case.x.view(), &case.y, &params).map(drop),
            part,
        );
    };
    refused(
        &|case| *case = Case::new(10, 5, 3, false),
        "masks are of 4 neurons, the activations of 5",
    );
    refused(&|case| case.ablated.push(0.0), "5 replacements");
    refused(&|case| case.y = labels(9, 3, 1), "10 samples but 9 labels");
    refused(&|case| case.weights[(2, 3)] = f32::NAN, "NaN");
}
