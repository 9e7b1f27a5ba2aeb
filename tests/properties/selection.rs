//! The choice among penalties, and what cross-validations hold out.

use ndarray::{Array1, Array2, s};
use neurosieve::Backend;
use neurosieve::analysis::bootstrap::Units;
use neurosieve::analysis::folds::folds;
use neurosieve::analysis::predictions::predict;
use neurosieve::analysis::ranking::lca;
use neurosieve::analysis::search::{Search, accuracy, hits};
use neurosieve::analysis::selection::{LcaTerms, Rule, Score, Scores, lca_terms};
use neurosieve::ops::probe::Fit;
use rand::RngExt;

use super::choices::{all, path, prober, target};
use crate::golden::fixture;
use crate::support::{assert_close, random};

fn scores(accuracy: f64, log_loss: f64, lca: (f64, f64)) -> Scores {
    Scores {
        accuracy: Score {
            value: accuracy,
            se: 0.02,
        },
        log_loss: Score {
            value: log_loss,
            se: 0.05,
        },
        lca: Some(LcaTerms {
            top: lca.0,
            bottom: lca.1,
        }),
    }
}

#[test]
fn every_rule_takes_what_its_definition_says() {
    // Strongest first: accuracy is best at 2 (tied with 4), log-loss at 3, the LCA score at 0.
    let tried = [
        scores(0.70, 0.80, (0.69, 0.10)),
        scores(0.885, 0.45, (0.80, 0.50)),
        scores(0.90, 0.42, (0.82, 0.60)),
        scores(0.89, 0.40, (0.82, 0.65)),
        scores(0.90, 0.46, (0.82, 0.70)),
    ];
    let chosen = Rule::ALL.map(|rule| (rule.name(), rule.choose(&tried)));
    assert_eq!(
        chosen,
        [
            ("accuracy", 2),
            ("accuracy-1se", 1),
            ("log-loss", 3),
            ("log-loss-1se", 1),
            ("lca", 0)
        ]
    );
    let serialised = Rule::ALL.map(|rule| serde_json::to_value(rule).expect("a name"));
    assert_eq!(serialised, Rule::ALL.map(Rule::name));
}

#[test]
fn the_lca_score_is_the_papers() {
    let terms = LcaTerms {
        top: 0.8,
        bottom: 0.3,
    };
    // ½(0.8 − 0.3) − ½(0.9 − 0.85)
    assert_close("score", terms.score(0.85, 0.9), 0.225, 1e-15);
}

fn search(rule: Rule) -> Search {
    let mut prober = prober();
    prober.rule = rule;
    prober
        .search(&all(), target(), &path(), &mut |_| {})
        .expect("the fixture is solvable")
}

#[test]
fn lca_terms_are_accuracies_of_the_probe_with_the_other_neurons_set_to_zero() {
    let found = search(Rule::Lca);
    let data = fixture();
    let (x, labels) = (data.dev().activations.view(), target().dev);
    let order = lca(found.fit.weights.view()).expect("finite").order;
    let keep = 68; // ⌈0.2 · 336⌉
    let kept = |neurons: &[usize]| {
        let mut masked = Array2::zeros(x.dim());
        for &neuron in neurons {
            masked.slice_mut(s![.., neuron]).assign(&x.column(neuron));
        }
        accuracy(&hits(&found.fit, masked.view(), labels).expect("same shape"))
    };
    let terms = lca_terms(&Backend::Cpu, &found.fit, &all(), x, labels).expect("same shape");
    assert_close("top", terms.top, kept(&order[..keep]), 1e-12);
    let bottom = &order[order.len() - keep..];
    assert_close("bottom", terms.bottom, kept(bottom), 1e-12);
    assert!(terms.top > terms.bottom + 0.1, "{terms:?}");
    let weakest = found.path.last().expect("a path").dev_accuracy;
    let score = terms.score(found.dev_accuracy, weakest);
    let recorded: Vec<f64> = found.path.iter().filter_map(|c| c.lca_score).collect();
    assert_close("score", recorded[found.chosen], score, 1e-12);
    assert!(recorded.iter().all(|&other| other <= score), "{recorded:?}");
}

#[test]
fn a_search_follows_its_rule() {
    for rule in Rule::ALL {
        let found = search(rule);
        let chosen = &found.path[found.chosen];
        let n = fixture().dev().activations.samples() as f64;
        let best_accuracy = found
            .path
            .iter()
            .map(|c| c.dev_accuracy)
            .fold(0.0, f64::max);
        let least_loss = found
            .path
            .iter()
            .map(|c| c.scores.log_loss.value)
            .fold(9.0, f64::min);
        let se = (best_accuracy * (1.0 - best_accuracy) / (n - 1.0)).sqrt();
        match rule {
            Rule::Accuracy => assert_eq!(chosen.dev_accuracy, best_accuracy),
            Rule::LogLoss => assert_eq!(chosen.scores.log_loss.value, least_loss),
            Rule::AccuracyOneSe => {
                let enough = |a: f64| a >= best_accuracy - se;
                let first = found.path.iter().position(|c| enough(c.dev_accuracy));
                assert_eq!(Some(found.chosen), first);
            }
            Rule::LogLossOneSe => assert!(found.chosen <= search(Rule::LogLoss).chosen),
            Rule::Lca => assert!(chosen.lca_score.is_some()),
        }
        assert_eq!(chosen.lca_score.is_some(), rule == Rule::Lca);
        assert_eq!(found.fit.l1, chosen.l1);
    }
}

