//! A design whose samples stay where they are gives the bits of one that holds them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use half::f16;
use ndarray::Array2;
use neurosieve::activations::{Rows, rows_of};
use neurosieve::labels::Labels;
use neurosieve::ops::moments::{Moments, moments, streamed};
use neurosieve::ops::probe::{
    self, Design, Fit, Neurons, Norm, Params, PenaltyScale, Problem, Response, Solver, Stop,
    balanced_weights,
};
use neurosieve::{Activations, Backend, Error, LayerMap, Result};

use crate::properties::probe::learnable;

const SAMPLES: usize = 2600;
const NEURONS: usize = 1100;
const CONSTANT: usize = 7;

/// More samples than a block of the stream has (2,048 at this width and two threads), and a neuron that is left out.
fn stored(seed: u64) -> (Array2<f16>, Labels) {
    let (mut x, y) = learnable(SAMPLES, NEURONS, seed);
    x.column_mut(CONSTANT).fill(0.1);
    (x.mapv(f16::from_f32), y)
}

fn streamed_design(x: &Array2<f16>, found: &Moments) -> Design {
    let columns: Vec<usize> = (0..NEURONS).collect();
    Design::streamed(Arc::new(x.clone()), found, &columns).unwrap()
}

fn copied_design(x: &Array2<f16>, found: &Moments) -> Design {
    let columns: Vec<usize> = (0..NEURONS).collect();
    let x = x.mapv(f16::to_f32);
    Design::new(&Backend::Cpu, x.view(), found, &columns).unwrap()
}

