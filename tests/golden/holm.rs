//! Holm's correction as statsmodels computes it (`fixtures/generate_holm.py`).

use neurosieve::analysis::holm::holm;

use super::json;
use crate::support::assert_close;

#[test]
fn corrected_p_values_are_statsmodels() {
    let families: Vec<(Vec<f64>, Vec<f64>)> = json("holm.json");
    assert!(families.iter().any(|(p, _)| p.len() == 40));
    for (p, expected) in families {
        for ((got, expected), p) in holm(&p)
            .expect("they are p values")
            .iter()
            .zip(&expected)
            .zip(&p)
        {
            assert_close(&format!("{p}"), *got, *expected, 1e-14);
        }
    }
}

#[test]
fn bonferroni_is_not_holm() {
    // The control: multiplying all by their number gives other values.
    let (p, expected) = &json::<Vec<(Vec<f64>, Vec<f64>)>>("holm.json")[1];
    let bonferroni: Vec<f64> = p.iter().map(|p| (p * 4.0).min(1.0)).collect();
    assert!(
        bonferroni
            .iter()
            .zip(expected)
            .any(|(a, b)| (a - b).abs() > 0.01)
    );
    assert!(holm(&[0.5, f64::NAN]).is_err() && holm(&[1.5]).is_err());
    assert!(holm(&[]).expect("no family").is_empty());
}
