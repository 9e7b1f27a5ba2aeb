//! The elastic-net quadratic programme of one Newton step, on the working set:
//! `min_u gᵀ(u − w) + ½ (u − w)ᵀ H (u − w) + Σ_j l1_j |u_j| + ½ mu_j u_j²`.
//!
//! Coordinate descent finds the face quickly and then stalls on correlated neurons; conjugate gradients on the face,
//! preconditioned by a symmetric Gauss–Seidel sweep on every class's own block, finish it. Both alternate until the KKT
//! residual is under the tolerance.
//!
//! A small H stays in cache, and descent cycles over all its coordinates. A large one does not, and every coordinate
//! would fetch its row from memory: there each class descends on its own block (which does stay), all classes at once,
//! followed by an exact step along what they found.

use std::ops::Range;

use ndarray::Array2;
use rayon::prelude::*;

/// Sweeps of coordinate descent between two rounds of conjugate gradients.
const SWEEPS: usize = 30;
/// Entries from which classes descend on their own blocks: H then takes more than 4 MB, the nearer caches of a core.
const BLOCKWISE: usize = 1000;
/// Rounds of blockwise descent between two rounds of conjugate gradients, and sweeps of each.
const BLOCK_ROUNDS: (usize, usize) = (2, 2);
/// Conjugate-gradient iterations of one round.
const CG_ITERATIONS: usize = 60;
/// A round of conjugate gradients ends when the face's residual has fallen to this share.
const CG_REDUCTION: f64 = 0.3;

/// One quadratic programme.
pub(super) struct Quadratic<'a> {
    /// n × n, symmetric, positive definite.
    pub h: &'a Array2<f32>,
    /// Where each class starts in the order of the entries, and n at the end.
    pub offsets: &'a [usize],
    /// Gradient of the smooth loss at w.
    pub g: &'a [f64],
    /// λ1 of each entry; 0 for intercepts.
    pub l1: &'a [f64],
    /// μ of each entry; 0 for intercepts.
    pub mu: &'a [f64],
    /// What a violation is divided by: the scale that the entry's penalty acts on.
    pub scale: &'a [f64],
}