#[test]
fn predictions_are_the_fits_own_and_their_probabilities_a_softmax() {
    let data = fixture();
    let x = data.dev().activations.view();
    let found = search(Rule::Accuracy);
    // Few neurons take the route that reads only those.
    let mut sparse = found.fit.clone();
    sparse.weights.slice_mut(s![.., 20..]).fill(0.0);
    let absent = Fit {
        bias: Array1::from_iter((0..5).map(|c| if c == 2 { -1e30 } else { 0.0 })),
        ..found.fit.clone()
    };
    for fit in [&found.fit, &sparse, &absent] {
        let got = predict(fit, x).expect("same neurons");
        assert_eq!(got.classes, fit.predict(x));
        for (sample, row) in x.rows().into_iter().enumerate() {
            let logit = |class: usize| -> f64 {
                let terms = row.iter().zip(fit.weights.row(class));
                let sum: f64 = terms.map(|(x, w)| f64::from(*x) * f64::from(*w)).sum();
                sum + f64::from(fit.bias[class])
            };
            let logits: Vec<f64> = (0..5).map(logit).collect();
            let total: f64 = logits.iter().map(|z| z.exp()).sum();
            for (class, z) in logits.iter().enumerate().filter(|(_, z)| **z > -1e20) {
                let log_p = got.log_probabilities[(sample, class)];
                assert_close("log-probability", log_p, z - total.ln(), 2e-4);
            }
        }
    }
}

#[test]
fn the_standard_error_over_sentences_is_that_of_their_sums() {
    let values = [1.0, 0.0, 1.0, 1.0, 0.0, 0.0];
    let samples = Units::samples(6).standard_error(&values);
    assert_close("samples", samples, (0.3_f64 / 6.0).sqrt(), 1e-15);
    // Sums of deviations 0, 0.5, −0.5 of three sentences.
    let sentences = Units::sentences(&[4, 4, 7, 8, 8, 8]).expect("ascending");
    assert_eq!(sentences.count(), 3);
    let expected = (0.5_f64 * 1.5).sqrt() / 6.0;
    assert_close(
        "sentences",
        sentences.standard_error(&values),
        expected,
        1e-15,
    );
    assert!(Units::sentences(&[1, 0]).is_err());
}

/// Samples of each class in each fold.
fn counts(strata: &[u32], fold: &[usize], folds: usize) -> Array2<usize> {
    let classes = 1 + *strata.iter().max().expect("samples") as usize;
    let mut counts = Array2::zeros((folds, classes));
    for (&class, &fold) in strata.iter().zip(fold) {
        counts[(fold, class as usize)] += 1;
    }
    counts
}

#[test]
fn folds_hold_every_class_evenly() {
    let mut draw = random(3);
    let strata: Vec<u32> = (0..1003)
        .map(|_| draw.random_range(0..7u32).pow(2) / 6)
        .collect();
    let fold = folds(&strata, None, 5, 0).expect("valid");
    let counts = counts(&strata, &fold, 5);
    for column in counts.columns() {
        let (most, least) = (column.iter().max(), column.iter().min());
        assert!(most.zip(least).is_some_and(|(m, l)| m - l <= 1), "{counts}");
    }
    let sizes: Vec<usize> = counts.rows().into_iter().map(|r| r.sum()).collect();
    assert!(
        sizes.iter().all(|&size| size == 200 || size == 201),
        "{sizes:?}"
    );
    assert_eq!(fold, folds(&strata, None, 5, 0).expect("valid"));
    assert_ne!(fold, folds(&strata, None, 5, 1).expect("valid"));
}

#[test]
fn folds_by_sentence_split_none_and_stay_even() {
    let mut draw = random(4);
    let (mut strata, mut groups) = (Vec::new(), Vec::new());
    for sentence in 0..200 {
        for _ in 0..draw.random_range(3..12) {
            strata.push(draw.random_range(0..4u32));
            groups.push(sentence);
        }
    }
    let fold = folds(&strata, Some(&groups), 5, 0).expect("valid");
    for pair in groups.iter().zip(&fold).collect::<Vec<_>>().windows(2) {
        assert!(pair[0].0 != pair[1].0 || pair[0].1 == pair[1].1);
    }
    let counts = counts(&strata, &fold, 5);
    for column in counts.columns() {
        let expected = column.sum() as f64 / 5.0;
        let uneven = |&count: &usize| (count as f64 - expected).abs() > 0.1 * expected;
        assert!(!column.iter().any(uneven), "{counts}");
    }
    assert_eq!(fold, folds(&strata, Some(&groups), 5, 0).expect("valid"));
    assert_ne!(fold, folds(&strata, Some(&groups), 5, 1).expect("valid"));
    for (k, groups) in [(1, None), (strata.len() + 1, None), (201, Some(&*groups))] {
        let refused = folds(&strata, groups, k, 0).expect_err("out of range");
        assert!(refused.to_string().contains("are allowed"), "{refused}");
    }
}
