//! The programme of a step: `min ⟨g, u − w⟩ + ½ ‖u − w‖²_B + Σ l1·|u| + ½ μ·u²` on some entries, by accelerated proximal gradient in
//! the metric D with backtracking and restart (Beck & Teboulle 2009; O'Donoghue & Candès 2015), nearly enough for a step.
//!
//! An iteration goes through its memory once. Of B = D − Uᵀ M⁻¹ U a sweep needs M⁻¹·U·(u − w), which the sweep before it has summed; it
//! makes B·(u − w), what is violated there, the next proximal step, and U times that. Whether D majorises B along the step is told by
//! those sums as well: `⟨δ, B δ⟩ = ⟨δ, D δ⟩ − ⟨U δ, M⁻¹ U δ⟩`.

use multiversion::{multiversion, target::target_cfg_f};

use super::memory::{LANES, Lanes, Metric, block};

/// Iterations of one programme.
const MOST: usize = 60;
/// What D is multiplied by to majorise B, where it does not.
const LENGTHEN: f64 = 1.5;
/// From one programme to the next the factor may fall by this.
const SHORTEN: f64 = 0.7;
/// Blocks whose products are added in f32.
const BLOCKS: usize = 16;

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

/// What is given on a block of entries; behind the last one everything stays at zero.
#[derive(Default)]
struct Given {
    d: Lanes,
    g: Lanes,
    w: Lanes,
    l1: Lanes,
    mu: Lanes,
    scale: Lanes,
}

/// The last points there, in turn, and B·(u − w) at the last two.
struct Points {
    u: [Lanes; 3],
    bent: [Lanes; 2],
}

/// How a sweep goes.
struct Sweep<'a> {
    /// Points so far: at which place the last one is.
    turn: usize,
    /// M⁻¹·U·(u − w) there, where B·(u − w) is not known yet.
    weights: Option<&'a [f32]>,
    rank: usize,
    /// How far the step goes on beyond the last point, as a share of the way there, and what D is multiplied by.
    beta: f32,
    factor: f32,
}

/// What a sweep has summed: of the step δ from the point ahead.
struct Sums {
    /// U·δ and ⟨δ, D δ⟩.
    products: Vec<f64>,
    model: f64,
    /// ⟨−δ, D·(way from the last point)⟩.
    uphill: f64,
    /// The largest violation, at the last point, of what holds at the minimum.
    violation: f32,
}

impl Programme {
    /// Where its minimum is, nearly, and how many products with B that took. `factor` times D majorises B: learned from one programme
    /// to the next.
    pub(super) fn solved(&self, factor: &mut f64) -> (Vec<f32>, usize) {
        *factor = (SHORTEN * *factor).max(1.0);
        let rank = self.metric.rank();
        let given = self.given();
        let mut points: Vec<Points> = given.iter().map(|given| Points::at(given.w)).collect();
        let (mut now, mut before) = (vec![0.0; rank], vec![0.0; rank]);
        let (mut momentum, mut products, mut turn) = (1.0f64, 0, 0);
        while turn < MOST {
            let next = f64::midpoint(1.0, (1.0 + 4.0 * momentum * momentum).sqrt());
            let beta = ((momentum - 1.0) / next) as f32;
            momentum = next;
            let weights = self.metric.weighed(&now);
            let weights: Vec<f32> = weights.into_iter().map(|w| w as f32).collect();
            let mut sweep = Sweep {
                turn,
                weights: Some(&weights),
                rank,
                beta,
                factor: *factor as f32,
            };
            let mut sums = sweep.over(&self.metric.rows, &given, &mut points);
            if turn > 0 && sums.violation <= self.tolerance {
                break;
            }
            products += 1;
            while *factor <= 1e6 && !self.is_majorised(&sums, *factor) {
                *factor *= LENGTHEN;
                sweep.factor = *factor as f32;
                sweep.weights = None;
                sums = sweep.over(&self.metric.rows, &given, &mut points);
                products += 1;
            }
            if sums.uphill > 0.0 {
                momentum = 1.0;
            }
            for ((now, before), way) in now.iter_mut().zip(&mut before).zip(&sums.products) {
                let ahead = *now + (*now - *before) * f64::from(beta) + way;
                *before = std::mem::replace(now, ahead);
            }
            turn += 1;
        }
        let u = points.iter().flat_map(|points| points.u[turn % 3]);
        (u.take(self.w.len()).collect(), products)
    }

    /// What is given, in blocks.
    fn given(&self) -> Vec<Given> {
        let blocks = |from: usize| Given {
            d: block(&self.metric.diagonal[from..], 1.0),
            g: block(&self.g[from..], 0.0),
            w: block(&self.w[from..], 0.0),
            l1: block(&self.l1[from..], 0.0),
            mu: block(&self.mu[from..], 0.0),
            scale: block(&self.scale[from..], 1.0),
        };
        (0..self.w.len()).step_by(LANES).map(blocks).collect()
    }

    fn is_majorised(&self, sums: &Sums, factor: f64) -> bool {
        let weights = self.metric.weighed(&sums.products);
        let less: f64 = weights.iter().zip(&sums.products).map(|(w, p)| w * p).sum();
        sums.model - less <= (1.0 + 1e-5) * factor * sums.model
    }
}

impl Points {
    fn at(w: Lanes) -> Self {
        Self {
            u: [w; 3],
            bent: [[0.0; LANES]; 2],
        }
    }
}