impl Quadratic<'_> {
    /// Solves from w to a KKT residual of `tolerance`, or until `steps` sweeps and iterations are spent; also returns the
    /// FLOP that it took.
    pub(super) fn solve(&self, w: &[f32], tolerance: f64, steps: usize) -> (Vec<f32>, f64) {
        let mut work = 0.0;
        let mut u = w.to_vec();
        // q = g + H (u − w), kept up to date by every change of u.
        let mut q: Vec<f32> = self.g.iter().map(|g| *g as f32).collect();
        let n = u.len() as f64;
        let mut spent = 0;
        loop {
            let (sweeps, flop) = if self.offsets.len() > 2 && u.len() >= BLOCKWISE {
                self.descend_blocks(&mut u, &mut q)
            } else {
                self.descend(&mut u, &mut q, tolerance, SWEEPS.min(steps - spent))
            };
            work += flop + 2.0 * n * n;
            spent += sweeps;
            q = self.smooth_gradient(&u, w);
            if self.residual(&u, &q) <= tolerance || spent >= steps {
                return (u, work);
            }
            let (iterations, flop) =
                self.face(&mut u, &mut q, tolerance, CG_ITERATIONS.min(steps - spent));
            work += flop;
            spent += iterations;
            if spent >= steps {
                return (u, work);
            }
        }
    }

    /// g + H (u − w).
    fn smooth_gradient(&self, u: &[f32], w: &[f32]) -> Vec<f32> {
        let d: Vec<f32> = u.iter().zip(w).map(|(u, w)| u - w).collect();
        let hd = self.times(&d);
        self.g.iter().zip(hd).map(|(g, h)| (g + h) as f32).collect()
    }

    fn times(&self, d: &[f32]) -> Vec<f64> {
        let h = self.h.as_slice().expect("the Hessian is contiguous");
        h.par_chunks_exact(d.len()).map(|row| dot(row, d)).collect()
    }

    /// ∞-norm of the minimum-norm subgradient.
    fn residual(&self, u: &[f32], q: &[f32]) -> f64 {
        (0..u.len())
            .map(|j| self.subgradient(j, u[j], q[j]).abs() / self.scale[j])
            .fold(0.0, f64::max)
    }

    fn subgradient(&self, j: usize, u: f32, q: f32) -> f64 {
        let u = f64::from(u);
        let s = f64::from(q) + self.mu[j] * u;
        if u == 0.0 {
            s.signum() * (s.abs() - self.l1[j]).max(0.0)
        } else {
            s + self.l1[j] * u.signum()
        }
    }

    /// Coordinate descent: full sweeps until nothing moves, and sweeps over the non-zeros between them. Returns the sweeps
    /// and their FLOP.
    fn descend(&self, u: &mut [f32], q: &mut [f32], tolerance: f64, sweeps: usize) -> (usize, f64) {
        let n = u.len();
        let mut flop = 0.0;
        let h = self.h.as_slice().expect("the Hessian is contiguous");
        let mut full = true;
        for sweep in 0..sweeps {
            let mut moved = 0.0f64;
            for j in 0..n {
                if !full && u[j] == 0.0 {
                    continue;
                }
                let row = &h[j * n..(j + 1) * n];
                let curvature = f64::from(row[j]);
                let next = self.best(j, curvature, u[j], q[j]);
                let d = next - u[j];
                if d != 0.0 {
                    flop += 2.0 * n as f64;
                    u[j] = next;
                    for (q, h) in q.iter_mut().zip(row) {
                        *q += d * h;
                    }
                    moved =
                        moved.max(f64::from(d).abs() * (curvature + self.mu[j]) / self.scale[j]);
                }
            }
            if moved <= tolerance {
                if full {
                    return (sweep + 1, flop);
                }
                full = true;
            } else {
                full = false;
            }
        }
        (sweeps, flop)
    }

    /// The best value of coordinate j, all others fixed.
    fn best(&self, j: usize, curvature: f64, u: f32, q: f32) -> f32 {
        let v = curvature * f64::from(u) - f64::from(q);
        let shrunk = v.signum() * (v.abs() - self.l1[j]).max(0.0);
        (shrunk / (curvature + self.mu[j])) as f32
    }

    /// Every class descends on its own block, the others held where they were; then the exact step along the sum of what
    /// they found. Returns the rounds and their FLOP.
    fn descend_blocks(&self, u: &mut [f32], q: &mut [f32]) -> (usize, f64) {
        let n = u.len();
        let mut flop = 0.0;
        for round in 0..BLOCK_ROUNDS.0 {
            let found: Vec<Vec<f32>> = self
                .offsets
                .par_windows(2)
                .map(|ends| self.descend_block(ends[0]..ends[1], u, q))
                .collect();
            let d: Vec<f32> = found.concat().iter().zip(&*u).map(|(f, u)| f - u).collect();
            let hd = self.times(&d);
            let blocks = self.offsets.windows(2).map(|ends| ends[1] - ends[0]);
            let squares: usize = blocks.map(|m| m * m).sum();
            flop += 2.0 * (n * n + BLOCK_ROUNDS.1 * squares) as f64;
            let (mut curved, mut slope) = (0.0, 0.0);
            for j in 0..n {
                let (from, step) = (f64::from(u[j]), f64::from(d[j]));
                curved += step * (hd[j] + self.mu[j] * step);
                slope += step * (f64::from(q[j]) + self.mu[j] * from)
                    + self.l1[j] * ((from + step).abs() - from.abs());
            }
            if curved <= 0.0 || slope >= 0.0 {
                return (round + 1, flop);
            }
            let t = (-slope / curved).min(1.0);
            for j in 0..n {
                u[j] = if t == 1.0 {
                    u[j] + d[j]
                } else {
                    (f64::from(u[j]) + t * f64::from(d[j])) as f32
                };
                q[j] += (t * hd[j]) as f32;
            }
        }
        (BLOCK_ROUNDS.0, flop)
    }

    /// Coordinate descent of one class's entries on their own block of H: their new values.
    fn descend_block(&self, at: Range<usize>, u: &[f32], q: &[f32]) -> Vec<f32> {
        let n = u.len();
        let h = self.h.as_slice().expect("the Hessian is contiguous");
        let (mut u, mut q) = (u[at.clone()].to_vec(), q[at.clone()].to_vec());
        for _ in 0..BLOCK_ROUNDS.1 {
            for k in 0..u.len() {
                let j = at.start + k;
                let row = &h[j * n + at.start..j * n + at.end];
                let next = self.best(j, f64::from(row[k]), u[k], q[k]);
                let d = next - u[k];
                if d != 0.0 {
                    u[k] = next;
                    for (q, h) in q.iter_mut().zip(row) {
                        *q += d * h;
                    }
                }
            }
        }
        u
    }

    /// Conjugate gradients on the face of the non-zeros, then a step that stops entries at
    /// zero instead of letting them cross. Returns the iterations and their FLOP.
    fn face(
        &self,
        u: &mut Vec<f32>,
        q: &mut [f32],
        tolerance: f64,
        iterations: usize,
    ) -> (usize, f64) {
        let on: Vec<usize> = (0..u.len())
            .filter(|&j| u[j] != 0.0 || self.l1[j] == 0.0)
            .collect();
        let m = on.len();
        let h = self.face_matrix(&on);
        let mu: Vec<f64> = on.iter().map(|&j| self.mu[j]).collect();
        let ends: Vec<usize> = self
            .offsets
            .iter()
            .map(|end| on.partition_point(|j| j < end))
            .collect();
        let precondition = |r: &[f64]| gauss_seidel(&h, &ends, &mu, r);
        let mut r: Vec<f64> = on
            .iter()
            .map(|&j| -self.subgradient(j, u[j], q[j]))
            .collect();
        let worst = |r: &[f64]| {
            let scaled = r.iter().zip(&on).map(|(r, &j)| r.abs() / self.scale[j]);
            scaled.fold(0.0, f64::max)
        };
        let goal = (CG_REDUCTION * worst(&r)).max(0.5 * tolerance);
        let mut x = vec![0.0f64; m];
        let mut p = precondition(&r);
        let mut rz: f64 = r.iter().zip(&p).map(|(r, z)| r * z).sum();
        let mut used = 0;
        while used < iterations && rz > 0.0 && worst(&r) > goal {
            used += 1;
            let narrow: Vec<f32> = p.iter().map(|p| *p as f32).collect();
            let mut ap: Vec<f64> = h.par_chunks_exact(m).map(|row| dot(row, &narrow)).collect();
            for (k, a) in ap.iter_mut().enumerate() {
                *a += mu[k] * p[k];
            }
            let pap: f64 = p.iter().zip(&ap).map(|(p, a)| p * a).sum();
            if pap <= 0.0 {
                break;
            }
            let step = rz / pap;
            for k in 0..m {
                x[k] += step * p[k];
                r[k] -= step * ap[k];
            }
            let z = precondition(&r);
            let next: f64 = r.iter().zip(&z).map(|(r, z)| r * z).sum();
            for k in 0..m {
                p[k] = z[k] + next / rz * p[k];
            }
            rz = next;
        }
        let mut step = vec![0.0; u.len()];
        for (&j, x) in on.iter().zip(x) {
            step[j] = x;
        }
        let tries = self.project(u, q, &step);
        let squares: usize = ends.windows(2).map(|e| (e[1] - e[0]).pow(2)).sum();
        let flop = 2.0 * (used * (m * m + 2 * squares) + tries * u.len() * u.len()) as f64;
        (used.max(1), flop)
    }

    /// The rows and columns of H that are on the face, contiguous: every iteration reads all of it.
    fn face_matrix(&self, on: &[usize]) -> Vec<f32> {
        let n = self.g.len();
        let h = self.h.as_slice().expect("the Hessian is contiguous");
        let mut out = vec![0.0; on.len() * on.len()];
        out.par_chunks_exact_mut(on.len().max(1))
            .zip(on)
            .for_each(|(out, &j)| {
                let row = &h[j * n..(j + 1) * n];
                for (out, &k) in out.iter_mut().zip(on) {
                    *out = row[k];
                }
            });
        out
    }

    /// Moves along x as far as the quadratic model falls, entries that would change sign stopping at zero. Returns how
    /// often it had to try.
    fn project(&self, u: &mut Vec<f32>, q: &mut [f32], x: &[f64]) -> usize {
        let (mut t, mut tries) = (1.0, 0);
        while t > 1e-3 {
            tries += 1;
            let moved: Vec<f32> = (0..u.len())
                .map(|j| {
                    let next = f64::from(u[j]) + t * x[j];
                    if self.l1[j] > 0.0 && next * f64::from(u[j]) < 0.0 {
                        0.0
                    } else {
                        next as f32
                    }
                })
                .collect();
            let d: Vec<f32> = moved.iter().zip(u.iter()).map(|(m, u)| m - u).collect();
            let hd = self.times(&d);
            let mut change = 0.0;
            for j in 0..d.len() {
                let (from, to, d) = (f64::from(u[j]), f64::from(moved[j]), f64::from(d[j]));
                change += d * (f64::from(q[j]) + 0.5 * hd[j]);
                change += self.l1[j] * (to.abs() - from.abs())
                    + 0.5 * self.mu[j] * (to * to - from * from);
            }
            if change <= 0.0 {
                for (q, h) in q.iter_mut().zip(hd) {
                    *q += h as f32;
                }
                *u = moved;
                break;
            }
            t *= 0.3;
        }
        tries
    }
}

