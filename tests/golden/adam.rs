//! NeuroX's own training, from the initial values that NeuroX drew (`fixtures/generate_adam.py`).

use ndarray::{Array1, Array2, ArrayView2, Axis, s};
use neurosieve::Backend;
use neurosieve::labels::Labels;
use neurosieve::ops::moments::moments;
use neurosieve::ops::probe::adam::{self, Params, Problem, Start, Trained};
use neurosieve::ops::probe::{Neurons, Response};
use serde::Deserialize;

use super::{fixture, json, tensor};

/// The largest difference from NeuroX's weights, as a multiple of what rounding alone makes of the same training in
/// PyTorch (f32 against f64, at most 4e-7): two f32 trainings are each that far from the exact one.
const ROUNDINGS: f64 = 3.0;

#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    task: String,
    from: usize,
    to: usize,
    l1: f64,
    l2: f64,
    batch: usize,
    learning_rate: f64,
    epochs: usize,
    values: Vec<f32>,
    rounding: Rounding,
}

#[derive(Deserialize)]
struct Rounding {
    step: f64,
    epoch: f64,
    end: f64,
}

fn cases() -> Vec<Case> {
    json::<Golden>("adam.json").cases
}

fn narrow(name: &str) -> Array2<f32> {
    tensor("adam.safetensors", name).mapv(|v| v as f32)
}

impl Case {
    fn labels(&self) -> &'static Labels {
        let task = usize::from(self.task == "labels.coarse");
        &fixture().train().labels[task]
    }

    fn response(&self) -> Response<'_> {
        if self.values.is_empty() {
            Response::Classes(self.labels())
        } else {
            Response::Values(&self.values)
        }
    }

    fn params(&self, stage: &str) -> Params {
        let samples = fixture().train().activations.view().nrows();
        Params {
            epochs: if stage == "end" { self.epochs } else { 1 },
            batch: if stage == "step" { samples } else { self.batch },
            learning_rate: self.learning_rate,
        }
    }

    /// Weights and bias at a stage, as NeuroX has them.
    fn expected(&self, stage: &str) -> (Array2<f32>, Array1<f32>) {
        let weights = narrow(&format!("{}.{stage}.weights", self.name));
        let bias = narrow(&format!("{}.{stage}.bias", self.name));
        (weights, bias.row(0).to_owned())
    }

    fn train(&self, stage: &str, neurons: Neurons<'_>) -> Trained {
        let (weights, bias) = self.expected("start");
        let start = Start::Given {
            weights: weights.view(),
            bias: bias.view(),
        };
        let problem = Problem {
            response: self.response(),
            neurons,
            l1: self.l1,
            l2: self.l2,
            start,
        };
        let x = fixture().train().activations.view();
        adam::train(x, &[problem], &self.params(stage), &mut |_| {})
            .expect("it trains")
            .remove(0)
    }

    fn stages(&self) -> [(&'static str, f64); 3] {
        let rounding = &self.rounding;
        [
            ("step", rounding.step),
            ("epoch", rounding.epoch),
            ("end", rounding.end),
        ]
    }

    fn range(&self) -> Neurons<'static> {
        Neurons::Range {
            from: self.from,
            to: self.to,
        }
    }

    /// The largest difference of weights or biases from NeuroX's.
    fn difference(&self, stage: &str, trained: &Trained) -> f64 {
        let (weights, bias) = self.expected(stage);
        let seen = trained.weights.slice(s![.., self.from..self.to]);
        let far = |a: &f32, b: &f32| (f64::from(*a) - f64::from(*b)).abs();
        let pairs = seen
            .iter()
            .zip(&weights)
            .chain(trained.bias.iter().zip(&bias));
        pairs.map(|(a, b)| far(a, b)).fold(0.0, f64::max)
    }
}

#[test]
fn the_training_is_neuroxs() {
    for case in cases() {
        for (stage, rounding) in case.stages() {
            let difference = case.difference(stage, &case.train(stage, case.range()));
            assert!(
                difference <= ROUNDINGS * rounding,
                "{} after one {stage}: {difference:e}, allowed {:e}",
                case.name,
                ROUNDINGS * rounding
            );
        }
    }
}

