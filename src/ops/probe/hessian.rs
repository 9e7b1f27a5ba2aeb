//! The sampled Hessian of the loss on a working set.
//!
//! `H = Σ_{a<b} (e_a − e_b)(e_a − e_b)ᵀ ⊗ Σᵢ ωᵢ p_ia p_ib xᵢ xᵢᵀ`, a graph Laplacian over the classes. Term (i, a, b) of
//! weight v = ωᵢ p_ia p_ib is kept with probability `q = min(1, κ·v·(n_a/S_aa + n_b/S_bb))`, n_a the entries of class a
//! in the working set, S_aa = Σᵢ ωᵢ p_ia (1 − p_ia), and re-weighted v/q: an unbiased sample of about κ terms an entry,
//! however many samples there are. Whether a term is kept is a hash of (i, pair, seed): the same on every device.
//!
//! A loss of one column has the terms (i) of weight v = ωᵢ·p(1 − p) (two classes) or ωᵢ (squared error), kept with
//! `q = min(1, κ·v·n/Σv)`.

use ndarray::linalg::general_mat_mul;
use ndarray::parallel::prelude::*;
use ndarray::{Array2, Axis, s};
use rayon::prelude::*;

use super::loss;
use super::slab::Slab;
use super::targets::{Loss, Targets};
use crate::error::Result;

/// Values that a thread's gathered copies hold, and the samples that they cover at least and at most: what building needs
/// beside H itself stays small.
pub(super) const GATHERED: usize = 1 << 21;
pub(super) const GATHERED_SAMPLES: (usize, usize) = (256, 2048);

/// Blocks of H that a thread computes before they are put where they belong.
const BLOCKS: usize = 4;

/// Samples that a thread draws terms of.
const SAMPLED_ROWS: usize = 1024;

/// A term that is kept with a smaller probability is not asked for: all of them together are less than one term.
const NEVER: f64 = 1e-9;

/// Relative ridge of the diagonal, and the floor below it: keeps H definite where the sample is poor.
const RIDGE: (f32, f32) = (1e-6, 1e-12);

/// The (row, class) entries that a step may change, class by class; row 0 is the intercept.
#[derive(Debug, Clone)]
pub(super) struct WorkingSet {
    /// Rows of each class, ascending.
    pub rows: Vec<Vec<usize>>,
    /// Where each class starts in the flat order, and the total at the end.
    pub offsets: Vec<usize>,
}

impl WorkingSet {
    pub(super) fn new(selected: &Array2<bool>) -> Self {
        let rows: Vec<Vec<usize>> = selected
            .columns()
            .into_iter()
            .map(|column| {
                column
                    .iter()
                    .enumerate()
                    .filter(|(_, s)| **s)
                    .map(|(row, _)| row)
                    .collect()
            })
            .collect();
        let mut offsets = vec![0];
        for rows in &rows {
            offsets.push(offsets[offsets.len() - 1] + rows.len());
        }
        Self { rows, offsets }
    }

    /// Number of entries n.
    pub(super) fn len(&self) -> usize {
        self.offsets[self.offsets.len() - 1]
    }

    /// Where the entries of a class are in the flat order.
    pub(super) fn range(&self, class: usize) -> std::ops::Range<usize> {
        self.offsets[class]..self.offsets[class + 1]
    }

    /// (row, class) of every entry in the flat order.
    pub(super) fn entries(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.rows
            .iter()
            .enumerate()
            .flat_map(|(class, rows)| rows.iter().map(move |&row| (row, class)))
    }

    /// The entries of an array in the flat order.
    pub(super) fn gather<T: Copy>(&self, from: &Array2<T>) -> Vec<T> {
        self.entries().map(|at| from[at]).collect()
    }
}

/// The kept terms of one class pair, or of the one column (a = b).
struct Terms {
    a: usize,
    b: usize,
    samples: Vec<u32>,
    weights: Vec<f32>,
}

/// The terms that a Hessian sums: kept, so that it can grow with its working set.
pub(super) struct Sample {
    pairs: Vec<Terms>,
    diagonal: Vec<Terms>,
}

