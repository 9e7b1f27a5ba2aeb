//! Optimality: the minimum-norm subgradient, and the softmax's gauge.

use multiversion::multiversion;
use ndarray::{Array2, ArrayView1};

use super::targets::Penalty;

/// The minimum-norm subgradient of one coordinate on the scale that its penalty acts on; 0 at the optimum.
pub(super) fn violation(g: f64, w: f32, row: usize, penalty: &Penalty) -> f64 {
    if row == 0 {
        return g.abs();
    }
    let (l1, w) = (penalty.l1_row(row), f64::from(w));
    let q = g + penalty.mu_row(row) * w;
    let v = if w == 0.0 {
        (q.abs() - l1).max(0.0)
    } else {
        (q + l1 * w.signum()).abs()
    };
    v / penalty.rows[row]
}

/// ∞-norm of the minimum-norm subgradient. A norm that is not squared must touch at these very weights
/// ([`Penalty::touch`]).
pub(super) fn kkt(g: &Array2<f64>, theta: &Array2<f32>, penalty: &Penalty) -> f64 {
    let mut worst = 0.0f64;
    for (row, (g, weights)) in g.rows().into_iter().zip(theta.rows()).enumerate() {
        let of_row = match (g.to_slice(), weights.to_slice()) {
            (Some(g), Some(weights)) if row > 0 => {
                let penalties = (penalty.l1_row(row), penalty.mu_row(row));
                largest_violation(g, weights, penalties) / penalty.rows[row]
            }
            _ => {
                let each = g.iter().zip(weights);
                each.fold(0.0, |most, (g, w)| {
                    violation(*g, *w, row, penalty).max(most)
                })
            }
        };
        worst = worst.max(of_row);
    }
    match penalty.norm {
        // Where all weights vanish the norm's subgradients are a ball of radius λ2.
        Some(l2) if theta.iter().skip(theta.ncols()).all(|w| *w == 0.0) => {
            let length = excess(g, penalty);
            let intercept = g.row(0).iter().fold(0.0f64, |a, g| a.max(g.abs()));
            intercept.max(worst * (1.0 - l2 / length.max(l2)))
        }
        _ => worst,
    }
}

/// The largest violation of a neuron's row, on the scale of the coefficients.
#[multiversion(targets("x86_64+avx2+fma"))]
fn largest_violation(g: &[f64], weights: &[f32], (l1, mu): (f64, f64)) -> f64 {
    const LANES: usize = 8;
    let of = |g: f64, w: f32| {
        let w = f64::from(w);
        let q = g + mu * w;
        let (at_zero, beside) = ((q.abs() - l1).max(0.0), (q + l1.copysign(w)).abs());
        if w == 0.0 { at_zero } else { beside }
    };
    let ((wide, rest), (weights, others)) = (g.as_chunks::<LANES>(), weights.as_chunks::<LANES>());
    let mut worst = [0.0f64; LANES];
    for (g, w) in wide.iter().zip(weights) {
        for lane in 0..LANES {
            worst[lane] = worst[lane].max(of(g[lane], w[lane]));
        }
    }
    let rest = rest.iter().zip(others).map(|(g, w)| of(*g, *w));
    worst.into_iter().chain(rest).fold(0.0, f64::max)
}

/// ‖(|g/s| − λ1)₊‖_F: what the norm's λ2 must hold.
pub(super) fn excess(g: &Array2<f64>, penalty: &Penalty) -> f64 {
    let entries = g.indexed_iter().filter(|((row, _), _)| *row > 0);
    entries
        .map(|((row, _), g)| (g.abs() / penalty.rows[row] - penalty.l1).max(0.0).powi(2))
        .sum::<f64>()
        .sqrt()
}

/// Moves every row of a softmax's coefficients along the direction that it does not see (the same amount for all classes)
/// to where the penalty is smallest, and centres the intercepts.
pub(super) fn recentre(theta: &mut Array2<f32>, penalty: &Penalty) {
    let c = theta.ncols();
    if c == 1 {
        return; // one column is seen whole
    }
    let mut sorted = vec![0.0f64; c];
    for (row, mut weights) in theta.rows_mut().into_iter().enumerate() {
        let penalties = (penalty.l1_row(row), penalty.mu_row(row));
        if row > 0 && is_centred(weights.view(), penalties) {
            continue;
        }
        for (s, w) in sorted.iter_mut().zip(&weights) {
            *s = f64::from(*w);
        }
        let shift = if row == 0 {
            sorted.iter().sum::<f64>() / c as f64
        } else {
            sorted.sort_unstable_by(f64::total_cmp);
            cheapest_shift(&sorted, penalties)
        };
        if shift != 0.0 {
            for w in &mut weights {
                *w = (f64::from(*w) - shift) as f32;
            }
        }
    }
}

