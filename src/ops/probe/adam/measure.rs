//! How far from the optimum a training stopped, in f64.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView1, ArrayView2, ArrayViewMut2, Axis, s};

use super::super::targets::{Loss, Penalty, Targets};
use super::super::{Certificate, Norm, Problem as Exact, Response, dual, kkt};
use super::Problem;
use super::lockstep::Columns;
use super::model::Model;

/// Samples whose activations are widened together.
const SAMPLES: usize = 512;
/// What the certificate costs: a forward product and three backward ones.
const CERTIFICATE_PASSES: f64 = 2.0;

/// X·W + b, N × C, for weights d × C of the neurons that are seen.
pub(super) fn predictions(
    x: ArrayView2<'_, f32>,
    seen: &Columns,
    weights: ArrayView2<'_, f32>,
    bias: ArrayView1<'_, f32>,
) -> Array2<f64> {
    let (weights, bias) = (weights.mapv(f64::from), bias.mapv(f64::from));
    let mut z = Array2::zeros((x.nrows(), bias.len()));
    for from in (0..x.nrows()).step_by(SAMPLES) {
        let rows = from..(from + SAMPLES).min(x.nrows());
        let block = seen.block(x, rows.clone()).mapv(f64::from);
        let mut out: ArrayViewMut2<'_, f64> = z.slice_mut(s![rows, ..]);
        general_mat_mul(1.0, &block, &weights, 0.0, &mut out);
        out += &bias;
    }
    z
}

/// Mean cross-entropy, or mean squared error.
pub(super) fn loss(z: &Array2<f64>, response: Response<'_>) -> f64 {
    let rows = z.rows().into_iter().enumerate();
    let sum: f64 = match response {
        Response::Classes(labels) => rows
            .map(|(i, row)| {
                let max = row.fold(f64::NEG_INFINITY, |a, b| a.max(*b));
                let total: f64 = row.iter().map(|z| (z - max).exp()).sum();
                total.ln() + max - row[labels.ids()[i] as usize]
            })
            .sum(),
        Response::Values(values) => rows
            .map(|(i, row)| (row[0] - f64::from(values[i])).powi(2))
            .sum(),
    };
    sum / z.nrows() as f64
}

/// λ1·‖W‖₁ + λ2·‖W‖_F.
pub(super) fn penalty<'a>(weights: impl Iterator<Item = &'a f32>, l1: f64, l2: f64) -> f64 {
    let (mut one, mut two) = (0.0, 0.0);
    for w in weights {
        one += f64::from(*w).abs();
        two += f64::from(*w).powi(2);
    }
    l1 * one + l2 * two.sqrt()
}

/// Objective and certificate of a trained problem. The exact solvers' loss for values is half of NeuroX's: their problem
/// with half the penalties has half the objective, residual and gap.
pub(super) fn certificate(
    x: ArrayView2<'_, f32>,
    seen: &Columns,
    model: &Model,
    problem: &Problem<'_>,
    epochs: usize,
) -> (f64, Certificate) {
    let half = match problem.response {
        Response::Classes(_) => 1.0,
        Response::Values(_) => 0.5,
    };
    let exact = Exact {
        norm: Norm::Frobenius,
        ..Exact::of(problem.response, half * problem.l1, half * problem.l2)
    };
    let targets = Targets::new(&exact, x.nrows());
    let (weights, bias) = model.parameters();
    let z = predictions(x, seen, weights.view(), ArrayView1::from(bias));
    let c = bias.len();
    let mut theta = Array2::zeros((weights.nrows() + 1, c));
    theta.row_mut(0).assign(&ArrayView1::from(bias));
    theta.slice_mut(s![1.., ..]).assign(&weights);
    let rows = std::iter::once(0.0).chain(vec![1.0; weights.nrows()]);
    let mut penalty = Penalty::new(&exact, rows.collect());
    penalty.touch(&theta);
    let points = residuals(&z, &targets);
    let objective = points.loss + penalty.value(&theta);
    let parts = [&points.residual, &points.dual, &points.empty];
    let [gradient, dual_gradient, empty] = backward(x, seen, parts);
    let v = dual_gradient.mapv(|g| -g);
    let (bound, _) = dual::value(&points.dual, &v, 0.0, &penalty, &targets);
    let gap = objective - bound;
    let kkt = kkt::kkt(&gradient, &theta, &penalty);
    let largest = empty.slice(s![1.., ..]).fold(0.0f64, |a, g| a.max(g.abs()));
    let certificate = Certificate {
        kkt: kkt / half,
        kkt_relative: kkt / largest.max(penalty.l1),
        duality_gap: gap / half,
        relative_gap: gap / objective.max(f64::MIN_POSITIVE),
        passes: epochs as f64,
        work: epochs as f64 + CERTIFICATE_PASSES,
        depth: model.steps(),
        converged: false,
        certified_zeros: 0,
        certified_nonzeros: 0,
    };
    (objective / half, certificate)
}