impl Sample {
    /// Draws the terms for a working set, from the residual at the current point.
    pub(super) fn draw(
        residual: &Array2<f32>,
        targets: &Targets,
        set: &WorkingSet,
        kappa: f64,
        seed: u64,
    ) -> Self {
        match targets.loss {
            Loss::Softmax => {
                let pairs = sample_pairs(residual, targets, set, kappa, seed);
                let diagonal = diagonal_terms(&pairs, targets.samples(), set.rows.len());
                Self { pairs, diagonal }
            }
            Loss::Sigmoid | Loss::Squared => {
                let v = loss::curvature(residual, targets);
                Self {
                    pairs: Vec::new(),
                    diagonal: vec![sample_column(&v, set.len(), kappa, seed)],
                }
            }
        }
    }

    /// H on a working set, n × n, symmetric, and the FLOP that it took. `known` is H on a part of the set: only the rest
    /// is computed.
    pub(super) fn hessian(
        &self,
        slab: &Slab<'_>,
        set: &WorkingSet,
        known: Option<(&WorkingSet, &Array2<f32>)>,
    ) -> Result<(Array2<f32>, f64)> {
        let mut h = Array2::zeros((set.len(), set.len()));
        let parts: Vec<Part> = (0..set.rows.len())
            .map(|class| Part::of(set, known.map(|(set, _)| set), class))
            .collect();
        if let Some((old, values)) = known {
            let place: Vec<usize> = parts.iter().flat_map(|p| p.old.iter().copied()).collect();
            for (row, &to) in place.iter().enumerate() {
                let (from, mut to) = (values.row(row), h.row_mut(to));
                for (value, &column) in from.iter().zip(&place) {
                    to[column] = *value;
                }
            }
            debug_assert_eq!(place.len(), old.len());
        }
        let mut flop = 0.0;
        let terms: Vec<&Terms> = self.pairs.iter().chain(&self.diagonal).collect();
        for terms in terms.chunks(BLOCKS * rayon::current_num_threads()) {
            let blocks: Vec<Vec<Block<'_>>> = terms
                .par_iter()
                .map(|t| missing(slab, t, set, &parts))
                .collect::<Result<_>>()?;
            for (terms, blocks) in terms.iter().zip(blocks) {
                for block in blocks {
                    flop += place(&mut h, terms, block);
                }
            }
        }
        for (j, entry) in h.diag_mut().iter_mut().enumerate() {
            let fresh = parts.iter().any(|p| p.new.binary_search(&j).is_ok());
            if fresh {
                *entry = *entry * (1.0 + RIDGE.0) + RIDGE.1;
            }
        }
        Ok((h, flop))
    }
}

/// Side of the square tiles in which a block is written down and across: both sides of a tile stay in the cache.
const TILE: usize = 32;

/// Writes a block of some terms to where it belongs in H, and its transpose; returns the FLOP that it took. Of a class's own
/// block only what is on and above the diagonal is read.
fn place(h: &mut Array2<f32>, terms: &Terms, (rows, columns, block): Block<'_>) -> f64 {
    let whole = terms.a == terms.b && rows.len() == columns.len();
    let sign = if terms.a == terms.b { 1.0 } else { -1.0 };
    for top in (0..rows.len()).step_by(TILE) {
        let first = if whole { top } else { 0 };
        for left in (first..columns.len()).step_by(TILE) {
            for i in top..(top + TILE).min(rows.len()) {
                let from = if whole { left.max(i) } else { left };
                for j in from..(left + TILE).min(columns.len()) {
                    let value = sign * block[(i, j)];
                    h[(rows[i], columns[j])] = value;
                    h[(columns[j], rows[i])] = value;
                }
            }
        }
    }
    // A class's own block is symmetric: half of it is computed.
    let cost = if whole { 1.0 } else { 2.0 };
    cost * (terms.samples.len() * block.len()) as f64
}

/// The entries of one class: which are known already, which are new; places in the flat order, ascending.
struct Part {
    all: Vec<usize>,
    old: Vec<usize>,
    new: Vec<usize>,
}

