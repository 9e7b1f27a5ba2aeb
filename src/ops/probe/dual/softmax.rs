//! Softmaxes of many samples in f64: one exponential an entry, whatever is then made of them.
//!
//! With E the exponentials of the logits, each row's largest taken off, intercepts that are moved by s leave the
//! probabilities `E_ij·f_j / Σ_k E_ik·f_k`, f = e^s: a search for s needs no further exponential. Samples are worked on in
//! parts that depend on the shape alone, whose sums are added in their order: threads do not change a bit.

use multiversion::multiversion;
use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, aview_mut1};
use rayon::prelude::*;

use super::super::targets::Targets;
use crate::ops::vector;

/// Samples that are gone through again while they are in a core's nearest caches.
const ROWS: usize = 128;
/// Parts that many samples make: each leaves sums of its own.
const PARTS: usize = 64;

/// Newton steps for the intercepts; about five are needed from a solver's.
const INTERCEPT_STEPS: usize = 100;
/// Class shares count as exact when they are off by no more.
const SHARE_ERROR: f64 = 1e-15;
/// A step that leaves more than this of what the shares missed is the last one with its curvature.
const SLOW: f64 = 0.1;
/// Intercepts are moved apart by less: every row keeps a probability that f64 can tell from 0.
const FARTHEST: f64 = 600.0;
/// And by no more in a step. A softmax's curvature changes by a factor of e^r at most where logits move apart by r, and so no step in
/// Newton's direction makes the loss larger as long as `e^r − 1 − r < r²`, which holds up to 1.79.
const STEP: f64 = 1.5;

/// Samples of a part: as many as leave its sums, C × C at most, smaller than what they are of.
fn part(samples: usize, classes: usize) -> usize {
    let rows = samples.div_ceil(PARTS).max(2 * classes);
    rows.next_multiple_of(ROWS)
}

