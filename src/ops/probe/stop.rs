//! When a fit is good enough.

use super::Certificate;

/// When a fit is good enough.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Stop {
    /// Good enough to compare, rank and choose by: KKT residual ≤ 1e-3·λ_max and ≤ 0.3·λ1, or relative gap ≤ 1e-3.
    Screening,
    /// Proof: relative duality gap ≤ 1e-6, or KKT residual ≤ 1e-6·λ_max and ≤ 1e-3·λ1.
    Certified,
    /// Relative duality gap of at most this, 1e-7 to 1. Without a penalty nothing bounds the gap: the KKT residual
    /// relative to λ_max then has to be this small.
    Gap(f64),
    /// KKT residual of at most this times λ_max, 1e-7 to 1.
    Kkt(f64),
}

/// A stop as numbers: met when the gap is small, or both residuals are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    /// Relative duality gap; 0 for never.
    pub gap: f64,
    /// KKT residual relative to λ_max; 0 for never.
    pub kkt: f64,
    /// KKT residual relative to λ1.
    pub kkt_of_l1: f64,
    /// KKT residual relative to λ_max that is enough without a penalty.
    pub unpenalised: f64,
}

impl Stop {
    pub(super) fn rule(self) -> Rule {
        let rule = |gap, kkt, kkt_of_l1, unpenalised| Rule {
            gap,
            kkt,
            kkt_of_l1,
            unpenalised,
        };
        match self {
            Self::Screening => rule(1e-3, 1e-3, 0.3, 1e-3),
            Self::Certified => rule(1e-6, 1e-6, 1e-3, 1e-6),
            Self::Gap(gap) => rule(gap, 0.0, f64::INFINITY, gap),
            Self::Kkt(kkt) => rule(0.0, kkt, f64::INFINITY, kkt),
        }
    }

    /// What the numbers must lie in: `Some` value that does not.
    pub(super) fn out_of_range(self) -> Option<f64> {
        match self {
            Self::Gap(v) | Self::Kkt(v) if !(1e-7..=1.0).contains(&v) => Some(v),
            _ => None,
        }
    }
}

impl Rule {
    /// Whether a certificate is good enough.
    pub(super) fn met(&self, certificate: &Certificate, l1: f64) -> bool {
        self.holds(
            certificate.relative_gap,
            certificate.kkt,
            certificate.kkt_relative,
            l1,
        )
    }

    /// Whether these numbers are good enough.
    pub(super) fn holds(&self, gap: f64, kkt: f64, kkt_relative: f64, l1: f64) -> bool {
        let by_kkt = kkt_relative <= self.kkt && (l1 == 0.0 || kkt <= self.kkt_of_l1 * l1);
        let unbounded = gap == f64::INFINITY;
        gap <= self.gap || by_kkt || (unbounded && kkt_relative <= self.unpenalised)
    }

    /// KKT residual below which a step's quadratic programme need not be solved.
    pub(super) fn floor(&self, unit: f64, lambda_max: f64) -> f64 {
        let by_gap = if self.gap > 0.0 {
            1e-3 * self.gap.sqrt() * unit
        } else {
            f64::INFINITY
        };
        by_gap.min(0.2 * self.kkt.max(self.unpenalised.min(1e-3)) * lambda_max)
    }
}
