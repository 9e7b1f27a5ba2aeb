//! The metric of limited memory: `B = D − Uᵀ M⁻¹ U` (Byrd, Nocedal & Schnabel 1994, theorem 2.3), D a multiple of the Hessian's
//! diagonal H and U the last steps S, as D sees them, above the gradient's changes Y along them:
//!
//! `M = [[S D Sᵀ, L], [Lᵀ, −E]]`, L what S Yᵀ has below its diagonal, E its diagonal.

use std::collections::VecDeque;

use ndarray::{Array2, ArrayView1, s};

use super::slopes;
use crate::ops::vector;

/// Pairs that are remembered.
pub(super) const PAIRS: usize = 10;

/// A pair tells nothing where the gradient changes along it by less than this share of what the diagonal says.
const LEAST_CURVATURE: f64 = 1e-8;

/// D as a multiple of H at least and at most: what one step shows need not hold elsewhere, and a metric that says too little makes
/// steps too long.
const SCALES: (f64, f64) = (1.0, 8.0);

/// A step, and the gradient's change along it.
struct Pair {
    step: Vec<f32>,
    change: Vec<f32>,
}

/// The last steps.
#[derive(Default)]
pub(super) struct Memory {
    pairs: VecDeque<Pair>,
    /// ⟨s, H s'⟩ and ⟨s, y'⟩ of all of them.
    curved: Array2<f64>,
    crossed: Array2<f64>,
    /// D as a multiple of H.
    scale: f64,
}

impl Memory {
    pub(super) fn new() -> Self {
        Self {
            scale: 1.0,
            ..Self::default()
        }
    }

    /// Takes a pair into account, unless it tells nothing.
    pub(super) fn push(&mut self, step: Vec<f32>, change: Vec<f32>, diagonal: &[f32]) {
        let product = vector::dot(&step, &change);
        let curved = weighted(&step, diagonal);
        let size = vector::dot(&curved, &step);
        if product.is_nan() || product <= LEAST_CURVATURE * size {
            return;
        }
        if self.pairs.len() == PAIRS {
            self.pairs.pop_front();
            self.curved = self.curved.slice(s![1.., 1..]).to_owned();
            self.crossed = self.crossed.slice(s![1.., 1..]).to_owned();
        }
        self.pairs.push_back(Pair { step, change });
        let k = self.pairs.len();
        let grown = |all: &Array2<f64>| {
            let mut larger = Array2::zeros((k, k));
            larger.slice_mut(s![..k - 1, ..k - 1]).assign(all);
            larger
        };
        (self.curved, self.crossed) = (grown(&self.curved), grown(&self.crossed));
        let last = &self.pairs[k - 1];
        for (other, pair) in self.pairs.iter().enumerate() {
            let of_last = (&curved[..], &last.step[..], &last.change[..]);
            let [both, to, from] = slopes::products((&pair.step, &pair.change), of_last);
            self.curved[(k - 1, other)] = both;
            self.curved[(other, k - 1)] = both;
            self.crossed[(other, k - 1)] = from;
            self.crossed[(k - 1, other)] = to;
        }
        self.rescale();
    }

    /// D as the last step shows it.
    fn rescale(&mut self) {
        if let Some(last) = self.pairs.len().checked_sub(1) {
            let shown = self.crossed[(last, last)] / self.curved[(last, last)];
            self.scale = shown.clamp(SCALES.0, SCALES.1);
        }
    }

    /// Takes another diagonal.
    pub(super) fn renew(&mut self, diagonal: &[f32]) {
        for (at, pair) in self.pairs.iter().enumerate() {
            let curved = weighted(&pair.step, diagonal);
            for (other, pair) in self.pairs.iter().enumerate() {
                self.curved[(at, other)] = vector::dot(&curved, &pair.step);
            }
        }
        self.rescale();
    }

    /// Remembers nothing of before.
    pub(super) fn forget(&mut self) {
        *self = Self::new();
    }

