//! Where a softmax's intercepts make the class shares those of the labels: the intercept's dual constraint.
//!
//! With E the exponentials of the logits, each row's largest taken off, intercepts that are moved by s leave the
//! probabilities `E_ij·f_j / Σ_k E_ik·f_k`, f = e^s: a search for s needs no further exponential. Samples are worked on in
//! parts that depend on the shape alone, whose sums are added in their order: threads do not change a bit.

use multiversion::multiversion;
use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, aview_mut1};
use rayon::prelude::*;

use super::super::targets::Targets;
use super::softmax::{ROWS, exponentials, normalise, rows_probabilities};
use crate::ops::vector;

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

/// What becomes of the exponentials and weights of every part of the samples.
fn of_parts<T: Send>(
    e: &Array2<f64>,
    targets: &Targets,
    of: impl Fn(&[f64], &[f64]) -> T + Sync,
) -> Vec<T> {
    let c = e.ncols();
    let part = part(e.nrows(), c);
    let e = e.as_slice().expect("exponentials are contiguous");
    e.par_chunks(part * c)
        .zip(targets.omega.par_chunks(part))
        .map(|(e, omega)| of(e, omega))
        .collect()
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
    /// How much of the probabilities has to give way to one distribution, alike in every row, for the shares to be the labels': enough
    /// that no class has more than its share of what is left. All where nothing is known of them.
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
        let length = (STEP / range(&step)).min(1.0);
        let moved = best.1.iter().zip(step);
        shift = moved.map(|(s, step)| s - length * step).collect();
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
    let sums = of_parts(e, targets, |e, omega| rows_change(e, factors, omega));
    let own = targets.share.iter().zip(factors);
    sums.iter().sum::<f64>() - own.map(|(share, f)| share * f.ln()).sum::<f64>()
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
    let sums = of_parts(e, targets, |e, omega| {
        let (mut sums, mut of_rows) = (vec![0.0; c], vec![0.0; c]);
        // Some rows at a time: sums of many alike terms drift.
        for (e, omega) in e.chunks(ROWS * c).zip(omega.chunks(ROWS)) {
            of_rows.fill(0.0);
            add_rows(e, factors, omega, &mut of_rows);
            let each = sums.iter_mut().zip(&of_rows);
            each.for_each(|(all, sum)| *all += sum);
        }
        sums
    });
    let mut means = vec![0.0; c];
    for sums in sums {
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
    let products = of_parts(e, targets, |e, omega| {
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
    });
    let mut curved = Array2::<f64>::zeros((c, c));
    for product in products {
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
    use super::super::mixture;
    use super::super::softmax::minus_labels;
    use super::super::softmax::tests::{SAMPLES, problem};
    use super::*;
    use crate::labels::Labels;

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
    fn shares_of_many_samples_are_exact_enough_that_nothing_is_mixed() {
        for (samples, classes) in [(100_000, 2), (100_003, 3), (300_000, 2)] {
            let rare = |i: usize| u32::from(classes > 2 && i.is_multiple_of(5));
            let class = |i: usize| u32::from(i.is_multiple_of(7)) + rare(i);
            let ids: Vec<u32> = (0..samples).map(class).collect();
            let names = (0..classes).map(|class| class.to_string()).collect();
            let labels = Labels::new(ids.clone(), names).unwrap();
            let targets = Targets::new(&Problem::new(&labels, 1.0, 1.0), samples);
            for (class, share) in targets.share.iter().enumerate() {
                let count = ids.iter().filter(|id| **id as usize == class).count();
                assert!((share - count as f64 / samples as f64).abs() < 2e-16);
            }
            let wave = |at: usize| (at as f64 * 0.618).sin();
            let mut e = Array2::from_shape_fn((samples, classes), |(i, class)| {
                wave(i + 31 * class) + 0.1 * class as f64
            });
            exponentials(&mut e, &targets);
            let moved = moved(&e, &targets);
            let most = moved.off.iter().fold(0.0, |a: f64, off| a.max(off.abs()));
            assert!(most < 2e-15, "{samples}, {classes}: {:?}", moved.off);
            assert!(moved.mixed(&targets) < 1e-14);
        }
    }

    #[test]
    fn shares_that_no_intercepts_give_are_mixed_in() {
        for class in [0, 7] {
            let (mut z, targets) = problem(0.0);
            z.column_mut(class).fill(-1e6);
            let mut e = z.clone();
            exponentials(&mut e, &targets);
            let found = moved(&e, &targets);
            let (mixed, moved_factors) = (found.mixed(&targets), found.factors);
            assert!(mixed > 0.1 * targets.share[class] && mixed < 1.0, "{mixed}");
            let p = feasible(&z, &targets);
            for (p, share) in p.columns().into_iter().zip(&targets.share) {
                let mean: f64 = p.iter().zip(&targets.omega).map(|(p, o)| p * o).sum();
                assert!((mean - share).abs() < 1e-14, "{mean} of {share}");
                assert!(p.iter().all(|p| (0.0..=1.0).contains(p)));
            }
            let row = |p: ndarray::ArrayView1<'_, f64>| (p.sum() - 1.0).abs() < 1e-13;
            assert!(p.rows().into_iter().all(row));

            // What the mixture's V is at most.
            let x = Array2::from_shape_fn((3, SAMPLES), |(j, i)| ((i * (j + 2)) as f64).sin());
            let norm = |j: usize| {
                let (row, omega) = (x.row(j), targets.omega.iter());
                let squares = row.iter().zip(omega).map(|(x, o)| o * x * x);
                squares.sum::<f64>().sqrt()
            };
            let mut own = z.clone();
            exponentials(&mut own, &targets);
            normalise(&mut own, Some(&moved_factors));
            let [own, mut p] = [own, p].map(|mut p| {
                minus_labels(&mut p, &targets);
                x.dot(&p)
            });
            let most = mixture(&own, mixed, norm);
            p.zip_mut_with(&most, |v, most| *v = v.abs() - most);
            assert!(p.iter().all(|over| *over < 1e-15), "{p}");
        }
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
