//! How sure one can be of an accuracy, and of a difference between two probes on the same samples.

use statrs::distribution::{Binomial, DiscreteCDF};

use crate::error::{Error, Result};

/// 0.975 quantile of the standard normal distribution: all intervals are 95 % intervals.
pub const Z95: f64 = 1.959_963_984_540_054;

/// Wilson's 95 % score interval of a share (Wilson 1927) of `correct` out of `total`; [0, 1] of nothing.
pub fn wilson(correct: usize, total: usize) -> [f64; 2] {
    if total == 0 {
        return [0.0, 1.0];
    }
    let (k, n, z2) = (correct as f64, total as f64, Z95 * Z95);
    let centre = (k + z2 / 2.0) / (n + z2);
    let half = Z95 / (n + z2) * (k * (n - k) / n + z2 / 4.0).sqrt();
    // The exact ends are 0 and 1 there; rounding must not leave a residue of 1e-17.
    [
        if correct == 0 { 0.0 } else { centre - half },
        if correct == total { 1.0 } else { centre + half },
    ]
}

/// Whether `correct` out of `total` is above the share `majority` beyond chance: the one-sided score test at 2.5 %, that
/// is, whether the lower end of [`wilson`] is above it.
///
/// The guard of every claim of "no loss": a probe that is not above what always answering the most frequent class gets
/// has nothing to lose.
pub fn above_chance(correct: usize, total: usize, majority: f64) -> bool {
    wilson(correct, total)[0] > majority
}

/// p of a value against others that were drawn blindly: `(1 + #{null ≥ value}) / (N + 1)`, the probability of at least so
/// large a value if it were drawn like them (Phipson & Smyth 2010: with the value itself counted, p is never 0 and the test is
/// exact, as long as the value was not chosen for being large). The least that N draws can give is 1 / (N + 1).
pub fn permutation_p<T: PartialOrd>(value: T, null: &[T]) -> f64 {
    let as_good = null.iter().filter(|other| **other >= value).count();
    (1 + as_good) as f64 / (null.len() + 1) as f64
}

/// Two probes on the same samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Paired {
    /// Samples that only the first gets right.
    pub only_first: usize,
    /// Samples that only the second gets right.
    pub only_second: usize,
    /// Samples.
    pub total: usize,
    /// Accuracy of the second minus accuracy of the first.
    pub difference: f64,
    /// 95 % score interval of the difference (Tango 1998).
    pub interval: [f64; 2],
    /// Two-sided p of McNemar's exact test (1947): how likely discordant samples split at least so unevenly if both
    /// probes are equally good.
    pub p: f64,
}

/// Compares two probes by which samples each gets right.
///
/// # Errors
/// When the two lists differ in length or are empty.
pub fn paired(first: &[bool], second: &[bool]) -> Result<Paired> {
    if first.len() != second.len() || first.is_empty() {
        return Err(Error::invalid(
            "paired comparison",
            format!("{} and {} samples", first.len(), second.len()),
            "Compare two probes on the same samples, at least one",
        ));
    }
    let count = |a: bool, b: bool| {
        let both = first.iter().zip(second);
        both.filter(|&(&f, &s)| f == a && s == b).count()
    };
    Ok(paired_counts(
        count(true, false),
        count(false, true),
        first.len(),
    ))
}

/// Compares two probes by the number of samples that only one of them gets right, of `total` (at least their sum).
pub fn paired_counts(only_first: usize, only_second: usize, total: usize) -> Paired {
    Paired {
        only_first,
        only_second,
        total,
        difference: (only_second as f64 - only_first as f64) / total as f64,
        interval: tango(only_second, only_first, total),
        p: mcnemar(only_first, only_second),
    }
}

/// Two-sided p of McNemar's exact test: `min(1, 2·P(Binomial(b + c, ½) ≤ min(b, c)))`; 1 without discordant samples.
pub fn mcnemar(b: usize, c: usize) -> f64 {
    if b == c {
        return 1.0;
    }
    let discordant =
        Binomial::new(0.5, (b + c) as u64).expect("½ is a probability, so the distribution exists");
    (2.0 * discordant.cdf(b.min(c) as u64)).min(1.0)
}

/// 95 % score interval of `(plus − minus) / n`, the difference of two paired shares (Tango 1998, Statistics in Medicine
/// 17, eq. 15): the differences Δ with `|plus − minus − nΔ| ≤ z·√(n·(2·q + Δ·(1 − Δ)))`, where q is the maximum
/// likelihood estimate under Δ of the probability of a `minus` sample. Unlike Wald's it keeps its coverage for few discordant samples.
fn tango(plus: usize, minus: usize, total: usize) -> [f64; 2] {
    let (b, c, n) = (plus as f64, minus as f64, total as f64);
    let score = |delta: f64| {
        let (qa, qb, qc) = (
            2.0 * n,
            -b - c + (2.0 * n - b + c) * delta,
            -c * delta * (1.0 - delta),
        );
        let q = ((qb * qb - 4.0 * qa * qc).max(0.0).sqrt() - qb) / (2.0 * qa);
        let variance = n * (2.0 * q + delta * (1.0 - delta)).max(0.0);
        let excess = b - c - n * delta;
        if excess == 0.0 {
            0.0
        } else {
            excess / variance.sqrt()
        }
    };
    // The score falls in Δ from the estimate outwards on both sides: bisection to the last bit.
    let estimate = (b - c) / n;
    let end = |mut inside: f64, mut outside: f64, limit: f64| {
        if (score(outside) - limit) * limit.signum() <= 0.0 {
            return outside;
        }
        for _ in 0..100 {
            let middle = 0.5 * (inside + outside);
            if (score(middle) - limit) * limit.signum() > 0.0 {
                outside = middle;
            } else {
                inside = middle;
            }
        }
        inside
    };
    [end(estimate, -1.0, Z95), end(estimate, 1.0, -Z95)]
}