/// Whether no shift makes the penalty of a row smaller: at t = 0 the derivative's jump, which the weights that are zero make, spans 0.
/// Without mu that is where the median is.
fn is_centred(weights: ArrayView1<'_, f32>, (l1, mu): (f64, f64)) -> bool {
    let l1 = if mu == 0.0 { 1.0 } else { l1 };
    let (mut sum, mut above, mut below) = (0.0, 0usize, 0usize);
    for &w in weights {
        sum += f64::from(w);
        above += usize::from(w > 0.0);
        below += usize::from(w < 0.0);
    }
    let zeros = (weights.len() - above - below) as f64;
    (l1 * (above as f64 - below as f64) + mu * sum).abs() <= l1 * zeros && zeros > 0.0
}

/// argmin over t of Σ l1·|w − t| + mu/2·(w − t)², w ascending; without mu the median nearest 0.
fn cheapest_shift(w: &[f64], (l1, mu): (f64, f64)) -> f64 {
    let c = w.len();
    if mu == 0.0 {
        let (low, high) = (w[(c - 1) / 2], w[c / 2]);
        return if low <= 0.0 && 0.0 <= high {
            0.0
        } else if low.abs() < high.abs() {
            low
        } else {
            high
        };
    }
    let mean = w.iter().sum::<f64>() / c as f64;
    for k in 0..=c {
        // Between w[k-1] and w[k], k of the w are below t: the derivative is linear there.
        let t = mean - l1 * (2.0 * k as f64 - c as f64) / (mu * c as f64);
        let low = if k == 0 { f64::NEG_INFINITY } else { w[k - 1] };
        let high = if k == c { f64::INFINITY } else { w[k] };
        if t <= low {
            return low;
        }
        if t <= high {
            return t;
        }
    }
    w[c - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Many zeros, ties, and rows without any.
    fn coefficients(rows: usize, columns: usize) -> Array2<f32> {
        Array2::from_shape_fn((rows, columns), |(row, column)| {
            let noise = ((row * 37 + column * 101) as f32 * 0.717).sin();
            match row % 4 {
                0 => noise,
                1 => (4.0 * noise).round() / 4.0,
                2 => (2.0 * noise).trunc(),
                _ => 0.0,
            }
        })
    }

    fn penalties(rows: usize) -> [Penalty; 4] {
        [(0.1, 0.0), (0.1, 0.05), (0.0, 0.05), (0.4, 0.01)].map(|(l1, mu)| Penalty {
            l1,
            mu,
            norm: None,
            rows: (0..rows).map(|row| 0.25 * row as f64).collect(),
        })
    }

    #[test]
    fn the_residual_is_the_largest_violation_of_any_entry() {
        let theta = coefficients(30, 19);
        let g = theta.mapv(|w| f64::from(w) * 0.3 - 0.07);
        for penalty in penalties(30) {
            let each = g
                .indexed_iter()
                .map(|((row, column), g)| violation(*g, theta[(row, column)], row, &penalty));
            assert_eq!(kkt(&g, &theta, &penalty), each.fold(0.0, f64::max));
        }
    }

    #[test]
    fn a_row_that_is_said_to_be_centred_is_not_to_be_shifted() {
        let mut centred = 0;
        for penalty in penalties(80) {
            for (row, weights) in coefficients(80, 9).rows().into_iter().enumerate().skip(1) {
                let penalties = (penalty.l1_row(row), penalty.mu_row(row));
                let mut sorted: Vec<f64> = weights.iter().map(|w| f64::from(*w)).collect();
                sorted.sort_unstable_by(f64::total_cmp);
                let shift = cheapest_shift(&sorted, penalties);
                if is_centred(weights, penalties) {
                    centred += usize::from(weights.iter().any(|w| *w != 0.0));
                    assert!(shift.abs() < 1e-12, "{row}: {shift}");
                } else {
                    assert!(shift != 0.0 || !sorted.contains(&0.0), "{row}");
                }
            }
        }
        assert!(centred > 40, "{centred}");
    }
}
