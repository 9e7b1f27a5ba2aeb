//! Intervals and tests as SciPy computes them, and Tango's interval from its definition.

use neurosieve::analysis::uncertainty::{mcnemar, paired_counts, wilson};
use serde::Deserialize;

use super::json;
use crate::support::assert_close;

#[derive(Deserialize)]
struct Golden {
    wilson: Vec<(usize, usize, f64, f64)>,
    mcnemar: Vec<(usize, usize, f64)>,
    tango: Vec<(usize, usize, usize, f64, f64)>,
}

#[test]
fn wilson_intervals_are_scipys() {
    for (correct, total, low, high) in json::<Golden>("uncertainty.json").wilson {
        let got = wilson(correct, total);
        assert_close(
            &format!("lower end of {correct}/{total}"),
            got[0],
            low,
            1e-12,
        );
        assert_close(
            &format!("upper end of {correct}/{total}"),
            got[1],
            high,
            1e-12,
        );
    }
}

#[test]
fn mcnemars_exact_p_is_scipys_binomial_test() {
    for (b, c, p) in json::<Golden>("uncertainty.json").mcnemar {
        assert_close(&format!("p of {b} against {c}"), mcnemar(b, c), p, 1e-9 * p);
    }
}

#[test]
fn the_paired_interval_is_what_the_score_test_does_not_reject() {
    // The reference maximises the constrained likelihood numerically, hence its own 1e-7.
    for (plus, minus, total, low, high) in json::<Golden>("uncertainty.json").tango {
        let got = paired_counts(minus, plus, total);
        let what = format!("{plus} gained, {minus} lost of {total}");
        assert_close(&what, got.interval[0], low, 1e-7);
        assert_close(&what, got.interval[1], high, 1e-7);
        assert_close(
            &what,
            got.difference,
            (plus as f64 - minus as f64) / total as f64,
            1e-15,
        );
    }
}
