//! Softmaxes of many samples in f64: one exponential an entry, whatever is then made of them.

use multiversion::multiversion;
use ndarray::Array2;
use rayon::prelude::*;

use super::super::targets::Targets;
use crate::ops::vector;

/// Samples that are gone through again while they are in a core's nearest caches.
pub(super) const ROWS: usize = 128;

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
pub(super) fn rows_probabilities(e: &mut [f64], c: usize, factors: Option<&[f64]>) {
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

#[cfg(test)]
pub(super) mod tests {
    use super::super::super::Problem;
    use super::*;
    use crate::labels::Labels;

    pub(in super::super) const SAMPLES: usize = 3_000;
    const CLASSES: usize = 45;

    /// Labels of unequal shares, and logits that know some of them; the intercepts are off by up to so much.
    pub(in super::super) fn problem(off: f64) -> (Array2<f64>, Targets) {
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
}