/// On two threads: the size of a block depends on their number.
fn solve(design: &Design, problems: &[Problem<'_>], params: &Params) -> Result<Vec<Fit>> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(2)
        .build()
        .unwrap();
    pool.install(|| probe::fit(&Backend::Cpu, design, problems, params, &mut |_| {}))
}

fn assert_same(a: &Fit, b: &Fit, what: &str) {
    assert_eq!(a.weights, b.weights, "{what}");
    assert_eq!(a.bias, b.bias, "{what}");
    assert_eq!(a.objective.to_bits(), b.objective.to_bits(), "{what}");
    assert_eq!(a.certificate, b.certificate, "{what}");
    assert_eq!(a.trace, b.trace, "{what}");
}

#[test]
fn moments_of_a_stream_are_those_of_a_copy() {
    let (x, y) = stored(51);
    let dense = x.mapv(f16::to_f32);
    for groups in [None, Some(&y)] {
        let a = moments(&Backend::Cpu, dense.view(), groups).unwrap();
        let b = streamed(&x, groups).unwrap();
        assert_eq!((a.samples, &a.mean, &a.sd), (b.samples, &b.mean, &b.sd));
        assert_eq!(a.spread, b.spread);
        assert_eq!(a.group_mean, b.group_mean);
    }
    // A last sample that differs by one step of f16 is seen.
    let mut other = x.clone();
    let last = &mut other[(SAMPLES - 1, NEURONS - 1)];
    *last = f16::from_bits(last.to_bits() ^ 1);
    let a = streamed(&x, None).unwrap();
    let b = streamed(&other, None).unwrap();
    assert_eq!(a.mean[..NEURONS - 1], b.mean[..NEURONS - 1]);
    assert_ne!(a.mean[NEURONS - 1], b.mean[NEURONS - 1]);
    assert!(
        streamed(&x, Some(&learnable(10, 3, 1).1))
            .unwrap_err()
            .to_string()
            .contains("10 labels")
    );
}

#[test]
fn fits_of_a_stream_are_those_of_a_copy_bit_for_bit() {
    let (x, y) = stored(52);
    let found = streamed(&x, None).unwrap();
    let values: Vec<f32> = x
        .rows()
        .into_iter()
        .map(|row| 2.0 + row[0].to_f32() - 0.5 * row[30].to_f32())
        .collect();
    let (weights, scattered) = (balanced_weights(&y), [31, 4, 1050, 12, 0, 22, 700]);
    let (copied, streamed) = (copied_design(&x, &found), streamed_design(&x, &found));
    let columns: Vec<usize> = (0..NEURONS).collect();
    let read = Design::read(&x, &found, &columns).unwrap();
    assert_eq!(copied.columns(), streamed.columns());
    assert_eq!(copied.columns(), read.columns());
    assert!(!read.is_streamed() && read.bytes() == copied.bytes());
    assert!(!streamed.columns().contains(&CONSTANT));
    let plain = Problem::new(&y, 0.02, 0.002);
    let problems = [
        plain,
        Problem {
            weights: Some(&weights),
            norm: Norm::Frobenius,
            ..plain
        },
        Problem {
            neurons: Neurons::Range { from: 20, to: 400 },
            ..plain
        },
        Problem {
            neurons: Neurons::These(&scattered),
            l1: 0.0,
            ..plain
        },
        Problem::of(Response::Values(&values), 0.05, 0.01),
        Problem::new(&y, 0.0, 0.3),
    ];
    let scale = PenaltyScale::Raw;
    assert_eq!(
        probe::lambda_max(&copied, &problems, scale).unwrap(),
        probe::lambda_max(&streamed, &problems, scale).unwrap()
    );
    for solver in [Solver::Auto, Solver::Newton, Solver::Fista, Solver::Lbfgs] {
        let params = Params {
            solver,
            stop: Stop::Gap(1e-2),
            max_passes: 60.0,
            ..Params::default()
        };
        let a = solve(&copied, &problems, &params).unwrap();
        let b = solve(&streamed, &problems, &params).unwrap();
        let c = solve(&read, &problems[..1], &params).unwrap();
        for (place, (a, b)) in a.iter().zip(&b).enumerate() {
            assert!(a.nonzero_weights() > 0, "{solver:?}, problem {place}");
            assert_same(a, b, &format!("{solver:?}, problem {place}"));
        }
        assert_same(&a[0], &c[0], &format!("{solver:?}, read"));
    }
}

#[test]
fn a_stream_whose_last_sample_differs_gives_another_fit() {
    let (x, y) = stored(53);
    let found = streamed(&x, None).unwrap();
    let mut other = x.clone();
    for value in other.row_mut(SAMPLES - 1) {
        *value = f16::from_bits(value.to_bits() ^ 1);
    }
    let params = Params {
        stop: Stop::Gap(1e-2),
        ..Params::default()
    };
    let problems = [Problem::new(&y, 0.05, 0.005)];
    let a = solve(&streamed_design(&x, &found), &problems, &params).unwrap();
    let b = solve(&streamed_design(&other, &found), &problems, &params).unwrap();
    assert_ne!(a[0].objective.to_bits(), b[0].objective.to_bits());
}

#[test]
fn every_kind_of_rows_reads_what_is_stored_and_refuses_what_is_not_there() {
    let (x, _) = learnable(20, 6, 54);
    let half = x.mapv(f16::from_f32);
    let brain = x.mapv(half::bf16::from_f32);
    let whole = Activations::new(x.clone(), LayerMap::uniform(2, 3).unwrap()).unwrap();
    let kinds: [(&dyn Rows, Array2<f32>); 3] = [
        (&half, half.mapv(f16::to_f32)),
        (&brain, brain.mapv(half::bf16::to_f32)),
        (&whole, x),
    ];
    for (rows, expected) in kinds {
        assert_eq!(rows.shape(), (20, 6));
        let mut out = vec![0.0; 18];
        rows.read_rows(17, &mut out).unwrap();
        assert!(out.iter().eq(expected.slice(ndarray::s![17.., ..])));
        for (start, length) in [(18, 18), (0, 17), (21, 0)] {
            let error = rows.read_rows(start, &mut vec![0.0; length]).unwrap_err();
            assert!(error.to_string().contains("of a matrix of 20 rows × 6"));
        }
    }
}

#[test]
fn a_value_that_is_not_finite_is_named_wherever_it_is_met() {
    let (x, y) = stored(55);
    let found = streamed(&x, None).unwrap();
    let mut broken = x.clone();
    broken[(2100, 33)] = f16::NAN;
    let by_moments = streamed(&broken, None).unwrap_err().to_string();
    let problems = [Problem::new(&y, 0.05, 0.005)];
    let design = streamed_design(&broken, &found);
    let by_fit = solve(&design, &problems, &Params::default()).unwrap_err();
    for error in [by_moments, by_fit.to_string()] {
        assert!(error.contains("row 2100, neuron 33 is NaN"), "{error}");
    }
}

/// Rows of a file that disappears after some reads.
#[derive(Debug)]
struct Vanishing {
    x: Array2<f16>,
    reads_left: AtomicUsize,
}

impl Rows for Vanishing {
    fn shape(&self) -> (usize, usize) {
        self.x.dim()
    }

    fn read_rows(&self, start: usize, out: &mut [f32]) -> Result<()> {
        rows_of(self.x.dim(), start, out.len())?;
        let left = self.reads_left.load(Ordering::Relaxed);
        if left == 0 {
            return Err(Error::invalid("rows", "the file is gone", "Mount it again"));
        }
        self.reads_left.store(left - 1, Ordering::Relaxed);
        self.x.read_rows(start, out)
    }
}

#[test]
fn rows_that_cannot_be_read_end_any_part_of_a_fit_with_their_error() {
    let (x, y) = stored(56);
    let found = streamed(&x, None).unwrap();
    let columns: Vec<usize> = (0..NEURONS).collect();
    let problems = [Problem::new(&y, 0.05, 0.005)];
    let attempt = |solver, reads: usize| {
        let rows = Vanishing {
            x: x.clone(),
            reads_left: AtomicUsize::new(reads),
        };
        let design = Design::streamed(Arc::new(rows), &found, &columns).unwrap();
        let params = Params {
            solver,
            stop: Stop::Gap(1e-2),
            ..Params::default()
        };
        solve(&design, &problems, &params)
    };
    for solver in [Solver::Newton, Solver::Fista, Solver::Lbfgs] {
        // A pass takes about 45 reads; a Hessian, one for every sample that it draws.
        for reads in [0, 30, 100, 150, 300] {
            let error = attempt(solver, reads).unwrap_err().to_string();
            assert!(error.contains("the file is gone"), "{solver:?}: {error}");
        }
        assert!(
            attempt(solver, usize::MAX / 2).unwrap()[0]
                .certificate
                .converged
        );
    }
}

#[test]
fn moments_of_other_neurons_are_refused() {
    let (x, _) = stored(57);
    let found = streamed(&x, None).unwrap();
    let narrow = x.slice(ndarray::s![.., ..30]).to_owned();
    let error = Design::streamed(Arc::new(narrow), &found, &[0]).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("30 neurons but the moments 1100")
    );
}