/// Logits → exponentials in place, each row's largest taken off; returns the weighted cross-entropy.
pub(in super::super) fn exponentials(z: &mut Array2<f64>, targets: &Targets) -> f64 {
    if !z.is_standard_layout() {
        *z = z.as_standard_layout().into_owned();
    }
    let c = z.ncols();
    let z = z.as_slice_mut().expect("rows are one after another");
    let sums: Vec<f64> = z
        .par_chunks_mut(ROWS * c)
        .enumerate()
        .map(|(at, z)| {
            rows_exponentials(z, c, &targets.y[at * ROWS..], &targets.omega[at * ROWS..])
        })
        .collect();
    sums.iter().sum()
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512dq+fma", "x86_64+avx2+fma"))]
fn rows_exponentials(z: &mut [f64], c: usize, y: &[u32], omega: &[f64]) -> f64 {
    let mut margins = [0.0; ROWS];
    for ((z, own), margin) in z.chunks_exact_mut(c).zip(y).zip(&mut margins) {
        let most = vector::largest(z);
        *margin = most - z[*own as usize];
        z.iter_mut().for_each(|z| *z -= most);
    }
    for z in z.iter_mut() {
        *z = vector::exp_exact(*z);
    }
    let mut loss = 0.0;
    let rows = z.chunks_exact_mut(c).zip(y).zip(omega);
    for (((e, own), omega), margin) in rows.zip(&margins) {
        let own = *own as usize;
        let likely = std::mem::take(&mut e[own]);
        let others = vector::sum(e);
        e[own] = likely;
        // Of a confident row the others' share alone: 1 + ε would lose it.
        loss += omega
            * if *margin > 0.0 {
                (others + likely).ln() + margin
            } else {
                others.ln_1p()
            };
    }
    loss
}

/// Logits → probabilities in place; returns the weighted cross-entropy.
pub(in super::super) fn probabilities(z: &mut Array2<f64>, targets: &Targets) -> f64 {
    let loss = exponentials(z, targets);
    normalise(z, None);
    loss
}

/// Exponentials E → probabilities `E_ij·f_j / Σ_k E_ik·f_k` in place; without factors f they are 1.
pub(in super::super) fn normalise(e: &mut Array2<f64>, factors: Option<&[f64]>) {
    let c = e.ncols();
    let e = e.as_slice_mut().expect("exponentials are contiguous");
    e.par_chunks_mut(ROWS * c)
        .for_each(|e| rows_probabilities(e, c, factors));
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512dq+fma", "x86_64+avx2+fma"))]
fn rows_probabilities(e: &mut [f64], c: usize, factors: Option<&[f64]>) {
    for e in e.chunks_exact_mut(c) {
        if let Some(factors) = factors {
            e.iter_mut().zip(factors).for_each(|(e, f)| *e *= f);
        }
        let total = vector::sum(e);
        e.iter_mut().for_each(|e| *e /= total);
    }
}

/// Probabilities P → Ω(P − Y) in place; the own class's entry is minus the sum of the others.
pub(in super::super) fn minus_labels(p: &mut Array2<f64>, targets: &Targets) {
    let c = p.ncols();
    let p = p.as_slice_mut().expect("probabilities are contiguous");
    p.par_chunks_mut(ROWS * c).enumerate().for_each(|(at, p)| {
        rows_minus_labels(p, c, &targets.y[at * ROWS..], &targets.omega[at * ROWS..]);
    });
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512dq+fma", "x86_64+avx2+fma"))]
fn rows_minus_labels(p: &mut [f64], c: usize, y: &[u32], omega: &[f64]) {
    for ((p, own), omega) in p.chunks_exact_mut(c).zip(y).zip(omega) {
        let own = *own as usize;
        p.iter_mut().for_each(|p| *p *= omega);
        p[own] = 0.0;
        p[own] = -vector::sum(p);
    }
}

/// Where intercepts are moved to.
#[derive(Debug, PartialEq)]
pub(in super::super) struct Moved {
    /// Factors e^s of the exponentials.
    pub factors: Vec<f64>,
    /// What the class shares there are more than the labels' (less where negative); 0 where they are those but for roundings.
    off: Vec<f64>,
}

impl Moved {
    /// How much of the probabilities has to give way to the same distribution in every row, for the shares to be the labels':
    /// enough that no class has more than its share of what is left. All where nothing is known of them.
    pub(in super::super) fn mixed(&self, targets: &Targets) -> f64 {
        if self.off.iter().any(|off| off.is_nan()) {
            return 1.0;
        }
        let each = self.off.iter().zip(&targets.share);
        each.map(|(off, share)| (off / (share + off)).max(0.0))
            .fold(0.0, f64::max)
    }

    /// That distribution.
    fn filling(&self, mixed: f64, targets: &Targets) -> Vec<f64> {
        let each = self.off.iter().zip(&targets.share);
        each.map(|(off, share)| (share - (1.0 - mixed) * (share + off)) / mixed)
            .map(|share| share.max(0.0))
            .collect()
    }
}

/// Moves the intercepts to where the class shares are those of the labels: the intercept's dual constraint.
pub(in super::super) fn moved(e: &Array2<f64>, targets: &Targets) -> Moved {
    let share = &targets.share;
    let good = share.len() as f64 * SHARE_ERROR;
    let mut shift = vec![0.0; share.len()];
    let mut best = (f64::INFINITY, shift.clone(), vec![f64::NAN; share.len()]);
    // That of an earlier point serves while steps with it get there fast: it costs as much as C sums of shares.
    let (mut curvature, mut own) = (None, true);
    for _ in 0..INTERCEPT_STEPS {
        let off: Vec<f64> = means(e, &powers(&shift), targets)
            .iter()
            .zip(share)
            .map(|(mean, share)| mean - share)
            .collect();
        let missed: f64 = off.iter().map(|o| o.abs()).sum();
        let better = missed < best.0;
        if !better && (own || best.0 <= good) {
            break; // rounding: no step gets nearer
        }
        if !better || missed > SLOW * best.0 {
            curvature = None;
        }
        if better {
            best = (missed, shift, off);
        }
        if best.0 <= SHARE_ERROR {
            break;
        }
        own = curvature.is_none();
        let h = curvature.get_or_insert_with(|| curved(e, &powers(&best.1), targets));
        let step = newton_step(h.clone(), &best.2);
        let share = (STEP / range(&step)).min(1.0);
        let moved = best.1.iter().zip(step);
        shift = moved.map(|(s, step)| s - share * step).collect();
        if shift.iter().any(|s| s.is_nan()) || range(&shift) >= FARTHEST {
            break;
        }
    }
    let (missed, shift, mut off) = best;
    if missed <= good {
        off.fill(0.0);
    }
    Moved {
        factors: powers(&shift),
        off,
    }
}

/// What the loss changes where exponentials E get factors f: `Σᵢ ωᵢ ln(Σ_k E_ik·f_k / Σ_k E_ik)` less `Σ_c share_c ln f_c`.
pub(in super::super) fn change(e: &Array2<f64>, factors: &[f64], targets: &Targets) -> f64 {
    let c = factors.len();
    let part = part(e.nrows(), c);
    let e = e.as_slice().expect("exponentials are contiguous");
    let of_parts: Vec<f64> = e
        .par_chunks(part * c)
        .zip(targets.omega.par_chunks(part))
        .map(|(e, omega)| rows_change(e, factors, omega))
        .collect();
    let own = targets.share.iter().zip(factors);
    of_parts.iter().sum::<f64>() - own.map(|(share, f)| share * f.ln()).sum::<f64>()
}

#[multiversion(targets("x86_64+avx512f+avx512vl+avx512dq+fma", "x86_64+avx2+fma"))]
fn rows_change(e: &[f64], factors: &[f64], omega: &[f64]) -> f64 {
    let rows = e.chunks_exact(factors.len()).zip(omega);
    rows.map(|(e, omega)| {
        let (moved, total) = (vector::product(e, factors), vector::sum(e));
        // Near 1 and far from it without what a difference would lose.
        let ratio = moved / total;
        omega
            * if ratio < 0.5 {
                ratio.ln()
            } else {
                ((moved - total) / total).ln_1p()
            }
    })
    .sum()
}

/// Probabilities at logits whose intercepts are [`moved`], mixed with a distribution that is the same for all samples as far as the
/// class shares still miss the labels'.
pub(in super::super) fn feasible(z: &Array2<f64>, targets: &Targets) -> Array2<f64> {
    let mut e = z.clone();
    exponentials(&mut e, targets);
    let moved = moved(&e, targets);
    normalise(&mut e, Some(&moved.factors));
    let mixed = moved.mixed(targets);
    if mixed > 0.0 {
        let filling = moved.filling(mixed, targets);
        for mut p in e.rows_mut() {
            let each = p.iter_mut().zip(&filling);
            each.for_each(|(p, q)| *p = (1.0 - mixed) * *p + mixed * q);
        }
    }
    e
}

fn range(shift: &[f64]) -> f64 {
    let most = shift.iter().fold(f64::NEG_INFINITY, |a, b| a.max(*b));
    let least = shift.iter().fold(f64::INFINITY, |a, b| a.min(*b));
    most - least
}

/// e^s, the largest taken off.
fn powers(shift: &[f64]) -> Vec<f64> {
    let most = shift.iter().fold(f64::NEG_INFINITY, |a, b| a.max(*b));
    shift.iter().map(|s| (s - most).exp()).collect()
}

/// Weighted class means of the probabilities that the factors leave.
fn means(e: &Array2<f64>, factors: &[f64], targets: &Targets) -> Vec<f64> {
    let c = factors.len();
    let part = part(e.nrows(), c);
    let e = e.as_slice().expect("exponentials are contiguous");
    let of_parts: Vec<Vec<f64>> = e
        .par_chunks(part * c)
        .zip(targets.omega.par_chunks(part))
        .map(|(e, omega)| {
            let mut sums = vec![0.0; c];
            add_rows(e, factors, omega, &mut sums);
            sums
        })
        .collect();
    let mut means = vec![0.0; c];
    for sums in of_parts {
        means
            .iter_mut()
            .zip(sums)
            .for_each(|(all, sum)| *all += sum);
    }
    means
        .iter_mut()
        .zip(factors)
        .for_each(|(mean, f)| *mean *= f);
    means
}

/// Σ E·ω / (Σ E·f) over the rows, which f times is what they add to the means.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512dq+fma", "x86_64+avx2+fma"))]
fn add_rows(e: &[f64], factors: &[f64], omega: &[f64], sums: &mut [f64]) {
    for (e, omega) in e.chunks_exact(factors.len()).zip(omega) {
        let scale = omega / vector::product(e, factors);
        sums.iter_mut()
            .zip(e)
            .for_each(|(sum, e)| *sum += e * scale);
    }
}

/// The softmax's curvature `diag(PᵀΩ1) − PᵀΩP` at the probabilities that the factors leave.
fn curved(e: &Array2<f64>, factors: &[f64], targets: &Targets) -> Array2<f64> {
    let c = factors.len();
    let part = part(e.nrows(), c);
    let e = e.as_slice().expect("exponentials are contiguous");
    let of_parts: Vec<Array2<f64>> = e
        .par_chunks(part * c)
        .zip(targets.omega.par_chunks(part))
        .map(|(e, omega)| {
            let mut product = Array2::zeros((c, c));
            let (mut p, mut weighted) = (vec![0.0; ROWS * c], vec![0.0; ROWS * c]);
            for (e, omega) in e.chunks(ROWS * c).zip(omega.chunks(ROWS)) {
                let (p, weighted) = (&mut p[..e.len()], &mut weighted[..e.len()]);
                p.copy_from_slice(e);
                rows_probabilities(p, c, Some(factors));
                weighted.copy_from_slice(p);
                for (row, omega) in weighted.chunks_exact_mut(c).zip(omega) {
                    aview_mut1(row).map_inplace(|p| *p *= omega);
                }
                let view = |rows| ArrayView2::from_shape((omega.len(), c), rows);
                let (p, weighted) = (view(p), view(weighted));
                let (p, weighted) = (p.expect("rows of C"), weighted.expect("rows of C"));
                general_mat_mul(1.0, &weighted.t(), &p, 1.0, &mut product);
            }
            product
        })
        .collect();
    let mut curved = Array2::zeros((c, c));
    for product in of_parts {
        curved -= &product;
    }
    // The rows of P sum to 1, and so the means are the product's own row sums.
    let means: Vec<f64> = curved.rows().into_iter().map(|row| -row.sum()).collect();
    curved
        .diag_mut()
        .iter_mut()
        .zip(means)
        .for_each(|(h, mean)| *h += mean);
    curved
}

/// H⁻¹g for the softmax's C × C curvature, which is singular along equal intercepts: that direction is filled in, and
/// g has no part of it. By Gaussian elimination; the filled matrix is positive definite.
fn newton_step(mut h: Array2<f64>, g: &[f64]) -> Vec<f64> {
    let c = g.len();
    let scale = h.diag().sum() / c as f64;
    h += scale / c as f64;
    for entry in h.diag_mut() {
        *entry += 1e-14 * scale;
    }
    let mut x = g.to_vec();
    for k in 0..c {
        for row in k + 1..c {
            let factor = h[(row, k)] / h[(k, k)];
            for column in k..c {
                h[(row, column)] -= factor * h[(k, column)];
            }
            x[row] -= factor * x[k];
        }
    }
    for k in (0..c).rev() {
        let known: f64 = (k + 1..c).map(|column| h[(k, column)] * x[column]).sum();
        x[k] = (x[k] - known) / h[(k, k)];
    }
    x
}

#[cfg(test)]
mod tests {
    use super::super::super::Problem;
    use super::*;
    use crate::labels::Labels;

    const SAMPLES: usize = 3_000;
    const CLASSES: usize = 45;

    /// Labels of unequal shares, and logits that know some of them; the intercepts are off by up to so much.
    fn problem(off: f64) -> (Array2<f64>, Targets) {
        let ids: Vec<u32> = (0..SAMPLES).map(|i| ((i * i) % CLASSES) as u32).collect();
        let wave = |at: usize| (at as f64 * 0.618).sin();
        let names = (0..CLASSES).map(|class| class.to_string()).collect();
        let labels = Labels::new(ids, names).unwrap();
        let targets = Targets::new(&Problem::new(&labels, 1.0, 1.0), SAMPLES);
        let z = Array2::from_shape_fn((SAMPLES, targets.share.len()), |(i, class)| {
            let own = targets.y[i] as usize == class;
            let told = if own { 2.0 + 30.0 * wave(i) } else { 0.0 };
            told + 2.0 * wave(7 * i + 131 * class) + off * wave(class)
        });
        (z, targets)
    }

    #[test]
    fn intercepts_are_moved_until_the_shares_are_exact() {
        for off in [0.0, 1e-4, 0.1, 1.0] {
            let (z, targets) = problem(off);
            let p = feasible(&z, &targets);
            let mut e = z.clone();
            exponentials(&mut e, &targets);
            assert_eq!(moved(&e, &targets).mixed(&targets), 0.0, "{off}");
            for (class, share) in targets.share.iter().enumerate() {
                let products = p.column(class).to_vec();
                let mean: f64 = products
                    .iter()
                    .zip(&targets.omega)
                    .map(|(p, o)| p * o)
                    .sum();
                assert!((mean - share).abs() < 1e-15, "{off}: {mean} of {share}");
            }
            // The moved logits' own probabilities: ln p − z differs between classes alike in every row.
            let shift = |i: usize, class: usize| {
                (p[(i, class)] / p[(i, 0)]).ln() - z[(i, class)] + z[(i, 0)]
            };
            for i in [1, 1_500, SAMPLES - 1] {
                for class in 1..targets.share.len() {
                    assert!((shift(i, class) - shift(0, class)).abs() < 1e-12);
                }
            }
        }
    }

    #[test]
    fn intercepts_that_are_far_off_are_found_as_well() {
        let (right, targets) = problem(0.0);
        let found = |by: f64, class: usize| {
            let mut e = right.clone();
            e.column_mut(class).mapv_inplace(|z| z + by);
            let loss = exponentials(&mut e, &targets);
            let found = moved(&e, &targets);
            let moved = loss + change(&e, &found.factors, &targets);
            let mixed = found.mixed(&targets);
            assert!(mixed < 1e-11, "{by}: {mixed}");
            assert!(moved <= loss, "{by}: {moved} {loss}");
            moved
        };
        let best = found(0.0, 0);
        for by in [-60.0, -30.0, -5.0, -2.0, 2.0, 5.0, 30.0, 60.0] {
            for class in [0, 1, targets.share.len() - 1] {
                let off = (found(by, class) - best).abs();
                assert!(off < 1e-12 * best, "{by}, {class}: {off:e}");
            }
        }
    }

    #[test]
    fn a_change_of_the_loss_is_that_of_moved_logits() {
        let (z, targets) = problem(0.1);
        let mut e = z.clone();
        let loss = exponentials(&mut e, &targets);
        for by in [1e-9, 0.1, 1.0, 10.0, 25.0, 40.0, 60.0] {
            let shift: Vec<f64> = (0..targets.share.len())
                .map(|class| by * (class as f64 * 0.618).sin())
                .collect();
            let mut moved = z.clone();
            let rows = moved.rows_mut().into_iter();
            rows.for_each(|mut row| row.iter_mut().zip(&shift).for_each(|(z, s)| *z += s));
            let expected = exponentials(&mut moved, &targets);
            let found = loss + change(&e, &powers(&shift), &targets);
            assert!(
                (found - expected).abs() < 1e-13 * expected,
                "{by}: {found} {expected}"
            );
        }
    }

    #[test]
    fn shares_that_no_intercepts_give_are_mixed_in() {
        for class in [0, 7] {
            let (mut z, targets) = problem(0.0);
            z.column_mut(class).fill(-1e6);
            let mut e = z.clone();
            exponentials(&mut e, &targets);
            let mixed = moved(&e, &targets).mixed(&targets);
            assert!(mixed > 0.1 * targets.share[class] && mixed < 1.0, "{mixed}");
            let p = feasible(&z, &targets);
            for (p, share) in p.columns().into_iter().zip(&targets.share) {
                let mean: f64 = p.iter().zip(&targets.omega).map(|(p, o)| p * o).sum();
                assert!((mean - share).abs() < 1e-14, "{mean} of {share}");
                assert!(p.iter().all(|p| (0.0..=1.0).contains(p)));
            }
            let row = |p: ndarray::ArrayView1<'_, f64>| (p.sum() - 1.0).abs() < 1e-13;
            assert!(p.rows().into_iter().all(row));
        }
    }

    #[test]
    fn exponentials_make_the_loss_and_the_probabilities_of_a_softmax() {
        let (z, targets) = problem(0.1);
        let mut p = z.clone();
        let loss = probabilities(&mut p, &targets);
        let mut expected = 0.0;
        for (i, z) in z.rows().into_iter().enumerate() {
            let total: f64 = z.iter().map(|z| z.exp()).sum();
            expected += targets.omega[i] * (total.ln() - z[targets.y[i] as usize]);
            for (p, z) in p.row(i).iter().zip(z) {
                assert!((p - z.exp() / total).abs() < 1e-14);
            }
        }
        assert!((loss - expected).abs() < 1e-13 * expected);
    }

    #[test]
    fn threads_change_no_bit() {
        let found = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            pool.build().unwrap().install(|| {
                let (mut z, targets) = problem(0.1);
                let loss = exponentials(&mut z, &targets);
                let moved = moved(&z, &targets);
                normalise(&mut z, Some(&moved.factors));
                minus_labels(&mut z, &targets);
                (loss, moved, z)
            })
        };
        let alone = found(1);
        for threads in [2, 5] {
            assert!(found(threads) == alone);
        }
    }
}
