//! The programme of a step: `min ⟨g, u − w⟩ + ½ ‖u − w‖²_B + Σ l1·|u| + ½ μ·u²` on some entries, by accelerated proximal gradient in
//! the metric D with backtracking and restart (Beck & Teboulle 2009; O'Donoghue & Candès 2015), nearly enough for a step.

use super::memory::Metric;

/// Iterations of one programme.
const MOST: usize = 60;
/// What D is multiplied by to majorise B, where it does not.
const LENGTHEN: f64 = 1.5;
/// From one programme to the next the factor may fall by this.
const SHORTEN: f64 = 0.7;

/// What is given on the entries.
pub(super) struct Programme {
    pub metric: Metric,
    pub g: Vec<f32>,
    pub w: Vec<f32>,
    pub l1: Vec<f32>,
    pub mu: Vec<f32>,
    /// What violations are divided by.
    pub scale: Vec<f32>,
    /// The largest violation that is near enough.
    pub tolerance: f32,
}

/// A point, and B·(u − w) there.
struct Point {
    u: Vec<f32>,
    bent: Vec<f32>,
}

impl Programme {
    /// Where its minimum is, nearly, and how many products with B that took. `factor` times D majorises B: learned from one programme
    /// to the next.
    pub(super) fn solved(&self, factor: &mut f64) -> (Vec<f32>, usize) {
        let n = self.w.len();
        *factor = (SHORTEN * *factor).max(1.0);
        let start = || Point {
            u: self.w.clone(),
            bent: vec![0.0; n],
        };
        let (mut now, mut before) = (start(), start());
        let mut momentum = 1.0f64;
        let mut products = 0;
        for _ in 0..MOST {
            let next = f64::midpoint(1.0, (1.0 + 4.0 * momentum * momentum).sqrt());
            let beta = ((momentum - 1.0) / next) as f32;
            momentum = next;
            let ahead = |now: &[f32], before: &[f32]| -> Vec<f32> {
                now.iter()
                    .zip(before)
                    .map(|(a, b)| a + (a - b) * beta)
                    .collect()
            };
            let from = Point {
                u: ahead(&now.u, &before.u),
                bent: ahead(&now.bent, &before.bent),
            };
            let to = loop {
                let trial = self.trial(&from, *factor as f32);
                products += 1;
                if *factor > 1e6 || self.is_majorised(&from, &trial, *factor) {
                    break trial;
                }
                *factor *= LENGTHEN;
            };
            if self.points_uphill(&from, &now, &to) {
                momentum = 1.0;
            }
            before = std::mem::replace(&mut now, to);
            if self.violation(&now) <= self.tolerance {
                break;
            }
        }
        (now.u, products)
    }

    /// The proximal step, and B there.
    fn trial(&self, from: &Point, factor: f32) -> Point {
        let n = self.w.len();
        let mut u = vec![0.0; n];
        let mut way = vec![0.0; n];
        for at in 0..n {
            let curvature = factor * self.metric.diagonal[at];
            let v = from.u[at] - (self.g[at] + from.bent[at]) / curvature;
            let shrunk = (v.abs() - self.l1[at] / curvature).max(0.0);
            u[at] = shrunk.copysign(v) / (1.0 + self.mu[at] / curvature);
            way[at] = u[at] - self.w[at];
        }
        let mut bent = vec![0.0; n];
        self.metric.times(&way, &mut bent);
        Point { u, bent }
    }

    fn is_majorised(&self, from: &Point, to: &Point, factor: f64) -> bool {
        let (mut curved, mut model) = (0.0, 0.0);
        for at in 0..self.w.len() {
            let way = f64::from(to.u[at] - from.u[at]);
            curved += way * f64::from(to.bent[at] - from.bent[at]);
            model += way * way * f64::from(self.metric.diagonal[at]);
        }
        curved <= (1.0 + 1e-5) * factor * model
    }

    fn points_uphill(&self, from: &Point, now: &Point, to: &Point) -> bool {
        let each = (0..self.w.len()).map(|at| {
            let (back, way) = (from.u[at] - to.u[at], to.u[at] - now.u[at]);
            f64::from(self.metric.diagonal[at] * back * way)
        });
        each.sum::<f64>() > 0.0
    }

    /// The largest violation of what holds at the minimum.
    fn violation(&self, at: &Point) -> f32 {
        (0..self.w.len()).fold(0.0f32, |worst, k| {
            let (u, l1) = (at.u[k], self.l1[k]);
            let q = self.g[k] + at.bent[k] + self.mu[k] * u;
            let v = if u == 0.0 {
                (q.abs() - l1).max(0.0)
            } else {
                (q + l1.copysign(u)).abs()
            };
            worst.max(v / self.scale[k])
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory::Memory;
    use super::*;

    fn noise(n: usize, seed: usize) -> Vec<f32> {
        let value = |i: usize| ((i * 37 + seed * 101) as f32 * 0.717).sin();
        (0..n).map(value).collect()
    }

    /// Some entries end at zero, and the metric is far from its diagonal.
    fn programme(pairs: usize) -> Programme {
        let n = 50;
        let diagonal: Vec<f32> = noise(n, 1).iter().map(|v| 1.5 + v).collect();
        let mut memory = Memory::new();
        for seed in 0..pairs {
            let step = noise(n, 10 + seed);
            // Of a Hessian that couples every entry with the next one, and much along one direction.
            let along: f32 = step.iter().sum();
            let change =
                (0..n).map(|i| diagonal[i] * step[i] + 0.4 * step[(i + 1) % n] + 0.3 * along);
            memory.push(step.clone(), change.collect(), &diagonal);
        }
        let all: Vec<usize> = (0..n).collect();
        Programme {
            metric: memory.metric(&diagonal, &all),
            g: noise(n, 2),
            w: noise(n, 3)
                .iter()
                .map(|v| if *v > 0.3 { *v } else { 0.0 })
                .collect(),
            l1: (0..n).map(|i| if i == 0 { 0.0 } else { 0.4 }).collect(),
            mu: vec![0.1; n],
            scale: vec![1.0; n],
            tolerance: 1e-4,
        }
    }

    fn value(of: &Programme, u: &[f32]) -> f64 {
        let way: Vec<f32> = u.iter().zip(&of.w).map(|(u, w)| u - w).collect();
        let mut bent = vec![0.0; way.len()];
        of.metric.times(&way, &mut bent);
        let each = (0..way.len()).map(|k| {
            let smooth = of.g[k] * way[k] + 0.5 * way[k] * bent[k];
            f64::from(smooth + of.l1[k] * u[k].abs() + 0.5 * of.mu[k] * u[k] * u[k])
        });
        each.sum()
    }

    #[test]
    fn no_point_nearby_is_better_than_a_solution() {
        for pairs in [0, 1, 7, 15] {
            let programme = programme(pairs);
            let (u, products) = programme.solved(&mut 1.0);
            assert!(products > 0 && u.contains(&0.0), "{pairs}");
            let least = value(&programme, &u);
            assert!(least < value(&programme, &programme.w) - 1e-2);
            for seed in 0..20 {
                for size in [0.3, 0.03] {
                    let other: Vec<f32> = u
                        .iter()
                        .zip(noise(u.len(), 50 + seed))
                        .map(|(u, v)| u + size * v)
                        .collect();
                    assert!(value(&programme, &other) > least - 1e-5, "{pairs} {seed}");
                }
            }
        }
    }
}
