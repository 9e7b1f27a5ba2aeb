//! The planner: what a batch will take, before it runs, and how much of it may be in flight at once.

use super::hessian::GATHERED;
use super::{Design, Neurons, Params, Problem, Response, WORKING_SET_MAX};

/// Columns whose f64 copies a certificate holds at once (see `certificate`), and how many copies.
const CERTIFIED: (usize, usize) = (96, 8);

/// Memory of a batch, and its division.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// Problems.
    pub problems: usize,
    /// How many of them are solved at once; as one leaves the batch, the next enters.
    pub in_flight: usize,
    /// Bytes of the design itself.
    pub design: u64,
    /// Bytes that [`super::fit`] takes at most beside the design, its results included.
    pub solver: u64,
    /// FLOP of one pass over all problems.
    pub pass_flop: f64,
}

/// Plans a batch: as many problems in flight as `params.memory` holds, and at least one.
pub fn plan(design: &Design, problems: &[Problem<'_>], params: &Params) -> Plan {
    let shapes: Vec<Shape> = problems.iter().map(|p| Shape::of(design, p)).collect();
    let kept: u64 = shapes.iter().map(Shape::kept).sum();
    let once = shapes.iter().map(Shape::once).max().unwrap_or(0) + copies(design, problems);
    let mut flying: Vec<u64> = shapes.iter().map(Shape::flying).collect();
    flying.sort_unstable_by(|a, b| b.cmp(a));
    let mut taken = kept + once;
    let mut in_flight = 0;
    for bytes in flying {
        if in_flight > 0 && taken + bytes > params.memory {
            break;
        }
        taken += bytes;
        in_flight += 1;
    }
    Plan {
        problems: problems.len(),
        in_flight,
        design: design.bytes(),
        solver: taken,
        pass_flop: shapes.iter().map(Shape::pass_flop).sum(),
    }
}

/// Bytes of the copies that problems with scattered neurons need: one for each distinct set.
fn copies(design: &Design, problems: &[Problem<'_>]) -> u64 {
    let mut sets: Vec<&[usize]> = Vec::new();
    for problem in problems {
        if let Neurons::These(these) = problem.neurons
            && !sets.contains(&these)
        {
            sets.push(these);
        }
    }
    sets.iter()
        .map(|set| 4 * (design.samples() * set.len()) as u64)
        .sum()
}

/// The size of a problem.
struct Shape {
    samples: usize,
    /// Neurons of the activations, for the fit.
    neurons: usize,
    /// Rows of the coefficients.
    rows: usize,
    /// Columns that are solved for.
    columns: usize,
    /// Rows of the fit.
    classes: usize,
}

impl Shape {
    fn of(design: &Design, problem: &Problem<'_>) -> Self {
        let (columns, classes) = match problem.response {
            Response::Values(_) => (1, 1),
            Response::Classes(labels) => {
                let present = labels.present().len();
                (
                    if present == 2 { 1 } else { present },
                    labels.classes().len(),
                )
            }
        };
        let width = match problem.neurons {
            Neurons::All => design.columns().len(),
            Neurons::Range { from, to } => to.saturating_sub(from),
            Neurons::These(these) => these.len(),
        };
        Self {
            samples: design.samples(),
            neurons: design.neurons(),
            rows: width + 1,
            columns,
            classes,
        }
    }

    fn entries(&self) -> usize {
        self.rows * self.columns
    }

    /// Statement and fit: kept for every problem from beginning to end.
    fn kept(&self) -> u64 {
        let statement = 4 * self.entries() + 16 * self.rows + 12 * self.samples;
        let fit = 8 * self.classes * self.neurons;
        (statement + fit) as u64
    }

    /// Coefficients, gradients, corrections and predictions, and the Hessian with its face's copy: of a problem in flight.
    fn flying(&self) -> u64 {
        let n = self.entries().min(WORKING_SET_MAX);
        let coefficients = 200 * self.entries();
        let predictions = 28 * self.samples * self.columns;
        (coefficients + predictions + 10 * n * n) as u64
    }

    /// What is needed once, however many problems are in flight: gathered samples, and f64 copies of the certificates.
    fn once(&self) -> u64 {
        let threads = rayon::current_num_threads();
        let n = self.entries().min(WORKING_SET_MAX);
        let certified = self.classes.max(CERTIFIED.0);
        let gathered = 12 * GATHERED * n * threads;
        (gathered + 8 * CERTIFIED.1 * certified * self.samples) as u64
    }

    fn pass_flop(&self) -> f64 {
        4.0 * self.samples as f64 * self.entries() as f64
    }
}
