//! Optimality: the minimum-norm subgradient, and the softmax's gauge.

use ndarray::Array2;

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
    for ((row, class), g) in g.indexed_iter() {
        worst = worst.max(violation(*g, theta[(row, class)], row, penalty));
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
        if row > 0 && weights.iter().all(|w| *w == 0.0) {
            continue;
        }
        for (s, w) in sorted.iter_mut().zip(&weights) {
            *s = f64::from(*w);
        }
        let shift = if row == 0 {
            sorted.iter().sum::<f64>() / c as f64
        } else {
            sorted.sort_by(f64::total_cmp);
            cheapest_shift(&sorted, penalty.l1_row(row), penalty.mu_row(row))
        };
        if shift != 0.0 {
            for w in &mut weights {
                *w = (f64::from(*w) - shift) as f32;
            }
        }
    }
}

/// argmin over t of Σ l1·|w − t| + mu/2·(w − t)², w ascending; without mu the median nearest 0.
fn cheapest_shift(w: &[f64], l1: f64, mu: f64) -> f64 {
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