impl Part {
    fn of(set: &WorkingSet, known: Option<&WorkingSet>, class: usize) -> Self {
        let all: Vec<usize> = set.range(class).collect();
        let is_known =
            |row: &usize| known.is_some_and(|k| k.rows[class].binary_search(row).is_ok());
        let (mut old, mut new) = (Vec::new(), Vec::new());
        for (&place, row) in all.iter().zip(&set.rows[class]) {
            if is_known(row) {
                old.push(place);
            } else {
                new.push(place);
            }
        }
        Self { all, old, new }
    }
}

/// A block of H: places down, places across, values.
type Block<'a> = (&'a [usize], &'a [usize], Array2<f32>);

/// The blocks of some terms that are not known yet.
fn missing<'a>(
    slab: &Slab<'_>,
    terms: &Terms,
    set: &WorkingSet,
    parts: &'a [Part],
) -> Result<Vec<Block<'a>>> {
    let (a, b) = (&parts[terms.a], &parts[terms.b]);
    let mut wanted: Vec<(&[usize], &[usize])> = vec![(&a.new, &b.all)];
    if terms.a != terms.b {
        wanted.push((&a.old, &b.new));
    }
    wanted
        .into_iter()
        .filter(|(down, across)| !down.is_empty() && !across.is_empty())
        .map(|(down, across)| Ok((down, across, block(slab, terms, set, down, across)?)))
        .collect()
}

/// What each class's own block sums: the terms of all its pairs.
fn diagonal_terms(pairs: &[Terms], samples: usize, classes: usize) -> Vec<Terms> {
    let mut weights: Vec<Vec<f32>> = vec![vec![0.0; samples]; classes];
    for pair in pairs {
        for (&i, &v) in pair.samples.iter().zip(&pair.weights) {
            weights[pair.a][i as usize] += v;
            weights[pair.b][i as usize] += v;
        }
    }
    let kept = |(class, weights): (usize, Vec<f32>)| {
        let (samples, weights) = (0u32..).zip(weights).filter(|(_, v)| *v > 0.0).unzip();
        Terms {
            a: class,
            b: class,
            samples,
            weights,
        }
    };
    weights.into_iter().enumerate().map(kept).collect()
}

fn sample_column(v: &Array2<f32>, entries: usize, kappa: f64, seed: u64) -> Terms {
    let total: f64 = v.iter().map(|v| f64::from(*v)).sum();
    let scale = kappa * entries as f64 / total.max(1e-300);
    let (samples, weights) = (0u32..)
        .zip(v)
        .filter_map(|(i, &v)| keep(f64::from(v), scale * f64::from(v), i, 0, seed))
        .unzip();
    Terms {
        a: 0,
        b: 0,
        samples,
        weights,
    }
}

/// A term of weight `v` is kept with probability `q`, re-weighted by 1/q.
fn keep(v: f64, q: f64, sample: u32, pair: u64, seed: u64) -> Option<(u32, f32)> {
    (q > 0.0 && uniform(u64::from(sample), pair, seed) < q)
        .then(|| (sample, (v / q.min(1.0)) as f32))
}

fn sample_pairs(
    residual: &Array2<f32>,
    targets: &Targets,
    set: &WorkingSet,
    kappa: f64,
    seed: u64,
) -> Vec<Terms> {
    let p = loss::probabilities(residual, targets);
    let (classes, omega) = (p.ncols(), &targets.omega);
    let leverage: Vec<f64> = (0..classes)
        .map(|class| {
            let spread = |(p, omega): (&f32, &f64)| omega * f64::from(*p) * (1.0 - f64::from(*p));
            let spread: f64 = p.column(class).iter().zip(omega).map(spread).sum();
            set.rows[class].len() as f64 / spread.max(1e-300)
        })
        .collect();
    // A class that hardly any term of a sample can be kept for is passed over: most samples are sure of most classes.
    let most = leverage.iter().copied().fold(0.0, f64::max);
    let least = NEVER / (2.0 * kappa * most);
    let p = p.as_slice().expect("probabilities are contiguous");
    let kept: Vec<Vec<(usize, u32, f32)>> = p
        .par_chunks(SAMPLED_ROWS * classes)
        .enumerate()
        .map(|(chunk, rows)| {
            let mut kept = Vec::new();
            let mut open = Vec::with_capacity(classes);
            let first = chunk * SAMPLED_ROWS;
            for (i, row) in (first..).zip(rows.chunks_exact(classes)) {
                open.clear();
                open.extend((0..classes).filter(|&a| omega[i] * f64::from(row[a]) > least));
                for (place, &a) in open.iter().enumerate() {
                    for &b in &open[place + 1..] {
                        let v = omega[i] * f64::from(row[a]) * f64::from(row[b]);
                        let q = kappa * (leverage[a] + leverage[b]) * v;
                        let pair = a * classes + b;
                        let term = keep(v, q, i as u32, pair as u64, seed);
                        kept.extend(term.map(|(i, weight)| (pair, i, weight)));
                    }
                }
            }
            kept
        })
        .collect();
    let mut pairs: Vec<Terms> = (0..classes * classes)
        .map(|pair| Terms {
            a: pair / classes,
            b: pair % classes,
            samples: Vec::new(),
            weights: Vec::new(),
        })
        .collect();
    for (pair, sample, weight) in kept.into_iter().flatten() {
        pairs[pair].samples.push(sample);
        pairs[pair].weights.push(weight);
    }
    pairs.retain(|pair| !pair.samples.is_empty());
    pairs
}

