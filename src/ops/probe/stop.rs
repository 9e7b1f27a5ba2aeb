//! When a fit is good enough.

use super::Certificate;

/// A decade of the gap takes at least about this share of the iterations so far, and a certificate is not put off for longer than so
/// many.
const WAIT: f64 = 0.125;
const LONGEST_WAIT: f64 = 50.0;

/// When a fit is good enough.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Stop {
    /// Good enough to compare, rank and choose by: relative duality gap ≤ 1e-3. Without a penalty a KKT residual of
    /// 1e-4·λ_max. Against a gap of 1e-7, on three tasks of 12,000 tokens with six λ each, dev accuracy differed by at most
    /// 0.0008, 0.1 % of the predictions changed, and of the LCA ordering's top 5 and 10 % at least 94 and 97 % were the same.
    /// A KKT residual of 1e-3·λ_max cost about a quarter less and kept 68 % of them
    /// (`benches/results/2026-11-23_probe-stopping.json`).
    Screening,
    /// Proof: relative duality gap ≤ 1e-6; or KKT residual ≤ 1e-6·λ_max and ≤ 1e-3·λ1, with a gap of at most 1e-4 (where
    /// the penalty is tiny, a small gap needs a residual that f32 does not have). Without a penalty that residual alone.
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
    /// Relative duality gap beyond which small residuals are not enough.
    pub gap_beside_kkt: f64,
    /// KKT residual relative to λ_max that is enough without a penalty.
    pub unpenalised: f64,
}

impl Stop {
    pub(super) fn rule(self) -> Rule {
        let rule = |gap, kkt, unpenalised| Rule {
            gap,
            kkt,
            kkt_of_l1: f64::INFINITY,
            gap_beside_kkt: f64::INFINITY,
            unpenalised,
        };
        match self {
            Self::Screening => rule(1e-3, 0.0, 1e-4),
            Self::Certified => Rule {
                kkt_of_l1: 1e-3,
                gap_beside_kkt: 1e-4,
                ..rule(1e-6, 1e-6, 1e-6)
            },
            Self::Gap(gap) => rule(gap, 0.0, gap),
            Self::Kkt(kkt) => rule(0.0, kkt, kkt),
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
        let gap = certificate.relative_gap;
        let proved = gap == f64::INFINITY || gap <= self.gap.max(self.gap_beside_kkt);
        proved && self.holds(gap, certificate.kkt, certificate.kkt_relative, l1)
    }

    /// Whether these numbers are good enough.
    pub(super) fn holds(&self, gap: f64, kkt: f64, kkt_relative: f64, l1: f64) -> bool {
        let by_kkt = kkt_relative <= self.kkt && (l1 == 0.0 || kkt <= self.kkt_of_l1 * l1);
        let unbounded = gap == f64::INFINITY;
        gap <= self.gap || by_kkt || (unbounded && kkt_relative <= self.unpenalised)
    }

    /// Iterations after which it is worth while to certify again what was found wanting after so many: a gap far too large is not looked at
    /// again soon, unless something else than the gap may be what ends it.
    pub(super) fn wait(&self, certificate: &Certificate, goal: f64, iterations: usize) -> usize {
        let by_gap = self.gap > 0.0 && certificate.relative_gap.is_finite();
        if !by_gap || goal > f64::NEG_INFINITY {
            return 0;
        }
        let decades = (certificate.relative_gap / self.gap).log10();
        (decades * iterations as f64 * WAIT).clamp(0.0, LONGEST_WAIT) as usize
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