/// One symmetric Gauss–Seidel sweep on every class's own block of (H + μ) on the face, from zero: z ≈ (H + μ)⁻¹ r. All
/// blocks at once; symmetric and positive definite, as conjugate gradients need it.
fn gauss_seidel(h: &[f32], ends: &[usize], mu: &[f64], r: &[f64]) -> Vec<f64> {
    let m = r.len();
    let blocks: Vec<Vec<f64>> = ends
        .par_windows(2)
        .map(|at| {
            let (from, to) = (at[0], at[1]);
            let mut z = vec![0.0f64; to - from];
            let mut q = vec![0.0f32; to - from];
            let there = 0..z.len();
            for k in there.clone().chain(there.rev()) {
                let j = from + k;
                let row = &h[j * m + from..j * m + to];
                let curvature = f64::from(row[k]) + mu[j];
                let d = (r[j] - f64::from(q[k]) - mu[j] * z[k]) / curvature;
                z[k] += d;
                let d = d as f32;
                for (q, h) in q.iter_mut().zip(row) {
                    *q += d * h;
                }
            }
            z
        })
        .collect();
    blocks.concat()
}

/// Σ a·b in f32 over short runs, the runs added in f64.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f64 {
    const RUN: usize = 256;
    a.chunks(RUN)
        .zip(b.chunks(RUN))
        .map(|(a, b)| {
            let mut lanes = [0.0f32; 8];
            let (a8, b8) = (a.chunks_exact(8), b.chunks_exact(8));
            let rest: f32 = a8
                .remainder()
                .iter()
                .zip(b8.remainder())
                .map(|(a, b)| a * b)
                .sum();
            for (a, b) in a8.zip(b8) {
                for lane in 0..8 {
                    lanes[lane] += a[lane] * b[lane];
                }
            }
            f64::from(lanes.iter().sum::<f32>() + rest)
        })
        .sum()
}