impl Sweep<'_> {
    fn over(&self, rows: &[Lanes], given: &[Given], points: &mut [Points]) -> Sums {
        let mut lanes = vec![[0.0f64; LANES]; self.rank + 2];
        let mut violation = [0.0f32; LANES];
        let runs = given.chunks(BLOCKS).zip(points.chunks_mut(BLOCKS));
        for (run, (given, points)) in runs.enumerate() {
            let rows = &rows[run * BLOCKS * self.rank..][..given.len() * self.rank];
            swept(self, rows, (given, points), (&mut lanes, &mut violation));
        }
        let mut sums: Vec<f64> = lanes.iter().map(|lanes| lanes.iter().sum()).collect();
        let uphill = sums.pop().expect("two are not of rows");
        let model = sums.pop().expect("two are not of rows");
        Sums {
            products: sums,
            model,
            uphill,
            violation: violation.into_iter().fold(0.0, f32::max),
        }
    }
}

/// A run of blocks: their points, and what they add to the sums.
#[multiversion(targets("x86_64+avx2+fma"))]
fn swept(
    sweep: &Sweep<'_>,
    rows: &[Lanes],
    (given, points): (&[Given], &mut [Points]),
    (sums, violation): (&mut [[f64; LANES]], &mut Lanes),
) {
    let fused = target_cfg_f!(target_feature = "fma");
    let [now, before, next] = [0, 2, 1].map(|by| (sweep.turn + by) % 3);
    let mut here = [[0.0f32; LANES]; 2 * super::memory::PAIRS + 2];
    let here = &mut here[..sums.len()];
    for (block, (given, points)) in given.iter().zip(points).enumerate() {
        let rows = &rows[block * sweep.rank..][..sweep.rank];
        let u = points.u[now];
        if let Some(weights) = sweep.weights {
            points.bent[sweep.turn % 2] = bent(given, &u, (rows, weights), fused);
        }
        let (bent, bent_before) = (points.bent[sweep.turn % 2], points.bent[1 - sweep.turn % 2]);
        let u_before = points.u[before];
        let mut step = [0.0; LANES];
        let [mut model, mut uphill] = [[0.0; LANES]; 2];
        for k in 0..LANES {
            let (d, g, l1, mu) = (given.d[k], given.g[k], given.l1[k], given.mu[k]);
            let q = g + bent[k] + mu * u[k];
            let at_zero = (q.abs() - l1).max(0.0);
            let beside = (q + l1.copysign(u[k])).abs();
            let v = if u[k] == 0.0 { at_zero } else { beside } / given.scale[k];
            violation[k] = violation[k].max(v);
            let ahead = u[k] + (u[k] - u_before[k]) * sweep.beta;
            let bent_ahead = bent[k] + (bent[k] - bent_before[k]) * sweep.beta;
            let curvature = sweep.factor * d;
            let v = curvature * ahead - (g + bent_ahead);
            let to = (v.abs() - l1).max(0.0).copysign(v) / (curvature + mu);
            points.u[next][k] = to;
            step[k] = to - ahead;
            model[k] = d * step[k] * step[k];
            uphill[k] = -d * step[k] * (to - u[k]);
        }
        let (of_rows, others) = here.split_at_mut(sweep.rank);
        for (sum, row) in of_rows.iter_mut().zip(rows) {
            for k in 0..LANES {
                sum[k] = multiplied(row[k], step[k], sum[k], fused);
            }
        }
        for (sum, terms) in others.iter_mut().zip([model, uphill]) {
            for k in 0..LANES {
                sum[k] += terms[k];
            }
        }
    }
    for (all, here) in sums.iter_mut().zip(here) {
        for k in 0..LANES {
            all[k] += f64::from(here[k]);
        }
    }
}

/// B·(u − w) on a block.
#[inline(always)]
fn bent(given: &Given, u: &Lanes, (rows, weights): (&[Lanes], &[f32]), fused: bool) -> Lanes {
    let mut bent = [0.0; LANES];
    for k in 0..LANES {
        bent[k] = given.d[k] * (u[k] - given.w[k]);
    }
    // Steps and changes apart: neither waits for the other.
    let mut others = [0.0; LANES];
    let half = rows.len() / 2;
    let pairs = rows[..half].iter().zip(&rows[half..]);
    for ((step, change), (a, b)) in pairs.zip(weights[..half].iter().zip(&weights[half..])) {
        for k in 0..LANES {
            bent[k] = multiplied(-a, step[k], bent[k], fused);
            others[k] = multiplied(-b, change[k], others[k], fused);
        }
    }
    std::array::from_fn(|k| bent[k] + others[k])
}

/// a·b + c, rounded once where the processor does so.
#[inline(always)]
fn multiplied(a: f32, b: f32, c: f32, fused: bool) -> f32 {
    if fused { a.mul_add(b, c) } else { a * b + c }
}

/// B·v into `out`, as sweeps have it.
#[cfg(test)]
pub(super) fn times(metric: &Metric, v: &[f32], out: &mut [f32]) {
    let (n, rank) = (v.len(), metric.rank());
    let part = |values: &[f32], from: usize| block(&values[from..], 0.0);
    let blocks = || (0..n).step_by(LANES).enumerate();
    let mut products = vec![0.0; rank];
    for (block, from) in blocks() {
        for (sum, row) in products.iter_mut().zip(&metric.rows[block * rank..]) {
            let terms = row.iter().zip(part(v, from));
            *sum += terms
                .map(|(a, b)| f64::from(*a) * f64::from(b))
                .sum::<f64>();
        }
    }
    let weights: Vec<f32> = metric
        .weighed(&products)
        .into_iter()
        .map(|w| w as f32)
        .collect();
    for (block, from) in blocks() {
        let given = Given {
            d: part(&metric.diagonal, from),
            ..Given::default()
        };
        let rows = &metric.rows[block * rank..][..rank];
        let bent = bent(&given, &part(v, from), (rows, &weights), false);
        let to = &mut out[from..n.min(from + LANES)];
        to.copy_from_slice(&bent[..to.len()]);
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
