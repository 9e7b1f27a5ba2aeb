//! Cross-validation by weights is cross-validation by hand.

use ndarray::Axis;
use neurosieve::Backend;
use neurosieve::analysis::folds::folds;
use neurosieve::analysis::search::{Penalties, accuracy, hits};
use neurosieve::analysis::selection::Rule;
use neurosieve::analysis::tuning::{By, Samples, Tuned, Tuning};
use neurosieve::labels::Labels;
use neurosieve::ops::moments::moments;
use neurosieve::ops::probe::{self, Design, Norm, Params, Problem, Response, Stop};

use super::choices::all;
use crate::golden::fixture;
use crate::support::assert_close;

/// Tunes `coarse` on train in three folds.
fn tuned(fold: &[usize], params: Params) -> Tuned {
    let train = fixture().train();
    let x = train.activations.view();
    let taken = moments(&Backend::Cpu, x, None).expect("finite");
    Tuning {
        backend: &Backend::Cpu,
        moments: &taken,
        train: Samples {
            x,
            response: Response::Classes(&train.labels[1]),
            sentences: None,
        },
        weights: None,
        columns: &all(),
        penalties: &Penalties::Path {
            ratios: vec![0.03, 0.3, 0.1],
            l2_per_l1: 0.1,
        },
        norm: Norm::Squared,
        params,
        adam: None,
        rule: Rule::Accuracy,
        by: By::Folds { fold, count: 3 },
    }
    .run(&mut |_| {})
    .expect("the fixture is solvable")
}

#[test]
fn a_fold_is_judged_by_a_probe_that_has_not_seen_it() {
    let train = fixture().train();
    let (x, labels) = (train.activations.view(), &train.labels[1]);
    let sentences = train.tokens.as_ref().map(|t| t.sentences.as_slice());
    let fold = folds(labels.ids(), sentences, 3, 0).expect("enough sentences");
    // Far enough for both ways to have one optimum.
    let params = Params {
        stop: Stop::Certified,
        ..Params::default()
    };
    let found = tuned(&fold, params.clone());
    // By hand: rows are removed, not weighed 0. Standardised by all of train, as the contract says.
    let taken = moments(&Backend::Cpu, x, None).expect("finite");
    let part = |inside: &dyn Fn(usize) -> bool| {
        let rows: Vec<usize> = (0..fold.len()).filter(|&row| inside(fold[row])).collect();
        let ids = rows.iter().map(|&row| labels.ids()[row]).collect();
        let labels = Labels::new(ids, labels.classes().to_vec()).expect("samples");
        (x.select(Axis(0), &rows), labels)
    };
    let mut by_hand = vec![Vec::new(); 3];
    for held_out in 0..3 {
        let (seen, seen_labels) = part(&|fold| fold != held_out);
        let (unseen, unseen_labels) = part(&|fold| fold == held_out);
        let design = Design::new(&Backend::Cpu, seen.view(), &taken, &all()).expect("varies");
        for (place, tried) in found.path.iter().enumerate() {
            let problem = [Problem::new(&seen_labels, tried.l1, tried.l2)];
            let fit = probe::fit(&Backend::Cpu, &design, &problem, &params, &mut |_| {});
            let right = hits(&fit.expect("solvable")[0], unseen.view(), &unseen_labels);
            by_hand[place].push((unseen_labels.len(), accuracy(&right.expect("same shape"))));
        }
    }
    for (tried, folds) in found.path.iter().zip(&by_hand) {
        let total = labels.len() as f64;
        let mean: f64 = folds.iter().map(|(n, a)| *n as f64 * a / total).sum();
        let spread: f64 = folds
            .iter()
            .map(|(n, a)| *n as f64 / total * (a - mean).powi(2))
            .sum();
        let scores = tried.scores.expect("folds decide");
        // A sample in eight hundred may lie on the boundary of two optima that are equal to 1e-6.
        let one = 1.0 / total + 1e-12;
        assert_close("accuracy", scores.accuracy.value, mean, one);
        assert_close(
            "standard error",
            scores.accuracy.se,
            (spread / 2.0).sqrt(),
            one,
        );
        assert_eq!(tried.fits.len(), 3);
    }
    let chosen = &found.path[found.chosen];
    assert_eq!((found.fit.l1, found.fit.l2), (chosen.l1, chosen.l2));
    // Negative control: a probe that has seen its samples does better.
    let seen = accuracy(&hits(&found.fit, x, labels).expect("same shape"));
    assert!(seen > chosen.scores.expect("folds decide").accuracy.value + 0.01);
}

#[test]
fn several_penalties_need_something_to_choose_by() {
    let train = fixture().train();
    let x = train.activations.view();
    let taken = moments(&Backend::Cpu, x, None).expect("finite");
    let refused = Tuning {
        backend: &Backend::Cpu,
        moments: &taken,
        train: Samples {
            x,
            response: Response::Classes(&train.labels[1]),
            sentences: None,
        },
        weights: None,
        columns: &all(),
        penalties: &Penalties::Path {
            ratios: vec![0.3, 0.1],
            l2_per_l1: 1.0,
        },
        norm: Norm::Squared,
        params: Params::default(),
        adam: None,
        rule: Rule::Accuracy,
        by: By::Nothing,
    }
    .run(&mut |_| {})
    .expect_err("two penalties");
    assert!(
        refused.to_string().contains("Give dev or folds"),
        "{refused}"
    );
}