/// Derivatives of the loss with respect to the predictions, N × C: at the probe, at a dual feasible point near it, and
/// at the model without weights.
struct Points {
    loss: f64,
    residual: Array2<f64>,
    dual: Array2<f64>,
    empty: Array2<f64>,
}

fn residuals(z: &Array2<f64>, targets: &Targets) -> Points {
    let n = z.nrows() as f64;
    if targets.loss == Loss::Squared {
        let values = |(i, _): (usize, usize)| f64::from(targets.values[i]);
        let residual = Array2::from_shape_fn(z.dim(), |at| (z[at] - values(at)) / n);
        let mean = targets.mean_value();
        return Points {
            loss: 0.5 * n * residual.iter().map(|r| r * r).sum::<f64>(),
            dual: dual::centred(&residual, targets),
            residual,
            empty: Array2::from_shape_fn(z.dim(), |at| (mean - values(at)) / n),
        };
    }
    let less_labels = |mut p: Array2<f64>| {
        for (mut row, own) in p.rows_mut().into_iter().zip(&targets.y) {
            row[*own as usize] -= 1.0;
        }
        p / n
    };
    let mut p = z.clone();
    let mut loss = 0.0;
    for (mut row, own) in p.rows_mut().into_iter().zip(&targets.y) {
        let max = row.fold(f64::NEG_INFINITY, |a, b| a.max(*b));
        let own = row[*own as usize];
        row.mapv_inplace(|z| (z - max).exp());
        let total = row.sum();
        row /= total;
        loss += (total.ln() + max - own) / n;
    }
    let feasible = dual::intercepts::feasible(z, targets);
    let shares = Array2::from_shape_fn(z.dim(), |(_, c)| targets.share[c]);
    Points {
        loss,
        residual: less_labels(p),
        dual: less_labels(feasible),
        empty: less_labels(shares),
    }
}

/// XᵀR of each, (d + 1) × C with the column sums of R first.
fn backward<const PARTS: usize>(
    x: ArrayView2<'_, f32>,
    seen: &Columns,
    parts: [&Array2<f64>; PARTS],
) -> [Array2<f64>; PARTS] {
    let c = parts[0].ncols();
    let joined = ndarray::concatenate(Axis(1), &parts.map(|p| p.view())).expect("N rows each");
    let mut g = Array2::zeros((seen.width() + 1, joined.ncols()));
    g.row_mut(0).assign(&joined.sum_axis(Axis(0)));
    for from in (0..x.nrows()).step_by(SAMPLES) {
        let rows = from..(from + SAMPLES).min(x.nrows());
        let block = seen.block(x, rows.clone()).mapv(f64::from);
        let mut sum = g.slice_mut(s![1.., ..]);
        general_mat_mul(1.0, &block.t(), &joined.slice(s![rows, ..]), 1.0, &mut sum);
    }
    std::array::from_fn(|part| g.slice(s![.., part * c..(part + 1) * c]).to_owned())
}