    /// The metric on some entries, ascending, in the room of another one.
    pub(super) fn metric_in(&self, room: Vec<Lanes>, diagonal: &[f32], set: &[usize]) -> Metric {
        let k = self.pairs.len();
        let scale = self.scale;
        let mut middle = Array2::zeros((2 * k, 2 * k));
        for i in 0..k {
            for j in 0..k {
                middle[(i, j)] = scale * self.curved[(i, j)];
                if i > j {
                    middle[(i, k + j)] = self.crossed[(i, j)];
                    middle[(k + j, i)] = self.crossed[(i, j)];
                }
            }
            middle[(k + i, k + i)] = -self.crossed[(i, i)];
        }
        let mut of_set: Vec<f32> = set.iter().map(|&at| diagonal[at]).collect();
        of_set.iter_mut().for_each(|d| *d *= scale as f32);
        let (inverse, rows) = match inverted(middle) {
            Some(inverse) => (inverse, self.rows(room, &of_set, set)),
            None => (Array2::zeros((0, 0)), room),
        };
        Metric {
            diagonal: of_set,
            rows,
            inverse,
        }
    }

    /// U on some entries, as [`Metric`] has it.
    fn rows(&self, mut rows: Vec<Lanes>, diagonal: &[f32], set: &[usize]) -> Vec<Lanes> {
        rows.clear();
        rows.reserve(2 * self.pairs.len() * set.len().div_ceil(LANES));
        for (set, diagonal) in set.chunks(LANES).zip(diagonal.chunks(LANES)) {
            let d = block(diagonal, 0.0);
            let steps = self.pairs.iter().map(|pair| chosen(&pair.step, set));
            rows.extend(steps.map(|step| -> Lanes { std::array::from_fn(|k| d[k] * step[k]) }));
            rows.extend(self.pairs.iter().map(|pair| chosen(&pair.change, set)));
        }
        rows
    }
}

/// At most a block of values, and what stands behind them.
pub(super) fn block(values: &[f32], behind: f32) -> Lanes {
    let some = || std::array::from_fn(|k| values.get(k).copied().unwrap_or(behind));
    values.first_chunk().copied().unwrap_or_else(some)
}

/// A block of the values at some places, which ascend; zeros behind them.
fn chosen(values: &[f32], set: &[usize]) -> Lanes {
    match set.first_chunk::<LANES>() {
        Some(set) if set[LANES - 1] - set[0] == LANES - 1 => block(&values[set[0]..], 0.0),
        Some(set) => set.map(|at| values[at]),
        None => std::array::from_fn(|k| set.get(k).map_or(0.0, |&at| values[at])),
    }
}

/// Entries times weights.
fn weighted(values: &[f32], weights: &[f32]) -> Vec<f32> {
    values.iter().zip(weights).map(|(v, w)| v * w).collect()
}

/// Entries that are gone through together, in whole vector registers.
pub(super) const LANES: usize = 16;
pub(super) type Lanes = [f32; LANES];

/// The metric on a set of entries.
pub(super) struct Metric {
    /// D.
    pub diagonal: Vec<f32>,
    /// U, block by block of entries, in each row by row: who goes through it once sees all rows of an entry together. Zeros behind
    /// the last entry.
    pub rows: Vec<Lanes>,
    /// M⁻¹.
    inverse: Array2<f64>,
}

impl Metric {
    /// Rows of U.
    pub(super) fn rank(&self) -> usize {
        self.inverse.nrows()
    }

    /// M⁻¹ times what U has of a vector.
    pub(super) fn weighed(&self, products: &[f64]) -> Vec<f64> {
        let weight = |weights: ArrayView1<'_, f64>| -> f64 {
            weights.iter().zip(products).map(|(w, p)| w * p).sum()
        };
        self.inverse.rows().into_iter().map(weight).collect()
    }
}