/// Classes, neurons and samples of a batch on either side of what kernels do at once, against a training in f64 that adds one
/// term after the other.
#[test]
fn every_width_trains_alike() {
    let samples = 150;
    for classes in [2, 8, 9, 17, 33, 64, 65, 130] {
        for (neurons, batch) in [(1, 40), (3, 49), (9, 70), (33, 150)] {
            let x = Array2::from_shape_fn((samples, neurons), |(i, j)| {
                (((7 * i + 5 * j) % 13) as f32 - 6.0) / 4.0
            });
            let of = |i: usize| 7 * i % classes;
            let names = (0..classes).map(|class| class.to_string()).collect();
            let ids = (0..samples).map(|i| of(i) as u32).collect();
            let labels = Labels::new(ids, names).expect("they are labels");
            let weights = Array2::from_shape_fn((classes, neurons), |(c, j)| {
                ((c + 2 * j) % 5) as f32 / 10.0 - 0.17
            });
            let bias = Array1::from_shape_fn(classes, |c| (c % 3) as f32 / 10.0);
            let problem = Problem {
                response: Response::Classes(&labels),
                neurons: Neurons::All,
                l1: 1e-3,
                l2: 1e-3,
                start: Start::Given {
                    weights: weights.view(),
                    bias: bias.view(),
                },
            };
            let params = Params {
                epochs: 1,
                batch,
                ..Params::default()
            };
            let trained = adam::train(x.view(), &[problem], &params, &mut |_| {}).unwrap();
            let (w, b) = plain(&x, &labels, (&weights, &bias), batch);
            for (class, weights) in trained[0].weights.outer_iter().enumerate() {
                if labels.present().binary_search(&(class as u32)).is_err() {
                    continue; // left out, as in every fit
                }
                let pairs = weights.into_iter().zip(w.row(class));
                let pairs = pairs.chain([(&trained[0].bias[class], &b[class])]);
                for (ours, exact) in pairs {
                    let off = (f64::from(*ours) - exact).abs();
                    assert!(off < 2e-6, "{classes} classes, {neurons} neurons: {off:e}");
                }
            }
        }
    }
}

/// One epoch with both penalties 1e-3, in f64, of the classes that occur.
fn plain(
    x: &Array2<f32>,
    labels: &Labels,
    start: (&Array2<f32>, &Array1<f32>),
    batch: usize,
) -> (Array2<f64>, Array1<f64>) {
    let present: Vec<usize> = labels.present().iter().map(|&c| c as usize).collect();
    let (mut w, mut b) = (start.0.mapv(f64::from), start.1.mapv(f64::from));
    let mut moments = vec![[0.0; 2]; w.len() + b.len()];
    let d = x.ncols();
    for (step, from) in (0..x.nrows()).step_by(batch).enumerate() {
        let rows = from..(from + batch).min(x.nrows());
        let norm = present.iter().map(|&c| w.row(c).mapv(|v| v * v).sum());
        let norm = norm.sum::<f64>().sqrt();
        let mut g = vec![0.0; moments.len()];
        for i in rows.clone() {
            let logit = |c: usize| {
                let terms = x.row(i).into_iter().zip(w.row(c));
                (b[c] + terms.map(|(x, w)| f64::from(*x) * w).sum::<f64>()).exp()
            };
            let total: f64 = present.iter().map(|&c| logit(c)).sum();
            for &c in &present {
                let own = f64::from(u8::from(labels.ids()[i] as usize == c));
                let r = (logit(c) / total - own) / rows.len() as f64;
                for j in 0..d {
                    g[c * d + j] += r * f64::from(x[(i, j)]);
                }
                g[w.len() + c] += r;
            }
        }
        let t = (step + 1) as i32;
        for &c in &present {
            for j in 0..=d {
                let at = if j < d { c * d + j } else { w.len() + c };
                let v = if j < d { w[(c, j)] } else { b[c] };
                let sign = if v == 0.0 { 0.0 } else { v.signum() };
                let pull = if j < d { 1e-3 * (sign + v / norm) } else { 0.0 };
                let [first, second] = &mut moments[at];
                *first = 0.9 * *first + 0.1 * (g[at] + pull);
                *second = 0.999 * *second + 0.001 * (g[at] + pull).powi(2);
                let size = (*second / (1.0 - 0.999f64.powi(t))).sqrt() + 1e-8;
                let moved = v - 1e-3 * *first / (1.0 - 0.9f64.powi(t)) / size;
                if j < d {
                    w[(c, j)] = moved;
                } else {
                    b[c] = moved;
                }
            }
        }
    }
    (w, b)
}

/// What NeuroX's training is not.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Mistake {
    None,
    SquaredNorm,
    NoBiasCorrection,
    LastBatchDropped,
    PenaltyOnBias,
    HalfSquares,
}

