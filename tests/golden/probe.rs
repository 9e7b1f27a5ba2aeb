//! Optima as scikit-learn's `LogisticRegression` finds them, through the mapping
//! `C = 1 / (N·(λ1 + 2·λ2))`, `l1_ratio = λ1 / (λ1 + 2·λ2)` of `fixtures/generate.py`.

use ndarray::{Array1, Array2, Axis};
use neurosieve::Backend;
use neurosieve::labels::Labels;
use neurosieve::ops::moments::moments;
use neurosieve::ops::probe::{Design, Fit, Params, PenaltyScale, Problem, Solver, Stop, fit};
use serde::Deserialize;

use super::{fixture, json, tensor};

#[derive(Deserialize)]
struct Case {
    name: String,
    l1: f64,
    l2: f64,
    scale: String,
    rows: Vec<usize>,
    columns: Vec<usize>,
    labels: Vec<u32>,
    objective: f64,
    nonzero: usize,
}

impl Case {
    fn activations(&self) -> Array2<f32> {
        let x = fixture().train().activations.view();
        x.select(Axis(0), &self.rows)
            .select(Axis(1), &self.columns)
            .as_standard_layout()
            .into_owned()
    }

    fn labels(&self) -> Labels {
        let classes = self.labels.iter().max().map_or(0, |&c| c + 1);
        let names = (0..classes).map(|c| c.to_string()).collect();
        Labels::new(self.labels.clone(), names).expect("every class has a name")
    }

    fn scale(&self) -> PenaltyScale {
        match self.scale.as_str() {
            "standardised" => PenaltyScale::Standardised,
            _ => PenaltyScale::Raw,
        }
    }

    fn solve(&self, solver: Solver) -> Fit {
        let x = self.activations();
        let taken = moments(&Backend::Cpu, x.view(), None).expect("finite");
        let columns: Vec<usize> = (0..x.ncols()).collect();
        let design = Design::new(&Backend::Cpu, x.view(), &taken, &columns).expect("they vary");
        let labels = self.labels();
        let problem = Problem::new(&labels, self.l1, self.l2);
        let params = Params {
            solver,
            scale: self.scale(),
            stop: Stop::Gap(1e-6),
            ..Params::default()
        };
        let mut fits =
            fit(&Backend::Cpu, &design, &[problem], &params, &mut |_| {}).expect("it solves");
        fits.remove(0)
    }

    /// The objective in f64 of weights and biases for raw activations, by the formula.
    fn objective(&self, weights: &Array2<f64>, bias: &Array1<f64>) -> f64 {
        let x = self.activations().mapv(f64::from);
        let mut loss = 0.0;
        for (row, &class) in x.rows().into_iter().zip(&self.labels) {
            let logits = weights.dot(&row) + bias;
            let top = logits.fold(f64::NEG_INFINITY, |a, &b| a.max(b));
            let total: f64 = logits.iter().map(|z| (z - top).exp()).sum();
            loss += total.ln() + top - logits[class as usize];
        }
        let sd = x.std_axis(Axis(0), 0.0);
        let penalised = match self.scale() {
            PenaltyScale::Standardised => weights * &sd,
            PenaltyScale::Raw => weights.clone(),
        };
        let l1: f64 = penalised.iter().map(|w| w.abs()).sum();
        let l2: f64 = penalised.iter().map(|w| w * w).sum();
        loss / x.nrows() as f64 + self.l1 * l1 + self.l2 * l2
    }

    /// scikit-learn's weights and biases for raw activations.
    fn expected(&self) -> (Array2<f64>, Array1<f64>) {
        let coefficients = tensor("probe.safetensors", &format!("{}.weights", self.name));
        let intercepts = tensor("probe.safetensors", &format!("{}.bias", self.name));
        let x = self.activations().mapv(f64::from);
        let mean = x.mean_axis(Axis(0)).expect("there are samples");
        let weights = match self.scale() {
            PenaltyScale::Standardised => &coefficients / &x.std_axis(Axis(0), 0.0),
            PenaltyScale::Raw => coefficients, // found on centred activations
        };
        let bias = intercepts.row(0).to_owned() - weights.dot(&mean);
        (weights, bias)
    }
}

fn wide(fit: &Fit) -> (Array2<f64>, Array1<f64>) {
    (fit.weights.mapv(f64::from), fit.bias.mapv(f64::from))
}

#[test]
fn the_objective_is_scikit_learns_at_scikit_learns_optimum() {
    // That both mean the same problem: penalty mapping, standardisation and the softmax form of a binary probe.
    for case in json::<Vec<Case>>("probe.json") {
        let (weights, bias) = case.expected();
        let value = case.objective(&weights, &bias);
        let error = (value - case.objective).abs() / case.objective;
        assert!(
            error < 1e-6,
            "{}: {value} against {}",
            case.name,
            case.objective
        );
    }
}

#[test]
fn every_solver_reaches_scikit_learns_optimum() {
    for case in json::<Vec<Case>>("probe.json") {
        for solver in [Solver::Newton, Solver::Fista, Solver::Lbfgs] {
            let what = format!("{} by {solver:?}", case.name);
            let fit = case.solve(solver);
            assert!(fit.certificate.converged, "{what}: {:?}", fit.certificate);
            let (weights, bias) = wide(&fit);
            let value = case.objective(&weights, &bias);
            let above = (value - case.objective) / case.objective;
            assert!(above.abs() < 2e-6, "{what}: relative excess {above:e}");
            let stated = (fit.objective - value).abs() / value;
            assert!(
                stated < 1e-6,
                "{what}: states {}, is {value}",
                fit.objective
            );
        }
    }
}

#[test]
fn coefficients_are_scikit_learns_within_the_distance_that_the_certificate_proves() {
    // An objective with λ2 is 2·λ2 strongly convex: ‖W − W*‖² ≤ gap / λ2.
    for case in json::<Vec<Case>>("probe.json") {
        if case.l2 == 0.0 {
            continue;
        }
        let fit = case.solve(Solver::Newton);
        let (got, _) = wide(&fit);
        let (expected, _) = case.expected();
        let sd = case.activations().mapv(f64::from).std_axis(Axis(0), 0.0);
        let scale = match case.scale() {
            PenaltyScale::Standardised => sd,
            PenaltyScale::Raw => Array1::ones(sd.len()),
        };
        let difference = (&got - &expected) * &scale;
        let distance = difference.mapv(|d| d * d).sum().sqrt();
        let proven = (fit.certificate.duality_gap / case.l2).sqrt();
        assert!(
            distance <= proven + 1e-6,
            "{}: {distance:e} apart, proven {proven:e}",
            case.name
        );
        let size = (&expected * &scale).mapv(|w| w * w).sum().sqrt();
        assert!(
            distance < 5e-3 * size,
            "{}: {distance:e} of {size:e}",
            case.name
        );
    }
}

#[test]
fn zeros_are_scikit_learns_zeros() {
    for case in json::<Vec<Case>>("probe.json") {
        if case.l1 == 0.0 {
            continue;
        }
        let fit = case.solve(Solver::Newton);
        let (expected, _) = case.expected();
        let different = fit
            .weights
            .iter()
            .zip(&expected)
            .filter(|(ours, theirs)| (**ours == 0.0) != (**theirs == 0.0))
            .count();
        assert!(
            different * 50 <= expected.len(),
            "{}: {different} of {} weights differ in being zero ({} of scikit-learn's are not)",
            case.name,
            expected.len(),
            case.nonzero
        );
    }
}