/// The inverse, by elimination with the largest pivots; `None` where there is none. The rows are brought to one size before.
fn inverted(mut a: Array2<f64>) -> Option<Array2<f64>> {
    let n = a.nrows();
    let mut inverse = Array2::eye(n);
    for (mut row, mut other) in a.rows_mut().into_iter().zip(inverse.rows_mut()) {
        let largest = row.fold(0.0f64, |most, v| most.max(v.abs()));
        row.mapv_inplace(|v| v / largest);
        other.mapv_inplace(|v: f64| v / largest);
    }
    for k in 0..n {
        let size = |row: usize, a: &Array2<f64>| a[(row, k)].abs();
        let pivot = (k..n).max_by(|&i, &j| size(i, &a).total_cmp(&size(j, &a)))?;
        for column in 0..n {
            a.swap((k, column), (pivot, column));
            inverse.swap((k, column), (pivot, column));
        }
        let by = a[(k, k)];
        if by.is_nan() || by.abs() <= 1e-13 {
            return None;
        }
        for row in (0..n).filter(|row| *row != k) {
            let factor = a[(row, k)] / by;
            for column in 0..n {
                a[(row, column)] -= factor * a[(k, column)];
                inverse[(row, column)] -= factor * inverse[(k, column)];
            }
        }
    }
    for (k, mut row) in inverse.rows_mut().into_iter().enumerate() {
        row /= a[(k, k)];
    }
    inverse.iter().all(|v| v.is_finite()).then_some(inverse)
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Memory {
        /// The metric in room of its own.
        pub(in super::super) fn metric(&self, diagonal: &[f32], set: &[usize]) -> Metric {
            self.metric_in(Vec::new(), diagonal, set)
        }
    }

    impl Metric {
        /// B·v into `out`, as a programme's sweeps have it.
        pub(in super::super) fn times(&self, v: &[f32], out: &mut [f32]) {
            super::super::programme::times(self, v, out);
        }
    }

    fn noise(n: usize, seed: usize) -> Vec<f32> {
        (0..n)
            .map(|i| ((i * 37 + seed * 101) as f32 * 0.717).sin())
            .collect()
    }

    /// Of a quadratic the metric maps the last step to the gradient's change, and is D across all steps.
    #[test]
    fn the_metric_keeps_what_the_last_steps_showed() {
        let n = 40;
        let hessian = Array2::from_shape_fn((n, n), |(i, j)| {
            let near = (-((i as f64 - j as f64) / 3.0).powi(2)).exp();
            near + f64::from(u8::from(i == j)) * (1.0 + i as f64 / 20.0)
        });
        let diagonal: Vec<f32> = hessian.diag().iter().map(|v| *v as f32).collect();
        let along = |v: &[f32]| -> Vec<f32> {
            let rows = hessian.rows().into_iter();
            rows.map(|row| {
                row.iter()
                    .zip(v)
                    .map(|(h, v)| h * f64::from(*v))
                    .sum::<f64>() as f32
            })
            .collect()
        };
        let mut memory = Memory::new();
        // More than are remembered, and a diagonal that changes on the way.
        let halves: Vec<f32> = diagonal.iter().map(|d| d / 2.0).collect();
        for seed in 0..PAIRS + 3 {
            let step = noise(n, seed);
            if seed == 5 {
                memory.renew(&diagonal);
            }
            let now = if seed < 5 { &halves } else { &diagonal };
            memory.push(step.clone(), along(&step), now);
        }
        let all: Vec<usize> = (0..n).collect();
        let metric = memory.metric(&diagonal, &all);
        let last = noise(n, PAIRS + 2);
        let mut found = vec![0.0; n];
        metric.times(&last, &mut found);
        for (found, expected) in found.iter().zip(along(&last)) {
            assert!((found - expected).abs() < 2e-3, "{found} {expected}");
        }
        // On a part of the entries it is the part of it.
        let v = noise(n, 77);
        let part: Vec<usize> = (0..n).step_by(3).collect();
        let mut inside = vec![0.0; n];
        part.iter().for_each(|&at| inside[at] = v[at]);
        metric.times(&inside, &mut found);
        let few: Vec<f32> = part.iter().map(|&at| v[at]).collect();
        let mut of_part = vec![0.0; part.len()];
        memory.metric(&diagonal, &part).times(&few, &mut of_part);
        for (&at, of_part) in part.iter().zip(of_part) {
            assert!(
                (found[at] - of_part).abs() < 1e-4,
                "{} {of_part}",
                found[at]
            );
        }
    }

    #[test]
    fn a_step_without_curvature_is_not_remembered() {
        let mut memory = Memory::new();
        memory.push(vec![1.0, 2.0], vec![2.0, -1.0], &[1.0, 1.0]);
        memory.push(vec![1.0, 0.0], vec![f32::NAN, 0.0], &[1.0, 1.0]);
        assert!(memory.pairs.is_empty());
        let mut out = [0.0; 2];
        memory
            .metric(&[3.0, 5.0], &[0, 1])
            .times(&[1.0, 1.0], &mut out);
        assert_eq!(out, [3.0, 5.0]);
    }
}