/// The same training once more, in f64 and as plainly as it can be written, with a mistake or without.
fn naive(case: &Case, stage: &str, mistake: Mistake) -> Trained {
    let (weights, bias) = case.expected("start");
    let x = fixture().train().activations.view();
    let x = x.slice(s![.., case.from..case.to]).mapv(f64::from);
    let d = x.ncols();
    // The bias is the weight of a last neuron that is always 1.
    let mut w = Array2::zeros((weights.nrows(), d + 1));
    w.slice_mut(s![.., ..d]).assign(&weights.mapv(f64::from));
    w.column_mut(d).assign(&bias.mapv(f64::from));
    let (mut first, mut second) = (Array2::zeros(w.dim()), Array2::zeros(w.dim()));
    let params = case.params(stage);
    let mut steps = 0;
    for _ in 0..params.epochs {
        for from in (0..x.nrows()).step_by(params.batch) {
            let rows = from..(from + params.batch).min(x.nrows());
            if mistake == Mistake::LastBatchDropped && rows.len() < params.batch {
                continue;
            }
            let mut g: Array2<f64> = Array2::zeros(w.dim());
            let norm = w.slice(s![.., ..d]).mapv(|v| v * v).sum().sqrt();
            for i in rows.clone() {
                let row = ndarray::concatenate![Axis(0), x.row(i), Array1::ones(1)];
                let residual = residual(case, i, &w.dot(&row), mistake) / rows.len() as f64;
                g += &(residual.insert_axis(Axis(1)) * &row);
            }
            for ((class, neuron), g) in g.indexed_iter_mut() {
                if neuron < d || mistake == Mistake::PenaltyOnBias {
                    let v: f64 = w[(class, neuron)];
                    let sign = if v == 0.0 { 0.0 } else { v.signum() };
                    let pull = if mistake == Mistake::SquaredNorm {
                        2.0 * v
                    } else {
                        v / norm
                    };
                    *g += case.l1 * sign + case.l2 * pull;
                }
            }
            steps += 1;
            first = 0.9 * first + 0.1 * &g;
            second = 0.999 * second + 0.001 * &g * &g;
            let t = if mistake == Mistake::NoBiasCorrection {
                9999
            } else {
                steps
            };
            let (one, two) = (1.0 - 0.9f64.powi(t), 1.0 - 0.999f64.powi(t));
            let size = second.mapv(|v: f64| (v / two).sqrt() + 1e-8);
            w = w - params.learning_rate * (&first / one) / size;
        }
    }
    let mut all = Array2::zeros((w.nrows(), fixture().train().activations.view().ncols()));
    all.slice_mut(s![.., case.from..case.to])
        .assign(&w.slice(s![.., ..d]).mapv(|v| v as f32));
    Trained {
        weights: all,
        bias: w.column(d).mapv(|v| v as f32),
        steps: steps as usize,
    }
}

fn residual(case: &Case, i: usize, z: &Array1<f64>, mistake: Mistake) -> Array1<f64> {
    match case.response() {
        Response::Values(values) => {
            let factor = if mistake == Mistake::HalfSquares {
                1.0
            } else {
                2.0
            };
            factor * (z - f64::from(values[i]))
        }
        Response::Classes(labels) => {
            let p = z.mapv(f64::exp);
            let mut p = &p / p.sum();
            p[labels.ids()[i] as usize] -= 1.0;
            p
        }
    }
}

#[test]
fn a_training_with_a_mistake_is_not_neuroxs() {
    // That the comparison above can fail: each mistake is seen where it matters, and its absence is not.
    let cases = cases();
    let seen = |name: &str, mistake: Mistake| {
        let case = cases.iter().find(|c| c.name == name).expect("a case");
        let trained = naive(case, "epoch", mistake);
        case.difference("epoch", &trained) / (ROUNDINGS * case.rounding.epoch)
    };
    for name in ["norm", "plain", "values"] {
        let error = seen(name, Mistake::None);
        assert!(error <= 1.0, "{name}: {error} of what is allowed");
    }
    for (name, mistake) in [
        ("norm", Mistake::SquaredNorm),
        ("norm", Mistake::PenaltyOnBias),
        ("norm", Mistake::NoBiasCorrection),
        ("plain", Mistake::LastBatchDropped),
        ("values", Mistake::HalfSquares),
    ] {
        let error = seen(name, mistake);
        assert!(
            error > 10.0,
            "{mistake:?} on {name} is {error} of what is allowed"
        );
    }
}