/// Σ v·x_a·x_bᵀ of some terms, for some places of each class.
fn block(
    slab: &Slab<'_>,
    terms: &Terms,
    set: &WorkingSet,
    down: &[usize],
    across: &[usize],
) -> Result<Array2<f32>> {
    let rows = |class: usize, places: &[usize]| -> Vec<usize> {
        let start = set.offsets[class];
        places.iter().map(|p| set.rows[class][p - start]).collect()
    };
    let (a, b) = (rows(terms.a, down), rows(terms.b, across));
    let same = a == b;
    let mut out = Array2::zeros((a.len(), b.len()));
    let (least, most) = GATHERED_SAMPLES;
    let at_once = (GATHERED / (a.len() + b.len())).clamp(least, most);
    let parts = terms.samples.chunks(at_once);
    for (samples, weights) in parts.zip(terms.weights.chunks(at_once)) {
        let mut left = slab.gather(samples, &a)?;
        let right = if same {
            left.clone()
        } else {
            slab.gather(samples, &b)?
        };
        let rows = left.axis_iter_mut(Axis(0)).into_par_iter();
        rows.zip(weights)
            .for_each(|(mut row, &weight)| row *= weight);
        add_products(&left, &right, same, &mut out);
    }
    if same && terms.a != terms.b {
        mirror(&mut out); // the pair's block is symmetric, but H is not around it
    }
    Ok(out)
}

/// Rows of a product that one thread computes: of a symmetric one from their diagonal on.
const PANEL: usize = 64;

/// out += leftᵀ·right; where that is symmetric only on and above the diagonal.
fn add_products(left: &Array2<f32>, right: &Array2<f32>, symmetric: bool, out: &mut Array2<f32>) {
    let panels = out.axis_chunks_iter_mut(Axis(0), PANEL).into_par_iter();
    panels.enumerate().for_each(|(panel, mut out)| {
        let from = panel * PANEL;
        let across = if symmetric { from } else { 0 };
        general_mat_mul(
            1.0,
            &left.slice(s![.., from..from + out.nrows()]).t(),
            &right.slice(s![.., across..]),
            1.0,
            &mut out.slice_mut(s![.., across..]),
        );
    });
}

/// Copies what is above the diagonal below it.
fn mirror(out: &mut Array2<f32>) {
    for i in 0..out.nrows() {
        for j in 0..i {
            out[(i, j)] = out[(j, i)];
        }
    }
}

/// A number in [0, 1) that depends on its arguments alone (the finaliser of MurmurHash3's relatives, 64 bit).
fn uniform(sample: u64, pair: u64, seed: u64) -> f64 {
    let mut x = sample.wrapping_mul(0x9E37_79B9_7F4A_7C15)
        ^ pair.wrapping_mul(0xC2B2_AE3D_27D4_EB4F)
        ^ seed.rotate_left(32);
    for _ in 0..2 {
        x ^= x >> 33;
        x = x.wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    }
    x ^= x >> 33;
    (x >> 11) as f64 / (1u64 << 53) as f64
}
