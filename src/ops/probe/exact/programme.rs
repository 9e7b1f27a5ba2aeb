//! The quadratic programme of a step: coordinate descent finds which entries are zero, a factor of the Hessian the others.

use nalgebra::{Cholesky, DMatrix, DVector};

/// Rounds of sweeps and factor; two or three are needed.
const ROUNDS: usize = 100;
/// Sweeps of coordinate descent a round.
const SWEEPS: usize = 5;
/// What a subgradient may be over by, as a share of what it is made of.
const ROUNDING: f64 = 1e-12;

/// min over w of `gᵀ(w − w₀) + ½ (w − w₀)ᵀH(w − w₀) + Σ l1_j |w_j|`.
pub(super) struct Programme {
    pub gradient: Vec<f64>,
    pub start: Vec<f64>,
    pub l1: Vec<f64>,
    pub hessian: DMatrix<f64>,
}

/// A point of the programme and the gradient of its quadratic part there.
struct Point {
    w: Vec<f64>,
    q: Vec<f64>,
}

/// How a jump went.
enum Jump {
    /// All the way.
    Whole,
    /// To where an entry reached zero.
    Cut,
    /// Not at all: the Hessian is flat along some direction, and sweeps alone go on.
    None,
}

impl Programme {
    /// The optimum, to rounding.
    pub(super) fn solve(&self) -> Vec<f64> {
        let mut at = Point {
            w: self.start.clone(),
            q: self.gradient.clone(),
        };
        let scale = self.scale();
        for _ in 0..ROUNDS {
            for _ in 0..SWEEPS {
                self.sweep(&mut at);
            }
            let done = match self.jump(&mut at) {
                // The others are where their factor puts them: to its rounding, whatever their scales.
                Jump::Whole => self.zeros_stay(&at),
                Jump::Cut => false,
                Jump::None => {
                    let worst = self.violations(&at.q, &at.w).fold(0.0, f64::max);
                    worst <= ROUNDING * scale
                }
            };
            if done {
                break;
            }
        }
        at.w
    }

    /// How far the programme's objective is below that of the start.
    pub(super) fn decrease(&self, w: &[f64]) -> f64 {
        let moved = DVector::from_iterator(w.len(), w.iter().zip(&self.start).map(|(a, b)| a - b));
        let bent = &self.hessian * &moved;
        let quadratic: f64 = self
            .gradient
            .iter()
            .zip(moved.iter().zip(bent.iter()))
            .map(|(g, (m, b))| m * (g + 0.5 * b))
            .sum();
        let penalty = |w: &[f64]| -> f64 { w.iter().zip(&self.l1).map(|(w, l)| l * w.abs()).sum() };
        penalty(&self.start) - penalty(w) - quadratic
    }

    /// The smallest subgradient of each entry, in size.
    pub(super) fn violations<'a>(
        &'a self,
        q: &'a [f64],
        w: &'a [f64],
    ) -> impl Iterator<Item = f64> + 'a {
        let violation = |((q, w), l1): ((&f64, &f64), &f64)| match *w {
            0.0 => (q.abs() - l1).max(0.0),
            w => (q + l1 * w.signum()).abs(),
        };
        q.iter().zip(w).zip(&self.l1).map(violation)
    }

    /// Whether every entry at zero is best there.
    fn zeros_stay(&self, at: &Point) -> bool {
        let mut entries = at.q.iter().zip(&at.w).zip(&self.l1);
        entries.all(|((q, w), l1)| *w != 0.0 || *l1 == 0.0 || q.abs() <= l1 * (1.0 + ROUNDING))
    }

    /// What violations are small beside.
    fn scale(&self) -> f64 {
        let sizes = self.gradient.iter().chain(&self.l1).map(|v| v.abs());
        let bent = self.start.iter().enumerate();
        let bent = bent.map(|(j, w)| (self.hessian[(j, j)] * w).abs());
        sizes.chain(bent).fold(0.0, f64::max)
    }

    /// Every entry in turn to where it is best.
    fn sweep(&self, at: &mut Point) {
        for j in 0..at.w.len() {
            let h = self.hessian[(j, j)];
            if h <= 0.0 {
                continue;
            }
            let free = h * at.w[j] - at.q[j];
            let to = (free.abs() - self.l1[j]).max(0.0).copysign(free) / h;
            let step = to - at.w[j];
            if step != 0.0 {
                at.w[j] = to;
                for (q, h) in at.q.iter_mut().zip(self.hessian.column(j).iter()) {
                    *q += step * h;
                }
            }
        }
    }

    /// All entries that are not zero to where they are best together, or as far towards it as none changes sign.
    fn jump(&self, at: &mut Point) -> Jump {
        let moves = |j: &usize| self.l1[*j] == 0.0 || at.w[*j] != 0.0;
        let free: Vec<usize> = (0..at.w.len())
            .filter(|j| self.hessian[(*j, *j)] > 0.0)
            .filter(moves)
            .collect();
        let h = DMatrix::from_fn(free.len(), free.len(), |a, b| {
            self.hessian[(free[a], free[b])]
        });
        let Some(factor) = Cholesky::new(h) else {
            return Jump::None;
        };
        let pull = |j: &usize| match self.l1[*j] {
            0.0 => -at.q[*j],
            l1 => -(at.q[*j] + l1 * at.w[*j].signum()),
        };
        let step = factor.solve(&DVector::from_iterator(free.len(), free.iter().map(pull)));
        let mut share = 1.0;
        let mut first = None;
        for (&j, step) in free.iter().zip(step.iter()) {
            if self.l1[j] > 0.0 && at.w[j] * (at.w[j] + share * step) < 0.0 {
                share = -at.w[j] / step;
                first = Some(j);
            }
        }
        for (&j, step) in free.iter().zip(step.iter()) {
            let to = if first == Some(j) {
                0.0
            } else {
                at.w[j] + share * step
            };
            let step = to - at.w[j];
            at.w[j] = to;
            for (q, h) in at.q.iter_mut().zip(self.hessian.column(j).iter()) {
                *q += step * h;
            }
        }
        match first {
            None => Jump::Whole,
            Some(_) => Jump::Cut,
        }
    }
}