#[test]
fn a_probe_is_the_same_to_the_bit_in_any_company() {
    let x = fixture().train().activations.view();
    let cases = cases();
    let listed: Vec<Vec<usize>> = cases.iter().map(|c| (c.from..c.to).collect()).collect();
    let problems: Vec<Problem<'_>> = cases
        .iter()
        .zip(&listed)
        .flat_map(|(case, listed)| {
            [case.range(), Neurons::These(listed)].map(|neurons| Problem {
                response: case.response(),
                neurons,
                l1: case.l1,
                l2: case.l2,
                start: Start::Seeded(7),
            })
        })
        .collect();
    let params = Params {
        epochs: 2,
        ..Params::default()
    };
    let train = |problems: &[Problem<'_>]| {
        adam::train(x, problems, &params, &mut |_| {}).expect("they train")
    };
    let together = train(&problems);
    for (problem, one) in problems.iter().zip(&together) {
        assert_eq!(&train(&[*problem])[0], one);
    }
    for pair in together.chunks(2) {
        assert_eq!(pair[0], pair[1], "a list of consecutive neurons is a range");
    }
    assert_ne!(together[0].weights, together[2].weights);
}

/// Objective and ∞-norm of the subgradient by their formulas, in f64; no trained weight is exactly 0.
fn by_formula(case: &Case, x: ArrayView2<'_, f32>, trained: &Trained) -> (f64, f64) {
    let w = trained.weights.mapv(f64::from);
    let n = x.nrows() as f64;
    let norm = w.mapv(|v| v * v).sum().sqrt();
    let mut value = case.l1 * w.mapv(f64::abs).sum() + case.l2 * norm;
    let mut g = w.mapv(|v| case.l1 * v.signum() + case.l2 * v / norm);
    let mut bias = Array1::<f64>::zeros(w.nrows());
    for (i, row) in x.rows().into_iter().enumerate() {
        let row = row.mapv(f64::from);
        let z = w.dot(&row) + trained.bias.mapv(f64::from);
        value += match case.response() {
            Response::Classes(labels) => {
                (z.mapv(f64::exp).sum().ln() - z[labels.ids()[i] as usize]) / n
            }
            Response::Values(values) => (z[0] - f64::from(values[i])).powi(2) / n,
        };
        let r = residual(case, i, &z, Mistake::None) / n;
        bias += &r;
        g += &(r.insert_axis(Axis(1)) * &row);
    }
    // Neurons that a probe does not see have no say in its optimum.
    let seen = g.slice(s![.., case.from..case.to]);
    let worst = seen.iter().chain(&bias).fold(0.0f64, |a, g| a.max(g.abs()));
    (value, worst)
}

#[test]
fn a_fit_states_how_far_from_the_optimum_neurox_stops() {
    let x = fixture().train().activations.view();
    let taken = moments(&Backend::Cpu, x, None).expect("finite");
    for case in cases() {
        let problem = Problem {
            response: case.response(),
            neurons: case.range(),
            l1: case.l1,
            l2: case.l2,
            start: Start::Seeded(3),
        };
        let params = case.params("end");
        let train = |epochs| {
            let params = Params { epochs, ..params };
            let fits = adam::fits(x, &taken, &[problem], &params, &mut |_| {});
            fits.expect("it trains").remove(0)
        };
        let fit = train(params.epochs);
        let trained = adam::train(x, &[problem], &params, &mut |_| {}).expect("it trains");
        assert_eq!(fit.weights, trained[0].weights);
        let (value, kkt) = by_formula(&case, x, &trained[0]);
        let certificate = fit.certificate;
        assert!(
            (fit.objective - value).abs() < 1e-10 * value,
            "{}",
            case.name
        );
        assert!(
            (certificate.kkt - kkt).abs() < 1e-9 * kkt,
            "{}: {} {kkt}",
            case.name,
            certificate.kkt
        );
        let response = case.response();
        let stated = adam::neurox_objective(
            x,
            response,
            fit.weights.view(),
            fit.bias.view(),
            case.l1,
            case.l2,
        );
        assert!((stated.expect("shapes fit") - value).abs() < 1e-10 * value);
        assert!(!certificate.converged);
        // The gap bounds what a longer training still gains.
        let longer = train(10 * params.epochs).objective;
        assert!(longer < fit.objective, "{}: {longer}", case.name);
        assert!(
            fit.objective - certificate.duality_gap <= longer,
            "{}: {} − {} is above {longer}",
            case.name,
            fit.objective,
            certificate.duality_gap
        );
    }
}
