//! Many tests at once: p values that keep their meaning when several comparisons are made (Holm 1979, Scandinavian Journal
//! of Statistics 6).

use crate::error::{Error, Result};

/// Holm's adjusted p values of a family, in the order given: with the p ascending, `max_{j ≤ i} min(1, (m − j + 1)·p_(j))`.
///
/// Below α are those whose hypotheses Holm's step-down procedure rejects; the probability of any false rejection in the
/// family is at most α, whatever the dependence between the tests. The smallest is Bonferroni's, the others are at most that.
///
/// # Errors
/// When a p is not in [0, 1].
pub fn holm(p: &[f64]) -> Result<Vec<f64>> {
    if let Some((at, wrong)) = (p.iter().enumerate()).find(|(_, p)| !(0.0..=1.0).contains(*p)) {
        return Err(Error::invalid(
            "p value",
            format!("the {at}th is {wrong}"),
            "p values are in [0, 1]",
        ));
    }
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]).then(a.cmp(&b)));
    let mut adjusted = vec![0.0; p.len()];
    let mut largest = 0.0_f64;
    for (before, &at) in order.iter().enumerate() {
        let hypotheses_left = (p.len() - before) as f64;
        largest = largest.max((hypotheses_left * p[at]).min(1.0));
        adjusted[at] = largest;
    }
    Ok(adjusted)
}
